//! The state that a chain begins with, put into a new store: in batches of bounded size, however large it is, and live all
//! at once.

use bytes::Bytes;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::state::{PageKey, Prefix, Record, key_hash};

use super::db::Space;
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::staging::{Activation, Batch};
use super::state::StateStore as _;

impl<C: Chain> DiskStore<C> {
    /// Whether there is a live state, be it an empty one: put in as the first, made by an application, or fetched.
    pub fn has_state(&self) -> Result<bool, StoreFailure> {
        self.db.contains(Space::Pages, &PageKey::ROOT.to_bytes())
    }

    /// Makes `records`, in any order and each key once, the live state at the height that the store begins at, if their root
    /// is `root`. A store without a live state is one in which this was not done, or not finished: then it is done again.
    ///
    /// # Errors
    /// Refused where there is a live state already, or blocks were executed.
    pub fn put_first_state(
        &self,
        root: Hash,
        records: &mut dyn Iterator<Item = Record>,
    ) -> Result<Activation, StoreFailure> {
        let _staging = self.lock_staging()?;
        let (applied, begin) = (self.applied(), self.view().anchor.height);
        if applied != begin || self.has_state()? {
            let what = format!("there is one at height {applied}, and the first one is at {begin} where nothing is");
            return Err(StoreFailure::RefusedState { path: self.dir.clone(), what });
        }
        // An earlier attempt may have ended half-way.
        self.clear_staging()?;
        let mut batch = Batch::new(self);
        for record in records {
            let key = Bytes::copy_from_slice(key_hash(record.key()).as_bytes());
            batch.put(Space::StagedValues, key, Some(record.as_bytes().clone()))?;
        }
        batch.commit()?;
        self.db.clear_staged_pages()?;
        let (found, size) = self.build_pages()?;
        if found != root {
            self.clear_staging()?;
            return Ok(Activation::RootMismatch { found });
        }
        self.exchange_state(begin, size)?;
        Ok(Activation::Activated)
    }

    fn clear_staging(&self) -> Result<(), StoreFailure> {
        let mut batch = Batch::new(self);
        batch.clear(&Prefix::ROOT, |_| false)?;
        batch.commit()
    }
}
