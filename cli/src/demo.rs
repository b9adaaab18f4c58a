//! `demo`: a late node catches up with processes of their own that serve a chain, some of which lie or are slow.
//!
//! The node trusts nothing but the genesis file. That its head and state root are the servers' is checked at the end,
//! against a server's own store.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use console::style;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_testkit::chain::BLOCK_MS;
use hotstuff2_sync_tokio::genesis_file::GENESIS_FILE;
use hotstuff2_sync_tokio::net::Identity;
use hotstuff2_sync_tokio::store::BlockStore as _;
use hotstuff2_sync_tokio::wall_clock;

use crate::args::{App, ChainArgs, Json, Kept, Parent, Strategy, name_of};
use crate::attack::Lie;
use crate::cluster::{Child, Folder, SyncJob, serve_copy};
use crate::demo_args::Until;
use crate::error::CliError;
use crate::generate::{GenPlan, generate};
use crate::inspect::{inspect, is_sound};
use crate::node::{Stop, header_at, one_thread, open_store};
use crate::report::{Head, InspectReport, PeerReport, Role, ServeReport, StateCheck, SyncReport, conclude, say, short};

/// How a slow server is slow: like a peer on another continent with a bad line.
const SLOW_DELAY_MS: u64 = 300;
const SLOW_RATE: u64 = 256 << 10;

/// How much earlier than the others liars have new blocks where the chain grows, so that they are asked for them.
const AHEAD_MS: u64 = 1500;
/// How much longer a chain grows at most, until its liars are banned: seconds.
const MOST_SECONDS_MORE: u64 = 120;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
    /// How many processes serve the chain
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(crate) peers: usize,
    /// How many of them lie
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) liars: usize,
    /// How many of them are slow
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) slow: usize,
    /// How to catch up
    #[arg(long, value_enum, default_value_t = Strategy::Auto)]
    pub(crate) strategy: Strategy,
    /// Let the chain grow by two blocks a second while it is followed, for so many seconds [default: 20] and until the liars are
    /// banned; they come in the middle
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "20", conflicts_with = "from",
        value_parser = clap::value_parser!(u64).range(4..=3600))]
    pub(crate) live: Option<u64>,
    #[command(flatten)]
    pub(crate) kept: Kept,
    #[command(flatten)]
    pub(crate) json: Json,
}

pub(crate) fn run(mut args: DemoArgs) -> Result<(), CliError> {
    if args.liars.saturating_add(args.slow) >= args.peers {
        return Err(CliError::Options(
            "at least one peer must be honest and fast: give more --peers, or fewer --liars and --slow",
        ));
    }
    // Files' bytes are no transfers; anything else is executed, so that the state root at the end means something.
    args.chain.app = args.chain.app.or(args.chain.from.is_none().then_some(App::Ledger));
    if args.strategy == Strategy::Fast && args.chain.app() == App::None {
        return Err(CliError::Options(
            "--strategy fast fetches a state, which only --app ledger has; say that, or another strategy",
        ));
    }
    let folder = Folder::prepare(args.kept.dir.as_deref())?;
    one_thread()?.block_on(demo(&args, &folder))
}

async fn demo(args: &DemoArgs, folder: &Folder) -> Result<(), CliError> {
    let mut stop = Stop::of_tool(&Parent { until_stdin_closes: false })?;
    let json = args.json.path.as_deref();
    let chain = folder.entry("chain")?;
    let generated = generate(&chain, &GenPlan::new(&args.chain, wall_clock()), &stop)?;
    if args.strategy == Strategy::Fast && generated.blocks < args.chain.snapshot_interval {
        return Err(CliError::Options(
            "the chain is too short for a state to be offered: give more --blocks, or a smaller --snapshot-interval",
        ));
    }
    say(
        json,
        format_args!(
            "generated {} blocks, {:.1} MB, in {:.1} s",
            generated.blocks,
            generated.payload_bytes as f64 / 1e6,
            generated.seconds
        ),
    );
    let live = args.live.map(|seconds| Live::begin(seconds, generated.blocks, args.liars)).transpose()?;
    let stage = Stage { args, folder, chain: &chain, live };
    // Liars wait for their entrance where the chain grows.
    let (early, late_ones) =
        if live.is_some() { (args.liars..args.peers, 0..args.liars) } else { (0..args.peers, 0..0) };
    let mut servers = early.map(|index| stage.start(index, None, &stop)).collect::<Result<Vec<_>, _>>()?;
    for server in &servers {
        say(
            json,
            format_args!("serving: {} at {} ({})", short(&server.report.peer_id), server.report.address, server.part()),
        );
    }
    let keys = late_ones.map(|index| stage.key(index)).collect::<Result<Vec<_>, _>>()?;

    let report_file = folder.entry("late.json")?;
    let late = folder.entry("late")?;
    let reports: Vec<ServeReport> = servers.iter().map(|server| server.report.clone()).collect();
    let roles: Vec<&'static str> = servers.iter().map(|server| server.role.name()).collect();
    let there = reports.iter().zip(roles).map(|(report, role)| (report.peer_id.as_str(), role));
    let job = SyncJob {
        genesis: &chain.join(GENESIS_FILE),
        dir: &late,
        report: &report_file,
        strategy: args.strategy,
        app: args.chain.app(),
        state_after: None,
        core: None,
        names: there.chain(keys.iter().map(|key| (key.peer_id.as_str(), Role::Liar.name()))).collect(),
        follows: live.map(|live| (live.until, live.follower)),
    };
    let asked = stop.clone();
    let mut running = std::pin::pin!(job.run(reports.iter(), &mut stop));
    let mut came = Vec::new();
    let synced = tokio::select! {
        ended = &mut running => ended,
        () = stage.middle() => {
            for (index, key) in keys.iter().enumerate() {
                came.push(stage.start(index, Some(key), &asked)?);
            }
            running.await
        }
    };
    servers.extend(came);
    servers.iter_mut().for_each(|server| server.process.ask_to_stop());
    servers.iter_mut().for_each(|server| server.process.stop());
    let mut report = synced?;
    for peer in &mut report.peers {
        peer.role = servers.iter().find(|server| server.report.peer_id == peer.id).map(|server| server.role);
    }
    let agreed = agree(&report, &late, &servers, live.is_some());
    report.ok = report.ok && agreed.is_ok();
    summarize(json, &report, &servers);
    if let (true, Ok(computed)) = (report.ok, &agreed) {
        let grown = live.map(|live| report.head.height.saturating_sub(live.begins));
        say(json, style(proven(&report, computed.as_ref(), grown)).green());
    }
    conclude(&report, json, agreed.map(drop))
}

/// A chain that grows while it is followed.
#[derive(Debug, Clone, Copy)]
struct Live {
    /// The chain's height before.
    begins: u64,
    /// Time from which on it grows.
    from: UnixMillis,
    /// When the liars come.
    middle: UnixMillis,
    until: Until,
    /// Address of the follower, which the liars call.
    follower: SocketAddr,
}

impl Live {
    /// Growth from now on, for `seconds` and until so many `liars` are banned.
    fn begin(seconds: u64, begins: u64, liars: usize) -> Result<Self, CliError> {
        let blocks_in = |seconds: u64| begins.saturating_add(seconds.saturating_mul(1000) / BLOCK_MS);
        let from = wall_clock();
        // Nobody else takes the port meanwhile: systems give free ports out in turn, or by chance.
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        Ok(Self {
            begins,
            from,
            middle: UnixMillis::new(from.get().saturating_add(seconds.saturating_mul(500))),
            until: Until {
                height: blocks_in(seconds),
                bans: liars,
                latest: blocks_in(seconds.saturating_add(MOST_SECONDS_MORE)),
            },
            follower: free.map_err(|source| CliError::System { what: "no port is free", source })?,
        })
    }
}

/// The key of a server that comes later.
struct Key {
    file: PathBuf,
    peer_id: String,
}

/// A serving process.
struct Server {
    process: Child,
    report: ServeReport,
    role: Role,
    lie: Option<Lie>,
    dir: PathBuf,
}

impl Server {
    fn part(&self) -> String {
        match (self.role, self.lie) {
            (Role::Liar, Some(lie)) => format!("liar: {}", name_of(&lie)),
            (role, _) => role.name().to_owned(),
        }
    }
}

/// All that servers are started with.
struct Stage<'a> {
    args: &'a DemoArgs,
    folder: &'a Folder,
    chain: &'a Path,
    live: Option<Live>,
}

impl Stage<'_> {
    /// Starts the server number `index`; with a `key` where it comes while the chain is followed.
    fn start(&self, index: usize, key: Option<&Key>, stop: &Stop) -> Result<Server, CliError> {
        stop.check()?;
        let args = self.args;
        let mut arguments = Vec::new();
        let mut lie = None;
        let role = if index < args.liars {
            let pick = if self.live.is_some() { Lie::pick_live } else { Lie::pick };
            let picked = pick(args.chain.seed, index);
            arguments.extend(["--lie".to_owned(), name_of(&picked)]);
            lie = Some(picked);
            Role::Liar
        } else if index < args.liars.saturating_add(args.slow) {
            arguments.extend(["--delay-ms".to_owned(), SLOW_DELAY_MS.to_string()]);
            arguments.extend(["--rate".to_owned(), SLOW_RATE.to_string()]);
            Role::Slow
        } else {
            Role::Honest
        };
        if let Some(Live { begins, from, until, follower, .. }) = self.live {
            let grow = until.latest.saturating_sub(begins);
            arguments.extend(["--grow".to_owned(), grow.to_string(), "--grow-from".to_owned(), from.get().to_string()]);
            if let Some(Key { file, .. }) = key {
                arguments.extend(["--grow-ahead-ms".to_owned(), AHEAD_MS.to_string()]);
                arguments.extend(["--identity".to_owned(), file.display().to_string()]);
                arguments.extend(["--peer".to_owned(), follower.to_string()]);
            }
        }
        let dir = self.folder.entry(&format!("server-{}", index + 1))?;
        let (process, report) = serve_copy(self.chain, &dir, format!("serving process {}", index + 1), &arguments)?;
        Ok(Server { process, report, role, lie, dir })
    }

    /// Makes the key of the server number `index`.
    fn key(&self, index: usize) -> Result<Key, CliError> {
        let file = self.folder.entry(&format!("server-{}.key", index + 1))?;
        let peer_id = Identity::load_or_generate(&file)?.peer_id().to_string();
        Ok(Key { file, peer_id })
    }

    /// Ends when the liars are to come; never, where they were there from the start.
    async fn middle(&self) {
        let Some(live) = self.live else { return std::future::pending().await };
        tokio::time::sleep(Duration::from_millis(live.middle.get().saturating_sub(wall_clock().get()))).await;
    }
}

/// The store in `dir`, all of which was checked, its states too.
fn sound(dir: &Path) -> Result<InspectReport, CliError> {
    let report = inspect(dir, false)?;
    is_sound(dir, &report)?;
    Ok(report)
}

/// Checks that the late node's store and an honest server's say the same as the report; the server may be further where the
/// chain is `live`. Returns the late node's state after the head, as it was hashed, where it has one.
fn agree(report: &SyncReport, late: &Path, servers: &[Server], live: bool) -> Result<Option<StateCheck>, CliError> {
    let mut furthest = None;
    for Server { dir, .. } in servers.iter().filter(|server| server.role != Role::Liar) {
        let height = open_store(dir)?.1.stored().height;
        furthest = furthest.max(Some((height, dir)));
    }
    let Some((height, dir)) = furthest else {
        return Err(CliError::Options("no peer is honest"));
    };
    let InspectReport { head: ours, states, .. } = sound(late)?;
    sound(dir)?;
    let (genesis, store) = open_store(dir)?;
    let theirs = header_at(&store, &genesis, Height::new(ours.height).min(height))?;
    let (id, state_root) = (theirs.id.to_string(), theirs.state_root.to_string());
    let computed = states.into_iter().flatten().find(|state| state.height == ours.height);
    let height = if live { height.get().min(ours.height) } else { height.get() };
    let pairs = [
        ("heights", ours.height.to_string(), height.to_string()),
        ("head ids", ours.id, id.clone()),
        ("state roots", ours.state_root, state_root.clone()),
        ("reported head ids", report.head.id.clone(), id),
        ("reported state roots", report.head.state_root.clone(), state_root),
    ];
    match pairs.into_iter().find(|(_, ours, theirs)| ours != theirs) {
        Some((what, ours, theirs)) => Err(CliError::Mismatch { what, ours, theirs }),
        None => Ok(computed),
    }
}

/// Words for what was proven, and by what. `grown` is the number of blocks that were made meanwhile, if any.
fn proven(report: &SyncReport, computed: Option<&StateCheck>, grown: Option<u64>) -> String {
    let Head { height, .. } = report.head;
    let grown = grown.map_or_else(String::new, |blocks| format!("{blocks} blocks were made meanwhile;\n"));
    let is_final = format!("{grown}proven: block {height} is final by its validators' signatures, as a server has it");
    match computed {
        Some(StateCheck { keys, computed_state_root, .. }) => format!(
            "{is_final};\nthe {keys} keys that this node computed hash to the state root in its header:\n{computed_state_root}"
        ),
        None => format!("{is_final}; nothing executed the blocks, so no state was computed"),
    }
}

fn summarize(json: Option<&Path>, report: &SyncReport, servers: &[Server]) {
    say(json, format_args!("{}", report.describe()));
    for server in servers {
        let peer = report.peers.iter().find(|peer| peer.id == server.report.peer_id);
        let part = server.part();
        match peer {
            Some(PeerReport { banned: Some(reason), id, .. }) => {
                say(json, style(format_args!("  {} ({part}): banned: {reason}", short(id))).red());
            }
            Some(PeerReport { id, blocks, bytes, .. }) => {
                say(json, format_args!("  {} ({part}): {blocks} blocks, {:.1} MB", short(id), *bytes as f64 / 1e6));
            }
            None => say(json, format_args!("  {} ({part}): never met", short(&server.report.peer_id))),
        }
    }
}
