//! Downloads over lines that have a rate and a length: what peers give together, what a slow one among them costs, and what
//! limits and busy peers do.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{Event, Input, PeerEvent};
use hotstuff2_sync::peers::{BlacklistReason, PeerHealth};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Line, Lined, Reply, Scripted, World};

const MINUTE: Duration = Duration::from_secs(60);
/// 20 Mbit/s.
const LINE: u64 = 2_500_000;

fn chain(blocks: u64, payload: u32) -> TestChain {
    let spec = ChainSpec { blocks, epochs: 1, ..ChainSpec::default() };
    TestChain::with_payloads(spec, payload, None).unwrap()
}

fn parallel() -> SyncConfig {
    SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() }
}

fn at_once() -> Honest {
    Honest { latency: Duration::ZERO, rate: u64::MAX, ..Honest::default() }
}

fn lined(latency: Duration, lines: &[&Rc<RefCell<Line>>]) -> Lined<Honest> {
    Lined { peer: at_once(), latency, lines: lines.iter().map(|&line| Rc::clone(line)).collect() }
}

fn is_bulk(request: &Request) -> bool {
    matches!(request, Request::Segment { .. } | Request::Bodies { .. } | Request::State { .. })
}

fn asked(world: &World, peer: PeerId, matches: impl Fn(&Request) -> bool) -> usize {
    world.requests.iter().filter(|(_, asked, request)| *asked == peer && matches(request)).count()
}

#[test]
fn nine_fast_peers_and_a_slow_one_fill_their_lines() {
    let blocks = 100_000;
    let mut world = World::new(chain(blocks, 1024), parallel()).unwrap();
    let mut lines = Vec::new();
    for name in 1..=10 {
        let line = Line::new(if name == 10 { LINE / 100 } else { LINE });
        world.join(name, lined(Duration::from_millis(100), &[&line]));
        lines.push(line);
    }
    world.start();
    let done = world.run_until(MINUTE, |world| world.machine.applied() == Height::new(blocks));
    let (took, progress) = (world.now(), world.machine.progress());
    assert!(done, "{progress:#?}");
    let passed: u64 = lines.iter().map(|line| line.borrow().passed).sum();
    let best = passed / (9 * LINE / 1_000_000);
    let share = best * 100 / took.as_micros();
    println!("{share} % of what the lines give, {took:?}, {passed} bytes, {:?}", world.machine.downloads());
    assert!(share >= 85, "{share} % of what the lines give: {progress:#?}");
    assert!(progress.duplicate_bytes * 50 <= progress.useful_bytes, "{progress:#?}");
    assert!(passed <= progress.useful_bytes * 102 / 100, "{passed} bytes sent for {}", progress.useful_bytes);
    assert_eq!(world.bans, []);
}

#[test]
fn own_link_full_blames_nobody() {
    // Each peer alone is fast; all of them together are far faster than our own line, and far above what it lets
    // through in the time-out of a request where all are asked at once.
    let mut world =
        World::new(chain(3000, 200), SyncConfig { peer_timeout: Duration::from_secs(5), ..parallel() }).unwrap();
    let own = Line::new(60_000);
    let peers: Vec<PeerId> =
        (1..=8).map(|name| world.join(name, lined(Duration::from_millis(20), &[&Line::new(100_000), &own]))).collect();
    world.start();
    let mut suspected = 0;
    let done = world.run_until(MINUTE * 10, |world| {
        let ill = |peer: &&PeerId| matches!(world.machine.peer(peer).unwrap().health, PeerHealth::Suspected { .. });
        suspected = suspected.max(peers.iter().filter(ill).count());
        world.machine.applied() == world.source.tip_height()
    });
    assert!(done, "{:#?}", world.machine.progress());
    assert_eq!((suspected, world.bans.len()), (0, 0), "{:#?}", world.machine.progress());
}

#[test]
fn the_bandwidth_limit_is_kept() {
    let limit = 1_000_000;
    let mut world =
        World::new(chain(20_000, 1024), SyncConfig { max_download_bandwidth: limit, ..parallel() }).unwrap();
    let own = Line::new(u64::MAX);
    for name in 1..=5 {
        world.join(name, lined(Duration::from_millis(30), &[&Line::new(LINE), &own]));
    }
    world.start();
    world.run_until(Duration::from_secs(2), |_| false);
    for _ in 0..3 {
        let (before, since) = (own.borrow().passed, world.now());
        world.run_until(Duration::from_secs(4), |_| false);
        let rate = (own.borrow().passed - before) * 1_000_000 / (world.now().as_micros() - since.as_micros());
        assert!((limit * 98 / 100..=limit * 102 / 100).contains(&rate), "{rate} bytes a second");
    }
}

#[test]
fn busy_peers_are_left_alone_for_as_long_as_they_say() {
    let mut world = World::new(chain(3000, 1024), parallel()).unwrap();
    let busy = world.join(
        1,
        Scripted(|request: &Request, _: &TestChain, honest| match is_bulk(request) {
            true => Reply::After(Duration::from_millis(1), encode_refusal(Refusal::Busy { retry_after_ms: 2000 })),
            false => honest,
        }),
    );
    world.start();
    world.run_until(Duration::from_secs(9), |_| false);
    let times: Vec<u64> = world
        .requests
        .iter()
        .filter(|(_, peer, request)| *peer == busy && is_bulk(request))
        .map(|(at, ..)| at.as_micros())
        .collect();
    let mut rounds = 1;
    for pair in times.windows(2) {
        let apart = pair[1] - pair[0];
        // What was asked for together was refused together.
        assert!(!(10_000..2_000_000).contains(&apart), "asked again after {apart} us");
        rounds += usize::from(apart >= 2_000_000);
    }
    assert!((4..=6).contains(&rounds), "{times:?}");
    assert!(!matches!(world.machine.peer(&busy).unwrap().health, PeerHealth::Suspected { .. }));
    // Others are asked at once.
    world.join(2, Honest::default());
    assert!(world.run_to_tip(Duration::from_secs(2)), "{:?}", world.events);
    assert_eq!(world.bans, []);
}

#[test]
fn busy_is_no_word_for_ever() {
    let mut world = World::new(chain(300, 1024), parallel()).unwrap();
    let mut refusals = 1;
    world.join(
        1,
        Scripted(move |request: &Request, _: &TestChain, honest| match request {
            Request::Segment { .. } if refusals > 0 => {
                refusals -= 1;
                Reply::After(Duration::from_millis(1), encode_refusal(Refusal::Busy { retry_after_ms: u32::MAX }))
            }
            _ => honest,
        }),
    );
    world.start();
    let limit = SyncConfig::default().peer_timeout + Duration::from_secs(4);
    assert!(world.run_to_tip(limit), "{:?}", world.events);
}

#[test]
fn no_more_peers_are_asked_than_configured() {
    let config = SyncConfig { max_sync_peers: 4, ..parallel() };
    let mut world = World::new(chain(30_000, 256), config).unwrap();
    let peers: Vec<PeerId> =
        (1..=20).map(|name| world.join(name, Honest { rate: 400_000, ..Honest::default() })).collect();
    world.start();
    let mut most = 0;
    world.run_until(Duration::from_secs(5), |world| {
        most = most.max(world.machine.peers().active_ids().count());
        false
    });
    let used = peers.iter().filter(|&&peer| asked(&world, peer, is_bulk) > 0).count();
    assert_eq!((most, used), (4, 4));
    assert_eq!(world.machine.progress().standing_by, 16);
    // Who leaves makes room, and nothing waits for it.
    let active: Vec<PeerId> = world.machine.peers().active_ids().collect();
    for peer in active {
        world.leave(peer);
    }
    assert!(world.run_to_tip(MINUTE), "{:?}", world.machine.progress());
}

#[test]
fn standby_peers_take_the_places_of_those_that_fail() {
    // The first four give nothing; who stands by behind them does.
    let config = SyncConfig { max_sync_peers: 4, ..SyncConfig::default() };
    let mut world = World::new(chain(3000, 256), config).unwrap();
    for name in 1..=12 {
        world.join(
            name,
            Scripted(|request: &Request, _: &TestChain, honest| match request {
                Request::Status => honest,
                _ => Reply::Never,
            }),
        );
    }
    world.join(13, Honest::default());
    world.start();
    let done = world.run_until(MINUTE * 2, |world| world.machine.applied() == world.source.tip_height());
    assert!(done, "{:?} {:#?}", world.events, world.machine.progress());
}

#[test]
fn a_crowd_that_stands_by_is_asked_a_few_at_a_time() {
    let config = SyncConfig { max_sync_peers: 4, ..parallel() };
    let mut world = World::new(chain(60_000, 256), config).unwrap();
    for name in 1..=200 {
        world.join(name, Honest { rate: 400_000, ..Honest::default() });
    }
    world.start();
    let asked = |world: &World| {
        world.requests.iter().filter(|(_, _, request)| *request == Request::Status).map(|(_, peer, _)| *peer).collect()
    };
    world.run_until(Duration::from_millis(450), |_| false);
    let early: std::collections::BTreeSet<PeerId> = asked(&world);
    assert!((10..=30).contains(&early.len()), "{}", early.len());
    world.run_until(Duration::from_secs(11), |_| false);
    let later: std::collections::BTreeSet<PeerId> = asked(&world);
    assert_eq!(later.len(), 200, "nobody is forgotten");
}

#[test]
fn blocks_that_only_a_standby_peer_has_are_found_soon() {
    // Those who are asked hold less than half of the chain.
    let config = SyncConfig { max_sync_peers: 4, ..SyncConfig::default() };
    let mut world = World::new(chain(3000, 256), config).unwrap();
    for name in 1..=199 {
        world.join(name, Honest { tip: Height::new(1024), ..Honest::default() });
    }
    world.join(200, Honest::default());
    world.start();
    let limit = Duration::from_millis(1500);
    let done = world.run_until(limit, |world| world.machine.applied() == world.source.tip_height());
    assert!(done, "{:?} {:?}", world.events, world.machine.applied());
}

#[test]
fn peers_of_one_group_do_not_take_all_places() {
    let config = SyncConfig { max_sync_peers: 4, ..SyncConfig::default() };
    let mut world = World::new(chain(300, 256), config).unwrap();
    world.group = Some(7);
    for name in 1..=10 {
        world.join(name, Honest::default());
    }
    world.group = None;
    for name in 20..=21 {
        world.join(name, Honest::default());
    }
    world.start();
    let groups: std::collections::BTreeSet<u64> =
        world.machine.peers().active_ids().map(|id| world.machine.peer(&id).unwrap().group).collect();
    assert_eq!(groups, [7, 20, 21].into());
}

#[test]
fn peers_that_deliver_least_are_rotated() {
    let config = SyncConfig { max_sync_peers: 3, peer_rotation_interval: Duration::from_secs(2), ..parallel() };
    let mut world = World::new(chain(30_000, 1024), config).unwrap();
    for name in 1..=3 {
        world.join(name, Honest { rate: if name == 3 { 100_000 } else { 600_000 }, ..Honest::default() });
    }
    let fast = world.join(4, Honest { rate: 5_000_000, ..Honest::default() });
    world.start();
    world.run_until(Duration::from_secs(10), |_| false);
    assert!(asked(&world, fast, is_bulk) > 0, "{:#?}", world.machine.progress());
    assert!(world.machine.peer(&fast).unwrap().active, "who delivers most keeps its place");
}

#[test]
fn a_host_bans_and_pardons_by_hand() {
    let mut world = World::new(chain(30_000, 1024), parallel()).unwrap();
    let slow = || Honest { rate: 500_000, ..Honest::default() };
    let (one, other) = (world.join(1, slow()), world.join(2, slow()));
    world.start();
    world.run_until(Duration::from_secs(2), |_| false);
    let now = world.now();
    world.machine.handle(now, Input::Peer(PeerEvent::Excluded { peer: one, reason: BlacklistReason::ByHand }));
    let before = asked(&world, one, |_| true);
    world.run_until(Duration::from_secs(5), |_| false);
    assert_eq!(asked(&world, one, |_| true), before, "a banned peer was asked");
    assert!(world.is_banned(one) && !world.is_banned(other));
    assert!(!world.events.iter().any(|(_, event)| matches!(event, Event::Banned { .. })), "it answered nothing false");
    assert!(matches!(world.machine.peer(&one).unwrap().health, PeerHealth::Banned { .. }));
    let now = world.now();
    world.machine.handle(now, Input::Peer(PeerEvent::Pardoned { peer: one }));
    world.join(1, slow());
    world.run_until(Duration::from_secs(2), |_| false);
    assert!(asked(&world, one, is_bulk) > 0);
}

#[test]
fn a_batch_is_no_larger_than_configured() {
    let config = SyncConfig { block_batch_size: 100, ..parallel() };
    let mut world = World::new(chain(5000, 64), config).unwrap();
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    let most = world.requests.iter().map(|(.., request)| match request {
        Request::Bodies { range, .. } => range.count(),
        Request::Segment { range, bodies: 1.., .. } => range.count(),
        _ => 0,
    });
    assert_eq!(most.max(), Some(100));
}

#[test]
fn no_more_jobs_are_out_than_configured() {
    let config = SyncConfig { validation_pipeline_size: 2, ..parallel() };
    let mut world = World::new(chain(20_000, 256), config).unwrap();
    for name in 1..=5 {
        world.join(name, Honest::default());
    }
    world.start();
    let mut most = 0;
    let done = world.run_until(MINUTE, |world| {
        most = most.max(world.jobs_out());
        world.reached() == Some(world.source.tip_height())
    });
    assert!(done, "{:?}", world.events);
    assert_eq!(most, 2);
}

/// Any peers, most of them of no use, on any lines: the sync ends, the head of line never starves, and nobody who is
/// honest is banned or left standing by for ever.
#[test]
fn any_peers_and_one_honest() {
    use hotstuff2_sync::rng::Rng;
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let config = SyncConfig {
            max_sync_peers: 2 + rng.below(6) as usize,
            memory_budget: (8 + rng.below(24)) << 20,
            peer_rotation_interval: Duration::from_secs(1 + rng.below(20)),
            ..SyncConfig::default()
        };
        let mut world = World::new(chain(2000 + rng.below(3000), 700), config).unwrap();
        let mut honest = Vec::new();
        let count = 2 + rng.below(14) as u8;
        let sure = 1 + rng.below(u64::from(count)) as u8;
        for name in 1..=count {
            let rate = 200_000 + rng.below(4_000_000);
            let latency = Duration::from_millis(rng.below(150));
            let line = Line::new(rate);
            let part = if name == sure { 0 } else { rng.below(5) };
            let peer: Box<dyn Behaviour> = match part {
                0 | 1 => Box::new(lined(latency, &[&line])),
                2 => Box::new(Scripted(|request: &Request, _: &TestChain, honest| match request {
                    Request::Status => honest,
                    _ => Reply::Never,
                })),
                3 => Box::new(Scripted(|request: &Request, _: &TestChain, honest| match is_bulk(request) {
                    true => Reply::After(
                        Duration::from_millis(3),
                        encode_refusal(Refusal::Busy { retry_after_ms: u32::MAX }),
                    ),
                    false => honest,
                })),
                _ => Box::new(Scripted(|request: &Request, _: &TestChain, honest| match (is_bulk(request), honest) {
                    (true, Reply::After(after, bytes)) => {
                        let mut bytes = bytes.to_vec();
                        if let Some(last) = bytes.last_mut() {
                            *last ^= 1;
                        }
                        Reply::After(after, bytes.into())
                    }
                    (_, honest) => honest,
                })),
            };
            let peer = world.join(name, peer);
            if part <= 1 {
                honest.push(peer);
            }
        }
        world.start();
        let done = world.run_until(MINUTE * 5, |world| world.machine.applied() == world.source.tip_height());
        let progress = world.machine.progress();
        assert!(done, "seed {seed}: {:#?} {progress:#?}", world.events);
        assert!(progress.peak_buffered_bytes <= progress.budget_bytes, "seed {seed}: {progress:#?}");
        for peer in honest {
            assert!(!world.is_banned(peer), "seed {seed}: an honest peer was banned");
        }
    }
}
