//! [`StreamCode`]: why one question and its answer are given up, over QUIC and over sessions.

use core::fmt;

/// The reason that a side gives when it gives up on an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamCode {
    /// The asker no longer wants the answer.
    Cancelled,
    /// The request or answer is longer than allowed.
    Oversize,
    /// The node does not serve.
    NotServing,
    /// The other side was too slow.
    TooSlow,
    /// Something failed that is not the other side's fault.
    Failed,
    /// A code of another version.
    Unknown(u64),
}

impl StreamCode {
    /// The code on the wire. One that this version does not know is passed on as a failure.
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Cancelled => 1,
            Self::Oversize => 2,
            Self::NotServing => 3,
            Self::TooSlow => 4,
            Self::Failed | Self::Unknown(_) => 5,
        }
    }

    /// The meaning of a code from the wire.
    pub const fn from_wire(code: u64) -> Self {
        match code {
            1 => Self::Cancelled,
            2 => Self::Oversize,
            3 => Self::NotServing,
            4 => Self::TooSlow,
            5 => Self::Failed,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for StreamCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("it was cancelled"),
            Self::Oversize => f.write_str("it was too long"),
            Self::NotServing => f.write_str("the node does not serve"),
            Self::TooSlow => f.write_str("it was received too slowly"),
            Self::Failed => f.write_str("the node failed to answer"),
            Self::Unknown(code) => write!(f, "code {code}"),
        }
    }
}
