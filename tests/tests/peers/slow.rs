//! Peers that are slow, or give as little as they can.

use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::peers::PeerHealth;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, Reply, Scripted, World};

use crate::{MINUTE, chain, count, status, world};

#[test]
fn needlessly_small_answers_are_suspected() {
    let config = SyncConfig { default_strategy: SyncStrategyType::Incremental, ..SyncConfig::default() };
    let mut world = World::new(chain(1000, 1), config).unwrap();
    // One block an answer, each with a proof of its own, though it claims a thousand.
    let stingy = world.join(
        1,
        Scripted(|request: &Request, chain: &TestChain, honest| match request {
            Request::Follow { after, .. } => {
                Reply::After(Duration::from_millis(1), chain.view(Height::new(1), after.next()).respond(request))
            }
            _ => honest,
        }),
    );
    world.join(2, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert!(!world.is_banned(stingy), "it is true what it says");
    let asked = count(&world, stingy, |request| matches!(request, Request::Follow { .. }));
    assert!(asked <= 3, "asked {asked} times");
}

#[test]
fn needlessly_small_bodies_are_suspected() {
    let mut world = world(3000);
    let stingy = world.join(
        1,
        Scripted(|request: &Request, chain: &TestChain, honest| match *request {
            Request::Bodies { range, .. } => {
                let one = Request::Bodies { range: HeightRange::single(range.first()), max_bytes: 1 };
                Reply::After(Duration::from_millis(1), chain.respond(&one))
            }
            _ => honest,
        }),
    );
    world.join(2, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert!(!world.is_banned(stingy), "it is true what it says");
    let asked = count(&world, stingy, |request| matches!(request, Request::Bodies { .. }));
    assert!((1..=10).contains(&asked), "asked {asked} times");
}

#[test]
fn head_of_line_is_never_starved() {
    // The first blocks are at one peer alone, which is silent at first; the later ones are at another one, which gives
    // them at once. While the first peer rests, what its request held of the budget must not go to later blocks: they
    // can't be applied before the first, and nothing would ever be free again.
    let default_strategy = SyncStrategyType::Parallel;
    let config = SyncConfig { memory_budget: 8 << 20, default_strategy, ..SyncConfig::default() };
    let spec = ChainSpec { blocks: 24, epochs: 2, ..ChainSpec::default() };
    // Blocks so large that what is left beside the later ones is too little for one.
    let mut world = World::new(TestChain::with_payloads(spec, 1_200_000, None).unwrap(), config).unwrap();
    let mut silent = 6;
    world.join(
        1,
        Scripted(move |request: &Request, _: &TestChain, honest| match request {
            Request::Bodies { .. } if silent > 0 => {
                silent -= 1;
                Reply::Never
            }
            _ => honest,
        }),
    );
    world.join(2, Honest { earliest: Height::new(13), ..Honest::default() });
    world.start();
    world.run_until(Duration::from_secs(8), |_| false);
    assert_eq!(world.applied, [], "nothing can be applied yet");
    assert!(world.machine.progress().buffered_bytes > 3 << 20, "later blocks wait: {:?}", world.machine.progress());
    assert!(world.run_to_tip(MINUTE * 10), "{:?} {:?}", world.events, world.machine.progress());
    let progress = world.machine.progress();
    assert!(progress.peak_buffered_bytes <= progress.budget_bytes, "{progress:?}");
}

#[test]
fn a_slow_peer_holds_nobody_up() {
    let mut world = world(20_000);
    world.join(1, Honest::default());
    world.join(2, Honest { rate: 20_000, ..Honest::default() });
    world.start();
    assert!(world.run_to_tip(Duration::from_secs(1)), "{:?} {:?}", world.events, world.machine.progress());
    let progress = world.machine.progress();
    assert!(progress.duplicate_bytes * 20 <= progress.useful_bytes, "{progress:?}");
}

#[test]
fn empty_blocks_are_not_slowness() {
    // Blocks without payload: answers are small and far between in bytes, and nobody is slow for that.
    let spec = ChainSpec { blocks: 20_000, epochs: 1, ..ChainSpec::default() };
    let config = SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() };
    let mut world = World::new(TestChain::with_payloads(spec, 0, None).unwrap(), config).unwrap();
    let peers: Vec<PeerId> = (1..=4).map(|name| world.join(name, Honest::default())).collect();
    world.start();
    let mut suspected = 0;
    let done = world.run_until(MINUTE, |world| {
        let ill = |peer: &&PeerId| matches!(world.machine.peer(peer).unwrap().health, PeerHealth::Suspected { .. });
        suspected = suspected.max(peers.iter().filter(ill).count());
        world.reached() == Some(world.source.tip_height())
    });
    assert!(done, "{:?}", world.events);
    assert_eq!((suspected, world.bans.len()), (0, 0));
    let least = peers.iter().map(|peer| world.machine.peer(peer).unwrap().reliability_ppm).min();
    assert_eq!(least, Some(1_000_000));
}

#[test]
fn who_is_always_busy_keeps_nobody_from_arriving() {
    let mut world = world(300);
    world.join(1, Honest::default());
    // It claims epochs and blocks without end, and has no time to prove any of it.
    let busy = || Reply::After(Duration::from_millis(1), encode_refusal(Refusal::Busy { retry_after_ms: 1 }));
    world.join(
        2,
        Scripted(move |request: &Request, chain: &TestChain, _| match request {
            Request::Status => Reply::After(Duration::from_millis(1), status(chain, 1_000_000, 1000)),
            _ => busy(),
        }),
    );
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?} {:#?}", world.events, world.machine.progress());
    assert_eq!(world.bans, []);
}

#[test]
fn slow_drip() {
    // Fast while it is measured, then so slow that every answer would take minutes.
    let mut world = World::new(chain(20_000, 1), SyncConfig::default()).unwrap();
    let mut fast = 6;
    let drip = world.join(
        1,
        Scripted(move |request: &Request, _: &TestChain, honest| match (request, honest) {
            (Request::Segment { .. } | Request::Bodies { .. }, Reply::After(after, bytes)) => {
                fast -= i32::from(fast > 0);
                Reply::After(if fast > 0 { after } else { MINUTE * 5 }, bytes)
            }
            (_, honest) => honest,
        }),
    );
    world.join(2, Honest { rate: 5_000_000, ..Honest::default() });
    world.start();
    let bytes = 20_000 * 200;
    let alone = Duration::from_secs(bytes / 5_000_000);
    assert!(world.run_to_tip(alone + Duration::from_secs(4)), "{:?} {:#?}", world.now(), world.machine.progress());
    assert!(!world.is_banned(drip), "slow is not false");
}
