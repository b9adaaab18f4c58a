//! A sync over sessions alone: from an honest server, with a liar beside it that is banned wherever it comes from.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync_testkit::chain::TestChain;

use super::SyncBuilder;
use crate::StoreHandler;
use crate::net::{ConnectError, Handler, HandlerFn, Identity, Network as _, QuicLimits, QuicNetwork};
use crate::test_world::World;

const SOON: Duration = Duration::from_secs(60);

fn bind(handler: Option<Arc<dyn Handler>>) -> (QuicNetwork, tokio::sync::mpsc::Receiver<crate::net::NetworkEvent>) {
    let any = "127.0.0.1:0".parse().unwrap();
    QuicNetwork::bind(any, Identity::generate().unwrap(), QuicLimits::default(), handler).unwrap()
}

/// Listens over TCP for peers of `chain`, and says under which name.
fn listen(network: &QuicNetwork, chain: &TestChain) -> String {
    let address = network.listen_tcp("127.0.0.1:0".parse().unwrap(), chain.genesis().chain_id()).unwrap();
    format!("tcp://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_over_tcp_ends_at_the_tip_and_a_liar_is_banned_on_every_way() {
    let world = World::new();
    let chain_id = world.chain.genesis().chain_id();
    let (server, _server_events) = bind(Some(Arc::new(StoreHandler::new(Arc::new(world.full())))));
    // Data that is no answer to anything.
    let lies = HandlerFn::new(|_, _| Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 0xff]));
    let (liar, _liar_events) = bind(Some(Arc::new(lies)));
    let store = Arc::new(world.create("late"));
    let (network, events) = bind(Some(Arc::new(StoreHandler::new(Arc::clone(&store)))));
    let network = Arc::new(network);
    let at = listen(&liar, &world.chain);
    network.keep_tcp(at.parse().unwrap(), chain_id);
    let connected = async {
        while network.links().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, connected).await.expect("the liar is there first");
    let chain = Arc::new(world.chain.chain());
    let sync = SyncBuilder::new(chain, store, Arc::clone(&network) as _, events).start().unwrap();
    network.keep_tcp(listen(&server, &world.chain).parse().unwrap(), chain_id);
    let tip = world.chain.tip_height();
    let mut position = sync.position();
    let applied = position.wait_for(|position| position.applied.is_some_and(|head| head.height == tip));
    drop(tokio::time::timeout(SOON, applied).await.expect("the tip is applied").unwrap());
    // The liar was asked by then, or is when its turn comes.
    let liar_tcp = at.strip_prefix("tcp://").unwrap().parse().unwrap();
    let banned = async {
        loop {
            let over_tcp = network.connect_tcp(liar_tcp, Some(liar.local_peer()), chain_id).await;
            if matches!(over_tcp, Err(ConnectError::Banned { .. })) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, banned).await.expect("the liar is banned");
    let over_quic = network.connect(liar.local_addr().unwrap(), Some(liar.local_peer())).await;
    assert!(matches!(over_quic, Err(ConnectError::Banned { .. })), "{over_quic:?}");
    sync.shutdown().await;
    server.close().await;
    liar.close().await;
}
