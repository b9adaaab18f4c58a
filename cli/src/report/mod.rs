//! Output of commands: lines for people, and reports, the JSON that scripts read. All figures are measured, and of
//! the reporting process alone.

mod lanes;
mod output;
mod progress;
mod serve;
mod store;
mod sync;

use serde::{Deserialize, Serialize};

pub(crate) use lanes::Lanes;
pub(crate) use output::{all_was_said, conclude, say, write_failure, write_json};
pub(crate) use progress::{ProgressLine, Snapshot, StateShare, WHOLE_PPM};
pub(crate) use serve::{ServeReport, ServedReport};
pub(crate) use store::{
    BackupReport, GenReport, InspectReport, PartReport, RepairReport, RestoreReport, SnapshotReport, StateCheck,
};
pub(crate) use sync::{PeerReport, Role, StateReport, SyncReport};

/// A block, and what its header says of the state after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) height: u64,
    /// The block's id in hexadecimal digits.
    pub(crate) id: String,
    /// The state root in its header, in hexadecimal digits: what the network says of the state, not what this node's
    /// state was hashed to.
    #[serde(rename = "header_state_root")]
    pub(crate) state_root: String,
}

/// The start of an id: enough to tell a few peers apart.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A quotient for reports: zero where there is nothing to divide by.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
