//! [`Executor`]: has an application execute blocks, and commit what came of them before that is too much to lose.
//!
//! Work between two commits is bounded in bytes and in time, not in blocks, of which one may change a balance and another
//! a hundred thousand. So memory is bounded whatever blocks do, and a process that is killed again and again, for its
//! memory or anything else, gets further each time.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use hotstuff2_sync::ids::Height;

use crate::application::{AppBlock, Application, ExecuteError};
use crate::fence::Fenced;

/// Bytes that may wait in an application's memory for a commit: 24 MiB. Passed by what [`PORTION_BYTES`] of payloads, or
/// one larger block, make of it. A commit passes through memory a few times, so much more would not fit beside the rest;
/// less would write the pages of a large state more often.
pub const COMMIT_BYTES: usize = 24 << 20;

/// Time after a commit, or after the first block since all was durable, in which what was executed is made durable, however
/// little it is: one second. What the end of the process takes is executed again in about as long.
pub const COMMIT_AFTER: Duration = Duration::from_secs(1);

/// Time in which what was executed is durable though commits for their size come more often: four seconds. What is committed
/// survives the process, and a power cut as soon as the next blocks are stored; to commit twice for one reason would write the
/// pages of a large state twice as often.
pub const DURABLE_AFTER: Duration = Duration::from_secs(4);

/// Payload bytes that are executed between two looks at what waits, and at least one block: 256 KiB.
pub const PORTION_BYTES: usize = 256 << 10;

/// An application that commits in time, and whose panics are errors.
pub struct Executor {
    application: Fenced,
    /// Heights at whose multiples a commit must land, to be kept as snapshots.
    interval: NonZeroU64,
    /// Since when something is not durable.
    waiting: Option<Instant>,
    /// When something was committed since then, the last time.
    committed: Option<Instant>,
    /// A commit is due whatever waits: at a snapshot height, or since the one before failed.
    owed: bool,
    /// The height whose outcome survives a power failure.
    durable: Height,
}

impl Executor {
    /// Over an application whose state is kept at the multiples of `interval`:
    /// [`BlockStore::snapshot_interval`](crate::store::BlockStore::snapshot_interval).
    pub fn new(application: Box<dyn Application>, interval: NonZeroU64) -> Self {
        let durable = application.applied();
        Self { application: Fenced::new(application), interval, waiting: None, committed: None, owed: false, durable }
    }

    /// The height up to which blocks are executed.
    pub fn applied(&self) -> Height {
        self.application.applied()
    }

    /// The height up to which what came of the blocks is durable: blocks above it are executed again after a power failure.
    pub fn durable(&self) -> Height {
        self.durable
    }

    /// Executes consecutive blocks, and commits whenever that is due. On an error [`applied`](Self::applied) says how far
    /// it came; what could not be committed is committed before anything else is executed.
    pub fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.each(blocks, Fenced::execute)
    }

    /// Has consecutive blocks [adopted](Application::adopt) that this node's own engine has executed; all else is as for
    /// [`execute`](Self::execute).
    pub fn adopt(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.each(blocks, Fenced::adopt)
    }

    fn each(
        &mut self,
        blocks: &[AppBlock<'_>],
        mut call: impl FnMut(&mut Fenced, &[AppBlock<'_>]) -> Result<(), ExecuteError>,
    ) -> Result<(), ExecuteError> {
        self.commit_if_due()?;
        let mut rest = blocks;
        while !rest.is_empty() {
            let (portion, later) = rest.split_at(self.portion(rest));
            self.waiting.get_or_insert_with(Instant::now);
            call(&mut self.application, portion)?;
            self.owed |= self.application.applied().get() % self.interval == 0;
            self.commit_if_due()?;
            rest = later;
        }
        Ok(())
    }

    /// How many of `blocks` are executed before the next look: one at least, and none beyond a snapshot height.
    fn portion(&self, blocks: &[AppBlock<'_>]) -> usize {
        let (mut count, mut bytes) = (0, 0usize);
        for block in blocks {
            bytes = bytes.saturating_add(block.payload.len());
            if count > 0 && bytes > PORTION_BYTES {
                break;
            }
            count += 1;
            if block.height.get() % self.interval == 0 {
                break;
            }
        }
        count
    }

    /// When what waits must be made durable, if anything does.
    pub fn deadline(&self) -> Option<Instant> {
        let since = self.waiting?;
        Some(self.committed.map_or(since + COMMIT_AFTER, |at| (at + COMMIT_AFTER).min(since + DURABLE_AFTER)))
    }

    /// Commits if too much waits, or for too long. A failure is tried again after as long.
    pub fn commit_if_due(&mut self) -> Result<(), ExecuteError> {
        if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            return self.persist();
        }
        if self.owed || self.application.uncommitted() >= COMMIT_BYTES {
            self.owed = true;
            self.application.commit()?;
            self.committed = Some(Instant::now());
            self.owed = false;
        }
        Ok(())
    }

    /// Makes everything durable that was executed.
    pub fn persist(&mut self) -> Result<(), ExecuteError> {
        self.owed = true;
        (self.waiting, self.committed) = (self.waiting.map(|_| Instant::now()), None);
        self.application.persist()?;
        (self.owed, self.waiting, self.durable) = (false, None, self.application.applied());
        Ok(())
    }

    /// Goes on from the state after the block at `height`, which is live now.
    pub fn restore(&mut self, height: Height) -> Result<(), ExecuteError> {
        (self.owed, self.waiting, self.committed) = (false, None, None);
        self.application.restore(height)?;
        self.durable = self.application.applied();
        Ok(())
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("applied", &self.applied()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;
