//! How a peer of the [`World`](super::World) answers.

use core::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::Request;

use crate::chain::TestChain;

/// What a peer does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It answers with these bytes after a while.
    After(Duration, Bytes),
    /// It says nothing.
    Never,
    /// It sends more than the asker is willing to read.
    Oversize(Duration),
    /// The stream breaks.
    Broken(Duration),
}

/// A peer.
pub trait Behaviour {
    /// What it does with `request`.
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply;
}

/// Answers truthfully, after a latency and at a rate, from what it holds.
#[derive(Clone, Copy, Debug)]
pub struct Honest {
    /// Time to the first byte.
    pub latency: Duration,
    /// Bytes a second.
    pub rate: u64,
    /// Lowest height that it holds.
    pub earliest: Height,
    /// Highest height that it holds; the chain's own tip where that is lower.
    pub tip: Height,
    /// Heights whose states it keeps, of those that the chain has; `None` for none.
    pub states: Option<HeightRange>,
}

impl Default for Honest {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(5),
            rate: 50_000_000,
            earliest: Height::new(1),
            tip: Height::MAX,
            states: HeightRange::new(Height::ZERO, Height::MAX),
        }
    }
}

impl Honest {
    /// The time that an answer of `bytes` takes.
    pub fn takes(&self, bytes: usize) -> Duration {
        self.latency + Duration::from_micros(bytes as u64 * 1_000_000 / self.rate.max(1))
    }
}

impl Behaviour for Honest {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        let tip = self.tip.min(chain.tip_height());
        let answer = chain.view(self.earliest, tip).with_states(self.states).respond(request);
        // Nothing new to follow: an honest peer holds the request for a while before it says so.
        let waits = matches!(request, Request::Follow { after, .. } if *after >= tip);
        let takes = self.takes(answer.len()) + if waits { Duration::from_secs(10) } else { Duration::ZERO };
        Reply::After(takes, answer)
    }
}

/// Answers as a function says; what it leaves to honesty is answered honestly.
pub struct Scripted<F>(pub F);

impl<F: FnMut(&Request, &TestChain, Reply) -> Reply> Behaviour for Scripted<F> {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        let honest = Honest::default().reply(request, chain);
        (self.0)(request, chain, honest)
    }
}

/// Answers truthfully, from another chain than the world's: a fork, or a forgery.
pub struct Elsewhere(pub TestChain, pub Honest);

impl Behaviour for Elsewhere {
    fn reply(&mut self, request: &Request, _: &TestChain) -> Reply {
        self.1.reply(request, &self.0)
    }
}

impl Behaviour for Box<dyn Behaviour> {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        (**self).reply(request, chain)
    }
}
