//! Leaders take turns, votes go to the next leader, and every third leader is silent: a block is certified where its own
//! leader and the next are awake, and hardly ever are two in consecutive views. All blocks can be proven all the same: joiners
//! arrive, and epochs end.

use std::time::Duration;

use hotstuff2_sync::chain::Chain as _;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Epoch, View};
use hotstuff2_sync::limits::{MAX_PROOF_PATH, MAX_VALIDATORS};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, World};

/// Whether the leader of a view is awake: of `validators`, every third is silent, as long as it is less than a third.
fn awake(validators: u64, view: u64) -> bool {
    let (place, silent) = (view % validators, (validators - 1) / 3);
    place % 3 != 2 || place / 3 >= silent
}

/// The first view above `view` whose block is certified.
fn certified_after(validators: u64, view: u64) -> u64 {
    (view + 1..).find(|&view| awake(validators, view) && awake(validators, view + 1)).unwrap()
}

/// The views of the first `blocks` blocks, genesis before them.
fn views(validators: u64, blocks: u64) -> Vec<u64> {
    std::iter::successors(Some(0), |&view| Some(certified_after(validators, view)))
        .take(usize::try_from(blocks + 1).unwrap())
        .collect()
}

/// How many headers the proof of the block at `height` has above it.
fn path(views: &[u64], height: usize) -> Option<usize> {
    (height + 1..views.len()).find(|&top| views[top] == views[top - 1] + 1).map(|top| top - height)
}

/// The last height of an epoch for which the longest path is needed to end it, from 1,030 on.
fn worst_end(validators: u64) -> u64 {
    let views = views(validators, 1030 + 3 * validators);
    let ends = 1030..1030 + usize::try_from(validators).unwrap();
    let worst = ends.max_by_key(|&height| path(&views, height)).unwrap();
    worst as u64
}

#[test]
fn silent_leaders_do_not_outrun_the_path() {
    for (validators, strategy) in [
        (202, SyncStrategyType::Auto),
        (250, SyncStrategyType::Parallel),
        (250, SyncStrategyType::Incremental),
        (1000, SyncStrategyType::Auto),
    ] {
        let end = worst_end(validators);
        let spec = ChainSpec { blocks: 2 * end, epochs: 2, validators, ..ChainSpec::default() };
        let chain = TestChain::with_hook(spec, move |header| {
            header.view = View::new(certified_after(validators, header.justify_view.get()));
        })
        .unwrap();
        // The epoch ends, though not before as many blocks are certified as there are silent leaders.
        let link = &chain.handovers()[0];
        let needed = chain.proof(link.boundary).unwrap().descendants().len();
        assert!(needed as u64 >= (validators - 1) / 3, "{validators}: {needed}");
        chain.chain().verify_handover(&chain.context(Epoch::ZERO).unwrap(), &link.bytes).unwrap();

        let tip = chain.tip_height();
        let mut world = World::new(chain, SyncConfig { default_strategy: strategy, ..SyncConfig::default() }).unwrap();
        for name in 1..=3 {
            world.join(name, Honest::default());
        }
        world.start();
        assert!(world.run_to_tip(Duration::from_secs(60)), "{validators} {strategy}: {:?}", world.events.last());
        assert_eq!(world.machine.applied(), tip);
        assert!(world.bans.is_empty(), "{validators} {strategy}: {:?}", world.bans);
    }
}

#[test]
fn the_path_is_long_enough_for_every_set() {
    for validators in (4..400).chain([1000, 2047, 4095, MAX_VALIDATORS as u64]) {
        let views = views(validators, 3 * validators + 8);
        let heights = 1..=usize::try_from(validators).unwrap();

        let needed = heights.map(|height| path(&views, height).expect("there is always a pair")).max().unwrap();
        assert!(needed <= MAX_PROOF_PATH, "{validators}: {needed}");
    }
}
