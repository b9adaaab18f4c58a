//! [`export`]: a kept snapshot of a store as a file. What is written is checked on the way, so that a damaged store
//! makes an error and no file.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::state::{PageBuilder, Prefix, Record, StateReader as _, key_hash, subtree, value_hash};
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::put_section;

use super::error::ExportError;
use super::frame::{FrameWriter, Kind, LEAVES_BYTES};
use super::parts::{Base, End, Head, encode};
use super::reader::SnapshotSummary;
use crate::store::{BlockProof, BlockStore as _, DiskStore, StateView};

/// Fate of a file that is where an export goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The file stays, and the export is refused.
    Keep,
    /// The file is replaced when the new one is whole and durable.
    Replace,
}

/// Writes the snapshot at `height`, or the newest, into the file at `out`: all of it, durably, or no file. `progress` is
/// told the keys that were written and the keys that there are.
///
/// The export is written to `out` with `.part` at the end of its name. What an export that was killed left there is
/// written over.
///
/// # Errors
/// Where the store has no such snapshot or is damaged, where something is in the way, and what the operating system says.
pub fn export<C: Chain>(
    store: &DiskStore<C>,
    height: Option<Height>,
    out: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<SnapshotSummary, ExportError> {
    if !store.chain().has_state_roots() {
        return Err(ExportError::NoStateRoots);
    }
    let height = choose(store, height)?;
    refuse_existing(out, existing)?;
    let proof = store.block_proof(height)?.ok_or(ExportError::NoProof(height))?;
    let state = store.state_at(height)?.ok_or_else(|| missing(store, height))?;
    let header = store.header_at(height)?.ok_or(ExportError::NoProof(height))?;
    let part = part_of(out);
    let frames = begin(&part)?;
    let written = write(store, &proof, &state, (&part, frames), progress);
    let summary = written.and_then(|written| {
        let failed = |action| file(out, action);
        refuse_existing(out, existing)?;
        std::fs::rename(&part, out).map_err(failed("renamed"))?;
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("made durable"))?;
        Ok(SnapshotSummary { timestamp: header.timestamp, ..written })
    });
    if summary.is_err() {
        // Nobody has use for half of it; where it can't be removed, the error says enough.
        let _ = std::fs::remove_file(&part);
    }
    summary
}

fn file(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> ExportError {
    move |source| ExportError::File { path: path.to_owned(), action, source }
}

/// Fails where something is at `out` that is not to be replaced, or is no file.
fn refuse_existing(out: &Path, existing: Existing) -> Result<(), ExportError> {
    match std::fs::symlink_metadata(out) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(file(out, "looked at")(error)),
        Ok(there) if existing == Existing::Replace && there.is_file() => Ok(()),
        Ok(_) => Err(ExportError::Exists(out.to_owned())),
    }
}

/// Opens the file that is written before it has its name. One that is there is written over if it is half of a snapshot
/// and nobody writes it.
fn begin(part: &Path) -> Result<FrameWriter, ExportError> {
    let failed = |error| file(part, "written")(error);
    let taken = || ExportError::PartExists(part.to_owned());
    match std::fs::symlink_metadata(part) {
        Ok(there) if !there.is_file() => return Err(taken()),
        _ => {}
    }
    let mut new = File::options().read(true).write(true).create(true).truncate(false).open(part).map_err(failed)?;
    match new.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(taken()),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    if !FrameWriter::begins(&mut new).map_err(failed)? {
        return Err(taken());
    }
    FrameWriter::over(new).map_err(failed)
}

fn part_of(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    out.with_file_name(name)
}

/// The height of the snapshot to write. That of the anchor is nothing to prove.
fn choose<C: Chain>(store: &DiskStore<C>, height: Option<Height>) -> Result<Height, ExportError> {
    let anchor = store.anchor().height;
    let mut kept = store.snapshots().into_iter().map(|snapshot| snapshot.height).filter(|kept| *kept > anchor);
    match height {
        None => kept.next_back().ok_or_else(|| missing(store, anchor)),
        Some(height) => kept.find(|kept| *kept == height).ok_or_else(|| missing(store, height)),
    }
}

fn missing<C: Chain>(store: &DiskStore<C>, height: Height) -> ExportError {
    let anchor = store.anchor().height;
    let kept = store.snapshots().into_iter().map(|snapshot| snapshot.height).filter(|kept| *kept > anchor);
    let kept: Vec<String> = kept.map(|height| height.to_string()).collect();
    if kept.is_empty() {
        ExportError::NoSnapshots { first: first_above(anchor, store.snapshot_interval()) }
    } else {
        ExportError::NoSnapshotAt { height, kept: kept.join(", ") }
    }
}

/// The first height above `anchor` at which nodes keep their state.
pub(super) fn first_above(anchor: Height, interval: NonZeroU64) -> u64 {
    (anchor.get() / interval).saturating_add(1).saturating_mul(interval.get())
}

fn write<C: Chain>(
    store: &DiskStore<C>,
    proof: &BlockProof,
    state: &StateView,
    (part, mut frames): (&Path, FrameWriter),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<SnapshotSummary, ExportError> {
    let BlockProof { point, state_root, epoch, range, segment, tip } = proof.clone();
    let damaged = |error: &dyn std::fmt::Display| ExportError::DamagedState(error.to_string());
    let (_, keys) = subtree(state, &Prefix::ROOT).map_err(|error| damaged(&error))?;
    let failed = |error| file(part, "written")(error);
    let head = Head { chain_id: store.chain_id(), anchor: store.anchor(), point, epoch, state_root, keys };
    frames.put(Kind::Head, &encode(&head)).map_err(failed)?;
    let mut handovers = 0u64;
    // The anchor is the genesis where the first handover is that of the first epoch.
    let mut ended = Epoch::ZERO;
    while ended < epoch {
        let handover = store.handover(ended)?.ok_or(ExportError::NoHandover(ended))?;
        frames.put(Kind::Handover, &handover).map_err(failed)?;
        handovers = handovers.saturating_add(1);
        ended = ended.next();
    }
    let base = Base { last: range.last(), segment, tip }.encode().ok_or(ExportError::NoProof(point.height))?;
    frames.put(Kind::Base, &base).map_err(failed)?;
    let mut leaves = Leaves { frames, content: Vec::new(), builder: PageBuilder::new(), end: End::default() };
    let mut error = None;
    let mut visit = |key, bytes| match leaves.push(key, bytes, part) {
        Ok(full) => {
            if full {
                progress(leaves.end.keys, keys);
            }
            ControlFlow::Continue(())
        }
        Err(found) => {
            error = Some(found);
            ControlFlow::Break(())
        }
    };
    state.scan(&Prefix::ROOT, &mut visit)?;
    if let Some(error) = error {
        return Err(error);
    }
    leaves.finish(part, point, (state_root, keys), |end, file_bytes| SnapshotSummary {
        chain_id: store.chain_id(),
        height: point.height,
        id: point.id,
        epoch,
        timestamp: UnixMillis::new(0),
        state_root,
        handovers,
        keys: end.keys,
        bytes: end.bytes,
        file_bytes,
    })
}

/// The frames of records.
struct Leaves {
    frames: FrameWriter,
    content: Vec<u8>,
    builder: PageBuilder,
    end: End,
}

impl Leaves {
    /// Appends a record; true where that filled a frame.
    fn push(&mut self, key: Hash, bytes: Bytes, part: &Path) -> Result<bool, ExportError> {
        let damaged =
            |error: &dyn std::fmt::Display| ExportError::DamagedState(format!("the record at {key}: {error}"));
        let record = Record::decode(bytes).map_err(|error| damaged(&error))?;
        if key_hash(record.key()) != key {
            return Err(damaged(&"it is of another key"));
        }
        self.builder.push(key, value_hash(record.value())).map_err(|error| damaged(&error))?;
        if !put_section(&mut self.content, record.as_bytes()) {
            return Err(damaged(&"it is too long"));
        }
        self.end.keys = self.end.keys.saturating_add(1);
        let bytes = record.key().len().saturating_add(record.value().len());
        self.end.bytes = self.end.bytes.saturating_add(bytes as u64);
        let full = self.content.len() >= LEAVES_BYTES;
        if full {
            self.flush(part)?;
        }
        Ok(full)
    }

    fn flush(&mut self, part: &Path) -> Result<(), ExportError> {
        if self.content.is_empty() {
            return Ok(());
        }
        self.frames.put(Kind::Leaves, &self.content).map_err(file(part, "written"))?;
        self.content.clear();
        self.end.chunks = self.end.chunks.saturating_add(1);
        drop(self.builder.take_pages());
        Ok(())
    }

    fn finish<T>(
        mut self,
        part: &Path,
        point: BlockPoint,
        (expected, leaves): (Hash, u64),
        made: impl FnOnce(End, u64) -> T,
    ) -> Result<T, ExportError> {
        self.flush(part)?;
        let (found, keys, _) = self.builder.finish();
        if found != expected {
            return Err(ExportError::WrongState { height: point.height, expected, found });
        }
        if keys != leaves {
            return Err(ExportError::DamagedState(format!("{keys} records for a tree of {leaves} leaves")));
        }
        self.frames.put(Kind::End, &encode(&self.end)).map_err(file(part, "written"))?;
        let bytes = self.frames.finish().map_err(file(part, "made durable"))?;
        Ok(made(self.end, bytes))
    }
}
