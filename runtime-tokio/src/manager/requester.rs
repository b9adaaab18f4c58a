//! [`BlockRequester`]: one block from whichever peer has it, outside of a sync: for what lies below a fetched state, or is
//! wanted before a sync gets there. What comes back is proven as the answers of a sync are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::{Block, CheckError, EpochRef, SegmentClaim, SegmentEnd};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::{Outcome, Task};
use hotstuff2_sync::wire::{Answer, Refusal, Request};

use super::blocks::StoredBlocks;
use super::peers::SyncPeers;
use super::tokio_manager::blocking;
use super::{SyncError, SyncResult};
use crate::net::Network;

/// Longest pause before a busy peer is asked again.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Asks connected peers for single blocks, one after the other until one gives it.
#[derive(Clone)]
pub struct BlockRequester {
    pub(super) network: Arc<dyn Network>,
    pub(super) peers: Arc<SyncPeers>,
    pub(super) blocks: StoredBlocks,
    pub(super) config: Arc<SyncConfig>,
}

/// Word of one peer.
enum Said {
    Block(Box<Block>),
    /// The peer doesn't have it, or not now.
    Nothing,
    /// The peer is to be asked again after a pause.
    Busy(Duration),
}

impl BlockRequester {
    /// The final block at `height`, proven. An answer that is false bans the peer that gave it. Where every peer says no,
    /// or there is none, that is [`SyncError::NotGiven`].
    pub async fn request_block(&self, height: Height) -> SyncResult<Block> {
        let peers = self.peers.connected();
        if peers.is_empty() {
            return Err(SyncError::NotGiven { height, asked: 0 });
        }
        let blocks = self.blocks.clone();
        let profile = self.blocks.chain.stated();
        let epoch = blocking(move || blocks.store.epoch_of(height)).await?;
        let epoch: EpochRef = epoch.filter(|_| height > Height::ZERO).ok_or(SyncError::UnknownEpoch(height))?;
        let cell = profile.cell(height, epoch.range()).and_then(|cell| HeightRange::new(height, cell.last()));
        let (Some(range), Some(after)) = (cell, height.prev()) else { return Err(SyncError::UnknownEpoch(height)) };
        let claim = SegmentClaim { range, parent: None, end: SegmentEnd::CertifiedUpTo, audit: false };
        let request = Request::Follow { after, max_bytes: 1, audit: false };
        let mut waiting = peers.clone();
        for _ in 0..self.config.retry_attempts.max(1) {
            let mut busy = Vec::new();
            let mut pause = Duration::ZERO;
            for peer in waiting {
                match self.ask(peer, &request, &epoch, claim, height).await? {
                    Said::Block(block) => return Ok(*block),
                    Said::Nothing => {}
                    Said::Busy(retry) => {
                        pause = if busy.is_empty() { retry } else { pause.min(retry) };
                        busy.push(peer);
                    }
                }
            }
            if busy.is_empty() {
                break;
            }
            waiting = busy;
            tokio::time::sleep(pause.min(MAX_PAUSE)).await;
        }
        Err(SyncError::NotGiven { height, asked: peers.len() })
    }

    async fn ask(
        &self,
        peer: PeerId,
        request: &Request,
        epoch: &EpochRef,
        claim: SegmentClaim,
        height: Height,
    ) -> SyncResult<Said> {
        let most = usize::try_from(request.max_response_bytes()).unwrap_or(usize::MAX);
        let answer = self.network.request(peer, Bytes::from(request.encode()), most);
        let Ok(Ok(bytes)) = tokio::time::timeout(self.config.peer_timeout, answer).await else {
            return Ok(Said::Nothing);
        };
        let proven = match Answer::decode(bytes) {
            Ok(Answer::Refused(Refusal::Busy { retry_after_ms })) => {
                return Ok(Said::Busy(Duration::from_millis(u64::from(retry_after_ms))));
            }
            Ok(Answer::Refused(_)) => return Ok(Said::Nothing),
            Ok(Answer::Data(bytes)) => {
                let task = Task::Follow { epoch: epoch.clone(), claim, bytes };
                let chain = Arc::clone(&self.blocks.chain);
                blocking(move || Ok::<_, SyncError>(chain.prove(task))).await?
            }
            Err(fault) => Err(fault.into()),
        };
        match proven {
            Ok(Outcome::Follow { segment, frames }) => {
                let blocks = self.blocks.blocks_in(&segment, frames.get(..1).unwrap_or_default());
                let blocks = blocks.map_err(|fault| SyncError::Damaged { height, fault })?;
                // The claim begins at the height that was asked for, and what is proven begins where the claim does.
                let Some(block) = blocks.into_iter().next() else { return Ok(Said::Nothing) };
                let block = Block { proof: self.blocks.proof_in(segment.bytes(), height), ..block };
                Ok(Said::Block(Box::new(block)))
            }
            Ok(_) => Ok(Said::Nothing),
            Err(CheckError::Unable(code)) => {
                tracing::warn!(code, %height, "a block could not be checked: the chain of this node failed");
                Ok(Said::Nothing)
            }
            Err(CheckError::False(fault)) => {
                tracing::warn!(%peer, %fault, %height, "a peer gave a false block");
                self.network.ban(peer, self.config.ban_duration, &fault.to_string());
                Ok(Said::Nothing)
            }
        }
    }
}

impl std::fmt::Debug for BlockRequester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockRequester").finish_non_exhaustive()
    }
}
