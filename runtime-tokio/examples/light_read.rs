//! Looks one key of the state up at a peer that nobody trusts. The value, or that there is none, is proven under a block's
//! header; that the header is the chain's must be known before, as from a node that has caught up.
//!
//! `cargo run -p hotstuff2-sync-tokio --example light_read`

mod peer;

use hotstuff2_sync::chain::HeaderFacts;
use hotstuff2_sync::state::Record;
use hotstuff2_sync_tokio::net::{Identity, Network as _, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::read_state;

#[tokio::main]
pub(crate) async fn main() -> peer::Outcome {
    let peer = peer::Peer::start()?;
    let header = peer.chain.header(peer::SNAPSHOT).ok_or("the chain is long enough")?;
    let facts = HeaderFacts { id: header.id(), state_root: header.state_root, timestamp: header.timestamp };
    let state = peer.chain.state(peer::SNAPSHOT).ok_or("the chain has this state")?;
    let (_, record) = state.records().next().ok_or("the state has keys")?;
    let record = Record::decode(record.clone())?;

    let (network, _events) = QuicNetwork::bind(peer::HERE, Identity::generate()?, QuicLimits::default(), None)?;
    let there = network.connect(peer.address, None).await?;
    let value = read_state(&network, there, peer::SNAPSHOT, &facts, record.key()).await?;
    println!("a key that is there has a value of {} bytes", value.as_ref().map_or(0, Vec::len));
    assert_eq!(value.as_deref(), Some(record.value()));
    let nothing = read_state(&network, there, peer::SNAPSHOT, &facts, b"nobody's").await?;
    println!("of a key that isn't there, that is proven too: {nothing:?}");
    assert_eq!(nothing, None);
    network.close().await;
    Ok(())
}
