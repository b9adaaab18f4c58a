//! The chains that scenarios are played on: made once in a process, and shared.

use std::sync::{Arc, OnceLock};

use hotstuff2_sync::ids::Height;

use super::source::{CachedChain, Source};
use crate::chain::{ChainSpec, TestChain, TestChainError};

/// Shape of a chain.
#[derive(Clone, Copy, Debug)]
struct Shape {
    blocks: u64,
    epochs: u64,
    validators: u64,
    payload: u32,
    ends_epoch: bool,
    /// Accounts of its ledger and blocks between its snapshots, if it has one.
    ledger: Option<(u32, u64)>,
}

const fn plain(blocks: u64, epochs: u64, validators: u64, payload: u32) -> Shape {
    Shape { blocks, epochs, validators, payload, ends_epoch: false, ledger: None }
}

const fn ledger(blocks: u64, epochs: u64, accounts: u32, interval: u64) -> Shape {
    Shape { blocks, epochs, validators: 4, payload: 100, ends_epoch: false, ledger: Some((accounts, interval)) }
}

/// Every size that matters: one block, one cell and less, several cells; one epoch and many; payloads that are empty,
/// small, and larger than the smallest share of a budget.
const SHAPES: [Shape; 14] = [
    plain(1, 1, 1, 100),
    plain(7, 2, 4, 1_300_000),
    plain(20, 1, 2, 0),
    plain(60, 6, 4, 3000),
    Shape { ends_epoch: true, ..plain(100, 3, 4, 100) },
    plain(300, 5, 7, 30_000),
    plain(400, 200, 4, 10),
    plain(1500, 2, 4, 100),
    plain(2600, 4, 5, 1000),
    Shape { ends_epoch: true, ..plain(3100, 1, 4, 0) },
    ledger(250, 2, 40, 100),
    ledger(700, 3, 900, 200),
    ledger(1100, 3, 3000, 500),
    ledger(1300, 1, 8000, 400),
];

/// A chain with what liars need.
#[derive(Debug, Default)]
struct Kept {
    chain: OnceLock<Arc<CachedChain>>,
    fork: OnceLock<Arc<CachedChain>>,
    forgery: OnceLock<Arc<CachedChain>>,
}

static KEPT: [Kept; SHAPES.len()] =
    [const { Kept { chain: OnceLock::new(), fork: OnceLock::new(), forgery: OnceLock::new() } }; SHAPES.len()];

/// One of the chains, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen(usize);

impl Chosen {
    /// How many there are.
    pub(super) const COUNT: usize = SHAPES.len();

    pub(super) fn new(number: usize) -> Self {
        Self(number % Self::COUNT)
    }

    fn make(self, seed: u64) -> Result<CachedChain, TestChainError> {
        let shape = SHAPES[self.0];
        let spec = ChainSpec {
            blocks: shape.blocks,
            epochs: shape.epochs,
            validators: shape.validators,
            ends_epoch: shape.ends_epoch,
            seed,
            snapshot_interval: shape.ledger.map_or(crate::chain::SNAPSHOT_INTERVAL, |(_, interval)| interval),
            ..ChainSpec::default()
        };
        let chain = match shape.ledger {
            Some((accounts, _)) => TestChain::with_ledger(spec, accounts, shape.payload)?,
            None => TestChain::with_payloads(spec, shape.payload, None)?,
        };
        Ok(CachedChain::new(chain, shape.ledger.map(|(accounts, _)| accounts)))
    }

    fn seed(self) -> u64 {
        1000 + self.0 as u64
    }

    /// The chain.
    pub(super) fn chain(self) -> Arc<CachedChain> {
        let make = || Arc::new(self.make(self.seed()).expect("the shapes are those of chains"));
        Arc::clone(KEPT[self.0].chain.get_or_init(make))
    }

    /// Another history of it, from its middle on, signed by the same validators.
    pub(super) fn fork(self) -> Arc<dyn Source> {
        let make = || {
            let chain = self.chain();
            let middle = Height::new(chain.tip_height().get().div_ceil(2));
            let fork = chain.test_chain().map(|chain| chain.fork(middle));
            let fork = fork.expect("a test chain").expect("a chain's fork is a chain");
            Arc::new(CachedChain::new(fork, SHAPES[self.0].ledger.map(|(accounts, _)| accounts)))
        };
        Arc::clone(KEPT[self.0].fork.get_or_init(make)) as Arc<dyn Source>
    }

    /// Another chain of that shape, of other validators.
    pub(super) fn forgery(self) -> Arc<dyn Source> {
        let make = || Arc::new(self.make(self.seed() + 7).expect("the shapes are those of chains"));
        Arc::clone(KEPT[self.0].forgery.get_or_init(make)) as Arc<dyn Source>
    }

    /// The largest payload.
    pub(super) fn payload(self) -> u64 {
        u64::from(SHAPES[self.0].payload)
    }
}
