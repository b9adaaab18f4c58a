//! Datagrams that cost more than their bytes are worth. Each test has one thread, so that its CPU time is theirs.

use std::net::UdpSocket;

use hotstuff2_sync_testkit::pieces::PieceMaker;

use super::super::meter::thread_cpu;
use super::super::{ConnectError, DisconnectReason};
use super::*;

/// Bytes of an Ethernet frame's UDP payload.
const FRAME: usize = 1472;

/// CPU time of this thread in milliseconds that `what` takes, and all else that is due meanwhile.
async fn cpu_millis(what: impl Future<Output = ()>) -> u64 {
    let begin = thread_cpu();
    what.await;
    (thread_cpu() - begin) / 1000
}

/// An honest node gets its answer, for which all that came to `server` before it must be done.
async fn is_answered(server: &Node) {
    let client = Node::asking();
    timeout(SOON, client.network.connect(server.address, Some(server.peer))).await.unwrap().unwrap();
    let answer = timeout(SOON, client.network.request(server.peer, Bytes::from_static(b"honest"), 10)).await;
    assert_eq!(&answer.unwrap().unwrap()[..], b"honest");
}

#[tokio::test]
async fn one_datagram_costs_what_its_bytes_cost() {
    let server = Node::serving(echo());
    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    let alone = cpu_millis(is_answered(&server)).await;
    let large: Vec<_> = (0..20).map(|id| PieceMaker::client(id).unwrap().whole(60_000).unwrap()).collect();
    let spent = cpu_millis(async {
        for datagram in &large {
            attacker.send_to(datagram, server.address).unwrap();
            // Room in the socket for the next.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        is_answered(&server).await;
    });
    let spent = spent.await;
    assert!(
        spent < alone + 200,
        "{spent} ms for 20 datagrams of 60,000 bytes, and {alone} ms for an honest peer alone"
    );

    // A datagram that fits in a frame is taken, and costs a hundred times what it should: that connection is closed.
    let mut maker = PieceMaker::client(1000).unwrap();
    let mut frames = maker.gaps(FRAME).unwrap();
    frames.extend((0..2000).map(|_| maker.repeated(FRAME).unwrap()));
    let spent = cpu_millis(async {
        for batch in frames.chunks(50) {
            for datagram in batch {
                attacker.send_to(datagram, server.address).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        is_answered(&server).await;
    });
    let spent = spent.await;
    assert!(spent < alone + 600, "{spent} ms for 2,000 datagrams of a frame, and {alone} ms for an honest peer alone");
}

#[tokio::test]
async fn a_dialled_peer_whose_datagrams_cost_too_much_is_given_up() {
    let node = Node::serving(echo());
    let liar = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = liar.local_addr().unwrap();
    let lie = tokio::spawn(async move {
        let mut first = vec![0; 65_536];
        let (len, client) = liar.recv_from(&mut first).await.unwrap();
        let mut maker = PieceMaker::server(&first[..len]).unwrap();
        // Large ones are taken from whom this node dials on this machine. Each costs more than a handshake may, and all
        // together little enough for a busy machine.
        for _ in 0..6 {
            let _ = liar.send_to(&maker.whole(20_000).unwrap(), client).await;
        }
        liar
    });
    let error = timeout(SOON, node.network.connect(address, None)).await.unwrap().unwrap_err();
    let ConnectError::Refused { reason, .. } = &error else { panic!("{error}") };
    assert_eq!(*reason, DisconnectReason::Local("cost too much".into()));
    let _liar = lie.await.unwrap();
    is_answered(&node).await;
}
