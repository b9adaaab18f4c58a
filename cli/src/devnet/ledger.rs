//! The demo ledger as a replica's application, and the transactions that wait for a block.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hotstuff2_sync::chain::native::Header;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, View};
use hotstuff2_sync_testkit::ledger::{Transaction, decode, encode};
use hotstuff2_sync_testkit::replica::{Execution, Next};
use hotstuff2_sync_tokio::{Application as _, BranchBlock, SpeculativeApplication};

use crate::node::LedgerFunction;

/// Most transactions that wait, and most in a block.
const MOST_WAITING: usize = 20_000;
const MOST_IN_A_BLOCK: usize = 2_000;

/// Transactions that wait, encoded one by one.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<VecDeque<Vec<u8>>>);

impl Waiting {
    /// Takes the transactions of a payload in; those for which there is no room are dropped. Says how many were taken.
    pub(super) fn add(&self, payload: &[u8]) -> usize {
        let Ok(transactions) = decode(payload) else { return 0 };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_WAITING.saturating_sub(waiting.len());
        let taken = transactions.len().min(room);
        waiting.extend(transactions.iter().take(room).map(|transaction| encode(std::slice::from_ref(transaction))));
        taken
    }

    fn take(&self) -> Vec<Vec<u8>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let many = waiting.len().min(MOST_IN_A_BLOCK);
        waiting.drain(..many).collect()
    }
}

/// The ledger, which the node's sync shares.
pub(super) struct LedgerExecution {
    pub(super) state: SpeculativeApplication<LedgerFunction>,
    pub(super) waiting: Arc<Waiting>,
}

impl Execution for LedgerExecution {
    fn executed(&self) -> Height {
        self.state.applied()
    }

    fn payload(&mut self, _: View, _: u16) -> Bytes {
        let taken = self.waiting.take();
        let transactions: Vec<Transaction<'_>> = taken.iter().flat_map(|one| decode(one).unwrap_or_default()).collect();
        encode(&transactions).into()
    }

    fn root_after(&mut self, next: &Next<'_>) -> Option<Hash> {
        let Next { parent, path, timestamp, payload } = *next;
        let below = path.iter().map(|block| {
            let Header { height, timestamp, .. } = block.header;
            BranchBlock { height, timestamp, payload: &block.payload }
        });
        let block = BranchBlock { height: parent.height.next(), timestamp, payload };
        let blocks: Vec<_> = below.chain([block]).collect();
        match self.state.root_after(&blocks) {
            Ok(root) => Some(root),
            Err(reason) => {
                tracing::debug!(height = %block.height, %reason, "a block can't be executed yet");
                None
            }
        }
    }
}
