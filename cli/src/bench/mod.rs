//! `bench`: where one strategy overtakes the other. For states of several sizes and gaps of several lengths, a new node
//! catches up with each strategy, from processes that serve the chain; every figure is measured.

pub(crate) mod args;
pub(crate) mod peers;
mod pieces;
mod siege;
mod state;

use std::path::Path;

use hotstuff2_sync_tokio::genesis_file::GENESIS_FILE;
use hotstuff2_sync_tokio::wall_clock;
use serde::Serialize;

use crate::args::{App, ChainArgs, Parent, Strategy};
use crate::cluster::{Child, Folder, SyncJob, serve_copy};
use crate::error::CliError;
use crate::generate::{GenPlan, generate};
use crate::node::{Stop, one_thread, threads};
use crate::report::{ServeReport, SyncReport, say, write_json};
use args::{BenchArgs, BenchServers, BenchWhat, CrossoverArgs};

/// `auto` is left to its estimates: by default it closes gaps of half a minute with blocks, whatever a state would take.
const STATE_AFTER_SECONDS: u64 = 1;

/// The newest state that is served stands at this share of the gap: blocks come after it too.
const STATE_AT_PERCENT: u64 = 90;

/// Bytes of an entry's key in the state.
pub(crate) const KEY_BYTES: u64 = 16;

/// Entries that a block changes.
const CHANGES: u32 = 8;

pub(crate) fn run(args: &BenchArgs) -> Result<(), CliError> {
    let runtime = match &args.what {
        // This process does the work itself there, with as many threads as `sync` has.
        Some(BenchWhat::Peers(_)) => threads()?,
        _ => one_thread()?,
    };
    match &args.what {
        Some(BenchWhat::Peers(args)) => runtime.block_on(peers::measure(args)),
        Some(BenchWhat::Siege(args)) => runtime.block_on(siege::measure(args)),
        Some(BenchWhat::State(args)) => runtime.block_on(state::measure(args)),
        None => runtime.block_on(crossover(&args.crossover)),
    }
}

/// One state and one gap.
#[derive(Debug, Serialize)]
struct Row {
    entries: u64,
    /// Bytes of all keys and values.
    state_bytes: u64,
    /// Blocks that the node is behind.
    blocks: u64,
    payload_bytes: u64,
    parallel_seconds: f64,
    fast_seconds: f64,
    auto_seconds: f64,
    /// What `auto` used, in order.
    auto: Vec<String>,
}

async fn crossover(args: &CrossoverArgs) -> Result<(), CliError> {
    let mut stop = Stop::of_tool(&Parent { until_stdin_closes: false })?;
    let json = args.json.path.as_deref();
    let folder = Folder::prepare(args.servers.kept.dir.as_deref())?;
    say(json, format_args!("   entries   state MB   blocks   payload MB   parallel s   fast s   auto s   auto chose"));
    let mut rows = Vec::new();
    for (number, (&entries, &gap)) in
        args.entries.iter().flat_map(|entries| args.gaps.iter().map(move |gap| (entries, gap))).enumerate()
    {
        let dir = folder.entry(&format!("{}", number + 1))?;
        let mut chain = chain_of(entries, gap, &args.servers);
        chain.payload_bytes = args.payload_bytes;
        let generated = generate(&dir.join("chain"), &GenPlan::new(&chain, wall_clock()), &stop)?;
        let servers = Servers::start(&dir, args.servers.peers)?;
        let mut seconds = Vec::new();
        let mut chosen = Vec::new();
        for strategy in [Strategy::Parallel, Strategy::Fast, Strategy::Auto] {
            let report = servers.sync(&dir, &format!("late-{strategy:?}"), strategy, &mut stop).await?;
            seconds.push(report.seconds);
            chosen = report.strategies;
        }
        drop(servers);
        let &[parallel_seconds, fast_seconds, auto_seconds] = &seconds[..] else { continue };
        let row = Row {
            entries,
            state_bytes: pair_bytes(entries, &args.servers),
            blocks: generated.blocks,
            payload_bytes: generated.payload_bytes,
            parallel_seconds,
            fast_seconds,
            auto_seconds,
            auto: chosen,
        };
        say(
            json,
            format_args!(
                "{:>10} {:>10.1} {:>8} {:>12.1} {:>12.2} {:>8.2} {:>8.2}   {}",
                row.entries,
                row.state_bytes as f64 / 1e6,
                row.blocks,
                row.payload_bytes as f64 / 1e6,
                row.parallel_seconds,
                row.fast_seconds,
                row.auto_seconds,
                row.auto.join(", ")
            ),
        );
        rows.push(row);
        // Only the figures are of use, and the next chain may be large too.
        std::fs::remove_dir_all(&dir).map_err(CliError::file("removed", &dir))?;
    }
    json.map_or(Ok(()), |path| write_json(&rows, path))
}

/// Bytes of the keys and values of a state.
pub(crate) fn pair_bytes(entries: u64, servers: &BenchServers) -> u64 {
    entries.saturating_mul(KEY_BYTES.saturating_add(u64::from(servers.value_bytes)))
}

/// A chain whose first blocks make a state of `entries`, of `gap` blocks or as many as that takes.
pub(crate) fn chain_of(entries: u64, gap: u64, servers: &BenchServers) -> ChainArgs {
    let mut chain = ChainArgs {
        blocks: None,
        payload_bytes: 0,
        validators: 7,
        epochs: 1,
        app: Some(App::Ledger),
        from: None,
        snapshot_interval: 1,
        entries,
        value_bytes: servers.value_bytes,
        changes: CHANGES,
        seed: 1,
    };
    let filling = chain.entries().map_or(0, |entries| entries.filling_blocks());
    // All of it is made before the state is offered.
    let blocks = gap.max(filling.saturating_mul(100) / STATE_AT_PERCENT).saturating_add(1);
    chain.blocks = Some(blocks);
    chain.snapshot_interval = (blocks.saturating_mul(STATE_AT_PERCENT) / 100).max(filling).max(1);
    chain
}

/// Processes that serve the chain in a folder.
pub(crate) struct Servers {
    processes: Vec<(Child, ServeReport)>,
}

impl Servers {
    /// Serves copies of `chain` in `dir`.
    pub(crate) fn start(dir: &Path, peers: usize) -> Result<Self, CliError> {
        let serve = |number| {
            let name = format!("server-{number}");
            serve_copy(&dir.join("chain"), &dir.join(&name), format!("serving process {number}"), &[])
        };
        Ok(Self { processes: (1..=peers.max(1)).map(serve).collect::<Result<_, _>>()? })
    }

    /// Syncs the node in the folder `name` of `dir` with them.
    pub(crate) async fn sync(
        &self,
        dir: &Path,
        name: &str,
        strategy: Strategy,
        stop: &mut Stop,
    ) -> Result<SyncReport, CliError> {
        let job = SyncJob {
            genesis: &dir.join("chain").join(GENESIS_FILE),
            dir: &dir.join(name),
            report: &dir.join(format!("{name}.json")),
            strategy,
            app: App::Ledger,
            state_after: Some(STATE_AFTER_SECONDS),
            core: None,
            names: Vec::new(),
            follows: None,
        };
        job.run(self.processes.iter().map(|(_, report)| report), stop).await
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // All at once; dropping them waits for each.
        self.processes.iter_mut().for_each(|(process, _)| process.ask_to_stop());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_made_before_it_is_offered() {
        let servers = BenchServers { value_bytes: 100, peers: 3, kept: crate::args::Kept::default() };
        for (entries, gap) in [(1000, 300), (1_000_000, 10), (0, 1), (200_000, 50)] {
            let chain = chain_of(entries, gap, &servers);
            let filling = chain.entries().map_or(0, |entries| entries.filling_blocks());
            let blocks = chain.blocks.unwrap();
            assert!(filling <= chain.snapshot_interval && chain.snapshot_interval <= blocks && blocks > gap);
        }
    }
}
