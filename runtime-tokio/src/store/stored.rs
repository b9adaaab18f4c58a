//! [`Stored`]: a segment with the frames that are stored with it, wherever its bytes are.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::limits::MAX_AUDIT_BYTES;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{BodyFrame, cut_audit, decode_bodies};

use super::db::{Db, Space};
use super::failure::StoreFailure;
use super::records::{SegmentRecord, check_of, check_of_all, key, short_check_of};
use super::segment_file::{SegmentFile, frames_offset, sections};

/// Bytes of a certificate's length, in front of it.
const LENGTH_BYTES: u32 = 4;
/// Bytes of an audit that are read at once for its checksum.
const CHECKED_AT_ONCE: u32 = 1 << 20;

/// Where the bytes are.
#[derive(Clone)]
pub(super) enum Place {
    /// In a segment file, sealed or not.
    File(Arc<SegmentFile>),
    /// In rows of the tail.
    Rows(Arc<Db>),
}

/// A stored segment, as of one commit. Everything that it reads is checked against the record's checksums.
pub(super) struct Stored {
    record: SegmentRecord,
    place: Place,
    /// First height and file offset of each frame.
    frames: Vec<(Height, u64)>,
    certified: OnceLock<bool>,
}

impl Stored {
    pub(super) fn new(record: SegmentRecord, place: Place) -> Self {
        let (mut height, mut offset) = (record.facts.range.first(), frames_offset(&record));
        let place_of = |frame: &super::records::FrameRecord| {
            let at = (height, offset);
            height = height.plus(u64::from(frame.count));
            offset = offset.saturating_add(u64::from(frame.len));
            at
        };
        let frames = record.frames.iter().map(place_of).collect();
        Self { record, place, frames, certified: OnceLock::new() }
    }

    pub(super) fn record(&self) -> &SegmentRecord {
        &self.record
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The heights of the headers.
    pub(super) fn range(&self) -> HeightRange {
        self.record.facts.range
    }

    /// The heights of the bodies.
    pub(super) fn bodies(&self) -> Option<HeightRange> {
        self.record.bodies()
    }

    /// Whether the segment proves its own last block.
    pub(super) fn is_certified<C: Chain>(&self, chain: &C) -> Result<bool, StoreFailure> {
        if let Some(&certified) = self.certified.get() {
            return Ok(certified);
        }
        let certified = chain.tip_of(&self.segment()?).is_some();
        Ok(*self.certified.get_or_init(|| certified))
    }

    /// The encoded segment.
    pub(super) fn segment(&self) -> Result<Bytes, StoreFailure> {
        let [section, _] = sections(&self.record);
        self.section(section, key::SEGMENTS, self.record.segment_check, "segment")
    }

    /// The certificates of the single blocks; empty where they weren't asked for when the segment was fetched.
    pub(super) fn audit(&self) -> Result<Bytes, StoreFailure> {
        if self.record.audit_len == 0 {
            return Ok(Bytes::new());
        }
        let [_, section] = sections(&self.record);
        self.section(section, key::AUDITS, self.record.audit_check, "audit")
    }

    /// The certificates of the single blocks of `range`, which is within the segment's; empty where there are none, or more than an
    /// answer holds. An audit that is longer than that, as of a large set, is never in memory as a whole.
    pub(super) fn audit_of(&self, range: HeightRange) -> Result<Bytes, StoreFailure> {
        let file = match &self.place {
            Place::File(file) if self.record.audit_len > MAX_AUDIT_BYTES => file,
            _ if range == self.range() => return self.audit(),
            _ => return Ok(cut_audit(&self.audit()?, self.range(), range).unwrap_or_default()),
        };
        let [_, (begin, len)] = sections(&self.record);
        let end = begin.saturating_add(u64::from(len));
        let (mut at, mut first) = (begin, begin);
        for height in (0..=range.last().above(self.range().first())).map(|index| self.range().first().plus(index)) {
            if height == range.first() {
                first = at;
            }
            let head = file.read(at, LENGTH_BYTES)?;
            let part = head.first_chunk().map_or(0, |head| u32::from_le_bytes(*head));
            at = at.saturating_add(u64::from(LENGTH_BYTES)).saturating_add(u64::from(part));
            if at > end {
                return Ok(Bytes::new());
            }
        }
        let bytes = u32::try_from(at.saturating_sub(first)).ok().filter(|&bytes| bytes <= MAX_AUDIT_BYTES);
        let Some(bytes) = bytes else { return Ok(Bytes::new()) };
        self.check_audit()?;
        Ok(file.read(first, bytes)?.into())
    }

    /// Checks the checksum of the certificates of the single blocks, and says how many bytes they have.
    pub(super) fn check_audit(&self) -> Result<u64, StoreFailure> {
        let [_, (begin, len)] = sections(&self.record);
        let Place::File(file) = &self.place else { return Ok(self.audit()?.len() as u64) };
        let pieces = (0..len).step_by(CHECKED_AT_ONCE as usize).map(|at| {
            file.read(begin.saturating_add(u64::from(at)), len.saturating_sub(at).min(CHECKED_AT_ONCE)).map(Bytes::from)
        });
        if len == 0 || check_of_all(pieces)? == self.record.audit_check {
            Ok(len.into())
        } else {
            Err(self.damaged("the checksum of the audit is wrong"))
        }
    }

    fn section(
        &self,
        (offset, len): (u64, u32),
        prefix: &[u8],
        check: Hash,
        name: &str,
    ) -> Result<Bytes, StoreFailure> {
        let bytes = match &self.place {
            Place::File(file) => file.read(offset, len)?.into(),
            Place::Rows(db) => self.row(db, prefix, self.range().first())?,
        };
        if check_of(&bytes) == check {
            Ok(bytes)
        } else {
            Err(self.damaged(format!("the checksum of the {name} is wrong")))
        }
    }

    fn row(&self, db: &Db, prefix: &[u8], height: Height) -> Result<Bytes, StoreFailure> {
        let row = db.get(Space::Tail, &key::height(prefix, height))?;
        row.ok_or_else(|| self.damaged(format!("a row of the blocks from {height} on is missing")))
    }

    pub(super) fn damaged(&self, what: impl Into<String> + std::fmt::Display) -> StoreFailure {
        match &self.place {
            Place::File(file) => file.damaged(what),
            Place::Rows(db) => StoreFailure::damaged(db.path(), format!("{what} (blocks {})", self.range())),
        }
    }

    /// The first height of each frame.
    pub(super) fn frame_heights(&self) -> impl Iterator<Item = Height> {
        self.frames.iter().map(|&(first, _)| first)
    }

    /// The frame that holds the body at `height`.
    pub(super) fn frame_at(&self, height: Height) -> Option<StoredFrame<'_>> {
        let index = self.frames.partition_point(|&(first, _)| first <= height).checked_sub(1)?;
        let (&(first, offset), frame) = (self.frames.get(index)?, self.record.frames.get(index)?);
        let last = first.plus(u64::from(frame.count).checked_sub(1)?);
        let range = HeightRange::new(first, last)?;
        let lens = self.record.facts.lens_of(range)?;
        range.contains(height).then_some(StoredFrame {
            stored: self,
            range,
            offset,
            len: frame.len,
            check: frame.check,
            lens,
        })
    }
}

/// A frame of a stored segment.
pub(super) struct StoredFrame<'a> {
    stored: &'a Stored,
    pub(super) range: HeightRange,
    offset: u64,
    len: u32,
    check: [u8; 8],
    /// Payload lengths of its blocks.
    pub(super) lens: &'a [u32],
}

impl StoredFrame<'_> {
    /// Appends the frame to `out` as it was received, or nothing.
    pub(super) fn read_into(&self, out: &mut Vec<u8>) -> Result<(), StoreFailure> {
        let start = out.len();
        match &self.stored.place {
            Place::File(file) => file.read_into(self.offset, self.len, out)?,
            Place::Rows(db) => out.extend_from_slice(&self.stored.row(db, key::FRAMES, self.range.first())?),
        }
        if out.get(start..).map(short_check_of) == Some(self.check) {
            return Ok(());
        }
        out.truncate(start);
        Err(self.stored.damaged(format!("the checksum of the bodies {} is wrong", self.range)))
    }

    /// The frame, decompressed.
    pub(super) fn decode(&self) -> Result<BodyFrame, StoreFailure> {
        let mut wire = Vec::new();
        self.read_into(&mut wire)?;
        let frames = decode_bodies(wire.into(), self.range.first(), self.lens);
        let frame = frames.ok().and_then(|mut frames| frames.pop()).filter(|frame| frame.range == self.range);
        frame.ok_or_else(|| self.stored.damaged(format!("the bodies {} can't be decoded", self.range)))
    }
}
