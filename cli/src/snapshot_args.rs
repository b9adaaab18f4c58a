//! What can be asked of `hs2-sync snapshot`, in the words of its help.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::Json;

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Write a snapshot that a store keeps into a file
    Export(ExportArgs),
    /// Check a snapshot file from its first to its last byte
    Verify(VerifyArgs),
    /// Take a snapshot file into a store, which `sync` goes on from
    Import(ImportArgs),
}

impl SnapshotCommand {
    /// Where the result goes as JSON, if anywhere.
    pub(crate) fn json(&self) -> Option<&PathBuf> {
        let json = match self {
            Self::Export(args) => &args.json,
            Self::Verify(args) => &args.json,
            Self::Import(args) => &args.json,
        };
        json.path.as_ref()
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Folder with a store; no other process may have it open
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Height of the snapshot, or "newest"
    #[arg(long, default_value = "newest", value_name = "HEIGHT", value_parser = parse_height)]
    pub(crate) height: SnapshotHeight,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Replace a file that is there, when the new one is complete
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The chain's genesis document, which is all that is trusted
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: PathBuf,
    /// Start from a genesis that is older than the chain's trusting period, though its validators may have left long ago
    #[arg(long)]
    pub(crate) accept_long_range: bool,
    /// The snapshot file
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The chain's genesis document, which is all that is trusted
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: PathBuf,
    /// Folder for this node's store: a new one, or one that is behind
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Start from a block that is older than the chain's trusting period, though its validators may have left long ago
    #[arg(long)]
    pub(crate) accept_long_range: bool,
    /// The snapshot file
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Which of the kept snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SnapshotHeight {
    Newest,
    At(u64),
}

fn parse_height(text: &str) -> Result<SnapshotHeight, String> {
    if text == "newest" {
        return Ok(SnapshotHeight::Newest);
    }
    text.parse().map(SnapshotHeight::At).map_err(|_| "write a block's height, or `newest`".to_owned())
}
