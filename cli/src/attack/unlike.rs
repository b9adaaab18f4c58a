//! [`Compared`]: counts how often a node that plays a part answers with something else than an honest one would.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::{Answer, Refusal, Request};
use hotstuff2_sync_tokio::net::{BoxFuture, Handler};

/// A part that is played, held against what it is played with.
pub(crate) struct Compared {
    pub(crate) honest: Arc<dyn Handler>,
    pub(crate) played: Arc<dyn Handler>,
    unlike: Arc<AtomicU64>,
}

impl Compared {
    pub(crate) fn new(honest: Arc<dyn Handler>, played: Arc<dyn Handler>) -> Self {
        Self { honest, played, unlike: Arc::default() }
    }

    /// The number of answers that an honest node would not have given, as it grows. To have nothing is honest, and so is a status, which
    /// proves nothing.
    pub(crate) fn unlike(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.unlike)
    }
}

impl Handler for Compared {
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        self.played.ready(peer, request)
    }

    fn cost(&self, request: &Bytes) -> Cost {
        self.played.cost(request)
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        self.played.busy(retry_after_ms)
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        let answer = self.played.handle(peer, request.clone());
        let nothing =
            matches!(Answer::decode(answer.clone()), Ok(Answer::Refused(Refusal::NotAvailable | Refusal::Busy { .. })));
        let status = matches!(Request::decode(&request), Ok(Request::Status));
        if !nothing && !status && answer != self.honest.handle(peer, request) {
            self.unlike.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use hotstuff2_sync::wire::encode_refusal;
    use hotstuff2_sync_tokio::net::HandlerFn;

    use super::*;

    #[test]
    fn only_what_an_honest_node_would_not_say_counts() {
        let says = |answer: &[u8]| -> Arc<dyn Handler> {
            let answer = Bytes::copy_from_slice(answer);
            Arc::new(HandlerFn::new(move |_, _| answer.clone()))
        };
        let unlike = |played: Arc<dyn Handler>, request: &Request| {
            let compared = Compared::new(says(b"true"), played);
            compared.handle(PeerId::from_bytes([0; 32]), request.encode().into());
            compared.unlike().load(Ordering::Relaxed)
        };
        assert_eq!(unlike(says(b"true"), &Request::Tip), 0);
        assert_eq!(unlike(says(b"false"), &Request::Tip), 1);
        assert_eq!(unlike(says(b"false"), &Request::Status), 0);
        assert_eq!(unlike(says(&encode_refusal(Refusal::NotAvailable)), &Request::Tip), 0);
    }
}
