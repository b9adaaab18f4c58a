//! [`StoreHandler`]: answers peers from a store, also while this node syncs.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::respond;
use hotstuff2_sync::wire::{Refusal, Request, RequestError, encode_refusal};

use crate::net::{BoxFuture, Handler};
use crate::store::BlockStore;

/// Longest time that a follower waits for something new before it is told that there is nothing. Shorter than the
/// asker's own time-out, so that waiting is never taken for silence.
const LONG_POLL: Duration = Duration::from_secs(10);

/// Answers requests from a store.
#[derive(Debug)]
pub struct StoreHandler<S>(S);

impl<S> StoreHandler<S> {
    /// Answers from `store`.
    pub fn new(store: S) -> Self {
        Self(store)
    }
}

impl<S, B> Handler for StoreHandler<S>
where
    S: std::ops::Deref<Target = B> + Send + Sync + 'static,
    B: BlockStore,
{
    fn ready(&self, _: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        let after = match Request::decode(request) {
            Ok(Request::Follow { after, .. }) => after,
            _ => return Box::pin(std::future::ready(())),
        };
        let mut tip = self.0.subscribe();
        Box::pin(async move {
            // Ends early also when the store is closed; then the answer says that there is nothing.
            let _ = tokio::time::timeout(LONG_POLL, tip.wait_for(|&tip| tip > after)).await;
        })
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        match Request::decode(&request) {
            Ok(request) => respond(&request, &*self.0).unwrap_or_else(|error| {
                tracing::error!(%peer, %error, "a request could not be answered");
                encode_refusal(Refusal::NotAvailable)
            }),
            Err(error @ (RequestError::Version(_) | RequestError::Malformed)) => {
                tracing::debug!(%peer, %error, "refused a request");
                encode_refusal(Refusal::Unsupported)
            }
        }
    }
}
