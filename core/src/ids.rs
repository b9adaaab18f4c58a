//! Names of things: heights, epochs, views, peers, and the ids of work in flight.
//!
//! Each is a type of its own, so that one can't be passed for another. Heights and their like convert through `new`
//! and `get` only; arithmetic on them saturates or says `None`, because a peer may send any number.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hash::{parse_hex_32, read_32};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(u64);

        impl $name {
            /// Zero: the genesis value.
            pub const ZERO: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self(u64::MAX);

            /// The value `number`.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// One more, saturating at the largest value.
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// One less, or `None` at zero.
            pub const fn prev(self) -> Option<Self> {
                match self.0.checked_sub(1) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// `count` more, saturating.
            pub const fn plus(self, count: u64) -> Self {
                Self(self.0.saturating_add(count))
            }

            /// How far this is above `other`; zero if it is not above.
            pub const fn above(self, other: Self) -> u64 {
                self.0.saturating_sub(other.0)
            }

            /// True where this is exactly one more than `other`. Never true by overflow.
            pub const fn is_next_of(self, other: Self) -> bool {
                match other.0.checked_add(1) {
                    Some(number) => number == self.0,
                    None => false,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// Position of a block in its chain: parent's height plus one; genesis is at zero.
    Height
}
number! {
    /// Number of a validator set's reign. The genesis document defines epoch zero.
    Epoch
}
number! {
    /// A HotStuff-2 view: one leader, at most one block. Views rise through the whole chain, across epochs.
    View
}

macro_rules! serial {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(u64);

        impl $name {
            /// The first id that is ever handed out.
            pub const FIRST: Self = Self(1);

            /// The id after this one. Ids are never reused: at a billion a second they last for centuries.
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The number, for logs and for hosts that key their own tables by it.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The id with this number, as a host hands it back.
            pub const fn from_raw(number: u64) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

serial! {
    /// Names one request to one peer, for ever.
    RequestId
}
serial! {
    /// Names one verification job, for ever.
    JobId
}
serial! {
    /// Names one call into the host's execution or store, for ever.
    CallId
}

serial! {
    /// Names one question of a light client's user, for ever.
    QueryId
}

serial! {
    /// Names one submission of decided blocks. Chosen by the host.
    DecidedId
}

/// A peer's Ed25519 public key: its identity on every transport.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerId(#[serde(deserialize_with = "read_32")] [u8; 32]);

/// Byte by byte. Tables of peers are searched all the time, and keys of different peers differ in their first eight bytes,
/// unless somebody made them so.
impl Ord for PeerId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.first_bytes().cmp(&other.first_bytes()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for PeerId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PeerId {
    /// The peer with this public key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    const fn first_bytes(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer id is 64 hexadecimal digits: the peer's Ed25519 public key")]
pub struct ParsePeerIdError;

impl FromStr for PeerId {
    type Err = ParsePeerIdError;

    fn from_str(text: &str) -> Result<Self, ParsePeerIdError> {
        parse_hex_32(text).map(Self).ok_or(ParsePeerIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_ordered_byte_by_byte() {
        let mut keys = alloc::vec![[0u8; 32], [1; 32], [255; 32]];
        for place in 0..32 {
            for byte in [1, 128, 255] {
                let mut key = [7; 32];
                key[place] = byte;
                keys.push(key);
            }
        }
        for one in &keys {
            for other in &keys {
                assert_eq!(PeerId(*one).cmp(&PeerId(*other)), one.cmp(other), "{one:?} {other:?}");
            }
        }
    }
}
