//! Subtrees out of a store: what stands at a place, and the parts of an answer that show it. The store is trusted to
//! return what it was given; pages are checked against the tree's hashes all the same.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::MAX_TREE_DEPTH;
use super::answer::{Content, put_missing};
use super::digest::bit;
use super::item::{StateForm, StateItem};
use super::key_value::StateError;
use super::leaves::put_record;
use super::node::{Child, Internal, Leaf, Link};
use super::page::{self, PageError, PageKey};
use super::prefix::Prefix;
use super::pruned::{self, TAG_EMPTY, TAG_INTERNAL, TAG_LEAF, TAG_PRUNED};
use super::record::Record;
use super::store::StateReader;
use super::tree::TreeError;
use crate::hash::Hash;

/// A tree shown instead of leaves is cut so that each part takes about this share of an answer: several parts fill the
/// next one well.
const PARTS_OF_ANSWER: u64 = 8;

/// The hash of the subtree at `prefix`, and how many leaves it has. Reads the pages on the way there.
pub fn subtree<R: StateReader>(reader: &R, prefix: &Prefix) -> Result<(Hash, u64), TreeError<R::Error>> {
    let top = find(reader, prefix)?;
    Ok((top.hash, top.leaves))
}

/// The subtree at `prefix`, with links to the pages below.
fn find<R: StateReader>(reader: &R, prefix: &Prefix) -> Result<Child, TreeError<R::Error>> {
    let path = prefix.first();
    let Some(mut child) = read_page(reader, &PageKey::ROOT)? else { return Ok(Child::EMPTY) };
    for depth in 0..prefix.depth() {
        child = open(reader, child, &path, depth)?;
        child = match child.link {
            Link::Internal(node) => {
                let Internal { left, right, .. } = *node;
                if bit(&path, depth) { right } else { left }
            }
            Link::Leaf(leaf) if prefix.contains(&leaf.key_hash) => return Ok(Child::leaf(*leaf)),
            // Pages of leaves are made where trees are changed.
            Link::Leaf(_) | Link::Empty | Link::Page(_) | Link::Stored => return Ok(Child::EMPTY),
        };
    }
    Ok(child)
}

fn read_page<R: StateReader>(reader: &R, key: &PageKey) -> Result<Option<Child>, TreeError<R::Error>> {
    let Some(bytes) = reader.page(key).map_err(TreeError::Store)? else { return Ok(None) };
    page::decode(&bytes, key).map(Some).map_err(|reason| TreeError::Corrupt { page: *key, reason })
}

/// `child`, which is at `depth` on the way to `path`, read from its page where it has one.
fn open<R: StateReader>(reader: &R, child: Child, path: &Hash, depth: u16) -> Result<Child, TreeError<R::Error>> {
    let Link::Stored = child.link else { return Ok(child) };
    let key = PageKey::on_path(path, depth);
    let top = read_page(reader, &key)?.ok_or(TreeError::Missing(key))?;
    let corrupt = |reason| TreeError::Corrupt { page: key, reason };
    if top.hash != child.hash {
        return Err(corrupt(PageError::Hash { found: top.hash, expected: child.hash }));
    }
    if top.leaves != child.leaves {
        return Err(corrupt(PageError::Shape));
    }
    Ok(top)
}

/// Outcome of putting a subtree into an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    Written,
    Missing,
    /// No room for it.
    Full,
}

/// Appends to `out` the answer to a request for `items` in `form`, from the first of `readers` that holds each. At most
/// `max_bytes`, but always one item that is held: a record or a pruned tree where no more fits in. False where none is.
///
/// A reader without the asked subtree costs the pages on the way; no more records are read than fit in.
pub fn encode_state<R: StateReader>(
    readers: &[R],
    form: StateForm,
    items: &[StateItem],
    max_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<bool, StateError<R::Error>> {
    let end = out.len().saturating_add(max_bytes);
    let mut holds_any = false;
    for item in items {
        let mut put = Put::Missing;
        for reader in readers {
            put = put_item(reader, form, *item, end.saturating_sub(out.len()), !holds_any, out)?;
            if put != Put::Missing {
                break;
            }
        }
        match put {
            Put::Written => holds_any = true,
            Put::Missing if out.len() < end => put_missing(out),
            Put::Missing | Put::Full => break,
        }
    }
    Ok(holds_any)
}

/// Appends one subtree, if it fits into `max_bytes`; `first` must be answered.
fn put_item<R: StateReader>(
    reader: &R,
    form: StateForm,
    item: StateItem,
    max_bytes: usize,
    first: bool,
    out: &mut Vec<u8>,
) -> Result<Put, StateError<R::Error>> {
    let top = find(reader, &item.prefix)?;
    if top.hash != item.hash {
        return Ok(Put::Missing);
    }
    let lone = first && top.leaves <= 1;
    let depth = match form {
        StateForm::Tree { depth } if top.leaves > 1 => depth.clamp(1, MAX_TREE_DEPTH),
        _ => match put_leaves(reader, &item.prefix, top.leaves, if lone { usize::MAX } else { max_bytes }, out)? {
            Ok(()) => return Ok(Put::Written),
            Err(_) if !first => return Ok(Put::Full),
            Err(fitting) => parting_depth(top.leaves, fitting),
        },
    };
    let mut content = Content::tree(out, depth);
    put_tree(reader, top, item.prefix, pruned::bottom(&item.prefix, depth), content.bytes())?;
    if content.len() > max_bytes && !first {
        content.abandon();
        return Ok(Put::Full);
    }
    content.finish();
    Ok(Put::Written)
}

/// How deep to show a tree of so many leaves, of which `fitting` fit into an answer.
fn parting_depth(leaves: u64, fitting: u64) -> u8 {
    let part = (fitting / PARTS_OF_ANSWER).max(1);
    (1..MAX_TREE_DEPTH).find(|&depth| leaves >> depth <= part).unwrap_or(MAX_TREE_DEPTH)
}

/// Appends all records under `prefix`, which are `leaves`; where they take more than `max_bytes`, nothing, and the error
/// says how many would have fitted in.
fn put_leaves<R: StateReader>(
    reader: &R,
    prefix: &Prefix,
    leaves: u64,
    max_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<Result<(), u64>, StateError<R::Error>> {
    let mut content = Content::leaves(out);
    let (mut seen, mut damage) = (0u64, None);
    let mut visit = |key_hash, bytes| match Record::decode(bytes) {
        Ok(record) => {
            put_record(content.bytes(), &record);
            if content.len() > max_bytes {
                return ControlFlow::Break(());
            }
            seen = seen.saturating_add(1);
            ControlFlow::Continue(())
        }
        Err(reason) => {
            damage = Some(StateError::Corrupt { key_hash, reason });
            ControlFlow::Break(())
        }
    };
    // An empty place needs no look into the records.
    let scanned = if leaves == 0 { Ok(()) } else { reader.scan(prefix, &mut visit) };
    let fits = content.len() <= max_bytes;
    let result = match (scanned, damage) {
        (Err(error), _) => Err(StateError::Store(error)),
        (Ok(()), Some(damage)) => Err(damage),
        (Ok(()), None) if !fits => Ok(Err(seen)),
        (Ok(()), None) if seen != leaves => Err(StateError::WrongRecords { prefix: *prefix }),
        (Ok(()), None) => {
            content.finish();
            return Ok(Ok(()));
        }
    };
    content.abandon();
    result
}

/// Appends the tree of `child`, which is at `prefix`, down to the depth `bottom`.
fn put_tree<R: StateReader>(
    reader: &R,
    child: Child,
    prefix: Prefix,
    bottom: u16,
    out: &mut Vec<u8>,
) -> Result<(), TreeError<R::Error>> {
    if child.leaves == 0 {
        out.push(TAG_EMPTY);
        return Ok(());
    }
    let Some((left, right)) = prefix.children().filter(|_| prefix.depth() < bottom) else {
        out.push(TAG_PRUNED);
        out.extend_from_slice(child.hash.as_bytes());
        return Ok(());
    };
    match open(reader, child, &prefix.first(), prefix.depth())?.link {
        Link::Leaf(leaf) => {
            let Leaf { key_hash, value_hash } = *leaf;
            out.push(TAG_LEAF);
            out.extend_from_slice(key_hash.as_bytes());
            out.extend_from_slice(value_hash.as_bytes());
        }
        Link::Internal(node) => {
            let node = *node;
            out.push(TAG_INTERNAL);
            put_tree(reader, node.left, left, bottom, out)?;
            put_tree(reader, node.right, right, bottom, out)?;
        }
        // A place with leaves is one of the two, a page's top is never a link, and pages of leaves are made in trees alone.
        Link::Empty | Link::Page(_) | Link::Stored => {
            return Err(TreeError::Missing(PageKey::on_path(&prefix.first(), prefix.depth())));
        }
    }
    Ok(())
}
