//! Options of the commands, in the words of their help.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hotstuff2_sync::limits::MAX_PAYLOAD_BYTES;
use hotstuff2_sync::state::MAX_VALUE_BYTES;
use hotstuff2_sync_testkit::chain::{Entries, SNAPSHOT_INTERVAL};
use hotstuff2_sync_testkit::ledger::{MAX_TRANSACTIONS, TOUCHED_KEYS};
use hotstuff2_sync_tokio::BootstrapPeer;
use hotstuff2_sync_tokio::net::{QuicLimits, TcpName};
use hotstuff2_sync_tokio::store::SnapshotRetention;
use serde::{Deserialize, Serialize};

use crate::demo_args::{GrowArgs, PeerName, Until};

/// Where results go for scripts.
#[derive(Debug, Clone, Args)]
pub(crate) struct Json {
    /// Write the result as JSON to FILE, in place of an earlier one ("-" is standard output)
    #[arg(long = "json", value_name = "FILE", value_parser = report_file)]
    pub(crate) path: Option<PathBuf>,
}

/// Where a report may go: not over a file that holds something else than a report, and not where no file can be made, which
/// is found before the work and not after it.
fn report_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if text == "-" {
        return Ok(path);
    }
    if path.is_dir() {
        return Err(format!("{text} is a folder; name a file"));
    }
    // Pipes and devices take anything.
    if path.is_file() || !path.exists() {
        // A link leads to where the file will be.
        let target = path.canonicalize().unwrap_or_else(|_| path.clone());
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let tried = tempfile::tempfile_in(folder);
        tried.map_err(|error| format!("no file can be made in {}: {error}; name another", folder.display()))?;
    }
    if path.is_file() {
        let mut first = [0];
        let read = File::open(&path).and_then(|mut file| file.read(&mut first));
        if read.map_err(|error| error.to_string())? == 1 && !matches!(first, [b'{' | b'[']) {
            return Err(format!("{text} is there and holds no report; name another file"));
        }
    }
    Ok(path)
}

/// The chain to generate.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct ChainArgs {
    /// How many blocks above genesis [default: 20000; with --from: as many as the files fill; with --entries: as many as
    /// put them in]
    #[arg(long, value_name = "N")]
    pub(crate) blocks: Option<u64>,
    /// Bytes of each block's payload (with `--app ledger`: at least those of its transfers)
    #[arg(long, default_value_t = 1024, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_PAYLOAD_BYTES)))]
    pub(crate) payload_bytes: u32,
    /// How many validators each epoch has
    #[arg(long, default_value_t = 7, value_name = "N")]
    pub(crate) validators: u64,
    /// How many epochs cover the blocks; validators come, go and change power with each
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(crate) epochs: u64,
    /// What executes the blocks [default: none]
    #[arg(long, value_enum)]
    pub(crate) app: Option<App>,
    /// Cut payloads from this file, or from the files in this folder, instead of random bytes
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Option<PathBuf>,
    /// Blocks between the heights at which nodes offer their state, as the genesis file says it
    #[arg(long, default_value_t = SNAPSHOT_INTERVAL, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) snapshot_interval: u64,
    /// With `--app ledger`: begin with an empty ledger into which the first blocks put so many entries, instead of one
    /// with accounts; the blocks after them change entries
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) entries: u64,
    /// Bytes of each entry's value
    #[arg(long, default_value_t = 100, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=MAX_VALUE_BYTES as i64))]
    pub(crate) value_bytes: u32,
    /// How many entries each block changes once all are there
    #[arg(long, default_value_t = TOUCHED_KEYS, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_TRANSACTIONS - 2)))]
    pub(crate) changes: u32,
    /// Number that keys, gaps, payloads and lies follow from
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) seed: u64,
}

impl ChainArgs {
    /// What executes the blocks.
    pub(crate) fn app(&self) -> App {
        self.app.unwrap_or(App::None)
    }

    /// The entries, where the state is to be made of such.
    pub(crate) fn entries(&self) -> Option<Entries> {
        let Self { entries: count, value_bytes, changes, .. } = *self;
        (count > 0).then_some(Entries { count, value_bytes, changes })
    }
}

#[derive(Debug, Args)]
pub(crate) struct GenArgs {
    /// Folder for the store and its genesis.json; must be empty or not there yet, unless with --extend
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Add N blocks to the chain that `gen` has made in DIR, with the options that it was made with
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = [
        "blocks", "payload_bytes", "validators", "epochs", "app", "from", "snapshot_interval", "entries", "value_bytes",
        "changes", "seed", "certify_every",
    ])]
    pub(crate) extend: Option<u64>,
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
    /// Also store a certificate of its own for every N-th block; 1 serves full audits, 0 stores what serving needs
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) certify_every: u64,
    /// Time of the last block in milliseconds since 1970 [default: now]
    #[arg(long, value_name = "MILLIS")]
    pub(crate) timestamp: Option<u64>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Folder with a store and its genesis.json, as `gen` and `sync` leave it
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Address to listen on, by default for this machine alone; `[::]:PORT` is all addresses, IPv4 and IPv6, and port 0 takes
    /// any free one. Peers of a family that it leaves out can't be dialled
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Listen over TCP at ADDR as well, for nodes and pages that have no QUIC; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    pub(crate) tcp: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) pages: PageArgs,
    /// File with this node's key; made where it is missing [default: DIR/identity.key]
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Keep and serve at most so many snapshots of the state, the newest; what is dropped is deleted from the store
    #[arg(long, default_value_t = SnapshotRetention::default().count, value_name = "N")]
    pub(crate) snapshots: u32,
    #[command(flatten)]
    pub(crate) peers: PeerArgs,
    #[command(flatten)]
    pub(crate) grow: GrowArgs,
    /// CPU time that may be spent on serving, in percent of one core [default: 50 for each core]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) serve_cpu: Option<u64>,
    /// Bytes a second of answers, in MiB, over all who ask [default: 512]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) serve_mib: Option<u64>,
    /// Connections that may come from others; what they can make this node use of memory is said in the JSON
    #[arg(long, default_value_t = QuicLimits::default().max_inbound_connections, value_name = "N")]
    pub(crate) max_connections: usize,
    /// Write what was served as JSON to FILE when stopped
    #[arg(long, value_name = "FILE", value_parser = report_file)]
    pub(crate) stats: Option<PathBuf>,
    /// Show figures to Prometheus at http://ADDR/metrics, and health at /healthz and /readyz; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) parent: Parent,
    /// Write address and peer id as one line of JSON to FILE ("-" is standard output) once it serves
    #[arg(long = "json", value_name = "FILE", value_parser = report_file)]
    pub(crate) json: Option<PathBuf>,
}

/// What a node does for pages in browsers.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Listen for WebSockets of light clients in browsers at ADDR; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    pub(crate) ws: Option<SocketAddr>,
    /// Let pages of this origin alone in, such as `https://wallet.example` (repeatable) [default: of any]
    #[arg(long = "ws-origin", value_name = "ORIGIN", requires = "ws")]
    pub(crate) ws_origins: Vec<String>,
    /// Address that the page names for WebSockets, as behind a TLS proxy: wss://node.example [default: that of --ws]
    #[arg(long, value_name = "URL", requires = "web", value_parser = ws_url)]
    pub(crate) ws_url: Option<String>,
    /// Show the light client's page at http://ADDR; port 0 takes any free one
    #[arg(long, value_name = "ADDR", requires = "web_root")]
    pub(crate) web: Option<SocketAddr>,
    /// Folder with the files of the page, as the package `hotstuff2-sync` has it in `page`
    #[arg(long, value_name = "DIR", requires = "web")]
    pub(crate) web_root: Option<PathBuf>,
}

fn ws_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("ws://").or_else(|| text.strip_prefix("wss://")).unwrap_or_default();
    if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        return Err("write ws:// or wss://, and the place behind it".to_owned());
    }
    Ok(text.to_owned())
}

/// A peer as `--peer` names it.
#[derive(Debug, Clone)]
pub(crate) enum NamedPeer {
    Quic(BootstrapPeer),
    Tcp(TcpName),
}

impl FromStr for NamedPeer {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("tcp://") { Ok(Self::Tcp(text.parse()?)) } else { Ok(Self::Quic(text.parse()?)) }
    }
}

impl fmt::Display for NamedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quic(peer) => peer.fmt(f),
            Self::Tcp(name) => name.fmt(f),
        }
    }
}

/// How peers are found.
#[derive(Debug, Clone, Args)]
pub(crate) struct PeerArgs {
    /// A peer to connect to: an address or a host name, and the peer's id where only that peer will do (repeatable).
    /// Peers tell of others; those that were found are remembered, and those named here until others are named. With
    /// `tcp://` in front it is one that listens over TCP (`serve --tcp`), which is named anew each time
    #[arg(long = "peer", value_name = "HOST:PORT[/PEERID]")]
    pub(crate) named: Vec<NamedPeer>,
    /// File with the addresses of peers that were found [default: DIR/peers.book]
    #[arg(long, value_name = "FILE")]
    pub(crate) peers_file: Option<PathBuf>,
    /// Port that peers are told to connect to, where it is not the one of --listen, as behind a router that forwards it;
    /// 0 tells none
    #[arg(long, value_name = "PORT")]
    pub(crate) advertise: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    /// The node's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// File with the addresses [default: DIR/peers.book]
    #[arg(long, value_name = "FILE")]
    pub(crate) peers_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// For processes that the demo starts: they must not outlive it, however it ends.
#[derive(Debug, Clone, Args)]
pub(crate) struct Parent {
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// The settings of a sync. All others are set in a file or in the environment.
#[derive(Debug, Clone, Args)]
pub(crate) struct SettingsArgs {
    /// Settings in TOML, as `config` prints them; the environment (`HS2_SYNC_` and the field's name) and options here come before it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How to catch up [default: auto]
    #[arg(long, value_enum)]
    pub(crate) strategy: Option<Strategy>,
    /// With the strategy auto: fetch a state only where blocks alone would take longer than this [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86400))]
    pub(crate) state_after: Option<u64>,
    /// What to fetch of the blocks below a fetched state, once the tip is reached (with --follow) [default: none]
    #[arg(long, value_enum)]
    pub(crate) history: Option<History>,
    /// Most memory for data on its way, in MiB [default: 32]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(8..))]
    pub(crate) budget_mib: Option<u32>,
    /// Ask for a certificate of every block (peers must have been generated with `--certify-every 1`)
    #[arg(long)]
    pub(crate) audit: bool,
    /// Keep the newest N blocks, and older ones only as far as something needs them; 0 keeps all [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) retain_blocks: Option<u64>,
    /// Keep at most so many MiB of blocks, as with --retain-blocks; 0 for no limit [default: 0]
    #[arg(long, value_name = "MIB")]
    pub(crate) retain_mib: Option<u32>,
    /// Take no more blocks while less than so many MiB of the disk are free; 0 takes them until it is full [default: 0]
    #[arg(long, value_name = "MIB")]
    pub(crate) min_free_mib: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// The chain's genesis document, which is all that is trusted [default: DIR/genesis.json, which the first `sync` into
    /// DIR leaves there]
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
    /// Folder for this node's store
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// File with this node's key; made where it is missing [default: DIR/identity.key]
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// A checkpoint that `light checkpoint` wrote, from a source that you trust: a new store begins above its block, and one that
    /// is there must hold it
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) peers: PeerArgs,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// Name of a peer on the screen, beside its id (repeatable): for the demo, which knows its peers
    #[arg(long = "name", value_name = "PEERID=NAME", hide = true)]
    pub(crate) names: Vec<PeerName>,
    /// Follow until then, for the demo
    #[arg(long, value_name = "HEIGHT/BANS/LATEST", hide = true, requires = "follow")]
    pub(crate) until: Option<Until>,
    /// What executes the blocks
    #[arg(long, value_enum, default_value_t = App::None)]
    pub(crate) app: App,
    /// Address to answer peers at, while catching up too; `[::]` is all addresses, IPv4 and IPv6, and port 0 takes any free
    /// one. Peers of a family that it leaves out can't be dialled
    #[arg(long, default_value = "[::]:0", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) pages: PageArgs,
    /// Give up after so many seconds in which nothing moves (no new block, no new part of a state); 0 waits for ever, as
    /// with --follow
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) patience: u64,
    /// Start from a block that is older than the chain's trusting period, though its validators may have left long ago
    #[arg(long)]
    pub(crate) accept_long_range: bool,
    /// Keep following the network after it was caught up with, until stopped
    #[arg(long)]
    pub(crate) follow: bool,
    /// Fail with exit code 3 where the tip is older in the end than the setting max_tip_age (10 minutes by default), or its
    /// age is not known; without this it is only said
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Show figures to Prometheus at http://ADDR/metrics, and health at /healthz and /readyz; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Write a trace to FILE, a new one, which `replay` plays again: what happened and what was done, not what was downloaded
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) parent: Parent,
    #[command(flatten)]
    pub(crate) json: Json,
}

impl SyncArgs {
    /// How long nothing may move before it ends by itself; zero is for ever, as where it follows the network.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(if self.follow && self.until.is_none() { 0 } else { self.patience })
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The trace, as `sync --record` wrote it
    #[arg(value_name = "FILE")]
    pub(crate) trace: PathBuf,
    /// Show what happened, line by line
    #[arg(long)]
    pub(crate) timeline: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Folder with a store; no other process may have it open
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Leave the states out, which takes longest: their values are not read and not hashed
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// Folder with a store; no other process may have it open. A node that serves or follows repairs itself
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) peers: PeerArgs,
    /// Give up after so many seconds in which nothing could be mended
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) patience: u64,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Where a demo or a measurement works.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Kept {
    /// Keep everything in this folder, which must be empty or of an earlier demo, whose files are removed [default: a
    /// temporary one, removed]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// What executes blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum App {
    /// Nothing: payloads are opaque bytes and the state root stays as it is
    None,
    /// A token and key-value ledger, whose state root after every block must be the header's
    Ledger,
}

/// How to catch up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// Whatever costs least, switching as that changes
    Auto,
    /// Segments and bodies from many peers at once
    Parallel,
    /// Block after block, for small gaps
    Incremental,
    /// The state near the tip first, then blocks from there on (needs an app with a state)
    Fast,
}

/// What to fetch of the blocks below a fetched state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum History {
    /// Nothing
    None,
    /// Headers
    Headers,
    /// Headers and payloads, to serve them
    Blocks,
}

/// The name that clap knows a value by, to hand it on to a child process.
pub(crate) fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
