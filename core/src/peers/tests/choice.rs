//! Whom to ask.

use super::*;
use crate::rng::Rng;

const KIND: RequestKind = RequestKind::Bodies;
const ROUNDS: u32 = 640;

/// Peers with lines of so many bytes a second, which were measured and filled, and asked a moment ago.
fn lines(rates: &[u64]) -> SyncPeerManager {
    let mut manager = manager(8, u8::try_from(rates.len()).unwrap());
    for (name, &rate) in (1..).zip(rates) {
        let peer = manager.get_mut(id(name)).unwrap();
        peer.estimator.delivered(at(1000), at(0), rate);
        assert_eq!(peer.estimator.bytes_per_second(), rate);
        peer.asked_at = at(1000);
    }
    manager
}

/// How often each peer is chosen, and how often nobody.
fn chosen(manager: &SyncPeerManager, ask: Ask, now: Instant) -> Vec<u32> {
    let mut counts = alloc::vec![0; manager.len() + 1];
    let mut rng = Rng::new(1);
    for _ in 0..ROUNDS {
        let name = manager.choose(KIND, ask, now, &mut rng, |_, _| true).map_or(0, |peer| peer.as_bytes()[0]);
        counts[usize::from(name)] += 1;
    }
    counts
}

fn fill(manager: &mut SyncPeerManager, name: u8, due: u64) {
    let peer = manager.get_mut(id(name)).unwrap();
    peer.in_flight = peer.capacity();
    peer.due = at(due);
}

#[test]
fn the_best_is_chosen_and_now_and_then_another_that_is_about_as_good() {
    let manager = lines(&[900_000, 1_000_000, 800_000]);
    let counts = chosen(&manager, Ask::Whole(100_000), at(2000));
    // One in 32 is anyone.
    assert!(counts[0] == 0 && counts[2] >= ROUNDS - ROUNDS / 16, "{counts:?}");
    assert!(counts[1] > 0 && counts[3] > 0, "{counts:?}");
}

#[test]
fn a_far_slower_one_is_tried_again_after_a_while_with_as_much_as_it_can() {
    let mut manager = lines(&[1_000_000, 10_000]);
    assert_eq!(chosen(&manager, Ask::UpTo(100_000), at(2000))[2], 0, "it was asked a moment ago");
    assert!(chosen(&manager, Ask::UpTo(100_000), at(11_000))[2] > 0);
    assert_eq!(chosen(&manager, Ask::Whole(100_000), at(11_000))[2], 0, "with all of it, it would hold it up");
    manager.get_mut(id(2)).unwrap().pause(KIND, at(12_000));
    assert_eq!(chosen(&manager, Ask::UpTo(100_000), at(11_000))[2], 0, "not while it rests");
}

#[test]
fn a_better_one_that_is_full_is_waited_for_within_reason() {
    // 100 kB take 150 ms here, and 350 ms or a little more there: twice as long and 50 ms more is the most.
    let mut manager = lines(&[1_000_000, 334_000]);
    fill(&mut manager, 1, 3000);
    assert_eq!(chosen(&manager, Ask::Whole(100_000), at(2000))[2], ROUNDS);
    let mut manager = lines(&[1_000_000, 320_000]);
    fill(&mut manager, 1, 3000);
    assert!(chosen(&manager, Ask::Whole(100_000), at(2000))[0] >= ROUNDS - ROUNDS / 16);
    // A late peer is expected as much later, and one that rests will not answer for a while.
    assert!(chosen(&manager, Ask::Whole(100_000), at(3001))[0] >= ROUNDS - ROUNDS / 16);
    assert_eq!(chosen(&manager, Ask::Whole(100_000), at(3010))[2], ROUNDS);
    // Of who is on probation too little is known to wait for it.
    manager.under_check(id(1), RequestKind::Tip);
    assert_eq!(chosen(&manager, Ask::Whole(100_000), at(2000))[2], ROUNDS);
    manager.end_probation(id(1), RequestKind::Tip);
    assert!(chosen(&manager, Ask::Whole(100_000), at(2000))[0] >= ROUNDS - ROUNDS / 16);
    manager.get_mut(id(1)).unwrap().pause(KIND, at(2500));
    assert_eq!(chosen(&manager, Ask::Whole(100_000), at(2000))[2], ROUNDS);
}

#[test]
fn a_line_that_was_never_filled_may_be_the_better_one() {
    let mut manager = lines(&[10_000_000, 10_000_000]);
    // All that it was asked for came at once, so that nobody knows what it can.
    manager.get_mut(id(2)).unwrap().estimator = Default::default();
    manager.get_mut(id(2)).unwrap().estimator.delivered(at(1060), at(1000), 600);
    fill(&mut manager, 1, 3000);
    assert!(chosen(&manager, Ask::Whole(100_000), at(2000))[2] >= ROUNDS - ROUNDS / 16);
    // Once it is known there is nothing to find out.
    manager.get_mut(id(2)).unwrap().estimator.timed_out();
    assert!(chosen(&manager, Ask::Whole(100_000), at(2000))[0] >= ROUNDS - ROUNDS / 16);
}

#[test]
fn nobody_is_asked_who_is_full_rests_or_is_not_eligible() {
    let mut manager = lines(&[1_000_000, 1_000_000]);
    let mut rng = Rng::new(1);
    for _ in 0..ROUNDS {
        let chosen = manager.choose(KIND, Ask::Whole(1), at(2000), &mut rng, |peer, _| peer != id(1));
        assert_eq!(chosen, Some(id(2)));
    }
    fill(&mut manager, 1, 3000);
    assert_eq!(chosen(&manager, Ask::Whole(1), at(2000)), [0, 0, ROUNDS]);
    fill(&mut manager, 2, 3000);
    assert_eq!(chosen(&manager, Ask::Whole(1), at(2000)), [ROUNDS, 0, 0]);
    assert!(!manager.anyone_ready(at(2000)));
    // Small questions pass a full window, but no rest.
    let tip = |manager: &SyncPeerManager| {
        manager.choose(RequestKind::Tip, Ask::Whole(0), at(2000), &mut Rng::new(1), |_, _| true)
    };
    assert_eq!(tip(&manager), Some(id(1)));
    for name in 1..=2 {
        manager.get_mut(id(name)).unwrap().pause(RequestKind::Tip, at(2001));
    }
    assert_eq!(tip(&manager), None);
}

#[test]
fn somebody_is_ready_who_may_be_asked_for_headers_or_bodies() {
    for other in [RequestKind::Segment, RequestKind::Bodies] {
        let mut manager = lines(&[1_000_000]);
        assert!(manager.anyone_ready(at(2000)));
        manager.get_mut(id(1)).unwrap().pause(other, at(3000));
        assert!(manager.anyone_ready(at(2000)), "{other:?}");
        for kind in [RequestKind::Segment, RequestKind::Bodies] {
            manager.get_mut(id(1)).unwrap().pause(kind, at(3000));
        }
        assert!(!manager.anyone_ready(at(2000)));
    }
}

#[test]
fn what_a_peer_is_asked_for_already_and_what_fails_with_it_counts() {
    let mut manager = lines(&[1_000_000, 1_000_000]);
    let first = |manager: &SyncPeerManager, kind| {
        let mut rng = Rng::new(2);
        manager.choose(kind, Ask::Whole(100_000), at(2000), &mut rng, |_, _| true)
    };
    manager.get_mut(id(1)).unwrap().queued_bytes = 100_000;
    assert_eq!(first(&manager, KIND), Some(id(2)));
    assert_eq!(first(&manager, RequestKind::Handovers), Some(id(1)), "small answers come in between");
    manager.get_mut(id(1)).unwrap().queued_bytes = 0;
    for _ in 0..4 {
        manager.get_mut(id(1)).unwrap().stats.get_mut(KIND).failed();
    }
    assert_eq!(first(&manager, KIND), Some(id(2)));
}
