//! Where trust starts: the genesis document, or a checkpoint that the host got from someone it believes.
//!
//! Signatures prove nothing about a set whose validators have long left: they can sign another history without losing
//! anything. So an anchor has an age, and the chain says how old is too old. The host gives the time; without a trusting
//! period nobody looks at a clock.

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::codec::{self, Version};
use super::epoch::{EpochInfo, MAX_EPOCH_BYTES};
use super::genesis::Genesis;
use super::header::{Header, MAX_HEADER_BYTES};
use super::rules::{EpochContext, Place, Rule};
use crate::chain::{EpochRef, Fault};
use crate::hash::Hash;
use crate::ids::Height;
use crate::time::UnixMillis;

/// Largest encoded checkpoint, in bytes.
pub const MAX_CHECKPOINT_BYTES: usize = MAX_HEADER_BYTES + MAX_EPOCH_BYTES + 16;

/// How far an anchor may be ahead of the host's clock, in milliseconds: more than clocks of machines that keep time
/// differ, far less than any trusting period.
pub const MAX_CLOCK_ERROR_MS: u64 = 10 * 60 * 1000;

/// A block that the host trusts, for reasons of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustAnchor {
    /// The genesis block.
    Genesis,
    /// A finalized block further up.
    Checkpoint(Box<Checkpoint>),
}

/// A finalized header and its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The header.
    pub header: Header,
    /// The header's epoch.
    pub epoch: EpochInfo,
}

/// The encoding of a checkpoint.
#[derive(Serialize, Deserialize)]
struct Wire {
    version: Version,
    header: Header,
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_EPOCH_BYTES>")]
    epoch: Vec<u8>,
}

/// The block that trust starts from. At its height there is no other, whatever is signed; below it only its ancestors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AnchorPoint {
    pub(super) height: Height,
    pub(super) id: Hash,
}

/// Trusted starting point of a sync. Nothing at or below this height is ever taken on a certificate's word, only as
/// an ancestor of this block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorFacts {
    /// The anchor's height.
    pub height: Height,
    /// The anchor's id.
    pub id: Hash,
    /// The anchor's timestamp.
    pub timestamp: UnixMillis,
    /// The anchor's epoch.
    pub epoch: EpochRef,
}

/// Why an anchor is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AnchorError {
    /// The checkpoint breaks a rule, or its epoch isn't the one that it names.
    #[error("the checkpoint does not fit the genesis document or its own epoch ({0}): get it again from its source")]
    Inconsistent(Rule),
    /// The anchor is older than the chain's trusting period.
    #[error(
        "the anchor is {age_ms} ms old, and the chain trusts a validator set for {trusting_period_ms} ms only: take a \
         newer checkpoint from a source you trust, or accept long-range attacks explicitly (AcceptLongRange)"
    )]
    TooOld {
        /// Age of the anchor by the host's clock, in milliseconds.
        age_ms: u64,
        /// The chain's trusting period, in milliseconds.
        trusting_period_ms: u64,
    },
    /// The anchor is from the future, so the host's clock can't tell how old anything is.
    #[error("the anchor is {ahead_ms} ms ahead of this machine's clock: set the clock")]
    ClockBehind {
        /// By how much, in milliseconds.
        ahead_ms: u64,
    },
}

impl Checkpoint {
    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&Wire { version: Version, header: self.header.clone(), epoch: self.epoch.encode() })
    }

    /// Decodes a checkpoint. Whether the block exists is for the host to know.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let wire: Wire = codec::decode(bytes, MAX_CHECKPOINT_BYTES)?;
        Ok(Self { header: wire.header, epoch: EpochInfo::decode(&wire.epoch)? })
    }
}

impl TrustAnchor {
    /// Checks that the anchor makes sense on the chain of `genesis` and is young enough at `now`, by the host's clock.
    /// With `accept_long_range` any age will do.
    pub fn check(
        &self,
        genesis: &Genesis,
        now: UnixMillis,
        accept_long_range: bool,
    ) -> Result<AnchorFacts, AnchorError> {
        let (header, epoch) = match self {
            Self::Genesis => (genesis.header(), genesis.epoch()),
            Self::Checkpoint(checkpoint) => {
                let Checkpoint { header, epoch } = &**checkpoint;
                let context = EpochContext::new(genesis, epoch.clone());
                context.check_header(header, Place::Chain).map_err(AnchorError::Inconsistent)?;
                (header, epoch)
            }
        };
        if !accept_long_range {
            check_age(genesis, header.timestamp, now)?;
        }
        Ok(AnchorFacts { height: header.height, id: header.id(), timestamp: header.timestamp, epoch: epoch.to_ref() })
    }
}

/// Checks that a block that this node trusts is young enough at `now`, by the host's clock, to prove others from: an
/// anchor, or the head of a store that was left alone for a while. Any age will do on a chain without a trusting period.
pub fn check_age(genesis: &Genesis, anchor: UnixMillis, now: UnixMillis) -> Result<(), AnchorError> {
    check_age_within(genesis.document().trusting_period_ms, anchor, now)
}

/// The same by a trusting period in milliseconds; any age will do where there is none.
pub fn check_age_within(
    trusting_period_ms: Option<u64>,
    anchor: UnixMillis,
    now: UnixMillis,
) -> Result<(), AnchorError> {
    let Some(trusting_period_ms) = trusting_period_ms else { return Ok(()) };
    let ahead_ms = anchor.get().saturating_sub(now.get());
    if ahead_ms > MAX_CLOCK_ERROR_MS {
        return Err(AnchorError::ClockBehind { ahead_ms });
    }
    let age_ms = now.get().saturating_sub(anchor.get());
    if age_ms > trusting_period_ms {
        return Err(AnchorError::TooOld { age_ms, trusting_period_ms });
    }
    Ok(())
}
