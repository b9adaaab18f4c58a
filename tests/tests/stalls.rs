//! No silent stall: where nothing can move, the machine says why, and goes on by itself when that changes.

use std::time::Duration;

use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::machine::{Event, StallReason, StallStep};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, Reply, Scripted, World};

const MINUTE: Duration = Duration::from_secs(60);

fn world(blocks: u64) -> World {
    let spec = ChainSpec { blocks, epochs: 3, ..ChainSpec::default() };
    let chain = TestChain::with_payloads(spec, 3000, None).unwrap();
    World::new(chain, SyncConfig::default()).unwrap()
}

/// Waits until the machine says that it is stalled; why.
fn stall(world: &mut World) -> StallReason {
    let reason = |world: &World| {
        world.events.iter().rev().find_map(|(_, event)| match event {
            Event::Stalled { reason, since, step, next } => {
                assert!(since < next, "it says since when, and by when it does something");
                assert_eq!(*step == StallStep::AwaitPeer, *reason == StallReason::NoPeers, "{reason} {step}");
                Some(*reason)
            }
            _ => None,
        })
    };
    assert!(world.run_until(MINUTE, |world| reason(world).is_some()), "{:#?}", world.events);
    // Who looks later sees it too.
    let shown = world.machine.progress().stall.unwrap();
    assert_eq!(Some(shown.reason), reason(world));
    shown.reason
}

fn assert_recovers(world: &mut World) {
    assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
    assert_eq!(world.machine.progress().stall, None);
    assert!(world.events.iter().any(|(_, event)| *event == Event::Resumed), "{:#?}", world.events);
    assert!(world.bans.is_empty());
}

#[test]
fn nobody_has_the_history() {
    let mut world = world(3000);
    for name in 1..=3 {
        world.join(name, Honest { earliest: Height::new(1500), ..Honest::default() });
    }
    world.start();
    let reason = stall(&mut world);
    assert!(matches!(reason, StallReason::BlocksMissing(range) if range.first() == Height::new(1)), "{reason}");
    world.join(4, Honest::default());
    assert_recovers(&mut world);
}

#[test]
fn all_peers_gone() {
    let mut world = world(3000);
    let slow = || Honest { rate: 500_000, ..Honest::default() };
    let peers = [world.join(1, slow()), world.join(2, slow())];
    world.start();
    assert!(world.run_until(MINUTE, |world| !world.applied.is_empty()));
    for peer in peers {
        world.leave(peer);
    }
    assert!(world.machine.applied() < world.source.tip_height());
    assert_eq!(stall(&mut world), StallReason::NoPeers);
    // It is said again, less and less often.
    let said = |world: &World| {
        let stalls = world.events.iter().filter(|(_, event)| matches!(event, Event::Stalled { .. }));
        stalls.map(|&(at, _)| at).collect::<Vec<_>>()
    };
    world.run_until(MINUTE * 10, |_| false);
    let times = said(&world);
    assert!((10..20).contains(&times.len()), "{times:?}");
    assert!(times.windows(3).all(|times| times[1].since(times[0]) <= times[2].since(times[1])), "{times:?}");
    // They come back under other names.
    world.join(3, Honest::default());
    assert_recovers(&mut world);
}

#[test]
fn epoch_proof_missing() {
    let mut world = world(3000);
    for name in 1..=2 {
        world.join(
            name,
            Scripted(|request: &Request, _: &TestChain, reply| match request {
                Request::Handovers { .. } => {
                    Reply::After(Duration::from_millis(5), encode_refusal(Refusal::NotAvailable))
                }
                _ => reply,
            }),
        );
    }
    world.start();
    let reason = stall(&mut world);
    assert_eq!(reason, StallReason::HandoverMissing(Epoch::ZERO));
    world.join(3, Honest::default());
    assert_recovers(&mut world);
}
