//! A store of one's own. This one notes what is appended and leaves the rest to `DiskStore`; one over another database
//! writes each of these methods for itself, with the durability that `BlockStore` asks for.
//!
//! `cargo run -p hotstuff2-sync-tokio --example own_store`

mod peer;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hotstuff2_sync::calls::{Apply, ApplyPart, BlockPoint};
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::chain::{EpochRef, Finalized};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::machine::Event;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::{ChainReader, StoredSegment};
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::PeerStatus;
use hotstuff2_sync_tokio::net::{Identity, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{BlockStore, BoxedState, DiskStore, StoreAnchor, StoreFailure};
use hotstuff2_sync_tokio::{SyncBuilder, SyncEvent};

struct Noting {
    disk: DiskStore<NativeChain>,
    blocks: AtomicU64,
}

/// Methods of `Noting` that are those of its `DiskStore`.
macro_rules! passed_on {
    ($(fn $name:ident(&self $(, $given:ident: $kind:ty)*) -> $result:ty;)*) => {
        $(fn $name(&self $(, $given: $kind)*) -> $result { self.disk.$name($($given),*) })*
    };
}

type Read<T> = Result<T, StoreFailure>;

impl ChainReader for Noting {
    type Error = StoreFailure;
    type State = BoxedState;

    passed_on! {
        fn status(&self) -> PeerStatus;
        fn handover(&self, epoch: Epoch) -> Read<Option<bytes::Bytes>>;
        fn tip(&self) -> Read<Option<bytes::Bytes>>;
        fn segment(&self, range: HeightRange, certified: bool, audit: bool) -> Read<Option<StoredSegment>>;
        fn follow_range(&self, after: Height) -> Option<HeightRange>;
        fn bodies(&self, range: HeightRange, max_bytes: u32, out: &mut Vec<u8>) -> Read<bool>;
        fn newest_state(&self) -> Read<Option<(bytes::Bytes, BoxedState)>>;
        fn states(&self, near: Height) -> Read<Vec<BoxedState>>;
    }
}

impl BlockStore for Noting {
    fn append(&self, apply: &Apply) -> Read<()> {
        self.disk.append(apply)?;
        // Durable now. A call whose answer was lost comes again, so a real note would be by height.
        let blocks: u64 = apply.parts.iter().map(|part| part.segment.range().count()).sum();
        self.blocks.fetch_add(blocks, Ordering::Relaxed);
        Ok(())
    }

    passed_on! {
        fn chain_id(&self) -> Hash;
        fn stored(&self) -> BlockPoint;
        fn stored_proof(&self) -> Read<Option<Finalized>>;
        fn epochs(&self) -> Read<(EpochRef, Vec<HandoverLink>)>;
        fn epoch_of(&self, height: Height) -> Read<Option<EpochRef>>;
        fn put_handovers(&self, links: &[HandoverLink]) -> Read<()>;
        fn read(&self, range: HeightRange, max_bytes: u64) -> Read<Option<ApplyPart>>;
        fn snapshot_interval(&self) -> NonZeroU64;
        fn version(&self) -> u64;
        fn subscribe(&self) -> tokio::sync::watch::Receiver<Height>;
    }
}

#[tokio::main]
pub(crate) async fn main() -> peer::Outcome {
    let peer = peer::Peer::start()?;
    let chain = Arc::new(peer.chain.chain());
    let anchor = StoreAnchor::from(peer.chain.genesis());
    let disk = DiskStore::create(&peer.folder.path().join("node"), Arc::clone(&chain), &anchor)?;
    let store = Arc::new(Noting { disk, blocks: AtomicU64::new(0) });
    let (network, events) = QuicNetwork::bind(peer::HERE, Identity::generate()?, QuicLimits::default(), None)?;
    let mut sync = SyncBuilder::new(chain, Arc::clone(&store) as _, Arc::new(network), events)
        .with_peers(vec![peer.address])
        .start()?;
    while let Some(event) = sync.next_event().await {
        if let SyncEvent::Machine(Event::Reached(at)) = event {
            println!("reached height {}", at.height);
            break;
        }
    }
    sync.shutdown().await;
    println!("{} blocks were appended", store.blocks.load(Ordering::Relaxed));
    assert!(store.blocks.load(Ordering::Relaxed) >= peer.chain.tip_height().get());
    Ok(())
}
