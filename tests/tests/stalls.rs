//! No silent stall: where nothing can move, the machine says why, and goes on by itself when that changes.

use std::time::Duration;

use hotstuff2_sync::calls::{Apply, BlockPoint, HostError, Start};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::machine::{Bottleneck, Event, Input, StallReason, StallStep};
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Applied, Applier, Honest, Reply, Scripted, World};

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
        world.join(name, Honest { earliest: Height::new(1500 + 100 * u64::from(name)), ..Honest::default() });
    }
    world.start();
    let reason = stall(&mut world);
    let (next, earliest) = (Height::new(1), Height::new(1600));
    assert_eq!(reason, StallReason::HistoryMissing { next, earliest, peers: 3 });
    let words =
        "no peer has block 1 (of 3 peers, the earliest block is 1600); choose the strategy fast, or name an archive";
    assert!(reason.to_string().starts_with(words), "{reason}");
    world.join(4, Honest::default());
    assert_recovers(&mut world);
}

#[test]
fn blocks_that_are_claimed_and_not_given_are_named() {
    let mut world = world(3000);
    let silent = |request: &Request, _: &TestChain, reply| match request {
        Request::Segment { .. } => Reply::After(Duration::from_millis(5), encode_refusal(Refusal::NotAvailable)),
        _ => reply,
    };
    world.join(1, Scripted(silent));
    world.start();
    let reason = stall(&mut world);
    assert!(matches!(reason, StallReason::BlocksMissing(range) if range.first() == Height::new(1)), "{reason}");
    world.join(2, Honest::default());
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
fn a_follower_without_peers_says_so() {
    let mut world = world(3000);
    let peer = world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
    // With somebody to tell of the next block there is nothing to say, however long none comes.
    world.run_until(MINUTE * 10, |_| false);
    assert_eq!(world.machine.waiting(), None);
    let quiet = |world: &World| !world.events.iter().any(|(_, event)| matches!(event, Event::Stalled { .. }));
    assert!(quiet(&world), "{:#?}", world.events);
    world.leave(peer);
    let left = world.now();
    assert!(world.machine.waiting().is_some_and(|stall| stall.reason == StallReason::NoPeers));
    assert_eq!(stall(&mut world), StallReason::NoPeers);
    let shown = world.machine.progress().stall.unwrap();
    assert!(
        shown.since <= left && left.since(shown.since) <= Duration::from_secs(5),
        "{shown:?}, and it left at {left:?}"
    );
    assert!(world.now().since(shown.since) >= SyncConfig::default().stall_after);
    // It is said again, and lifted by whoever comes: also by one that knows no more.
    world.run_until(MINUTE * 3, |_| false);
    assert!(world.events.iter().filter(|(_, event)| matches!(event, Event::Stalled { .. })).count() > 2);
    world.join(2, Honest::default());
    assert!(world.run_until(MINUTE, |world| world.machine.progress().stall.is_none()), "{:#?}", world.events);
    assert_eq!(world.events.iter().filter(|(_, event)| *event == Event::Resumed).count(), 1);
    assert_eq!(world.machine.waiting(), None);

    // Whoever wanted no more than this height waits for nobody.
    let mut world = self::world(3000);
    world.machine.handle(world.now(), Input::Start(Some(Height::new(3000))));
    let peer = world.join(1, Honest::default());
    assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
    world.leave(peer);
    world.run_until(MINUTE, |_| false);
    assert!(quiet(&world) && world.machine.waiting().is_none(), "{:#?}", world.events);
}

#[test]
fn the_age_of_the_tip_is_counted_from_its_header() {
    let source = TestChain::with_payloads(ChainSpec { blocks: 3000, epochs: 3, ..ChainSpec::default() }, 100, None);
    let mut world = World::new(source.unwrap(), SyncConfig::default()).unwrap();
    let time = |world: &World, height| world.source.header(Height::new(height)).unwrap().timestamp;
    let before = world.machine.progress();
    assert_eq!((before.tip_time, before.tip_age(UnixMillis::new(1 << 50))), (None, None), "nothing is proven yet");
    let first = world.join(1, Honest { tip: Height::new(2900), ..Honest::default() });
    world.start();
    assert!(world.run_until(MINUTE, |world| world.reached().is_some()), "{:#?}", world.events);
    let (old, new) = (time(&world, 2900), time(&world, 3000));
    assert!(new > old);
    let progress = world.machine.progress();
    assert_eq!(progress.tip_time, Some(old));
    assert_eq!(progress.tip_age(UnixMillis::new(old.get() + 1500)), Some(Duration::from_millis(1500)));
    assert_eq!(progress.tip_age(UnixMillis::new(old.get() - 1)), Some(Duration::ZERO), "clocks differ");
    world.leave(first);
    world.join(2, Honest::default());
    assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
    assert_eq!(world.machine.progress().tip_time, Some(new));

    // A node that starts at the tip is told nothing new, and knows from its own store.
    let source = world.source.clone();
    let start = Start {
        stored: BlockPoint { height: source.tip_height(), id: source.id(source.tip_height()).unwrap() },
        stored_time: new,
        applied: source.tip_height(),
        epoch: source.epoch_of(source.tip_height()).unwrap().info().to_ref(),
        ..source.start()
    };
    let mut world = World::from(source, SyncConfig::default(), start).unwrap();
    assert_eq!(world.machine.progress().tip_time, Some(new));
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_until(MINUTE, |world| world.reached().is_some()), "{:#?}", world.events);
    assert_eq!(world.machine.progress().tip_time, Some(new));
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

/// Takes its time with blocks and with handovers.
struct Slow {
    apply: Duration,
    store: Duration,
}

impl Applier for Slow {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        Some((self.apply, Applied { through: apply.range()?.last(), stopped: None }))
    }

    fn store(&mut self, _: &[HandoverLink]) -> Option<(Duration, Result<(), HostError>)> {
        Some((self.store, Ok(())))
    }
}

/// What this sync waits for most in so long.
fn bottleneck(mut world: World, long: Duration) -> Bottleneck {
    world.start();
    world.run_until(long, |_| false);
    world.machine.progress().bottleneck
}

#[test]
fn what_is_waited_for_most_is_named() {
    let moment = Duration::from_millis(1);
    assert_eq!(bottleneck(world(300), MINUTE), Bottleneck::Peers);

    let mut slow_line = world(3000);
    slow_line.join(1, Honest { rate: 20_000, ..Honest::default() });
    assert_eq!(bottleneck(slow_line, MINUTE / 2), Bottleneck::Network);

    let mut slow_check = world(300);
    slow_check.join(1, Honest::default());
    slow_check.lose_jobs = [1].into();
    assert_eq!(bottleneck(slow_check, MINUTE / 6), Bottleneck::Verify);

    // All blocks are there, in one call.
    let mut slow_disk = world(300);
    slow_disk.join(1, Honest::default());
    slow_disk.set_host(Slow { apply: MINUTE / 2, store: moment });
    assert_eq!(bottleneck(slow_disk, MINUTE / 3), Bottleneck::Apply);

    // Handovers go first.
    let mut slow_disk = world(300);
    slow_disk.join(1, Honest::default());
    slow_disk.set_host(Slow { apply: moment, store: MINUTE / 2 });
    assert_eq!(bottleneck(slow_disk, MINUTE / 3), Bottleneck::Apply);

    // More comes all the time, but two calls are out.
    let chain = || TestChain::with_payloads(ChainSpec { blocks: 3000, ..ChainSpec::default() }, 3000, None).unwrap();
    let config = || SyncConfig { memory_budget: 8 << 20, ..SyncConfig::default() };
    let mut balanced = World::new(chain(), config()).unwrap();
    balanced.join(1, Honest { rate: 1_000_000, ..Honest::default() });
    balanced.set_host(Slow { apply: Duration::from_secs(3), store: moment });
    assert_eq!(bottleneck(balanced, MINUTE / 8), Bottleneck::Apply);

    // One call is out, and handovers: there would be room for another, if more had come.
    let mut slow_line = world(3000);
    slow_line.join(1, Honest { rate: 20_000, ..Honest::default() });
    slow_line.set_host(Slow { apply: Duration::from_secs(3), store: MINUTE });
    assert_eq!(bottleneck(slow_line, MINUTE / 3), Bottleneck::Network);
}
