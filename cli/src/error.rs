//! [`CliError`]: why a command failed, in one line that says what happened and what to do.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use hotstuff2_sync::chain::native::AnchorError;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::{LightError, NewLightError};
use hotstuff2_sync::machine::NewMachineError;
use hotstuff2_sync::trace::{Difference, TraceError};
use hotstuff2_sync_testkit::chain::{GenerateError, SpecError};
use hotstuff2_sync_tokio::checkpoint::CheckpointError;
use hotstuff2_sync_tokio::consensus::ConsensusError;
use hotstuff2_sync_tokio::discovery::BookError;
use hotstuff2_sync_tokio::genesis_file::GenesisFileError;
use hotstuff2_sync_tokio::net::{BindError, IdentityError};
use hotstuff2_sync_tokio::snapshot_file::{ExportError, ImportError, SnapshotFileError};
use hotstuff2_sync_tokio::store::{OpenError, StoreFailure};
use hotstuff2_sync_tokio::{ExecuteError, StartError};

use crate::args::ChainArgs;
use crate::settings::SettingsError;
use crate::tip::OldTip;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The genesis file can't be used.
    #[error(transparent)]
    GenesisFile(#[from] GenesisFileError),
    /// Nothing says which chain is meant.
    #[error("{dir} holds neither a genesis.json nor a store: say `--genesis FILE`, with the genesis file that the chain's operators publish", dir = .0.display())]
    NoGenesis(PathBuf),
    /// The folder of a new store is that of another chain.
    #[error("{path} is the genesis file of another chain, and is not replaced; name another --dir", path = .0.display())]
    OtherGenesis(PathBuf),
    /// The settings can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The application starts from another state than the chain.
    #[error("genesis file {path} is of a chain whose state is not the {app} application's; say `--app {other}`", path = path.display())]
    OtherApp { path: PathBuf, app: &'static str, other: &'static str },
    /// A file or folder can't be used.
    #[error("{path} can't be {action}: {source}; {advice}", path = path.display(), advice = advice(source))]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// An attack is for measuring one's own nodes.
    #[error("{0} is not on this machine, and nothing else is attacked")]
    NotLoopback(std::net::SocketAddr),
    /// A folder is to be filled and holds something already.
    #[error("{path} is not empty; name a new folder, or remove that one", path = .0.display())]
    NotEmpty(PathBuf),
    /// The report can't be written.
    #[error("the report can't be written to {path}: {source}; name another file, or - for standard output", path = path.display())]
    WriteReport { path: PathBuf, source: io::Error },
    /// No such chain can be generated.
    #[error("no such chain can be generated: {0}; change --blocks, --validators or --epochs")]
    Spec(#[from] SpecError),
    /// Generating stopped.
    #[error("the chain could not be generated: {0}")]
    Generate(GenerateError),
    /// Nothing says how the chain in a folder was made.
    #[error("{path} can't be used: {why}; name the folder of a chain that `gen` has made, or make a new one", path = path.display())]
    NoRecipe { path: PathBuf, why: String },
    /// The files for payloads can't be read.
    #[error("--from: {0}; name a file, or a folder with readable files")]
    PayloadFiles(io::Error),
    /// The hand-over to consensus can't begin.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    /// A network of nodes did not do what it should.
    #[error("{0}")]
    Devnet(String),
    /// Options contradict each other.
    #[error("{0}")]
    Options(&'static str),
    /// The store can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What this node trusts is too old to prove anything from.
    #[error("{0}; here: `sync --checkpoint FILE` into a new folder, or `--accept-long-range`")]
    Anchor(#[from] AnchorError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
    /// The identity can't be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The address book can't be had.
    #[error(transparent)]
    Book(#[from] BookError),
    /// No address book is there.
    #[error("{path} is not there: name the folder of a node that `sync` or `serve` has run in", path = .0.display())]
    NoBook(PathBuf),
    /// The address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Metrics can't be shown.
    #[error("metrics can't be shown at {address}: {source}; name another address")]
    Metrics { address: std::net::SocketAddr, source: io::Error },
    /// The page can't be shown.
    #[error("the page can't be shown at {address}: {source}; name another address")]
    Page { address: std::net::SocketAddr, source: io::Error },
    /// The folder holds no page.
    #[error("{path} has no index.html; name the folder `page` of the npm package hotstuff2-sync, or one like it", path = .0.display())]
    NoPage(PathBuf),
    /// A running node can't be asked.
    #[error("nothing answers at {address} as a node does: {source}; name the address that the node's --metrics says")]
    NoStatus { address: String, source: io::Error },
    /// A node runs and is not ready.
    #[error("the node is not ready: {0}; its log says more, and what to do")]
    NotReady(String),
    /// A running node can't be asked for a backup.
    #[error("a node runs in {dir} and can't be asked: {source}; run this on its machine as its user, or stop it first", dir = dir.display())]
    NotObeyed { dir: PathBuf, source: io::Error },
    /// A running node could not make a backup.
    #[error("{0}")]
    NoBackup(String),
    /// The operating system doesn't give what a program needs.
    #[error("{what}: {source}; close other programs, then try again")]
    System { what: &'static str, source: io::Error },
    /// A process of the demo failed.
    #[error("{what} ended early ({status}); its own message is above")]
    Child { what: String, status: String },
    /// A process of the demo didn't say what it must.
    #[error("{what} did not report: {source}; its own message may be above")]
    ChildReport { what: String, source: io::Error },
    /// Two nodes that must agree don't.
    #[error(
        "{what} differ: this node has {ours}, the serving nodes have {theirs}; keep the folders and report this as a defect"
    )]
    Mismatch { what: &'static str, ours: String, theirs: String },
    /// The network was not caught up with.
    #[error("the sync stopped at height {height} of {target}: {reason}")]
    Incomplete { height: u64, target: u64, reason: String },
    /// The network was caught up with, as far as peers show it, and that is not fresh as it was to be.
    #[error("caught up at height {height}, but {old}")]
    OldTip { height: u64, old: OldTip },
    /// The genesis document in a store can't be read, though its checksum is right.
    #[error("{path} holds a genesis document that this program can't read; `hs2-sync sync --genesis FILE` puts a damaged one right, else use the program that wrote it", path = .0.display())]
    DamagedGenesis(PathBuf),
    /// The store says that it holds a block and doesn't give it.
    #[error("the store does not give the header of its block {0}; run `inspect` on its folder")]
    NoHeader(Height),
    /// Parts of a store can't be read.
    #[error("{first} is damaged ({parts} parts in all); `hs2-sync repair --dir {dir} --peer HOST:PORT` fetches them again", dir = dir.display())]
    Damaged { dir: PathBuf, parts: usize, first: String },
    /// A repair left something damaged.
    #[error("{left} of {parts} damaged parts of {dir} could not be mended; the next step for each is above", dir = dir.display())]
    Unmended { dir: PathBuf, left: usize, parts: usize },
    /// The ledger's state is not what the chain says.
    #[error("the ledger's state in the store is damaged: {0}; remove the node's folder and sync again")]
    LedgerDamaged(String),
    /// No snapshot file can be made.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The light client can't be started.
    #[error(transparent)]
    Light(#[from] NewLightError),
    /// The light client has no tip to show.
    #[error("{0}; name more peers with --peer, or have fewer witnesses with --witnesses")]
    NoLightTip(String),
    /// The light client has no answer.
    #[error(transparent)]
    LightAnswer(#[from] LightError),
    /// The checkpoint is not one to begin from, or not one of this store's chain.
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// The snapshot file can't be read or believed.
    #[error(transparent)]
    SnapshotFile(#[from] SnapshotFileError),
    /// The snapshot file can't be taken in.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The trace can't be replayed.
    #[error("{path}: {source}", path = path.display())]
    Trace { path: PathBuf, source: TraceError },
    /// The replay does something else than was recorded.
    #[error("{path}: {difference}; where the trace was written by another version (this is {version}), replay it with that one, else report this as a defect", path = path.display(), version = env!("CARGO_PKG_VERSION"))]
    Different { path: PathBuf, difference: Box<Difference> },
    /// The application refuses blocks.
    #[error(transparent)]
    Execute(ExecuteError),
    /// The sync can't be started.
    #[error(transparent)]
    Start(StartError),
    /// The user stopped the making of something before it was done.
    #[error("stopped before it was done; nothing of it is running any more, and the same call begins anew")]
    Stopped,
    /// Standard output takes no more.
    #[error("standard output can't be written to: {0}; make room there, or let it lead elsewhere")]
    Stdout(io::Error),
    /// Why a command failed, where its report says so already.
    #[error(transparent)]
    Reported(Box<Self>),
    /// The user stopped it.
    #[error("stopped at height {0}; nothing is lost, the next `sync` goes on from there")]
    Interrupted(u64),
}

/// Advice about an error of a file, by what the operating system said.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "get access to it, or name another path",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on its disk, or name one that has room",
        io::ErrorKind::ReadOnlyFilesystem => "name a path on a disk that can be written",
        io::ErrorKind::FileTooLarge => "raise the limit for the size of files (`ulimit -f`)",
        io::ErrorKind::IsADirectory => "name a file",
        io::ErrorKind::NotADirectory => "a part of the path is a file: name another",
        _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => "raise the limit for open files (`ulimit -n`)",
        _ => "check that the path is right, writable, and that its disk has room",
    }
}

/// Too many open files, of the system or of the process; the same numbers on every Unix that we know.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

impl From<CheckpointError> for CliError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Open(error) => Self::Open(error),
            error => Self::Checkpoint(error),
        }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Machine(NewMachineError::Trust(error)) => Self::Anchor(error),
            error => Self::Start(error),
        }
    }
}

impl CliError {
    /// The error of a generator whose payloads `chain` names.
    pub(crate) fn from_generator(chain: &ChainArgs) -> impl FnOnce(GenerateError) -> Self {
        let from_files = chain.from.is_some();
        move |error| match error {
            GenerateError::Payload(source) if from_files => Self::PayloadFiles(source),
            error => Self::Generate(error),
        }
    }

    /// The code that the process ends with: 1, or 3 where a sync reached the tip and that is old. 2 is a command line that
    /// can't be read.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::OldTip { .. } => ExitCode::from(3),
            Self::Reported(error) => error.exit_code(),
            _ => ExitCode::FAILURE,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// A name of the cause that never changes, for scripts.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::GenesisFile(_) => "genesis_file",
            Self::NoGenesis(_) => "no_genesis",
            Self::OtherGenesis(_) => "other_genesis",
            Self::Settings(_) => "settings",
            Self::OtherApp { .. } => "other_app",
            Self::File { .. } => "file",
            Self::NotLoopback(_) => "not_loopback",
            Self::NotEmpty(_) => "not_empty",
            Self::WriteReport { .. } => "write_report",
            Self::Spec(_) => "spec",
            Self::Generate(_) => "generate",
            Self::NoRecipe { .. } => "no_recipe",
            Self::PayloadFiles(_) => "payload_files",
            Self::Consensus(_) => "consensus",
            Self::Devnet(_) => "devnet",
            Self::Options(_) => "options",
            Self::Open(_) => "open",
            Self::Anchor(_) => "anchor",
            Self::Store(_) => "store",
            Self::Identity(_) => "identity",
            Self::Book(_) => "book",
            Self::NoBook(_) => "no_book",
            Self::Bind(_) => "bind",
            Self::Metrics { .. } => "metrics",
            Self::Page { .. } => "page",
            Self::NoPage(_) => "no_page",
            Self::NoStatus { .. } => "no_status",
            Self::NotReady(_) => "not_ready",
            Self::NotObeyed { .. } => "not_obeyed",
            Self::NoBackup(_) => "no_backup",
            Self::System { .. } => "system",
            Self::Child { .. } => "child",
            Self::ChildReport { .. } => "child_report",
            Self::Mismatch { .. } => "mismatch",
            Self::Incomplete { .. } => "incomplete",
            Self::OldTip { .. } => "old_tip",
            Self::DamagedGenesis(_) => "damaged_genesis",
            Self::NoHeader(_) => "no_header",
            Self::Damaged { .. } => "damaged",
            Self::Unmended { .. } => "unmended",
            Self::LedgerDamaged(_) => "ledger_damaged",
            Self::Export(_) => "export",
            Self::Light(_) => "light",
            Self::NoLightTip(_) => "no_light_tip",
            Self::LightAnswer(_) => "light_answer",
            Self::Checkpoint(CheckpointError::NoCheckpoint { .. }) => "no_checkpoint",
            Self::Checkpoint(CheckpointError::Read { .. }) => "file",
            Self::Checkpoint(_) => "checkpoint",
            Self::SnapshotFile(_) => "snapshot_file",
            Self::Import(_) => "import",
            Self::Trace { .. } => "trace",
            Self::Different { .. } => "different",
            Self::Execute(_) => "execute",
            Self::Start(_) => "start",
            Self::Stopped => "stopped",
            Self::Stdout(_) => "stdout",
            Self::Reported(error) => error.kind(),
            Self::Interrupted(_) => "interrupted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_by_what_the_operating_system_said() {
        for (code, part) in
            [(2, "check the path"), (13, "access"), (28, "room"), (30, "can be written"), (24, "ulimit -n")]
        {
            let message = CliError::file("written", "/x")(io::Error::from_raw_os_error(code)).to_string();
            assert!(message.split_once("; ").is_some_and(|(_, step)| step.contains(part)), "{message}");
        }
    }
}
