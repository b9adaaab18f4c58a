//! A chain without signatures: ids link headers to their parents, and a flag stands for a certificate. As in the native
//! chain, a certificate proves up to 64 blocks below it.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, ApplyPart, BlockPoint};
use hotstuff2_sync::chain::{
    AdvertFacts, CertifiedSuffix, Chain, ChainProfile, CheckError, EpochRef, Fault, Finalized, HandoverFacts,
    HeaderFacts, Memo, SegmentClaim, SegmentEnd, SegmentFacts, SegmentRef, Skipped, TipCheck, native,
};
use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::{BodyFrame, decode_bodies, encode_frame, split_payloads};
use serde::{Deserialize, Serialize};

use crate::store::StoreAnchor;

static ID: Context = Context::new("hotstuff2-sync store test id");

/// Blocks below a certificate that it proves.
const REACH: u64 = 64;

/// Short, so that a test has several snapshots.
const SNAPSHOT_INTERVAL: NonZeroU64 = NonZeroU64::new(100).unwrap();

pub(super) fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(Height::new(first), Height::new(last)).unwrap()
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Header {
    payload_hash: Hash,
    len: u32,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Segment {
    range: HeightRange,
    parent_id: Hash,
    headers: Vec<Header>,
    certified: bool,
}

impl Segment {
    fn ids(&self) -> Vec<Hash> {
        let mut parent = self.parent_id;
        let link = |header: &Header| {
            parent = ID.hash(&postcard::to_allocvec(&(parent, header)).unwrap());
            parent
        };
        self.headers.iter().map(link).collect()
    }
}

pub(super) struct ToyChain;

impl Chain for ToyChain {
    type Epoch = ();
    type Segment = Segment;

    fn profile(&self) -> ChainProfile {
        native::PROFILE
    }

    fn has_state_roots(&self) -> bool {
        false
    }

    fn decode_epoch(&self, _: &[u8], _: Option<&()>) -> Result<(), CheckError> {
        Ok(())
    }

    fn link_handover(&self, _: &[u8], _: &[u8]) -> Result<HandoverFacts, CheckError> {
        Err(Fault::Host(0).into())
    }

    fn verify_handover(&self, _: &(), _: &[u8]) -> Result<((), HandoverFacts), CheckError> {
        Err(Fault::Host(0).into())
    }

    fn verify_skip(&self, _: &(), _: &[u8], _: &[u8]) -> Result<Skipped<()>, CheckError> {
        Err(Fault::Host(0).into())
    }

    fn verify_tip(&self, _: &(), _: &[u8]) -> Result<TipCheck, CheckError> {
        Err(Fault::Host(0).into())
    }

    fn verify_segment(
        &self,
        _: &(),
        _: &SegmentClaim,
        _: &[u8],
        _: &[u8],
    ) -> Result<(Segment, SegmentFacts), CheckError> {
        Err(Fault::Host(0).into())
    }

    fn verify_last_segment(
        &self,
        _: &(),
        _: &SegmentClaim,
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(Segment, SegmentFacts), CheckError> {
        Err(Fault::Host(0).into())
    }

    fn decode_segment(&self, segment: &[u8]) -> Result<Segment, CheckError> {
        postcard::from_bytes(segment).map_err(|_| Fault::Malformed.into())
    }

    fn header(&self, segment: &Segment, height: Height) -> Option<HeaderFacts> {
        let id = *segment.ids().get(segment.range.index_of(height)?)?;
        Some(HeaderFacts { id, state_root: Hash::ZERO, timestamp: UnixMillis::new(height.get()) })
    }

    fn check_payload(&self, _: &Segment, _: Height, _: &[u8]) -> Result<(), CheckError> {
        Err(Fault::Host(0).into())
    }

    fn assemble(&self, parts: &[Bytes], range: HeightRange, end: SegmentEnd) -> Option<Bytes> {
        let parts: Vec<Segment> = parts.iter().map(|part| self.decode_segment(part).ok()).collect::<Option<_>>()?;
        let joined = HeightRange::new(parts.first()?.range.first(), parts.last()?.range.last())?;
        let follows = |pair: &[Segment]| {
            pair[1].range.first().is_next_of(pair[0].range.last()) && pair[0].ids().last() == Some(&pair[1].parent_id)
        };
        if !parts.windows(2).all(follows) || !joined.covers(range) {
            return None;
        }
        let all = Segment {
            range: joined,
            parent_id: parts[0].parent_id,
            headers: parts.iter().flat_map(|part| part.headers.clone()).collect(),
            certified: false,
        };
        let (from, to) = (joined.index_of(range.first())?, joined.index_of(range.last())?);
        let proves = |part: &Segment| {
            part.certified && part.range.last() >= range.last() && part.range.last().above(range.last()) <= REACH
        };
        let certified = match end {
            SegmentEnd::Anchored(id) => (all.ids()[to] == id).then_some(false)?,
            _ => parts.iter().any(proves).then_some(true)?,
        };
        let parent_id = if from == 0 { all.parent_id } else { all.ids()[from - 1] };
        let segment = Segment { range, parent_id, headers: all.headers[from..=to].to_vec(), certified };
        Some(postcard::to_allocvec(&segment).unwrap().into())
    }

    fn tip_of(&self, segment: &[u8]) -> Option<Bytes> {
        let segment = self.decode_segment(segment).ok()?;
        let tip = (segment.range.last(), *segment.ids().last()?);
        segment.certified.then(|| postcard::to_allocvec(&tip).unwrap().into())
    }

    fn evidence(&self, _: &(), _: &Finalized, _: &Finalized) -> Result<Bytes, CheckError> {
        Err(Fault::Host(0).into())
    }

    fn verify_advert(&self, _: &(), _: &[u8]) -> Result<AdvertFacts, CheckError> {
        Err(Fault::Host(0).into())
    }

    fn certified_suffix(&self, _: &Finalized) -> Option<CertifiedSuffix> {
        None
    }
}

/// Blocks of a toy chain, made in memory.
pub(super) struct Toy {
    payloads: Vec<Vec<u8>>,
    whole: Segment,
    ids: Vec<Hash>,
    epochs: Vec<HeightRange>,
}

impl Toy {
    /// Blocks at heights 1 to the last of `epoch_ends`, with `len(height)` bytes of payload each. Epoch 0 begins at the
    /// genesis block.
    pub(super) fn new(epoch_ends: &[u64], len: impl Fn(u64) -> usize) -> Arc<Self> {
        let count = *epoch_ends.last().unwrap();
        let payloads: Vec<Vec<u8>> = (1..=count).map(|height| payload(height, len(height))).collect();
        let header = |payload: &Vec<u8>| Header { payload_hash: ID.hash(payload), len: payload.len() as u32 };
        let headers = payloads.iter().map(header).collect();
        let whole = Segment { range: range(1, count), parent_id: Hash::ZERO, headers, certified: true };
        let mut first = 0;
        let epoch = |&last: &u64| range(std::mem::replace(&mut first, last + 1), last);
        Arc::new(Self { payloads, ids: whole.ids(), whole, epochs: epoch_ends.iter().map(epoch).collect() })
    }

    pub(super) fn anchor(&self) -> StoreAnchor {
        StoreAnchor {
            chain_id: Hash::from_bytes([7; 32]),
            genesis: Bytes::from_static(b"genesis document"),
            point: BlockPoint { height: Height::ZERO, id: Hash::ZERO },
            epoch: self.epoch(0),
            snapshot_interval: SNAPSHOT_INTERVAL,
        }
    }

    /// A trusted block at `height`.
    pub(super) fn anchor_at(&self, height: u64) -> StoreAnchor {
        let epoch = self.epochs.iter().position(|epoch| epoch.contains(Height::new(height))).unwrap();
        StoreAnchor { point: self.point(height), epoch: self.epoch(epoch), ..self.anchor() }
    }

    pub(super) fn epoch(&self, number: usize) -> EpochRef {
        EpochRef::trusted(Epoch::new(number as u64), self.epochs[number], format!("epoch {number}").into())
    }

    pub(super) fn handovers(&self) -> Vec<HandoverLink> {
        let link = |number: usize| HandoverLink {
            ended: Epoch::new(number as u64),
            boundary: self.epochs[number].last(),
            boundary_id: self.point(self.epochs[number].last().get()).id,
            boundary_time: UnixMillis::new(self.epochs[number].last().get()),
            epoch: self.epoch(number + 1),
            bytes: format!("handover {number}").into(),
        };
        (0..self.epochs.len() - 1).map(link).collect()
    }

    pub(super) fn last(&self) -> u64 {
        self.ids.len() as u64
    }

    pub(super) fn point(&self, height: u64) -> BlockPoint {
        let id = if height == 0 { Hash::ZERO } else { self.ids[height as usize - 1] };
        BlockPoint { height: Height::new(height), id }
    }

    pub(super) fn payload(&self, height: u64) -> &[u8] {
        &self.payloads[height as usize - 1]
    }

    pub(super) fn segment_bytes(&self, range: HeightRange, certified: bool) -> Bytes {
        let (from, to) = (range.first().get() as usize - 1, range.last().get() as usize - 1);
        let parent_id = self.point(range.first().get() - 1).id;
        let headers = self.whole.headers[from..=to].to_vec();
        postcard::to_allocvec(&Segment { range, parent_id, headers, certified }).unwrap().into()
    }

    pub(super) fn segment(&self, range: HeightRange, certified: bool, audit: &'static [u8]) -> SegmentRef {
        let bytes = self.segment_bytes(range, certified);
        let lens = self.whole.headers[range.first().get() as usize - 1..range.last().get() as usize].iter();
        let facts = SegmentFacts {
            range,
            parent_id: self.point(range.first().get() - 1).id,
            last_id: self.point(range.last().get()).id,
            last_timestamp: UnixMillis::new(range.last().get()),
            payload_lens: lens.map(|header| header.len).collect(),
            quorum_checks: 1,
        };
        let epoch = self.epochs.iter().position(|epoch| epoch.covers(range)).expect("one epoch") as u64;
        SegmentRef::trusted(Epoch::new(epoch), facts, bytes, Bytes::from_static(audit), Memo::default())
    }

    /// The bodies of `range` in frames of `per_frame` blocks.
    pub(super) fn frames(&self, range: HeightRange, per_frame: u64) -> Vec<BodyFrame> {
        let mut frames = Vec::new();
        let mut first = range.first().get();
        while first <= range.last().get() {
            let last = range.last().get().min(first + per_frame - 1);
            let payloads = &self.payloads[first as usize - 1..last as usize];
            let lens: Vec<u32> = payloads.iter().map(|payload| payload.len() as u32).collect();
            let mut wire = Vec::new();
            encode_frame(&mut wire, lens.len() as u32, &payloads.concat());
            frames.extend(decode_bodies(wire.into(), Height::new(first), &lens).unwrap());
            first = last + 1;
        }
        frames
    }

    /// The bodies of `bodies`, named by the headers of `headers`, which end with a certificate.
    pub(super) fn part(&self, headers: HeightRange, bodies: HeightRange, per_frame: u64) -> ApplyPart {
        ApplyPart { segment: self.segment(headers, true, b""), frames: self.frames(bodies, per_frame), executed: false }
    }

    /// Checks that `frames` hold exactly the payloads from `first` on, and returns the height after the last.
    pub(super) fn check_bodies(&self, frames: Bytes, first: u64) -> u64 {
        let lens: Vec<u32> = self.whole.headers[first as usize - 1..].iter().map(|header| header.len).collect();
        let frames = decode_bodies(frames, Height::new(first), &lens).unwrap();
        let mut height = first;
        for frame in frames {
            for payload in
                split_payloads(&frame.raw, &lens[(height - first) as usize..]).take(frame.range.count() as usize)
            {
                assert_eq!(payload, self.payload(height), "payload {height}");
                height += 1;
            }
        }
        height
    }
}

/// Bytes that don't compress and differ for each height.
fn payload(height: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 32);
    let mut seed = height;
    while bytes.len() < len {
        bytes.extend_from_slice(ID.hash(&seed.to_le_bytes()).as_bytes());
        seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ height;
    }
    bytes.truncate(len);
    bytes
}

pub(super) fn apply(parts: Vec<ApplyPart>) -> Apply {
    Apply { target: Height::ZERO, parts, tip: None }
}
