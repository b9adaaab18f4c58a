//! Single blocks from peers that give another one, or none, over a network without sockets and on a paused clock.

use std::sync::{Arc, Mutex};

use hotstuff2_sync::chain::native::Block;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::Request;
use tokio::time::timeout;

use super::blocks::{Gathered, StoredBlocks};
use super::peers::SyncPeers;
use super::*;
use crate::StoreHandler;
use crate::discovery::{AddressBook, Discovery, DiscoverySettings};
use crate::net::{Handler as _, Network, PeerLink};
use crate::test_network::TestNetwork;
use crate::test_world::{Store, World};

const HEIGHT: Height = Height::new(9);

fn id(number: u8) -> PeerId {
    PeerId::from_bytes([number; 32])
}

fn stored(world: &World, store: Store) -> StoredBlocks {
    let chain = Arc::new(world.chain.chain());
    StoredBlocks { store: Arc::new(store), chain }
}

/// Asks these peers, in the order of their ids.
fn requester(world: &World, network: &Arc<TestNetwork>, peers: &[PeerId]) -> BlockRequester {
    let address = ([9, 9, 9, 9], 7).into();
    network.links.lock().unwrap().extend(peers.iter().map(|&peer| PeerLink { peer, address, dialled: true }));
    let network = Arc::clone(network) as Arc<dyn Network>;
    let discovery = Discovery::new(AddressBook::new(1), DiscoverySettings::default());
    let peers = Arc::new(SyncPeers::new(Arc::clone(&network), discovery));
    let blocks = stored(world, world.create("late"));
    BlockRequester { network, peers, blocks, config: Arc::new(SyncConfig::default()) }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_waited_for_as_long_as_any_peer_and_then_another_is_asked() {
    let world = World::new();
    let full = StoreHandler::new(Arc::new(world.full()));
    let (silent, honest) = (id(1), id(2));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let network = Arc::new(TestNetwork::new(move |peer, request, _| {
        seen.lock().unwrap().push(peer);
        (peer == honest).then(|| Ok(full.handle(peer, request)))
    }));
    let requester = requester(&world, &network, &[silent, honest]);
    let most = requester.config.peer_timeout * 2;
    let block = timeout(most, requester.request_block(HEIGHT)).await.expect("silence ends").unwrap();
    let typed = Block::try_from(&block).unwrap();
    assert_eq!(Some(&typed.header), world.chain.header(HEIGHT));
    assert_eq!(Some(&block.payload), world.chain.payload(HEIGHT).as_ref());
    assert_eq!(*asked.lock().unwrap(), [silent, honest]);
    assert!(network.banned.lock().unwrap().is_empty(), "silence proves nothing");
}

#[tokio::test(start_paused = true)]
async fn final_blocks_that_nobody_asked_for_ban_their_giver() {
    let world = World::new();
    let full = StoreHandler::new(Arc::new(world.full()));
    let (above, below) = (id(1), id(2));
    let network = Arc::new(TestNetwork::new(move |peer, request, _| {
        let Ok(Request::Follow { after, max_bytes, audit }) = Request::decode(&request) else { panic!("{request:?}") };
        let after = if peer == above { after.next() } else { after.prev().unwrap() };
        Some(Ok(full.handle(peer, Request::Follow { after, max_bytes, audit }.encode().into())))
    }));
    let requester = requester(&world, &network, &[above, below]);
    let none = requester.request_block(HEIGHT).await;
    assert!(matches!(none, Err(SyncError::NotGiven { height: HEIGHT, asked: 2 })), "{none:?}");
    assert_eq!(*network.banned.lock().unwrap(), [above, below]);
}

#[test]
fn no_call_returns_more_bytes_than_its_bound() {
    let world = World::new();
    let blocks = stored(&world, world.full());
    let range = HeightRange::new(Height::new(1), HEIGHT).unwrap();
    let lens: Vec<u64> =
        (1..=HEIGHT.get()).map(|height| world.chain.payload(Height::new(height)).unwrap().len() as u64).collect();
    let all: u64 = lens.iter().sum();
    assert_eq!(blocks.read_all(range, all).unwrap().unwrap().len(), lens.len());
    for (most, last) in [(all - 1, HEIGHT), (lens[0] + lens[1] - 1, Height::new(2)), (lens[0] - 1, Height::new(1))] {
        let refused = blocks.read_all(range, most);
        assert!(
            matches!(refused, Err(SyncError::TooManyBytes { from, through }) if from == range.first() && through == last),
            "{most}: {refused:?}"
        );
        // The same where they come one by one.
        let mut gathered = Gathered::new(range.first(), most);
        let each = blocks.read_all(range, all).unwrap().unwrap().into_iter();
        let refused = each.map(|block| gathered.push(block)).find_map(Result::err);
        assert!(matches!(refused, Some(SyncError::TooManyBytes { through, .. }) if through == last), "{refused:?}");
        assert!(gathered.into_blocks().iter().map(|block| block.payload.len() as u64).sum::<u64>() <= most);
    }
}
