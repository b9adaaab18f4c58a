//! Time that the store of a node takes: to append, check and serve blocks, to stage, activate and load a state, and to
//! commit what an application has changed while snapshots are kept. `cargo bench -p hotstuff2-sync-tokio --bench store`.
//!
//! The folder for temporary files is on the disk that is measured, or `HS2_BENCH_DIR` names one. Where `HS2_SMALL_DIR`
//! names a folder on a small file system (`mount -t tmpfs -o size=24m none DIR`), it is filled with blocks and state and
//! freed little by little, and everything must go on.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hotstuff2_sync::calls::{Apply, ApplyPart, BlockPoint, Holding, SnapshotBase};
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::state::{
    PageBuilder, PageKey, Prefix, Record, StateItem, StateLeaves, key_hash, subtree_hash, value_hash,
};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::ledger::{DEFAULT_ACCOUNTS, Ledger, TOUCHED_KEYS, transfers};
use hotstuff2_sync_tokio::store::{
    Activation, BlockStore as _, DiskStore, LiveState, SnapshotRetention, StateSpace, StateStaging as _,
    StateStore as _, StateWrite, StoreAnchor, StoreFailure, state_rows,
};
use tempfile::TempDir;

/// Blocks of the chain: eight whole grid cells, about 8 MiB of payload.
const BLOCKS: u64 = 8 * 1024 - 1;
/// Payload bytes of each.
const PAYLOAD: u32 = 1024;
/// Blocks that are served at once where pieces are small.
const FEW: u64 = 3;

/// Keys of the state that is staged, with values of 100 bytes.
const KEYS: usize = 100_000;
/// Bits of a subtree: some 390 keys.
const DEPTH: u16 = 8;
/// Subtrees that are staged by one call.
const SUBTREES_AT_ONCE: usize = 16;
/// Keys that differ in the changed state, each in a subtree of its own: a twentieth of the subtrees.
const CHANGED: usize = 12;
/// Bytes of writes that are committed at once when a state is loaded.
const LOADED_AT_ONCE: usize = 8 << 20;

/// Blocks that the ledger executes.
const EXECUTED: u64 = 8000;
/// Most blocks between two commits of the ledger.
const COMMIT_BLOCKS: u64 = 2048;
/// Memory that the ledger keeps of its state between commits.
const LEDGER_BYTES: usize = 96 << 20;

/// Blocks that are stored on a small file system, of 300 bytes each.
const SMALL_BLOCKS: u64 = 20_000;
/// Failures after which the test gives up, each but the fourth without anything being freed.
const MOST_FAILURES: u32 = 1000;

type Store = DiskStore<NativeChain>;

/// A store in a folder of its own, which goes with it.
struct Fresh {
    store: Arc<Store>,
    _folder: TempDir,
}

impl Fresh {
    fn new(chain: &TestChain) -> Self {
        Self::with(chain, &StoreAnchor::from(chain.genesis()))
    }

    fn with(chain: &TestChain, anchor: &StoreAnchor) -> Self {
        let root = std::env::var_os("HS2_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::tempdir_in(root).expect("a folder can be made");
        let store = DiskStore::create(folder.path(), Arc::new(chain.chain()), anchor).expect("the store can be made");
        Self { store: Arc::new(store), _folder: folder }
    }
}

fn chain(blocks: u64, payload: u32) -> TestChain {
    let spec = ChainSpec { blocks, epochs: 1, ..ChainSpec::default() };
    TestChain::with_payloads(spec, payload, None).expect("the chain can be made")
}

fn apply(parts: &[ApplyPart]) -> Apply {
    Apply { target: Height::ZERO, parts: parts.to_vec(), tip: None }
}

fn blocks(criterion: &mut Criterion) {
    let chain = chain(BLOCKS, PAYLOAD);
    let mut group = criterion.benchmark_group("store of 8,191 blocks of 1 KiB");
    group.sample_size(10).throughput(Throughput::Elements(BLOCKS));
    for cells in [1, 8] {
        let applies: Vec<Apply> = chain.parts().chunks(cells).map(apply).collect();
        group.bench_function(format!("appended durably, {cells} MiB at a time"), |bencher| {
            bencher.iter_batched_ref(
                || Fresh::new(&chain),
                |fresh| applies.iter().for_each(|apply| fresh.store.append(apply).expect("the disk has room")),
                BatchSize::PerIteration,
            );
        });
    }
    let Fresh { store, _folder } = Fresh::new(&chain);
    store.append(&apply(chain.parts())).expect("the disk has room");
    group.bench_function("checked", |bencher| {
        bencher.iter(|| store.check(|_| ()).expect("it is whole"));
    });
    let pieces = |most: u64| -> Vec<HeightRange> {
        let cells = chain.parts().iter().map(|part| part.segment.range());
        let cut = |cell: HeightRange| {
            let firsts = (cell.first().get()..=cell.last().get()).step_by(most as usize);
            firsts.filter_map(move |first| {
                HeightRange::new(Height::new(first), Height::new(first + most - 1).min(cell.last()))
            })
        };
        cells.flat_map(cut).collect()
    };
    for (name, most) in [("a cell at a time", u64::from(u32::MAX)), ("3 blocks at a time", FEW)] {
        let pieces = pieces(most);
        group.bench_function(format!("served, {name}"), |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                for &range in &pieces {
                    out.clear();
                    assert!(store.bodies(range, u32::MAX, &mut out).expect("the disk can be read"), "{range:?}");
                }
            });
        });
    }
    group.finish();
}

/// A state in every form that it takes.
struct State {
    root: Hash,
    subtrees: Vec<StateLeaves>,
    rows: Vec<StateWrite>,
}

impl State {
    /// The state that all measurements begin with, or one that differs from it in [`CHANGED`] keys.
    fn new(changed: bool) -> Self {
        let mut rng = Rng::new(1);
        let mut records: Vec<(Hash, Record)> = (0..KEYS)
            .map(|number| {
                let mut value = [0; 100];
                rng.fill(&mut value);
                let record = Record::new(format!("account {number:012}").as_bytes(), &value).expect("a short record");
                (key_hash(record.key()), record)
            })
            .collect();
        records.sort_unstable_by_key(|(key, _)| *key);
        for (_, record) in records.iter_mut().step_by(KEYS.div_ceil(CHANGED)).filter(|_| changed) {
            *record = Record::new(record.key(), b"changed").expect("a short record");
        }
        let leaves: Vec<_> = records.iter().map(|(key, record)| (*key, value_hash(record.value()))).collect();
        let mut builder = PageBuilder::new();
        leaves.iter().for_each(|(key, value)| builder.push(*key, *value).expect("keys come in order"));
        let (root, _, pages) = builder.finish();
        let records: Vec<(Hash, Bytes)> =
            records.iter().map(|(key, record)| (*key, record.as_bytes().clone())).collect();
        let subtrees = (0..=u8::MAX)
            .map(|first| {
                let mut path = [0; 32];
                path[0] = first;
                let prefix = Prefix::new(Hash::from_bytes(path), DEPTH).expect("a place");
                let from = leaves.partition_point(|(key, _)| *key < prefix.first());
                let to = leaves.partition_point(|(key, _)| *key <= prefix.last());
                let hash = subtree_hash(&prefix, &leaves[from..to]);
                StateLeaves { item: StateItem { prefix, hash }, records: records[from..to].to_vec() }
            })
            .collect();
        Self { root, subtrees, rows: rows(&records, pages) }
    }

    /// Loads the state without any check, as an application would that has it.
    fn load(&self, store: &Store) {
        let (mut from, mut bytes) = (0, 0);
        for (number, (_, key, value)) in self.rows.iter().enumerate() {
            bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            if bytes > LOADED_AT_ONCE {
                let mut rows = self.rows[from..number].iter().cloned();
                store.commit(Height::ZERO, &mut rows).expect("the disk has room");
                (from, bytes) = (number, 0);
            }
        }
        store.commit(Height::new(1), &mut self.rows[from..].iter().cloned()).expect("the disk has room");
        store.persist().expect("the disk has room");
    }

    /// Stages what `store` does not hold of the state, and makes it the live one.
    fn stage(&self, store: &Store, chain: &TestChain) {
        for subtrees in self.subtrees.chunks(SUBTREES_AT_ONCE) {
            let items: Vec<StateItem> = subtrees.iter().map(|subtree| subtree.item).collect();
            let held = store.survey(&items).expect("the disk can be read");
            let missing = subtrees.iter().zip(held).filter(|(_, held)| *held != Holding::Held);
            let missing: Vec<StateLeaves> = missing.map(|(subtree, _)| subtree.clone()).collect();
            store.stage(&missing).expect("the disk has room");
        }
        let segment = chain.parts().get(1).expect("the chain has two cells").segment.clone();
        let height = segment.range().first();
        let point = BlockPoint { height, id: chain.id(height).expect("the chain has the block") };
        let base = SnapshotBase { point, state_root: self.root, segment, tip: None };
        assert_eq!(store.activate(&base).expect("the disk has room"), Activation::Activated);
    }
}

fn rows(records: &[(Hash, Bytes)], pages: Vec<(PageKey, Vec<u8>)>) -> Vec<StateWrite> {
    let values = records
        .iter()
        .map(|(key, record)| (StateSpace::Values, Bytes::copy_from_slice(key.as_bytes()), Some(record.clone())));
    let pages = pages.into_iter().map(|(key, page)| (StateSpace::Pages, key.to_bytes().into(), Some(page.into())));
    values.chain(pages).collect()
}

fn states(criterion: &mut Criterion) {
    let chain = chain(2047, 10);
    let (state, changed) = (State::new(false), State::new(true));
    let mut group = criterion.benchmark_group("store of 100,000 keys");
    group.sample_size(10).throughput(Throughput::Elements(KEYS as u64));
    let fresh = || Fresh::new(&chain);
    group.bench_function("loaded, nothing checked", |bencher| {
        bencher.iter_batched_ref(fresh, |fresh| state.load(&fresh.store), BatchSize::PerIteration);
    });
    group.bench_function("staged and activated", |bencher| {
        bencher.iter_batched_ref(fresh, |fresh| state.stage(&fresh.store, &chain), BatchSize::PerIteration);
    });
    let loaded = || {
        let fresh = Fresh::new(&chain);
        state.load(&fresh.store);
        fresh
    };
    group.bench_function("a twentieth has changed: staged and activated", |bencher| {
        bencher.iter_batched_ref(loaded, |fresh| changed.stage(&fresh.store, &chain), BatchSize::PerIteration);
    });
    group.finish();
}

/// CPU time of this process, the database's own thread included: other processes don't disturb it much.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn commits(criterion: &mut Criterion) {
    let chain = chain(1, 0);
    let mut rng = Rng::new(1);
    let payloads: Vec<_> = (0..EXECUTED).map(|_| transfers(&mut rng, DEFAULT_ACCOUNTS, TOUCHED_KEYS, 1024)).collect();
    let mut group = criterion.benchmark_group("commits of 8,000 blocks of the ledger, CPU time");
    group.sample_size(10).throughput(Throughput::Elements(EXECUTED));
    for (name, interval, count) in [
        ("no snapshots kept", 4000, 0),
        ("a snapshot every 4,000 blocks, 2 kept", 4000, 2),
        ("a snapshot every 1,000 blocks, 2 kept", 1000, 2),
    ] {
        let interval = NonZeroU64::new(interval).expect("not zero");
        let anchor = StoreAnchor { snapshot_interval: interval, ..StoreAnchor::from(chain.genesis()) };
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let committed = (0..rounds).map(|_| {
                    let fresh = Fresh::with(&chain, &anchor);
                    let retention = SnapshotRetention { count, max_age: None };
                    fresh.store.set_snapshot_retention(retention).expect("the disk has room");
                    commit_all(&fresh.store, &payloads, interval.get())
                });
                committed.sum()
            });
        });
    }
    group.finish();
}

/// Executes blocks as the ledger's application does. Returns the time that commits took.
fn commit_all(store: &Arc<Store>, payloads: &[Vec<u8>], interval: u64) -> Duration {
    let mut ledger = Ledger::genesis(LiveState::new(Arc::clone(store)), DEFAULT_ACCOUNTS).expect("the state is whole");
    let commit = |ledger: &mut Ledger<LiveState<_>>, height| {
        let rows: Vec<_> = state_rows(ledger.take_writes()).collect();
        let begun = cpu_time();
        store.commit(Height::new(height), &mut rows.into_iter()).expect("the disk has room");
        let took = cpu_time().saturating_sub(begun);
        ledger.evict(LEDGER_BYTES);
        took
    };
    commit(&mut ledger, 0);
    let (mut all, mut committed) = (Duration::ZERO, 0);
    for (height, payload) in (1..).zip(payloads) {
        ledger.execute(payload).expect("the state is whole");
        if height % interval == 0 || height - committed >= COMMIT_BLOCKS {
            all += commit(&mut ledger, height);
            committed = height;
        }
    }
    all
}

fn full_disk(criterion: &mut Criterion) {
    let Some(root) = std::env::var_os("HS2_SMALL_DIR").map(PathBuf::from) else { return };
    let chain = chain(SMALL_BLOCKS, 300);
    let mut group = criterion.benchmark_group("store on a full disk");
    group.sample_size(10).throughput(Throughput::Elements(SMALL_BLOCKS));
    for ballast_mib in [17, 19] {
        group.bench_function(format!("{ballast_mib} MiB are not free"), |bencher| {
            bencher.iter_batched(|| (), |()| fill(&root, &chain, ballast_mib << 20), BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// Stores all blocks of `chain` in `root`, of which `ballast` bytes are taken and freed whenever it takes that.
fn fill(root: &Path, chain: &TestChain, ballast: usize) {
    let (dir, ballast_file) = (root.join("store"), root.join("ballast"));
    let rules = Arc::new(chain.chain());
    let store =
        DiskStore::create(&dir, Arc::clone(&rules), &StoreAnchor::from(chain.genesis())).expect("there is room");
    fs::write(&ballast_file, vec![1; ballast]).expect("there is room");
    let mut failures = 0;
    let mut free = |error: &StoreFailure| {
        assert!(error.is_transient(), "{error}");
        failures += 1;
        assert!(failures < MOST_FAILURES, "{error}");
        // Not at once: the first retries find the disk as full as it was.
        if failures % 4 == 0 {
            let file = fs::File::options().write(true).open(&ballast_file).expect("the ballast is there");
            let left = file.metadata().expect("the ballast is there").len().saturating_sub(1 << 20);
            file.set_len(left).expect("a file can be cut");
        }
    };
    for part in chain.parts() {
        for frame in &part.frames {
            let part = ApplyPart { frames: vec![frame.clone()], ..part.clone() };
            let (apply, last) = (apply(&[part]), frame.range.last());
            while let Err(error) = store.append(&apply) {
                assert!(store.stored().height < last, "nothing of it counts");
                free(&error);
            }
            while let Err(error) = store.commit(last, &mut writes(last)) {
                free(&error);
            }
        }
    }
    assert!(failures > 0, "the file system is too large");
    store.check(|_| ()).expect("it is whole");
    drop(store);
    let store = DiskStore::open(&dir, rules, None).expect("it is whole");
    assert_eq!(store.stored().height, chain.tip_height());
    drop(store);
    fs::remove_dir_all(dir).expect("it can be removed");
}

/// Some values, other ones at each height.
fn writes(height: Height) -> impl Iterator<Item = StateWrite> {
    (0..40u8).map(move |number| {
        let key = key_hash(format!("{number} at {height}").as_bytes());
        (StateSpace::Values, Bytes::copy_from_slice(key.as_bytes()), Some(Bytes::from(vec![number; 200])))
    })
}

criterion_group!(benches, blocks, states, commits, full_disk);
criterion_main!(benches);
