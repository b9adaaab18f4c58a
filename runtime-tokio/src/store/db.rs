//! The embedded database: index, open tail and application state in one journal.
//!
//! The state has two sets of tables: the live one, and a staging one where a state is put together beside it. They are
//! keyspaces of consecutive generations, and a row of the index says which generation is live, so one batch puts the
//! staged state in the live one's place. The old generation's keyspaces are then deleted as they are, not row by row.
//! (fjall can also clear a keyspace, but keeps its journals until something is flushed to the cleared keyspace again.)
//!
//! One journal means one order of durability. fjall appends every batch to it under a lock, forces it to disk before a
//! memtable is flushed to tables and before the journal is rotated, and after a crash replays whole batches up to the
//! first torn one: what survives is always a prefix of what was committed. So a batch that was forced to disk takes
//! all batches before it along, and application state, which is written after its blocks, can't outlive them.
//!
//! fjall believes its folder and panics over some damage: [`check_folder`] looks first, and every call of it is fenced.
//!
//! fjall refuses all writes after one failed. [`Db`] then notes that it is broken, and is opened again by the next
//! writer: a full disk needs no restart.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::{
    AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _, Slice, Snapshot,
};

use super::db_files::{check_folder, fenced};
use super::failure::StoreFailure;
use super::records::key;

/// Cache of table blocks. The index is small and the tail is young; this is mostly for application state.
const CACHE_BYTES: u64 = 16 << 20;
/// The least that fjall allows. The journal is on disk; only its unflushed part is in memory.
const JOURNAL_BYTES: u64 = 64 << 20;
/// A record of a few KiB is rewritten with every batch of blocks.
const INDEX_MEMTABLE_BYTES: u64 = 2 << 20;
/// Blocks near the tip that were not flushed yet.
const TAIL_MEMTABLE_BYTES: u64 = 8 << 20;
/// Application state that was not flushed yet. A state that is fetched fills these faster than they are flushed: with
/// those that wait, four of them are in memory, and twice as large there, for small values.
pub(super) const STATE_MEMTABLE_BYTES: u64 = 4 << 20;
/// Tables of the newest level that are merged at once in application state, twice as many as fjall would take: half as often
/// what is below them is written anew.
const STATE_TABLES_AT_ONCE: u8 = 8;
/// Memtables that wait to be flushed before writers wait. fjall's own wait begins at four and never ends if its worker
/// died of a full disk; ours asks whether it did.
const MAX_WAITING_MEMTABLES: usize = 2;
/// Table runs of the newest level that wait to be merged before writers wait; fjall's own halt begins at 30.
const MAX_WAITING_TABLES: usize = 24;
/// How long a writer waits for the flusher before it looks again.
const FLUSH_POLL: Duration = Duration::from_millis(2);

/// A keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// Head, tip, epochs, handovers, unsealed pieces.
    Index,
    /// Blocks that are not in segment files yet.
    Tail,
    /// The application's values.
    Values,
    /// The application's tree pages.
    Pages,
    /// The live state as it was at snapshot heights, where it has changed since.
    Aside,
    /// Values of the state that is being staged.
    StagedValues,
    /// Pages of the state that is being staged.
    StagedPages,
    /// The places whose values are staged, with their hashes.
    Marks,
}

/// The tables of the live state.
struct Live {
    values: Keyspace,
    pages: Keyspace,
    aside: Keyspace,
}

/// The tables of the state that is being staged.
struct Staging {
    values: Keyspace,
    pages: Keyspace,
    marks: Keyspace,
}

/// Why the tables can't be opened.
enum HandlesError {
    Database(fjall::Error),
    MissingTable(String),
}

impl From<fjall::Error> for HandlesError {
    fn from(error: fjall::Error) -> Self {
        Self::Database(error)
    }
}

pub(super) struct Handles {
    pub(super) db: Database,
    generation: u64,
    index: Keyspace,
    tail: Keyspace,
    live: Live,
    staging: Staging,
}

impl Handles {
    pub(super) fn space(&self, space: Space) -> &Keyspace {
        match space {
            Space::Index => &self.index,
            Space::Tail => &self.tail,
            Space::Values => &self.live.values,
            Space::Pages => &self.live.pages,
            Space::Aside => &self.live.aside,
            Space::StagedValues => &self.staging.values,
            Space::StagedPages => &self.staging.pages,
            Space::Marks => &self.staging.marks,
        }
    }

    fn all(&self) -> [&Keyspace; 8] {
        let Self { index, tail, live, staging, .. } = self;
        [index, tail, &live.values, &live.pages, &live.aside, &staging.values, &staging.pages, &staging.marks]
    }

    /// Seals the memtables that are full, for the flusher. fjall leaves that to its worker too, which can be busy with
    /// merging tables for as long as the whole of a state takes to arrive.
    fn seal_full(&self) -> fjall::Result<()> {
        let limits = [INDEX_MEMTABLE_BYTES, TAIL_MEMTABLE_BYTES].into_iter();
        let limits = limits.chain(std::iter::repeat(STATE_MEMTABLE_BYTES));
        for (space, limit) in self.all().into_iter().zip(limits) {
            if space.tree.active_memtable().size() > limit {
                space.rotate_memtable()?;
            }
        }
        Ok(())
    }

    fn open(path: &Path, new: bool) -> Result<Self, HandlesError> {
        let db = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .open()?;
        let index = keyspace(&db, "index", INDEX_MEMTABLE_BYTES)?;
        let tail = keyspace(&db, "tail", TAIL_MEMTABLE_BYTES)?;
        let generation = live_generation(&index)?;
        // fjall would make empty ones without a word, and the state would be gone.
        let mut missing = ["values", "pages"].map(|table| name_of(table, generation)).into_iter();
        if let Some(name) = missing.find(|name| !new && !db.keyspace_exists(name)) {
            return Err(HandlesError::MissingTable(name));
        }
        let handles = Self {
            live: open_live(&db, generation)?,
            staging: open_staging(&db, generation.saturating_add(1))?,
            index,
            tail,
            generation,
            db,
        };
        handles.delete_others();
        Ok(handles)
    }

    /// Whether these are the tables of the state that the index says is live, as of `moment`.
    pub(super) fn are_live(&self, moment: &Snapshot) -> fjall::Result<bool> {
        Ok(generation_of(moment.get(&self.index, key::GENERATION)?)? == self.generation)
    }

    /// Deletes the keyspaces of earlier generations. Nothing depends on it, and the next opening tries again.
    fn delete_others(&self) {
        let known = self.all().map(|keyspace| keyspace.name().clone());
        for name in self.db.list_keyspace_names().into_iter().filter(|name| !known.contains(name)) {
            let old = self.db.keyspace(&name, KeyspaceCreateOptions::default);
            if let Err(error) = old.and_then(|old| self.db.delete_keyspace(old)) {
                tracing::warn!(%error, table = %name, "the tables of an earlier state could not be deleted");
            }
        }
    }

    /// Makes an empty keyspace of the same name out of that for staged pages.
    fn clear_staged_pages(&mut self) -> fjall::Result<()> {
        if self.staging.pages.first_key_value().is_none() {
            return Ok(());
        }
        let name = self.staging.pages.name().clone();
        self.db.delete_keyspace(self.staging.pages.clone())?;
        self.staging.pages = state_keyspace(&self.db, &name)?;
        Ok(())
    }

    /// Turns to the generation that the index says is live.
    fn switch(&mut self) -> fjall::Result<()> {
        let generation = live_generation(&self.index)?;
        if generation != self.generation {
            self.live = open_live(&self.db, generation)?;
            self.staging = open_staging(&self.db, generation.saturating_add(1))?;
            self.generation = generation;
            self.delete_others();
        }
        Ok(())
    }
}

fn keyspace(db: &Database, name: &str, memtable_bytes: u64) -> fjall::Result<Keyspace> {
    db.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes))
}

fn open_live(db: &Database, generation: u64) -> fjall::Result<Live> {
    let open = |table| state_keyspace(db, &name_of(table, generation));
    Ok(Live { values: open("values")?, pages: open("pages")?, aside: open("aside")? })
}

/// A keyspace of application state. Its rows come in the order of hashes, so all tables overlap, and every merge of the
/// newest ones writes what they are merged into anew.
fn state_keyspace(db: &Database, name: &str) -> fjall::Result<Keyspace> {
    let strategy = || Arc::new(Leveled::default().with_l0_threshold(STATE_TABLES_AT_ONCE));
    db.keyspace(name, || {
        KeyspaceCreateOptions::default().max_memtable_size(STATE_MEMTABLE_BYTES).compaction_strategy(strategy())
    })
}

fn open_staging(db: &Database, generation: u64) -> fjall::Result<Staging> {
    let open = |table| state_keyspace(db, &name_of(table, generation));
    Ok(Staging { values: open("values")?, pages: open("pages")?, marks: open("marks")? })
}

/// Name of a table of the state in its generation.
fn name_of(table: &str, generation: u64) -> String {
    if generation == 0 { table.to_owned() } else { format!("{table}-{generation}") }
}

/// The generation of the live state; without a row it is the first.
fn live_generation(index: &Keyspace) -> fjall::Result<u64> {
    generation_of(index.get(key::GENERATION)?)
}

fn generation_of(row: Option<Slice>) -> fjall::Result<u64> {
    let Some(row) = row else { return Ok(0) };
    // A wrong guess would delete the state.
    row.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| fjall::Error::Unrecoverable)
}

/// One put (`Some`) or delete (`None`).
pub(super) type Write = (Space, Bytes, Option<Bytes>);

/// The database, which can be opened again after a failure.
pub(super) struct Db {
    path: PathBuf,
    handles: RwLock<Option<Handles>>,
    broken: AtomicBool,
    opened: AtomicU64,
}

impl Db {
    /// Makes a database in the new folder `path`.
    pub(super) fn create(path: PathBuf) -> Result<Self, StoreFailure> {
        open_handles(&path, true).map(|handles| Self::over(path, handles))
    }

    /// Opens the database in `path`.
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreFailure> {
        open_handles(&path, false).map(|handles| Self::over(path, handles))
    }

    fn over(path: PathBuf, handles: Handles) -> Self {
        let handles = RwLock::new(Some(handles));
        Self { path, handles, broken: AtomicBool::new(false), opened: AtomicU64::new(1) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a write failed, so that the database must be opened again before it is written to.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn set_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// Closes and opens the database. What the failed write left is either all there afterwards or not at all.
    pub(super) fn reopen(&self) -> Result<(), StoreFailure> {
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        close(&mut handles);
        self.opened.fetch_add(1, Ordering::AcqRel);
        *handles = Some(open_handles(&self.path, false)?);
        self.broken.store(false, Ordering::Release);
        Ok(())
    }

    /// Calls `action` with the database's folder while the database is closed, with everything in its files, and opens it
    /// again. Whoever reads or writes meanwhile waits.
    pub(super) fn closed<T>(&self, action: impl FnOnce(&Path) -> T) -> Result<T, StoreFailure> {
        self.persist()?;
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        close(&mut handles);
        self.opened.fetch_add(1, Ordering::AcqRel);
        let done = action(&self.path);
        // Where it can't be opened, the next writer tries again.
        *handles = Some(open_handles(&self.path, false).inspect_err(|_| self.set_broken())?);
        Ok(done)
    }

    /// How often the tables of the state were exchanged for others. Within [`Self::with`] it doesn't change.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// The row that makes the staged state the live one; [`Self::switch`] must follow.
    pub(super) fn switch_row(&self) -> Result<Write, StoreFailure> {
        let next = self.with(|handles| Ok(handles.generation))?.saturating_add(1);
        let row = Bytes::copy_from_slice(&next.to_be_bytes());
        Ok((Space::Index, Bytes::from_static(key::GENERATION), Some(row)))
    }

    /// Turns to the tables that the index says are live, with empty ones for staging, and deletes the old ones.
    pub(super) fn switch(&self) -> Result<(), StoreFailure> {
        self.with_mut(Handles::switch)
    }

    /// Deletes all staged pages.
    pub(super) fn clear_staged_pages(&self) -> Result<(), StoreFailure> {
        self.with_mut(Handles::clear_staged_pages)
    }

    fn with_mut(&self, action: impl FnOnce(&mut Handles) -> fjall::Result<()>) -> Result<(), StoreFailure> {
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        let handles = handles.as_mut().ok_or_else(|| StoreFailure::Closed { path: self.path.clone() })?;
        self.opened.fetch_add(1, Ordering::AcqRel);
        let done = fenced(|| action(handles)).ok_or_else(|| panicked(&self.path)).and_then(|done| self.told(done));
        done.inspect_err(|_| self.set_broken())
    }

    pub(super) fn with<T>(&self, action: impl FnOnce(&Handles) -> fjall::Result<T>) -> Result<T, StoreFailure> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        let handles = handles.as_ref().ok_or_else(|| StoreFailure::Closed { path: self.path.clone() })?;
        match fenced(|| action(handles)) {
            Some(done) => self.told(done),
            // Its locks may be poisoned; opened again, they aren't.
            None => {
                self.set_broken();
                Err(panicked(&self.path))
            }
        }
    }

    fn told<T>(&self, done: fjall::Result<T>) -> Result<T, StoreFailure> {
        done.map_err(|error| StoreFailure::database(&self.path, error))
    }

    /// Bytes that the space's rows take in the memtable that is written to, as fjall counts them.
    #[cfg(test)]
    pub(super) fn memtable_bytes(&self, space: Space) -> u64 {
        self.with(|handles| Ok(handles.space(space).tree.active_memtable().size())).unwrap()
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreFailure> {
        self.with(|handles| Ok(handles.space(space).get(key)?.map(Bytes::from)))
    }

    /// All rows whose key begins with `prefix`, in key order. For prefixes with few and small rows.
    pub(super) fn scan(&self, space: Space, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, StoreFailure> {
        self.with(|handles| {
            let rows = handles.space(space).prefix(prefix);
            rows.map(|row| row.into_inner().map(|(key, value)| (Bytes::from(key), Bytes::from(value)))).collect()
        })
    }

    /// Rows from the key `from` on, up to and with `to`: all, or as many as have `max_bytes` in keys and values, but at
    /// least one. Whoever reads on begins above the last of them.
    pub(super) fn rows(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: &[u8],
        max_bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreFailure> {
        self.with(|handles| {
            let (mut rows, mut bytes) = (Vec::new(), 0usize);
            for row in handles.space(space).range::<&[u8], _>((from, Bound::Included(to))) {
                let (key, value) = row.into_inner()?;
                bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
                rows.push((Bytes::from(key), Bytes::from(value)));
                if bytes >= max_bytes {
                    break;
                }
            }
            Ok(rows)
        })
    }

    /// The first keys from `from` on, up to and with `to`: at most `max`.
    pub(super) fn keys(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: &[u8],
        max: usize,
    ) -> Result<Vec<Bytes>, StoreFailure> {
        self.with(|handles| {
            let rows = handles.space(space).range::<&[u8], _>((from, Bound::Included(to))).take(max);
            rows.map(|row| row.key().map(Bytes::from)).collect()
        })
    }

    /// Commits `writes` as one batch: all or none of it survives a crash. With `sync` it survives a power failure too,
    /// and so does every batch before it.
    pub(super) fn commit(&self, writes: impl Iterator<Item = Write>, sync: bool) -> Result<(), StoreFailure> {
        let committed = self.with(|handles| {
            wait_for_flusher(handles, MAX_WAITING_MEMTABLES)?;
            let mode = if sync { PersistMode::SyncAll } else { PersistMode::Buffer };
            let mut batch = handles.db.batch().durability(Some(mode));
            for (space, key, value) in writes {
                match value {
                    Some(value) => batch.insert(handles.space(space), key, value),
                    None => batch.remove(handles.space(space), key),
                }
            }
            batch.commit()?;
            handles.seal_full()
        });
        committed.inspect_err(|_| self.set_broken())
    }

    /// Waits until all memtables that are full are tables: before a batch that fills one by itself, of which only a few then
    /// are in memory.
    pub(super) fn wait_for_flusher(&self) -> Result<(), StoreFailure> {
        self.with(|handles| wait_for_flusher(handles, 1)).inspect_err(|_| self.set_broken())
    }

    /// Forces everything that was committed to disk.
    pub(super) fn persist(&self) -> Result<(), StoreFailure> {
        self.with(|handles| handles.db.persist(PersistMode::SyncAll)).inspect_err(|_| self.set_broken())
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        close(&mut self.handles.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Closes the database, which panics where a worker of its own did.
fn close(handles: &mut Option<Handles>) {
    let handles = handles.take();
    if fenced(|| drop(handles)).is_none() {
        tracing::warn!("the database could not be closed in order");
    }
}

/// Opens the database in `path`, or one that is made there.
fn open_handles(path: &Path, new: bool) -> Result<Handles, StoreFailure> {
    if !new {
        check_folder(path)?;
    }
    let opened = fenced(|| Handles::open(path, new)).ok_or_else(|| panicked(path))?;
    opened.map_err(|error| match error {
        HandlesError::Database(error) => StoreFailure::database(path, error),
        HandlesError::MissingTable(name) => StoreFailure::damaged(path, format!("the table `{name}` is missing")),
    })
}

fn panicked(path: &Path) -> StoreFailure {
    StoreFailure::damaged(path, "the database can't make sense of its files")
}

/// Waits while flushing lags behind writing, with `memtables` or more that wait for it in any space, so that memory stays
/// bounded.
fn wait_for_flusher(handles: &Handles, memtables: usize) -> fjall::Result<()> {
    let behind =
        |space: &Keyspace| space.sealed_memtable_count() >= memtables || space.l0_table_count() >= MAX_WAITING_TABLES;
    while handles.all().into_iter().any(behind) {
        // Fails if the worker died, which would otherwise keep this loop going for ever.
        handles.db.persist(PersistMode::Buffer)?;
        std::thread::sleep(FLUSH_POLL);
    }
    Ok(())
}
