//! The trusting period of a chain, kept by whoever builds a manager.

use hotstuff2_sync::chain::native::AnchorError;
use hotstuff2_sync::machine::NewMachineError;

use super::{BuildError, SyncManagerBuilder};
use crate::driver::StartError;
use crate::test_world::World;

#[tokio::test]
async fn a_node_whose_trust_is_too_old_is_not_built() {
    let world = World::new();
    let mut document = world.chain.genesis().document().clone();
    // The chain's blocks are years old.
    document.trusting_period_ms = Some(1000);
    let genesis = document.check().unwrap();
    let open = |name: &str| {
        let builder = SyncManagerBuilder::open(&genesis, world.path(name)).unwrap();
        builder.with_listen("127.0.0.1:0".parse().unwrap())
    };
    let error = open("old").build().unwrap_err();
    let BuildError::Start(StartError::Machine(NewMachineError::Trust(why))) = &error else { panic!("{error}") };
    assert!(matches!(why, AnchorError::TooOld { trusting_period_ms: 1000, .. }), "{why}");
    assert!(error.to_string().contains("checkpoint"), "{error}");
    // It can be wanted all the same.
    let manager = open("any_age").accept_long_range().build().unwrap();
    manager.shutdown().await;
}
