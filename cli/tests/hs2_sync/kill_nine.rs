//! `kill -9` at any moment: a sync goes on from where it was.

use std::process::Stdio;
use std::time::Duration;

use crate::common::{Server, World, hs2_sync, report, strs, wait_until};

const KILLS: u64 = 10;

/// Kills that must have hit a sync on its way, or the test shows nothing.
const HITS: usize = 3;

/// Longest life of a sync after it has stored something new, or of one that is to be killed as it starts.
const LONGEST_MILLIS: u64 = 400;

/// So that a memory budget of 8 MiB keeps what is stored close to what is executed, which takes its time.
const PAYLOAD: &str = "2048";

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Kills a sync of so many blocks again and again, and one of its servers with it, then lets it finish. Returns how
/// many kills hit it on its way.
fn kill_and_finish(blocks: u64) -> usize {
    let world = World::new(&["--blocks", &blocks.to_string(), "--app", "ledger", "--payload-bytes", PAYLOAD]);
    let mut servers: Vec<Server> = (1..=3).map(|index| world.server(&format!("server-{index}"))).collect();
    let arguments = world.sync("late", &servers, &["--app", "ledger", "--budget-mib", "8"]);
    let mut dice = Dice(9);
    let (mut reached, mut hits) = (0, 0);
    let stored = || std::fs::read_dir(world.path("late/segments")).map_or(0, Iterator::count);
    for round in 0..KILLS {
        let before = stored();
        let mut sync = hs2_sync(&strs(&arguments)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if round % 3 > 0 {
            wait_until(|| stored() > before || sync.try_wait().unwrap().is_some());
        }
        let index = usize::try_from(dice.below(3)).unwrap();
        servers[index].kill();
        std::thread::sleep(Duration::from_millis(dice.below(LONGEST_MILLIS)));
        sync.kill().unwrap();
        sync.wait().unwrap();
        servers[index].restart();
        // Before there is a store there is nothing to lose.
        if world.path("late/genesis").exists() {
            let height = world.head("late")["height"].as_u64().unwrap();
            assert!(height >= reached, "height {height} after {reached}");
            hits += usize::from(reached < height && height < blocks);
            reached = height;
        }
    }
    let end = report(&strs(&arguments));
    assert_eq!(
        (&end["ok"], &end["start_height"], &end["blocks"]),
        (&true.into(), &reached.into(), &(blocks - reached).into())
    );
    // Opened again, the application stands where the chain says.
    let again = report(&strs(&arguments));
    assert_eq!((&again["ok"], &again["blocks"]), (&true.into(), &0.into()));
    drop(servers);
    let (ours, theirs) = (world.head("late"), world.head("server-1"));
    assert_eq!(ours, theirs);
    assert_eq!((&end["head"], &ours["height"]), (&ours, &blocks.into()));
    hits
}

#[test]
fn kill_nine_loses_nothing() {
    // On a fast machine a short chain is synced before the kills come.
    let hit = [16_000, 60_000].into_iter().any(|blocks| kill_and_finish(blocks) >= HITS);
    assert!(hit, "fewer than {HITS} kills hit a sync on its way: this machine needs a longer chain");
}
