//! [`Adversary`]: what a peer makes of the answers that an honest one would give.
//!
//! They compose: a peer has a list of them, each bends what the one before left, and [`After`], [`Sometimes`] and [`Only`]
//! hold another one back. [`Adversary::lies`] says whether a node may ban the peer for it: whoever says nothing provably
//! false must never be banned, however useless.

mod lie;
mod nuisance;
mod other_chain;

pub use lie::Lie;
pub use nuisance::Nuisance;
pub use other_chain::{Equivocation, Forgery, Minority};

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::{Answer, Refusal, Request, encode_answer, encode_refusal};

use super::source::{Holdings, Source};

/// A question, and what its answerer knows.
pub struct Ask<'a> {
    /// The question.
    pub request: &'a Request,
    /// When it came.
    pub now: Instant,
    /// The true chain.
    pub source: &'a dyn Source,
    /// The peer's part of it.
    pub held: Holdings,
    /// The peer's own randomness.
    pub rng: &'a mut Rng,
    /// How many questions it was asked before.
    pub asked: u64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// These bytes.
    Bytes(Bytes),
    /// Nothing, and the stream stays open.
    Nothing,
    /// The stream breaks.
    Break,
}

/// An answer, and how long the peer takes for it beside what its line takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answering {
    /// Time before the first byte.
    pub after: Duration,
    /// The answer.
    pub says: Says,
}

impl Answering {
    fn refuses(&mut self, refusal: Refusal) {
        self.says = Says::Bytes(encode_refusal(refusal));
    }

    /// Changes the data of an answer that has some; leaves it as it is where `change` finds nothing to change.
    fn change_data(&mut self, change: impl FnOnce(&Bytes) -> Option<Vec<u8>>) {
        let Says::Bytes(bytes) = &self.says else { return };
        let Ok(Answer::Data(data)) = Answer::decode(bytes.clone()) else { return };
        if let Some(changed) = change(&data) {
            let mut answer = encode_answer(changed.len());
            answer.extend_from_slice(&changed);
            self.says = Says::Bytes(answer.into());
        }
    }
}

/// Bends answers.
pub trait Adversary {
    /// Name in a timeline.
    fn name(&self) -> String;

    /// Changes an answer, which is honest or was bent already.
    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering);

    /// Whether what it says may be provably false. Who only says true things too late or too rarely doesn't lie.
    fn lies(&self) -> bool;
}

/// Kinds of requests, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// Every kind.
    pub const ALL: Self = Self(0xff);
    /// Requests for proofs of finality: tips and handovers.
    pub const PROOFS: Self = Self(0b0000_0110);
    /// Requests for payloads.
    pub const BLOCKS: Self = Self(0b0011_1000);
    /// Subtrees of the state.
    pub const STATE: Self = Self(0b0100_0000);
    /// Claims.
    pub const STATUS: Self = Self(0b0000_0001);

    /// The kinds whose bits are set, by the order in which [`Request`] has them.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Whether `request` is of one of them.
    pub fn contain(self, request: &Request) -> bool {
        let bit = match request {
            Request::Status => 0,
            Request::Handovers { .. } => 1,
            Request::Tip => 2,
            Request::Segment { .. } => 3,
            Request::Bodies { .. } => 4,
            Request::Follow { .. } => 5,
            Request::State { .. } => 6,
            // Light reads, and whatever is not about blocks and states.
            _ => 7,
        };
        self.0 >> bit & 1 == 1
    }
}

/// Honest at first: another adversary, from some question on.
pub struct After<A>(pub u64, pub A);

impl<A: Adversary> Adversary for After<A> {
    fn name(&self) -> String {
        format!("after {} questions {}", self.0, self.1.name())
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        if ask.asked >= self.0 {
            self.1.bend(ask, answering);
        }
    }

    fn lies(&self) -> bool {
        self.1.lies()
    }
}

/// Another adversary, at one question in so many.
pub struct Sometimes<A>(pub u64, pub A);

impl<A: Adversary> Adversary for Sometimes<A> {
    fn name(&self) -> String {
        format!("once in {} {}", self.0, self.1.name())
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        if ask.rng.below(self.0.max(1)) == 0 {
            self.1.bend(ask, answering);
        }
    }

    fn lies(&self) -> bool {
        self.1.lies()
    }
}

/// Another adversary, for some kinds of questions.
pub struct Only<A>(pub Kinds, pub A);

impl<A: Adversary> Adversary for Only<A> {
    fn name(&self) -> String {
        format!("for kinds {:#010b} {}", self.0.0, self.1.name())
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        if self.0.contain(ask.request) {
            self.1.bend(ask, answering);
        }
    }

    fn lies(&self) -> bool {
        self.1.lies()
    }
}

impl Adversary for Box<dyn Adversary> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        (**self).bend(ask, answering);
    }

    fn lies(&self) -> bool {
        (**self).lies()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_forward_everything() {
        fn assert_forwards<A: Adversary + Copy + 'static>(inner: A) {
            let boxed: Box<dyn Adversary> = Box::new(inner);
            let wrappers: [&dyn Adversary; 4] =
                [&After(1, inner), &Sometimes(2, inner), &Only(Kinds::ALL, inner), &boxed];
            for wrapper in wrappers {
                assert_eq!(wrapper.lies(), inner.lies(), "{}", wrapper.name());
                assert!(wrapper.name().ends_with(&inner.name()), "{}", wrapper.name());
            }
        }
        assert_forwards(Lie::Bit);
        assert_forwards(Nuisance::Silent);
    }
}
