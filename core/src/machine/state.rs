//! The machine's state, its making and its getters.

use alloc::collections::VecDeque;

use crate::bandwidth::BandwidthAllocator;
use crate::budget::Budget;
use crate::calls::{HistoryGap, Start, TrustingPeriod};
use crate::chain::native::AnchorError;
use crate::chain::{Audits, ChainProfile, Finalized, ProfileError, TipFacts};
use crate::config::{ConfigError, SyncConfig, SyncHistory, SyncStrategyType};
use crate::downloads::DownloadCoordinator;
use crate::hash::Hash;
use crate::ids::{CallId, Height, JobId, PeerId, RequestId};
use crate::limits::MAX_AUDIT_BYTES;
use crate::machine::conflict::Conflicts;
use crate::machine::forecast::Forecast;
use crate::machine::goal::Goal;
use crate::machine::host_calls::HostCalls;
use crate::machine::jobs::Jobs;
use crate::machine::output::{Output, PeerReport, Position, Progress, StateProgress};
use crate::machine::stall::Watch;
use crate::machine::standing::Standing;
use crate::machine::state_sync::StateSync;
use crate::machine::status::Claims;
use crate::machine::submissions::Submissions;
use crate::peers::{PeerInfo, PeerSettings, SyncPeerManager};
use crate::rng::Rng;
use crate::strategy::{DownloadWindow, Epochs, header_memory};
use crate::time::{Instant, UnixMillis};
use crate::timers::Timers;
use crate::trust::Trust;

/// Share of the memory budget that is kept for the head of line: one eighth holds several of the largest requests. Never
/// less than a cell's headers with the largest payload, or that block could not be asked for again while later ones fill the
/// budget.
const HEAD_SHARE_OF_BUDGET: u64 = 8;

/// Peers that [`Progress`] lists: it is made often, and must not grow with the number of connections.
const MAX_REPORTED: usize = 128;

/// Purpose of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    Request(RequestId),
    Job(JobId),
    Call(CallId),
    /// This small question may be late.
    Late(RequestId),
    /// Somebody else than who is followed is asked for its status.
    Look,
    /// Ask this peer for its status.
    Status(PeerId),
    /// A rest of this peer is over.
    Peer(PeerId),
    /// The head of line may be late.
    Hedge,
    /// The limit on bandwidth lets something through again.
    Tokens,
    /// Peers change places.
    Rotate,
    /// There may be an offer of a state.
    StateSync,
    /// The trusting period is over.
    Trust,
    /// There may be no progress.
    Stall,
    /// More of those who came and stand by may be asked for their claims.
    Unasked,
    /// No block came from this node's own engine for a while.
    Decides,
}

/// Whether the machine works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Stopped,
    Running,
    Halted,
}

/// The highest proven block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) facts: TipFacts,
    pub(super) proof: Finalized,
}

/// Counters for [`Progress`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Counters {
    pub(super) payload_bytes: u64,
    pub(super) useful_bytes: u64,
    pub(super) duplicate_bytes: u64,
    /// Bytes that a second peer was asked for: as many at most came twice for that.
    pub(super) hedged_bytes: u64,
    pub(super) strays: u64,
    pub(super) quorum_checks: u64,
}

/// The synchronization state machine. See the [module](crate::machine) for its contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    pub(super) config: SyncConfig,
    pub(super) chain_id: Hash,
    pub(super) profile: ChainProfile,
    pub(super) rng: Rng,
    pub(super) now: Instant,
    pub(super) phase: Phase,
    pub(super) standing: Standing,
    pub(super) trust: Trust,
    pub(super) target: Option<Target>,
    pub(super) strategy: SyncStrategyType,
    /// The strategy that was told of last.
    pub(super) announced: Option<SyncStrategyType>,
    pub(super) peers: SyncPeerManager,
    pub(super) requests: DownloadCoordinator,
    pub(super) bandwidth: BandwidthAllocator,
    pub(super) epochs: Epochs,
    pub(super) window: DownloadWindow,
    pub(super) state_sync: StateSync,
    /// Gap below the stored blocks, unless the host is filling it.
    pub(super) history_gap: Option<HistoryGap>,
    pub(super) budget: Budget,
    pub(super) timers: Timers<Timer>,
    pub(super) jobs: Jobs,
    pub(super) calls: HostCalls,
    /// Blocks of this node's own engine.
    pub(super) submissions: Submissions,
    pub(super) outputs: VecDeque<Output>,
    /// Something came in since the last plan.
    pub(super) unplanned: bool,
    pub(super) claims: Claims,
    pub(super) conflicts: Conflicts,
    pub(super) goal: Goal,
    pub(super) watch: Watch,
    pub(super) forecast: Forecast,
    pub(super) counters: Counters,
}

/// Why a machine can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NewMachineError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The stored handovers don't continue the trusted epoch, or that one holds neither the stored block nor the one above.
    #[error(
        "the trusted epochs don't follow each other from the epoch of the stored block, or of the one above it, on; open the store again, or make it from an anchor whose epoch has that block"
    )]
    Epochs,
    /// The strategy is to fetch a state, and the host can't stage one.
    #[error("the strategy fast needs a place to stage a state; give the sync one, or choose the strategy parallel")]
    NoStaging,
    /// The chain states a size that no answer can carry.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A full audit is set, and the chain has no certificates of single blocks.
    #[error("not every block of this chain has a certificate, so there is nothing to audit; set full_audit to false")]
    NoAudits,
    /// A state, or headers without their payloads, would be taken from a chain whose ids don't cover payload lengths.
    #[error(
        "this chain's ids don't cover payload lengths, so headers prove them only together with all payloads; set history to none or blocks, and fetch no state"
    )]
    UnprovenLengths,
    /// The block that is trusted is older than the chain's trusting period, or the host's clock is wrong.
    #[error(transparent)]
    Trust(#[from] AnchorError),
    /// The application has executed blocks that the store doesn't hold.
    #[error(
        "the application stands at {applied}, above the stored block {stored}; restore the store that belongs to it"
    )]
    ApplicationAhead {
        /// The application's height.
        applied: Height,
        /// The store's height.
        stored: Height,
    },
}

impl Machine {
    /// A machine for a node that stands at `start`. `seed` feeds all of its choices. It does nothing before
    /// [`Input::Start`](super::Input::Start).
    pub fn new(config: SyncConfig, start: Start, seed: u64, now: Instant) -> Result<Self, NewMachineError> {
        config.validate()?;
        let Start { chain_id, profile, stored, stored_time, stored_proof, applied, stages_state, .. } = start;
        let Start { lacks_state, epoch, handovers, history_gap, trust, .. } = start;
        profile.check()?;
        if config.full_audit && profile.audits == Audits::None {
            return Err(NewMachineError::NoAudits);
        }
        if !profile.proves_lengths && (stages_state || config.history == SyncHistory::Headers) {
            return Err(NewMachineError::UnprovenLengths);
        }
        if (config.default_strategy == SyncStrategyType::Fast || lacks_state) && !stages_state {
            return Err(NewMachineError::NoStaging);
        }
        if applied > stored.height {
            return Err(NewMachineError::ApplicationAhead { applied, stored: stored.height });
        }
        let youngest = handovers.last().map_or(stored_time, |link| link.boundary_time.max(stored_time));
        let trust = match trust {
            Some(TrustingPeriod { period_ms, anchor_time, wall }) => {
                Trust::new(Some(period_ms), youngest.max(anchor_time), now, wall)?
            }
            None => Trust::new(None, youngest, now, UnixMillis::default())?,
        };
        let epochs = Epochs::new(epoch, &handovers).ok_or(NewMachineError::Epochs)?;
        // A chain's first epoch may begin right above the block that is trusted.
        if epochs.of_height(stored.height).or_else(|| epochs.of_height(stored.height.next())).is_none() {
            return Err(NewMachineError::Epochs);
        }
        // Nobody is asked for certificates that nobody wants.
        let audits = if config.full_audit { profile.audits } else { Audits::None };
        let profile = ChainProfile { audits, ..profile };
        let audit = if matches!(audits, Audits::Apart(_)) { u64::from(MAX_AUDIT_BYTES) } else { 0 };
        let largest =
            header_memory(&profile, profile.grid()).saturating_add(profile.alone_bytes()).saturating_add(audit);
        let head_share = (config.memory_budget / HEAD_SHARE_OF_BUDGET).max(largest);
        let budget = Budget::new(config.memory_budget, head_share);
        Ok(Self {
            strategy: config.default_strategy,
            announced: None,
            bandwidth: BandwidthAllocator::new(config.max_download_bandwidth, now),
            peers: SyncPeerManager::new(PeerSettings {
                max_active: config.max_sync_peers,
                rotation_interval: config.peer_rotation_interval,
                ban_duration: config.ban_duration,
                suspect_self_groups: config.suspect_self_groups,
            }),
            config,
            chain_id,
            profile,
            rng: Rng::new(seed),
            now,
            phase: Phase::Stopped,
            standing: Standing::new(stored, stored_time, stored_proof, applied),
            trust,
            target: None,
            requests: DownloadCoordinator::default(),
            epochs,
            window: DownloadWindow::new(stored, profile),
            state_sync: StateSync::new(stages_state, lacks_state),
            history_gap,
            budget,
            timers: Timers::new(),
            jobs: Jobs::new(now),
            calls: HostCalls::new(),
            submissions: Submissions::default(),
            outputs: VecDeque::new(),
            unplanned: false,
            claims: Claims::default(),
            conflicts: Conflicts::default(),
            goal: Goal::default(),
            watch: Watch::new(now),
            forecast: Forecast::default(),
            counters: Counters::default(),
        })
    }

    /// Whether certificates of single blocks are asked for beside the segments.
    pub(super) fn audits(&self) -> bool {
        matches!(self.profile.audits, Audits::Apart(_))
    }

    /// Height that is stored and executed.
    pub fn applied(&self) -> Height {
        self.standing.applied
    }

    /// The highest proven height, if one was proven since the machine was made.
    pub fn target(&self) -> Option<Height> {
        self.target.as_ref().map(|target| target.facts.height)
    }

    /// Strategy that is followed now.
    pub fn strategy(&self) -> SyncStrategyType {
        self.strategy
    }

    /// The height at which [`Event::Reached`](super::Event::Reached) was said, until there is more to do.
    pub fn reached(&self) -> Option<Height> {
        self.goal.reached()
    }

    /// Whether the machine has stopped for good.
    pub fn is_halted(&self) -> bool {
        self.phase == Phase::Halted
    }

    /// Position of the node: what is executed, what is proven, and who decides over the next block.
    pub fn position(&self) -> Position {
        let next = self.epochs.of_height(self.standing.applied.next());
        Position {
            applied: self.standing.point(),
            proven: self.target.as_ref().map(|target| (target.facts, target.proof.clone())),
            decided: self.submissions.highest(),
            epoch: next.unwrap_or_else(|| self.epochs.newest()).clone(),
        }
    }

    /// Progress of the sync.
    pub fn progress(&self) -> Progress {
        let rate = self.blocks_per_second();
        let target = self.target().unwrap_or(self.standing.applied).max(self.standing.applied);
        let stall = self.stall();
        let eta = if stall.is_some() { None } else { self.eta() };
        Progress {
            start: self.standing.start,
            current: self.standing.applied,
            target,
            tip_time: self.tip_time(),
            claimed: self.claims.highest.map(|(height, _)| height),
            strategy: self.strategy,
            state: self
                .state_progress()
                .map(|state| StateProgress { remaining: state.remaining.filter(|_| eta.is_some()), ..state }),
            blocks_per_second: rate,
            remaining: eta.map(|eta| eta.likely),
            eta,
            stall,
            bottleneck: self.watch.bottleneck(),
            idle: self.idle(),
            payload_bytes: self.counters.payload_bytes,
            useful_bytes: self.counters.useful_bytes,
            duplicate_bytes: self.counters.duplicate_bytes,
            strays: self.counters.strays,
            quorum_checks: self.counters.quorum_checks,
            buffered_bytes: self.budget.used(),
            peak_buffered_bytes: self.budget.peak(),
            budget_bytes: self.budget.limit(),
            standing_by: self.peers.standing_by(),
            peers: self.peers.some_infos(self.now, MAX_REPORTED).into_iter().map(report).collect(),
        }
    }

    /// Report on a peer, if it is known.
    pub fn peer(&self, id: &PeerId) -> Option<PeerReport> {
        self.peers.info(self.now, id).map(report)
    }

    /// The peers: who is asked, who stands by, and how good they are.
    pub const fn peers(&self) -> &SyncPeerManager {
        &self.peers
    }

    /// The downloads in flight.
    pub const fn downloads(&self) -> &DownloadCoordinator {
        &self.requests
    }

    /// The limit on bandwidth, and the peers' shares of it.
    pub const fn bandwidth(&self) -> &BandwidthAllocator {
        &self.bandwidth
    }

    /// The time in the header of the highest proven block, where that is known.
    fn tip_time(&self) -> Option<UnixMillis> {
        let time = match &self.target {
            Some(Target { facts, .. }) if facts.height > self.standing.applied => facts.timestamp,
            Some(Target { facts, .. }) if facts.height == self.standing.applied => {
                facts.timestamp.max(self.standing.time())
            }
            _ => self.standing.time(),
        };
        Some(time).filter(|&time| time != UnixMillis::default())
    }

    /// Takes in the time of an input, and accounts for what the time before it was spent on.
    pub(super) fn advance(&mut self, now: Instant) {
        let spent = now.since(self.now);
        if self.phase == Phase::Running && self.goal.reached().is_none() {
            self.watch.waited(spent);
        } else if self.calls.is_empty() {
            self.watch.was_idle(spent);
        }
        self.now = self.now.max(now);
    }

    pub(super) fn emit(&mut self, event: super::Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

fn report(info: PeerInfo) -> PeerReport {
    PeerReport {
        id: info.id,
        group: info.group,
        connected: info.connected,
        active: info.active,
        in_flight: info.in_flight,
        bytes_per_second: info.quality.measured.then_some(info.quality.bytes_per_second),
        latency: info.quality.latency,
        reliability_ppm: info.quality.reliability_ppm,
        health: info.health,
        blocks: info.blocks,
        bytes: info.bytes,
        false_answers: info.false_answers,
        unanswered: info.unanswered,
        banned: info.banned.and_then(crate::peers::BlacklistReason::fault),
    }
}
