//! Which way is shorter: executing the blocks of the gap, or fetching the state above it. Estimates in integers, from
//! what was measured, and from stated assumptions before anything was.

use core::time::Duration;

/// A switch must promise to halve the time: estimates are rough, and what was begun is worth something.
const HYSTERESIS: u32 = 2;
/// Blocks a second that are assumed of an application before any were executed: more than most do, so that some are
/// executed, and measured, before a state is thought to be shorter.
pub(crate) const ASSUMED_BLOCKS_PER_SECOND: u64 = 20_000;
/// Bytes of a block's payload that are assumed before any were seen.
const ASSUMED_BLOCK_BYTES: u64 = 1_024;
/// Keys a second that are verified, stored and hashed again, assumed before any were: what a disk does in hash order.
const ASSUMED_KEYS_PER_SECOND: u64 = 100_000;

/// Costs that a choice rests on. Zero stands for "not measured".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Costs {
    /// Blocks to the target.
    pub gap: u64,
    /// Blocks above the newest state that is offered; the whole gap where none is.
    pub above_state: u64,
    /// Payload bytes of a block, on average.
    pub block_bytes: u64,
    /// Blocks a second, stored and executed.
    pub blocks_per_second: u64,
    /// Bytes a second that all peers together deliver.
    pub bytes_per_second: u64,
    /// Bytes of the state that is offered, as claimed. Zero where none is.
    pub state_bytes: u64,
    /// Keys of it, as claimed.
    pub state_keys: u64,
    /// Estimated time to the target with blocks alone, in milliseconds.
    pub blocks_ms: u64,
    /// Estimated time to the target with the state first, in milliseconds; zero where no state is offered.
    pub state_ms: u64,
}

fn seconds(amount: u64, per_second: u64) -> Duration {
    let millis = amount.saturating_mul(1_000).checked_div(per_second.max(1)).unwrap_or(u64::MAX);
    Duration::from_millis(millis)
}

fn or(measured: u64, assumed: u64) -> u64 {
    if measured == 0 { assumed } else { measured }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Costs {
    /// Fills in the estimates. `state_left` is the measured time to the end of a state that is being fetched.
    pub(crate) fn estimated(mut self, state_left: Option<Duration>) -> Self {
        let bytes = or(self.block_bytes, ASSUMED_BLOCK_BYTES);
        let rate = or(self.blocks_per_second, ASSUMED_BLOCKS_PER_SECOND);
        let blocks = |count: u64| {
            // A measured rate says what the slower of network and execution gives.
            let fetched = seconds(count.saturating_mul(bytes), self.bytes_per_second);
            let fetched = if self.blocks_per_second == 0 { fetched } else { Duration::ZERO };
            fetched.max(seconds(count, rate))
        };
        self.blocks_ms = millis(blocks(self.gap));
        if self.state_bytes > 0 || state_left.is_some() {
            let fetched = seconds(self.state_bytes, self.bytes_per_second);
            let stored = seconds(self.state_keys, ASSUMED_KEYS_PER_SECOND);
            let state = state_left.unwrap_or(fetched.saturating_add(stored));
            self.state_ms = millis(state.saturating_add(blocks(self.above_state))).max(1);
        }
        self
    }

    /// Whether to fetch a state, where one is being fetched already or not. A gap that blocks cross in `short` is left to
    /// them.
    pub(crate) fn prefers_state(&self, fetching: bool, short: Duration) -> bool {
        if self.state_ms == 0 {
            return false;
        }
        let (blocks, state) = (Duration::from_millis(self.blocks_ms), Duration::from_millis(self.state_ms));
        if fetching {
            // Going on, unless blocks are clearly faster.
            blocks.saturating_mul(HYSTERESIS) >= state
        } else {
            blocks > short && state.saturating_mul(HYSTERESIS) < blocks
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(10);

    fn costs() -> Costs {
        Costs {
            gap: 1_000_000,
            above_state: 5_000,
            block_bytes: 1_000,
            blocks_per_second: 10_000,
            bytes_per_second: 100_000_000,
            state_bytes: 100_000_000,
            state_keys: 1_000_000,
            ..Costs::default()
        }
    }

    #[test]
    fn a_long_gap_over_a_small_state_is_crossed_by_state_and_a_short_one_is_not() {
        let long = costs().estimated(None);
        assert_eq!((long.blocks_ms, long.state_ms), (100_000, 11_500));
        assert!(long.prefers_state(false, SHORT));
        let short = Costs { gap: 50_000, ..costs() }.estimated(None);
        assert!(!short.prefers_state(false, SHORT), "{short:?}");
        let large_state = Costs { state_bytes: 10_000_000_000, state_keys: 100_000_000, ..costs() }.estimated(None);
        assert!(!large_state.prefers_state(false, SHORT), "{large_state:?}");
        assert!(!Costs { state_bytes: 0, state_keys: 0, ..costs() }.estimated(None).prefers_state(false, SHORT));
    }

    #[test]
    fn what_was_begun_is_left_only_for_half_the_time() {
        let near = |left| costs().estimated(Some(Duration::from_secs(left)));
        assert!(near(150).prefers_state(true, SHORT) && !near(150).prefers_state(false, SHORT));
        assert!(!near(250).prefers_state(true, SHORT));
    }

    #[test]
    fn before_anything_is_measured_assumptions_stand_in() {
        let unknown = Costs { gap: 100_000, above_state: 0, bytes_per_second: 1_000_000, ..Costs::default() };
        assert_eq!(unknown.estimated(None).blocks_ms, 102_400);
        assert_eq!(unknown.estimated(None).state_ms, 0);
    }
}
