//! What each kind of liar and each kind of useless peer costs: who lies costs one answer, who is silent one time-out, before
//! it is used less.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Epoch, Height, PeerId};
use hotstuff2_sync::machine::{Event, PeerReport};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{Answer, PeerStatus, Refusal, Request, encode_answer, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::forgery::{bend_segment, forge_handovers, forge_header, forge_signature};
use hotstuff2_sync_testkit::world::{Honest, Reply, Scripted, World};

const MINUTE: Duration = Duration::from_secs(60);

/// What a peer makes of an honest answer.
type Bend = fn(&Request, &TestChain, Bytes) -> Reply;

fn soon(bytes: impl Into<Bytes>) -> Reply {
    Reply::After(Duration::from_millis(1), bytes.into())
}

fn change(bytes: &Bytes, change: impl FnOnce(&Bytes) -> Option<Vec<u8>>) -> Reply {
    let Ok(Answer::Data(data)) = Answer::decode(bytes.clone()) else { return soon(bytes.clone()) };
    let Some(changed) = change(&data) else { return soon(bytes.clone()) };
    let mut answer = encode_answer(changed.len());
    answer.extend_from_slice(&changed);
    soon(answer)
}

fn flip_last(bytes: &Bytes) -> Reply {
    change(bytes, |data| {
        let mut bent = data.to_vec();
        *bent.last_mut()? ^= 1;
        Some(bent)
    })
}

/// Lies that can be proven, each about one thing or about all.
const PROVABLE: [(&str, Bend); 16] = [
    ("bodies", |request, _, honest| match request {
        Request::Bodies { .. } | Request::Segment { bodies: 1.., .. } | Request::Follow { .. } => flip_last(&honest),
        _ => soon(honest),
    }),
    ("bodies without headers", |request, _, honest| match request {
        Request::Bodies { .. } => flip_last(&honest),
        _ => soon(honest),
    }),
    ("tips", |request, _, honest| match request {
        Request::Tip => flip_last(&honest),
        _ => soon(honest),
    }),
    ("all but claims", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => flip_last(&honest),
    }),
    ("headers", |request, _, honest| match request {
        Request::Segment { .. } | Request::Follow { .. } => change(&honest, |data| bend_segment(data, forge_header)),
        _ => soon(honest),
    }),
    ("signatures", |request, _, honest| match request {
        Request::Segment { .. } | Request::Follow { .. } => change(&honest, |data| bend_segment(data, forge_signature)),
        _ => soon(honest),
    }),
    ("handovers", |request, _, honest| match request {
        Request::Handovers { .. } => change(&honest, forge_handovers),
        _ => soon(honest),
    }),
    ("everything forged", |request, _, honest| match request {
        Request::Handovers { .. } => change(&honest, forge_handovers),
        Request::Segment { .. } | Request::Follow { .. } => change(&honest, |data| bend_segment(data, forge_header)),
        Request::Status => soon(honest),
        _ => flip_last(&honest),
    }),
    ("ranges", |request, chain, honest| match *request {
        Request::Segment { range, certified, audit, bodies } => {
            let range = HeightRange::new(range.first().next(), range.last()).unwrap_or(range);
            soon(chain.respond(&Request::Segment { range, certified, audit, bodies }))
        }
        _ => soon(honest),
    }),
    ("noise for data", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => change(&honest, |_| Some(vec![0xa5; 100])),
    }),
    ("cut off", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => soon(honest.slice(..honest.len() / 2)),
    }),
    ("more than it should be", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => change(&honest, |data| Some([data.as_ref(), &[0; 16]].concat())),
    }),
    ("more than anybody reads", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => soon(vec![0; request.max_response_bytes() as usize + 1]),
    }),
    ("lengths that no memory holds", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => change(&honest, |_| Some(vec![0xff; 24])),
    }),
    ("crossed", |request, chain, honest| match request {
        Request::Tip => soon(chain.respond(&Request::Status)),
        Request::Segment { .. } | Request::Bodies { .. } => soon(chain.respond(&Request::Tip)),
        _ => soon(honest),
    }),
    ("claims that can't be read", |_, _, _| soon(vec![0x00, 0x80, 0x80, 0x00])),
];

/// Peers that give nothing, or nothing in time.
const SILENT: [(&str, Bend); 5] = [
    ("says nothing but claims", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => Reply::Never,
    }),
    ("keeps bodies back", |request, _, honest| match request {
        Request::Bodies { .. } | Request::Segment { bodies: 1.., .. } => Reply::Never,
        _ => soon(honest),
    }),
    ("keeps proofs back", |request, _, honest| match request {
        Request::Tip | Request::Handovers { .. } => Reply::Never,
        _ => soon(honest),
    }),
    ("answers too late", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => Reply::After(Duration::from_secs(600), honest),
    }),
    ("keeps headers back", |request, _, honest| match request {
        Request::Segment { .. } | Request::Follow { .. } => Reply::Never,
        _ => soon(honest),
    }),
];

/// Peers that are of no use and say nothing false.
const USELESS: [(&str, Bend); 5] = [
    // Its first byte is that of another version.
    ("noise", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => soon(vec![0xa5; 100]),
    }),
    ("tall", |request, _, honest| match request {
        Request::Status => change(&honest, |data| {
            let status: PeerStatus = postcard::from_bytes(data).ok()?;
            let (tip, epoch) = (Height::new(1 << 40), Epoch::new(1 << 20));
            postcard::to_allocvec(&PeerStatus { tip, epoch, ..status }).ok()
        }),
        _ => soon(honest),
    }),
    ("has nothing", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => soon(encode_refusal(Refusal::NotAvailable)),
    }),
    ("busy", |request, _, honest| match request {
        Request::Status => soon(honest),
        _ => soon(encode_refusal(Refusal::Busy { retry_after_ms: u32::MAX })),
    }),
    ("of another version", |_, _, _| soon(encode_refusal(Refusal::Unsupported))),
];

fn bent(bend: Bend) -> Scripted<impl FnMut(&Request, &TestChain, Reply) -> Reply> {
    Scripted(move |request: &Request, chain: &TestChain, honest| match honest {
        Reply::After(_, bytes) => bend(request, chain, bytes),
        other => other,
    })
}

fn world(seed: u64, strategy: SyncStrategyType) -> World {
    let spec = ChainSpec { blocks: 12_000, epochs: 4, seed, ..ChainSpec::default() };
    let config = SyncConfig { default_strategy: strategy, ..SyncConfig::default() };
    World::new(TestChain::with_payloads(spec, 700, None).unwrap(), config).unwrap()
}

fn report(world: &World, peer: PeerId) -> PeerReport {
    world.machine.peer(&peer).unwrap()
}

/// Forty-nine peers of which each lies, is silent or is of no use in its own way, and an honest one.
fn one_honest_of_fifty(seed: u64) {
    let mut world = world(seed, SyncStrategyType::Auto);
    let parts: Vec<(&str, Bend)> = PROVABLE.iter().chain(&SILENT).chain(&USELESS).copied().cycle().take(49).collect();
    let peers: Vec<PeerId> = (1..=49).zip(&parts).map(|(name, &(_, bend))| world.join(name, bent(bend))).collect();
    let honest = world.join(50 + seed as u8, Honest { rate: 3_000_000, ..Honest::default() });
    world.start();
    assert!(world.run_to_tip(MINUTE * 5), "seed {seed}: {:?}", world.machine.progress());
    for (number, (&peer, (name, _))) in peers.iter().zip(&parts).enumerate() {
        let PeerReport { false_answers, unanswered, banned, .. } = report(&world, peer);
        let kind = number % (PROVABLE.len() + SILENT.len() + USELESS.len());
        let provable = kind < PROVABLE.len();
        assert!(false_answers <= 1, "seed {seed}, {name}: {false_answers} false answers");
        assert_eq!(banned.is_some(), false_answers > 0, "seed {seed}, {name}: it lied and was banned, or neither");
        assert!(provable || false_answers == 0, "seed {seed}, {name} was held for a liar");
        // A second one only after the rest that follows the first.
        assert!(unanswered <= 2, "seed {seed}, {name}: {unanswered} time-outs");
    }
    assert!(!world.is_banned(honest) && report(&world, honest).false_answers == 0);
}

#[test]
fn a_liar_costs_one_answer_and_a_silent_peer_its_time_out() {
    for seed in 0..8 {
        one_honest_of_fifty(seed);
    }
}

/// Each alone, before the honest peer is there at all.
#[test]
fn a_liar_that_is_alone_costs_one_answer() {
    for (name, bend) in PROVABLE {
        let mut world = world(7, SyncStrategyType::Parallel);
        let liar = world.join(1, bent(bend));
        world.start();
        world.run_until(Duration::from_secs(30), |_| false);
        assert_eq!(report(&world, liar).false_answers, 1, "{name}");
        assert!(world.is_banned(liar), "{name}");
        let honest = world.join(2, Honest::default());
        assert!(world.run_to_tip(MINUTE), "{name}: {:?}", world.events);
        assert!(!world.is_banned(honest), "{name}");
    }
}

/// As many of one kind as make this node suspect itself, and then an honest peer: none of them gets a second chance.
#[test]
fn liars_of_one_kind_cost_one_answer_each() {
    for (name, bend) in PROVABLE {
        let mut world = world(3, SyncStrategyType::Parallel);
        let liars: Vec<PeerId> = (1..=8).map(|peer| world.join(peer, bent(bend))).collect();
        let honest = world.join(9, Honest { latency: Duration::from_millis(400), ..Honest::default() });
        world.start();
        assert!(world.run_to_tip(MINUTE), "{name}: {:?}", world.events);
        for liar in liars {
            let PeerReport { false_answers, banned, .. } = report(&world, liar);
            assert!(false_answers <= 1, "{name}: {false_answers} false answers");
            assert_eq!(banned.is_some(), false_answers > 0, "{name}");
        }
        assert!(!world.is_banned(honest), "{name}");
    }
}

/// Everyone lies, each in another way: this node suspects itself, and whoever was honest after all is asked again.
#[test]
fn everyone_false_in_another_way_is_our_own_fault() {
    let mut world = world(5, SyncStrategyType::Parallel);
    let broken = std::rc::Rc::new(std::cell::Cell::new(true));
    let ways = ["all but claims", "everything forged", "noise for data", "cut off", "lengths that no memory holds"];
    let peers: Vec<PeerId> = (1..)
        .zip(PROVABLE.into_iter().filter(|(name, _)| ways.contains(name)))
        .map(|(name, (_, bend))| {
            let broken = broken.clone();
            let mut bent = bent(bend).0;
            let peer = Scripted(move |request: &Request, chain: &TestChain, honest| match broken.get() {
                true => bent(request, chain, honest),
                false => honest,
            });
            world.join(name, peer)
        })
        .collect();
    world.start();
    let suspects = |world: &World| world.events.iter().any(|(_, event)| matches!(event, Event::SuspectSelf { .. }));
    assert!(world.run_until(MINUTE, suspects), "{:?}", world.events);
    assert!(!peers.iter().any(|peer| report(&world, *peer).banned.is_some()));
    broken.set(false);
    assert!(world.run_to_tip(MINUTE * 2), "{:?}", world.events);
}
