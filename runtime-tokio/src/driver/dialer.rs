//! The dialer: keeps connections to the peers that the node was told of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::ids::PeerId;
use tokio::task::JoinSet;

use super::SyncEvent;
use super::handle::Events;
use crate::net::{ConnectError, Network};

/// Pause before a peer is dialled again: after a failure it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// How often a standing connection is looked at. Dialling a connected peer costs nothing.
const CHECK: Duration = Duration::from_secs(1);

/// Where a peer is, and who must answer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// The address.
    pub address: SocketAddr,
    /// The peer, if only that one will do.
    pub id: Option<PeerId>,
}

/// Dials every one of `peers` for as long as the returned set lives.
pub(super) fn start(network: &Arc<dyn Network>, peers: Vec<PeerAddress>, events: &Events) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for peer in peers {
        let events = events.clone();
        tasks.spawn(keep(Arc::clone(network), peer, move |text| events.send(SyncEvent::Dial(text))));
    }
    tasks
}

/// Keeps a connection to `peer`; tells `complain` once each time that it can't be had.
pub(crate) async fn keep(network: Arc<dyn Network>, peer: PeerAddress, complain: impl Fn(String) + Send) {
    let mut pause = FIRST_PAUSE;
    let mut known = peer.id;
    let mut complained = false;
    loop {
        match network.connect(peer.address, known).await {
            Ok(id) => {
                known = Some(id);
                pause = FIRST_PAUSE;
                complained = false;
                tokio::time::sleep(CHECK).await;
            }
            Err(error) => {
                // A ban was reported when it was made.
                if !complained && !matches!(error, ConnectError::Banned { .. }) {
                    complained = true;
                    complain(error.to_string());
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}
