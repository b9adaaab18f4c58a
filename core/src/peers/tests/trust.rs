//! When false answers are the peers' doing, and when our own.

use super::*;
use crate::ids::Height;
use crate::peers::Consequence;

const KIND: RequestKind = RequestKind::Bodies;
const FAULT: Fault = Fault::Malformed;

/// Consequence of a false answer: whether the peer is set aside, and the groups for which this node began to suspect
/// itself just now.
fn accused_of(
    manager: &mut SyncPeerManager,
    name: u8,
    kind: RequestKind,
    fault: Fault,
    now: u64,
) -> (bool, Option<usize>) {
    match manager.consequence_of(id(name), kind, fault, at(now)) {
        Consequence::Ban => {
            manager.blacklist_unreliable_peer(at(now), &id(name), BlacklistReason::Proven(fault));
            (false, None)
        }
        Consequence::SetAside { peers, banned: _, until, raised } => {
            assert!(peers.contains(&id(name)) && until == at(now + 30_000));
            (true, raised)
        }
    }
}

/// The same for the last of those who give the same false answer one after the other.
fn accused(manager: &mut SyncPeerManager, names: &[u8], now: u64) -> (bool, Option<usize>) {
    names.iter().map(|&name| accused_of(manager, name, KIND, FAULT, now)).last().unwrap()
}

fn is_set_aside(manager: &SyncPeerManager, name: u8, now: u64) -> bool {
    matches!(manager.check_peer_health(at(now), &id(name)), PeerHealth::Suspected { .. })
}

#[test]
fn equal_faults_of_independent_groups_are_counted() {
    let mut manager = manager(9, 9);
    for name in 5..=8 {
        manager.connected(at(0), id(name), 5);
    }
    assert_eq!(accused(&mut manager, &[5, 6, 7, 8], 1), (false, None), "one operator is one");
    assert_eq!(accused(&mut manager, &[1, 2], 1), (true, Some(3)));
    assert!((5..=8).all(|name| is_set_aside(&manager, name, 2)), "bans that nothing true has confirmed are taken back");
    assert_eq!(accused(&mut manager, &[3], 1), (true, None), "said once");
    let at_height = [|height| Fault::BrokenLink(Height::new(height)), |height| Fault::BadPayload(Height::new(height))];
    for fault in at_height {
        let mut manager = super::manager(8, 8);
        for name in 1..=3u8 {
            let told = accused_of(&mut manager, name, KIND, fault(name.into()), 1);
            assert_eq!(told, (name == 3, (name == 3).then_some(3)), "wherever it is");
        }
    }
    assert_eq!(manager.consequence_of(id(50), KIND, FAULT, at(1)), Consequence::Ban, "nobody knows it");
}

#[test]
fn a_true_answer_of_the_kind_clears_the_kind() {
    let mut manager = manager(8, 8);
    accused(&mut manager, &[1, 2], 1);
    accused_of(&mut manager, 3, RequestKind::Tip, FAULT, 1);
    manager.note_true(RequestKind::Status, at(2));
    assert_eq!(accused(&mut manager, &[4], 2), (true, Some(3)), "another kind says nothing");
    let mut manager = super::manager(8, 8);
    accused(&mut manager, &[1, 2], 1);
    accused_of(&mut manager, 3, RequestKind::Tip, FAULT, 1);
    manager.note_true(KIND, at(3));
    assert_eq!(accused(&mut manager, &[4, 5], 40_000), (false, None), "those before are forgotten");
    assert_eq!(manager.take_exposed(), [], "they are banned");
    accused_of(&mut manager, 6, RequestKind::Tip, FAULT, 40_000);
    assert_eq!(
        accused_of(&mut manager, 7, RequestKind::Tip, FAULT, 40_000),
        (true, Some(3)),
        "another is another matter"
    );
}

#[test]
fn true_answers_lately_and_somebody_left_say_that_the_peers_lie() {
    // Somebody is left among those that are asked, or among those that stand by.
    for (asked, peers) in [(5, 5), (3, 5)] {
        let mut manager = manager(asked, peers);
        manager.note_true(KIND, at(0));
        assert_eq!(accused(&mut manager, &[1, 2, 3], 29_999), (false, None), "{asked} of {peers}");
        assert_eq!(accused(&mut manager, &[4], 30_000), (true, Some(4)), "that was long ago");
    }
    let mut manager = manager(3, 3);
    manager.note_true(KIND, at(0));
    assert_eq!(accused(&mut manager, &[1, 2, 3], 1), (true, Some(3)), "nobody is left");
}

#[test]
fn everybody_false_each_in_another_way_is_our_own_doing() {
    let mut manager = manager(4, 4);
    let kinds = [RequestKind::Tip, RequestKind::Segment, KIND, RequestKind::Handovers];
    for (name, kind) in (1..=4).zip(kinds) {
        let told = accused_of(&mut manager, name, kind, FAULT, 1);
        assert_eq!(told, if name == 4 { (true, Some(4)) } else { (false, None) });
    }
    assert!((1..=4).all(|name| is_set_aside(&manager, name, 2)));
}

#[test]
fn a_true_answer_exposes_those_that_were_set_aside() {
    let mut manager = manager(8, 8);
    accused(&mut manager, &[1, 2, 3], 1);
    accused_of(&mut manager, 4, RequestKind::Tip, FAULT, 1);
    manager.note_true(RequestKind::Tip, at(2));
    assert_eq!(manager.take_exposed(), []);
    manager.note_true(KIND, at(2));
    assert_eq!(manager.take_exposed(), [1, 2, 3].map(|name| (id(name), FAULT)));
    assert_eq!(manager.take_exposed(), []);
}

#[test]
fn those_that_were_set_aside_come_back_where_nobody_is_left() {
    let mut manager = manager(8, 5);
    accused(&mut manager, &[1, 2, 3], 1);
    assert_eq!(manager.recall(at(2)), [], "others are left");
    assert_eq!(active(&manager), [id(4), id(5)]);
    manager.disconnected(at(3), id(4));
    accused(&mut manager, &[5], 4);
    // Each rests, and the rest doubles.
    assert_eq!(manager.recall(at(5)), [1, 2, 3, 5].map(|name| (id(name), at(255))));
    assert_eq!(active(&manager), [id(1), id(2), id(3), id(5)]);
    assert_eq!(accused(&mut manager, &[1, 2, 3, 5], 300), (true, None), "said once, however often all are tried");
    assert_eq!(manager.recall(at(300)), [1, 2, 3, 5].map(|name| (id(name), at(800))));
    // Otherwise they do after a time.
    accused(&mut manager, &[1], 1000);
    assert!(!manager.lift_expired(id(1), at(30_999)) && is_set_aside(&manager, 1, 30_999));
    assert!(manager.lift_expired(id(1), at(31_000)));
    assert!(active(&manager).contains(&id(1)));
}

#[test]
fn a_pardon_lifts_bans_and_nothing_else() {
    let mut manager = manager(4, 4);
    manager.unsupported(id(1), at(0));
    assert_eq!((manager.pardon(id(1), at(1)), manager.pardon(id(50), at(1))), (None, None));
    assert!(matches!(manager.check_peer_health(at(1), &id(1)), PeerHealth::Unsupported { .. }));
    manager.blacklist_unreliable_peer(at(1), &id(2), BlacklistReason::ByHand);
    assert_eq!(active(&manager), [id(3), id(4)]);
    assert_eq!(manager.pardon(id(2), at(3)), Some(true));
    assert_eq!(active(&manager), [id(2), id(3), id(4)]);
}

#[test]
fn who_suspects_itself_takes_back_what_it_found_and_not_what_its_host_said() {
    let mut manager = manager(8, 8);
    accused(&mut manager, &[1, 2], 1);
    manager.blacklist_unreliable_peer(at(1), &id(2), BlacklistReason::ByHand);
    accused(&mut manager, &[3, 4], 2);
    assert!(is_set_aside(&manager, 1, 3) && is_set_aside(&manager, 3, 3));
    assert!(matches!(manager.check_peer_health(at(3), &id(2)), PeerHealth::Banned { .. }));
    assert_eq!(manager.pardon(id(1), at(3)), Some(false), "by hand, at any time");
}

#[test]
fn what_was_not_proven_is_tried_one_by_one() {
    let now = at(1);
    let mut manager = manager(2, 2);
    let ask = |manager: &mut SyncPeerManager, kind| manager.sent(id(1), kind, 0, now, now);
    let ready = |manager: &SyncPeerManager, kind| manager.get(id(1)).unwrap().ready(kind, now);
    let kinds = [RequestKind::Handovers, RequestKind::Tip, RequestKind::Segment, KIND, RequestKind::State];
    assert!(kinds.iter().all(|&kind| ready(&manager, kind)));
    ask(&mut manager, RequestKind::Tip);
    assert!(!kinds.iter().any(|&kind| ready(&manager, kind)) && ready(&manager, RequestKind::Status));
    assert!(!manager.end_probation(id(1), KIND) && manager.end_probation(id(1), RequestKind::Tip));
    manager.prove(id(1), RequestKind::Tip);
    // Proven capabilities wait for nothing, and hold nothing else up.
    ask(&mut manager, RequestKind::Tip);
    assert!(kinds.iter().all(|&kind| ready(&manager, kind)));
    ask(&mut manager, RequestKind::State);
    assert!(ready(&manager, RequestKind::Tip) && !ready(&manager, RequestKind::Segment));
    // After a ban it begins anew.
    manager.end_probation(id(1), RequestKind::State);
    manager.blacklist_unreliable_peer(now, &id(1), BlacklistReason::Proven(FAULT));
    manager.pardon(id(1), now);
    ask(&mut manager, RequestKind::State);
    assert!(!ready(&manager, RequestKind::Tip));
}

#[test]
fn a_long_poll_is_given_up_for_anything_else_until_it_is_answered() {
    let now = at(1);
    let mut manager = manager(2, 2);
    manager.sent(id(1), RequestKind::Follow, 0, now, now);
    let peer = |manager: &SyncPeerManager| manager.get(id(1)).unwrap().clone();
    assert!(!peer(&manager).ready(RequestKind::Follow, now), "one at a time");
    assert!(peer(&manager).ready(KIND, now) && peer(&manager).may_try(KIND.into()));
    assert!(
        peer(&manager).gives_up_poll_for(KIND.into()) && !peer(&manager).gives_up_poll_for(RequestKind::Status.into())
    );
    manager.under_check(id(1), RequestKind::Follow);
    assert!(!peer(&manager).ready(KIND, now) && !peer(&manager).gives_up_poll_for(KIND.into()));
}
