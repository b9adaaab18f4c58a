//! The answer to a request for subtrees: for each, in order, that it is missing, its records, or a pruned tree of it. It
//! trusts nothing: every part is proven against the hash that was asked for.

use alloc::vec::Vec;

use bytes::{Buf as _, Bytes};

use super::item::{StateForm, StateItem, StateLeaves};
use super::{MAX_TREE_DEPTH, leaves, pruned};
use crate::chain::Fault;

const TAG_MISSING: u8 = 0;
const TAG_LEAVES: u8 = 1;
const TAG_TREE: u8 = 2;

/// Bytes before a content: its tag, and its length.
const HEAD_BYTES: usize = 5;

/// A subtree as a proven answer gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum StateAnswer {
    /// All of its records. Also the answer for a tree where there is at most one.
    Leaves(StateLeaves),
    /// Its top.
    Tree {
        /// The subtree.
        item: StateItem,
        /// The subtrees below, from left to right: together they cover the place, and each is deeper. Those that are not
        /// at the asked depth have one key, or none and then the hash [`PLACEHOLDER`](super::PLACEHOLDER).
        below: Vec<StateItem>,
    },
    /// The peer doesn't hold it.
    Missing(StateItem),
}

impl StateAnswer {
    /// The subtree that it is about.
    pub fn item(&self) -> StateItem {
        match self {
            Self::Leaves(leaves) => leaves.item,
            Self::Tree { item, .. } | Self::Missing(item) => *item,
        }
    }
}

/// Reads the answer to a request for `items`: of the first of them, in order, of one at least that the peer holds.
pub fn decode_state(form: StateForm, items: &[StateItem], answer: &Bytes) -> Result<Vec<StateAnswer>, Fault> {
    let mut bytes: &[u8] = answer;
    let mut answers = Vec::new();
    let mut holds_any = false;
    for item in items {
        if bytes.is_empty() {
            break;
        }
        let answer = take(form, *item, &mut bytes)?;
        holds_any |= !matches!(answer, StateAnswer::Missing(_));
        answers.push(answer);
    }
    // An answer that holds nothing is a refusal, and has that form.
    if bytes.is_empty() && holds_any { Ok(answers) } else { Err(Fault::NonCanonical) }
}

fn take(form: StateForm, item: StateItem, bytes: &mut &[u8]) -> Result<StateAnswer, Fault> {
    let tag = bytes.try_get_u8().map_err(|_| Fault::Malformed)?;
    if tag == TAG_MISSING {
        return Ok(StateAnswer::Missing(item));
    }
    let len = bytes.try_get_u32_le().map_err(|_| Fault::Malformed)?;
    let (mut content, rest) =
        usize::try_from(len).ok().and_then(|len| bytes.split_at_checked(len)).ok_or(Fault::Malformed)?;
    *bytes = rest;
    match (tag, form) {
        (TAG_LEAVES, form) => {
            let leaves = leaves::decode(item, content)?;
            if form != StateForm::Leaves && leaves.records.len() > 1 {
                return Err(Fault::NonCanonical);
            }
            Ok(StateAnswer::Leaves(leaves))
        }
        (TAG_TREE, form) => {
            let shown = content.try_get_u8().map_err(|_| Fault::Malformed)?;
            let fits = match form {
                StateForm::Leaves => (1..=MAX_TREE_DEPTH).contains(&shown),
                StateForm::Tree { depth } => shown == depth,
            };
            if !fits {
                return Err(Fault::Oversize);
            }
            Ok(StateAnswer::Tree { item, below: pruned::decode(item, shown, content)? })
        }
        _ => Err(Fault::Malformed),
    }
}

/// Says that a subtree is missing.
pub(super) fn put_missing(out: &mut Vec<u8>) {
    out.push(TAG_MISSING);
}

/// A content that is being written behind what `out` has.
pub(super) struct Content<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Content<'a> {
    pub(super) fn leaves(out: &'a mut Vec<u8>) -> Self {
        Self::new(out, TAG_LEAVES)
    }

    pub(super) fn tree(out: &'a mut Vec<u8>, depth: u8) -> Self {
        let content = Self::new(out, TAG_TREE);
        content.out.push(depth);
        content
    }

    fn new(out: &'a mut Vec<u8>, tag: u8) -> Self {
        let start = out.len();
        out.push(tag);
        out.extend_from_slice(&[0; 4]);
        Self { out, start }
    }

    /// Where to append to.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Bytes that were written, with what stands before them.
    pub(super) fn len(&self) -> usize {
        self.out.len().saturating_sub(self.start)
    }

    /// Takes everything back.
    pub(super) fn abandon(self) {
        self.out.truncate(self.start);
    }

    /// Writes the length.
    pub(super) fn finish(self) {
        let len = self.out.len().saturating_sub(self.start).saturating_sub(HEAD_BYTES);
        // At most the bytes of an answer, which a u32 says.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let place = self.out.get_mut(self.start.saturating_add(1)..self.start.saturating_add(HEAD_BYTES));
        if let Some(place) = place {
            place.copy_from_slice(&len.to_le_bytes());
        }
    }
}
