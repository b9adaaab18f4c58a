//! What commands report: the JSON that scripts read. All figures are measured, and of the reporting process alone.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hotstuff2_sync::machine::StateProgress;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::tip::words;

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

/// What `sync` and `demo` report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SyncReport {
    /// Whether the network's tip was reached, and nothing was found that should not be.
    pub(crate) ok: bool,
    /// The strategies used, in order.
    pub(crate) strategies: Vec<String>,
    /// Height of the store at the start.
    pub(crate) start_height: u64,
    /// Highest height that was proven final.
    pub(crate) target_height: u64,
    pub(crate) head: Head,
    /// Age of the highest proven block by this machine's clock; `None` where its time is not known.
    pub(crate) tip_age_seconds: Option<f64>,
    /// Blocks made durable by this run: those above its start, and above the state where one was fetched.
    pub(crate) blocks: u64,
    /// The whole catch-up, from the start of the node to the last durable commit, the application's included, without
    /// `idle_seconds`.
    pub(crate) seconds: f64,
    /// Time at the tip in which there was nothing to do.
    pub(crate) idle_seconds: f64,
    pub(crate) blocks_per_second: f64,
    /// Payload bytes of those blocks.
    pub(crate) payload_bytes: u64,
    /// Bytes of first-copy accepted frames.
    pub(crate) useful_bytes: u64,
    /// What the streams of this process received.
    pub(crate) wire_bytes_received: u64,
    pub(crate) duplicate_bytes: u64,
    /// Useful bytes over received ones.
    pub(crate) efficiency: f64,
    pub(crate) quorum_checks: u64,
    pub(crate) cpu_seconds: f64,
    /// CPU time of machine and driver.
    pub(crate) coordination_cpu_seconds: f64,
    /// Resident memory when the store was open and nothing had begun yet; `None` where the operating system doesn't say.
    pub(crate) start_rss_bytes: Option<u64>,
    /// `None` where the operating system doesn't say.
    pub(crate) peak_rss_bytes: Option<u64>,
    pub(crate) peak_buffered_bytes: u64,
    pub(crate) budget_bytes: u64,
    pub(crate) bottleneck: String,
    /// `None` where no state was fetched.
    pub(crate) state: Option<StateReport>,
    pub(crate) peers: Vec<PeerReport>,
}

impl SyncReport {
    /// The report for people, without the peers.
    pub(crate) fn describe(&self) -> String {
        let Head { height, id, state_root } = &self.head;
        let rss = self.peak_rss_bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        let state = self.state.as_ref().map_or_else(String::new, |state| format!("{}\n", state.describe()));
        let tip = self
            .tip_age_seconds
            .map_or_else(String::new, |age| format!("\nthe tip is {} old", words(Duration::from_secs_f64(age))));
        format!(
            "{state}{} blocks in {:.2} s: {:.0} blocks/s, {:.1} MB/s of payload\n\
             {:.1} % of received bytes useful, {} quorum checks, peak memory {rss}\n\
             {:.2} CPU seconds, {:.3} of them for coordination\n\
             head {height} {id}\nstate root in its header {state_root}{tip}",
            self.blocks,
            self.seconds,
            self.blocks_per_second,
            ratio(self.payload_bytes as f64 / 1e6, self.seconds),
            self.efficiency * 100.0,
            self.quorum_checks,
            self.cpu_seconds,
            self.coordination_cpu_seconds,
        )
    }
}

/// What fetching a state took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StateReport {
    /// Keys that were fetched. What was there already is not among them.
    pub(crate) keys: u64,
    /// Bytes of their keys and values, as they are stored.
    pub(crate) bytes: u64,
    /// From the first proven block whose state is fetched until that state is live.
    pub(crate) seconds: f64,
    pub(crate) keys_per_second: f64,
    /// Bytes that came although the same had come already.
    pub(crate) refetched_bytes: u64,
    /// Subtrees that were fetched.
    pub(crate) prefixes: u64,
    /// How often another block's state was taken, because nobody served the one before any more.
    pub(crate) moves: u64,
}

impl StateReport {
    pub(crate) fn new(state: &StateProgress) -> Self {
        let seconds = state.elapsed.as_secs_f64();
        Self {
            keys: state.keys,
            bytes: state.bytes,
            seconds,
            keys_per_second: ratio(state.keys as f64, seconds),
            refetched_bytes: state.refetched_bytes,
            prefixes: state.prefixes,
            moves: state.moves,
        }
    }

    fn describe(&self) -> String {
        format!(
            "state of {} keys, {:.1} MB, in {:.2} s: {:.0} keys/s",
            self.keys,
            self.bytes as f64 / 1e6,
            self.seconds,
            self.keys_per_second
        )
    }
}

/// The start of an id: enough to tell a few peers apart.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A quotient for reports: zero where there is nothing to divide by.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// One peer's part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PeerReport {
    pub(crate) id: String,
    /// As the demo set it up; a `sync` alone doesn't know.
    pub(crate) role: Option<Role>,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// Provably false answers that it gave.
    pub(crate) false_answers: u64,
    /// Requests that it did not answer.
    pub(crate) unanswered: u64,
    /// The reason.
    pub(crate) banned: Option<String>,
}

/// How the demo set a peer up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Honest,
    Liar,
    Slow,
}

/// What `inspect` reports.
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
    /// What can't be read, or is not what it must be.
    pub(crate) damaged: Vec<PartReport>,
}

/// A kept state whose values were hashed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StateCheck {
    pub(crate) height: u64,
    /// What its values hash to. It is the root in the header of its block.
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

/// What `repair` reports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RepairReport {
    /// Whether all is whole now.
    pub(crate) ok: bool,
    pub(crate) damaged: Vec<PartReport>,
    pub(crate) seconds: f64,
}

/// What `snapshot` reports.
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

/// What `gen` reports.
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

/// What `serve` reports as soon as it serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ServeReport {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) peer_id: String,
    pub(crate) height: u64,
    /// Microseconds of CPU time a second that may be spent on serving.
    pub(crate) work_per_second: u64,
    /// Bytes of answers a second.
    pub(crate) bytes_per_second: u64,
    /// The most memory that this process should ever have resident, whoever connects.
    pub(crate) memory_bound_bytes: u64,
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
