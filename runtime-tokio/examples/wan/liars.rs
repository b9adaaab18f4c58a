//! Fifty peers of which one is honest: the others lie, are silent, drip or are of no use, each in its own way. The sync
//! completes, no honest peer is banned and every provable liar is, and what it cost is said against the honest peer alone.

use std::fs;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::hosts::Hosts;
use crate::link::Link;
use crate::node::{ChainSize, Line, Server, generate, number, serve, sync};
use crate::{Common, Failure};

/// The host that syncs.
const LATE: usize = 0;
/// Bits a second of a line on which answers drip.
const DRIP: u64 = 8_000;

/// What the others do, in turn. An option of `serve` each; the first word says whether it can be proven.
const PARTS: [(Part, &str); 24] = [
    (Part::Provable, "--lie payload"),
    (Part::Provable, "--lie header"),
    (Part::Provable, "--lie signature"),
    (Part::Provable, "--lie range"),
    (Part::Provable, "--lie handover"),
    (Part::Provable, "--lie garbage"),
    (Part::Provable, "--lie state-value"),
    (Part::Provable, "--lie state-omit"),
    (Part::Provable, "--lie state-add"),
    (Part::Provable, "--lie state-height"),
    (Part::Provable, "--nuisance crossed"),
    (Part::Provable, "--nuisance greedy"),
    (Part::Provable, "--nuisance bomb"),
    (Part::Provable, "--nuisance cut"),
    (Part::Provable, "--nuisance turncoat"),
    (Part::Useless, "--nuisance tall"),
    (Part::Useless, "--nuisance absent"),
    (Part::Useless, "--nuisance withhold"),
    (Part::Useless, "--nuisance silent"),
    (Part::Useless, "--nuisance late"),
    (Part::Useless, "--nuisance crumbs"),
    (Part::Useless, "--nuisance busy"),
    (Part::Useless, "--nuisance foreign"),
    (Part::Drip, ""),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Honest,
    /// Gives answers that are provably false.
    Provable,
    /// Gives nothing, or less than it could.
    Useless,
    /// Honest, on a line on which answers drip.
    Drip,
}

#[derive(Debug, Args)]
pub(crate) struct LiarsArgs {
    #[command(flatten)]
    common: Common,
    /// Peers, one of them honest
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=150))]
    peers: u64,
    /// Blocks to sync
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    blocks: u64,
    #[command(flatten)]
    line: Line,
}

/// What became of one peer.
#[derive(Debug, Serialize)]
struct Outcome {
    part: Part,
    how: &'static str,
    bytes: u64,
    banned: Option<String>,
    report: Value,
}

#[derive(Debug, Serialize)]
struct Figures {
    alone_seconds: f64,
    seconds: f64,
    ratio: f64,
    efficiency: f64,
    peers: Vec<Outcome>,
    sync: Value,
}

pub(crate) fn run(args: &LiarsArgs) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("hs2-wan-").tempdir()?;
    let chain = folder.path().join("chain");
    generate(&args.common, &chain, &ChainSize { blocks: args.blocks, payload_bytes: 1024, validators: 4 })?;

    // The honest one is somewhere in the middle.
    let peers = usize::try_from(args.peers)?;
    let honest = peers / 2;
    let parts: Vec<(Part, &'static str)> =
        (0..peers)
            .map(|peer| {
                if peer == honest {
                    (Part::Honest, "")
                } else {
                    PARTS[(peer - usize::from(peer > honest)) % PARTS.len()]
                }
            })
            .collect();
    let good = args.line.link();
    let drip = Link { rate: DRIP, queue: 64 << 10, ..good };
    let mut links = vec![Link::FREE];
    links.extend(parts.iter().map(|(part, _)| if *part == Part::Drip { drip } else { good }));
    let hosts = Hosts::new(&links, args.common.seed)?;
    let mut servers: Vec<Server> = Vec::new();
    for (number, (_, how)) in parts.iter().enumerate() {
        let dir = folder.path().join(format!("server-{number}"));
        let more: Vec<String> = how.split_whitespace().map(str::to_owned).collect();
        servers.push(serve(&args.common, &hosts, number + 1, &chain, &dir, &more)?);
    }

    let genesis = chain.join("genesis.json");
    let late = |name: &str| folder.path().join(name);
    let only = servers.get(honest..=honest).unwrap_or_default();
    let alone = sync(&args.common, &hosts, LATE, &genesis, &late("alone"), only, &[])?;
    let report = sync(&args.common, &hosts, LATE, &genesis, &late("late"), &servers, &[])?;
    let of_peer = |server: &Server| {
        let list = report["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().find(|peer| peer["id"] == server.id.as_str()).cloned().unwrap_or_default()
    };
    let outcomes = parts.iter().zip(&servers).map(|(&(part, how), server)| {
        let report = of_peer(server);
        let banned = report["banned"].as_str().map(str::to_owned);
        Outcome { part, how, bytes: report["bytes"].as_u64().unwrap_or(0), banned, report }
    });
    let (alone_seconds, seconds) = (number(&alone, "seconds")?, number(&report, "seconds")?);
    let figures = Figures {
        alone_seconds,
        seconds,
        ratio: seconds / alone_seconds,
        efficiency: number(&report, "efficiency")?,
        peers: outcomes.collect(),
        sync: report.clone(),
    };
    for peer in &figures.peers {
        let banned = peer.banned.as_deref().unwrap_or("-");
        println!(
            "{:<9} {:<24} {:>9} bytes accepted  banned: {banned}",
            format!("{:?}", peer.part),
            peer.how,
            peer.bytes
        );
    }
    println!(
        "{} blocks from {peers} peers, one of them honest: {seconds:.1} s, from the honest one alone {alone_seconds:.1} s; {:.1} % of received bytes useful",
        args.blocks,
        figures.efficiency * 100.0
    );
    if let Some(path) = &args.common.json {
        fs::write(path, serde_json::to_string(&figures)?)?;
    }
    if report["ok"] != true || report["head"] != alone["head"] {
        return Err("the sync did not reach the honest peer's head".into());
    }
    let is_provable = |peer: &&Outcome| matches!(peer.part, Part::Provable);
    if let Some(peer) = figures.peers.iter().find(|peer| peer.banned.is_some() && !is_provable(peer)) {
        return Err(format!("a peer that gave nothing false was banned: {:?} {}", peer.part, peer.how).into());
    }
    if let Some(peer) = figures.peers.iter().filter(is_provable).find(|peer| peer.banned.is_none()) {
        return Err(format!("a provable liar was not banned: {}", peer.how).into());
    }
    Ok(())
}
