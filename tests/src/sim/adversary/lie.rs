//! [`Lie`]: what is provably false.

use bytes::Bytes;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::{StateForm, StateItem, subtree};
use hotstuff2_sync::wire::{PeerStatus, Request};

use super::{Adversary, Answering, Ask, Says};
use crate::forgery::{bend_segment, forge_handovers, forge_header, forge_signature};

/// Says what is false, in one of many ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A flipped bit somewhere.
    Bit,
    /// A flipped bit in the last byte, where payloads are.
    LastBit,
    /// Less than it should be.
    Cut,
    /// More than it should be.
    Longer,
    /// More than anybody would read.
    Oversize,
    /// Random bytes.
    Noise,
    /// A length that no memory holds.
    LengthBomb,
    /// A tip that it can't prove.
    Claim,
    /// A header that nobody signed.
    Header,
    /// A certificate with a false signature.
    Signature,
    /// Other heights than the ones asked for.
    Range,
    /// A validator set of its own.
    Handover,
    /// The state of an older block.
    OlderState,
    /// A tree of another depth.
    OtherForm,
}

impl Lie {
    /// All lies.
    pub const ALL: [Self; 14] = [
        Self::Bit,
        Self::LastBit,
        Self::Cut,
        Self::Longer,
        Self::Oversize,
        Self::Noise,
        Self::LengthBomb,
        Self::Claim,
        Self::Header,
        Self::Signature,
        Self::Range,
        Self::Handover,
        Self::OlderState,
        Self::OtherForm,
    ];
}

impl Adversary for Lie {
    fn name(&self) -> String {
        format!("lie {self:?}")
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        match *self {
            Self::Bit => {
                if let Says::Bytes(bytes) = &answering.says {
                    let mut bytes = bytes.to_vec();
                    let at = ask.rng.below(bytes.len() as u64) as usize;
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << ask.rng.below(8);
                    }
                    answering.says = Says::Bytes(bytes.into());
                }
            }
            Self::LastBit => answering.change_data(|data| {
                let mut bent = data.to_vec();
                *bent.last_mut()? ^= 1;
                Some(bent)
            }),
            Self::Cut => {
                if let Says::Bytes(bytes) = &answering.says {
                    answering.says = Says::Bytes(bytes.slice(..ask.rng.below(bytes.len() as u64) as usize));
                }
            }
            Self::Longer => answering.change_data(|data| Some([data.as_ref(), &[0; 16]].concat())),
            Self::Oversize => {
                let more = ask.request.max_response_bytes() as usize + 1;
                answering.says = Says::Bytes(vec![0; more].into());
            }
            Self::Noise => {
                let mut bytes = vec![0; ask.rng.below(200) as usize];
                ask.rng.fill(&mut bytes);
                answering.says = Says::Bytes(bytes.into());
            }
            Self::LengthBomb => answering.change_data(|_| Some(vec![0xff; 24])),
            Self::Claim => {
                if matches!(ask.request, Request::Status) {
                    let tip = [u64::MAX, ask.held.tip.get().saturating_add(5)][ask.rng.below(2) as usize];
                    let epoch = [u64::MAX, 0, 3][ask.rng.below(3) as usize];
                    answering.change_data(|data| {
                        let status: PeerStatus = postcard::from_bytes(data).ok()?;
                        let claim = PeerStatus { tip: Height::new(tip), epoch: Epoch::new(epoch), ..status };
                        postcard::to_allocvec(&claim).ok()
                    });
                }
            }
            Self::Header => {
                if matches!(ask.request, Request::Segment { .. } | Request::Follow { .. }) {
                    answering.change_data(|data| bend_segment(data, forge_header));
                }
            }
            Self::Signature => {
                if matches!(ask.request, Request::Segment { .. } | Request::Follow { .. }) {
                    answering.change_data(|data| bend_segment(data, forge_signature));
                }
            }
            Self::Range => {
                if let Request::Segment { range, certified, audit, bodies } = *ask.request {
                    let range = HeightRange::new(range.first().next(), range.last()).unwrap_or(range);
                    let other = Request::Segment { range, certified, audit, bodies };
                    answering.says = Says::Bytes(ask.source.answer(&ask.held, &other));
                }
            }
            Self::Handover => {
                if matches!(ask.request, Request::Handovers { .. }) {
                    answering.change_data(forge_handovers);
                }
            }
            Self::OlderState => {
                if let Some(older) = older_state(ask) {
                    answering.says = Says::Bytes(older);
                }
            }
            Self::OtherForm => {
                if let Request::State { height, form: StateForm::Tree { depth }, items, max_bytes } = ask.request {
                    let form = StateForm::Tree { depth: 1 + (*depth + ask.rng.below(3) as u8) % 8 };
                    let items = items.clone();
                    let other = Request::State { height: *height, form, items, max_bytes: *max_bytes };
                    answering.says = Says::Bytes(ask.source.answer(&ask.held, &other));
                }
            }
        }
    }

    fn lies(&self) -> bool {
        true
    }
}

/// Answer from the first state of the chain, for the places that are asked for.
fn older_state(ask: &Ask<'_>) -> Option<Bytes> {
    let Request::State { form, items, max_bytes, .. } = ask.request else { return None };
    let chain = ask.source.test_chain()?;
    let height = Height::new(chain.genesis().document().snapshot_interval);
    let old = chain.state(height)?;
    let item = |item: &StateItem| Some(StateItem { hash: subtree(old, &item.prefix).ok()?.0, ..*item });
    let items = items.iter().map(item).collect::<Option<Vec<_>>>()?;
    Some(ask.source.answer(&ask.held, &Request::State { height, form: *form, items, max_bytes: *max_bytes }))
}
