//! [`Source`]: one question to one peer after the other, until an answer is proven.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::CheckError;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::wire::{Answer, Refusal, Request};
use tokio::time::{sleep, timeout};

use super::event::HealError;
use crate::net::Network;

/// Longest time that one answer is waited for. Another peer is as good.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often everyone is asked again who was busy.
const BUSY_ROUNDS: usize = 20;

/// Longest pause that a busy peer can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The peers that are there.
pub(super) struct Source {
    network: Arc<dyn Network>,
    /// Peers that gave a false answer. They are asked nothing more.
    liars: BTreeSet<PeerId>,
    /// Where the next round begins, so that no peer gets all questions.
    turn: usize,
}

impl Source {
    pub(super) fn new(network: Arc<dyn Network>) -> Self {
        Self { network, liars: BTreeSet::new(), turn: 0 }
    }

    /// The first proven answer, and who gave it.
    pub(super) async fn ask<T: Send + 'static>(
        &mut self,
        request: &Request,
        prove: impl Fn(Bytes) -> Result<T, CheckError> + Send + Sync + 'static,
    ) -> Result<(PeerId, T), HealError> {
        let prove = Arc::new(prove);
        let limit = usize::try_from(request.max_response_bytes()).unwrap_or(usize::MAX);
        let encoded = Bytes::from(request.encode());
        let (mut asked, mut lie) = (BTreeSet::new(), None);
        for _ in 0..BUSY_ROUNDS {
            let mut pause = None;
            for peer in self.peers() {
                asked.insert(peer);
                let answered = timeout(PATIENCE, self.network.request(peer, encoded.clone(), limit)).await;
                let Ok(Ok(bytes)) = answered else { continue };
                let found = match Answer::decode(bytes) {
                    Ok(Answer::Data(bytes)) => {
                        let prove = Arc::clone(&prove);
                        let job = tokio::task::spawn_blocking(move || prove(bytes));
                        job.await.map_err(|_| HealError::Broken)?
                    }
                    Ok(Answer::Refused(Refusal::Busy { retry_after_ms })) => {
                        pause = Some(Duration::from_millis(u64::from(retry_after_ms)).min(MAX_PAUSE));
                        continue;
                    }
                    Ok(Answer::Refused(_)) => continue,
                    Err(fault) => Err(CheckError::False(fault)),
                };
                match found {
                    Ok(found) => return Ok((peer, found)),
                    // Nobody is to blame.
                    Err(CheckError::Unable(_)) => return Err(HealError::Broken),
                    Err(CheckError::False(fault)) => {
                        self.liars.insert(peer);
                        lie = Some((peer, fault));
                    }
                }
            }
            match pause {
                Some(pause) => sleep(pause).await,
                None => break,
            }
        }
        Err(match lie {
            Some((peer, fault)) => HealError::False { peer, fault },
            None if asked.is_empty() => HealError::NoPeers,
            None => HealError::NotAvailable { asked: asked.len() },
        })
    }

    /// Everyone, each time from another one on.
    fn peers(&mut self) -> Vec<PeerId> {
        let mut peers: Vec<_> = self.network.links().into_iter().map(|link| link.peer).collect();
        peers.retain(|peer| !self.liars.contains(peer));
        peers.sort_unstable();
        peers.dedup();
        let from = self.turn.checked_rem(peers.len()).unwrap_or(0);
        self.turn = self.turn.wrapping_add(1);
        peers.rotate_left(from);
        peers
    }
}
