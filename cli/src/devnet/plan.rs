//! [`Plan`]: what a node of a devnet is told when it starts.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use hotstuff2_sync::chain::native::ValidatorKey;
use hotstuff2_sync::config::SyncStrategyType;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::state::MemoryStateStore;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_testkit::chain::{ChainSpec, Roster, Turnover};
use hotstuff2_sync_testkit::ledger::{DEFAULT_ACCOUNTS, Ledger};
use hotstuff2_sync_testkit::replica::Committee;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// Epochs that a devnet is planned for: more than a day of blocks each 100 ms, with epochs of 500 of them.
const EPOCHS: u64 = 2_000;

/// What all nodes share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Shape {
    /// Seed of keys.
    pub(super) seed: u64,
    /// Nodes.
    pub(super) nodes: u64,
    /// Validators of an epoch.
    pub(super) validators: u64,
    /// Blocks of an epoch.
    pub(super) epoch_blocks: u64,
    /// Blocks between kept states.
    pub(super) snapshot_interval: u64,
    /// Milliseconds between blocks at least.
    pub(super) block_ms: u64,
    /// Milliseconds that a view gets beyond those.
    pub(super) view_ms: u64,
    /// Milliseconds since 1970 at which the chain begins.
    pub(super) begins: u64,
    /// The root of the state that it begins with.
    pub(super) state_root: Hash,
}

impl Shape {
    fn spec(&self) -> ChainSpec {
        ChainSpec {
            name: format!("devnet {}", self.begins),
            seed: self.seed,
            blocks: EPOCHS.saturating_mul(self.epoch_blocks),
            validators: self.validators,
            epochs: EPOCHS,
            last_timestamp: UnixMillis::new(self.begins),
            snapshot_interval: self.snapshot_interval,
            turnover: Turnover::Rotating { members: self.nodes, replaced: u64::from(self.validators < self.nodes) },
            ..ChainSpec::default()
        }
    }

    /// Who decides which heights.
    pub(super) fn committee(&self) -> Result<Committee, CliError> {
        Ok(Committee::beginning_with(self.spec(), self.state_root)?)
    }

    /// The key of a node. Whoever knows the seed has it: these are networks for trying things.
    pub(super) fn key(&self, node: u64) -> SigningKey {
        Roster::of(&self.spec()).secret(node)
    }

    /// The name of a node among its peers, which is its key.
    pub(super) fn peer(&self, node: u64) -> PeerId {
        PeerId::from_bytes(*ValidatorKey::from(&self.key(node)).as_bytes())
    }
}

/// The root of the state that a devnet begins with: that of the demo ledger.
pub(super) fn first_root() -> Result<Hash, CliError> {
    let ledger = Ledger::genesis(MemoryStateStore::default(), DEFAULT_ACCOUNTS);
    ledger.map(|ledger| ledger.root()).map_err(|error| CliError::LedgerDamaged(error.to_string()))
}

/// What one node is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// What all nodes share.
    pub(super) shape: Shape,
    /// The number of the node.
    pub(super) node: u64,
    /// Its folder.
    pub(super) dir: PathBuf,
    /// Where all nodes listen, by number.
    pub(super) addresses: Vec<SocketAddr>,
    /// How it catches up.
    pub(super) strategy: SyncStrategyType,
    /// Whether it has never voted: a record of votes that is not there is not lost then.
    pub(super) new: bool,
    /// Tells lies to those who synchronize from it.
    pub(super) lies: bool,
}

impl Plan {
    pub(super) fn write(&self, path: &Path) -> Result<(), CliError> {
        let text = serde_json::to_vec(self).map_err(|error| CliError::file("written", path)(error.into()))?;
        fs::write(path, text).map_err(CliError::file("written", path))
    }

    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let text = fs::read_to_string(path).map_err(CliError::file("read", path))?;
        let failed = |error: serde_json::Error| CliError::file("read", path)(error.into());
        serde_json::from_str(&text).map_err(failed)
    }
}
