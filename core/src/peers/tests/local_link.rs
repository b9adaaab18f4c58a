//! Whether it is our own link, and who vouches for it.

use super::*;
use crate::peers::local_link::LocalLink;

const BULK: RequestKind = RequestKind::Bodies;

/// Whether anyone but this one answered on time since.
fn is_alone_late(link: &LocalLink, name: u8, kind: RequestKind, sent: u64) -> bool {
    link.on_time_since(kind, at(sent)).any(|(other, _)| other != id(name))
}

#[test]
fn others_on_time_since_make_a_peer_late_by_itself() {
    let mut link = LocalLink::default();
    link.note_on_time(at(10), id(1), BULK);
    assert!(!is_alone_late(&link, 1, BULK, 5), "its own answers say nothing of others");
    assert!(is_alone_late(&link, 2, BULK, 9) && !is_alone_late(&link, 2, BULK, 10), "only those since");
    // Of two that answer the one is the other's witness, whoever was last, and however often.
    link.note_on_time(at(20), id(2), BULK);
    for now in [30, 31] {
        link.note_on_time(at(now), id(1), BULK);
    }
    assert!(is_alone_late(&link, 1, BULK, 19) && is_alone_late(&link, 2, BULK, 30));
}

#[test]
fn small_answers_vouch_for_small_ones_alone() {
    let mut link = LocalLink::default();
    link.note_on_time(at(10), id(1), RequestKind::Tip);
    assert!(!is_alone_late(&link, 2, BULK, 0), "they pass where large ones don't");
    assert!(is_alone_late(&link, 2, RequestKind::Status, 0));
    // An answer from the tip comes when there is something to tell.
    let mut link = LocalLink::default();
    link.note_on_time(at(10), id(1), RequestKind::Follow);
    assert_eq!(link, LocalLink::default());
    // Where large ones come, so do small ones.
    link.note_on_time(at(10), id(1), BULK);
    assert!(is_alone_late(&link, 2, RequestKind::Status, 0));
}

#[test]
fn a_full_link_takes_less_at_once_until_answers_are_on_time() {
    let mut link = LocalLink::default();
    for _ in 0..7 {
        link.sent();
    }
    assert!(link.has_room());
    // Many time-outs of one jam are one.
    for now in [0, 1, 999] {
        link.ended();
        link.jammed(at(now));
    }
    // Seven were too many: three.
    link.ended();
    assert!(!link.has_room(), "three are in flight");
    link.ended();
    assert!(link.has_room());
    link.sent();
    link.note_on_time(at(1000), id(1), RequestKind::Status);
    assert!(!link.has_room(), "a small answer says nothing of it");
    link.note_on_time(at(1000), id(1), BULK);
    assert!(link.has_room());
    // After a second it may be found full again.
    link.jammed(at(1000));
    assert!(!link.has_room());
}
