//! [`DiskStore::check_states`]: hashes the states that are kept, value by value, in memory that doesn't grow with them.

use std::ops::ControlFlow;

use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{PageBuilder, PageKey, Prefix, StateReader as _};

use super::damage::StorePart;
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::live::leaf_value;
use super::state_view::StateView;

/// Pages that are compared at once, about 1 KiB each.
const PAGES_AT_ONCE: usize = 1024;

/// A state as its values and pages say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedState {
    /// The block after which it is.
    pub height: Height,
    /// The root that its values hash to.
    pub root: Hash,
    /// The root in that block's header; `None` for the anchor, whose header is not stored.
    pub in_header: Option<Hash>,
    /// How many keys it has.
    pub keys: u64,
}

/// A state that was looked for and can't be read, or is not what it must be.
#[derive(Debug)]
pub struct DamagedState {
    /// The block after which it is.
    pub height: Height,
    /// The fault.
    pub failure: StoreFailure,
}

impl<C: Chain> DiskStore<C> {
    /// Hashes the live state, and the kept snapshots: each state's own values, which must have the root in the header of
    /// its block, and the pages that the tree is read by. States are told from each other by height; none is there where
    /// no application keeps one.
    pub fn check_states(&self) -> Result<Vec<Result<CheckedState, DamagedState>>, StoreFailure> {
        let (mut views, live) = self.all_views()?;
        let expected = live.height() > self.anchor().height || self.snapshots.keys() > 0;
        let kept = views.iter().any(|view| view.height() == live.height());
        if expected && !kept {
            views.push(live);
        }
        views.sort_by_key(StateView::height);
        Ok(views.iter().map(|view| self.check_state(view)).collect())
    }

    fn check_state(&self, view: &StateView) -> Result<CheckedState, DamagedState> {
        let height = view.height();
        let checked = self.hash_state(view).and_then(|(root, keys)| {
            let in_header = self.header_at(height)?.map(|header| header.state_root);
            match in_header.filter(|in_header| *in_header != root) {
                None => Ok(CheckedState { height, root, in_header, keys }),
                Some(in_header) => {
                    let what = format!(
                        "the state after block {height} has {keys} keys and the root {root}, the block's header says {in_header}"
                    );
                    Err(StoreFailure::damaged(self.db.path(), what))
                }
            }
        });
        checked.map_err(|failure| {
            if !failure.is_transient() {
                self.damages.note(StorePart::State, &failure);
            }
            DamagedState { height, failure }
        })
    }

    fn hash_state(&self, view: &StateView) -> Result<(Hash, u64), StoreFailure> {
        let mut builder = PageBuilder::new();
        let mut fault = None;
        view.scan(&Prefix::ROOT, &mut |key_hash, record| {
            let pushed = builder.push(key_hash, leaf_value(record));
            let pushed = pushed.map_err(|error| StoreFailure::damaged(self.db.path(), error.to_string()));
            let compared = pushed.and_then(|()| {
                if builder.pages() < PAGES_AT_ONCE { Ok(()) } else { self.compare_pages(view, builder.take_pages()) }
            });
            match compared {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    fault = Some(failure);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let (root, keys, pages) = builder.finish();
        // A store that never had a value has no page either.
        if keys > 0 {
            self.compare_pages(view, pages)?;
        }
        Ok((root, keys))
    }

    fn compare_pages(&self, view: &StateView, pages: Vec<(PageKey, Vec<u8>)>) -> Result<(), StoreFailure> {
        for (key, page) in pages {
            if view.page(&key)?.as_deref() != Some(&page[..]) {
                let what =
                    format!("the page {key} of the state after block {} isn't that of its values", view.height());
                return Err(StoreFailure::damaged(self.db.path(), what));
            }
        }
        Ok(())
    }
}
