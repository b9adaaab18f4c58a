//! [`LightClient`]: its state, how it is made, and the order of its work.

use alloc::collections::VecDeque;
use core::time::Duration;

use bytes::Bytes;

use super::checkpoint::{LightCheckpoint, LightStart};
use super::climb::Climb;
use super::config::LightConfig;
use super::output::{Freshness, LightEvent, LightHalt, LightOutput, LightPosition};
use super::queries::Queries;
use super::requests::{PendingJob, Purpose, Timer};
use super::tips::Tips;
use super::watch::Watch;
use super::witnesses::Confirmations;
use crate::chain::TipFacts;
use crate::chain::native::{AnchorError, check_age_within};
use crate::chain::{ChainProfile, ProfileError};
use crate::config::ConfigError;
use crate::hash::Hash;
use crate::ids::{Height, JobId, PeerId, RequestId};
use crate::peers::{PeerSettings, SyncPeerManager};
use crate::requests::InFlight;
use crate::rng::Rng;
use crate::sorted::Sorted;
use crate::strategy::Epochs;
use crate::time::{Instant, UnixMillis};
use crate::timers::Timers;
use crate::trust::Trust;

/// How often those that deliver least change places with those that stand by.
const ROTATION_INTERVAL: Duration = Duration::from_secs(20);

/// A client that can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewLightError {
    /// A setting is out of range.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The chain states a size that no answer can carry.
    #[error("{0}")]
    Profile(#[from] ProfileError),
    /// The anchor is too old to prove anything from, or the host's clock is behind it.
    #[error("{0}")]
    Anchor(#[from] AnchorError),
}

/// Whether the client works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Stopped,
    Running,
    Halted,
}

/// The block that trust starts from. At and below its height nothing is taken on a certificate's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Anchor {
    pub(super) height: Height,
    pub(super) id: Hash,
}

/// A light client: see the [module](super).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LightClient {
    pub(super) config: LightConfig,
    pub(super) chain_id: Hash,
    pub(super) profile: ChainProfile,
    pub(super) anchor: Anchor,
    pub(super) rng: Rng,
    pub(super) now: Instant,
    pub(super) phase: Phase,
    pub(super) epochs: Epochs,
    trust: Trust,
    pub(super) peers: SyncPeerManager,
    pub(super) climb: Climb,
    pub(super) tips: Tips,
    pub(super) confirmations: Confirmations,
    pub(super) queries: Queries,
    pub(super) watch: Watch,
    pub(super) requests: Sorted<RequestId, InFlight<Purpose>>,
    pub(super) last_request: Option<RequestId>,
    pub(super) jobs: Sorted<JobId, PendingJob>,
    pub(super) next_job: JobId,
    pub(super) timers: Timers<Timer>,
    pub(super) outputs: VecDeque<LightOutput>,
    /// Something came in since the last plan.
    pub(super) unplanned: bool,
}

impl LightClient {
    /// A client that trusts `start`. `seed` feeds its choices, `now` and `wall` are the host's clocks.
    ///
    /// # Errors
    /// Where a setting is out of range, or the anchor is older than the trusting period.
    pub fn new(
        config: LightConfig,
        start: LightStart,
        seed: u64,
        now: Instant,
        wall: UnixMillis,
    ) -> Result<Self, NewLightError> {
        config.validate()?;
        let LightStart { chain_id, profile, anchor, trusting_period, tip } = start;
        profile.check()?;
        let trusting_period_ms = trusting_period.map(|period| u64::try_from(period.as_millis()).unwrap_or(u64::MAX));
        let trust = Trust::new(trusting_period_ms, anchor.timestamp, now, wall)?;
        let peers = SyncPeerManager::new(PeerSettings {
            max_active: config.max_peers,
            rotation_interval: ROTATION_INTERVAL,
            ban_duration: config.ban_duration,
            suspect_self_groups: config.suspect_self_groups,
        });
        Ok(Self {
            watch: Watch::new(now),
            chain_id,
            profile,
            anchor: Anchor { height: anchor.height, id: anchor.id },
            rng: Rng::new(seed),
            now,
            phase: Phase::Stopped,
            epochs: Epochs::starting(anchor.epoch),
            trust,
            peers,
            climb: Climb::default(),
            tips: Tips::new(tip),
            confirmations: Confirmations::default(),
            queries: Queries::default(),
            requests: Sorted::new(),
            last_request: None,
            jobs: Sorted::new(),
            next_job: JobId::FIRST,
            timers: Timers::new(),
            outputs: VecDeque::new(),
            unplanned: false,
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &LightConfig {
        &self.config
    }

    /// The peers, open to be read.
    pub fn peers(&self) -> &SyncPeerManager {
        &self.peers
    }

    /// Where the client stands.
    pub fn position(&self) -> LightPosition {
        let told = self.tips.told();
        LightPosition {
            epoch: self.epochs.newest().clone(),
            tip: told.map(|tip| (tip.facts, tip.proof.clone())),
            witnesses: self.tips.witnesses(),
            freshness: self.freshness(),
            proven: self.tips.best().map(|tip| tip.facts),
        }
    }

    /// The point to start the next visit from; `None` before a tip was told.
    pub fn checkpoint(&self) -> Option<LightCheckpoint> {
        let told = self.tips.told()?;
        let epoch = self.epochs.get(told.facts.epoch)?.clone();
        Some(LightCheckpoint { chain_id: self.chain_id, epoch, tip: told.facts, proof: told.proof.clone() })
    }

    /// The next thing to do. [`LightOutput::Wait`] comes last.
    pub fn poll_output(&mut self) -> LightOutput {
        if core::mem::take(&mut self.unplanned) {
            self.plan();
        }
        self.outputs.pop_front().unwrap_or_else(|| LightOutput::Wait(self.timers.next()))
    }

    /// The host says what time of day it is.
    pub(super) fn handle_wall(&mut self, now: Instant, wall: UnixMillis) {
        self.advance(now);
        self.trust.set_wall(self.now, wall);
        self.unplanned = true;
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.unplanned = true;
    }

    /// Starts, or goes on after a stop.
    pub(super) fn start(&mut self, now: Instant) {
        self.advance(now);
        if self.phase == Phase::Stopped {
            self.phase = Phase::Running;
            self.progressed();
            self.greet_all();
        }
        self.unplanned = true;
    }

    /// Stops: requests and jobs are cancelled, questions of the user are answered with
    /// [`Stopped`](super::LightError::Stopped). What is proven stays.
    pub(super) fn stop(&mut self, now: Instant) {
        self.advance(now);
        if self.phase == Phase::Running {
            self.phase = Phase::Stopped;
            self.cancel_everything();
        }
    }

    /// Takes in the time. One that runs backwards is taken as standing still.
    pub(super) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// The host's time of day, as far as it is known.
    pub(super) fn wall_now(&self) -> UnixMillis {
        self.trust.wall(self.now)
    }

    pub(super) fn emit(&mut self, event: LightEvent) {
        self.outputs.push_back(LightOutput::Event(event));
    }

    /// The newest epoch's trust rests on a block of this time.
    pub(super) fn trust_from(&mut self, time: UnixMillis) {
        self.trust.rests_on(self.now, time);
    }

    /// Whether what is trusted is young enough to prove anything from; where it is too old, the client halts. A clock that
    /// is behind proves nothing either, and can be set.
    pub(super) fn trust_holds(&mut self) -> bool {
        match self.trust.check(self.now) {
            Ok(()) => true,
            Err(error @ AnchorError::TooOld { .. }) => {
                self.halt(LightHalt::TrustExpired(error));
                false
            }
            Err(_) => false,
        }
    }

    /// By how much the clock is behind a trusted block, where that is more than clocks differ.
    pub(super) fn clock_behind(&self) -> Option<Duration> {
        match self.trust.check(self.now) {
            Err(AnchorError::ClockBehind { ahead_ms }) => Some(Duration::from_millis(ahead_ms)),
            _ => None,
        }
    }

    /// Stops for good.
    pub(super) fn halt(&mut self, reason: LightHalt) {
        if self.phase == Phase::Halted {
            return;
        }
        self.phase = Phase::Halted;
        self.cancel_everything();
        self.emit(LightEvent::Halted(reason));
    }

    /// Does everything that can be done now. Nothing is remembered between inputs but state: a request that failed is
    /// simply wanted again.
    fn plan(&mut self) {
        self.run_timers();
        for (peer, rested) in self.peers.recall(self.now) {
            self.timers.set(Timer::Peer(peer), rested);
        }
        self.welcome();
        if self.phase != Phase::Running {
            return;
        }
        if self.trust_holds() {
            if let Some(ends) = self.trust.ends(self.now) {
                self.timers.set(Timer::Trust, ends);
            }
            self.ask_for_epochs();
            self.ask_for_tips();
            self.ask_for_answers();
            self.confirm();
            self.tell();
        }
        self.keep_watch();
    }

    /// A told tip's facts with its proof.
    pub(super) fn told(&self) -> Option<TipFacts> {
        self.tips.told().map(|tip| tip.facts)
    }

    /// Age of the told tip by the host's clock.
    fn freshness(&self) -> Freshness {
        let Some(facts) = self.told() else { return Freshness::Unknown };
        let wall = self.wall_now();
        // The bound is the same whether or not the chain has a trusting period.
        if check_age_within(Some(u64::MAX), facts.timestamp, wall).is_err() {
            return Freshness::Unknown;
        }
        let age = wall.since(facts.timestamp);
        if age > self.config.freshness { Freshness::Old { age } } else { Freshness::Fresh }
    }

    /// The group of a peer that is known.
    pub(super) fn group_of(&self, peer: PeerId) -> Option<u64> {
        self.peers.get(peer).map(|peer| peer.group)
    }

    /// The point to keep is a newer one.
    pub(super) fn keep(&mut self) {
        if let Some(checkpoint) = self.checkpoint() {
            self.outputs.push_back(LightOutput::Keep(checkpoint));
        }
    }
}

/// A proven tip: its facts and the bytes that prove it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ProvenTip {
    pub(super) facts: TipFacts,
    pub(super) proof: Bytes,
}
