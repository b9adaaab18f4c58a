//! The records of a whole subtree as they travel: key length, value length, key, value, in ascending order of the key
//! hashes. It trusts nothing: what is read is hashed up to the subtree's top.
//!
//! Lengths are little-endian base 128, two bytes for most pairs: an answer is little longer than what it carries.

use alloc::vec::Vec;

use bytes::Bytes;

use super::digest::{PLACEHOLDER, bit, internal_hash, key_hash, leaf_hash, value_hash};
use super::item::{StateItem, StateLeaves};
use super::node::Leaf;
use super::record::{self, Record};
use crate::chain::Fault;
use crate::hash::Hash;

/// Where the bits of a length's bytes belong: three bytes carry 21 bits, the longest value's length has 17.
const SHIFTS: [u32; 3] = [0, 7, 14];

/// Appends a record as it travels.
pub(super) fn put_record(out: &mut Vec<u8>, record: &Record) {
    put_length(out, record.key().len());
    put_length(out, record.value().len());
    out.extend_from_slice(record.key());
    out.extend_from_slice(record.value());
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn take_length(bytes: &mut &[u8]) -> Result<usize, Fault> {
    let mut length = 0usize;
    for shift in SHIFTS {
        let (&byte, rest) = bytes.split_first().ok_or(Fault::Malformed)?;
        *bytes = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let padded = byte == 0 && shift > 0;
            return if padded { Err(Fault::NonCanonical) } else { Ok(length) };
        }
    }
    Err(Fault::Oversize)
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], Fault> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(Fault::Malformed)?;
    *bytes = rest;
    Ok(taken)
}

/// Reads the records of `item` and proves that they are all of its records, and nothing else.
pub(super) fn decode(item: StateItem, mut bytes: &[u8]) -> Result<StateLeaves, Fault> {
    // One buffer for all records: as stored, a record takes at most as many bytes as it travelled in.
    let mut stored: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut ends: Vec<usize> = Vec::new();
    let mut leaves: Vec<Leaf> = Vec::new();
    while !bytes.is_empty() {
        let (key_len, value_len) = (take_length(&mut bytes)?, take_length(&mut bytes)?);
        let short_len = record::check(key_len, value_len).map_err(|_| Fault::Oversize)?;
        let (key, value) = (take(&mut bytes, key_len)?, take(&mut bytes, value_len)?);
        let leaf = Leaf { key_hash: key_hash(key), value_hash: value_hash(value) };
        if !item.prefix.contains(&leaf.key_hash) {
            return Err(Fault::WrongState);
        }
        if leaves.last().is_some_and(|before| before.key_hash >= leaf.key_hash) {
            return Err(Fault::NonCanonical);
        }
        leaves.push(leaf);
        stored.extend_from_slice(&short_len.to_le_bytes());
        stored.extend_from_slice(key);
        stored.extend_from_slice(value);
        ends.push(stored.len());
    }
    if subtree_hash(&leaves, item.prefix.depth()) != item.hash {
        return Err(Fault::WrongState);
    }
    let mut rest = Bytes::from(stored);
    let mut start = 0;
    let records = leaves.iter().zip(ends).map(|(leaf, end)| {
        let record = rest.split_to(end.saturating_sub(start).min(rest.len()));
        start = end;
        (leaf.key_hash, record)
    });
    Ok(StateLeaves { item, records: records.collect() })
}

/// The hash of the subtree at `depth` over `leaves`, which ascend strictly by key hash and share their first `depth`
/// bits.
pub(super) fn subtree_hash(leaves: &[Leaf], depth: u16) -> Hash {
    match leaves {
        [] => PLACEHOLDER,
        [leaf] => leaf_hash(&leaf.key_hash, &leaf.value_hash),
        _ => {
            let (left, right) = leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.key_hash, depth)));
            let below = depth.saturating_add(1);
            internal_hash(&subtree_hash(left, below), &subtree_hash(right, below))
        }
    }
}
