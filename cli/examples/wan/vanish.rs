//! All peers vanish in the middle of a sync, stay away for half a minute, and come back at other addresses. The one that was
//! named by a host name is found by that name, the others through it. The sync says why it waits, and goes on by itself
//! within the time in which addresses are tried again.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::hosts::Hosts;
use crate::link::Link;
use crate::node::{ChainSize, Line, Process, Server, generate, serve};
use crate::{Common, Failure};

/// The host that syncs.
const LATE: usize = 0;
/// The name of the peer that the sync is told of.
const NAME: &str = "seed.test";
/// What the sync says while it waits, and when it goes on.
const WAITS: &str = "no peer is connected";
const GOES_ON: &str = "goes on";
/// Longest pause between two dials of a peer that was named.
const RETRY: Duration = Duration::from_secs(5);
/// How often the sync is looked at.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct VanishArgs {
    #[command(flatten)]
    common: Common,
    /// Peers; one is named, the others are known to it
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=50))]
    peers: u64,
    /// Blocks to sync
    #[arg(long, default_value_t = 60_000, value_name = "N")]
    blocks: u64,
    /// For how long they stay away, in seconds; longer where the sync has not said by then why it waits
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    away: u64,
    #[command(flatten)]
    line: Line,
}

#[derive(Debug, Serialize)]
struct Figures {
    /// A height that was reached before the peers vanished.
    vanished_at: u64,
    away_seconds: f64,
    /// From their return until it went on.
    resumed_after_seconds: f64,
    /// What the sync said while it waited.
    said: String,
    seconds: f64,
}

pub(crate) fn run(args: &VanishArgs) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("hs2-wan-").tempdir()?;
    let chain = folder.path().join("chain");
    generate(&args.common, &chain, &ChainSize { blocks: args.blocks, payload_bytes: 1024, validators: 4 })?;
    let peers = usize::try_from(args.peers)?;
    // Each peer has two places to be at.
    let mut links = vec![Link::FREE];
    links.extend(vec![args.line.link(); 2 * peers]);
    let hosts = Hosts::new(&links, args.common.seed)?;
    let server = |peer: usize, host: usize, name_of_first: &str| -> Result<Server, Failure> {
        let dir: PathBuf = folder.path().join(format!("server-{host}"));
        // The same node wherever it is: its key goes along.
        let key = folder.path().join(format!("key-{peer}"));
        let mut more = vec!["--identity".to_owned(), key.display().to_string()];
        if !name_of_first.is_empty() {
            more.extend(["--peer".to_owned(), name_of_first.to_owned()]);
        }
        serve(&args.common, &hosts, host, &chain, &dir, &more)
    };
    let start_all = |offset: usize| -> Result<Vec<Server>, Failure> {
        let first = server(0, 1 + offset, "")?;
        let known = first.peer.clone();
        let mut servers = vec![first];
        for peer in 1..peers {
            servers.push(server(peer, 1 + offset + peer, &known)?);
        }
        Ok(servers)
    };

    let servers = start_all(0)?;
    hosts.name(LATE, NAME, 1)?;
    let (dir, report, log) =
        (folder.path().join("late"), folder.path().join("late.json"), folder.path().join("late.log"));
    let mut command = hosts.command(LATE, &args.common.program);
    command.arg("sync").arg("--until-stdin-closes").arg("--genesis").arg(chain.join("genesis.json"));
    command.arg("--dir").arg(&dir).arg("--json").arg(&report).args(["--patience", "120"]);
    command.args(["--peer", &format!("{NAME}:7000")]).stderr(fs::File::create(&log)?);
    let begin = Instant::now();
    let mut sync = Process::start(&mut command)?;

    let height = || -> Result<u64, Failure> {
        let text = fs::read_to_string(&log)?;
        let last = text.rsplit("height ").next().and_then(|rest| rest.split(' ').next());
        Ok(last.and_then(|number| number.parse().ok()).unwrap_or(0))
    };
    wait_for(Duration::from_secs(60), "the sync to begin", || Ok(height()? > args.blocks / 10))?;
    drop(servers);
    let vanished = Instant::now();
    std::thread::sleep(Duration::from_secs(args.away));
    // It may take longer to notice that they are gone.
    let text = || -> Result<String, Failure> { Ok(fs::read_to_string(&log)?) };
    wait_for(Duration::from_secs(60), "the sync to say why it waits", || Ok(text()?.contains(WAITS)))?;
    let (vanished_at, away) = (height()?, vanished.elapsed());
    let _back = start_all(peers)?;
    hosts.name(LATE, NAME, 1 + peers)?;
    let (back, so_far) = (Instant::now(), text()?.len());
    let goes_on = || Ok(text()?.get(so_far..).is_some_and(|text| text.contains(GOES_ON)));
    wait_for(Duration::from_secs(120), "the sync to go on", goes_on)?;
    let resumed_after = back.elapsed();
    wait_for(Duration::from_secs(300), "the sync to end", || sync.has_ended())?;
    let seconds = begin.elapsed().as_secs_f64();
    let outcome: serde_json::Value = serde_json::from_str(&fs::read_to_string(&report)?)?;
    let text = text()?;
    let said = text.lines().find(|line| line.contains(WAITS)).unwrap_or_default().to_owned();
    println!(
        "vanished above height {vanished_at}, away for {:.1} s; it said: {said}\nwent on {:.1} s after their return; {seconds:.1} s in all",
        away.as_secs_f64(),
        resumed_after.as_secs_f64()
    );
    if let Some(path) = &args.common.json {
        let figures = Figures {
            vanished_at,
            away_seconds: away.as_secs_f64(),
            resumed_after_seconds: resumed_after.as_secs_f64(),
            said,
            seconds,
        };
        fs::write(path, serde_json::to_string(&figures)?)?;
    }
    if outcome["ok"] != true || outcome["head"]["height"] != args.blocks {
        return Err("the sync did not reach the tip".into());
    }
    if resumed_after > RETRY {
        return Err(format!("it took longer than {} s to go on", RETRY.as_secs()).into());
    }
    Ok(())
}

fn wait_for(most: Duration, what: &str, mut done: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let begin = Instant::now();
    while begin.elapsed() < most {
        if done()? {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    Err(format!("waited {} s for {what}", most.as_secs()).into())
}
