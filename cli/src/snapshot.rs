//! `snapshot`: a state in a file: out of a store, checked, into a store.

use std::path::Path;
use std::time::Instant;

use hotstuff2_sync::chain::native::{NativeChain, check_age};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_tokio::genesis_file::read_genesis;
use hotstuff2_sync_tokio::snapshot_file::{self, Existing, SnapshotReader, SnapshotSummary};
use hotstuff2_sync_tokio::store::{BlockStore as _, StoreAnchor};
use hotstuff2_sync_tokio::wall_clock;
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::CliError;
use crate::node::{header_at, open_or_create, open_store};
use crate::report::{Head, SnapshotReport, ratio, say, write_json};
use crate::screen;
use crate::snapshot_args::{ExportArgs, ImportArgs, SnapshotCommand, SnapshotHeight, VerifyArgs};

pub(crate) fn run(command: &SnapshotCommand) -> Result<(), CliError> {
    match command {
        SnapshotCommand::Export(args) => export(args),
        SnapshotCommand::Verify(args) => verify(args),
        SnapshotCommand::Import(args) => import(args),
    }
}

fn export(args: &ExportArgs) -> Result<(), CliError> {
    let begin = Instant::now();
    let (_, store) = open_store(&args.dir)?;
    let height = match args.height {
        SnapshotHeight::Newest => None,
        SnapshotHeight::At(height) => Some(Height::new(height)),
    };
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let summary = snapshot_file::export(&store, height, &args.out, existing, &mut bar("exporting"))?;
    tell(&summary, None, begin, &args.out, "written to", args.json.path.as_deref())
}

fn verify(args: &VerifyArgs) -> Result<(), CliError> {
    let begin = Instant::now();
    let genesis = read_genesis(&args.genesis)?;
    if !args.accept_long_range {
        check_age(&genesis, genesis.header().timestamp, wall_clock())?;
    }
    let (chain, anchor) = (NativeChain::new(&genesis), StoreAnchor::from(&genesis));
    let summary = snapshot_file::verify(&chain, &anchor, &args.file, &mut bar("verifying"))?;
    tell(&summary, None, begin, &args.file, "proven by", args.json.path.as_deref())
}

fn import(args: &ImportArgs) -> Result<(), CliError> {
    let begin = Instant::now();
    let genesis = read_genesis(&args.genesis)?;
    let (chain, anchor) = (NativeChain::new(&genesis), StoreAnchor::from(&genesis));
    let long_range =
        |timestamp| if args.accept_long_range { Ok(()) } else { check_age(&genesis, timestamp, wall_clock()) };
    // A store that is there may be younger than the genesis; a new one isn't.
    if !args.dir.exists() {
        long_range(genesis.header().timestamp)?;
    }
    // A file of another chain, or one that proves nothing, leaves no store behind.
    drop(SnapshotReader::open(&chain, &anchor, &args.file)?);
    let store = open_or_create(&args.dir, &genesis, None)?.store;
    long_range(header_at(&store, &genesis, store.stored().height)?.timestamp)?;
    let imported = snapshot_file::import(&store, &chain, &anchor, &args.file, &mut bar("importing"))?;
    let done = if imported.activated { "taken in from" } else { "was there already, as in" };
    tell(&imported.summary, Some(imported.activated), begin, &args.file, done, args.json.path.as_deref())
}

/// Shows how far it is, on a terminal: how much of how much is done.
fn bar(verb: &'static str) -> impl FnMut(u64, u64) {
    let bar = if screen::has_bars() {
        let style = ProgressStyle::with_template("{prefix:>10} [{bar:20.green}] {percent:>3} %  {eta} left");
        let style = style.map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "));
        screen::add(ProgressBar::new(0).with_style(style).with_prefix(verb))
    } else {
        ProgressBar::hidden()
    };
    move |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    }
}

fn tell(
    summary: &SnapshotSummary,
    activated: Option<bool>,
    begin: Instant,
    path: &Path,
    done: &str,
    json: Option<&Path>,
) -> Result<(), CliError> {
    let seconds = begin.elapsed().as_secs_f64();
    let SnapshotSummary { height, id, state_root, keys, file_bytes, .. } = summary;
    say(
        json,
        format_args!(
            "state after block {height} {id} {done} {}\nstate root {state_root}\n{keys} keys, {:.1} MB, {:.2} s: {:.0} keys/s",
            path.display(),
            *file_bytes as f64 / 1e6,
            seconds,
            ratio(*keys as f64, seconds),
        ),
    );
    let report = SnapshotReport {
        head: Head { height: height.get(), id: id.to_string(), state_root: state_root.to_string() },
        chain_id: summary.chain_id.to_string(),
        epoch: summary.epoch.get(),
        handovers: summary.handovers,
        keys: *keys,
        state_bytes: summary.bytes,
        file_bytes: *file_bytes,
        seconds,
        activated,
    };
    json.map_or(Ok(()), |path| write_json(&report, path))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use hotstuff2_sync::chain::native::AnchorError;
    use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
    use hotstuff2_sync_tokio::snapshot_file::SnapshotFileError;

    use super::*;
    use crate::args::Json;
    use hotstuff2_sync_tokio::genesis_file::write_genesis;

    #[test]
    fn a_genesis_older_than_the_trusting_period_needs_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let chain = TestChain::new(ChainSpec { blocks: 3, ..ChainSpec::default() }).unwrap();
        let mut document = chain.genesis().document().clone();
        document.trusting_period_ms = Some(1000);
        write_genesis(&document.check().unwrap(), &path("genesis.json")).unwrap();
        let (genesis, json) = (path("genesis.json"), Json { path: None::<PathBuf> });
        let (file, dir) = (path("none.snap"), path("node"));
        let verified = |accept_long_range| {
            let (genesis, file, json) = (genesis.clone(), file.clone(), json.clone());
            verify(&VerifyArgs { genesis, accept_long_range, file, json }).unwrap_err()
        };
        assert!(matches!(verified(false), CliError::Anchor(AnchorError::TooOld { .. })));
        // Then it gets as far as the file, which isn't there.
        assert!(matches!(verified(true), CliError::SnapshotFile(SnapshotFileError::Io { .. })));
        let imported = |accept_long_range| {
            let (genesis, file, json, dir) = (genesis.clone(), file.clone(), json.clone(), dir.clone());
            import(&ImportArgs { genesis, dir, accept_long_range, file, json }).unwrap_err()
        };
        assert!(matches!(imported(false), CliError::Anchor(AnchorError::TooOld { .. })));
        assert!(matches!(imported(true), CliError::SnapshotFile(SnapshotFileError::Io { .. })));
        assert!(!dir.exists());
    }
}
