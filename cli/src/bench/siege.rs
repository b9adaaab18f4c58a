//! `bench siege`: what many attackers get of a serving node, and what they cost an honest one. A thousand connections
//! with keys of their own ask for the most expensive things without pause; server and honest node share one core, the
//! attackers have the other. Then datagrams are thrown at it that cost more than their bytes are worth.

use std::path::Path;
use std::time::{Duration, Instant};

use hotstuff2_sync_tokio::genesis_file::GENESIS_FILE;
use hotstuff2_sync_tokio::wall_clock;
use serde::Serialize;

use super::args::{BenchServers, BenchSiegeArgs};
use super::chain_of;
use super::pieces::{self, PiecesReport};
use crate::args::{App, Kept, Parent, Strategy};
use crate::attack::besiege::SiegeReport;
use crate::cluster::{Child, Folder, SyncJob};
use crate::error::CliError;
use crate::generate::{GenPlan, generate};
use crate::node::{Stop, copy_store};
use crate::report::{ServeReport, ServedReport, SyncReport, ratio, say, write_json};
use crate::usage;

/// Entries of the state that attackers ask for: as much as one answer holds.
const ENTRIES: u64 = 20_000;

/// How long the attackers may take to connect: the server begins so many handshakes a second, and no more.
const CONNECT_PATIENCE: Duration = Duration::from_secs(120);
/// What the server saved up while there was nobody (`ServeLimits::burst`) is asked for at once, and gone after this: only
/// then is what it takes in a second what was configured.
const SAVED_UP_LASTS: Duration = Duration::from_secs(3);
/// How long the server may take to open its store.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);

/// Where server and honest node run, and where the attackers do.
const CORES: [usize; 2] = [0, 1];

/// Report of the siege.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether every figure is what it has to be.
    ok: bool,
    connections: usize,
    /// Microseconds of CPU time a second that may be spent on serving.
    work_per_second: u64,
    /// CPU time of the server's whole process while there were attackers alone, in microseconds a second.
    besieged_cpu_per_second: u64,
    /// Bytes a second that all together may get, and one network of attackers.
    bytes_per_second: u64,
    /// Bytes a second that the attackers received.
    granted_bytes_per_second: u64,
    /// Requests that attackers made, answers with data, answers that say "busy", and what was reset or lost.
    attackers: SiegeReport,
    /// Counts of the server over its whole run.
    server: ServedReport,
    alone_seconds: f64,
    besieged_seconds: f64,
    /// The one over the other.
    ratio: f64,
    peak_rss_bytes: u64,
    memory_bound_bytes: u64,
    /// Datagrams of one-byte pieces, after the attackers have gone.
    pieces: PiecesReport,
}

pub(crate) async fn measure(args: &BenchSiegeArgs) -> Result<(), CliError> {
    let mut stop = Stop::of_tool(&Parent { until_stdin_closes: false })?;
    let json = args.json.path.as_deref();
    let folder = Folder::prepare(args.kept.dir.as_deref())?;
    let dir = folder.entry("siege")?;
    let chain = dir.join("chain");
    say(json, format_args!("generating {} blocks", args.blocks));
    let servers = BenchServers { value_bytes: 100, peers: 1, kept: Kept::default() };
    let mut spec = chain_of(ENTRIES, args.blocks, &servers);
    spec.payload_bytes = args.payload_bytes;
    generate(&chain, &GenPlan::new(&spec, wall_clock()), &stop)?;
    let siege = Siege { folder: &dir, chain: &chain, args };
    let (mut server, at) = siege.serve()?;
    let alone = best(&siege, &at, "alone", &mut stop).await?;
    say(json, format_args!("alone: {alone:.2} s; {} attackers connect", args.connections));

    let attack_report = dir.join("attackers.json");
    let mut attackers = siege.attack(&at, &attack_report)?;
    let connected: SiegeReport = attackers.first_line(CONNECT_PATIENCE)?;
    tokio::time::sleep(SAVED_UP_LASTS).await;
    let (begin, cpu) = (Instant::now(), usage::cpu_micros_of(server.id()));
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let spent = usage::cpu_micros_of(server.id()).saturating_sub(cpu);
    let cpu_per_second = per_second(spent, begin.elapsed());
    say(
        json,
        format_args!(
            "{} attackers: the server takes {} ms of CPU a second",
            connected.connected,
            cpu_per_second / 1000
        ),
    );
    let besieged = best(&siege, &at, "besieged", &mut stop).await?;
    attackers.stop();
    let peak_rss_bytes = usage::peak_rss_bytes_of(server.id()).unwrap_or(u64::MAX);
    let pieces = pieces::measure(at.address, &mut server).await?;

    let attackers: SiegeReport = read_json(&attack_report)?;
    let server: ServedReport = read_json(&siege.served())?;
    let granted = per_second(attackers.bytes, Duration::from_secs_f64(attackers.seconds));
    let ratio = ratio(besieged, alone);
    // A tick of the kernel's count, for each of the two looks.
    let cpu_fits = cpu_per_second <= at.work_per_second.saturating_add(20_000 / args.seconds.max(1));
    let most_work = (server.seconds + 1.0) * at.work_per_second as f64;
    let ok = cpu_fits
        && server.served.work as f64 <= most_work
        && granted <= at.bytes_per_second
        && ratio <= 2.0
        && peak_rss_bytes <= at.memory_bound_bytes
        && pieces.is_bounded();
    let report = Report {
        ok,
        connections: connected.connected,
        work_per_second: at.work_per_second,
        besieged_cpu_per_second: cpu_per_second,
        bytes_per_second: at.bytes_per_second,
        granted_bytes_per_second: granted,
        attackers,
        server,
        alone_seconds: alone,
        besieged_seconds: besieged,
        ratio,
        peak_rss_bytes,
        memory_bound_bytes: at.memory_bound_bytes,
        pieces,
    };
    say(json, format_args!("{}", report.describe()));
    json.map_or(Ok(()), |path| write_json(&report, path))
}

impl Report {
    fn describe(&self) -> String {
        format!(
            "CPU for serving: {} ms/s of {} ms/s configured\n\
             bytes granted to attackers: {:.1} MB/s of {:.1} MB/s configured\n\
             honest sync: {:.2} s alone, {:.2} s besieged: {:.2} times as long\n\
             server's peak memory: {} MiB of at most {} MiB\n\
             attackers: {} requests, {} answered, {} told to wait, {} given up or lost, {} times connected again\n\
             cache: {} hits, {} misses\n\
             datagrams of one-byte pieces: {} us of CPU each with 60,000 bytes, {} us with 1,472; an honest answer after \
             {:.2} s, stopped under them in {:.2} s\n{}",
            self.besieged_cpu_per_second / 1000,
            self.work_per_second / 1000,
            self.granted_bytes_per_second as f64 / 1e6,
            self.bytes_per_second as f64 / 1e6,
            self.alone_seconds,
            self.besieged_seconds,
            self.ratio,
            self.peak_rss_bytes >> 20,
            self.memory_bound_bytes >> 20,
            self.attackers.requests,
            self.attackers.answers,
            self.attackers.busy,
            self.attackers.lost,
            self.attackers.reconnects,
            self.server.cache.hits,
            self.server.cache.misses,
            self.pieces.large_micros,
            self.pieces.frame_micros,
            self.pieces.answer_seconds,
            self.pieces.stop_seconds,
            if self.ok { "all within what is configured" } else { "NOT within what is configured" },
        )
    }
}

/// The better of some runs: what else the machine does only ever makes one longer.
async fn best(siege: &Siege<'_>, at: &ServeReport, name: &str, stop: &mut Stop) -> Result<f64, CliError> {
    let mut best = f64::INFINITY;
    for run in 0..siege.args.runs {
        best = best.min(siege.sync(at, &format!("{name}-{run}"), stop).await?.seconds);
    }
    Ok(best)
}

struct Siege<'a> {
    folder: &'a Path,
    chain: &'a Path,
    args: &'a BenchSiegeArgs,
}

impl Siege<'_> {
    fn served(&self) -> std::path::PathBuf {
        self.folder.join("served.json")
    }

    fn serve(&self) -> Result<(Child, ServeReport), CliError> {
        let dir = self.folder.join("server");
        copy_store(self.chain, &dir)?;
        let (dir, stats) = (dir.display().to_string(), self.served().display().to_string());
        // Room for the honest node, and for attackers that come back before they are known to be gone.
        let connections = (u32::from(self.args.connections) * 5 / 4 + 16).to_string();
        let cpu = self.args.serve_cpu.to_string();
        let arguments: Vec<String> = [
            ["--core", &CORES[0].to_string()].as_slice(),
            &["serve", "--json", "-", "--dir", &dir, "--stats", &stats],
            &["--max-connections", &connections, "--serve-cpu", &cpu],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
        let mut server = Child::start("the server", &arguments)?;
        let report = server.first_line(SERVER_PATIENCE)?;
        Ok((server, report))
    }

    fn attack(&self, at: &ServeReport, report: &Path) -> Result<Child, CliError> {
        let mut arguments = vec!["--core".to_owned(), CORES[1].to_string(), "besiege".to_owned()];
        for (option, value) in [
            ("--peer", at.address.to_string()),
            ("--connections", self.args.connections.to_string()),
            ("--networks", self.args.networks.to_string()),
            ("--report", report.display().to_string()),
        ] {
            arguments.extend([option.to_owned(), value]);
        }
        Child::start("the attackers", &arguments)
    }

    async fn sync(&self, at: &ServeReport, name: &str, stop: &mut Stop) -> Result<SyncReport, CliError> {
        let dir = self.folder.join(name);
        let job = SyncJob {
            genesis: &self.chain.join(GENESIS_FILE),
            dir: &dir,
            report: &self.folder.join(format!("{name}.json")),
            strategy: Strategy::Parallel,
            app: App::None,
            state_after: None,
            core: Some(CORES[0]),
            names: Vec::new(),
            follows: None,
        };
        let report = job.run(std::iter::once(at), stop).await?;
        // The next chain may be large too.
        std::fs::remove_dir_all(&dir).map_err(CliError::file("removed", &dir))?;
        Ok(report)
    }
}

fn per_second(count: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, CliError> {
    let failed = |source| CliError::ChildReport { what: format!("{}", path.display()), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| failed(error.into()))
}
