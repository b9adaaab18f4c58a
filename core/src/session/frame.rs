//! The frames of a session, as they are inside the channel: a type, the number of the question, and what belongs to them.

use alloc::string::String;
use alloc::vec::Vec;

use super::crypto::TAG_BYTES;
use super::error::{SessionError, Violation};
use crate::hash::Hash;
use crate::limits::MAX_REQUEST_BYTES;
use crate::wire::PROTOCOL_VERSION;

/// Bytes of a frame in front of its content: type and number.
pub(super) const HEADER_BYTES: usize = 5;
/// Bytes by which a message on the line is longer than the content of its frame, its length not counted.
pub(super) const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;
/// Longest message while nothing is asked of the peer: a question.
pub(super) const MAX_IDLE_MESSAGE_BYTES: usize = MAX_REQUEST_BYTES + OVERHEAD_BYTES;
/// Content of the pieces that this side cuts answers into. A quarter of what may come: a short answer waits no longer than
/// one of them takes, and over a line of 4 KiB a second one takes four seconds.
pub(super) const PIECE_BYTES: usize = 16 << 10;
/// Longest reason of a peer that is kept, in characters.
const MAX_REASON_CHARS: usize = 120;
/// Longest reason on the wire, in bytes.
const MAX_REASON_BYTES: usize = 4 * MAX_REASON_CHARS;
/// Content of a `Hello`: version, role, chain, open questions.
const HELLO_BYTES: usize = 1 + 1 + 32 + 2;

/// The type of a frame. Its number is what travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Hello = 0,
    Ask = 1,
    Data = 2,
    End = 3,
    Reset = 4,
    Cancel = 5,
    Ping = 6,
    Pong = 7,
    Bye = 8,
}

impl Kind {
    const ALL: [Self; 9] =
        [Self::Hello, Self::Ask, Self::Data, Self::End, Self::Reset, Self::Cancel, Self::Ping, Self::Pong, Self::Bye];

    /// Whether frames of this type are about a question, and so have its number.
    fn is_of_question(self) -> bool {
        matches!(self, Self::Ask | Self::Data | Self::End | Self::Reset | Self::Cancel)
    }

    /// Whether content of this length can belong to the type.
    fn fits(self, bytes: usize) -> bool {
        match self {
            Self::Hello => bytes >= 1,
            Self::Ask | Self::End => true,
            Self::Data => bytes >= 1,
            Self::Reset | Self::Cancel => bytes == 1,
            Self::Ping | Self::Pong => bytes == 8,
            Self::Bye => bytes <= MAX_REASON_BYTES,
        }
    }
}

/// A frame that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    /// The number of the question; 0 in frames that are about none.
    pub(super) id: u32,
    pub(super) content: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads what came out of the channel, all of which is one frame.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Violation> {
        let (header, content) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Violation::Malformed(0))?;
        let [kind, a, b, c, d] = *header;
        let id = u32::from_le_bytes([a, b, c, d]);
        let known = Kind::ALL.into_iter().find(|known| *known as u8 == kind).ok_or(Violation::UnknownFrame(kind))?;
        if (id != 0) != known.is_of_question() || !known.fits(content.len()) {
            return Err(Violation::Malformed(kind));
        }
        Ok(Self { kind: known, id, content })
    }

    /// Writes the frame into `bytes`, whose content it replaces.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(self.content);
    }
}

/// Role of a side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A node: it asks, and answers if it serves. Machines know it as a peer.
    Node,
    /// A page in a browser, or another client without a name: it asks and never answers. Machines never hear of it.
    Page,
}

/// First message of a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// Its role.
    pub role: Role,
    /// Its chain: the hash of the genesis document.
    pub chain: Hash,
    /// Most questions that it takes at a time. Pages take none.
    pub max_asks: u16,
}

impl Hello {
    pub(super) fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        let (front, rest) = bytes.split_at_mut(2);
        let (chain, asks) = rest.split_at_mut(32);
        front.copy_from_slice(&[PROTOCOL_VERSION, u8::from(self.role == Role::Page)]);
        chain.copy_from_slice(self.chain.as_bytes());
        asks.copy_from_slice(&self.max_asks.to_le_bytes());
        bytes
    }

    pub(super) fn decode(content: &[u8]) -> Result<Self, SessionError> {
        let malformed = SessionError::Violation(Violation::Malformed(Kind::Hello as u8));
        match content.first() {
            Some(&PROTOCOL_VERSION) => {}
            // A later version may say more in another form.
            Some(&version) => return Err(SessionError::Version(version)),
            None => return Err(malformed),
        }
        let Ok(content) = <&[u8; HELLO_BYTES]>::try_from(content) else { return Err(malformed) };
        let [_, role, rest @ ..] = *content;
        let [chain @ .., low, high] = rest;
        let role = match role {
            0 => Role::Node,
            1 => Role::Page,
            _ => return Err(malformed),
        };
        let max_asks = u16::from_le_bytes([low, high]);
        if role == Role::Page && max_asks != 0 {
            return Err(malformed);
        }
        Ok(Self { role, chain: Hash::from_bytes(chain), max_asks })
    }
}

/// A peer's words, safe for a log: without control characters, and cut to a length.
pub fn reason_of(words: &[u8]) -> String {
    String::from_utf8_lossy(words).chars().filter(|char| !char.is_control()).take(MAX_REASON_CHARS).collect()
}
