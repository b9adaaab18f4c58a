//! [`DecidedBlocks`]: blocks that a node's own engine has decided, on their way into the sync.

use std::collections::HashMap;
use std::future::Future;

use bytes::Bytes;
use hotstuff2_sync::chain::native::{Block, BlockHeader, NotASegment, Segment};
use hotstuff2_sync::ids::{DecidedId, Height};
use hotstuff2_sync::machine::{Decided, DecidedError};
use hotstuff2_sync::wire::encode_blocks;
use tokio::sync::oneshot;

use super::{Input, SyncHandle};

/// Consecutive blocks of one epoch that this node's own engine has decided, with the proof that the last is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedBlocks {
    first: Height,
    bytes: Bytes,
    handover: Option<Bytes>,
    executed: bool,
}

impl DecidedBlocks {
    /// Blocks of the native chain above `parent`, of which the last brings its proof of finality; that of the others isn't
    /// looked at. At the end of an epoch see [`with_handover`](Self::with_handover).
    ///
    /// # Errors
    /// Where they don't follow each other, or there are none.
    pub fn native(parent: &BlockHeader, blocks: &[Block]) -> Result<Self, NotASegment> {
        let (first, last) = blocks.first().zip(blocks.last()).ok_or(NotASegment)?;
        let headers = blocks.iter().map(|block| block.header.clone()).collect();
        let segment = Segment::new(parent.clone(), headers, last.proof.clone())?;
        let payloads: Vec<&[u8]> = blocks.iter().map(|block| &block.payload[..]).collect();
        Self::of_segment(first.height(), &segment.encode(), &[], &payloads).ok_or(NotASegment)
    }

    /// Blocks of any chain from `first` on: a segment that ends with the proof of its last block, as the chain's
    /// [`verify_segment`](hotstuff2_sync::chain::Chain::verify_segment) reads it, the certificates of the single blocks where
    /// the node is set to audit, and one payload for each header. `None` where there is no payload, or something is longer
    /// than 4 GiB.
    pub fn of_segment<P: AsRef<[u8]>>(first: Height, segment: &[u8], audit: &[u8], payloads: &[P]) -> Option<Self> {
        let bytes = encode_blocks(segment, audit, payloads)?.into();
        Some(Self { first, bytes, handover: None, executed: false })
    }

    /// The last block ends its epoch, and this is the handover to the next one, encoded.
    #[must_use]
    pub fn with_handover(self, handover: impl Into<Bytes>) -> Self {
        Self { handover: Some(handover.into()), ..self }
    }

    /// The engine has executed the blocks: the application is asked to [adopt](crate::Application::adopt) them.
    #[must_use]
    pub fn already_executed(self) -> Self {
        Self { executed: true, ..self }
    }
}

/// Why decided blocks were not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The sync refuses them.
    #[error(transparent)]
    Refused(#[from] DecidedError),
    /// The sync has ended. The blocks may be stored all the same.
    #[error("the sync has ended; build it anew over the same folder and submit the blocks again")]
    Ended,
}

/// Submissions that the machine has not answered.
#[derive(Debug)]
pub(super) struct Submitted {
    next: DecidedId,
    waiting: HashMap<DecidedId, oneshot::Sender<Result<Height, DecidedError>>>,
}

impl Default for Submitted {
    fn default() -> Self {
        Self { next: DecidedId::FIRST, waiting: HashMap::new() }
    }
}

impl Submitted {
    /// Names a submission, and keeps where its answer goes.
    pub(super) fn name(
        &mut self,
        blocks: DecidedBlocks,
        answer: oneshot::Sender<Result<Height, DecidedError>>,
    ) -> Decided {
        let DecidedBlocks { first, bytes, handover, executed } = blocks;
        let id = self.next;
        self.next = id.next();
        self.waiting.insert(id, answer);
        Decided { id, first, bytes, handover, executed }
    }

    /// Passes an answer on.
    pub(super) fn answer(&mut self, id: DecidedId, result: Result<Height, DecidedError>) {
        if let Some(answer) = self.waiting.remove(&id) {
            // The caller may have gone.
            let _ = answer.send(result);
        }
    }
}

impl SyncHandle {
    /// Hands in blocks that this node's own consensus engine has decided. They are proven as a peer's are, and go the same
    /// way: the engine stores nothing by itself. They are on their way when this returns, so that more may be handed in
    /// behind them; the future is the answer.
    ///
    /// The answer is the height up to which blocks are stored, so that they survive a crash, and executed: at least the last of these.
    /// What the application made of them is durable a little later, and comes again out of the blocks until then.
    ///
    /// # Errors
    /// Where the sync is stopped or has ended, where the blocks don't hold or part of them is here already, and where too
    /// many wait.
    pub fn submit(&self, blocks: DecidedBlocks) -> impl Future<Output = Result<Height, SubmitError>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::Decided(blocks, answer));
        async move { Ok(answered.await.map_err(|_| SubmitError::Ended)??) }
    }
}
