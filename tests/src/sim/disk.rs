//! [`Disk`]: a node's durable store and its application, with crashes at every durable write.
//!
//! What was acknowledged survives everything but the loss of the disk. What was not is lost, kept, or half of it: a
//! [`Crash`] says which. Nothing else about a disk is believed here, and nothing that is written is looked at:
//! [`Oracle`](super::Oracle) does that.

use std::collections::BTreeMap;

use hotstuff2_sync::calls::{
    Apply, ApplyPart, HistoryGap, HistoryPiece, HostError, HostReply, HostWork, SnapshotBase, Start,
};
use hotstuff2_sync::chain::Finalized;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::HandoverLink;

use super::shelf::Shelf;
use super::source::Source;
use crate::world::{Applier as _, StateHost};

/// What becomes of a durable write during which the node crashes. None of them is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Crash {
    /// Nothing of it is there.
    Lost,
    /// Of blocks the first half is stored and not executed; of anything else nothing is there, as it is one batch.
    Torn,
    /// It is stored, and not executed.
    Stored,
    /// All of it is there.
    Kept,
}

impl Crash {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Torn, Self::Stored, Self::Kept];
}

/// The node crashed in the middle of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crashed;

/// What is durable of a node.
#[derive(Clone, Debug)]
pub struct Disk {
    start: Start,
    /// The blocks.
    pub(super) shelf: Shelf,
    proof: Option<Finalized>,
    applied: Height,
    state: Option<StateHost>,
    writes: u64,
    crashes: BTreeMap<u64, Crash>,
    /// Writes that fail for a while, by their number: a full disk.
    failures: BTreeMap<u64, ()>,
    serves: bool,
}

impl Disk {
    /// The empty disk of a node that is to synchronize `source`. `serves` says whether the node serves what it has.
    pub fn new(source: &dyn Source, serves: bool) -> Self {
        let start = source.start();
        Self {
            shelf: Shelf::new(source.genesis()),
            proof: None,
            applied: Height::ZERO,
            state: source.genesis_state().map(|state| StateHost::with_state(source.chain(), state, Height::ZERO)),
            start,
            writes: 0,
            crashes: BTreeMap::new(),
            failures: BTreeMap::new(),
            serves,
        }
    }

    /// Lets the node crash at its write number `write`, from 1 on.
    pub fn crash_at(&mut self, write: u64, crash: Crash) {
        self.crashes.insert(write, crash);
    }

    /// Lets the write number `write`, from 1 on, fail for the moment.
    pub fn fail_at(&mut self, write: u64) {
        self.failures.insert(write, ());
    }

    /// Durable writes so far.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// The height that is stored.
    pub fn stored(&self) -> Height {
        self.shelf.stored().height
    }

    /// The height that is stored and executed.
    pub fn applied(&self) -> Height {
        self.applied
    }

    /// The state, on chains that have one.
    pub fn state(&self) -> Option<&StateHost> {
        self.state.as_ref()
    }

    /// Everything is gone, as with a new disk.
    pub fn lose(&mut self, source: &dyn Source) {
        let Self { writes, crashes, failures, serves, .. } = std::mem::replace(self, Self::new(source, self.serves));
        (self.writes, self.crashes, self.failures, self.serves) = (writes, crashes, failures, serves);
    }

    /// What a machine is told that starts from here.
    pub fn start(&mut self) -> Start {
        self.shelf.forget_behind_gap();
        Start {
            stored: self.shelf.stored(),
            stored_proof: self.proof.clone(),
            applied: self.applied,
            epoch: self.shelf.epoch().clone(),
            handovers: self.shelf.handovers(),
            history_gap: self.history_gap(),
            lacks_state: false,
            trust: None,
            ..self.start.clone()
        }
    }

    /// The next durable write.
    fn write(&mut self) -> Option<Crash> {
        self.writes += 1;
        self.crashes.remove(&self.writes)
    }

    fn fails(&self) -> bool {
        self.failures.contains_key(&self.writes)
    }

    /// Does what a call asks for.
    ///
    /// # Errors
    /// Where the node crashes.
    pub fn carry_out(&mut self, work: &HostWork) -> Result<Result<HostReply, HostError>, Crashed> {
        match work {
            HostWork::Apply(apply) => self.apply(apply).map(Ok),
            HostWork::Replay(range) => self.replay(*range).map(Ok),
            HostWork::StoreHandovers(links) => self.store(links),
            HostWork::AddHistory(piece) => self.backfill(piece),
            work => self.stage(work),
        }
    }

    /// Stores and executes blocks.
    ///
    /// # Errors
    /// Where the node crashes.
    fn apply(&mut self, apply: &Apply) -> Result<HostReply, Crashed> {
        let crash = self.write();
        let all: usize = apply.parts.iter().map(|part| part.frames.len()).sum();
        let error = self.fails().then_some(HostError::Transient);
        match crash {
            Some(Crash::Lost) => return Err(Crashed),
            Some(Crash::Torn) => {
                self.store_blocks(apply, all / 2);
                return Err(Crashed);
            }
            _ => self.store_blocks(apply, if error.is_some() { all / 2 } else { all }),
        }
        if crash == Some(Crash::Stored) {
            return Err(Crashed);
        }
        let error = self.execute(&apply.parts, self.stored()).or(error);
        match crash {
            Some(_) => Err(Crashed),
            None => Ok(HostReply::Applied { through: self.applied, stopped: error }),
        }
    }

    /// Executes stored blocks.
    ///
    /// # Errors
    /// Where the node crashes.
    fn replay(&mut self, replay: HeightRange) -> Result<HostReply, Crashed> {
        let crash = self.write();
        if crash.is_some_and(|crash| crash != Crash::Kept) {
            return Err(Crashed);
        }
        let range = HeightRange::new(replay.first(), replay.last().min(self.stored()));
        let parts = range.map_or_else(Vec::new, |range| self.shelf.parts(range));
        let error = self.execute(&parts, replay.last().min(self.stored()));
        match crash {
            Some(_) => Err(Crashed),
            None => Ok(HostReply::Applied { through: self.applied, stopped: error }),
        }
    }

    /// Stores handovers.
    ///
    /// # Errors
    /// Where the node crashes.
    fn store(&mut self, links: &[HandoverLink]) -> Result<Result<HostReply, HostError>, Crashed> {
        let crash = self.write();
        if self.fails() {
            return Ok(Err(HostError::Transient));
        }
        if !matches!(crash, Some(Crash::Lost | Crash::Torn)) {
            self.shelf.put_handovers(links);
        }
        crash.map_or(Ok(Ok(HostReply::HandoversStored)), |_| Err(Crashed))
    }

    /// Does something in the staging area.
    ///
    /// # Errors
    /// Where the node crashes.
    fn stage(&mut self, work: &HostWork) -> Result<Result<HostReply, HostError>, Crashed> {
        let crash = match work {
            HostWork::Survey(_) => None,
            _ => self.write(),
        };
        if matches!(crash, Some(Crash::Lost | Crash::Torn)) {
            return Err(Crashed);
        }
        let Some(state) = &mut self.state else { return Ok(Err(HostError::Permanent)) };
        let mut answer = state.state(work).map_or(Err(HostError::Permanent), |(_, answer)| answer);
        if let (Ok(HostReply::Activated { history_gap }), HostWork::Activate(base)) = (&mut answer, work) {
            self.activate(base);
            *history_gap = self.history_gap();
        }
        crash.map_or(Ok(answer), |_| Err(Crashed))
    }

    /// Stores a piece of history, and says what is missing below.
    ///
    /// # Errors
    /// Where the node crashes.
    fn backfill(&mut self, piece: &HistoryPiece) -> Result<Result<HostReply, HostError>, Crashed> {
        let crash = self.write();
        if self.fails() {
            return Ok(Err(HostError::Transient));
        }
        if !matches!(crash, Some(Crash::Lost | Crash::Torn)) {
            self.shelf.put_history(&piece.segment, piece.frames.as_deref());
        }
        let reply = HostReply::HistoryAdded { history_gap: self.history_gap() };
        crash.map_or(Ok(Ok(reply)), |_| Err(Crashed))
    }

    /// The blocks below the state are gone.
    pub fn lose_history(&mut self) {
        self.shelf.forget_history();
    }

    /// What is missing right below the stored blocks.
    pub fn history_gap(&self) -> Option<HistoryGap> {
        self.shelf.history_gap()
    }

    fn activate(&mut self, base: &SnapshotBase) {
        self.shelf.rebase(base.point);
        self.applied = base.point.height;
        let (segment, height) = (base.segment.bytes().clone(), base.point.height);
        self.proof = Some(match &base.tip {
            Some(tip) => Finalized::Anchored { segment, tip: tip.clone(), height },
            None => Finalized::Segment(segment, height),
        });
    }

    /// Stores the first `frames` frames, with the proof of what is the highest block then.
    fn store_blocks(&mut self, apply: &Apply, mut frames: usize) {
        let before = self.stored();
        for part in &apply.parts {
            self.shelf.put_part(part, frames);
            frames = frames.saturating_sub(part.frames.len());
            let stored = self.stored();
            if stored > before && part.segment.range().contains(stored) {
                let segment = part.segment.bytes().clone();
                self.proof = Some(match &apply.tip {
                    Some(tip) if apply.parts.last().is_some_and(|last| last.segment == part.segment) => {
                        Finalized::Anchored { segment, tip: tip.clone(), height: stored }
                    }
                    _ => Finalized::Segment(segment, stored),
                });
            }
        }
        if !self.serves || self.stored() == before {
            return;
        }
        match (&apply.tip, apply.range()) {
            (Some(tip), Some(range)) if range.last() == self.stored() => self.shelf.put_tip(tip.clone()),
            _ => self.shelf.find_tip(),
        }
    }

    /// Executes those blocks of `parts` that are stored and not executed yet, up to `last`.
    fn execute(&mut self, parts: &[ApplyPart], last: Height) -> Option<HostError> {
        let stored = self.stored();
        let Some(state) = &mut self.state else {
            self.applied = self.applied.max(last);
            return None;
        };
        let mut held = Vec::new();
        for part in parts {
            let frames = part.frames.iter().filter(|frame| frame.range.last() <= stored).cloned().collect::<Vec<_>>();
            if !frames.is_empty() {
                held.push(ApplyPart { segment: part.segment.clone(), frames, executed: false });
            }
        }
        if held.is_empty() {
            return None;
        }
        let apply = Apply { parts: held, tip: None, target: last };
        let answer = state.apply(&apply).map(|(_, answer)| answer);
        self.applied = answer.map_or(self.applied, |answer| answer.through);
        answer.and_then(|answer| answer.stopped)
    }
}
