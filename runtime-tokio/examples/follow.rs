//! Catches up with a network and follows it: the shortest way to a node.
//!
//! `cargo run -p hotstuff2-sync-tokio --example follow`

mod peer;

use hotstuff2_sync_tokio::{SyncManager as _, SyncManagerBuilder, SyncStatus};

#[tokio::main]
pub(crate) async fn main() -> peer::Outcome {
    let peer = peer::Peer::start()?;
    // The genesis document is all that is trusted. The folder is made where it is missing; a node that was stopped, or
    // killed, goes on from what it holds.
    let mut sync = SyncManagerBuilder::open(peer.chain.genesis(), peer.folder.path().join("node"))?
        .with_listen(peer::HERE)
        .with_peers([peer.address])
        .build()?;
    // Every event says what happened; nothing has to be done about it, and nobody has to listen.
    let mut events = sync.events();
    let listener = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            println!("{event:?}");
        }
    });
    sync.start_sync(None).await?;
    let at = sync.synced().await?;
    println!("caught up at height {}, block {}", at.height, at.id);
    // From here on it follows the network, and serves what it has verified, until it is stopped.
    assert!(matches!(sync.get_sync_status().await?, SyncStatus::Following { .. }));
    assert_eq!(at.height, peer.chain.tip_height());
    sync.shutdown().await;
    listener.await?;
    Ok(())
}
