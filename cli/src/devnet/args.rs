//! Options of `devnet` and of its processes.

use std::path::PathBuf;

use clap::Args;

use crate::args::{Json, Parent};

/// Most nodes of a network on one machine.
const MOST_NODES: u64 = 64;

/// Options of `devnet`.
#[derive(Debug, Args)]
pub(crate) struct DevnetArgs {
    /// Nodes of the network, each a process
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=MOST_NODES))]
    pub(crate) nodes: u64,
    /// Validators of an epoch; with fewer than nodes, one leaves and one comes with each epoch [default: all nodes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_NODES))]
    pub(crate) validators: Option<u64>,
    /// Blocks of an epoch
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    pub(crate) epoch_blocks: u64,
    /// Blocks between the heights at which nodes keep their state for others
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    pub(crate) snapshot_interval: u64,
    /// Milliseconds between two blocks at least
    #[arg(long, value_name = "MILLIS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub(crate) block_ms: u64,
    /// Milliseconds that a leader gets for its block beyond those, before the others go on without it: several times what a
    /// message takes
    #[arg(long, value_name = "MILLIS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    pub(crate) view_ms: u64,
    /// Transactions a second that a client sends
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    pub(crate) load: u64,
    /// Seconds until the network is stopped and what its nodes have is compared [default: until Ctrl-C, or the scenario's end]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: Option<u64>,
    /// What happens to the network, and when: a TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// Seed of keys and transactions
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder for the nodes' files, which stay there [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Options of one node of a devnet.
#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// File with what the node is, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: PathBuf,
    #[command(flatten)]
    pub(crate) parent: Parent,
}
