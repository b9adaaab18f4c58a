//! Writing blocks: segment files first, then one commit that makes them count.
//!
//! A batch is durable in this order: all files it touches are written and forced to disk, complete ones get their
//! final names, the directory is forced to disk, and one database batch records head, pieces and tip and is forced to
//! disk too. A crash before that leaves bytes that nothing points to; they are cut off or overwritten. Sealing what
//! the tail holds is a step of its own, after the blocks are durable, and may be repeated.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hotstuff2_sync::calls::Apply;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::HandoverLink;

use super::db::{Space, Write};
use super::disk::DiskStore;
use super::draft::{Draft, Plan, Sections, plan};
use super::failure::StoreFailure;
use super::records::{EpochRecord, Follows, PieceRecord, TipRecord, encode, key};
use super::segment_file::{FileJob, SegmentFile, file_foot, file_head, frames_end};
use super::steps::Step;
use super::stored::{Place, Stored};
use super::view::{Tip, View};

/// Threads that force files to disk at once. Measured on ext4 over a virtual disk, 8 files of 1 MiB: 33 ms with one,
/// 19 with two, 16 with four, 11 with eight; they wait and hardly compute.
const SYNC_THREADS: usize = 8;

impl<C: Chain> DiskStore<C> {
    pub(super) fn write_blocks(&self, apply: &Apply) -> Result<(), StoreFailure> {
        let mut failed = self.lock_writer()?;
        let view = self.view();
        let first = apply.range().map_or(view.head.height, HeightRange::first);
        let refused = |what| StoreFailure::Refused { path: self.dir.clone(), first, what };
        let Some(plan) = plan(&*self.chain, &view, apply).map_err(refused)? else { return Ok(()) };
        // Until the commit is known to be there, files may hold more than the database says.
        *failed = true;
        // The base may have come with the proof of a block further up.
        let tip = self.new_tip(apply, &plan).filter(|tip| tip.height >= view.tip.height);
        let view = self.write_plan(&view, plan, tip)?;
        self.publish(view);
        *failed = false;
        self.seal_tail(&mut failed);
        Ok(())
    }

    /// The proof that this batch makes the newest: its own, or that of the last segment whose end it reaches.
    fn new_tip(&self, apply: &Apply, plan: &Plan) -> Option<Tip> {
        let last = apply.parts.last()?;
        if let Some(bytes) = &apply.tip {
            return Some(Tip { height: plan.head.height, epoch: last.segment.epoch(), bytes: bytes.clone() });
        }
        apply.parts.iter().rev().find_map(|part| {
            let height = part.segment.range().last();
            if part.range()?.last() != height {
                return None;
            }
            Some(Tip { height, epoch: part.segment.epoch(), bytes: self.chain.tip_of(part.segment.bytes())? })
        })
    }

    fn write_plan(&self, view: &View, plan: Plan, tip: Option<Tip>) -> Result<View, StoreFailure> {
        let jobs: Vec<_> = plan.drafts.iter().filter(|draft| draft.in_file).map(job_of).collect();
        let files = self.run_jobs(&jobs)?;

        let mut next = view.clone();
        next.head = plan.head;
        let mut writes = vec![(Space::Index, Bytes::from_static(key::HEAD), Some(encode(&plan.head)))];
        if let Some(tip) = tip {
            let record = TipRecord { height: tip.height, epoch: tip.epoch, bytes: tip.bytes.to_vec() };
            writes.push((Space::Index, Bytes::from_static(key::TIP), Some(encode(&record))));
            next.tip = tip;
        }
        let mut files = files.into_iter();
        for draft in plan.drafts {
            let first = draft.record.facts.range.first();
            let complete = draft.in_file && draft.is_complete();
            let file = if draft.in_file { files.next() } else { None };
            if draft.base.is_some() {
                next.unsealed.retain(|piece| piece.range().first() != first);
            }
            let row = (Space::Index, key::height(key::PIECES, first));
            if complete {
                writes.extend(draft.base.map(|_| (row.0, row.1, None)));
                continue;
            }
            let place = match file {
                Some(file) => Place::File(Arc::new(SegmentFile::new(self.segments.part(first), file))),
                None => Place::Rows(self.db.clone()),
            };
            put_rows(&mut writes, &draft);
            let piece = PieceRecord { in_file: draft.in_file, record: draft.record };
            writes.push((row.0, row.1, Some(encode(&piece))));
            next.unsealed.push(Arc::new(Stored::new(piece.record, place)));
        }
        self.commit_rows(writes.into_iter(), true)?;
        Ok(next)
    }

    /// Runs the jobs side by side and returns their files in order, durable under their names.
    fn run_jobs(&self, jobs: &[(FileJob, Vec<Bytes>)]) -> Result<Vec<Arc<File>>, StoreFailure> {
        let written =
            run_all(jobs, |(job, pieces)| job.run(pieces.iter().cloned().map(Ok), &self.segments, &self.steps));
        let renamed = jobs.iter().any(|(job, _)| job.seal || job.file.is_none());
        let synced = written.and_then(|files| {
            if renamed {
                self.segments.sync(&self.steps)?;
            }
            Ok(files)
        });
        if synced.is_err() {
            // Frees the space. Where this fails too, the next writer repeats it.
            jobs.iter().for_each(|(job, _)| self.undo(job));
        }
        synced
    }

    /// Takes back what a job wrote, as far as it got.
    pub(super) fn undo(&self, job: &FileJob) {
        let (part, sealed) = (self.segments.part(job.first), self.segments.sealed(job.first));
        let undone = match &job.file {
            None => std::fs::remove_file(&part).or_else(|_| std::fs::remove_file(&sealed)),
            Some(file) => {
                if part.exists() { Ok(()) } else { std::fs::rename(&sealed, &part) }.and(file.set_len(job.offset))
            }
        };
        if let Err(error) = undone {
            tracing::debug!(path = %part.display(), %error, "could not take back an unfinished write; the next write will");
        }
    }

    pub(super) fn commit_rows(&self, writes: impl Iterator<Item = Write>, sync: bool) -> Result<(), StoreFailure> {
        let injected = |error| {
            self.db.set_broken();
            StoreFailure::io(self.db.path(), "commit", error)
        };
        self.steps.reached(Step::Commit, self.db.path()).map_err(injected)?;
        self.db.commit(writes, sync)?;
        self.steps.reached(Step::Committed, self.db.path()).map_err(injected)
    }

    pub(super) fn write_handovers(&self, links: &[HandoverLink]) -> Result<(), StoreFailure> {
        let _writer = self.lock_writer()?;
        let mut view = View::clone(&self.view());
        let mut epochs = view.epochs.to_vec();
        let mut writes = Vec::new();
        for link in links {
            let Some(&(newest, range)) = epochs.last() else { break };
            if link.epoch.epoch() <= newest {
                continue;
            }
            let continues = link.ended == newest
                && link.epoch.epoch().is_next_of(newest)
                && link.boundary == range.last()
                && link.epoch.range().first().is_next_of(range.last());
            if !continues {
                let what = format!("a handover from epoch {} doesn't continue epoch {newest} ({range})", link.ended);
                return Err(StoreFailure::Refused { path: self.dir.clone(), first: link.boundary, what });
            }
            let epoch = EpochRecord::of(&link.epoch, Some(Follows { id: link.boundary_id, time: link.boundary_time }));
            writes.push((Space::Index, key::epoch(key::HANDOVERS, link.ended), Some(link.bytes.clone())));
            writes.push((Space::Index, key::epoch(key::EPOCHS, epoch.epoch), Some(encode(&epoch))));
            epochs.push((epoch.epoch, epoch.range));
        }
        if writes.is_empty() {
            return Ok(());
        }
        self.commit_rows(writes.into_iter(), true)?;
        view.epochs = Arc::new(epochs);
        self.publish(view);
        Ok(())
    }
}

/// The job for a draft that is in a file, and what to write.
fn job_of(draft: &Draft) -> (FileJob, Vec<Bytes>) {
    let mut pieces = Vec::with_capacity(draft.frames.len().saturating_add(2));
    let file = match draft.base.as_ref().map(|base| (base.place(), base.record())) {
        Some((Place::File(file), record)) => Some((file.file().clone(), frames_end(record))),
        _ => None,
    };
    if let (None, Some(Sections { segment, audit })) = (&file, &draft.sections) {
        pieces.push(Bytes::from(file_head(&draft.record, segment, audit)));
    }
    pieces.extend(draft.frames.iter().map(|(_, wire)| wire.clone()));
    let seal = draft.is_complete();
    if seal {
        pieces.push(Bytes::from(file_foot(&draft.record)));
    }
    let (file, offset) = file.map_or((None, 0), |(file, offset)| (Some(file), offset));
    (FileJob { first: draft.record.facts.range.first(), file, offset, seal }, pieces)
}

/// Rows of a draft that is not in a file.
fn put_rows(writes: &mut Vec<Write>, draft: &Draft) {
    if draft.in_file {
        return;
    }
    let first = draft.record.facts.range.first();
    if let Some(Sections { segment, audit }) = &draft.sections {
        writes.push((Space::Tail, key::height(key::SEGMENTS, first), Some(segment.clone())));
        writes.push((
            Space::Tail,
            key::height(key::AUDITS, first),
            Some(audit.clone()).filter(|audit| !audit.is_empty()),
        ));
    }
    let frames = draft.frames.iter();
    writes.extend(frames.map(|(height, wire)| (Space::Tail, key::height(key::FRAMES, *height), Some(wire.clone()))));
}

/// Deletes the rows of a piece that is in a file now.
pub(super) fn drop_rows(writes: &mut Vec<Write>, piece: &Stored) {
    let first = piece.range().first();
    writes.push((Space::Index, key::height(key::PIECES, first), None));
    writes.push((Space::Tail, key::height(key::SEGMENTS, first), None));
    if piece.record().audit_len > 0 {
        writes.push((Space::Tail, key::height(key::AUDITS, first), None));
    }
    let frames = piece.frame_heights();
    writes.extend(frames.map(|height| (Space::Tail, key::height(key::FRAMES, height), None)));
}

/// Calls `run` for each job, on several threads where there are several jobs, and returns all results in order, or the
/// first error.
fn run_all<J: Sync, T: Send>(
    jobs: &[J],
    run: impl Fn(&J) -> Result<T, StoreFailure> + Sync,
) -> Result<Vec<T>, StoreFailure> {
    if jobs.len() < 2 {
        return jobs.iter().map(run).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { return done };
            done.push((index, run(job)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..SYNC_THREADS.min(jobs.len())).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for thread in threads {
            match thread.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|&(index, _)| index);
    done.into_iter().map(|(_, result)| result).collect()
}
