//! A trace of a sync of a chain of another kind, over a store and a network that the node brings itself.

use std::sync::Arc;

use hotstuff2_sync::trace::{Replayer, TraceFrames};
use hotstuff2_sync_tokio::net::{Identity, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::{SyncBuilder, SyncManager as _};

use crate::net::{Net, serve, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_of_a_chain_of_another_kind_is_played_again() {
    let net = Net::new();
    let server = serve(net.handler(&net.full()));
    let (store, file) = (net.create("late"), net.path("trace"));
    let address = "127.0.0.1:0".parse().unwrap();
    let (network, events) =
        QuicNetwork::bind(address, Identity::generate().unwrap(), QuicLimits::default(), None).unwrap();
    let builder = SyncBuilder::new(Arc::clone(store.chain()), Arc::clone(&store) as _, Arc::new(network) as _, events)
        .with_peers(vec![server.address()])
        .with_recording(&file);
    let mut sync = builder.manage(store).unwrap();
    sync.start_sync(None).await.unwrap();
    let at = soon(sync.synced()).await.unwrap();
    assert_eq!(at, net.notary.tip());
    soon(sync.shutdown()).await;

    let mut frames = TraceFrames::default();
    frames.push(&std::fs::read(file).unwrap());
    let (mut replayer, _) = Replayer::new(frames.take().unwrap().unwrap()).unwrap();
    let mut steps = 0;
    while let Some(frame) = frames.take().unwrap() {
        let step = replayer.read(frame).unwrap();
        replayer.play(step).unwrap();
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
    assert_eq!(replayer.machine().applied(), at.height);
}
