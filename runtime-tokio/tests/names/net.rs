//! A small chain, a server of it, and late nodes, for the names that need them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::Apply;
use hotstuff2_sync::chain::HeaderFacts;
use hotstuff2_sync::chain::native::{BlockHeader, NativeChain};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::SnapshotId;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_tokio::net::{Identity, NetworkEvent, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, StateSpace, StateStore as _, StoreAnchor};
use hotstuff2_sync_tokio::{NoApplication, PeerAddress, StoreHandler, SyncManagerBuilder, TokioSyncManager};

pub(crate) const TIP: Height = Height::new(300);
/// The snapshot.
pub(crate) const HEIGHT: Height = Height::new(240);

/// A small chain, a server of it, and a late node.
pub(crate) struct Net {
    pub(crate) chain: TestChain,
    pub(crate) store: Arc<DiskStore<NativeChain>>,
    pub(crate) server: QuicNetwork,
    _news: tokio::sync::mpsc::Receiver<NetworkEvent>,
    folder: tempfile::TempDir,
}

impl Net {
    pub(crate) fn new() -> Self {
        let spec = ChainSpec { blocks: TIP.get(), snapshot_interval: 80, ..ChainSpec::default() };
        let chain = TestChain::with_ledger(spec, 500, 100).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let anchor = StoreAnchor::from(chain.genesis());
        let store = DiskStore::create(&folder.path().join("full"), Arc::new(chain.chain()), &anchor).unwrap();
        store.put_handovers(chain.handovers()).unwrap();
        store.append(&Apply { target: Height::ZERO, parts: chain.parts().to_vec(), tip: None }).unwrap();
        let state = chain.state(HEIGHT).unwrap();
        let values = state.records().map(|(key, row)| (StateSpace::Values, key.as_bytes().to_vec(), row.clone()));
        let pages = state.pages().map(|(key, row)| (StateSpace::Pages, key.to_bytes().to_vec(), row.clone()));
        let rows: Vec<_> = values.chain(pages).collect();
        let mut rows = rows.into_iter().map(|(space, key, row)| (space, Bytes::from(key), Some(row)));
        store.commit(HEIGHT, &mut rows).unwrap();
        let store = Arc::new(store);
        let handler = Arc::new(StoreHandler::new(Arc::clone(&store)));
        let address = "127.0.0.1:0".parse().unwrap();
        let identity = Identity::generate().unwrap();
        let (server, news) = QuicNetwork::bind(address, identity, QuicLimits::default(), Some(handler)).unwrap();
        Self { chain, store, server, _news: news, folder }
    }

    /// A late node whose application keeps its state in the store.
    pub(crate) fn late(&self, name: &str) -> TokioSyncManager {
        let builder = SyncManagerBuilder::open(self.chain.genesis(), self.folder.path().join(name)).unwrap();
        let application = NoApplication::new(builder.store().stored().height);
        builder
            .with_config(SyncConfig { strategy_switch_threshold: 0, ..SyncConfig::default() })
            .with_listen("127.0.0.1:0".parse().unwrap())
            .with_peers([PeerAddress { address: self.server.local_addr().unwrap(), id: None }])
            .with_stored_application(Box::new(application))
            .build()
            .unwrap()
    }

    pub(crate) fn facts(&self, height: Height) -> HeaderFacts {
        let header: &BlockHeader = self.chain.header(height).unwrap();
        HeaderFacts { id: header.id(), state_root: header.state_root, timestamp: header.timestamp }
    }

    pub(crate) fn snapshot(&self) -> SnapshotId {
        SnapshotId::of(HEIGHT, &self.facts(HEIGHT))
    }
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it should take no minute")
}
