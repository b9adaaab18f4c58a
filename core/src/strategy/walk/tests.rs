//! The walk by itself: peers that lack subtrees, and news of a root that is no longer aimed at.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::calls::{BlockPoint, Holding};
use crate::chain::{Memo, SegmentFacts, SegmentRef};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, PeerId, RequestId};
use crate::ranges::HeightRange;
use crate::state::StateAnswer;
use crate::time::UnixMillis;

mod frontier;

fn root(byte: u8) -> Hash {
    Hash::from_bytes([byte; 32])
}

fn item(prefix: Prefix, byte: u8) -> StateItem {
    StateItem { prefix, hash: root(byte) }
}

fn base(byte: u8) -> SnapshotBase {
    let height = Height::new(u64::from(byte));
    let facts = SegmentFacts {
        range: HeightRange::new(height, height).unwrap(),
        parent_id: Hash::ZERO,
        last_id: root(byte),
        last_timestamp: UnixMillis::new(0),
        payload_lens: vec![0],
        quorum_checks: 1,
    };
    let segment = SegmentRef::trusted(Epoch::ZERO, facts, Bytes::new(), Bytes::new(), Memo::default());
    SnapshotBase { point: BlockPoint { height, id: root(byte) }, state_root: root(byte), segment, tip: None }
}

const SOURCE: Source = Source::Request(RequestId::FIRST);

fn peer(number: u8) -> PeerId {
    PeerId::from_bytes([number; 32])
}

fn peers(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<PeerId> {
    numbers.into_iter().map(peer).collect()
}

/// The host holds nothing of what is new.
fn survey(walk: &mut Walk) {
    let items = walk.next_survey();
    let holdings: Vec<Holding> = items.iter().map(|_| Holding::Absent).collect();
    walk.surveyed(&items, &holdings);
}

/// Asks `peer` for the next subtree that it may hold.
fn ask(walk: &mut Walk, peer: PeerId) -> (BatchId, StateItem) {
    let (id, want) = (walk.upcoming(), walk.next_want(peer, 1).unwrap());
    let item = want.items[0];
    walk.asked(want, SOURCE);
    (id, item)
}

/// The peer does not give it: it `said_so`, or was silent.
fn refuse(walk: &mut Walk, peer: PeerId, said_so: bool) -> StateItem {
    let (id, item) = ask(walk, peer);
    walk.missed(id, peer, said_so);
    walk.failed(id, SOURCE);
    item
}

/// A walk whose root is shown: the two halves below it are wanted.
fn halves() -> (Walk, StateItem, StateItem) {
    let mut walk = Walk::new(base(1), 1 << 20);
    survey(&mut walk);
    let (left, right) = Prefix::ROOT.children().unwrap();
    let (left, right) = (item(left, 2), item(right, 3));
    let (id, whole) = ask(&mut walk, peer(9));
    walk.answered(id, SOURCE, peer(9), vec![StateAnswer::Tree { item: whole, below: vec![left, right] }]).unwrap();
    (walk, left, right)
}

#[test]
fn a_target_is_lost_with_one_subtree_that_all_lack() {
    let (mut walk, left, right) = halves();
    assert!(!walk.was_missed() && !walk.is_lost(&peers([1, 2])));
    // One peer lacks both halves, and the other was not asked.
    assert_eq!([refuse(&mut walk, peer(1), true), refuse(&mut walk, peer(1), true)], [left, right]);
    assert_eq!(walk.next_want(peer(1), u64::MAX), None, "who lacks it is not asked again");
    assert!(walk.was_missed() && walk.is_lost(&peers([1])) && !walk.is_lost(&peers([1, 2])));
    // Now nobody has the one half, though the second may have the other. A third that serves may have both.
    assert_eq!(refuse(&mut walk, peer(2), true), left);
    assert!(walk.is_lost(&peers([1, 2])) && !walk.is_lost(&peers([1, 2, 3])));
    // A new target begins without what was said of the old one.
    walk.retarget(base(4));
    survey(&mut walk);
    let whole = refuse(&mut walk, peer(1), true);
    assert!(whole == item(Prefix::ROOT, 4) && walk.was_missed() && !walk.is_lost(&peers([1, 2])));
    walk.retarget(base(5));
    survey(&mut walk);
    assert!(walk.wants() && !walk.was_missed());
}

#[test]
fn what_came_from_another_is_not_lost() {
    let (mut walk, left, _) = halves();
    assert_eq!(refuse(&mut walk, peer(1), true), left);
    assert!(walk.is_lost(&peers([1])));
    // It is asked of a second peer, and then it is there, whether that one stays or not.
    let (id, asked) = ask(&mut walk, peer(2));
    assert!(asked == left && !walk.is_lost(&peers([1])));
    let leaves = StateLeaves { item: left, records: Vec::new() };
    walk.answered(id, SOURCE, peer(2), vec![StateAnswer::Leaves(leaves)]).unwrap();
    assert!(!walk.is_lost(&peers([1])));
}

#[test]
fn silence_counts_as_lacking_after_a_few_times() {
    let (mut walk, left, right) = halves();
    for _ in 0..3 {
        assert!(!walk.is_lost(&peers([1])));
        assert_eq!(refuse(&mut walk, peer(1), false), left);
    }
    assert!(walk.is_lost(&peers([1])));
    assert_eq!(ask(&mut walk, peer(1)).1, right);
    assert_eq!(ask(&mut walk, peer(2)).1, left, "others are asked for it all the same");
}

#[test]
fn a_subtree_of_another_hash_is_not_the_one_that_was_asked_for() {
    let (mut walk, left, _) = halves();
    let (id, asked) = ask(&mut walk, peer(1));
    assert_eq!(asked, left);
    let other = StateLeaves { item: item(left.prefix, 66), records: vec![(root(66), Bytes::from_static(b"record"))] };
    let (memory, _) = walk.answered(id, SOURCE, peer(1), vec![StateAnswer::Leaves(other)]).unwrap();
    assert_eq!((memory, walk.next_stage(0)), (0, Vec::new()));
    assert_eq!(ask(&mut walk, peer(2)).1, left, "it is wanted as before");
}

#[test]
fn what_is_staged_of_an_older_root_completes_no_newer_one() {
    let leaves = |byte| StateLeaves { item: item(Prefix::ROOT, byte), records: Vec::new() };
    let fetch = |walk: &mut Walk, byte| {
        survey(walk);
        let (id, asked) = ask(walk, peer(1));
        assert_eq!(asked, item(Prefix::ROOT, byte));
        walk.answered(id, SOURCE, peer(1), vec![StateAnswer::Leaves(leaves(byte))]).unwrap();
        walk.next_stage(0)
    };
    let mut walk = Walk::new(base(1), 0);
    let old = fetch(&mut walk, 1);
    walk.retarget(base(2));
    let new = fetch(&mut walk, 2);
    // The old leaves are stored only now, when the new ones wait for the same.
    walk.staged(&old);
    assert!(walk.done_ppm() == 0 && !walk.is_complete());
    walk.staged(&new);
    assert!(walk.done_ppm() == 1_000_000 && walk.is_complete());
}

#[test]
fn a_survey_of_an_older_root_says_nothing_of_a_newer_one() {
    let mut walk = Walk::new(base(1), 0);
    let old = walk.next_survey();
    walk.retarget(base(2));
    let new = walk.next_survey();
    walk.surveyed(&old, &[Holding::Held]);
    assert!(!walk.is_complete());
    walk.surveyed(&new, &[Holding::Held]);
    assert!(walk.is_complete() && walk.counters().held == 1);
}
