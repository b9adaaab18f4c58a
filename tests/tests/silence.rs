//! Peers that say nothing any more: all at once, which is this node's line or theirs and nobody's fault, or one among
//! others, which counts once for all that was in flight to it.

use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::peers::PeerHealth;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Line, Lined, Reply, World};

/// The rest after a first suspicion.
const FIRST_REST: Duration = Duration::from_millis(250);
/// After so long without a sign a transport gives a connection up.
const IDLE: Duration = Duration::from_secs(10);

/// Nothing of it arrives from then on, and nobody says that it is gone.
struct Until<B>(Instant, B);

impl<B: Behaviour> Behaviour for Until<B> {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        self.1.reply(request, chain)
    }

    fn reply_at(&mut self, now: Instant, request: &Request, chain: &TestChain) -> Reply {
        match self.1.reply_at(now, request, chain) {
            Reply::After(after, _) if now.after(after) >= self.0 => Reply::Never,
            other => other,
        }
    }
}

fn lined(latency: u64, rate: u64) -> Lined<Honest> {
    let peer = Honest { latency: Duration::ZERO, rate: u64::MAX, ..Honest::default() };
    Lined { peer, latency: Duration::from_millis(latency), lines: vec![Line::new(rate)] }
}

fn world(blocks: u64) -> World {
    let spec = ChainSpec { blocks, epochs: 1, ..ChainSpec::default() };
    let config = SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() };
    World::new(TestChain::with_payloads(spec, 1024, None).unwrap(), config).unwrap()
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

/// How long a peer rests because it is suspected.
fn rest(world: &World, peer: &PeerId) -> Duration {
    match world.machine.peer(peer).unwrap().health {
        PeerHealth::Suspected { until } => until.since(world.now()),
        _ => Duration::ZERO,
    }
}

fn reliability(world: &World, peers: &[PeerId]) -> u32 {
    peers.iter().map(|peer| world.machine.peer(peer).unwrap().reliability_ppm).min().unwrap()
}

/// All peers fall silent at `gone`; their connections end one after the other, and they come back. Returns the longest rest
/// of anyone, and the least reliability.
fn all_vanish(peers: u8, latency: u64, rate: u64, gone: u64) -> (Duration, u32) {
    let case = format!("{peers} peers, {latency} ms, {rate} bytes/s, gone at {gone} ms");
    let mut world = world(30_000);
    let peers: Vec<PeerId> = (1..=peers).map(|name| world.join(name, Until(at(gone), lined(latency, rate)))).collect();
    world.start();
    let mut longest = Duration::ZERO;
    let mut watch = |world: &World| {
        longest = peers.iter().map(|peer| rest(world, peer)).max().unwrap().max(longest);
        false
    };
    world.run_until(Duration::from_millis(gone) + IDLE, &mut watch);
    for &peer in &peers {
        world.leave(peer);
        world.run_until(Duration::from_millis(50), &mut watch);
    }
    let least = reliability(&world, &peers);
    let applied = world.machine.applied();
    assert!(applied < world.source.tip_height(), "{case}: nothing was left to be asked for");
    for name in 1..=peers.len() {
        world.join(u8::try_from(name).unwrap(), lined(latency, rate));
    }
    let goes_on = world.run_until(Duration::from_secs(1), |world| world.machine.applied() > applied);
    assert!(goes_on, "{case}: {:#?}", world.machine.progress());
    (longest, least)
}

#[test]
fn where_all_fall_silent_at_once_nobody_is_to_blame() {
    for (peers, latency, rate) in [(2, 0, 10_000_000), (3, 50, 2_500_000), (8, 50, 2_500_000), (3, 200, 5_000_000)] {
        assert_eq!(all_vanish(peers, latency, rate, 1470), (Duration::ZERO, 1_000_000), "{peers} {latency} {rate}");
    }
}

#[test]
fn whenever_all_fall_silent_they_are_used_at_once_when_they_come_back() {
    // Some may have been heard last, and be blamed in vain for what was in flight: once.
    for gone in (600..2000).step_by(194) {
        for (peers, latency, rate) in [(2, 50, 5_000_000), (3, 50, 2_500_000), (8, 100, 1_000_000)] {
            let (longest, least) = all_vanish(peers, latency, rate, gone);
            assert!(longest <= FIRST_REST && least >= 875_000, "{peers} {latency} {rate} {gone}: {longest:?} {least}");
        }
    }
}

#[test]
fn who_falls_silent_among_others_is_suspected_once_for_all_that_it_was_asked() {
    let mut world = world(60_000);
    let silent = world.join(1, Until(at(1500), lined(50, 5_000_000)));
    for name in 2..=3 {
        world.join(name, lined(50, 2_500_000));
    }
    world.start();
    let in_flight = |world: &World| world.machine.peer(&silent).unwrap().in_flight;
    world.run_until(Duration::from_millis(1500), |_| false);
    let lost = in_flight(&world);
    assert!(lost > 2, "{lost}");
    let suspected = |world: &World| rest(world, &silent) > Duration::ZERO;
    assert!(world.run_until(Duration::from_secs(3), suspected), "{:#?}", world.machine.progress());
    // All of it was asked for before that.
    assert!(world.run_until(Duration::from_secs(2), |world| in_flight(world) == 0));
    assert!(rest(&world, &silent) <= FIRST_REST && reliability(&world, &[silent]) == 875_000);
    // If it is asked again, then for one thing at a time.
    let mut most = 0;
    let done = world.run_until(Duration::from_secs(20), |world| {
        most = most.max(in_flight(world));
        world.reached() == Some(world.source.tip_height())
    });
    assert!(done && most <= 1, "{most} at once: {:#?}", world.machine.progress());
}
