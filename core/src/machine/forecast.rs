//! Forecast of the time that the sync may still take: a state that is fetched, then the blocks to where the network
//! will be by then.

use alloc::vec::Vec;
use core::time::Duration;

use crate::chain::{Finalized, TipFacts};
use crate::ids::Height;
use crate::machine::state::Machine;
use crate::progress::{Eta, GoalPace, RateWindow, Rates};
use crate::strategy::{ASSUMED_BLOCKS_PER_SECOND, Walk};

/// All of a state, in millionths.
const WHOLE_PPM: u64 = 1_000_000;

/// Measurements that an estimate rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Forecast {
    /// The applied height, in [`Machine::working_time`]: a night at the tip says nothing of how fast blocks are applied.
    blocks: RateWindow,
    /// Staged part of a state, in millionths, in the same time.
    state: RateWindow,
    /// The proven target.
    goal: GoalPace,
}

impl Forecast {
    /// Blocks go on from elsewhere.
    pub(super) fn restart(&mut self) {
        self.blocks = RateWindow::new();
        self.state = RateWindow::new();
    }
}

impl Machine {
    /// Notes how far it is now.
    pub(super) fn note_pace(&mut self) {
        let now = self.working_time();
        self.forecast.blocks.note(now, self.standing.applied.get());
        if let Some(walk) = &self.state_sync.walk {
            self.forecast.state.note(now, walk.done_ppm());
        }
    }

    /// Notes that the target was raised. That a handover proves the end of an epoch says nothing of how fast the chain
    /// grows: it may have ended long ago.
    pub(super) fn note_target(&mut self, facts: &TipFacts, proof: &Finalized) {
        if !matches!(proof, Finalized::Handover(_)) {
            self.forecast.goal.note(self.now, facts.height, facts.timestamp);
        }
    }

    /// Height at which the network seems to be: the proven target, or what half of the peers claim who have not
    /// failed to prove it. Claims decide nothing; but while epochs are missing nobody can prove a tip, and an
    /// estimate to the last epoch that is known would lie.
    fn destination(&self) -> Height {
        let mut claims: Vec<Height> = self
            .peers
            .active()
            .filter(|(_, peer)| peer.may_prove())
            .filter_map(|(_, peer)| peer.status.map(|status| status.tip))
            .collect();
        claims.sort_unstable();
        let lower_half = claims.len().saturating_sub(1) / 2;
        let claimed = claims.get(lower_half).copied().unwrap_or(self.standing.applied);
        self.target().unwrap_or(self.standing.applied).max(claimed).max(self.standing.applied)
    }

    /// Time that is left. `None` while the host refuses a call, and while a complete state is hashed: nobody says how far
    /// that is.
    pub(super) fn eta(&self) -> Option<Eta> {
        let is_complete = self.state_sync.walk.as_ref().is_some_and(Walk::is_complete);
        if is_complete || self.is_refused() {
            return None;
        }
        let now = self.working_time();
        let destination = self.goal.until().map_or(self.destination(), |until| until.max(self.standing.applied));
        let growth = if self.goal.until().is_some() { 0 } else { self.forecast.goal.growth(self.now) };
        let Some(walk) = &self.state_sync.walk else {
            let left = destination.above(self.standing.applied);
            return match self.forecast.blocks.rates(now, self.standing.applied.get()) {
                Some(rates) => rates.eta(left, growth),
                None => (left == 0).then_some(Eta::DONE),
            };
        };
        let done = walk.done_ppm();
        let state = self.forecast.state.rates(now, done)?.eta(WHOLE_PPM.saturating_sub(done), 0)?;
        // Blocks are not executed yet, or not since long: at the rate that was measured before, or is assumed.
        let rate = match self.state_sync.block_rate() {
            0 => ASSUMED_BLOCKS_PER_SECOND,
            rate => rate,
        };
        let mean = rate.saturating_mul(WHOLE_PPM);
        let rates = Rates { slow: mean / 2, mean, fast: mean.saturating_mul(2) };
        let meanwhile = grown(growth, state.likely);
        let above = destination.above(walk.base().point.height).saturating_add(meanwhile);
        Some(state.then(rates.eta(above, growth)?))
    }
}

/// By how much something grows at `rate` millionths a second.
fn grown(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate).saturating_mul(time.as_millis()) / 1_000_000_000).unwrap_or(u64::MAX)
}
