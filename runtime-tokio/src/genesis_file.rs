//! The genesis file: a genesis document in JSON, with the chain's id beside it, which tells a file that was changed.
//!
//! The file is what a node trusts: get it from where the chain's operators publish it, and not from a peer.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hotstuff2_sync::chain::native::{Genesis, GenesisDocument, GenesisError};
use hotstuff2_sync::hash::Hash;
use serde::{Deserialize, Serialize};

use crate::files::{beside, open_regular, write_whole};

/// Name of the genesis file in the folder of a node.
pub const GENESIS_FILE: &str = "genesis.json";

/// Largest file that is read, in bytes: 4,096 validators take about 500 KiB.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Why a genesis file is refused, or can't be written.
#[derive(Debug, thiserror::Error)]
pub enum GenesisFileError {
    /// The file can't be read.
    #[error("genesis file {path} can't be read: {source}; name the file that `gen` wrote or the chain's operators publish", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is no genesis file.
    #[error("{path} is not a genesis file: {source}; get it again from where it was published", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The document makes no sense.
    #[error("genesis file {path} is not valid: {source}; get it again from where it was published", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The fault in it.
        source: GenesisError,
    },
    /// The document isn't the one that the file says it is.
    #[error("genesis file {path} names chain {says}, but its document is of chain {is}: it was changed; get it again from where it was published", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The chain that it names.
        says: Hash,
        /// The chain of its document.
        is: Hash,
    },
    /// The file can't be written.
    #[error("{path} can't be written: {source}; check that the path is right, writable, and that its disk has room", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GenesisFile {
    /// The document's hash in hexadecimal digits.
    chain_id: String,
    document: GenesisDocument,
}

/// Reads and checks the genesis file at `path`.
pub fn read_genesis(path: &Path) -> Result<Genesis, GenesisFileError> {
    let failed = |source| GenesisFileError::Read { path: path.to_owned(), source };
    let syntax = |source| GenesisFileError::Syntax { path: path.to_owned(), source };
    let file = open_regular(path).map_err(failed)?;
    let mut text = String::new();
    let size = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if size as u64 > MAX_FILE_BYTES {
        return Err(syntax(serde::de::Error::custom(format_args!("more than {MAX_FILE_BYTES} bytes are too many"))));
    }
    let file: GenesisFile = serde_json::from_str(&text).map_err(syntax)?;
    let says = file.chain_id.parse().map_err(|error| syntax(serde::de::Error::custom(error)))?;
    let genesis =
        file.document.check().map_err(|source| GenesisFileError::Invalid { path: path.to_owned(), source })?;
    if genesis.chain_id() != says {
        return Err(GenesisFileError::Changed { path: path.to_owned(), says, is: genesis.chain_id() });
    }
    Ok(genesis)
}

/// The text of the genesis file.
pub fn genesis_text(genesis: &Genesis) -> serde_json::Result<String> {
    let file = GenesisFile { chain_id: genesis.chain_id().to_string(), document: genesis.document().clone() };
    serde_json::to_string_pretty(&file).map(|text| text + "\n")
}

/// Writes the genesis file at `path`, whole or not at all. It outlives a power cut once this has returned.
pub fn write_genesis(genesis: &Genesis, path: &Path) -> Result<(), GenesisFileError> {
    let failed = |source| GenesisFileError::Write { path: path.to_owned(), source };
    let text = genesis_text(genesis).map_err(|error| failed(error.into()))?;
    write_whole(path, &beside(path, ".part"), text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};

    #[test]
    fn a_genesis_file_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(GENESIS_FILE);
        let chain = TestChain::new(ChainSpec { blocks: 3, ..ChainSpec::default() }).unwrap();
        write_genesis(chain.genesis(), &path).unwrap();
        assert_eq!(&read_genesis(&path).unwrap(), chain.genesis());
    }

    #[test]
    fn wrong_files_are_told_apart_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(GENESIS_FILE);
        let chain = TestChain::new(ChainSpec { blocks: 3, ..ChainSpec::default() }).unwrap();
        let mut messages = Vec::new();
        let mut refuse = |content: Option<String>| {
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            messages.push(read_genesis(&path).unwrap_err().to_string());
        };
        refuse(None);
        refuse(Some("{}".to_owned()));
        refuse(Some("\u{0}".to_owned()));
        write_genesis(chain.genesis(), &path).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        refuse(Some(good.replace("\"generated\"", "\"another\"")));
        refuse(Some(good.replace("\"snapshot_interval\": 10000", "\"snapshot_interval\": 0")));
        for (message, part) in messages.iter().zip([
            "can't be read",
            "is not a genesis file",
            "is not a genesis file",
            "it was changed",
            "is not valid",
        ]) {
            assert!(message.contains(part) && message.contains(GENESIS_FILE) && !message.contains('\n'), "{message}");
        }
    }
}
