//! [`EntryPayloads`]: a state of a chosen size, put together by a chain's first blocks and changed by the others.

use std::io;

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::{MemoryStateStore, StateWrites};

use super::payload::Payloads;
use crate::ledger::{Ledger, MAX_TRANSACTIONS, changed_entries, entries};

/// Payload bytes of a block that puts entries in: a few hundred such blocks make a large state, and a segment of them
/// fits in memory.
const FILLING_BYTES: u64 = 512 << 10;

/// About what an entry takes in a payload beside its value.
const ENTRY_OVERHEAD: u64 = 20;

/// Memory that the ledger may take beside its store, in bytes, before it writes.
const OVERLAY_BYTES: usize = 64 << 20;

/// How many entries there are, and what becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    /// How many entries the first blocks put in.
    pub count: u64,
    /// Bytes of a value. A key has 16, in the state.
    pub value_bytes: u32,
    /// How many of them every later block changes.
    pub changes: u32,
}

impl Entries {
    /// Entries that a block puts in.
    fn per_block(&self) -> u64 {
        let entry = u64::from(self.value_bytes).saturating_add(ENTRY_OVERHEAD);
        (FILLING_BYTES / entry).clamp(1, u64::from(MAX_TRANSACTIONS))
    }

    /// How many blocks put the entries in.
    pub fn filling_blocks(&self) -> u64 {
        self.count.div_ceil(self.per_block())
    }
}

/// Payloads of a ledger that begins with nothing at all.
#[derive(Debug)]
pub struct EntryPayloads {
    ledger: Ledger<MemoryStateStore>,
    genesis_root: Hash,
    rng: Rng,
    entries: Entries,
    /// Entries that are there.
    filled: u64,
    bytes: usize,
}

impl EntryPayloads {
    /// Payloads that make a state of `entries`; those after it are `payload_bytes` long, or what the changes take if
    /// that is more.
    ///
    /// # Errors
    /// Where the ledger can't be made, which would be a defect: its store is in memory.
    pub fn new(seed: u64, entries: Entries, payload_bytes: u32) -> io::Result<Self> {
        let ledger = Ledger::genesis(MemoryStateStore::default(), 0).map_err(io::Error::other)?;
        let genesis_root = ledger.root();
        let bytes = payload_bytes as usize;
        Ok(Self { ledger, genesis_root, rng: Rng::new(seed), entries, filled: 0, bytes })
    }
}

impl Payloads for EntryPayloads {
    fn genesis_root(&self) -> Hash {
        self.genesis_root
    }

    fn next(&mut self, payload: &mut Vec<u8>) -> io::Result<Hash> {
        let Entries { count, value_bytes, changes } = self.entries;
        let value_bytes = value_bytes as usize;
        *payload = if self.filled < count {
            let end = self.filled.saturating_add(self.entries.per_block()).min(count);
            let numbers = self.filled..end;
            self.filled = end;
            entries(&mut self.rng, numbers, value_bytes)
        } else {
            changed_entries(&mut self.rng, count, changes, value_bytes, self.bytes)
        };
        let root = self.ledger.execute(payload).map_err(io::Error::other)?;
        if self.ledger.memory() > OVERLAY_BYTES {
            // Entries are put and never read, so of the state that they make nothing is kept but the tree of hashes, without
            // which there is no root after a block: some 70 bytes an entry.
            let StateWrites { pages, .. } = self.ledger.take_writes();
            self.ledger.store_mut().write(StateWrites { pages, records: Vec::new() });
            self.ledger.evict(OVERLAY_BYTES / 2);
        }
        Ok(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_blocks_make_the_state_and_the_others_change_it() {
        let entries = Entries { count: 10_000, value_bytes: 100, changes: 7 };
        let mut payloads = EntryPayloads::new(3, entries, 900).unwrap();
        let mut payload = Vec::new();
        for _ in 0..entries.filling_blocks() {
            payloads.next(&mut payload).unwrap();
            assert!(payload.len() as u64 <= FILLING_BYTES);
        }
        let writes = payloads.ledger.take_writes();
        payloads.ledger.store_mut().write(writes);
        assert_eq!(payloads.ledger.store().records().count(), 10_000);
        let before = payloads.ledger.root();
        assert_ne!(payloads.next(&mut payload).unwrap(), before);
        assert_eq!(payload.len(), 900);
        assert_eq!(payloads.ledger.take_writes().records.len(), 7);
    }
}
