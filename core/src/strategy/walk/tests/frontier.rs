//! What is asked for in which form and how much of it, what an answer puts in its place, and when all of it is there.

use super::*;
use crate::limits::MAX_STATE_ITEMS;
use crate::state::StateForm;
use crate::strategy::walk::fetch::SUBTREE_BYTES;
use crate::strategy::walk::frontier::Phase;

const OTHER: Source = Source::Job(crate::ids::JobId::FIRST);

/// The host holds this of each subtree that is surveyed.
fn surveyed(walk: &mut Walk, holdings: &[Holding]) -> Vec<StateItem> {
    let items = walk.next_survey();
    assert_eq!(items.len(), holdings.len());
    walk.surveyed(&items, holdings);
    items
}

/// A walk whose root differs from what the host holds: both halves of it are new.
fn new_halves() -> (Walk, StateItem, StateItem) {
    let mut walk = Walk::new(base(1), 0);
    surveyed(&mut walk, &[Holding::Differs { keys: 1 << 20 }]);
    let (left, right) = Prefix::ROOT.children().unwrap();
    let (left, right) = (item(left, 2), item(right, 3));
    let (id, whole) = ask(&mut walk, peer(9));
    walk.answered(id, SOURCE, peer(9), vec![StateAnswer::Tree { item: whole, below: vec![left, right] }]).unwrap();
    assert!(!walk.wants(), "the host is asked about them first");
    (walk, left, right)
}

fn leaves(item: StateItem, count: u8) -> StateLeaves {
    let record = |number| (root(number), Bytes::from(vec![number; 100]));
    StateLeaves { item, records: (0..count).map(record).collect() }
}

fn give(walk: &mut Walk, answer: impl FnOnce(StateItem) -> StateAnswer) {
    let (id, item) = ask(walk, peer(1));
    walk.answered(id, SOURCE, peer(1), vec![answer(item)]).unwrap();
}

fn form(walk: &Walk, prefix: &Prefix) -> StateForm {
    match walk.items.get(prefix).unwrap().phase {
        Phase::Wanted(form) => form,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_of_one_form_and_of_the_size_that_is_asked_for() {
    let (mut walk, left, _) = new_halves();
    surveyed(&mut walk, &[Holding::Differs { keys: 1 }, Holding::Differs { keys: 1 << 20 }]);
    let want = walk.next_want(peer(1), u64::MAX).unwrap();
    assert_eq!((want.form, want.items), (StateForm::Leaves, vec![left]));
    // Even the smallest subtree costs something to ask for.
    let (mut walk, left, right) = new_halves();
    surveyed(&mut walk, &[Holding::Differs { keys: 1 }, Holding::Differs { keys: 1 }]);
    assert_eq!(walk.next_want(peer(1), 2047).unwrap().items, [left]);
    let want = walk.next_want(peer(1), 2048).unwrap();
    assert_eq!((want.items, want.bytes), (vec![left, right], 2048));
    // However much fits in, a request has an end.
    let mut walk = Walk::new(base(1), 0);
    surveyed(&mut walk, &[Holding::Absent]);
    let mut level = vec![Prefix::ROOT];
    while level.len() <= MAX_STATE_ITEMS {
        level = level.iter().flat_map(|prefix| <[Prefix; 2]>::from(prefix.children().unwrap())).collect();
    }
    let below = level.iter().map(|&prefix| item(prefix, 7)).collect();
    give(&mut walk, |whole| StateAnswer::Tree { item: whole, below });
    assert_eq!(walk.next_want(peer(1), u64::MAX).unwrap().items.len(), MAX_STATE_ITEMS);
}

#[test]
fn the_form_follows_what_the_host_holds() {
    let tree = |depth| StateForm::Tree { depth };
    for (keys, expected) in
        [(8, StateForm::Leaves), (9, tree(2)), (100, tree(4)), (1 << 14, tree(4)), (1 << 20, tree(6))]
    {
        let mut walk = Walk::new(base(1), 0);
        surveyed(&mut walk, &[Holding::Differs { keys }]);
        assert_eq!(form(&walk, &Prefix::ROOT), expected, "{keys} keys");
    }
    // Where it holds nothing, the estimate decides.
    for (bytes, expected) in [(SUBTREE_BYTES * 2, StateForm::Leaves), (SUBTREE_BYTES * 8, tree(3))] {
        let mut walk = Walk::new(base(1), bytes);
        surveyed(&mut walk, &[Holding::Absent]);
        assert_eq!(form(&walk, &Prefix::ROOT), expected, "{bytes} bytes");
    }
    // Of what it did not say anything, nothing is taken for absent.
    let mut walk = Walk::new(base(1), 0);
    let items = walk.next_survey();
    assert_eq!(walk.next_survey(), [], "it is asked once");
    walk.surveyed(&items, &[]);
    assert!(!walk.items.get(&Prefix::ROOT).unwrap().absent && form(&walk, &Prefix::ROOT) != StateForm::Leaves);
}

#[test]
fn what_is_empty_or_held_is_there() {
    let mut walk = Walk::new(base(1), 1 << 20);
    surveyed(&mut walk, &[Holding::Absent]);
    let (left, right) = Prefix::ROOT.children().unwrap();
    let right = StateItem { prefix: right, hash: crate::state::PLACEHOLDER };
    give(&mut walk, |whole| StateAnswer::Tree { item: whole, below: vec![item(left, 2), right] });
    assert_eq!((walk.done_ppm(), walk.next_want(peer(1), u64::MAX).unwrap().items), (500_000, vec![item(left, 2)]));
    let (mut walk, ..) = new_halves();
    surveyed(&mut walk, &[Holding::Held, Holding::Differs { keys: 1 }]);
    assert_eq!((walk.done_ppm(), walk.counters().held), (500_000, 1));
}

#[test]
fn who_says_that_it_lacks_a_subtree_among_others_is_believed() {
    let (mut walk, left, _) = halves();
    give(&mut walk, StateAnswer::Missing);
    assert!(walk.was_missed() && walk.is_lost(&peers([1])));
    assert_ne!(ask(&mut walk, peer(1)).1, left);
    // As long as another is asked for it, it isn't missed.
    assert_eq!(ask(&mut walk, peer(2)).1, left);
    assert!(!walk.was_missed());
}

#[test]
fn a_second_source_outlives_the_first() {
    let (mut walk, left, _) = halves();
    let (id, asked) = ask(&mut walk, peer(1));
    walk.hedged(id, OTHER);
    walk.failed(id, SOURCE);
    assert!(walk.batch(id).is_some(), "the second may still bring it");
    assert_eq!(walk.answered(id, SOURCE, peer(1), vec![StateAnswer::Leaves(leaves(asked, 1))]), None, "it failed");
    assert!(walk.answered(id, OTHER, peer(2), vec![StateAnswer::Leaves(leaves(left, 1))]).is_some());
}

#[test]
fn what_is_given_up_is_wanted_again() {
    let (mut walk, left, _) = halves();
    assert_eq!(ask(&mut walk, peer(1)).1, left);
    assert_eq!(walk.cancel(), [SOURCE]);
    assert_eq!(ask(&mut walk, peer(1)).1, left);
}

#[test]
fn the_size_of_a_state_is_learned_from_what_comes() {
    // Too large to be given whole.
    let mut walk = Walk::new(base(1), 0);
    surveyed(&mut walk, &[Holding::Absent]);
    let below = |byte| vec![item(Prefix::ROOT.children().unwrap().0, byte)];
    give(&mut walk, |whole| StateAnswer::Tree { item: whole, below: below(2) });
    assert_eq!(walk.estimate, SUBTREE_BYTES * 4);
    // Hashes that were asked for say nothing.
    let (walk, ..) = halves();
    assert_eq!(walk.estimate, 1 << 20);
    // Leaves say something where they are many.
    for (count, learned) in [(31, false), (32, true)] {
        let (mut walk, ..) = halves();
        give(&mut walk, |left| StateAnswer::Leaves(leaves(left, count)));
        assert_eq!(walk.estimate < 1 << 20, learned, "{count} leaves");
    }
}

#[test]
fn leaves_are_stored_in_large_batches_and_the_last_ones_at_once() {
    let (mut walk, ..) = halves();
    give(&mut walk, |left| StateAnswer::Leaves(leaves(left, 1)));
    let memory = leaves_memory(&leaves(item(Prefix::ROOT, 0), 1));
    assert_eq!(walk.next_stage(memory + 1), [], "more is on its way");
    assert_eq!(walk.next_stage(memory).len(), 1);
    give(&mut walk, |right| StateAnswer::Leaves(leaves(right, 1)));
    assert_eq!(walk.next_stage(u64::MAX).len(), 1, "nothing more is on its way");
    assert_eq!(walk.verified_bytes, 0, "what was handed on counts no more");
}

#[test]
fn a_new_target_begins_at_its_root() {
    // Some of the old one is wanted, some new, some asked for.
    let (mut walk, ..) = halves();
    ask(&mut walk, peer(1));
    walk.retarget(base(4));
    assert!(!walk.wants() && walk.items.len() == 1);
    assert_eq!(walk.next_survey(), [item(Prefix::ROOT, 4)]);
    let (mut walk, ..) = new_halves();
    walk.retarget(base(4));
    assert_eq!(walk.new.len(), 1);
    assert_eq!(walk.next_survey(), [item(Prefix::ROOT, 4)]);
    // A place that is no longer there gets no phase.
    let (left, _) = Prefix::ROOT.children().unwrap();
    walk.set_phase(&left, Phase::Wanted(StateForm::Leaves));
    assert!(!walk.wants());
}

#[test]
fn what_waits_to_be_stored_is_not_there_yet() {
    let mut walk = Walk::new(base(1), 0);
    survey(&mut walk);
    give(&mut walk, |whole| StateAnswer::Leaves(leaves(whole, 1)));
    // The new root is held already, but leaves of the old one are still on their way into the store.
    walk.retarget(base(2));
    surveyed(&mut walk, &[Holding::Held]);
    assert!(!walk.is_complete());
    let stored = walk.next_stage(0);
    assert!(stored.len() == 1 && !walk.is_complete());
    walk.staged(&stored);
    assert!(walk.is_complete());
}

#[test]
fn what_was_staged_before_a_new_start_is_looked_at_again() {
    let mut walk = Walk::new(base(1), 0);
    survey(&mut walk);
    give(&mut walk, |whole| StateAnswer::Leaves(leaves(whole, 1)));
    let stored = walk.next_stage(0);
    walk.start_over();
    walk.staged(&stored);
    assert!(!walk.is_complete() && walk.done_ppm() == 0, "the host is asked what it has");
    surveyed(&mut walk, &[Holding::Held]);
    assert!(walk.is_complete());
}
