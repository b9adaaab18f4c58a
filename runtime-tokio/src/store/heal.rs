//! Healing: a sealed segment that can't be read is written anew out of what peers gave, and takes the damaged file's place
//! while others read.
//!
//! A whole cell is proven by its own certificate, or by the id of its last block, which the segment above names. What was
//! stored around it must agree. Bytes of sealed segments are the same at every honest server that got them the same way, so
//! the file usually is what it was, byte for byte.

use std::path::Path;

use bytes::Bytes;
use hotstuff2_sync::chain::{Chain, EpochRef, SegmentRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::BodyFrame;

use super::damage::StorePart;
use super::disk::DiskStore;
use super::failure::{CREATE_DIRECTORY, StoreFailure};
use super::load::read_record;
use super::records::{EpochRecord, Facts, FrameRecord, SegmentRecord, key};
use super::segment_file::{FileJob, SegmentDir, SegmentFile, file_foot, file_head, has_audit};
use super::view::View;

/// A sealed segment that is to be fetched again, and what the store knows of it without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostSegment {
    /// The heights: a whole cell.
    pub range: HeightRange,
    /// Their epoch.
    pub epoch: EpochRef,
    /// The id of the block below the first, where what is stored below can be read.
    pub parent: Option<Hash>,
    /// The id of the last block, where what is stored above can be read.
    pub last_id: Option<Hash>,
    /// Whether the bodies were stored too.
    pub bodies: bool,
    /// Whether a certificate for each block seems to have been.
    pub audit: bool,
}

/// Bodies as they come, to be written as they come.
pub type Frames<'a> = &'a mut dyn Iterator<Item = Result<BodyFrame, StoreFailure>>;

impl<C: Chain> DiskStore<C> {
    /// The facts by which the sealed segment with the heights `range` is fetched again; `None` where none such is
    /// stored.
    pub fn lost_segment(&self, range: HeightRange) -> Result<Option<LostSegment>, StoreFailure> {
        let view = self.view();
        let epoch = view.epoch_of(range.first()).map(|(epoch, _)| epoch);
        let (Some(cell), Some(epoch)) = (view.sealed_cell_at(range.first()), epoch) else { return Ok(None) };
        if cell != range {
            return Ok(None);
        }
        let path = self.segments.sealed(range.first());
        let record = SegmentFile::open_sealed(path.clone(), range).map(|(_, record)| record).ok();
        // Below the lowest block that is claimed there may be bodies or not, which only the file knows.
        let bodies = view.floor.bodies <= range.first() || record.is_none_or(|record| !record.frames.is_empty());
        Ok(Some(LostSegment {
            range,
            epoch: self.epoch_ref(epoch)?,
            parent: self.id_below(&view, range.first())?,
            last_id: self.id_above(&view, range.last())?,
            bodies,
            audit: has_audit(&path),
        }))
    }

    /// The id of the block below `first`, by what is stored there.
    fn id_below(&self, view: &View, first: Height) -> Result<Option<Hash>, StoreFailure> {
        if first == view.floor.headers {
            return Ok(Some(view.floor.parent_id));
        }
        let Some(below) = first.prev() else { return Ok(None) };
        if let Ok(Some(stored)) = self.stored_at(view, below) {
            return Ok(Some(stored.record().facts.last_id).filter(|_| stored.range().last() == below));
        }
        self.id_by_handover(view, below)
    }

    /// The id of the block at `last`, by what is stored above.
    fn id_above(&self, view: &View, last: Height) -> Result<Option<Hash>, StoreFailure> {
        for point in [view.head, view.base] {
            if point.height == last {
                return Ok(Some(point.id));
            }
        }
        if let Ok(Some(stored)) = self.stored_at(view, last.next()) {
            return Ok(Some(stored.record().facts.parent_id).filter(|_| stored.range().first() == last.next()));
        }
        self.id_by_handover(view, last)
    }

    /// The id of the block at `height`, where it is the last of an epoch whose handover is stored.
    fn id_by_handover(&self, view: &View, height: Height) -> Result<Option<Hash>, StoreFailure> {
        let next = view.epoch_of(height.next()).filter(|(_, range)| range.first() == height.next());
        let Some((epoch, _)) = next else { return Ok(None) };
        let record: Option<EpochRecord> = read_record(&self.db, &key::epoch(key::EPOCHS, epoch))?;
        Ok(record.and_then(|record| record.follows).map(|follows| follows.id))
    }

    /// Puts `segment`, which was verified for a [`LostSegment`], and `frames`, which are all of its bodies or none, in the
    /// place of the damaged file. Durable on return. Others read and write meanwhile.
    pub fn replace_segment(&self, segment: &SegmentRef, frames: Option<Frames<'_>>) -> Result<(), StoreFailure> {
        let range = segment.range();
        let healing = self.segments.healing();
        let made = std::fs::create_dir_all(healing.path());
        made.map_err(|error| StoreFailure::io(healing.path(), CREATE_DIRECTORY, error))?;
        self.write_cell(segment, frames, &healing)?;

        let _writer = self.lock_writer()?;
        let view = self.view();
        if range.first() < view.floor.headers {
            // Pruned, or replaced by a state, while peers were asked.
            healing.remove();
            return Ok(());
        }
        let known = |ours: Option<Hash>, theirs| ours.is_none_or(|ours| ours == theirs);
        let fits = view.sealed_cell_at(range.first()) == Some(range)
            && known(self.id_below(&view, range.first())?, segment.parent_id())
            && known(self.id_above(&view, range.last())?, segment.last_id());
        if !fits {
            let what = format!("the segment {range} doesn't fit what is stored around it");
            return Err(StoreFailure::Refused { path: self.dir.clone(), first: range.first(), what });
        }
        make_way(&self.segments.sealed(range.first()))?;
        self.put_in_place(&healing, range.first())?;
        healing.remove();
        self.caches.forget_file(range.first());
        // A reader of the old file looks again.
        self.publish(View::clone(&view));
        self.damages.clear(StorePart::Segment(range));
        Ok(())
    }

    /// Writes the file of a whole cell into `dir`, and forces all but its name to disk.
    pub(super) fn write_cell(
        &self,
        segment: &SegmentRef,
        mut frames: Option<Frames<'_>>,
        dir: &SegmentDir,
    ) -> Result<(), StoreFailure> {
        let range = segment.range();
        let refused = |what: String| StoreFailure::Refused { path: self.dir.clone(), first: range.first(), what };
        let record = SegmentRecord::new(Facts::of(segment), segment.bytes(), segment.audit());
        let mut record = record.ok_or_else(|| refused("the segment is too long".to_owned()))?;
        let mut head = Some(Bytes::from(file_head(&record, segment.bytes(), segment.audit())));
        let mut missing = frames.as_ref().map(|_| range.first());
        let mut ended = false;
        let pieces = std::iter::from_fn(|| {
            if let Some(head) = head.take() {
                return Some(Ok(head));
            }
            if let Some(frame) = frames.as_mut().and_then(Iterator::next) {
                return Some(frame.and_then(|frame| {
                    if missing != Some(frame.range.first()) || frame.range.last() > range.last() {
                        return Err(refused(format!("the bodies {} aren't the next ones", frame.range)));
                    }
                    record.frames.push(
                        FrameRecord::of(&frame)
                            .ok_or_else(|| refused(format!("the frame {} is too long", frame.range)))?,
                    );
                    missing = Some(frame.range.last()).filter(|last| *last < range.last()).map(Height::next);
                    Ok(frame.wire)
                }));
            }
            if let Some(missing) = missing {
                return Some(Err(refused(format!("the body at {missing} is missing"))));
            }
            (!std::mem::replace(&mut ended, true)).then(|| Ok(file_foot(&record).into()))
        });
        let job = FileJob { first: range.first(), file: None, offset: 0, seal: false };
        let written = job.run(pieces, dir, &self.steps);
        written.map(drop).inspect_err(|_| {
            // Frees the space. A file that stays is written over, or removed when the store is opened.
            let _ = std::fs::remove_file(dir.part(range.first()));
        })
    }

    /// Gives the file that [`Self::write_cell`] wrote into `dir` its name, durably.
    pub(super) fn put_in_place(&self, dir: &SegmentDir, first: Height) -> Result<(), StoreFailure> {
        let (part, sealed) = (dir.part(first), self.segments.sealed(first));
        let renamed =
            self.steps.reached(super::steps::Step::Rename, &part).and_then(|()| std::fs::rename(&part, sealed));
        renamed.map_err(|error| StoreFailure::io(&part, "rename the complete file", error))?;
        self.segments.sync(&self.steps)
    }
}

/// Moves aside what is no file: it is not ours, and no file can take its name.
fn make_way(sealed: &Path) -> Result<(), StoreFailure> {
    if !sealed.is_dir() {
        return Ok(());
    }
    let free = (0u32..).map(|number| sealed.with_extension(format!("aside-{number}"))).find(|path| !path.exists());
    let moved = free.map_or(Ok(()), |free| std::fs::rename(sealed, free));
    moved.map_err(|error| StoreFailure::io(sealed, "move the folder aside", error))
}
