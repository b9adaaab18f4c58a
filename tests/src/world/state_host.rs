//! [`StateHost`]: a host in memory that executes the ledger and stages states, as a node's store does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, Holding, HostError, HostReply, HostWork, SnapshotBase};
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{
    MemoryStateStore, PLACEHOLDER, Prefix, Record, StateItem, StateReader as _, StateWrites, Tree, subtree,
    subtree_hash, value_hash,
};

use super::world::{Applied, Applier};
use crate::ledger::Ledger;

/// Records that are hashed to answer what a place holds; above that it is looked at further down.
const MAX_HASHED: usize = 8192;

/// Contents of a [`StateHost`], to be looked at and damaged by tests.
#[derive(Debug, Default)]
pub struct Held {
    /// The live state.
    pub live: MemoryStateStore,
    /// Records in the staging area.
    pub staged: BTreeMap<Hash, Bytes>,
    /// Subtrees that were staged, in order.
    pub stagings: Vec<StateItem>,
    /// The height that the live state stands at.
    pub applied: Height,
    /// Where the state was made live.
    pub activated: Option<SnapshotBase>,
    /// Changes the staging area right before it is hashed, as a bad disk would.
    pub damage: u32,
}

/// Executes the ledger's blocks and stages states; shared, so that it outlives a machine.
#[derive(Clone, Debug)]
pub struct StateHost {
    chain: NativeChain,
    /// The contents.
    pub held: Rc<RefCell<Held>>,
}

/// The tree over some records.
fn tree_of<'a>(records: impl Iterator<Item = (&'a Hash, &'a Bytes)>) -> MemoryStateStore {
    let mut store = MemoryStateStore::default();
    let records: Vec<(Hash, Bytes)> = records.map(|(key_hash, record)| (*key_hash, record.clone())).collect();
    let leaf = |(key_hash, record): &(Hash, Bytes)| {
        let record = Record::decode(record.clone()).expect("staged records are records");
        (*key_hash, Some(value_hash(record.value())))
    };
    let changes = records.iter().map(leaf).collect();
    let mut tree = Tree::load(&store).expect("an empty store");
    tree.apply(&store, &changes).expect("memory doesn't fail");
    let records = records.into_iter().map(|(key_hash, record)| (key_hash, Some(record))).collect();
    store.write(StateWrites { pages: tree.take_pages(), records });
    store
}

impl StateHost {
    /// A host of `chain` that holds nothing.
    pub fn new(chain: NativeChain) -> Self {
        Self { chain, held: Rc::default() }
    }

    /// A host whose live state is `live`, at `height`.
    pub fn with_state(chain: NativeChain, live: MemoryStateStore, height: Height) -> Self {
        let host = Self::new(chain);
        host.held.borrow_mut().live = live;
        host.held.borrow_mut().applied = height;
        host
    }

    /// The root of the live state.
    pub fn root(&self) -> Hash {
        Tree::load(&self.held.borrow().live).expect("memory doesn't fail").root()
    }

    fn survey(held: &mut Held, item: &StateItem) -> Holding {
        if item.hash == PLACEHOLDER {
            replace(&mut held.staged, &item.prefix, Vec::new());
            return Holding::Held;
        }
        let place = held.staged.range(item.prefix.first()..=item.prefix.last());
        let staged = place.clone().count();
        let leaf = |(key_hash, record): (&Hash, &Bytes)| {
            let record = Record::decode(record.clone()).expect("staged records are records");
            (*key_hash, value_hash(record.value()))
        };
        if staged <= MAX_HASHED && subtree_hash(&item.prefix, &place.map(leaf).collect::<Vec<_>>()) == item.hash {
            return Holding::Held;
        }
        let staged = staged as u64;
        let (live_hash, live) = subtree(&held.live, &item.prefix).expect("memory doesn't fail");
        if live_hash == item.hash {
            let records = records_under(&held.live, &item.prefix);
            replace(&mut held.staged, &item.prefix, records);
            return Holding::Held;
        }
        match staged + live {
            0 => Holding::Absent,
            _ => Holding::Differs { keys: staged.max(live) },
        }
    }

    fn activate(held: &mut Held, base: &SnapshotBase) -> HostReply {
        if held.damage > 0 {
            held.damage -= 1;
            held.staged.pop_first();
        }
        let store = tree_of(held.staged.iter());
        let found = Tree::load(&store).expect("memory doesn't fail").root();
        if found != base.state_root {
            return HostReply::RootMismatch { found };
        }
        held.live = store;
        held.staged.clear();
        held.applied = base.point.height;
        held.activated = Some(base.clone());
        HostReply::Activated { history_gap: None }
    }
}

/// All records under a place.
fn records_under(store: &MemoryStateStore, prefix: &Prefix) -> Vec<(Hash, Bytes)> {
    let mut records = Vec::new();
    let mut visit = |key_hash, record| {
        records.push((key_hash, record));
        ControlFlow::Continue(())
    };
    store.scan(prefix, &mut visit).expect("memory doesn't fail");
    records
}

fn replace(staged: &mut BTreeMap<Hash, Bytes>, prefix: &Prefix, records: Vec<(Hash, Bytes)>) {
    let old: Vec<Hash> = staged.range(prefix.first()..=prefix.last()).map(|(key_hash, _)| *key_hash).collect();
    for key_hash in old {
        staged.remove(&key_hash);
    }
    staged.extend(records);
}

impl Applier for StateHost {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        let mut held = self.held.borrow_mut();
        let mut ledger = Ledger::open(std::mem::take(&mut held.live)).expect("memory doesn't fail");
        let mut stopped = None;
        for block in apply.blocks(&self.chain, held.applied) {
            let block = block.expect("verified");
            let root = ledger.execute(block.payload).expect("memory doesn't fail");
            if block.state_root != root {
                stopped = Some(HostError::StateMismatch(block.height));
                break;
            }
            held.applied = block.height;
        }
        let writes = ledger.take_writes();
        ledger.store_mut().write(writes);
        held.live = std::mem::take(ledger.store_mut());
        Some((Duration::from_millis(1), Applied { through: held.applied, stopped }))
    }

    fn state(&mut self, work: &HostWork) -> Option<(Duration, Result<HostReply, HostError>)> {
        let mut held = self.held.borrow_mut();
        let reply = match work {
            HostWork::Survey(items) => {
                HostReply::Surveyed(items.iter().map(|item| Self::survey(&mut held, item)).collect())
            }
            HostWork::Stage(subtrees) => {
                for leaves in subtrees.iter() {
                    replace(&mut held.staged, &leaves.item.prefix, leaves.records.clone());
                    held.stagings.push(leaves.item);
                }
                HostReply::Staged
            }
            HostWork::Activate(base) => Self::activate(&mut held, base),
            _ => return Some((Duration::from_millis(1), Err(HostError::Permanent))),
        };
        Some((Duration::from_millis(1), Ok(reply)))
    }
}
