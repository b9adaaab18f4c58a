//! The demo application: accounts and a key-value map, moved by unsigned transactions.
//!
//! The ledger stands for what a node executes: a block touches a few keys of many, and the state root after it is in
//! its header. It trusts nothing about a payload but that consensus chose it.
//!
//! **Every payload has one result**, since a block that is final can't be refused any more and all nodes must agree on
//! its state root. A payload that is not a list of transactions does nothing at all; a transaction that can't be carried
//! out (an overdraft, a key over the limit) does nothing, and those around it still count. So
//! [`execute`] fails only where the local store does.

mod payload;
mod state;
mod transaction;

pub use payload::{TOUCHED_KEYS, changed_entries, entries, transfers};
pub use state::{DEFAULT_ACCOUNTS, Ledger, LedgerError, START_BALANCE, execute, genesis_records};
pub use transaction::{DecodeError, MAX_TRANSACTIONS, Transaction, decode, encode};

#[cfg(test)]
mod tests;
