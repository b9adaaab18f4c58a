//! Staging: the half in which a state is put together out of verified subtrees. A staged subtree is found again by hashing
//! its records, so nothing has to be remembered beside them.

use std::ops::ControlFlow;

use bytes::Bytes;
use hotstuff2_sync::calls::{CallDone, Holding, HostCall, HostReply, HostWork, SnapshotBase};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::state::{
    PLACEHOLDER, PageBuilder, Prefix, Record, StateItem, StateLeaves, StateReader as _, subtree, subtree_hash,
    value_hash,
};

use super::live::{forget_below, root};
use super::{Batch, Meta, PAGES, RECORDS, View, after, delete_range, page_key, record_key};
use crate::failure::Failure;
use crate::state_store::{Change, HostError, HostStore};
use crate::status::Status;

/// Records that are hashed to say what a place holds; where there are more, the answer is how many.
const MAX_HASHED: usize = 4096;
/// Keys of the largest subtree that is copied from the live state.
const MAX_COPIED: u64 = 64 << 10;
/// Pages that are gathered before they are written.
const PAGES_AT_ONCE: usize = 256;

/// Carries out a call about a state, and what to tell the machine.
pub(crate) fn carry_out(store: &HostStore, call: &HostCall) -> Result<CallDone, Failure> {
    let meta = Meta::read(store)?;
    let staging = Staging { store, half: meta.as_ref().map_or(1, |meta| 1 - meta.half), meta };
    let reply = match &call.work {
        HostWork::Survey(items) => {
            let holdings = items.iter().map(|item| staging.survey(item)).collect::<Result<_, _>>()?;
            HostReply::Surveyed(holdings)
        }
        HostWork::Stage(subtrees) => {
            staging.stage(subtrees)?;
            HostReply::Staged
        }
        HostWork::Activate(base) => staging.activate(base)?,
        _ => return Err(Failure::new(Status::WrongState, "the call is not about a state")),
    };
    Ok(CallDone { id: call.id, result: Ok(reply) })
}

struct Staging<'a> {
    store: &'a HostStore,
    /// The half that is not live.
    half: u8,
    meta: Option<Meta>,
}

impl Staging<'_> {
    fn survey(&self, item: &StateItem) -> Result<Holding, Failure> {
        let StateItem { prefix, hash } = item;
        if *hash == PLACEHOLDER {
            self.clear(prefix)?;
            return Ok(Holding::Held);
        }
        let staged = self.leaves(self.half, prefix, MAX_HASHED + 1)?;
        if staged.len() <= MAX_HASHED && subtree_hash(prefix, &staged) == *hash {
            return Ok(Holding::Held);
        }
        let mut keys = staged.len() as u64;
        if let Some(meta) = &self.meta {
            // A live state that is damaged has nothing to give.
            let (found, live) = subtree(&View::of(*self.store, meta.half), prefix).unwrap_or((PLACEHOLDER, 0));
            if found == *hash && live <= MAX_COPIED && self.copy(meta.half, item)? {
                return Ok(Holding::Held);
            }
            keys = keys.max(live);
        }
        Ok(if keys == 0 { Holding::Absent } else { Holding::Differs { keys } })
    }

    /// Copies a subtree of the live half; false where its records are not what the tree says.
    fn copy(&self, live: u8, item: &StateItem) -> Result<bool, Failure> {
        self.clear(&item.prefix)?;
        let (mut batch, mut leaves, mut failed) = (Batch::new(self.store), Vec::new(), Ok(()));
        View::of(*self.store, live).scan(&item.prefix, &mut |key_hash, record| {
            leaves.push((key_hash, value_of(record.clone())));
            failed = batch.put(record_key(self.half, &key_hash), Some(record));
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        batch.commit()?;
        Ok(subtree_hash(&item.prefix, &leaves) == item.hash)
    }

    /// The first leaves of a half under a place.
    fn leaves(&self, half: u8, prefix: &Prefix, max: usize) -> Result<Vec<(Hash, Hash)>, HostError> {
        let mut leaves = Vec::new();
        View::of(*self.store, half).scan(prefix, &mut |key_hash, record| {
            leaves.push((key_hash, value_of(record)));
            if leaves.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(leaves)
    }

    fn clear(&self, prefix: &Prefix) -> Result<(), HostError> {
        let (first, last) = (record_key(self.half, &prefix.first()), record_key(self.half, &prefix.last()));
        delete_range(self.store, &first, &last)
    }

    /// Each subtree takes the place of everything that is staged under its prefix, in one write.
    fn stage(&self, subtrees: &[StateLeaves]) -> Result<(), HostError> {
        let mut batch: Vec<Change> = Vec::new();
        for StateLeaves { item, records } in subtrees {
            let (mut from, last) = (record_key(self.half, &item.prefix.first()), item.prefix.last());
            let to = record_key(self.half, &last);
            while let Some((key, _)) = self.store.next(&from, &to)? {
                from = after(&key);
                let hash = key.get(2..).unwrap_or_default();
                if records.binary_search_by(|(at, _)| at.as_bytes()[..].cmp(hash)).is_err() {
                    batch.push((key.to_vec(), None));
                }
            }
            let put = |(hash, record): &(Hash, Bytes)| (record_key(self.half, hash), Some(record.clone()));
            batch.extend(records.iter().map(put));
        }
        self.store.write(&batch)
    }

    /// Hashes all that is staged, and makes it live where that gives the root of `base`.
    fn activate(&self, base: &SnapshotBase) -> Result<HostReply, Failure> {
        let height = base.point.height;
        if let Some(meta) = self.meta.as_ref().filter(|meta| meta.height == height)
            && root(self.store, meta.half)?.0 == base.state_root
        {
            // It was done before, and the answer lost.
            return Ok(HostReply::Activated { history_gap: None });
        }
        delete_range(self.store, &[PAGES, self.half], &[PAGES, self.half, u8::MAX])?;
        let (found, bytes) = self.build()?;
        if found != base.state_root {
            return Ok(HostReply::RootMismatch { found });
        }
        if let Some(meta) = self.meta.as_ref().filter(|meta| !meta.snapshots.is_empty()) {
            // Rows that were put aside belong to the half that is given up, and must not be taken for the new one's; and while
            // there is a snapshot, what was put aside for it must be there.
            self.store.write(&[Meta { snapshots: Vec::new(), ..meta.clone() }.change()])?;
        }
        forget_below(self.store, None)?;
        // States are offered at snapshot heights.
        let meta = Meta { half: self.half, height, bytes, snapshots: vec![height] };
        self.store.write(&[meta.change()])?;
        let old = 1 - self.half;
        delete_range(self.store, &[PAGES, old], &[PAGES, old, u8::MAX])?;
        delete_range(self.store, &[RECORDS, old], &[&[RECORDS, old][..], &[u8::MAX; 33]].concat())?;
        Ok(HostReply::Activated { history_gap: None })
    }

    /// Writes the pages over all that is staged; its root, and the bytes of its records.
    fn build(&self) -> Result<(Hash, u64), Failure> {
        let (mut builder, mut batch, mut bytes) = (PageBuilder::new(), Batch::new(self.store), 0u64);
        let mut failed = Ok(());
        let mut add = |key_hash: Hash, record: Bytes| -> Result<(), Failure> {
            bytes = bytes.saturating_add(record.len() as u64);
            let pushed = builder.push(key_hash, value_of(record));
            pushed.map_err(|error| Failure::new(Status::HostFailed, error.to_string()))?;
            if builder.pages() >= PAGES_AT_ONCE {
                for (page, bytes) in builder.take_pages() {
                    batch.put(page_key(self.half, &page), Some(bytes.into()))?;
                }
            }
            Ok(())
        };
        View::of(*self.store, self.half).scan(&Prefix::ROOT, &mut |key_hash, record| {
            failed = add(key_hash, record);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        let (root, _, pages) = builder.finish();
        for (page, bytes) in pages {
            batch.put(page_key(self.half, &page), Some(bytes.into()))?;
        }
        batch.commit()?;
        Ok((root, bytes))
    }
}

/// The hash of a record's value; of one that can't be read, a hash that no value has.
fn value_of(record: Bytes) -> Hash {
    Record::decode(record).map_or(PLACEHOLDER, |record| value_hash(record.value()))
}
