//! Room on the disk: below the least that is to be free, nothing more is taken in.
//!
//! A disk that is full to the last byte harms more than this store: other programs, and the state's tables, which need room
//! to be tidied up. So blocks, older blocks and states that are fetched are refused in time, as a full disk would refuse
//! them: the same call works as soon as there is room. What is stored already is still executed, and pruned.

use hotstuff2_sync::chain::Chain;

use super::disk::DiskStore;
use super::failure::StoreFailure;

impl<C: Chain> DiskStore<C> {
    /// Bytes of the store's disk that this user may still fill.
    pub fn free_disk(&self) -> Result<u64, StoreFailure> {
        let stat = rustix::fs::statvfs(&self.dir)
            .map_err(|error| StoreFailure::io(&self.dir, "ask how much room is on its disk", error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Fails where less is free than the settings want.
    pub(super) fn require_room(&self) -> Result<(), StoreFailure> {
        let least = self.config().min_free_disk;
        if least == 0 {
            return Ok(());
        }
        let free = self.free_disk()?;
        if free >= least { Ok(()) } else { Err(StoreFailure::LittleRoom { path: self.dir.clone(), free, least }) }
    }
}
