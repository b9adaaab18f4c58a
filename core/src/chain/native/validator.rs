//! [`BlockValidator`]: checks of whole blocks, one stage at a time or all at once, for whoever has blocks in hand. Every
//! check is the one that segments, tips and handovers go through: this is a door to it and no second implementation.
//!
//! The validator trusts the epochs that it is made with, and nothing of the blocks. All checks are pure and of
//! bounded work.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::block::{Block, BlockHeader};
use super::finality::FinalityProof;
use super::header::payload_hash;
use super::rules::{EpochContext, Place, Rule};
use crate::chain::Fault;
use crate::hash::Hash;
use crate::ids::{Epoch, Height};

/// Why a block is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BlockError {
    /// There is nothing to check, and so nothing is proven.
    #[error("no blocks were given, which proves nothing; give at least one")]
    Empty,
    /// The block's epoch isn't one that the validator trusts: nothing was proven, and nobody is to blame.
    #[error("block {height} is of epoch {epoch}, which is not among the trusted ones; get its handover first")]
    UnknownEpoch {
        /// The block.
        height: Height,
        /// Its epoch.
        epoch: Epoch,
    },
    /// The header breaks a rule, by itself or as the child of its parent.
    #[error("block {height}: {rule}")]
    Rule {
        /// The block.
        height: Height,
        /// The rule.
        rule: Rule,
    },
    /// The payload isn't the one that the header names.
    #[error("the payload of block {0} does not match its header")]
    Payload(Height),
    /// The block says that it is known by another id than its own.
    #[error("block {height} has another id than the block {known} that it is known by")]
    OtherBlock {
        /// The block.
        height: Height,
        /// The id that it is known by.
        known: Hash,
    },
    /// The block has no certificate of its own, and no block above it of the same epoch proves it.
    #[error("block {0} is not proven final: it has no certificate, and no block above it that was given has one")]
    NotFinal(Height),
    /// The block's certificate doesn't make it final.
    #[error("the proof of block {height} fails: {fault}")]
    Proof {
        /// The block.
        height: Height,
        /// The broken rule of a proof.
        fault: Fault,
    },
    /// The state after the block has another root than its header names.
    #[error("the state root after block {height} is {found}, its header names {expected}")]
    StateRoot {
        /// The block.
        height: Height,
        /// The root in its header.
        expected: Hash,
        /// The root that was given.
        found: Hash,
    },
}

type Epochs = Arc<BTreeMap<Epoch, EpochContext>>;

fn epoch_of<'a>(epochs: &'a Epochs, header: &BlockHeader) -> Result<&'a EpochContext, BlockError> {
    let unknown = BlockError::UnknownEpoch { height: header.height, epoch: header.epoch };
    epochs.get(&header.epoch).ok_or(unknown)
}

/// Holds headers against the rules of their epoch and against their parents.
#[derive(Clone, Debug)]
pub struct ConsensusValidator(Epochs);

impl ConsensusValidator {
    /// Checks the rules of a header by itself.
    pub fn validate_header(&self, header: &BlockHeader) -> Result<(), BlockError> {
        let broken = |rule| BlockError::Rule { height: header.height, rule };
        epoch_of(&self.0, header)?.check_header(header, Place::Chain).map_err(broken)
    }

    /// Checks the rules of a header by itself, and as the child of `parent`, which is held against its own rules
    /// where its epoch is trusted.
    pub fn validate_child(&self, header: &BlockHeader, parent: &BlockHeader) -> Result<(), BlockError> {
        // The genesis block is known by its id, which the rules of its child ask for.
        if parent.height != Height::ZERO && self.0.contains_key(&parent.epoch) {
            self.validate_header(parent)?;
        }
        self.follows(header, parent)
    }

    /// The same where the parent was checked.
    fn follows(&self, header: &BlockHeader, parent: &BlockHeader) -> Result<(), BlockError> {
        let broken = |rule| BlockError::Rule { height: header.height, rule };
        epoch_of(&self.0, header)?.check_child(parent, parent.id(), header, Place::Chain).map_err(broken)
    }
}

/// Holds certificates against the validators of their epoch.
#[derive(Clone, Debug)]
pub struct SignatureValidator(Epochs);

impl SignatureValidator {
    /// Whether the block's own proof makes it final: the path, the signers, their power and every signature.
    pub fn validate_proof(&self, block: &Block) -> Result<(), BlockError> {
        let height = block.height();
        match &block.proof {
            FinalityProof::Anchored { .. } => Err(BlockError::NotFinal(height)),
            proof => proof
                .verify(&block.header, epoch_of(&self.0, &block.header)?)
                .map_err(|fault| BlockError::Proof { height, fault }),
        }
    }
}

/// Compares what a block carries and leads to with what its header names.
#[derive(Clone, Copy, Debug)]
pub struct StateValidator;

impl StateValidator {
    /// Whether the payload is the header's.
    pub fn validate_payload(&self, block: &Block) -> Result<(), BlockError> {
        // The length first: it costs nothing, and a longer payload needn't be hashed.
        let header = &block.header;
        let right_length = usize::try_from(header.payload_len) == Ok(block.payload.len());
        if right_length && payload_hash(&block.payload) == header.payload_hash {
            Ok(())
        } else {
            Err(BlockError::Payload(header.height))
        }
    }

    /// Whether `root`, which executing the block gave, is the header's.
    pub fn validate_state_root(&self, block: &Block, root: &Hash) -> Result<(), BlockError> {
        let expected = block.header.state_root;
        if expected == *root {
            Ok(())
        } else {
            Err(BlockError::StateRoot { height: block.height(), expected, found: *root })
        }
    }
}

/// Checks of blocks that came some other way than through a sync, or are to be checked again.
///
/// ```
/// # use hotstuff2_sync::chain::native::{Block, BlockValidator, EpochContext, Genesis, BlockError};
/// fn all_final(genesis: &Genesis, blocks: &[Block]) -> Result<(), BlockError> {
///     let validator = BlockValidator::new([EpochContext::new(genesis, genesis.epoch().clone())]);
///     validator.validate_block_chain(blocks)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct BlockValidator {
    consensus: ConsensusValidator,
    signatures: SignatureValidator,
    state: StateValidator,
}

impl BlockValidator {
    /// A validator that trusts `epochs`: each proven by a handover, or part of the anchor.
    pub fn new(epochs: impl IntoIterator<Item = EpochContext>) -> Self {
        let epochs: Epochs = Arc::new(epochs.into_iter().map(|epoch| (epoch.epoch(), epoch)).collect());
        Self {
            consensus: ConsensusValidator(Arc::clone(&epochs)),
            signatures: SignatureValidator(epochs),
            state: StateValidator,
        }
    }

    /// The stage for rules.
    pub fn consensus(&self) -> &ConsensusValidator {
        &self.consensus
    }

    /// The stage for certificates.
    pub fn signatures(&self) -> &SignatureValidator {
        &self.signatures
    }

    /// The stage for payloads and state roots.
    pub fn state(&self) -> &StateValidator {
        &self.state
    }

    /// The block by itself: its header's rules, and its payload. No signature is looked at.
    pub fn validate_block_structure(&self, block: &Block) -> Result<(), BlockError> {
        self.consensus.validate_header(&block.header)?;
        self.state.validate_payload(block)
    }

    /// Whether the block's own proof makes it final. A block without a certificate fails with
    /// [`BlockError::NotFinal`]: it may be proven by one above.
    pub fn validate_block_signatures(&self, block: &Block) -> Result<(), BlockError> {
        self.signatures.validate_proof(block)
    }

    /// Whether the block follows `parent` by the rules.
    pub fn validate_consensus_rules(&self, block: &Block, parent: &Block) -> Result<(), BlockError> {
        self.consensus.validate_child(&block.header, &parent.header)
    }

    /// Checks the structure, and that a block which is known by its id has it: the cheap part, for blocks whose ids
    /// are proven already. A certificate is not looked at.
    pub fn fast_validate_block(&self, block: &Block) -> Result<(), BlockError> {
        self.validate_block_structure(block)?;
        match block.proof {
            FinalityProof::Anchored { id } => expect_id(block, id),
            _ => Ok(()),
        }
    }

    /// One result for each of consecutive blocks: whether it keeps the rules, follows the one before, has its payload,
    /// and is final, by its own certificate or by a block above it of the same epoch. One quorum check for each
    /// certificate.
    pub fn validate_block_sequence(&self, blocks: &[Block]) -> Vec<Result<(), BlockError>> {
        let mut results: Vec<_> = self.rules(blocks).collect();
        let mut above: Option<&Block> = None;
        for (block, result) in blocks.iter().zip(results.iter_mut()).rev() {
            if result.is_ok() {
                *result = match block.proof {
                    FinalityProof::Anchored { id } => expect_id(block, id).and_then(|()| proven_by(block, above)),
                    _ => self.signatures.validate_proof(block),
                };
            }
            above = result.is_ok().then_some(block);
        }
        results
    }

    /// Whether all of these consecutive blocks keep the rules and are final: the last by its own certificate, those below
    /// by their links to it. An epoch is proven by its own validators, so its last block needs a certificate too. One
    /// quorum check for each epoch.
    pub fn validate_block_chain(&self, blocks: &[Block]) -> Result<(), BlockError> {
        self.validate_chain(blocks, None)
    }

    /// The same where the last block needs no certificate, because the block `last` is known to be final.
    pub fn validate_block_chain_to(&self, blocks: &[Block], last: &Hash) -> Result<(), BlockError> {
        self.validate_chain(blocks, Some(*last))
    }

    /// One result for each of consecutive headers: its rules, and that it follows the one before. Nothing says whether
    /// they are final.
    pub fn validate_block_headers_only(&self, headers: &[BlockHeader]) -> Vec<Result<(), BlockError>> {
        let parents = core::iter::once(None).chain(headers.iter().map(Some));
        headers.iter().zip(parents).map(|(header, parent)| self.header(header, parent)).collect()
    }

    fn validate_chain(&self, blocks: &[Block], known: Option<Hash>) -> Result<(), BlockError> {
        let last = blocks.last().ok_or(BlockError::Empty)?;
        self.rules(blocks).collect::<Result<(), _>>()?;
        if let Some(known) = known {
            expect_id(last, known)?;
        }
        let above = blocks.iter().skip(1).map(Some).chain(core::iter::once(None));
        for (block, above) in blocks.iter().zip(above) {
            let ends = above.is_none_or(|above| above.header.epoch != block.header.epoch);
            if ends && (above.is_some() || known.is_none()) {
                self.signatures.validate_proof(block)?;
            }
        }
        Ok(())
    }

    /// Rules and payloads of consecutive blocks.
    fn rules<'a>(&'a self, blocks: &'a [Block]) -> impl Iterator<Item = Result<(), BlockError>> + 'a {
        let parents = core::iter::once(None).chain(blocks.iter().map(Some));
        blocks.iter().zip(parents).map(|(block, parent)| {
            self.header(&block.header, parent.map(|parent| &parent.header))?;
            self.state.validate_payload(block)
        })
    }

    fn header(&self, header: &BlockHeader, parent: Option<&BlockHeader>) -> Result<(), BlockError> {
        match parent {
            Some(parent) => self.consensus.follows(header, parent),
            None => self.consensus.validate_header(header),
        }
    }
}

fn expect_id(block: &Block, known: Hash) -> Result<(), BlockError> {
    if block.id() == known { Ok(()) } else { Err(BlockError::OtherBlock { height: block.height(), known }) }
}

/// Whether `above`, which is final, makes `block` final: its parent, by the rules that were checked, is `block`.
fn proven_by(block: &Block, above: Option<&Block>) -> Result<(), BlockError> {
    match above {
        // Never by another epoch's set: on a dead fork, the last block names whatever set its own headers need.
        Some(above) if above.header.epoch == block.header.epoch => Ok(()),
        _ => Err(BlockError::NotFinal(block.height())),
    }
}
