//! [`import`]: a snapshot file into a store that is new or behind, through the same staging area that a state from the
//! network goes through. Killed at any moment, it can be run again: what is staged is not live, and is replaced.

use std::path::Path;

use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::verify::HandoverLink;

use super::error::ImportError;
use super::places::Places;
use super::reader::{SnapshotReader, SnapshotSummary};
use crate::store::{Activation, BlockStore as _, DiskStore, StateStaging as _, StoreAnchor};

/// Handovers that are stored at once: each store waits for the disk.
const HANDOVERS_AT_ONCE: usize = 64;

/// Result of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The proven summary of the file.
    pub summary: SnapshotSummary,
    /// False where the store had this very state already.
    pub activated: bool,
}

/// Takes the snapshot in the file at `path` into `store`, which then stands at its block. The file is checked as by
/// [`verify`](super::verify), and nothing of its state is live before all of it is proven. `progress` is told the bytes
/// that were read and the bytes that there are.
pub fn import<C: Chain>(
    store: &DiskStore<C>,
    chain: &C,
    anchor: &StoreAnchor,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Imported, ImportError> {
    let mut links: Vec<HandoverLink> = Vec::new();
    let mut take = |link| {
        links.push(link);
        if links.len() >= HANDOVERS_AT_ONCE {
            store.put_handovers(&links)?;
            links.clear();
        }
        Ok::<_, ImportError>(())
    };
    let mut reader = SnapshotReader::open_with(chain, anchor, path, &mut take)?;
    store.put_handovers(&links)?;
    drop(links);

    let (stored, point) = (store.stored(), reader.base().point);
    if stored.height > point.height {
        return Err(ImportError::Ahead { stored: stored.height, height: point.height });
    }
    let done = store.base()?.is_some_and(|base| base.height == point.height && base.id == point.id);
    let (mut places, mut subtrees) = (Places::new(), Vec::new());
    while let Some(records) = reader.next_records()? {
        if !done {
            records.into_iter().for_each(|(key_hash, record)| places.push(key_hash, record, &mut subtrees));
            store.stage(&subtrees)?;
            subtrees.clear();
        }
        let (read, all) = reader.position();
        progress(read, all);
    }
    let (summary, base) = reader.finish()?;
    if done {
        return Ok(Imported { summary, activated: false });
    }
    places.finish(&mut subtrees);
    store.stage(&subtrees)?;
    match store.activate(&base)? {
        Activation::Activated => Ok(Imported { summary, activated: true }),
        Activation::RootMismatch { found } => Err(ImportError::Disk { found }),
    }
}
