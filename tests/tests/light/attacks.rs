//! Attacks on a light client, and what it tells then. Each test is named after the attack.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::native::ConflictEvidence;
use hotstuff2_sync::ids::{Epoch, Height, PeerId};
use hotstuff2_sync::light::{
    At, Freshness, LightAnswer, LightClient, LightConfig, LightError, LightEvent, LightHalt, LightInput, LightOutput,
    LightStall, LightWay, Query,
};
use hotstuff2_sync::machine::PeerEvent;
use hotstuff2_sync::time::{Instant, UnixMillis};
use hotstuff2_sync::verify::Task;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::TestChain;
use hotstuff2_sync_testkit::light::{Growing, LightWorld};
use hotstuff2_sync_testkit::world::{Behaviour, Elsewhere, Honest, Reply, Scripted, claiming, status_answer};

use super::skips::changing;
use super::{MINUTE, chain, config, entries, ledger, world};

#[test]
fn an_aged_header_ends_trust() {
    let source = changing(12);
    let period = Duration::from_secs(3600);
    let start = LightWorld::genesis(&source, Some(period));
    let wall = LightWorld::wall_of(&source);
    for way in [LightWay::Skipping, LightWay::OneByOne] {
        let mut world = LightWorld::from(source.clone(), config(way), start.clone(), wall).unwrap();
        // Nobody proves anything within the period; then somebody comes with proofs that old keys can make.
        world.set_wall(Duration::from_secs(1), UnixMillis::new(wall.get() + 2 * 3_600_000));
        world.run(Duration::from_secs(2));
        for name in 1..=3 {
            world.join(name, Honest::default());
        }
        world.run(MINUTE);
        assert!(matches!(world.halted(), Some(LightHalt::TrustExpired(_))), "{:?}", world.events);
        assert_eq!((world.told(), world.client.position().epoch.epoch()), (None, Epoch::ZERO));
        assert_eq!(world.requests.len(), 0);
    }
    // The same while it runs: nobody shows a new block until the period is over.
    let mut world = LightWorld::from(source, config(LightWay::Skipping), start, wall).unwrap();
    for name in 1..=3 {
        world.join(name, Honest::default());
    }
    assert!(world.run_to_tip(MINUTE));
    world.run(Duration::from_secs(3590) - MINUTE);
    assert_eq!(world.halted(), None);
    world.run(2 * MINUTE);
    assert!(matches!(world.halted(), Some(LightHalt::TrustExpired(_))));
    assert!(!world.events.iter().any(|(at, _)| at.as_micros() > 3_601 * 1_000_000), "it says so in time");
}

#[test]
fn verdicts_that_come_after_the_trusting_period_count_for_nothing() {
    let source = changing(2);
    let start = LightWorld::genesis(&source, Some(Duration::from_secs(3600)));
    let (wall, peer) = (LightWorld::wall_of(&source), PeerId::from_bytes([1; 32]));
    let mut client = LightClient::new(LightConfig::default(), start, 1, Instant::ZERO, wall).unwrap();
    client.handle(Instant::ZERO, LightInput::Start);
    client.handle(Instant::ZERO, LightInput::Peer(PeerEvent::Connected { peer, group: 1 }));
    // The first handover is asked for, given and proven in time; its verdict comes after two hours.
    let mut late = Instant::ZERO;
    loop {
        match client.poll_output() {
            LightOutput::Request { id, request, .. } => {
                client.handle(late, LightInput::Response(id, Ok(source.respond(&request))));
            }
            LightOutput::Verify(job) => {
                assert!(matches!(job.task(), Task::Handovers { .. }));
                let verdict = job.run(&source.chain());
                assert!(verdict.outcome().is_ok());
                late = Instant::from_micros(2 * 3_600_000_000);
                client.handle(late, LightInput::Verdict(verdict));
            }
            LightOutput::Event(LightEvent::Halted(LightHalt::TrustExpired(_))) => break,
            LightOutput::Wait(_) => panic!("the period is over"),
            _ => {}
        }
    }
    assert_eq!(client.position().epoch.epoch(), Epoch::ZERO);
}

#[test]
fn a_clock_that_is_behind_proves_nothing_and_can_be_set() {
    let source = changing(12);
    let start = LightWorld::genesis(&source, Some(Duration::from_secs(3600)));
    let wall = LightWorld::wall_of(&source);
    let mut world = LightWorld::from(source, config(LightWay::Skipping), start, wall).unwrap();
    world.set_wall(Duration::from_millis(1), UnixMillis::new(wall.get() - 24 * 3_600_000));
    world.run(Duration::from_secs(1));
    for name in 1..=3 {
        world.join(name, Honest::default());
    }
    world.run(MINUTE);
    assert!(matches!(world.stalled(), Some(LightStall::ClockBehind { .. })), "{:?}", world.events);
    assert_eq!((world.told(), world.halted()), (None, None));
    world.set_wall(Duration::from_millis(1), UnixMillis::new(wall.get() + 61_000));
    assert!(world.run_to_tip(MINUTE));
}

/// Two histories from height 50 on, both signed by the same validators.
fn fork() -> (TestChain, TestChain) {
    let source = ledgerless();
    let fork = source.fork(Height::new(50)).unwrap();
    (source, fork)
}

fn ledgerless() -> TestChain {
    chain(100, 2)
}

/// The evidence with which a client halted holds against the chain's own validators.
fn holds_against_validators(world: &LightWorld) {
    let Some(LightHalt::ConflictingFinality { height, evidence }) = world.halted() else {
        panic!("{:?}", world.events)
    };
    let epoch = world.source.epoch_of(*height).unwrap().info().epoch();
    let evidence = ConflictEvidence::decode(evidence).unwrap();
    let conflict = evidence.verify(&world.source.context(epoch).unwrap()).unwrap();
    assert!(!conflict.culprits.is_empty() || !conflict.wanted.is_empty());
    assert!(conflict.height >= Height::new(50));
}

#[test]
fn two_witnesses_that_differ_halt_the_light_client_with_evidence() {
    for way in [LightWay::Skipping, LightWay::OneByOne] {
        let (source, fork) = fork();
        let mut world = LightWorld::new(source, config(way)).unwrap();
        world.join(1, Honest::default());
        world.join(2, Honest::default());
        world.join(3, Elsewhere(fork, Honest::default()));
        world.run(MINUTE);
        holds_against_validators(&world);
        assert_eq!(world.told(), None, "nothing was told before");
        assert!(world.bans.is_empty());
    }
}

#[test]
fn a_fork_that_is_shown_higher_than_the_others_stand_halts_too() {
    let (source, fork) = fork();
    let mut world = LightWorld::new(source, config(LightWay::Skipping)).unwrap();
    for name in 1..=3 {
        let every = Duration::from_millis(100);
        world.join(name, Growing { honest: Honest::default(), from: Height::new(90), every });
    }
    world.join(4, Elsewhere(fork, Honest::default()));
    world.run(MINUTE);
    holds_against_validators(&world);
}

#[test]
fn a_fork_that_the_others_have_passed_halts_too() {
    let (source, fork) = fork();
    let mut world = LightWorld::new(source, config(LightWay::Skipping)).unwrap();
    world.join(4, Elsewhere(fork, Honest { tip: Height::new(95), ..Honest::default() }));
    world.run(Duration::from_millis(500));
    for name in 1..=3 {
        world.join(name, Honest::default());
    }
    world.run(MINUTE);
    holds_against_validators(&world);
    assert_eq!(world.told(), None);
}

#[test]
fn among_silent_peers_the_light_client_says_that_nobody_proves_anything() {
    let mut world = LightWorld::new(ledgerless(), LightConfig::default()).unwrap();
    for name in 1..=20 {
        world.join(name, Scripted(|_: &Request, _: &TestChain, _| Reply::Never));
    }
    world.run(2 * MINUTE);
    assert_eq!((world.told(), world.client.position().freshness), (None, Freshness::Unknown));
    assert_eq!(world.stalled(), Some(LightStall::NoTip));
    assert!(world.bans.is_empty(), "silence is no proven fault");
    let id = world.ask(Query::Read { key: Bytes::from_static(b"k"), at: At::Now });
    assert_eq!(world.run_to_answer(MINUTE, id), Some(Err(LightError::NoAnswer)));
}

/// Everything that carries a proof is bent.
fn liar(kind: u8) -> impl Behaviour {
    Scripted(move |request: &Request, chain: &TestChain, honest| match request {
        Request::Status if kind.is_multiple_of(2) => honest,
        Request::Status => {
            let claim = claiming(chain, 1_000_000, u64::from(kind) * 1_000);
            Reply::After(Duration::from_millis(1), status_answer(&claim))
        }
        _ => match honest {
            Reply::After(after, bytes) if bytes.len() > 40 => {
                let mut bytes = bytes.to_vec();
                let at = bytes.len() - 1 - usize::from(kind);
                bytes[at] ^= 1;
                Reply::After(after, bytes.into())
            }
            other => other,
        },
    })
}

#[test]
fn among_liars_the_light_client_tells_nothing() {
    let mut world = LightWorld::new(ledger(60, 2), LightConfig::default()).unwrap();
    for name in 1..=20 {
        world.join(name, liar(name));
    }
    let id = world.ask(Query::Read { key: Bytes::from_static(b"k"), at: At::Now });
    world.run(2 * MINUTE);
    assert_eq!(world.told(), None);
    assert_eq!(world.answers.get(&id), Some(&Err(LightError::NoAnswer)));
    // Where everybody is false and nobody true, the client may be the one that is wrong, and says so.
    assert!(world.events.iter().any(|(_, event)| matches!(event, LightEvent::SuspectSelf { .. })));
    assert!(world.stalled().is_some());
}

#[test]
fn one_honest_of_twenty_shows_the_tip_and_nobody_else_anything() {
    let mut world = LightWorld::new(ledger(60, 2), LightConfig { witnesses: 0, ..LightConfig::default() }).unwrap();
    for name in 1..=19 {
        match name % 3 {
            0 => world.join(name, Scripted(|_: &Request, _: &TestChain, _| Reply::Never)),
            _ => world.join(name, liar(name)),
        };
    }
    let honest = world.join(20, Honest::default());
    assert!(world.run_to_tip(10 * MINUTE), "{:?}", world.events);
    assert!(!world.bans.contains(&honest));
    let (key, value) = entries(&world.source, 60).swap_remove(4);
    let id = world.ask(Query::Read { key: key.into(), at: At::Now });
    let answer = world.run_to_answer(5 * MINUTE, id);
    assert!(
        matches!(&answer, Some(Ok(LightAnswer::Value { value: Some(found), .. })) if *found == value),
        "{answer:?}"
    );
}

#[test]
fn with_one_honest_of_twenty_a_client_that_wants_witnesses_says_that_it_has_none() {
    let mut world = LightWorld::new(ledger(60, 2), LightConfig::default()).unwrap();
    for name in 1..=19 {
        world.join(name, Scripted(|_: &Request, _: &TestChain, _| Reply::Never));
    }
    world.join(20, Honest::default());
    world.run(5 * MINUTE);
    assert_eq!(world.told(), None);
    let height = Height::new(60);
    assert_eq!(world.stalled(), Some(LightStall::Witnesses { height, have: 0, need: 2 }));
    let proven = world.client.position().proven.unwrap();
    assert_eq!(Some(proven.id), world.source.id(height), "proven, and said to be unconfirmed");
}

#[test]
fn an_eclipse_by_one_group_confirms_nothing() {
    let mut world = LightWorld::new(ledgerless(), LightConfig::default()).unwrap();
    for name in 1..=20 {
        // They withhold the newest blocks, which is no lie that could be proven.
        world.join_group(name, 77, Honest { tip: Height::new(60), ..Honest::default() });
    }
    world.run(MINUTE);
    let height = Height::new(60);
    assert_eq!(world.told(), None);
    assert_eq!(world.stalled(), Some(LightStall::Witnesses { height, have: 0, need: 2 }));
    // Two others from outside, and the tip is what it is.
    for name in 21..=23 {
        world.join(name, Honest::default());
    }
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
}

#[test]
fn a_value_of_long_ago_is_not_one_of_now() {
    let source = ledger(2000, 1);
    let mut world =
        LightWorld::new(source, LightConfig { freshness: Duration::from_secs(60), ..LightConfig::default() }).unwrap();
    for name in 1..=3 {
        world.join(name, Honest { states: None, ..Honest::default() });
    }
    // It proves the state of a quarter of an hour ago, as the newest that it has.
    let old = world.join(
        4,
        Scripted(|request: &Request, chain: &TestChain, honest| match request {
            Request::Read { .. } => {
                let then = chain.view(Height::new(1), Height::new(100)).respond(request);
                Reply::After(Duration::from_millis(1), then)
            }
            _ => honest,
        }),
    );
    assert!(world.run_to_tip(MINUTE));
    let (key, value) = entries(&world.source, 2000).swap_remove(1);
    let id = world.ask(Query::Read { key: key.clone().into(), at: At::Now });
    assert_eq!(world.run_to_answer(MINUTE, id), Some(Err(LightError::NoAnswer)));
    assert!(!world.bans.contains(&old), "it may just be behind");
    world.join(5, Honest::default());
    let id = world.ask(Query::Read { key: key.into(), at: At::Now });
    let answer = world.run_to_answer(MINUTE, id);
    assert!(
        matches!(&answer, Some(Ok(LightAnswer::Value { value: Some(found), .. })) if *found == value),
        "{answer:?}"
    );
}

#[test]
fn a_false_value_costs_its_giver_a_ban() {
    // In the value, and in the proof.
    for bent in [3, 40] {
        let mut world = world(ledger(60, 1), LightWay::Skipping, 3);
        assert!(world.run_to_tip(MINUTE));
        let liar = world.join(
            9,
            Scripted(move |request: &Request, _: &TestChain, honest| match (request, honest) {
                (Request::Read { .. }, Reply::After(_, bytes)) => {
                    let mut bytes = bytes.to_vec();
                    let at = bytes.len() - bent;
                    bytes[at] ^= 1;
                    Reply::After(Duration::from_millis(1), bytes.into())
                }
                (_, Reply::After(_, bytes)) => Reply::After(Duration::from_millis(1), bytes),
                (_, honest) => honest,
            }),
        );
        let keys = entries(&world.source, 60);
        for (key, value) in keys.iter().cycle().take(60) {
            let id = world.ask(Query::Read { key: key.clone().into(), at: At::Now });
            let answer = world.run_to_answer(MINUTE, id);
            let right = matches!(&answer, Some(Ok(LightAnswer::Value { value: Some(found), .. })) if found == value);
            assert!(right, "{answer:?}");
        }
        assert!(world.bans.iter().all(|&banned| banned == liar));
        assert_eq!(world.bans.len(), 1, "it answers soonest, so it was asked");
    }
}
