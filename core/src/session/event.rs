//! The host's part in a session: its settings, and the events that it hears.

use bytes::Bytes;

use super::frame::{Hello, MAX_IDLE_MESSAGE_BYTES, OVERHEAD_BYTES, PIECE_BYTES, Role};
use super::stream_code::StreamCode;
use crate::hash::Hash;
use crate::ids::PeerId;
use crate::limits::MAX_REQUEST_BYTES;

/// Names one question of a session. Either side numbers its own, from 1 on, and uses no number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub(super) u32);

impl AskId {
    /// The number on the wire.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The question with this number, as a host hands it back.
    pub const fn from_raw(number: u32) -> Self {
        Self(number)
    }
}

/// Settings of one side: its identity towards the other, and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionConfig {
    /// The chain: the hash of its genesis document. A peer of another chain is turned away.
    pub chain: Hash,
    /// Role of this side.
    pub role: Role,
    /// Most questions that the peer may have open; a page takes none, whatever this says.
    pub max_asks: u16,
}

impl SessionConfig {
    pub(super) fn hello(&self) -> Hello {
        let max_asks = if self.role == Role::Page { 0 } else { self.max_asks };
        Hello { role: self.role, chain: self.chain, max_asks }
    }

    /// The most memory in bytes that a peer of which nothing is asked can make a session hold, whatever it sends: one
    /// message as it comes in and out of the channel, one piece on its way out, and the questions. Answers that the host
    /// gives are its own to count.
    pub fn memory_bound(&self) -> u64 {
        /// Keys, tables and a last word: an estimate on the safe side, not a measurement.
        const STATE_BYTES: usize = 8 << 10;
        /// An entry of a question in its tables and in the queue of events.
        const ASK_STATE_BYTES: usize = 256;
        const MESSAGES: usize = 2 * MAX_IDLE_MESSAGE_BYTES + PIECE_BYTES + OVERHEAD_BYTES;
        const ASK: usize = MAX_REQUEST_BYTES + ASK_STATE_BYTES;
        let asks = usize::from(self.hello().max_asks).saturating_mul(ASK);
        u64::try_from(asks.saturating_add(STATE_BYTES).saturating_add(MESSAGES)).unwrap_or(u64::MAX)
    }
}

/// Meaning of the bytes that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The peer has proven its key and said what it is. From now on questions may be put.
    Open {
        /// Its key.
        peer: PeerId,
        /// The peer's hello.
        hello: Hello,
    },
    /// The peer asks. One call of [`Session::answer`](super::Session::answer) or [`Session::give_up`](super::Session::give_up) must follow.
    Asked {
        /// The question.
        id: AskId,
        /// The encoded request.
        request: Bytes,
    },
    /// The peer has no more use for an answer, on its way or in the making: what it takes may be freed.
    Cancelled {
        /// The question.
        id: AskId,
    },
    /// The last byte of an answer of this side was handed out to be written.
    Sent {
        /// The question.
        id: AskId,
    },
    /// An answer of the peer is whole.
    Answer {
        /// The question.
        id: AskId,
        /// The encoded answer.
        bytes: Bytes,
    },
    /// The peer sent more than it was asked for, which is its fault. The question is cancelled.
    Oversize {
        /// The question.
        id: AskId,
    },
    /// The peer gave up on a question.
    Reset {
        /// The question.
        id: AskId,
        /// Why.
        code: StreamCode,
    },
}
