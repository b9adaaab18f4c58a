//! [`HostOutput`]: what JavaScript has to do, and to know.

use bytes::Bytes;
use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::ids::{PeerId, QueryId};
use hotstuff2_sync::light::{LightAnswer, LightError, LightEvent};

/// One thing that comes out of a [`Host`](crate::host::Host), in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostOutput {
    /// Write these bytes to a socket.
    Send {
        /// The socket's number.
        connection: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Close a socket, after what was to be written. Nothing more comes of it.
    Close {
        /// The socket's number.
        connection: u32,
        /// Why.
        reason: String,
        /// Milliseconds for which its peer is left out, if it is.
        banned_for: Option<u64>,
    },
    /// The session of a socket is open.
    Open {
        /// The socket's number.
        connection: u32,
        /// The node.
        peer: PeerId,
    },
    /// Something that the user may want to know.
    Event(LightEvent, Option<Blame>),
    /// A question is answered.
    Answer {
        /// Its number.
        query: QueryId,
        /// The answer, with the proof of a value.
        result: Result<(LightAnswer, Option<Read>), LightError>,
    },
    /// A newer checkpoint, to be kept in the place of the one before.
    Keep(Vec<u8>),
}

/// The answer for which a peer was banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The peer.
    pub peer: PeerId,
    /// The fault in the answer.
    pub fault: Fault,
    /// The question, as it was sent. Empty where it is not at hand any more.
    pub request: Bytes,
    /// The answer, as it came.
    pub answer: Bytes,
}

/// How a value was proven: the way from its leaf up to the state root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Hash of the key, whose bits are the way.
    pub key_hash: [u8; 32],
    /// The leaf where the way ends: the hashes of its key and value. `None` where it ends at an empty place.
    pub leaf: Option<([u8; 32], [u8; 32])>,
    /// The hashes beside the way, from the leaf up to the root.
    pub siblings: Vec<[u8; 32]>,
}
