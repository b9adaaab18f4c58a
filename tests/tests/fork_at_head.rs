//! The block at a node's own head is proven to be another one, with nothing above it: the sync halts with evidence.

use std::time::Duration;

use hotstuff2_sync::calls::{BlockPoint, Start};
use hotstuff2_sync::chain::Finalized;
use hotstuff2_sync::chain::native::ConflictEvidence;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::machine::{Event, HaltReason};
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour as _, Honest, Reply, Scripted, World, claiming, status_answer};

#[test]
fn a_fork_at_the_head_halts() {
    for strategy in [SyncStrategyType::Incremental, SyncStrategyType::Parallel, SyncStrategyType::Auto] {
        for kept in [true, false] {
            let source = TestChain::new(ChainSpec { blocks: 3000, epochs: 1, ..ChainSpec::default() }).unwrap();
            let fork = source.fork(Height::new(30)).unwrap();
            let head = Height::new(50);
            let start = Start {
                stored: BlockPoint { height: head, id: source.id(head).unwrap() },
                stored_proof: kept.then(|| Finalized::Tip(source.tip(head).unwrap())),
                applied: head,
                epoch: source.epoch_of(head).unwrap().info().to_ref(),
                ..source.start()
            };
            let context = source.context(Epoch::ZERO).unwrap();
            let config = SyncConfig { default_strategy: strategy, ..SyncConfig::default() };
            let mut world = World::from(source, config, start).unwrap();
            // The liar claims a block more than it proves: a peer that claims the head alone is not asked for a
            // proof.
            let liar = Scripted(move |request: &Request, _: &TestChain, _: Reply| match request {
                Request::Status => Reply::After(Duration::from_millis(1), status_answer(&claiming(&fork, 51, 0))),
                _ => Honest { tip: head, ..Honest::default() }.reply(request, &fork),
            });
            world.join(1, liar);
            world.start();
            let halted = world.run_until(Duration::from_secs(120), |world| world.machine.is_halted());
            assert!(halted, "{strategy}: {:?}", world.machine.position().proven.map(|(facts, _)| facts));
            let evidence = world.events.iter().find_map(|(_, event)| match event {
                Event::Halted(HaltReason::ConflictingFinality { height, evidence }) if *height == head => {
                    Some(evidence.clone())
                }
                _ => None,
            });
            let evidence = evidence.expect("it says at which height");
            // Where the host kept no proof of its own block there is nothing to show, and the node stops all the same.
            assert_eq!(evidence.is_empty(), !kept);
            if kept {
                let conflict = ConflictEvidence::decode(&evidence).unwrap().verify(&context).unwrap();
                assert_eq!(conflict.height, head);
            }
            assert!(world.bans.is_empty() && world.machine.applied() == head);
        }
    }
}
