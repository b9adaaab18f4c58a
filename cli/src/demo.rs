//! `demo`: a late node catches up with processes of their own that serve a chain, some of which lie or are slow.
//!
//! The node trusts nothing but the genesis file. That its head and state root are the servers' is checked at the end,
//! against a server's own store.

use std::path::{Path, PathBuf};

use console::style;
use hotstuff2_sync_tokio::genesis_file::GENESIS_FILE;
use hotstuff2_sync_tokio::wall_clock;

use crate::args::{App, DemoArgs, Parent, Strategy, name_of};
use crate::attack::Lie;
use crate::cluster::{Child, Folder, SyncJob, serve_copy};
use crate::error::CliError;
use crate::generate::{GenPlan, generate};
use crate::inspect::{inspect, is_sound};
use crate::node::{Stop, one_thread};
use crate::report::{Head, InspectReport, PeerReport, Role, ServeReport, StateCheck, SyncReport, conclude, say, short};

/// How a slow server is slow: like a peer on another continent with a bad line.
const SLOW_DELAY_MS: u64 = 300;
const SLOW_RATE: u64 = 256 << 10;

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
    let mut servers = start_servers(args, folder, &chain, &stop)?;
    for server in &servers {
        say(
            json,
            format_args!("serving: {} at {} ({})", short(&server.report.peer_id), server.report.address, server.part()),
        );
    }

    let report_file = folder.entry("late.json")?;
    let late = folder.entry("late")?;
    let job = SyncJob {
        genesis: &chain.join(GENESIS_FILE),
        dir: &late,
        report: &report_file,
        strategy: args.strategy,
        app: args.chain.app(),
        state_after: None,
        core: None,
        names: servers.iter().map(|server| (server.report.peer_id.as_str(), server.role.name())).collect(),
    };
    let synced = job.run(servers.iter().map(|server| &server.report), &mut stop).await;
    servers.iter_mut().for_each(|server| server.process.ask_to_stop());
    servers.iter_mut().for_each(|server| server.process.stop());
    let mut report = synced?;
    for peer in &mut report.peers {
        peer.role = servers.iter().find(|server| server.report.peer_id == peer.id).map(|server| server.role);
    }
    let agreed = agree(&report, &late, &servers);
    report.ok = report.ok && agreed.is_ok();
    summarize(json, &report, &servers);
    if let (true, Ok(computed)) = (report.ok, &agreed) {
        say(json, style(proven(&report, computed.as_ref())).green());
    }
    conclude(&report, json, agreed.map(drop))
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

fn start_servers(args: &DemoArgs, folder: &Folder, chain: &Path, stop: &Stop) -> Result<Vec<Server>, CliError> {
    (0..args.peers)
        .map(|index| {
            stop.check()?;
            let mut arguments = Vec::new();
            let text = |text: &str| text.to_owned();
            let mut lie = None;
            let role = if index < args.liars {
                let picked = Lie::pick(args.chain.seed, index);
                arguments.extend([text("--lie"), name_of(&picked)]);
                lie = Some(picked);
                Role::Liar
            } else if index < args.liars.saturating_add(args.slow) {
                arguments.extend([
                    text("--delay-ms"),
                    SLOW_DELAY_MS.to_string(),
                    text("--rate"),
                    SLOW_RATE.to_string(),
                ]);
                Role::Slow
            } else {
                Role::Honest
            };
            let dir = folder.entry(&format!("server-{}", index + 1))?;
            let (process, report) = serve_copy(chain, &dir, format!("serving process {}", index + 1), &arguments)?;
            Ok(Server { process, report, role, lie, dir })
        })
        .collect()
}

/// The store in `dir`, all of which was checked, its states too.
fn sound(dir: &Path) -> Result<InspectReport, CliError> {
    let report = inspect(dir, false)?;
    is_sound(dir, &report)?;
    Ok(report)
}

/// Checks that the late node's store and an honest server's say the same as the report. Returns the late node's state
/// after the head, as it was hashed, where it has one.
fn agree(report: &SyncReport, late: &Path, servers: &[Server]) -> Result<Option<StateCheck>, CliError> {
    let Some(honest) = servers.iter().find(|server| server.role == Role::Honest) else {
        return Err(CliError::Options("no peer is honest"));
    };
    let InspectReport { head: ours, states, .. } = sound(late)?;
    let theirs = sound(&honest.dir)?.head;
    let computed = states.into_iter().flatten().find(|state| state.height == ours.height);
    let mut pairs = vec![
        ("heights", ours.height.to_string(), theirs.height.to_string()),
        ("head ids", ours.id, theirs.id.clone()),
        ("state roots", ours.state_root, theirs.state_root.clone()),
    ];
    pairs.push(("reported head ids", report.head.id.clone(), theirs.id));
    pairs.push(("reported state roots", report.head.state_root.clone(), theirs.state_root));
    match pairs.into_iter().find(|(_, ours, theirs)| ours != theirs) {
        Some((what, ours, theirs)) => Err(CliError::Mismatch { what, ours, theirs }),
        None => Ok(computed),
    }
}

/// Words for what was proven, and by what.
fn proven(report: &SyncReport, computed: Option<&StateCheck>) -> String {
    let Head { height, .. } = report.head;
    let is_final = format!("proven: block {height} is final by its validators' signatures, as a server has it");
    match computed {
        Some(StateCheck { keys, .. }) => {
            format!("{is_final};\nthe {keys} keys that this node computed hash to the state root in its header")
        }
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
