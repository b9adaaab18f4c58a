//! [`Engine`]: the replica on a thread of its own, since it writes to disk before it speaks.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use hotstuff2_sync::chain::native::{Block, Handover, Header, NativeChain, QuorumCertificate, Segment, ValidatorKey};
use hotstuff2_sync::ids::{Height, PeerId, View};
use hotstuff2_sync::participation::{Permit, VoteRecord};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync_testkit::replica::{Final, Message, Output, Record, Replica};
use hotstuff2_sync_tokio::DecidedBlocks;
use hotstuff2_sync_tokio::store::DiskStore;
use hotstuff2_sync_tokio::wall_clock;
use tokio::sync::{mpsc, oneshot, watch};

use super::control::Spoken;
use super::ledger::LedgerExecution;
use super::mail::Mail;
use super::record_file::RecordFile;
use crate::error::CliError;

/// Inputs that wait for the engine. Messages above that are lost, as on a network.
const MOST_WAITING: usize = 4096;
/// Inputs that are taken in before the record is written and what came out is sent.
const TOGETHER: usize = 64;
/// Final blocks that are kept for replicas that lack a few.
const KEPT: u64 = 64;

/// What may happen to an engine.
pub(super) enum EngineInput {
    /// A member's message came.
    Mail(PeerId, Bytes),
    /// It may take part.
    Speak(Box<Permit>, oneshot::Sender<()>),
    /// It must not take part.
    Mute(oneshot::Sender<()>),
    /// Blocks up to this height are stored and executed.
    Applied(Height),
    /// The node ends.
    End,
}

/// The way to an engine.
#[derive(Clone)]
pub(super) struct Inputs(SyncSender<EngineInput>);

impl Inputs {
    pub(super) fn new() -> (Self, Receiver<EngineInput>) {
        let (sender, receiver) = sync_channel(MOST_WAITING);
        (Self(sender), receiver)
    }

    /// Sends what may be lost.
    pub(super) fn send(&self, input: EngineInput) {
        // The replica repeats what matters.
        let _ = self.0.try_send(input);
    }

    /// Sends what may not be lost; false where the engine has ended.
    pub(super) fn must_send(&self, input: EngineInput) -> bool {
        self.0.send(input).is_ok()
    }
}

/// A replica, and what it works with.
pub(super) struct Engine {
    pub(super) replica: Replica<LedgerExecution>,
    pub(super) record: Record,
    pub(super) file: RecordFile,
    pub(super) store: Arc<DiskStore<NativeChain>>,
    pub(super) applied: Height,
    pub(super) mail: Arc<Mail>,
    pub(super) spoken: Arc<Mutex<Spoken>>,
    pub(super) view: watch::Sender<View>,
    pub(super) decided: mpsc::UnboundedSender<DecidedBlocks>,
    pub(super) clock: ReplicaClock,
}

/// The time of a replica: since the chain began, by the wall at the start and then by the machine's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplicaClock {
    started: Clock,
    at_start: Duration,
}

impl ReplicaClock {
    pub(super) fn since(begins_ms: u64) -> Self {
        let at_start = Duration::from_millis(wall_clock().get().saturating_sub(begins_ms));
        Self { started: Clock::now(), at_start }
    }

    pub(super) fn now(&self) -> Instant {
        Instant::ZERO.after(self.at_start + self.started.elapsed())
    }
}

impl Engine {
    /// Runs until the node ends, or the record can't be written.
    pub(super) fn run(mut self, inputs: &Receiver<EngineInput>) -> Result<(), CliError> {
        let mut acknowledge = Vec::new();
        loop {
            let until = self.drain()?;
            for done in acknowledge.drain(..) {
                let done: oneshot::Sender<()> = done;
                // The coordinator may have gone.
                let _ = done.send(());
            }
            let wait = until.since(self.clock.now());
            let first = match inputs.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let more = std::iter::from_fn(|| inputs.try_recv().ok()).take(TOGETHER);
            for input in first.into_iter().chain(more) {
                match input {
                    EngineInput::Mail(from, bytes) => self.read(from, &bytes),
                    EngineInput::Speak(permit, done) => {
                        let lock = permit.lock.and_then(|lock| QuorumCertificate::decode(&lock.bytes).ok());
                        self.replica.speak(self.clock.now(), permit.vote_above, lock);
                        self.set_record(VoteRecord::Last(permit.vote_above));
                        acknowledge.push(done);
                    }
                    EngineInput::Mute(done) => {
                        self.replica.mute();
                        acknowledge.push(done);
                    }
                    EngineInput::Applied(height) => self.rise(height),
                    EngineInput::End => return Ok(()),
                }
            }
            let now = self.clock.now();
            if until <= now {
                self.replica.handle_timeout(now);
            }
        }
    }

    fn read(&mut self, from: PeerId, bytes: &[u8]) {
        match postcard::from_bytes::<Message>(bytes) {
            Ok(message) => {
                let from = ValidatorKey::from_bytes(*from.as_bytes());
                self.replica.handle_message(self.clock.now(), from, message);
            }
            Err(error) => tracing::debug!(%from, %error, "mail that is none"),
        }
    }

    /// Carries out what the replica wants, and returns when it wants to be called again.
    fn drain(&mut self) -> Result<Instant, CliError> {
        let mut messages = Vec::new();
        let until = loop {
            match self.replica.poll_output() {
                Output::Broadcast(message) => messages.push((None, message)),
                Output::Send(to, message) => messages.push((Some(PeerId::from_bytes(*to.as_bytes())), message)),
                Output::Commit(decided) => self.submit(&decided),
                Output::Wait(until) => break until,
            }
        };
        let record = self.replica.record(self.applied);
        // Without a permit a lost record stays lost: what was written now would pass for one that knows of all votes.
        let is_lost = self.spoken.lock().unwrap_or_else(PoisonError::into_inner).record == VoteRecord::Lost;
        if !is_lost && record != self.record {
            self.file.write(&record)?;
            if let Some(given_up) = record.entered_by.as_ref().filter(|by| self.record.entered_by.as_ref() != Some(by))
            {
                tracing::info!(view = %given_up.view, leader = ?self.replica.leader_of(given_up.view), "a view was given up");
            }
            self.record = record;
        }
        self.say_where();
        for (to, message) in messages {
            if let Ok(bytes) = postcard::to_allocvec(&message) {
                self.mail.send(to, &bytes.into());
            }
        }
        Ok(until)
    }

    fn submit(&self, Final { parent, blocks, proof, handover }: &Final) {
        let blocks: Vec<Block> = blocks
            .iter()
            .map(|block| Block { header: block.header.clone(), payload: block.payload.clone(), proof: proof.clone() })
            .collect();
        let decided = match DecidedBlocks::native(parent, &blocks) {
            Ok(decided) => decided,
            Err(error) => return tracing::error!(%error, "decided blocks that are no segment"),
        };
        let decided = match handover {
            Some(handover) => decided.with_handover(handover.encode()),
            None => decided,
        };
        // The sync may have ended.
        let _ = self.decided.send(decided);
    }

    /// Publishes what is durable.
    fn say_where(&self) {
        let head = self.replica.head();
        self.view.send_replace(self.replica.view());
        let mut spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        if let (VoteRecord::Last(_) | VoteRecord::Never, Some(view)) = (spoken.record, self.record.last_view()) {
            spoken.record = VoteRecord::Last(view);
        }
        spoken.epoch = self.replica.epoch();
        (spoken.height, spoken.block) = (head.height, head.id());
        spoken.view = self.replica.view();
        (spoken.floor, spoken.high) = (self.record.floor, self.replica.high().cloned());
        spoken.entered_by = self.replica.entered_by().cloned();
    }

    fn set_record(&self, record: VoteRecord) {
        self.spoken.lock().unwrap_or_else(PoisonError::into_inner).record = record;
    }

    /// The node has stored and executed blocks up to `height`.
    fn rise(&mut self, height: Height) {
        self.applied = self.applied.max(height);
        if height > self.replica.head().height
            && let Some((header, handover)) = stored(&self.store, height)
        {
            self.replica.handle_final(self.clock.now(), &header, handover);
        }
        if let Some(floor) = height.get().checked_sub(KEPT) {
            self.replica.forget(Height::new(floor));
        }
    }
}

/// The stored header at `height`, with the handover where it ends an epoch that has ended.
pub(super) fn stored(store: &DiskStore<NativeChain>, height: Height) -> Option<(Header, Option<Arc<Handover>>)> {
    let base = store.base().ok().flatten().filter(|base| base.height == height).map(|base| base.segment);
    let bytes = match base {
        Some(segment) => segment,
        None => store.segment(HeightRange::single(height), false, false).ok().flatten()?.segment,
    };
    let header = Segment::decode(&bytes).ok()?.header(height)?.0.clone();
    let handover = store.handover(header.epoch).ok().flatten().and_then(|bytes| Handover::decode(&bytes).ok());
    let handover = handover.filter(|handover| handover.header.id() == header.id()).map(Arc::new);
    Some((header, handover))
}
