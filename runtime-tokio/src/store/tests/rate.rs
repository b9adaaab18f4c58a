//! How fast blocks become durable, and what a disk that is really full does. Not run by default: the first is a figure,
//! and the second needs a small file system (`mount -t tmpfs -o size=24m none DIR`). Full disks at every single step
//! are played in `crash`.

use std::time::Instant;

use bytes::Bytes;

use super::toy::{Toy, apply, range};
use super::{check_served, create};
use crate::store::{BlockStore as _, StateSpace, StateStore as _, StoreFailure};

#[test]
#[ignore = "a measurement: cargo test --release -p hotstuff2-sync-tokio --lib append_rate -- --ignored --nocapture"]
fn append_rate() {
    const BLOCKS: u64 = 100_000;
    let root = std::env::var_os("STORE_RATE_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(root).unwrap();
    let toy = Toy::new(&[BLOCKS], |_| 1024);
    let mut parts = Vec::new();
    let mut first = 1;
    while first <= BLOCKS {
        let last = BLOCKS.min(first / 1024 * 1024 + 1023);
        parts.push(toy.part(range(first, last), range(first, last), 256));
        first = last + 1;
    }
    for cells in [8, 1] {
        let dir = dir.path().join(format!("{cells}"));
        let store = create(&dir, &toy);
        let applies: Vec<_> = parts.chunks(cells).map(|parts| apply(parts.to_vec())).collect();
        let before = resident_kib();
        let start = Instant::now();
        let mut slowest = std::time::Duration::ZERO;
        for apply in &applies {
            let start = Instant::now();
            store.append(apply).unwrap();
            slowest = slowest.max(start.elapsed());
        }
        let took = start.elapsed();
        let seconds = took.as_secs_f64();
        println!(
            "{BLOCKS} blocks of 1 KiB, {cells} MiB a batch: {seconds:.3} s, {:.0} blocks/s, {:.0} MiB/s, batch {:.1} ms, slowest {:.1} ms",
            BLOCKS as f64 / seconds,
            BLOCKS as f64 / 1024.0 / seconds,
            seconds * 1000.0 / applies.len() as f64,
            slowest.as_secs_f64() * 1000.0,
        );
        println!("memory: {before} KiB before, {} KiB after", resident_kib());
        let start = Instant::now();
        let report = store.check(|_| ()).unwrap();
        println!("check: {report:?} in {:.3} s", start.elapsed().as_secs_f64());
        let start = Instant::now();
        check_served(&store, &toy, BLOCKS);
        println!("served in pieces of 4 KB: {:.3} s", start.elapsed().as_secs_f64());
        let start = Instant::now();
        let mut out = Vec::new();
        for part in &parts {
            out.clear();
            hotstuff2_sync::serve::ChainReader::bodies(&store, part.range().unwrap(), u32::MAX, &mut out).unwrap();
        }
        println!("served in pieces of 1 MiB: {:.3} s", start.elapsed().as_secs_f64());
    }
}

/// Staging and activation against loading the same values and pages into the same store, with nobody to verify.
#[test]
#[ignore = "a measurement: cargo test --release -p hotstuff2-sync-tokio --lib staging_rate -- --ignored --nocapture"]
fn staging_rate() {
    use hotstuff2_sync::calls::{Holding, SnapshotBase};
    use hotstuff2_sync::hash::Hash;
    use hotstuff2_sync::ids::Height;
    use hotstuff2_sync::state::{
        PageBuilder, Prefix, Record, StateItem, StateLeaves, key_hash, subtree_hash, value_hash,
    };

    use crate::store::{Activation, StateStaging as _};

    const KEYS: u64 = 1_000_000;
    /// 512 records of about 140 bytes.
    const DEPTH: u16 = 11;
    const SUBTREES_AT_ONCE: usize = 64;
    let root = std::env::var_os("STORE_RATE_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(root).unwrap();
    let toy = Toy::new(&[2000], |_| 10);
    let mut records: Vec<(Hash, Bytes)> = (0..KEYS)
        .map(|number| {
            let mut value = [0; 100];
            for (index, byte) in value.iter_mut().enumerate() {
                *byte = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (index % 8 * 8)) as u8 ^ index as u8;
            }
            let record = Record::new(format!("account {number:012}").as_bytes(), &value).unwrap();
            (key_hash(record.key()), record.as_bytes().clone())
        })
        .collect();
    records.sort_unstable_by_key(|(key, _)| *key);
    let leaf = |(key, record): &(Hash, Bytes)| (*key, value_hash(Record::decode(record.clone()).unwrap().value()));
    let leaves: Vec<(Hash, Hash)> = records.iter().map(leaf).collect();
    let mut builder = PageBuilder::new();
    leaves.iter().for_each(|(key, value)| builder.push(*key, *value).unwrap());
    let (state_root, count, pages) = builder.finish();
    assert_eq!(count, KEYS);
    let subtrees: Vec<StateLeaves> = (0..1u16 << DEPTH)
        .map(|number| {
            let mut path = [0; 32];
            path[..2].copy_from_slice(&(number << (16 - DEPTH)).to_be_bytes());
            let prefix = Prefix::new(Hash::from_bytes(path), DEPTH).unwrap();
            let from = leaves.partition_point(|(key, _)| *key < prefix.first());
            let to = leaves.partition_point(|(key, _)| *key <= prefix.last());
            let hash = subtree_hash(&prefix, &leaves[from..to]);
            StateLeaves { item: StateItem { prefix, hash }, records: records[from..to].to_vec() }
        })
        .collect();
    for round in 0..2 {
        let store = create(&dir.path().join(format!("staged-{round}")), &toy);
        let before = resident_kib();
        let (mut most, mut surveying) = (before, 0.0);
        let start = Instant::now();
        for call in subtrees.chunks(SUBTREES_AT_ONCE) {
            let items: Vec<StateItem> = call.iter().map(|subtree| subtree.item).collect();
            let asked = Instant::now();
            store.survey(&items).unwrap();
            surveying += asked.elapsed().as_secs_f64();
            store.stage(call).unwrap();
            most = most.max(resident_kib());
        }
        let staged = start.elapsed().as_secs_f64();
        let segment = toy.segment(range(1000, 1000), true, b"");
        let base = SnapshotBase { point: toy.point(1000), state_root, segment, tip: None };
        assert_eq!(store.activate(&base).unwrap(), Activation::Activated);
        let total = start.elapsed().as_secs_f64();
        println!(
            "staged in {staged:.3} s (surveys {surveying:.3} s), activated in {:.3} s: {:.0} pairs/s; memory {} KiB, at most {} KiB more, then {} KiB more",
            total - staged,
            KEYS as f64 / total,
            before,
            most - before,
            resident_kib() - before
        );
        drop(store);

        let store = create(&dir.path().join(format!("loaded-{round}")), &toy);
        let mut writes = Vec::new();
        let all = records
            .iter()
            .map(|(key, record)| (StateSpace::Values, Bytes::copy_from_slice(key.as_bytes()), Some(record.clone())));
        let pages =
            pages.iter().map(|(key, page)| (StateSpace::Pages, key.to_bytes().into(), Some(page.clone().into())));
        let start = Instant::now();
        let mut bytes = 0;
        for write in all.chain(pages) {
            bytes += write.1.len() + write.2.as_ref().map_or(0, Bytes::len);
            writes.push(write);
            if bytes > 8 << 20 {
                store.commit(Height::new(0), &mut writes.drain(..)).unwrap();
                bytes = 0;
            }
        }
        store.commit(Height::new(1), &mut writes.drain(..)).unwrap();
        store.persist().unwrap();
        let total = start.elapsed().as_secs_f64();
        println!("loaded in {total:.3} s: {:.0} pairs/s", KEYS as f64 / total);

        // A twentieth of the subtrees has changed since.
        let (mut builder, mut changed) = (PageBuilder::new(), 0u64);
        let target = subtrees.iter().enumerate().map(|(number, subtree)| {
            let mut subtree = subtree.clone();
            if number % 20 == 0 {
                let (key, record) = subtree.records[0].clone();
                let record = Record::new(Record::decode(record).unwrap().key(), b"changed").unwrap();
                subtree.records[0] = (key, record.as_bytes().clone());
            }
            let leaves: Vec<_> = subtree.records.iter().map(leaf).collect();
            leaves.iter().for_each(|(key, value)| builder.push(*key, *value).unwrap());
            subtree.item.hash = subtree_hash(&subtree.item.prefix, &leaves);
            subtree
        });
        let target: Vec<StateLeaves> = target.collect();
        let (state_root, ..) = builder.finish();
        let start = Instant::now();
        for call in target.chunks(SUBTREES_AT_ONCE) {
            let items: Vec<StateItem> = call.iter().map(|subtree| subtree.item).collect();
            let held = store.survey(&items).unwrap();
            for (subtree, _) in call.iter().zip(held).filter(|(_, held)| *held != Holding::Held) {
                store.stage(std::slice::from_ref(subtree)).unwrap();
                changed += 1;
            }
        }
        let staged = start.elapsed().as_secs_f64();
        let segment = toy.segment(range(1000, 1000), true, b"");
        let base = SnapshotBase { point: toy.point(1000), state_root, segment, tip: None };
        assert_eq!(store.activate(&base).unwrap(), Activation::Activated);
        let activated = start.elapsed().as_secs_f64() - staged;
        println!("{changed} changed subtrees: staged in {staged:.3} s, activated in {activated:.3} s");
        // The old tables went while they were being flushed and merged: that must not show later.
        std::thread::sleep(std::time::Duration::from_secs(2));
        let some = target.iter().flat_map(|subtree| &subtree.records).take(100_000);
        let writes = some
            .map(|(key, record)| (StateSpace::Values, Bytes::copy_from_slice(key.as_bytes()), Some(record.clone())));
        store.commit(Height::new(1001), &mut writes.into_iter()).unwrap();
        store.persist().unwrap();
        drop(store);
        let store = super::open(&dir.path().join(format!("loaded-{round}"))).unwrap();
        let live = store.live_state().unwrap();
        assert_eq!(hotstuff2_sync::state::subtree(&live, &Prefix::ROOT).unwrap(), (state_root, KEYS));
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Fills a small file system with blocks and state, then frees some of it: everything goes on.
#[test]
#[ignore = "needs STORE_SMALL_DIR, a directory on a file system of about 24 MiB"]
fn a_really_full_disk() {
    let root = std::path::PathBuf::from(std::env::var_os("STORE_SMALL_DIR").expect("STORE_SMALL_DIR"));
    let ballast = root.join("ballast");
    for (ballast_mib, step) in [(14, 1023), (14, 100), (17, 1023), (19, 50)] {
        let toy = Toy::new(&[20_000], |_| 300);
        let dir = root.join("store");
        let store = create(&dir, &toy);
        std::fs::write(&ballast, vec![1; ballast_mib << 20]).unwrap();
        let (mut height, mut failures, mut state_failures) = (0, 0, 0);
        while height < 20_000 {
            let first = height + 1;
            let last = (first / 1024 * 1024 + 1023).min(first + step - 1).min(20_000);
            let apply = apply(vec![toy.part(range(first, last), range(first, last), 50)]);
            let writes = || {
                (0..40u64).map(move |n| {
                    let key = super::super::records::check_of(&(n * 7919 + first).to_le_bytes());
                    let value = vec![u8::try_from(n).unwrap(); 200].into();
                    (StateSpace::Values, Bytes::copy_from_slice(key.as_bytes()), Some(value))
                })
            };
            let free = |failures: &mut u64, error: &StoreFailure| {
                assert!(error.is_transient(), "{error}");
                assert_eq!(store.stored(), toy.point(store.stored().height.get()));
                *failures += 1;
                assert!(*failures < 1000, "{error}");
                // Not at once: the first retries find the disk as full as it was.
                if failures.is_multiple_of(4) {
                    let file = std::fs::File::options().write(true).open(&ballast).unwrap();
                    file.set_len(file.metadata().unwrap().len().saturating_sub(1 << 20)).unwrap();
                }
            };
            while let Err(error) = store.append(&apply) {
                free(&mut failures, &error);
            }
            while let Err(error) = store.commit(store.stored().height, &mut writes()) {
                free(&mut state_failures, &error);
            }
            height = last;
        }
        println!(
            "{ballast_mib} MiB, steps of {step}: {failures} appends and {state_failures} commits failed and went through later"
        );
        assert!(failures + state_failures > 0);
        check_served(&store, &toy, 20_000);
        store.check(|_| ()).unwrap();
        drop(store);
        check_served(&super::open(&dir).unwrap(), &toy, 20_000);
        std::fs::remove_dir_all(dir).unwrap();
    }
}

/// Cost of snapshots for a node that executes blocks: the demo ledger with all of its accounts, committed as its
/// application does.
#[test]
#[ignore = "a measurement: cargo test -p hotstuff2-sync-tokio --lib state_commit_rate -- --ignored --nocapture"]
fn state_commit_rate() {
    use std::sync::Arc;
    use std::time::Duration;

    use hotstuff2_sync::ids::Height;
    use hotstuff2_sync::rng::Rng;
    use hotstuff2_sync_testkit::ledger::{DEFAULT_ACCOUNTS, Ledger, TOUCHED_KEYS, transfers};

    use crate::store::{DiskStore, SnapshotRetention, StoreAnchor};
    use crate::store::{LiveState, state_rows};

    const BLOCKS: u64 = 20_000;
    const COMMIT_BLOCKS: u64 = 2048;
    let mut rng = Rng::new(1);
    let payloads: Vec<_> = (0..BLOCKS).map(|_| transfers(&mut rng, DEFAULT_ACCOUNTS, TOUCHED_KEYS, 1024)).collect();
    for (interval, count) in [(5_000, 0), (10_000, 2), (5_000, 2), (1_000, 2), (5_000, 0), (10_000, 2), (5_000, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let anchor = StoreAnchor {
            snapshot_interval: std::num::NonZeroU64::new(interval).unwrap(),
            ..Toy::new(&[1], |_| 0).anchor()
        };
        let store = Arc::new(DiskStore::create(dir.path(), Arc::new(super::toy::ToyChain), &anchor).unwrap());
        store.set_snapshot_retention(SnapshotRetention { count, max_age: None }).unwrap();
        let mut ledger = Ledger::genesis(LiveState::new(store.clone()), DEFAULT_ACCOUNTS).unwrap();
        let (mut executing, mut committing, mut committed) = (Duration::ZERO, Duration::ZERO, 0);
        let commit = |ledger: &mut Ledger<LiveState<_>>, height: u64| {
            let writes: Vec<_> = state_rows(ledger.take_writes()).collect();
            let start = cpu_time();
            store.commit(Height::new(height), &mut writes.into_iter()).unwrap();
            let took = cpu_time() - start;
            ledger.evict(96 << 20);
            took
        };
        let genesis = commit(&mut ledger, 0);
        for (height, payload) in (1..).zip(&payloads) {
            let start = cpu_time();
            ledger.execute(payload).unwrap();
            executing += cpu_time() - start;
            if height % interval == 0 || height - committed >= COMMIT_BLOCKS {
                committing += commit(&mut ledger, height);
                committed = height;
            }
        }
        println!(
            "a snapshot every {interval} blocks, {count} kept: genesis {:.0} ms, {BLOCKS} blocks executed in {:.3} s, committed in {:.3} s of CPU time, {:.0} blocks/s; {} KiB",
            genesis.as_secs_f64() * 1e3,
            executing.as_secs_f64(),
            committing.as_secs_f64(),
            BLOCKS as f64 / (executing + committing).as_secs_f64(),
            resident_kib(),
        );
    }
}

/// CPU time of this process, the database's own thread included: other processes don't disturb it much.
fn cpu_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
