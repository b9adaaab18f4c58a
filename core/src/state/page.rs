//! Pages: how the tree is cut for a store. A page holds the subtree under a prefix of whole nibbles, without the parts
//! that have pages of their own. It trusts nothing about a page's bytes: the shape is checked here, the hash by the
//! reader of the page, who knows which one it must have.

use alloc::vec::Vec;

use super::digest::{MAX_DEPTH, bit, common_prefix};
use super::node::{Child, Leaf, Link};
use crate::hash::Hash;

/// A subtree at a nibble boundary with more leaves than this has a page of its own; the root always has one. So a page
/// has 5 to 64 leaves at the bottom of the tree (4 KiB at most, 1.5 KiB typically) and up to 16 references above: small
/// enough to rewrite for one changed leaf, large enough that a leaf costs the store far less than a record.
pub const PAGE_LEAVES: u64 = 4;

/// Bits between two places where the tree may be cut.
pub(super) const NIBBLE: u16 = 4;

const VERSION: u8 = 1;
const TAG_EMPTY: u8 = 0;
const TAG_LEAF: u8 = 1;
const TAG_INTERNAL: u8 = 2;
const TAG_STORED: u8 = 3;

/// The name of a page: the prefix that all its keys share. Pages order by depth, then by prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageKey {
    nibbles: u8,
    prefix: [u8; 32],
}

impl PageKey {
    /// The page of the tree's top. Without it the tree is empty.
    pub const ROOT: Self = Self { nibbles: 0, prefix: [0; 32] };

    /// The page at `depth` bits, a multiple of four, on the way to `key_hash`.
    pub(super) fn on_path(key_hash: &Hash, depth: u16) -> Self {
        let nibbles = u8::try_from(depth / NIBBLE).unwrap_or(u8::MAX);
        let mut prefix = *key_hash.as_bytes();
        for (index, byte) in prefix.iter_mut().enumerate() {
            *byte &= match usize::from(nibbles).saturating_sub(index.saturating_mul(2)) {
                0 => 0,
                1 => 0xf0,
                _ => 0xff,
            };
        }
        Self { nibbles, prefix }
    }

    /// How many bits the keys of this page share by its name: a multiple of four.
    pub fn depth(&self) -> u16 {
        u16::from(self.nibbles).saturating_mul(NIBBLE)
    }

    /// The key to store the page under: the number of nibbles, then the prefix in whole bytes. Byte order is the order
    /// of `PageKey`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(33);
        bytes.push(self.nibbles);
        bytes.extend(self.prefix.iter().take(usize::from(self.nibbles.div_ceil(2))));
        bytes
    }

    fn prefix(&self) -> Hash {
        Hash::from_bytes(self.prefix)
    }
}

impl core::fmt::Display for PageKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.nibbles == 0 {
            return f.write_str("root");
        }
        for index in 0..self.nibbles {
            let byte = self.prefix.get(usize::from(index / 2)).copied().unwrap_or(0);
            write!(f, "{:x}", if index % 2 == 0 { byte >> 4 } else { byte & 0xf })?;
        }
        Ok(())
    }
}

/// True where a subtree at `depth` with so many leaves has a page of its own.
pub(super) fn is_page(depth: u16, leaves: u64) -> bool {
    depth == 0 || (is_boundary(depth) && leaves > PAGE_LEAVES)
}

/// True where the tree may be cut.
pub(super) fn is_boundary(depth: u16) -> bool {
    depth.is_multiple_of(NIBBLE)
}

/// The page whose top is `top`, at `depth`.
pub(super) fn encode(top: &Child, depth: u16) -> Vec<u8> {
    // A leaf takes 65 bytes and about one internal node's tag; more than 64 leaves are in pages of their own.
    let leaves = usize::try_from(top.leaves).unwrap_or(usize::MAX).min(64);
    let mut bytes = Vec::with_capacity(leaves.saturating_mul(67).saturating_add(16));
    bytes.push(VERSION);
    encode_node(top, depth, true, &mut bytes);
    bytes
}

fn encode_node(child: &Child, depth: u16, top: bool, bytes: &mut Vec<u8>) {
    match &child.link {
        Link::Empty => bytes.push(TAG_EMPTY),
        Link::Leaf(leaf) => encode_leaf(leaf, bytes),
        Link::Page(page) if top => encode_leaves(page.leaves(), depth, bytes),
        Link::Internal(node) if top || !is_page(depth, child.leaves) => {
            bytes.push(TAG_INTERNAL);
            let below = depth.saturating_add(1);
            encode_node(&node.left, below, false, bytes);
            encode_node(&node.right, below, false, bytes);
        }
        Link::Internal(_) | Link::Page(_) | Link::Stored => {
            bytes.push(TAG_STORED);
            bytes.extend_from_slice(child.hash.as_bytes());
            bytes.extend_from_slice(&child.leaves.to_le_bytes());
        }
    }
}

fn encode_leaf(leaf: &Leaf, bytes: &mut Vec<u8>) {
    bytes.push(TAG_LEAF);
    bytes.extend_from_slice(leaf.key_hash.as_bytes());
    bytes.extend_from_slice(leaf.value_hash.as_bytes());
}

/// The nodes over leaves alone.
fn encode_leaves(leaves: &[Leaf], depth: u16, bytes: &mut Vec<u8>) {
    match leaves {
        [] => bytes.push(TAG_EMPTY),
        [leaf] => encode_leaf(leaf, bytes),
        _ => {
            bytes.push(TAG_INTERNAL);
            let (left, right) = leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.key_hash, depth)));
            let below = depth.saturating_add(1);
            encode_leaves(left, below, bytes);
            encode_leaves(right, below, bytes);
        }
    }
}

/// A fault in the bytes of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The bytes end within a node, or go on after the last.
    #[error("its length is wrong")]
    Length,
    /// The page was written by another version of this software.
    #[error("it has format {0}, this software reads format {VERSION}")]
    Version(u8),
    /// Its nodes don't form a tree that this software writes.
    #[error("its nodes are out of place")]
    Shape,
    /// The page is well-formed, but not the one that the rest of the tree refers to.
    #[error("its hash is {found}, the tree has {expected}")]
    Hash {
        /// Hash of the page.
        found: Hash,
        /// Hash that the page above names, or the state root for the topmost page.
        expected: Hash,
    },
}

/// Reads the page that is stored under `key`. All hashes within are computed, none is read but those of other pages.
pub(super) fn decode(bytes: &[u8], key: &PageKey) -> Result<Child, PageError> {
    let mut reader = Reader(bytes);
    match reader.byte()? {
        VERSION => {}
        version => return Err(PageError::Version(version)),
    }
    let mut top = decode_node(&mut reader, &key.prefix(), key.depth(), true)?;
    if !reader.0.is_empty() {
        return Err(PageError::Length);
    }
    if !is_page(key.depth(), top.leaves) || top.leaves == 0 {
        return Err(PageError::Shape);
    }
    if let Link::Internal(node) = &mut top.link {
        node.stored = true;
    }
    Ok(top)
}

fn decode_node(reader: &mut Reader<'_>, prefix: &Hash, depth: u16, top: bool) -> Result<Child, PageError> {
    let child = match reader.byte()? {
        TAG_EMPTY => Child::EMPTY,
        TAG_LEAF => {
            let leaf = Leaf { key_hash: reader.hash()?, value_hash: reader.hash()? };
            if common_prefix(&leaf.key_hash, prefix) < depth {
                return Err(PageError::Shape);
            }
            Child::leaf(leaf)
        }
        TAG_INTERNAL if depth < MAX_DEPTH => {
            let below = depth.saturating_add(1);
            let left = decode_node(reader, prefix, below, false)?;
            let right = decode_node(reader, &with_bit(prefix, depth), below, false)?;
            let leaves = left.leaves.checked_add(right.leaves).ok_or(PageError::Shape)?;
            if leaves < 2 || (!top && is_page(depth, leaves)) {
                return Err(PageError::Shape);
            }
            Child::internal(left, right, false)
        }
        TAG_STORED => {
            let hash = reader.hash()?;
            let leaves = u64::from_le_bytes(reader.array()?);
            if top || !is_page(depth, leaves) {
                return Err(PageError::Shape);
            }
            Child { hash, leaves, link: Link::Stored }
        }
        _ => return Err(PageError::Shape),
    };
    Ok(child)
}

/// `prefix` with the bit at `depth` set.
pub(super) fn with_bit(prefix: &Hash, depth: u16) -> Hash {
    let mut bytes = *prefix.as_bytes();
    if let Some(byte) = bytes.get_mut(usize::from(depth / 8)) {
        *byte |= 0x80 >> (depth % 8);
    }
    Hash::from_bytes(bytes)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], PageError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(PageError::Length)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, PageError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn hash(&mut self) -> Result<Hash, PageError> {
        self.array().map(Hash::from_bytes)
    }
}
