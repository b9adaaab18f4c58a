//! Questions of the user: each is asked of whoever can answer, proven, confirmed by witnesses, and answered once.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::answers::size_of;
use super::client::{LightClient, Phase};
use super::input::{At, Query};
use super::output::{LightAnswer, LightBlock, LightError, LightOutput};
use super::requests::{Purpose, Timer};
use super::witnesses::Shown;
use crate::chain::{EpochRef, Finalized, HeaderFacts, SegmentClaim, SegmentEnd, SegmentRef, TipCheck, TipFacts};
use crate::hash::Hash;
use crate::ids::{Height, PeerId, QueryId};
use crate::limits::MAX_BODIES_BYTES;
use crate::peers::{Ask, Peer};
use crate::ranges::HeightRange;
use crate::requests::Kind;
use crate::sorted::Sorted;
use crate::state::{MAX_KEY_BYTES, key_hash};
use crate::strategy::base_claim;
use crate::time::Instant;
use crate::verify::Task;
use crate::wire::{BodyFrame, Request, split_payloads};

/// Questions of the user that are open at a time.
pub const MAX_QUERIES: usize = 64;

/// Bytes that the answer to a read is expected to have.
const EXPECTED_READ_BYTES: u64 = 16 << 10;

/// Questions of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Queries {
    open: Sorted<QueryId, Open>,
    last: Option<QueryId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open {
    query: Query,
    stage: Stage,
}

/// How far a question is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Nothing is proven yet.
    Begun,
    /// The block is proven, and what belongs to it is wanted.
    Based(Base),
    /// All is proven, and the block waits for witnesses.
    Proven(LightAnswer, Ground),
}

/// A proven block with the headers from it on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Base {
    segment: SegmentRef,
    block: LightBlock,
    ground: Ground,
    /// Payloads from the first wanted block on, as far as they came.
    payloads: Vec<Bytes>,
}

/// Why a proven block may be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ground {
    /// The told tip stands on it.
    Told,
    /// The block has a proof of its own, and needs witnesses.
    Shown(Shown),
}

/// The next step of a question.
enum Want {
    Read { key: Bytes },
    Base { height: Height },
    Snapshot,
    Proof { height: Height, root: Hash, key: Bytes },
    Bodies { segment: SegmentRef, rest: HeightRange },
}

impl Queries {
    /// The blocks that wait for witnesses.
    fn shown(&self) -> impl Iterator<Item = &Shown> {
        self.open.values().filter_map(|open| match &open.stage {
            Stage::Proven(_, Ground::Shown(shown)) => Some(shown),
            _ => None,
        })
    }
}

impl LightClient {
    /// Takes a question of the user; [`LightOutput::Answer`] closes it.
    pub fn ask(&mut self, now: Instant, query: Query) -> QueryId {
        self.advance(now);
        let id = self.queries.last.map_or(QueryId::FIRST, QueryId::next);
        self.queries.last = Some(id);
        let open = self.queries.open.len();
        let refused = match &query {
            _ if self.phase != Phase::Running => Some(LightError::Stopped),
            _ if open >= MAX_QUERIES => Some(LightError::TooMany { open }),
            Query::Read { key, .. } if key.len() > MAX_KEY_BYTES => Some(LightError::KeyTooLong { bytes: key.len() }),
            Query::Bodies(_) if !self.profile.knows_lengths() => Some(LightError::UnprovenLengths),
            _ => None,
        };
        match refused {
            Some(error) => self.outputs.push_back(LightOutput::Answer { query: id, result: Err(error) }),
            None => {
                self.queries.open.insert(id, Open { query, stage: Stage::Begun });
                self.timers.set(Timer::Query(id), self.now.after(self.config.query_timeout));
            }
        }
        self.unplanned = true;
        id
    }

    /// Nobody waits for this question any more. It is not answered.
    pub(super) fn drop_query(&mut self, now: Instant, id: QueryId) {
        self.advance(now);
        self.take_query(id);
        self.unplanned = true;
    }

    /// Ends a question, with everything that is asked for it.
    fn take_query(&mut self, id: QueryId) -> Option<Open> {
        let open = self.queries.open.remove(&id)?;
        self.timers.cancel(Timer::Query(id));
        self.cancel_requests(&|request| request.purpose.query() == Some(id));
        Some(open)
    }

    fn answer(&mut self, id: QueryId, result: Result<LightAnswer, LightError>) {
        if self.take_query(id).is_some() {
            self.outputs.push_back(LightOutput::Answer { query: id, result });
        }
    }

    /// The client stops.
    pub(super) fn close_queries(&mut self) {
        let open: Vec<QueryId> = self.queries.open.keys().copied().collect();
        for id in open {
            self.answer(id, Err(LightError::Stopped));
        }
    }

    pub(super) fn query_timed_out(&mut self, id: QueryId) {
        let Some(open) = self.queries.open.get(&id) else { return };
        let error = match &open.stage {
            Stage::Proven(_, Ground::Shown(shown)) => {
                LightError::Unconfirmed { have: self.confirmations.count(shown.height), need: self.config.witnesses }
            }
            _ => LightError::NoAnswer,
        };
        self.answer(id, Err(error));
    }

    /// The blocks of answers that wait for witnesses.
    pub(super) fn shown_to_queries(&self) -> Vec<Shown> {
        self.queries.shown().cloned().collect()
    }

    /// Gives the answers whose blocks are confirmed.
    pub(super) fn finish_queries(&mut self) {
        let confirmed = |open: &Open| match &open.stage {
            Stage::Proven(answer, Ground::Told) => Some(answer.clone()),
            Stage::Proven(answer, Ground::Shown(shown)) => {
                self.confirmed(shown.height, shown.id).map(|_| answer.clone())
            }
            Stage::Begun | Stage::Based(_) => None,
        };
        let done: Vec<(QueryId, LightAnswer)> =
            self.queries.open.iter().filter_map(|(&id, open)| Some((id, confirmed(open)?))).collect();
        for (id, answer) in done {
            self.answer(id, Ok(answer));
        }
    }

    /// Asks for the next step of each question. They begin once a tip was told: what is answered stands on it.
    pub(super) fn ask_for_answers(&mut self) {
        let Some(told) = self.told() else { return };
        let ids: Vec<QueryId> = self.queries.open.keys().copied().collect();
        for id in ids {
            match self.want(id, &told) {
                Ok(Some(want)) => self.ask_for(id, want, &told),
                Ok(None) => {}
                Err(error) => self.answer(id, Err(error)),
            }
        }
    }

    /// The next step of a question, if it has one.
    fn want(&self, id: QueryId, told: &TipFacts) -> Result<Option<Want>, LightError> {
        let Some(open) = self.queries.open.get(&id) else { return Ok(None) };
        let want = match (&open.stage, &open.query) {
            (Stage::Proven(..), _) | (Stage::Based(_), Query::Header(_)) => return Ok(None),
            (Stage::Begun, Query::Read { key, at: At::Now }) => Want::Read { key: key.clone() },
            (Stage::Begun, Query::Read { at: At::Snapshot, .. }) => Want::Snapshot,
            (Stage::Begun, Query::Read { at: At::Height(height), .. } | Query::Header(height)) => {
                self.reach(*height, told)?;
                Want::Base { height: *height }
            }
            (Stage::Begun, Query::Bodies(range)) => {
                self.reach(range.first(), told)?;
                self.reach(range.last(), told)?;
                let epoch = self.epochs.of_height(range.first());
                let cell = epoch.and_then(|epoch| self.profile.cell(range.first(), epoch.range()));
                if !cell.is_some_and(|cell| cell.covers(*range)) {
                    return Err(LightError::NotOneCell { grid: self.profile.grid() });
                }
                Want::Base { height: range.first() }
            }
            (Stage::Based(base), Query::Read { key, .. }) => {
                // A chain whose blocks name no state has nothing to read.
                let root = base.block.state_root.ok_or(LightError::NoAnswer)?;
                Want::Proof { height: base.block.height, root, key: key.clone() }
            }
            (Stage::Based(base), Query::Bodies(range)) => {
                let lens = base.segment.payload_lens_of(*range).unwrap_or_default();
                let bytes = lens.iter().fold(0u64, |sum, &len| sum.saturating_add(len.into()));
                if bytes > u64::from(MAX_BODIES_BYTES) {
                    return Err(LightError::TooLarge { bytes });
                }
                let had = u64::try_from(base.payloads.len()).unwrap_or(u64::MAX);
                match HeightRange::new(range.first().plus(had), range.last()) {
                    Some(rest) => Want::Bodies { segment: base.segment.clone(), rest },
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(want))
    }

    /// Whether blocks at `height` can be proven.
    fn reach(&self, height: Height, told: &TipFacts) -> Result<(), LightError> {
        let known = height > self.anchor.height && height <= told.height && self.epochs.of_height(height).is_some();
        if known { Ok(()) } else { Err(LightError::OutOfReach { height }) }
    }

    fn ask_for(&mut self, id: QueryId, want: Want, told: &TipFacts) {
        if self.room(1, &|purpose| purpose.query() == Some(id)) == 0 {
            return;
        }
        match want {
            Want::Read { key } => {
                let newest = self.epochs.newest().epoch();
                let peer = self.choose_for(id, Kind::Read, EXPECTED_READ_BYTES, &|peer| {
                    peer.status.is_some_and(|claim| claim.epoch <= newest)
                });
                let request = Request::Read { key_hash: key_hash(&key) };
                self.send_answer(peer, id, Kind::Read, request, EXPECTED_READ_BYTES);
            }
            Want::Proof { height, root, key } => {
                let holds = |peer: &Peer| {
                    peer.status.and_then(|status| status.snapshots).is_some_and(|states| states.holds(height))
                };
                let peer = self.choose_for(id, Kind::Read, EXPECTED_READ_BYTES, &holds);
                let request = Request::Proof { height, root, key_hash: key_hash(&key) };
                self.send_answer(peer, id, Kind::Read, request, EXPECTED_READ_BYTES);
            }
            Want::Bodies { segment, rest } => {
                let lens = segment.payload_lens_of(rest).unwrap_or_default();
                let bytes = lens.iter().fold(0u64, |sum, &len| sum.saturating_add(len.into()));
                let peer = self.choose_for(id, Kind::Bodies, bytes, &|peer| peer.claims(rest));
                let max_bytes = u32::try_from(bytes).unwrap_or(MAX_BODIES_BYTES).min(MAX_BODIES_BYTES);
                self.send_answer(peer, id, Kind::Bodies, Request::Bodies { range: rest, max_bytes }, bytes);
            }
            Want::Base { height } if height == told.height => self.base_is_told(id, told),
            Want::Base { height } => self.ask_for_base(id, height, told, &|_| true),
            Want::Snapshot => {
                let newest = |peer: &Peer| {
                    let height = peer.status.and_then(|status| status.snapshots)?.newest;
                    self.reach(height, told).is_ok().then_some(height)
                };
                let usable = self
                    .peers
                    .active()
                    .filter(|(_, peer)| peer.ready(Kind::Segment, self.now) && peer.ready(Kind::Read, self.now));
                let Some(height) = usable.filter_map(|(_, peer)| newest(peer)).max() else { return };
                let holds = |peer: &Peer| {
                    peer.status.and_then(|status| status.snapshots).is_some_and(|states| states.holds(height))
                };
                if height == told.height {
                    self.base_is_told(id, told);
                } else {
                    self.ask_for_base(id, height, told, &holds);
                }
            }
        }
    }

    /// Asks for the headers from `height` up to where they are proven.
    fn ask_for_base(&mut self, id: QueryId, height: Height, told: &TipFacts, eligible: &dyn Fn(&Peer) -> bool) {
        let Some(epoch) = self.epochs.of_height(height).map(EpochRef::range) else { return };
        let Some(claim) = base_claim(epoch, told.height, Some(told.id), height, self.profile.grid()) else { return };
        let reaches = |peer: &Peer| {
            let claimed = peer.status.is_some_and(|claimed| claim.range.last() <= claimed.tip);
            claimed && eligible(peer)
        };
        if let Some(peer) = self.choose_for(id, Kind::Segment, 0, &reaches) {
            self.send_base(peer, Purpose::Base(id, claim), &claim);
        }
    }

    /// The block in question is the told tip, of which everything is known but, for its payload, the headers.
    fn base_is_told(&mut self, id: QueryId, told: &TipFacts) {
        let Some(open) = self.queries.open.get_mut(&id) else { return };
        match &open.query {
            Query::Header(_) => {
                open.stage = Stage::Proven(LightAnswer::Header((*told).into()), Ground::Told);
            }
            _ => self.ask_for_base(id, told.height, told, &|_| true),
        }
    }

    /// A peer to ask for this question, if one is ready.
    fn choose_for(&mut self, id: QueryId, kind: Kind, bytes: u64, eligible: &dyn Fn(&Peer) -> bool) -> Option<PeerId> {
        let mut rng = self.rng.clone();
        let may =
            |peer_id, peer: &Peer| eligible(peer) && !self.is_asked(peer_id, &|purpose| purpose.query() == Some(id));
        let chosen = self.peers.choose(kind, Ask::Whole(bytes), self.now, &mut rng, may);
        self.rng = rng;
        chosen
    }

    fn send_answer(&mut self, peer: Option<PeerId>, id: QueryId, kind: Kind, request: Request, size: u64) {
        if let Some(peer) = peer {
            self.send(peer, Purpose::Answer(id, kind), request, size);
        }
    }

    /// Data came for a question.
    pub(super) fn take_query_answer(&mut self, peer: PeerId, purpose: Purpose, data: Bytes) {
        let (size, told) = (size_of(&data), self.told());
        let Some(open) = purpose.query().and_then(|id| self.queries.open.get(&id)) else { return };
        let task = match (purpose, &open.stage, &open.query) {
            (Purpose::Base(_, claim), Stage::Begun, _) => {
                let height = claim.range.first();
                let epoch = self.epochs.of_height(height).cloned();
                epoch.map(|epoch| Task::Base { epoch, claim, height, bytes: data })
            }
            (Purpose::Answer(..), Stage::Begun, Query::Read { key, .. }) => told.map(|_| {
                let epoch = self.epochs.newest().clone();
                Task::Read { epoch, key: key.clone(), bytes: data }
            }),
            (Purpose::Answer(..), Stage::Based(base), Query::Read { key, .. }) => {
                base.block.state_root.map(|root| Task::Proof { root, key: key.clone(), bytes: data })
            }
            (Purpose::Answer(..), Stage::Based(base), Query::Bodies(range)) => {
                let had = u64::try_from(base.payloads.len()).unwrap_or(u64::MAX);
                let rest = HeightRange::new(range.first().plus(had), range.last());
                rest.map(|range| Task::Bodies { segment: base.segment.clone(), range, bytes: data })
            }
            // Another answer was there first.
            _ => None,
        };
        if let Some(task) = task {
            self.send_job(task, Some((peer, purpose)), size);
        }
    }

    /// Somebody has nothing for a question. Where that was the value in a snapshot's state, others are looked for.
    pub(super) fn query_refused(&mut self, id: QueryId, kind: Kind) {
        if let Some(open) = self.queries.open.get_mut(&id)
            && kind == Kind::Read
            && matches!((&open.query, &open.stage), (Query::Read { at: At::Snapshot, .. }, Stage::Based(_)))
        {
            open.stage = Stage::Begun;
        }
    }

    /// The headers for a question are proven.
    pub(super) fn take_base(
        &mut self,
        peer: PeerId,
        id: QueryId,
        claim: &SegmentClaim,
        segment: SegmentRef,
        header: HeaderFacts,
    ) {
        let height = claim.range.first();
        let ground = match claim.end {
            // The block was asked for with the id of a told block.
            SegmentEnd::Anchored(_) => Ground::Told,
            SegmentEnd::Certified | SegmentEnd::CertifiedUpTo => {
                let proof = Finalized::Segment(segment.bytes().clone(), height);
                Ground::Shown(Shown { height, id: header.id, proof, group: self.group_of(peer) })
            }
        };
        let HeaderFacts { id: block_id, state_root, timestamp } = header;
        let block = LightBlock { height, id: block_id, timestamp, state_root: Some(state_root) };
        let Some(open) = self.queries.open.get_mut(&id).filter(|open| open.stage == Stage::Begun) else { return };
        open.stage = match &open.query {
            Query::Header(_) => Stage::Proven(LightAnswer::Header(block), ground),
            _ => Stage::Based(Base { segment, block, ground, payloads: Vec::new() }),
        };
    }

    /// A key's value came with the tip that it belongs to.
    pub(super) fn take_read(
        &mut self,
        peer: PeerId,
        id: QueryId,
        tip: TipCheck,
        proof: Bytes,
        value: Option<Bytes>,
        (bytes, took): (u64, Duration),
    ) {
        let facts = match tip {
            TipCheck::OtherEpoch(epoch) => {
                // Above, the epoch comes first; below, the peer is behind.
                self.not_available(peer, Kind::Read);
                self.claims_epoch(peer, epoch);
                return;
            }
            TipCheck::Final(facts) => facts,
        };
        self.on_valid(peer, Kind::Read, bytes, took);
        let group = self.group_of(peer);
        let shown = Shown { height: facts.height, id: facts.id, proof: Finalized::Tip(proof.clone()), group };
        if !self.take_final(peer, facts, proof) {
            return;
        }
        // A value of long ago is not one of now, however well it is proven: the peer is behind, or withholds.
        let behind = self.told().is_none_or(|told| told.timestamp.since(facts.timestamp) > self.config.freshness);
        if behind {
            self.not_available(peer, Kind::Read);
            return;
        }
        let Some(open) = self.queries.open.get_mut(&id).filter(|open| open.stage == Stage::Begun) else { return };
        open.stage = Stage::Proven(LightAnswer::Value { value, block: facts.into() }, Ground::Shown(shown));
        self.cancel_requests(&|request| request.purpose.query() == Some(id));
    }

    /// A key's value came for a block that is proven.
    pub(super) fn take_value(&mut self, id: QueryId, value: Option<Bytes>) {
        let Some(open) = self.queries.open.get_mut(&id) else { return };
        let Stage::Based(Base { block, ground, .. }) = &open.stage else { return };
        open.stage = Stage::Proven(LightAnswer::Value { value, block: *block }, ground.clone());
        self.cancel_requests(&|request| request.purpose.query() == Some(id));
    }

    /// Payloads came.
    pub(super) fn take_bodies(&mut self, id: QueryId, frames: &[BodyFrame]) {
        let Some(open) = self.queries.open.get_mut(&id) else { return };
        let Query::Bodies(range) = open.query else { return };
        let Stage::Based(base) = &mut open.stage else { return };
        for frame in frames {
            let had = u64::try_from(base.payloads.len()).unwrap_or(u64::MAX);
            // Another peer may have given the same before.
            if frame.range.first() != range.first().plus(had) {
                return;
            }
            let Some(lens) = base.segment.payload_lens_of(frame.range) else { return };
            let payloads = split_payloads(&frame.raw, lens).map(|payload| frame.raw.slice_ref(payload));
            base.payloads.extend(payloads);
        }
        if u64::try_from(base.payloads.len()) == Ok(range.count()) {
            let (payloads, ground) = (core::mem::take(&mut base.payloads), base.ground.clone());
            open.stage = Stage::Proven(LightAnswer::Bodies { first: range.first(), payloads }, ground);
            self.cancel_requests(&|request| request.purpose.query() == Some(id));
        }
    }
}
