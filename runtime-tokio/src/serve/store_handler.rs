//! [`StoreHandler`]: answers peers from a store, also while this node syncs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::{AnswerCache, CacheStats, Cost, ServeError, estimate, respond};
use hotstuff2_sync::state::{StateError, TreeError};
use hotstuff2_sync::wire::{Answer, Refusal, Request, RequestError, encode_refusal};

use crate::net::{BoxFuture, Handler};
use crate::store::{BlockStore, StoreFailure};

/// Longest time that a follower waits for something new before it is told that there is nothing. Shorter than the
/// asker's own time-out, so that waiting is never taken for silence.
const LONG_POLL: Duration = Duration::from_secs(10);

/// Bytes of answers that are kept because many ask for them: at the tip that is its proof, handovers, a segment with
/// bodies or two, and the top of a state.
const CACHE_BYTES: usize = 16 << 20;

/// Damaged files that are remembered as told, at most. Beyond them all are told again.
const MAX_TOLD: usize = 1024;

/// Answers requests from a store. What is asked for again and again is kept until the store changes.
///
/// Blocks and states that the store can't read are not available to the asker. The operator is told once of each
/// damaged file, and every such read is counted.
pub struct StoreHandler<S> {
    store: S,
    cache: Mutex<AnswerCache>,
    told: Mutex<BTreeSet<PathBuf>>,
    read_failed: Box<dyn Fn() + Send + Sync>,
}

impl<S> StoreHandler<S> {
    /// Answers from `store`.
    pub fn new(store: S) -> Self {
        Self::with_cache(store, CACHE_BYTES)
    }

    /// The same, with so many bytes for answers that many ask for; 16 MiB by default, 0 for none.
    pub fn with_cache(store: S, bytes: usize) -> Self {
        let cache = Mutex::new(AnswerCache::new(bytes));
        Self { store, cache, told: Mutex::default(), read_failed: Box::new(|| ()) }
    }

    /// Calls `count` for every request that the store can't be read for.
    pub fn counting_failures(self, count: impl Fn() + Send + Sync + 'static) -> Self {
        Self { read_failed: Box::new(count), ..self }
    }

    /// Counts a failed read, and logs it where nothing was said of its file yet.
    fn tell_failure(&self, error: &ServeError<StoreFailure, StoreFailure>) {
        let failure = match error {
            ServeError::Reader(failure)
            | ServeError::State(StateError::Store(failure) | StateError::Tree(TreeError::Store(failure))) => {
                Some(failure)
            }
            ServeError::State(_) => None,
        };
        if failure.is_some_and(StoreFailure::is_transient) {
            tracing::debug!(%error, "a request could not be answered");
            return;
        }
        (self.read_failed)();
        let file = failure.and_then(StoreFailure::file);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        if told.insert(file.map(PathBuf::from).unwrap_or_default()) {
            tracing::error!(%error, "the store can't read what peers ask for; it is not available to them");
        } else {
            tracing::debug!(%error, "a request could not be answered");
        }
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
                    // An answer that is not there may be there the next moment.
                    if matches!(Answer::decode(answer.clone()), Ok(Answer::Data(_))) {
                        self.cache().put(version, &request, &answer);
                    }
                    answer
                }
                Err(error) => {
                    self.tell_failure(&error);
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

impl<S> std::fmt::Debug for StoreHandler<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreHandler").field("cache", &self.cache_stats()).finish_non_exhaustive()
    }
}
