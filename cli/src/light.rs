//! `light`: the chain's proven tip, and values of its state, without storing or executing anything.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use hotstuff2_sync::chain::native::{NativeChain, PROFILE, TrustAnchor};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::{
    At, LightAnswer, LightBlock, LightConfig, LightEvent, LightPosition, LightStart, LightWay, Query,
};
use hotstuff2_sync_tokio::checkpoint::read_checkpoint;
use hotstuff2_sync_tokio::genesis_file::read_genesis;
use hotstuff2_sync_tokio::net::{Identity, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::{BootstrapPeer, LightNode, wall_clock};
use serde::Serialize;
use tokio::sync::broadcast;

use crate::args::Json;
use crate::error::CliError;
use crate::node::threads;
use crate::report::{Head, say, write_json};
use crate::screen::tell;

#[derive(Debug, Args)]
pub(crate) struct LightArgs {
    /// The chain's genesis document
    #[arg(long, value_name = "FILE")]
    genesis: std::path::PathBuf,
    /// A checkpoint that `light checkpoint` wrote, from a source that you trust, to start from in the place of the genesis
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<std::path::PathBuf>,
    /// A peer to ask: an address or a host name, and the peer's id where only that peer will do (repeatable)
    #[arg(long = "peer", value_name = "HOST:PORT[/PEERID]", required = true)]
    peers: Vec<BootstrapPeer>,
    /// Peers of other networks (IPv4 /16, IPv6 /32) that must prove the same block before it is told; 0 believes whoever
    /// proves the highest one
    #[arg(long, default_value_t = LightConfig::default().witnesses, value_name = "N", value_parser = witnesses)]
    witnesses: usize,
    /// Prove each epoch by the one before, in the place of skipping as far as a third of the trusted power still signs
    #[arg(long)]
    one_by_one: bool,
    /// Start from a block that is older than the chain's trusting period, though its validators may have left long ago
    #[arg(long)]
    accept_long_range: bool,
    /// Seconds after which to give up
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience: u64,
    #[command(flatten)]
    pub(crate) json: Json,
    #[command(subcommand)]
    command: Option<LightCommand>,
}

#[derive(Debug, Subcommand)]
enum LightCommand {
    /// Read the value of a key
    Get(GetArgs),
    /// Write the tip as a checkpoint, to start from next time
    Checkpoint(CheckpointArgs),
}

#[derive(Debug, Args)]
struct GetArgs {
    /// The key: text, or hexadecimal digits after 0x
    #[arg(value_parser = parse_key)]
    key: Key,
    /// The state: "now", "snapshot" for the newest that peers keep, or a height
    #[arg(long, default_value = "now", value_parser = parse_at)]
    at: At,
}

#[derive(Debug, Args)]
struct CheckpointArgs {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: std::path::PathBuf,
}

/// The bytes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key(Vec<u8>);

#[derive(Serialize)]
struct LightReport {
    /// The proven tip.
    tip: Head,
    /// The tip's time in milliseconds since 1970.
    tip_time: u64,
    /// The newest trusted epoch.
    epoch: u64,
    /// Groups of peers that confirmed the tip, beside the one that showed it.
    witnesses: usize,
    /// The value that was asked for.
    read: Option<ReadReport>,
}

#[derive(Serialize)]
struct ReadReport {
    /// In hexadecimal digits; nothing where the key has no value, which is proven too.
    value: Option<String>,
    /// The block after which the key has it.
    block: Head,
}

pub(crate) fn run(args: &LightArgs) -> Result<(), CliError> {
    threads()?.block_on(light(args))
}

async fn light(args: &LightArgs) -> Result<(), CliError> {
    let genesis = read_genesis(&args.genesis)?;
    let period = genesis.document().trusting_period_ms.filter(|_| !args.accept_long_range);
    let trusting_period = period.map(Duration::from_millis);
    let start = match &args.checkpoint {
        Some(path) => read_checkpoint(path)?.into_start(PROFILE, trusting_period),
        None => {
            let anchor = TrustAnchor::Genesis.check(&genesis, wall_clock(), args.accept_long_range)?;
            LightStart { chain_id: genesis.chain_id(), profile: PROFILE, anchor, trusting_period, tip: None }
        }
    };
    if start.chain_id != genesis.chain_id() {
        return Err(CliError::Options("the checkpoint is of another chain than the genesis file"));
    }
    let way = if args.one_by_one { LightWay::OneByOne } else { LightWay::Skipping };
    let config = LightConfig { way, witnesses: args.witnesses, ..LightConfig::default() };
    let config = LightConfig { max_peers: config.max_peers.max(args.witnesses.saturating_add(1)), ..config };
    let identity = Identity::generate()?;
    let seed = identity.seed();
    let (network, events) = QuicNetwork::bind(([0u16; 8], 0).into(), identity, QuicLimits::default(), None)?;
    let chain = Arc::new(NativeChain::with_anchor(&genesis, &start.anchor));
    let node = LightNode::start(chain, config, start, seed, Arc::new(network), events, args.peers.clone())?;
    let patience = Duration::from_secs(args.patience);
    let position = match tokio::time::timeout(patience, tip(&node)).await {
        Ok(position) => position?,
        Err(_) => return Err(CliError::NoLightTip("no tip was proven and confirmed in time".to_owned())),
    };
    let Some((facts, _)) = position.tip.clone() else {
        return Err(CliError::NoLightTip("the client has no tip".to_owned()));
    };
    let json = args.json.path.as_deref();
    let told = LightBlock::from(facts);
    say(
        json,
        format_args!(
            "block {} {} of epoch {} is final, as {} other groups of peers prove too",
            told.height,
            told.id,
            position.epoch.epoch(),
            position.witnesses
        ),
    );
    let mut report = LightReport {
        tip: head(&told),
        tip_time: told.timestamp.get(),
        epoch: position.epoch.epoch().get(),
        witnesses: position.witnesses,
        read: None,
    };
    match &args.command {
        None => {}
        Some(LightCommand::Get(get)) => report.read = Some(read(&node, get, json).await?),
        Some(LightCommand::Checkpoint(CheckpointArgs { out })) => {
            let checkpoint = node.checkpoint().ok_or(CliError::Options("there is no checkpoint to write"))?;
            std::fs::write(out, checkpoint.encode()).map_err(CliError::file("written", out))?;
            say(json, format_args!("written to {}", out.display()));
        }
    }
    json.map_or(Ok(()), |path| write_json(&report, path))
}

/// Where the client stands once it has told the highest tip that anyone proved to it.
async fn tip(node: &LightNode) -> Result<LightPosition, CliError> {
    let (mut position, mut events) = (node.watch_position(), node.events());
    loop {
        let known = position.borrow_and_update().clone();
        let told = known.tip.as_ref().map(|(facts, _)| facts.height);
        if told.is_some() && known.proven.is_some_and(|proven| Some(proven.height) <= told) {
            return Ok(known);
        }
        tokio::select! {
            changed = position.changed() => {
                changed.map_err(|_| CliError::NoLightTip("the client has ended".to_owned()))?;
            }
            event = events.recv() => match event {
                Ok(LightEvent::Stalled { reason, .. }) => tell(format_args!("no progress: {reason}")),
                Ok(LightEvent::Banned { peer, fault }) => tell(format_args!("banned {peer}: {fault}")),
                Ok(LightEvent::Halted(reason)) => return Err(CliError::NoLightTip(reason.to_string())),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => {
                    return Err(CliError::NoLightTip("the client has ended".to_owned()));
                }
            },
        }
    }
}

async fn read(node: &LightNode, get: &GetArgs, json: Option<&Path>) -> Result<ReadReport, CliError> {
    let query = Query::Read { key: get.key.0.clone().into(), at: get.at };
    let LightAnswer::Value { value, block } = node.ask(query).await? else {
        return Err(CliError::NoLightTip("the answer is none to what was asked".to_owned()));
    };
    let value = value.map(|value| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    match &value {
        Some(value) => say(json, format_args!("after block {} its value is 0x{value}", block.height)),
        None => say(json, format_args!("after block {} it has no value", block.height)),
    }
    Ok(ReadReport { value, block: head(&block) })
}

fn head(block: &LightBlock) -> Head {
    let state_root = block.state_root.map(|root| root.to_string()).unwrap_or_default();
    Head { height: block.height.get(), id: block.id.to_string(), state_root }
}

fn witnesses(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count <= 16).ok_or_else(|| "write a number from 0 to 16".to_owned())
}

fn parse_key(text: &str) -> Result<Key, String> {
    let Some(digits) = text.strip_prefix("0x") else { return Ok(Key(text.into())) };
    let wrong = || "after 0x come hexadecimal digits, two for each byte".to_owned();
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(byte).collect::<Option<_>>().map(Key).ok_or_else(wrong)
}

fn parse_at(text: &str) -> Result<At, String> {
    match text {
        "now" => Ok(At::Now),
        "snapshot" => Ok(At::Snapshot),
        height => {
            let height = height.parse().map_err(|_| "write now, snapshot, or a block's height".to_owned());
            height.map(|height| At::Height(Height::new(height)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_text_or_digits() {
        assert_eq!(parse_key("abc"), Ok(Key(b"abc".to_vec())));
        assert_eq!(parse_key("0x6100ff"), Ok(Key(vec![0x61, 0, 0xff])));
        assert_eq!(parse_key("0x"), Ok(Key(Vec::new())));
        for wrong in ["0x6", "0xzz", "0x+1", "0xäa"] {
            assert!(parse_key(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn states_are_named_or_numbered() {
        assert_eq!(parse_at("now"), Ok(At::Now));
        assert_eq!(parse_at("snapshot"), Ok(At::Snapshot));
        assert_eq!(parse_at("77"), Ok(At::Height(Height::new(77))));
        assert!(parse_at("soon").is_err());
    }
}
