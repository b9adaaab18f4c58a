//! The trusting period, kept by the machine: old trust makes none, and trust that grows old while it runs ends it.

use std::time::Duration;

use hotstuff2_sync::calls::{Start, TrustingPeriod};
use hotstuff2_sync::chain::native::AnchorError;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Event, HaltReason, Input, NewMachineError};
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, World};

const SECOND_MS: u64 = 1000;

fn chain() -> TestChain {
    TestChain::new(ChainSpec { blocks: 3000, epochs: 3, ..ChainSpec::default() }).unwrap()
}

/// Where a new node stands whose clock is `after_ms` behind the tip's time, and whose trust ends `left_ms` later.
fn start(chain: &TestChain, after_ms: u64, left_ms: u64) -> Start {
    let (genesis, tip) = (chain.header(Height::ZERO).unwrap(), chain.header(chain.tip_height()).unwrap());
    let wall = UnixMillis::new(tip.timestamp.get() + after_ms);
    let anchor_time = genesis.timestamp;
    let trust = TrustingPeriod { period_ms: wall.get() - anchor_time.get() + left_ms, anchor_time, wall };
    Start { trust: Some(trust), ..chain.start() }
}

fn expired(world: &World) -> Option<(u64, u64)> {
    world.events.iter().find_map(|(_, event)| match event {
        Event::Halted(HaltReason::TrustExpired { age_ms, trusting_period_ms }) => Some((*age_ms, *trusting_period_ms)),
        _ => None,
    })
}

#[test]
fn trust_that_is_too_old_makes_no_machine() {
    let chain = chain();
    let right = start(&chain, 0, 0);
    let trust = right.trust.unwrap();
    let made = |trust: TrustingPeriod, stored_time: u64| {
        let start = Start { trust: Some(trust), stored_time: UnixMillis::new(stored_time), ..chain.start() };
        World::from(chain.clone(), SyncConfig::default(), start).map(drop)
    };
    assert_eq!(made(trust, 0), Ok(()));
    let late = TrustingPeriod { wall: UnixMillis::new(trust.wall.get() + 1), ..trust };
    let (age_ms, trusting_period_ms) = (trust.period_ms + 1, trust.period_ms);
    let refused = NewMachineError::Trust(AnchorError::TooOld { age_ms, trusting_period_ms });
    assert_eq!(made(late, 0), Err(refused));
    // A block that is stored above is younger, and so is an epoch that was proven.
    assert_eq!(made(late, trust.anchor_time.get() + 1), Ok(()));
    let start = Start { trust: Some(late), handovers: chain.handovers().to_vec(), ..chain.start() };
    assert!(World::from(chain.clone(), SyncConfig::default(), start).is_ok());
    // A clock that is far behind can't tell an age.
    let early = TrustingPeriod { wall: UnixMillis::new(1), ..trust };
    assert!(matches!(made(early, 0), Err(NewMachineError::Trust(AnchorError::ClockBehind { .. }))));
    // Who accepts long-range attacks says nothing of a period.
    assert!(World::from(chain.clone(), SyncConfig::default(), chain.start()).is_ok());
}

#[test]
fn trust_expires_while_running() {
    let chain = chain();
    let start = start(&chain, 0, 10 * SECOND_MS);
    let period = start.trust.unwrap().period_ms;
    // Nobody proves anything in time.
    let mut world = World::from(chain, SyncConfig::default(), start).unwrap();
    world.start();
    assert!(!world.run_until(Duration::from_secs(9), |world| world.machine.is_halted()));
    assert!(world.run_until(Duration::from_secs(2), |world| world.machine.is_halted()));
    assert_eq!(expired(&world), Some((period + 1, period)));
    // Whoever comes now proves nothing any more.
    world.join(1, Honest::default());
    assert!(!world.run_to_tip(Duration::from_secs(30)));
    assert_eq!(world.machine.applied(), Height::ZERO);
}

#[test]
fn proven_blocks_keep_trust_young() {
    let chain = chain();
    let tip = chain.tip_height();
    let mut world = World::from(chain.clone(), SyncConfig::default(), start(&chain, 0, 10 * SECOND_MS)).unwrap();
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(Duration::from_secs(9)), "{:?}", world.events.last());
    // It lasts from the tip's time on, and not only from that of genesis.
    world.run_until(Duration::from_secs(60), |_| false);
    assert_eq!((expired(&world), world.machine.applied()), (None, tip));
}

#[test]
fn a_verdict_after_trust_ended_moves_nothing() {
    let chain = chain();
    let mut world = World::from(chain.clone(), SyncConfig::default(), start(&chain, 0, 10 * SECOND_MS)).unwrap();
    world.job_time = Box::new(|_| Duration::from_secs(12));
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_until(Duration::from_secs(20), |world| world.machine.is_halted()));
    world.run_until(Duration::from_secs(20), |_| false);
    assert!(expired(&world).is_some());
    assert_eq!((world.machine.applied(), world.machine.target()), (Height::ZERO, None));
}

#[test]
fn a_computer_that_slept_finds_its_trust_expired() {
    let chain = chain();
    let start = start(&chain, 0, 10 * SECOND_MS);
    let wall = start.trust.unwrap().wall.get();
    let mut world = World::from(chain, SyncConfig::default(), start).unwrap();
    world.start();
    world.run_until(Duration::from_secs(1), |_| false);
    // Its own clock stood still meanwhile.
    world.tell(Input::Wall(UnixMillis::new(wall + 11 * SECOND_MS)));
    assert!(world.run_until(Duration::from_secs(1), |world| world.machine.is_halted()));
    assert!(expired(&world).is_some());
}
