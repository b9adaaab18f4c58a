//! [`StoreHandler`]: answers peers from a store, also while this node syncs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::{AnswerCache, CacheStats, Cost, estimate, respond};
use hotstuff2_sync::wire::{Answer, Refusal, Request, RequestError, encode_refusal};

use crate::net::{BoxFuture, Handler};
use crate::store::BlockStore;

/// Longest time that a follower waits for something new before it is told that there is nothing. Shorter than the
/// asker's own time-out, so that waiting is never taken for silence.
const LONG_POLL: Duration = Duration::from_secs(10);

/// Bytes of answers that are kept because many ask for them: at the tip that is its proof, handovers, a segment with
/// bodies or two, and the top of a state.
const CACHE_BYTES: usize = 16 << 20;

/// Answers requests from a store. What is asked for again and again is kept until the store changes.
#[derive(Debug)]
pub struct StoreHandler<S> {
    store: S,
    cache: Mutex<AnswerCache>,
}

impl<S> StoreHandler<S> {
    /// Answers from `store`.
    pub fn new(store: S) -> Self {
        Self::with_cache(store, CACHE_BYTES)
    }

    /// The same, with so many bytes for answers that many ask for; 16 MiB by default, 0 for none.
    pub fn with_cache(store: S, bytes: usize) -> Self {
        Self { store, cache: Mutex::new(AnswerCache::new(bytes)) }
    }

    /// How often an answer was there already.
    pub fn cache_stats(&self) -> CacheStats {
        self.cache().stats()
    }

    fn cache(&self) -> MutexGuard<'_, AnswerCache> {
        // Every change of it is one call.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut tip = self.store.subscribe();
        Box::pin(async move {
            // Ends early also when the store is closed; then the answer says that there is nothing.
            let _ = tokio::time::timeout(LONG_POLL, tip.wait_for(|&tip| tip > after)).await;
        })
    }

    fn cost(&self, request: &Bytes) -> Cost {
        let cost = Request::decode(request).map_or(Cost::default(), |request| estimate(&request));
        if self.cache().contains(self.store.version(), request) { Cost { work: 0, ..cost } } else { cost }
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        encode_refusal(Refusal::Busy { retry_after_ms })
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        let version = self.store.version();
        if let Some(answer) = self.cache().get(version, &request) {
            return answer;
        }
        match Request::decode(&request) {
            Ok(decoded) => match respond(&decoded, &*self.store) {
                Ok(answer) => {
                    // What is not there may be there the next moment.
                    if matches!(Answer::decode(answer.clone()), Ok(Answer::Data(_))) {
                        self.cache().put(version, &request, &answer);
                    }
                    answer
                }
                Err(error) => {
                    tracing::error!(%peer, %error, "a request could not be answered");
                    encode_refusal(Refusal::NotAvailable)
                }
            },
            Err(error @ (RequestError::Version(_) | RequestError::Malformed)) => {
                tracing::debug!(%peer, %error, "refused a request");
                encode_refusal(Refusal::Unsupported)
            }
        }
    }
}
