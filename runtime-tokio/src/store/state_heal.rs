//! Healing of the state: its tables are written anew beside the damaged ones, out of what can still be read and of what
//! peers gave, and take their place in one commit. The blocks stay as they are.
//!
//! A table of the database can't be mended where it is: a newer row hides a damaged block from whoever asks for that key,
//! but not from whoever reads on through it. So the state goes the way of one that is fetched, through the staging area,
//! where a subtree is the same by its hash wherever it comes from. Snapshots below the live state are put back
//! afterwards, newest first, as what differs from the state above.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::AbstractTree as _;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{PLACEHOLDER, StateItem, StateLeaves, StateReader as _, Tree, TreeError, subtree};

use super::damage::StorePart;
use super::db::{Db, Space};
use super::db_files::require_file;
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::live::leaf_value;
use super::records::StateSize;
use super::snapshots::Snapshot;
use super::staging::{Activation, StateStaging as _};
use super::state::{StateSpace, StateStore as _};
use super::state_view::StateView;
use super::steps::Step;
use super::view::View;

/// Bytes of a table file that are read at once.
const READ_BYTES: usize = 1 << 20;

/// A state that is to be whole again: the live one, or a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostState {
    /// The block after which it is.
    pub height: Height,
    /// Its root, from that block's header.
    pub root: Hash,
}

/// The states of a store whose tables are damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostStates {
    /// The live one.
    pub live: LostState,
    /// The snapshots below it, newest first.
    pub kept: Vec<LostState>,
}

/// Records in which a snapshot differs from the state above, by key hash; `None` where it has none.
pub type StateChanges = BTreeMap<Hash, Option<Bytes>>;

/// A table file, and what it must hash to.
#[derive(PartialEq, Eq)]
struct Table {
    path: PathBuf,
    checksum: u128,
}

#[cfg(test)]
impl<C: Chain> DiskStore<C> {
    /// Writes the state into tables, and says which files they are, by table.
    pub(crate) fn flushed_tables(&self) -> Vec<(&'static str, Vec<PathBuf>)> {
        let tables = |space| {
            self.db.with(|handles| {
                handles.space(space).rotate_memtable_and_wait()?;
                let version = handles.space(space).tree.current_version();
                Ok(version.iter_tables().map(|table| table.path.to_path_buf()).collect())
            })
        };
        let named = [("values", Space::Values), ("pages", Space::Pages), ("aside", Space::Aside)];
        named.map(|(name, space)| (name, tables(space).unwrap())).into()
    }
}

impl Db {
    /// The files of the state's tables.
    fn state_tables(&self) -> Result<Vec<Table>, StoreFailure> {
        self.with(|handles| {
            let mut tables = Vec::new();
            for space in [Space::Values, Space::Pages, Space::Aside] {
                let version = handles.space(space).tree.current_version();
                tables.extend(
                    version
                        .iter_tables()
                        .map(|table| Table { path: table.path.to_path_buf(), checksum: table.checksum().into_u128() }),
                );
            }
            Ok(tables)
        })
    }
}

/// The checksum of a file as the database makes it, and its length.
fn hash_file(path: &Path) -> std::io::Result<(u128, u64)> {
    let (mut file, mut hasher) = (std::fs::File::open(path)?, xxhash_rust::xxh3::Xxh3::new());
    let (mut buffer, mut len) = (vec![0; READ_BYTES], 0u64);
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok((hasher.digest128(), len));
        };
        hasher.update(bytes);
        len = len.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

impl<C: Chain> DiskStore<C> {
    /// Reads the files of the state's tables and compares them with their checksums: how many bytes were read. What is
    /// cached hides nothing from it. Where one is damaged, that is in [`Self::damage`] afterwards.
    pub fn patrol_state(&self) -> Result<u64, StoreFailure> {
        let mut bytes = 0u64;
        for table in self.db.state_tables()? {
            let failure = match require_file(&table.path).map(|()| hash_file(&table.path)) {
                Err(failure) => failure,
                Ok(Ok((checksum, len))) => {
                    bytes = bytes.saturating_add(len);
                    if checksum == table.checksum {
                        continue;
                    }
                    StoreFailure::damaged(&table.path, "the checksum of the table is wrong")
                }
                Ok(Err(error)) => StoreFailure::io(&table.path, "read", error),
            };
            // A table that was merged into others meanwhile is no damage.
            if !failure.is_transient() && self.db.state_tables()?.contains(&table) {
                self.damages.note(StorePart::State, &failure);
            }
        }
        Ok(bytes)
    }

    /// The states that are to be whole again; `None` where the live one is the anchor's, which no stored header proves.
    pub fn lost_states(&self) -> Result<Option<LostStates>, StoreFailure> {
        let lost = |height| -> Result<Option<LostState>, StoreFailure> {
            Ok(self.header_at(height)?.map(|header| LostState { height, root: header.state_root }))
        };
        let Some(live) = lost(self.applied())? else { return Ok(None) };
        let mut kept = Vec::new();
        for Snapshot { height, .. } in self.snapshots().into_iter().rev().filter(|kept| kept.height < live.height) {
            kept.extend(lost(height)?);
        }
        Ok(Some(LostStates { live, kept }))
    }

    /// Whether a subtree is staged, or could be copied from what can still be read.
    pub fn holds(&self, item: &StateItem) -> Result<bool, StoreFailure> {
        use hotstuff2_sync::calls::Holding;
        match self.survey(std::slice::from_ref(item)) {
            Ok(holdings) => Ok(holdings == [Holding::Held]),
            Err(failure) if failure.is_transient() => Err(failure),
            Err(_) => Ok(false),
        }
    }

    /// Puts what is staged in the place of the damaged tables, where it is `lost` and the live state is still at that height.
    pub fn replace_state(&self, lost: &LostState) -> Result<Activation, StoreFailure> {
        let _staging = self.lock_staging()?;
        self.db.clear_staged_pages()?;
        let (found, size) = self.build_pages()?;
        if found != lost.root {
            self.forget_unsound()?;
            return Ok(Activation::RootMismatch { found });
        }
        self.exchange_state(lost.height, size)?;
        self.damages.clear(StorePart::State);
        Ok(Activation::Activated)
    }

    /// The staged state of `size`, whose pages are built, takes the place of the live one at `height`.
    pub(super) fn exchange_state(&self, height: Height, size: StateSize) -> Result<(), StoreFailure> {
        let _writer = self.lock_writer()?;
        let mut keeper = self.snapshots.lock(&self.db)?;
        let now = self.applied();
        if now != height {
            let what = format!("it is that of block {height}, and the live state is at {now} by now");
            return Err(StoreFailure::RefusedState { path: self.dir.clone(), what });
        }
        let mut change = keeper.plan_replacement(&self.db, self.snapshots.interval(), height, size)?;
        change.rows.push(self.db.switch_row()?);
        // A failure from here on breaks the database, or poisons the writer's lock: whoever writes next reads again what holds.
        self.snapshots.commit(&mut keeper, change, |rows| self.commit_rows(rows.into_iter(), true))?;
        self.reached(Step::Switch)?;
        self.db.switch()?;
        self.publish(View::clone(&self.view()));
        Ok(())
    }

    /// The kept state right above `height`, or the live one.
    pub fn state_above(&self, height: Height) -> Result<StateView, StoreFailure> {
        let (kept, live) = self.all_views()?;
        // Newest first.
        Ok(kept.into_iter().rev().find(|view| view.height() > height).unwrap_or(live))
    }

    /// Records in which the subtree `item` of a snapshot differs from `above`, given its records; without them `None`
    /// where they are needed.
    pub fn state_changes(
        &self,
        above: &StateView,
        item: &StateItem,
        leaves: Option<&StateLeaves>,
    ) -> Result<Option<StateChanges>, StoreFailure> {
        if leaves.is_none() && subtree(above, &item.prefix).map_err(|error| self.unreadable(error))?.0 == item.hash {
            return Ok(Some(StateChanges::new()));
        }
        if leaves.is_none() && item.hash != PLACEHOLDER {
            return Ok(None);
        }
        let records = leaves.map_or(&[][..], |leaves| &leaves.records);
        let mut changes: StateChanges = records.iter().map(|(key, record)| (*key, Some(record.clone()))).collect();
        above.scan(&item.prefix, &mut |key, record| {
            if changes.get(&key).is_some_and(|kept| kept.as_ref() == Some(&record)) {
                changes.remove(&key);
            } else {
                changes.entry(key).or_insert(None);
            }
            ControlFlow::Continue(())
        })?;
        Ok(Some(changes))
    }

    /// Keeps the snapshot `lost` again, below all others, as `changes` to the state above. False where that doesn't give
    /// its root.
    pub fn restore_snapshot(&self, lost: &LostState, changes: StateChanges) -> Result<bool, StoreFailure> {
        let mut keeper = self.lock_state()?;
        let above = self.state_above(lost.height)?;
        let hashes = changes.iter().map(|(key, record)| (*key, record.clone().map(leaf_value))).collect();
        let mut tree = Tree::load(&above).map_err(|error| self.unreadable(error))?;
        if tree.apply(&above, &hashes).map_err(|error| self.unreadable(error))? != lost.root {
            return Ok(false);
        }
        let mut sizes = Vec::with_capacity(changes.len());
        for (key, record) in &changes {
            sizes.push((above.record(key)?.map(|old| old.len()), record.as_ref().map(Bytes::len)));
        }
        let values = changes.into_iter();
        let values = values.map(|(key, record)| (StateSpace::Values, Bytes::copy_from_slice(key.as_bytes()), record));
        let pages = tree.take_pages().into_iter();
        let pages = pages.map(|(key, page)| (StateSpace::Pages, Bytes::from(key.to_bytes()), page.map(Bytes::from)));
        let rows = values.chain(pages).collect();
        let change = keeper.plan_restored(&self.db, lost.height, &sizes, rows)?;
        self.snapshots.commit(&mut keeper, change, |rows| self.commit_rows(rows.into_iter(), true))?;
        Ok(true)
    }

    fn unreadable(&self, error: TreeError<StoreFailure>) -> StoreFailure {
        match error {
            TreeError::Store(failure) => failure,
            other => StoreFailure::damaged(self.db.path(), other.to_string()),
        }
    }
}
