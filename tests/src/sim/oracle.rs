//! [`Oracle`]: what must hold of a node at every moment, whatever the world does to it.
//!
//! It compares with the true chain and with what was acknowledged before, and asks the machine nothing that the machine
//! could be wrong about, but for its accounts of its budget. A [`Doctor`](super::Doctor) shows of each law that it is watched.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::calls::{
    Apply, BlockPoint, CallDone, HistoryPiece, Holding, HostCall, HostReply, HostWork, SnapshotBase,
};
use hotstuff2_sync::chain::native::{ConflictEvidence, EpochContext};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{CallId, Epoch, Height, JobId};
use hotstuff2_sync::machine::{Event, HaltReason, Progress};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::{StateForm, StateItem};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::Job;
use hotstuff2_sync::wire::Request;

use super::disk::Disk;
use super::source::Source;
use crate::chain::SigningEpoch;

/// What was violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// A block, a payload, a state or a height that is not the true chain's.
    Truth,
    /// Blocks out of order, or before the handover that they need.
    Order,
    /// More memory than the budget allows.
    Budget,
    /// An honest peer was banned.
    Blame,
    /// No progress, and nothing said or nothing planned.
    Stall,
    /// Something acknowledged was lost, or is asked for again.
    Durability,
    /// It halted without a reason for that, or did not halt though it had to.
    Halt,
    /// It did not arrive though an honest peer could be reached.
    Arrival,
}

/// A law that a node broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at:?} {law:?}: {what}")]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// When.
    pub at: Instant,
    /// What happened.
    pub what: String,
}

/// Time beyond `stall_after` that an explanation may take: inputs are taken in when they come.
const SLACK: Duration = Duration::from_secs(1);

/// The watch over one node.
#[derive(Clone)]
pub struct Oracle {
    /// What may be final: the true chain, and where validators equivocate its fork.
    truths: Vec<Arc<dyn Source>>,
    /// Height up to which blocks were handed over.
    handed: Height,
    calls: BTreeMap<CallId, HeightRange>,
    /// Bytes of the jobs and of the blocks that the machine has given out: a lower bound of what it holds.
    verifying: BTreeMap<JobId, u64>,
    applying: BTreeMap<CallId, u64>,
    budget: u64,
    /// What was acknowledged.
    acked: Height,
    /// Up to where the machine was told that blocks are executed.
    told: Height,
    /// The target that it has told of.
    target: Height,
    acked_epoch: Epoch,
    staged: Vec<StateItem>,
    /// Where a state was made live, and down to where history was acknowledged from there.
    anchor: Height,
    floor: Height,
    /// History is handed over down to here.
    history: Height,
    stall_after: Duration,
    job_timeout: Duration,
    progressed_at: Instant,
    explained: bool,
    running: bool,
    reached: bool,
    halted: bool,
}

type Check = Result<(), (Law, String)>;

impl Oracle {
    /// The watch over a node with these settings and an empty disk.
    pub fn new(truths: Vec<Arc<dyn Source>>, config: &SyncConfig) -> Self {
        Self {
            truths,
            handed: Height::ZERO,
            calls: BTreeMap::new(),
            verifying: BTreeMap::new(),
            applying: BTreeMap::new(),
            budget: config.memory_budget,
            acked: Height::ZERO,
            told: Height::ZERO,
            target: Height::ZERO,
            acked_epoch: Epoch::ZERO,
            staged: Vec::new(),
            anchor: Height::ZERO,
            floor: Height::ZERO,
            history: Height::ZERO,
            stall_after: config.stall_after,
            job_timeout: config.job_timeout,
            progressed_at: Instant::ZERO,
            explained: false,
            running: false,
            reached: false,
            halted: false,
        }
    }

    /// Whether the machine halted.
    pub fn halted(&self) -> bool {
        self.halted
    }

    /// The disk is gone, and with it all that was acknowledged.
    pub fn disk_lost(&mut self) {
        self.acked = Height::ZERO;
        self.acked_epoch = Epoch::ZERO;
        self.staged.clear();
        (self.anchor, self.floor) = (Height::ZERO, Height::ZERO);
    }

    /// A machine starts from `disk`.
    pub fn started(&mut self, now: Instant, disk: &Disk) -> Check {
        self.handed = disk.stored();
        self.told = disk.applied();
        self.target = Height::ZERO;
        self.calls.clear();
        self.verifying.clear();
        self.applying.clear();
        self.halted = false;
        self.resumed(now);
        let lost = disk.stored() < self.acked || disk.shelf.newest_epoch() < self.acked_epoch;
        ensure(!lost, Law::Durability, || {
            format!(
                "{} and {} are stored; acknowledged were {} and {}",
                disk.stored(),
                disk.shelf.newest_epoch(),
                self.acked,
                self.acked_epoch
            )
        })?;
        let (anchor, floor) = (disk.shelf.anchor(), disk.shelf.floor());
        let lost = anchor == self.anchor && floor > self.floor;
        (self.anchor, self.history) = (anchor, floor);
        let before = std::mem::replace(&mut self.floor, floor);
        ensure(!lost, Law::Durability, || format!("history is stored down to {floor}; acknowledged was {before}"))
    }

    /// The machine is told to go on.
    pub fn resumed(&mut self, now: Instant) {
        self.running = true;
        self.reached = false;
        self.progressed(now);
    }

    /// The machine is told to stop.
    pub fn stopped(&mut self) {
        self.running = false;
    }

    fn progressed(&mut self, now: Instant) {
        self.progressed_at = now;
        self.explained = false;
    }

    /// A request goes out.
    pub fn requested(&self, request: &Request) -> Check {
        let again = match request {
            // What lies below a state was never stored.
            Request::Bodies { range, .. } | Request::Segment { range, .. } if range.last() <= self.anchor => {
                range.last() > self.floor
            }
            Request::Bodies { range, .. } => range.first() <= self.acked,
            Request::Segment { range, bodies: 1.., .. } => range.first() <= self.acked,
            // A single one is asked of a peer who contradicts it: it is to prove what it says.
            Request::Follow { after, max_bytes: 2.., .. } => *after < self.acked,
            Request::Handovers { from, max: 2.. } => *from < self.acked_epoch,
            Request::State { form: StateForm::Leaves, items, .. } => {
                items.iter().any(|item| self.staged.contains(item))
            }
            _ => false,
        };
        ensure(!again, Law::Durability, || {
            format!(
                "{request:?} asks for what was acknowledged: blocks to {}, epochs to {}",
                self.acked, self.acked_epoch
            )
        })
    }

    /// Blocks are handed to the disk.
    fn applies(&mut self, id: CallId, apply: &Apply, disk: &Disk) -> Check {
        let range = apply.range().ok_or((Law::Order, "an empty call".to_owned()))?;
        if let Some(before) = self.calls.insert(id, range) {
            return ensure(before == range, Law::Order, || format!("{id:?} came with {before} and {range}"));
        }
        let mut next = self.handed.next();
        for part in &apply.parts {
            let last = BlockPoint { height: part.segment.range().last(), id: part.segment.last_id() };
            self.is_true(last)?;
            for frame in &part.frames {
                ensure(frame.range.first() == next, Law::Order, || format!("{} where {next} belongs", frame.range))?;
                let holds = self.truths.iter().any(|truth| truth.holds_frame(frame));
                ensure(holds, Law::Truth, || format!("other payloads in {}", frame.range))?;
                next = frame.range.last().next();
            }
            let (epoch, stored) = (part.segment.epoch(), disk.shelf.newest_epoch());
            ensure(epoch <= stored, Law::Order, || {
                format!("blocks of epoch {epoch}, with handovers to {stored} stored")
            })?;
        }
        self.handed = range.last();
        self.applying.insert(id, apply.payload_bytes());
        self.holds()
    }

    /// A call is made to the disk.
    pub fn calls(&mut self, call: &HostCall, disk: &Disk) -> Check {
        match &call.work {
            HostWork::Apply(apply) => self.applies(call.id, apply, disk),
            HostWork::Activate(base) => self.activates(base),
            HostWork::AddHistory(piece) => self.backfills(call.id, piece),
            _ => Ok(()),
        }
    }

    /// A call is acknowledged now.
    pub fn done(&mut self, now: Instant, work: &HostWork, done: &CallDone, disk: &Disk) -> Check {
        match (work, &done.result) {
            (_, Ok(HostReply::Applied { through, .. })) => return self.applied(now, done.id, *through, disk),
            (HostWork::StoreHandovers(_), _) => self.stored(now, disk),
            (HostWork::AddHistory(_), Ok(_)) => self.backfilled(done.id, disk),
            (_, Ok(reply)) => self.staged(now, work, reply),
            (_, Err(_)) => {}
        }
        Ok(())
    }

    /// A piece of history is handed to the disk.
    fn backfills(&mut self, id: CallId, piece: &HistoryPiece) -> Check {
        let range = piece.segment.range();
        if let Some(before) = self.calls.insert(id, range) {
            return ensure(before == range, Law::Order, || format!("{id:?} came with {before} and {range}"));
        }
        let belongs = self.history;
        ensure(range.last() == belongs, Law::Order, || format!("history {range} where {belongs} belongs"))?;
        self.is_true(BlockPoint { height: range.last(), id: piece.segment.last_id() })?;
        let mut next = range.first();
        for frame in piece.frames.iter().flatten() {
            ensure(frame.range.first() == next, Law::Order, || format!("{} where {next} belongs", frame.range))?;
            let holds = self.truths.iter().any(|truth| truth.holds_frame(frame));
            ensure(holds, Law::Truth, || format!("other payloads in {}", frame.range))?;
            next = frame.range.last().next();
        }
        let whole = piece.frames.is_none() || next == range.last().next();
        ensure(whole, Law::Order, || format!("history {range} without all of its blocks"))?;
        self.history = range.first().prev().unwrap_or_default();
        let bytes = piece.frames.iter().flatten().map(|frame| frame.raw.len() as u64).sum();
        self.applying.insert(id, bytes);
        self.holds()
    }

    /// A piece of history is acknowledged now.
    fn backfilled(&mut self, call: CallId, disk: &Disk) {
        self.applying.remove(&call);
        self.floor = disk.shelf.floor();
    }

    /// A job is given out.
    pub fn verifies(&mut self, job: &Job) -> Check {
        self.verifying.insert(job.id(), job.input_bytes() as u64);
        self.holds()
    }

    /// A job came back, or is not wanted any more.
    pub fn verified(&mut self, job: JobId) {
        self.verifying.remove(&job);
    }

    /// What the machine holds for others to read fits into its budget, whatever it says itself.
    fn holds(&self) -> Check {
        let held: u64 = self.verifying.values().chain(self.applying.values()).sum();
        ensure(held <= self.budget, Law::Budget, || format!("{held} of {} bytes are given out", self.budget))
    }

    fn is_true(&self, block: BlockPoint) -> Check {
        let known = |truth: &Arc<dyn Source>| truth.id(block.height);
        let is_true = self.truths.iter().filter_map(known).any(|id| id == block.id);
        let is_known =
            self.truths.iter().any(|truth| known(truth).is_some()) || self.truths[0].tip_height() < block.height;
        ensure(is_true || !is_known, Law::Truth, || format!("{} is not the block at {}", block.id, block.height))
    }

    /// Blocks were stored and executed, and are acknowledged now: the state is the one after them. Calls may end in another
    /// order than they were made in: a machine that was told of more before makes no progress by less.
    fn applied(&mut self, now: Instant, id: CallId, through: Height, disk: &Disk) -> Check {
        if through > self.told {
            self.told = through;
            self.progressed(now);
        }
        self.acked = self.acked.max(disk.applied());
        self.applying.remove(&id);
        let (Some(state), height) = (disk.state(), disk.applied()) else { return Ok(()) };
        self.is_state(height, state.root())
    }

    /// One height has one state.
    fn is_state(&self, height: Height, root: Hash) -> Check {
        let named = |truth: &Arc<dyn Source>| Some(truth.test_chain()?.header(height)?.state_root);
        let is_true = self.truths.iter().filter_map(named).any(|named| named == root);
        ensure(is_true, Law::Truth, || format!("{root} is not the state root at {height}"))
    }

    /// Handovers were stored, and are acknowledged now.
    fn stored(&mut self, now: Instant, disk: &Disk) {
        if disk.shelf.newest_epoch() > self.acked_epoch {
            self.acked_epoch = disk.shelf.newest_epoch();
            self.progressed(now);
        }
    }

    /// A state is to be made live.
    fn activates(&self, base: &SnapshotBase) -> Check {
        self.is_true(base.point)?;
        self.is_state(base.point.height, base.state_root)
    }

    /// Work on the state is acknowledged now.
    fn staged(&mut self, now: Instant, work: &HostWork, reply: &HostReply) {
        match work {
            // To look is no progress, but to find something there may be.
            HostWork::Survey(_) => {
                if matches!(reply, HostReply::Surveyed(found) if found.contains(&Holding::Held)) {
                    self.progressed_at = now;
                }
                return;
            }
            HostWork::Stage(subtrees) => {
                for item in subtrees.iter().map(|leaves| leaves.item) {
                    let apart = |other: &StateItem| {
                        other.prefix.last() < item.prefix.first() || item.prefix.last() < other.prefix.first()
                    };
                    self.staged.retain(apart);
                    self.staged.push(item);
                }
            }
            HostWork::Activate(base) => {
                self.staged.clear();
                self.handed = base.point.height;
                self.acked = base.point.height;
                self.told = base.point.height;
                (self.anchor, self.floor, self.history) = (base.point.height, base.point.height, base.point.height);
            }
            _ => return,
        }
        self.progressed(now);
    }

    /// A peer is banned.
    pub fn bans(&self, peer: &str, is_truthful: bool, fault: &str) -> Check {
        ensure(!is_truthful, Law::Blame, || format!("{peer} was banned for {fault} and never said anything false"))
    }

    /// The machine tells something.
    pub fn tells(&mut self, now: Instant, event: &Event, disk: &Disk) -> Check {
        match event {
            // A goal to go for is progress, one that moves away is none. A word that was said holds until it is taken back.
            Event::Target { height, .. } => {
                if self.target <= self.told {
                    self.progressed_at = now;
                }
                self.target = *height;
            }
            Event::StateTarget { moves: 0, .. } => self.progressed_at = now,
            Event::Resumed => self.progressed(now),
            Event::StateMismatch { .. } => self.staged.clear(),
            Event::Stalled { next, since, .. } => {
                self.explained = true;
                ensure(*next > now && *since <= now, Law::Stall, || {
                    format!("stalled since {since:?}, next step {next:?}")
                })?;
            }
            Event::Reached(point) => {
                self.reached = true;
                ensure(point.height == disk.applied(), Law::Truth, || {
                    format!("reached {}, and {} is applied", point.height, disk.applied())
                })?;
                self.is_true(*point)?;
            }
            Event::Halted(reason) => {
                self.halted = true;
                self.running = false;
                self.may_halt(reason)?;
            }
            _ => {}
        }
        // Whatever is proven above what was reached is told as a target, and begins a new way.
        self.reached &= !matches!(event, Event::Target { .. });
        Ok(())
    }

    /// A halt needs evidence that anyone can check, against at least a third of the power.
    fn may_halt(&self, reason: &HaltReason) -> Check {
        let HaltReason::ConflictingFinality { height, evidence } = reason else {
            return Err((Law::Halt, format!("{reason}")));
        };
        let epochs = self.truths[0].test_chain().map_or(&[][..], |chain| chain.epochs());
        let epoch = epochs.iter().map(SigningEpoch::info).find(|info| info.range().contains(*height));
        let Some(epoch) = epoch.filter(|_| self.truths.len() > 1) else {
            return Err((Law::Halt, format!("at {height}, though only one chain is final")));
        };
        let context = EpochContext::new(self.truths[0].genesis(), epoch.clone());
        let conflict = ConflictEvidence::decode(evidence).and_then(|evidence| evidence.verify(&context));
        let conflict = conflict.map_err(|fault| (Law::Halt, format!("with evidence that doesn't hold: {fault}")))?;
        let set = epoch.validators();
        let power = |index: usize| set.validators().get(index).map_or(0, |validator| u128::from(validator.power));
        let guilty: u128 = conflict.culprits.iter().filter_map(|key| set.index_of(key)).map(power).sum();
        let all: u128 = (0..set.count()).map(power).sum();
        // Nobody, or at least as many as two quorums share.
        ensure(guilty == 0 || 3 * guilty >= all, Law::Halt, || format!("evidence against {guilty} of {all}"))
    }

    /// The machine waits until `deadline`; `waits_for_answers` says whether anything that it asked for is open.
    pub fn waits(&self, now: Instant, deadline: Option<Instant>) -> Check {
        if !self.running || self.reached {
            return Ok(());
        }
        ensure(deadline.is_some(), Law::Stall, || "no deadline, and it is not at its end".to_owned())?;
        let silent = now.since(self.progressed_at);
        // Threads that verify within their time need no explanation.
        let most = self.stall_after + self.job_timeout + SLACK;
        ensure(self.explained || silent <= most, Law::Stall, || {
            format!("no progress for {silent:?}, and not a word about it")
        })
    }

    /// The budget was kept, as the machine accounts for it.
    pub fn accounts(&self, progress: &Progress) -> Check {
        ensure(progress.peak_buffered_bytes <= self.budget, Law::Budget, || {
            format!("{} of {} bytes", progress.peak_buffered_bytes, self.budget)
        })
    }
}

fn ensure(holds: bool, law: Law, what: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err((law, what())) }
}
