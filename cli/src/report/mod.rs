//! What commands say: lines for people, and reports, the JSON that scripts read. All figures are measured, and of the reporting process alone.

mod progress;
mod serve;
mod store;
mod sync;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use progress::{ProgressLine, Snapshot, StateShare, WHOLE_PPM};
pub(crate) use serve::{ServeReport, ServedReport};
pub(crate) use store::{GenReport, InspectReport, PartReport, RepairReport, SnapshotReport, StateCheck};
pub(crate) use sync::{PeerReport, Role, StateReport, SyncReport};

use crate::error::CliError;

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

/// Writes `report` on one line to the file at `path`, or to standard output for "-". An earlier report there is replaced,
/// which is said, when the new one is complete.
pub(crate) fn write_json(report: &impl Serialize, path: &Path) -> Result<(), CliError> {
    let failed = |source| CliError::WriteReport { path: path.to_owned(), source };
    let mut line = serde_json::to_vec(report).map_err(io::Error::from).map_err(failed)?;
    line.push(b'\n');
    if path == Path::new("-") {
        let mut out = io::stdout().lock();
        return out.write_all(&line).and_then(|()| out.flush()).map_err(failed);
    }
    match fs::metadata(path) {
        // A pipe or a device takes it as it comes.
        Ok(there) if !there.is_file() => fs::write(path, &line).map_err(failed),
        Ok(_) => {
            put(&fs::canonicalize(path).map_err(failed)?, &line).map_err(failed)?;
            eprintln!("the earlier report in {} was replaced", path.display());
            Ok(())
        }
        Err(_) => put(path, &line).map_err(failed),
    }
}

/// Puts a file with these bytes at `path`, whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any new file, not for its owner alone.
    let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Says something to people: on standard output, or out of the way of JSON that goes there.
pub(crate) fn say(json: Option<&Path>, text: std::fmt::Arguments<'_>) {
    if json == Some(Path::new("-")) {
        eprintln!("{text}");
    } else if let Err(error) = writeln!(io::stdout(), "{text}")
        // Who reads it may have seen enough, as `head` has.
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("standard output can't be written to: {error}");
    }
}
