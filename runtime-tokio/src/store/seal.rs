//! Sealing: moving a complete cell from the tail's rows into its file.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use hotstuff2_sync::chain::{Chain, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::limits::MAX_PROOF_PATH;
use hotstuff2_sync::ranges::HeightRange;

use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::records::{Facts, SegmentRecord, check_of_all};
use super::segment_file::{FileJob, file_foot, file_head};
use super::stored::{Place, Stored};
use super::view::View;
use super::writer::drop_rows;

impl<C: Chain> DiskStore<C> {
    /// Seals every cell that the tail holds whole. The blocks are durable already, so a failure is no loss: it is
    /// logged, and the next batch tries again.
    pub(super) fn seal_tail(&self, failed: &mut bool) {
        let sealed = self.try_seal_tail();
        let is_news = self.sealing_failed.swap(sealed.is_err(), Ordering::Relaxed) != sealed.is_err();
        let Err(error) = sealed else { return };
        if is_news {
            tracing::warn!(%error, "a complete segment stays in the database for now");
        }
        *failed = true;
        if let Err(error) = self.repair(failed) {
            tracing::debug!(%error, "the store can't go on yet; the next write tries again");
        }
    }

    fn try_seal_tail(&self) -> Result<(), StoreFailure> {
        let mut view = self.view();
        while let Some((cell, segment)) = self.next_to_seal(&view)? {
            self.seal(&view, cell, segment)?;
            view = self.view();
        }
        Ok(())
    }

    /// The lowest cell that is complete in the tail and whose segment is as good as it will get.
    fn next_to_seal(&self, view: &View) -> Result<Option<(HeightRange, Bytes)>, StoreFailure> {
        let mut tried = None;
        for piece in &view.unsealed {
            let cell = view.cell_of(piece.range().first()).filter(|_| matches!(piece.place(), Place::Rows(_)));
            let Some(cell) = cell.filter(|cell| tried != Some(*cell) && cell.last() <= view.head.height) else {
                continue;
            };
            tried = Some(cell);
            // Proofs of later pieces may cover the cell's end: their path reaches back so many blocks.
            let reach = cell.last().plus(MAX_PROOF_PATH as u64);
            let within = |piece: &&std::sync::Arc<Stored>| {
                cell.first() <= piece.range().first() && piece.range().first() <= reach
            };
            let pieces = view.unsealed.iter().filter(within);
            let parts = pieces.map(|piece| piece.segment()).collect::<Result<Vec<_>, _>>()?;
            if let Some(segment) = self.chain.assemble(&parts, cell, SegmentEnd::Certified) {
                return Ok(Some((cell, segment)));
            }
            // No later block can prove the end of an epoch (its handover does), nor one that is too far below.
            let epoch_ends = view.epoch_of(cell.last()).is_some_and(|(_, epoch)| epoch.last() == cell.last());
            let last_id = view.unsealed_at(cell.last()).map(|piece| piece.record().facts.last_id);
            if let Some(last_id) = last_id.filter(|_| epoch_ends || view.head.height > reach)
                && let Some(segment) = self.chain.assemble(&parts, cell, SegmentEnd::Anchored(last_id))
            {
                return Ok(Some((cell, segment)));
            }
        }
        Ok(None)
    }

    fn seal(&self, view: &View, cell: HeightRange, segment: Bytes) -> Result<(), StoreFailure> {
        let (inside, rest): (Vec<_>, Vec<_>) =
            view.unsealed.iter().cloned().partition(|piece| cell.covers(piece.range()));
        let damaged = |what| StoreFailure::damaged(self.db.path(), format!("the tail's blocks {cell} {what}"));
        let (Some(first), Some(last)) = (inside.first(), inside.last()) else { return Ok(()) };
        let lens = inside.iter().flat_map(|piece| &piece.record().facts.payload_lens).copied().collect();
        let parent_id = first.record().facts.parent_id;
        let facts = Facts { range: cell, parent_id, payload_lens: lens, ..last.record().facts.clone() };
        let record = SegmentRecord::new(facts, &segment, &[]).ok_or_else(|| damaged("have too long a segment"))?;
        let (audit_len, audit_check) = joined_audit(&inside)?.unwrap_or((record.audit_len, record.audit_check));
        let record = SegmentRecord { audit_len, audit_check, ..record };
        // Read one after the other: together they may be more than memory should hold.
        let audits = inside.iter().filter(|_| audit_len > 0).map(|piece| piece.audit());
        let frames = inside.iter().flat_map(|piece| &piece.record().frames).copied().collect();
        let record = SegmentRecord { frames, ..record };
        if !record.is_consistent() || record.bodies() != Some(cell) {
            return Err(damaged("aren't complete"));
        }

        let frames = inside.iter().flat_map(|piece| piece.frame_heights().map(move |height| (piece, height)));
        let frames = frames.map(|(piece, height)| {
            let mut wire = Vec::new();
            piece.frame_at(height).ok_or_else(|| damaged("aren't complete"))?.read_into(&mut wire)?;
            Ok(wire.into())
        });
        let head = Bytes::from(file_head(&record, &segment, &[]));
        let foot = Bytes::from(file_foot(&record));
        let pieces = std::iter::once(Ok(head)).chain(audits).chain(frames).chain(std::iter::once(Ok(foot)));
        let job = FileJob { first: cell.first(), file: None, offset: 0, seal: true };
        let written = job.run(pieces, &self.segments, &self.steps).and_then(|_| self.segments.sync(&self.steps));
        written.inspect_err(|_| self.undo(&job))?;

        // Readers turn to the file before the rows go.
        self.publish(View { unsealed: rest, ..view.clone() });
        let mut writes = Vec::new();
        inside.iter().for_each(|piece| drop_rows(&mut writes, piece));
        // Not forced to disk: until it is, the rows are there as well, and sealing them again gives the same file.
        self.commit_rows(writes.into_iter(), false)
    }
}

/// Length and checksum of the certificates of single blocks that all pieces have, end to end: each has one for each of its blocks, so
/// that they are cut out again by height. `None` where a piece has none.
fn joined_audit(pieces: &[std::sync::Arc<Stored>]) -> Result<Option<(u32, Hash)>, StoreFailure> {
    let lens = pieces.iter().map(|piece| Some(piece.record().audit_len).filter(|&len| len > 0));
    let len = lens.map(|len| len.map(u64::from)).sum::<Option<u64>>().and_then(|len| u32::try_from(len).ok());
    let Some(len) = len else { return Ok(None) };
    Ok(Some((len, check_of_all(pieces.iter().map(|piece| piece.audit()))?)))
}
