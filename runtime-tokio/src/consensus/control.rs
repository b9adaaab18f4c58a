//! [`ConsensusControl`]: what a consensus engine does when the sync tells it to.

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Epoch;
use hotstuff2_sync::participation::{PauseReason, Permit, VoteRecord};

use crate::net::BoxFuture;

/// A consensus engine, as the sync sees it.
pub trait ConsensusControl: Send + Sync + 'static {
    /// This validator's key (or the name that its adverts carry) and its power in `epoch`; `None` where it is no validator
    /// of that epoch.
    fn validator(&self, epoch: Epoch) -> Option<(Hash, u64)>;

    /// This validator's record of its votes, as its disk has it. Read when the coordinator starts, after every pause, and
    /// before a word is given: with [`VoteRecord::Lost`] none is. What follows from that is said
    /// [there](VoteRecord::Lost). A host whose engine keeps promise 7 of the native chain's voters, as all others of its
    /// network, declares that in the [settings](hotstuff2_sync::participation::GateSettings::views_are_certified).
    fn vote_record(&self) -> VoteRecord;

    /// This validator's signed word on its highest final block, the view that it is in and its lock, with `challenge` under the
    /// signature, as the chain's [`verify_advert`](hotstuff2_sync::chain::Chain::verify_advert) reads it; `None` from a
    /// node that is no validator. The view must be on disk before the word is given: votes in lower ones are over. With
    /// `certificates`, the highest certificate that it has seen is in it, and the one by which it entered the view.
    fn advert(&self, challenge: Hash, certificates: bool) -> Option<Bytes>;

    /// Stop voting and proposing. When this returns, no vote leaves any more.
    fn pause_consensus_participation(&self, reason: PauseReason) -> BoxFuture<'_, ()>;

    /// Vote and propose, above what the permit says.
    fn start_consensus_participation(&self, permit: Permit) -> BoxFuture<'_, ()>;

    /// Called after a pause, once the sync is at work: leave room for it.
    fn transition_to_sync_mode(&self) -> BoxFuture<'_, ()>;

    /// Called before a start: the sync has reached the tip.
    fn transition_to_normal_mode(&self) -> BoxFuture<'_, ()>;

    /// Called after a start: connections to validators matter more than those for the sync.
    fn transition_to_consensus_mode(&self) -> BoxFuture<'_, ()>;
}
