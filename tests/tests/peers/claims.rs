//! What peers claim and can't prove, or prove and don't show.

use std::time::Duration;

use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::Event;
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::TestChain;
use hotstuff2_sync_testkit::world::{Honest, Reply, Scripted, World};

use crate::{MINUTE, chain, count, status, world};

#[test]
fn unproven_height_never_moves_the_target() {
    let mut world = world(300);
    let liar = world.join(
        1,
        Scripted(|request: &Request, chain: &TestChain, honest| match request {
            Request::Status => Reply::After(Duration::from_millis(1), status(chain, u64::MAX, u64::MAX)),
            Request::Tip | Request::Handovers { .. } => {
                Reply::After(Duration::from_millis(1), encode_refusal(Refusal::NotAvailable))
            }
            _ => honest,
        }),
    );
    world.start();
    world.run_until(Duration::from_secs(20), |_| false);
    assert_eq!(world.machine.target(), None, "a claim is no target");
    assert_eq!(world.applied, []);
    world.join(2, Honest::default());
    assert!(world.run_to_tip(MINUTE), "a false claim does not keep the sync from ending: {:?}", world.events);
    assert_eq!(world.machine.target(), Some(Height::new(300)));
    // It is asked for proof now and then, but not without pause.
    let asked = count(&world, liar, |request| matches!(request, Request::Tip | Request::Handovers { .. }));
    assert!((1..=100).contains(&asked), "{asked} in {:?}", world.now());
}

#[test]
fn a_lost_tip_is_asked_for_again() {
    // The only peer loses some questions for its tip, and its claim stays the same: it is no liar for that.
    let mut world = World::new(chain(300, 1), SyncConfig::default()).unwrap();
    let mut lost = 3;
    world.join(
        1,
        Scripted(move |request: &Request, _: &TestChain, honest| match request {
            Request::Tip if lost > 0 => {
                lost -= 1;
                Reply::Never
            }
            // Following the tip would prove it as well.
            Request::Follow { .. } => Reply::Never,
            _ => honest,
        }),
    );
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
}

#[test]
fn a_claim_that_changes_keeps_nobody_from_arriving() {
    // With every status it claims something else, and it proves nothing: that it might is no reason to wait for ever.
    let mut world = world(300);
    let mut claimed = 1 << 40;
    world.join(
        1,
        Scripted(move |request: &Request, chain: &TestChain, _| match request {
            Request::Status => {
                claimed += 1;
                Reply::After(Duration::from_millis(1), status(chain, claimed, claimed))
            }
            _ => Reply::After(Duration::from_millis(1), encode_refusal(Refusal::NotAvailable)),
        }),
    );
    world.join(2, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
}

/// Peers that come one after the other, twice a second, each under a new key, and answer as `behaviour` says. True if the
/// node arrives all the same within a minute.
fn arrives_among_strangers(behaviour: fn(&Request, &TestChain) -> Reply) -> bool {
    let mut world = world(300);
    world.join(1, Honest::default());
    world.start();
    let mut there = Vec::new();
    for name in 10..130 {
        there
            .push(world.join(name, Scripted(move |request: &Request, chain: &TestChain, _| behaviour(request, chain))));
        if there.len() > 4 {
            world.leave(there.remove(0));
        }
        let reached = |world: &World| world.events.iter().any(|(_, event)| matches!(event, Event::Reached(_)));
        if world.run_until(Duration::from_millis(500), reached) {
            return true;
        }
    }
    false
}

#[test]
fn strangers_without_end_keep_nobody_from_arriving() {
    // Each may have something to say, or to prove, that nobody else has; but somebody comes all the time.
    assert!(arrives_among_strangers(|_, _| Reply::Never));
    assert!(arrives_among_strangers(|request, chain| match request {
        Request::Status => Reply::After(Duration::from_millis(1), status(chain, 1 << 40, 1)),
        _ => Reply::Never,
    }));
}

#[test]
fn busy_for_no_time_at_all_is_not_asked_without_end() {
    let busy = || Reply::After(Duration::from_millis(1), encode_refusal(Refusal::Busy { retry_after_ms: 0 }));
    let always = move |_: &Request, _: &TestChain, _| busy();
    let at_the_tip = move |request: &Request, _: &TestChain, honest| match request {
        Request::Follow { .. } => busy(),
        _ => honest,
    };
    let mut world = world(300);
    let peers = [world.join(1, Scripted(always)), world.join(2, Scripted(at_the_tip))];
    world.start();
    world.run_until(MINUTE, |_| false);
    assert_eq!(world.machine.applied(), world.source.tip_height());
    for peer in peers {
        let asked = count(&world, peer, |_| true);
        assert!((10..=200).contains(&asked), "{asked} questions in a minute");
    }
}

#[test]
fn withheld_proof() {
    // Everyone has the blocks; the proof of the tip is at one peer alone, which has nothing else and stands by at first.
    let config = SyncConfig { max_sync_peers: 3, ..SyncConfig::default() };
    let mut world = World::new(chain(1500, 1), config).unwrap();
    let refuse = || Reply::After(Duration::from_millis(1), encode_refusal(Refusal::NotAvailable));
    for name in 1..=6 {
        world.join(
            name,
            Scripted(move |request: &Request, _: &TestChain, honest| match request {
                Request::Tip | Request::Follow { .. } => refuse(),
                _ => honest,
            }),
        );
    }
    world.join(
        7,
        Scripted(move |request: &Request, _: &TestChain, honest| match request {
            Request::Tip | Request::Status => honest,
            _ => refuse(),
        }),
    );
    world.start();
    let done = world.run_until(MINUTE * 2, |world| world.machine.applied() == world.source.tip_height());
    assert!(done, "{:?} {:#?}", world.events, world.machine.progress());
    assert_eq!(world.bans, []);
}
