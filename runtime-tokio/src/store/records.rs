//! Records of the store: those of its database, and the one that ends a segment file.
//!
//! All are postcard. The database checksums its rows and a segment file its footer, so a record that doesn't decode
//! means damage or a foreign format, never a half-written record.

use std::num::NonZeroU64;

use bytes::Bytes;
use hotstuff2_sync::calls::{BlockPoint, SnapshotBase};
use hotstuff2_sync::chain::{EpochRef, Finalized, SegmentFacts, SegmentRef};
use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::BodyFrame;
use serde::{Deserialize, Serialize};

/// Version of the directory layout and of all records in it.
pub(super) const FORMAT: u32 = 4;

static CHECK: Context = Context::new("hotstuff2-sync store v1 checksum");

/// Checksum of stored bytes, against a disk that changes them. Against peers the headers' hashes protect.
pub(super) fn check_of(bytes: &[u8]) -> Hash {
    CHECK.hash(bytes)
}

/// [`check_of`] of all pieces end to end.
pub(super) fn check_of_all<E>(pieces: impl Iterator<Item = Result<Bytes, E>>) -> Result<Hash, E> {
    let mut hasher = CHECK.hasher();
    for piece in pieces {
        hasher.update(&piece?);
    }
    Ok(Hash::from_bytes(*hasher.finalize().as_bytes()))
}

/// The first eight bytes of [`check_of`]: enough for one frame, of which a cell may have a thousand.
pub(super) fn short_check_of(bytes: &[u8]) -> [u8; 8] {
    let check = check_of(bytes);
    check.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Identity and settings of the store. Written once.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoreRecord {
    pub(super) format: u32,
    pub(super) chain_id: Hash,
    pub(super) genesis_check: Hash,
    /// The trusted block that the store begins above.
    pub(super) anchor: BlockPoint,
    /// Heights between snapshots of the state.
    pub(super) snapshot_interval: NonZeroU64,
}

/// The bytes of a state record that are neither key nor value: the key's length.
pub(super) const RECORD_HEAD: usize = 2;

/// How large a state is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateSize {
    pub(super) keys: u64,
    /// Bytes of keys and values.
    pub(super) bytes: u64,
}

impl StateSize {
    /// Counts a record that takes another one's place, by their lengths; `None` where there is none.
    pub(super) fn exchange(&mut self, old: Option<usize>, new: Option<usize>) {
        let payload = |record: Option<usize>| {
            record.map_or(0, |len| u64::try_from(len.saturating_sub(RECORD_HEAD)).unwrap_or(u64::MAX))
        };
        self.keys = self.keys.saturating_sub(u64::from(old.is_some())).saturating_add(u64::from(new.is_some()));
        self.bytes = self.bytes.saturating_sub(payload(old)).saturating_add(payload(new));
    }

    /// Counts a record of so many bytes.
    pub(super) fn add(&mut self, record_len: usize) {
        self.keys = self.keys.saturating_add(1);
        self.bytes =
            self.bytes.saturating_add(u64::try_from(record_len.saturating_sub(RECORD_HEAD)).unwrap_or(u64::MAX));
    }
}

/// Index of the snapshots of the state. Changes in the same batch as the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotsRecord {
    /// Of the live state.
    pub(super) size: StateSize,
    /// Ascending by height.
    pub(super) layers: Vec<LayerRecord>,
    /// Numbers of layers that nobody reads any more and whose rows are not all deleted.
    pub(super) retired: Vec<u64>,
    /// The number of the next layer. None is used twice, so rows that wait to be deleted can't be taken for newer ones.
    pub(super) next: u64,
}

/// Rows put aside of the state at one snapshot height: as they were there, for the keys that changed between it and
/// the height of the next layer, or since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub(super) number: u64,
    pub(super) height: Height,
    /// Of the state at `height`.
    pub(super) size: StateSize,
    /// Rows that were put aside.
    pub(super) rows: u64,
    /// False where the snapshot was dropped, and the layer is only there for lower ones that read through it.
    pub(super) kept: bool,
}

/// A block whose state was fetched, and what proves it final. The stored blocks begin above it.
#[derive(Serialize, Deserialize)]
pub(super) struct BaseRecord {
    pub(super) point: BlockPoint,
    pub(super) state_root: Hash,
    /// Headers that begin with the block's own.
    pub(super) segment: Vec<u8>,
    /// The tip message that proves the last of them, where the segment doesn't.
    pub(super) tip: Option<Vec<u8>>,
}

impl BaseRecord {
    pub(super) fn of(base: &SnapshotBase) -> Self {
        Self {
            point: base.point,
            state_root: base.state_root,
            segment: base.segment.bytes().to_vec(),
            tip: base.tip.as_ref().map(|tip| tip.to_vec()),
        }
    }

    pub(super) fn into_proof(self) -> Finalized {
        let (segment, height) = (Bytes::from(self.segment), self.point.height);
        match self.tip {
            Some(tip) => Finalized::Anchored { segment, tip: tip.into(), height },
            None => Finalized::Segment(segment, height),
        }
    }
}

/// A trusted epoch.
#[derive(Serialize, Deserialize)]
pub(super) struct EpochRecord {
    pub(super) epoch: Epoch,
    pub(super) range: HeightRange,
    pub(super) bytes: Vec<u8>,
    /// The block that its first one follows, where a handover told.
    pub(super) follows: Option<Follows>,
}

/// The last block of the epoch before.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Follows {
    pub(super) id: Hash,
    pub(super) time: UnixMillis,
}

impl EpochRecord {
    pub(super) fn of(epoch: &EpochRef, follows: Option<Follows>) -> Self {
        Self { epoch: epoch.epoch(), range: epoch.range(), bytes: epoch.bytes().to_vec(), follows }
    }

    pub(super) fn into_ref(self) -> EpochRef {
        EpochRef::trusted(self.epoch, self.range, self.bytes.into())
    }
}

/// The newest served proof of finality.
#[derive(Serialize, Deserialize)]
pub(super) struct TipRecord {
    pub(super) height: Height,
    pub(super) epoch: Epoch,
    pub(super) bytes: Vec<u8>,
}

/// Facts of verified headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) epoch: Epoch,
    pub(super) range: HeightRange,
    pub(super) parent_id: Hash,
    pub(super) last_id: Hash,
    pub(super) last_timestamp: UnixMillis,
    pub(super) payload_lens: Vec<u32>,
}

impl Facts {
    pub(super) fn of(segment: &SegmentRef) -> Self {
        Self {
            epoch: segment.epoch(),
            range: segment.range(),
            parent_id: segment.parent_id(),
            last_id: segment.last_id(),
            last_timestamp: segment.last_timestamp(),
            payload_lens: segment.payload_lens().to_vec(),
        }
    }

    pub(super) fn to_segment_facts(&self) -> SegmentFacts {
        SegmentFacts {
            range: self.range,
            parent_id: self.parent_id,
            last_id: self.last_id,
            last_timestamp: self.last_timestamp,
            payload_lens: self.payload_lens.clone(),
            quorum_checks: 0,
        }
    }

    /// The payload lengths of the heights in `range`; `None` where not all of them are held.
    pub(super) fn lens_of(&self, range: HeightRange) -> Option<&[u32]> {
        let first = self.range.index_of(range.first())?;
        let last = self.range.index_of(range.last())?;
        self.payload_lens.get(first..=last)
    }
}

/// A stored body frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FrameRecord {
    /// Blocks in it.
    pub(super) count: u32,
    /// Bytes of it, head included.
    pub(super) len: u32,
    /// [`short_check_of`] its bytes.
    pub(super) check: [u8; 8],
}

impl FrameRecord {
    pub(super) fn of(frame: &BodyFrame) -> Option<Self> {
        Some(Self {
            count: u32::try_from(frame.range.count()).ok()?,
            len: u32::try_from(frame.wire.len()).ok()?,
            check: short_check_of(&frame.wire),
        })
    }
}

/// A stored segment and the frames that are stored with it so far. Ends a sealed file, and stands in the database for
/// each piece that isn't sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentRecord {
    pub(super) facts: Facts,
    pub(super) segment_len: u32,
    pub(super) segment_check: Hash,
    pub(super) audit_len: u32,
    pub(super) audit_check: Hash,
    /// The bodies begin at the first height of `facts.range`.
    pub(super) frames: Vec<FrameRecord>,
}

impl SegmentRecord {
    /// A record without frames. `None` where a length doesn't fit, which no verified segment reaches.
    pub(super) fn new(facts: Facts, segment: &[u8], audit: &[u8]) -> Option<Self> {
        Some(Self {
            facts,
            segment_len: u32::try_from(segment.len()).ok()?,
            segment_check: check_of(segment),
            audit_len: u32::try_from(audit.len()).ok()?,
            audit_check: check_of(audit),
            frames: Vec::new(),
        })
    }

    /// Whether the parts fit each other.
    pub(super) fn is_consistent(&self) -> bool {
        let blocks = self.frames.iter().map(|frame| u64::from(frame.count)).fold(0, u64::saturating_add);
        self.facts.range.count() == self.facts.payload_lens.len() as u64 && blocks <= self.facts.range.count()
    }

    /// The heights whose bodies are stored.
    pub(super) fn bodies(&self) -> Option<HeightRange> {
        let blocks = self.frames.iter().map(|frame| u64::from(frame.count)).fold(0, u64::saturating_add);
        let first = self.facts.range.first();
        HeightRange::new(first, first.plus(blocks.checked_sub(1)?))
    }
}

/// A piece that is not sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct PieceRecord {
    /// Whether its bytes are in the cell's `.part` file. Otherwise they are rows of the tail.
    pub(super) in_file: bool,
    pub(super) record: SegmentRecord,
}

/// Encodes a record. Vectors and plain fields: this can't fail, and an empty value would be refused when read.
pub(super) fn encode<T: Serialize>(record: &T) -> Bytes {
    postcard::to_allocvec(record).unwrap_or_default().into()
}

/// Decodes a record that must fill `bytes`.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((record, [])) => Some(record),
        _ => None,
    }
}

/// Keys of the index and of the tail.
pub(super) mod key {
    use super::{Bytes, Epoch, Height};

    pub(in super::super) const STORE: &[u8] = b"store";
    pub(in super::super) const HEAD: &[u8] = b"head";
    pub(in super::super) const TIP: &[u8] = b"tip";
    pub(in super::super) const APPLIED: &[u8] = b"applied";
    pub(in super::super) const SNAPSHOTS: &[u8] = b"snapshots";
    pub(in super::super) const GENERATION: &[u8] = b"generation";
    pub(in super::super) const BASE: &[u8] = b"base";
    pub(in super::super) const FLOOR: &[u8] = b"floor";
    pub(in super::super) const PRUNED: &[u8] = b"pruned";
    pub(in super::super) const EPOCHS: &[u8] = b"e/";
    pub(in super::super) const HANDOVERS: &[u8] = b"h/";
    pub(in super::super) const PIECES: &[u8] = b"p/";
    pub(in super::super) const SEGMENTS: &[u8] = b"s/";
    pub(in super::super) const AUDITS: &[u8] = b"a/";
    pub(in super::super) const FRAMES: &[u8] = b"f/";

    /// `prefix` and the number, so that keys sort as numbers do.
    pub(in super::super) fn at(prefix: &[u8], number: u64) -> Bytes {
        [prefix, &number.to_be_bytes()].concat().into()
    }

    pub(in super::super) fn epoch(prefix: &[u8], epoch: Epoch) -> Bytes {
        at(prefix, epoch.get())
    }

    pub(in super::super) fn height(prefix: &[u8], height: Height) -> Bytes {
        at(prefix, height.get())
    }
}
