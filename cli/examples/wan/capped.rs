//! A few peers on fast lines, and a sync that may take less than they give: is `max_download_bandwidth` kept, and used?
//!
//! The limit is over what answers bring, so that is held against it. What the host's line carried besides, the headers of
//! QUIC, UDP and IP, what was lost and sent again, and acknowledgements, is said apart.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::hosts::Hosts;
use crate::link::Link;
use crate::node::{ChainSize, Line, Process, Server, generate, number, serve};
use crate::{Common, Failure};

/// The host that syncs; its line has room for all peers together.
const LATE: usize = 0;
/// How far from the limit the rate may be, in parts of it.
const TOLERANCE: f64 = 0.02;
/// Bytes that a host receives in handshakes and status answers, before the download begins.
const PRELUDE_BYTES: u64 = 64 << 10;
/// How often the host's line is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Bits in a megabit.
const MEGA: u64 = 1_000_000;

#[derive(Debug, Args)]
pub(crate) struct CappedArgs {
    #[command(flatten)]
    common: Common,
    /// Limits to try, in Mbit/s
    #[arg(long, value_delimiter = ',', default_value = "20,50", value_name = "MBIT,...")]
    limits: Vec<u64>,
    /// How long each download is watched; then it is stopped
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    seconds: u64,
    /// Peers
    #[arg(long, default_value_t = 4, value_name = "N")]
    peers: usize,
    /// Bytes of each block's payload
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    payload_bytes: u32,
    #[command(flatten)]
    line: Line,
}

/// One sync under a limit.
#[derive(Debug, Serialize)]
struct Run {
    limit_bytes_per_second: f64,
    seconds: f64,
    answer_bytes: f64,
    line_bytes: f64,
    /// What answers brought, over what the limit allows in that time.
    share: f64,
    /// The same of what the line carried.
    line_share: f64,
    sync: Value,
}

pub(crate) fn run(args: &CappedArgs) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("hs2-wan-").tempdir()?;
    let chain = folder.path().join("chain");
    let most = args.limits.iter().copied().max().unwrap_or(0);
    // Enough for twice the time.
    let blocks = 2 * most * MEGA / 8 * args.seconds / u64::from(args.payload_bytes);
    let size = ChainSize { blocks, payload_bytes: args.payload_bytes, validators: 4 };
    generate(&args.common, &chain, &size)?;
    let mut links = vec![Link::FREE];
    links.extend(vec![args.line.link(); args.peers]);
    let hosts = Hosts::new(&links, args.common.seed)?;
    let mut servers = Vec::new();
    for host in 1..=args.peers {
        let dir = folder.path().join(format!("server-{host}"));
        servers.push(serve(&args.common, &hosts, host, &chain, &dir, &[])?);
    }
    let mut runs = Vec::new();
    for &limit in &args.limits {
        let dir = folder.path().join(format!("late-{limit}"));
        let run = capped(args, &hosts, &servers, &chain.join("genesis.json"), &dir, limit * MEGA / 8)?;
        fs::remove_dir_all(&dir)?;
        println!(
            "limit {limit} Mbit/s, {:.1} s: answers {:.2} Mbit/s, {:.2} % of the limit; on the line {:.2} Mbit/s, {:.2} %",
            run.seconds,
            run.answer_bytes * 8.0 / run.seconds / 1e6,
            run.share * 100.0,
            run.line_bytes * 8.0 / run.seconds / 1e6,
            run.line_share * 100.0,
        );
        runs.push(run);
    }
    if let Some(path) = &args.common.json {
        fs::write(path, serde_json::to_string(&runs)?)?;
    }
    match runs.iter().find(|run| (run.share - 1.0).abs() > TOLERANCE) {
        Some(run) => Err(format!("{:.2} % of the limit: more than 2 % from it", run.share * 100.0).into()),
        None => Ok(()),
    }
}

/// Syncs with a limit of so many bytes a second, and watches the line.
fn capped(
    args: &CappedArgs,
    hosts: &Hosts,
    servers: &[Server],
    genesis: &Path,
    dir: &Path,
    limit: u64,
) -> Result<Run, Failure> {
    let report = dir.with_extension("json");
    let mut command = hosts.command(LATE, &args.common.program);
    command.env("HS2_SYNC_MAX_DOWNLOAD_BANDWIDTH", limit.to_string());
    command.arg("sync").arg("--genesis").arg(genesis).arg("--dir").arg(dir).arg("--json").arg(&report);
    command.arg("--until-stdin-closes");
    for server in servers {
        command.args(["--peer", &server.peer]);
    }
    let before = hosts.received(LATE);
    let mut sync = Process::start(&mut command)?;
    // The download begins when more has come than what comes before it.
    while hosts.received(LATE) - before < PRELUDE_BYTES {
        if sync.has_ended()? {
            return Err("the sync ended before it had begun".into());
        }
        std::thread::sleep(LOOK);
    }
    let (begin, at_begin) = (Instant::now(), hosts.received(LATE));
    std::thread::sleep(Duration::from_secs(args.seconds));
    if sync.has_ended()? {
        return Err("the sync ended before its time: a chain of more blocks is needed".into());
    }
    let (seconds, at_end) = (begin.elapsed().as_secs_f64(), hosts.received(LATE));
    sync.stop()?;
    let sync: Value = serde_json::from_str(&fs::read_to_string(&report)?)?;
    let answer_bytes = number(&sync, "wire_bytes_received")? - PRELUDE_BYTES as f64;
    let line_bytes = (at_end - at_begin) as f64;
    let allowed = limit as f64 * seconds;
    Ok(Run {
        limit_bytes_per_second: limit as f64,
        seconds,
        answer_bytes,
        line_bytes,
        share: answer_bytes / allowed,
        line_share: line_bytes / allowed,
        sync,
    })
}
