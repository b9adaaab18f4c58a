//! A full audit of the largest validator set there may be: the certificates of a cell pass every answer many times over, so
//! they come in pieces, from peers that prove the end of each.

use std::time::Duration;

use hotstuff2_sync::chain::native::{AuditTrail, PROFILE};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::{MAX_AUDIT_BYTES, MAX_VALIDATORS};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, World};

#[test]
fn a_full_audit_of_the_largest_set_fits() {
    let blocks = 60;
    let validators = MAX_VALIDATORS as u64;
    let spec = ChainSpec { blocks, epochs: 1, validators, certify_every: 1, ..ChainSpec::default() };
    let chain = TestChain::new(spec).unwrap();
    let epoch = chain.epoch_ref(Epoch::ZERO).unwrap();
    // The certificates of these few blocks alone are more than an answer holds.
    let all = HeightRange::new(Height::new(1), Height::new(blocks)).unwrap();
    let audit = chain.audit(all).unwrap();
    assert!(audit.len() > MAX_AUDIT_BYTES as usize);
    assert!(AuditTrail::decode(&audit).is_err());
    assert!(audit.len() as u64 <= PROFILE.audit_bytes(all, &epoch));
    for strategy in [SyncStrategyType::Parallel, SyncStrategyType::Incremental] {
        let config = SyncConfig { full_audit: true, default_strategy: strategy, ..SyncConfig::default() };
        let mut world = World::new(chain.clone(), config).unwrap();
        for name in 1..=2 {
            world.join(name, Honest::default());
        }
        world.start();
        assert!(world.run_to_tip(Duration::from_secs(60)), "{strategy}: {:?}", world.events.last());
        assert_eq!(world.machine.applied(), Height::new(blocks));
        assert!(world.bans.is_empty(), "{strategy}: {:?}", world.bans);
        // A certificate for each block was checked, and no peer was asked for more than it can answer with.
        let progress = world.machine.progress();
        assert!(progress.quorum_checks >= blocks, "{strategy}: {}", progress.quorum_checks);
        assert!(progress.peak_buffered_bytes <= progress.budget_bytes, "{strategy}");
    }
}
