//! History: the blocks below the one whose state was fetched, cell by cell downwards, each proven by the one above it.
//!
//! It never delays the tip: a cell is asked for only while everything proven is applied, one request at a time. It may
//! take what is left of the budget then, the share of the next block too, and gives it back when that comes.

use crate::calls::{HistoryCall, HistoryDone, HistoryGap};
use crate::config::SyncHistory;
use crate::machine::output::Event;
use crate::machine::state::{Call, Machine};
use crate::requests::Kind;
use crate::time::Instant;

impl Machine {
    /// The host says what is missing right below its stored blocks; `None` where nothing is. To be said once before
    /// [`start`](Self::start) and again after [`Event::StateActive`], if history is wanted at all.
    pub fn handle_history_gap(&mut self, now: Instant, gap: Option<HistoryGap>) {
        self.advance(now);
        self.drop_history();
        self.history_gap = gap;
        self.unplanned = true;
    }

    /// The host stored a piece of history, or could not.
    pub fn handle_history(&mut self, now: Instant, answer: HistoryDone) {
        self.advance(now);
        self.unplanned = true;
        let known = self.calls.get(&answer.id).is_some_and(|pending| matches!(pending.call, Call::History(_)));
        if !known {
            self.counters.strays = self.counters.strays.saturating_add(1);
            return;
        }
        match answer.result {
            Err(error) => self.call_failed(answer.id, error),
            Ok(gap) => {
                self.end_call(answer.id);
                if gap.is_none() {
                    self.emit(Event::HistoryComplete);
                }
                self.history_gap = gap;
            }
        }
    }

    /// Does what can be done now about history.
    pub(super) fn backfill(&mut self) {
        let with_bodies = match self.config.history {
            SyncHistory::None => return,
            SyncHistory::Headers => false,
            SyncHistory::Blocks => true,
        };
        let calm = self.reached.is_some() && self.blocks.is_idle() && self.calls.is_empty();
        let Some(gap) = self.history_gap.as_ref().filter(|_| calm) else { return };
        self.blocks.open_history(gap);
        if let Some((segment, frames, held)) = self.blocks.take_history(with_bodies) {
            // The next gap comes with the answer.
            self.history_gap = None;
            let id = self.next_call();
            self.send_call(id, Call::History(HistoryCall { id, segment, frames }), held);
            return;
        }
        let bulk = self.requests.any(|purpose| matches!(purpose.kind(), Kind::Segment | Kind::Bodies));
        if !bulk && let Some(want) = self.blocks.history_want(with_bodies) {
            self.ask_for(&want);
        }
    }

    /// Gives up the piece that is on its way.
    pub(super) fn drop_history(&mut self) {
        let (held, sources) = self.blocks.clear_history();
        self.budget.release(held);
        self.cancel_sources(sources);
    }
}
