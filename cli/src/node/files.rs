//! The files of a node: its key, its genesis file and its store.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hotstuff2_sync::chain::native::{Genesis, GenesisDocument, NativeChain};
use hotstuff2_sync::chain::{Chain as _, HeaderFacts};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::LightCheckpoint;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync_tokio::checkpoint::{CHECKPOINT_FILE, NativeStore, read_checkpoint};
use hotstuff2_sync_tokio::genesis_file::{GENESIS_FILE, read_genesis, write_genesis};
use hotstuff2_sync_tokio::store::{self, BlockStore as _, DiskStore, OpenError, StoreFound};

use crate::error::CliError;
use crate::report::Head;
use crate::screen::tell;

/// Name of the key file in a node's folder.
pub(crate) const IDENTITY_FILE: &str = "identity.key";

/// The genesis document in the store in `dir`.
pub(crate) fn stored_genesis(dir: &Path) -> Result<Genesis, CliError> {
    let bytes = store::read_genesis(dir)?;
    let genesis = GenesisDocument::decode(&bytes).ok().and_then(|document| document.check().ok());
    genesis.ok_or_else(|| CliError::DamagedGenesis(dir.to_owned()))
}

/// Opens the store in `dir`, with the genesis document that it was made with.
pub(crate) fn open_store(dir: &Path) -> Result<(Genesis, DiskStore<NativeChain>), CliError> {
    let genesis = stored_genesis(dir)?;
    let store = DiskStore::open(dir, Arc::new(NativeChain::new(&genesis)), Some(genesis.chain_id()))?;
    Ok((genesis, store))
}

/// Opens the store in `dir`, or creates it where there is none, with the genesis file beside it: above the checkpoint that is
/// `named`, if one is. A genesis document that the store lost is put back.
pub(crate) fn open_or_create(
    dir: &Path,
    genesis: &Genesis,
    named: Option<&LightCheckpoint>,
) -> Result<NativeStore, CliError> {
    let beside = dir.join(GENESIS_FILE);
    if matches!(stored_genesis(dir), Err(CliError::Open(OpenError::Missing(_))))
        && beside.exists()
        && read_genesis(&beside)?.chain_id() != genesis.chain_id()
    {
        return Err(CliError::OtherGenesis(beside));
    }
    let opened = NativeStore::open(genesis, dir, named)?;
    if opened.found == StoreFound::WithoutGenesis {
        tell(format_args!("the store in {} had lost its file `genesis`, which was written again", dir.display()));
    }
    if !beside.exists() {
        write_genesis(genesis, &beside)?;
    }
    Ok(opened)
}

/// The highest stored block.
pub(crate) fn head_of(store: &DiskStore<NativeChain>, genesis: &Genesis) -> Result<Head, CliError> {
    let height = store.stored().height;
    let HeaderFacts { id, state_root, .. } = header_at(store, genesis, height)?;
    Ok(Head { height: height.get(), id: id.to_string(), state_root: state_root.to_string() })
}

/// The header of the block at `height`, which is stored, or the one that the store begins above.
pub(crate) fn header_at(
    store: &DiskStore<NativeChain>,
    genesis: &Genesis,
    height: Height,
) -> Result<HeaderFacts, CliError> {
    if height == Height::ZERO {
        let header = genesis.header();
        return Ok(HeaderFacts { id: genesis.id(), state_root: header.state_root, timestamp: header.timestamp });
    }
    let begins = store.anchor();
    if height == begins.height {
        let LightCheckpoint { tip, .. } = read_checkpoint(&store.dir().join(CHECKPOINT_FILE))?;
        let state_root = tip.state_root.unwrap_or_default();
        return Ok(HeaderFacts { id: begins.id, state_root, timestamp: tip.timestamp });
    }
    let chain = NativeChain::new(genesis);
    // The block whose state was fetched is not among the stored ones.
    let base = store.base()?.filter(|base| base.height == height).map(|base| base.segment);
    let segment = match base {
        Some(segment) => Some(segment),
        None => store.segment(HeightRange::single(height), false, false)?.map(|stored| stored.segment),
    };
    let segment = segment.and_then(|segment| chain.decode_segment(&segment).ok());
    segment.and_then(|segment| chain.header(&segment, height)).ok_or(CliError::NoHeader(height))
}

/// Refuses a folder that has anything in it.
pub(crate) fn require_empty(dir: &Path) -> Result<(), CliError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(CliError::NotEmpty(dir.to_owned())),
            None => Ok(()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(CliError::file("read", dir)(error)),
    }
}

/// Copies the store in `from`, which nobody has open, to `to`. Sealed files never change, so they are shared where the file
/// system can do that.
pub(crate) fn copy_store(from: &Path, to: &Path) -> Result<(), CliError> {
    fs::create_dir_all(to).map_err(CliError::file("created", to))?;
    for entry in fs::read_dir(from).map_err(CliError::file("read", from))? {
        let entry = entry.map_err(CliError::file("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_store(&source, &target)?;
        } else if !is_sealed(&source) || fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target).map(drop).map_err(CliError::file("copied", source))?;
        }
    }
    Ok(())
}

/// Whether the file at `path` is a sealed segment file.
fn is_sealed(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("segments")) && path.extension().is_none_or(|end| end != "part")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_folder_is_filled() {
        let folder = tempfile::tempdir().unwrap();
        assert!(require_empty(folder.path()).is_ok());
        assert!(require_empty(&folder.path().join("new")).is_ok());
        fs::write(folder.path().join("x"), "").unwrap();
        assert!(matches!(require_empty(folder.path()), Err(CliError::NotEmpty(_))));
    }

    #[test]
    fn a_copied_store_shares_nothing_that_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("segments")).unwrap();
        for name in ["genesis", "segments/1", "segments/2.part"] {
            fs::write(from.join(name), "old").unwrap();
        }
        copy_store(&from, &to).unwrap();
        for name in ["genesis", "segments/2.part"] {
            fs::write(to.join(name), "new").unwrap();
            assert_eq!(fs::read_to_string(from.join(name)).unwrap(), "old", "{name}");
        }
        assert_eq!(fs::read_to_string(to.join("segments/1")).unwrap(), "old");
    }
}
