//! [`AnswerCache`]: answers that many ask for at the same time, as at the tip: its proof, the status, handovers, the
//! newest segment, the top of a state.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::table::Table;

/// Requests that are remembered as asked once. An answer is kept when it is asked for again: a download that asks for
/// everything once leaves no trace.
const ASKED: u16 = 1024;

/// One answer takes at most this part of the cache.
const LARGEST_PART: usize = 8;

/// Bytes that an entry takes beside its request and its answer, about.
const ENTRY_BYTES: usize = 256;

/// How the cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct CacheStats {
    /// Answers that were there.
    pub hits: u64,
    /// Answers that were not.
    pub misses: u64,
    /// Bytes that it takes now.
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    answer: Bytes,
    used: u64,
}

/// Whole answers by request. All of them are of one version of what they were made from, and gone with the next: an
/// answer is never older than what the node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerCache {
    most_bytes: usize,
    bytes: usize,
    version: u64,
    entries: Table<Bytes, Entry>,
    by_use: BTreeMap<u64, Bytes>,
    uses: u64,
    asked: Vec<u64>,
    stats: CacheStats,
}

impl AnswerCache {
    /// A cache of so many bytes, requests and answers together. With zero it keeps nothing.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            bytes: 0,
            version: 0,
            entries: Table::default(),
            by_use: BTreeMap::new(),
            uses: 0,
            asked: vec![0; usize::from(ASKED)],
            stats: CacheStats::default(),
        }
    }

    /// How it did so far.
    pub fn stats(&self) -> CacheStats {
        CacheStats { bytes: u64::try_from(self.bytes).unwrap_or(u64::MAX), ..self.stats }
    }

    /// Whether the answer is there, without counting it as used.
    pub fn contains(&self, version: u64, request: &[u8]) -> bool {
        self.version == version && self.entries.contains_key(request)
    }

    /// The answer to `request`, made from `version`. Versions only rise.
    pub fn get(&mut self, version: u64, request: &[u8]) -> Option<Bytes> {
        self.move_to(version);
        let entry = self.entries.get_mut(request).filter(|_| self.version == version);
        let Some(entry) = entry else {
            self.stats.misses = self.stats.misses.saturating_add(1);
            return None;
        };
        self.stats.hits = self.stats.hits.saturating_add(1);
        self.uses = self.uses.saturating_add(1);
        let request = self.by_use.remove(&entry.used);
        entry.used = self.uses;
        if let Some(request) = request {
            self.by_use.insert(self.uses, request);
        }
        Some(entry.answer.clone())
    }

    /// Keeps an answer that was made from `version` or from what came after it. The version must have been read before
    /// the answer was made.
    pub fn put(&mut self, version: u64, request: &Bytes, answer: &Bytes) {
        self.move_to(version);
        if self.version != version || !self.was_asked_for(request) || self.entries.contains_key(request) {
            return;
        }
        let size = size_of_entry(request, answer);
        if size > self.most_bytes / LARGEST_PART {
            return;
        }
        while self.bytes.saturating_add(size) > self.most_bytes {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(size_of_entry(&oldest, &entry.answer));
            }
        }
        self.bytes = self.bytes.saturating_add(size);
        self.uses = self.uses.saturating_add(1);
        // A copy, so that no buffer of the network stays for it.
        let request = Bytes::copy_from_slice(request);
        self.by_use.insert(self.uses, request.clone());
        self.entries.insert(request, Entry { answer: answer.clone(), used: self.uses });
    }

    fn move_to(&mut self, version: u64) {
        if version > self.version {
            self.version = version;
            self.entries.clear();
            self.by_use.clear();
            self.bytes = 0;
        }
    }

    /// Whether `request` was asked for before, lately; it was from now on.
    fn was_asked_for(&mut self, request: &[u8]) -> bool {
        let hash = blake3::hash(request);
        let mark = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let slot = usize::try_from(mark.checked_rem(u64::from(ASKED)).unwrap_or(0)).unwrap_or(0);
        match self.asked.get_mut(slot) {
            Some(asked) => core::mem::replace(asked, mark) == mark,
            None => false,
        }
    }
}

fn size_of_entry(request: &[u8], answer: &[u8]) -> usize {
    request.len().saturating_mul(2).saturating_add(answer.len()).saturating_add(ENTRY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(of: u8, count: usize) -> Bytes {
        vec![of; count].into()
    }

    /// Asks twice, which is what makes it stay.
    fn keep(cache: &mut AnswerCache, version: u64, request: &Bytes, answer: &Bytes) {
        for _ in 0..2 {
            cache.put(version, request, answer);
        }
    }

    #[test]
    fn what_is_asked_for_twice_is_there_the_third_time() {
        let mut cache = AnswerCache::new(1 << 20);
        let (request, answer) = (bytes(1, 10), bytes(2, 1000));
        assert_eq!(cache.get(1, &request), None);
        cache.put(1, &request, &answer);
        assert_eq!(cache.get(1, &request), None, "a download asks for everything once");
        cache.put(1, &request, &answer);
        assert_eq!(cache.get(1, &request), Some(answer));
        assert_eq!((cache.stats().hits, cache.stats().misses), (1, 2));
    }

    #[test]
    fn nothing_outlives_the_version_that_it_was_made_from() {
        let mut cache = AnswerCache::new(1 << 20);
        let (request, old, new) = (bytes(1, 10), bytes(2, 10), bytes(3, 10));
        keep(&mut cache, 1, &request, &old);
        assert_eq!(cache.get(2, &request), None);
        assert_eq!(cache.stats().bytes, 0);
        // Made before the change, finished after it.
        keep(&mut cache, 1, &request, &old);
        assert_eq!(cache.get(2, &request), None);
        assert_eq!(cache.get(1, &request), None);
        keep(&mut cache, 2, &request, &new);
        assert_eq!(cache.get(2, &request), Some(new));
    }

    #[test]
    fn its_bytes_are_bounded_and_what_is_used_stays() {
        let mut cache = AnswerCache::new(64 << 10);
        let used = bytes(0, 8);
        keep(&mut cache, 1, &used, &bytes(9, 4000));
        for number in 1..=200 {
            keep(&mut cache, 1, &bytes(number, 8), &bytes(9, 4000));
            assert!(cache.stats().bytes <= 64 << 10);
            assert!(cache.get(1, &used).is_some());
        }
        assert!(cache.stats().bytes > 48 << 10);
        assert!(!cache.contains(1, &bytes(1, 8)) && cache.contains(1, &bytes(200, 8)));
        keep(&mut cache, 1, &bytes(201, 8), &bytes(9, 9000));
        assert!(!cache.contains(1, &bytes(201, 8)), "one answer doesn't push out all the others");
        let mut none = AnswerCache::new(0);
        keep(&mut none, 1, &used, &Bytes::new());
        assert!(!none.contains(1, &used));
    }
}
