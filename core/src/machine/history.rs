//! History: the blocks below the one whose state was fetched, cell by cell downwards, each proven by the one above it.
//!
//! History never delays the tip: a cell is asked for only while everything proven is applied, one request at a time.
//! It may take what is left of the budget then, the share of the next block too, and gives it back when that comes.

use crate::calls::{HistoryGap, HistoryPiece, HostWork};
use crate::config::SyncHistory;
use crate::machine::event::Event;
use crate::machine::state::Machine;
use crate::requests::Kind;

impl Machine {
    /// A piece of history is stored, and this is missing below it.
    pub(super) fn history_added(&mut self, gap: Option<HistoryGap>) {
        if gap.is_none() {
            self.emit(Event::HistoryComplete);
        }
        self.history_gap = gap;
    }

    /// Does what can be done now about history.
    pub(super) fn backfill(&mut self) {
        let with_bodies = match self.config.history {
            SyncHistory::None => return,
            SyncHistory::Headers => false,
            SyncHistory::Blocks => true,
        };
        let calm = self.goal.reached().is_some() && self.window.is_idle() && self.calls.is_empty();
        let Some(gap) = self.history_gap.as_ref().filter(|_| calm) else { return };
        self.window.open_history(gap);
        if let Some((segment, frames, held)) = self.window.take_history(with_bodies) {
            // The next gap comes with the answer.
            self.history_gap = None;
            self.call(HostWork::AddHistory(HistoryPiece { segment, frames }), held);
            return;
        }
        let bulk = self.requests.any(|purpose| matches!(purpose.kind(), Kind::Segment | Kind::Bodies));
        if !bulk && let Some(want) = self.window.history_want(with_bodies) {
            self.ask_for(&want);
        }
    }

    /// Gives up the piece that is on its way.
    pub(super) fn drop_history(&mut self) {
        let (held, sources) = self.window.clear_history();
        self.budget.release(held);
        self.cancel_sources(sources);
    }
}
