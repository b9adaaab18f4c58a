//! Validation of blocks and of states.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::chain::native::{
    Block, BlockHeader, BlockValidator, ConsensusValidator, SignatureValidator, StateValidator,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{KeyValueState, Record, StateDelta, StateProof};
use hotstuff2_sync_tokio::manager::SyncBlockValidator;
use hotstuff2_sync_tokio::state_validator::StateSnapshot;
use hotstuff2_sync_tokio::{StateManager, SyncManager as _, SyncStateValidator, ValidationResult};

use crate::net::{HEIGHT, Net, soon};

#[tokio::test(flavor = "multi_thread")]
async fn validation_of_blocks() {
    name!("SyncBlockValidator", "ConsensusValidator", "SignatureValidator", "StateValidator", "ValidationResult");
    let net = Net::new();
    let mut sync = net.late("late");
    let blocks = soon(sync.sync_blocks(Height::new(60), Height::new(70))).await.unwrap();
    let (first, second, last) = (&blocks[0], &blocks[1], blocks.last().unwrap());
    let mut bent = second.clone();
    bent.payload = Bytes::new();
    let validator: SyncBlockValidator = sync.block_validator();
    name!("SyncBlockValidator::validate_block_structure", "SyncBlockValidator::validate_block_signatures");
    let result: ValidationResult<_> = validator.validate_block_structure(second).await;
    assert!(result.is_ok() && validator.validate_block_structure(&bent).await.is_err());
    assert!(validator.validate_block_signatures(last).await.is_ok());
    assert!(validator.validate_block_signatures(second).await.is_err(), "it has none of its own");
    name!("SyncBlockValidator::validate_consensus_rules", "SyncBlockValidator::fast_validate_block");
    assert!(validator.validate_consensus_rules(second, first).await.is_ok());
    assert!(validator.validate_consensus_rules(first, second).await.is_err());
    assert!(validator.fast_validate_block(second).await.is_ok() && validator.fast_validate_block(&bent).await.is_err());
    name!("SyncBlockValidator::validate_block_sequence", "SyncBlockValidator::validate_block_chain");
    assert!(validator.validate_block_sequence(&blocks).await.iter().all(Result::is_ok));
    assert!(validator.validate_block_chain(&blocks).await.is_ok());
    assert!(validator.validate_block_chain(&blocks[..4]).await.is_err(), "nothing proves the last of these");
    name!("SyncBlockValidator::validate_block_headers_only");
    let headers = validator.validate_block_headers_only(&blocks).await;
    assert_eq!(headers.iter().filter(|result| result.is_ok()).count(), 11);
    // The same in the core for blocks of the native chain, stage by stage.
    let typed = |block| Block::try_from(block).unwrap();
    let (first, second, last, bent) = (typed(first), typed(second), typed(last), typed(&bent));
    let core = BlockValidator::new(net.chain.context(first.header.epoch));
    let (rules, signatures, state): (&ConsensusValidator, &SignatureValidator, &StateValidator) =
        (core.consensus(), core.signatures(), core.state());
    assert!(rules.validate_child(&second.header, &first.header).is_ok() && signatures.validate_proof(&last).is_ok());
    let header: &BlockHeader = &first.header;
    assert!(rules.validate_header(header).is_ok());
    assert!(state.validate_payload(&bent).is_err());
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_of_states() {
    name!("SyncStateValidator", "StateManager", "StateSnapshot", "StateDelta", "MerkleVerifier", "Hash");
    let net = Net::new();
    let states: Arc<dyn StateManager> = Arc::clone(&net.store) as _;
    let validator = SyncStateValidator::new(Arc::clone(&states));
    let (facts, other) = (net.facts(HEIGHT), net.facts(Height::new(80)));
    name!("SyncStateValidator::validate_state_root", "SyncStateValidator::validate_snapshot_integrity");
    assert!(validator.validate_state_root(&facts, &facts.state_root).await.is_ok());
    assert!(validator.validate_state_root(&facts, &Hash::ZERO).await.is_err());
    assert!(validator.validate_snapshot_integrity(&net.snapshot()).await.is_ok());
    name!("SyncStateValidator::validate_snapshot");
    let state = states.state_at(HEIGHT).unwrap().unwrap();
    let snapshot = StateSnapshot { id: net.snapshot(), state };
    assert!(validator.validate_snapshot(&snapshot).await.is_ok());
    name!("SyncStateValidator::validate_state_transition", "SyncStateValidator::validate_state_delta");
    let delta = delta(&net, HEIGHT, Height::new(80));
    assert!(validator.validate_state_transition(&facts, &other, &delta).await.is_ok());
    assert!(validator.validate_state_transition(&other, &facts, &delta).await.is_err());
    assert!(validator.validate_state_delta(&delta, &facts.state_root).await.is_ok());
    // One key, with its proof.
    let (_, record) = net.chain.state(HEIGHT).unwrap().records().next().unwrap();
    let record = Record::decode(record.clone()).unwrap();
    let proof: StateProof = KeyValueState::load(&snapshot.state).unwrap().prove(record.key()).unwrap();
    assert!(proof.verify(&facts.state_root, record.key(), Some(record.value())).is_ok());
    assert!(proof.verify(&facts.state_root, record.key(), None).is_err());
}

/// The changes between the states at two heights.
fn delta(net: &Net, from: Height, to: Height) -> StateDelta {
    let pairs = |height| -> BTreeMap<Vec<u8>, Vec<u8>> {
        let records = net.chain.state(height).unwrap().records();
        let decoded = records.map(|(_, bytes)| Record::decode(bytes.clone()).unwrap());
        decoded.map(|record| (record.key().to_vec(), record.value().to_vec())).collect()
    };
    let (old, new) = (pairs(from), pairs(to));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let changed = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let changes = changed.map(|key| (key.clone(), new.get(key).cloned())).collect();
    StateDelta { from: net.facts(from).state_root, to: net.facts(to).state_root, changes }
}
