//! Who takes whose place for what it claims, where rotation would come far too late.

use std::collections::BTreeSet;
use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, Reply, Scripted, StateHost, World, claiming, status_answer};

const MINUTE: Duration = Duration::from_secs(60);

fn config(max_sync_peers: usize) -> SyncConfig {
    SyncConfig { max_sync_peers, peer_rotation_interval: MINUTE * 30, ..SyncConfig::default() }
}

fn chain(blocks: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks, epochs: 1, ..ChainSpec::default() }).unwrap()
}

fn with_states(blocks: u64) -> TestChain {
    let spec = ChainSpec { blocks, epochs: 1, snapshot_interval: 500, ..ChainSpec::default() };
    TestChain::with_ledger(spec, 100, 10).unwrap()
}

fn world(source: TestChain, config: SyncConfig) -> World {
    let host = StateHost::new(source.chain());
    let start = hotstuff2_sync::calls::Start { stages_state: true, ..source.start() };
    let mut world = World::from(source, config, start).unwrap();
    world.set_host(host);
    world
}

fn active(world: &World) -> BTreeSet<u8> {
    world.machine.peers().active_ids().map(|id| id.as_bytes()[0]).collect()
}

fn stateless() -> Honest {
    Honest { states: None, ..Honest::default() }
}

#[test]
fn who_claims_more_than_all_who_are_asked_is_asked() {
    let mut world = World::new(chain(1500), config(2)).unwrap();
    for name in 1..=2 {
        world.join(name, Honest { tip: Height::new(1000), ..Honest::default() });
    }
    world.join(3, Honest::default());
    world.start();
    // Who stands by is asked for its claims every half minute.
    assert!(world.run_to_tip(Duration::from_secs(40)), "{:?} {:?}", world.events, active(&world));
}

#[test]
fn who_claims_what_others_do_takes_nobodys_place() {
    // Neither before anything is proven, nor when all of it is there.
    let config = SyncConfig { default_strategy: SyncStrategyType::Fast, ..config(3) };
    let mut world = world(with_states(1100), config);
    for name in 1..=9 {
        world.join(name, Honest::default());
    }
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(active(&world), [1, 2, 3].into());
    world.run_until(MINUTE * 2, |_| false);
    assert_eq!(active(&world), [1, 2, 3].into());
}

#[test]
fn a_claim_that_was_not_proven_takes_no_place_a_second_time() {
    let mut world = World::new(chain(300), config(2)).unwrap();
    for name in 1..=2 {
        world.join(name, Honest::default());
    }
    let liar = world.join(
        3,
        Scripted(|request: &Request, chain: &TestChain, _| {
            let answer = match request {
                Request::Status => status_answer(&claiming(chain, 9000, 0)),
                _ => encode_refusal(Refusal::NotAvailable),
            };
            Reply::After(Duration::from_millis(1), answer)
        }),
    );
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    world.run_until(MINUTE * 6, |_| false);
    let proofs = |peer: PeerId| {
        world.requests.iter().filter(|(_, asked, request)| *asked == peer && matches!(request, Request::Tip)).count()
    };
    assert!((1..=2).contains(&proofs(liar)), "asked {} times for its proof", proofs(liar));
    assert_eq!(active(&world), [1, 2].into());
}

#[test]
fn who_offers_a_state_where_nobody_does_is_asked() {
    let config = SyncConfig { default_strategy: SyncStrategyType::Fast, ..config(2) };
    let mut world = world(with_states(1100), config);
    for name in 1..=2 {
        world.join(name, stateless());
    }
    world.join(3, Honest::default());
    world.start();
    assert!(world.run_to_tip(Duration::from_secs(5)), "{:?} {:?}", world.events, active(&world));
}

#[test]
fn who_lacks_the_next_blocks_makes_room() {
    let pruned = || Honest { earliest: Height::new(1000), ..Honest::default() };
    let behind = || Honest { tip: Height::new(100), ..Honest::default() };
    for lacks in [pruned(), behind()] {
        let mut world = World::new(chain(1500), config(2)).unwrap();
        world.join(1, lacks);
        world.join(2, lacks);
        world.join(3, Honest::default());
        world.join(4, Honest::default());
        world.start();
        assert!(world.run_to_tip(Duration::from_secs(40)), "{:?} {:?}", world.events, active(&world));
        if lacks.tip < Height::MAX {
            world.run_until(Duration::from_secs(10), |_| false);
            assert_eq!(active(&world), [3, 4].into());
        }
    }
}
