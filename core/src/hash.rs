//! The 32-byte BLAKE3 hash that names everything, and the contexts that keep one kind of name from passing as another.

use core::fmt;
use core::str::FromStr;

use blake3::hazmat::HasherExt as _;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A 32-byte BLAKE3 output.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash(#[serde(deserialize_with = "read_32")] [u8; 32]);

impl Hash {
    /// Thirty-two zero bytes: the parent of a genesis block. No input is known to hash to it.
    pub const ZERO: Self = Self([0; 32]);

    /// Takes 32 bytes as they are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads 32 bytes, as serde's own reader of arrays does. That one is 32 times the code for a byte.
pub(crate) fn read_32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = [u8; 32];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("32 bytes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<[u8; 32], A::Error> {
            let mut bytes = [0; 32];
            for (place, byte) in bytes.iter_mut().enumerate() {
                *byte = sequence.next_element()?.ok_or_else(|| A::Error::invalid_length(place, &self))?;
            }
            Ok(bytes)
        }
    }

    deserializer.deserialize_tuple(32, Bytes)
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits")]
pub struct ParseHashError;

/// Parses exactly 32 bytes of hexadecimal text.
pub(crate) fn parse_hex_32(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0u8; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = core::str::from_utf8(pair).ok()?;
        // `from_str_radix` accepts a sign; a hash has none.
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        parse_hex_32(text).map(Self).ok_or(ParseHashError)
    }
}

/// A BLAKE3 derive-key context. Deriving the context's key costs a compression, so it is done once per process for
/// each context (`Context` values live in statics).
#[derive(Debug)]
pub struct Context {
    name: &'static str,
    key: once_cell::race::OnceBox<[u8; 32]>,
}

impl Context {
    /// A context named `name`: unique in the program, with the protocol's version in it.
    pub const fn new(name: &'static str) -> Self {
        Self { name, key: once_cell::race::OnceBox::new() }
    }

    /// A hasher under this context.
    pub fn hasher(&self) -> blake3::Hasher {
        let key = self.key.get_or_init(|| alloc::boxed::Box::new(blake3::hazmat::hash_derive_key_context(self.name)));
        blake3::Hasher::new_from_context_key(key)
    }

    /// The hash of `bytes` under this context.
    pub fn hash(&self, bytes: &[u8]) -> Hash {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        Hash(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn contexts_separate_equal_inputs() {
        static A: Context = Context::new("hotstuff2-sync test a");
        static B: Context = Context::new("hotstuff2-sync test b");
        assert_ne!(A.hash(b"x"), B.hash(b"x"));
        assert_eq!(A.hash(b"x").as_bytes(), &blake3::derive_key("hotstuff2-sync test a", b"x"));
    }

    #[test]
    fn text_round_trips_and_rejects_what_is_not_a_hash() {
        let hash = Hash::from_bytes([0xa5; 32]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in ["", "00", &"g".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
            assert_eq!(wrong.parse::<Hash>(), Err(ParseHashError), "{wrong}");
        }
    }
}
