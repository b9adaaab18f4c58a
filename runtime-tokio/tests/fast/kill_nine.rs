//! `kill -9` at any moment of one download: what a node has acknowledged is never fetched again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::machine::Event;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::StateItem;
use hotstuff2_sync_testkit::chain::Entries;
use hotstuff2_sync_tokio::SyncEvent;

use crate::source::{Servers, Source, Telling, create, live_root, node, open};

const KILLS: u64 = 20;

/// A state of 23 MB, of which the machine has a few hundred KiB staged at once.
const ENTRIES: Entries = Entries { count: 200_000, value_bytes: 100, changes: 1 };

/// The node's folder, its log and its servers, for the process that is killed.
const DIR: &str = "HS2_TEST_DIR";
const LOG: &str = "HS2_TEST_LOG";
const PEERS: &str = "HS2_TEST_PEERS";

/// The process that is killed: fetches the state, and writes a line for each subtree as soon as the store has
/// acknowledged it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as a process of the test below"]
async fn fetch() {
    let [dir, log, peers] = [DIR, LOG, PEERS].map(|name| std::env::var(name).expect("the test below sets it"));
    let genesis = Source::new(&Path::new(&dir).join("unused"), 0, 1, ENTRIES).genesis();
    let dir = Path::new(&dir).join("late");
    let store = Arc::new(open(&dir, &genesis));
    let log = Mutex::new(File::options().append(true).open(log).unwrap());
    let acknowledged = move |subtrees: &[hotstuff2_sync::state::StateLeaves]| {
        let lines: String = subtrees.iter().map(|subtree| line(&subtree.item)).collect();
        log.lock().unwrap().write_all(lines.as_bytes()).unwrap();
    };
    let staging = Arc::new(Telling { store: Arc::clone(&store), acknowledged });
    let peers: Vec<String> = peers.split(',').map(str::to_owned).collect();
    let mut handle = node(&genesis, &store, staging, &peers);
    while !matches!(handle.next_event().await, Some(SyncEvent::Machine(Event::Reached(_)))) {}
    handle.shutdown().await;
}

fn line(item: &StateItem) -> String {
    let bytes = postcard::to_allocvec(item).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect()
}

/// The subtrees that a log names. A last line that the kill cut off names none.
fn items(log: &Path) -> Vec<StateItem> {
    let text = fs::read_to_string(log).unwrap();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let lines = whole.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect::<Vec<u8>>());
    lines.map(|bytes| postcard::from_bytes(&bytes).unwrap()).collect()
}

fn start(dir: &Path, log: &Path, addresses: &[String]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kill_nine::fetch", "--exact", "--ignored"])
        .env(DIR, dir)
        .env(LOG, log)
        .env(PEERS, addresses.join(","))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_acknowledged_subtree_is_fetched_again_after_twenty_kills() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = Source::new(folder.path(), 2, 1, ENTRIES);
    source.advance();
    let servers = Servers::start(&source.stores, 1_500_000);
    let (late, log) = (folder.path().join("late"), folder.path().join("log"));
    drop(create(&late, &source.genesis()));
    File::create(&log).unwrap();

    let mut rng = Rng::new(11);
    let mut hits = 0;
    for round in 0..=KILLS {
        let acknowledged = items(&log);
        // Each process has a key of its own: what is still being sent to the last one doesn't count.
        let earlier: BTreeSet<PeerId> = servers.given.lock().unwrap().iter().map(|(peer, _)| *peer).collect();
        let mut process = start(folder.path(), &log, &servers.addresses);
        if round < KILLS {
            // At any moment from the start on, or at any after it has stored something more.
            while round % 2 == 0 && items(&log).len() == acknowledged.len() && process.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::sleep(Duration::from_millis(rng.below(300))).await;
            assert!(process.try_wait().unwrap().is_none(), "the download must outlast the kills: round {round}");
            process.kill().unwrap();
            process.wait().unwrap();
        } else {
            assert!(tokio::task::block_in_place(|| process.wait()).unwrap().success());
        }
        let mut given = servers.given.lock().unwrap().clone();
        given.retain(|(peer, _)| !earlier.contains(peer));
        hits += usize::from(!given.is_empty());
        for (_, item) in &given {
            let again = acknowledged.iter().find(|held| held.prefix.covers(&item.prefix));
            assert_eq!(again, None, "{item:?} was acknowledged before round {round}, and was fetched again");
        }
    }
    println!("{hits} rounds fetched something, {} subtrees acknowledged", items(&log).len());
    assert!(hits > usize::try_from(KILLS / 2).unwrap(), "{hits} kills hit the download");
    let store = open(&late, &source.genesis());
    assert_eq!(live_root(&store), source.root);
}
