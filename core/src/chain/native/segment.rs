//! Certified header segments: consecutive headers and one proof for the last.
//!
//! On the wire a header holds only what doesn't follow from the one before. Rebuilding the headers and hashing them is
//! also what proves them: each id is under the next header, and the last one under a certificate. So one quorum check
//! stands for all of them, and the ids up to the last need no trust in whoever sent them.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::anchor::AnchorPoint;
use super::batch::Batch;
use super::certificate::QuorumCertificate;
use super::codec::{self, Version};
use super::finality::FinalityProof;
use super::handover::Handover;
use super::header::{Header, MAX_HEADER_BYTES, payload_hash};
use super::rules::{EpochContext, Place};
use super::vote::Phase;
use crate::chain::{Fault, SegmentClaim, SegmentEnd, SegmentFacts};
use crate::hash::Hash;
use crate::ids::{Height, View};
use crate::limits::{GRID, MAX_AUDIT_BYTES, MAX_SEGMENT_BYTES};
use crate::ranges::{HeightRange, grid_cell};
use crate::sections::{put_section, split_section};
use crate::time::UnixMillis;

/// Most headers in a segment: one cell of the grid.
pub const MAX_SEGMENT_HEADERS: usize = GRID as usize;

/// Signatures of an audit that are checked with one equation: each costs a third less than in a batch of 66. More would
/// take more memory, which is about a KiB for each while they are checked.
const AUDIT_BATCH: usize = 2048;

/// Consecutive headers of one epoch, rebuilt and hashed, with their parent and the proof for the last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    parent: Header,
    parent_id: Hash,
    headers: Vec<Header>,
    ids: Vec<Hash>,
    range: HeightRange,
    proof: FinalityProof,
}

/// What of a header doesn't follow from the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CompactHeader {
    /// Length of the payload in bytes.
    pub payload_len: u32,
    /// How many views between the parent's and this one's saw no block in this chain.
    pub skipped_views: u64,
    /// Index of the proposer.
    pub proposer: u16,
    /// Milliseconds from the parent's timestamp.
    pub elapsed_ms: u64,
    /// Hash of the payload; not written for an empty one.
    pub payload_hash: Option<Hash>,
    /// Root of the state, where it isn't the parent's.
    pub state_root: Option<Hash>,
}

/// The encoding of a segment.
#[derive(Serialize, Deserialize)]
struct Wire {
    version: Version,
    parent: Header,
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_SEGMENT_HEADERS>")]
    headers: Vec<CompactHeader>,
    /// Of the last header; only an epoch's last has it.
    next_epoch_hash: Option<Hash>,
    proof: FinalityProof,
}

/// One phase-one certificate for each header of a segment, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuditTrail {
    /// The certificates.
    pub certificates: Vec<QuorumCertificate>,
}

impl AuditTrail {
    /// The canonical encoding: each certificate with its length in front.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for certificate in &self.certificates {
            // A certificate is far below 4 GiB.
            let _ = put_section(&mut out, &certificate.encode());
        }
        out
    }

    /// Decodes a trail of at least one certificate; none is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > MAX_AUDIT_BYTES as usize {
            return Err(Fault::Oversize);
        }
        let mut certificates = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() && certificates.len() < MAX_SEGMENT_HEADERS {
            let certificate;
            (certificate, rest) = split_section(rest).ok_or(Fault::Malformed)?;
            certificates.push(QuorumCertificate::decode(certificate)?);
        }
        if rest.is_empty() && !certificates.is_empty() { Ok(Self { certificates }) } else { Err(Fault::Malformed) }
    }
}

/// Headers that don't follow one from another, so that they can't be a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("headers are not a segment: each must be the child of the one before, 1 to {MAX_SEGMENT_HEADERS} of one epoch")]
pub struct NotASegment;

impl Segment {
    /// The segment of `headers`, the first of which is the child of `parent`. Nothing is checked but their links.
    pub fn new(parent: Header, headers: Vec<Header>, proof: FinalityProof) -> Result<Self, NotASegment> {
        let wire = compact(&parent, &headers, proof).ok_or(NotASegment)?;
        let rebuilt = Self::rebuild(wire).map_err(|_| NotASegment)?;
        if rebuilt.headers == headers { Ok(rebuilt) } else { Err(NotASegment) }
    }

    /// Decodes a segment and rebuilds its headers. Who signed, and whether the headers keep the rules, is not checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        Self::rebuild(codec::decode(bytes, MAX_SEGMENT_BYTES as usize)?)
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        // `compact` says no only to headers that don't rebuild, and these were rebuilt.
        compact(&self.parent, &self.headers, self.proof.clone()).map(|wire| codec::encode(&wire)).unwrap_or_default()
    }

    /// Decodes `bytes` and proves that they are what `claim` asks for. Nothing at or below `anchor` is proven by a
    /// certificate: there, only links down from what is trusted already count. What `handover` proves was verified under
    /// the same epoch.
    pub(super) fn verify(
        bytes: &[u8],
        audit: &[u8],
        claim: &SegmentClaim,
        epoch: &EpochContext,
        anchor: AnchorPoint,
        handover: Option<&Handover>,
    ) -> Result<(Self, SegmentFacts), Fault> {
        let wire: Wire = codec::decode(bytes, MAX_SEGMENT_BYTES as usize)?;
        check_range(wire.range()?, claim, epoch)?;
        let segment = Self::rebuild(wire)?;
        if claim.parent.is_some_and(|parent| parent != segment.parent_id) {
            return Err(Fault::WrongParent);
        }
        if segment.parent.height == anchor.height && segment.parent_id != anchor.id {
            return Err(Fault::WrongParent);
        }
        segment.check_links(epoch)?;
        let mut quorum_checks = segment.check_end(claim.end, epoch, anchor, handover)?;
        if claim.audit {
            quorum_checks = quorum_checks.saturating_add(segment.check_audit(audit, epoch)?);
        } else if !audit.is_empty() {
            return Err(Fault::Malformed);
        }
        let facts = segment.facts(quorum_checks)?;
        Ok((segment, facts))
    }

    /// The block below the first.
    pub fn parent(&self) -> &Header {
        &self.parent
    }

    /// Id of the block below the first.
    pub fn parent_id(&self) -> Hash {
        self.parent_id
    }

    /// The headers, in order.
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// The headers' ids, in order.
    pub fn ids(&self) -> &[Hash] {
        &self.ids
    }

    /// The headers' heights.
    pub fn range(&self) -> HeightRange {
        self.range
    }

    /// Why the last header is final.
    pub fn proof(&self) -> &FinalityProof {
        &self.proof
    }

    /// The header at `height` and its id.
    pub fn header(&self, height: Height) -> Option<(&Header, Hash)> {
        let index = self.range.index_of(height)?;
        Some((self.headers.get(index)?, *self.ids.get(index)?))
    }

    /// What a host that verified this segment, or made it, may say of it.
    pub fn facts(&self, quorum_checks: u32) -> Result<SegmentFacts, Fault> {
        let (Some(last), Some(last_id)) = (self.headers.last(), self.ids.last()) else {
            return Err(Fault::Malformed);
        };
        Ok(SegmentFacts {
            range: self.range,
            parent_id: self.parent_id,
            last_id: *last_id,
            last_timestamp: last.timestamp,
            payload_lens: self.headers.iter().map(|header| header.payload_len).collect(),
            quorum_checks,
        })
    }

    fn rebuild(wire: Wire) -> Result<Self, Fault> {
        let range = wire.range()?;
        let empty = payload_hash(&[]);
        let mut scratch = Vec::with_capacity(MAX_HEADER_BYTES);
        let parent_id = wire.parent.id_with(&mut scratch);
        let mut headers: Vec<Header> = Vec::with_capacity(wire.headers.len());
        let mut ids = Vec::with_capacity(wire.headers.len());
        let mut next_epoch_hash = wire.next_epoch_hash;
        let mut before_id = parent_id;
        for compact in &wire.headers {
            let before = headers.last().unwrap_or(&wire.parent);
            let mut header = compact.expand(before, before_id, empty)?;
            if header.height == range.last() {
                header.next_epoch_hash = next_epoch_hash.take();
            }
            before_id = header.id_with(&mut scratch);
            headers.push(header);
            ids.push(before_id);
        }
        Ok(Self { parent: wire.parent, parent_id, headers, ids, range, proof: wire.proof })
    }

    fn check_links(&self, epoch: &EpochContext) -> Result<(), Fault> {
        // A parent in this epoch keeps the rules of this epoch; the genesis block and the last block of the epoch before
        // are known by their ids, which the first header's rules ask for.
        if self.parent.epoch == epoch.epoch() && self.parent.height != Height::ZERO {
            epoch.check_header(&self.parent, Place::Chain).map_err(|rule| rule.fault(self.parent.height))?;
        }
        let (mut parent, mut parent_id) = (&self.parent, self.parent_id);
        for (header, id) in self.headers.iter().zip(&self.ids) {
            epoch.check_child(parent, parent_id, header, Place::Chain).map_err(|rule| rule.fault(header.height))?;
            (parent, parent_id) = (header, *id);
        }
        Ok(())
    }

    /// Checks that the last header is final, and returns how many quorum checks that took.
    fn check_end(
        &self,
        end: SegmentEnd,
        epoch: &EpochContext,
        anchor: AnchorPoint,
        handover: Option<&Handover>,
    ) -> Result<u32, Fault> {
        let (Some(last), Some(last_id)) = (self.headers.last(), self.ids.last()) else {
            return Err(Fault::Malformed);
        };
        match (end, &self.proof) {
            (SegmentEnd::Anchored(id), _) if id != *last_id => Err(Fault::WrongAnchor),
            (SegmentEnd::Anchored(_), FinalityProof::Anchored { id }) => {
                if id == last_id {
                    Ok(0)
                } else {
                    Err(Fault::WrongAnchor)
                }
            }
            (SegmentEnd::Certified | SegmentEnd::CertifiedUpTo, _) if self.range.first() <= anchor.height => {
                Err(Fault::NotFinal)
            }
            // Verified already, for this block and by this set: all that the check would look at is the same.
            (_, proof) if handover.is_some_and(|known| known.header == *last && known.proof == *proof) => Ok(0),
            // A certificate that isn't needed is checked all the same: what is stored here is served later.
            (_, proof) => proof.verify(last, epoch).map(|()| 1),
        }
    }

    fn check_audit(&self, audit: &[u8], epoch: &EpochContext) -> Result<u32, Fault> {
        let trail = AuditTrail::decode(audit)?;
        if trail.certificates.len() != self.headers.len() {
            return Err(Fault::BadCertificate);
        }
        let keys = epoch.validators().keys();
        let mut batch = Batch::new(keys);
        for ((header, id), certificate) in self.headers.iter().zip(&self.ids).zip(&trail.certificates) {
            let checked = certificate.verify_into(&mut batch, Phase::One, header, *id, epoch);
            checked.map_err(|_| Fault::BadCertificate)?;
            if batch.len() >= AUDIT_BATCH && !core::mem::replace(&mut batch, Batch::new(keys)).holds() {
                return Err(Fault::BadCertificate);
            }
        }
        if !batch.holds() {
            return Err(Fault::BadCertificate);
        }
        Ok(u32::try_from(trail.certificates.len()).unwrap_or(u32::MAX))
    }
}

impl Wire {
    fn range(&self) -> Result<HeightRange, Fault> {
        let count = u64::try_from(self.headers.len()).map_err(|_| Fault::Oversize)?;
        let parent = self.parent.height.get();
        let first = parent.checked_add(1).ok_or(Fault::Malformed)?;
        let last = parent.checked_add(count).ok_or(Fault::Malformed)?;
        HeightRange::new(Height::new(first), Height::new(last)).ok_or(Fault::Malformed)
    }
}

impl CompactHeader {
    /// What is left of `header` beside its parent; `None` where they don't fit together.
    pub fn of(parent: &Header, header: &Header) -> Option<Self> {
        let step = header.view.get().checked_sub(parent.view.get())?;
        Some(Self {
            payload_len: header.payload_len,
            skipped_views: step.checked_sub(1)?,
            proposer: header.proposer,
            elapsed_ms: header.timestamp.get().checked_sub(parent.timestamp.get())?,
            payload_hash: (header.payload_len != 0).then_some(header.payload_hash),
            state_root: (header.state_root != parent.state_root).then_some(header.state_root),
        })
    }

    /// The header that this stands for, but for a next epoch's hash.
    fn expand(&self, parent: &Header, parent_id: Hash, empty: Hash) -> Result<Header, Fault> {
        let height = parent.height.next();
        let broken = Fault::BrokenLink(height);
        let step = self.skipped_views.checked_add(1).ok_or(broken)?;
        let (epoch, epoch_hash) = match parent.next_epoch_hash {
            Some(next) => (parent.epoch.next(), next),
            None => (parent.epoch, parent.epoch_hash),
        };
        let payload_hash = match self.payload_hash {
            None if self.payload_len == 0 => empty,
            Some(hash) if self.payload_len != 0 => hash,
            _ => return Err(Fault::NonCanonical),
        };
        let state_root = match self.state_root {
            None => parent.state_root,
            Some(root) if root != parent.state_root => root,
            Some(_) => return Err(Fault::NonCanonical),
        };
        Ok(Header {
            version: Version,
            chain_id: parent.chain_id,
            height,
            view: View::new(parent.view.get().checked_add(step).ok_or(broken)?),
            epoch,
            epoch_hash,
            parent: parent_id,
            justify_view: parent.view,
            proposer: self.proposer,
            timestamp: UnixMillis::new(parent.timestamp.get().checked_add(self.elapsed_ms).ok_or(broken)?),
            payload_hash,
            payload_len: self.payload_len,
            state_root,
            next_epoch_hash: None,
        })
    }
}

fn compact(parent: &Header, headers: &[Header], proof: FinalityProof) -> Option<Wire> {
    let last = headers.last()?;
    if headers.len() > MAX_SEGMENT_HEADERS {
        return None;
    }
    let parents = core::iter::once(parent).chain(headers);
    let compact =
        parents.zip(headers).map(|(parent, header)| CompactHeader::of(parent, header)).collect::<Option<_>>()?;
    Some(Wire {
        version: Version,
        parent: parent.clone(),
        headers: compact,
        next_epoch_hash: last.next_epoch_hash,
        proof,
    })
}

/// Checks that a segment of the heights `range` can answer `claim`, before any header is rebuilt.
fn check_range(range: HeightRange, claim: &SegmentClaim, epoch: &EpochContext) -> Result<(), Fault> {
    let cell = grid_cell(claim.range.first(), epoch.range(), GRID).ok_or(Fault::WrongRange)?;
    let reaches = match claim.end {
        SegmentEnd::Certified | SegmentEnd::Anchored(_) => range.last() == claim.range.last(),
        SegmentEnd::CertifiedUpTo => range.last() <= claim.range.last(),
    };
    if cell.covers(claim.range) && range.first() == claim.range.first() && reaches {
        Ok(())
    } else {
        Err(Fault::WrongRange)
    }
}
