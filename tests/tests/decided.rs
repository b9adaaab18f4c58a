//! A node whose own engine decides blocks: they come in by the machine, proven as a peer's are, and whatever is wrong with
//! them is nobody's fault.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{DecidedId, Height};
use hotstuff2_sync::limits::{MAX_DECIDED, MAX_DECIDED_BYTES};
use hotstuff2_sync::machine::{Decided, DecidedError, Event, HaltReason, Input};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Reply, World};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn chain(blocks: u64, epochs: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks, epochs, ..ChainSpec::default() }).unwrap()
}

fn world_of(chain: TestChain, strategy: SyncStrategyType) -> World {
    let config = SyncConfig { default_strategy: strategy, ..SyncConfig::default() };
    let mut world = World::new(chain, config).unwrap();
    world.start();
    world
}

fn world(blocks: u64, epochs: u64) -> World {
    world_of(chain(blocks, epochs), SyncStrategyType::Auto)
}

fn one(height: u64) -> HeightRange {
    HeightRange::single(Height::new(height))
}

fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(Height::new(first), Height::new(last)).unwrap()
}

/// The engine decides these blocks one by one, each when the one before is answered.
fn decide_all(world: &mut World, blocks: HeightRange) {
    for height in blocks.first().get()..=blocks.last().get() {
        let id = world.decide(one(height));
        let answered = world.run_until(MINUTE, |world| world.answer(id).is_some());
        assert!(answered, "block {height}: {:?}", world.machine.waiting());
        assert_eq!(world.answer(id), Some(Ok(Height::new(height))));
    }
}

/// Requests for blocks, tips and handovers, without those for claims.
fn asked(world: &World) -> Vec<&Request> {
    world.requests.iter().map(|(_, _, request)| request).filter(|request| **request != Request::Status).collect()
}

#[test]
fn a_decided_block_has_a_way_in() {
    // A network of one validator, from genesis on, through the ends of epochs, under every strategy.
    for strategy in [SyncStrategyType::Auto, SyncStrategyType::Parallel, SyncStrategyType::Incremental] {
        let mut world = world_of(chain(60, 4), strategy);
        decide_all(&mut world, range(1, 60));
        assert_eq!(world.machine.applied(), Height::new(60));
        assert_eq!(world.reached(), Some(Height::new(60)), "{strategy:?}");
        assert_eq!(world.applied, (1..=60).map(Height::new).collect::<Vec<_>>());
        assert!(world.requests.is_empty());
        // A node that decides is told by its own engine: nobody to follow is no stall.
        world.run_until(MINUTE * 30, |_| false);
        let stalled = world.events.iter().any(|(_, event)| matches!(event, Event::Stalled { .. }));
        assert!(!stalled, "{strategy:?}: {:?}", world.events);
    }
}

#[test]
fn decided_blocks_may_be_ahead_of_the_store() {
    let mut world = world(60, 4);
    let ids: Vec<DecidedId> = (1..=60).map(|height| world.decide(one(height))).collect();
    assert!(world.run_until(MINUTE, |world| world.decided.len() == 60), "{:?}", world.decided);
    for (id, height) in ids.into_iter().zip(1..) {
        assert!(world.answer(id).unwrap().unwrap() >= Height::new(height));
    }
    assert_eq!(world.applied, (1..=60).map(Height::new).collect::<Vec<_>>());
    assert!(world.calls.len() < 40, "those that wait for the disk go together: {}", world.calls.len());
}

#[test]
fn whole_cells_and_what_was_executed_are_handed_on() {
    let mut world = world(2000, 1);
    let decided = Decided { executed: true, ..world.source.decided(range(1, 1023)).unwrap() };
    let (first, id) = (decided.id, world.decide(range(1024, 2000)));
    world.tell(Input::Decided(decided));
    let answered = |world: &World| world.answer(first).is_some() && world.answer(id).is_some();
    assert!(world.run_until(MINUTE, answered), "in whichever order they come: {:?}", world.decided);
    for (_, apply) in &world.applies {
        for part in &apply.parts {
            assert_eq!(part.executed, part.range().unwrap().first() < Height::new(1024));
        }
    }
    assert_eq!(world.machine.applied(), Height::new(2000));
}

#[test]
fn a_false_decided_block_is_an_error_and_blames_nobody() {
    let mut world = world(60, 3);
    let peer = world.join(1, Honest { tip: Height::new(3), ..Honest::default() });
    assert!(world.run_until(MINUTE, |world| world.reached() == Some(Height::new(3))));
    let good = world.source.decided(range(4, 6)).unwrap();
    let flipped: Vec<Bytes> = (0..good.bytes.len())
        .step_by(37)
        .map(|at| {
            let mut bytes = good.bytes.to_vec();
            bytes[at] ^= 1;
            bytes.into()
        })
        .collect();
    let cut = (0..good.bytes.len()).step_by(101).map(|len| good.bytes.slice(..len));
    let foreign = chain(60, 3).fork(Height::new(1)).unwrap().decided(range(4, 6)).unwrap().bytes;
    let bent: Vec<Bytes> = flipped.into_iter().chain(cut).collect();
    for (number, bytes) in bent.iter().enumerate() {
        let id = DecidedId::from_raw(1000 + number as u64);
        world.tell(Input::Decided(Decided { id, bytes: bytes.clone(), ..good.clone() }));
        assert!(world.run_until(SECOND, |world| world.answer(id).is_some()), "bent {number}");
        assert!(matches!(world.answer(id), Some(Err(DecidedError::False(_)))), "{number}: {:?}", world.answer(id));
    }
    assert!(!foreign.is_empty() && bent.len() > 20);
    assert_eq!((world.machine.applied(), world.machine.target()), (Height::new(3), Some(Height::new(3))));
    assert_eq!(world.bans, []);
    assert!(world.machine.peer(&peer).unwrap().false_answers == 0);
    // The honest one is taken after all of them, and the memory of none is kept.
    let id = world.decide(range(4, 6));
    assert!(world.run_until(SECOND, |world| world.answer(id) == Some(Ok(Height::new(6)))));
    world.run_until(SECOND, |_| false);
    assert_eq!(world.machine.progress().buffered_bytes, 0);
}

#[test]
fn an_epoch_needs_its_handover() {
    let mut world = world(40, 2);
    let end = world.source.handovers()[0].boundary.get();
    decide_all(&mut world, range(1, end - 1));
    let last = world.source.decided(one(end)).unwrap();
    let handover = last.handover.clone().unwrap();
    // One that is false, though the blocks are true.
    let mut bent = handover.to_vec();
    let middle = bent.len() / 2;
    bent[middle] ^= 1;
    let id = DecidedId::from_raw(1000);
    world.tell(Input::Decided(Decided { id, handover: Some(bent.into()), ..last.clone() }));
    assert!(world.run_until(SECOND, |world| world.answer(id).is_some()));
    assert!(matches!(world.answer(id), Some(Err(DecidedError::FalseHandover(_)))), "{:?}", world.answer(id));
    // None at all: the next block can't be proven.
    let id = DecidedId::from_raw(1001);
    world.tell(Input::Decided(Decided { id, handover: None, ..last.clone() }));
    assert!(world.run_until(SECOND, |world| world.answer(id) == Some(Ok(Height::new(end)))));
    let next = world.decide(one(end + 1));
    assert_eq!(world.answer(next), Some(Err(DecidedError::UnknownEpoch(Height::new(end + 1)))));
    // With it, and with the next block right behind: that one waits for it.
    let id = DecidedId::from_raw(1002);
    world.tell(Input::Decided(last));
    world.tell(Input::Decided(Decided { id, ..world.source.decided(one(end + 1)).unwrap() }));
    assert!(world.run_until(SECOND, |world| world.answer(id) == Some(Ok(Height::new(end + 1)))), "{:?}", world.decided);
    assert_eq!(world.bans, []);
}

#[test]
fn what_is_here_already_is_said_so() {
    let mut world = world(60, 3);
    decide_all(&mut world, range(1, 30));
    // Of an epoch that is long over, of this one, and the last block.
    for (id, blocks) in [(1, range(1, 3)), (2, range(22, 25)), (3, one(30))] {
        let id = DecidedId::from_raw(1000 + id);
        world.tell(Input::Decided(Decided { id, ..world.source.decided(blocks).unwrap() }));
        assert!(world.run_until(SECOND, |world| world.answer(id).is_some()));
        assert_eq!(world.answer(id), Some(Ok(Height::new(30))), "{blocks}");
    }
    let id = world.decide(range(29, 33));
    assert!(world.run_until(SECOND, |world| world.answer(id).is_some()));
    assert_eq!(world.answer(id), Some(Err(DecidedError::Overlap { next: Height::new(31) })));
    assert_eq!(world.applied.len(), 30);
}

#[test]
fn a_decided_block_that_contradicts_a_final_one_halts_with_evidence() {
    // At the height of the last block, and above it: the other chain has another block below.
    for above in [0, 1] {
        let mut world = world(40, 1);
        decide_all(&mut world, range(1, 10));
        let fork = world.source.fork(Height::new(10)).unwrap();
        let id = DecidedId::from_raw(1000);
        world.tell(Input::Decided(Decided { id, ..fork.decided(one(10 + above)).unwrap() }));
        assert!(world.run_until(SECOND, |world| world.machine.is_halted()), "{:?}", world.decided);
        let evidence = world.events.iter().find_map(|(_, event)| match event {
            Event::Halted(HaltReason::ConflictingFinality { height, evidence }) => Some((*height, evidence.clone())),
            _ => None,
        });
        let (height, evidence) = evidence.unwrap();
        assert_eq!(height, Height::new(10));
        assert!(!evidence.is_empty(), "anyone can check it");
        assert_eq!(world.answer(id), Some(Err(DecidedError::Halted)));
        assert_eq!((world.applied.len(), world.bans.len()), (10, 0));
    }
}

#[test]
fn submissions_are_bounded() {
    let mut world = world(200, 1);
    for height in 1..=MAX_DECIDED as u64 + 5 {
        world.tell(Input::Decided(world.source.decided(one(height)).unwrap()));
    }
    let waiting = MAX_DECIDED as u32;
    let refused = vec![Err(DecidedError::TooMany { waiting }); 5];
    assert_eq!(world.decided.iter().map(|&(_, result)| result).collect::<Vec<_>>(), refused);
    let bytes = Bytes::from(vec![0; MAX_DECIDED_BYTES as usize + 1]);
    let id = DecidedId::from_raw(1000);
    world.tell(Input::Decided(Decided { id, bytes, ..world.source.decided(one(1)).unwrap() }));
    let (bytes, most) = (MAX_DECIDED_BYTES + 1, MAX_DECIDED_BYTES);
    assert_eq!(world.answer(id), Some(Err(DecidedError::TooLarge { bytes, most })));
    assert!(world.run_until(MINUTE, |world| world.decided.len() == MAX_DECIDED + 6), "those that wait are answered");
    assert_eq!(world.machine.applied(), Height::new(MAX_DECIDED as u64));
    // Bytes count as well.
    let half = Bytes::from(vec![0; MAX_DECIDED_BYTES as usize / 2 + 1]);
    for id in [2000, 2001] {
        let decided = world.source.decided(one(100)).unwrap();
        world.tell(Input::Decided(Decided { id: DecidedId::from_raw(id), bytes: half.clone(), ..decided }));
    }
    assert_eq!(world.answer(DecidedId::from_raw(2001)), Some(Err(DecidedError::TooMany { waiting: 1 })));
}

#[test]
fn the_documentation_says_the_bounds() {
    let says = format!("{MAX_DECIDED} submissions and {} MiB", MAX_DECIDED_BYTES >> 20);
    assert!(include_str!("../../docs/design.md").contains(&says), "docs/design.md: {says}");
}

#[test]
fn a_stopped_sync_takes_no_blocks() {
    let mut world = world(40, 1);
    let id = world.decide(one(1));
    world.stop();
    assert_eq!(world.answer(id), Some(Err(DecidedError::Stopped)), "what waits is answered");
    let id = world.decide(one(2));
    assert_eq!(world.answer(id), Some(Err(DecidedError::Stopped)));
    world.start();
    let id = DecidedId::from_raw(1000);
    world.tell(Input::Decided(Decided { id, ..world.source.decided(range(1, 3)).unwrap() }));
    assert!(world.run_until(SECOND, |world| world.answer(id) == Some(Ok(Height::new(3)))));
    assert_eq!(world.machine.progress().buffered_bytes, 0);
}

/// An honest peer whose network makes a block every ten milliseconds from `from` on, beginning at `since`.
struct Growing {
    from: u64,
    since: Instant,
}

impl Behaviour for Growing {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        self.reply_at(self.since, request, chain)
    }

    fn reply_at(&mut self, now: Instant, request: &Request, chain: &TestChain) -> Reply {
        let tip = Height::new(self.from + now.since(self.since).as_millis() as u64 / 10);
        Honest { tip, ..Honest::default() }.reply(request, chain)
    }
}

#[test]
fn a_node_that_decides_asks_nobody_for_its_blocks() {
    let mut world = world(3000, 3);
    let since = Instant::ZERO;
    for name in 1..=4 {
        world.join(name, Growing { from: 100, since });
    }
    // The node comes in from behind, by its peers.
    assert!(world.run_until(MINUTE, |world| world.reached() >= Some(Height::new(100))));
    let mut next = world.machine.applied().get() + 1;
    let mut before = None;
    while next < 2800 {
        // As fast as the network, and a little behind what peers say.
        world.run_until(Duration::from_millis(10), |_| false);
        if world.machine.applied().get() >= next {
            next = world.machine.applied().get() + 1;
        }
        world.decide(one(next));
        next += 1;
        if next == 400 {
            before = Some(asked(&world).len());
        }
    }
    let since_then = asked(&world).split_off(before.unwrap()).len();
    assert_eq!(since_then, 0, "{:?}", asked(&world).last());
    assert!(world.run_until(SECOND, |world| world.machine.applied() == Height::new(2799)));
    // The node decides no more: others are followed again.
    assert!(
        world.run_until(MINUTE, |world| world.machine.applied() == Height::new(3000)),
        "{:?}",
        world.machine.waiting()
    );
    assert_eq!(world.bans, []);
}

#[test]
fn what_peers_were_asked_for_is_taken_back() {
    let mut world = world(200, 1);
    world.join(1, Honest { tip: Height::new(100), ..Honest::default() });
    assert!(world.run_until(MINUTE, |world| world.reached() == Some(Height::new(100))));
    let polls = |world: &World| world.open(|request| matches!(request, Request::Follow { .. }));
    world.run_until(Duration::from_millis(100), |_| false);
    assert_eq!(polls(&world), 1, "it follows");
    decide_all(&mut world, one(101));
    assert_eq!(polls(&world), 0);
}

#[test]
fn blocks_above_a_gap_wait_until_peers_have_filled_it() {
    for strategy in [SyncStrategyType::Auto, SyncStrategyType::Parallel, SyncStrategyType::Incremental] {
        for gap in [1, 63, 64, 65, 500, 1023, 1500, 2600] {
            let mut world = world_of(chain(3000, 1), strategy);
            // Nobody knows of a higher block than the engine: its proof alone says how far to go.
            world.join(1, Honest { tip: Height::new(gap), ..Honest::default() });
            let id = world.decide(range(gap + 1, gap + 1));
            let done = world.run_until(MINUTE, |world| world.answer(id).is_some());
            assert!(done, "{strategy:?}, {gap}: {:?}", world.machine.waiting());
            assert_eq!(world.answer(id), Some(Ok(Height::new(gap + 1))));
            assert!(world.run_until(SECOND, |world| world.reached() == Some(Height::new(gap + 1))));
        }
    }
}

#[test]
fn a_gap_below_a_decided_block_is_filled_by_those_who_have_it() {
    // The network stands still right at the block, and everyone has it.
    for strategy in [SyncStrategyType::Auto, SyncStrategyType::Parallel, SyncStrategyType::Incremental] {
        let mut world = world_of(chain(700, 1), strategy);
        let id = world.decide(one(700));
        world.run_until(SECOND, |_| false);
        assert_eq!(world.machine.target(), Some(Height::new(699)), "the proof moves the target");
        world.join(1, Honest::default());
        assert!(world.run_to_tip(MINUTE), "{strategy:?}: {:?}", world.machine.waiting());
        assert_eq!(world.answer(id), Some(Ok(Height::new(700))));
    }
}

#[test]
fn a_node_decides_while_it_catches_up() {
    for strategy in [SyncStrategyType::Auto, SyncStrategyType::Parallel] {
        let mut world = world_of(chain(6000, 3), strategy);
        for name in 1..=3 {
            world.join(name, Honest { tip: Height::new(5000), rate: 60_000, ..Honest::default() });
        }
        assert!(world.run_until(MINUTE, |world| world.machine.applied() > Height::new(1000)));
        let mut waiting = Vec::new();
        assert!(world.machine.applied() < Height::new(5000), "it is still on its way");
        for height in 5001..=5040 {
            waiting.push(world.decide(one(height)));
            world.run_until(Duration::from_millis(20), |_| false);
        }
        let done = world.run_until(MINUTE, |world| waiting.iter().all(|&id| world.answer(id).is_some()));
        assert!(done, "{strategy:?}: {:?} {:?}", world.machine.waiting(), world.decided);
        assert!(waiting.iter().all(|&id| world.answer(id).unwrap().is_ok()), "{:?}", world.decided);
        assert_eq!(world.applied, (1..=5040).map(Height::new).collect::<Vec<_>>(), "each once, in order");
    }
}

#[test]
fn a_run_with_decided_blocks_replays() {
    let mut world = World::new(chain(400, 4), SyncConfig::default()).unwrap();
    world.record();
    world.start();
    world.join(1, Honest { tip: Height::new(50), ..Honest::default() });
    assert!(world.run_until(MINUTE, |world| world.reached() == Some(Height::new(50))));
    for height in 51..=250 {
        let executed = height % 3 == 0;
        world.tell(Input::Decided(Decided { executed, ..world.source.decided(one(height)).unwrap() }));
        world.run_until(Duration::from_millis(5), |_| false);
    }
    assert!(world.run_until(MINUTE, |world| world.machine.applied() == Height::new(250)));
    let trace = world.trace().unwrap();
    let replayer = trace.replay().unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(replayer.machine().progress(), world.machine.progress());
}

/// An engine that hands in whatever it likes, while peers come and go: each submission is answered, blocks are applied once
/// and in order, and nobody honest is banned.
#[test]
fn any_sequence_of_decided_blocks_ends_well() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let epochs = 1 + rng.below(6);
        let strategy =
            [SyncStrategyType::Auto, SyncStrategyType::Parallel, SyncStrategyType::Incremental][rng.below(3) as usize];
        let mut world = world_of(chain(400, epochs), strategy);
        let bent = rng.below(2) == 0;
        let (mut next, mut ids, mut joined) = (1, 0, 0u8);
        for _ in 0..150 {
            match rng.below(12) {
                0 if joined < 4 => {
                    joined += 1;
                    let (tip, latency) = (Height::new(rng.below(400)), Duration::from_millis(1 + rng.below(300)));
                    world.join(joined, Honest { tip, latency, ..Honest::default() });
                }
                1 if rng.below(4) == 0 => {
                    world.stop();
                    world.start();
                }
                2 => {
                    world.run_until(Duration::from_millis(rng.below(3000)), |_| false);
                }
                _ => {
                    // Mostly what comes next, sometimes what is there or far off.
                    let first = if rng.below(6) == 0 { 1 + rng.below(380) } else { next };
                    let blocks = range(first, (first + rng.below(4)).min(400));
                    ids += 1;
                    let id = DecidedId::from_raw(10_000 + ids);
                    if let Some(decided) = world.source.decided(blocks).filter(|_| first <= 380) {
                        let mut bytes = decided.bytes.to_vec();
                        if bent && rng.below(5) == 0 {
                            let at = rng.below(bytes.len() as u64) as usize;
                            bytes[at] ^= 1;
                        }
                        world.tell(Input::Decided(Decided { id, bytes: bytes.into(), ..decided }));
                    }
                    next = world.machine.applied().get() + 1;
                }
            }
            world.run_until(Duration::from_millis(rng.below(20)), |_| false);
        }
        // With somebody who has all blocks everything is answered, and the sync is complete.
        world.join(9, Honest::default());
        assert!(world.run_to_tip(MINUTE * 10), "seed {seed}: {:?}", world.machine.waiting());
        world.run_until(MINUTE, |_| false);
        assert_eq!(world.applied, (1..=400).map(Height::new).collect::<Vec<_>>(), "seed {seed}: each once, in order");
        assert_eq!(world.bans, [], "seed {seed}");
        let asked = (1..=ids).map(|id| DecidedId::from_raw(10_000 + id));
        let answers = |id: DecidedId| world.decided.iter().filter(|&&(answered, _)| answered == id).count();
        let wrong: Vec<_> = asked.filter(|&id| answers(id) > 1).collect();
        assert_eq!(wrong, [], "seed {seed}: answered twice");
        assert_eq!(world.told.len(), world.decided.len(), "seed {seed}: {:?}", world.decided);
        let progress = world.machine.progress();
        assert!(progress.peak_buffered_bytes <= progress.budget_bytes, "seed {seed}");
    }
}
