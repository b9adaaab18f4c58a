//! Opening: what the database says, made true of the files, or an error that says where the two differ.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;

use super::db::{Db, Space};
use super::failure::{OpenError, StoreFailure};
use super::records::{self, BaseRecord, EpochRecord, FORMAT, PieceRecord, StoreRecord, TipRecord, key};
use super::segment_file::{SegmentDir, SegmentFile};
use super::stored::{Place, Stored};
use super::view::{Floor, Tip, View};

/// Reads what the store is for.
pub(super) fn read_identity(db: &Db, dir: &Path) -> Result<StoreRecord, OpenError> {
    let missing = || StoreFailure::damaged(db.path(), "it doesn't say which chain it is for");
    let bytes = db.get(Space::Index, key::STORE)?.ok_or_else(missing)?;
    // The format's number stays the record's first field in every version.
    let (found, _) = postcard::take_from_bytes::<u32>(&bytes).map_err(|_| missing())?;
    if found != FORMAT {
        return Err(OpenError::OtherFormat { path: dir.to_owned(), found, known: FORMAT });
    }
    Ok(records::decode(&bytes).ok_or_else(missing)?)
}

/// Reads a record of the index.
pub(super) fn read_record<T: serde::de::DeserializeOwned>(db: &Db, key: &[u8]) -> Result<Option<T>, StoreFailure> {
    let Some(bytes) = db.get(Space::Index, key)? else { return Ok(None) };
    match records::decode(&bytes) {
        Some(record) => Ok(Some(record)),
        None => Err(undecodable(db, key)),
    }
}

fn undecodable(db: &Db, key: &[u8]) -> StoreFailure {
    StoreFailure::damaged(db.path(), format!("the record `{}` can't be decoded", key.escape_ascii()))
}

/// Reads what the store holds, and undoes in its files what was never committed.
pub(super) fn load_view(
    db: &Arc<Db>,
    segments: &SegmentDir,
    identity: &StoreRecord,
    grid: u64,
) -> Result<View, StoreFailure> {
    let missing = |what: &str| StoreFailure::damaged(db.path(), format!("the record of the {what} is missing"));
    let head: BlockPoint = read_record(db, key::HEAD)?.ok_or_else(|| missing("head"))?;
    let mut epochs = Vec::new();
    for (key, bytes) in db.scan(Space::Index, key::EPOCHS)? {
        let record: EpochRecord = records::decode(&bytes).ok_or_else(|| undecodable(db, &key))?;
        epochs.push((record.epoch, record.range));
    }
    let consecutive = |pair: &[(Epoch, HeightRange)]| match pair {
        [(one, below), (other, above)] => other.is_next_of(*one) && above.first().is_next_of(below.last()),
        _ => true,
    };
    let &(first_epoch, _) = epochs.first().ok_or_else(|| missing("epochs"))?;
    if !epochs.windows(2).all(consecutive) {
        return Err(StoreFailure::damaged(db.path(), "its epochs aren't consecutive"));
    }
    let (base, base_proof) = match read_record::<BaseRecord>(db, key::BASE)? {
        Some(base) => (base.point, Some(base.into_proof())),
        None => (identity.anchor, None),
    };
    let floor: Floor = read_record(db, key::FLOOR)?.unwrap_or(Floor::above(base));
    let pruned: Option<Height> = read_record(db, key::PRUNED)?;
    let tip = match read_record::<TipRecord>(db, key::TIP)? {
        Some(tip) => Tip { height: tip.height, epoch: tip.epoch, bytes: tip.bytes.into() },
        None => Tip { height: base.height, epoch: first_epoch, bytes: Bytes::new() },
    };
    let mut pieces = BTreeMap::new();
    for (key, bytes) in db.scan(Space::Index, key::PIECES)? {
        let piece: PieceRecord = records::decode(&bytes).ok_or_else(|| undecodable(db, &key))?;
        if !piece.record.is_consistent() {
            return Err(undecodable(db, &key));
        }
        pieces.insert(piece.record.facts.range.first(), piece);
    }
    let is_part = |first| pieces.get(&first).is_some_and(|piece| piece.in_file);
    segments.remove_strays(|first, sealed| if sealed { first >= floor.headers } else { is_part(first) })?;
    let mut unsealed = Vec::new();
    for (first, piece) in pieces {
        let place = if piece.in_file {
            let part = segments.part(first);
            take_back_seal(segments, first)?;
            Place::File(Arc::new(SegmentFile::open_part(part, &piece.record)?))
        } else {
            Place::Rows(db.clone())
        };
        unsealed.push(Arc::new(Stored::new(piece.record, place)));
    }
    let (anchor, epochs) = (identity.anchor, Arc::new(epochs));
    let view = View { grid, anchor, base, base_proof, floor, pruned, head, tip, epochs, unsealed };
    check_pieces(&view).map_err(|what| StoreFailure::damaged(db.path(), what))?;
    Ok(view)
}

/// A crash between the rename and the commit leaves a file sealed that the database knows as open.
fn take_back_seal(segments: &SegmentDir, first: Height) -> Result<(), StoreFailure> {
    let (part, sealed) = (segments.part(first), segments.sealed(first));
    if part.exists() || !sealed.exists() {
        return Ok(());
    }
    std::fs::rename(&sealed, &part).map_err(|error| StoreFailure::io(&sealed, "rename the uncommitted file", error))
}

/// Whether the pieces are what [`View::unsealed`] promises.
fn check_pieces(view: &View) -> Result<(), String> {
    let View { anchor, base, floor, head, tip, .. } = view;
    // Above the base something was pruned, which leaves the head.
    let lowest = if view.pruned.is_some() { head.height } else { base.height.next() };
    if anchor.height > base.height || floor.headers > lowest || head.height < base.height {
        return Err(format!(
            "head {}, lowest block {}, base {} and anchor {} contradict each other",
            head.height, floor.headers, base.height, anchor.height
        ));
    }
    // The block that proves the base may lie above the stored ones.
    let proven = view.grid_cell_of(base.height).filter(|_| view.base_proof.is_some());
    if tip.height > proven.map_or(head.height, |cell| cell.last().max(head.height)) {
        return Err(format!("the proof is of block {}, the head is block {}", tip.height, head.height));
    }
    for piece in &view.unsealed {
        let bodies = piece.bodies().ok_or_else(|| format!("the piece {} has no bodies", piece.range()))?;
        if bodies.last() > view.head.height {
            return Err(format!("the piece {bodies} reaches above the head at {}", view.head.height));
        }
    }
    Ok(())
}

/// Compares the blocks up to the head with the files' names and the newest footer. Damaged or missing sealed segments are
/// what is returned: the store can do without them for as long as it takes to fetch them again. The rest is checked
/// when it is read, or by [`check`](super::DiskStore::check).
pub(super) fn check_files(
    view: &View,
    segments: &SegmentDir,
) -> Result<Vec<(HeightRange, StoreFailure)>, StoreFailure> {
    let mut height = view.floor.headers;
    let (mut newest, mut lost) = (None, Vec::new());
    while view.holds(height) {
        let uncovered = || StoreFailure::damaged(segments.path(), format!("block {height} belongs to no known epoch"));
        let cell = view.cell_of(height).ok_or_else(uncovered)?;
        if let Some(piece) = view.unsealed_at(height) {
            let Some(bodies) = piece.bodies().filter(|bodies| bodies.contains(height)) else {
                return Err(StoreFailure::damaged(segments.path(), format!("block {height} is in no file")));
            };
            newest = None;
            if bodies.last() == Height::MAX {
                break;
            }
            height = bodies.last().next();
            continue;
        }
        let path = segments.sealed(cell.first());
        newest = Some(cell).filter(|_| path.is_file());
        if newest.is_none() {
            let what = format!("there is no such file, and the database says that the blocks {cell} are in it");
            lost.push((cell, StoreFailure::damaged(&path, what)));
        }
        if cell.last() == Height::MAX {
            break;
        }
        height = cell.last().next();
    }
    if let Some(cell) = newest
        && let Err(failure) = check_newest(view, segments, cell)
    {
        lost.push((cell, failure));
    }
    Ok(lost)
}

/// Whether the newest sealed file ends with the head.
fn check_newest(view: &View, segments: &SegmentDir, cell: HeightRange) -> Result<(), StoreFailure> {
    let (file, record) = SegmentFile::open_sealed(segments.sealed(cell.first()), cell)?;
    if cell.last() != view.head.height || record.facts.last_id != view.head.id {
        return Err(file.damaged(format!(
            "it ends with block {}, the database's head is block {}",
            cell.last(),
            view.head.height
        )));
    }
    Ok(())
}
