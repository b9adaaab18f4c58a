//! Tests of the native chain: a small network with real keys ([`Net`]), and attacks on what it made.

mod anchors;
mod batches;
mod blocks;
mod certificates;
mod encoding;
mod epochs;
mod finality;
mod roundtrip;
mod segments;
mod skips;
mod validators;
mod vectors;

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::build::{self, Proposal};
use super::*;
use crate::chain::{SegmentClaim, SegmentEnd};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, View};
use crate::ranges::HeightRange;
use crate::time::UnixMillis;

pub(super) const GENESIS_MS: u64 = 1_700_000_000_000;
pub(super) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How a test network is made.
pub(super) struct Shape {
    /// Powers of the validators of each epoch.
    pub(super) powers: Vec<u64>,
    /// Last heights of the epochs.
    pub(super) last_heights: Vec<u64>,
    /// Whether all epochs have the same keys.
    pub(super) same_keys: bool,
    /// After these heights, two views pass without a block.
    pub(super) gaps_after: Vec<u64>,
    /// Most ordinary blocks are this long; every fourth is empty.
    pub(super) payload_len: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            powers: vec![1; 4],
            last_heights: vec![20, 40, 60],
            same_keys: false,
            gaps_after: vec![5, 6, 12, 20, 38],
            payload_len: 9,
        }
    }
}

/// A network: its genesis, its keys, and a chain of headers.
pub(super) struct Net {
    pub(super) genesis: Genesis,
    pub(super) epochs: Vec<EpochInfo>,
    pub(super) keys: Vec<Vec<SigningKey>>,
    /// By height.
    pub(super) headers: Vec<Header>,
    pub(super) payloads: Vec<Vec<u8>>,
}

pub(super) fn height(number: u64) -> Height {
    Height::new(number)
}

pub(super) fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(height(first), height(last)).unwrap()
}

pub(super) fn claim(first: u64, last: u64, end: SegmentEnd) -> SegmentClaim {
    SegmentClaim { range: range(first, last), parent: None, end, audit: false }
}

pub(super) fn certified(first: u64, last: u64) -> SegmentClaim {
    claim(first, last, SegmentEnd::Certified)
}

/// Secret keys, in the order that their owners have in a set.
pub(super) fn keys(label: &str, count: usize) -> Vec<SigningKey> {
    let mut keys: Vec<SigningKey> = (0..count)
        .map(|index| SigningKey::from_bytes(blake3::hash(format!("{label} {index}").as_bytes()).as_bytes()))
        .collect();
    keys.sort_by_key(|key| ValidatorKey::from(key));
    keys
}

pub(super) fn set(keys: &[SigningKey], powers: &[u64]) -> ValidatorSet {
    let validators = keys.iter().zip(powers).map(|(key, power)| Validator { key: key.into(), power: *power });
    ValidatorSet::new(validators.collect()).unwrap()
}

pub(super) fn document(keys: &[SigningKey], powers: &[u64], last_height: u64) -> GenesisDocument {
    GenesisDocument {
        version: Version,
        name: "test".to_string(),
        timestamp: UnixMillis::new(GENESIS_MS),
        validators: set(keys, powers).validators().to_vec(),
        last_height: height(last_height),
        state_root: Hash::from_bytes([7; 32]),
        trusting_period_ms: Some(14 * DAY_MS),
        snapshot_interval: 10,
    }
}

impl Net {
    /// What a validator that stands at `header` says of itself.
    pub(super) fn advert_claim(&self, header: &Header) -> AdvertClaim {
        AdvertClaim {
            epoch: header.epoch,
            lock: header.justify_view,
            height: header.height,
            block: header.id(),
            view: header.view,
            timestamp: header.timestamp,
            challenge: Hash::ZERO,
        }
    }

    pub(super) fn new(shape: &Shape) -> Self {
        let keys: Vec<Vec<SigningKey>> = (0..shape.last_heights.len())
            .map(|epoch| keys(&format!("epoch {}", if shape.same_keys { 0 } else { epoch }), shape.powers.len()))
            .collect();
        let genesis = document(&keys[0], &shape.powers, shape.last_heights[0]).check().unwrap();
        let mut epochs = vec![genesis.epoch().clone()];
        for (index, last) in shape.last_heights.iter().enumerate().skip(1) {
            let range = range(shape.last_heights[index - 1] + 1, *last);
            epochs.push(EpochInfo::new(Epoch::new(index as u64), range, set(&keys[index], &shape.powers)));
        }
        let mut headers = vec![genesis.header().clone()];
        let mut payloads = vec![Vec::new()];
        for number in 1..=*shape.last_heights.last().unwrap() {
            let parent = headers.last().unwrap();
            let index = epochs.iter().position(|epoch| epoch.range().contains(height(number))).unwrap();
            let payload = if number % 4 == 0 { Vec::new() } else { vec![number.to_le_bytes()[0]; shape.payload_len] };
            let step = if shape.gaps_after.contains(&(number - 1)) { 3 } else { 1 };
            let ends = epochs[index].range().last() == height(number);
            let proposal = Proposal {
                view: parent.view.plus(step),
                proposer: (number % shape.powers.len() as u64) as u16,
                timestamp: UnixMillis::new(parent.timestamp.get() + number % 3),
                payload: &payload,
                state_root: if payload.is_empty() { parent.state_root } else { Hash::from_bytes([number as u8; 32]) },
                next_epoch_hash: if ends { Some(after(&epochs, index).hash()) } else { None },
            };
            let header = build::child(parent, parent.id(), &epochs[index], &proposal);
            headers.push(header);
            payloads.push(payload);
        }
        Self { genesis, epochs, keys, headers, payloads }
    }

    pub(super) fn header(&self, number: u64) -> &Header {
        &self.headers[number as usize]
    }

    pub(super) fn chain(&self) -> NativeChain {
        NativeChain::new(&self.genesis)
    }

    pub(super) fn context(&self, epoch: usize) -> EpochContext {
        EpochContext::new(&self.genesis, self.epochs[epoch].clone())
    }

    /// A certificate by all validators of the header's epoch.
    pub(super) fn certify(&self, header: &Header, phase: Phase) -> QuorumCertificate {
        let epoch = header.epoch.get() as usize;
        build::certify(header, phase, self.epochs[epoch].validators(), &self.keys[epoch])
    }

    /// The headers above `number` up to the first pair of consecutive views, closing headers where the epoch ends.
    pub(super) fn path(&self, number: u64) -> Vec<Header> {
        let mut path = Vec::new();
        let mut last = self.header(number).clone();
        loop {
            let above = self.headers.get(last.height.get() as usize + 1).filter(|above| above.epoch == last.epoch);
            let next = above.cloned().unwrap_or_else(|| build::closing(&last, last.view.next(), 0));
            let consecutive = next.view.is_next_of(last.view);
            path.push(next.clone());
            if consecutive {
                return path;
            }
            last = next;
        }
    }

    pub(super) fn two_chain(&self, number: u64) -> FinalityProof {
        let descendants = self.path(number);
        let qc = self.certify(descendants.last().unwrap(), Phase::One);
        FinalityProof::TwoChain { descendants, qc }
    }

    pub(super) fn double(&self, number: u64) -> FinalityProof {
        self.double_of(self.header(number))
    }

    pub(super) fn double_of(&self, header: &Header) -> FinalityProof {
        FinalityProof::DoubleCertificate { descendants: Vec::new(), qc: self.certify(header, Phase::Two) }
    }

    pub(super) fn segment_with(&self, first: u64, last: u64, proof: FinalityProof) -> Segment {
        let headers = self.headers[first as usize..=last as usize].to_vec();
        Segment::new(self.header(first - 1).clone(), headers, proof).unwrap()
    }

    pub(super) fn segment(&self, first: u64, last: u64) -> Bytes {
        self.segment_with(first, last, self.two_chain(last)).encode().into()
    }

    pub(super) fn anchored(&self, first: u64, last: u64) -> Bytes {
        let proof = FinalityProof::Anchored { id: self.header(last).id() };
        self.segment_with(first, last, proof).encode().into()
    }

    pub(super) fn tip(&self, number: u64) -> FinalizedHeader {
        FinalizedHeader::new(self.header(number).clone(), self.two_chain(number))
    }

    pub(super) fn handover(&self, epoch: usize) -> Handover {
        let last = self.epochs[epoch].range().last().get();
        Handover::new(self.header(last).clone(), self.two_chain(last), &after(&self.epochs, epoch))
    }
}

/// The epoch after `index`; one like it after the last.
pub(super) fn after(epochs: &[EpochInfo], index: usize) -> EpochInfo {
    epochs.get(index + 1).cloned().unwrap_or_else(|| {
        let last = epochs[index].range().last().get();
        EpochInfo::new(Epoch::new(index as u64 + 1), range(last + 1, last + 20), epochs[index].validators().clone())
    })
}

/// `header` with other fields, for attacks.
pub(super) fn with(header: &Header, change: impl FnOnce(&mut Header)) -> Header {
    let mut header = header.clone();
    change(&mut header);
    header
}

pub(super) fn view(number: u64) -> View {
    View::new(number)
}
