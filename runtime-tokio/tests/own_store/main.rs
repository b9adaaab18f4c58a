//! A store of another kind than ours: it passes what every store must do, as ours does, and a node syncs into it and
//! serves from it.

mod memory_store;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::notary::Notary;
use hotstuff2_sync_tokio::net::{Handler, Identity, Network as _, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::conformance::{StoreCase, check_store};
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, StoreAnchor};
use hotstuff2_sync_tokio::{PeerAddress, StoreHandler, SyncBuilder};

use memory_store::{Memory, MemoryStore};

/// More than two cells of the grid.
const BLOCKS: u64 = 2500;

fn notary() -> Notary {
    let mut notary = Notary::new(3);
    (1..=BLOCKS).for_each(|height| notary.push(vec![height as u8; 1 + (height % 300) as usize]));
    notary
}

fn anchor(notary: &Notary) -> StoreAnchor {
    let (point, epoch) = notary.anchor();
    let (chain_id, genesis, snapshot_interval) = (notary.chain_id(), notary.genesis(), NonZeroU64::MAX);
    StoreAnchor { chain_id, genesis, point, epoch, snapshot_interval }
}

/// Both kinds of store through all rules.
fn check<C: Chain + Clone>(case: &StoreCase<'_, C>, anchor: &StoreAnchor) {
    let chain = Arc::new(case.chain.clone());
    let folder = tempfile::tempdir().unwrap();
    check_store(case, || DiskStore::open_or_create(folder.path(), Arc::clone(&chain), anchor).unwrap().0).unwrap();
    let memory = Memory::new(anchor);
    check_store(case, || MemoryStore::open(Arc::clone(&chain), &memory)).unwrap();
}

#[test]
fn every_kind_of_store_keeps_the_rules_for_every_kind_of_chain() {
    let notary = notary();
    let (chain, anchor) = (notary.chain(), anchor(&notary));
    let (chain_id, parts, handovers) = (notary.chain_id(), notary.parts(Height::ZERO), Vec::new());
    check(&StoreCase { chain: &chain, chain_id, anchor: anchor.point, parts, handovers }, &anchor);

    // The native chain, through the ends of epochs.
    let native = TestChain::new(ChainSpec { blocks: 300, ..ChainSpec::default() }).unwrap();
    let (chain, anchor) = (native.chain(), StoreAnchor::from(native.genesis()));
    let (chain_id, parts, handovers) = (anchor.chain_id, native.parts().to_vec(), native.handovers().to_vec());
    check(&StoreCase { chain: &chain, chain_id, anchor: anchor.point, parts, handovers }, &anchor);
}

#[test]
fn a_store_that_breaks_a_rule_is_told_which() {
    let notary = notary();
    let (chain, anchor) = (notary.chain(), anchor(&notary));
    let (chain_id, parts, handovers) = (notary.chain_id(), notary.parts(Height::ZERO), Vec::new());
    let case = StoreCase { chain: &chain, chain_id, anchor: anchor.point, parts, handovers };
    // One that forgets at each restart.
    let forgets = check_store(&case, || MemoryStore::open(Arc::new(chain.clone()), &Memory::new(&anchor)));
    assert_eq!(forgets.unwrap_err().rule, "the head is proven");
    let other = StoreCase { anchor: BlockPoint { height: Height::new(9), ..anchor.point }, ..case.clone() };
    let memory = Memory::new(&anchor);
    let elsewhere = check_store(&other, || MemoryStore::open(Arc::new(chain.clone()), &memory));
    assert_eq!(elsewhere.unwrap_err().rule, "a new store stands at its anchor and has nothing above it");
    let few = StoreCase { parts: case.parts[..2].to_vec(), ..case };
    assert_eq!(check_store(&few, || MemoryStore::open(Arc::new(chain.clone()), &memory)).unwrap_err().rule, "case");
}

fn bind(
    handler: Option<Arc<dyn Handler>>,
) -> (QuicNetwork, tokio::sync::mpsc::Receiver<hotstuff2_sync_tokio::net::NetworkEvent>) {
    let address = "127.0.0.1:0".parse().unwrap();
    QuicNetwork::bind(address, Identity::generate().unwrap(), QuicLimits::default(), handler).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_syncs_into_a_store_of_its_own_and_another_from_it() {
    let notary = notary();
    let (chain, anchor) = (Arc::new(notary.chain()), anchor(&notary));
    let full = Arc::new(MemoryStore::open(Arc::clone(&chain), &Memory::new(&anchor)));
    let parts = notary.parts(Height::ZERO);
    full.append(&hotstuff2_sync::calls::Apply { target: Height::ZERO, parts, tip: None }).unwrap();
    let mut from = full;
    for _ in 0..2 {
        let (server, _news) = bind(Some(Arc::new(StoreHandler::new(Arc::clone(&from)))));
        let late = Arc::new(MemoryStore::open(Arc::clone(&chain), &Memory::new(&anchor)));
        let (network, events) = bind(None);
        let peer = PeerAddress { address: server.local_addr().unwrap(), id: None };
        let sync = SyncBuilder::new(Arc::clone(&chain), Arc::clone(&late) as _, Arc::new(network), events)
            .with_peers(vec![peer])
            .start()
            .unwrap();
        let mut progress = sync.progress();
        let reached = progress.wait_for(|progress| progress.current == notary.tip().height);
        drop(tokio::time::timeout(Duration::from_secs(60), reached).await.expect("it takes no minute").unwrap());
        sync.shutdown().await;
        assert_eq!(late.stored(), notary.tip());
        server.close().await;
        from = late;
    }
}
