//! A light client of a chain whose cells are its own.

use std::sync::Arc;

use hotstuff2_sync::chain::native::AnchorFacts;
use hotstuff2_sync::chain::{Chain as _, ChainProfile};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::{LightAnswer, LightConfig, LightError, LightStart, Query};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_testkit::notary::Notary;
use hotstuff2_sync_tokio::light::LightNode;
use hotstuff2_sync_tokio::net::{Identity, QuicLimits, QuicNetwork};

use crate::net::{Net, Server, serve, soon};
use crate::sizes::{chain, profile};

/// A light client of the notary's chain with this server, once it has proven the tip.
async fn light(net: &Net, server: &Server) -> LightNode {
    let here = "127.0.0.1:0".parse().unwrap();
    let (network, events) =
        QuicNetwork::bind(here, Identity::generate().unwrap(), QuicLimits::default(), None).unwrap();
    let (point, epoch) = net.notary.anchor();
    let anchor = AnchorFacts { height: point.height, id: point.id, timestamp: UnixMillis::default(), epoch };
    let native = Arc::new(net.notary.chain());
    let (chain_id, profile) = (net.notary.chain_id(), native.profile());
    let start = LightStart { chain_id, profile, anchor, trusting_period: None, tip: None };
    // Peers on one machine are of one group, so nobody can be another's witness here.
    let config = LightConfig { witnesses: 0, ..LightConfig::default() };
    let peers = vec![server.address().into()];
    let node = LightNode::start(native, config, start, 7, Arc::new(network), events, peers).unwrap();
    let mut position = node.watch_position();
    soon(position.wait_for(|at| at.tip.as_ref().is_some_and(|(tip, _)| tip.height == net.notary.tip().height)))
        .await
        .unwrap();
    node
}

fn blocks(first: u64, last: u64) -> Query {
    Query::Bodies(HeightRange::new(Height::new(first), Height::new(last)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_light_client_cuts_heights_as_its_chain_does() {
    let notary: Notary = chain(profile(16 << 10, 64), 100, |height| (height % 64) as usize);
    let grid = notary.chain().profile().grid();
    assert_eq!(grid, 32);
    let net = Net::of(notary);
    let server = serve(net.handler(&net.full()));
    let node = light(&net, &server).await;
    for height in [1, 31, 32, 63, 64, 95, 96, 100].map(Height::new) {
        let answer = soon(node.ask(Query::Header(height))).await.unwrap();
        let LightAnswer::Header(header) = answer else { panic!("{answer:?}") };
        assert_eq!((header.height, header.id), (height, net.notary.id(height)));
    }
    let answer = soon(node.ask(blocks(33, 63))).await.unwrap();
    let LightAnswer::Bodies { first, payloads } = answer else { panic!("{answer:?}") };
    assert_eq!((first, payloads.len()), (Height::new(33), 31));
    for (height, payload) in (33..).map(Height::new).zip(&payloads) {
        assert_eq!(Some(payload), net.notary.payload(height));
    }
    assert!(matches!(node.ask(blocks(30, 40)).await, Err(LightError::NotOneCell { grid: 32 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_light_client_fetches_no_payload_whose_length_is_not_proven() {
    let unproven = ChainProfile { proves_lengths: false, ..profile(256, 64) };
    let net = Net::of(chain(unproven, 20, |_| 9));
    let server = serve(net.handler(&net.full()));
    let node = light(&net, &server).await;
    assert!(matches!(node.ask(blocks(1, 3)).await, Err(LightError::UnprovenLengths)));
}
