//! `hs2-sim scale`: what a sync costs as it grows. Each row is measured by a process of its own, since memory that was
//! in use once counts for ever.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::sim::{
    CachedChain, JoinerSpec, LeanChain, Line, Link, NetworkSimulator, NodeId, ServerSpec, Source, Step,
};

/// Virtual time in which everything must be done.
const LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Upload of a server of the crowd, and of a node in it, in bytes a second: 10 Mbit/s.
const CROWD_UPLOAD: u64 = 1_250_000;

/// One measurement.
#[derive(Clone, Copy)]
enum Row {
    /// One node, empty blocks, real verification.
    One { blocks: u64, epochs: u64, peers: u64 },
    /// Many nodes at once.
    Crowd { joiners: u64, servers: u64, blocks: u64, serving: bool },
}

const ROWS: [(&str, Row); 13] = [
    ("gap 10k", Row::One { blocks: 10_000, epochs: 4, peers: 3 }),
    ("gap 100k", Row::One { blocks: 100_000, epochs: 4, peers: 3 }),
    ("gap 300k", Row::One { blocks: 300_000, epochs: 4, peers: 3 }),
    ("gap 1M", Row::One { blocks: 1_000_000, epochs: 4, peers: 3 }),
    ("epochs 100", Row::One { blocks: 1_000, epochs: 100, peers: 3 }),
    ("epochs 1k", Row::One { blocks: 10_000, epochs: 1_000, peers: 3 }),
    ("epochs 3k", Row::One { blocks: 30_000, epochs: 3_000, peers: 3 }),
    ("epochs 10k", Row::One { blocks: 100_000, epochs: 10_000, peers: 3 }),
    ("peers 10", Row::One { blocks: 100_000, epochs: 4, peers: 10 }),
    ("peers 100", Row::One { blocks: 100_000, epochs: 4, peers: 100 }),
    ("peers 1k", Row::One { blocks: 100_000, epochs: 4, peers: 1_000 }),
    ("crowd, servers alone", Row::Crowd { joiners: 1_000, servers: 20, blocks: 500, serving: false }),
    ("crowd, all serve", Row::Crowd { joiners: 1_000, servers: 20, blocks: 500, serving: true }),
];

/// Whether all rows could be measured.
pub(crate) fn run(words: &[&str]) -> Result<bool, String> {
    match words {
        [] => {
            println!(
                "| row | blocks | virtual s | wall s | µs a block | events | memory over the chain, MiB | peak of the budget, MiB |"
            );
            println!("|---|---|---|---|---|---|---|---|");
            let program = std::env::current_exe().map_err(|error| format!("can't find this program: {error}"))?;
            for (name, _) in ROWS {
                let status = Command::new(&program).args(["scale", "--only", name]).status();
                if !status.map_err(|error| format!("can't start this program again: {error}"))?.success() {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        ["--only", name] => {
            let row = ROWS.iter().find(|(known, _)| known == name);
            let (name, row) = row.ok_or_else(|| format!("there is no row `{name}`"))?;
            match row {
                Row::One { blocks, epochs, peers } => one(name, *blocks, *epochs, *peers),
                Row::Crowd { joiners, servers, blocks, serving } => crowd(name, *joiners, *servers, *blocks, *serving),
            }
        }
        _ => Err("`scale` has no option but `--only ROW`".to_owned()),
    }
}

fn one(name: &str, blocks: u64, epochs: u64, peers: u64) -> Result<bool, String> {
    let spec = ChainSpec { blocks, epochs, ..ChainSpec::default() };
    let source: Arc<dyn Source> = Arc::new(LeanChain::new(spec, 0).map_err(|error| error.to_string())?);
    let before = resident("VmRSS:");
    let mut sim = NetworkSimulator::new(1, source, Link::with_latency(Duration::from_millis(20)));
    let contacts: Vec<NodeId> = (0..peers).map(|_| sim.add_server(ServerSpec::default())).collect();
    let config = SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() };
    let joiner = sim.add_joiner(JoinerSpec { config, contacts, serves: false, ..JoinerSpec::default() });
    sim.schedule(Instant::ZERO, Step::Start(joiner));
    let clock = Clock::now();
    let outcome = sim.run_until(LIMIT, |sim| sim.applied(joiner) == Height::new(blocks));
    let wall = clock.elapsed();
    let budget = sim.progress(joiner).map_or(0, |progress| progress.peak_buffered_bytes);
    Ok(report(name, blocks, &sim, outcome.map_err(|violation| violation.to_string())?, wall, before, budget))
}

fn crowd(name: &str, joiners: u64, servers: u64, blocks: u64, serving: bool) -> Result<bool, String> {
    let spec = ChainSpec { blocks, epochs: 2, ..ChainSpec::default() };
    let chain = TestChain::with_payloads(spec, 1000, None).map_err(|error| error.to_string())?;
    let source: Arc<dyn Source> = Arc::new(CachedChain::new(chain, None));
    let before = resident("VmRSS:");
    let mut sim = NetworkSimulator::new(1, source, Link::with_latency(Duration::from_millis(20))).share_verdicts();
    let line = Line { up: CROWD_UPLOAD, down: 10 * CROWD_UPLOAD };
    let contacts: Vec<NodeId> =
        (0..servers).map(|_| sim.add_server(ServerSpec { line, ..ServerSpec::default() })).collect();
    let nodes: Vec<NodeId> = (0..joiners)
        .map(|_| {
            let contacts = contacts.clone();
            sim.add_joiner(JoinerSpec { line, contacts, serves: serving, ..JoinerSpec::default() })
        })
        .collect();
    for (index, &node) in nodes.iter().enumerate() {
        if serving {
            // Ten others each, spread over the crowd.
            sim.add_contacts(node, (1..=10).map(|step| nodes[(index + step * step * 7) % nodes.len()]));
        }
        sim.schedule(Instant::from_micros(index as u64 * 100), Step::Start(node));
    }
    let clock = Clock::now();
    let tip = Height::new(blocks);
    let mut next = 0;
    // The first that is not there yet is looked at alone: a look at all of them after each event takes longer than they do.
    let done = |sim: &NetworkSimulator| {
        while nodes.get(next).is_some_and(|&node| sim.applied(node) == tip) {
            next += 1;
        }
        next == nodes.len()
    };
    let outcome = sim.run_until(LIMIT, done);
    let wall = clock.elapsed();
    let peaks = nodes.iter().filter_map(|&node| sim.progress(node)).map(|progress| progress.peak_buffered_bytes);
    let budget = peaks.max().unwrap_or(0);
    let done = outcome.map_err(|violation| violation.to_string())?;
    Ok(report(name, blocks * joiners, &sim, done, wall, before, budget))
}

fn report(
    name: &str,
    blocks: u64,
    sim: &NetworkSimulator,
    done: bool,
    wall: Duration,
    before: u64,
    budget: u64,
) -> bool {
    let virtual_time = sim.now().since(Instant::ZERO).as_secs_f64();
    let wall_seconds = wall.as_secs_f64();
    let each = wall_seconds * 1e6 / blocks as f64;
    let grown = resident("VmHWM:").saturating_sub(before) as f64 / 1024.0;
    let budget = budget as f64 / (1 << 20) as f64;
    let events = sim.events();
    println!(
        "| {name} | {blocks} | {virtual_time:.2} | {wall_seconds:.2} | {each:.2} | {events} | {grown:.0} | {budget:.1} |"
    );
    done
}

/// Memory of this process in KiB, as the kernel counts it; zero where it doesn't say.
fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
