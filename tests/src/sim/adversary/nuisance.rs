//! [`Nuisance`]: useless or annoying, and never false.

use std::time::Duration;

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::wire::{Refusal, Request};

use super::{Adversary, Answering, Ask, Says};
use crate::forgery::{crumb, foreign_status};
use crate::sim::source::Holdings;

/// Useless or annoying, and never false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nuisance {
    /// Says nothing.
    Silent,
    /// Breaks off.
    Breaks,
    /// Is always busy, and says for how long it will be.
    Busy,
    /// Has nothing.
    Empty,
    /// Speaks another version.
    OtherVersion,
    /// Sends so many bytes a second.
    Drips(u64),
    /// Gives one block, or one subtree, at a time.
    Stingy,
    /// Knows the chain up to this height and no further.
    Stale(Height),
    /// Has pruned everything below this height.
    Pruned(Height),
    /// Says that it is on another chain.
    OtherChain,
}

impl Adversary for Nuisance {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        match *self {
            Self::Silent => answering.says = Says::Nothing,
            Self::Breaks => answering.says = Says::Break,
            Self::Busy => answering.refuses(Refusal::Busy { retry_after_ms: ask.rng.below(2000) as u32 }),
            Self::Empty => answering.refuses(Refusal::NotAvailable),
            Self::OtherVersion => answering.refuses(Refusal::Unsupported),
            Self::Drips(rate) => {
                if let Says::Bytes(bytes) = &answering.says {
                    answering.after += Duration::from_micros(bytes.len() as u64 * 1_000_000 / rate.max(1));
                }
            }
            Self::Stingy => {
                let Some(less) = crumb(ask.request) else { return };
                answering.says = Says::Bytes(ask.source.answer(&ask.held, &less));
            }
            Self::Stale(tip) => {
                let held = Holdings { tip: tip.min(ask.held.tip), ..ask.held };
                answering.says = Says::Bytes(ask.source.answer(&held, ask.request));
            }
            Self::Pruned(earliest) => {
                let held = Holdings { earliest: earliest.max(ask.held.earliest), ..ask.held };
                answering.says = Says::Bytes(ask.source.answer(&held, ask.request));
            }
            Self::OtherChain => {
                if matches!(ask.request, Request::Status) {
                    answering.change_data(|data| foreign_status(data));
                } else {
                    answering.refuses(Refusal::NotAvailable);
                }
            }
        }
    }

    fn lies(&self) -> bool {
        false
    }
}
