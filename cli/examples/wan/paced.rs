//! Ten peers on lines of 20 Mbit/s, 50 ms each way and one packet in a thousand lost; one of the lines a hundred times as
//! slow. How much of what a plain QUIC download gets there does a synchronization get?

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::hosts::Hosts;
use crate::link::Link;
use crate::node::{ChainSize, Line, Process, Server, generate, number, serve, sync};
use crate::plain::Download;
use crate::{Common, Failure};

/// The port of plain downloads.
const PLAIN_PORT: u16 = 7001;
/// Least share of the plain download that a sync must reach, in the median of the rounds.
const LEAST_RATIO: f64 = 0.85;
/// Largest share of what was received that may have come twice.
const MOST_DUPLICATES: f64 = 0.02;
/// The host that syncs; its line has room for all peers together.
const LATE: usize = 0;

#[derive(Debug, Args)]
pub(crate) struct PacedArgs {
    #[command(flatten)]
    common: Common,
    /// Peers
    #[arg(long, default_value_t = 10, value_name = "N")]
    peers: usize,
    /// How many of them are a hundred times as slow
    #[arg(long, default_value_t = 1, value_name = "N")]
    slow: usize,
    #[command(flatten)]
    line: Line,
    /// Blocks to sync
    #[arg(long, default_value_t = 300_000, value_name = "N")]
    blocks: u64,
    /// Bytes of each block's payload
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    payload_bytes: u32,
    /// Plain downloads and syncs, in turn
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: u32,
    /// Another build of the command: it syncs in every round too, so that what the machine does meets both
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

/// One plain download and one sync.
#[derive(Debug, Serialize)]
struct Round {
    plain_bytes_per_second: f64,
    sync_bytes_per_second: f64,
    ratio: f64,
    duplicate_share: f64,
    sync: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    against_bytes_per_second: Option<f64>,
}

pub(crate) fn run(args: &PacedArgs) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("hs2-wan-").tempdir()?;
    let chain = folder.path().join("chain");
    let size = ChainSize { blocks: args.blocks, payload_bytes: args.payload_bytes, validators: 4 };
    generate(&args.common, &chain, &size)?;

    let slow = args.line.with_rate(args.line.mbit * 10_000);
    let mut links = vec![Link::FREE];
    links.extend((1..=args.peers).map(|peer| if peer + args.slow > args.peers { slow } else { args.line.link() }));
    let hosts = Hosts::new(&links, args.common.seed)?;

    let this = std::env::current_exe()?;
    let mut servers: Vec<Server> = Vec::new();
    let (mut plain, mut addresses) = (Vec::new(), Vec::new());
    for host in 1..=args.peers {
        let dir = folder.path().join(format!("server-{host}"));
        servers.push(serve(&args.common, &hosts, host, &chain, &dir, &[])?);
        let address = SocketAddr::from((hosts.address(host), PLAIN_PORT));
        plain.push(Process::start(hosts.command(host, &this).args(["plain-serve", &address.to_string()]))?);
        addresses.push(address.to_string());
    }

    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        let bytes = args.blocks * u64::from(args.payload_bytes);
        let mut command = hosts.command(LATE, &this);
        command.args(["plain-get", &bytes.to_string()]).args(&addresses);
        let download = download(&mut command)?;
        let sync = |program: &Path| -> Result<Value, Failure> {
            let common = Common { program: program.to_owned(), ..args.common.clone() };
            let dir = folder.path().join(format!("late-{number}"));
            let report = sync(&common, &hosts, LATE, &chain.join("genesis.json"), &dir, &servers, &[])?;
            fs::remove_dir_all(&dir)?;
            if report["ok"] != true || report["head"]["height"] != args.blocks {
                return Err("the sync did not reach the tip".into());
            }
            Ok(report)
        };
        let mut round = Round::new(download, sync(&args.common.program)?)?;
        round.against_bytes_per_second = args.against.as_deref().map(|other| rate(&sync(other)?)).transpose()?;
        println!(
            "round {number}: plain {:.1} Mbit/s, sync {:.1} Mbit/s, {:.1} % of it; duplicates {:.2} %",
            round.plain_bytes_per_second * 8.0 / 1e6,
            round.sync_bytes_per_second * 8.0 / 1e6,
            round.ratio * 100.0,
            round.duplicate_share * 100.0,
        );
        if let Some(other) = round.against_bytes_per_second {
            println!("round {number}: the other build {:.1} Mbit/s", other * 8.0 / 1e6);
        }
        rounds.push(round);
    }
    let mut ratios: Vec<f64> = rounds.iter().map(|round| round.ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or(0.0);
    println!("median: a sync gets {:.1} % of a plain QUIC download", median * 100.0);
    if let Some(path) = &args.common.json {
        fs::write(path, serde_json::to_string(&rounds)?)?;
    }
    if median < LEAST_RATIO {
        return Err(format!("a sync got less than {:.0} % of a plain download", LEAST_RATIO * 100.0).into());
    }
    if rounds.iter().any(|round| round.duplicate_share > MOST_DUPLICATES) {
        return Err(format!("more than {:.0} % came twice", MOST_DUPLICATES * 100.0).into());
    }
    Ok(())
}

/// Bytes a second of a sync.
fn rate(report: &Value) -> Result<f64, Failure> {
    Ok(number(report, "useful_bytes")? / number(report, "seconds")?)
}

fn download(command: &mut Command) -> Result<Download, Failure> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the plain download ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

impl Round {
    fn new(plain: Download, sync: Value) -> Result<Self, Failure> {
        let plain_bytes_per_second = plain.bytes as f64 / plain.seconds;
        let sync_bytes_per_second = rate(&sync)?;
        Ok(Self {
            plain_bytes_per_second,
            sync_bytes_per_second,
            ratio: sync_bytes_per_second / plain_bytes_per_second,
            duplicate_share: number(&sync, "duplicate_bytes")? / number(&sync, "wire_bytes_received")?,
            sync,
            against_bytes_per_second: None,
        })
    }
}
