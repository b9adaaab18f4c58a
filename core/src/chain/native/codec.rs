//! Canonical encoding: postcard of a versioned struct, with one encoding for each value.
//!
//! Trusts nothing that it decodes. postcard accepts padded varints and ignores what follows a value; here a value whose
//! re-encoding differs from the bytes it came from is refused. Bytes are limited before they are looked at, and a
//! sequence's count before room is made for it, so that a few bytes can't ask for much memory.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use postcard::ser_flavors::Flavor;
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::chain::Fault;

/// The version of every encoding of this chain. Bytes that say another one don't decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version;

impl Version {
    /// The number on the wire.
    pub const NUMBER: u8 = 1;
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(Self::NUMBER)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            Self::NUMBER => Ok(Self),
            _ => Err(D::Error::custom("unknown version")),
        }
    }
}

/// Encodes `value`.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut buffer = Vec::new();
    encode_into(value, &mut buffer);
    buffer
}

/// Replaces what `buffer` holds with the encoding of `value`, and keeps its memory for the next.
pub(crate) fn encode_into<T: Serialize>(value: &T, buffer: &mut Vec<u8>) {
    buffer.clear();
    append(value, buffer);
}

/// Writes the encoding of `value` behind what `buffer` holds.
pub(crate) fn append<T: Serialize>(value: &T, buffer: &mut Vec<u8>) {
    let before = buffer.len();
    // Fails only for sequences of unknown length and floats outside of serde's data model, and no type here has those;
    // an empty encoding decodes as nothing, so even that could only be refused.
    if postcard::serialize_with_flavor(value, Append(buffer)).is_err() {
        buffer.truncate(before);
    }
}

/// Decodes a value from at most `limit` bytes that must be exactly its encoding.
pub(crate) fn decode<T: DeserializeOwned + Serialize>(bytes: &[u8], limit: usize) -> Result<T, Fault> {
    if bytes.len() > limit {
        return Err(Fault::Oversize);
    }
    let value: T = postcard::from_bytes(bytes).map_err(|_| Fault::Malformed)?;
    // Written down, as long as the bytes are: a second way to encode, that compares and does not write, would be there once more
    // for each type.
    let mut canonical = Vec::with_capacity(bytes.len());
    encode_into(&value, &mut canonical);
    if equal(&canonical, bytes) { Ok(value) } else { Err(Fault::NonCanonical) }
}

/// Decodes a sequence of at most `MAX` elements; for serde's `deserialize_with`.
pub(crate) fn bounded<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(Bounded::<T, MAX>(PhantomData))
}

/// Gives types that cross to another thread's memory, another process or a file their `encode` and `decode`.
macro_rules! plain {
    ($($name:ty),+ $(,)?) => {$(
        impl $name {
            /// The canonical encoding, with a version in front: for a worker or a process that runs the same version of this
            /// library, or for the host's own store.
            pub fn encode(&self) -> alloc::vec::Vec<u8> {
                $crate::chain::native::codec::encode(&($crate::chain::native::Version, self))
            }

            /// Reads what [`encode`](Self::encode) wrote: at most
            /// [`MAX_PLAIN_BYTES`](crate::limits::MAX_PLAIN_BYTES), and exactly that. What it says is believed: it comes from
            /// the host itself and never from a peer.
            pub fn decode(bytes: &[u8]) -> Result<Self, $crate::chain::Fault> {
                let limit = $crate::limits::MAX_PLAIN_BYTES;
                let (_, value): ($crate::chain::native::Version, Self) =
                    $crate::chain::native::codec::decode(bytes, limit)?;
                Ok(value)
            }
        }
    )+};
}
pub(crate) use plain;

pub(super) struct Bounded<T, const MAX: usize>(pub(super) PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        // postcard hints the announced count, or nothing where the input can't hold so many.
        let hint = sequence.size_hint().unwrap_or(0);
        if hint > MAX {
            return Err(A::Error::custom("too many elements"));
        }
        let mut elements = Vec::with_capacity(hint);
        while let Some(element) = sequence.next_element()? {
            if elements.len() == MAX {
                return Err(A::Error::custom("too many elements"));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

/// 32 bytes: as they are in postcard, as hexadecimal digits in formats that people read.
pub(crate) mod hex32 {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use crate::hash::{Hash, read_32};
    use alloc::string::String;
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&Hash::from_bytes(*bytes))
        } else {
            bytes.serialize(serializer)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse::<Hash>().map(|hash| *hash.as_bytes()).map_err(D::Error::custom)
        } else {
            read_32(deserializer)
        }
    }
}

/// [`hex32`] for a [`crate::hash::Hash`].
pub(crate) mod hex_hash {
    use super::{Deserializer, Serializer, hex32};
    use crate::hash::Hash;

    pub(crate) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        hex32::serialize(hash.as_bytes(), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        hex32::deserialize(deserializer).map(Hash::from_bytes)
    }
}

/// Writes to the end of a buffer.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Whether two pieces are equal: eight bytes at a time, as no library does in WebAssembly. A job's answer is a MiB.
fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ((one, end), (other, other_end)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let words = one.iter().zip(other).all(|(one, other)| u64::from_le_bytes(*one) == u64::from_le_bytes(*other));
    words && end == other_end
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::equal;

    #[test]
    fn pieces_that_differ_anywhere_are_not_equal() {
        for len in 0..40 {
            let one: Vec<u8> = (0..len).collect();
            assert!(equal(&one, &one.clone()) && !equal(&one, &[&one[..], &[0]].concat()));
            for place in 0..one.len() {
                let mut other = one.clone();
                other[place] ^= 0x80;
                assert!(!equal(&one, &other), "{place} of {len}");
            }
        }
    }
}
