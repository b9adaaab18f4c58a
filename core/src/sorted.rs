//! [`Sorted`]: a map in the order of its keys, in one row.

use alloc::vec::{self, Vec};

/// Values by key, in the order of the keys.
///
/// Taking one in or out moves all behind it: with a thousand entries about a microsecond, with ten thousand ten. Tables of a
/// light client, and those that it shares with the machine, are of this kind: each pair of types costs 5 KB of program as a
/// B-tree and a tenth of that here, and a page loads all of them. Larger tables are B-trees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sorted<K, V>(Vec<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Sorted<K, V> {
    /// An empty map.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest key.
    pub(crate) fn first(&self) -> Option<&K> {
        self.0.first().map(|(key, _)| key)
    }

    /// The highest key.
    pub(crate) fn last(&self) -> Option<&K> {
        self.0.last().map(|(key, _)| key)
    }

    /// The entries, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The values, in the order of their keys, to change them.
    pub(crate) fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Removes the entries that `keep` doesn't want. `keep` is asked in order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
    }

    /// Takes out the entries that are meant, in order.
    pub(crate) fn extract(&mut self, mut meant: impl FnMut(&K, &V) -> bool) -> Vec<(K, V)> {
        self.0.extract_if(.., |(key, value)| meant(key, value)).collect()
    }

    /// Takes out the entry with the highest key.
    pub(crate) fn pop_last(&mut self) -> Option<(K, V)> {
        self.0.pop()
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<K: Ord, V> Sorted<K, V> {
    /// The place of `key`, or where it would be.
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(key))
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let place = self.find(key).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// The value of `key`, to change it.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.find(key).ok()?;
        self.0.get_mut(place).map(|(_, value)| value)
    }

    /// Whether `key` has a value.
    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// Gives `key` a value, and returns the one that it had.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(place) => self.0.get_mut(place).map(|(_, known)| core::mem::replace(known, value)),
            Err(place) => {
                self.0.insert(place, (key, value));
                None
            }
        }
    }

    /// The value of `key`, which is made if there is none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        let place = self.find(&key).unwrap_or_else(|place| {
            self.0.insert(place, (key, new()));
            place
        });
        // Found or made a moment ago.
        #[allow(clippy::indexing_slicing)]
        &mut self.0[place].1
    }

    /// Takes the value of `key` away.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.find(key).ok()?;
        Some(self.0.remove(place).1)
    }
}

impl<K, V> IntoIterator for Sorted<K, V> {
    type Item = (K, V);
    type IntoIter = vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sorted_row_does_as_a_tree(steps in proptest::collection::vec((0u8..6, 0u8..40, any::<u16>()), 0..200)) {
            let mut tree = BTreeMap::new();
            let mut row = Sorted::default();
            for (step, key, value) in steps {
                match step {
                    0 | 1 => prop_assert_eq!(row.insert(key, value), tree.insert(key, value)),
                    2 => prop_assert_eq!(row.remove(&key), tree.remove(&key)),
                    3 => prop_assert_eq!(row.get_or_insert_with(key, || value), tree.entry(key).or_insert(value)),
                    4 => prop_assert_eq!(row.pop_last(), tree.pop_last()),
                    _ => {
                        let lower = |value: u16| value % 50 < 25;
                        row.retain(|_, known| lower(*known));
                        tree.retain(|_, known| lower(*known));
                    }
                }
                prop_assert_eq!(row.get(&key), tree.get(&key));
                prop_assert_eq!(row.contains_key(&key), tree.contains_key(&key));
                prop_assert_eq!((row.len(), row.is_empty()), (tree.len(), tree.is_empty()));
                prop_assert_eq!((row.first(), row.last()), (tree.keys().next(), tree.keys().next_back()));
                prop_assert!(row.iter().eq(&tree) && row.keys().eq(tree.keys()) && row.values().eq(tree.values()));
            }
            if let Some(value) = row.get_mut(&7) {
                *value = 7;
                tree.insert(7, 7);
            }
            row.values_mut().chain(tree.values_mut()).for_each(|value| *value = value.wrapping_add(1));
            let (taken, left): (Vec<_>, Vec<_>) = tree.into_iter().partition(|(key, _)| key % 3 == 0);
            prop_assert_eq!(row.extract(|key, _| key % 3 == 0), taken);
            prop_assert_eq!(row.into_iter().collect::<Vec<_>>(), left);
        }
    }
}
