//! [`DiskStore`]: creating, opening, and what its parts share.
//!
//! ```text
//! LOCK                     held by the process that has the store open
//! genesis                  the genesis document; written last, so its presence means that creation was finished
//! segments/                a file for each grid cell, see `segment_file`
//! db/                      index, open tail and application state
//! ```

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::{Chain, EpochRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use tokio::sync::watch;

use super::cache::Caches;
use super::db::{Db, Space};
use super::failure::{OpenError, StoreFailure};
use super::records::{self, EpochRecord, FORMAT, PieceRecord, StoreRecord, TipRecord, key};
use super::segment_file::{SegmentDir, SegmentFile};
use super::steps::Steps;
use super::stored::{Place, Stored};
use super::view::{Tip, View};

const LOCK_FILE: &str = "LOCK";
const GENESIS_FILE: &str = "genesis";
const GENESIS_PART: &str = "genesis.part";
const SEGMENTS_DIR: &str = "segments";
const DB_DIR: &str = "db";

/// Where a store begins: a block that the host trusts without proof.
#[derive(Clone, Debug)]
pub struct StoreAnchor {
    /// The chain: the hash of its genesis document.
    pub chain_id: Hash,
    /// The genesis document, kept in the store.
    pub genesis: Bytes,
    /// The trusted block. The store holds blocks above it.
    pub point: BlockPoint,
    /// The epoch of the first block above it. Where the trusted block is the last of its epoch, that epoch: the next
    /// one comes with its handover.
    pub epoch: EpochRef,
}

/// Blocks, handovers, proofs of finality and application state of one chain, durably on disk.
///
/// One writer at a time, any number of readers, which never wait for it. Not to be called on an asynchronous executor's
/// threads: every call may wait for the disk.
pub struct DiskStore<C: Chain> {
    pub(super) chain: Arc<C>,
    pub(super) dir: PathBuf,
    pub(super) segments: SegmentDir,
    pub(super) db: Arc<Db>,
    pub(super) identity: StoreRecord,
    pub(super) genesis: Bytes,
    pub(super) view: RwLock<Arc<View>>,
    pub(super) tip: watch::Sender<Height>,
    pub(super) applied: AtomicU64,
    pub(super) caches: Caches,
    pub(super) steps: Steps,
    /// Held by whoever writes blocks. True where a write failed, so that files may hold more than they should.
    pub(super) writer: Mutex<bool>,
    pub(super) sealing_failed: AtomicBool,
    /// Keeps the store locked until everything above is closed.
    _lock: File,
}

impl<C: Chain> DiskStore<C> {
    /// Creates a store in `dir`, which is created where it isn't there.
    pub fn create(dir: &Path, chain: Arc<C>, anchor: &StoreAnchor) -> Result<Self, OpenError> {
        let segments = dir.join(SEGMENTS_DIR);
        std::fs::create_dir_all(dir).map_err(|error| StoreFailure::io(dir, "create the directory", error))?;
        let lock = lock(dir)?;
        if dir.join(GENESIS_FILE).exists() {
            return Err(OpenError::Exists(dir.to_owned()));
        }
        // Left over from a creation that was interrupted: nothing was stored yet.
        for old in [&segments, &dir.join(DB_DIR)] {
            if old.exists() {
                std::fs::remove_dir_all(old).map_err(|error| StoreFailure::io(old, "remove", error))?;
            }
        }
        std::fs::create_dir(&segments).map_err(|error| StoreFailure::io(&segments, "create the directory", error))?;

        let db = Db::open(dir.join(DB_DIR))?;
        let record = StoreRecord {
            format: FORMAT,
            chain_id: anchor.chain_id,
            genesis_check: records::check_of(&anchor.genesis),
            anchor: anchor.point,
        };
        let epoch = EpochRecord::of(&anchor.epoch);
        let writes = [
            (Space::Index, Bytes::from_static(key::STORE), Some(records::encode(&record))),
            (Space::Index, Bytes::from_static(key::HEAD), Some(records::encode(&anchor.point))),
            (Space::Index, Bytes::from_static(key::APPLIED), Some(records::encode(&anchor.point.height))),
            (Space::Index, key::epoch(key::EPOCHS, epoch.epoch), Some(records::encode(&epoch))),
        ];
        db.commit(writes.into_iter(), true)?;
        write_genesis(dir, &anchor.genesis)?;
        Self::load(dir, chain, db, lock)
    }

    /// Opens the store in `dir`. Given a chain id, only a store of that chain.
    pub fn open(dir: &Path, chain: Arc<C>, chain_id: Option<Hash>) -> Result<Self, OpenError> {
        if !dir.join(GENESIS_FILE).exists() {
            return Err(OpenError::Missing(dir.to_owned()));
        }
        let lock = lock(dir)?;
        let db_dir = dir.join(DB_DIR);
        if !db_dir.exists() {
            return Err(StoreFailure::damaged(&db_dir, "the directory is missing").into());
        }
        let store = Self::load(dir, chain, Db::open(db_dir)?, lock)?;
        match chain_id {
            Some(wanted) if wanted != store.identity.chain_id => {
                Err(OpenError::OtherChain { path: dir.to_owned(), found: store.identity.chain_id, wanted })
            }
            _ => Ok(store),
        }
    }

    fn load(dir: &Path, chain: Arc<C>, db: Db, lock: File) -> Result<Self, OpenError> {
        let identity = read_identity(&db, dir)?;
        let genesis_path = dir.join(GENESIS_FILE);
        let genesis = read_genesis(dir)?;
        if records::check_of(&genesis) != identity.genesis_check {
            return Err(
                StoreFailure::damaged(&genesis_path, "it isn't the document that the store was created with").into()
            );
        }
        let segments = SegmentDir::new(dir.join(SEGMENTS_DIR));
        let db = Arc::new(db);
        let view = load_view(&db, &segments, &identity)?;
        check_files(&view, &segments)?;
        let applied = read_record(&db, key::APPLIED)?.unwrap_or(identity.anchor.height);
        Ok(Self {
            chain,
            dir: dir.to_owned(),
            segments,
            db,
            genesis,
            tip: watch::Sender::new(view.tip.height),
            view: RwLock::new(Arc::new(view)),
            applied: AtomicU64::new(applied.get()),
            identity,
            caches: Caches::default(),
            steps: Steps::default(),
            writer: Mutex::new(false),
            sealing_failed: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// The chain that it holds.
    pub fn chain_id(&self) -> Hash {
        self.identity.chain_id
    }

    /// The genesis document, as it was given when the store was created.
    pub fn genesis(&self) -> &Bytes {
        &self.genesis
    }

    /// The block that the store begins above.
    pub fn anchor(&self) -> BlockPoint {
        self.identity.anchor
    }

    /// The trusted epochs from the stored head's on.
    pub(super) fn trusted_epochs(&self) -> Result<Vec<EpochRef>, StoreFailure> {
        let view = self.view();
        // Genesis may lie below its epoch's first height.
        let above = |(_, range): &&(_, HeightRange)| range.last() >= view.head.height;
        let epochs = view.epochs.iter().filter(above).map(|&(epoch, _)| {
            let key = key::epoch(key::EPOCHS, epoch);
            let record: Option<EpochRecord> = read_record(&self.db, &key)?;
            let missing = || StoreFailure::damaged(self.db.path(), format!("the record of epoch {epoch} is missing"));
            Ok(record.ok_or_else(missing)?.into_ref())
        });
        epochs.collect()
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn publish(&self, view: View) {
        let tip = view.tip.height;
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        self.tip.send_if_modified(|height| std::mem::replace(height, tip) != tip);
    }

    /// Takes the writer's place, after making good what an earlier failure left.
    pub(super) fn lock_writer(&self) -> Result<MutexGuard<'_, bool>, StoreFailure> {
        // A panic in a writer leaves what a failure leaves.
        let mut failed = self.writer.lock().unwrap_or_else(|poisoned| {
            let mut guard = poisoned.into_inner();
            *guard = true;
            guard
        });
        self.repair(&mut failed)?;
        Ok(failed)
    }

    /// Makes good what a failure left: files with more in them than was committed, or a database that must be opened
    /// again and then may hold the failed batch or not.
    pub(super) fn repair(&self, failed: &mut bool) -> Result<(), StoreFailure> {
        if self.db.is_broken() {
            *failed = true;
            self.db.reopen()?;
        }
        if *failed {
            let view = load_view(&self.db, &self.segments, &self.identity)?;
            let applied = read_record(&self.db, key::APPLIED)?.unwrap_or(self.identity.anchor.height);
            self.applied.store(applied.get(), Ordering::Release);
            self.publish(view);
            *failed = false;
        }
        Ok(())
    }
}

impl<C: Chain> std::fmt::Debug for DiskStore<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore").field("dir", &self.dir).field("head", &self.view().head).finish_non_exhaustive()
    }
}

/// Reads the genesis document of the store in `dir`, for a host that makes its chain from it before it opens the store.
pub fn read_genesis(dir: &Path) -> Result<Bytes, OpenError> {
    let path = dir.join(GENESIS_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(OpenError::Missing(dir.to_owned())),
        Err(error) => Err(StoreFailure::io(&path, "read", error).into()),
    }
}

fn write_genesis(dir: &Path, genesis: &[u8]) -> Result<(), StoreFailure> {
    let part = dir.join(GENESIS_PART);
    let write = || {
        std::fs::write(&part, genesis)?;
        File::open(&part)?.sync_all()?;
        std::fs::rename(&part, dir.join(GENESIS_FILE))?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|error| StoreFailure::io(&part, "write", error))
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK_FILE);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| StoreFailure::io(&path, "open", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(StoreFailure::io(&path, "lock", error).into()),
    }
}

fn read_identity(db: &Db, dir: &Path) -> Result<StoreRecord, OpenError> {
    let missing = || StoreFailure::damaged(db.path(), "it doesn't say which chain it is for");
    let bytes = db.get(Space::Index, key::STORE)?.ok_or_else(missing)?;
    // The format's number stays the record's first field in every version.
    let (found, _) = postcard::take_from_bytes::<u32>(&bytes).map_err(|_| missing())?;
    if found != FORMAT {
        return Err(OpenError::OtherFormat { path: dir.to_owned(), found, known: FORMAT });
    }
    Ok(records::decode(&bytes).ok_or_else(missing)?)
}

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

fn load_view(db: &Arc<Db>, segments: &SegmentDir, identity: &StoreRecord) -> Result<View, StoreFailure> {
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
    let tip = match read_record::<TipRecord>(db, key::TIP)? {
        Some(tip) => Tip { height: tip.height, epoch: tip.epoch, bytes: tip.bytes.into() },
        None => Tip { height: identity.anchor.height, epoch: first_epoch, bytes: Bytes::new() },
    };
    let mut pieces = BTreeMap::new();
    for (key, bytes) in db.scan(Space::Index, key::PIECES)? {
        let piece: PieceRecord = records::decode(&bytes).ok_or_else(|| undecodable(db, &key))?;
        if !piece.record.is_consistent() {
            return Err(undecodable(db, &key));
        }
        pieces.insert(piece.record.facts.range.first(), piece);
    }
    drop_stray_parts(segments, |first| pieces.get(&first).is_some_and(|piece| piece.in_file))?;
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
    let view = View { anchor: identity.anchor, head, tip, epochs: Arc::new(epochs), unsealed };
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

/// Removes files that were begun and never committed.
fn drop_stray_parts(segments: &SegmentDir, is_known: impl Fn(Height) -> bool) -> Result<(), StoreFailure> {
    let failed = |error| StoreFailure::io(segments.path(), "list", error);
    for entry in std::fs::read_dir(segments.path()).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let Some(first) = stem.map(Height::new) else { continue };
        if path.extension().is_some_and(|extension| extension == "part") && !is_known(first) {
            std::fs::remove_file(&path)
                .map_err(|error| StoreFailure::io(&path, "remove the uncommitted file", error))?;
        }
    }
    Ok(())
}

/// Whether the pieces are what [`View::unsealed`] promises.
fn check_pieces(view: &View) -> Result<(), String> {
    if view.head.height < view.anchor.height || view.tip.height > view.head.height {
        return Err(format!(
            "head {}, tip {} and anchor {} contradict each other",
            view.head.height, view.tip.height, view.anchor.height
        ));
    }
    for piece in &view.unsealed {
        let bodies = piece.bodies().ok_or_else(|| format!("the piece {} has no bodies", piece.range()))?;
        if bodies.last() > view.head.height {
            return Err(format!("the piece {bodies} reaches above the head at {}", view.head.height));
        }
    }
    Ok(())
}

/// Whether every block up to the head is in a piece or in a file, going by the files' names and the newest footer. The
/// rest is checked when it is read, or by [`DiskStore::check`].
fn check_files(view: &View, segments: &SegmentDir) -> Result<(), StoreFailure> {
    let mut height = view.anchor.height.next();
    let mut newest = None;
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
        if !path.exists() {
            let what =
                format!("the file is missing, the database says that blocks up to {} are stored", view.head.height);
            return Err(StoreFailure::damaged(&path, what));
        }
        newest = Some(cell);
        if cell.last() == Height::MAX {
            break;
        }
        height = cell.last().next();
    }
    let Some(cell) = newest else { return Ok(()) };
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
