use std::time::Duration;

use hotstuff2_sync::chain::native::{PROFILE, TrustAnchor};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::At;
use hotstuff2_sync::state::Record;
use hotstuff2_sync::wire::{Answer, Request};

use super::*;
use crate::StoreHandler;
use crate::net::{Handler, HandlerFn, Identity, QuicLimits, QuicNetwork};
use crate::test_world::{HEIGHT, Store, World};

/// Long, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn bind(handler: Option<Arc<dyn Handler>>) -> (QuicNetwork, mpsc::Receiver<NetworkEvent>) {
    let address = "127.0.0.1:0".parse().unwrap();
    QuicNetwork::bind(address, Identity::generate().unwrap(), QuicLimits::default(), handler).unwrap()
}

/// Peers on one machine are of one group, so nobody can be another's witness here.
fn start(world: &World, start: LightStart, servers: &[QuicNetwork]) -> LightNode {
    let (network, events) = bind(None);
    let config = LightConfig { witnesses: 0, ..LightConfig::default() };
    let peers = servers.iter().map(|server| server.local_addr().unwrap().into()).collect();
    LightNode::start(Arc::new(world.chain.chain()), config, start, 7, Arc::new(network), events, peers).unwrap()
}

async fn tip(node: &LightNode) -> Height {
    let mut position = node.watch_position();
    let told = tokio::time::timeout(PATIENCE, position.wait_for(|position| position.tip.is_some())).await;
    told.unwrap().unwrap().tip.as_ref().map(|(facts, _)| facts.height).unwrap()
}

/// Bends the answers to reads of a store.
fn liar(store: &Arc<Store>) -> impl Handler {
    let honest = StoreHandler::new(Arc::clone(store));
    HandlerFn::new(move |peer, request| {
        let reads = matches!(Request::decode(&request), Ok(Request::Read { .. }));
        let mut answer = Vec::from(honest.handle(peer, request));
        if let Some(last) = answer.last_mut().filter(|_| reads) {
            *last ^= 1;
        }
        answer.into()
    })
}

#[tokio::test]
async fn a_light_node_reads_over_quic_and_goes_on_from_its_checkpoint() {
    let world = World::new();
    let store = Arc::new(world.full());
    let honest = || bind(Some(Arc::new(StoreHandler::new(Arc::clone(&store))))).0;
    let servers = [honest(), bind(Some(Arc::new(liar(&store)))).0, honest()];
    let genesis = world.chain.genesis();
    let anchor = TrustAnchor::Genesis.check(genesis, wall_clock(), true).unwrap();
    let from = LightStart { chain_id: genesis.chain_id(), profile: PROFILE, anchor, trusting_period: None, tip: None };
    let node = start(&world, from, &servers);
    assert_eq!(tip(&node).await, world.chain.tip_height());
    let state = world.chain.state(HEIGHT).unwrap();
    for (_, record) in state.records().step_by(300) {
        let record = Record::decode(record.clone()).unwrap();
        let key = record.key().to_vec().into();
        let answer = node.ask(Query::Read { key, at: At::Now }).await.unwrap();
        let LightAnswer::Value { value, block } = answer else { panic!("{answer:?}") };
        assert_eq!((value.as_deref(), block.height), (Some(record.value()), HEIGHT));
        assert_eq!(Some(block.id), world.chain.id(HEIGHT));
    }
    assert!(matches!(node.ask(Query::Header(Height::new(999))).await, Err(LightError::OutOfReach { .. })));
    let checkpoint = node.checkpoint().unwrap();
    drop(node);
    let next = start(&world, checkpoint.into_start(PROFILE, None), &servers[..1]);
    assert_eq!(tip(&next).await, world.chain.tip_height());
    // Blocks at and below the checkpoint are believed, and not proven again.
    let below = next.ask(Query::Header(Height::new(290))).await;
    assert!(matches!(below, Err(LightError::OutOfReach { .. })), "{below:?}");
}

#[test]
fn a_store_answers_a_read_of_now_with_the_tip_of_its_very_state() {
    use hotstuff2_sync::chain::TipCheck;
    use hotstuff2_sync::ids::Epoch;
    use hotstuff2_sync::state::key_hash;
    use hotstuff2_sync::verify::{Outcome, Task};

    let world = World::new();
    let store = Arc::new(world.full());
    let handler = StoreHandler::new(Arc::clone(&store));
    let (_, record) = world.chain.state(HEIGHT).unwrap().records().nth(7).unwrap();
    let record = Record::decode(record.clone()).unwrap();
    let request = Request::Read { key_hash: key_hash(record.key()) }.encode();
    let answer = Answer::decode(handler.handle(PeerId::from_bytes([1; 32]), request.into()));
    let Ok(Answer::Data(bytes)) = answer else { panic!("{answer:?}") };
    // The store's tip is sixty blocks above its state.
    let epoch = world.chain.epoch_ref(Epoch::new(2)).unwrap();
    let task = Task::Read { epoch, key: record.key().to_vec().into(), bytes };
    let Ok(Outcome::Read { tip: TipCheck::Final(facts), value, .. }) = task.prove(&world.chain.chain()) else {
        panic!("the answer proves itself")
    };
    assert_eq!((facts.height, Some(facts.id)), (HEIGHT, world.chain.id(HEIGHT)));
    assert_eq!(value.as_deref(), Some(record.value()));
}
