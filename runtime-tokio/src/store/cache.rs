//! Small caches for serving: open segment files, assembled answers, and the segment that a replay is reading.

use std::sync::{Arc, Mutex, PoisonError};

use hotstuff2_sync::chain::SegmentRef;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::StoredSegment;

use super::stored::Stored;

/// Sealed files that stay open. Each costs a file handle and its footer: 5 KiB, or 30 KiB with a frame for each block.
const OPEN_FILES: usize = 64;
/// Assembled segments, about 100 KiB each: several followers ask for the same one when the tip moves.
const ANSWERS: usize = 16;

/// Key of an assembled answer: the heights, and whether the end had to be certified.
pub(super) type AnswerKey = (HeightRange, bool);

/// A few entries, the least recently used of which gives way. Looking through all of them is faster than a map.
struct Recent<K, V>(Mutex<Vec<(K, V)>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = entries.iter().position(|(other, _)| other == key)?;
        // The most recently used entry is the last one.
        entries.get_mut(index..)?.rotate_left(1);
        entries.last().map(|(_, value)| value.clone())
    }

    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn remove(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| other != key);
    }

    fn put(&self, key: K, value: V, capacity: usize) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(other, _)| *other != key);
        if entries.len() >= capacity {
            entries.drain(..1);
        }
        entries.push((key, value));
    }
}

/// The caches of one store. What is in them never changes: sealed files and verified segments.
#[derive(Default)]
pub(super) struct Caches {
    files: Recent<Height, Arc<Stored>>,
    answers: Recent<AnswerKey, StoredSegment>,
    replayed: Recent<HeightRange, SegmentRef>,
}

impl Caches {
    /// Forgets everything: the store begins somewhere else.
    pub(super) fn clear(&self) {
        self.files.clear();
        self.answers.clear();
        self.replayed.clear();
    }

    pub(super) fn file(&self, first: Height) -> Option<Arc<Stored>> {
        self.files.get(&first)
    }

    /// Forgets an open file, which may not be the one of that name any more.
    pub(super) fn forget_file(&self, first: Height) {
        self.files.remove(&first);
    }

    pub(super) fn put_file(&self, first: Height, file: Arc<Stored>) {
        self.files.put(first, file, OPEN_FILES);
    }

    pub(super) fn answer(&self, key: AnswerKey) -> Option<StoredSegment> {
        self.answers.get(&key)
    }

    pub(super) fn put_answer(&self, key: AnswerKey, answer: StoredSegment) {
        self.answers.put(key, answer, ANSWERS);
    }

    pub(super) fn replayed(&self, range: HeightRange) -> Option<SegmentRef> {
        self.replayed.get(&range)
    }

    pub(super) fn put_replayed(&self, range: HeightRange, segment: SegmentRef) {
        self.replayed.put(range, segment, 1);
    }
}
