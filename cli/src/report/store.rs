//! Reports of the commands that make, check, mend and move a store.

use std::path::{Path, PathBuf};
use std::time::Instant;

use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync_tokio::store::{DiskStore, OpenError};
use serde::{Deserialize, Serialize};

use super::Head;

/// Report of `inspect`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InspectReport {
    /// Whether all that was looked at is sound.
    pub(crate) ok: bool,
    pub(crate) head: Head,
    pub(crate) epoch: u64,
    pub(crate) earliest_height: u64,
    pub(crate) blocks: u64,
    pub(crate) handovers: u64,
    /// The states that are kept, as they were hashed; `None` with `--quick`.
    pub(crate) states: Option<Vec<StateCheck>>,
    /// Parts that can't be read, or are not what they must be.
    pub(crate) damaged: Vec<PartReport>,
}

/// A kept state whose values were hashed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StateCheck {
    pub(crate) height: u64,
    /// Root that its values hash to. It is the root in the header of its block.
    pub(crate) computed_state_root: String,
    pub(crate) keys: u64,
}

/// A part of a store that is damaged, or was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PartReport {
    pub(crate) part: String,
    /// The file and the fault.
    pub(crate) what: String,
    /// Of a repair: whether it is whole again.
    pub(crate) mended: bool,
    /// The peers that it came from.
    pub(crate) from: Vec<String>,
    /// Why it is not whole again, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_step: Option<String>,
}

/// Report of `repair`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RepairReport {
    /// Whether all is whole now.
    pub(crate) ok: bool,
    pub(crate) damaged: Vec<PartReport>,
    pub(crate) seconds: f64,
}

/// Report of `snapshot`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SnapshotReport {
    /// The block whose state it is.
    pub(crate) head: Head,
    pub(crate) chain_id: String,
    pub(crate) epoch: u64,
    /// Handovers that lead to it.
    pub(crate) handovers: u64,
    pub(crate) keys: u64,
    /// Bytes of keys and values.
    pub(crate) state_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) seconds: f64,
    /// Of an import: false where the store had this very state already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) activated: Option<bool>,
}

/// Report of `gen`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GenReport {
    pub(crate) head: Head,
    pub(crate) genesis: PathBuf,
    pub(crate) chain_id: String,
    pub(crate) blocks: u64,
    pub(crate) handovers: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) seconds: f64,
}

/// Report of `backup`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BackupReport {
    /// The highest block in it.
    pub(crate) height: u64,
    /// Folder of the backup.
    pub(crate) to: PathBuf,
    /// Files that take no room of their own.
    pub(crate) linked_files: u64,
    pub(crate) copied_files: u64,
    pub(crate) copied_bytes: u64,
    pub(crate) seconds: f64,
}

impl BackupReport {
    /// Makes a backup of `store` in `to`.
    pub(crate) fn make(store: &DiskStore<NativeChain>, to: &Path) -> Result<Self, OpenError> {
        let begin = Instant::now();
        let backup = store.backup(to)?;
        Ok(Self {
            height: backup.height.get(),
            to: to.to_owned(),
            linked_files: backup.linked,
            copied_files: backup.copied,
            copied_bytes: backup.copied_bytes,
            seconds: begin.elapsed().as_secs_f64(),
        })
    }

    pub(crate) fn describe(&self) -> String {
        let Self { height, to, linked_files, copied_files, copied_bytes, seconds } = self;
        let mib = copied_bytes >> 20;
        format!(
            "backup up to height {height} in {}: {linked_files} files shared, {copied_files} copied ({mib} MiB), {seconds:.1} s",
            to.display()
        )
    }
}

/// Report of `restore`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RestoreReport {
    pub(crate) head: Head,
    /// Files that were copied.
    pub(crate) files: u64,
    /// Bytes of those that were copied.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}
