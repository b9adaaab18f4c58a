//! A node that begins above a checkpoint: other chains are not taken for its own, and a state comes before blocks.

use std::time::Duration;

use hotstuff2_sync::calls::{BlockPoint, Start, TrustingPeriod};
use hotstuff2_sync::chain::Finalized;
use hotstuff2_sync::chain::native::{AnchorError, ConflictEvidence};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::machine::{Event, HaltReason, NewMachineError};
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain, Turnover};
use hotstuff2_sync_testkit::world::{Behaviour as _, Honest, Reply, Scripted, StateHost, World};

const STRATEGIES: [SyncStrategyType; 3] =
    [SyncStrategyType::Incremental, SyncStrategyType::Parallel, SyncStrategyType::Auto];

fn spec() -> ChainSpec {
    ChainSpec { blocks: 3000, epochs: 3, validators: 10, ..ChainSpec::default() }
}

/// Where a node stands that begins above the block at `height`.
fn start(source: &TestChain, height: u64) -> Start {
    let height = Height::new(height);
    Start {
        stored: BlockPoint { height, id: source.id(height).unwrap() },
        stored_time: source.header(height).unwrap().timestamp,
        stored_proof: Some(Finalized::Tip(source.tip(height).unwrap())),
        applied: height,
        epoch: source.epoch_of(height).unwrap().info().to_ref(),
        ..source.start()
    }
}

/// A peer with another chain than the world's.
fn of_chain(other: &TestChain) -> Scripted<impl FnMut(&Request, &TestChain, Reply) -> Reply + 'static> {
    let other = other.clone();
    Scripted(move |request: &Request, _: &TestChain, _: Reply| Honest::default().reply(request, &other))
}

#[test]
fn a_network_with_another_chain_than_the_checkpoint_halts_the_sync() {
    for strategy in STRATEGIES {
        let source = TestChain::new(spec()).unwrap();
        // The same validators signed both, from below the checkpoint on.
        let fork = source.fork(Height::new(1400)).unwrap();
        let config = SyncConfig { default_strategy: strategy, ..SyncConfig::default() };
        let mut world = World::from(source.clone(), config, start(&source, 1500)).unwrap();
        for name in 1..=3 {
            world.join(name, of_chain(&fork));
        }
        world.start();
        let halted = world.run_until(Duration::from_secs(120), |world| world.machine.is_halted());
        assert!(halted, "{strategy}: {:?}", world.events.last());
        let evidence = world.events.iter().find_map(|(_, event)| match event {
            Event::Halted(HaltReason::ConflictingFinality { evidence, .. }) => Some(evidence.clone()),
            _ => None,
        });
        // It holds both blocks, and whoever has the validators' keys can check it.
        let conflict = ConflictEvidence::decode(&evidence.unwrap()).unwrap();
        conflict.verify(&source.context(Epoch::new(1)).unwrap()).unwrap();
        assert_eq!(world.machine.applied(), Height::new(1500), "{strategy}");
    }
}

#[test]
fn keys_of_before_a_checkpoint_move_nothing_above_it() {
    for strategy in STRATEGIES {
        let source = TestChain::new(spec()).unwrap();
        // The genesis document is the same, and the validators of the epochs after the first are others: the old ones could
        // have named them at any time.
        let other =
            TestChain::new(ChainSpec { turnover: Turnover::Some { replaced: 9, epochs: 1 }, ..spec() }).unwrap();
        assert_eq!(source.genesis(), other.genesis());
        assert_ne!(source.epoch_ref(Epoch::new(1)), other.epoch_ref(Epoch::new(1)));
        let config = SyncConfig { default_strategy: strategy, ..SyncConfig::default() };
        let mut world = World::from(source.clone(), config, start(&source, 1500)).unwrap();
        for name in 1..=3 {
            world.join(name, of_chain(&other));
        }
        world.start();
        world.run_until(Duration::from_secs(60), |_| false);
        assert!(!world.machine.is_halted() && world.reached().is_none(), "{strategy}");
        assert_eq!((world.machine.applied(), world.machine.target()), (Height::new(1500), None), "{strategy}");
        // One honest peer among them is enough.
        world.join(9, Honest::default());
        assert!(world.run_to_tip(Duration::from_secs(300)), "{strategy}: {:?}", world.events.last());
        assert_eq!(world.applied.first(), Some(&Height::new(1501)), "{strategy}");
    }
}

#[test]
fn an_aged_checkpoint_makes_no_machine() {
    let source = TestChain::new(spec()).unwrap();
    let fresh = start(&source, 1500);
    let anchor_time = fresh.stored_time;
    let made = |age_ms: u64| {
        let wall = UnixMillis::new(anchor_time.get() + age_ms);
        let trust = TrustingPeriod { period_ms: 5000, anchor_time, wall };
        World::from(source.clone(), SyncConfig::default(), Start { trust: Some(trust), ..fresh.clone() }).map(drop)
    };
    assert_eq!(made(5000), Ok(()));
    let refused = AnchorError::TooOld { age_ms: 5001, trusting_period_ms: 5000 };
    assert_eq!(made(5001), Err(NewMachineError::Trust(refused)));
    assert!(refused.to_string().contains("take a newer checkpoint"));
}

#[test]
fn no_block_is_executed_before_the_state_that_a_checkpoint_lacks() {
    let spec = ChainSpec { blocks: 1600, epochs: 2, snapshot_interval: 500, ..ChainSpec::default() };
    let source = TestChain::with_ledger(spec, 300, 100).unwrap();
    // 1,400 is so near to the tip that blocks alone would do, were there a state to execute them on.
    for (begin, strategy) in STRATEGIES.into_iter().flat_map(|strategy| [(900, strategy), (1400, strategy)]) {
        let config = SyncConfig { default_strategy: strategy, ..SyncConfig::default() };
        let lacking = Start { stages_state: true, lacks_state: true, ..start(&source, begin) };
        let host = StateHost::new(source.chain());
        let mut world = World::from(source.clone(), config, lacking).unwrap();
        world.set_host(host.clone());
        for name in 1..=3 {
            world.join(name, Honest::default());
        }
        world.start();
        assert!(world.run_to_tip(Duration::from_secs(120)), "{begin} {strategy}: {:?}", world.events.last());
        let base = host.held.borrow().activated.as_ref().map(|base| base.point.height);
        assert_eq!(base, Some(Height::new(1500)), "{begin} {strategy}");
        assert_eq!(world.applied.first(), Some(&Height::new(1501)), "{begin} {strategy}");
        let tip = source.header(source.tip_height()).unwrap();
        assert_eq!(host.root(), tip.state_root, "{begin} {strategy}");
    }
    // Where no state above is served, one is waited for, and the reason is said: no block does instead.
    let lacking = Start { stages_state: true, lacks_state: true, ..start(&source, 1550) };
    let mut world = World::from(source.clone(), SyncConfig::default(), lacking).unwrap();
    world.set_host(StateHost::new(source.chain()));
    world.join(1, Honest::default());
    world.start();
    world.run_until(Duration::from_secs(60), |_| false);
    assert_eq!((world.machine.applied(), world.reached()), (Height::new(1550), None));
    assert!(world.applied.is_empty());
    assert!(world.events.iter().any(|(_, event)| matches!(event, Event::Stalled { .. })));
    // A host that can't stage one is told so.
    let lacking = Start { lacks_state: true, ..start(&source, 1550) };
    let made = World::from(source, SyncConfig::default(), lacking).map(drop);
    assert_eq!(made, Err(NewMachineError::NoStaging));
}
