//! [`OtherMaker`]: decides blocks and signs them.

use std::num::NonZeroU64;

use bytes::Bytes;
use hotstuff2_sync::calls::{ApplyPart, BlockPoint};
use hotstuff2_sync::chain::{Chain as _, EpochRef, SegmentClaim, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, View};
use hotstuff2_sync::ranges::HeightRange;
use k256::ecdsa::SigningKey;

use super::certificate::{Certificate, Committee, Vote, digest};
use super::chain::OtherChain;
use super::segment::{OtherHeader, Wire, deciding, encode};
use crate::conformance::whole_part;

/// Headers that are decided ahead of what is told: they make the last block final.
const AHEAD: u64 = 3;
/// Of so many views one has no block.
const SILENT_VIEW: u64 = 5;

/// Keys and what they sign, for blocks that break a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signers {
    /// Places in the committee, in the order in which they sign.
    pub places: Vec<u8>,
    /// Whether the keys are those of the committee.
    pub own_keys: bool,
    /// Whether they sign the block itself, and not the one before.
    pub own_block: bool,
}

impl Default for Signers {
    fn default() -> Self {
        Self { places: vec![0, 1, 3], own_keys: true, own_block: true }
    }
}

/// A committee of four with the chain that it has decided so far.
#[derive(Clone)]
pub struct OtherMaker {
    keys: Vec<SigningKey>,
    /// Of nobody.
    strangers: Vec<SigningKey>,
    chain_id: Hash,
    payloads: Vec<Bytes>,
    /// Of the blocks from height 1 on, and some above those that are told.
    headers: Vec<OtherHeader>,
    ids: Vec<Hash>,
}

fn keys(seed: u8) -> Vec<SigningKey> {
    let secret = |number: u8| digest("other chain: key", &[&[seed, number]]);
    let mut keys: Vec<SigningKey> =
        (0..4).filter_map(|number| SigningKey::from_slice(secret(number).as_bytes()).ok()).collect();
    keys.sort_by_key(|key| key.verifying_key().to_sec1_bytes());
    keys
}

impl OtherMaker {
    /// The chain with these payloads. The committee's keys follow from `seed`.
    pub fn new(seed: u8, payloads: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let keys = keys(seed);
        let chain_id = digest("other chain: genesis", &[&Committee::encode(&keys)]);
        let strangers = self::keys(seed ^ 0xff);
        let (headers, ids) = (Vec::new(), Vec::new());
        let mut maker = Self { keys, strangers, chain_id, payloads: Vec::new(), headers, ids };
        let ahead = (0..AHEAD).map(|_| Vec::new());
        payloads.into_iter().chain(ahead).for_each(|payload| maker.push(payload));
        maker
    }

    /// The chain, as a node verifies it.
    pub fn chain(&self) -> OtherChain {
        OtherChain::new(self.chain_id)
    }

    /// The id of the chain.
    pub fn chain_id(&self) -> Hash {
        self.chain_id
    }

    /// The genesis document: the committee.
    pub fn genesis(&self) -> Bytes {
        Committee::encode(&self.keys).into()
    }

    /// Where a store begins: below the first block, which is of the epoch that begins with it.
    pub fn anchor(&self) -> (BlockPoint, EpochRef) {
        (BlockPoint { height: Height::ZERO, id: Hash::ZERO }, OtherChain::epoch(Committee::encode(&self.keys)))
    }

    /// Blocks from one snapshot height to the next: none, as there are no states.
    pub fn snapshot_interval() -> NonZeroU64 {
        NonZeroU64::MAX
    }

    /// The highest block that is told; some more are decided above it.
    pub fn tip(&self) -> BlockPoint {
        let height = Height::new((self.payloads.len() as u64).saturating_sub(AHEAD));
        BlockPoint { height, id: self.id(height) }
    }

    /// The id of the block at `height`; zero below the first.
    pub fn id(&self, height: Height) -> Hash {
        index(height).and_then(|index| self.ids.get(index)).copied().unwrap_or(Hash::ZERO)
    }

    /// The payload of the block at `height`.
    pub fn payload(&self, height: Height) -> Option<&Bytes> {
        self.payloads.get(index(height)?)
    }

    /// Decides the next block.
    pub fn push(&mut self, payload: Vec<u8>) {
        let height = Height::new(self.ids.len() as u64 + 1);
        // One view in five is silent.
        let view = View::new(height.get() + height.get() / (SILENT_VIEW - 1));
        self.decide(height, view, payload, &Signers::default());
    }

    fn decide(&mut self, height: Height, view: View, payload: Vec<u8>, signers: &Signers) {
        let parent = height.prev().map_or(Hash::ZERO, |below| self.id(below));
        let payload_hash = OtherChain::payload_hash(&payload);
        let id = OtherHeader::id_of(height, parent, view, payload_hash);
        let vote = Vote { view, height, id: if signers.own_block { id } else { parent } };
        let keys = if signers.own_keys { &self.keys } else { &self.strangers };
        let certificate = Certificate::sign(keys, &signers.places, self.chain_id, &vote);
        self.headers.push(OtherHeader { view, payload_hash, certificate });
        self.ids.push(id);
        self.payloads.push(payload.into());
    }

    /// The same blocks below `height`, and from there on others: the same payloads in views that lie `later`, signed by
    /// `signers`.
    #[must_use]
    pub fn bent(&self, height: Height, later: impl Fn(u64) -> u64, signers: &Signers) -> Self {
        let kept = index(height).unwrap_or_default();
        let mut bent = self.clone();
        bent.headers.truncate(kept);
        bent.ids.truncate(kept);
        bent.payloads.truncate(kept);
        for (header, payload) in self.headers.iter().zip(&self.payloads).skip(kept) {
            let height = Height::new(bent.ids.len() as u64 + 1);
            bent.decide(height, View::new(later(header.view.get())), payload.to_vec(), signers);
        }
        bent
    }

    fn wire(&self, range: HeightRange, proven: bool) -> Option<Wire> {
        let (first, last) = (index(range.first())?, index(range.last())?);
        let headers = self.headers.get(first..=last)?.iter().cloned();
        let lens = self.payloads.get(first..=last)?.iter().map(|payload| payload.len() as u32);
        let above = self.headers.get(last + 1..)?;
        let decided = if proven { deciding(self.headers.get(last)?, above)? } else { 0 };
        let parent_id = range.first().prev().map_or(Hash::ZERO, |below| self.id(below));
        let above = above.get(..decided)?.to_vec();
        Some(Wire { first: range.first(), parent_id, headers: headers.zip(lens).collect(), above })
    }

    /// The segment of `range`, with a proof or without one.
    pub fn segment(&self, range: HeightRange, proven: bool) -> Option<Bytes> {
        self.wire(range, proven).map(|wire| encode(&wire).into())
    }

    /// The same whose proof is the one header above its end, whatever that one's view is.
    pub fn hastily_proven(&self, range: HeightRange) -> Option<Bytes> {
        let mut wire = self.wire(range, false)?;
        wire.above = vec![self.headers.get(index(range.last().next())?)?.clone()];
        Some(encode(&wire).into())
    }

    /// The same, naming for the first block a length that is one too much.
    pub fn with_a_wrong_length(&self, segment: &[u8]) -> Option<Bytes> {
        let mut wire = self.chain().decode_segment(segment).ok()?.wire;
        let (_, len) = wire.headers.first_mut()?;
        *len = len.saturating_add(1);
        Some(encode(&wire).into())
    }

    /// All blocks above `from`, cell by cell of the grid, each cell proven and verified: what a node of the chain has.
    pub fn parts(&self, from: Height) -> Vec<ApplyPart> {
        let ((_, epoch), chain, tip) = (self.anchor(), self.chain(), self.tip().height);
        let mut parts = Vec::new();
        let mut first = from.next();
        while first <= tip {
            let cell = chain.profile().cell(first, epoch.range()).map_or(first, HeightRange::last);
            let Some(range) = HeightRange::new(first, cell.min(tip)) else { break };
            let claim = SegmentClaim { range, parent: None, end: SegmentEnd::Certified, audit: false };
            let payload = |height| self.payload(height).cloned();
            let Some(segment) = self.segment(range, true) else { break };
            parts.extend(whole_part(&chain, &epoch, claim, &segment, payload));
            first = range.last().next();
        }
        parts
    }
}

fn index(height: Height) -> Option<usize> {
    usize::try_from(height.get()).ok()?.checked_sub(1)
}

impl std::fmt::Debug for OtherMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtherMaker").field("tip", &self.tip()).finish_non_exhaustive()
    }
}
