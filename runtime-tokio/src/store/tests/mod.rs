//! Tests of the store, against a chain without signatures.

mod backup;
mod blocks;
mod crash;
mod creation;
mod damage;
mod first_state;
mod history;
mod memory;
mod odd_files;
mod prune;
mod rebase;
mod serving;
mod snapshots;
mod staging;
mod staging_crash;
mod state;
mod toy;

use std::path::Path;
use std::sync::Arc;

use hotstuff2_sync::calls::Apply;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::ChainReader as _;

use super::{BlockStore as _, DiskStore, OpenError};
use toy::{Toy, ToyChain, apply, range};

type Store = DiskStore<ToyChain>;

fn create(dir: &Path, toy: &Toy) -> Store {
    let store = Store::create(dir, Arc::new(ToyChain), &toy.anchor()).unwrap();
    store.put_handovers(&toy.handovers()).unwrap();
    store
}

fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(dir, Arc::new(ToyChain), None)
}

/// Three cells, the second one cut by the end of an epoch: 1..=1023, 1024..=1500, 1501..=2047, 2048..=2600.
fn toy() -> Arc<Toy> {
    Toy::new(&[1500, 2600], |height| (height % 7) as usize * 10)
}

const CELLS: [(u64, u64); 4] = [(1, 1023), (1024, 1500), (1501, 2047), (2048, 2600)];

/// Whole cells in batches that begin and end within them.
fn bulk(toy: &Toy) -> Vec<Apply> {
    let cell = |index: usize| range(CELLS[index].0, CELLS[index].1);
    vec![
        apply(vec![toy.part(cell(0), range(1, 300), 100)]),
        apply(vec![toy.part(cell(0), range(301, 700), 100)]),
        apply(vec![toy.part(cell(0), range(701, 1023), 100), toy.part(cell(1), range(1024, 1100), 50)]),
        apply(vec![
            toy.part(cell(1), range(1101, 1500), 64),
            toy.part(cell(2), range(1501, 2047), 64),
            toy.part(cell(3), range(2048, 2300), 1),
        ]),
        apply(vec![toy.part(cell(3), range(2301, 2600), 64)]),
    ]
}

/// Small segments, as they come near the tip.
fn following(toy: &Toy, step: u64) -> Vec<Apply> {
    let mut applies = Vec::new();
    for (first, last) in CELLS {
        let mut first = first;
        while first <= last {
            let end = last.min(first + step - 1);
            applies.push(apply(vec![toy.part(range(first, end), range(first, end), 32)]));
            first = end + 1;
        }
    }
    applies
}

fn append_all(store: &Store, applies: &[Apply]) {
    for apply in applies {
        store.append(apply).unwrap();
    }
}

/// The store holds exactly the blocks up to `head`, and serves all of them.
fn check_served(store: &Store, toy: &Toy, head: u64) {
    assert_eq!(store.stored(), toy.point(head));
    let mut height = 1;
    while height <= head {
        let mut out = Vec::new();
        assert!(store.bodies(range(height, toy.last()), 4000, &mut out).unwrap(), "bodies from {height}");
        height = toy.check_bodies(out.into(), height);
    }
    assert_eq!(height, head + 1);
    let mut out = vec![1, 2, 3];
    assert!(!store.bodies(HeightRange::single(Height::new(head + 1)), 1, &mut out).unwrap());
    assert_eq!(out, [1, 2, 3]);
}

fn file_names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("segments")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
