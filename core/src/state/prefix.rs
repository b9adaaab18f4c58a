//! Places in the tree: the leading bits that the key hashes of a subtree share.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::digest::{MAX_DEPTH, bit, common_prefix};
use super::page::with_bit;
use crate::hash::Hash;

/// A place in the tree, named by the bits on the way to it. In order, a place comes right before those below it, left
/// before right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Prefix {
    /// The bits, then zeros.
    path: Hash,
    /// How many bits count, 0 to 256.
    depth: u16,
}

/// A prefix as it comes over the wire.
#[derive(Deserialize)]
struct Unchecked {
    path: Hash,
    depth: u16,
}

/// A prefix of more bits than a key hash has, or with bits set beyond its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a prefix has at most 256 bits, and zeros beyond them")]
pub struct PrefixError;

impl TryFrom<Unchecked> for Prefix {
    type Error = PrefixError;

    fn try_from(prefix: Unchecked) -> Result<Self, PrefixError> {
        Self::new(prefix.path, prefix.depth).filter(|valid| valid.path == prefix.path).ok_or(PrefixError)
    }
}

impl Prefix {
    /// The place of the whole tree.
    pub const ROOT: Self = Self { path: Hash::ZERO, depth: 0 };

    /// The place at `depth` on the way to `key_hash`; `None` where a key hash doesn't have so many bits.
    pub fn new(key_hash: Hash, depth: u16) -> Option<Self> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut path = *key_hash.as_bytes();
        for (index, byte) in path.iter_mut().enumerate() {
            let bits = usize::from(depth).saturating_sub(index.saturating_mul(8)).min(8);
            *byte &= !(0xffu16 >> bits) as u8;
        }
        Some(Self { path: Hash::from_bytes(path), depth })
    }

    /// How many bits the key hashes below share.
    pub const fn depth(&self) -> u16 {
        self.depth
    }

    /// The lowest key hash below.
    pub const fn first(&self) -> Hash {
        self.path
    }

    /// The highest key hash below.
    pub fn last(&self) -> Hash {
        let mut bytes = *self.path.as_bytes();
        for (index, byte) in bytes.iter_mut().enumerate() {
            let bits = usize::from(self.depth).saturating_sub(index.saturating_mul(8)).min(8);
            *byte |= (0xffu16 >> bits) as u8;
        }
        Hash::from_bytes(bytes)
    }

    /// The two places right below; `None` at the bottom.
    pub fn children(&self) -> Option<(Self, Self)> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let depth = self.depth.saturating_add(1);
        Some((Self { path: self.path, depth }, Self { path: with_bit(&self.path, self.depth), depth }))
    }

    /// Whether a key hash belongs below this place.
    pub fn contains(&self, key_hash: &Hash) -> bool {
        common_prefix(&self.path, key_hash) >= self.depth
    }

    /// Whether `other` is this place or below it.
    pub fn covers(&self, other: &Self) -> bool {
        self.depth <= other.depth && self.contains(&other.path)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.depth == 0 {
            return f.write_str("root");
        }
        for depth in 0..self.depth {
            f.write_str(if bit(&self.path, depth) { "1" } else { "0" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn hash(first: u8, rest: u8) -> Hash {
        let mut bytes = [rest; 32];
        bytes[0] = first;
        Hash::from_bytes(bytes)
    }

    #[test]
    fn bits_beyond_the_end_are_zero_and_every_key_below_lies_between_first_and_last() {
        let prefix = Prefix::new(hash(0b1011_0110, 0xff), 5).unwrap();
        assert_eq!((prefix.first(), prefix.last()), (hash(0b1011_0000, 0), hash(0b1011_0111, 0xff)));
        assert!(prefix.contains(&hash(0b1011_0011, 7)) && !prefix.contains(&hash(0b1011_1000, 7)));
        assert_eq!(Prefix::new(hash(9, 9), 256).unwrap().first(), hash(9, 9));
        assert_eq!(Prefix::new(hash(9, 9), 256).unwrap().last(), hash(9, 9));
        assert_eq!((Prefix::ROOT.first(), Prefix::ROOT.last()), (Hash::ZERO, hash(0xff, 0xff)));
        assert_eq!(Prefix::new(hash(0, 0), 257), None);
    }

    #[test]
    fn children_part_at_the_next_bit_and_come_after_their_parent() {
        let prefix = Prefix::new(hash(0b1010_0000, 0), 3).unwrap();
        let (left, right) = prefix.children().unwrap();
        assert_eq!((left.to_string(), right.to_string()), ("1010".into(), "1011".into()));
        assert!(prefix < left && left < right);
        assert!(prefix.covers(&left) && prefix.covers(&prefix) && !left.covers(&prefix) && !left.covers(&right));
        assert_eq!(Prefix::new(hash(1, 1), 256).unwrap().children(), None);
    }

    #[test]
    fn only_canonical_prefixes_decode() {
        let prefix = Prefix::new(hash(0xff, 0xff), 9).unwrap();
        let mut bytes = postcard::to_allocvec(&prefix).unwrap();
        assert_eq!(postcard::from_bytes::<Prefix>(&bytes), Ok(prefix));
        bytes[31] = 1;
        assert!(postcard::from_bytes::<Prefix>(&bytes).is_err());
    }
}
