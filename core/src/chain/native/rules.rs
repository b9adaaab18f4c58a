//! The rules of headers: of one alone, and of a child against its parent. Segments, proofs, handovers, tips and evidence
//! all come here, so that no way in is laxer than another.
//!
//! [`EpochContext`] is what a header is held against: one epoch of one chain. Whoever makes one vouches for the epoch:
//! it was proven by a handover, or is part of the anchor.

use super::epoch::EpochInfo;
use super::genesis::Genesis;
use super::header::{Header, payload_hash};
use super::validators::ValidatorSet;
use crate::chain::Fault;
use crate::hash::Hash;
use crate::ids::{Epoch, Height};
use crate::limits::MAX_PAYLOAD_BYTES;
use crate::ranges::HeightRange;

/// A trusted epoch of one chain, ready to check headers and certificates with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EpochContext {
    chain_id: Hash,
    genesis_id: Hash,
    info: EpochInfo,
    hash: Hash,
    empty_payload: Hash,
}

/// Where a header stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the chain, at its height.
    Chain,
    /// Above a block in its finality proof, where the epoch's closing headers may stand.
    Proof,
}

/// The rule that a header breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rule {
    /// The header belongs to another chain.
    #[error("the header belongs to another chain")]
    ChainId,
    /// The header says that it is a genesis block, or that its parent is, and isn't the one of this chain.
    #[error("the genesis block is another one")]
    Genesis,
    /// Its epoch isn't the one whose validators it is checked with.
    #[error("the header belongs to another epoch")]
    Epoch,
    /// The first block of an epoch doesn't stand right above the last one of the epoch before.
    #[error("the epoch does not begin above the last block of the one before")]
    Crossing,
    /// The next epoch is named by another block than the epoch's last, or not by that.
    #[error("exactly the last block of an epoch names the next epoch")]
    NextEpoch,
    /// The header stands above the epoch's last block outside of a proof, or isn't empty there.
    #[error("above an epoch's last block there are only empty closing headers inside of proofs")]
    Closing,
    /// Its height isn't its parent's plus one.
    #[error("the height is not the parent's plus one")]
    Height,
    /// Its parent is another block.
    #[error("the parent is another block")]
    Parent,
    /// Its view isn't above the view that justifies it.
    #[error("the view is not above the parent's")]
    View,
    /// The view that justifies it isn't its parent's.
    #[error("the justifying view is not the parent's view")]
    JustifyView,
    /// The header is older than its parent.
    #[error("the timestamp is before the parent's")]
    Timestamp,
    /// Its proposer isn't in the validator set.
    #[error("the proposer is not in the validator set")]
    Proposer,
    /// Its payload is too long, or has the empty payload's hash or length without the other.
    #[error("the payload's length is too large, or does not go with its hash")]
    Payload,
}

impl Rule {
    /// The fault of whoever sent a header at `height` that breaks this rule.
    pub(crate) fn fault(self, height: Height) -> Fault {
        match self {
            Self::ChainId => Fault::WrongChain,
            Self::Epoch | Self::Crossing | Self::NextEpoch | Self::Closing => Fault::BadEpoch,
            _ => Fault::BrokenLink(height),
        }
    }
}

impl EpochContext {
    /// The epoch `info` of the chain that begins with `genesis`; `info` must be trusted.
    pub fn new(genesis: &Genesis, info: EpochInfo) -> Self {
        let hash = info.hash();
        Self::of_chain(genesis.chain_id(), genesis.id(), info, hash)
    }

    /// The epoch `info`, whose hash is `hash`.
    pub(crate) fn of_chain(chain_id: Hash, genesis_id: Hash, info: EpochInfo, hash: Hash) -> Self {
        Self { chain_id, genesis_id, info, hash, empty_payload: payload_hash(&[]) }
    }

    /// Another epoch of the same chain, whose hash is `hash`; `info` must be trusted, or about to be checked.
    pub(super) fn sibling(&self, info: EpochInfo, hash: Hash) -> Self {
        Self::of_chain(self.chain_id, self.genesis_id, info, hash)
    }

    /// The chain's id.
    pub fn chain_id(&self) -> Hash {
        self.chain_id
    }

    /// The epoch's number.
    pub fn epoch(&self) -> Epoch {
        self.info.epoch()
    }

    /// All heights of the epoch.
    pub fn range(&self) -> HeightRange {
        self.info.range()
    }

    /// The epoch's validators.
    pub fn validators(&self) -> &ValidatorSet {
        self.info.validators()
    }

    /// The epoch as it was trusted.
    pub fn info(&self) -> &EpochInfo {
        &self.info
    }

    /// The epoch's hash, which its headers carry.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Checks a proposal as a voter must: as the child of `parent`, whose id is `parent_id` and which was checked before
    /// or is known by its id. Above the epoch's last block that is a closing header. What takes the payload, the state,
    /// a clock or certificates to check is left: see what voters [promise](super).
    ///
    /// # Errors
    /// With the rule that the proposal breaks.
    pub fn check_proposal(&self, parent: &Header, parent_id: Hash, proposal: &Header) -> Result<(), Rule> {
        self.check_child(parent, parent_id, proposal, Place::Proof)
    }

    /// Checks what a header must be by itself to belong to this epoch.
    pub(crate) fn check_header(&self, header: &Header, place: Place) -> Result<(), Rule> {
        if header.chain_id != self.chain_id {
            return Err(Rule::ChainId);
        }
        // The genesis block is known by its id; nobody voted for it, and nothing proves it.
        if header.height == Height::ZERO {
            return Err(Rule::Genesis);
        }
        if header.epoch != self.epoch() || header.epoch_hash != self.hash || header.height < self.range().first() {
            return Err(Rule::Epoch);
        }
        let empty = header.payload_len == 0;
        if header.height > self.range().last() && (place == Place::Chain || !empty) {
            return Err(Rule::Closing);
        }
        if header.next_epoch_hash.is_some() != (header.height == self.range().last()) {
            return Err(Rule::NextEpoch);
        }
        if header.view <= header.justify_view {
            return Err(Rule::View);
        }
        if usize::from(header.proposer) >= self.validators().count() {
            return Err(Rule::Proposer);
        }
        if header.payload_len > MAX_PAYLOAD_BYTES || empty != (header.payload_hash == self.empty_payload) {
            return Err(Rule::Payload);
        }
        Ok(())
    }

    /// Checks what a header must be by itself, and as a child of `parent`, whose id is `parent_id`.
    ///
    /// The parent is the genesis block, the last block of the epoch before, or a header that was checked.
    pub(crate) fn check_child(
        &self,
        parent: &Header,
        parent_id: Hash,
        child: &Header,
        place: Place,
    ) -> Result<(), Rule> {
        self.check_header(child, place)?;
        if parent.chain_id != child.chain_id {
            return Err(Rule::ChainId);
        }
        if !child.height.is_next_of(parent.height) {
            return Err(Rule::Height);
        }
        if child.parent != parent_id {
            return Err(Rule::Parent);
        }
        if parent.height == Height::ZERO && parent_id != self.genesis_id {
            return Err(Rule::Genesis);
        }
        if child.justify_view != parent.view {
            return Err(Rule::JustifyView);
        }
        if child.timestamp < parent.timestamp {
            return Err(Rule::Timestamp);
        }
        // The genesis block alone can be its epoch's first and yet nobody's child.
        if child.height == self.range().first() {
            let follows = child.epoch.is_next_of(parent.epoch) && parent.next_epoch_hash == Some(child.epoch_hash);
            return if follows { Ok(()) } else { Err(Rule::Crossing) };
        }
        if child.epoch != parent.epoch || child.epoch_hash != parent.epoch_hash {
            return Err(Rule::Epoch);
        }
        // A closing header executes nothing, so the state stays as the last block left it.
        if child.height > self.range().last() && child.state_root != parent.state_root {
            return Err(Rule::Closing);
        }
        Ok(())
    }
}
