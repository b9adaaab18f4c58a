//! The process dies at every write of a state's download. Nothing that was acknowledged is fetched again, nothing counts
//! that is not there, and the exchange of the states is all or nothing.

use std::path::Path;
use std::sync::{Arc, Mutex};

use hotstuff2_sync::calls::Holding;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{PLACEHOLDER, Prefix, StateItem, StateLeaves};

use super::crash::copy;
use super::rebase::check_served_above;
use super::staging::{Peer, check_live, execute};
use super::toy::Toy;
use super::{Store, append_all, check_served, create, following, open, toy};
use crate::store::steps::Step;
use crate::store::{Activation, BlockStore as _, StateStaging as _, StateStore as _};

const BASE: u64 = 1300;
const HEAD: u64 = 800;

/// A call, and what is held for certain once it was answered.
enum Call<'a> {
    Survey(&'a Peer, Vec<Prefix>),
    Stage(&'a Peer, Vec<Prefix>),
    Empty(Prefix),
    Activate(&'a Peer),
}

impl Call<'_> {
    fn run(&self, store: &Store, toy: &Toy) {
        match self {
            Call::Survey(peer, places) => {
                let items: Vec<_> = places.iter().map(|place| peer.item(*place)).collect();
                store.survey(&items).unwrap();
            }
            Call::Stage(peer, places) => {
                let subtrees: Vec<StateLeaves> = places.iter().map(|place| peer.leaves(*place)).collect();
                store.stage(&subtrees).unwrap();
            }
            Call::Empty(prefix) => {
                let held = store.survey(&[StateItem { prefix: *prefix, hash: PLACEHOLDER }]).unwrap();
                assert_eq!(held, [Holding::Held]);
            }
            Call::Activate(peer) => {
                let activation = store.activate(&peer.base(toy, BASE, BASE + 10)).unwrap();
                assert_eq!(activation, Activation::Activated);
            }
        }
    }

    /// Updates the items that are known to be staged after the call.
    fn acknowledge(&self, store: &Store, held: &mut Vec<StateItem>) {
        match self {
            Call::Survey(peer, places) | Call::Stage(peer, places) => {
                // Subtrees that were staged above or below are something else now.
                held.retain(|item| !places.iter().any(|place| place.covers(&item.prefix) || item.prefix.covers(place)));
                held.extend(places.iter().map(|place| peer.item(*place)));
                held.retain(|item| store.survey(&[*item]).unwrap() == [Holding::Held]);
            }
            Call::Empty(prefix) => held.retain(|item| !prefix.covers(&item.prefix) && !item.prefix.covers(prefix)),
            Call::Activate(_) => held.clear(),
        }
    }
}

fn all_places(depth: u16) -> Vec<Prefix> {
    (0..1u16 << depth)
        .map(|number| {
            let mut path = [0; 32];
            path[..2].copy_from_slice(&(number << (16 - depth)).to_be_bytes());
            Prefix::new(Hash::from_bytes(path), depth).unwrap()
        })
        .collect()
}

/// Makes the calls and takes a copy of the directory before every step. Each copy is opened, checked, and finishes the
/// download of `target`.
fn kill_at_every_write(calls: &[Call<'_>], old: &Peer, target: &Peer) -> Vec<Step> {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let dir = root.path().join("store");
    let store = create(&dir, &toy);
    append_all(&store, &following(&toy, 100)[..8]);
    execute(&store, old, 700);
    let (copies, mut steps, mut held) = (Arc::new(Mutex::new(Vec::new())), Vec::new(), Vec::new());
    for (index, call) in calls.iter().enumerate() {
        let (taken, from, to) = (copies.clone(), dir.clone(), root.path().to_owned());
        store.steps.set(Some(Box::new(move |step, _| {
            let mut taken = taken.lock().unwrap();
            let to = to.join(format!("{index}-{}", taken.len()));
            copy(&from, &to);
            taken.push((step, to));
            Ok(())
        })));
        call.run(&store, &toy);
        store.steps.set(None);
        let after: Vec<StateItem> = {
            let mut after = held.clone();
            call.acknowledge(&store, &mut after);
            after
        };
        for (step, copied) in copies.lock().unwrap().drain(..) {
            steps.push(step);
            let what = format!("call {index}, killed before {step:?}");
            // Items that the call replaces may be gone or not.
            let safe: Vec<_> = held.iter().filter(|item| after.contains(item)).copied().collect();
            check_copy(&copied, &safe, old, target, &toy, &what);
            std::fs::remove_dir_all(copied).unwrap();
        }
        held = after;
    }
    drop(store);
    check_copy(&dir, &held, old, target, &toy, "the end");
    steps
}

fn check_copy(dir: &Path, held: &[StateItem], old: &Peer, target: &Peer, toy: &Arc<Toy>, what: &str) {
    let store = open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    if store.applied() == Height::new(BASE) {
        check_served_above(&store, toy, BASE, BASE);
    } else {
        assert_eq!(store.applied(), Height::new(700), "{what}");
        check_live(&store, old);
        check_served(&store, toy, HEAD);
        assert_eq!(store.survey(held).unwrap(), vec![Holding::Held; held.len()], "{what}");
        target.fetch_into(&store, 100);
        let activation = store.activate(&target.base(toy, BASE, BASE + 10)).unwrap();
        assert_eq!(activation, Activation::Activated, "{what}");
    }
    check_live(&store, target);
    drop(store);
    let store = open(dir).unwrap_or_else(|error| panic!("{what}, opened again: {error}"));
    check_live(&store, target);
    check_served_above(&store, toy, BASE, BASE);
    append_all(&store, &following_base(toy));
    check_served_above(&store, toy, BASE, 1500);
}

fn following_base(toy: &Toy) -> Vec<hotstuff2_sync::calls::Apply> {
    let range = super::toy::range;
    [(BASE + 1, 1400), (1401, 1500)]
        .map(|(first, last)| super::toy::apply(vec![toy.part(range(first, last), range(first, last), 32)]))
        .into()
}

#[test]
fn kill_at_every_write_of_a_download() {
    let old = Peer::new(0..400);
    let mut first = old.clone();
    first.set(0..8, "second");
    first.set(400..700, "first");
    let mut target = first.clone();
    target.set(3..6, "third");
    target.delete([500, 501, 502]);
    let places = all_places(4);
    let target_hashes: Vec<_> = places.iter().filter(|place| first.item(**place) != target.item(**place)).collect();
    assert!(!target_hashes.is_empty() && target_hashes.len() < places.len());
    let calls = [
        // Some of it is live.
        Call::Survey(&first, all_places(4)),
        Call::Stage(&first, places[..6].to_vec()),
        Call::Stage(&first, places[6..7].to_vec()),
        Call::Empty(places[7]),
        // The target moves: places above, below and beside what is staged.
        Call::Stage(&target, vec![places[0], all_places(6)[5], all_places(3)[1]]),
        Call::Survey(&target, all_places(5)),
        Call::Stage(&target, places.clone()),
        Call::Activate(&target),
    ];
    let steps = kill_at_every_write(&calls, &old, &target);
    for step in [Step::Commit, Step::Committed, Step::Switch, Step::Remove] {
        assert!(steps.contains(&step), "{step:?}");
    }
    assert!(steps.len() > 30, "{}", steps.len());
}

/// Subtrees that take several batches: the ones that come before the last don't count.
#[test]
fn kill_at_every_write_of_large_subtrees() {
    let old = Peer::new(0..300);
    let mut target = old.clone();
    target.set([2000], "second");
    let mut other = target.clone();
    other.set(0..400, "third");
    let calls = [
        Call::Stage(&other, vec![Prefix::ROOT]),
        Call::Empty(all_places(1)[0]),
        Call::Stage(&other, vec![all_places(1)[0]]),
        Call::Survey(&target, all_places(2)),
        Call::Stage(&target, vec![Prefix::ROOT]),
        Call::Activate(&target),
    ];
    let steps = kill_at_every_write(&calls, &old, &target);
    let commits = steps.iter().filter(|step| **step == Step::Commit).count();
    assert!(commits > calls.len() + 5, "{commits}");
}

/// A full disk at every step: the call fails, and goes through when there is space again.
#[test]
fn a_full_disk_loses_nothing_of_a_download() {
    let toy = toy();
    let old = Peer::new(0..200);
    let mut target = old.clone();
    target.set(100..400, "second");
    let calls = [Call::Survey(&target, all_places(6)), Call::Stage(&target, all_places(4)), Call::Activate(&target)];
    let mut failures = 0;
    for nth in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path(), &toy);
        append_all(&store, &following(&toy, 100)[..8]);
        execute(&store, &old, 700);
        let left = Arc::new(Mutex::new(Some(nth)));
        let counter = left.clone();
        store.steps.set(Some(Box::new(move |_, _| {
            let mut left = counter.lock().unwrap();
            match left.as_mut() {
                Some(0) => {
                    *left = None;
                    Err(std::io::ErrorKind::StorageFull.into())
                }
                Some(left) => {
                    *left -= 1;
                    Ok(())
                }
                None => Ok(()),
            }
        })));
        for call in &calls {
            let failed = match call {
                Call::Activate(peer) => store.activate(&peer.base(&toy, BASE, BASE + 10)).err(),
                Call::Stage(peer, places) => {
                    store.stage(&places.iter().map(|place| peer.leaves(*place)).collect::<Vec<_>>()).err()
                }
                Call::Survey(peer, places) => {
                    store.survey(&places.iter().map(|place| peer.item(*place)).collect::<Vec<_>>()).err()
                }
                Call::Empty(_) => None,
            };
            if let Some(error) = failed {
                assert!(error.is_transient(), "{error}");
                failures += 1;
                call.run(&store, &toy);
            }
        }
        check_live(&store, &target);
        check_served_above(&store, &toy, BASE, BASE);
        assert_eq!(store.stored(), toy.point(BASE));
        if left.lock().unwrap().is_some() {
            assert!(failures > 10, "{failures}");
            return;
        }
    }
}
