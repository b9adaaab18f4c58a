//! Labels of peers, a bounded number of them.

use std::collections::{HashMap, VecDeque};

use hotstuff2_sync::ids::PeerId;

/// Most peers that have a label of their own at a time.
pub const MAX_PEER_LABELS: usize = 64;
/// The label that all others share.
pub const OTHER_PEERS: &str = "other";
/// Digits of a peer's id that its label has: enough to tell peers apart.
const DIGITS: usize = 12;

/// Labels of peers.
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
        let label = self.named.entry(*peer).or_insert_with(|| {
            let mut label = peer.to_string();
            label.truncate(DIGITS);
            label
        });
        (label, freed)
    }

    /// A peer has come. What is heard of one that has gone is news of what it did before, and doesn't bring it back.
    pub(super) fn keep(&mut self, peer: &PeerId) {
        self.gone.retain(|gone| gone != peer);
    }

    /// A peer has gone. Its label stays as long as nobody needs it.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        if self.named.contains_key(peer) && !self.gone.contains(peer) {
            self.gone.push_back(*peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        PeerId::from_bytes(bytes)
    }

    /// All labels taken, by the peers from zero on.
    fn full() -> PeerLabels {
        let mut labels = PeerLabels::default();
        for number in 0..MAX_PEER_LABELS {
            assert_eq!(labels.of(&peer(number)), (&peer(number).to_string()[..DIGITS], None));
        }
        assert_eq!(labels.of(&peer(MAX_PEER_LABELS)), (OTHER_PEERS, None));
        labels
    }

    #[test]
    fn late_news_of_a_peer_that_has_gone_keeps_no_label() {
        let mut labels = full();
        for number in 0..3 {
            labels.gone(&peer(number));
            labels.of(&peer(number));
        }
        for number in 0..3 {
            let freed = labels.of(&peer(1000 + number)).1;
            assert_eq!(freed, Some(peer(number).to_string()[..DIGITS].to_owned()), "the longest gone first");
        }
        assert_eq!(labels.of(&peer(2000)), (OTHER_PEERS, None));
    }

    #[test]
    fn who_comes_back_keeps_its_label() {
        let mut labels = full();
        (0..2).for_each(|number| labels.gone(&peer(number)));
        labels.keep(&peer(0));
        assert_eq!(labels.of(&peer(1000)).1.as_deref(), Some(&peer(1).to_string()[..DIGITS]));
        assert_eq!(labels.of(&peer(1001)), (OTHER_PEERS, None));
        assert_eq!(labels.of(&peer(0)), (&peer(0).to_string()[..DIGITS], None));
    }

    #[test]
    fn only_those_with_a_label_are_remembered_as_gone_and_once() {
        let mut labels = full();
        (0..10_000).for_each(|number| labels.gone(&peer(number)));
        (0..10).for_each(|number| labels.gone(&peer(number)));
        assert_eq!(labels.gone.len(), MAX_PEER_LABELS);
    }
}
