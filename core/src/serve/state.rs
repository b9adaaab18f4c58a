//! Subtrees and light reads, answered from views of the state. A view is found by hash: an honest answer is never about
//! another state than the one that was asked for.

use alloc::vec::Vec;

use crate::hash::Hash;
use crate::limits::{MAX_STATE_BYTES, MAX_STATE_ITEMS, MIN_STATE_BYTES};
use crate::state::{StateError, StateForm, StateItem, StateReader, Tree, encode_state};
use crate::wire::{encode_answer, encode_read, put_section};

/// Bytes that an answer begins with room for; most need less than they may take.
const FIRST_BYTES: usize = 64 << 10;

/// Subtrees, as many as fit in; `None` where none of them is held.
pub(super) fn subtrees<S: StateReader>(
    states: &[S],
    form: StateForm,
    items: &[StateItem],
    max_bytes: u32,
) -> Result<Option<Vec<u8>>, StateError<S::Error>> {
    let max_bytes = max_bytes.clamp(MIN_STATE_BYTES, MAX_STATE_BYTES) as usize;
    let items = items.get(..MAX_STATE_ITEMS).unwrap_or(items);
    let mut out = encode_answer(FIRST_BYTES);
    Ok(encode_state(states, form, items, max_bytes, &mut out)?.then_some(out))
}

/// The proof of a block, and a key's record with its proof from the state after that block.
pub(super) fn newest<S: StateReader>(
    tip: &[u8],
    state: &S,
    key_hash: &Hash,
) -> Result<Option<Vec<u8>>, StateError<S::Error>> {
    let mut out = encode_answer(0);
    let read = put_section(&mut out, tip) && record(&mut Tree::load(state)?, state, key_hash, &mut out)?;
    Ok(read.then_some(out))
}

/// Appends a key's record with its proof. False where that has no form on the wire.
fn record<S: StateReader>(
    tree: &mut Tree,
    state: &S,
    key_hash: &Hash,
    out: &mut Vec<u8>,
) -> Result<bool, StateError<S::Error>> {
    let proof = tree.prove(state, key_hash)?;
    let record = state.record(key_hash).map_err(StateError::Store)?;
    Ok(encode_read(out, &proof, record.as_ref()))
}

/// A key's record with its proof, from the state whose root this is.
pub(super) fn read<S: StateReader>(
    states: &[S],
    root: &Hash,
    key_hash: &Hash,
) -> Result<Option<Vec<u8>>, StateError<S::Error>> {
    for state in states {
        let mut tree = Tree::load(state)?;
        if tree.root() != *root {
            continue;
        }
        let mut out = encode_answer(0);
        return Ok(record(&mut tree, state, key_hash, &mut out)?.then_some(out));
    }
    Ok(None)
}
