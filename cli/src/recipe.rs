//! [`Recipe`]: how a chain was generated, kept beside it, so that more of it can be made.

use std::fs;
use std::path::Path;

use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_testkit::chain::{ChainSpec, Turnover};
use serde::{Deserialize, Serialize};

use crate::args::ChainArgs;
use crate::error::CliError;

/// Name of the file in the folder of a generated chain.
pub(crate) const RECIPE: &str = "gen.json";

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Options by which a chain was generated.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// With the number of blocks that it had at first.
    pub(crate) chain: ChainArgs,
    pub(crate) certify_every: u64,
}

impl Recipe {
    /// The generator's words for it, with the time of the last of the first blocks.
    pub(crate) fn spec(&self, last_timestamp: UnixMillis) -> ChainSpec {
        let Self { chain, certify_every } = self;
        ChainSpec {
            name: format!("hs2-sync-gen-{}", chain.seed),
            seed: chain.seed,
            blocks: chain.blocks.unwrap_or_default(),
            validators: chain.validators,
            epochs: chain.epochs,
            ends_epoch: false,
            certify_every: *certify_every,
            last_timestamp,
            snapshot_interval: chain.snapshot_interval,
            turnover: Turnover::Seventh,
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), CliError> {
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        text.and_then(|text| fs::write(path, text)).map_err(CliError::file("written", path))
    }

    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let unusable = |why: String| CliError::NoRecipe { path: path.to_owned(), why };
        let there = fs::metadata(path).map_err(|error| unusable(error.to_string()))?;
        if !there.is_file() || there.len() > MAX_BYTES {
            return Err(unusable("it is no file of `gen`".to_owned()));
        }
        let text = fs::read(path).map_err(|error| unusable(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| unusable(format!("it is no file of `gen` ({error})")))
    }
}
