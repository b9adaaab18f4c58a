//! [`Nuisance`]: a serving node that is of no use, or does harm, in ways that mostly can't be proven. For tests of what such
//! peers cost; the lies that can be proven are in [`lie`](super::lie).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use hotstuff2_sync::ids::{Epoch, Height, PeerId};
use hotstuff2_sync::limits::GRID;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::{Answer, PeerStatus, Refusal, Request, encode_answer, encode_refusal, put_section};
use hotstuff2_sync_testkit::forgery::{crumb, foreign_status};
use hotstuff2_sync_tokio::net::{BoxFuture, Handler};

/// Nuisance that a node is to whoever needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Nuisance {
    /// Claims a tip far above the chain's and proves nothing of it
    Tall,
    /// Claims everything and has nothing
    Absent,
    /// Gives blocks but no proof of the tip
    Withhold,
    /// Never answers but when asked for its status
    Silent,
    /// Answers when nobody waits any more
    Late,
    /// Answers each question with the answer to the one before
    Crossed,
    /// Sends more than was asked for
    Greedy,
    /// Sends a frame that claims to hold far more than it can
    Bomb,
    /// Sends a length in front that nothing follows
    Cut,
    /// Gives one block at a time, each with a certificate of its own
    Crumbs,
    /// Is always busy, for as long as can be said
    Busy,
    /// Is of another chain
    Foreign,
    /// Answers honestly for a while, then with noise
    Turncoat,
}

/// Longer than any asker waits.
const NEVER: Duration = Duration::from_secs(600);
/// After most askers' time-outs.
const LATE: Duration = Duration::from_secs(15);
/// Honest answers of a turncoat.
const HONEST_ANSWERS: u32 = 8;
/// Bytes of an answer that is larger than any that may be asked for.
const FAR_TOO_MUCH: usize = 70 << 20;

/// A node that plays such a part.
pub(crate) struct Nuisant {
    pub(crate) inner: Arc<dyn Handler>,
    pub(crate) kind: Nuisance,
    answered: AtomicU32,
    before: Mutex<Option<Bytes>>,
}

impl Nuisant {
    pub(crate) fn new(inner: Arc<dyn Handler>, kind: Nuisance) -> Self {
        Self { inner, kind, answered: AtomicU32::new(0), before: Mutex::default() }
    }

    /// An honest status, made another.
    fn status(&self, answer: Bytes) -> Bytes {
        let Ok(Answer::Data(data)) = Answer::decode(answer.clone()) else { return answer };
        let bent = match self.kind {
            Nuisance::Tall => tall_status(&data),
            Nuisance::Foreign => foreign_status(&data),
            _ => return answer,
        };
        let Some(bent) = bent else { return answer };
        let mut out = encode_answer(bent.len());
        out.extend_from_slice(&bent);
        out.into()
    }

    fn nonsense(&self, request: &Request, honest: Bytes) -> Bytes {
        let none = || encode_refusal(Refusal::NotAvailable);
        match self.kind {
            Nuisance::Tall if matches!(request, Request::Tip | Request::Handovers { .. }) => none(),
            Nuisance::Withhold if matches!(request, Request::Tip) => none(),
            Nuisance::Withhold if matches!(request, Request::Segment { certified: true, .. }) => none(),
            Nuisance::Absent => none(),
            Nuisance::Crossed => {
                let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
                before.replace(honest).unwrap_or_else(none)
            }
            Nuisance::Greedy => vec![0; FAR_TOO_MUCH].into(),
            Nuisance::Bomb => {
                // A block count, LZ4, and a content of a few bytes: what it unpacks to is said elsewhere.
                let mut bomb = encode_answer(0);
                bomb.extend_from_slice(&u32::MAX.to_le_bytes());
                bomb.push(1);
                bomb.extend_from_slice(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
                bomb.into()
            }
            Nuisance::Cut => {
                let mut cut = encode_answer(0);
                cut.extend_from_slice(&u32::MAX.to_le_bytes());
                cut.into()
            }
            Nuisance::Busy => encode_refusal(Refusal::Busy { retry_after_ms: u32::MAX }),
            Nuisance::Turncoat if self.answered.fetch_add(1, Ordering::Relaxed) >= HONEST_ANSWERS => {
                let mut noise = encode_answer(0);
                let written = put_section(&mut noise, &[0xa5; 100]);
                debug_assert!(written, "a hundred bytes fit in a section");
                noise.into()
            }
            _ => honest,
        }
    }

    /// The request that is answered instead.
    fn bend(&self, request: Request) -> Request {
        match (self.kind, request) {
            (Nuisance::Crumbs, Request::Segment { range, certified, audit, .. }) => {
                Request::Segment { range, certified, audit, bodies: 0 }
            }
            (Nuisance::Crumbs, request) => crumb(&request).unwrap_or(request),
            (_, request) => request,
        }
    }
}

/// The same status with a tip far above.
fn tall_status(data: &[u8]) -> Option<Vec<u8>> {
    let mut status: PeerStatus = postcard::from_bytes(data).ok()?;
    status.tip = Height::new(status.tip.get().saturating_mul(1000));
    status.epoch = Epoch::new(status.epoch.get().saturating_add(1000));
    postcard::to_allocvec(&status).ok()
}

impl Handler for Nuisant {
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        let inner = self.inner.ready(peer, request);
        let asked_for_status = matches!(Request::decode(request), Ok(Request::Status));
        let pause = match self.kind {
            Nuisance::Silent if !asked_for_status => NEVER,
            Nuisance::Late if !asked_for_status => LATE,
            _ => Duration::ZERO,
        };
        Box::pin(async move {
            inner.await;
            tokio::time::sleep(pause).await;
        })
    }

    fn cost(&self, request: &Bytes) -> Cost {
        self.inner.cost(request)
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        self.inner.busy(retry_after_ms)
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        let Ok(decoded) = Request::decode(&request) else { return self.inner.handle(peer, request) };
        if decoded == Request::Status {
            return self.status(self.inner.handle(peer, request));
        }
        let bent = self.bend(decoded.clone());
        let honest = self.inner.handle(peer, bent.encode().into());
        self.nonsense(&decoded, honest)
    }
}

const _: () = assert!(FAR_TOO_MUCH as u64 > GRID * 1024, "a whole cell of ordinary blocks is less");

#[cfg(test)]
mod tests {
    use hotstuff2_sync::ranges::HeightRange;
    use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
    use hotstuff2_sync_tokio::net::HandlerFn;

    use super::*;

    fn ask(kind: Nuisance, requests: &[Request]) -> Vec<Bytes> {
        let chain = TestChain::new(ChainSpec::default()).unwrap();
        let honest = HandlerFn::new(move |_, request| chain.respond(&Request::decode(&request).unwrap()));
        let nuisant = Nuisant::new(Arc::new(honest), kind);
        let peer = PeerId::from_bytes([0; 32]);
        requests.iter().map(|request| nuisant.handle(peer, request.encode().into())).collect()
    }

    #[test]
    fn no_nuisance_gives_a_tip_and_a_segment_as_honest_nodes_do() {
        let range = HeightRange::new(Height::new(1), Height::new(20)).unwrap();
        let segment = Request::Segment { range, certified: true, audit: false, bodies: 1 << 20 };
        let mut requests = vec![Request::Status, Request::Tip, segment];
        requests.extend(std::iter::repeat_n(Request::Tip, HONEST_ANSWERS as usize));
        let chain = TestChain::new(ChainSpec::default()).unwrap();
        let honest: Vec<Bytes> = requests.iter().map(|request| chain.respond(request)).collect();
        for &kind in Nuisance::value_variants() {
            let answers = ask(kind, &requests);
            // These two take their time instead.
            let punctual = !matches!(kind, Nuisance::Silent | Nuisance::Late);
            assert_eq!(answers != honest, punctual, "{kind:?}");
        }
    }
}
