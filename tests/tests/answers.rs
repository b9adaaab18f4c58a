//! What follows from single answers: rests that a new claim ends, peers that are only busy, and questions for proof.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::Event;
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour as _, Honest, Reply, Scripted, World, claiming, status_answer};

const MINUTE: Duration = Duration::from_secs(60);

fn world(blocks: u64, config: SyncConfig) -> World {
    World::new(TestChain::new(ChainSpec { blocks, epochs: 1, ..ChainSpec::default() }).unwrap(), config).unwrap()
}

fn parallel() -> SyncConfig {
    SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() }
}

fn soon(answer: Bytes) -> Reply {
    Reply::After(Duration::from_millis(1), answer)
}

fn refuse(refusal: Refusal) -> Reply {
    soon(encode_refusal(refusal))
}

fn status(chain: &TestChain, tip: u64) -> Reply {
    soon(status_answer(&claiming(chain, tip, 0)))
}

#[test]
fn a_new_claim_ends_the_rest_of_who_did_not_have_it() {
    // It refuses for so long that it rests for ever longer. Then it has more to tell.
    for headers in [true, false] {
        let mut world = world(301, parallel());
        let wiser = Rc::new(Cell::new(false));
        let is_wiser = Rc::clone(&wiser);
        world.join(
            1,
            Scripted(move |request: &Request, chain: &TestChain, honest| match request {
                Request::Segment { .. } if headers && !is_wiser.get() => refuse(Refusal::NotAvailable),
                Request::Bodies { .. } if !headers && !is_wiser.get() => refuse(Refusal::NotAvailable),
                _ if is_wiser.get() => honest,
                _ => Honest { tip: Height::new(300), ..Honest::default() }.reply(request, chain),
            }),
        );
        world.start();
        let refused = |world: &World| {
            let asked = |request: &Request| match request {
                Request::Segment { .. } => headers,
                Request::Bodies { .. } => !headers,
                _ => false,
            };
            world.requests.iter().filter(|(_, _, request)| asked(request)).count()
        };
        // After an eighth of a second, and then after twice as long each time; the same claim again and again ends no rest.
        world.run_until(Duration::from_secs(17), |_| false);
        assert!((7..=8).contains(&refused(&world)), "headers: {headers}, {} questions", refused(&world));
        wiser.set(true);
        assert!(world.run_to_tip(Duration::from_secs(6)), "headers: {headers}, {:?}", world.requests);
    }
}

#[test]
fn who_is_busy_once_may_still_prove_what_it_claims() {
    // The one peer has 300 blocks; the other has one more, and no time to say so at first.
    let mut world = world(301, SyncConfig::default());
    world.join(1, Honest { tip: Height::new(300), ..Honest::default() });
    let mut busy = 3;
    world.join(
        2,
        Scripted(move |request: &Request, _: &TestChain, honest| match request {
            Request::Tip if busy > 0 => {
                busy -= 1;
                refuse(Refusal::Busy { retry_after_ms: 300 })
            }
            _ => honest,
        }),
    );
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    let reached = world.events.iter().filter(|(_, event)| matches!(event, Event::Reached(_))).count();
    assert_eq!(reached, 1, "it did not say that it had arrived before: {:?}", world.events);
}

#[test]
fn the_highest_claims_are_to_be_proven_first_and_three_at_a_time() {
    let mut world = world(300, SyncConfig::default());
    for name in 1..=8u8 {
        world.join(
            name,
            Scripted(move |request: &Request, chain: &TestChain, _| match request {
                Request::Status => status(chain, 300 + u64::from(name)),
                _ => Reply::Never,
            }),
        );
    }
    world.start();
    world.run_until(Duration::from_secs(1), |_| false);
    let asked = || world.requests.iter().filter(|(_, _, request)| matches!(request, Request::Tip));
    let first = asked().next().expect("somebody is asked for a tip").0;
    // Others are asked where the first three are late, which is after a tenth of a second at the earliest.
    let tips: Vec<u8> = asked()
        .take_while(|(at, ..)| at.since(first) < Duration::from_millis(100))
        .map(|(_, peer, _)| peer.as_bytes()[0])
        .collect();
    assert_eq!(tips.len(), 3, "{tips:?}");
    // Whoever was asked in vain comes last, however much more it claims by then.
    world.run_until(MINUTE, |_| false);
    let mut tips: Vec<u8> = world
        .requests
        .iter()
        .filter(|(_, _, request)| matches!(request, Request::Tip))
        .map(|(_, peer, _)| peer.as_bytes()[0])
        .take(8)
        .collect();
    tips.sort_unstable();
    assert_eq!(tips, [1, 2, 3, 4, 5, 6, 7, 8], "everyone once before anyone twice");
}

#[test]
fn who_never_says_what_it_has_keeps_nobody_from_arriving() {
    let silent: [fn() -> Reply; 3] =
        [|| Reply::Never, || refuse(Refusal::NotAvailable), || refuse(Refusal::Busy { retry_after_ms: 100 })];
    for reply in silent {
        let mut world = world(300, SyncConfig::default());
        world.join(1, Honest::default());
        let mute = world.join(2, Scripted(move |_: &Request, _: &TestChain, _| reply()));
        world.start();
        assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
        assert!(!world.is_banned(mute));
    }
}

#[test]
fn who_has_not_yet_said_what_it_has_is_waited_for_a_while() {
    let mut world = world(301, SyncConfig::default());
    world.join(1, Honest { tip: Height::new(300), ..Honest::default() });
    world.join(
        2,
        Scripted(|request: &Request, _: &TestChain, honest| match (request, honest) {
            // Less than the 750 ms after which one that is silent holds nothing up.
            (Request::Status, Reply::After(_, answer)) => Reply::After(Duration::from_millis(600), answer),
            (_, honest) => honest,
        }),
    );
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    let reached = world.events.iter().filter(|(_, event)| matches!(event, Event::Reached(_))).count();
    assert_eq!(reached, 1, "{:?}", world.events);
}

#[test]
fn a_broken_stream_is_asked_for_elsewhere_at_once_and_not_in_a_loop() {
    let breaks = || {
        Scripted(|request: &Request, _: &TestChain, honest| match request {
            Request::Segment { .. } | Request::Bodies { .. } => Reply::Broken(Duration::from_millis(1)),
            _ => honest,
        })
    };
    let mut world = world(3000, parallel());
    let broken = world.join(1, breaks());
    world.start();
    world.run_until(Duration::from_secs(10), |_| false);
    let asked = world.requests.iter().filter(|(_, _, request)| matches!(request, Request::Segment { .. })).count();
    assert!((2..=30).contains(&asked), "asked {asked} times in ten seconds");
    world.join(2, Honest::default());
    assert!(world.run_to_tip(Duration::from_secs(2)), "{:?}", world.events);
    assert!(!world.is_banned(broken), "a broken stream is no proof of anything");
}
