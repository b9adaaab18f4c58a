//! [`Rounds`]: whom to ask for a word, and in which order.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;

/// Everybody who may be a validator is asked in each round: all who are connected, as nobody knows which peer is which
/// validator before it speaks.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    waiting: VecDeque<PeerId>,
    request: Bytes,
    max_answer: usize,
    /// Peers whose last answer was a word.
    spoke: HashSet<PeerId>,
}

impl Rounds {
    /// Begins a round. Who gave a word before comes first, as a word counts for a while only; then whom the last round did
    /// not come to, so that silent peers keep nobody from being asked; then all others.
    pub(super) fn begin(&mut self, connected: &[PeerId], request: Bytes, max_answer: usize) {
        let left: HashSet<PeerId> = std::mem::take(&mut self.waiting).into_iter().collect();
        self.spoke.retain(|peer| connected.contains(peer));
        let mut order = connected.to_vec();
        order.sort_by_key(|peer| (!self.spoke.contains(peer), !left.contains(peer)));
        self.waiting = order.into();
        (self.request, self.max_answer) = (request, max_answer);
    }

    /// The next one to ask, what, and how many bytes the answer may have.
    pub(super) fn next(&mut self) -> Option<(PeerId, Bytes, usize)> {
        let peer = self.waiting.pop_front()?;
        Some((peer, self.request.clone(), self.max_answer))
    }

    /// Notes whether a peer gave a word.
    pub(super) fn answered(&mut self, peer: PeerId, with_a_word: bool) {
        if with_a_word {
            self.spoke.insert(peer);
        } else {
            self.spoke.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(count: u16) -> Vec<PeerId> {
        let name = |number: u16| {
            let mut bytes = [0; 32];
            bytes[..2].copy_from_slice(&number.to_be_bytes());
            PeerId::from_bytes(bytes)
        };
        (0..count).map(name).collect()
    }

    fn ask(rounds: &mut Rounds, count: usize) -> Vec<PeerId> {
        std::iter::from_fn(|| rounds.next()).take(count).map(|(peer, ..)| peer).collect()
    }

    #[test]
    fn every_validator_is_asked() {
        // More than a list for people shows, and strangers of low ids before all of them.
        let everybody = peers(600);
        let mut rounds = Rounds::default();
        rounds.begin(&everybody, Bytes::new(), 1);
        assert_eq!(ask(&mut rounds, 1000), everybody);
        // Peers that speak are asked first from then on, and a round that ended early goes on where it did.
        let speakers = &everybody[500..];
        speakers.iter().for_each(|&peer| rounds.answered(peer, true));
        rounds.begin(&everybody, Bytes::new(), 1);
        assert_eq!(ask(&mut rounds, 300), [speakers, &everybody[..200]].concat());
        rounds.begin(&everybody, Bytes::new(), 1);
        assert_eq!(ask(&mut rounds, 1000), [speakers, &everybody[200..500], &everybody[..200]].concat());
        // Peers that have gone are asked no more.
        rounds.begin(&everybody[..3], Bytes::new(), 1);
        assert_eq!(ask(&mut rounds, 1000), everybody[..3]);
    }
}
