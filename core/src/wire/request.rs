//! What one node asks of another.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::peers::MAX_PEERS_BYTES;
use super::reads::MAX_READ_BYTES;
use crate::chain::native::codec;
use crate::hash::Hash;
use crate::ids::{Epoch, Height};
use crate::limits::{
    MAX_ADVERT_BYTES, MAX_AUDIT_BYTES, MAX_BACKED_ADVERT_BYTES, MAX_BODIES_BYTES, MAX_HANDOVERS_BYTES,
    MAX_PAYLOAD_BYTES, MAX_REQUEST_BYTES, MAX_SEGMENT_BYTES, MAX_STATE_BYTES, MAX_STATE_ITEMS, MAX_TIP_BYTES,
    MIN_STATE_BYTES,
};
use crate::ranges::HeightRange;
use crate::state::{MAX_TREE_DEPTH, StateForm, StateItem};

/// Version of requests and answers. A peer of another version is left alone, not punished.
pub const PROTOCOL_VERSION: u8 = 1;

/// Bytes that hold nearly every request.
const USUAL_BYTES: usize = 64;

/// A question to a peer. One question, one answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Request {
    /// What the peer claims to hold. Proves nothing, chooses whom to ask.
    Status,
    /// The handovers that end `from` and the epochs after it.
    Handovers {
        /// The first epoch whose end is asked for.
        from: Epoch,
        /// Most handovers to answer with.
        max: u32,
    },
    /// The peer's finalized tip with its proof.
    Tip,
    /// The headers of a range within one grid cell.
    Segment {
        /// The heights.
        range: HeightRange,
        /// Whether the end must come with a certificate. Not needed where the asker has proven the last block already.
        certified: bool,
        /// Whether every block must come with a certificate of its own.
        audit: bool,
        /// Most payload bytes that may come behind the headers, in frames from the first block on. The answer may stop
        /// early, at any block, and holds no frames where the first block alone has more.
        bodies: u32,
    },
    /// The payloads of a range, in frames; the answer may stop early, at any block.
    Bodies {
        /// The heights.
        range: HeightRange,
        /// Most payload bytes to answer with; the first block comes whatever its size.
        max_bytes: u32,
    },
    /// What comes after a height: the peer answers when it has something, or that it has nothing after a while.
    Follow {
        /// The asker's tip.
        after: Height,
        /// Most payload bytes to answer with; the first block comes whatever its size.
        max_bytes: u32,
        /// Whether every block must come with a certificate of its own.
        audit: bool,
    },
    /// Subtrees of the state, by place and hash: whoever holds them at any height can answer. The answer has them in
    /// this order and may stop early, after at least one that it holds.
    State {
        /// The snapshot height at which the asker expects them: where to look first.
        height: Height,
        /// In which form. Where the leaves of the first subtree that the peer holds don't fit in, it shows its tree.
        form: StateForm,
        /// The subtrees, 1 to [`MAX_STATE_ITEMS`].
        items: Vec<StateItem>,
        /// Most bytes of subtrees to answer with; less than [`MIN_STATE_BYTES`] counts as that.
        max_bytes: u32,
    },
    /// A key's value, or that it has none, with the proof: see [`verify_read`](super::verify_read).
    Proof {
        /// The snapshot height of the state.
        height: Height,
        /// The root of the state, from a header that the asker has proven.
        root: Hash,
        /// Hash of the key.
        key_hash: Hash,
    },
    /// Addresses of other peers: see [`decode_peers`](super::decode_peers).
    Peers {
        /// Most addresses to answer with; more than [`MAX_PEER_ADDRESSES`](crate::limits::MAX_PEER_ADDRESSES) counts as
        /// that.
        max: u32,
        /// The port at which the asker can be connected to, at the address that the connection shows; 0 where nobody
        /// can. A claim, worth a try.
        port: u16,
    },
    /// A validator's signed word on where it stands; from nodes that are no validators it is not available.
    Advert {
        /// Comes back under the signature, so that the asker knows that it was given after it asked.
        challenge: Hash,
    },
    /// A key's value, or that it has none, in the newest state that the peer has: with the proof that its block is final
    /// and that this is its state, all of one moment.
    Read {
        /// Hash of the key.
        key_hash: Hash,
    },
    /// As [`Advert`](Self::Advert), with the certificates that back the view and the lock.
    BackedAdvert {
        /// Comes back under the signature.
        challenge: Hash,
    },
}

/// A request that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The sender speaks another version of the protocol.
    #[error("request of protocol version {0}; this node speaks {PROTOCOL_VERSION}")]
    Version(u8),
    /// The bytes are no request, or not in their one canonical form.
    #[error("malformed request")]
    Malformed,
}

impl Request {
    /// The request's bytes: a version byte and the canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        bytes.push(PROTOCOL_VERSION);
        codec::append(self, &mut bytes);
        bytes
    }

    /// Reads a request from a peer.
    pub fn decode(bytes: &[u8]) -> Result<Self, RequestError> {
        let (&version, encoded) = bytes.split_first().ok_or(RequestError::Malformed)?;
        if version != PROTOCOL_VERSION {
            return Err(RequestError::Version(version));
        }
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::Malformed);
        }
        let request: Self = postcard::from_bytes(encoded).map_err(|_| RequestError::Malformed)?;
        // A canonical request re-encodes to itself.
        if request.is_within_limits() && request.encode() == bytes { Ok(request) } else { Err(RequestError::Malformed) }
    }

    /// Whether counts and depths are what the protocol allows.
    fn is_within_limits(&self) -> bool {
        let Self::State { form, items, .. } = self else { return true };
        let depth_fits = match form {
            StateForm::Leaves => true,
            StateForm::Tree { depth } => (1..=MAX_TREE_DEPTH).contains(depth),
        };
        depth_fits && (1..=MAX_STATE_ITEMS).contains(&items.len())
    }

    /// Largest answer in bytes that an honest peer may give. A transport stops reading beyond it.
    pub fn max_response_bytes(&self) -> u32 {
        /// Answer tag, section lengths and frame headers; frame headers are 9 bytes a frame and a frame holds at least
        /// one block, of which there are at most a grid cell's.
        const OVERHEAD: u32 = 16 << 10;
        let segment = |audit: bool| if audit { MAX_AUDIT_BYTES } else { MAX_SEGMENT_BYTES };
        let at_least_one = |max_bytes: u32| max_bytes.clamp(MAX_PAYLOAD_BYTES, MAX_BODIES_BYTES);
        let content = match *self {
            Self::Status => 1024,
            Self::Handovers { .. } => MAX_HANDOVERS_BYTES,
            Self::Tip => MAX_TIP_BYTES,
            Self::Segment { audit, bodies, .. } => bodies.min(MAX_BODIES_BYTES).saturating_add(segment(audit)),
            Self::Bodies { max_bytes, .. } => at_least_one(max_bytes),
            Self::Follow { max_bytes, audit, .. } => at_least_one(max_bytes).saturating_add(segment(audit)),
            Self::State { max_bytes, .. } => max_bytes.clamp(MIN_STATE_BYTES, MAX_STATE_BYTES),
            Self::Proof { .. } => MAX_READ_BYTES,
            Self::Peers { .. } => MAX_PEERS_BYTES,
            Self::Advert { .. } => MAX_ADVERT_BYTES,
            Self::BackedAdvert { .. } => MAX_BACKED_ADVERT_BYTES,
            Self::Read { .. } => MAX_TIP_BYTES.saturating_add(MAX_READ_BYTES),
        };
        content.saturating_add(OVERHEAD)
    }
}
