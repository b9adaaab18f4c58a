//! Addresses that were heard of and not tried yet, so many that none is missed, and so few of any one source that a liar
//! can't push the others out.
//!
//! The table is the idea of Bitcoin's address manager (Heilman et al., *Eclipse Attacks on Bitcoin's Peer-to-Peer
//! Network*, USENIX Security 2015), made small: a secret hash gives each address one place, in one of the few buckets
//! that the group of its source reaches. Who is there stays, unless it has failed.

use std::collections::BTreeMap;

use hotstuff2_sync::hash::Context;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::wire::KnownPeer;
use serde::{Deserialize, Serialize};

use crate::net::address::group_of;

/// Buckets of the table.
const BUCKETS: u64 = 64;
/// Places in a bucket. With [`BUCKETS`]: 1,024 candidates, which are 100 KiB at most.
const PLACES: u64 = 16;
/// Buckets that the sources of one group reach: an eighth of all. An attacker needs many groups to fill the table.
const BUCKETS_PER_SOURCE_GROUP: u64 = 8;
/// Candidates of one source: as many as one answer holds.
const MAX_PER_SOURCE: usize = 64;

static PLACE: Context = Context::new("hotstuff2-sync 1 candidate place");

/// The secret behind the places.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Secret(pub(super) u64);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// An address that was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) peer: KnownPeer,
    pub(super) source: Source,
    /// Dials that failed.
    pub(super) failures: u32,
}

/// The peer that said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    pub(super) peer: PeerId,
    /// The group of its address then.
    pub(super) group: u64,
}

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Candidates {
    secret: Secret,
    places: BTreeMap<u64, Candidate>,
}

impl Candidates {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, places: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.places.values()
    }

    /// Takes a candidate in, if there is room for it. Who heard the same before stays the source.
    pub(super) fn insert(&mut self, candidate: Candidate) -> bool {
        if self.iter().any(|known| known.peer == candidate.peer) {
            return false;
        }
        if self.iter().filter(|known| known.source.peer == candidate.source.peer).count() >= MAX_PER_SOURCE {
            return false;
        }
        let place = self.place(&candidate);
        if self.places.get(&place).is_some_and(|there| there.failures == 0) {
            return false;
        }
        self.places.insert(place, candidate);
        true
    }

    /// Takes out an address of a peer.
    pub(super) fn remove(&mut self, peer: KnownPeer) {
        self.places.retain(|_, candidate| candidate.peer != peer);
    }

    /// Takes out a peer.
    pub(super) fn remove_peer(&mut self, id: PeerId) {
        self.places.retain(|_, candidate| candidate.peer.id != id);
    }

    /// A dial failed. After `most` of them the candidate is gone.
    pub(super) fn failed(&mut self, peer: KnownPeer, most: u32) {
        self.places.retain(|_, candidate| {
            if candidate.peer != peer {
                return true;
            }
            candidate.failures = candidate.failures.saturating_add(1);
            candidate.failures < most
        });
    }

    /// One of those that are `wanted`, so that each bucket has the same chance, however full it is.
    pub(super) fn choose(&self, rng: &mut Rng, wanted: impl Fn(&Candidate) -> bool) -> Option<Candidate> {
        let mut buckets: BTreeMap<u64, Vec<&Candidate>> = BTreeMap::new();
        for (place, candidate) in self.places.iter().filter(|(_, candidate)| wanted(candidate)) {
            buckets.entry(place / PLACES).or_default().push(candidate);
        }
        let bucket = pick(rng, buckets.values())?;
        pick(rng, bucket.iter().copied()).copied()
    }

    /// The one place where a candidate may be.
    fn place(&self, candidate: &Candidate) -> u64 {
        let group = candidate.source.group;
        let reached = self.hash(&[&group.to_le_bytes(), &group_of(candidate.peer.address).to_le_bytes()]);
        let reached = reached % BUCKETS_PER_SOURCE_GROUP;
        let bucket = self.hash(&[&group.to_le_bytes(), &reached.to_le_bytes(), b"bucket"]) % BUCKETS;
        let address = candidate.peer.address.to_string();
        let place = self.hash(&[&bucket.to_le_bytes(), candidate.peer.id.as_bytes(), address.as_bytes()]) % PLACES;
        bucket * PLACES + place
    }

    fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = PLACE.hasher();
        hasher.update(&self.secret.0.to_le_bytes());
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// One of `items`, each with the same chance.
pub(super) fn pick<T>(rng: &mut Rng, items: impl ExactSizeIterator<Item = T>) -> Option<T> {
    let mut items = items;
    let number = rng.below(u64::try_from(items.len()).unwrap_or(u64::MAX));
    items.nth(usize::try_from(number).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PeerId::from_bytes(bytes)
    }

    fn candidate(number: u32, source: u32, group: u64) -> Candidate {
        let [_, a, b, c] = number.to_be_bytes();
        let address = ([20 + a, b, c, 1], 7000).into();
        let source = Source { peer: id(1_000_000 + source), group };
        Candidate { peer: KnownPeer { id: id(number), address }, source, failures: 0 }
    }

    #[test]
    fn one_liar_can_not_push_others_out() {
        let mut table = Candidates::new(Secret(7));
        let honest: Vec<Candidate> = (0..20).map(|number| candidate(number, 0, 1)).collect();
        let taken: Vec<Candidate> = honest.into_iter().filter(|&candidate| table.insert(candidate)).collect();
        assert!(taken.len() > 10, "{}", taken.len());
        // The same source says more than it may; then a thousand identities of one group do.
        let of = |table: &Candidates, source: u32| {
            table.iter().filter(|candidate| candidate.source.peer == id(1_000_000 + source)).count()
        };
        (100..1000).for_each(|number| {
            table.insert(candidate(number * 256, 1, 2));
        });
        assert!(of(&table, 1) <= MAX_PER_SOURCE);
        (0..100_000).for_each(|number| {
            table.insert(candidate(1_000_000 + number * 97, 2 + number % 1000, 2));
        });
        assert!(table.len() <= taken.len() + (BUCKETS_PER_SOURCE_GROUP * PLACES) as usize, "{}", table.len());
        assert!(taken.iter().all(|honest| table.iter().any(|candidate| candidate == honest)));
        // Another honest source still finds room.
        let more = (0..50).filter(|&number| table.insert(candidate(500 + number * 300, 5000, 3))).count();
        assert!(more > 20, "{more}");
    }

    #[test]
    fn who_failed_makes_room_and_is_gone_after_some_dials() {
        let mut table = Candidates::new(Secret(7));
        let first = candidate(1, 0, 1);
        assert!(table.insert(first) && !table.insert(first));
        // Somebody else's candidate for the same place.
        let same_place = |table: &Candidates, source: u32| {
            (2..).map(|number| candidate(number, source, 1)).find(|other| table.place(other) == table.place(&first))
        };
        let other = same_place(&table, 1).unwrap();
        assert!(!table.insert(other));
        table.failed(first.peer, 3);
        assert!(table.insert(other) && table.len() == 1);
        for left in [1, 1, 0] {
            table.failed(other.peer, 3);
            assert_eq!(table.len(), left);
        }
    }

    #[test]
    fn places_follow_from_a_secret() {
        let place = |secret: u64| Candidates::new(Secret(secret)).place(&candidate(1, 0, 1));
        let places: std::collections::BTreeSet<u64> = (0..50).map(place).collect();
        assert!(places.len() > 20, "{places:?}");
    }

    #[test]
    fn a_full_bucket_is_not_chosen_more_often_than_a_lonely_candidate() {
        let (lonely, mut rng, mut hits) = (candidate(1, 0, 1), Rng::new(1), 0);
        for secret in 0..40 {
            let mut table = Candidates::new(Secret(secret));
            assert!(table.insert(lonely));
            (2..2000).for_each(|number| {
                table.insert(candidate(number * 999, number, 2));
            });
            assert!(table.len() > 60);
            hits += (0..50).filter(|_| table.choose(&mut rng, |_| true) == Some(lonely)).count();
        }
        // One bucket of nine, where it has one for itself, and not one of all the candidates.
        assert!((100..400).contains(&hits), "{hits} of 2000");
        let table = Candidates::new(Secret(1));
        assert_eq!(table.choose(&mut rng, |_| false), None);
    }
}
