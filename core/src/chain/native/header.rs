//! Block headers, and the hashes that name blocks and payloads.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::codec::{self, Version};
use crate::chain::Fault;
use crate::hash::{Context, Hash};
use crate::ids::{Epoch, Height, View};
use crate::time::UnixMillis;

static BLOCK: Context = Context::new("hotstuff2-sync v1 block id");
static PAYLOAD: Context = Context::new("hotstuff2-sync v1 payload");

/// Largest encoded header in bytes: the version, six hashes and the tag of one, five 64-bit numbers, a 16-bit and a
/// 32-bit one, as varints.
pub const MAX_HEADER_BYTES: usize = 1 + 6 * 32 + 1 + 5 * 10 + 3 + 5;

/// All of a block but its payload. Its hash is the block's id, for which no payload is needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub version: Version,
    /// Hash of the genesis document.
    pub chain_id: Hash,
    /// The parent's height plus one.
    pub height: Height,
    /// The view it was proposed in; a block is proposed in one view only.
    pub view: View,
    /// The epoch whose validators vote on it.
    pub epoch: Epoch,
    /// Hash of that epoch's [`super::EpochInfo`].
    pub epoch_hash: Hash,
    /// Id of the parent.
    pub parent: Hash,
    /// View of the certificate that justifies the proposal: the parent's view.
    pub justify_view: View,
    /// Index of the proposer in the validator set.
    pub proposer: u16,
    /// When it was proposed; never before its parent.
    pub timestamp: UnixMillis,
    /// [`payload_hash`] of the payload.
    pub payload_hash: Hash,
    /// Length of the payload in bytes.
    pub payload_len: u32,
    /// Root of the state after executing this block.
    pub state_root: Hash,
    /// Hash of the next epoch's [`super::EpochInfo`], on the epoch's last block alone.
    pub next_epoch_hash: Option<Hash>,
}

impl Header {
    /// The block's id.
    pub fn id(&self) -> Hash {
        self.id_with(&mut Vec::with_capacity(MAX_HEADER_BYTES))
    }

    /// The block's id; `scratch` is memory to encode in, for whoever hashes many.
    pub fn id_with(&self, scratch: &mut Vec<u8>) -> Hash {
        codec::encode_into(self, scratch);
        BLOCK.hash(scratch)
    }

    /// The canonical encoding, which the id is the hash of.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a header; what it says is not checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        codec::decode(bytes, MAX_HEADER_BYTES)
    }
}

/// The hash of a payload, as headers carry it.
pub fn payload_hash(payload: &[u8]) -> Hash {
    PAYLOAD.hash(payload)
}
