//! [`SyncBlockValidator`]: the core's checks of whole blocks, with the epochs that a store has proven, on threads that may
//! block.

use hotstuff2_sync::chain::native::{Block, BlockError, BlockHeader, BlockValidator};
use hotstuff2_sync::ids::Epoch;

use super::blocks::StoredBlocks;
use crate::state_validator::ValidationResult;
use crate::store::StoreFailure;

/// Why blocks are not what they should be, or could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum BlockCheckError {
    /// A block is false, or its epoch isn't known.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The epochs could not be read.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

type Checked = ValidationResult<BlockCheckError>;

/// Checks whole blocks against the epochs that a store holds. What each check means is said at [`BlockValidator`], which
/// does the work; here it gets the epochs, and a thread for signatures.
#[derive(Clone)]
pub struct SyncBlockValidator(StoredBlocks);

impl SyncBlockValidator {
    pub(super) fn new(blocks: StoredBlocks) -> Self {
        Self(blocks)
    }

    /// See [`BlockValidator::validate_block_structure`].
    pub async fn validate_block_structure(&self, block: &Block) -> Checked {
        self.one(block, None, |validator, block, _| validator.validate_block_structure(block)).await
    }

    /// See [`BlockValidator::validate_block_signatures`].
    pub async fn validate_block_signatures(&self, block: &Block) -> Checked {
        self.one(block, None, |validator, block, _| validator.validate_block_signatures(block)).await
    }

    /// See [`BlockValidator::validate_consensus_rules`].
    pub async fn validate_consensus_rules(&self, block: &Block, parent: &Block) -> Checked {
        let check = |validator: &BlockValidator, block: &Block, parent: Option<&Block>| match parent {
            Some(parent) => validator.validate_consensus_rules(block, parent),
            None => validator.consensus().validate_header(&block.header),
        };
        self.one(block, Some(parent), check).await
    }

    /// See [`BlockValidator::validate_block_sequence`]. Where the epochs can't be read, that is the one result.
    pub async fn validate_block_sequence(&self, blocks: &[Block]) -> Vec<Checked> {
        let numbers = blocks.iter().map(|block| block.header.epoch).collect();
        let blocks = blocks.to_vec();
        match self.blocking(numbers, move |validator| validator.validate_block_sequence(&blocks)).await {
            Ok(results) => results.into_iter().map(|result| result.map_err(Into::into)).collect(),
            Err(failure) => vec![Err(failure.into())],
        }
    }

    /// See [`BlockValidator::validate_block_chain`].
    pub async fn validate_block_chain(&self, blocks: &[Block]) -> Checked {
        let numbers = blocks.iter().map(|block| block.header.epoch).collect();
        let blocks = blocks.to_vec();
        Ok(self.blocking(numbers, move |validator| validator.validate_block_chain(&blocks)).await??)
    }

    /// See [`BlockValidator::fast_validate_block`].
    pub async fn fast_validate_block(&self, block: &Block) -> Checked {
        self.one(block, None, |validator, block, _| validator.fast_validate_block(block)).await
    }

    /// See [`BlockValidator::validate_block_headers_only`]. Where the epochs can't be read, that is the one result.
    pub async fn validate_block_headers_only(&self, headers: &[BlockHeader]) -> Vec<Checked> {
        let numbers = headers.iter().map(|header| header.epoch).collect();
        let headers = headers.to_vec();
        match self.blocking(numbers, move |validator| validator.validate_block_headers_only(&headers)).await {
            Ok(results) => results.into_iter().map(|result| result.map_err(Into::into)).collect(),
            Err(failure) => vec![Err(failure.into())],
        }
    }

    /// Like [`Self::validate_block_chain`], where the last block may also be the one that is stored at its height.
    pub(super) async fn validate_stored_chain(&self, blocks: &[Block]) -> Checked {
        let numbers = blocks.iter().map(|block| block.header.epoch).collect();
        let stored = self.0.clone();
        let blocks = blocks.to_vec();
        let check = move |validator: &BlockValidator| -> Checked {
            let last = blocks.last().ok_or(BlockError::Empty)?;
            match validator.validate_block_chain(&blocks) {
                Err(BlockError::NotFinal(height)) if height == last.height() => {
                    let id = last.id();
                    if stored.id_at(height)? != Some(id) {
                        return Err(BlockError::NotFinal(height).into());
                    }
                    Ok(validator.validate_block_chain_to(&blocks, &id)?)
                }
                result => Ok(result?),
            }
        };
        self.blocking(numbers, check).await?
    }

    async fn one(
        &self,
        block: &Block,
        parent: Option<&Block>,
        check: impl FnOnce(&BlockValidator, &Block, Option<&Block>) -> Result<(), BlockError> + Send + 'static,
    ) -> Checked {
        let (block, parent) = (block.clone(), parent.cloned());
        let numbers = parent.iter().chain([&block]).map(|block| block.header.epoch).collect();
        Ok(self.blocking(numbers, move |validator| check(validator, &block, parent.as_ref())).await??)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        numbers: Vec<Epoch>,
        check: impl FnOnce(&BlockValidator) -> T + Send + 'static,
    ) -> Result<T, StoreFailure> {
        let blocks = self.0.clone();
        super::tokio_manager::blocking(move || Ok(check(&blocks.validator(numbers)?))).await
    }
}

impl std::fmt::Debug for SyncBlockValidator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncBlockValidator").finish_non_exhaustive()
    }
}
