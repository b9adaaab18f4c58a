//! [`NotaryChain`]: the chain behind the [`Chain`] trait.

use bytes::Bytes;
use ed25519_dalek::{Signature, VerifyingKey};
use hotstuff2_sync::chain::{
    AdvertFacts, Audits, CertifiedSuffix, Chain, ChainProfile, CheckError, EpochRef, Fault, Finalized, HandoverFacts,
    HeaderFacts, SegmentClaim, SegmentEnd, SegmentFacts, Skipped, TipCheck, TipFacts,
};
use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::{MAX_PAYLOAD_BYTES, MAX_SEGMENT_BYTES, MAX_TIP_BYTES};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::put_section;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

static ID: Context = Context::new("hotstuff2-sync notary chain 2026 block id");
static PAYLOAD: Context = Context::new("hotstuff2-sync notary chain 2026 payload");
/// What the notary signs begins with this, so that it is never something else that the same key has signed.
const TAG: &[u8] = b"hotstuff2-sync notary chain: final";

/// A header. Its height and its parent are known from where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotaryHeader {
    /// Hash of the payload.
    pub payload_hash: Hash,
    /// Length of the payload in bytes.
    pub payload_len: u32,
    /// Whatever else the notary has to say of the block.
    pub note: Vec<u8>,
}

impl NotaryHeader {
    /// The header that names `payload`.
    pub fn of(payload: &[u8], note: &[u8]) -> Self {
        let payload_len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Self { payload_hash: PAYLOAD.hash(payload), payload_len, note: note.to_vec() }
    }
}

/// The halves of a signature.
type Halves = [Hash; 2];

/// A segment on the wire and in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wire {
    first: Height,
    parent_id: Hash,
    headers: Vec<NotaryHeader>,
    /// The notary's signature for the last of them.
    signature: Option<Halves>,
}

/// A final block, the signature with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tip {
    height: Height,
    id: Hash,
    signature: Halves,
}

/// A segment, decoded, with the ids of its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotarySegment {
    wire: Wire,
    range: HeightRange,
    ids: Vec<Hash>,
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap_or_default()
}

/// Decodes the one form that [`encode`] gives a value.
fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], most: u32) -> Result<T, Fault> {
    if bytes.len() > most as usize {
        return Err(Fault::Oversize);
    }
    let value: T = postcard::from_bytes(bytes).map_err(|_| Fault::Malformed)?;
    if encode(&value) == bytes { Ok(value) } else { Err(Fault::NonCanonical) }
}

impl NotarySegment {
    fn new(wire: Wire, chain: &NotaryChain) -> Result<Self, Fault> {
        let count = wire.headers.len() as u64;
        if count > chain.profile.grid() {
            return Err(Fault::Oversize);
        }
        let last = count.checked_sub(1).and_then(|more| wire.first.get().checked_add(more)).ok_or(Fault::Malformed)?;
        let range = HeightRange::new(wire.first, Height::new(last)).ok_or(Fault::Malformed)?;
        let (mut ids, mut parent, mut height) = (Vec::new(), wire.parent_id, wire.first);
        for header in &wire.headers {
            parent = chain.id(height, parent, header);
            ids.push(parent);
            height = height.next();
        }
        Ok(Self { wire, range, ids })
    }

    pub(super) fn range(&self) -> HeightRange {
        self.range
    }

    fn id(&self, height: Height) -> Option<Hash> {
        self.ids.get(self.range.index_of(height)?).copied()
    }

    /// The id of the block at `height`, or of the one below the first.
    fn id_or_parent(&self, height: Height) -> Option<Hash> {
        if self.range.first().is_next_of(height) { Some(self.wire.parent_id) } else { self.id(height) }
    }

    fn last_id(&self) -> Hash {
        self.ids.last().copied().unwrap_or_default()
    }
}

/// The chain of one notary.
#[derive(Clone, Debug)]
pub struct NotaryChain {
    chain_id: Hash,
    profile: ChainProfile,
}

impl NotaryChain {
    /// The chain with this id, which every signature names.
    pub fn new(chain_id: Hash) -> Self {
        let profile = ChainProfile {
            // A hash, a length, and no note.
            header_bytes: 38,
            payload_bytes: MAX_PAYLOAD_BYTES,
            // A height, an id or a parent's id, a number of headers, a signature.
            tip_bytes: 128,
            handover_bytes: 0,
            audits: Audits::None,
            proves_lengths: true,
        };
        Self { chain_id, profile }
    }

    /// The same with other sizes. Ids cover lengths only if they are said to be proven.
    pub fn with_profile(self, profile: ChainProfile) -> Self {
        Self { profile, ..self }
    }

    /// The id of the block at `height` with this header above the block `parent`.
    pub fn id(&self, height: Height, parent: Hash, header: &NotaryHeader) -> Hash {
        let payload_len = self.profile.proves_lengths.then_some(header.payload_len);
        ID.hash(&encode(&(height, parent, header.payload_hash, payload_len, &header.note)))
    }

    /// The one epoch, from height 1 on without an end, in which `notary` signs.
    pub fn epoch(notary: &VerifyingKey) -> EpochRef {
        let all = HeightRange::new(Height::new(1), Height::MAX).unwrap_or(HeightRange::single(Height::MAX));
        EpochRef::trusted(Epoch::ZERO, all, Bytes::copy_from_slice(notary.as_bytes()))
    }

    /// What the notary signs for a block.
    pub(super) fn message(&self, height: Height, id: Hash) -> Vec<u8> {
        [TAG, self.chain_id.as_bytes(), &height.get().to_le_bytes(), id.as_bytes()].concat()
    }

    /// The segment of `headers` above the block `parent_id`.
    pub(super) fn segment(
        first: Height,
        parent_id: Hash,
        headers: &[NotaryHeader],
        signature: Option<Signature>,
    ) -> Vec<u8> {
        let signature = signature.map(|signature| {
            let half = |bytes: &[u8; 32]| Hash::from_bytes(*bytes);
            [half(signature.r_bytes()), half(signature.s_bytes())]
        });
        encode(&Wire { first, parent_id, headers: headers.to_vec(), signature })
    }

    fn check(&self, notary: &VerifyingKey, height: Height, id: Hash, [r, s]: Halves) -> Result<(), Fault> {
        let signature = Signature::from_components(*r.as_bytes(), *s.as_bytes());
        notary.verify_strict(&self.message(height, id), &signature).map_err(|_| Fault::BadCertificate)
    }

    /// The block that a proof proves final.
    fn proven(&self, notary: &VerifyingKey, proof: &Finalized) -> Result<(Height, Hash), CheckError> {
        let in_segment = |segment: &NotarySegment, height| segment.id_or_parent(height).ok_or(Fault::WrongRange);
        match proof {
            Finalized::Tip(tip) => match self.verify_tip(notary, tip)? {
                TipCheck::Final(tip) => Ok((tip.height, tip.id)),
                TipCheck::OtherEpoch(_) => Err(Fault::BadEpoch.into()),
            },
            Finalized::Segment(segment, height) => {
                let segment = self.decode_segment(segment)?;
                let signature = segment.wire.signature.ok_or(Fault::NotFinal)?;
                self.check(notary, segment.range.last(), segment.last_id(), signature)?;
                Ok((*height, in_segment(&segment, *height)?))
            }
            Finalized::Anchored { segment, tip, height } => {
                let segment = self.decode_segment(segment)?;
                match self.verify_tip(notary, tip)? {
                    TipCheck::Final(tip) if tip.id == segment.last_id() => {
                        Ok((*height, in_segment(&segment, *height)?))
                    }
                    _ => Err(Fault::WrongAnchor.into()),
                }
            }
            // There are no handovers.
            Finalized::Handover(_) => Err(Fault::Malformed.into()),
        }
    }
}

impl Chain for NotaryChain {
    type Epoch = VerifyingKey;
    type Segment = NotarySegment;

    fn profile(&self) -> ChainProfile {
        self.profile
    }

    fn has_state_roots(&self) -> bool {
        false
    }

    fn decode_epoch(&self, epoch: &[u8], _: Option<&VerifyingKey>) -> Result<VerifyingKey, CheckError> {
        let key = epoch.try_into().ok().and_then(|key| VerifyingKey::from_bytes(key).ok());
        key.filter(|key| !key.is_weak()).ok_or(Fault::BadValidatorSet.into())
    }

    fn link_handover(&self, _: &[u8], _: &[u8]) -> Result<HandoverFacts, CheckError> {
        // The epoch never ends.
        Err(Fault::BadEpoch.into())
    }

    fn verify_handover(&self, _: &VerifyingKey, _: &[u8]) -> Result<(VerifyingKey, HandoverFacts), CheckError> {
        // The epoch never ends.
        Err(Fault::BadEpoch.into())
    }

    fn verify_skip(&self, _: &VerifyingKey, _: &[u8], _: &[u8]) -> Result<Skipped<VerifyingKey>, CheckError> {
        // There is no epoch to skip to.
        Err(Fault::BadEpoch.into())
    }

    fn verify_tip(&self, notary: &VerifyingKey, tip: &[u8]) -> Result<TipCheck, CheckError> {
        let Tip { height, id, signature } = decode(tip, MAX_TIP_BYTES)?;
        self.check(notary, height, id, signature)?;
        // Without a clock nothing says how old the tip is.
        let (epoch, timestamp, state_root) = (Epoch::ZERO, UnixMillis::default(), None);
        Ok(TipCheck::Final(TipFacts { height, id, epoch, timestamp, state_root }))
    }

    fn verify_segment(
        &self,
        notary: &VerifyingKey,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
    ) -> Result<(NotarySegment, SegmentFacts), CheckError> {
        let segment = self.decode_segment(segment)?;
        let (range, last_id) = (segment.range, segment.last_id());
        let fits = match claim.end {
            SegmentEnd::Certified | SegmentEnd::Anchored(_) => range == claim.range,
            SegmentEnd::CertifiedUpTo => range.first() == claim.range.first() && range.last() <= claim.range.last(),
        };
        if !fits {
            return Err(Fault::WrongRange.into());
        }
        if claim.parent.is_some_and(|parent| parent != segment.wire.parent_id) {
            return Err(Fault::WrongParent.into());
        }
        // A certificate is checked wherever it stands, since what is stored here is served later.
        match (claim.end, segment.wire.signature) {
            (SegmentEnd::Anchored(id), _) if id != last_id => return Err(Fault::WrongAnchor.into()),
            (SegmentEnd::Anchored(_), None) => {}
            (_, Some(signature)) => self.check(notary, range.last(), last_id, signature)?,
            (_, None) => return Err(Fault::NotFinal.into()),
        }
        // No block has a certificate of its own.
        if claim.audit || !audit.is_empty() {
            return Err(Fault::Malformed.into());
        }
        let facts = SegmentFacts {
            range,
            parent_id: segment.wire.parent_id,
            last_id,
            last_timestamp: UnixMillis::default(),
            payload_lens: segment.wire.headers.iter().map(|header| header.payload_len).collect(),
            quorum_checks: u32::from(segment.wire.signature.is_some()),
        };
        Ok((segment, facts))
    }

    fn verify_last_segment(
        &self,
        notary: &VerifyingKey,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
        _: &[u8],
    ) -> Result<(NotarySegment, SegmentFacts), CheckError> {
        self.verify_segment(notary, claim, segment, audit)
    }

    fn decode_segment(&self, segment: &[u8]) -> Result<NotarySegment, CheckError> {
        Ok(NotarySegment::new(decode(segment, MAX_SEGMENT_BYTES)?, self)?)
    }

    fn header(&self, segment: &NotarySegment, height: Height) -> Option<HeaderFacts> {
        let id = segment.id(height)?;
        Some(HeaderFacts { id, state_root: Hash::ZERO, timestamp: UnixMillis::default() })
    }

    fn check_payload(&self, segment: &NotarySegment, height: Height, payload: &[u8]) -> Result<(), CheckError> {
        let header = segment.range.index_of(height).and_then(|index| segment.wire.headers.get(index));
        let header = header.ok_or(Fault::WrongRange)?;
        if *header == NotaryHeader::of(payload, &header.note) { Ok(()) } else { Err(Fault::BadPayload(height).into()) }
    }

    fn assemble(&self, parts: &[Bytes], range: HeightRange, end: SegmentEnd) -> Option<Bytes> {
        let parts: Vec<NotarySegment> =
            parts.iter().map(|part| self.decode_segment(part).ok()).collect::<Option<_>>()?;
        let (low, high) = (parts.first()?, parts.last()?);
        let follows = |pair: &[NotarySegment]| match pair {
            [one, next] => next.range.first().is_next_of(one.range.last()) && next.wire.parent_id == one.last_id(),
            _ => false,
        };
        let held = HeightRange::new(low.range.first(), high.range.last())?;
        if !parts.windows(2).all(follows) || !held.covers(range) || range.count() > self.profile.grid() {
            return None;
        }
        // Only the last block of a part has a signature.
        let signed = |part: &&NotarySegment| part.wire.signature.is_some() && range.contains(part.range.last());
        let (last, signature) = match end {
            SegmentEnd::Anchored(_) => (range.last(), None),
            SegmentEnd::Certified | SegmentEnd::CertifiedUpTo => {
                let part = parts.iter().rev().find(signed)?;
                (part.range.last(), part.wire.signature)
            }
        };
        if end == SegmentEnd::Certified && last != range.last() {
            return None;
        }
        let range = HeightRange::new(range.first(), last)?;
        let id = |height| parts.iter().find_map(|part| part.id(height));
        if let SegmentEnd::Anchored(wanted) = end
            && id(last)? != wanted
        {
            return None;
        }
        let below = range.first().prev()?;
        let parent_id = if low.range.first() == range.first() { low.wire.parent_id } else { id(below)? };
        let all: Vec<NotaryHeader> = parts.iter().flat_map(|part| part.wire.headers.iter().cloned()).collect();
        let headers = all.get(held.index_of(range.first())?..=held.index_of(last)?)?.to_vec();
        Some(encode(&Wire { first: range.first(), parent_id, headers, signature }).into())
    }

    fn tip_of(&self, segment: &[u8]) -> Option<Bytes> {
        let segment = self.decode_segment(segment).ok()?;
        let signature = segment.wire.signature?;
        Some(encode(&Tip { height: segment.range.last(), id: segment.last_id(), signature }).into())
    }

    fn evidence(&self, notary: &VerifyingKey, one: &Finalized, other: &Finalized) -> Result<Bytes, CheckError> {
        let (at, id) = self.proven(notary, one)?;
        let (other_at, other_id) = self.proven(notary, other)?;
        if at != other_at || id == other_id {
            return Err(Fault::NoConflict.into());
        }
        let mut evidence = Vec::new();
        for proof in [one, other] {
            let (bytes, tip) = proof.parts();
            if !put_section(&mut evidence, bytes) || !put_section(&mut evidence, tip.map_or(&[], |tip| tip)) {
                return Err(Fault::Oversize.into());
            }
        }
        Ok(evidence.into())
    }

    fn verify_advert(&self, _: &VerifyingKey, _: &[u8]) -> Result<AdvertFacts, CheckError> {
        // The notary says nothing of itself.
        Err(Fault::Malformed.into())
    }

    fn certified_suffix(&self, _: &Finalized) -> Option<CertifiedSuffix> {
        // Nothing is certified before it is final.
        None
    }
}
