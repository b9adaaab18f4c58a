//! What waits between two commits is bounded, whatever blocks do, and a node that is killed again and again gets on.

use std::path::Path;
use std::sync::{Arc, Mutex};

use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::state::{KeyValueState, MemoryStateStore};
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};

use super::*;
use crate::store::{DiskStore, LiveState, StateStore as _, StoreAnchor, state_rows};

const INTERVAL: NonZeroU64 = NonZeroU64::new(1_000_000).unwrap();

/// What a block puts in: so many values of 1 KiB, under keys of its own.
const KEYS: u64 = 100;
const BLOCKS: u64 = 700;
static PAYLOAD: [u8; 60_000] = [0; 60_000];

fn changes(height: Height) -> Vec<(Vec<u8>, Vec<u8>)> {
    let key = |number: u64| (height.get() * KEYS + number).to_le_bytes().to_vec();
    (0..KEYS).map(|number| (key(number), vec![height.get() as u8; 1024])).collect()
}

fn put<R: hotstuff2_sync::state::StateReader>(state: &mut KeyValueState<R>, height: Height) {
    let pairs = changes(height);
    state.apply(pairs.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
}

/// What was seen of an application.
#[derive(Default)]
struct Seen {
    commits: Vec<Height>,
    most_uncommitted: usize,
    /// Blocks that came as executed by the engine.
    adopted: Vec<Height>,
    /// Commits that it may still make; then all fail, as if it were dead.
    lives: Option<usize>,
}

/// Counts no blocks, and writes when it is told to.
struct Writer {
    state: KeyValueState<LiveState<DiskStore<NativeChain>>>,
    store: Arc<DiskStore<NativeChain>>,
    applied: Height,
    seen: Arc<Mutex<Seen>>,
}

impl Writer {
    fn open(store: &Arc<DiskStore<NativeChain>>, seen: &Arc<Mutex<Seen>>) -> Self {
        let state = KeyValueState::load(LiveState::new(Arc::clone(store))).unwrap();
        Self { state, store: Arc::clone(store), applied: store.applied(), seen: Arc::clone(seen) }
    }
}

impl Application for Writer {
    fn applied(&self) -> Height {
        self.applied
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        for block in blocks {
            put(&mut self.state, block.height);
            self.applied = block.height;
        }
        let most = &mut self.seen.lock().unwrap().most_uncommitted;
        *most = self.state.uncommitted().max(*most);
        Ok(())
    }

    fn adopt(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.seen.lock().unwrap().adopted.extend(blocks.iter().map(|block| block.height));
        self.execute(blocks)
    }

    fn uncommitted(&self) -> usize {
        self.state.uncommitted()
    }

    fn commit(&mut self) -> Result<(), ExecuteError> {
        let mut seen = self.seen.lock().unwrap();
        match &mut seen.lives {
            Some(0) => return Err(ExecuteError::Permanent("dead".into())),
            Some(lives) => *lives -= 1,
            None => {}
        }
        seen.commits.push(self.applied);
        self.store.commit(self.applied, &mut state_rows(self.state.take_writes())).unwrap();
        self.state.evict(COMMIT_BYTES);
        Ok(())
    }

    fn persist(&mut self) -> Result<(), ExecuteError> {
        self.commit()?;
        self.store.persist().unwrap();
        Ok(())
    }

    fn restore(&mut self, height: Height) -> Result<(), ExecuteError> {
        Err(ExecuteError::Permanent(format!("no state is fetched here, and yet one of {height} came").into()))
    }
}

fn genesis() -> Genesis {
    TestChain::new(ChainSpec { blocks: 1, epochs: 1, ..ChainSpec::default() }).unwrap().genesis().clone()
}

fn open(dir: &Path, genesis: &Genesis) -> Arc<DiskStore<NativeChain>> {
    Arc::new(DiskStore::open(dir, Arc::new(NativeChain::new(genesis)), None).unwrap())
}

fn create(dir: &Path, genesis: &Genesis) -> Arc<DiskStore<NativeChain>> {
    let chain = Arc::new(NativeChain::new(genesis));
    Arc::new(DiskStore::create(dir, chain, &StoreAnchor::from(genesis)).unwrap())
}

/// Executes all blocks that are left, in one call.
fn run(executor: &mut Executor) -> Result<(), ExecuteError> {
    let block = |height| AppBlock {
        height: Height::new(height),
        id: Hash::ZERO,
        timestamp: UnixMillis::default(),
        state_root: Hash::ZERO,
        payload: &PAYLOAD,
    };
    executor.execute(&(executor.applied().get() + 1..=BLOCKS).map(block).collect::<Vec<_>>())
}

fn root(store: &Arc<DiskStore<NativeChain>>) -> Hash {
    KeyValueState::load(LiveState::new(Arc::clone(store))).unwrap().root()
}

fn expected_root() -> Hash {
    let mut state = KeyValueState::load(MemoryStateStore::default()).unwrap();
    (1..=BLOCKS).for_each(|height| put(&mut state, Height::new(height)));
    state.root()
}

#[test]
fn work_between_durable_points_is_bounded_in_bytes() {
    let (folder, genesis) = (tempfile::tempdir().unwrap(), genesis());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let store = create(&folder.path().join("whole"), &genesis);
    let mut executor = Executor::new(Box::new(Writer::open(&store, &seen)), INTERVAL);
    run(&mut executor).unwrap();
    executor.persist().unwrap();
    assert_eq!((root(&store), store.applied()), (expected_root(), Height::new(BLOCKS)));
    let Seen { commits, most_uncommitted, .. } = &*seen.lock().unwrap();
    // Four of these blocks are a portion. A value of 1 KiB counts as a change, as growth, and with a page and what is
    // loaded beside it.
    let portion = 4 * KEYS as usize * 6144;
    assert!(*most_uncommitted < COMMIT_BYTES + portion, "{most_uncommitted}");
    assert!(commits.len() > 3, "{commits:?}");
    drop(executor);

    // It dies when it has committed twice, over and over: each life goes on from the last commit of the one before.
    let (dir, mut lives) = (folder.path().join("killed"), 0);
    drop(create(&dir, &genesis));
    loop {
        let store = open(&dir, &genesis);
        let before = store.applied();
        let seen = Arc::new(Mutex::new(Seen { lives: Some(2), ..Seen::default() }));
        let mut executor = Executor::new(Box::new(Writer::open(&store, &seen)), INTERVAL);
        let alive = run(&mut executor).and_then(|()| executor.persist()).is_ok();
        let last = seen.lock().unwrap().commits.last().copied().unwrap();
        lives += 1;
        // Nothing is written on the way out.
        drop((executor, store));
        let store = open(&dir, &genesis);
        assert!(store.applied() == last && last > before, "{before} {last}");
        if alive {
            assert_eq!((root(&store), last), (expected_root(), Height::new(BLOCKS)));
            break;
        }
    }
    assert!(lives > 1, "it never died");
}

#[test]
fn commits_land_on_snapshot_heights_and_in_time() {
    let (folder, genesis) = (tempfile::tempdir().unwrap(), genesis());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let store = create(folder.path(), &genesis);
    let interval = NonZeroU64::new(30).unwrap();
    let mut executor = Executor::new(Box::new(Writer::open(&store, &seen)), interval);
    assert_eq!(executor.deadline(), None);
    run(&mut executor).unwrap();
    let commits: Vec<u64> = seen.lock().unwrap().commits.iter().map(|height| height.get()).collect();
    assert!((1..=BLOCKS / 30).all(|step| commits.contains(&(step * 30))), "{commits:?}");
    // The last blocks are not due yet; they are within a second.
    let deadline = executor.deadline().unwrap();
    assert!(deadline <= Instant::now() + COMMIT_AFTER);
    // However often others are, from the first that isn't durable on there is an end.
    executor.committed = Some(Instant::now() + DURABLE_AFTER);
    assert_eq!(executor.deadline(), executor.waiting.map(|since| since + DURABLE_AFTER));
    executor.committed = None;
    let deadline = executor.deadline().unwrap().min(deadline);
    std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
    executor.commit_if_due().unwrap();
    assert_eq!((executor.deadline(), store.applied()), (None, Height::new(BLOCKS)));

    // A commit that failed comes before anything else is executed.
    seen.lock().unwrap().lives = Some(0);
    assert!(executor.persist().is_err());
    let payload: &[u8] = &[];
    let (id, state_root) = (Hash::ZERO, Hash::ZERO);
    let next = AppBlock { height: Height::new(BLOCKS + 1), id, timestamp: UnixMillis::default(), state_root, payload };
    assert!(executor.execute(&[next]).is_err());
    assert_eq!(executor.applied(), Height::new(BLOCKS));
    seen.lock().unwrap().lives = None;
    executor.execute(&[next]).unwrap();
    assert_eq!(executor.applied(), Height::new(BLOCKS + 1));
}

#[test]
fn the_documents_say_how_much_is_lost_at_most() {
    let design = include_str!("../../docs/design.md");
    let bytes = format!("before {} MiB of it wait in memory", COMMIT_BYTES >> 20);
    let time = format!("{} s after the last of these, within {} s", COMMIT_AFTER.as_secs(), DURABLE_AFTER.as_secs());
    let portion = format!("{} KiB of payloads", PORTION_BYTES >> 10);
    for words in [bytes, time, portion] {
        assert!(design.split_whitespace().collect::<Vec<_>>().join(" ").contains(&words), "{words}");
    }
}

#[test]
fn what_the_engine_has_executed_is_adopted_and_counts_as_executed() {
    let (folder, genesis) = (tempfile::tempdir().unwrap(), genesis());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let store = create(&folder.path().join("engine"), &genesis);
    let mut executor = Executor::new(Box::new(Writer::open(&store, &seen)), INTERVAL);
    let (timestamp, payload) = (UnixMillis::default(), &PAYLOAD[..]);
    let block =
        |height| AppBlock { height: Height::new(height), id: Hash::ZERO, timestamp, state_root: Hash::ZERO, payload };
    executor.execute(&[block(1)]).unwrap();
    executor.adopt(&(2..=30).map(block).collect::<Vec<_>>()).unwrap();
    executor.execute(&[block(31)]).unwrap();
    assert_eq!(seen.lock().unwrap().adopted, (2..=30).map(Height::new).collect::<Vec<_>>());
    executor.persist().unwrap();
    assert_eq!((executor.applied(), store.applied()), (Height::new(31), Height::new(31)));
}
