//! Votes: the bytes that validators sign.
//!
//! The bytes have one length and one layout, begin with a tag of their own, and hold every field of a certificate but
//! its signers. So a signature can't be moved to another chain, epoch, view, height, block or phase, nor can one made
//! for anything else pass for a vote.

use serde::{Deserialize, Serialize};

use super::header::Header;
use crate::hash::Hash;
use crate::ids::{Epoch, Height, View};

/// Begins every vote. Whatever else a validator's key signs must begin with other 16 bytes.
pub const VOTE_TAG: [u8; 16] = *b"hs2-sync/1 vote\n";

/// Length of the bytes of a vote.
pub const VOTE_BYTES: usize = 16 + 32 + 8 + 8 + 8 + 32 + 1;

/// The two votes of HotStuff-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// For a proposal. A quorum certifies the block, which alone makes nothing final.
    One,
    /// For a block whose phase-one certificate the voter saw in time. A quorum makes the block final.
    Two,
}

impl Phase {
    /// The phase's byte in a vote.
    pub const fn byte(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// Statement that a validator signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Vote {
    /// The chain.
    pub chain_id: Hash,
    /// The block's epoch.
    pub epoch: Epoch,
    /// The block's view.
    pub view: View,
    /// The block's height.
    pub height: Height,
    /// The block's id.
    pub block: Hash,
    /// Phase that the vote is for.
    pub phase: Phase,
}

impl Vote {
    /// The vote for `header`, whose id is `block`.
    pub fn new(header: &Header, block: Hash, phase: Phase) -> Self {
        let Header { chain_id, epoch, view, height, .. } = *header;
        Self { chain_id, epoch, view, height, block, phase }
    }

    /// The bytes to sign: tag, chain id, epoch, view, height, block id, phase; numbers in little-endian order.
    pub fn bytes(&self) -> [u8; VOTE_BYTES] {
        let numbers = [self.epoch.get(), self.view.get(), self.height.get()].map(u64::to_le_bytes);
        let parts = VOTE_TAG
            .iter()
            .chain(self.chain_id.as_bytes())
            .chain(numbers.as_flattened())
            .chain(self.block.as_bytes())
            .copied()
            .chain([self.phase.byte()]);
        let mut bytes = [0; VOTE_BYTES];
        bytes.iter_mut().zip(parts).for_each(|(slot, part)| *slot = part);
        bytes
    }
}
