//! The other side of the examples: a generated chain with a ledger, and a peer in this process that serves it over QUIC.
#![allow(dead_code, reason = "each example uses a part of it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::calls::Apply;
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_tokio::StoreHandler;
use hotstuff2_sync_tokio::net::{Identity, NetworkEvent, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, StateSpace, StateStore as _, StoreAnchor};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Any free port of this machine.
pub(crate) const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The height of the state that is served.
pub(crate) const SNAPSHOT: Height = Height::new(240);

pub(crate) struct Peer {
    pub(crate) chain: TestChain,
    pub(crate) store: Arc<DiskStore<NativeChain>>,
    pub(crate) address: SocketAddr,
    /// Removed in the end.
    pub(crate) folder: tempfile::TempDir,
    _network: (QuicNetwork, tokio::sync::mpsc::Receiver<NetworkEvent>),
}

impl Peer {
    /// A peer that serves all of the chain. To be called within a tokio runtime.
    pub(crate) fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let spec = ChainSpec { blocks: 300, snapshot_interval: 80, ..ChainSpec::default() };
        let chain = TestChain::with_ledger(spec, 500, 100)?;
        let folder = tempfile::tempdir()?;
        let store = Arc::new(stored(&chain, &folder.path().join("peer"))?);
        let handler = Arc::new(StoreHandler::new(Arc::clone(&store)));
        let network = QuicNetwork::bind(HERE, Identity::generate()?, QuicLimits::default(), Some(handler))?;
        Ok(Self { chain, store, address: network.0.local_addr()?, folder, _network: network })
    }
}

/// A new store in `dir` with the chain's blocks and a state.
fn stored(chain: &TestChain, dir: &Path) -> Result<DiskStore<NativeChain>, Box<dyn std::error::Error>> {
    let store = DiskStore::create(dir, Arc::new(chain.chain()), &StoreAnchor::from(chain.genesis()))?;
    store.put_handovers(chain.handovers())?;
    store.append(&Apply { target: Height::ZERO, parts: chain.parts().to_vec(), tip: None })?;
    let state = chain.state(SNAPSHOT).ok_or("the chain has a state at every snapshot height")?;
    let values = state.records().map(|(key, row)| (StateSpace::Values, key.as_bytes().to_vec(), row.clone()));
    let pages = state.pages().map(|(key, row)| (StateSpace::Pages, key.to_bytes().to_vec(), row.clone()));
    let mut rows = values.chain(pages).map(|(space, key, row)| (space, Bytes::from(key), Some(row)));
    store.commit(SNAPSHOT, &mut rows)?;
    Ok(store)
}
