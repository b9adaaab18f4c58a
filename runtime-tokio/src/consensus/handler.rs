//! [`ConsensusHandler`]: answers those who ask for this validator's word, and leaves the rest to another handler.

use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::participation::VoteRecord;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::{Refusal, Request, encode_answer, encode_refusal};

use super::ConsensusControl;
use crate::net::{BoxFuture, Handler};

/// A handler of a node that may be a validator.
pub struct ConsensusHandler {
    inner: Arc<dyn Handler>,
    control: Arc<dyn ConsensusControl>,
}

impl ConsensusHandler {
    /// Answers for `control`, and from `inner` what is not about consensus.
    pub fn new(inner: Arc<dyn Handler>, control: Arc<dyn ConsensusControl>) -> Self {
        Self { inner, control }
    }
}

impl Handler for ConsensusHandler {
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        self.inner.ready(peer, request)
    }

    fn cost(&self, request: &Bytes) -> Cost {
        self.inner.cost(request)
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        self.inner.busy(retry_after_ms)
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        let (challenge, certificates) = match Request::decode(&request) {
            Ok(Request::Advert { challenge }) => (challenge, false),
            Ok(Request::BackedAdvert { challenge }) => (challenge, true),
            _ => return self.inner.handle(peer, request),
        };
        // Others would take what it doesn't remember for what it has never done.
        if self.control.vote_record() == VoteRecord::Lost {
            return encode_refusal(Refusal::NotAvailable);
        }
        match self.control.advert(challenge, certificates) {
            Some(advert) => {
                let mut answer = encode_answer(advert.len());
                answer.extend_from_slice(&advert);
                answer.into()
            }
            None => encode_refusal(Refusal::NotAvailable),
        }
    }
}

impl std::fmt::Debug for ConsensusHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsensusHandler").finish_non_exhaustive()
    }
}
