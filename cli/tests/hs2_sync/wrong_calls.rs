//! Wrong calls: each fails with a code, says what is wrong in one line and what to do, and the same in JSON.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::{World, hs2_sync};

/// Calls that fail in their work: the words of the command line, what the message must hold, and the kind of the error.
/// `@` stands for the folder of the world: `@/chain` is a store of nine blocks, `@/text` a file that is no store, `@/pipe` a
/// pipe that nobody writes to, `@/empty` an empty folder.
const FAILING: &[(&str, &[&str], &str)] = &[
    ("gen --dir @/chain", &["chain is not empty", "name a new folder"], "not_empty"),
    ("gen --dir @/text", &["text", "a part of the path is a file"], "file"),
    ("gen --dir @/text/below", &["text", "a part of the path is a file"], "file"),
    ("gen --dir /proc/no", &["/proc/no", "; check the path"], "file"),
    ("gen --dir @/new --blocks 9 --from /no/such", &["/no/such", "name a file"], "payload_files"),
    ("gen --dir @/new --entries 5", &["--app ledger"], "options"),
    ("gen --dir @/new --from @/text --app ledger", &["leave out --from or --app ledger"], "options"),
    ("gen --dir @/new --blocks 9 --validators 0", &["no such chain"], "spec"),
    ("gen --dir @/new --blocks 9 --epochs 0", &["no such chain"], "spec"),
    ("gen --dir @/new --blocks 2 --epochs 9", &["no such chain"], "spec"),
    ("gen --dir @/empty --extend 5", &["gen.json can't be used", "name the folder"], "no_recipe"),
    ("gen --dir @/nowhere --extend 5", &["gen.json can't be used", "name the folder"], "no_recipe"),
    ("inspect --dir @/nowhere", &["nowhere holds no store", "name another directory"], "open"),
    ("inspect --dir @/text", &["text", "; "], "open"),
    ("inspect --dir @/empty", &["empty holds no store", "name another directory"], "open"),
    ("inspect --dir /dev/null", &["/dev/null", "; "], "open"),
    ("serve --dir @/nowhere", &["nowhere holds no store", "name another directory"], "open"),
    ("serve --dir @/chain --listen 192.0.2.1:0", &["192.0.2.1", "; "], "bind"),
    ("serve --dir @/chain --metrics 192.0.2.1:0", &["metrics can't be shown at 192.0.2.1:0", "another"], "metrics"),
    ("serve --dir @/chain --identity @/text", &["text", "; "], "identity"),
    ("serve --dir @/chain --identity @/pipe", &["pipe", "; "], "identity"),
    ("serve --dir @/chain --peers-file @/pipe", &["pipe", "; "], "book"),
    ("sync --dir @/new --peer 127.0.0.1:1", &["--genesis FILE"], "no_genesis"),
    ("sync --dir @/new --genesis @/none.json --peer 127.0.0.1:1", &["none.json can't be read", "name"], "genesis_file"),
    ("sync --dir @/new --genesis @/text --peer 127.0.0.1:1", &["text is not a genesis file", "; "], "genesis_file"),
    ("sync --dir @/new --genesis @/empty --peer 127.0.0.1:1", &["empty", "; "], "genesis_file"),
    ("sync --dir @/new --genesis @/pipe --peer 127.0.0.1:1", &["pipe", "no regular file; "], "genesis_file"),
    ("sync --dir @/new --genesis /dev/zero --peer 127.0.0.1:1", &["/dev/zero", "no regular file; "], "genesis_file"),
    ("sync --dir @/new --genesis @/chain/genesis.json", &["no peer is known yet", "--peer HOST:PORT"], "options"),
    (
        "sync --dir @/new --genesis @/chain/genesis.json --config @/none --peer 127.0.0.1:1",
        &["none can't be read", "; "],
        "settings",
    ),
    (
        "sync --dir @/new --genesis @/chain/genesis.json --config @/text --peer 127.0.0.1:1",
        &["text is no TOML", "; "],
        "settings",
    ),
    (
        "sync --dir @/new --genesis @/chain/genesis.json --config @/pipe --peer 127.0.0.1:1",
        &["pipe", "no regular file; "],
        "settings",
    ),
    ("sync --dir @/text --genesis @/chain/genesis.json --peer 127.0.0.1:1", &["text", "; "], "open"),
    (
        "sync --dir @/new --genesis @/chain/genesis.json --peer 127.0.0.1:1 --patience 1",
        &["127.0.0.1:1 did not answer", "; "],
        "incomplete",
    ),
    ("sync --dir @/new --genesis @/chain/genesis.json --peer 127.0.0.1:1 --record @/text", &["text", "; "], "start"),
    (
        "sync --dir @/new --genesis @/chain/genesis.json --peer 127.0.0.1:1 --identity @/pipe",
        &["pipe", "; "],
        "identity",
    ),
    (
        "sync --dir @/new --genesis @/chain/genesis.json --checkpoint @/text --peer 127.0.0.1:1",
        &["text is no checkpoint", "; "],
        "no_checkpoint",
    ),
    ("repair --dir @/nowhere --peer 127.0.0.1:1", &["nowhere holds no store", "name another directory"], "open"),
    ("backup --dir @/nowhere --to @/new", &["nowhere holds no store", "name another directory"], "open"),
    ("backup --dir @/chain --to @/chain", &["chain holds a store already", "name another directory"], "open"),
    ("backup --dir @/chain --to @/text", &["text", "; "], "open"),
    ("backup --dir @/chain --to @/text/below", &["text", "; "], "open"),
    ("backup --dir @/chain --to /proc/no", &["/proc/no", "; "], "open"),
    ("restore --from @/nowhere --dir @/new", &["nowhere holds no store", "name another directory"], "open"),
    ("restore --from @/empty --dir @/new", &["empty holds no store", "name another directory"], "open"),
    ("restore --from @/chain --dir @/chain", &["chain holds a store already", "name another directory"], "open"),
    ("restore --from @/chain --dir @/text", &["text", "; "], "open"),
    ("peers --dir @/nowhere", &["peers.book is not there", "name the folder"], "no_book"),
    ("peers --dir @/chain --peers-file @/pipe", &["pipe", "; "], "book"),
    ("status 127.0.0.1:1", &["127.0.0.1:1", "--metrics"], "no_status"),
    ("status nobody.invalid:1", &["nobody.invalid:1", "--metrics"], "no_status"),
    ("replay @/nowhere", &["nowhere", "check the path"], "file"),
    ("replay @/text", &["text", "; "], "trace"),
    ("replay @/empty", &["empty", "name a file"], "file"),
    ("snapshot export --dir @/nowhere --out @/new.snap", &["nowhere holds no store", "name another directory"], "open"),
    ("snapshot export --dir @/chain --out @/new.snap", &["no snapshot", "with an application"], "export"),
    ("snapshot verify --genesis @/chain/genesis.json @/nowhere", &["nowhere", "; "], "snapshot_file"),
    ("snapshot verify --genesis @/chain/genesis.json @/text", &["text", "; "], "snapshot_file"),
    ("snapshot verify --genesis @/chain/genesis.json @/pipe", &["pipe", "no regular file; "], "snapshot_file"),
    ("snapshot verify --genesis @/chain/genesis.json /dev/zero", &["/dev/zero", "no regular file; "], "snapshot_file"),
    ("snapshot verify --genesis @/pipe @/text", &["pipe", "no regular file; "], "genesis_file"),
    ("snapshot import --dir @/new --genesis @/chain/genesis.json @/text", &["text", "; "], "snapshot_file"),
    ("light --genesis @/none.json --peer 127.0.0.1:1", &["none.json can't be read", "; "], "genesis_file"),
    (
        "light --genesis @/chain/genesis.json --checkpoint @/text --peer 127.0.0.1:1",
        &["text is no checkpoint", "; "],
        "no_checkpoint",
    ),
    ("light --genesis @/chain/genesis.json --checkpoint @/none --peer 127.0.0.1:1", &["none", "; "], "file"),
    ("light --genesis @/chain/genesis.json --peer 127.0.0.1:1 --patience 1", &["no tip", "; "], "no_light_tip"),
    ("demo --peers 2", &["at least one peer must be honest", "more --peers"], "options"),
    ("demo --strategy fast --app none", &["only --app ledger has"], "options"),
    ("demo --dir @/chain", &["chain is not empty", "name a new folder"], "not_empty"),
    ("bench --dir @/chain", &["chain is not empty", "name a new folder"], "not_empty"),
];

/// Calls whose command line can't be read, and what is named in what they say.
const UNREADABLE: &[(&str, &str)] = &[
    ("", "Usage"),
    ("sing", "unrecognized subcommand"),
    ("gen", "--dir"),
    ("gen --dir @/new --blocks many", "--blocks"),
    ("gen --dir @/new --blocks -1", "-1"),
    ("gen --dir @/new --payload-bytes 999999999", "--payload-bytes"),
    ("gen --dir @/new --app other", "--app"),
    ("gen --dir @/chain --extend 0", "--extend"),
    ("gen --dir @/chain --extend 5 --blocks 9", "cannot be used with"),
    ("gen --dir @/new --snapshot-interval 0", "--snapshot-interval"),
    ("serve", "--dir"),
    ("serve --dir @/chain --listen here", "--listen"),
    ("serve --dir @/chain --serve-cpu 0", "--serve-cpu"),
    ("serve --dir @/chain --metrics 99999", "--metrics"),
    ("sync", "--dir"),
    ("sync --dir @/new --peer here", "--peer"),
    ("sync --dir @/new --peer 127.0.0.1:1/xyz", "--peer"),
    ("sync --dir @/new --peer tcp://127.0.0.1", "--peer"),
    ("sync --dir @/new --strategy quick", "--strategy"),
    ("sync --dir @/new --budget-mib 1", "--budget-mib"),
    ("sync --dir @/new --patience soon", "--patience"),
    ("sync --dir @/new --json @/text", "holds no report"),
    ("sync --dir @/new --json @/empty", "is a folder"),
    ("sync --dir @/new --json @/nowhere/report", "no file can be made in"),
    ("sync --dir @/new -v -q", "--quiet"),
    ("sync --dir @/new --log-format xml", "--log-format"),
    ("sync --dir @/new --retain-blocks -1", "-1"),
    ("sync --dir @/new --min-free-mib lots", "--min-free-mib"),
    ("backup --dir @/chain", "--to"),
    ("restore --dir @/new", "--from"),
    ("snapshot", "Usage"),
    ("snapshot verify", "--genesis"),
    ("snapshot export --dir @/chain --out @/x --height low", "--height"),
    ("light --genesis @/chain/genesis.json", "--peer"),
    ("light --genesis @/chain/genesis.json --peer 127.0.0.1:1 --witnesses 99", "--witnesses"),
    ("light --genesis @/chain/genesis.json --peer 127.0.0.1:1 get 0x6", "0x6"),
    ("replay", "FILE"),
    ("completions klingon", "klingon"),
    ("man", "--dir"),
    ("bench state --entries 5", "--entries"),
];

fn world() -> World {
    let world = World::new(&["--blocks", "9"]);
    fs::write(world.path("text"), "once upon a time").unwrap();
    fs::create_dir(world.path("empty")).unwrap();
    assert!(Command::new("mkfifo").arg(world.path("pipe")).status().unwrap().success());
    world
}

fn words(world: &World, call: &str) -> Vec<String> {
    call.split_whitespace().map(|word| word.replace("@/", &world.text(""))).collect()
}

#[test]
fn every_failure_says_what_is_wrong_and_what_to_do() {
    let world = world();
    for &(call, parts, kind) in FAILING {
        let mut arguments = words(&world, call);
        arguments.extend(["--json".to_owned(), "-".to_owned()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = hs2_sync(&arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{call}: {text}");
        let line = text.lines().last().unwrap_or_else(|| panic!("{call} says nothing"));
        let message = line.strip_prefix("hs2-sync: ").unwrap_or_else(|| panic!("{call}: {text}"));
        assert!(parts.iter().all(|part| message.contains(part)), "{call}: {message}");
        let json = output.stdout.split(|&byte| byte == b'\n').find(|line| !line.is_empty()).unwrap_or_default();
        let json: Value = serde_json::from_slice(json).unwrap_or_else(|error| panic!("{call}: {error}"));
        let error = &json["error"];
        assert_eq!((&json["ok"], &error["kind"], &error["message"]), (&false.into(), &kind.into(), &message.into()));
        assert!(error["next_step"].as_str().is_some_and(|step| step.len() > 5), "{call}: {message}");
    }
    // None of them left a store.
    assert!(!world.path("new").join("db").exists() || world.path("new").join("genesis.json").exists());
}

#[test]
fn a_command_line_that_cant_be_read_is_named() {
    let world = world();
    for &(call, part) in UNREADABLE {
        let arguments = words(&world, call);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = hs2_sync(&arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{call}: {text}");
        assert!(text.contains(part), "{call}: {text}");
    }
}

#[test]
fn standard_output_that_cant_be_written_is_no_success() {
    let world = world();
    let full = Path::new("/dev/full");
    let folder = world.text("chain");
    for call in [
        &["inspect", "--dir", &folder][..],
        &["inspect", "--dir", &folder, "--json", "-"],
        &["inspect", "--dir", &folder, "--json", "/dev/full"],
        &["config"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
    ] {
        let out = fs::OpenOptions::new().write(true).open(full).unwrap();
        let output = hs2_sync(call).stdout(out).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{call:?}");
    }
}

#[test]
fn the_manual_and_completions_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    assert!(hs2_sync(&["man", "--dir", pages.to_str().unwrap()]).status().unwrap().success());
    for name in ["hs2-sync", "hs2-sync-backup", "hs2-sync-sync", "hs2-sync-serve", "hs2-sync-snapshot-export"] {
        let page = fs::read_to_string(pages.join(format!("{name}.1"))).unwrap_or_else(|_| panic!("{name}"));
        assert!(page.contains(".TH") && page.contains("log\\-format"), "{name}");
    }
    assert!(!pages.join("hs2-sync-besiege.1").exists(), "what is hidden has no page");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = hs2_sync(&["completions", shell]).output().unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("snapshot"), "{shell}");
    }
    let version = hs2_sync(&["--version"]).output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    assert!(version.starts_with(concat!("hs2-sync ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
}
