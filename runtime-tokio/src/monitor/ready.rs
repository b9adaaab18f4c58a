//! [`Readiness`]: whether a node is of use to whoever asks, and why not.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Progress, StallReason};
use hotstuff2_sync::time::UnixMillis;

use crate::wall_clock;

/// Readiness of a node, as it was heard last.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Age from which on a tip is too old; zero is none.
    max_tip_age: Duration,
    heard: Heard,
}

#[derive(Debug, Default)]
enum Heard {
    /// Nothing yet.
    #[default]
    Nothing,
    /// A node that only serves, which is ready as soon as it does.
    Serving,
    /// A node that syncs.
    Syncing { height: Height, target: Height, peers: usize, tip_time: Option<UnixMillis>, stall: Option<StallReason> },
}

impl Readiness {
    pub(super) fn set_max_tip_age(&self, age: Duration) {
        self.with(|state| state.max_tip_age = age);
    }

    pub(super) fn serves(&self) {
        self.with(|state| state.heard = Heard::Serving);
    }

    pub(super) fn syncs(&self, progress: &Progress) {
        let heard = Heard::Syncing {
            height: progress.current,
            target: progress.target,
            peers: progress.peers.iter().filter(|peer| peer.connected).count(),
            tip_time: progress.tip_time,
            stall: progress.stall.map(|stall| stall.reason),
        };
        self.with(|state| state.heard = heard);
    }

    /// Nothing where the node serves, or has caught up with a fresh tip and has peers; else the reason.
    pub(super) fn check(&self) -> Result<(), String> {
        self.with(|state| match &state.heard {
            Heard::Nothing => Err("the node has just begun".to_owned()),
            Heard::Serving => Ok(()),
            Heard::Syncing { peers: 0, .. } => Err("no peer is connected".to_owned()),
            Heard::Syncing { stall: Some(reason), .. } => Err(format!("nothing moves: {reason}")),
            Heard::Syncing { target: Height::ZERO, .. } => Err("no block is proven yet".to_owned()),
            Heard::Syncing { height, target, .. } if height < target => Err(format!("at height {height} of {target}")),
            Heard::Syncing { tip_time: Some(time), .. } => match wall_clock().since(*time) {
                age if !state.max_tip_age.is_zero() && age > state.max_tip_age => {
                    Err(format!("the tip is {} s old, more than max_tip_age allows", age.as_secs()))
                }
                _ => Ok(()),
            },
            Heard::Syncing { .. } => Ok(()),
        })
    }

    fn with<T>(&self, then: impl FnOnce(&mut State) -> T) -> T {
        then(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
