//! One peer: its rests, its window, and how much it is asked for.

use super::*;
use crate::hash::Hash;
use crate::ids::{Epoch, Height};
use crate::peers::peer::{FIRST_PAUSE, MAX_REQUEST_BYTES, MIN_REQUEST_BYTES, Peer};
use crate::ranges::HeightRange;
use crate::wire::PeerStatus;

const KIND: RequestKind = RequestKind::Bodies;

fn peer() -> Peer {
    Peer::new(1, at(0))
}

fn status(earliest: u64, tip: u64) -> PeerStatus {
    let (chain_id, earliest, tip) = (Hash::ZERO, Height::new(earliest), Height::new(tip));
    PeerStatus { chain_id, earliest, tip, epoch: Epoch::ZERO, snapshots: None }
}

#[test]
fn each_suspicion_rests_for_longer_and_fades() {
    let mut peer = peer();
    let rests = |peer: &mut Peer| peer.suspected(KIND, at(0)).since(at(0));
    for doublings in 0..7 {
        assert_eq!(rests(&mut peer), FIRST_PAUSE * (1 << doublings));
        assert_eq!(peer.rests_until(KIND), at(0).after(FIRST_PAUSE * (1 << doublings)));
    }
    for _ in 0..3 {
        assert_eq!(rests(&mut peer), Duration::from_secs(30));
    }
    assert_eq!(peer.window(), 1, "and less is asked for at once");
    // Ten suspicions are halved to none by four true answers.
    assert!(peer.expected(KIND, 0) >= Duration::from_secs(30), "who may be waited for in vain is worth less");
    for _ in 0..4 {
        peer.succeeded();
    }
    assert_eq!(rests(&mut peer), FIRST_PAUSE);
}

#[test]
fn the_window_grows_with_what_is_true_and_shrinks_with_what_is_late() {
    let mut peer = peer();
    for _ in 0..100 {
        peer.succeeded();
    }
    assert_eq!(peer.window(), 16);
    // A short line is kept busy by few, a long one by as many as are under way on it.
    peer.estimator.echoed(Duration::from_millis(10));
    assert_eq!(peer.capacity(), 4);
    for _ in 0..100 {
        peer.estimator = Default::default();
        peer.estimator.echoed(Duration::from_millis(500));
    }
    assert_eq!(peer.capacity(), 9);
    for expected in [8, 4, 2, 1, 1] {
        peer.shrink();
        assert_eq!(peer.window(), expected);
    }
    assert_eq!(peer.capacity(), 1);
    peer.in_flight = 1;
    assert!(!peer.ready(KIND, at(0)) && peer.ready(RequestKind::Status, at(0)));
    peer.connected = false;
    assert!(!peer.ready(RequestKind::Status, at(0)));
}

#[test]
fn requests_are_neither_crumbs_nor_boulders() {
    let mut peer = peer();
    peer.estimator.delivered(at(1000), at(0), 2000);
    assert_eq!(peer.request_bytes(), MIN_REQUEST_BYTES);
    for _ in 0..100 {
        peer.estimator.delivered(at(2000), at(1000), 1 << 30);
    }
    assert_eq!(peer.request_bytes(), MAX_REQUEST_BYTES);
}

#[test]
fn a_range_is_claimed_whole_or_not_at_all() {
    let mut peer = peer();
    let range = |first, last| HeightRange::new(Height::new(first), Height::new(last)).unwrap();
    assert!(!peer.claims(range(5, 5)) && !peer.may_prove(), "it has said nothing yet");
    peer.status = Some(status(5, 9));
    assert!(peer.claims(range(5, 9)) && !peer.claims(range(4, 9)) && !peer.claims(range(5, 10)));
}

#[test]
fn what_was_not_proven_is_asked_for_after_a_pause() {
    let mut peer = peer();
    peer.status = Some(status(1, 9));
    assert!(peer.may_prove());
    assert_eq!(peer.failed_to_prove(at(0)), at(5000));
    assert!(!peer.may_prove() && peer.unproven == Some(Height::new(9)));
    assert!(peer.rests(RequestKind::Tip, at(4999)) && !peer.rests(RequestKind::Tip, at(5000)));
}

#[test]
fn offers_that_nobody_gave_are_doubted_for_longer_each_time() {
    let mut peer = peer();
    for seconds in [4, 8, 16] {
        peer.doubt_states(at(0));
        assert!(peer.is_doubted_on_states(at(seconds * 1000 - 1)) && !peer.is_doubted_on_states(at(seconds * 1000)));
    }
}
