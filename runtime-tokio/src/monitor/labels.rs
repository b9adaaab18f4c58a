//! Labels of peers, a bounded number of them.

use std::collections::{HashMap, VecDeque};

use hotstuff2_sync::ids::PeerId;

/// Most peers that have a label of their own at a time.
pub const MAX_PEER_LABELS: usize = 64;
/// The label that all others share.
pub const OTHER_PEERS: &str = "other";
/// Digits of a peer's id that its label has: enough to tell peers apart.
const DIGITS: usize = 12;

/// Who has which label.
#[derive(Debug, Default)]
pub(super) struct PeerLabels {
    named: HashMap<PeerId, String>,
    /// Peers that have gone and still have a label, the longest gone first.
    gone: VecDeque<PeerId>,
}

impl PeerLabels {
    /// The label of a peer, and one that was taken from another for it.
    pub(super) fn of(&mut self, peer: &PeerId) -> (&str, Option<String>) {
        let mut freed = None;
        if !self.named.contains_key(peer) && self.named.len() >= MAX_PEER_LABELS {
            freed = self.gone.pop_front().and_then(|gone| self.named.remove(&gone));
            if freed.is_none() {
                return (OTHER_PEERS, None);
            }
        }
        // Who is heard of again is not gone.
        if self.gone.front().is_some() {
            self.gone.retain(|gone| gone != peer);
        }
        let label = self.named.entry(*peer).or_insert_with(|| {
            let mut label = peer.to_string();
            label.truncate(DIGITS);
            label
        });
        (label, freed)
    }

    /// A peer has gone. Its label stays as long as nobody needs it.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        if self.named.contains_key(peer) && !self.gone.contains(peer) {
            self.gone.push_back(*peer);
        }
    }
}
