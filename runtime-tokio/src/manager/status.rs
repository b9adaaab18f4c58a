//! [`SyncStatus`]: what a sync is doing, as its events say it.

use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Event, HaltReason, StallReason};

use crate::driver::SyncEvent;

/// Status of a sync: what it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncStatus {
    /// Nothing: it was not started yet, or was stopped. Blocks that were handed on before are still stored and executed.
    Stopped,
    /// The sync catches up.
    Syncing,
    /// The sync catches up, and nothing has moved for a while; or it had caught up, and nobody is there whom it could
    /// follow.
    Stalled {
        /// Why. The reason says the next step too.
        reason: StallReason,
    },
    /// The sync has caught up, and follows the network.
    Following {
        /// The block that was the tip then.
        at: BlockPoint,
    },
    /// The sync has reached the height where it was to end, and stands still.
    Done {
        /// The last block: the asked height or one above it, since a proof covers whole segments.
        at: BlockPoint,
    },
    /// The sync has stopped for good.
    Halted(HaltReason),
    /// The sync was shut down, and everything is durable.
    ShutDown,
}

impl SyncStatus {
    /// Whether it catches up.
    pub fn is_syncing(&self) -> bool {
        matches!(self, Self::Syncing | Self::Stalled { .. })
    }
}

/// The status with what it takes to go on to the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The last call that was carried out.
    pub(super) call: u64,
    /// Height at which downloads end.
    pub(super) until: Option<Height>,
    /// Block at which it has caught up, since it was last started.
    follows: Option<BlockPoint>,
    pub(super) status: SyncStatus,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { call: 0, until: None, follows: None, status: SyncStatus::Stopped }
    }

    fn follows(&self) -> bool {
        matches!(self.status, SyncStatus::Following { .. })
    }

    /// Takes in an event. Events come in the order in which things happened.
    pub(super) fn take(&mut self, event: &SyncEvent) {
        let over = matches!(self.status, SyncStatus::Halted(_) | SyncStatus::ShutDown);
        match event {
            SyncEvent::Started { call, until } => {
                self.call = self.call.max(*call);
                if !over {
                    self.until = *until;
                    self.follows = None;
                    self.status = SyncStatus::Syncing;
                }
            }
            SyncEvent::Stopped { call } => {
                self.call = self.call.max(*call);
                if !over {
                    self.status = SyncStatus::Stopped;
                }
            }
            SyncEvent::Machine(Event::Halted(reason)) => self.status = SyncStatus::Halted(reason.clone()),
            SyncEvent::Machine(Event::Reached(at)) if !over => {
                let ends = self.until.is_some_and(|until| at.height >= until);
                self.follows = (!ends).then_some(*at);
                self.status = if ends { SyncStatus::Done { at: *at } } else { SyncStatus::Following { at: *at } };
            }
            SyncEvent::Machine(Event::Stalled { reason, .. }) if self.status.is_syncing() || self.follows() => {
                self.status = SyncStatus::Stalled { reason: *reason };
            }
            SyncEvent::Machine(Event::Resumed) if self.status.is_syncing() => {
                self.status = self.follows.map_or(SyncStatus::Syncing, |at| SyncStatus::Following { at });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use hotstuff2_sync::hash::Hash;
    use hotstuff2_sync::machine::StallStep;
    use hotstuff2_sync::time::Instant;

    use super::*;

    #[test]
    fn whoever_was_stalled_goes_on_with_what_it_did() {
        let at = BlockPoint { height: Height::new(7), id: Hash::ZERO };
        let (started, reached) = (SyncEvent::Started { until: None, call: 0 }, SyncEvent::Machine(Event::Reached(at)));
        let (reason, since) = (StallReason::NoPeers, Instant::ZERO);
        let stalled = SyncEvent::Machine(Event::Stalled { reason, since, step: StallStep::AwaitPeer, next: since });
        let resumed = SyncEvent::Machine(Event::Resumed);
        let mut seen = Seen::new();
        for (event, status) in [
            (&started, SyncStatus::Syncing),
            (&stalled, SyncStatus::Stalled { reason }),
            (&resumed, SyncStatus::Syncing),
            (&reached, SyncStatus::Following { at }),
            (&resumed, SyncStatus::Following { at }),
            (&stalled, SyncStatus::Stalled { reason }),
            (&resumed, SyncStatus::Following { at }),
            (&started, SyncStatus::Syncing),
            (&stalled, SyncStatus::Stalled { reason }),
            (&resumed, SyncStatus::Syncing),
        ] {
            seen.take(event);
            assert_eq!(seen.status, status, "after {event:?}");
        }
    }
}
