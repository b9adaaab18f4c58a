//! Generated chains: deterministic from a seed, signed for real, with all that makes real chains awkward in them.
//!
//! [`ChainGenerator`] streams a chain of any length; [`TestChain`] holds a small one in memory, and answers from it.

mod agreed;
mod chain_view;
mod decided;
mod entry_payload;
mod generator;
mod ledger_payload;
mod payload;
mod roster;
mod spec;
mod states;
mod test_chain;

pub use agreed::AgreedChain;
pub use chain_view::ChainView;
pub use entry_payload::{Entries, EntryPayloads};
pub use generator::{BLOCK_MS, Blocks, ChainGenerator, GenerateError, HeaderHook, Piece};
pub use ledger_payload::LedgerPayloads;
pub use payload::{FilePayloads, Payloads, RandomPayloads, constant_root};
pub use roster::{Roster, SigningEpoch};
pub use spec::{ChainSpec, SNAPSHOT_INTERVAL, SpecError, Turnover};
pub use test_chain::{TestChain, TestChainError, signing_epoch};

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod states_tests;
