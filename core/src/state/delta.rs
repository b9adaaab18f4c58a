//! [`StateDelta`]: what changes between two states, and the roots that it must lead from and to. It proves itself to
//! whoever has the first state: the changes applied to it have the second root, or they are not the delta.

use alloc::vec::Vec;

use super::key_value::KeyValueState;
use super::store::StateReader;
use super::validation::{ValidationError, expect_root};
use crate::hash::Hash;

/// The changes from one state to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateDelta {
    /// Root of the state that the changes apply to.
    pub from: Hash,
    /// Root of the state that they make.
    pub to: Hash,
    /// Keys with their new values, `None` where the key is deleted; in ascending order, each key once.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl StateDelta {
    /// Applies the changes to an overlay over `base` and compares the roots before and after. `base` stays as it is.
    pub fn validate<R: StateReader>(&self, base: R) -> Result<(), ValidationError<R::Error>> {
        self.apply(base).map(drop)
    }

    /// The state `to`, as an overlay over `base`: the caller may read from it, or take its writes.
    pub fn apply<R: StateReader>(&self, base: R) -> Result<KeyValueState<R>, ValidationError<R::Error>> {
        if !self.changes.is_sorted_by(|(one, _), (other, _)| one < other) {
            return Err(ValidationError::UnorderedDelta);
        }
        let mut state = KeyValueState::load(base)?;
        expect_root(self.from, state.root())?;
        let changes = self.changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        let found = state.apply(changes)?;
        expect_root(self.to, found)?;
        Ok(state)
    }
}
