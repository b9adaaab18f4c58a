//! When false answers are the peers' doing, and when our own.

use super::*;
use crate::ids::Height;

const KIND: RequestKind = RequestKind::Bodies;
const FAULT: Fault = Fault::Malformed;

/// How often in a row each of these gives the same false answer, and whether this node suspects itself in the end.
fn accused(manager: &mut SyncPeerManager, names: &[u8], now: u64) -> (usize, bool) {
    names.iter().map(|&name| manager.accuse(id(name), KIND, FAULT, at(now))).last().unwrap()
}

#[test]
fn equal_faults_of_independent_groups_are_counted() {
    let mut manager = manager(8, 8);
    for name in 5..=8 {
        manager.connected(at(0), id(name), 5);
    }
    assert_eq!(accused(&mut manager, &[5, 6, 7, 8], 1), (1, false), "one operator is one");
    assert_eq!(accused(&mut manager, &[1, 2], 1), (3, true));
    let mut manager = super::manager(8, 8);
    let at_height = [|height| Fault::BrokenLink(Height::new(height)), |height| Fault::BadPayload(Height::new(height))];
    for fault in at_height {
        for name in 1..=3u8 {
            let told = manager.accuse(id(name), KIND, fault(name.into()), at(1));
            assert_eq!(told, (name.into(), name == 3), "wherever it is");
        }
    }
    assert_eq!(manager.accuse(id(50), KIND, FAULT, at(1)), (0, false), "nobody knows it");
}

#[test]
fn a_true_answer_of_the_kind_clears_the_kind() {
    let mut manager = manager(8, 8);
    accused(&mut manager, &[1, 2], 1);
    manager.accuse(id(1), RequestKind::Tip, FAULT, at(1));
    manager.note_true(RequestKind::Status, at(2));
    assert_eq!(accused(&mut manager, &[1], 2), (2, false), "another kind says nothing");
    manager.note_true(KIND, at(3));
    assert_eq!(accused(&mut manager, &[3], 4), (1, false));
    assert_eq!(manager.accuse(id(2), RequestKind::Tip, FAULT, at(4)), (2, false));
}

#[test]
fn true_answers_lately_and_somebody_left_say_that_the_peers_lie() {
    // Somebody is left among those that are asked, or among those that stand by.
    for (asked, peers) in [(4, 4), (3, 4)] {
        let mut manager = manager(asked, peers);
        manager.note_true(KIND, at(0));
        assert_eq!(accused(&mut manager, &[1, 2, 3], 29_999), (3, false), "{asked} of {peers}");
        assert_eq!(accused(&mut manager, &[3], 30_000), (3, true), "that was long ago");
    }
    let mut manager = manager(3, 3);
    manager.note_true(KIND, at(0));
    assert_eq!(accused(&mut manager, &[1, 2, 3], 1), (3, true), "nobody is left");
}

#[test]
fn a_pardon_lifts_bans_and_nothing_else() {
    let mut manager = manager(4, 4);
    manager.unsupported(id(1), at(0));
    assert!(!manager.pardon(id(1), at(1)) && !manager.pardon(id(50), at(1)));
    assert!(matches!(manager.check_peer_health(at(1), &id(1)), PeerHealth::Unsupported { .. }));
    manager.blacklist_unreliable_peer(at(1), &id(2), BlacklistReason::Proven(FAULT));
    manager.blacklist_unreliable_peer(at(1), &id(3), BlacklistReason::ByHand);
    manager.blacklist_unreliable_peer(at(1), &id(4), BlacklistReason::Unreliable);
    assert_eq!(active(&manager), []);
    // Who suspects itself takes back what it found, and not what its host said.
    assert_eq!(manager.lift_bans(at(2)), [id(2)]);
    assert_eq!(active(&manager), [id(2)], "it is asked again at once");
    assert!(manager.pardon(id(3), at(3)));
    assert_eq!(active(&manager), [id(2), id(3)]);
}
