//! Making a native chain: children, votes, certificates and audit trails, for nodes, generators and tests.
//!
//! This side holds signing keys and makes what the rest of the module checks. It doesn't decide what to sign: what a
//! voter must have checked before is in the [module's docs](super).

use alloc::vec::Vec;

use ed25519_dalek::{Signer, SigningKey};

use super::certificate::QuorumCertificate;
use super::codec::Version;
use super::epoch::EpochInfo;
use super::header::{Header, payload_hash};
use super::segment::AuditTrail;
use super::signature::{Signature, ValidatorKey};
use super::validators::ValidatorSet;
use super::vote::{Phase, Vote};
use crate::hash::Hash;
use crate::ids::View;
use crate::time::UnixMillis;

/// A proposer's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal<'a> {
    /// The view; above the parent's.
    pub view: View,
    /// Index of the proposer in the epoch's validator set.
    pub proposer: u16,
    /// When it is proposed; not before the parent.
    pub timestamp: UnixMillis,
    /// The payload; at most [`crate::limits::MAX_PAYLOAD_BYTES`].
    pub payload: &'a [u8],
    /// Root of the state after executing the payload.
    pub state_root: Hash,
    /// Hash of the next epoch; for the epoch's last block alone.
    pub next_epoch_hash: Option<Hash>,
}

/// The header of `proposal` above `parent`, whose id is `parent_id`, in the epoch `epoch`.
pub fn child(parent: &Header, parent_id: Hash, epoch: &EpochInfo, proposal: &Proposal<'_>) -> Header {
    child_of(parent, parent_id, epoch, epoch.hash(), proposal)
}

/// [`child`] for whoever makes many and keeps the epoch's hash.
pub fn child_of(
    parent: &Header,
    parent_id: Hash,
    epoch: &EpochInfo,
    epoch_hash: Hash,
    proposal: &Proposal<'_>,
) -> Header {
    Header {
        version: Version,
        chain_id: parent.chain_id,
        height: parent.height.next(),
        view: proposal.view,
        epoch: epoch.epoch(),
        epoch_hash,
        parent: parent_id,
        justify_view: parent.view,
        proposer: proposal.proposer,
        timestamp: proposal.timestamp,
        payload_hash: payload_hash(proposal.payload),
        payload_len: u32::try_from(proposal.payload.len()).unwrap_or(u32::MAX),
        state_root: proposal.state_root,
        next_epoch_hash: proposal.next_epoch_hash,
    }
}

/// The closing header in `view` above `parent`, which is an epoch's last block or another closing header: of the same
/// epoch, empty, without a change of state. It exists to carry a proof for the blocks below it.
pub fn closing(parent: &Header, view: View, proposer: u16) -> Header {
    Header {
        height: parent.height.next(),
        view,
        parent: parent.id(),
        justify_view: parent.view,
        proposer,
        payload_hash: payload_hash(&[]),
        payload_len: 0,
        next_epoch_hash: None,
        ..parent.clone()
    }
}

/// The vote of `key` for `header` in `phase`.
pub fn vote(key: &SigningKey, header: &Header, phase: Phase) -> Signature {
    key.sign(&Vote::new(header, header.id(), phase).bytes()).into()
}

/// A certificate for `header` in `phase` by the owners of `keys`, as far as they are in `set`. Whether they are a quorum
/// is not checked.
pub fn certify<'a>(
    header: &Header,
    phase: Phase,
    set: &ValidatorSet,
    keys: impl IntoIterator<Item = &'a SigningKey>,
) -> QuorumCertificate {
    let bytes = Vote::new(header, header.id(), phase).bytes();
    let votes = keys.into_iter().map(|key| (ValidatorKey::from(key), key.sign(&bytes).into()));
    QuorumCertificate::collect(phase, header, set, votes)
}

/// The encoded certificates of a segment's headers, in order, for a full audit.
pub fn audit_trail(certificates: Vec<QuorumCertificate>) -> Vec<u8> {
    AuditTrail { certificates }.encode()
}
