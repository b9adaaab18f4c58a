//! Activation: the staged state takes the live one's place, and the stored blocks begin above its block.
//!
//! All that is staged is read and hashed once more, whatever was said of its parts: only the root decides. The pages
//! that come of it go into the staging tables, where they harm nobody. Then one batch, forced to disk, exchanges the
//! tables and moves the head, and takes every batch before it along. What it leaves behind (old tables, old files) is
//! removed afterwards, or when the store is opened again.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use bytes::Bytes;
use hotstuff2_sync::calls::SnapshotBase;
use hotstuff2_sync::chain::{Chain, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::{PageBuilder, PageKey, Prefix, subtree_hash};

use super::db::Space;
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::live::{leaf_value, scan_values};
use super::load::read_record;
use super::marks;
use super::records::{BaseRecord, StateSize, TipRecord, encode, key};
use super::staging::{Activation, Batch};
use super::steps::Step;
use super::view::{Floor, Tip, View};
use super::writer::drop_rows;

/// Pages that are gathered before they are written, about 1 KiB each.
const PAGES_AT_ONCE: usize = 1024;

/// Leaves that are handed from thread to thread at once, 64 bytes each.
const CHUNK_LEAVES: usize = 4096;

/// Such chunks that may wait: 4 MiB of leaves.
const CHUNKS_AHEAD: usize = 16;

impl<C: Chain> DiskStore<C> {
    /// The block whose state was fetched, and its state root; `None` in a store that begins with its anchor.
    pub fn base(&self) -> Result<Option<SnapshotBlock>, StoreFailure> {
        let record: Option<BaseRecord> = read_record(&self.db, key::BASE)?;
        Ok(record.map(|base| SnapshotBlock {
            height: base.point.height,
            id: base.point.id,
            state_root: base.state_root,
            segment: base.segment.into(),
        }))
    }

    pub(super) fn activate_staged(&self, base: &SnapshotBase) -> Result<Activation, StoreFailure> {
        self.check_base(base).map_err(|what| StoreFailure::RefusedState { path: self.dir.clone(), what })?;
        if self.is_active(base)? {
            return Ok(Activation::Activated);
        }
        self.db.clear_staged_pages()?;
        let (found, size) = self.build_pages()?;
        if found == base.state_root {
            self.rebase(base, size)?;
            return Ok(Activation::Activated);
        }
        self.forget_unsound()?;
        Ok(Activation::RootMismatch { found })
    }

    /// Whether the headers are those of the block, in an epoch that is trusted here.
    fn check_base(&self, base: &SnapshotBase) -> Result<(), String> {
        let SnapshotBase { point, segment, .. } = base;
        let view = self.view();
        if view.epoch_of(point.height).map(|(epoch, _)| epoch) != Some(segment.epoch()) {
            return Err(format!("block {} belongs to no epoch whose handover is stored", point.height));
        }
        if point.height < view.anchor.height {
            return Err(format!("block {} is below the anchor {}", point.height, view.anchor.height));
        }
        let decoded = segment.decoded(&*self.chain).map_err(|fault| format!("its headers can't be read: {fault}"))?;
        let header = self.chain.header(decoded, point.height).filter(|_| segment.range().first() == point.height);
        match header {
            Some(header) if header.id == point.id => Ok(()),
            _ => Err(format!("its headers don't begin with block {} {}", point.height, point.id)),
        }
    }

    /// Whether `base` was activated before, and the answer lost: then nothing is staged.
    fn is_active(&self, base: &SnapshotBase) -> Result<bool, StoreFailure> {
        let record: Option<BaseRecord> = read_record(&self.db, key::BASE)?;
        let same = record.is_some_and(|record| record.point == base.point && record.state_root == base.state_root);
        Ok(same && self.staged_leaves(&Prefix::ROOT, 1)?.is_empty())
    }

    /// Writes the pages of all that is staged; its root and size. Values are read and hashed on a thread of their own,
    /// while the pages of those before are built and written: each takes about half of the time.
    pub(super) fn build_pages(&self) -> Result<(Hash, StateSize), StoreFailure> {
        let (sender, leaves) = mpsc::sync_channel(CHUNKS_AHEAD);
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || self.hash_values(&sender));
            // Where this fails, `leaves` is dropped and the reader stops.
            let root = self.build_pages_of(leaves);
            let size = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((root?, size?))
        })
    }

    /// Sends the leaves of all staged values; the size of the state.
    fn hash_values(&self, leaves: &mpsc::SyncSender<Vec<(Hash, Hash)>>) -> Result<StateSize, StoreFailure> {
        let (mut size, mut chunk) = (StateSize::default(), Vec::with_capacity(CHUNK_LEAVES));
        scan_values(&self.db, Space::StagedValues, &Prefix::ROOT, |key_hash, record| {
            size.add(record.len());
            chunk.push((key_hash, leaf_value(record)));
            let full = chunk.len() >= CHUNK_LEAVES;
            let chunk = full.then(|| std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_LEAVES)));
            let sent = chunk.is_none_or(|chunk| leaves.send(chunk).is_ok());
            Ok(if sent { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        // Nobody listens where building has failed, which says why.
        let _ = leaves.send(chunk);
        Ok(size)
    }

    fn build_pages_of(&self, leaves: mpsc::Receiver<Vec<(Hash, Hash)>>) -> Result<Hash, StoreFailure> {
        let (mut builder, mut batch) = (PageBuilder::new(), Batch::new(self));
        for (key_hash, value_hash) in leaves.into_iter().flatten() {
            let damaged = |error| StoreFailure::damaged(self.db.path(), format!("staged values: {error}"));
            builder.push(key_hash, value_hash).map_err(damaged)?;
            if builder.pages() >= PAGES_AT_ONCE {
                put_pages(&mut batch, builder.take_pages())?;
                batch.commit()?;
            }
        }
        let (root, _, pages) = builder.finish();
        put_pages(&mut batch, pages)?;
        batch.commit()?;
        Ok(root)
    }

    /// Deletes the marks whose values don't hash to them: they count as missing, or as different, when asked for again.
    pub(super) fn forget_unsound(&self) -> Result<(), StoreFailure> {
        let (mut batch, mut after) = (Batch::new(self), None);
        loop {
            let some = marks::next(&self.db, after.as_ref())?;
            let Some((last, ..)) = some.last() else { return batch.commit() };
            after = Some(last.clone());
            for (key, place, hash) in some {
                if subtree_hash(&place, &self.staged_leaves(&place, usize::MAX)?) != hash {
                    tracing::warn!(%place, "the disk returns other values than were staged here; they are fetched again");
                    batch.put(Space::Marks, key, None)?;
                }
            }
        }
    }

    /// The staged state becomes the live one, at the height of `base`, and the blocks begin above it.
    fn rebase(&self, base: &SnapshotBase, size: StateSize) -> Result<(), StoreFailure> {
        let _writer = self.lock_writer()?;
        // Until the tables are exchanged, nobody may write to those that will be deleted.
        let mut keeper = self.snapshots.lock(&self.db)?;
        let height = base.point.height;
        let mut change = keeper.plan_replacement(&self.db, self.snapshots.interval(), height, size)?;
        let old = self.view();
        let record = BaseRecord::of(base);
        let tip = self.tip_at_base(base);
        let tip_record = TipRecord { height: tip.height, epoch: tip.epoch, bytes: tip.bytes.to_vec() };
        let put = |key, row| (Space::Index, Bytes::from_static(key), row);
        change.rows.extend([
            self.db.switch_row()?,
            put(key::BASE, Some(encode(&record))),
            put(key::HEAD, Some(encode(&base.point))),
            put(key::TIP, Some(encode(&tip_record))),
            put(key::APPLIED, Some(encode(&height))),
            put(key::FLOOR, None),
            put(key::PRUNED, None),
        ]);
        old.unsealed.iter().for_each(|piece| drop_rows(&mut change.rows, piece));
        // A failure from here on breaks the database, or poisons the writer's lock: whoever writes next reads again what holds.
        self.snapshots.commit(&mut keeper, change, |rows| self.commit_rows(rows.into_iter(), true))?;
        self.reached(Step::Switch)?;
        self.db.switch()?;
        let view = View {
            base: base.point,
            base_proof: Some(record.into_proof()),
            floor: Floor::above(base.point),
            pruned: None,
            head: base.point,
            tip,
            unsealed: Vec::new(),
            ..View::clone(&old)
        };
        self.applied.store(height.get(), Ordering::Release);
        self.caches.clear();
        self.publish(view);
        self.damages.clear_segments();
        // Nothing refers to the files any more. What can't be removed now is removed when the store is opened again.
        if let Err(error) = self.reached(Step::Remove).and_then(|()| self.segments.remove_strays(|_, _| false)) {
            tracing::warn!(%error, "files of blocks below the new state could not be removed");
        }
        Ok(())
    }

    pub(super) fn reached(&self, step: Step) -> Result<(), StoreFailure> {
        let failed = |error| {
            self.db.set_broken();
            StoreFailure::io(self.db.path(), "exchange the tables", error)
        };
        self.steps.reached(step, self.db.path()).map_err(failed)
    }

    /// The proof of finality that is served from now on: that of the base itself where one can be made of what proves it,
    /// else that of the block above by which it is proven. Empty bytes where there is none.
    fn tip_at_base(&self, base: &SnapshotBase) -> Tip {
        let (segment, height) = (&base.segment, base.point.height);
        let (epoch, last) = (segment.epoch(), segment.range().last());
        if let Some(bytes) = base.tip.clone() {
            return Tip { height: last, epoch, bytes };
        }
        let headers = std::slice::from_ref(segment.bytes());
        let own = self.chain.assemble(headers, HeightRange::single(height), SegmentEnd::Certified);
        if let Some(bytes) = own.and_then(|own| self.chain.tip_of(&own)) {
            return Tip { height, epoch, bytes };
        }
        match self.chain.tip_of(segment.bytes()) {
            Some(bytes) => Tip { height: last, epoch, bytes },
            None => Tip { height, epoch, bytes: Bytes::new() },
        }
    }
}

/// The block whose state the store began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBlock {
    /// Its height.
    pub height: Height,
    /// Its id.
    pub id: Hash,
    /// The state after it.
    pub state_root: Hash,
    /// Verified headers that begin with its own.
    pub segment: Bytes,
}

fn put_pages<C: Chain>(batch: &mut Batch<'_, C>, pages: Vec<(PageKey, Vec<u8>)>) -> Result<(), StoreFailure> {
    pages
        .into_iter()
        .try_for_each(|(key, page)| batch.put(Space::StagedPages, key.to_bytes().into(), Some(page.into())))
}
