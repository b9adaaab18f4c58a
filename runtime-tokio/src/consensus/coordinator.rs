//! [`ConsensusCoordinator`]: carries out what the gate orders.

use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::{AdvertFacts, Chain};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, PeerId};
use hotstuff2_sync::limits::{MAX_ADVERT_BYTES, MAX_BACKED_ADVERT_BYTES};
use hotstuff2_sync::machine::Position;
use hotstuff2_sync::participation::{GateOutput, GateSettings, ParticipationGate, SyncFacts, WaitReason};
use hotstuff2_sync::wire::{Answer, Request};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::ConsensusControl;
use super::rounds::Rounds;
use crate::driver::{Input, Inputs, StartCall, SyncHandle};
use crate::net::Network;
use crate::wall_clock;

/// How often the gate is asked though nothing came in: words grow old, and clocks go on.
const TICK: Duration = Duration::from_millis(500);
/// How long a validator may take to give its word.
const PATIENCE: Duration = Duration::from_secs(5);
/// Validators that are asked for their word at a time: what their answers may take together is 40 MiB.
const AT_ONCE: usize = 64;
/// Requests that wait for the coordinator.
const QUEUE: usize = 16;

/// Whether this node takes part in consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsensusMode {
    /// It doesn't, for this reason.
    Syncing(WaitReason),
    /// It does.
    Participating,
}

/// Why a hand-over did not take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsensusError {
    /// The sync has not reached the height that it was said to have.
    #[error("the sync stands at height {at} and not at {wanted}: wait for it, its progress says what it waits for")]
    SyncIncomplete {
        /// Where it stands.
        at: Height,
        /// Where it was said to stand.
        wanted: Height,
    },
    /// This node takes no part: it is [no validator](WaitReason::NoValidator), or can't for a [reason that
    /// stays](WaitReason::is_final).
    #[error("no part is taken in consensus: {0}")]
    Barred(WaitReason),
    /// The operating system gives no random bytes, without which words of long ago can't be told from new ones.
    #[error("the system gives no random numbers, and a validator can't do without: check /dev/urandom")]
    NoRandomness,
    /// The coordinator has ended, as the sync has.
    #[error("the sync has ended: start it again")]
    Ended,
}

enum Call {
    Completed(Height, oneshot::Sender<Result<(), ConsensusError>>),
    Behind(Height, oneshot::Sender<()>),
}

/// Drives a consensus engine by where the sync stands. Dropped, it pauses nothing more and resumes nothing more: drop the
/// engine first.
pub struct ConsensusCoordinator {
    calls: mpsc::Sender<Call>,
    mode: watch::Receiver<ConsensusMode>,
    /// Ends with this.
    _task: JoinSet<()>,
}

impl ConsensusCoordinator {
    /// Watches `sync`, and tells `control` when to take part. Must be called within a tokio runtime.
    pub fn start<C: Chain>(
        sync: &SyncHandle,
        chain: Arc<C>,
        control: Arc<dyn ConsensusControl>,
        settings: GateSettings,
    ) -> Result<Self, ConsensusError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| ConsensusError::NoRandomness)?;
        let position = sync.position();
        let own = control.validator(position.borrow().epoch.epoch());
        let mut gate = ParticipationGate::new(settings, own, Hash::from_bytes(seed));
        gate.handle_vote_record(control.vote_record());
        let (mode_sender, mode) = watch::channel(ConsensusMode::Syncing(WaitReason::NotKnownToBeCaughtUp));
        let (calls, queue) = mpsc::channel(QUEUE);
        let task = Task {
            gate,
            chain,
            control,
            network: sync.network(),
            inputs: sync.inputs(),
            position,
            mode: mode_sender,
            rounds: Rounds::default(),
            words: JoinSet::new(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run(queue));
        Ok(Self { calls, mode, _task: tasks })
    }

    /// Whether the node takes part, as it changes.
    pub fn mode(&self) -> watch::Receiver<ConsensusMode> {
        self.mode.clone()
    }

    /// The sync says that it has reached `final_height`. Returns once the engine takes part: at once where the tip is known
    /// to be the network's, else when that is shown. An error where the sync stands elsewhere, where this node is no validator of
    /// the epoch in force, and where the engine can't take part for a reason that stays, such as that its record of votes is lost.
    pub async fn handle_sync_completion(&self, final_height: Height) -> Result<(), ConsensusError> {
        let (answer, outcome) = oneshot::channel();
        self.calls.send(Call::Completed(final_height, answer)).await.map_err(|_| ConsensusError::Ended)?;
        outcome.await.map_err(|_| ConsensusError::Ended)??;
        let mut mode = self.mode.clone();
        let decided = mode.wait_for(|mode| match mode {
            ConsensusMode::Participating => true,
            ConsensusMode::Syncing(reason) => reason.is_final() || *reason == WaitReason::NoValidator,
        });
        match *decided.await.map_err(|_| ConsensusError::Ended)? {
            ConsensusMode::Participating => Ok(()),
            ConsensusMode::Syncing(reason) => Err(ConsensusError::Barred(reason)),
        }
    }

    /// The engine has verified that the network stands at `network_height` and misses what leads there. Where that is more
    /// than `max_behind_blocks` away, participation is paused and the sync goes on to there; returns when no vote leaves
    /// any more. Never call it with what a peer merely claims.
    pub async fn handle_falling_behind(&self, network_height: Height) -> Result<(), ConsensusError> {
        let (answer, done) = oneshot::channel();
        self.calls.send(Call::Behind(network_height, answer)).await.map_err(|_| ConsensusError::Ended)?;
        done.await.map_err(|_| ConsensusError::Ended)
    }
}

impl std::fmt::Debug for ConsensusCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsensusCoordinator").field("mode", &*self.mode.borrow()).finish_non_exhaustive()
    }
}

struct Task<C> {
    gate: ParticipationGate,
    chain: Arc<C>,
    control: Arc<dyn ConsensusControl>,
    network: Arc<dyn Network>,
    inputs: Inputs,
    position: watch::Receiver<Position>,
    mode: watch::Sender<ConsensusMode>,
    rounds: Rounds,
    /// Words that are on their way, or being verified.
    words: JoinSet<Said>,
}

/// The word of a peer, verified under an epoch, if it gave one.
struct Said {
    peer: PeerId,
    epoch: Epoch,
    word: Option<AdvertFacts>,
}

impl<C: Chain> Task<C> {
    async fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let mut tick = tokio::time::interval(TICK);
        self.look();
        loop {
            self.obey().await;
            tokio::select! {
                changed = self.position.changed() => match changed {
                    Ok(()) => self.look(),
                    // The sync has ended.
                    Err(_) => {
                        self.gate.close();
                        self.obey().await;
                        return;
                    }
                },
                Some(said) = self.words.join_next() => {
                    if let Ok(said) = said {
                        self.hear(said);
                    }
                    self.ask_more();
                }
                call = calls.recv() => match call {
                    Some(call) => self.take(call).await,
                    None => return,
                },
                _ = tick.tick() => self.gate.handle_time(wall_clock()),
            }
        }
    }

    /// Brings to the gate where the sync stands.
    fn look(&mut self) {
        let Position { applied, proven, decided, epoch } = self.position.borrow_and_update().clone();
        // Blocks that this node decided itself are not ahead of it: they count once they are applied.
        let at = applied.map_or(Height::ZERO, |head| head.height);
        let proven = proven.filter(|(facts, _)| facts.height > decided || facts.height <= at);
        let suffix = proven.as_ref().and_then(|(_, proof)| self.chain.certified_suffix(proof));
        let proven = proven.map(|(facts, _)| facts);
        let epoch = epoch.epoch();
        self.gate.handle_validator(self.control.validator(epoch));
        self.gate.handle_sync(wall_clock(), SyncFacts { applied, proven, epoch, suffix });
    }

    fn hear(&mut self, Said { peer, epoch, word }: Said) {
        self.rounds.answered(peer, word.is_some());
        // The set may have changed while it was on its way.
        if let Some(word) = word.filter(|_| epoch == self.position.borrow().epoch.epoch()) {
            self.gate.handle_advert(wall_clock(), word);
        }
    }

    async fn take(&mut self, call: Call) {
        // The gate may not have heard yet what was applied since.
        self.look();
        match call {
            Call::Completed(wanted, answer) => {
                let at = self.position.borrow().applied.map_or(Height::ZERO, |head| head.height);
                let outcome = if at == wanted { Ok(()) } else { Err(ConsensusError::SyncIncomplete { at, wanted }) };
                // Whoever asked may have gone.
                let _ = answer.send(outcome);
            }
            Call::Behind(height, answer) => {
                // Blocks that this node decided itself are on their way to the disk, and nothing that it misses.
                let decided = self.position.borrow().decided;
                if height > decided && self.gate.fall_behind(height) {
                    self.obey().await;
                    self.inputs.send(Input::Start(StartCall::default()));
                }
                let _ = answer.send(());
            }
        }
    }

    /// Carries out what the gate orders.
    async fn obey(&mut self) {
        loop {
            match self.gate.poll_output() {
                GateOutput::Pause(reason) => {
                    tracing::info!(%reason, "consensus paused");
                    self.control.pause_consensus_participation(reason).await;
                    self.control.transition_to_sync_mode().await;
                    self.gate.handle_vote_record(self.control.vote_record());
                }
                GateOutput::Resume(permit) => {
                    tracing::info!(head = %permit.head.height, above = %permit.vote_above, "consensus resumed");
                    self.control.transition_to_normal_mode().await;
                    self.control.start_consensus_participation(permit).await;
                    self.control.transition_to_consensus_mode().await;
                    self.mode.send_replace(ConsensusMode::Participating);
                }
                GateOutput::Ask { challenge, certificates } => self.ask(challenge, certificates),
                GateOutput::Wait(reason) => {
                    let mode = reason.map_or(ConsensusMode::Participating, ConsensusMode::Syncing);
                    self.mode.send_if_modified(|known| std::mem::replace(known, mode) != mode);
                    return;
                }
                other => tracing::warn!(?other, "the gate orders something unknown"),
            }
        }
    }

    /// Asks everyone who is connected: who is no validator says so.
    fn ask(&mut self, challenge: Hash, certificates: bool) {
        let (request, most) = if certificates {
            (Request::BackedAdvert { challenge }, MAX_BACKED_ADVERT_BYTES)
        } else {
            (Request::Advert { challenge }, MAX_ADVERT_BYTES)
        };
        let connected: Vec<PeerId> = self.network.links().iter().map(|link| link.peer).collect();
        self.rounds.begin(&connected, request.encode().into(), most as usize);
        self.ask_more();
    }

    /// Goes on with the round, as far as there is room. Words are verified on threads of their own: a certificate of a large set
    /// takes a while.
    fn ask_more(&mut self) {
        while self.words.len() < AT_ONCE
            && let Some((peer, request, most)) = self.rounds.next()
        {
            let answer = self.network.request(peer, request, most);
            let (chain, epoch) = (Arc::clone(&self.chain), self.position.borrow().epoch.clone());
            self.words.spawn(async move {
                let number = epoch.epoch();
                let word = async {
                    let answer = tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()?;
                    let Ok(Answer::Data(word)) = Answer::decode(answer) else { return None };
                    // A word that doesn't hold is nobody's provable fault: the set may have changed on its way.
                    let verified = tokio::task::spawn_blocking(move || {
                        let decoded = epoch.decoded(&*chain).ok()?;
                        chain.verify_advert(decoded, &word).ok()
                    });
                    verified.await.ok()?
                };
                Said { peer, epoch: number, word: word.await }
            });
        }
    }
}
