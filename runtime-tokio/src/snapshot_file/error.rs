//! Why a snapshot file could not be written, believed or taken in. Every message names the file and what to do.

use std::io;
use std::path::{Path, PathBuf};

use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};

use crate::store::StoreFailure;

/// Why a snapshot file can't be read or believed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// The operating system refused.
    #[error("{} can't be {action}: {source}; check that the path is right, readable, and on a sound disk", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The action that was tried.
        action: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The chain's headers name no states that a file could be checked against.
    #[error(
        "this chain's headers name no state of this library's tree, so that no snapshot of one can be believed; sync blocks instead"
    )]
    NoStateRoots,
    /// The file is something else.
    #[error("{} is no snapshot file; name one that `snapshot export` wrote", .0.display())]
    NotASnapshot(PathBuf),
    /// The file was written by another version of this program.
    #[error("{} has format {found}, this program knows {known}; use the program that wrote it", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that this program reads and writes.
        known: u32,
    },
    /// The file ends early.
    #[error("{} ends at byte {offset}, in the middle; copy it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where it ends.
        offset: u64,
    },
    /// A part is not what was written.
    #[error("{} is damaged at byte {offset}: {what}; copy it again, or export it anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the part begins.
        offset: u64,
        /// The fault in it.
        what: String,
    },
    /// The file is of another chain.
    #[error("{} is of chain {found}, not {wanted}; name the genesis file of that chain, or a snapshot of this one", path.display())]
    OtherChain {
        /// The file.
        path: PathBuf,
        /// Its chain.
        found: Hash,
        /// The chain of the genesis document.
        wanted: Hash,
    },
    /// A part could not be checked, because the chain of this node failed. The file may be right.
    #[error("{} is not checked: {what} at byte {offset}, since this node's chain failed (code {code}); try again", path.display())]
    Unable {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The part.
        what: String,
        /// The chain's own code.
        code: u32,
    },
    /// A proof doesn't hold, though the file is what was written.
    #[error("{} proves nothing: {what} at byte {offset} was refused ({fault}); don't trust its source, get a snapshot elsewhere", path.display())]
    Unproven {
        /// The file.
        path: PathBuf,
        /// Where the proof is.
        offset: u64,
        /// The thing that it should prove.
        what: String,
        /// Why it doesn't.
        fault: Fault,
    },
    /// The state isn't the one that the proven header names.
    #[error("{} holds another state than block {height} has: its root is {found}, the header's {expected}; don't trust its source, get a snapshot elsewhere", path.display())]
    WrongState {
        /// The file.
        path: PathBuf,
        /// The block.
        height: Height,
        /// The root in the proven header.
        expected: Hash,
        /// The root of what the file holds.
        found: Hash,
    },
}

impl SnapshotFileError {
    pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }
}

/// Why a snapshot can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file can't be written.
    #[error("{} can't be {action}: {source}; check that the path is right, writable, and that its disk has room", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The action that was tried.
        action: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Something has the file's name.
    #[error("{} is there already, and was left as it is; name another file, or replace it with `--force` if it is a file", .0.display())]
    Exists(PathBuf),
    /// Something has the name that the file has while it is written, and is no half of a snapshot, or is being written.
    #[error("{} is not a snapshot that was begun, or another export writes it; move it away, or name another file", .0.display())]
    PartExists(PathBuf),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
    /// The chain's headers name no states, so that nobody could check the file.
    #[error(
        "this chain's headers name no state of this library's tree, so that a snapshot would prove nothing; let others sync blocks"
    )]
    NoStateRoots,
    /// The store keeps no snapshot of the state at all.
    #[error(
        "the store keeps no snapshot of a state: sync or generate it with an application that has one, past height {first}"
    )]
    NoSnapshots {
        /// The first height that could have one.
        first: u64,
    },
    /// The store keeps snapshots, but none at the asked height.
    #[error("the store keeps no snapshot at height {height}, only at {kept}; name one of these, or `newest`")]
    NoSnapshotAt {
        /// The height that was asked for.
        height: Height,
        /// The heights that there are.
        kept: String,
    },
    /// Nothing in the store proves the block yet.
    #[error("nothing in the store proves block {0} final; let the node sync on, then export again")]
    NoProof(Height),
    /// A handover is not in the store, so that the file could not be checked against the genesis document.
    #[error(
        "the store has no handover that ends epoch {0}: it began with a checkpoint; export from a node that began with genesis"
    )]
    NoHandover(Epoch),
    /// The state in the store isn't the one that the header names.
    #[error(
        "the state in the store is damaged: its root at height {height} is {found}, the header's {expected}; sync into a new folder"
    )]
    WrongState {
        /// The height.
        height: Height,
        /// The root in the header.
        expected: Hash,
        /// The root of what is stored.
        found: Hash,
    },
    /// Stored records don't come in order or can't be decoded.
    #[error("the state in the store is damaged: {0}; sync into a new folder")]
    DamagedState(String),
}

/// Why a snapshot can't be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error(transparent)]
    File(#[from] SnapshotFileError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFailure),
    /// The store is further than the snapshot.
    #[error(
        "the store is at height {stored} already, the snapshot is of {height}; nothing to import, `sync` goes on from there"
    )]
    Ahead {
        /// The stored head.
        stored: Height,
        /// The snapshot.
        height: Height,
    },
    /// Staged records don't come back from the disk.
    #[error("the disk returns another state than was written ({found}); check the disk, then import again")]
    Disk {
        /// The root of what came back.
        found: Hash,
    },
}
