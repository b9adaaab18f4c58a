//! [`LedgerPayloads`]: transfers of the demo ledger, executed as they are made.

use std::io;

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::MemoryStateStore;

use super::payload::Payloads;
use crate::ledger::{Ledger, TOUCHED_KEYS, transfers};

/// Memory that the ledger may take beside its store, in bytes, before it writes: a few ten thousand blocks' changes.
const OVERLAY_BYTES: usize = 64 << 20;

/// Blocks after which the ledger's memory is looked at.
const BLOCKS_PER_LOOK: u32 = 256;

/// Payloads that the demo ledger executes; the roots are the ledger's.
#[derive(Debug)]
pub struct LedgerPayloads {
    ledger: Ledger<MemoryStateStore>,
    genesis_root: Hash,
    rng: Rng,
    accounts: u32,
    bytes: usize,
    unlooked: u32,
}

impl LedgerPayloads {
    /// Payloads of `payload_bytes` bytes, or of what the transfers take if that is more, between `accounts` accounts.
    ///
    /// # Errors
    /// Where the ledger can't be made, which would be a defect: its store is in memory.
    pub fn new(seed: u64, accounts: u32, payload_bytes: u32) -> io::Result<Self> {
        let mut ledger = Ledger::genesis(MemoryStateStore::default(), accounts).map_err(io::Error::other)?;
        let writes = ledger.take_writes();
        ledger.store_mut().write(writes);
        let genesis_root = ledger.root();
        Ok(Self { ledger, genesis_root, rng: Rng::new(seed), accounts, bytes: payload_bytes as usize, unlooked: 0 })
    }
}

impl Payloads for LedgerPayloads {
    fn genesis_root(&self) -> Hash {
        self.genesis_root
    }

    fn next(&mut self, payload: &mut Vec<u8>) -> io::Result<Hash> {
        *payload = transfers(&mut self.rng, self.accounts, TOUCHED_KEYS, self.bytes);
        let root = self.ledger.execute(payload).map_err(io::Error::other)?;
        self.unlooked += 1;
        if self.unlooked == BLOCKS_PER_LOOK {
            self.unlooked = 0;
            if self.ledger.memory() > OVERLAY_BYTES {
                let writes = self.ledger.take_writes();
                self.ledger.store_mut().write(writes);
                self.ledger.evict(OVERLAY_BYTES / 2);
            }
        }
        Ok(root)
    }
}
