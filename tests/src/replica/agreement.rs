//! [`Agreement`]: replicas that agree on a chain over a bad network, in virtual time, the same way for the same seed.
//!
//! A traitor is two replicas with one key and no law ("twins"), each of which talks to half of the others: it proposes
//! two blocks in a view, votes for both, and forgets its lock. Honest replicas are watched by a [`Monitor`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use hotstuff2_sync::chain::native::{Phase, QuorumCertificate, ValidatorKey};
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;

use super::committee::{Committee, power};
use super::message::Message;
use super::monitor::{Monitor, Violation};
use super::replica::{Laws, Output, Replica, Settings};
use crate::chain::{AgreedChain, SigningEpoch, TestChain, TestChainError};

/// How long one division of the network lasts.
const DIVISION: Duration = Duration::from_secs(3);

/// Faults until the network heals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Seed of all of it.
    pub seed: u64,
    /// When the network heals: from then on messages arrive in time, nobody crashes and nothing divides the network.
    /// Traitors and the dead stay what they are.
    pub heals_at: Duration,
    /// Of a hundred messages, how many are lost.
    pub loss_percent: u64,
    /// The longest that a message takes.
    pub delay: Duration,
    /// Of a hundred spans of some seconds, in how many the network is divided in two.
    pub divided_percent: u64,
    /// How often an honest replica crashes and comes back.
    pub crashes: u64,
    /// How many validators lie, as far as the chain tolerates them.
    pub traitors: usize,
    /// How many are dead from the start, as far as the chain tolerates them besides.
    pub dead: usize,
    /// As many lie as the chain tolerates and one more, and nothing passes between the halves of the network but what
    /// they make of that.
    pub too_many: bool,
}

/// Why agreement failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    /// Safety is broken.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// An honest replica isn't at the end in time.
    #[error("a replica stands at block {height} in view {view}")]
    Late {
        /// The last block that it committed.
        height: Height,
        /// Its view.
        view: View,
    },
}

#[derive(Debug)]
struct Node {
    replica: Replica,
    /// Which half of the others a traitor talks to.
    half: Option<usize>,
    /// Which half it belongs to.
    side: usize,
    down: bool,
    deadline: Instant,
}

#[derive(Debug)]
enum Happening {
    Message { to: usize, from: ValidatorKey, message: Box<Message> },
    Timeout(usize),
    Crash(usize),
    Restart(usize),
}

/// Replicas and the network between them.
#[derive(Debug)]
pub struct Agreement {
    committee: Arc<Committee>,
    settings: Settings,
    faults: Faults,
    rng: Rng,
    now: Instant,
    nodes: Vec<Node>,
    waiting: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    monitor: Monitor,
    violation: Option<Violation>,
}

impl Agreement {
    /// All members of `committee`, as `settings` and `faults` have them.
    pub fn new(committee: Committee, settings: Settings, faults: Faults) -> Self {
        let committee = Arc::new(committee);
        let mut members: BTreeMap<ValidatorKey, SigningKey> = BTreeMap::new();
        for key in committee.epochs().flat_map(SigningEpoch::keys) {
            members.insert(key.into(), key.clone());
        }
        let mut rng = Rng::new(faults.seed);
        let (traitors, dead) = choose(&committee, &mut rng, members.keys().copied().collect(), &faults);
        let mut nodes = Vec::new();
        let mut sides = [0u128; 2];
        for (key, secret) in members {
            if dead.contains(&key) {
                continue;
            }
            let halves = if traitors.contains(&key) { vec![Some(0), Some(1)] } else { vec![None] };
            for half in halves {
                let laws = if half.is_some() { Laws::BROKEN } else { settings.laws };
                let noise = settings.noise ^ half.map_or(0, |half| half as u64 + 1);
                let settings = Settings { laws, noise, ..settings };
                let replica = Replica::new(committee.clone(), secret.clone(), settings, Instant::ZERO);
                // Halves of about the same power.
                let side = half.unwrap_or(usize::from(sides[0] > sides[1]));
                sides[side] += committee.context(Epoch::ZERO).map_or(0, |epoch| power(epoch.validators(), [&key]));
                nodes.push(Node { replica, half, side, down: false, deadline: Instant::ZERO });
            }
        }
        let mut agreement = Self {
            committee,
            settings,
            faults,
            rng,
            now: Instant::ZERO,
            nodes,
            waiting: BTreeMap::new(),
            order: 0,
            monitor: Monitor::default(),
            violation: None,
        };
        agreement.plan_crashes();
        for node in 0..agreement.nodes.len() {
            agreement.drain(node);
        }
        agreement
    }

    /// The committee.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The watcher of all replicas.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How many things happened.
    pub fn happenings(&self) -> u64 {
        self.order
    }

    /// The replicas that keep the laws.
    pub fn honest(&self) -> impl Iterator<Item = &Replica> {
        self.nodes.iter().filter(|node| node.half.is_none()).map(|node| &node.replica)
    }

    /// How many validators lie.
    pub fn traitors(&self) -> usize {
        self.liars().count()
    }

    /// The validators that lie.
    pub fn liars(&self) -> impl Iterator<Item = ValidatorKey> {
        self.nodes.iter().filter(|node| node.half == Some(0)).map(|node| node.replica.key())
    }

    /// Whether the liars make a quorum with either half of the others.
    pub fn is_split(&self) -> bool {
        let Some(epoch) = self.committee.context(Epoch::ZERO) else { return false };
        let of = |side| self.nodes.iter().filter(move |node| node.side == side).map(|node| node.replica.key());
        [0, 1]
            .iter()
            .all(|&side| epoch.validators().is_quorum(power(epoch.validators(), &of(side).collect::<Vec<_>>())))
    }

    /// Runs until every honest replica has committed the chain that the committee is for, or `limit` has passed.
    ///
    /// # Errors
    /// Where something happened that must not, or nothing did.
    pub fn run(&mut self, limit: Duration) -> Result<(), Stalled> {
        self.go_on(limit, true)
    }

    /// As [`run`](Self::run), whatever happens that must not: with more liars than the chain tolerates.
    ///
    /// # Errors
    /// Where an honest replica doesn't come to an end.
    pub fn run_on(&mut self, limit: Duration) -> Result<(), Stalled> {
        self.go_on(limit, false)
    }

    fn go_on(&mut self, limit: Duration, watched: bool) -> Result<(), Stalled> {
        let tip = self.committee.spec().tip();
        let end = self.now.after(limit);
        loop {
            if let Some(violation) = self.violation.filter(|_| watched) {
                return Err(violation.into());
            }
            let height = |replica: &Replica| replica.committed().last().map_or(Height::ZERO, |b| b.header.height);
            let Some(late) = self.honest().find(|replica| height(replica) < tip) else { return Ok(()) };
            let late = Stalled::Late { height: height(late), view: late.view() };
            let Some(((at, _), happening)) = self.waiting.pop_first() else { return Err(late) };
            if at > end {
                return Err(late);
            }
            self.now = self.now.max(at);
            self.happen(happening);
        }
    }

    /// The chain that was agreed on, with the certificates that were made.
    ///
    /// # Errors
    /// Where it isn't finished.
    pub fn chain(&self) -> Result<TestChain, TestChainError> {
        self.chain_of(self.honest().max_by_key(|replica| replica.committed().len()))
    }

    /// The chain of each half of the network, where [`Faults::too_many`] lie.
    ///
    /// # Errors
    /// Where one isn't finished.
    pub fn chains(&self) -> Result<[TestChain; 2], TestChainError> {
        let honest = |side| self.nodes.iter().filter(move |node| node.half.is_none() && node.side == side);
        let furthest = |side| honest(side).map(|node| &node.replica).max_by_key(|replica| replica.committed().len());
        Ok([self.chain_of(furthest(0))?, self.chain_of(furthest(1))?])
    }

    fn chain_of(&self, replica: Option<&Replica>) -> Result<TestChain, TestChainError> {
        let furthest = replica.ok_or(TestChainError::Unfinished)?;
        let spec = self.committee.spec().clone();
        let tip = spec.tip();
        let tree = furthest.tree();
        let blocks: Vec<_> =
            furthest.committed().iter().filter(|block| block.header.height <= tip).map(Arc::clone).collect();
        let endings: Vec<_> =
            furthest.endings().filter(|ending| ending.header.height <= tip).map(|e| e.as_ref().clone()).collect();
        // Whatever stands above the tip proves it: the replica's own final blocks first.
        let top = furthest.high().map(|high| high.block);
        let above = top.and_then(|top| tree.path(top, tip)).unwrap_or_default();
        let ids: Vec<_> = blocks.iter().chain(above.iter().copied()).map(|block| block.id).collect();
        let made = |by_id: Vec<Option<&Arc<QuorumCertificate>>>, phase| {
            // The proof that ended an epoch may have come from another replica, with headers that this one never saw.
            let ends = endings.iter().filter_map(|ending| ending.proof.certificate()).filter(|qc| qc.phase == phase);
            by_id.into_iter().flatten().map(|qc| qc.as_ref().clone()).chain(ends.cloned()).collect()
        };
        let certificates = made(ids.iter().map(|id| tree.certificate(*id)).collect(), Phase::One);
        let double_certificates = made(ids.iter().map(|id| tree.double_certificate(*id)).collect(), Phase::Two);
        TestChain::agreed(AgreedChain {
            epochs: self.committee.epochs().take(endings.len() + 1).cloned().collect(),
            genesis: self.committee.genesis().clone(),
            blocks: blocks.iter().map(|block| (block.header.clone(), block.payload.clone())).collect(),
            above: above.iter().map(|block| block.header.clone()).collect(),
            certificates,
            double_certificates,
            endings,
            spec,
        })
    }

    fn plan_crashes(&mut self) {
        let healed = self.faults.heals_at.as_micros().try_into().unwrap_or(u64::MAX);
        for _ in 0..self.faults.crashes {
            let node = usize::try_from(self.rng.below(self.nodes.len() as u64)).unwrap_or(0);
            let (one, other) = (self.rng.below(healed.max(1)), self.rng.below(healed.max(1)));
            self.later(Instant::from_micros(one.min(other)), Happening::Crash(node));
            self.later(Instant::from_micros(one.max(other)), Happening::Restart(node));
        }
    }

    fn later(&mut self, at: Instant, happening: Happening) {
        self.order += 1;
        self.waiting.insert((at, self.order), happening);
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        let node = match happening {
            Happening::Message { to, from, message } => {
                let Some(node) = self.nodes.get_mut(to).filter(|node| !node.down) else { return };
                node.replica.handle_message(now, from, *message);
                to
            }
            Happening::Timeout(to) => {
                let Some(node) = self.nodes.get_mut(to).filter(|node| !node.down && node.deadline == now) else {
                    return;
                };
                node.replica.handle_timeout(now);
                to
            }
            Happening::Crash(to) => {
                if let Some(node) = self.nodes.get_mut(to) {
                    node.down = true;
                }
                return;
            }
            Happening::Restart(to) => {
                let Some(node) = self.nodes.get_mut(to) else { return };
                node.down = false;
                node.replica = node.replica.clone().restarted(now);
                to
            }
        };
        self.drain(node);
    }

    fn drain(&mut self, index: usize) {
        loop {
            let Some(node) = self.nodes.get_mut(index) else { return };
            let (key, honest) = (node.replica.key(), node.half.is_none());
            let output = node.replica.poll_output();
            let checked = match output {
                Output::Wait(deadline) => {
                    if deadline != node.deadline {
                        node.deadline = deadline;
                        self.later(deadline, Happening::Timeout(index));
                    }
                    return;
                }
                Output::Commit(decided) if honest => {
                    decided.blocks.iter().try_for_each(|block| self.monitor.on_commit(key, block))
                }
                Output::Commit(_) => Ok(()),
                Output::Broadcast(message) => self.send(index, None, &message),
                Output::Send(to, message) => self.send(index, Some(to), &message),
            };
            if let Err(violation) = checked {
                self.violation.get_or_insert(violation);
            }
        }
    }

    fn send(&mut self, from: usize, to: Option<ValidatorKey>, message: &Message) -> Result<(), Violation> {
        if let Message::Propose(block, _) = message {
            self.monitor.on_block(block);
        }
        let Some(sender) = self.nodes.get(from) else { return Ok(()) };
        let (key, half, side) = (sender.replica.key(), sender.half, sender.side);
        let apart = self.faults.too_many;
        let checked = if half.is_none() { self.monitor.on_sent(key, message) } else { Ok(()) };
        let targets: Vec<usize> = (0..self.nodes.len())
            .filter(|&target| {
                let Some(node) = self.nodes.get(target) else { return false };
                let meant = to.is_none_or(|to| node.replica.key() == to) && target != from;
                let hears = half.is_none() || node.half.is_some() || half == Some(node.side);
                meant && hears && (!apart || node.side == side)
            })
            .collect();
        for target in targets {
            if let Some(after) = self.travels(from, target) {
                let at = self.now.after(after);
                self.later(at, Happening::Message { to: target, from: key, message: Box::new(message.clone()) });
            }
        }
        checked
    }

    /// How long a message takes; `None` if it is lost.
    fn travels(&mut self, from: usize, to: usize) -> Option<Duration> {
        let delta = u64::try_from(self.settings.delta.as_micros()).unwrap_or(u64::MAX).max(2);
        let healed = self.now >= Instant::ZERO.after(self.faults.heals_at);
        if healed {
            return Some(Duration::from_micros(1 + self.rng.below(delta - 1)));
        }
        let span = self.now.as_micros() / u64::try_from(DIVISION.as_micros()).unwrap_or(u64::MAX).max(1);
        let mut division = Rng::new(self.faults.seed ^ span.rotate_left(32));
        if division.below(100) < self.faults.divided_percent {
            let sides = division.next_u64();
            if (sides >> (from % 64)) & 1 != (sides >> (to % 64)) & 1 {
                return None;
            }
        }
        let lost = self.rng.below(100) < self.faults.loss_percent;
        let delay = u64::try_from(self.faults.delay.as_micros()).unwrap_or(u64::MAX).max(1);
        let takes = Duration::from_micros(1 + self.rng.below(delay));
        (!lost).then_some(takes)
    }
}

/// Liars and dead replicas: together less than a third of every epoch's power.
fn choose(
    committee: &Committee,
    rng: &mut Rng,
    mut keys: Vec<ValidatorKey>,
    faults: &Faults,
) -> (Vec<ValidatorKey>, Vec<ValidatorKey>) {
    let (mut faulty, mut traitors) = (Vec::new(), 0);
    if faults.too_many {
        // Any that are tolerated, and one of the others.
        let mut rest = Vec::new();
        while !keys.is_empty() {
            let pick = usize::try_from(rng.below(keys.len() as u64)).unwrap_or(0);
            faulty.push(keys.swap_remove(pick));
            if !committee.tolerates(&faulty) {
                rest.extend(faulty.pop());
            }
        }
        faulty.extend(rest.pop());
        return (faulty, Vec::new());
    }
    let mut left = faults.traitors + faults.dead;
    while !keys.is_empty() && left > 0 {
        let pick = usize::try_from(rng.below(keys.len() as u64)).unwrap_or(0);
        faulty.push(keys.swap_remove(pick));
        if committee.tolerates(&faulty) {
            left -= 1;
            traitors += usize::from(traitors < faults.traitors);
        } else {
            faulty.pop();
        }
    }
    let dead = faulty.split_off(traitors);
    (faulty, dead)
}
