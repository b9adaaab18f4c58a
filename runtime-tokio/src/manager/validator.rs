//! [`SyncBlockValidator`]: checks of whole blocks with the epochs that a store has proven, on threads that may block. Every
//! check is the one that segments and tips of peers go through: this is a door to it and no second implementation.
//!
//! It trusts the epochs of the store, and nothing of the blocks.

use std::convert::Infallible;

use bytes::Bytes;
use hotstuff2_sync::chain::{Block, CheckError, EpochRef, Fault, SegmentClaim, SegmentEnd, SegmentRef, TipCheck};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::{Outcome, Task};
use hotstuff2_sync::wire::put_section;

use super::blocks::StoredBlocks;
use super::tokio_manager::blocking;
use crate::state_validator::ValidationResult;
use crate::store::StoreFailure;

/// Why blocks are not what they should be, or could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockCheckError {
    /// There is nothing to check, and so nothing is proven.
    #[error("no blocks were given, which proves nothing; give at least one")]
    Empty,
    /// The block's epoch isn't known here: nothing was proven, and nobody is to blame.
    #[error("no handover of the epoch at height {0} is stored; start the sync, or use a store that begins at genesis")]
    UnknownEpoch(Height),
    /// The block breaks a rule of its chain, by itself or as the child of the block below it.
    #[error("block {height} is refused: {fault}")]
    Refused {
        /// The block.
        height: Height,
        /// Fault that was found.
        fault: Fault,
    },
    /// The block could not be checked, because the chain of this node failed. Nobody is to blame.
    #[error("block {height} could not be checked: this node's chain failed (code {code}); try again")]
    Unable {
        /// The block.
        height: Height,
        /// The chain's own code.
        code: u32,
    },
    /// The block has no certificate of its own, and no block above it of the same epoch proves it.
    #[error("block {0} is not proven final: it has no certificate, and no block above it that was given has one")]
    NotFinal(Height),
    /// The epochs could not be read.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

impl BlockCheckError {
    fn of(height: Height, error: CheckError) -> Self {
        match error {
            CheckError::False(fault) => Self::Refused { height, fault },
            CheckError::Unable(code) => Self::Unable { height, code },
        }
    }
}

type Checked = ValidationResult<BlockCheckError>;

/// Checks whole blocks of any chain against the epochs that a store holds.
#[derive(Clone)]
pub struct SyncBlockValidator(StoredBlocks);

impl SyncBlockValidator {
    pub(super) fn new(blocks: StoredBlocks) -> Self {
        Self(blocks)
    }

    /// The block by itself: that its header keeps the rules and has the id and the parent that the block says, and that its
    /// payload is the one that the header names. No certificate is looked at.
    pub async fn validate_block_structure(&self, block: &Block) -> Checked {
        self.one(block, Checks::structure).await
    }

    /// Whether the block's own proof makes it final. A block without one fails with [`BlockCheckError::NotFinal`]: it may
    /// be proven by one above.
    pub async fn validate_block_signatures(&self, block: &Block) -> Checked {
        self.one(block, Checks::proof).await
    }

    /// Whether the block follows `parent` by the rules. The parent's own are held against it where its epoch is known.
    pub async fn validate_consensus_rules(&self, block: &Block, parent: &Block) -> Checked {
        let parent = parent.clone();
        self.one(block, move |checks, block| {
            match checks.header(&parent) {
                Ok(_) | Err(BlockCheckError::UnknownEpoch(_)) => {}
                Err(error) => return Err(error),
            }
            checks.header(block)?;
            follows(block, &parent)
        })
        .await
    }

    /// One result for each of consecutive blocks: whether it keeps the rules, follows the one before, has its payload,
    /// and is final, by its own certificate or by a block above it of the same epoch.
    pub async fn validate_block_sequence(&self, blocks: &[Block]) -> Vec<Checked> {
        self.each(blocks, |checks, blocks| {
            let mut results = checks.rules(blocks);
            let mut above: Option<&Block> = None;
            for (block, result) in blocks.iter().zip(results.iter_mut()).rev() {
                if result.is_ok() {
                    *result = match &block.proof {
                        Some(_) => checks.proof(block),
                        None => checks.proven_by(block, above),
                    };
                }
                above = result.is_ok().then_some(block);
            }
            results
        })
        .await
    }

    /// Whether all of these consecutive blocks keep the rules and are final: the last by its own certificate, those below
    /// by their links to it. An epoch is proven by its own validators, so its last block needs a certificate too.
    pub async fn validate_block_chain(&self, blocks: &[Block]) -> Checked {
        let blocks = blocks.to_vec();
        self.blocking(move |checks| checks.chain(&blocks, None)).await
    }

    /// Checks what is cheap: that a block has the id that it is known by, and its payload. For blocks whose ids are
    /// proven already; a certificate is not looked at.
    pub async fn fast_validate_block(&self, block: &Block) -> Checked {
        self.validate_block_structure(block).await
    }

    /// One result for each of consecutive blocks, of which the headers are looked at alone: their rules, and that each
    /// follows the one before. Nothing says whether they are final.
    pub async fn validate_block_headers_only(&self, blocks: &[Block]) -> Vec<Checked> {
        self.each(blocks, |checks, blocks| checks.headers(blocks).collect()).await
    }

    /// Like [`Self::validate_block_chain`], where the last block may also be the one that is stored at its height.
    pub(super) async fn validate_stored_chain(&self, blocks: &[Block]) -> Checked {
        let blocks = blocks.to_vec();
        self.blocking(move |checks| {
            let last = blocks.last().ok_or(BlockCheckError::Empty)?;
            let known = match last.proof {
                Some(_) => None,
                None => checks.0.id_at(last.height)?,
            };
            checks.chain(&blocks, known)
        })
        .await
    }

    async fn one(&self, block: &Block, check: impl FnOnce(&Checks, &Block) -> Checked + Send + 'static) -> Checked {
        let block = block.clone();
        self.blocking(move |checks| check(checks, &block)).await
    }

    async fn each(
        &self,
        blocks: &[Block],
        check: impl FnOnce(&Checks, &[Block]) -> Vec<Checked> + Send + 'static,
    ) -> Vec<Checked> {
        let (checks, blocks) = (Checks(self.0.clone()), blocks.to_vec());
        let results: Result<_, Infallible> = blocking(move || Ok(check(&checks, &blocks))).await;
        results.unwrap_or_else(|never| match never {})
    }

    async fn blocking(&self, check: impl FnOnce(&Checks) -> Checked + Send + 'static) -> Checked {
        let checks = Checks(self.0.clone());
        blocking(move || check(&checks)).await
    }
}

impl std::fmt::Debug for SyncBlockValidator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncBlockValidator").finish_non_exhaustive()
    }
}

/// The checks, on a thread that may wait for the disk.
struct Checks(StoredBlocks);

impl Checks {
    fn epoch(&self, height: Height) -> Result<EpochRef, BlockCheckError> {
        self.0.store.epoch_of(height)?.ok_or(BlockCheckError::UnknownEpoch(height))
    }

    fn prove(&self, height: Height, task: Task) -> Result<Outcome, BlockCheckError> {
        self.0.chain.prove(task).map_err(|error| BlockCheckError::of(height, error))
    }

    /// Checks what the header must be by itself, under the id and above the parent that the block says.
    fn header(&self, block: &Block) -> Result<SegmentRef, BlockCheckError> {
        let Block { height, id, parent_id, .. } = *block;
        let refused = |fault| BlockCheckError::Refused { height, fault };
        let epoch = self.epoch(height)?;
        let end = SegmentEnd::Anchored(id);
        let claim = SegmentClaim { range: HeightRange::single(height), parent: Some(parent_id), end, audit: false };
        let mut answer = Vec::new();
        // The header, and no certificates of single blocks.
        if !put_section(&mut answer, &block.header) || !put_section(&mut answer, &[]) {
            return Err(refused(Fault::Oversize));
        }
        match self.prove(height, Task::Segment { epoch, claim, bodies: 0, handover: None, bytes: answer.into() })? {
            Outcome::Segment { segment, .. } => Ok(segment),
            _ => Err(refused(Fault::Malformed)),
        }
    }

    fn structure(&self, block: &Block) -> Checked {
        let (segment, height) = (self.header(block)?, block.height);
        let refused = |fault| BlockCheckError::Refused { height, fault };
        // The length first: it costs nothing, and a longer payload needn't be hashed.
        let named = segment.payload_lens().first().and_then(|&len| usize::try_from(len).ok());
        if named != Some(block.payload.len()) {
            return Err(refused(Fault::BadPayload(height)));
        }
        let checked = self.0.chain.check_body(&segment, height, &block.payload);
        checked.map_err(|error| BlockCheckError::of(height, error))
    }

    /// Whether the block's own proof makes it final.
    fn proof(&self, block: &Block) -> Checked {
        let (height, id) = (block.height, block.id);
        let bytes: Bytes = block.proof.clone().ok_or(BlockCheckError::NotFinal(height))?;
        let epoch = self.epoch(height)?;
        let refused = |fault| Err(BlockCheckError::Refused { height, fault });
        match self.prove(height, Task::Tip { epoch, bytes })? {
            Outcome::Tip(TipCheck::Final(tip), _) if tip.height == height && tip.id == id => Ok(()),
            Outcome::Tip(TipCheck::OtherEpoch(_), _) => refused(Fault::BadEpoch),
            _ => refused(Fault::WrongAnchor),
        }
    }

    /// Whether `above`, which is final, makes `block` final: its parent, by the rules that were checked, is `block`.
    fn proven_by(&self, block: &Block, above: Option<&Block>) -> Checked {
        let height = block.height;
        let above = above.ok_or(BlockCheckError::NotFinal(height))?;
        // Never by another epoch's set: on a dead fork, the last block names whatever set its own headers need.
        if self.epoch(height)?.range().contains(above.height) { Ok(()) } else { Err(BlockCheckError::NotFinal(height)) }
    }

    /// Headers by themselves and as children of the ones before.
    fn headers<'a>(&'a self, blocks: &'a [Block]) -> impl Iterator<Item = Checked> + 'a {
        let parents = std::iter::once(None).chain(blocks.iter().map(Some));
        blocks.iter().zip(parents).map(|(block, parent)| {
            self.header(block)?;
            parent.map_or(Ok(()), |parent| follows(block, parent))
        })
    }

    /// The same, and payloads.
    fn rules(&self, blocks: &[Block]) -> Vec<Checked> {
        let parents = std::iter::once(None).chain(blocks.iter().map(Some));
        let check = |(block, parent): (&Block, Option<&Block>)| {
            self.structure(block)?;
            parent.map_or(Ok(()), |parent| follows(block, parent))
        };
        blocks.iter().zip(parents).map(check).collect()
    }

    /// All of these blocks, of which the last one needs no proof of its own where it has the id `known`.
    fn chain(&self, blocks: &[Block], known: Option<Hash>) -> Checked {
        let last = blocks.last().ok_or(BlockCheckError::Empty)?;
        self.rules(blocks).into_iter().collect::<Result<(), _>>()?;
        let above = blocks.iter().skip(1).map(Some).chain(std::iter::once(None));
        for (block, above) in blocks.iter().zip(above) {
            let known = above.is_none() && known == Some(last.id);
            if !known && self.proven_by(block, above).is_err() {
                self.proof(block)?;
            }
        }
        Ok(())
    }
}

/// Whether `parent` is the block below.
fn follows(block: &Block, parent: &Block) -> Checked {
    let height = block.height;
    if !height.is_next_of(parent.height) {
        return Err(BlockCheckError::Refused { height, fault: Fault::BrokenLink(height) });
    }
    if block.parent_id == parent.id {
        Ok(())
    } else {
        Err(BlockCheckError::Refused { height, fault: Fault::WrongParent })
    }
}
