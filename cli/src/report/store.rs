//! Reports of the commands that make, check, mend and move a store.

use std::path::PathBuf;

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
