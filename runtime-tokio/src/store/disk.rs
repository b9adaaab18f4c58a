//! [`DiskStore`]: creating, opening, and what its parts share.
//!
//! ```text
//! LOCK                     held by the process that has the store open
//! genesis                  the genesis document; written last, so its presence means that creation was finished
//! segments/                a file for each grid cell, see `segment_file`
//! db/                      index, open tail and application state
//! ```

use std::fs::{File, TryLockError};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::native::Genesis;
use hotstuff2_sync::chain::{Chain, EpochRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::HandoverLink;
use tokio::sync::watch;

use super::cache::Caches;
use super::db::{Db, Space};
use super::failure::{CREATE_DIRECTORY, OpenError, StoreFailure};
use super::load::{check_files, load_view, read_identity, read_record};
use super::records::{self, EpochRecord, FORMAT, StoreRecord, key};
use super::segment_file::SegmentDir;
use super::snapshots::Snapshots;
use super::steps::Steps;
use super::view::View;

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
    /// Blocks from one snapshot height of the chain to the next.
    pub snapshot_interval: NonZeroU64,
}

impl From<&Genesis> for StoreAnchor {
    /// The genesis block of a native chain.
    fn from(genesis: &Genesis) -> Self {
        Self {
            chain_id: genesis.chain_id(),
            genesis: genesis.document().encode().into(),
            point: BlockPoint { height: Height::ZERO, id: genesis.id() },
            epoch: genesis.epoch().to_ref(),
            // A checked genesis document doesn't say 0.
            snapshot_interval: NonZeroU64::new(genesis.document().snapshot_interval).unwrap_or(NonZeroU64::MAX),
        }
    }
}

/// Blocks, handovers, proofs of finality and application state of one chain, durably on disk.
///
/// One writer at a time, any number of readers, which don't wait for it. Not to be called on an asynchronous executor's
/// threads: every call may wait for the disk.
pub struct DiskStore<C: Chain> {
    pub(super) chain: Arc<C>,
    pub(super) dir: PathBuf,
    pub(super) segments: SegmentDir,
    pub(super) db: Arc<Db>,
    pub(super) identity: StoreRecord,
    pub(super) genesis: Bytes,
    pub(super) view: RwLock<Arc<View>>,
    /// How many views there were.
    pub(super) version: AtomicU64,
    pub(super) tip: watch::Sender<Height>,
    pub(super) applied: AtomicU64,
    pub(super) snapshots: Snapshots,
    pub(super) caches: Caches,
    pub(super) steps: Steps,
    /// Held by whoever writes blocks. True where a write failed, so that files may hold more than they should.
    pub(super) writer: Mutex<bool>,
    /// Held by whoever works on the staged state. Taken before `writer`.
    pub(super) staging: Mutex<()>,
    pub(super) sealing_failed: AtomicBool,
    /// Keeps the store locked until everything above is closed.
    _lock: File,
}

impl<C: Chain> DiskStore<C> {
    /// Creates a store in `dir`, which is created where it isn't there.
    pub fn create(dir: &Path, chain: Arc<C>, anchor: &StoreAnchor) -> Result<Self, OpenError> {
        let segments = dir.join(SEGMENTS_DIR);
        std::fs::create_dir_all(dir).map_err(|error| StoreFailure::io(dir, CREATE_DIRECTORY, error))?;
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
        std::fs::create_dir(&segments).map_err(|error| StoreFailure::io(&segments, CREATE_DIRECTORY, error))?;

        let db = Db::open(dir.join(DB_DIR))?;
        let record = StoreRecord {
            format: FORMAT,
            chain_id: anchor.chain_id,
            genesis_check: records::check_of(&anchor.genesis),
            anchor: anchor.point,
            snapshot_interval: anchor.snapshot_interval,
        };
        let epoch = EpochRecord::of(&anchor.epoch, None);
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
        let snapshots = Snapshots::load(&db, identity.snapshot_interval)?;
        Ok(Self {
            chain,
            dir: dir.to_owned(),
            segments,
            db,
            genesis,
            version: AtomicU64::new(0),
            tip: watch::Sender::new(view.tip.height),
            view: RwLock::new(Arc::new(view)),
            applied: AtomicU64::new(applied.get()),
            snapshots,
            identity,
            caches: Caches::default(),
            steps: Steps::default(),
            writer: Mutex::new(false),
            staging: Mutex::new(()),
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

    /// The block that the store was created with.
    pub fn anchor(&self) -> BlockPoint {
        self.identity.anchor
    }

    /// The stored head's epoch, and the handovers from its end on.
    pub(super) fn trusted_epochs(&self) -> Result<(EpochRef, Vec<HandoverLink>), StoreFailure> {
        let view = self.view();
        // Genesis may lie below its epoch's first height.
        let below = |(_, range): &(Epoch, HeightRange)| range.last() < view.head.height;
        let mut epochs = view.epochs.iter().skip_while(|epoch| below(epoch));
        let &(first, mut range) = epochs.next().ok_or_else(|| self.no_epoch("of the stored head"))?;
        let trusted = self.epoch_ref(first)?;
        let mut handovers = Vec::new();
        for &(epoch, next) in epochs {
            let (record, ended) = (self.epoch_record(epoch)?, epoch.prev().unwrap_or_default());
            let bytes = self.db.get(Space::Index, &key::epoch(key::HANDOVERS, ended))?;
            let missing = || StoreFailure::damaged(self.db.path(), format!("the handover to epoch {epoch} is missing"));
            let (Some(boundary_id), Some(bytes)) = (record.follows, bytes) else { return Err(missing()) };
            let boundary = std::mem::replace(&mut range, next).last();
            handovers.push(HandoverLink { ended, boundary, boundary_id, epoch: record.into_ref(), bytes });
        }
        Ok((trusted, handovers))
    }

    /// A trusted epoch.
    pub(super) fn epoch_ref(&self, epoch: Epoch) -> Result<EpochRef, StoreFailure> {
        self.epoch_record(epoch).map(EpochRecord::into_ref)
    }

    fn epoch_record(&self, epoch: Epoch) -> Result<EpochRecord, StoreFailure> {
        let record = read_record(&self.db, &key::epoch(key::EPOCHS, epoch))?;
        record.ok_or_else(|| self.no_epoch(&epoch.to_string()))
    }

    fn no_epoch(&self, which: &str) -> StoreFailure {
        StoreFailure::damaged(self.db.path(), format!("the record of epoch {which} is missing"))
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn publish(&self, view: View) {
        let tip = view.tip.height;
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        // Before anyone is told, and after there is something new to read.
        self.version.fetch_add(1, Ordering::AcqRel);
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
            self.caches.clear();
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
