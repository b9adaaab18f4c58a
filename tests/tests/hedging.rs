//! Second questions: when the head of line is late, whom they go to, and what they may cost at most; and what happens to
//! everything else that was asked of a peer that says nothing.

use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{Input, PeerEvent};
use hotstuff2_sync::peers::{BlacklistReason, PeerHealth};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour as _, Honest, Line, Lined, Reply, Scripted, World};

const MINUTE: Duration = Duration::from_secs(60);

fn parallel() -> SyncConfig {
    SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() }
}

fn world(blocks: u64, payload: u32) -> World {
    let spec = ChainSpec { blocks, epochs: 1, ..ChainSpec::default() };
    World::new(TestChain::with_payloads(spec, payload, None).unwrap(), parallel()).unwrap()
}

fn bodies(request: &Request) -> Option<HeightRange> {
    match request {
        Request::Bodies { range, .. } => Some(*range),
        _ => None,
    }
}

/// Who was asked for the bodies of `height`, and when.
fn askers(world: &World, height: u64) -> Vec<(u64, PeerId)> {
    let asked = world
        .requests
        .iter()
        .filter(|(_, _, request)| bodies(request).is_some_and(|range| range.contains(Height::new(height))));
    asked.map(|&(at, peer, _)| (at.as_micros() / 1000, peer)).collect()
}

/// Answers for the bodies of `height` never, the first `times`; the rest at a rate.
fn mute_at(height: u64, mut times: u32, peer: Honest) -> Scripted<impl FnMut(&Request, &TestChain, Reply) -> Reply> {
    Scripted(move |request: &Request, chain: &TestChain, _| match bodies(request) {
        Some(range) if range.contains(Height::new(height)) && times > 0 => {
            times -= 1;
            Reply::Never
        }
        _ => Honest { ..peer }.reply(request, chain),
    })
}

#[test]
fn what_is_asked_for_twice_stays_within_its_share() {
    // Peers of which each keeps every third answer back for a while, and little memory: the head of line is late again
    // and again, and everything waits for it.
    let spec = ChainSpec { blocks: 60_000, epochs: 1, ..ChainSpec::default() };
    let config = SyncConfig { memory_budget: 8 << 20, ..parallel() };
    let mut world = World::new(TestChain::with_payloads(spec, 1024, None).unwrap(), config).unwrap();
    let own = Line::new(u64::MAX);
    for name in 1..=4u8 {
        let mut count = u32::from(name);
        let moody = Scripted(move |request: &Request, _: &TestChain, honest| match (request, honest) {
            (Request::Bodies { .. } | Request::Segment { .. }, Reply::After(after, bytes)) => {
                count += 1;
                let wait = if count.is_multiple_of(3) { Duration::from_millis(800) } else { Duration::ZERO };
                Reply::After(after + wait, bytes)
            }
            (_, honest) => honest,
        });
        world.join(name, Lined { peer: moody, latency: Duration::ZERO, lines: vec![Rc::clone(&own)] });
    }
    world.start();
    assert!(world.run_to_tip(MINUTE * 20), "{:#?}", world.machine.progress());
    let progress = world.machine.progress();
    let statistics = world.machine.downloads().get_download_statistics();
    let twice = own.borrow().passed.saturating_sub(progress.useful_bytes);
    assert!(statistics.hedged > 0, "{statistics:?}");
    assert!(twice <= progress.useful_bytes / 50 + (256 << 10), "{twice} bytes came twice, {statistics:?}");
    assert_eq!(world.bans, []);
}

#[test]
fn a_second_question_goes_to_another_peer_that_has_it() {
    // The best peer says nothing to the last question, the next best does not have what it is about. The question is
    // small enough for the share, or so large that it is taken from the silent peer instead.
    for (payload, held, limit, hedged, reassigned) in [(100, 2990, 400, 1, 0), (1000, 1500, 2500, 0, 1)] {
        let mut world = world(3000, payload);
        let best = world.join(1, mute_at(3000, 9, Honest { rate: 40_000_000, ..Honest::default() }));
        let short = world.join(2, Honest { rate: 20_000_000, tip: Height::new(held), ..Honest::default() });
        let whole = world.join(3, Honest { rate: 5_000_000, ..Honest::default() });
        world.start();
        let done = world.run_to_tip(Duration::from_millis(limit));
        let asked = askers(&world, 3000);
        assert!(done, "{asked:?} {:?}", world.machine.progress());
        let statistics = world.machine.downloads().get_download_statistics();
        assert_eq!((statistics.hedged, statistics.reassigned), (hedged, reassigned), "{asked:?}");
        let who: Vec<PeerId> = asked.iter().map(|&(_, peer)| peer).collect();
        assert!(!who.contains(&short) && who.contains(&whole), "{asked:?}");
        assert!(who.iter().filter(|&&peer| peer == best).count() <= 1, "{asked:?}");
    }
}

#[test]
fn while_there_is_other_work_a_late_answer_costs_nothing_yet() {
    // One answer near the beginning is missing; there is work for seconds behind it, and room in the budget.
    let spec = ChainSpec { blocks: 20_000, epochs: 1, ..ChainSpec::default() };
    let config = SyncConfig { memory_budget: 64 << 20, ..parallel() };
    let mut world = World::new(TestChain::with_payloads(spec, 1024, None).unwrap(), config).unwrap();
    world.join(1, mute_at(600, 1, Honest { rate: 2_000_000, ..Honest::default() }));
    world.join(2, mute_at(600, 1, Honest { rate: 2_000_000, ..Honest::default() }));
    world.start();
    world.run_until(Duration::from_secs(8), |world| askers(world, 600).len() > 1);
    let asked = askers(&world, 600);
    assert!(asked.len() == 2 && asked[1].0 - asked[0].0 >= 1000, "{asked:?}");
    assert!(asked[1].0 - asked[0].0 <= 1500 && asked[0].1 != asked[1].1, "{asked:?}");
}

#[test]
fn a_silent_peer_loses_all_that_it_was_asked_for() {
    // It gives headers and then says nothing: neither the head of line nor what is behind waits for its time-outs.
    let mut world = world(6000, 1024);
    let silent = world.join(
        1,
        Scripted(|request: &Request, _: &TestChain, honest| match request {
            Request::Bodies { .. } => Reply::Never,
            _ => honest,
        }),
    );
    world.join(2, Honest { rate: 3_000_000, ..Honest::default() });
    world.start();
    assert!(world.run_to_tip(Duration::from_secs(6)), "{:#?}", world.machine.progress());
    let asked = world.requests.iter().filter(|(_, peer, request)| *peer == silent && bodies(request).is_some()).count();
    assert!((1..=12).contains(&asked), "asked {asked} times");
    assert!(!world.is_banned(silent), "silence is no proof of anything");
}

#[test]
fn who_is_not_used_any_more_is_waited_for_no_more() {
    // It answers no large question. Then it turns out to speak another version, or its operator excludes it.
    for by_hand in [false, true] {
        let spec = ChainSpec { blocks: 3000, epochs: 1, ..ChainSpec::default() };
        let config = SyncConfig { status_interval: Duration::from_secs(1), ..parallel() };
        let mut world = World::new(TestChain::new(spec).unwrap(), config).unwrap();
        let mut statuses = 0;
        let peer = world.join(
            1,
            Scripted(move |request: &Request, _: &TestChain, honest| match request {
                Request::Status if !by_hand && statuses > 0 => {
                    Reply::After(Duration::from_millis(1), encode_refusal(Refusal::Unsupported))
                }
                Request::Status => {
                    statuses += 1;
                    honest
                }
                Request::Bodies { .. } | Request::Segment { .. } => Reply::Never,
                _ => honest,
            }),
        );
        world.start();
        let waits = |world: &World| world.machine.downloads().tasks().any(|task| task.peer == peer);
        assert!(world.run_until(MINUTE, waits));
        if by_hand {
            let now = world.now();
            world.machine.handle(now, Input::Peer(PeerEvent::Excluded { peer, reason: BlacklistReason::ByHand }));
        } else {
            let unsupported =
                |world: &World| matches!(world.machine.peer(&peer).unwrap().health, PeerHealth::Unsupported { .. });
            assert!(world.run_until(Duration::from_secs(3), unsupported));
        }
        assert!(!waits(&world), "by hand: {by_hand}");
        assert_eq!(world.machine.progress().buffered_bytes, 0, "what was set aside for its answers is free");
    }
}
