//! [`States`]: a ledger chain's states at its snapshot heights, as a server keeps them.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::MemoryStateStore;
use hotstuff2_sync::wire::AdvertisedSnapshots;

use crate::ledger::{Ledger, LedgerError};

/// States by height. Empty for chains without a ledger.
#[derive(Clone, Debug, Default)]
pub(super) struct States {
    interval: u64,
    kept: BTreeMap<Height, Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    state: MemoryStateStore,
    root: Hash,
    keys: u64,
    bytes: u64,
}

impl Kept {
    fn new(state: MemoryStateStore, root: Hash) -> Self {
        let (mut keys, mut bytes) = (0, 0);
        for (_, record) in state.records() {
            keys += 1;
            // Two bytes of a record are the key's length.
            bytes += (record.len() as u64).saturating_sub(2);
        }
        Self { state, root, keys, bytes }
    }
}

impl States {
    /// Executes a ledger's blocks from the first on; keeps the state at every multiple of `interval`.
    pub(super) fn execute(
        accounts: u32,
        interval: u64,
        payloads: impl Iterator<Item = Bytes>,
    ) -> Result<Self, LedgerError<Infallible>> {
        let mut ledger = Ledger::genesis(MemoryStateStore::default(), accounts)?;
        let mut kept = BTreeMap::new();
        let mut height = Height::ZERO;
        for payload in payloads {
            height = height.next();
            let root = ledger.execute(&payload)?;
            if height.get().is_multiple_of(interval) {
                let writes = ledger.take_writes();
                ledger.store_mut().write(writes);
                kept.insert(height, Kept::new(ledger.store().clone(), root));
            }
        }
        Ok(Self { interval, kept })
    }

    /// The state at `height`, if it is kept.
    pub(super) fn get(&self, height: Height) -> Option<&MemoryStateStore> {
        self.kept.get(&height).map(|kept| &kept.state)
    }

    /// Heights of the kept states with their roots.
    pub(super) fn roots(&self) -> impl Iterator<Item = (Height, Hash)> {
        self.kept.iter().map(|(height, kept)| (*height, kept.root))
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(Height) -> bool) {
        self.kept.retain(|height, _| keep(*height));
    }

    /// Claim of a server that keeps those in `range`: the newest, and those before it without a gap.
    pub(super) fn advertised(&self, range: HeightRange) -> Option<AdvertisedSnapshots> {
        let mut run = self.kept.range(range.first()..=range.last()).rev();
        let (&newest, kept) = run.next()?;
        let mut oldest = newest;
        for (&height, _) in run {
            if height.plus(self.interval) != oldest {
                break;
            }
            oldest = height;
        }
        Some(AdvertisedSnapshots { oldest, newest, keys: kept.keys, bytes: kept.bytes })
    }

    /// The newest state in `range`.
    pub(super) fn newest(&self, range: HeightRange) -> Option<(Height, &MemoryStateStore)> {
        self.kept.range(range.first()..=range.last()).next_back().map(|(&height, kept)| (height, &kept.state))
    }

    /// The states in `range`: the one at `near` first, then from the newest down.
    pub(super) fn near(&self, near: Height, range: HeightRange) -> Vec<&MemoryStateStore> {
        let others = self.kept.range(range.first()..=range.last()).rev().filter(|(height, _)| **height != near);
        let first = self.get(near).filter(|_| range.contains(near));
        first.into_iter().chain(others.map(|(_, kept)| &kept.state)).collect()
    }
}
