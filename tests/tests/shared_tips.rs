//! Tips that come more than once: what the same bytes prove once is proven for all, and other bytes prove nothing of it.

use std::time::Duration;

use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Reply, Scripted, World, claiming, status_answer};

const MINUTE: Duration = Duration::from_secs(60);

fn chain(blocks: u64, epochs: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks, epochs, ..ChainSpec::default() }).unwrap()
}

/// Gives a tip with a flipped bit after `latency`.
fn tip_liar(latency: Duration) -> impl Behaviour {
    Scripted(move |request: &Request, _: &TestChain, honest| match (request, honest) {
        (Request::Tip, Reply::After(_, bytes)) => {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            Reply::After(latency, bytes.into())
        }
        (_, honest) => honest,
    })
}

#[test]
fn a_false_tip_hides_behind_no_true_one() {
    // It comes while the true one is checked, before it, and long after it was proven.
    for (first, latency) in [(true, 5), (false, 5), (true, 300)] {
        let mut world = World::new(chain(300, 1), SyncConfig::default()).unwrap();
        let latency = Duration::from_millis(latency);
        let (honest, liar) = if first {
            let honest = world.join(1, Honest::default());
            (honest, world.join(2, tip_liar(latency)))
        } else {
            let liar = world.join(1, tip_liar(latency));
            (world.join(2, Honest::default()), liar)
        };
        world.start();
        assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
        world.run_until(MINUTE, |world| world.is_banned(liar));
        assert!(world.is_banned(liar) && !world.is_banned(honest), "{:?}", world.events);
    }
}

#[test]
fn a_tip_is_checked_anew_once_its_epoch_is_known() {
    // The first peer says that its tip is of the first epoch. It is of the second, and the job that is to find out is
    // lost. Nobody waits for it who brings the same tip when its epoch is known.
    let mut world = World::new(chain(300, 2), SyncConfig::default()).unwrap();
    world.lose_jobs = [1].into();
    world.join(
        1,
        Scripted(|request: &Request, chain: &TestChain, honest| match request {
            Request::Status => Reply::After(Duration::from_millis(1), status_answer(&claiming(chain, 300, 0))),
            Request::Tip => honest,
            _ => Reply::After(Duration::from_millis(1), encode_refusal(Refusal::NotAvailable)),
        }),
    );
    world.start();
    assert!(world.run_until(MINUTE, |world| world.jobs == 1), "{:?}", world.requests);
    let honest = world.join(
        2,
        Scripted(|request: &Request, _: &TestChain, honest| match request {
            // Following would prove it as well.
            Request::Follow { .. } => Reply::Never,
            _ => honest,
        }),
    );
    let all = |world: &World| world.machine.applied() == Height::new(300);
    assert!(world.run_until(Duration::from_secs(2), all), "{:?} {:?}", world.events, world.requests);
    assert!(!world.is_banned(honest));
}
