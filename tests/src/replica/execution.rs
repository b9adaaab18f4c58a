//! [`Execution`]: payloads, and the states that they lead to before they are final.

use bytes::Bytes;
use hotstuff2_sync::chain::native::Header;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, View};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::UnixMillis;

use super::message::Block;
use std::sync::Arc;

/// A block that is to be executed above others that may not be final.
#[derive(Clone, Debug)]
pub struct Next<'a> {
    /// Header of the parent.
    pub parent: &'a Header,
    /// The blocks above [`Execution::executed`] up to the parent, lowest first.
    pub path: &'a [Arc<Block>],
    /// Time of the block.
    pub timestamp: UnixMillis,
    /// Payload of the block.
    pub payload: &'a Bytes,
}

/// The application of a replica.
pub trait Execution {
    /// The height up to which final blocks are executed.
    fn executed(&self) -> Height;

    /// A payload for the block that the validator at the place `proposer` of the set proposes in `view`.
    fn payload(&mut self, view: View, proposer: u16) -> Bytes;

    /// The state root after a block; `None` where that can't be told now.
    fn root_after(&mut self, next: &Next<'_>) -> Option<Hash>;
}

/// Noise for payloads, which changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// Seed of the payloads.
    pub seed: u64,
    /// Most payload bytes.
    pub most_bytes: u64,
}

impl Execution for Noise {
    fn executed(&self) -> Height {
        Height::MAX
    }

    fn payload(&mut self, view: View, proposer: u16) -> Bytes {
        let mut noise = Rng::new(self.seed ^ view.get().rotate_left(20) ^ u64::from(proposer));
        let len = noise.below(self.most_bytes.saturating_add(1));
        let mut payload = vec![0; usize::try_from(len).unwrap_or(0)];
        noise.fill(&mut payload);
        payload.into()
    }

    fn root_after(&mut self, next: &Next<'_>) -> Option<Hash> {
        Some(next.parent.state_root)
    }
}
