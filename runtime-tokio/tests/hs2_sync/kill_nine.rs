//! `kill -9` at any moment: a sync goes on from where it was.

use std::process::Stdio;
use std::time::Duration;

use crate::common::{Server, World, hs2_sync, report, strs};

const KILLS: u64 = 10;

/// Kills that must have hit a sync on its way, or the test shows nothing.
const HITS: usize = 3;

/// Longest life of a sync before it is killed.
const LONGEST_MILLIS: u64 = 1500;

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
    let world = World::new(&["--blocks", &blocks.to_string(), "--app", "ledger"]);
    let mut servers: Vec<Server> = (1..=3).map(|index| world.server(&format!("server-{index}"))).collect();
    // The smaller the budget, the closer what is stored stays to what is executed, which takes its time.
    let arguments = world.sync("late", &servers, &["--app", "ledger", "--budget-mib", "8"]);
    let mut dice = Dice(9);
    let (mut reached, mut hits) = (0, 0);
    for _ in 0..KILLS {
        let mut sync = hs2_sync(&strs(&arguments)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let life = Duration::from_millis(dice.below(LONGEST_MILLIS));
        let index = usize::try_from(dice.below(3)).unwrap();
        std::thread::sleep(life / 2);
        servers[index].kill();
        std::thread::sleep(life / 2);
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
    let hit = [20_000, 100_000].into_iter().any(|blocks| kill_and_finish(blocks) >= HITS);
    assert!(hit, "fewer than {HITS} kills hit a sync on its way: this machine needs a longer chain");
}
