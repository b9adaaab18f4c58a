//! Runs that are known to the last bit. This test plays them in debug; `cargo xtask soak --golden` does in release.

use std::collections::BTreeSet;

use hotstuff2_sync_testkit::sim::{GOLDEN, golden_line, golden_seeds};

#[test]
fn known_seeds_give_known_traces_and_replay_to_known_digests() {
    assert!(golden_seeds().count() == GOLDEN.lines().count() && golden_seeds().count() > 20);
    let themes: BTreeSet<&str> = GOLDEN.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(themes.len(), 4, "a world of each kind: {themes:?}");
    let mut changed = Vec::new();
    for (known, seed) in GOLDEN.lines().zip(golden_seeds()) {
        let now = golden_line(seed).unwrap_or_else(|error| panic!("seed {seed} is not replayed: {error:?}"));
        if now != known {
            changed.push(format!("was {known}\nis  {now}"));
        }
    }
    assert!(
        changed.is_empty(),
        "{} runs are not what they were. Where a change of the machine, the simulator or its worlds is meant to change \
         them: cargo xtask trace > golden.txt && mv golden.txt tests/src/sim/golden.txt\n{}",
        changed.len(),
        changed.join("\n")
    );
}
