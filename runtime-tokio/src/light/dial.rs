//! Keeps the named peers of a light node connected.

use std::sync::Arc;
use std::time::Duration;

use crate::discovery::BootstrapPeer;
use crate::net::Network;

/// Time between two looks at whether a peer is there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Longest time between two dials of a peer that doesn't answer.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Dials `peer`, and again whenever it is gone, until the task is dropped. Dials that fail come ever later.
pub(super) async fn keep_connected(network: Arc<dyn Network>, peer: BootstrapPeer) {
    let mut pause = LOOK_EVERY;
    loop {
        let mut connected = false;
        for address in peer.resolve().await.unwrap_or_default() {
            match network.connect(address, peer.id()).await {
                Ok(_) => connected = true,
                Err(error) => tracing::debug!(%peer, %error, "a peer can't be dialled"),
            }
            if connected {
                break;
            }
        }
        pause = if connected { LOOK_EVERY } else { (pause * 2).min(MAX_PAUSE) };
        tokio::time::sleep(pause).await;
    }
}
