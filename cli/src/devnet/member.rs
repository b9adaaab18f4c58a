//! One node of a devnet: store, state and sync as any node has them, and an [`Engine`] that decides blocks and hands them in.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hotstuff2_sync::chain::native::{EpochContext, NativeChain, ValidatorKey};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{PeerId, View};
use hotstuff2_sync::machine::{Position, Progress};
use hotstuff2_sync::participation::{GateSettings, VoteRecord};
use hotstuff2_sync_testkit::replica::{Committee, Laws, Record, Replica, Settings as ReplicaSettings};
use hotstuff2_sync_tokio::consensus::{ConsensusControl, ConsensusCoordinator, ConsensusHandler, ConsensusMode};
use hotstuff2_sync_tokio::genesis_file::GENESIS_FILE;
use hotstuff2_sync_tokio::net::{Handler, Identity, Network, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::BlockStore as _;
use hotstuff2_sync_tokio::{
    DecidedBlocks, PeerAddress, SpeculativeApplication, SubmitError, SyncBuilder, SyncEvent, SyncHandle, wall_clock,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::args::MemberArgs;
use super::control::{Control, Spoken};
use super::engine::{Engine, EngineInput, Inputs, ReplicaClock, stored};
use super::ledger::{LedgerExecution, Waiting};
use super::mail::{Mail, MailHandler, Ordered, fetch};
use super::plan::Plan;
use super::record_file::RecordFile;
use super::status::{MemberStatus, Order};
use crate::attack::{Lie, Staged};
use crate::error::CliError;
use crate::node::{LedgerFunction, Stop, answering, open_ledger, open_or_create};
use crate::screen::tell;

/// Orders that wait.
const ORDERS: usize = 64;
/// The share of a view's time that a leader listens for the highest lock, before it proposes above a view that failed: an eighth
/// of it is taken for what a message takes at most, and twice that is listened.
const DELTAS: u32 = 8;
/// How long nodes that are cut off are banned, unless it is healed before.
const CUT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Submissions that the sync has not answered.
const SUBMITTED: usize = 64;

/// Runs the node until it is stopped.
pub(super) async fn run(args: &MemberArgs) -> Result<(), CliError> {
    let mut stop = Stop::of_node(&args.parent)?;
    let plan = Plan::read(&args.plan)?;
    let committee = Arc::new(plan.shape.committee()?);
    let genesis = committee.genesis().clone();
    let store = Arc::new(open_or_create(&plan.dir, &genesis, None)?.store);
    let ledger = open_ledger(&store, &genesis, &plan.dir.join(GENESIS_FILE), false)?;
    let state = SpeculativeApplication::new(ledger);

    let file = RecordFile::in_folder(&plan.dir);
    let (record, known) = votes(&file, plan.new)?;
    let key = plan.shape.key(plan.node);
    let (head, handover) = match stored(&store, store.stored().height) {
        Some(found) => found,
        None => (genesis.header().clone(), None),
    };
    let spoken = Spoken {
        record: known,
        epoch: head.epoch,
        height: head.height,
        block: head.id(),
        view: record.view,
        floor: record.high.as_ref().map_or(record.floor, |high| high.view.max(record.floor)),
        high: None,
        entered_by: None,
    };
    let spoken = Arc::new(Mutex::new(spoken));
    let (inputs, receiver) = Inputs::new();
    let control: Arc<dyn ConsensusControl> = Arc::new(Control {
        committee: Arc::clone(&committee),
        key: key.clone(),
        spoken: Arc::clone(&spoken),
        engine: inputs.clone(),
    });

    let identity = Identity::from_secret(key.as_bytes())?;
    let (seed, own) = (identity.seed(), identity.peer_id());
    let members: HashSet<PeerId> =
        (0..plan.shape.nodes).map(|node| plan.shape.peer(node)).filter(|peer| *peer != own).collect();
    let run = wall_clock().get();
    let mail = Arc::new(Mail::new(members.iter().copied(), run));
    let (order_sender, orders) = mpsc::channel(ORDERS);
    let answers: Arc<dyn Handler> = Arc::new(answering(&store, None));
    let answers = if plan.lies { lying(answers) } else { answers };
    let handler = MailHandler {
        inner: Arc::new(ConsensusHandler::new(answers, Arc::clone(&control))),
        mail: Arc::clone(&mail),
        director: plan.shape.peer(plan.shape.nodes),
        orders: order_sender,
    };
    let listen = *plan.addresses.get(usize::try_from(plan.node).unwrap_or(usize::MAX)).ok_or(CliError::Stopped)?;
    let (network, events) = QuicNetwork::bind(listen, identity, QuicLimits::default(), Some(Arc::new(handler)))?;
    let network: Arc<dyn Network> = Arc::new(network);
    let others = (0..).zip(&plan.addresses).filter(|(node, _)| *node != plan.node);
    let peers = others.map(|(node, address)| PeerAddress { address: *address, id: Some(plan.shape.peer(node)) });
    let chain = Arc::new(NativeChain::new(&genesis));
    let config = SyncConfig { default_strategy: plan.strategy, ..SyncConfig::default() };
    let mut handle = SyncBuilder::new(Arc::clone(&chain), Arc::clone(&store) as _, Arc::clone(&network), events)
        .with_config(config)
        .with_application(Box::new(state.clone()))
        .with_staging(Arc::clone(&store) as _)
        .with_peers(peers.collect())
        .with_seed(seed)
        .start()?;
    let gate = GateSettings { views_are_certified: true, fresh_word_ms: 6_000, ..GateSettings::default() };
    let consensus = ConsensusCoordinator::start(&handle, chain, control, gate).map_err(CliError::Consensus)?;

    let waiting = Arc::new(Waiting::default());
    let clock = ReplicaClock::since(plan.shape.begins);
    let view_time = Duration::from_millis(plan.shape.view_ms);
    let settings = ReplicaSettings {
        delta: view_time / DELTAS,
        patience: view_time.saturating_add(Duration::from_millis(plan.shape.block_ms)),
        pace: Duration::from_millis(plan.shape.block_ms),
        phase_two: false,
        noise: 0,
        payload_bytes: 0,
        laws: Laws::KEPT,
    };
    let execution = LedgerExecution { state: state.clone(), waiting: Arc::clone(&waiting) };
    let mut replica =
        Replica::resumed(Arc::clone(&committee), key, settings, execution, head.clone(), record.clone(), clock.now());
    if let Some(handover) = handover {
        replica.handle_ending(handover);
    }
    let (decided, decisions) = mpsc::unbounded_channel();
    let (view, viewing) = watch::channel(View::ZERO);
    let engine = Engine {
        replica,
        record,
        file,
        store: Arc::clone(&store),
        applied: head.height,
        mail: Arc::clone(&mail),
        spoken,
        view,
        decided,
        clock,
    };
    let (ended, mut end) = oneshot::channel();
    let engine = thread::Builder::new().name("hs2-replica".to_owned()).spawn(move || {
        // Nobody is left to be told where the node has ended.
        let _ = ended.send(engine.run(&receiver));
    });
    let engine = engine.map_err(|source| CliError::System { what: "a thread can't be started", source })?;

    let mut node = Node {
        plan,
        committee,
        own: ValidatorKey::from_bytes(*own.as_bytes()),
        state,
        waiting,
        network: Arc::clone(&network),
        mail: Arc::clone(&mail),
        inputs: inputs.clone(),
        mode: consensus.mode(),
        position: handle.position(),
        progress: handle.progress(),
        view: viewing,
        latencies: (0, 0),
        failed: None,
    };
    let mut fetching = JoinSet::new();
    let to_engine = inputs.clone();
    fetching.spawn(fetch(network, mail, members, move |peer, bytes| to_engine.send(EngineInput::Mail(peer, bytes))));
    let outcome = tokio::select! {
        _ = stop.asked() => Ok(()),
        outcome = node.run(&mut handle, orders, decisions) => outcome,
        broken = &mut end => broken.unwrap_or(Ok(())),
    };
    // Votes stop before the sync does.
    inputs.must_send(EngineInput::End);
    let _ = engine.join();
    drop(consensus);
    fetching.shutdown().await;
    handle.shutdown().await;
    outcome
}

/// The record of votes, and what it is worth. A node that has never voted writes down that it hasn't.
fn votes(file: &RecordFile, new: bool) -> Result<(Record, VoteRecord), CliError> {
    match file.read() {
        Some(record) => {
            let known = record.last_view().map_or(VoteRecord::Never, VoteRecord::Last);
            Ok((record, known))
        }
        None if new => {
            let record = Record::default();
            file.write(&record)?;
            Ok((record, VoteRecord::Never))
        }
        None => Ok((Record::default(), VoteRecord::Lost)),
    }
}

fn lying(inner: Arc<dyn Handler>) -> Arc<dyn Handler> {
    let (older, delay, rate) = (None, Duration::ZERO, 0);
    Arc::new(Staged { inner, older, lie: Some(Lie::Payload), delay, rate })
}

struct Node {
    plan: Plan,
    committee: Arc<Committee>,
    own: ValidatorKey,
    state: SpeculativeApplication<LedgerFunction>,
    waiting: Arc<Waiting>,
    network: Arc<dyn Network>,
    mail: Arc<Mail>,
    inputs: Inputs,
    mode: watch::Receiver<ConsensusMode>,
    position: watch::Receiver<Position>,
    progress: watch::Receiver<Progress>,
    view: watch::Receiver<View>,
    /// As in [`MemberStatus`].
    latencies: (u64, u64),
    failed: Option<String>,
}

impl Node {
    async fn run(
        &mut self,
        handle: &mut SyncHandle,
        mut orders: mpsc::Receiver<Ordered>,
        mut decisions: mpsc::UnboundedReceiver<DecidedBlocks>,
    ) -> Result<(), CliError> {
        let mut submitted = JoinSet::new();
        loop {
            tokio::select! {
                changed = self.position.changed() => match changed {
                    Ok(()) => self.rise(),
                    Err(_) => return Err(CliError::Stopped),
                },
                Some(blocks) = decisions.recv(), if submitted.len() < SUBMITTED => {
                    submitted.spawn(handle.submit(blocks));
                }
                Some(answer) = submitted.join_next() => match answer {
                    // Where a peer was quicker, the blocks are here.
                    Ok(Err(SubmitError::Refused(refused))) => tracing::debug!(%refused, "decided blocks"),
                    Ok(Err(error)) => tracing::warn!(%error, "decided blocks"),
                    _ => {}
                },
                Some(event) = handle.next_event() => self.hear(&event),
                Some((order, answer)) = orders.recv() => {
                    let status = self.obey(order);
                    // The one who asked may have gone.
                    let _ = answer.send(status);
                }
            }
        }
    }

    fn hear(&mut self, event: &SyncEvent) {
        match event {
            SyncEvent::Host(reason) => {
                tell(format_args!("node {}: {reason}", self.plan.node));
                self.failed = Some(reason.clone());
            }
            SyncEvent::Machine(event) => tracing::info!(node = self.plan.node, "{event}"),
            _ => {}
        }
    }

    /// The sync has gone on.
    fn rise(&mut self) {
        let applied = self.position.borrow_and_update().applied;
        let Some(applied) = applied else { return };
        self.inputs.must_send(EngineInput::Applied(applied.height));
        let facts = self.position.borrow().proven.as_ref().map(|(facts, _)| *facts);
        if let Some(facts) = facts.filter(|facts| facts.height == applied.height) {
            let took = wall_clock().get().saturating_sub(facts.timestamp.get());
            let (sum, count) = self.latencies;
            self.latencies = (sum.saturating_add(took), count.saturating_add(1));
        }
    }

    fn obey(&mut self, order: Order) -> MemberStatus {
        let mut root = None;
        match order {
            Order::Status => {}
            Order::Cut(nodes) => {
                let peers: Vec<PeerId> = nodes.into_iter().map(|node| self.plan.shape.peer(node)).collect();
                for peer in &peers {
                    self.network.ban(*peer, CUT_FOR, "cut off");
                }
                self.mail.cut(peers);
            }
            Order::Heal => {
                self.mail.heal();
                for (node, address) in (0..).zip(&self.plan.addresses).filter(|(node, _)| *node != self.plan.node) {
                    let peer = self.plan.shape.peer(node);
                    self.network.lift_ban(peer);
                    let dial = self.network.connect(*address, Some(peer));
                    tokio::spawn(async move {
                        // Whoever is not there is dialled again by the sync.
                        let _ = dial.await;
                    });
                }
            }
            Order::Slow(millis) => self.mail.slow(millis),
            Order::Pay(payload) => {
                self.waiting.add(&payload);
            }
            Order::Rest => {
                let (done, _) = oneshot::channel();
                self.inputs.must_send(EngineInput::Mute(done));
            }
            Order::Root => match self.state.final_root() {
                Ok(computed) => root = Some(computed.to_string()),
                Err(error) => self.failed = Some(error.to_string()),
            },
        }
        self.status(root)
    }

    fn status(&self, root: Option<String>) -> MemberStatus {
        let Position { applied, epoch, .. } = self.position.borrow().clone();
        let progress = self.progress.borrow().clone();
        let number = epoch.epoch();
        let set = self.committee.context(number).map(EpochContext::validators);
        let mode = *self.mode.borrow();
        let waits_for = match mode {
            ConsensusMode::Participating => String::new(),
            ConsensusMode::Syncing(reason) => reason.to_string(),
        };
        let banned: Vec<String> =
            progress.peers.iter().filter_map(|peer| peer.banned.as_ref().map(|_| peer.id.to_string())).collect();
        MemberStatus {
            height: applied.map_or(0, |point| point.height.get()),
            view: self.view.borrow().get(),
            epoch: number.get(),
            validator: set.is_some_and(|set| set.index_of(&self.own).is_some()),
            votes: mode == ConsensusMode::Participating,
            waits_for,
            peers: self.network.links().len(),
            strategy: progress.strategy.name().to_owned(),
            tip_age_ms: progress.tip_age(wall_clock()).map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            taken_back: self.state.taken_back(),
            latencies: self.latencies,
            banned,
            root,
            id: applied.map_or(Hash::ZERO, |point| point.id).to_string(),
            failed: self.failed.clone(),
        }
    }
}
