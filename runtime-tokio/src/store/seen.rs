//! [`Seen`]: which keys were written since the newest snapshot, in memory that has a bound.

use std::collections::HashMap;

use super::records::LayerRecord;
use super::state::StateSpace;

/// Most keys that are remembered as written since the newest snapshot, at about 50 bytes each: what fills a table of
/// 2^18 places. Beyond it every write of a key looks up whether it is the first.
const MAX_SEEN: usize = 229_376;

/// Longest key that is remembered: that of a page.
const SEEN_KEY_BYTES: usize = 33;

/// The keys that were written since the newest snapshot, with the length of what they have now: so that only the first
/// write of each has to read.
#[derive(Default)]
pub(super) struct Seen {
    /// The layer that what they had is in.
    layer: Option<u64>,
    /// Whether all such keys are here.
    pub(super) complete: bool,
    keys: HashMap<SeenKey, Option<u32>>,
}

/// Table, length, bytes.
type SeenKey = (StateSpace, u8, [u8; SEEN_KEY_BYTES]);

impl Seen {
    pub(super) fn turn_to(&mut self, layer: Option<&LayerRecord>) {
        let number = layer.map(|layer| layer.number);
        if self.layer != number || layer.is_some_and(|layer| layer.rows == 0) {
            let complete = layer.is_some_and(|layer| layer.rows == 0);
            self.keys.clear();
            (self.layer, self.complete) = (number, complete);
        }
    }

    /// Remembers a write. Returns the length of what it overwrites, if that was remembered.
    pub(super) fn insert(&mut self, table: StateSpace, key: &[u8], len: Option<usize>) -> Option<Option<usize>> {
        let mut bytes = [0; SEEN_KEY_BYTES];
        let short = match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(start), Ok(short)) => {
                start.copy_from_slice(key);
                short
            }
            _ => return self.forget(),
        };
        let seen = (table, short, bytes);
        let len = match len.map(u32::try_from).transpose() {
            Ok(len) => len,
            // No database row is so long.
            Err(_) => return self.forget(),
        };
        if let Some(known) = self.keys.get_mut(&seen) {
            return Some(std::mem::replace(known, len).map(|len| len as usize));
        }
        if self.keys.len() >= MAX_SEEN {
            return self.forget();
        }
        self.keys.insert(seen, len);
        None
    }

    fn forget(&mut self) -> Option<Option<usize>> {
        self.complete = false;
        None
    }
}
