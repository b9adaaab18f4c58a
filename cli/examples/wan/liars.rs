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

/// Questions that a peer may leave unanswered: one, and one more after its rest.
const MOST_TIME_OUTS: u64 = 2;
/// False answers of one peer that may be on their way when a sync ends.
const IN_FLIGHT: u64 = 8;

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
    /// Answers that it made and an honest node would not have given, in this sync and before.
    unlike: u64,
    /// Provably false answers that the syncing node took in.
    false_answers: u64,
    /// Questions of the syncing node that it didn't answer in time.
    unanswered: u64,
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
    let reports: Vec<Value> = servers.iter().map(of_peer).collect();
    // All at once: each takes its leave of its peers.
    servers.iter_mut().for_each(Server::let_go);
    let mut outcomes = Vec::new();
    for ((&(part, how), server), report) in parts.iter().zip(servers).zip(reports) {
        let count = |name: &str| report[name].as_u64().unwrap_or(0);
        let (banned, bytes) = (report["banned"].as_str().map(str::to_owned), count("bytes"));
        let (false_answers, unanswered) = (count("false_answers"), count("unanswered"));
        let unlike = server.stop()?["unlike"].as_u64().ok_or("a server that doesn't say what it did")?;
        outcomes.push(Outcome { part, how, bytes, unlike, false_answers, unanswered, banned, report });
    }
    let (alone_seconds, seconds) = (number(&alone, "seconds")?, number(&report, "seconds")?);
    let figures = Figures {
        alone_seconds,
        seconds,
        ratio: seconds / alone_seconds,
        efficiency: number(&report, "efficiency")?,
        peers: outcomes,
        sync: report.clone(),
    };
    for peer in &figures.peers {
        let banned = peer.banned.as_deref().unwrap_or("-");
        println!(
            "{:<9} {:<24} {:>9} bytes accepted, {} false answers, {} time-outs, {:>3} answers not as an honest node's, banned: {banned}",
            format!("{:?}", peer.part),
            peer.how,
            peer.bytes,
            peer.false_answers,
            peer.unanswered,
            peer.unlike,
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
    // Who was honest first is asked for several things at once when it begins to lie.
    let at_once = |peer: &&Outcome| peer.false_answers > 1 && !peer.how.ends_with("turncoat");
    if let Some(peer) = figures.peers.iter().find(at_once) {
        return Err(format!("a liar cost {} answers: {}", peer.false_answers, peer.how).into());
    }
    if let Some(peer) = figures.peers.iter().find(|peer| peer.unanswered > MOST_TIME_OUTS) {
        return Err(format!("a peer was asked {} times in vain: {:?} {}", peer.unanswered, peer.part, peer.how).into());
    }
    // Who was never asked what it lies about did not lie.
    let escaped = |peer: &&Outcome| peer.banned.is_none() && peer.unlike > IN_FLIGHT;
    if let Some(peer) = figures.peers.iter().filter(is_provable).find(escaped) {
        return Err(format!("a provable liar was not banned: {}, {} false answers", peer.how, peer.unlike).into());
    }
    Ok(())
}
