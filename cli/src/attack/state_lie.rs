//! How a liar changes an answer about the state. The form stays right, so that only hashing finds the lie.

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::state::{StateItem, key_hash};

/// Tags and sizes of an answer, as the protocol has them: for each subtree a tag, and behind those that are held a
/// length in four bytes and the content.
const TAG_MISSING: u8 = 0;
const TAG_LEAVES: u8 = 1;
const HEAD_BYTES: usize = 5;

/// Keys that are tried until one lies in the subtree. One in two to the power of its depth does.
const TRIES: u32 = 1 << 20;

/// One record as it travels, with the hash of its key.
pub(crate) struct Leaf {
    key_hash: Hash,
    bytes: Vec<u8>,
}

/// Changes the records of the subtree in this place.
pub(crate) type BendLeaves = fn(&StateItem, &mut Vec<Leaf>);

/// The honest answer `data` to a request for `items`, with the first subtree in it changed.
pub(crate) fn bend_state(items: &[StateItem], data: &[u8], bend: BendLeaves) -> Option<Vec<u8>> {
    let missing = data.iter().take_while(|&&tag| tag == TAG_MISSING).count();
    let item = items.get(missing)?;
    let (before, answer) = data.split_at_checked(missing)?;
    let (&tag, rest) = answer.split_first()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (content, after) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    let content = if tag == TAG_LEAVES {
        let mut leaves = read_leaves(content)?;
        bend(item, &mut leaves);
        leaves.into_iter().flat_map(|leaf| leaf.bytes).collect()
    } else {
        // A tree ends with the hash of its last subtree, which stands for all of that subtree's keys.
        let mut content = content.to_vec();
        *content.last_mut()? ^= 1;
        content
    };
    let mut bent = Vec::with_capacity(data.len().saturating_add(HEAD_BYTES));
    bent.extend_from_slice(before);
    bent.push(tag);
    bent.extend_from_slice(&u32::try_from(content.len()).ok()?.to_le_bytes());
    bent.extend_from_slice(&content);
    bent.extend_from_slice(after);
    Some(bent)
}

/// Gives the last key another value.
#[expect(clippy::ptr_arg, reason = "it is one of several `BendLeaves`")]
pub(crate) fn change_value(_: &StateItem, leaves: &mut Vec<Leaf>) {
    if let Some(last) = leaves.last_mut().and_then(|leaf| leaf.bytes.last_mut()) {
        *last ^= 1;
    }
}

/// Leaves the last key out.
pub(crate) fn omit_key(_: &StateItem, leaves: &mut Vec<Leaf>) {
    leaves.pop();
}

/// Puts a key in where its hash belongs.
pub(crate) fn add_key(item: &StateItem, leaves: &mut Vec<Leaf>) {
    const KEY_BYTES: u8 = 4;
    let keys = (0..TRIES).map(u32::to_le_bytes).map(|key| (key_hash(&key), key));
    let Some((key_hash, key)) = keys.into_iter().find(|(hash, _)| item.prefix.contains(hash)) else { return };
    // The value is empty.
    let mut bytes = vec![KEY_BYTES, 0];
    bytes.extend_from_slice(&key);
    let place = leaves.partition_point(|leaf| leaf.key_hash < key_hash);
    leaves.insert(place, Leaf { key_hash, bytes });
}

fn read_leaves(mut content: &[u8]) -> Option<Vec<Leaf>> {
    let mut leaves = Vec::new();
    while !content.is_empty() {
        let mut rest = content;
        let (key_len, value_len) = (read_length(&mut rest)?, read_length(&mut rest)?);
        let (key, rest) = rest.split_at_checked(key_len)?;
        let (_, rest) = rest.split_at_checked(value_len)?;
        let (bytes, _) = content.split_at_checked(content.len().checked_sub(rest.len())?)?;
        leaves.push(Leaf { key_hash: key_hash(key), bytes: bytes.to_vec() });
        content = rest;
    }
    Some(leaves)
}

/// A length: seven bits a byte, the lowest first.
fn read_length(bytes: &mut &[u8]) -> Option<usize> {
    let mut length = 0;
    for shift in [0, 7, 14] {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hotstuff2_sync::chain::Fault;
    use hotstuff2_sync::ids::Height;
    use hotstuff2_sync::state::{Prefix, StateForm, decode_state, subtree};
    use hotstuff2_sync::wire::{Answer, Request};
    use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};

    /// What an asker finds in an answer that was bent, for subtrees of several depths and in both forms.
    fn faults(bend: BendLeaves) -> Vec<Option<Fault>> {
        let spec = ChainSpec { blocks: 60, snapshot_interval: 50, ..ChainSpec::default() };
        let chain = TestChain::with_ledger(spec, 2000, 100).unwrap();
        let height = Height::new(50);
        let state = chain.state(height).unwrap();
        let path = |depth| Prefix::new(Hash::ZERO, depth).unwrap();
        [(0, StateForm::Leaves), (3, StateForm::Leaves), (8, StateForm::Leaves), (0, StateForm::Tree { depth: 4 })]
            .into_iter()
            .map(|(depth, form)| {
                let prefix = path(depth);
                let (hash, _) = subtree(state, &prefix).unwrap();
                let items = vec![StateItem { prefix, hash }];
                let request = Request::State { height, form, items: items.clone(), max_bytes: 1 << 20 };
                let Ok(Answer::Data(data)) = Answer::decode(chain.respond(&request)) else { panic!("{request:?}") };
                assert!(decode_state(form, &items, &data).is_ok());
                let bent = bend_state(&items, &data, bend).unwrap();
                decode_state(form, &items, &Bytes::from(bent)).err()
            })
            .collect()
    }

    #[test]
    fn every_lie_about_a_state_is_found_by_its_hash_alone() {
        let wrong = Some(Fault::WrongState);
        for bend in [change_value as BendLeaves, omit_key, add_key] {
            assert_eq!(faults(bend), [wrong, wrong, wrong, wrong]);
        }
        assert_eq!(faults(|_, _| {})[..3], [None, None, None], "what is put together again is what it was");
    }
}
