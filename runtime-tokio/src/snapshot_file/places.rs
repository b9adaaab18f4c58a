//! [`Places`]: cuts records that come in order into subtrees that lie side by side and together make up the whole tree,
//! in memory that doesn't grow with it.

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::state::{Prefix, Record, StateItem, StateLeaves, subtree_hash, value_hash};

/// Most records of a subtree: what the staging area compares without a mark.
const MAX_RECORDS: usize = 4096;

/// Bytes of records beyond which a subtree is cut, if it has several.
const MAX_BYTES: usize = 1 << 20;

/// The records that came and were not given out, at the place that they are taken to fill, and the places after it.
pub(super) struct Places {
    place: Prefix,
    records: Vec<(Hash, Bytes)>,
    bytes: usize,
    /// Places to come, the next one last. At most one for each bit of a key hash.
    after: Vec<Prefix>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { place: Prefix::ROOT, records: Vec::new(), bytes: 0, after: Vec::new() }
    }

    /// Takes the next record; subtrees that are complete with it, empty ones among them, go to `out`.
    pub(super) fn push(&mut self, key_hash: Hash, record: Bytes, out: &mut Vec<StateLeaves>) {
        while !self.place.contains(&key_hash) {
            let Some(next) = self.after.pop() else { break };
            self.close(next, out);
        }
        self.bytes = self.bytes.saturating_add(record.len());
        self.records.push((key_hash, record));
        while self.records.len() > 1 && (self.records.len() > MAX_RECORDS || self.bytes > MAX_BYTES) {
            let Some((left, right)) = self.place.children() else { break };
            if left.contains(&key_hash) {
                self.after.push(right);
                self.place = left;
                continue;
            }
            let first = self.records.partition_point(|(key_hash, _)| left.contains(key_hash));
            let rest = self.records.split_off(first);
            self.place = left;
            self.close(right, out);
            self.bytes = rest.iter().map(|(_, record)| record.len()).sum();
            self.records = rest;
        }
    }

    /// The subtrees that are left, when all records have come.
    pub(super) fn finish(mut self, out: &mut Vec<StateLeaves>) {
        while let Some(next) = self.after.pop() {
            self.close(next, out);
        }
        self.close(Prefix::ROOT, out);
    }

    /// Gives the place out and goes on with `next`.
    fn close(&mut self, next: Prefix, out: &mut Vec<StateLeaves>) {
        let prefix = std::mem::replace(&mut self.place, next);
        let records = std::mem::take(&mut self.records);
        self.bytes = 0;
        let leaf = |(key_hash, record): &(Hash, Bytes)| {
            // The record was decoded when it was read.
            let value = Record::decode(record.clone()).map(Record::into_value).unwrap_or_default();
            (*key_hash, value_hash(&value))
        };
        let leaves: Vec<(Hash, Hash)> = records.iter().map(leaf).collect();
        out.push(StateLeaves { item: StateItem { prefix, hash: subtree_hash(&prefix, &leaves) }, records });
    }
}
