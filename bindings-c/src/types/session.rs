//! Sessions over a stream of bytes.

use super::plain::{hs2_handle, hs2_id};

/// One end of a session over a stream of bytes.
pub type hs2_session = hs2_handle;

/// An event of a session: the meaning of bytes that came in.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_session_event {
    /// `HS2_SESSION_…`.
    pub kind: u32,
    /// The question.
    pub id: u32,
    /// `HS2_SESSION_RESET`: why, `HS2_STREAM_…`. `HS2_SESSION_OPEN`: how many questions the peer takes at a time.
    pub code: u32,
    /// `HS2_SESSION_OPEN`: `HS2_ROLE_…`. A page is not told to a machine as a peer.
    pub role: u32,
    /// One reference to an `hs2_buffer`: the request with `HS2_SESSION_ASKED`, the answer with `HS2_SESSION_ANSWER`. Else
    /// 0.
    pub object: hs2_handle,
    /// `HS2_SESSION_OPEN`: the peer's key, proven.
    pub peer: hs2_id,
    /// `HS2_SESSION_OPEN`: its chain, which is this side's.
    pub chain_id: hs2_id,
}

/// A side of a session that asks, and answers if it serves.
pub const HS2_ROLE_NODE: u32 = 1;
/// A side of a session that asks and never answers.
pub const HS2_ROLE_PAGE: u32 = 2;

/// No event.
pub const HS2_SESSION_NONE: u32 = 0;
/// The peer has proven its key. From now on questions may be put.
pub const HS2_SESSION_OPEN: u32 = 1;
/// The peer asks: `hs2_session_answer` or `hs2_session_give_up` must follow.
pub const HS2_SESSION_ASKED: u32 = 2;
/// The peer has no more use for an answer.
pub const HS2_SESSION_CANCELLED: u32 = 3;
/// The last byte of an answer of this side was handed out to be written.
pub const HS2_SESSION_SENT: u32 = 4;
/// An answer of the peer is whole.
pub const HS2_SESSION_ANSWER: u32 = 5;
/// The peer sent more than it was asked for, which is its fault.
pub const HS2_SESSION_OVERSIZE: u32 = 6;
/// The peer gave up on a question.
pub const HS2_SESSION_RESET: u32 = 7;

/// The asker no longer wants the answer.
pub const HS2_STREAM_CANCELLED: u32 = 1;
/// The request or answer is longer than allowed.
pub const HS2_STREAM_OVERSIZE: u32 = 2;
/// The node does not serve.
pub const HS2_STREAM_NOT_SERVING: u32 = 3;
/// The other side was too slow.
pub const HS2_STREAM_TOO_SLOW: u32 = 4;
/// Something failed that is not the other side's fault.
pub const HS2_STREAM_FAILED: u32 = 5;
