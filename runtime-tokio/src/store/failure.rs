//! Why the store could not do what it was asked, and whether trying again can help.
//!
//! A full disk, a quota or a lack of file handles passes: nothing was lost, and the same call works later. Everything
//! else doesn't: after a failed fsync (`EIO`) the kernel may have dropped the pages, so a retry that seems to work
//! would prove nothing.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use hotstuff2_sync::calls::HostError;
use hotstuff2_sync::chain::ProfileError;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;

/// Action of [`StoreFailure::Io`] where a store's directory can't be made.
pub(super) const CREATE_DIRECTORY: &str = "create the directory";

/// Why a read or a write of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreFailure {
    /// The operating system refused. Transient for a full disk and the like, see [`StoreFailure::is_transient`].
    #[error("{}: can't {action}: {source}{}", path.display(), remedy(action, source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The action that was tried.
        action: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Less of the disk is free than [`StoreConfig::min_free_disk`](super::StoreConfig::min_free_disk) wants. Nothing was
    /// written.
    #[error("{}: {} MiB are free on its disk, less than the {} MiB that min_free_disk keeps free; free disk space: nothing is lost, and writing goes on by itself", path.display(), free >> 20, least >> 20)]
    LittleRoom {
        /// The data directory.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are to be free.
        least: u64,
    },
    /// A file doesn't hold what was written into it.
    #[error("{} is damaged: {what}; move the data directory away and sync again, or put this file back from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault in it.
        what: String,
    },
    /// The embedded database failed.
    #[error("{}: the database failed: {source}; {}", path.display(), source.remedy())]
    Database {
        /// The database's directory.
        path: PathBuf,
        /// Error of the database.
        source: DatabaseError,
    },
    /// A store of another kind failed: see [`StoreFailure::other`].
    #[error("{source}")]
    Other {
        /// Whether trying again can help.
        kind: HostError,
        /// Error of the store. Its message should name the thing and what to do.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The database failed before and could not be opened again yet.
    #[error("{}: the database is closed after a failure and could not be opened again yet; free disk space, the next write tries again", path.display())]
    Closed {
        /// The database's directory.
        path: PathBuf,
    },
    /// While a view of the state was read, the database was opened again after a failure, or another state took its
    /// place.
    #[error("{}: the state's tables were exchanged while a view of them was read; read it again", path.display())]
    ViewLost {
        /// The database's directory.
        path: PathBuf,
    },
    /// The blocks don't continue what is stored. The caller's mistake: nothing was written.
    #[error("{}: blocks from height {first} on were refused: {what}", path.display())]
    Refused {
        /// The data directory.
        path: PathBuf,
        /// The first height of the refused blocks.
        first: Height,
        /// The part that doesn't fit.
        what: String,
    },
    /// The state doesn't go with what is stored. The caller's mistake: nothing was written.
    #[error("{}: state was refused: {what}", path.display())]
    RefusedState {
        /// The data directory.
        path: PathBuf,
        /// The part that doesn't fit.
        what: String,
    },
}

impl StoreFailure {
    pub(super) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(super) fn database(path: &Path, source: fjall::Error) -> Self {
        Self::Database { path: path.to_owned(), source: DatabaseError(Box::new(source)) }
    }

    /// The failure of a store of another kind than [`DiskStore`](super::DiskStore). What is
    /// [`Transient`](HostError::Transient) or [`NoSpace`](HostError::NoSpace) is tried again, what is
    /// [`Permanent`](HostError::Permanent) ends the sync.
    pub fn other(kind: HostError, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Other { kind, source: source.into() }
    }

    /// The file or folder that a read failed in.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. }
            | Self::Damaged { path, .. }
            | Self::Database { path, .. }
            | Self::Closed { path }
            | Self::LittleRoom { path, .. }
            | Self::ViewLost { path } => Some(path),
            Self::Refused { .. } | Self::RefusedState { .. } | Self::Other { .. } => None,
        }
    }

    /// The fault alone, without the remedy: for whoever has one.
    pub(super) fn fault(&self) -> String {
        match self {
            Self::Io { path, action, source } => format!("{}: can't {action}: {source}", path.display()),
            Self::Damaged { path, what } => format!("{}: {what}", path.display()),
            Self::Database { path, source } => format!("{}: {source}", path.display()),
            other => other.to_string(),
        }
    }

    /// Whether the same call may work later, without anyone repairing the store.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { source, .. } => passes(source),
            Self::Database { source, .. } => source.passes(),
            Self::Other { kind, .. } => kind.is_transient(),
            Self::Closed { .. } | Self::ViewLost { .. } | Self::LittleRoom { .. } => true,
            Self::Damaged { .. } | Self::Refused { .. } | Self::RefusedState { .. } => false,
        }
    }

    /// Whether the disk, or what of it this user may fill, is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Database { source, .. } => source.io().is_some_and(is_full),
            Self::Other { kind, .. } => matches!(kind, HostError::NoSpace),
            Self::LittleRoom { .. } => true,
            _ => false,
        }
    }

    /// The failure in the machine's words, for a store call.
    pub fn as_host_error(&self) -> HostError {
        match self.is_transient() {
            true if self.is_disk_full() => HostError::NoSpace,
            true => HostError::Transient,
            false => HostError::Permanent,
        }
    }
}

/// Error of the embedded database.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DatabaseError(Box<fjall::Error>);

impl DatabaseError {
    /// The operating system's own error, if the database's is one.
    fn io(&self) -> Option<&io::Error> {
        match &*self.0 {
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => Some(error),
            _ => None,
        }
    }

    fn passes(&self) -> bool {
        // An earlier failure closed it for writing. Opening it again tells what is wrong, if anything still is.
        self.io().is_some_and(passes) || matches!(&*self.0, fjall::Error::Poisoned | fjall::Error::Locked)
    }

    fn remedy(&self) -> &'static str {
        match &*self.0 {
            fjall::Error::Locked => "another process has it open: stop that process",
            _ if self.passes() => "free disk space: nothing is lost, and writing goes on by itself",
            fjall::Error::Io(_) => "check the disk and the permissions, then restart",
            _ => "move the data directory away and sync again",
        }
    }
}

/// Why a store could not be created or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory holds a store already.
    #[error("{} holds a store already; open it, or name another directory", .0.display())]
    Exists(PathBuf),
    /// The directory holds no store, or one whose creation was interrupted.
    #[error("{} holds no store (no file `genesis` in it); name another directory, or create the store first", .0.display())]
    Missing(PathBuf),
    /// The directory holds a store whose genesis document is gone. Nothing else of it needs to be lost.
    #[error("{dir} holds a store without its file `genesis`; give its chain's genesis file, which puts it back: `hs2-sync sync --genesis FILE --dir {dir}`", dir = .0.display())]
    WithoutGenesis(PathBuf),
    /// Something is where a store's file would be, and no store made it. It is left as it is.
    #[error("{} is not part of a store and was left as it is; name another directory for the store, or move it away", .0.display())]
    NotOurs(PathBuf),
    /// Another process has the store open.
    #[error("{} is in use by another process; stop that process, or name another directory", .0.display())]
    InUse(PathBuf),
    /// The store belongs to another chain.
    #[error("{} holds chain {found}, not {wanted}; name the directory of that chain, or check the genesis file", path.display())]
    OtherChain {
        /// The data directory.
        path: PathBuf,
        /// The chain in it.
        found: Hash,
        /// The chain that was asked for.
        wanted: Hash,
    },
    /// The chain states a size that no answer can carry.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The store was written by another version of this program.
    #[error("{} has store format {found}, this program knows {known}; use the program that wrote it, or sync into a new directory", path.display())]
    OtherFormat {
        /// The data directory.
        path: PathBuf,
        /// The format in it.
        found: u32,
        /// The format that this program reads and writes.
        known: u32,
    },
    /// A file could not be read or written, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Errors that go away by themselves or by freeing something, with nothing lost in between.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, WouldBlock};
    // EMFILE and ENFILE (too many open files) have no kind of their own; 24 and 23 on Linux and the BSDs.
    is_full(error)
        || matches!(error.kind(), OutOfMemory | Interrupted | WouldBlock)
        || matches!(error.raw_os_error(), Some(23 | 24))
}

fn remedy(action: &str, error: &io::Error) -> &'static str {
    use io::ErrorKind::{
        AlreadyExists, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    match error.kind() {
        AlreadyExists | NotADirectory | NotFound if action == CREATE_DIRECTORY => {
            "; name a place where a directory can be, or remove the file that is there"
        }
        StorageFull | QuotaExceeded => "; free disk space: nothing is lost, and writing goes on by itself",
        PermissionDenied | ReadOnlyFilesystem => "; give this user write access to the data directory",
        NotFound => "; put the file back from a backup, or move the data directory away and sync again",
        _ if passes(error) => "; it is tried again",
        _ => "; check the disk, then restart",
    }
}
