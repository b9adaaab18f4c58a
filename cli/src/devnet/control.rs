//! [`Control`]: the node's consensus engine, as the sync sees it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use hotstuff2_sync::chain::native::{Advert, AdvertClaim, QuorumCertificate, TimeoutCertificate, ValidatorKey};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::participation::{PauseReason, Permit, VoteRecord};
use hotstuff2_sync_testkit::replica::Committee;
use hotstuff2_sync_tokio::consensus::ConsensusControl;
use hotstuff2_sync_tokio::net::BoxFuture;
use hotstuff2_sync_tokio::wall_clock;
use tokio::sync::oneshot;

use super::engine::{EngineInput, Inputs};

/// What the engine has made durable of itself: others may be told so.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    pub(super) record: VoteRecord,
    pub(super) epoch: Epoch,
    /// The highest final block.
    pub(super) height: Height,
    pub(super) block: Hash,
    pub(super) view: View,
    /// A view that its lock is not below, whether or not a certificate shows that.
    pub(super) floor: View,
    /// The highest certificate that it has, of any epoch.
    pub(super) high: Option<QuorumCertificate>,
    pub(super) entered_by: Option<TimeoutCertificate>,
}

/// The engine's side that the coordinator talks to.
pub(super) struct Control {
    pub(super) committee: Arc<Committee>,
    pub(super) key: SigningKey,
    pub(super) spoken: Arc<Mutex<Spoken>>,
    pub(super) engine: Inputs,
}

impl Control {
    fn spoken(&self) -> MutexGuard<'_, Spoken> {
        self.spoken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the engine, and waits until it has done so.
    fn tell(&self, input: impl FnOnce(oneshot::Sender<()>) -> EngineInput) -> BoxFuture<'_, ()> {
        let (done, is_done) = oneshot::channel();
        let told = self.engine.must_send(input(done));
        Box::pin(async move {
            if told {
                // An engine that has ended votes for nothing.
                let _ = is_done.await;
            }
        })
    }
}

impl ConsensusControl for Control {
    fn validator(&self, epoch: Epoch) -> Option<(Hash, u64)> {
        let key = ValidatorKey::from(&self.key);
        let set = self.committee.context(epoch)?.validators();
        let power = set.validators().get(set.index_of(&key)?)?.power;
        Some((Hash::from_bytes(*key.as_bytes()), power))
    }

    fn vote_record(&self) -> VoteRecord {
        self.spoken().record
    }

    fn advert(&self, challenge: Hash, certificates: bool) -> Option<Bytes> {
        let Spoken { epoch, height, block, view, floor, high, entered_by, .. } = self.spoken().clone();
        self.validator(epoch)?;
        let high = high.filter(|high| high.epoch == epoch);
        let lock = high.as_ref().map_or(floor, |high| high.view.max(floor));
        // A lock that no certificate shows is said all the same: then the word doesn't count where locks are restored.
        let high = high.filter(|high| high.view == lock);
        let claim = AdvertClaim { epoch, height, block, view, lock, timestamp: wall_clock(), challenge };
        let advert = Advert::sign(&self.key, self.committee.genesis().chain_id(), claim);
        let advert = if certificates { advert.backed(high, entered_by) } else { advert };
        Some(advert.encode().into())
    }

    fn pause_consensus_participation(&self, reason: PauseReason) -> BoxFuture<'_, ()> {
        tracing::info!(%reason, "the engine pauses");
        self.tell(EngineInput::Mute)
    }

    fn start_consensus_participation(&self, permit: Permit) -> BoxFuture<'_, ()> {
        self.tell(|done| EngineInput::Speak(Box::new(permit), done))
    }

    fn transition_to_sync_mode(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn transition_to_normal_mode(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn transition_to_consensus_mode(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
