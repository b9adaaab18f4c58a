//! A small signed chain with a ledger, and stores of it, for tests of this crate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, ApplyPart};
use hotstuff2_sync::chain::HeaderFacts;
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};

use crate::store::{BlockStore as _, DiskStore, StateSpace, StateStore as _, StoreAnchor};
use crate::{AppBlock, Application, ExecuteError};

/// The snapshot, in the third of three epochs, and not at the start of a cell.
pub(crate) const HEIGHT: Height = Height::new(240);

pub(crate) type Store = DiskStore<NativeChain>;

pub(crate) struct World {
    pub(crate) chain: TestChain,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let spec = ChainSpec { blocks: 300, snapshot_interval: 80, ..ChainSpec::default() };
        let chain = TestChain::with_ledger(spec, 3000, 100).unwrap();
        Self { chain, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn anchor(&self) -> StoreAnchor {
        StoreAnchor::from(self.chain.genesis())
    }

    pub(crate) fn create(&self, name: &str) -> Store {
        Store::create(&self.path(name), Arc::new(self.chain.chain()), &self.anchor()).unwrap()
    }

    /// Opens the copy `name` of the store [`Self::full`], which is closed.
    pub(crate) fn copy_of_full(&self, name: &str) -> Store {
        copy(&self.path("full"), &self.path(name));
        self.open(name)
    }

    pub(crate) fn open(&self, name: &str) -> Store {
        Store::open(&self.path(name), Arc::new(self.chain.chain()), None).unwrap()
    }

    pub(crate) fn header(&self, height: Height) -> HeaderFacts {
        let header = self.chain.header(height).unwrap();
        HeaderFacts { id: header.id(), state_root: header.state_root, timestamp: header.timestamp }
    }

    /// A store with all blocks and the state at the snapshot height.
    pub(crate) fn full(&self) -> Store {
        self.full_of(self.chain.parts().to_vec(), None, 0)
    }

    /// The same of these blocks, with the first records of the state missing.
    pub(crate) fn full_of(&self, parts: Vec<ApplyPart>, tip: Option<Bytes>, missing: usize) -> Store {
        let store = self.create("full");
        store.put_handovers(self.chain.handovers()).unwrap();
        store.append(&Apply { target: Height::ZERO, parts, tip }).unwrap();
        let state = self.chain.state(HEIGHT).unwrap();
        let records = state
            .records()
            .skip(missing)
            .map(|(key, record)| (StateSpace::Values, Bytes::copy_from_slice(key.as_bytes()), Some(record.clone())));
        let pages = state.pages().map(|(key, page)| (StateSpace::Pages, key.to_bytes().into(), Some(page.clone())));
        store.commit(HEIGHT, &mut records.chain(pages)).unwrap();
        store
    }
}

/// Copies a store that nobody has open.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { assert!(std::fs::copy(&path, &target).is_ok()) }
    }
}

/// Refuses every block.
pub(crate) struct Broken;

impl Application for Broken {
    fn applied(&self) -> Height {
        Height::ZERO
    }

    fn execute(&mut self, _: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        Err(ExecuteError::Permanent("broken".into()))
    }

    fn adopt(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.execute(blocks)
    }

    fn uncommitted(&self) -> usize {
        0
    }

    fn commit(&mut self) -> Result<(), ExecuteError> {
        self.persist()
    }

    fn persist(&mut self) -> Result<(), ExecuteError> {
        Ok(())
    }

    fn restore(&mut self, _: Height) -> Result<(), ExecuteError> {
        Err(ExecuteError::Permanent("broken".into()))
    }
}
