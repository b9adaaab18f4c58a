//! The genesis document: what everybody on a chain agrees on before its first block.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::codec::{self, Version, hex_hash};
use super::epoch::{EpochInfo, MAX_EPOCH_BYTES};
use super::header::{Header, payload_hash};
use super::validators::{Validator, ValidatorSet, ValidatorSetError};
use crate::chain::Fault;
use crate::hash::{Context, Hash};
use crate::ids::{Epoch, Height, View};
use crate::limits::MAX_VALIDATORS;
use crate::ranges::HeightRange;
use crate::time::UnixMillis;

static GENESIS: Context = Context::new("hotstuff2-sync v1 genesis document");

/// Longest name of a chain, in bytes: a line in a log or on a screen.
pub const MAX_NAME_BYTES: usize = 64;

/// Largest encoded genesis document, in bytes: the first epoch, the name, and a few numbers.
pub const MAX_GENESIS_BYTES: usize = MAX_EPOCH_BYTES + MAX_NAME_BYTES + 256;

/// A chain's constants. In formats for people (JSON), keys and hashes are hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenesisDocument {
    /// Version of the format.
    pub version: Version,
    /// A name for people. Two chains may not share one by accident: it is under the chain's id like everything here.
    pub name: String,
    /// When the chain begins; no block is older.
    pub timestamp: UnixMillis,
    /// The validators of epoch zero, in ascending order of their keys.
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_VALIDATORS>")]
    pub validators: Vec<Validator>,
    /// The last height of epoch zero; at least one, because the genesis block can't end an epoch.
    pub last_height: Height,
    /// Root of the state before the first block.
    #[serde(with = "hex_hash")]
    pub state_root: Hash,
    /// For how long, in milliseconds, a validator set stays trustworthy after it signed: shorter than it takes validators
    /// to get their stake back. `None` on chains whose validators are bound by other means (permissioned chains).
    pub trusting_period_ms: Option<u64>,
    /// Snapshots are offered at heights that are multiples of this.
    pub snapshot_interval: u64,
}

/// Why a genesis document is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The name is empty, longer than [`MAX_NAME_BYTES`], or has control characters.
    #[error("the chain's name must have 1 to {MAX_NAME_BYTES} bytes and no control characters")]
    Name,
    /// The validators don't form a set.
    #[error("the genesis validators are not valid: {0}")]
    Validators(#[from] ValidatorSetError),
    /// Epoch zero has no height but the genesis block's.
    #[error("last_height must be at least 1: epoch 0 needs a block besides the genesis block")]
    LastHeight,
    /// A trusting period of nothing: no anchor could ever be used.
    #[error("trusting_period_ms must not be 0: leave it out if the chain has no trusting period")]
    TrustingPeriod,
    /// Snapshots at every zeroth height.
    #[error("snapshot_interval must not be 0")]
    SnapshotInterval,
}

/// A checked genesis document, with what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    document: GenesisDocument,
    epoch: EpochInfo,
    header: Header,
    id: Hash,
}

impl GenesisDocument {
    /// The canonical encoding, which the chain's id is the hash of.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a document; [`GenesisDocument::check`] says whether it makes sense.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        codec::decode(bytes, MAX_GENESIS_BYTES)
    }

    /// Checks the document and derives the genesis block.
    pub fn check(self) -> Result<Genesis, GenesisError> {
        if self.name.is_empty() || self.name.len() > MAX_NAME_BYTES || self.name.chars().any(char::is_control) {
            return Err(GenesisError::Name);
        }
        if self.last_height == Height::ZERO {
            return Err(GenesisError::LastHeight);
        }
        if self.trusting_period_ms == Some(0) {
            return Err(GenesisError::TrustingPeriod);
        }
        if self.snapshot_interval == 0 {
            return Err(GenesisError::SnapshotInterval);
        }
        let validators = ValidatorSet::new(self.validators.clone())?;
        let range = HeightRange::new(Height::ZERO, self.last_height).ok_or(GenesisError::LastHeight)?;
        let epoch = EpochInfo::new(Epoch::ZERO, range, validators);
        let header = Header {
            version: Version,
            chain_id: GENESIS.hash(&self.encode()),
            height: Height::ZERO,
            view: View::ZERO,
            epoch: Epoch::ZERO,
            epoch_hash: epoch.hash(),
            parent: Hash::ZERO,
            justify_view: View::ZERO,
            proposer: 0,
            timestamp: self.timestamp,
            payload_hash: payload_hash(&[]),
            payload_len: 0,
            state_root: self.state_root,
            next_epoch_hash: None,
        };
        let id = header.id();
        Ok(Genesis { document: self, epoch, header, id })
    }
}

impl Genesis {
    /// The document.
    pub fn document(&self) -> &GenesisDocument {
        &self.document
    }

    /// The chain's id: the hash of the document.
    pub fn chain_id(&self) -> Hash {
        self.header.chain_id
    }

    /// The genesis block.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The genesis block's id. No certificate stands for it: the block with this id is the genesis block, no other is.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// Epoch zero.
    pub fn epoch(&self) -> &EpochInfo {
        &self.epoch
    }
}
