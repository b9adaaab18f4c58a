//! [`Staged`]: a serving node that plays a part in the demo, a liar's or a slow one's. Every lie can be proven.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::state::{PLACEHOLDER, StateItem};
use hotstuff2_sync::wire::{Answer, Request, Sections, encode_answer};
use hotstuff2_sync_testkit::forgery::{bend_segment, forge_handovers, forge_header, forge_signature};
use hotstuff2_sync_tokio::net::{BoxFuture, Handler};

use super::state_lie::{BendLeaves, add_key, bend_state, change_value, omit_key};

/// Lie that a node tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lie {
    /// A payload with a flipped bit
    Payload,
    /// A header that nobody signed
    Header,
    /// A certificate with a false signature
    Signature,
    /// Other heights than the ones asked for
    Range,
    /// A validator set of the liar's own, and false payloads for whoever doesn't ask for sets
    Handover,
    /// Bytes that are no answer at all
    Garbage,
    /// A state in which a key has another value; of blocks, false payloads
    StateValue,
    /// A state that lacks a key; of blocks, false payloads
    StateOmit,
    /// A state with one key more; of blocks, false payloads
    StateAdd,
    /// The state of an older block; of blocks, false payloads
    StateHeight,
}

impl Lie {
    /// The lie of the liar number `index` under `seed`.
    pub(crate) fn pick(seed: u64, index: usize) -> Self {
        pick_of(Self::value_variants(), seed, index)
    }

    /// The same of the lies about blocks that are new.
    pub(crate) fn pick_live(seed: u64, index: usize) -> Self {
        pick_of(&[Self::Payload, Self::Header, Self::Signature, Self::Garbage], seed, index)
    }

    /// The request that an honest node is asked instead, so that its answer is a lie.
    fn bend_request(self, request: &Request) -> Request {
        match (self, request) {
            (Self::Range, &Request::Segment { range, certified, audit, bodies }) => {
                let range = HeightRange::new(range.first().next(), range.last()).unwrap_or(range);
                Request::Segment { range, certified, audit, bodies }
            }
            _ => request.clone(),
        }
    }

    /// Function by which this liar changes the records of a subtree.
    fn bends_leaves(self) -> BendLeaves {
        match self {
            Self::StateOmit => omit_key,
            Self::StateAdd => add_key,
            _ => change_value,
        }
    }

    /// The honest answer `data`, made a lie; as it is where this lie doesn't touch such answers.
    fn bend(self, request: &Request, data: &Bytes) -> Option<Vec<u8>> {
        let bends_payloads = !matches!(self, Self::Header | Self::Signature | Self::Range | Self::Garbage);
        match (self, request) {
            // Whoever lies at all lies about states too: a fast sync may ask for little else.
            (Self::Garbage, Request::State { .. }) => Some(vec![0xa5; data.len()]),
            (_, Request::State { items, .. }) => bend_state(items, data, self.bends_leaves()),
            (_, Request::Bodies { .. } | Request::Follow { .. }) if bends_payloads => flip_last(data),
            (_, Request::Segment { .. }) if bends_payloads && has_bodies(data) => flip_last(data),
            (Self::Header, Request::Segment { .. } | Request::Follow { .. }) => bend_segment(data, forge_header),
            (Self::Signature, Request::Segment { .. } | Request::Follow { .. }) => bend_segment(data, forge_signature),
            (Self::Signature, Request::Tip) | (Self::StateValue, Request::Read { .. } | Request::Proof { .. }) => {
                flip_last(data)
            }
            (Self::Handover, Request::Handovers { .. }) => forge_handovers(data),
            (Self::Garbage, Request::Segment { .. } | Request::Bodies { .. } | Request::Follow { .. }) => {
                Some(vec![0xa5; data.len()])
            }
            _ => None,
        }
    }
}

fn pick_of(lies: &[Lie], seed: u64, index: usize) -> Lie {
    let pick = seed.wrapping_add(index as u64) % lies.len().max(1) as u64;
    usize::try_from(pick).ok().and_then(|pick| lies.get(pick)).copied().unwrap_or(Lie::Payload)
}

fn flip_last(data: &Bytes) -> Option<Vec<u8>> {
    let mut bent = data.to_vec();
    *bent.last_mut()? ^= 1;
    Some(bent)
}

/// Whether a segment comes with payloads.
fn has_bodies(data: &Bytes) -> bool {
    let mut sections = Sections::new(data.clone());
    sections.take().and_then(|_| sections.take()).is_some() && !sections.is_empty()
}

/// The subtree that stands in the place of another in an older state.
pub(crate) type Older = Box<dyn Fn(StateItem) -> Option<StateItem> + Send + Sync>;

/// An honest node's answers, bent and held back.
pub(crate) struct Staged {
    pub(crate) inner: Arc<dyn Handler>,
    /// For the liar who answers with an older state. Without it, and where nothing has changed, that one changes values.
    pub(crate) older: Option<Older>,
    pub(crate) lie: Option<Lie>,
    /// Before each answer.
    pub(crate) delay: Duration,
    /// In bytes per second; zero is no limit.
    pub(crate) rate: u64,
}

impl Staged {
    /// The request that gets what an older state has, if that is something else.
    fn older_request(&self, request: &Request) -> Option<Request> {
        let Request::State { height, form, items, max_bytes } = request else { return None };
        let older = self.older.as_ref()?;
        let (height, form, max_bytes) = (*height, *form, *max_bytes);
        let (first, _) = items.split_first()?;
        let bent = older(*first).filter(|bent| bent != first && bent.hash != PLACEHOLDER)?;
        Some(Request::State { height, form, items: vec![bent], max_bytes })
    }

    fn answer(&self, peer: PeerId, request: Bytes) -> Bytes {
        let (Some(lie), Ok(decoded)) = (self.lie, Request::decode(&request)) else {
            return self.inner.handle(peer, request);
        };
        if lie == Lie::StateHeight
            && let Some(older) = self.older_request(&decoded)
        {
            let answer = self.inner.handle(peer, older.encode().into());
            if matches!(Answer::decode(answer.clone()), Ok(Answer::Data(_))) {
                return answer;
            }
        }
        let answer = self.inner.handle(peer, lie.bend_request(&decoded).encode().into());
        match Answer::decode(answer.clone()) {
            Ok(Answer::Data(data)) => lie.bend(&decoded, &data).map_or(answer, |bent| {
                let mut lied = encode_answer(bent.len());
                lied.extend_from_slice(&bent);
                lied.into()
            }),
            _ => answer,
        }
    }
}

impl Handler for Staged {
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        let inner = self.inner.ready(peer, request);
        Box::pin(async move {
            inner.await;
            tokio::time::sleep(self.delay).await;
        })
    }

    fn cost(&self, request: &Bytes) -> Cost {
        self.inner.cost(request)
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        self.inner.busy(retry_after_ms)
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        let answer = self.answer(peer, request);
        if let Some(micros) = (answer.len() as u64).saturating_mul(1_000_000).checked_div(self.rate) {
            std::thread::sleep(Duration::from_micros(micros));
        }
        answer
    }
}

#[cfg(test)]
#[path = "lie_tests.rs"]
mod tests;
