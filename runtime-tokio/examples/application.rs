//! An application of one's own: executes every block, in order, exactly once as far as its own state goes.
//!
//! `cargo run -p hotstuff2-sync-tokio --example application`

mod peer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hotstuff2_sync::ids::Height;
use hotstuff2_sync_tokio::{AppBlock, Application, ExecuteError, SyncManager as _, SyncManagerBuilder};

/// Adds up the bytes of all payloads. It keeps nothing on disk, so it stands at genesis whenever it starts, and the sync
/// hands it the stored blocks again.
struct Total {
    applied: Height,
    bytes: Arc<AtomicU64>,
}

impl Application for Total {
    fn applied(&self) -> Height {
        self.applied
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        for block in blocks {
            self.bytes.fetch_add(block.payload.len() as u64, Ordering::Relaxed);
            // One with a state compares its root with `block.state_root` here, and says `StateMismatch` where they differ.
            self.applied = block.height;
        }
        Ok(())
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
        // What is written here, `applied` must say at the next start.
        Ok(())
    }

    fn restore(&mut self, _: Height) -> Result<(), ExecuteError> {
        Err(ExecuteError::Permanent("a sum has no state that could be fetched".into()))
    }
}

#[tokio::main]
pub(crate) async fn main() -> peer::Outcome {
    let peer = peer::Peer::start()?;
    let bytes = Arc::new(AtomicU64::new(0));
    let total = Total { applied: Height::ZERO, bytes: Arc::clone(&bytes) };
    let mut sync = SyncManagerBuilder::open(peer.chain.genesis(), peer.folder.path().join("node"))?
        .with_listen(peer::HERE)
        .with_peers([peer.address])
        .with_application(Box::new(total))
        .build()?;
    sync.start_sync(None).await?;
    let at = sync.synced().await?;
    sync.shutdown().await;
    println!("{} bytes in the payloads of {} blocks", bytes.load(Ordering::Relaxed), at.height);
    let there = (1..=at.height.get()).filter_map(|height| peer.chain.payload(Height::new(height)));
    assert_eq!(bytes.load(Ordering::Relaxed), there.map(|payload| payload.len() as u64).sum::<u64>());
    Ok(())
}
