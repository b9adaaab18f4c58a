//! `demo`, and what it is made of, as far as nothing goes wrong that it does not set up itself.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::common::{World, complaint, complaint_in, hs2_sync, interrupt, report, strs, wait_until};

/// Enough blocks that the liar is asked for some of them.
const BLOCKS: &str = "10000";

/// A demo's report, and what it said.
fn demo(world: &tempfile::TempDir, arguments: &[&str]) -> (Value, String) {
    let dir = world.path().join("demo");
    let output = hs2_sync(&["demo", "--json", "-", "--dir", dir.to_str().unwrap()]).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    (serde_json::from_slice(&output.stdout).unwrap(), text)
}

fn with_role<'a>(report: &'a Value, role: &str) -> Vec<&'a Value> {
    report["peers"].as_array().unwrap().iter().filter(|peer| peer["role"] == role).collect()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn sorted(names: &str) -> Vec<&str> {
    let mut names: Vec<&str> = names.split_whitespace().collect();
    names.sort_unstable();
    names
}

#[test]
fn a_demo_bans_the_liar_and_ends_with_equal_heads() {
    let folder = tempfile::tempdir().unwrap();
    let (demo, text) = demo(&folder, &["--blocks", BLOCKS]);
    let fields = "ok app strategies start_height target_height head blocks seconds blocks_per_second payload_bytes \
        useful_bytes wire_bytes_received duplicate_bytes efficiency quorum_checks cpu_seconds \
        coordination_cpu_seconds start_rss_bytes peak_rss_bytes peak_buffered_bytes budget_bytes bottleneck peers state \
        idle_seconds tip_age_seconds";
    assert_eq!(names(&demo), sorted(fields));
    assert_eq!(names(&demo["head"]), sorted("height id header_state_root"));
    let (ten_thousand, zero): (Value, Value) = (10_000.into(), 0.into());
    assert_eq!((&demo["ok"], &demo["blocks"], &demo["start_height"]), (&true.into(), &ten_thousand, &zero));
    assert_eq!((&demo["head"]["height"], &demo["target_height"]), (&ten_thousand, &ten_thousand));
    assert!(demo["efficiency"].as_f64().unwrap() > 0.9, "{demo}");
    assert!(demo["peak_buffered_bytes"].as_u64().unwrap() <= demo["budget_bytes"].as_u64().unwrap(), "{demo}");

    let (honest, liars, slow) = (with_role(&demo, "honest"), with_role(&demo, "liar"), with_role(&demo, "slow"));
    assert_eq!((honest.len(), liars.len(), slow.len()), (2, 1, 1));
    assert_eq!(names(honest[0]), sorted("id role blocks bytes false_answers unanswered banned"));
    assert!(honest.iter().chain(&slow).all(|peer| peer["banned"].is_null()), "{demo}");
    assert!(liars[0]["banned"].is_string() && liars[0]["false_answers"] == 1, "{demo}");
    assert!(text.contains(&format!("banned {}", &liars[0]["id"].as_str().unwrap()[..12])), "{text}");
    assert!(text.contains("keys that this node computed hash to the state root in its header"), "{text}");

    let heads = ["late", "server-1", "server-4"]
        .map(|name| report(&["inspect", "--dir", folder.path().join("demo").join(name).to_str().unwrap()]));
    assert!(heads.iter().all(|inspected| inspected["head"] == demo["head"]));
    assert_eq!(names(&heads[0]), sorted("ok head epoch earliest_height blocks handovers states damaged"));
    assert_eq!((&heads[0]["blocks"], &heads[0]["handovers"]), (&ten_thousand, &3.into()));
    assert_eq!((&heads[0]["epoch"], &heads[0]["earliest_height"]), (&3.into(), &1.into()));
}

#[test]
fn a_live_demo_follows_a_chain_and_bans_who_comes_later_and_lies() {
    let folder = tempfile::tempdir().unwrap();
    // Each of these seeds picks another lie about new blocks.
    for seed in ["0", "1", "2", "3"] {
        let (demo, text) = demo(&folder, &["--live", "4", "--blocks", "300", "--epochs", "2", "--seed", seed]);
        let height = demo["head"]["height"].as_u64().unwrap();
        assert!(height >= 308 && demo["ok"] == true, "{demo}");
        assert!(text.contains("caught up at height"), "{text}");
        let liars = with_role(&demo, "liar");
        assert!(liars.len() == 1 && liars[0]["banned"].is_string(), "{demo} {text}");
        assert!(text.contains(&format!("banned {}", &liars[0]["id"].as_str().unwrap()[..12])), "{text}");
        let rest: Vec<_> = [with_role(&demo, "honest"), with_role(&demo, "slow")].concat();
        assert!(rest.len() == 3 && rest.iter().all(|peer| peer["banned"].is_null()), "{demo}");
        let proven = format!("blocks were made meanwhile;\nproven: block {height} is final");
        let root = demo["head"]["header_state_root"].as_str().unwrap();
        assert!(text.contains(&proven) && text.contains(&format!("the state root in its header:\n{root}")), "{text}");
    }
}

#[test]
fn a_fast_demo_fetches_a_state_and_bans_who_lies_about_it() {
    let folder = tempfile::tempdir().unwrap();
    // These seeds pick the lies about states: a value, a key too few, one too many, and an older state.
    for seed in ["6", "7", "8", "9"] {
        let options = ["--strategy", "fast", "--blocks", "1300", "--snapshot-interval", "500", "--seed", seed];
        let (demo, text) = demo(&folder, &[&options[..], &["--slow", "0", "--peers", "3"]].concat());
        assert!(text.contains("(liar: state-"), "{text}");
        assert!(text.contains("the state after block 1000 is live"), "{text}");
        assert_eq!((&demo["ok"], &demo["head"]["height"]), (&true.into(), &1300.into()));
        assert_eq!((&demo["start_height"], &demo["blocks"]), (&0.into(), &300.into()), "only blocks that are stored");
        let state = &demo["state"];
        let fields = "keys bytes seconds keys_per_second refetched_bytes prefixes moves";
        assert_eq!(names(state), sorted(fields));
        assert!(state["keys"].as_u64().unwrap() > 1000 && state["prefixes"].as_u64().unwrap() > 0, "{state}");
        assert_eq!(state["moves"], 0);
        let liars = with_role(&demo, "liar");
        assert!(liars[0]["banned"].as_str().unwrap().contains("state"), "{demo}");
        assert!(with_role(&demo, "honest").iter().all(|peer| peer["banned"].is_null()), "{demo}");
    }
    let none = complaint(&["demo", "--strategy", "fast", "--app", "none"]);
    assert!(none.contains("only --app ledger has"), "{none}");
    let short = complaint(&["demo", "--strategy", "fast", "--blocks", "100"]);
    assert!(short.contains("--snapshot-interval"), "{short}");
}

#[test]
fn a_measurement_of_small_states_has_every_figure() {
    let rows = report(&["bench", "--entries", "500,3000", "--gaps", "200", "--peers", "2"]);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        let fields = "entries state_bytes blocks payload_bytes parallel_seconds fast_seconds auto_seconds auto";
        assert_eq!(names(row), sorted(fields));
        assert!(row["parallel_seconds"].as_f64().unwrap() > 0.0 && row["fast_seconds"].as_f64().unwrap() > 0.0);
        assert!(!row["auto"].as_array().unwrap().is_empty());
    }
    let state = report(&["bench", "state", "--entries", "20000", "--peers", "2"]);
    assert_eq!((&state["entries"], &state["pair_bytes"]), (&20_000.into(), &(20_000 * 116).into()));
    assert_eq!(state["download"]["keys"], 20_000);
    let (received, delta) = (state["received_ratio"].as_f64().unwrap(), state["delta_share"].as_f64().unwrap());
    assert!(1.0 < received && received <= 1.05, "{state}");
    assert!(0.0 < delta && delta < 0.5, "{state}");
    let memory = |name: &str| state[name].as_u64().unwrap();
    assert_eq!(memory("start_rss_bytes") + memory("memory_growth_bytes"), memory("peak_rss_bytes"), "{state}");
}

#[test]
fn the_seed_picks_the_lie_and_every_part_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| demo(&folder, &[&["--blocks", "1500", "--app", "none"], arguments].concat());
    let lie = |text: &str| text.split_once("(liar: ").unwrap().1.split_once(')').unwrap().0.to_owned();
    let (one, first) = run(&["--seed", "1"]);
    let (two, second) = run(&["--seed", "2"]);
    assert_ne!(lie(&first), lie(&second));
    assert_ne!(one["head"]["id"], two["head"]["id"]);
    assert_eq!((&one["ok"], &two["ok"]), (&true.into(), &true.into()));
    let (alone, _) = run(&["--peers", "1", "--liars", "0", "--slow", "0"]);
    assert_eq!((alone["peers"].as_array().unwrap().len(), &alone["ok"]), (1, &true.into()));
}

#[test]
fn a_demo_without_an_honest_peer_is_refused() {
    assert!(complaint(&["demo", "--peers", "2"]).contains("at least one peer must be honest"));
}

#[test]
fn a_demo_that_is_interrupted_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo").to_str().unwrap().to_owned();
    let mut command = hs2_sync(&["demo", "--blocks", "2000", "--app", "none", "--dir", &dir]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("serving: ")));
    interrupt(&process);
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing of it is running any more"));
    let running = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let arguments = std::fs::read(entry.unwrap().path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&arguments).contains(&dir).then_some(())
    });
    assert_eq!(running.count(), 0);
}

#[test]
fn a_full_audit_checks_a_certificate_for_every_block() {
    let world = World::new(&["--blocks", "300", "--certify-every", "1"]);
    let servers = [world.server("server")];
    let end = report(&strs(&world.sync("late", &servers, &["--audit"])));
    assert_eq!((&end["ok"], &end["head"]["height"]), (&true.into(), &300.into()));
    assert!(end["quorum_checks"].as_u64().unwrap() >= 300, "{end}");
}

#[test]
fn block_after_block_gets_there_too() {
    let world = World::new(&["--blocks", "3000"]);
    let servers = [world.server("server-1"), world.server("server-2")];
    let end = report(&strs(&world.sync("late", &servers, &["--strategy", "incremental"])));
    assert_eq!((&end["ok"], &end["strategies"]), (&true.into(), &serde_json::json!(["incremental"])));
    drop(servers);
    assert_eq!(world.head("late"), world.head("server-1"));
}

#[test]
fn ctrl_c_loses_nothing() {
    let world = World::new(&["--blocks", "20000", "--app", "ledger"]);
    let servers = [world.server("server")];
    let arguments = world.sync("late", &servers, &["--app", "ledger", "--budget-mib", "8"]);
    let process = hs2_sync(&strs(&arguments)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let segments = world.path("late/segments");
    wait_until(|| std::fs::read_dir(&segments).is_ok_and(|mut files| files.next().is_some()));
    interrupt(&process);
    let message = complaint_in("an interrupted sync", &process.wait_with_output().unwrap());
    assert!(message.contains("nothing is lost, the next `sync` goes on from there"), "{message}");
    let height = world.head("late")["height"].clone();
    assert!(message.contains(&format!("stopped at height {height};")), "{message}");
    assert!(0 < height.as_u64().unwrap() && height.as_u64().unwrap() < 20_000, "{height}");
    let end = report(&strs(&arguments));
    assert_eq!((&end["ok"], &end["start_height"]), (&true.into(), &height));
    assert_eq!(end["head"], world.head("late"));
}

#[test]
fn payloads_come_from_real_files() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("a"), vec![b'a'; 2500]).unwrap();
    std::fs::write(files.join("b"), vec![b'b'; 1000]).unwrap();
    let (chain, files) = (folder.path().join("chain"), files.to_str().unwrap());
    let chain = chain.to_str().unwrap();
    let cut = ["--from", files, "--payload-bytes", "1000", "--epochs", "2"];
    let made = report(&[&["gen", "--dir", chain], cut.as_slice()].concat());
    assert_eq!((&made["blocks"], &made["payload_bytes"]), (&4.into(), &3500.into()));
    let (shown, _) = demo(&folder, &cut);
    assert_eq!((&shown["ok"], &shown["payload_bytes"]), (&true.into(), &3500.into()));
    let entries = complaint(&["gen", "--dir", "x", "--entries", "5"]);
    assert!(entries.contains("--app ledger"), "{entries}");
    let missing = complaint(&["gen", "--dir", "x", "--from", "/no/such/file"]);
    assert!(missing.contains("/no/such/file") && missing.contains("name a file"), "{missing}");
}
