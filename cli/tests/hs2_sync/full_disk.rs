//! A disk that fills up while a sync writes to it: a tmpfs with a few megabytes of room, in a mount namespace of its own,
//! which is gone with the process that holds it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{PROGRAM, World, complaint_of, report_of};

/// The disk has room for what these tests store, until ballast of so many MiB leaves less than that.
const MOUNT: &str = r#"mount -t tmpfs -o size=140m hs2-sync "$0" && head -c "$1" /dev/zero > "$0/ballast" &&
    echo mounted && exec sleep 600"#;

/// Leaves 12 MiB: more than an empty store takes.
const FOR_BLOCKS: &str = "128M";
/// Leaves 35 MiB: more than the ledger's accounts take in a new store.
const FOR_LEDGER: &str = "105M";

/// Leaves 35 MiB: enough for all parts of a state of [`ENTRIES`], and too little to make it live.
const FOR_PARTS: &str = "105M";

const BLOCKS: &str = "20000";
const ENTRIES: &str = "100000";

struct SmallDisk {
    holder: Child,
    dir: PathBuf,
    root: bool,
}

impl SmallDisk {
    fn mount(dir: &Path, ballast: &str) -> Self {
        let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        std::fs::create_dir(dir).unwrap();
        let mut command = Command::new("unshare");
        if !root {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-c", MOUNT]).arg(dir).arg(ballast);
        let mut holder = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(
            line, "mounted\n",
            "a small disk for this test can't be mounted: run it as root, or allow user namespaces"
        );
        Self { holder, dir: dir.to_owned(), root }
    }

    /// A command that sees this disk.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        if !self.root {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--target", &self.holder.id().to_string(), "--mount", program]).stdin(Stdio::null());
        command
    }

    fn sync(&self, world: &World, peer: &str, more: &[&str]) -> Command {
        let mut command = self.command(PROGRAM);
        command.args(["sync", "--genesis", &world.genesis(), "--peer", peer, "--dir"]);
        command.arg(self.dir.join("late")).args(more);
        command
    }

    fn make_room(&self) {
        assert!(self.command("rm").arg(self.dir.join("ballast")).status().unwrap().success());
    }

    fn inspect(&self) -> serde_json::Value {
        let mut command = self.command(PROGRAM);
        command.args(["inspect", "--dir"]).arg(self.dir.join("late"));
        report_of(command)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}

fn waits_and_goes_on(app: &str, ballast: &str, more: &[&str], says: &str) {
    let world = World::new(&["--blocks", BLOCKS, "--app", app]);
    let server = world.server("server");
    let disk = SmallDisk::mount(&world.path("disk"), ballast);
    let mut command = disk.sync(&world, &server.peer, &[&["--patience", "0", "--app", app][..], more].concat());
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.find(|line| line.contains("free disk space")).unwrap();
    assert!(said.contains(says) && said.contains("disk/late") && said.contains("nothing is lost"), "{said}");
    assert!(process.try_wait().unwrap().is_none());
    disk.make_room();
    let rest: Vec<String> = lines.collect();
    assert!(process.wait().unwrap().success(), "{rest:?}");
    let inspected = disk.inspect();
    drop(server);
    assert_eq!(inspected["head"], world.head("server"));
}

#[test]
fn a_sync_waits_for_room_and_goes_on_by_itself() {
    waits_and_goes_on("none", FOR_BLOCKS, &[], "free disk space");
}

#[test]
fn a_sync_waits_before_the_disk_is_full_and_goes_on_by_itself() {
    // 12 MiB are left when it begins, and it takes none of the last 8.
    waits_and_goes_on(
        "none",
        FOR_BLOCKS,
        &["--min-free-mib", "8"],
        "less than the 8 MiB that min_free_disk keeps free",
    );
}

#[test]
fn an_application_waits_for_room_too() {
    waits_and_goes_on("ledger", FOR_LEDGER, &[], "free disk space");
}

#[test]
fn a_state_that_gets_no_room_gives_up_too() {
    let world = World::new(&[
        "--blocks",
        "2000",
        "--snapshot-interval",
        "1000",
        "--epochs",
        "1",
        "--app",
        "ledger",
        "--entries",
        ENTRIES,
    ]);
    let server = world.server("server");
    let disk = SmallDisk::mount(&world.path("disk"), FOR_PARTS);
    let fast = ["--app", "ledger", "--strategy", "fast"];
    let message = complaint_of(disk.sync(&world, &server.peer, &[&fast[..], &["--patience", "4"]].concat()));
    assert!(message.contains("nothing moved for 4 s") && message.contains("free disk space"), "{message}");
    disk.make_room();
    let end = report_of(disk.sync(&world, &server.peer, &fast));
    assert_eq!(end["ok"], true);
    drop(server);
    assert_eq!(disk.inspect()["head"], world.head("server"));
}

#[test]
fn a_sync_that_gets_no_room_gives_up_with_all_that_it_stored() {
    let world = World::new(&["--blocks", BLOCKS]);
    let server = world.server("server");
    let disk = SmallDisk::mount(&world.path("disk"), FOR_BLOCKS);
    let message = complaint_of(disk.sync(&world, &server.peer, &["--patience", "2"]));
    assert!(message.contains("disk/late") && message.contains("free disk space"), "{message}");
    assert!(message.contains("nothing moved for 2 s"), "{message}");
    disk.make_room();
    let stored = disk.inspect()["head"]["height"].clone();
    assert!(stored.as_u64().unwrap() > 0);
    let end = report_of(disk.sync(&world, &server.peer, &["--patience", "0"]));
    assert_eq!((&end["ok"], &end["start_height"]), (&true.into(), &stored));
    drop(server);
    assert_eq!(disk.inspect()["head"], world.head("server"));
}
