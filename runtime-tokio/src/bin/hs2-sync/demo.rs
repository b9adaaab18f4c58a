//! `demo`: a late node catches up with processes of their own that serve a chain, some of which lie or are slow.
//!
//! The node trusts nothing but the genesis file. That its head and state root are the servers' is checked at the end,
//! against a server's own store.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::{App, DemoArgs, Parent, Strategy, name_of};
use crate::child::Child;
use crate::error::CliError;
use crate::generate::{generate, now, require_empty};
use crate::genesis_file::GENESIS_FILE;
use crate::inspect::inspect;
use crate::lie::Lie;
use crate::report::{PeerReport, Role, ServeReport, SyncReport, say, short, write_json};
use crate::stop::stop_signal;

/// Says that a folder is a demo's, so that the next demo may empty it.
const MARKER: &str = "hs2-sync-demo";

/// How long a server may take to open its store.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks at the syncing process.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a slow server is slow: like a peer on another continent with a bad line.
const SLOW_DELAY_MS: u64 = 300;
const SLOW_RATE: u64 = 256 << 10;

pub(crate) fn run(mut args: DemoArgs) -> Result<(), CliError> {
    if args.liars.saturating_add(args.slow) >= args.peers {
        return Err(CliError::Options(
            "at least one peer must be honest and fast: give more --peers, or fewer --liars and --slow",
        ));
    }
    // Files' bytes are no transfers; anything else is executed, so that the state root at the end means something.
    args.chain.app = args.chain.app.or(args.chain.from.is_none().then_some(App::Ledger));
    if args.strategy == Strategy::Fast && args.chain.app() == App::None {
        return Err(CliError::Options("--strategy fast fetches a state, which only --app ledger has"));
    }
    let folder = Folder::prepare(args.dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { what: "threads can't be started", source })?;
    runtime.block_on(demo(&args, &folder.path))
}

async fn demo(args: &DemoArgs, dir: &Path) -> Result<(), CliError> {
    let stop = stop_signal(&Parent { until_stdin_closes: false })?;
    let json = args.json.path.as_deref();
    let chain = dir.join("chain");
    let generated = generate(&chain, &args.chain, 0, now())?;
    if args.strategy == Strategy::Fast && generated.blocks < args.chain.snapshot_interval {
        return Err(CliError::Options(
            "the chain is too short for a state to be offered: give more --blocks, or a smaller --snapshot-interval",
        ));
    }
    say(
        json,
        format_args!(
            "generated {} blocks, {:.1} MB, in {:.1} s",
            generated.blocks,
            generated.payload_bytes as f64 / 1e6,
            generated.seconds
        ),
    );
    let mut servers = start_servers(args, dir, &chain)?;
    for server in &servers {
        say(
            json,
            format_args!("serving: {} at {} ({})", short(&server.report.peer_id), server.report.address, server.part()),
        );
    }

    let report_file = dir.join("late.json");
    let late = dir.join("late");
    let mut sync = Child::start("the syncing process", &sync_arguments(args, &chain, &late, &report_file, &servers))?;
    tokio::pin!(stop);
    let mut stopping = false;
    let status = loop {
        if let Some(status) = sync.ended()? {
            break status;
        }
        tokio::select! {
            () = &mut stop, if !stopping => {
                stopping = true;
                sync.ask_to_stop();
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    };
    servers.iter_mut().for_each(|server| server.process.ask_to_stop());
    servers.iter_mut().for_each(|server| server.process.stop());
    if stopping {
        return Err(CliError::DemoStopped);
    }
    sync.check(status)?;

    let mut report = read_report(&report_file)?;
    for peer in &mut report.peers {
        peer.role = servers.iter().find(|server| server.report.peer_id == peer.id).map(|server| server.role);
    }
    let agreed = agree(&report, &late, &servers);
    report.ok = report.ok && agreed.is_ok();
    summarize(json, &report, &servers);
    if let Some(path) = json {
        write_json(&report, path)?;
    }
    agreed
}

/// A serving process.
struct Server {
    process: Child,
    report: ServeReport,
    role: Role,
    lie: Option<Lie>,
    dir: PathBuf,
}

impl Server {
    fn part(&self) -> String {
        match (self.role, self.lie) {
            (Role::Liar, Some(lie)) => format!("liar: {}", name_of(&lie)),
            (Role::Slow, _) => "slow".to_owned(),
            _ => "honest".to_owned(),
        }
    }
}

fn start_servers(args: &DemoArgs, dir: &Path, chain: &Path) -> Result<Vec<Server>, CliError> {
    (0..args.peers)
        .map(|index| {
            let dir = dir.join(format!("server-{}", index + 1));
            copy_store(chain, &dir)?;
            let text = |text: &str| text.to_owned();
            let mut arguments =
                vec![text("serve"), text("--dir"), dir.display().to_string(), text("--json"), text("-")];
            let mut lie = None;
            let role = if index < args.liars {
                let picked = Lie::pick(args.chain.seed, index);
                arguments.extend([text("--lie"), name_of(&picked)]);
                lie = Some(picked);
                Role::Liar
            } else if index < args.liars.saturating_add(args.slow) {
                arguments.extend([
                    text("--delay-ms"),
                    SLOW_DELAY_MS.to_string(),
                    text("--rate"),
                    SLOW_RATE.to_string(),
                ]);
                Role::Slow
            } else {
                Role::Honest
            };
            let mut process = Child::start(format!("serving process {}", index + 1), &arguments)?;
            let report = process.first_line(SERVER_PATIENCE)?;
            Ok(Server { process, report, role, lie, dir })
        })
        .collect()
}

fn sync_arguments(args: &DemoArgs, chain: &Path, late: &Path, report: &Path, servers: &[Server]) -> Vec<String> {
    let mut arguments = vec!["sync".to_owned()];
    for (option, value) in [
        ("--genesis", chain.join(GENESIS_FILE).display().to_string()),
        ("--dir", late.display().to_string()),
        ("--json", report.display().to_string()),
        ("--strategy", name_of(&args.strategy)),
        ("--app", name_of(&args.chain.app())),
    ] {
        arguments.extend([option.to_owned(), value]);
    }
    for ServeReport { address, peer_id, .. } in servers.iter().map(|server| &server.report) {
        arguments.extend(["--peer".to_owned(), format!("{address}/{peer_id}")]);
    }
    arguments
}

/// Gives a server its own copy of the store in `from`. Sealed files never change, so they are shared where the file
/// system can do that.
fn copy_store(from: &Path, to: &Path) -> Result<(), CliError> {
    fs::create_dir_all(to).map_err(CliError::file("created", to))?;
    for entry in fs::read_dir(from).map_err(CliError::file("read", from))? {
        let entry = entry.map_err(CliError::file("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_store(&source, &target)?;
        } else if !is_sealed(&source) || fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target).map(drop).map_err(CliError::file("copied", source))?;
        }
    }
    Ok(())
}

/// Whether the file at `path` is a sealed segment file.
fn is_sealed(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("segments")) && path.extension().is_none_or(|end| end != "part")
}

fn read_report(path: &Path) -> Result<SyncReport, CliError> {
    let failed = |source| CliError::ChildReport { what: "the syncing process".to_owned(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| failed(error.into()))
}

/// Checks that the late node's store and an honest server's say the same as the report.
fn agree(report: &SyncReport, late: &Path, servers: &[Server]) -> Result<(), CliError> {
    let Some(honest) = servers.iter().find(|server| server.role == Role::Honest) else {
        return Err(CliError::Options("no peer is honest"));
    };
    let (ours, theirs) = (inspect(late)?.head, inspect(&honest.dir)?.head);
    let mut pairs = vec![
        ("heights", ours.height.to_string(), theirs.height.to_string()),
        ("head ids", ours.id, theirs.id.clone()),
        ("state roots", ours.state_root, theirs.state_root.clone()),
    ];
    pairs.push(("reported head ids", report.head.id.clone(), theirs.id));
    pairs.push(("reported state roots", report.head.state_root.clone(), theirs.state_root));
    match pairs.into_iter().find(|(_, ours, theirs)| ours != theirs) {
        Some((what, ours, theirs)) => Err(CliError::Mismatch { what, ours, theirs }),
        None => Ok(()),
    }
}

fn summarize(json: Option<&Path>, report: &SyncReport, servers: &[Server]) {
    say(json, format_args!("{}", report.describe()));
    for server in servers {
        let peer = report.peers.iter().find(|peer| peer.id == server.report.peer_id);
        let part = server.part();
        match peer {
            Some(PeerReport { banned: Some(reason), id, .. }) => {
                say(json, format_args!("  {} ({part}): banned: {reason}", short(id)));
            }
            Some(PeerReport { id, blocks, bytes, .. }) => {
                say(json, format_args!("  {} ({part}): {blocks} blocks, {:.1} MB", short(id), *bytes as f64 / 1e6));
            }
            None => say(json, format_args!("  {} ({part}): never met", short(&server.report.peer_id))),
        }
    }
    if report.ok {
        say(json, format_args!("head id and state root equal the servers'"));
    }
}

/// Where a demo keeps its files.
struct Folder {
    path: PathBuf,
    /// Removed with it.
    temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn prepare(dir: Option<&Path>) -> Result<Self, CliError> {
        let Some(dir) = dir else {
            let temporary = tempfile::Builder::new().prefix("hs2-sync-demo-").tempdir();
            let temporary = temporary.map_err(CliError::file("created", std::env::temp_dir()))?;
            return Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        let marker = dir.join(MARKER);
        if marker.exists() {
            fs::remove_dir_all(dir).map_err(CliError::file("emptied", dir))?;
        }
        require_empty(dir)?;
        fs::create_dir_all(dir).map_err(CliError::file("created", dir))?;
        fs::write(&marker, "Files of `hs2-sync demo`. The next demo in this folder removes them.\n")
            .map_err(CliError::file("written", &marker))?;
        Ok(Self { path: dir.to_owned(), temporary: None })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take()
            && let Err(error) = temporary.close()
        {
            eprintln!("hs2-sync: {} could not be removed: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_empties_only_a_demos_folder() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("letter"), "dear").unwrap();
        assert!(matches!(Folder::prepare(Some(&theirs)), Err(CliError::NotEmpty(_))));
        assert!(theirs.join("letter").exists());

        let ours = folder.path().join("ours");
        drop(Folder::prepare(Some(&ours)).unwrap());
        fs::write(ours.join("late"), "old").unwrap();
        drop(Folder::prepare(Some(&ours)).unwrap());
        assert!(ours.exists() && !ours.join("late").exists());

        let temporary = Folder::prepare(None).unwrap();
        let path = temporary.path.clone();
        assert!(path.exists());
        drop(temporary);
        assert!(!path.exists());
    }

    #[test]
    fn a_copied_store_shares_nothing_that_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("segments")).unwrap();
        for name in ["genesis", "segments/1", "segments/2.part"] {
            fs::write(from.join(name), "old").unwrap();
        }
        copy_store(&from, &to).unwrap();
        for name in ["genesis", "segments/2.part"] {
            fs::write(to.join(name), "new").unwrap();
            assert_eq!(fs::read_to_string(from.join(name)).unwrap(), "old", "{name}");
        }
        assert_eq!(fs::read_to_string(to.join("segments/1")).unwrap(), "old");
    }
}
