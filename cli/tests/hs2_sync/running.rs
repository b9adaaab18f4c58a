//! `docs/running.md` and `deploy/`: every command is run, and every figure that is named exists.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::{PROGRAM, Server, World, complaint, hs2_sync, report, strs, wait_until};
use crate::metrics::shown;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of a page that are marked `sh`, as one script.
fn script(page: &str) -> String {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => lines.push(line),
            _ => {}
        }
    }
    lines.join("\n")
}

/// A port that nobody has now.
fn free_udp() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn free_tcp() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn every_command_of_the_page_about_running_works() {
    let folder = tempfile::tempdir().unwrap();
    let commands = script(&read("docs/running.md"));
    assert!(commands.contains("hs2-sync sync --follow") && commands.lines().count() > 20);
    let ports = [("7000", free_udp()), ("7001", free_udp()), ("9100", free_tcp())];
    let commands =
        ports.iter().fold(commands, |text, (port, free)| text.replace(&format!(":{port}"), &format!(":{free}")));
    let bin = Path::new(PROGRAM).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-eu", "-c", &commands]).current_dir(folder.path()).env("PATH", path).stdin(Stdio::null());
    let output = shell.output().unwrap();
    let log = fs::read_to_string(folder.path().join("node.log")).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{log}");
    let status: Value = serde_json::from_slice(&fs::read(folder.path().join("status.json")).unwrap()).unwrap();
    assert_eq!((&status["ready"], &status["height"], &status["peers"]), (&true.into(), &3000.into(), &1.into()));
    assert!(log.lines().all(|line| line.contains(" INFO ") || line.contains(" WARN ")), "{log}");
}

#[test]
fn a_node_says_whether_it_is_ready() {
    let world = World::new(&["--blocks", "300"]);
    let serve = ["serve", "--dir", &world.text("chain"), "--metrics", "127.0.0.1:0"];
    let server = shown(&serve);
    let status = report(&["status", &server.address]);
    assert_eq!((&status["ready"], &status["height"]), (&true.into(), &300.into()), "{status}");
    // One that nobody answers is not.
    let nobody = ["--peer", "127.0.0.1:1", "--follow", "--metrics", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let alone = shown(&strs(&world.sync("late", &[], &nobody)));
    let mut said = String::new();
    wait_until(|| {
        said = complaint(&["status", &alone.address]);
        said.contains("no peer is connected")
    });
    let output = hs2_sync(&["status", &alone.address, "--json", "-"]).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["ready"], &json["error"]["kind"]), (&false.into(), &"not_ready".into()), "{json}");
    let gone = complaint(&["status", "127.0.0.1:1"]);
    assert!(gone.contains("127.0.0.1:1") && gone.contains("--metrics"), "{gone}");
}

/// The names of figures in a text.
fn figures(text: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    let words = text.split(|character| !is_part(character));
    words.filter(|word| word.starts_with("hs2_sync_") || word.starts_with("process_")).map(str::to_owned).collect()
}

#[test]
fn what_alerts_and_the_dashboard_ask_for_is_shown() {
    let world = World::new(&["--blocks", "300"]);
    let servers: [Server; 1] = [world.server("server")];
    let sync = world.sync("late", &servers, &["--follow", "--metrics", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    let node = shown(&strs(&sync));
    wait_until(|| hs2_sync(&["status", &node.address]).output().unwrap().status.success());
    let page = crate::metrics::page(&node.address, "");
    // A peer that has failed has counters for it; this one hasn't.
    let mut there = figures(&page);
    there.insert("hs2_sync_peer_failures_total".to_owned());
    for file in ["deploy/alerts.yml", "deploy/grafana.json"] {
        let text = read(file);
        let missing: Vec<String> = figures(&text).difference(&there).cloned().collect();
        assert!(missing.is_empty(), "{file}: {missing:?} in {page}");
    }
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
    // The page says what each alert means, and has no other alerts.
    let named = |text: &str| -> BTreeSet<String> {
        let words = text.split(|character: char| !character.is_ascii_alphanumeric());
        words.filter(|word| word.starts_with("Hs2Sync")).map(str::to_owned).collect()
    };
    assert_eq!(named(&read("deploy/alerts.yml")), named(&read("docs/running.md")));
    // Where Prometheus is installed, its own tool looks too.
    if Command::new("promtool").arg("--version").output().is_ok() {
        let config = ["check", "config", "deploy/prometheus.yml"];
        let output = Command::new("promtool").args(config).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = world.path("page");
        fs::write(&file, &page).unwrap();
        let input = fs::File::open(&file).unwrap();
        let output = Command::new("promtool").args(["check", "metrics"]).stdin(input).output().unwrap();
        let said = [&output.stdout[..], &output.stderr].concat();
        assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    } else {
        println!("promtool is not here: the package prometheus of Debian has it");
    }
}

#[test]
fn the_service_is_one_that_systemd_takes() {
    let unit = read("deploy/hs2-sync.service");
    let exec = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/hs2-sync ")).unwrap();
    let options: Vec<&str> = exec.split(' ').filter(|word| *word != "$PEERS").collect();
    // All its options are known: what fails is the first file.
    let output = hs2_sync(&[&options[..], &["--peer=peer.example.org:7000"]].concat()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("node.toml"), "{said}");
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("systemd-analyze is not here: the package systemd has it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hs2-sync.service");
    fs::write(&file, unit.replace("/usr/local/bin/hs2-sync", PROGRAM)).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("hs2-sync.service"), "{said}");
}

#[test]
fn the_container_runs_the_command_as_it_is() {
    let file = read("deploy/Containerfile");
    let line = |word: &str| file.lines().rfind(|line| line.starts_with(word)).unwrap_or_else(|| panic!("no {word}"));
    let list = |word: &str| -> Vec<String> {
        let line = line(word);
        serde_json::from_str(&line[line.find('[').unwrap()..]).unwrap()
    };
    // All its options are known: what fails is the first file.
    let run = list("ENTRYPOINT");
    let output = hs2_sync(&strs(&run[1..])).arg("--peer=peer.example.org:7000").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/etc/hs2-sync/node.toml"), "{said}");
    // The volume is the node's folder, the ports are those that it listens at, and its health is asked where it is shown.
    let after = |option: &str| run[run.iter().position(|word| word == option).unwrap() + 1].as_str();
    let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
    let (listen, metrics) = (port(after("--listen")), port(after("--metrics")));
    assert_eq!(list("VOLUME"), [after("--dir")]);
    assert_eq!(line("EXPOSE"), format!("EXPOSE {listen}/udp {metrics}/tcp"));
    let health = list("HEALTHCHECK");
    assert_eq!(health, [run[0].clone(), "status".to_owned(), format!("127.0.0.1:{metrics}")]);
    let asked = hs2_sync(&["status", "127.0.0.1:1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&asked.stderr).contains("--metrics"));
    // The program is there, belongs to somebody else than runs it, and is built by the oldest compiler that may.
    assert!(file.contains(&format!("COPY --from=build /out/bin/hs2-sync {}\n", run[0])));
    let user = line("USER").trim_start_matches("USER ");
    assert!(user != "root" && !user.starts_with('0'), "{user}");
    assert!(file.contains(&format!("--chown={user} /out/data {}\n", after("--dir"))));
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert!(file.contains(&format!("library/rust:{version}-slim")), "{version}");
    // The page says how it is built and run, in the file's own words.
    let page = read("docs/running.md");
    assert!(page.contains("podman build -f deploy/Containerfile -t hs2-sync ."), "{page}");
}
