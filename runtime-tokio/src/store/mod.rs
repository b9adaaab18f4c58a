//! The durable store: verified blocks, handovers, the newest proof of finality, and application state.
//!
//! [`BlockStore`] and [`StateStore`] are what a node may bring of its own; [`conformance`] says whether a store of its own
//! does what a sync needs of it. [`DiskStore`] is both: a sealed file for
//! each cell of the segment grid, written once and served byte for byte, and an embedded database for the index, the
//! open tail and the state.
//!
//! # A state that is fetched
//! [`StateStaging`] puts a state together beside the live one. When it is complete it takes the live one's place, and the
//! stored blocks begin above its block from then on; [`HistoryStore`] adds the older ones below, and [`PruningStore`] takes
//! the oldest away.
//!
//! # What it trusts
//! What it is given was verified. What it reads from disk it checks against checksums before anyone sees it; a
//! difference is an error that names the file, never a panic. All calls block: they belong on threads of their own.
//!
//! # After a crash
//! `append` returns when its blocks survive a power failure. The stored head never leads what the files hold, the
//! application's height never leads the stored head, and nothing that was acknowledged has to be fetched again.

mod activate;
mod backup;
mod base_proof;
mod cache;
mod check;
mod config;
pub mod conformance;
mod create;
mod damage;
mod db;
mod db_files;
mod disk;
mod draft;
mod failure;
mod first_state;
mod heal;
mod history;
mod live;
mod load;
mod marks;
mod pin;
mod prune;
mod reader;
mod records;
mod room;
mod seal;
mod seen;
mod segment_file;
mod snapshots;
mod staging;
mod state;
mod state_check;
mod state_heal;
mod state_view;
mod steps;
mod stored;
mod view;
mod writer;

#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::sync::atomic::Ordering;

use hotstuff2_sync::calls::{Apply, ApplyPart, BlockPoint};
use hotstuff2_sync::chain::{Chain, EpochRef, Finalized};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::ChainReader;
use hotstuff2_sync::state::StateReader;
use hotstuff2_sync::verify::HandoverLink;
use tokio::sync::watch;

pub use activate::SnapshotBlock;
pub use backup::{Backup, restore_backup};
pub use base_proof::BlockProof;
pub use check::CheckReport;
pub use config::StoreConfig;
pub use damage::{Damage, StorePart};
pub use disk::{DiskStore, StoreAnchor, StoreFound, read_genesis};
pub use failure::{DatabaseError, OpenError, StoreFailure};
pub use heal::{Frames, LostSegment};
pub use history::HistoryStore;
pub use prune::{Pruned, PruningStore};
pub use snapshots::{Snapshot, SnapshotRetention};
pub use staging::{Activation, StateStaging};
pub use state::{StateSpace, StateStore, StateWrite, state_rows};
pub use state_check::{CheckedState, DamagedState};
pub use state_heal::{LostState, LostStates, StateChanges};
pub use state_view::{LiveState, StateView};

/// A view of the state at one height, to serve from, whichever store it is in.
pub type BoxedState = Box<dyn StateReader<Error = StoreFailure> + Send>;

/// Durable storage of verified blocks, and of what proves them to others. All calls may wait for the disk.
pub trait BlockStore: ChainReader<Error = StoreFailure, State = BoxedState> + Send + Sync + 'static {
    /// The chain: the hash of its genesis document.
    fn chain_id(&self) -> Hash;

    /// The highest block that is stored durably: the anchor in a new store, or the block whose state was fetched.
    fn stored(&self) -> BlockPoint;

    /// Proof that [`Self::stored`] is final, where it is at hand and needed: evidence, should the network contradict it.
    fn stored_proof(&self) -> Result<Option<Finalized>, StoreFailure>;

    /// The trusted epoch that [`Self::stored`] belongs to, and the stored handovers from its end on.
    fn epochs(&self) -> Result<(EpochRef, Vec<HandoverLink>), StoreFailure>;

    /// The trusted epoch that `height` belongs to: of those whose handovers are stored, or the first. `None` where it isn't
    /// among them.
    fn epoch_of(&self, height: Height) -> Result<Option<EpochRef>, StoreFailure>;

    /// Stores blocks that continue the stored ones, durably on return. Blocks that are stored already are skipped, so a
    /// call may be made again when its answer was lost. After a failure nothing of it counts, and the same call may be
    /// made again if the failure is transient.
    ///
    /// The newest proof of finality becomes `apply.tip`, or where that is `None` the end of the last certified segment
    /// that these blocks complete.
    fn append(&self, apply: &Apply) -> Result<(), StoreFailure>;

    /// Stores handovers, durably on return. Known ones are skipped.
    fn put_handovers(&self, links: &[HandoverLink]) -> Result<(), StoreFailure>;

    /// Stored blocks from the first height of `range` on, for a local replay: those of one segment, up to `max_bytes`
    /// of payload, but at least one. `None` where the first isn't stored.
    fn read(&self, range: HeightRange, max_bytes: u64) -> Result<Option<ApplyPart>, StoreFailure>;

    /// Blocks from one snapshot height to the next: those are its multiples, the same for all nodes of the chain.
    fn snapshot_interval(&self) -> NonZeroU64;

    /// Rises with every change of what is served: blocks, handovers, proofs, snapshots. An answer made after it was read
    /// is not older than it.
    fn version(&self) -> u64;

    /// The height of the newest served proof of finality, as it moves.
    fn subscribe(&self) -> watch::Receiver<Height>;
}

impl<C: Chain> BlockStore for DiskStore<C> {
    fn chain_id(&self) -> Hash {
        Self::chain_id(self)
    }

    fn stored(&self) -> BlockPoint {
        self.view().head
    }

    fn stored_proof(&self) -> Result<Option<Finalized>, StoreFailure> {
        self.on_view(|view| self.proof_of_head(view))
    }

    fn epochs(&self) -> Result<(EpochRef, Vec<HandoverLink>), StoreFailure> {
        self.trusted_epochs()
    }

    fn epoch_of(&self, height: Height) -> Result<Option<EpochRef>, StoreFailure> {
        self.view().epoch_of(height).map(|(epoch, _)| self.epoch_ref(epoch)).transpose()
    }

    fn append(&self, apply: &Apply) -> Result<(), StoreFailure> {
        // The blocks are executed after this, and snapshots are taken of the state then.
        self.snapshots.note_target(apply.target);
        self.require_room()?;
        self.write_blocks(apply)
    }

    fn put_handovers(&self, links: &[HandoverLink]) -> Result<(), StoreFailure> {
        self.write_handovers(links)
    }

    fn read(&self, range: HeightRange, max_bytes: u64) -> Result<Option<ApplyPart>, StoreFailure> {
        self.on_view(|view| self.read_part(view, range, max_bytes))
    }

    fn snapshot_interval(&self) -> NonZeroU64 {
        self.snapshots.interval()
    }

    fn version(&self) -> u64 {
        // All of them only rise.
        let version = self.version.load(Ordering::Acquire).saturating_add(self.snapshots.version());
        version.saturating_add(self.damages.version())
    }

    fn subscribe(&self) -> watch::Receiver<Height> {
        self.tip.subscribe()
    }
}
