//! A native chain: its sets, headers and votes.

use super::plain::{hs2_handle, hs2_id, hs2_slice};

/// A checked genesis document. Immutable: usable on any number of threads at a time.
pub type hs2_genesis = hs2_handle;

/// A trusted epoch of a native chain. Immutable.
pub type hs2_epoch = hs2_handle;

/// A native chain to verify with. Immutable.
pub type hs2_chain = hs2_handle;

/// A member of a validator set.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_validator {
    /// Its Ed25519 public key.
    pub key: hs2_id,
    /// Its voting power; not 0.
    pub power: u64,
}

/// A validator's signature on a vote.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_signature {
    /// The signer's key.
    pub key: hs2_id,
    /// The Ed25519 signature: R and s.
    pub bytes: [u8; 64],
}

/// The fields of a genesis document, and what follows from them.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_genesis_info {
    /// The chain's id: the hash of the document.
    pub chain_id: hs2_id,
    /// The genesis block's id.
    pub block_id: hs2_id,
    /// Root of the state before the first block.
    pub state_root: hs2_id,
    /// When the chain begins, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The last height of epoch 0.
    pub last_height: u64,
    /// For how long a validator set stays trustworthy, in milliseconds; 0 for ever.
    pub trusting_period_ms: u64,
    /// States are offered at heights that are multiples of this.
    pub snapshot_interval: u64,
}

/// The part of a header that its proposer chooses.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_proposal {
    /// The view; above the parent's.
    pub view: u64,
    /// When it is proposed, in milliseconds since 1970; not before the parent.
    pub timestamp_ms: u64,
    /// The payload: at most 4 MiB.
    pub payload: hs2_slice,
    /// Root of the state after executing the payload.
    pub state_root: hs2_id,
    /// The epoch that begins above this block; 0 unless this is its epoch's last block.
    pub next_epoch: hs2_epoch,
    /// Index of the proposer in the validator set.
    pub proposer: u16,
}

/// The fields of a header.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_header_info {
    /// The block's id.
    pub id: hs2_id,
    /// The chain's id.
    pub chain_id: hs2_id,
    /// The parent's id.
    pub parent: hs2_id,
    /// Hash of the payload.
    pub payload_hash: hs2_id,
    /// Root of the state after this block.
    pub state_root: hs2_id,
    /// Hash of the epoch.
    pub epoch_hash: hs2_id,
    /// The parent's height plus one.
    pub height: u64,
    /// The view it was proposed in.
    pub view: u64,
    /// View of the certificate that justifies it: the parent's view.
    pub justify_view: u64,
    /// The epoch whose validators vote on it.
    pub epoch: u64,
    /// When it was proposed, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Length of the payload in bytes.
    pub payload_len: u32,
    /// Index of the proposer in the validator set.
    pub proposer: u16,
    /// 1 where the block ends its epoch, else 0.
    pub ends_epoch: u16,
}

/// A block that was proven final.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_tip {
    /// Its height.
    pub height: u64,
    /// Its id.
    pub id: hs2_id,
    /// Its epoch.
    pub epoch: u64,
    /// When it was proposed, in milliseconds since 1970.
    pub timestamp_ms: u64,
}

/// Phase of a vote for a proposal.
pub const HS2_PHASE_ONE: u32 = 1;
/// Phase of a vote for a block whose phase-one certificate the voter saw.
pub const HS2_PHASE_TWO: u32 = 2;

/// Bytes that a validator signs for a vote.
pub const HS2_VOTE_BYTES: usize = 105;

/// Bytes that a validator signs to give up on a view.
pub const HS2_TIMEOUT_BYTES: usize = 64;
