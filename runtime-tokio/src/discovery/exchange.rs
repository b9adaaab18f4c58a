//! Asking a peer for others.

use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::limits::MAX_PEER_ADDRESSES;
use hotstuff2_sync::wire::{Answer, KnownPeer, Request, decode_peers};
use tokio::time::timeout;

use crate::net::{Network, ResponseError};

/// Longest time that an answer of a few KiB may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks `peer` for others, and tells it the `port` where this node can be connected to, or 0. Silence, refusals and
/// broken connections are an empty answer.
///
/// # Errors
/// What no honest peer answers.
pub(super) async fn ask(network: Arc<dyn Network>, peer: PeerId, port: u16) -> Result<Vec<KnownPeer>, Fault> {
    let request = Request::Peers { max: u32::try_from(MAX_PEER_ADDRESSES).unwrap_or(u32::MAX), port };
    let most = usize::try_from(request.max_response_bytes()).unwrap_or(usize::MAX);
    let asked = network.request(peer, request.encode().into(), most);
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => match Answer::decode(answer)? {
            Answer::Data(data) => decode_peers(data),
            Answer::Refused(_) => Ok(Vec::new()),
        },
        Ok(Err(ResponseError::Oversize { .. })) => Err(Fault::Oversize),
        Ok(Err(_)) | Err(_) => Ok(Vec::new()),
    }
}
