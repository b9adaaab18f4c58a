//! Fetching a state: whole, moving, in part, and again after a restart.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::calls::Start;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::Event;
use hotstuff2_sync::state::{MemoryStateStore, StateForm};
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::TestChain;
use hotstuff2_sync_testkit::ledger::Ledger;
use hotstuff2_sync_testkit::world::{Behaviour as _, Honest, Reply, Scripted, StateHost, World};

use crate::{MINUTE, assert_arrived, chain, fast, honest, keeping, state, state_bytes, world_with};

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

#[test]
fn who_serves_a_state_is_asked_for_what_proves_it() {
    // Its blocks begin above the state, as it has fetched that itself, and at the second it has none at all yet.
    for (tip, earliest) in [(1700, 1501), (1500, 1501)] {
        let (mut world, host) = world_with(chain(tip, 300), fast());
        world.join(1, Honest { earliest: Height::new(earliest), ..keeping(1500, 1500) });
        world.start();
        assert_arrived(&mut world, &host, 1500);
    }
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
fn a_late_part_of_a_state_is_taken_from_who_says_nothing_any_more() {
    // It gives some of the state and falls silent. What it was asked for is too large to be asked for twice, and need not
    // wait for its time-outs all the same.
    let config = fast();
    let timeout = config.peer_timeout;
    let (mut world, host) = world_with(chain(1100, 150_000), config);
    let mut given = 0;
    let silent = world.join(
        1,
        Scripted(move |request: &Request, chain: &TestChain, _| {
            let leaves = matches!(request, Request::State { form: StateForm::Leaves, .. });
            given += u32::from(leaves);
            if leaves && given > 3 { Reply::Never } else { honest().reply(request, chain) }
        }),
    );
    world.join(2, Honest { rate: 1_000_000, ..honest() });
    world.start();
    let active = world.run_until(timeout / 2, |_| host.held.borrow().activated.is_some());
    assert!(active, "{:#?} {:?}", world.machine.progress(), world.machine.downloads());
    let taken = world.machine.downloads().get_download_statistics().reassigned;
    assert!(taken > 0 && world.machine.peer(&silent).unwrap().unanswered > 0, "{taken}");
    assert_arrived(&mut world, &host, 1000);
    assert!(world.bans.is_empty());
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
        stored: hotstuff2_sync::calls::BlockPoint { height: old, id: source.id(old).unwrap() },
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
