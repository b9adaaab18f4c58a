//! [`DiskStore`]: creating, opening, and what its parts share.
//!
//! ```text
//! LOCK                     held by the process that has the store open
//! genesis                  the genesis document; put in place last, so its presence means that creation was finished
//! segments/                a file for each grid cell, see `segment_file`
//! db/                      index, open tail and application state
//! hs2-store.part/          a store that is being made, see `create`
//! ```

use std::fs::File;
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
use super::config::StoreConfig;
use super::create::{DB_DIR, Found, GENESIS_FILE, SEGMENTS_DIR, lock, look, make, write_genesis};
use super::damage::{Damages, StorePart};
use super::db::{Db, Space};
use super::db_files::require_file;
use super::failure::{OpenError, StoreFailure};
use super::load::{check_files, load_view, read_identity, read_record};
use super::prune::SealedSizes;
use super::records::{self, EpochRecord, FORMAT, Follows, StoreRecord, key};
use super::segment_file::SegmentDir;
use super::snapshots::Snapshots;
use super::steps::Steps;
use super::view::View;

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

impl StoreAnchor {
    fn record(&self) -> StoreRecord {
        StoreRecord {
            format: FORMAT,
            chain_id: self.chain_id,
            genesis_check: records::check_of(&self.genesis),
            anchor: self.point,
            snapshot_interval: self.snapshot_interval,
        }
    }
}

/// How [`DiskStore::open_or_create`] found a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFound {
    /// The store was there.
    Whole,
    /// There was none.
    Missing,
    /// Its genesis document was missing or damaged, and was written again.
    WithoutGenesis,
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
    pub(super) damages: Damages,
    pub(super) config: Mutex<StoreConfig>,
    pub(super) sizes: Mutex<SealedSizes>,
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
    /// Creates a store in `dir`, which is created where it isn't there. Other files may be in it, and are left alone; in
    /// the places of a store's own they are an error.
    pub fn create(dir: &Path, chain: Arc<C>, anchor: &StoreAnchor) -> Result<Self, OpenError> {
        Self::create_in(dir, chain, anchor, &Steps::default())
    }

    pub(super) fn create_in(dir: &Path, chain: Arc<C>, anchor: &StoreAnchor, steps: &Steps) -> Result<Self, OpenError> {
        chain.profile().check()?;
        let record = anchor.record();
        let lock = make(dir, &record, &anchor.epoch, &anchor.genesis, steps)?;
        let store = Self::load(dir, chain, Db::open(dir.join(DB_DIR))?, lock)?;
        // An interrupted creation was finished, which may have been of another store.
        if store.identity == record { Ok(store) } else { Err(OpenError::Exists(dir.to_owned())) }
    }

    /// Opens the store in `dir`. Given a chain id, only a store of that chain.
    pub fn open(dir: &Path, chain: Arc<C>, chain_id: Option<Hash>) -> Result<Self, OpenError> {
        require_store(dir)?;
        let lock = lock(dir)?;
        let store = Self::load(dir, chain, Db::open(dir.join(DB_DIR))?, lock)?;
        match chain_id {
            Some(wanted) if wanted != store.identity.chain_id => Err(other_chain(dir, &store.identity, wanted)),
            _ => Ok(store),
        }
    }

    /// Opens the store in `dir`, or creates it where there is none. A store of the same chain that lost its genesis
    /// document gets it again: the database knows which one it was.
    pub fn open_or_create(dir: &Path, chain: Arc<C>, anchor: &StoreAnchor) -> Result<(Self, StoreFound), OpenError> {
        match look(dir)? {
            Found::Store | Found::WithoutGenesis => {}
            _ => return Ok((Self::create(dir, chain, anchor)?, StoreFound::Missing)),
        }
        let lock = lock(dir)?;
        let db = Db::open(dir.join(DB_DIR))?;
        let identity = read_identity(&db, dir)?;
        if identity.chain_id != anchor.chain_id {
            return Err(other_chain(dir, &identity, anchor.chain_id));
        }
        let mut found = StoreFound::Whole;
        let is_whole = |genesis: &Bytes| records::check_of(genesis) == identity.genesis_check;
        if !read_genesis(dir).is_ok_and(|genesis| is_whole(&genesis)) && is_whole(&anchor.genesis) {
            write_genesis(dir, &anchor.genesis)?;
            found = StoreFound::WithoutGenesis;
        }
        Ok((Self::load(dir, chain, db, lock)?, found))
    }

    fn load(dir: &Path, chain: Arc<C>, db: Db, lock: File) -> Result<Self, OpenError> {
        chain.profile().check()?;
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
        // Left over from a segment that was being fetched again.
        segments.healing().remove();
        let view = load_view(&db, &segments, &identity, chain.profile().grid())?;
        let damages = Damages::default();
        for (cell, failure) in check_files(&view, &segments)? {
            damages.note(StorePart::Segment(cell), &failure);
        }
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
            damages,
            config: Mutex::default(),
            sizes: Mutex::default(),
            steps: Steps::default(),
            writer: Mutex::new(false),
            staging: Mutex::new(()),
            sealing_failed: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// The chain that it holds, as it was opened with.
    pub fn chain(&self) -> &Arc<C> {
        &self.chain
    }

    /// The id of the chain that it holds.
    pub fn chain_id(&self) -> Hash {
        self.identity.chain_id
    }

    /// The genesis document, as it was given when the store was created.
    pub fn genesis(&self) -> &Bytes {
        &self.genesis
    }

    /// The folder that the store is in.
    pub fn dir(&self) -> &Path {
        &self.dir
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
            let (Some(Follows { id: boundary_id, time: boundary_time }), Some(bytes)) = (record.follows, bytes) else {
                return Err(missing());
            };
            let boundary = std::mem::replace(&mut range, next).last();
            handovers.push(HandoverLink {
                ended,
                boundary,
                boundary_id,
                boundary_time,
                epoch: record.into_ref(),
                bytes,
            });
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
            let view = load_view(&self.db, &self.segments, &self.identity, self.chain.profile().grid())?;
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

fn other_chain(dir: &Path, identity: &StoreRecord, wanted: Hash) -> OpenError {
    OpenError::OtherChain { path: dir.to_owned(), found: identity.chain_id, wanted }
}

/// Reads the genesis document of the store in `dir`, for a host that makes its chain from it before it opens the store.
pub fn read_genesis(dir: &Path) -> Result<Bytes, OpenError> {
    require_store(dir)?;
    let path = dir.join(GENESIS_FILE);
    require_file(&path)?;
    Ok(std::fs::read(&path).map_err(|error| StoreFailure::io(&path, "read", error))?.into())
}

fn require_store(dir: &Path) -> Result<(), OpenError> {
    match look(dir)? {
        Found::Store => Ok(()),
        Found::WithoutGenesis => Err(OpenError::WithoutGenesis(dir.to_owned())),
        Found::Nothing | Found::Unfinished | Found::NotOurs(_) => Err(OpenError::Missing(dir.to_owned())),
    }
}
