//! Verified epochs and segments, as the machine holds and hands them on: facts, opaque bytes, and a decoded copy that
//! all jobs share.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::native::codec::plain;
use super::{Chain, CheckError, Fault, Finalized, HandoverFacts, Memo, SegmentFacts, SkipFacts};
use crate::hash::Hash;
use crate::ids::{Epoch, Height};
use crate::ranges::HeightRange;
use crate::time::UnixMillis;

/// A verified epoch: its number, its heights and its validator set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EpochRef {
    epoch: Epoch,
    range: HeightRange,
    bytes: Bytes,
    #[serde(skip)]
    memo: Memo,
}

plain!(EpochRef);

impl EpochRef {
    /// An epoch that was verified: by a handover, or because the host trusts it as its anchor.
    pub fn trusted(epoch: Epoch, range: HeightRange, bytes: Bytes) -> Self {
        Self { epoch, range, bytes, memo: Memo::default() }
    }

    /// The epoch that a handover begins, which is linked to the one before and may not be proven yet.
    pub(crate) fn linked(facts: HandoverFacts) -> Self {
        let HandoverFacts { epoch, range, bytes, .. } = facts;
        Self { epoch, range, bytes, memo: Memo::default() }
    }

    /// The epoch that a skip was just proven to lead to, with its decoded set.
    pub(crate) fn skipped<E: Send + Sync + 'static>(facts: SkipFacts, decoded: E) -> Self {
        let SkipFacts { epoch, range, bytes, .. } = facts;
        Self { epoch, range, bytes, memo: Memo::with(decoded) }
    }

    /// The epoch's number.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// All heights of the epoch.
    pub fn range(&self) -> HeightRange {
        self.range
    }

    /// The epoch as [`Chain::decode_epoch`] reads it.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The decoded validator set.
    pub fn decoded<C: Chain>(&self, chain: &C) -> Result<&C::Epoch, CheckError> {
        self.memo.get_or_try_init(|| chain.decode_epoch(&self.bytes, None))?.ok_or(Fault::BadEpoch.into())
    }

    /// The same where the set of an earlier epoch is at hand.
    pub(crate) fn decoded_after<C: Chain>(&self, chain: &C, before: &C::Epoch) -> Result<&C::Epoch, CheckError> {
        self.memo.get_or_try_init(|| chain.decode_epoch(&self.bytes, Some(before)))?.ok_or(Fault::BadEpoch.into())
    }

    /// The same where somebody has just decoded it.
    pub(crate) fn decoded_as<C: Chain>(&self, decoded: C::Epoch) -> Result<&C::Epoch, CheckError> {
        self.memo.get_or_try_init(|| Ok::<_, CheckError>(decoded))?.ok_or(Fault::BadEpoch.into())
    }
}

/// A verified segment of headers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SegmentRef(Arc<Inner>);

#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Inner {
    epoch: Epoch,
    facts: SegmentFacts,
    bytes: Bytes,
    audit: Bytes,
    #[serde(skip)]
    memo: Memo,
}

impl Serialize for SegmentRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SegmentRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let inner = Inner::deserialize(deserializer)?;
        let lens = u64::try_from(inner.facts.payload_lens.len()).unwrap_or(u64::MAX);
        if inner.facts.range.count() != lens {
            return Err(D::Error::custom("a segment has one payload length for each height"));
        }
        Ok(Self(Arc::new(inner)))
    }
}

impl SegmentRef {
    /// A segment whose facts were verified: by a job, or by the host that answers jobs for its own chain.
    pub fn trusted(epoch: Epoch, facts: SegmentFacts, bytes: Bytes, audit: Bytes, memo: Memo) -> Self {
        Self(Arc::new(Inner { epoch, facts, bytes, audit, memo }))
    }

    /// The epoch that all of its headers belong to.
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// What was verified of it.
    pub fn facts(&self) -> &SegmentFacts {
        &self.0.facts
    }

    /// The heights that it holds.
    pub fn range(&self) -> HeightRange {
        self.0.facts.range
    }

    /// Id of the block below the first.
    pub fn parent_id(&self) -> Hash {
        self.0.facts.parent_id
    }

    /// Id of the last block.
    pub fn last_id(&self) -> Hash {
        self.0.facts.last_id
    }

    /// Timestamp of the last block.
    pub fn last_timestamp(&self) -> UnixMillis {
        self.0.facts.last_timestamp
    }

    /// Payload lengths in bytes, one for each height.
    pub fn payload_lens(&self) -> &[u32] {
        &self.0.facts.payload_lens
    }

    /// The payload lengths of the heights in `range`; `None` where the segment doesn't hold all of them.
    pub fn payload_lens_of(&self, range: HeightRange) -> Option<&[u32]> {
        let first = self.range().index_of(range.first())?;
        let last = self.range().index_of(range.last())?;
        self.0.facts.payload_lens.get(first..=last)
    }

    /// The segment as it came, and as it is stored and served.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Proof of the block at `height`, which the segment holds or begins above: the segment itself, or where it has
    /// no certificate the tip that it is anchored to.
    pub(crate) fn finalized(&self, anchor: Option<&Bytes>, height: Height) -> Finalized {
        let segment = self.bytes().clone();
        match anchor {
            Some(tip) => Finalized::Anchored { segment, tip: tip.clone(), height },
            None => Finalized::Segment(segment, height),
        }
    }

    /// The certificates of the single blocks; empty unless they were asked for.
    pub fn audit(&self) -> &Bytes {
        &self.0.audit
    }

    /// The decoded headers.
    pub fn decoded<C: Chain>(&self, chain: &C) -> Result<&C::Segment, CheckError> {
        self.0.memo.get_or_try_init(|| chain.decode_segment(&self.0.bytes))?.ok_or(Fault::Malformed.into())
    }

    /// The ids of the blocks in `range`, for hosts that keep an index.
    pub fn ids<C: Chain>(&self, chain: &C, range: HeightRange) -> Result<Vec<Hash>, CheckError> {
        let decoded = self.decoded(chain)?;
        let mut ids = Vec::new();
        let mut height = range.first();
        while height <= range.last() {
            ids.push(chain.header(decoded, height).ok_or(Fault::WrongRange)?.id);
            if height == Height::MAX {
                break;
            }
            height = height.next();
        }
        Ok(ids)
    }
}
