//! What can be asked of `hs2-sync bench`, in the words of its help, and of the processes that it starts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hotstuff2_sync::limits::MAX_PAYLOAD_BYTES;
use hotstuff2_sync::state::MAX_VALUE_BYTES;

use crate::args::{Json, Kept, Parent};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: Option<BenchWhat>,
    #[command(flatten)]
    pub(crate) crossover: CrossoverArgs,
}

impl BenchArgs {
    /// Where the figures go as JSON, if anywhere.
    pub(crate) fn json(&self) -> Option<&PathBuf> {
        match &self.what {
            None => self.crossover.json.path.as_ref(),
            Some(BenchWhat::State(args)) => args.json.path.as_ref(),
            Some(BenchWhat::Siege(args)) => args.json.path.as_ref(),
            Some(BenchWhat::Peers(args)) => args.json.path.as_ref(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchWhat {
    /// Measure the download of a state against loading it locally, and of what changed in it
    State(BenchStateArgs),
    /// Measure what many attackers get of a serving node, and what they cost an honest one beside them
    Siege(BenchSiegeArgs),
    /// Measure what the coordination of many peers costs a node that catches up from them
    Peers(BenchPeersArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CrossoverArgs {
    /// Entries of the states
    #[arg(long, value_delimiter = ',', default_value = "1000,100000", value_name = "N,...")]
    pub(crate) entries: Vec<u64>,
    /// Blocks that a node is behind; a few more where it takes more to make the state
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000", value_name = "N,...")]
    pub(crate) gaps: Vec<u64>,
    /// Bytes of each block's payload, once the state is made
    #[arg(long, default_value_t = 1024, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_PAYLOAD_BYTES)))]
    pub(crate) payload_bytes: u32,
    #[command(flatten)]
    pub(crate) servers: BenchServers,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct BenchStateArgs {
    /// Entries of the state
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..))]
    pub(crate) entries: u64,
    #[command(flatten)]
    pub(crate) servers: BenchServers,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct BenchSiegeArgs {
    /// How many connections attack, each with a key of its own
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) connections: u16,
    /// From how many networks (an IPv4 /16 each) they come
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=250))]
    pub(crate) networks: u8,
    /// CPU time that the server may spend on serving, in percent of its core
    #[arg(long, default_value_t = 50, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) serve_cpu: u64,
    /// How long the server's CPU time is measured while there are attackers alone
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) seconds: u64,
    /// Blocks that the honest node is behind
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..))]
    pub(crate) blocks: u64,
    /// Bytes of each block's payload
    #[arg(long, default_value_t = 1024, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_PAYLOAD_BYTES)))]
    pub(crate) payload_bytes: u32,
    /// How often the honest node syncs, alone and besieged; the shortest time counts
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,
    #[command(flatten)]
    pub(crate) kept: Kept,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct BenchPeersArgs {
    /// How many peers are connected, each with a key and an address of its own
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) peers: u16,
    /// Blocks that the node is behind
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..))]
    pub(crate) blocks: u64,
    /// How often it syncs; the median counts
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,
    #[command(flatten)]
    pub(crate) kept: Kept,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct CrowdArgs {
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[arg(long, value_name = "N")]
    pub(crate) identities: usize,
    #[command(flatten)]
    pub(crate) parent: Parent,
}

/// From where a measurement downloads.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchServers {
    /// Bytes of each entry's value
    #[arg(long, default_value_t = 100, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=MAX_VALUE_BYTES as i64))]
    pub(crate) value_bytes: u32,
    /// How many processes serve the chain
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) peers: usize,
    #[command(flatten)]
    pub(crate) kept: Kept,
}
