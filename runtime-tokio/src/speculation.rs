//! [`SpeculativeApplication`]: a key-value application whose blocks a consensus engine executes before they are final, and takes
//! back where another block becomes final in their place.
//!
//! The state in memory is that of the final blocks, and on top of it the branch that the engine looked at last. A branch that
//! leads elsewhere is taken back to where the two part, change by change. What is durable is the state of final blocks alone:
//! before a commit the branch is taken back, and a crash leaves nothing of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::Undo;
use hotstuff2_sync::time::UnixMillis;

use crate::application::{AppBlock, Application, ExecuteError};
use crate::key_value::{BlockState, KeyValueApplication};

/// Most blocks of a branch. A branch is as long as blocks wait to be final, and those wait for a certificate or two.
pub const MAX_BRANCH: usize = 1024;

/// A block that may not be final, as far as it is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchBlock<'a> {
    /// Height of the block.
    pub height: Height,
    /// Time of the block.
    pub timestamp: UnixMillis,
    /// Payload of the block.
    pub payload: &'a [u8],
}

/// Why a branch was not executed.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    /// The blocks don't begin right above what is executed, or don't follow each other.
    #[error("blocks up to {executed} are executed, and the branch begins above: hand in all blocks from there on")]
    Gap {
        /// The height up to which final blocks are executed.
        executed: Height,
    },
    /// There are too many blocks.
    #[error("the branch has {0} blocks, and at most {MAX_BRANCH} are executed before they are final")]
    TooLong(usize),
    /// A block can't be executed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

/// An application that a sync and an engine share: clones are the same one. The sync has final blocks
/// [executed](Application::execute), the engine [asks](Self::root_after) what a block that is none yet leads to. A final block
/// that the engine has had executed is not executed again.
///
/// The function that executes gets no id and no root of a block that is not final, but zeros: a header names the root that the
/// block leads to, so the root can't depend on either.
pub struct SpeculativeApplication<F>(Arc<Mutex<Inner<F>>>);

struct Inner<F> {
    application: KeyValueApplication<F>,
    /// The branch above the final blocks, lowest first.
    branch: VecDeque<Executed>,
    taken_back: u64,
}

/// A block of the branch.
struct Executed {
    timestamp: UnixMillis,
    payload: Vec<u8>,
    /// The state root after it.
    root: Hash,
    undo: Undo,
}

impl Executed {
    fn is(&self, timestamp: UnixMillis, payload: &[u8]) -> bool {
        self.timestamp == timestamp && self.payload == payload
    }
}

impl<F> Clone for SpeculativeApplication<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> std::fmt::Debug for SpeculativeApplication<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpeculativeApplication").finish_non_exhaustive()
    }
}

impl<F> SpeculativeApplication<F>
where
    F: FnMut(&AppBlock<'_>, &mut BlockState<'_>) -> Result<(), ExecuteError> + Send + 'static,
{
    /// Shares `application`.
    pub fn new(application: KeyValueApplication<F>) -> Self {
        Self(Arc::new(Mutex::new(Inner { application, branch: VecDeque::new(), taken_back: 0 })))
    }

    /// The root of the state after the last of `blocks`, which follow each other; the last is the one in question, those below
    /// it lead there. Blocks at or below [`applied`](Application::applied) are passed over: those are final.
    ///
    /// # Errors
    /// Where the blocks don't begin right above what is executed, are too many, or can't be executed.
    pub fn root_after(&self, blocks: &[BranchBlock<'_>]) -> Result<Hash, BranchError> {
        self.lock().root_after(blocks)
    }

    /// The root of the state after the final blocks that were executed. The branch is taken back.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub fn final_root(&self) -> Result<Hash, ExecuteError> {
        let mut inner = self.lock();
        inner.cut(0)?;
        Ok(inner.application.root())
    }

    /// Blocks that were executed for a branch and taken back, since other blocks took their places or a commit came.
    pub fn taken_back(&self) -> u64 {
        self.lock().taken_back
    }

    fn lock(&self) -> MutexGuard<'_, Inner<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Inner<F>
where
    F: FnMut(&AppBlock<'_>, &mut BlockState<'_>) -> Result<(), ExecuteError> + Send + 'static,
{
    fn root_after(&mut self, blocks: &[BranchBlock<'_>]) -> Result<Hash, BranchError> {
        let executed = self.application.applied();
        let above = blocks.iter().position(|block| block.height > executed).unwrap_or(blocks.len());
        let blocks = blocks.get(above..).unwrap_or_default();
        let heights = (1..).map(|step| executed.plus(step));
        if blocks.is_empty() || blocks.iter().zip(heights).any(|(block, height)| block.height != height) {
            return Err(BranchError::Gap { executed });
        }
        if blocks.len() > MAX_BRANCH {
            return Err(BranchError::TooLong(blocks.len()));
        }
        let same = self.branch.iter().zip(blocks).take_while(|(done, block)| done.is(block.timestamp, block.payload));
        let same = same.count();
        if same < blocks.len() {
            self.cut(same)?;
        }
        for block in blocks.get(same..).unwrap_or_default() {
            let (root, undo) = self.application.execute_for_now(block)?;
            let BranchBlock { timestamp, payload, .. } = *block;
            self.branch.push_back(Executed { timestamp, payload: payload.to_vec(), root, undo });
        }
        let last = blocks.len().checked_sub(1).and_then(|last| self.branch.get(last));
        Ok(last.ok_or(BranchError::Gap { executed })?.root)
    }

    /// Takes back all blocks of the branch but the lowest `kept`.
    fn cut(&mut self, kept: usize) -> Result<(), ExecuteError> {
        while self.branch.len() > kept {
            let Some(last) = self.branch.back() else { break };
            self.application.take_back(&last.undo)?;
            self.branch.pop_back();
            self.taken_back = self.taken_back.saturating_add(1);
        }
        Ok(())
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        for block in blocks {
            if self.branch.front().is_some_and(|done| done.is(block.timestamp, block.payload)) {
                let Some(done) = self.branch.pop_front() else { continue };
                self.application.make_final(block, done.root)?;
                continue;
            }
            // Another block is final here: the branch stands on one that is not.
            self.cut(0)?;
            self.application.execute(std::slice::from_ref(block))?;
        }
        Ok(())
    }
}

impl<F> Application for SpeculativeApplication<F>
where
    F: FnMut(&AppBlock<'_>, &mut BlockState<'_>) -> Result<(), ExecuteError> + Send + 'static,
{
    fn applied(&self) -> Height {
        self.lock().application.applied()
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.lock().execute(blocks)
    }

    fn adopt(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.execute(blocks)
    }

    fn uncommitted(&self) -> usize {
        self.lock().application.uncommitted()
    }

    fn commit(&mut self) -> Result<(), ExecuteError> {
        let mut inner = self.lock();
        inner.cut(0)?;
        inner.application.commit()
    }

    fn persist(&mut self) -> Result<(), ExecuteError> {
        let mut inner = self.lock();
        inner.cut(0)?;
        inner.application.persist()
    }

    fn restore(&mut self, height: Height) -> Result<(), ExecuteError> {
        let mut inner = self.lock();
        inner.branch.clear();
        inner.application.restore(height)
    }
}

#[cfg(test)]
#[path = "speculation_tests.rs"]
mod tests;
