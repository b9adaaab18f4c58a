//! A pruned tree as it travels: the top of a subtree down to a depth, what lies below named by hashes. It trusts
//! nothing: what is read is hashed up to the subtree's top.
//!
//! A hash alone doesn't say whether it is a leaf's or an internal node's, and a lone leaf stands for all places above
//! it. So the shape is bound in three ways: a leaf above the lowest places is shown by what it commits to, and hashed
//! here; an internal node has two leaves or more below; hashes stand at the asked depth only, where any subtree may be.
//! There is one encoding of each tree.

use alloc::vec::Vec;

use super::digest::{MAX_DEPTH, PLACEHOLDER, internal_hash, leaf_hash};
use super::item::StateItem;
use super::prefix::Prefix;
use crate::chain::Fault;
use crate::hash::Hash;

pub(super) const TAG_EMPTY: u8 = 0;
pub(super) const TAG_LEAF: u8 = 1;
pub(super) const TAG_INTERNAL: u8 = 2;
pub(super) const TAG_PRUNED: u8 = 3;

/// The depth of the lowest places that a tree of `depth` bits under `prefix` shows.
pub(super) fn bottom(prefix: &Prefix, depth: u8) -> u16 {
    prefix.depth().saturating_add(u16::from(depth)).min(MAX_DEPTH)
}

/// Reads the tree of `item` down to `depth` bits and proves it; the subtrees that it shows, which cover the whole of the
/// item's place from left to right. The top is never a leaf or empty, so each of them is below it.
pub(super) fn decode(item: StateItem, depth: u8, bytes: &[u8]) -> Result<Vec<StateItem>, Fault> {
    let mut reader = Reader { bytes, bottom: bottom(&item.prefix, depth), below: Vec::new() };
    let (found, kind) = reader.node(item.prefix)?;
    if !reader.bytes.is_empty() || kind != Kind::Several {
        return Err(Fault::NonCanonical);
    }
    if found != item.hash {
        return Err(Fault::WrongState);
    }
    Ok(reader.below)
}

/// How many leaves a shown subtree has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    One,
    /// Two or more, or so many as a hash doesn't say.
    Several,
}

struct Reader<'a> {
    bytes: &'a [u8],
    bottom: u16,
    below: Vec<StateItem>,
}

impl Reader<'_> {
    /// Reads the node at `prefix`. Depth bounds the recursion: at the bottom there are no nodes but hashes.
    fn node(&mut self, prefix: Prefix) -> Result<(Hash, Kind), Fault> {
        let [tag] = self.array()?;
        let at_bottom = prefix.depth() >= self.bottom;
        let (hash, kind) = match tag {
            TAG_EMPTY => (PLACEHOLDER, Kind::None),
            TAG_LEAF => {
                let (key_hash, value_hash) = (Hash::from_bytes(self.array()?), Hash::from_bytes(self.array()?));
                if at_bottom {
                    return Err(Fault::NonCanonical);
                }
                if !prefix.contains(&key_hash) {
                    return Err(Fault::WrongState);
                }
                (leaf_hash(&key_hash, &value_hash), Kind::One)
            }
            TAG_PRUNED => {
                let hash = Hash::from_bytes(self.array()?);
                if !at_bottom || hash == PLACEHOLDER {
                    return Err(Fault::NonCanonical);
                }
                (hash, Kind::Several)
            }
            TAG_INTERNAL => {
                let (left, right) = prefix.children().filter(|_| !at_bottom).ok_or(Fault::NonCanonical)?;
                let (left, on_left) = self.node(left)?;
                let (right, on_right) = self.node(right)?;
                if matches!((on_left, on_right), (Kind::None, Kind::None | Kind::One) | (Kind::One, Kind::None)) {
                    return Err(Fault::NonCanonical);
                }
                return Ok((internal_hash(&left, &right), Kind::Several));
            }
            _ => return Err(Fault::Malformed),
        };
        self.below.push(StateItem { prefix, hash });
        Ok((hash, kind))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(Fault::Malformed)?;
        self.bytes = rest;
        Ok(*array)
    }
}
