//! Belief in addresses and the telling of them, over a network without sockets and on a paused clock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::{
    Answer, KnownPeer, Refusal, Request, decode_peers, encode_answer, encode_peers, encode_refusal,
};

use super::*;
use crate::net::{Handler as _, HandlerFn, Network, PeerLink, ResponseError};
use crate::test_network::TestNetwork;

fn id(number: u8) -> PeerId {
    PeerId::from_bytes([number; 32])
}

fn at(number: u8, address: &str) -> KnownPeer {
    KnownPeer { id: id(number), address: address.parse().unwrap() }
}

fn link(peer: KnownPeer, dialled: bool) -> PeerLink {
    PeerLink { peer: peer.id, address: peer.address, dialled }
}

/// A network whose peers know nobody.
fn lonely() -> Arc<TestNetwork> {
    Arc::new(TestNetwork::new(|_, _, _| Some(Ok(encode_peers([])))))
}

/// A discovery over `network` that begins with `book`.
fn start(network: &Arc<TestNetwork>, book: AddressBook) -> (Discovery, DiscoveryTask) {
    let discovery = Discovery::new(book, DiscoverySettings::default());
    let network = Arc::clone(network) as Arc<dyn Network>;
    let task = discovery.start(&network, &SyncConfig::default(), Vec::new(), |_| ());
    (discovery, task)
}

#[tokio::test(start_paused = true)]
async fn who_connects_is_told_of_others_and_where_it_says_to_be_is_only_heard() {
    let network = lonely();
    network.links.lock().unwrap().push(link(at(5, "9.9.9.9:40000"), false));
    let mut book = AddressBook::new(1);
    book.answered(at(1, "8.8.8.8:7"), UnixMillis::new(1));
    let (discovery, _task) = start(&network, book);
    let handler = discovery.handler(Arc::new(HandlerFn::new(|_, _| panic!("that is discovery's to answer"))));
    let ask = |peer| handler.handle(peer, Request::Peers { max: u32::MAX, port: 9 }.encode().into());

    let Ok(Answer::Data(told)) = Answer::decode(ask(id(5))) else { panic!("it is connected") };
    assert_eq!(decode_peers(told), Ok(vec![at(1, "8.8.8.8:7")]));
    let book = discovery.snapshot();
    assert_eq!(book.candidates().collect::<Vec<_>>(), [at(5, "9.9.9.9:9")]);
    assert_eq!(book.peers().map(|(id, _)| id).collect::<Vec<_>>(), [id(1)]);

    // A peer that isn't connected any more can't be told what it can reach, and isn't heard.
    assert_eq!(ask(id(6)), encode_refusal(Refusal::NotAvailable));
    assert_eq!(discovery.snapshot().candidates().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn that_a_peer_came_from_elsewhere_says_nothing_of_where_it_was_dialled() {
    let (old, dialled) = (at(1, "8.8.8.8:7"), UnixMillis::new(1));
    for (comes, counts) in [(link(at(1, "9.9.9.9:40000"), false), false), (link(old, true), true)] {
        let mut book = AddressBook::new(1);
        book.answered(old, dialled);
        book.failed(old, false, 3);
        let network = lonely();
        *network.comes.lock().unwrap() = Some(comes);
        let (discovery, _task) = start(&network, book);
        assert_eq!(discovery.discover_sync_peers().await, [id(1)]);
        let book = discovery.snapshot();
        let (_, entry) = book.peers().next().unwrap();
        assert_eq!(entry.addresses.len(), 1);
        assert_eq!((entry.addresses[0].failures == 0, entry.addresses[0].last_success > dialled), (counts, counts));
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_peers_is_read_no_further_than_it_may_be_long() {
    let request = |port| Request::Peers { max: 64, port };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let (endless, silent) = (id(1), id(2));
    let network: Arc<dyn Network> = Arc::new(TestNetwork::new(move |peer, bytes, most| {
        seen.lock().unwrap().push((Request::decode(&bytes).unwrap(), most));
        (peer == endless).then(|| match most {
            0..=1_000_000 => Err(ResponseError::Oversize { peer, limit: most }),
            _ => Ok(encode_answer(0).into()),
        })
    }));
    assert_eq!(exchange::ask(Arc::clone(&network), endless, 7).await, Err(Fault::Oversize));
    let most = usize::try_from(request(7).max_response_bytes()).unwrap();
    assert_eq!(*asked.lock().unwrap(), [(request(7), most)]);
    // Silence is no fault, and waited for no longer than a moment.
    assert_eq!(exchange::ask(network, silent, 0).await, Ok(Vec::new()));
}

#[test]
fn of_who_is_banned_a_file_brings_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(BOOK_FILE);
    let (source, candidate) = (SocketAddr::from(([9, 9, 9, 9], 7)), at(1, "8.8.8.8:7"));
    let mut book = AddressBook::new(1);
    assert!(book.hear(id(9), source, candidate));
    book.save(&path).unwrap();
    assert_eq!(AddressBook::load(&path, 1).unwrap().candidates().collect::<Vec<_>>(), [candidate]);
    book.bans.insert(candidate.id, UnixMillis::new(9));
    book.save(&path).unwrap();
    let book = AddressBook::load(&path, 1).unwrap();
    assert!(book.is_banned(candidate.id) && book.is_empty());
}
