//! How a peer of the [`World`](super::World) answers.

use core::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::machine::RequestFailure;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::{PeerStatus, Request};

use crate::chain::TestChain;

/// A peer's reaction to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The peer answers with these bytes after a while.
    After(Duration, Bytes),
    /// The peer says nothing.
    Never,
    /// The peer sends more than the asker is willing to read.
    Oversize(Duration),
    /// The stream breaks.
    Broken(Duration),
}

impl Reply {
    /// The answer that an asker gets who reads so many bytes at most, and after which time; `None` where none comes.
    pub fn received(self, max_bytes: u64) -> Option<(Duration, Result<Bytes, RequestFailure>)> {
        match self {
            Self::After(after, bytes) if bytes.len() as u64 <= max_bytes => Some((after, Ok(bytes))),
            Self::After(after, _) | Self::Oversize(after) => Some((after, Err(RequestFailure::Oversize))),
            Self::Broken(after) => Some((after, Err(RequestFailure::Broken))),
            Self::Never => None,
        }
    }
}

/// Status of a peer that claims all blocks up to `tip`, which is of `epoch`, and no state.
pub fn claiming(chain: &TestChain, tip: u64, epoch: u64) -> PeerStatus {
    PeerStatus {
        chain_id: chain.genesis().chain_id(),
        earliest: Height::new(1),
        tip: Height::new(tip),
        epoch: Epoch::new(epoch),
        snapshots: None,
    }
}

/// The answer with which it says so.
pub fn status_answer(status: &PeerStatus) -> Bytes {
    let mut answer = vec![0];
    answer.extend(postcard::to_allocvec(status).unwrap_or_default());
    answer.into()
}

/// A peer.
pub trait Behaviour {
    /// The reaction to `request`.
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply;

    /// The same at a point in time, for peers to whom that matters.
    fn reply_at(&mut self, now: Instant, request: &Request, chain: &TestChain) -> Reply;
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

    fn reply_at(&mut self, _: Instant, request: &Request, chain: &TestChain) -> Reply {
        self.reply(request, chain)
    }
}

/// A line that answers pass one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Bytes a second.
    pub rate: u64,
    /// Until when it is taken.
    busy_until: Instant,
    /// Bytes that have passed.
    pub passed: u64,
}

impl Line {
    /// A line of so many bytes a second, which any number of peers may share.
    pub fn new(rate: u64) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self { rate, busy_until: Instant::ZERO, passed: 0 }))
    }

    /// When `bytes` that are sent at `now` have passed.
    fn pass(&mut self, now: Instant, bytes: usize) -> Instant {
        let takes = Duration::from_micros(bytes as u64 * 1_000_000 / self.rate.max(1));
        self.busy_until = self.busy_until.max(now).after(takes);
        self.passed += bytes as u64;
        self.busy_until
    }
}

/// Answers as another peer does, but through lines: one answer after the other, however many were asked for. What is
/// cancelled has been sent all the same.
#[derive(Clone, Debug)]
pub struct Lined<B> {
    /// Behaviour of its answers.
    pub peer: B,
    /// Time from a question to the first byte.
    pub latency: Duration,
    /// The lines that its answers pass.
    pub lines: Vec<Rc<RefCell<Line>>>,
}

impl<B: Behaviour> Behaviour for Lined<B> {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        self.peer.reply(request, chain)
    }

    fn reply_at(&mut self, now: Instant, request: &Request, chain: &TestChain) -> Reply {
        match self.peer.reply_at(now, request, chain) {
            Reply::After(after, bytes) => {
                let mut at = now.after(self.latency).after(after);
                for line in &self.lines {
                    at = line.borrow_mut().pass(at, bytes.len());
                }
                Reply::After(at.since(now), bytes)
            }
            other => other,
        }
    }
}

/// Answers as a function says; what it leaves to honesty is answered honestly.
pub struct Scripted<F>(pub F);

impl<F: FnMut(&Request, &TestChain, Reply) -> Reply> Behaviour for Scripted<F> {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        let honest = Honest::default().reply(request, chain);
        (self.0)(request, chain, honest)
    }

    fn reply_at(&mut self, _: Instant, request: &Request, chain: &TestChain) -> Reply {
        self.reply(request, chain)
    }
}

/// Answers truthfully, from another chain than the world's: a fork, or a forgery.
pub struct Elsewhere(pub TestChain, pub Honest);

impl Behaviour for Elsewhere {
    fn reply(&mut self, request: &Request, _: &TestChain) -> Reply {
        self.1.reply(request, &self.0)
    }

    fn reply_at(&mut self, _: Instant, request: &Request, chain: &TestChain) -> Reply {
        self.reply(request, chain)
    }
}

impl Behaviour for Box<dyn Behaviour> {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        (**self).reply(request, chain)
    }

    fn reply_at(&mut self, now: Instant, request: &Request, chain: &TestChain) -> Reply {
        (**self).reply_at(now, request, chain)
    }
}
