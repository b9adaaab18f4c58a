//! Parts of `demo` and `bench`: processes that serve copies of a chain, one that syncs from them, and a folder for
//! their files.

mod child;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::{App, Strategy, name_of};
use crate::demo_args::Until;
use crate::error::CliError;
use crate::node::{Stop, copy_store, require_empty};
use crate::report::{ServeReport, SyncReport};
use crate::screen::{complain, tell};

pub(crate) use child::Child;

/// Says that a folder is a demo's, and what in it the next demo may remove.
const MARKER: &str = "hs2-sync-demo";
const MADE: &str = "Made by `hs2-sync demo` or `bench`. The next one in this folder removes:\n";

/// How long a server may take to open its store.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks at the syncing process.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Starts a process that serves a copy of `chain`, made in `dir`.
pub(crate) fn serve_copy(
    chain: &Path,
    dir: &Path,
    what: String,
    more: &[String],
) -> Result<(Child, ServeReport), CliError> {
    copy_store(chain, dir)?;
    let mut arguments = vec!["serve".to_owned(), "--json".to_owned(), "-".to_owned()];
    arguments.extend(["--dir".to_owned(), dir.display().to_string()]);
    arguments.extend_from_slice(more);
    let mut process = Child::start(what, &arguments)?;
    let report = process.first_line(SERVER_PATIENCE)?;
    Ok((process, report))
}

/// A process that syncs.
pub(crate) struct SyncJob<'a> {
    pub(crate) genesis: &'a Path,
    pub(crate) dir: &'a Path,
    /// File for its report.
    pub(crate) report: &'a Path,
    pub(crate) strategy: Strategy,
    pub(crate) app: App,
    /// Seconds that blocks alone must take before `auto` looks for a state, if not as by default.
    pub(crate) state_after: Option<u64>,
    /// The core that it stays on, if any.
    pub(crate) core: Option<usize>,
    /// Names of the servers with these ids on the screen.
    pub(crate) names: Vec<(&'a str, &'static str)>,
    /// Where it follows and is met by others: until when, and its address.
    pub(crate) follows: Option<(Until, SocketAddr)>,
}

impl SyncJob<'_> {
    /// Runs it to its end, or until this process is to stop.
    pub(crate) async fn run(
        &self,
        servers: impl Iterator<Item = &ServeReport>,
        stop: &mut Stop,
    ) -> Result<SyncReport, CliError> {
        let mut sync = Child::start("the syncing process", &self.arguments(servers))?;
        let mut stopping = false;
        let status = loop {
            if let Some(status) = sync.ended()? {
                break status;
            }
            tokio::select! {
                _ = stop.asked(), if !stopping => {
                    stopping = true;
                    sync.ask_to_stop();
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        };
        if stopping {
            return Err(CliError::Stopped);
        }
        sync.check(status)?;
        read_report(self.report)
    }

    fn arguments<'s>(&self, servers: impl Iterator<Item = &'s ServeReport>) -> Vec<String> {
        let mut arguments = vec!["sync".to_owned()];
        for (option, value) in [
            ("--genesis", self.genesis.display().to_string()),
            ("--dir", self.dir.display().to_string()),
            ("--json", self.report.display().to_string()),
            ("--strategy", name_of(&self.strategy)),
            ("--app", name_of(&self.app)),
        ] {
            arguments.extend([option.to_owned(), value]);
        }
        if let Some(core) = self.core {
            arguments.extend(["--core".to_owned(), core.to_string()]);
        }
        if let Some(seconds) = self.state_after {
            arguments.extend(["--state-after".to_owned(), seconds.to_string()]);
        }
        if let Some((until, address)) = self.follows {
            arguments.extend(["--follow", "--until"].map(str::to_owned));
            arguments.extend([until.to_string(), "--listen".to_owned(), address.to_string()]);
        }
        for (peer_id, name) in &self.names {
            arguments.extend(["--name".to_owned(), format!("{peer_id}={name}")]);
        }
        for ServeReport { address, peer_id, .. } in servers {
            arguments.extend(["--peer".to_owned(), format!("{address}/{peer_id}")]);
        }
        arguments
    }
}

fn read_report(path: &Path) -> Result<SyncReport, CliError> {
    let failed = |source| CliError::ChildReport { what: "the syncing process".to_owned(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| failed(error.into()))
}

/// Where a demo or a measurement keeps its files.
pub(crate) struct Folder {
    path: PathBuf,
    /// Removed with it.
    temporary: Option<tempfile::TempDir>,
}

impl Folder {
    pub(crate) fn prepare(dir: Option<&Path>) -> Result<Self, CliError> {
        let Some(dir) = dir else {
            let temporary = tempfile::Builder::new().prefix("hs2-sync-demo-").tempdir();
            let temporary = temporary.map_err(CliError::file("created", std::env::temp_dir()))?;
            let path = temporary.path().to_owned();
            return Ok(Self { path, temporary: Some(temporary) });
        };
        let marker = dir.join(MARKER);
        if marker.is_file() {
            remove_earlier(dir)?;
        } else {
            require_empty(dir)?;
        }
        fs::create_dir_all(dir).map_err(CliError::file("created", dir))?;
        fs::write(&marker, MADE).map_err(CliError::file("written", &marker))?;
        Ok(Self { path: dir.to_owned(), temporary: None })
    }

    /// The path of what is to be made under this name. The next demo may remove it, however this one ends.
    pub(crate) fn entry(&self, name: &str) -> Result<PathBuf, CliError> {
        let path = self.path.join(name);
        if self.temporary.is_none() {
            if fs::symlink_metadata(&path).is_ok() {
                return Err(CliError::NotEmpty(path));
            }
            let marker = self.path.join(MARKER);
            let noted = OpenOptions::new().append(true).open(&marker).and_then(|mut file| writeln!(file, "{name}"));
            noted.map_err(CliError::file("written", &marker))?;
        }
        Ok(path)
    }
}

fn names_in(dir: &Path) -> Result<BTreeSet<OsString>, CliError> {
    let entries = fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    entries.map_err(CliError::file("read", dir))
}

/// Removes what the marker lists, and leaves the rest.
fn remove_earlier(dir: &Path) -> Result<(), CliError> {
    let marker = dir.join(MARKER);
    let text = fs::read_to_string(&marker).map_err(CliError::file("read", &marker))?;
    let there = names_in(dir)?;
    let made = match text.strip_prefix(MADE) {
        Some(made) => made,
        None if there.len() == 1 => "",
        None => return Err(CliError::NotEmpty(dir.to_owned())),
    };
    let made: Vec<_> = made.lines().filter(|name| there.contains(OsStr::new(name))).collect();
    if !made.is_empty() {
        tell(format_args!("removing the earlier demo in {}", dir.display()));
    }
    for path in made.into_iter().map(|name| dir.join(name)) {
        let removed =
            if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(CliError::file("removed", path))?;
    }
    Ok(())
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Some(temporary) = self.temporary.take() else { return };
        if let Err(error) = temporary.close() {
            complain(format_args!("{} could not be removed: {error}", self.path.display()));
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
        let demo = Folder::prepare(Some(&ours)).unwrap();
        fs::create_dir(demo.entry("late").unwrap()).unwrap();
        fs::write(ours.join("late/1"), "old").unwrap();
        fs::write(demo.entry("late.json").unwrap(), "old").unwrap();
        fs::write(ours.join("letter"), "dear").unwrap();
        // However it ended.
        std::mem::forget(demo);
        let demo = Folder::prepare(Some(&ours)).unwrap();
        assert!(ours.join("letter").exists() && !ours.join("late").exists() && !ours.join("late.json").exists());
        assert!(matches!(demo.entry("letter"), Err(CliError::NotEmpty(_))));
        fs::write(demo.entry("late").unwrap(), "old").unwrap();
        drop(demo);
        drop(Folder::prepare(Some(&ours)).unwrap());
        assert_eq!(names_in(&ours).unwrap(), ["hs2-sync-demo", "letter"].map(OsString::from).into());

        let temporary = Folder::prepare(None).unwrap();
        let path = temporary.path.clone();
        assert!(path.exists());
        drop(temporary);
        assert!(!path.exists());
    }
}
