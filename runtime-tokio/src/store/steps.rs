//! The points between which a crash or a full disk can strike. Tests put failures there; elsewhere this is nothing.

use std::io;
use std::path::Path;

/// Next step of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Create a segment file.
    Create,
    /// Write a piece of a segment file.
    Write,
    /// Force a segment file to disk.
    SyncFile,
    /// Give a complete segment file its final name.
    Rename,
    /// Force the directory's names to disk.
    SyncDirectory,
    /// Commit to the database.
    Commit,
    /// The database has committed.
    Committed,
    /// Turn to the tables of the new state, and delete those of the old one.
    Switch,
    /// Remove the files of blocks that the store doesn't begin with any more.
    Remove,
}

#[cfg(test)]
type Hook = Box<dyn FnMut(Step, &Path) -> io::Result<()> + Send>;

/// Where tests hook in.
#[derive(Default)]
pub(super) struct Steps {
    #[cfg(test)]
    hook: std::sync::Mutex<Option<Hook>>,
}

impl Steps {
    /// Called before each step; an error stands for a failure of the step itself.
    #[cfg(not(test))]
    #[inline]
    pub(super) fn reached(&self, _step: Step, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Called before each step; an error stands for a failure of the step itself.
    #[cfg(test)]
    pub(super) fn reached(&self, step: Step, path: &Path) -> io::Result<()> {
        match self.hook.lock().unwrap().as_mut() {
            Some(hook) => hook(step, path),
            None => Ok(()),
        }
    }

    #[cfg(test)]
    pub(super) fn set(&self, hook: Option<Hook>) {
        *self.hook.lock().unwrap() = hook;
    }
}
