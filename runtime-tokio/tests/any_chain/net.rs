//! A small chain, servers of it and late nodes.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::calls::Apply;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_testkit::notary::{Notary, NotaryChain};
use hotstuff2_sync_tokio::net::{Handler, Identity, Network as _, NetworkEvent, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, StoreAnchor};
use hotstuff2_sync_tokio::{PeerAddress, StoreHandler, SyncManagerBuilder};

pub(crate) type Store = DiskStore<NotaryChain>;

/// More than two cells of the grid.
pub(crate) const TIP: Height = Height::new(2500);

pub(crate) struct Net {
    pub(crate) notary: Notary,
    folder: tempfile::TempDir,
}

pub(crate) struct Server {
    pub(crate) network: QuicNetwork,
    _news: tokio::sync::mpsc::Receiver<NetworkEvent>,
}

impl Server {
    pub(crate) fn address(&self) -> PeerAddress {
        PeerAddress { address: self.network.local_addr().unwrap(), id: Some(self.network.local_peer()) }
    }
}

pub(crate) fn serve(handler: Arc<dyn Handler>) -> Server {
    let address = "127.0.0.1:0".parse().unwrap();
    let (network, news) =
        QuicNetwork::bind(address, Identity::generate().unwrap(), QuicLimits::default(), Some(handler)).unwrap();
    Server { network, _news: news }
}

/// Blocks that come to `store` from the notary itself.
pub(crate) fn append(store: &Store, notary: &Notary) {
    let parts = notary.parts(store.stored().height);
    store.append(&Apply { target: Height::ZERO, parts, tip: None }).unwrap();
}

impl Net {
    pub(crate) fn new() -> Self {
        let mut notary = Notary::new(7);
        (1..=TIP.get()).for_each(|height| notary.push(height.to_le_bytes().repeat((height % 40) as usize)));
        Self::of(notary)
    }

    pub(crate) fn of(notary: Notary) -> Self {
        Self { notary, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn anchor(&self) -> StoreAnchor {
        let (point, epoch) = self.notary.anchor();
        StoreAnchor {
            chain_id: self.notary.chain_id(),
            genesis: self.notary.genesis(),
            point,
            epoch,
            snapshot_interval: Notary::snapshot_interval(),
        }
    }

    pub(crate) fn create(&self, name: &str) -> Arc<Store> {
        Arc::new(Store::create(&self.path(name), Arc::new(self.notary.chain()), &self.anchor()).unwrap())
    }

    /// A store with all blocks.
    pub(crate) fn full(&self) -> Arc<Store> {
        let store = self.create("full");
        append(&store, &self.notary);
        store
    }

    pub(crate) fn handler(&self, store: &Arc<Store>) -> Arc<dyn Handler> {
        Arc::new(StoreHandler::new(Arc::clone(store)))
    }

    pub(crate) fn builder(&self, name: &str) -> SyncManagerBuilder<NotaryChain> {
        let chain = Arc::new(self.notary.chain());
        let builder = SyncManagerBuilder::open_chain(chain, &self.anchor(), self.path(name)).unwrap();
        builder.with_listen("127.0.0.1:0".parse().unwrap())
    }
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it should take no minute")
}
