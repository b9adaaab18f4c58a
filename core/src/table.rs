//! [`Table`]: a hash table for what is looked up by key and never walked through in its order.

use core::borrow::Borrow;
use core::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::hash_map::Entry;

// The one place where it may be named: what is offered below has no order.
#[allow(clippy::disallowed_types)]
type Inner<K, V> = hashbrown::HashMap<K, V, FixedState>;

/// A hash table without an order: nothing of it can leak into an output.
///
/// Its hasher has no secret, so that the same calls take the same time and memory in each run. A peer that finds keys with
/// equal hashes makes a lookup slower by a comparison for each of them, so the number of keys that peers choose has a
/// bound wherever one is used.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V>(Inner<K, V>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Inner::default())
    }
}

impl<K: Eq + Hash, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: Eq + Hash, V: Eq> Eq for Table<K, V> {}

impl<K: Eq + Hash, V> Table<K, V> {
    /// The value of `key`.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// The value of `key`, to change it.
    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    /// The place of `key`.
    pub(crate) fn entry(&mut self, key: K) -> Entry<'_, K, V, FixedState> {
        self.0.entry(key)
    }

    /// Gives `key` a value, and returns the one that it had.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Takes the value of `key` away.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key)
    }

    /// Whether `key` has a value.
    pub(crate) fn contains_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Whether there is nothing in it.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes every value that `keep` doesn't want. `keep` is asked once for each, in no order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        self.0.retain(|_, value| keep(value));
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_table_keeps_the_last_value_of_each_key() {
        let mut table = Table::default();
        for key in 0u64..1000 {
            assert_eq!(table.insert(key % 500, key), (key >= 500).then(|| key - 500));
        }
        assert_eq!((table.get(&499), table.get(&500)), (Some(&999), None));
        table.retain(|value| *value % 2 == 0);
        assert!(table.contains_key(&498) && !table.contains_key(&499));
        assert_eq!((table.remove(&498), table.remove(&498)), (Some(998), None));
        table.clear();
        assert!(!table.contains_key(&0));
    }

    #[test]
    fn two_tables_with_the_same_entries_are_equal_whatever_came_first() {
        let forwards: Vec<u64> = (0..100).collect();
        let (mut one, mut other) = (Table::default(), Table::default());
        for key in &forwards {
            one.insert(*key, ());
        }
        for key in forwards.iter().rev() {
            other.insert(*key, ());
        }
        assert_eq!(one, other);
        other.remove(&7);
        assert_ne!(one, other);
    }
}
