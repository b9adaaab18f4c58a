//! Reasons that end a session or refuse a question, each with a number that never changes and words.

use alloc::string::String;

use crate::hash::Hash;
use crate::ids::PeerId;

/// Why a session is over. Nothing more is read or written after it, but for a last word to the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The other side speaks something else.
    #[error("the other side does not speak hs2-sync/1: check the address and the port")]
    OtherProtocol,
    /// A message of the handshake can't be read: bent, replayed, reflected or out of order, by anyone on the way.
    #[error("a message of the handshake does not fit: it was changed on the way, or is of another handshake")]
    Handshake,
    /// The channel's key is not signed by the key that the other side shows.
    #[error("the other side has not proven its key")]
    KeyProof,
    /// The other side has this node's own key.
    #[error("this is the node itself: leave it out of the peers, or give one of the nodes a key of its own")]
    OwnKey,
    /// Another key answered than the one that was expected.
    #[error("this is peer {found}, not {expected}: check the address, or that the peer still has its identity")]
    WrongPeer {
        /// The peer that was expected.
        expected: PeerId,
        /// The key shown.
        found: PeerId,
    },
    /// A frame is longer or shorter than any that may come now. Lengths are not authenticated: anyone on the way can
    /// change them.
    #[error("a frame of {bytes} bytes, where there may be {limit} at most")]
    FrameLength {
        /// The length that was read.
        bytes: u32,
        /// The longest that is taken now.
        limit: u32,
    },
    /// A frame was changed, repeated, left out or made up by somebody who is not the peer.
    #[error("a frame was changed on the way")]
    Tampered,
    /// The peer speaks another version.
    #[error("the peer speaks version {0} of the protocol: update the older of the two nodes")]
    Version(u8),
    /// The peer is of another chain.
    #[error("the peer is of another chain, {found}: check the genesis document")]
    OtherChain {
        /// Its chain: the hash of the genesis document.
        found: Hash,
    },
    /// The peer broke a rule, in bytes that are its own.
    #[error("the peer broke the rules: {0}")]
    Violation(#[from] Violation),
    /// The peer ended the session, and said this.
    #[error("closed by the peer: \"{0}\"")]
    ByPeer(String),
    /// This side has ended the session.
    #[error("closed by this node: {0}")]
    Closed(String),
}

/// A rule that a peer broke. Every byte of it was authenticated, so that it is the peer's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A frame of a type that does not exist.
    #[error("a frame of the unknown type {0}")]
    UnknownFrame(u8),
    /// A frame whose content has not the form that belongs to its type.
    #[error("a malformed frame of the type {0}")]
    Malformed(u8),
    /// A first frame that is no `Hello`.
    #[error("the first frame was no Hello")]
    NoHello,
    /// A second `Hello`.
    #[error("a second Hello")]
    SecondHello,
    /// A question whose number is not above that of the one before.
    #[error("questions out of order")]
    AskOrder,
    /// More open questions than the `Hello` of this side allows.
    #[error("more open questions than allowed")]
    TooManyAsks,
    /// A question longer than any request.
    #[error("a question longer than any request")]
    LongAsk,
    /// A part of an answer, or a word about one, that was not asked for.
    #[error("an answer to a question that is not open")]
    NeverAsked,
    /// An answer that goes on long after it was cancelled.
    #[error("an answer that goes on after it was cancelled")]
    StillSending,
}

impl SessionError {
    /// The error's number. Numbers are never reused; those of violations begin at 100.
    pub fn code(&self) -> u16 {
        match self {
            Self::OtherProtocol => 1,
            Self::Handshake => 2,
            Self::KeyProof => 3,
            Self::OwnKey => 4,
            Self::WrongPeer { .. } => 5,
            Self::FrameLength { .. } => 6,
            Self::Tampered => 7,
            Self::Version(_) => 8,
            Self::OtherChain { .. } => 9,
            Self::ByPeer(_) => 10,
            Self::Closed(_) => 11,
            Self::Violation(violation) => violation.code(),
        }
    }

    /// Whether the peer is to blame, by bytes that only it can have sent. Whatever somebody on the way can bring about is
    /// no one's fault.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Violation(_))
    }
}

impl Violation {
    /// The rule's number, from 100 on. Numbers are never reused.
    pub fn code(self) -> u16 {
        match self {
            Self::UnknownFrame(_) => 100,
            Self::Malformed(_) => 101,
            Self::NoHello => 102,
            Self::SecondHello => 103,
            Self::AskOrder => 104,
            Self::TooManyAsks => 105,
            Self::LongAsk => 106,
            Self::NeverAsked => 107,
            Self::StillSending => 108,
        }
    }
}

/// Why a question was not put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The handshake is not done, or the session is over.
    #[error("the session is not open")]
    NotOpen,
    /// The peer is a page, which answers nothing.
    #[error("the peer answers no questions")]
    Page,
    /// As many questions are open as the peer takes: ask again when one of them has ended.
    #[error("{limit} questions are open, which is all that the peer takes: ask again when one has ended")]
    Full {
        /// How many the peer takes.
        limit: u16,
    },
    /// The request is longer than any peer takes.
    #[error("a request of {bytes} bytes is longer than the {limit} that peers accept: ask for less at a time")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The longest.
        limit: usize,
    },
    /// All numbers for questions are used up.
    #[error("the session has put all questions that it can: connect again")]
    Exhausted,
}

impl AskError {
    /// The error's number, never reused.
    pub fn code(self) -> u16 {
        match self {
            Self::NotOpen => 200,
            Self::Page => 201,
            Self::Full { .. } => 202,
            Self::TooLong { .. } => 203,
            Self::Exhausted => 204,
        }
    }
}
