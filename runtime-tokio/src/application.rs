//! The application: what executes final blocks.

use std::error::Error;

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;

pub use hotstuff2_sync::calls::AppBlock;

/// Why blocks were not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The state root after a block isn't the one in its header. Peers are not to blame: the header is proven.
    #[error(
        "the state root after block {height} is {found}, but the network agreed on {expected}; the application or its state is not the one that this chain was made with"
    )]
    StateMismatch {
        /// The block.
        height: Height,
        /// The root in its header.
        expected: Hash,
        /// The root that execution gave.
        found: Hash,
    },
    /// It may work later: the same blocks come again. Where the cause is an [`io::Error`](std::io::Error) or a
    /// [`StoreFailure`](crate::store::StoreFailure) that says so, the sync tells that the disk is full.
    #[error("blocks can't be executed now: {0}")]
    Transient(Box<dyn Error + Send + Sync>),
    /// It will not work without help.
    #[error("blocks can't be executed: {0}")]
    Permanent(Box<dyn Error + Send + Sync>),
    /// The application has panicked, and is not called again. The sync ends with that.
    #[error(
        "the application panicked: {0}; mend it, then start the node again: blocks since its last commit are executed anew"
    )]
    Panicked(String),
}

/// What executes final blocks. Called on one thread, which may block.
///
/// The [`Executor`](crate::Executor) calls it, and decides when it commits: an application need not count blocks. It says
/// what waits, and writes it when it is told to.
pub trait Application: Send + 'static {
    /// The height up to which blocks are executed. On start-up: durably.
    fn applied(&self) -> Height;

    /// Executes consecutive blocks, the first of which comes right after [`applied`](Self::applied). The blocks are
    /// stored durably before; what this makes of them may become durable later, since after a crash the stored blocks
    /// above what [`applied`](Self::applied) says then are executed again. On an error, blocks before the one that
    /// failed may or may not have been executed: [`applied`](Self::applied) says.
    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError>;

    /// Takes over what this node's own engine has made of consecutive blocks, of which it said when it
    /// [submitted](crate::SyncHandle::submit) them that they are executed. They come as blocks for
    /// [`execute`](Self::execute) do, and count as executed from then on; what came of them becomes durable as ever, and
    /// after a crash they are executed. An application that shares no state with the engine executes them.
    ///
    /// A block that the engine has executed may come by [`execute`](Self::execute) all the same, where a peer gave it first:
    /// an application that shares its state with the engine knows how far that has got.
    fn adopt(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError>;

    /// About how many bytes of memory what was executed takes until it is committed: changes, and whatever else a commit
    /// lets go of. Asked for after some hundred KiB of payloads; 0 where nothing grows.
    fn uncommitted(&self) -> usize;

    /// Writes what was executed, up to [`applied`](Self::applied), so that it survives the end of the process, and lets go
    /// of what it took. Where that fails it is called again before anything else is executed. An application that has no
    /// cheaper way does what [`persist`](Self::persist) does.
    fn commit(&mut self) -> Result<(), ExecuteError>;

    /// Makes everything durable that was executed. Called now and then, and before the node stops.
    fn persist(&mut self) -> Result<(), ExecuteError>;

    /// The state after the block at `height` was fetched, and is what the store holds from now on: forget everything that
    /// was cached or not written yet, and go on from there. Called only where the sync may stage a state; an application
    /// that can't go on from one says so with [`ExecuteError::Permanent`].
    fn restore(&mut self, height: Height) -> Result<(), ExecuteError>;
}

/// Executes nothing: for nodes that only keep blocks, and for measuring the sync alone.
#[derive(Clone, Copy, Debug)]
pub struct NoApplication(Height);

impl NoApplication {
    /// An application that stands at the stored height and stays with it.
    pub fn new(stored: Height) -> Self {
        Self(stored)
    }
}

impl Application for NoApplication {
    fn applied(&self) -> Height {
        self.0
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        if let Some(last) = blocks.last() {
            self.0 = last.height;
        }
        Ok(())
    }

    fn adopt(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.execute(blocks)
    }

    fn uncommitted(&self) -> usize {
        0
    }

    fn commit(&mut self) -> Result<(), ExecuteError> {
        self.persist()
    }

    fn persist(&mut self) -> Result<(), ExecuteError> {
        Ok(())
    }

    fn restore(&mut self, height: Height) -> Result<(), ExecuteError> {
        self.0 = height;
        Ok(())
    }
}
