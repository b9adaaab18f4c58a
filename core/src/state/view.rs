//! [`KeyValueView`]: keys and values as one block finds and changes them.

use alloc::collections::BTreeMap;

use super::digest::key_hash;
use super::key_value::{KeyValueState, StateError};
use super::record::{Record, RecordError};
use super::store::StateReader;
use crate::hash::Hash;

/// The state during one block: what was put or deleted is seen at once, and becomes the state's own when the block is
/// done. Made by [`KeyValueState::change`].
#[derive(Debug)]
pub struct KeyValueView<'a, R> {
    state: &'a mut KeyValueState<R>,
    /// By the hashes of their keys.
    changes: BTreeMap<Hash, Option<Record>>,
}

impl<R: StateReader> KeyValueView<'_, R> {
    /// The value of `key`, as the block has left it so far.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StateError<R::Error>> {
        let key_hash = key_hash(key);
        match self.changes.get(&key_hash) {
            Some(change) => Ok(change.as_ref().map(Record::value)),
            None => self.state.get_at(key_hash, key),
        }
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// Where key or value is over its limit ([`MAX_KEY_BYTES`](super::MAX_KEY_BYTES),
    /// [`MAX_VALUE_BYTES`](super::MAX_VALUE_BYTES)): then nothing is set. A block is final, so that all nodes must make the
    /// same of it: whoever executes it decides what such a key stands for, and doesn't fail.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), RecordError> {
        let record = Record::new(key, value)?;
        self.changes.insert(key_hash(key), Some(record));
        Ok(())
    }

    /// Takes the value of `key` away, if it has one.
    pub fn delete(&mut self, key: &[u8]) {
        self.changes.insert(key_hash(key), None);
    }
}

impl<R: StateReader> KeyValueState<R> {
    /// Changes the state as `block` says, all of it or on an error nothing, and returns the new root.
    ///
    /// # Errors
    /// What `block` failed with, and where the state can't be read or changed.
    pub fn change<E: From<StateError<R::Error>>>(
        &mut self,
        block: impl FnOnce(&mut KeyValueView<'_, R>) -> Result<(), E>,
    ) -> Result<Hash, E> {
        let mut view = KeyValueView { state: self, changes: BTreeMap::new() };
        block(&mut view)?;
        let KeyValueView { state, changes } = view;
        Ok(state.apply_records(changes)?)
    }

    /// Changes the state as [`change`](Self::change) does, and says as well what takes the block back: for one that is not
    /// final.
    ///
    /// # Errors
    /// As for [`change`](Self::change).
    pub fn change_for_now<E: From<StateError<R::Error>>>(
        &mut self,
        block: impl FnOnce(&mut KeyValueView<'_, R>) -> Result<(), E>,
    ) -> Result<(Hash, Undo), E> {
        let mut view = KeyValueView { state: self, changes: BTreeMap::new() };
        block(&mut view)?;
        let KeyValueView { state, changes } = view;
        let mut undo = Undo(BTreeMap::new());
        for key_hash in changes.keys() {
            let before = state.record_at(*key_hash)?.cloned();
            undo.0.insert(*key_hash, before);
        }
        Ok((state.apply_records(changes)?, undo))
    }

    /// Takes back the last block that was changed [for now](Self::change_for_now) and has not been taken back, and returns the
    /// root of before it. On an error nothing has changed.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub fn undo(&mut self, undo: &Undo) -> Result<Hash, StateError<R::Error>> {
        self.apply_records(undo.0.clone())
    }
}

/// Records that a block changed, as they were before it, by the hashes of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo(BTreeMap<Hash, Option<Record>>);
