//! Sessions over real sockets on loopback: `talk` between honest nodes, `hostile` against peers that break the rules,
//! `websocket` with pages.

mod hostile;
mod talk;
mod websocket;

use super::*;
use hotstuff2_sync::hash::Hash;

const CHAIN: Hash = Hash::from_bytes([0xcc; 32]);

/// A node that listens over TCP as well.
struct TcpNode {
    node: Node,
    tcp: SocketAddr,
}

impl TcpNode {
    fn new(limits: QuicLimits, handler: Option<Arc<dyn Handler>>) -> Self {
        Self::of(Node::new(limits, handler))
    }

    fn serving(handler: impl Handler) -> Self {
        Self::of(Node::serving(handler))
    }

    fn of(node: Node) -> Self {
        let tcp = node.network.listen_tcp("127.0.0.1:0".parse().unwrap(), CHAIN).unwrap();
        Self { node, tcp }
    }

    fn peer(&self) -> PeerId {
        self.node.peer
    }
}

/// Lets `client` dial `server` over TCP, until both know.
async fn meet(client: &mut Node, server: &mut TcpNode) {
    let found = client.network.connect_tcp(server.tcp, Some(server.peer()), CHAIN).await.unwrap();
    assert_eq!(found, server.peer());
    assert_eq!(client.event().await, NetworkEvent::Connected { peer: found, address: server.tcp });
    let NetworkEvent::Connected { peer, address } = server.node.event().await else { panic!("somebody has come") };
    assert_eq!((peer, address.ip()), (client.peer, server.tcp.ip()));
}
