//! History: verified older blocks, cell by cell downwards from the block that the store began with.
//!
//! A cell is a sealed file as any other, with the bodies or without. It counts when the database says so, which is after
//! the file is durable under its name; a file that is there before is removed when the store is opened.

use bytes::Bytes;
use hotstuff2_sync::calls::HistoryGap;
use hotstuff2_sync::chain::{Chain, SegmentRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::BodyFrame;

use super::db::Space;
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::records::{encode, key};
use super::view::{Floor, View};

/// Where older blocks are added to. All calls may wait for the disk.
pub trait HistoryStore: Send + Sync + 'static {
    /// The highest gap below the stored blocks; `None` where they reach down to the anchor, or no older ones are wanted.
    fn history_gap(&self) -> Result<Option<HistoryGap>, StoreFailure>;

    /// Adds verified headers, those of [`Self::history_gap`], and where `frames` are given, the bodies of all of them.
    /// Durable on return. Headers that are stored already are skipped, so a call may be made again when its answer was
    /// lost.
    ///
    /// Headers without bodies are served as headers. Bodies below them are stored and served too, but what is told to
    /// peers as the earliest block is the lowest from which on none is missing.
    fn prepend(&self, segment: &SegmentRef, frames: Option<&[BodyFrame]>) -> Result<(), StoreFailure>;
}

impl<C: Chain> HistoryStore for DiskStore<C> {
    fn history_gap(&self) -> Result<Option<HistoryGap>, StoreFailure> {
        let view = self.view();
        let wanted = gap_of(&view).filter(|(range, _)| self.wants_history(&view, *range));
        let Some((range, last_id)) = wanted else { return Ok(None) };
        let Some((epoch, _)) = view.epoch_of(range.first()) else { return Ok(None) };
        Ok(Some(HistoryGap { range, last_id, epoch: self.epoch_ref(epoch)? }))
    }

    fn prepend(&self, segment: &SegmentRef, frames: Option<&[BodyFrame]>) -> Result<(), StoreFailure> {
        self.require_room()?;
        let mut failed = self.lock_writer()?;
        let view = self.view();
        // Stored already, or pruned while peers were asked for what lies below.
        let is_gone = view.pruned.is_some_and(|pruned| segment.range().last() < pruned);
        if segment.range().first() >= view.floor.headers || (is_gone && self.history_gap()?.is_none()) {
            return Ok(());
        }
        let refused = |what| StoreFailure::Refused { path: self.dir.clone(), first: segment.range().first(), what };
        check(&view, segment).map_err(refused)?;
        let first = segment.range().first();
        // Until the commit is known to be there, a file may be that the database doesn't know.
        *failed = true;
        let has_bodies = frames.is_some();
        let mut frames = frames.unwrap_or_default().iter().cloned().map(Ok);
        let bodies = has_bodies.then_some(&mut frames as &mut dyn Iterator<Item = _>);
        self.write_cell(segment, bodies, &self.segments)?;
        self.put_in_place(&self.segments, first)?;

        let reaches = has_bodies && view.floor.bodies == view.floor.headers;
        let headers = first;
        let bodies = if reaches { headers } else { view.floor.bodies };
        let floor = Floor { headers, bodies, parent_id: segment.parent_id() };
        let row = (Space::Index, Bytes::from_static(key::FLOOR), Some(encode(&floor)));
        self.commit_rows(std::iter::once(row), true)?;
        self.publish(View { floor, ..View::clone(&view) });
        *failed = false;
        Ok(())
    }
}

fn gap_of(view: &View) -> Option<(HeightRange, Hash)> {
    let last = view.floor.headers.prev().filter(|last| *last > view.anchor.height)?;
    let range = HeightRange::new(view.cell_of(last)?.first(), last)?;
    Some((range, view.floor.parent_id))
}

/// Whether the headers are those that are missing. An error says what doesn't fit.
fn check(view: &View, segment: &SegmentRef) -> Result<(), String> {
    let (missing, last_id) =
        gap_of(view).ok_or_else(|| format!("the stored blocks reach down to the anchor {}", view.anchor.height))?;
    if segment.range() != missing || segment.last_id() != last_id {
        let (range, id) = (segment.range(), segment.last_id());
        return Err(format!("the headers {range} end with {id}; missing are {missing} ending with {last_id}"));
    }
    if view.epoch_of(missing.first()).map(|(epoch, _)| epoch) != Some(segment.epoch()) {
        return Err(format!("the headers are of epoch {}, which doesn't have those heights", segment.epoch()));
    }
    Ok(())
}
