//! [`Notary`]: makes blocks and signs them.

use std::num::NonZeroU64;

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use hotstuff2_sync::calls::{ApplyPart, BlockPoint};
use hotstuff2_sync::chain::{Chain as _, ChainProfile, EpochRef, SegmentClaim, SegmentEnd};
use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::chain::{NotaryChain, NotaryHeader};
use crate::conformance::whole_part;

static CHAIN: Context = Context::new("hotstuff2-sync notary chain 2026 chain id");

/// A notary with the chain that it has signed so far.
#[derive(Clone)]
pub struct Notary {
    key: SigningKey,
    chain: NotaryChain,
    chain_id: Hash,
    payloads: Vec<Bytes>,
    headers: Vec<NotaryHeader>,
    /// Of the blocks from height 1 on.
    ids: Vec<Hash>,
}

impl Notary {
    /// A notary whose key follows from `seed`, and its chain without a block.
    pub fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let chain_id = CHAIN.hash(key.verifying_key().as_bytes());
        let chain = NotaryChain::new(chain_id);
        Self::of(key, chain, chain_id)
    }

    /// The same with a chain of other sizes.
    pub fn with_profile(seed: u8, profile: ChainProfile) -> Self {
        let Self { key, chain, chain_id, .. } = Self::new(seed);
        Self::of(key, chain.with_profile(profile), chain_id)
    }

    fn of(key: SigningKey, chain: NotaryChain, chain_id: Hash) -> Self {
        Self { key, chain, chain_id, payloads: Vec::new(), headers: Vec::new(), ids: Vec::new() }
    }

    /// The chain, as a node verifies it.
    pub fn chain(&self) -> NotaryChain {
        self.chain.clone()
    }

    /// The id of the chain.
    pub fn chain_id(&self) -> Hash {
        self.chain_id
    }

    /// The genesis document: the notary's key.
    pub fn genesis(&self) -> Bytes {
        Bytes::copy_from_slice(self.key.verifying_key().as_bytes())
    }

    /// Where a store begins: below the first block, which is of the epoch that begins with it.
    pub fn anchor(&self) -> (BlockPoint, EpochRef) {
        (BlockPoint { height: Height::ZERO, id: Hash::ZERO }, NotaryChain::epoch(&self.key.verifying_key()))
    }

    /// Blocks from one snapshot height to the next: none, as there are no states.
    pub fn snapshot_interval() -> NonZeroU64 {
        NonZeroU64::MAX
    }

    /// The highest block.
    pub fn tip(&self) -> BlockPoint {
        let height = Height::new(self.ids.len() as u64);
        BlockPoint { height, id: self.id(height) }
    }

    /// The id of the block at `height`; zero below the first.
    pub fn id(&self, height: Height) -> Hash {
        let index = usize::try_from(height.get()).ok().and_then(|height| height.checked_sub(1));
        index.and_then(|index| self.ids.get(index)).copied().unwrap_or(Hash::ZERO)
    }

    /// The payload of the block at `height`.
    pub fn payload(&self, height: Height) -> Option<&Bytes> {
        self.payloads.get(usize::try_from(height.get()).ok()?.checked_sub(1)?)
    }

    /// Decides the next block.
    pub fn push(&mut self, payload: impl Into<Bytes>) {
        self.push_noted(payload, &[]);
    }

    /// The same with something to say of it.
    pub fn push_noted(&mut self, payload: impl Into<Bytes>, note: &[u8]) {
        let payload = payload.into();
        let (header, tip) = (NotaryHeader::of(&payload, note), self.tip());
        self.ids.push(self.chain.id(tip.height.next(), tip.id, &header));
        self.headers.push(header);
        self.payloads.push(payload);
    }

    /// The segment of `range`, which is within the chain, signed or not.
    pub fn segment(&self, range: HeightRange, signed: bool) -> Bytes {
        let index = |height: Height| usize::try_from(height.get()).unwrap_or(usize::MAX).saturating_sub(1);
        let headers = self.headers.get(index(range.first())..=index(range.last())).unwrap_or_default();
        let message = self.chain.message(range.last(), self.id(range.last()));
        let signature = signed.then(|| self.key.sign(&message));
        let parent = range.first().prev().map_or(Hash::ZERO, |below| self.id(below));
        NotaryChain::segment(range.first(), parent, headers, signature).into()
    }

    /// The heights of a segment.
    pub fn range_of(&self, segment: &[u8]) -> Option<HeightRange> {
        self.chain.decode_segment(segment).ok().map(|segment| segment.range())
    }

    /// The segment of `range`, naming for the block at `at` a payload length that is one too much.
    pub fn segment_with_a_wrong_length(&self, range: HeightRange, signed: bool, at: Height) -> Bytes {
        let mut liar = self.clone();
        let index = usize::try_from(at.get()).unwrap_or(usize::MAX).saturating_sub(1);
        if let Some(header) = liar.headers.get_mut(index) {
            header.payload_len = header.payload_len.saturating_add(1);
        }
        liar.segment(range, signed)
    }

    /// All blocks above `from`, cell by cell of the grid, each cell signed and verified: what a node of the chain has.
    pub fn parts(&self, from: Height) -> Vec<ApplyPart> {
        let (_, epoch) = self.anchor();
        let mut parts = Vec::new();
        let mut first = from.next();
        while first <= self.tip().height {
            let cell = self.chain.profile().cell(first, epoch.range()).map_or(first, HeightRange::last);
            let Some(range) = HeightRange::new(first, cell.min(self.tip().height)) else { break };
            if let Some(part) = self.part(range, &epoch) {
                parts.push(part);
            }
            first = range.last().next();
        }
        parts
    }

    fn part(&self, range: HeightRange, epoch: &EpochRef) -> Option<ApplyPart> {
        let claim = SegmentClaim { range, parent: None, end: SegmentEnd::Certified, audit: false };
        whole_part(&self.chain, epoch, claim, &self.segment(range, true), |height| self.payload(height).cloned())
    }
}

impl std::fmt::Debug for Notary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notary").field("tip", &self.tip()).finish_non_exhaustive()
    }
}
