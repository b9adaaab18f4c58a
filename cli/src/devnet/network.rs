//! The network as a whole: its processes, what is done to them, and what they come to.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff2_sync::config::SyncStrategyType;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::wire::{Refusal, encode_refusal};
use hotstuff2_sync_testkit::ledger::{DEFAULT_ACCOUNTS, Transaction, encode};
use hotstuff2_sync_tokio::net::{HandlerFn, Identity, Network, NetworkEvent, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::wall_clock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::args::DevnetArgs;
use super::mail::order;
use super::plan::{Plan, Shape, first_root};
use super::record_file::RECORD_FILE;
use super::report::Recovery;
use super::scenario::{Scenario, Step};
use super::status::{MemberStatus, Order};
use super::view::View;
use crate::args::Parent;
use crate::cluster::{Child, Folder};
use crate::error::CliError;
use crate::node::Stop;
use crate::report::{conclude, say};
use crate::screen::tell;

/// How often nodes are asked how they are.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a node may take to say so.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How long the first block may take.
const FIRST_BLOCK: Duration = Duration::from_secs(60);
/// How long after the last step a scenario without an end goes on, and most time for nodes to come back.
const AFTERWARDS: Duration = Duration::from_secs(20);
/// How often a line is said where no view is shown.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How often transactions are sent, and how many in one request.
const PAY_EVERY: Duration = Duration::from_millis(100);
const PAID_TOGETHER: u64 = 400;

/// Runs a network until its end, and compares what its nodes came to.
pub(super) async fn run(args: &DevnetArgs) -> Result<(), CliError> {
    let mut stop = Stop::of_tool(&Parent { until_stdin_closes: false })?;
    let validators = args.validators.unwrap_or(args.nodes);
    if validators > args.nodes {
        return Err(CliError::Options("there are more validators than nodes: say fewer --validators, or more --nodes"));
    }
    let scenario = match &args.scenario {
        Some(path) => Scenario::read(path, args.nodes)?,
        None => Scenario::default(),
    };
    let folder = Folder::prepare(args.dir.as_deref())?;
    let mut network = Devnet::start(args, validators, &scenario, &folder)?;
    let played = network.play(&scenario, args.seconds.or(scenario.seconds), &mut stop).await;
    let outcome = match played {
        Ok(()) => {
            let report = network.compare().await;
            network.view.clear();
            let json = args.json.path.as_deref();
            if report.ok {
                say(json, format_args!("{}", report.describe()));
            }
            let result = if report.ok { Ok(()) } else { Err(CliError::Devnet(report.faults.join("; "))) };
            conclude(&report, json, result)
        }
        Err(error) => Err(error),
    };
    network.view.clear();
    network.end();
    outcome
}

pub(super) struct Node {
    pub(super) plan: Plan,
    /// The file with its plan.
    file: PathBuf,
    pub(super) child: Option<Child>,
    peer: PeerId,
    address: SocketAddr,
    pub(super) status: Option<MemberStatus>,
    /// The disturbance that it has to come back from.
    pub(super) awaited: Option<Awaited>,
}

#[derive(Clone, Copy)]
pub(super) struct Awaited {
    since: Instant,
    after: &'static str,
    /// The highest block of the network at that time: it is in its role again with a newer one.
    height: u64,
    behind: Option<u64>,
}

pub(super) struct Devnet {
    pub(super) nodes: Vec<Node>,
    network: Arc<dyn Network>,
    _events: mpsc::Receiver<NetworkEvent>,
    rng: Rng,
    load: u64,
    pub(super) epoch_blocks: u64,
    view: View,
    pub(super) began: Option<Instant>,
    /// The highest block that was ever seen.
    top: u64,
    last_line: Instant,
    last_pay: Instant,
    pub(super) sent: u64,
    pub(super) events: Vec<String>,
    pub(super) recoveries: Vec<Recovery>,
}

impl Devnet {
    fn start(args: &DevnetArgs, validators: u64, scenario: &Scenario, folder: &Folder) -> Result<Self, CliError> {
        let shape = Shape {
            seed: args.seed,
            nodes: args.nodes,
            validators,
            epoch_blocks: args.epoch_blocks,
            snapshot_interval: args.snapshot_interval,
            block_ms: args.block_ms,
            view_ms: args.view_ms,
            begins: wall_clock().get(),
            state_root: first_root()?,
        };
        let failed = |source| CliError::System { what: "no port is free", source };
        // All at once, so that no two are the same. Nobody else takes them meanwhile: systems give free ports out in turn, or by
        // chance.
        let sockets: Result<Vec<UdpSocket>, _> =
            (0..args.nodes).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).collect();
        let addresses: Result<Vec<SocketAddr>, _> =
            sockets.map_err(failed)?.iter().map(UdpSocket::local_addr).collect();
        let addresses = addresses.map_err(failed)?;
        let mut nodes = Vec::new();
        for (node, address) in (0..).zip(&addresses) {
            let plan = Plan {
                shape: shape.clone(),
                node,
                dir: folder.entry(&format!("node-{node}"))?,
                addresses: addresses.clone(),
                strategy: SyncStrategyType::Auto,
                new: true,
                lies: scenario.liars.contains(&node),
            };
            let (peer, file) = (shape.peer(node), folder.entry(&format!("node-{node}.json"))?);
            nodes.push(Node { plan, file, child: None, peer, address: *address, status: None, awaited: None });
        }
        let identity = Identity::from_secret(shape.key(args.nodes).as_bytes())?;
        let silent = HandlerFn::new(|_, _| encode_refusal(Refusal::NotAvailable));
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (network, events) = QuicNetwork::bind(here, identity, QuicLimits::default(), Some(Arc::new(silent)))?;
        let now = Instant::now();
        let mut devnet = Self {
            nodes,
            network: Arc::new(network),
            _events: events,
            rng: Rng::new(args.seed),
            load: args.load,
            epoch_blocks: args.epoch_blocks,
            view: View::new(args.nodes),
            began: None,
            top: 0,
            last_line: now,
            last_pay: now,
            sent: 0,
            events: Vec::new(),
            recoveries: Vec::new(),
        };
        for node in (0..args.nodes).filter(|node| !scenario.absent.contains(node)) {
            devnet.start_node(node)?;
        }
        Ok(devnet)
    }

    fn node(&mut self, node: u64) -> Option<&mut Node> {
        usize::try_from(node).ok().and_then(|node| self.nodes.get_mut(node))
    }

    fn start_node(&mut self, node: u64) -> Result<(), CliError> {
        let Some(node) = self.node(node) else { return Ok(()) };
        if node.child.is_some() {
            return Ok(());
        }
        fs::create_dir_all(&node.plan.dir).map_err(CliError::file("created", &node.plan.dir))?;
        node.plan.write(&node.file)?;
        let arguments = ["devnet-node".to_owned(), "--plan".to_owned(), node.file.display().to_string()];
        node.child = Some(Child::start(format!("node {}", node.plan.node), &arguments)?);
        // It may vote from now on.
        node.plan.new = false;
        Ok(())
    }

    /// Plays the scenario to its end, or until the network is to stop.
    async fn play(&mut self, scenario: &Scenario, seconds: Option<u64>, stop: &mut Stop) -> Result<(), CliError> {
        let mut steps = scenario.steps.iter().peekable();
        let begin = Instant::now();
        let end = match seconds {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None if scenario.steps.is_empty() => None,
            None => Some(scenario.end() + AFTERWARDS),
        };
        loop {
            tokio::select! {
                _ = stop.asked() => return if self.began.is_some() { Ok(()) } else { Err(CliError::Stopped) },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.look().await?;
            let Some(began) = self.began else {
                if begin.elapsed() > FIRST_BLOCK {
                    let words = "the network has no block after a minute: see what its nodes say with -v";
                    return Err(CliError::Devnet(words.to_owned()));
                }
                continue;
            };
            self.pay().await;
            while let Some(step) = steps.next_if(|step| step.time() <= began.elapsed()) {
                self.step(step).await?;
            }
            let comes_back = self.nodes.iter().any(|node| node.awaited.is_some());
            if let Some(end) = end.filter(|end| began.elapsed() >= *end)
                && steps.peek().is_none()
                && (!comes_back || began.elapsed() > end + AFTERWARDS)
            {
                return Ok(());
            }
        }
    }

    fn highest(&self) -> u64 {
        self.nodes.iter().filter_map(|node| Some(node.status.as_ref()?.height)).max().unwrap_or(0).max(self.top)
    }

    /// Asks all nodes how they are.
    async fn look(&mut self) -> Result<(), CliError> {
        self.give(&Order::Status, |_| true).await;
        let highest = self.highest();
        self.top = highest;
        if highest > 0 && self.began.is_none() {
            self.began = Some(Instant::now());
            tell(format_args!("the network decides: block {highest} is final"));
        }
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if let Some(child) = &mut node.child
                && let Some(status) = child.ended()?
            {
                return Err(CliError::Devnet(format!(
                    "node {index} ended by itself ({status}); what it said stands above"
                )));
            }
            self.view.show(index, node.status.as_ref(), node.child.is_some(), highest);
            let Some((status, awaited)) = node.status.as_ref().zip(node.awaited.as_mut()) else { continue };
            let behind = *awaited.behind.get_or_insert(awaited.height.saturating_sub(status.height));
            let in_role = if status.validator { status.votes } else { status.height.saturating_add(8) >= highest };
            if node.child.is_some() && in_role && status.height > awaited.height {
                let seconds = awaited.since.elapsed().as_secs_f64();
                tell(format_args!("node {index} is back {seconds:.1} s after {}", awaited.after));
                let after = awaited.after;
                self.recoveries.push(Recovery { node: node.plan.node, after, behind, seconds });
                node.awaited = None;
            }
        }
        if self.last_line.elapsed() >= LINE_EVERY && !crate::screen::has_bars() {
            self.last_line = Instant::now();
            let running = self.nodes.iter().filter(|node| node.child.is_some());
            let running: Vec<&MemberStatus> = running.filter_map(|node| node.status.as_ref()).collect();
            let votes = running.iter().filter(|status| status.votes).count();
            let peers = running.iter().map(|status| status.peers).min().unwrap_or(0);
            tell(format_args!("block {highest}, {votes} nodes vote, each has {peers} peers at least"));
            for node in &self.nodes {
                let Some(status) = node.status.as_ref().filter(|status| status.validator && !status.votes) else {
                    continue;
                };
                tell(format_args!("node {}, a validator, waits: {}", node.plan.node, status.waits_for));
            }
        }
        Ok(())
    }

    /// Gives an order to the nodes that run and that `to` says, and keeps what they answer.
    pub(super) async fn give(&mut self, what: &Order, to: impl Fn(u64) -> bool) {
        let mut asked = JoinSet::new();
        for node in self.nodes.iter().filter(|node| node.child.is_some() && to(node.plan.node)) {
            let (network, what) = (Arc::clone(&self.network), what.clone());
            let (number, peer, address) = (node.plan.node, node.peer, node.address);
            asked.spawn(async move {
                let answer = async {
                    if !network.links().iter().any(|link| link.peer == peer) {
                        network.connect(address, Some(peer)).await.ok()?;
                    }
                    order(&*network, peer, &what).await
                };
                (number, tokio::time::timeout(ANSWER_PATIENCE, answer).await.ok().flatten())
            });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((number, Some(status))) = answer
                && let Some(node) = self.node(number)
            {
                node.status = Some(status);
            }
        }
    }

    /// Sends transactions, to one node at a time.
    async fn pay(&mut self) {
        let due = self.load.saturating_mul(u64::try_from(self.last_pay.elapsed().as_millis()).unwrap_or(0)) / 1000;
        if due == 0 || self.last_pay.elapsed() < PAY_EVERY {
            return;
        }
        self.last_pay = Instant::now();
        let running: Vec<u64> =
            self.nodes.iter().filter(|node| node.child.is_some()).map(|node| node.plan.node).collect();
        let mut left = due;
        while left > 0 && !running.is_empty() {
            let many = left.min(PAID_TOGETHER);
            left -= many;
            let mut account = || u32::try_from(self.rng.below(u64::from(DEFAULT_ACCOUNTS))).unwrap_or(0);
            let transfers: Vec<Transaction<'_>> =
                (0..many).map(|_| Transaction::Transfer { from: account(), to: account(), amount: 1 }).collect();
            let payload = encode(&transfers);
            let pick = self.rng.below(running.len() as u64);
            let to = usize::try_from(pick).ok().and_then(|pick| running.get(pick)).copied();
            self.give(&Order::Pay(payload), |node| Some(node) == to).await;
            self.sent = self.sent.saturating_add(many);
        }
    }

    async fn step(&mut self, step: &Step) -> Result<(), CliError> {
        let height = self.highest();
        let mut said = Vec::new();
        for &number in &step.crash {
            self.crash(number);
            said.push(format!("crash of node {number}"));
        }
        let lost = [(&step.wipe, "wiped disk", ""), (&step.forget, "lost record of votes", RECORD_FILE)];
        for (nodes, what, name) in lost {
            for &number in nodes {
                if let Some(node) = self.crash(number) {
                    remove(&node.plan.dir.join(name))?;
                }
                self.start_node(number)?;
                self.await_node(number, what, height);
                said.push(format!("{what} of node {number}"));
            }
        }
        for (nodes, strategy, what) in
            [(&step.start, SyncStrategyType::Auto, "start"), (&step.join, SyncStrategyType::Fast, "join by a state")]
        {
            for &number in nodes {
                if let Some(node) = self.node(number) {
                    node.plan.strategy = strategy;
                }
                self.start_node(number)?;
                self.await_node(number, what, height);
                said.push(format!("{what} of node {number}"));
            }
        }
        if !step.cut.is_empty() {
            for group in &step.cut {
                let others: Vec<u64> = step.cut.iter().filter(|other| *other != group).flatten().copied().collect();
                self.give(&Order::Cut(others), |node| group.contains(&node)).await;
            }
            said.push(format!("cut into {:?}", step.cut));
        }
        if step.heal {
            self.give(&Order::Heal, |_| true).await;
            for node in 0..self.nodes.len() as u64 {
                if self.node(node).is_some_and(|node| node.child.is_some() && node.awaited.is_none()) {
                    self.await_node(node, "the cut", height);
                }
            }
            said.push("healed".to_owned());
        }
        if let Some(slow) = &step.slow {
            self.give(&Order::Slow(slow.ms), |node| slow.nodes.contains(&node)).await;
            said.push(format!("{} ms for nodes {:?}", slow.ms, slow.nodes));
        }
        let words = format!("{:.1} s, block {height}: {}", step.at, said.join(", "));
        tell(&words);
        self.events.push(words);
        Ok(())
    }

    /// Ends a node where it is.
    fn crash(&mut self, number: u64) -> Option<&Node> {
        let node = self.node(number)?;
        if let Some(mut child) = node.child.take() {
            child.kill();
        }
        node.status = None;
        Some(node)
    }

    fn await_node(&mut self, node: u64, after: &'static str, height: u64) {
        if let Some(node) = self.node(node) {
            node.awaited = Some(Awaited { since: Instant::now(), after, height, behind: None });
        }
    }

    /// Stops all processes, all at once.
    fn end(&mut self) {
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            child.ask_to_stop();
        }
        for node in &mut self.nodes {
            node.child = None;
        }
    }
}

fn remove(path: &Path) -> Result<(), CliError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(CliError::file("removed", path)(error)),
        _ => Ok(()),
    }
}
