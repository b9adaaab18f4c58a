//! `backup` and `restore`: a store as of one moment, in another folder.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use hotstuff2_sync_tokio::store::{OpenError, restore_backup};

use crate::args::Json;
use crate::error::CliError;
use crate::node::{ask_backup, head_of, open_store};
use crate::report::{BackupReport, RestoreReport, say, write_json};

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Folder of the node, which may run
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Folder for the backup, a new one; on the same file system most of it takes no room of its own. A node that runs makes it
    /// itself, and must be allowed to
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Folder with the backup, which stays as it is
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Folder of the node, without a store; other files in it stay, such as its key
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Makes a backup of a node, by itself or by the node that runs.
pub(crate) fn backup(args: &BackupArgs) -> Result<(), CliError> {
    // The node may run in another folder.
    let to = std::path::absolute(&args.to).map_err(CliError::file("found", &args.to))?;
    let report = match open_store(&args.dir) {
        Ok((_, store)) => BackupReport::make(&store, &to)?,
        Err(CliError::Open(OpenError::InUse(_))) => ask_backup(&args.dir, &to)?,
        Err(error) => return Err(error),
    };
    let json = args.json.path.as_deref();
    say(json, format_args!("{}", report.describe()));
    json.map_or(Ok(()), |path| write_json(&report, path))
}

/// Puts a backup in the place of a node's store.
pub(crate) fn restore(args: &RestoreArgs) -> Result<(), CliError> {
    let begin = Instant::now();
    let restored = restore_backup(&args.from, &args.dir)?;
    let (genesis, store) = open_store(&args.dir)?;
    let report = RestoreReport {
        head: head_of(&store, &genesis)?,
        files: restored.copied,
        bytes: restored.copied_bytes,
        seconds: begin.elapsed().as_secs_f64(),
    };
    let json = args.json.path.as_deref();
    let (height, files, mib) = (report.head.height, report.files, report.bytes >> 20);
    say(
        json,
        format_args!(
            "restored up to height {height}: {files} files, {mib} MiB; the next `sync` goes on from there\n\
             a validator's record of votes is not in a backup, and must not come from elsewhere: it may have voted since"
        ),
    );
    json.map_or(Ok(()), |path| write_json(&report, path))
}
