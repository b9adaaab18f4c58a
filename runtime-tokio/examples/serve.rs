//! Serves a store to whoever asks, without catching up with anyone, and asks it for the newest proof of finality.
//!
//! `cargo run -p hotstuff2-sync-tokio --example serve`

mod peer;

use std::sync::Arc;

use hotstuff2_sync::serve::ServeLimits;
use hotstuff2_sync::wire::{Answer, Request};
use hotstuff2_sync_tokio::StoreHandler;
use hotstuff2_sync_tokio::net::{Identity, Network as _, QuicLimits, QuicNetwork};

#[tokio::main]
pub(crate) async fn main() -> peer::Outcome {
    let peer = peer::Peer::start()?;
    // Half a second of CPU time a second for all who ask; bytes and memory are bounded too.
    let limits = QuicLimits { serve: ServeLimits::with_work(500_000), ..QuicLimits::default() };
    let handler = Arc::new(StoreHandler::new(Arc::clone(&peer.store)));
    // A server keeps its key in a file (`Identity::load_or_generate`), since peers know it by that.
    let (server, mut events) = QuicNetwork::bind(peer::HERE, Identity::generate()?, limits, Some(handler))?;
    let address = server.local_addr()?;
    println!("serving at {address}/{}", server.local_peer());
    let seen = tokio::spawn(async move { events.recv().await });

    let (asker, _) = QuicNetwork::bind(peer::HERE, Identity::generate()?, QuicLimits::default(), None)?;
    let there = asker.connect(address, Some(server.local_peer())).await?;
    let limit = usize::try_from(Request::Tip.max_response_bytes())?;
    let answer = asker.request(there, Request::Tip.encode().into(), limit).await?;
    match Answer::decode(answer)? {
        Answer::Data(proof) => println!("the newest proof has {} bytes", proof.len()),
        Answer::Refused(refusal) => return Err(format!("the server gives nothing: {refusal:?}").into()),
    }
    println!("{:?}", seen.await?.ok_or("the server saw nobody")?);
    // Peers are told that this node is gone.
    asker.close().await;
    server.close().await;
    Ok(())
}
