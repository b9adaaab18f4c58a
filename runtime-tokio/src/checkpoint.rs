//! Checkpoints: a block, with its epoch and the proof that it is final, from a source that the user trusts. A node's store may begin
//! above one in the place of the genesis block, and a store that is there must hold its block.
//!
//! Validators that left long ago can sign another history without losing anything. Whoever begins above a recent block takes nothing
//! from them: all that is fetched is proven by the validators of its epoch and those that follow. The file is what a node trusts, as
//! the genesis file is; `hs2-sync light checkpoint` writes one.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::chain::{Chain, CheckError, Fault, TipCheck};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::{LightCheckpoint, MAX_LIGHT_CHECKPOINT_BYTES};
use hotstuff2_sync::state::EMPTY_ROOT;
use hotstuff2_sync::time::UnixMillis;

use crate::files::{beside, open_regular, write_whole};
use crate::store::{BlockStore as _, DiskStore, OpenError, StoreAnchor, StoreFailure, StoreFound};

/// Name of the checkpoint in the folder of a node whose store begins above it.
pub const CHECKPOINT_FILE: &str = "checkpoint";

/// Why a checkpoint is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file can't be read.
    #[error("checkpoint {path} can't be read: {source}; name the file that `light checkpoint` wrote", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file holds no checkpoint.
    #[error("{path} is no checkpoint; name a file that `light checkpoint` wrote", path = path.display())]
    NoCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be written.
    #[error("{path} can't be written: {source}; check that the path is right, writable, and that its disk has room", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The checkpoint is of another chain than the genesis document.
    #[error(
        "the checkpoint is of chain {checkpoint}, and the genesis document of chain {genesis}; give the two that belong together"
    )]
    OtherChain {
        /// The checkpoint's chain.
        checkpoint: Hash,
        /// The genesis document's.
        genesis: Hash,
    },
    /// The checkpoint's own proof doesn't hold.
    #[error("the checkpoint doesn't prove its block {height}: {why}; get it again from its source")]
    NotProven {
        /// The block.
        height: Height,
        /// What is wrong.
        why: CheckError,
    },
    /// The store holds another block in the place of the checkpoint's.
    #[error(
        "block {height} is {stored} in the store, and {checkpoint} in the checkpoint: one of the two is of another chain; ask sources that you trust which, and where it is the store, begin a new folder from the checkpoint"
    )]
    Differs {
        /// The height of both.
        height: Height,
        /// The checkpoint's block.
        checkpoint: Hash,
        /// The store's block.
        stored: Hash,
    },
    /// The store ends below the checkpoint: what lies between would be proven by validators that may have left.
    #[error(
        "the store stands at block {stored}, below the checkpoint's block {checkpoint}: leave the checkpoint out where the store is young enough, or begin a new folder from it"
    )]
    Above {
        /// The checkpoint's block.
        checkpoint: Height,
        /// The store's highest block.
        stored: Height,
    },
    /// The store begins above the checkpoint, so that the two can't be compared.
    #[error(
        "the store begins above block {begins} and doesn't hold the checkpoint's block {checkpoint}; take a newer checkpoint, or leave it out"
    )]
    Below {
        /// The checkpoint's block.
        checkpoint: Height,
        /// The block that the store begins above.
        begins: Height,
    },
    /// The store can't be opened or made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

/// Reads the checkpoint at `path`. Nothing in it is checked yet.
///
/// # Errors
/// Where the file can't be read or holds none.
pub fn read_checkpoint(path: &Path) -> Result<LightCheckpoint, CheckpointError> {
    let failed = |source| CheckpointError::Read { path: path.to_owned(), source };
    let file = open_regular(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One more than there may be, so that a longer file is noticed.
    file.take(MAX_LIGHT_CHECKPOINT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    LightCheckpoint::decode(&bytes).map_err(|_| CheckpointError::NoCheckpoint { path: path.to_owned() })
}

/// Writes `checkpoint` at `path`, whole or not at all. It outlives a power cut once this has returned.
///
/// # Errors
/// Where the file can't be written.
pub fn write_checkpoint(checkpoint: &LightCheckpoint, path: &Path) -> Result<(), CheckpointError> {
    let written = write_whole(path, &beside(path, ".part"), &checkpoint.encode());
    written.map_err(|source| CheckpointError::Write { path: path.to_owned(), source })
}

/// Checks that `checkpoint` is of the chain of `genesis`, and that its own epoch proves its block. That the epoch is the chain's its
/// source must know.
///
/// # Errors
/// Where it isn't.
pub fn check_checkpoint(genesis: &Genesis, checkpoint: &LightCheckpoint) -> Result<(), CheckpointError> {
    if checkpoint.chain_id != genesis.chain_id() {
        return Err(CheckpointError::OtherChain { checkpoint: checkpoint.chain_id, genesis: genesis.chain_id() });
    }
    let chain = NativeChain::new(genesis);
    let proven = || -> Result<(), CheckError> {
        let epoch = chain.decode_epoch(checkpoint.epoch.bytes(), None)?;
        match chain.verify_tip(&epoch, &checkpoint.proof)? {
            TipCheck::Final(tip) if tip == checkpoint.tip => Ok(()),
            TipCheck::Final(_) | TipCheck::OtherEpoch(_) => Err(Fault::WrongAnchor.into()),
        }
    };
    proven().map_err(|why| CheckpointError::NotProven { height: checkpoint.tip.height, why })
}

impl StoreAnchor {
    /// The block of a checkpoint of the native chain of `genesis`: the store holds blocks above it.
    pub fn at_checkpoint(genesis: &Genesis, checkpoint: &LightCheckpoint) -> Self {
        let point = BlockPoint { height: checkpoint.tip.height, id: checkpoint.tip.id };
        Self { point, epoch: checkpoint.epoch.clone(), ..Self::from(genesis) }
    }
}

/// A native chain's store, and what its trust begins with.
#[derive(Debug)]
pub struct NativeStore {
    /// The store.
    pub store: DiskStore<NativeChain>,
    /// Whether it was there.
    pub found: StoreFound,
    /// The checkpoint that it begins above; `None` where that is the genesis block.
    pub checkpoint: Option<LightCheckpoint>,
    /// The chain's trusting period, if it has one, and the time of the block that the store begins above.
    pub trust: Option<(Duration, UnixMillis)>,
}

impl NativeStore {
    /// Opens the store of the chain of `genesis` in the folder `dir`. Where there is none it is made: above the checkpoint that is
    /// `named`, or that an earlier call left in `dir`, or above the genesis block. A store that is there must hold the named
    /// checkpoint's block. Waits for the disk.
    ///
    /// # Errors
    /// Where that can't be done, the checkpoint doesn't hold, or the store is of another chain than it.
    pub fn open(genesis: &Genesis, dir: &Path, named: Option<&LightCheckpoint>) -> Result<Self, CheckpointError> {
        let beside = dir.join(CHECKPOINT_FILE);
        let left = if beside.exists() { Some(read_checkpoint(&beside)?) } else { None };
        let begin = left.as_ref().or(named);
        for checkpoint in named.into_iter().chain(&left) {
            check_checkpoint(genesis, checkpoint)?;
        }
        let anchor = begin.map_or_else(|| StoreAnchor::from(genesis), |it| StoreAnchor::at_checkpoint(genesis, it));
        let chain = Arc::new(NativeChain::new(genesis));
        let (store, found) = DiskStore::open_or_create(dir, chain, &anchor)?;
        if let Some(named) = named {
            compare(&store, named)?;
        }
        let begins = store.anchor();
        let checkpoint = begin.filter(|it| it.tip.height == begins.height && it.tip.id == begins.id).cloned();
        if let Some(checkpoint) = checkpoint.as_ref().filter(|_| left.is_none()) {
            write_checkpoint(checkpoint, &beside)?;
        }
        let time = checkpoint.as_ref().map_or(genesis.header().timestamp, |checkpoint| checkpoint.tip.timestamp);
        let period = genesis.document().trusting_period_ms;
        Ok(Self { store, found, checkpoint, trust: period.map(|period| (Duration::from_millis(period), time)) })
    }

    /// Whether an application that keeps its state in the store has none to execute blocks on: it is fetched first.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn lacks_state(&self) -> Result<bool, StoreFailure> {
        lacks_state(&self.store, self.checkpoint.as_ref())
    }
}

/// Whether `store`, which begins above `checkpoint`, lacks the state after that block.
pub(crate) fn lacks_state<C: Chain>(
    store: &DiskStore<C>,
    checkpoint: Option<&LightCheckpoint>,
) -> Result<bool, StoreFailure> {
    let empty = checkpoint.is_none_or(|checkpoint| checkpoint.tip.state_root == Some(EMPTY_ROOT));
    Ok(!empty && !store.has_state()?)
}

/// Checks that `store` holds the block of `checkpoint`.
fn compare(store: &DiskStore<NativeChain>, checkpoint: &LightCheckpoint) -> Result<(), CheckpointError> {
    let (height, id) = (checkpoint.tip.height, checkpoint.tip.id);
    let (begins, highest) = (store.anchor(), store.stored());
    let stored = match height {
        _ if height == begins.height => Some(begins.id),
        _ if height == highest.height => Some(highest.id),
        _ => store.header_at(height)?.map(|header| header.id),
    };
    match stored {
        Some(stored) if stored == id => Ok(()),
        Some(stored) => Err(CheckpointError::Differs { height, checkpoint: id, stored }),
        None if height > highest.height => Err(CheckpointError::Above { checkpoint: height, stored: highest.height }),
        None => Err(CheckpointError::Below { checkpoint: height, begins: begins.height }),
    }
}
