//! State first: the walk, its liars, its moving targets, and what it does where nobody can help.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncHistory, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{
    Applied, Apply, Event, HaltReason, HistoryCall, HistoryGap, StallReason, Start, StateCall, StateProgress,
    StateReply, StateWork, StoreError,
};
use hotstuff2_sync::ranges::{HeightRange, grid_cell};
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::state::{MemoryStateStore, StateForm};
use hotstuff2_sync::wire::{Refusal, Request, SnapshotClaim, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::ledger::Ledger;
use hotstuff2_sync_testkit::world::{Applier, Behaviour, Honest, Reply, Scripted, StateHost, World};

const MINUTE: Duration = Duration::from_secs(60);
const INTERVAL: u64 = 500;

fn spec(blocks: u64) -> ChainSpec {
    ChainSpec { blocks, epochs: 3, snapshot_interval: INTERVAL, ..ChainSpec::default() }
}

fn chain(blocks: u64, accounts: u32) -> TestChain {
    TestChain::with_ledger(spec(blocks), accounts, 100).unwrap()
}

fn keeping(first: u64, last: u64) -> Honest {
    Honest { states: HeightRange::new(Height::new(first), Height::new(last)), ..Honest::default() }
}

fn honest() -> Honest {
    Honest::default()
}

fn fast() -> SyncConfig {
    SyncConfig { default_strategy: SyncStrategyType::Fast, ..SyncConfig::default() }
}

fn world_with(chain: TestChain, config: SyncConfig) -> (World, StateHost) {
    let host = StateHost::new(chain.chain());
    let start = Start { stages_state: true, ..chain.start() };
    let mut world = World::from(chain, config, start).unwrap();
    world.set_host(host.clone());
    (world, host)
}

fn state(world: &World) -> StateProgress {
    world.machine.progress().state.unwrap()
}

/// The end is right: everything applied on the right state, in order and without a gap, every byte given back.
fn assert_arrived(world: &mut World, host: &StateHost, base: u64) {
    assert!(world.run_to_tip(MINUTE * 10), "{:#?} {:#?}", world.events, world.machine.progress());
    let tip = world.source.tip_height();
    assert_eq!(host.held.borrow().applied, tip);
    assert_eq!(Some(host.root()), world.source.header(tip).map(|header| header.state_root));
    assert_eq!(host.held.borrow().activated.as_ref().map(|base| base.point.height), Some(Height::new(base)));
    let expected: Vec<Height> = (base + 1..=tip.get()).map(Height::new).collect();
    assert_eq!(world.applied, expected, "blocks go on right above the state");
    world.machine.stop(world.now());
    assert_eq!(world.machine.progress().buffered_bytes, 0, "every reservation was given back");
}

fn state_bytes(chain: &TestChain, height: u64) -> u64 {
    let state = chain.state(Height::new(height)).unwrap();
    state.records().map(|(_, record)| record.len() as u64).sum()
}

#[test]
fn a_state_is_fetched_and_blocks_go_on_from_there() {
    for (blocks, accounts, base) in [(1700, 5000, 1500), (1500, 300, 1500), (1501, 1, 1500), (600, 3000, 500)] {
        let (mut world, host) = world_with(chain(blocks, accounts), fast());
        world.join(1, honest());
        world.join(2, honest());
        world.start();
        assert_arrived(&mut world, &host, base);
        let done = state(&world);
        assert_eq!((done.done_ppm, done.moves, done.refetched_bytes), (1_000_000, 0, 0), "{done:?}");
        assert_eq!(done.bytes, state_bytes(&world.source, base));
        assert!(world.bans.is_empty());
        let strategies: Vec<SyncStrategyType> = world
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Strategy { strategy, .. } => Some(*strategy),
                _ => None,
            })
            .collect();
        assert_eq!(strategies.first(), Some(&SyncStrategyType::Fast), "{strategies:?}");
    }
}

/// An answer of `honest` to a request for leaves, bent.
fn bends(mut bend: impl FnMut(&mut Vec<u8>) + 'static) -> impl Behaviour {
    Scripted(move |request: &Request, chain: &TestChain, _| {
        let reply = honest().reply(request, chain);
        match (request, reply) {
            (Request::State { .. }, Reply::After(after, answer)) => {
                let mut answer = answer.to_vec();
                bend(&mut answer);
                Reply::After(after, answer.into())
            }
            (_, reply) => reply,
        }
    })
}

#[test]
fn a_liar_about_the_state_is_banned_at_once_and_the_others_finish() {
    let lies: [fn(&mut Vec<u8>); 3] = [
        |answer| {
            if let Some(last) = answer.last_mut() {
                *last ^= 1;
            }
        },
        |answer| {
            answer.pop();
        },
        |answer| answer.extend_from_slice(&[1, 2, 3]),
    ];
    for lie in lies {
        let (mut world, host) = world_with(chain(1100, 4000), fast());
        let liar = world.join(9, bends(lie));
        world.join(1, honest());
        world.start();
        assert_arrived(&mut world, &host, 1000);
        let asked: Vec<_> = world.requests.iter().filter(|(_, peer, _)| *peer == liar).collect();
        let subtrees = asked.iter().filter(|(_, _, request)| matches!(request, Request::State { .. })).count();
        assert!(world.is_banned(liar) || subtrees == 0, "one answer is enough");
        assert!(subtrees <= 2, "{subtrees} questions went to the liar before its first answer was seen");
        assert_eq!(world.bans.len(), usize::from(subtrees > 0));
    }
}

#[test]
fn chunk_of_another_height_is_found_on_arrival() {
    // It answers for the state before, as if that were the one that was asked for: the shape is right, the hash is not.
    let (mut world, host) = world_with(chain(1100, 2000), fast());
    let stale = Scripted(|request: &Request, chain: &TestChain, reply| match request {
        Request::State { form, items, max_bytes, .. } => {
            let old = chain.state(Height::new(500)).unwrap();
            let items = items
                .iter()
                .map(|item| {
                    let (hash, _) = hotstuff2_sync::state::subtree(old, &item.prefix).unwrap();
                    hotstuff2_sync::state::StateItem { hash, ..*item }
                })
                .collect();
            let request = Request::State { height: Height::new(500), form: *form, items, max_bytes: *max_bytes };
            honest().reply(&request, chain)
        }
        Request::Status => honest().reply(request, chain),
        _ => reply,
    });
    let liar = world.join(9, stale);
    world.start();
    assert!(world.run_until(MINUTE, |world| world.is_banned(liar)), "{:#?}", world.events);
    world.join(1, honest());
    assert_arrived(&mut world, &host, 1000);
}

#[test]
fn pinned_peer_dies() {
    // One peer goes away in the middle, another never answers for states: nothing belongs to a peer for ever.
    let (mut world, host) = world_with(chain(1100, 20_000), SyncConfig { memory_budget: 8 << 20, ..fast() });
    let slow = |rate| Honest { rate, ..honest() };
    let first = world.join(1, slow(200_000));
    world.join(
        3,
        Scripted(|request: &Request, chain: &TestChain, _| match request {
            Request::State { .. } => Reply::Never,
            _ => honest().reply(request, chain),
        }),
    );
    world.start();
    assert!(world.run_until(MINUTE, |world| {
        world.requests.iter().any(|(_, peer, request)| {
            *peer == first && matches!(request, Request::State { form: StateForm::Leaves, .. })
        })
    }));
    world.leave(first);
    world.join(2, slow(5_000_000));
    assert_arrived(&mut world, &host, 1000);
    assert!(world.bans.is_empty(), "silence and leaving are no proof of anything");
}

#[test]
fn target_moves_under_the_download() {
    let moves = [(500, 500), (1000, 1000), (1500, 1500), (2000, 2000)];
    let (mut world, host) = world_with(chain(2100, 150_000), SyncConfig { memory_budget: 8 << 20, ..fast() });
    let kept = Rc::new(Cell::new(0));
    for name in 1..=2 {
        let kept = Rc::clone(&kept);
        world.join(
            name,
            Scripted(move |request: &Request, chain: &TestChain, _| {
                let (first, last) = moves[kept.get()];
                Honest { rate: 1_000_000, ..keeping(first, last) }.reply(request, chain)
            }),
        );
    }
    world.start();
    for step in 1..moves.len() {
        let target = Height::new(moves[step - 1].1);
        let begun = |world: &World| world.machine.progress().state.is_some_and(|state| state.height == target);
        assert!(world.run_until(MINUTE, begun), "{:#?}", world.events);
        let before = host.held.borrow().stagings.len();
        let staged = world.run_until(MINUTE, |_| host.held.borrow().stagings.len() > before + 1);
        assert!(staged, "{:#?}", world.events);
        kept.set(step);
    }
    assert_arrived(&mut world, &host, 2000);
    let done = state(&world);
    assert_eq!(done.moves, 3, "{:#?}", world.events);
    let still = state_bytes(&world.source, 2000);
    assert!(done.bytes < still * 3 / 2, "unchanged places are kept: {} bytes for a state of {still}", done.bytes);
    assert!(world.bans.is_empty());
}

#[test]
fn a_node_with_an_old_state_fetches_what_differs() {
    let source = chain(2100, 30_000);
    let old = Height::new(1500);
    let host = StateHost::with_state(source.chain(), source.state(old).unwrap().clone(), old);
    let start = Start {
        stages_state: true,
        stored: hotstuff2_sync::machine::BlockPoint { height: old, id: source.id(old).unwrap() },
        applied: old,
        epoch: source.epoch_of(old).unwrap().info().to_ref(),
        handovers: source.handovers().iter().filter(|link| link.boundary >= old).cloned().collect(),
        ..source.start()
    };
    let mut world = World::from(source, fast(), start).unwrap();
    world.set_host(host.clone());
    world.join(1, honest());
    world.start();
    assert_arrived(&mut world, &host, 2000);
    let (done, whole) = (state(&world), state_bytes(&world.source, 2000));
    assert!(done.bytes < whole / 2, "4,000 of 30,000 accounts at most have changed: {} of {whole} bytes", done.bytes);
    assert!(done.held > 0);
}

#[test]
fn what_was_staged_is_not_fetched_again_after_a_restart() {
    let source = chain(1100, 150_000);
    let host = StateHost::new(source.chain());
    let mut leaves = Vec::new();
    let mut rounds = 0;
    loop {
        rounds += 1;
        let start = Start { stages_state: true, ..source.start() };
        let config = SyncConfig { memory_budget: 8 << 20, ..fast() };
        let mut world = World::from(source.clone(), config, start).unwrap();
        world.set_host(host.clone());
        world.join(1, Honest { rate: 2_000_000, ..honest() });
        world.start();
        // The machine is lost after some more was staged; the host is not.
        let before = host.held.borrow().stagings.len();
        let staged = |_: &World| host.held.borrow().stagings.len() > before;
        let lost = world.run_until(MINUTE, |world| staged(world) || host.held.borrow().activated.is_some());
        assert!(lost, "{:#?}", world.events);
        leaves.extend(host.held.borrow().stagings[before..].iter().copied());
        if host.held.borrow().activated.is_some() {
            assert_arrived(&mut world, &host, 1000);
            break;
        }
    }
    assert!(rounds > 2, "{rounds}");
    let distinct: BTreeSet<_> = leaves.iter().map(|item| item.prefix).collect();
    assert_eq!(distinct.len(), leaves.len(), "no place was staged twice");
    for (index, item) in leaves.iter().enumerate() {
        let covered = leaves[..index].iter().any(|before| before.prefix.covers(&item.prefix));
        assert!(!covered, "{item:?} was there already");
    }
}

#[test]
fn nobody_has_a_snapshot() {
    let (mut world, host) = world_with(chain(1100, 100), fast());
    world.join(1, Honest { states: None, ..honest() });
    world.start();
    let stalled = |world: &World| {
        world.events.iter().any(|(_, event)| matches!(event, Event::Stalled { reason: StallReason::NoSnapshot(_), .. }))
    };
    assert!(world.run_until(MINUTE, stalled), "{:#?}", world.events);
    world.join(2, honest());
    assert_arrived(&mut world, &host, 1000);
}

#[test]
fn nobody_gives_what_is_claimed() {
    // They say that they serve states, and have none; then one comes that has.
    let (mut world, host) = world_with(chain(1100, 100), fast());
    for name in 1..=3 {
        world.join(
            name,
            Scripted(|request: &Request, chain: &TestChain, _| match request {
                Request::State { .. } => Reply::After(Duration::from_millis(5), encode_refusal(Refusal::NotAvailable)),
                _ => honest().reply(request, chain),
            }),
        );
    }
    world.start();
    let stalled = |world: &World| world.events.iter().any(|(_, event)| matches!(event, Event::Stalled { .. }));
    assert!(world.run_until(MINUTE, stalled), "{:#?}", world.events);
    world.join(7, honest());
    assert_arrived(&mut world, &host, 1000);
    assert!(world.bans.is_empty());
}

#[test]
fn final_root_mismatch_is_an_error_with_a_plan() {
    let mismatches =
        |world: &World| world.events.iter().filter(|(_, event)| matches!(event, Event::StateMismatch { .. })).count();
    let (mut world, host) = world_with(chain(1100, 2000), fast());
    host.held.borrow_mut().damage = 2;
    world.join(1, honest());
    world.start();
    assert_arrived(&mut world, &host, 1000);
    assert_eq!(mismatches(&world), 2, "what was lost is found and fetched again");
    assert!(world.bans.is_empty(), "no peer is to blame");

    let (mut world, host) = world_with(chain(1100, 2000), fast());
    host.held.borrow_mut().damage = u32::MAX;
    world.join(1, honest());
    world.start();
    let halted = world.run_until(MINUTE, |world| world.machine.is_halted());
    assert!(halted, "a disk that is bad each time is not tried for ever");
    let said = world.events.iter().any(|(_, event)| matches!(event, Event::Halted(HaltReason::StateRoot { .. })));
    assert!(said, "{:#?}", world.events);
    assert!(host.held.borrow().activated.is_none());
}

/// A host that takes long to make a state live, and counts how often it is asked to.
struct Thorough {
    host: StateHost,
    activations: Rc<Cell<u32>>,
}

impl Applier for Thorough {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        self.host.apply(apply)
    }

    fn state(&mut self, call: &StateCall) -> Option<(Duration, Result<StateReply, StoreError>)> {
        let (after, reply) = self.host.state(call)?;
        let StateWork::Activate(_) = call.work else { return Some((after, reply)) };
        self.activations.set(self.activations.get() + 1);
        Some((Duration::from_secs(30), reply))
    }
}

#[test]
fn a_state_is_made_live_once_however_long_that_takes() {
    let (mut world, host) = world_with(chain(1100, 2000), fast());
    let activations = Rc::default();
    world.set_host(Thorough { host: host.clone(), activations: Rc::clone(&activations) });
    world.join(1, honest());
    world.join(2, honest());
    world.start();
    assert_arrived(&mut world, &host, 1000);
    assert_eq!(activations.get(), 1);
}

/// A host that stores history too.
struct Historian {
    host: StateHost,
    source: TestChain,
    stored: Rc<RefCell<Vec<HistoryCall>>>,
}

fn gap(source: &TestChain, last: Height) -> Option<HistoryGap> {
    let epoch = source.epoch_of(last).filter(|_| last > Height::ZERO)?.info().to_ref();
    let first = grid_cell(last, epoch.range())?.first().max(Height::new(1));
    Some(HistoryGap { range: HeightRange::new(first, last)?, last_id: source.id(last)?, epoch })
}

impl Applier for Historian {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        self.host.apply(apply)
    }

    fn state(&mut self, call: &StateCall) -> Option<(Duration, Result<StateReply, StoreError>)> {
        self.host.state(call)
    }

    fn history(&mut self, call: &HistoryCall) -> Option<(Duration, Result<Option<HistoryGap>, StoreError>)> {
        self.stored.borrow_mut().push(call.clone());
        let below = call.segment.range().first().prev()?;
        Some((Duration::from_millis(1), Ok(gap(&self.source, below))))
    }
}

#[test]
fn history_is_filled_in_below_the_state_once_the_tip_is_reached() {
    for (history, bodies) in [(SyncHistory::Headers, false), (SyncHistory::Blocks, true)] {
        let source = chain(3100, 100);
        let (mut world, host) = world_with(source.clone(), SyncConfig { history, ..fast() });
        let stored = Rc::new(RefCell::new(Vec::new()));
        world.set_host(Historian { host: host.clone(), source: source.clone(), stored: Rc::clone(&stored) });
        // A liar about history among them.
        world.join(
            8,
            Scripted(|request: &Request, _: &TestChain, reply| match (request, reply) {
                (Request::Segment { certified: false, .. }, Reply::After(after, answer)) => {
                    let mut answer = answer.to_vec();
                    if let Some(byte) = answer.get_mut(200) {
                        *byte ^= 1;
                    }
                    Reply::After(after, answer.into())
                }
                (_, reply) => reply,
            }),
        );
        world.join(1, honest());
        world.start();
        assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
        assert!(stored.borrow().is_empty());
        world.offer_history(gap(&source, Height::new(3000)).unwrap());
        let complete = |world: &World| world.events.iter().any(|(_, event)| *event == Event::HistoryComplete);
        assert!(world.run_until(MINUTE, complete), "{:#?} {:?}", world.events, stored.borrow().len());
        let mut next = Height::new(3000);
        for call in stored.borrow().iter() {
            let range = call.segment.range();
            assert_eq!((range.last(), call.segment.last_id()), (next, source.id(next).unwrap()));
            let frames = call.frames.iter().flatten().map(|frame| frame.range);
            let held: u64 = frames.map(HeightRange::count).sum();
            assert_eq!(held, if bodies { range.count() } else { 0 });
            next = range.first().prev().unwrap();
        }
        assert_eq!(next, Height::ZERO, "down to the anchor");
        world.stop();
        assert_eq!(world.machine.progress().buffered_bytes, 0);
    }
}

#[test]
fn auto_takes_the_state_where_that_is_shorter_and_says_why() {
    let chosen = |world: &World| -> Vec<SyncStrategyType> {
        let events = world.events.iter().filter_map(|(_, event)| match event {
            Event::Strategy { strategy, costs, .. } => {
                assert!(costs.blocks_ms > 0 && costs.gap > 0, "{costs:?}");
                Some(*strategy)
            }
            _ => None,
        });
        events.collect()
    };
    // Slow peers, so that the blocks of the gap would take minutes; the state is small.
    let slow = || Honest { rate: 20_000, ..honest() };
    let config = SyncConfig { state_after: Duration::from_secs(10), ..SyncConfig::default() };
    let (mut world, host) = world_with(chain(20_500, 50), config);
    world.join(1, slow());
    world.join(2, slow());
    world.start();
    assert!(world.run_to_tip(MINUTE * 20), "{:#?}", world.events);
    assert_eq!(host.held.borrow().activated.as_ref().map(|base| base.point.height), Some(Height::new(20_500)));
    assert!(chosen(&world).contains(&SyncStrategyType::Fast), "{:?}", chosen(&world));

    // A short gap is crossed with blocks, whatever the state is like.
    let (mut world, host) = world_with(chain(1100, 50), SyncConfig::default());
    let mut genesis = Ledger::genesis(MemoryStateStore::default(), 50).unwrap();
    let writes = genesis.take_writes();
    host.held.borrow_mut().live.write(writes);
    world.join(1, honest());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
    assert!(host.held.borrow().activated.is_none());
    assert!(!chosen(&world).contains(&SyncStrategyType::Fast), "{:?}", chosen(&world));
}

#[test]
fn a_peer_with_a_new_offer_each_time_holds_nobody_up() {
    // It offers the state of another block whenever it is asked, and gives none: by silence, or by saying so.
    for silent in [true, false] {
        let (mut world, host) = world_with(chain(1700, 2000), fast());
        let mut asked = 0;
        world.join(
            9,
            Scripted(move |request: &Request, chain: &TestChain, reply| match request {
                Request::Status => {
                    asked += 1;
                    let status = |last| {
                        chain
                            .view(Height::new(1), Height::MAX)
                            .with_states(HeightRange::new(Height::ZERO, last))
                            .status()
                    };
                    let height = Height::new(1600 + asked % 100);
                    let mut status = status(Height::MAX);
                    status.snapshots =
                        status.snapshots.map(|claim| SnapshotClaim { oldest: height, newest: height, ..claim });
                    let answer = [&[0], postcard::to_allocvec(&status).unwrap().as_slice()].concat();
                    Reply::After(Duration::from_millis(2), answer.into())
                }
                Request::State { .. } if silent => Reply::Never,
                Request::State { .. } => Reply::After(Duration::from_millis(2), encode_refusal(Refusal::NotAvailable)),
                _ => reply,
            }),
        );
        world.join(1, honest());
        world.start();
        assert_arrived(&mut world, &host, 1500);
        assert!(world.bans.is_empty());
        let lost = world.events.iter().filter(|(_, event)| matches!(event, Event::StateLost { .. })).count();
        assert!((1..=2).contains(&lost), "silent: {silent}, {lost} targets were tried in vain: {:#?}", world.events);
    }
}
