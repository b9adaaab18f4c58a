//! [`Scenario`]: a mixed world, drawn from one number.
//!
//! The number says everything: the chain, who serves it and how badly, who joins and with which settings, which links
//! there are between them, and what goes wrong when. One honest server stays, perhaps behind a partition that heals, so
//! that every node must arrive; where validators equivocate it must arrive or halt with evidence.

use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncHistory, SyncStrategyType};
use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::trace::PlayError;

use super::adversary::{Adversary, After, Equivocation, Forgery, Kinds, Lie, Minority, Nuisance, Only, Sometimes};
use super::chains::Chosen;
use super::disk::Crash;
use super::network::{Line, Link, NodeId};
use super::node::{JoinerSpec, ServerSpec};
use super::oracle::Violation;
use super::simulator::{NetworkSimulator, Step};
use super::source::{Holdings, Source};

static REPLAY: Context = Context::new("hotstuff2-sync testkit v1 replayed machines");

/// Virtual time in which even the worst of them must be done.
const LIMIT: Duration = Duration::from_secs(4 * 3600);
/// Virtual time in which everything goes wrong that is going to.
const TROUBLE_MS: u64 = 40_000;

/// Main quality of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Theme {
    /// Some peers, some of them liars, some of them useless.
    Mixed,
    /// One honest peer among many who aren't.
    Eclipse,
    /// Many nodes at once, and few servers.
    FlashCrowd,
    /// Validators with more than a third of the power signed two chains.
    Equivocation,
}

/// A world and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    seed: u64,
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub seed: u64,
    /// The world's main quality.
    pub theme: Theme,
    /// The law that was broken, if one was.
    pub result: Result<(), Violation>,
    /// Hash of all that happened.
    pub trace_hash: Hash,
    /// How much happened.
    pub events: u64,
    /// Virtual time that it took.
    pub took: Duration,
    /// The timeline, line for line, if that was asked for.
    pub timeline: Vec<String>,
}

impl Scenario {
    /// The world of this number.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Plays it to its end.
    pub fn run(self) -> Run {
        self.play(|sim| sim).0
    }

    /// Plays it to its end, and keeps a line for everything that happens.
    pub fn run_with_timeline(self) -> Run {
        self.play(NetworkSimulator::with_timeline).0
    }

    /// Plays it to its end, and then what went into every machine on a new one. The hash is over the digests of what came
    /// out of these.
    ///
    /// # Errors
    /// Where something else comes out than before.
    pub fn run_and_replay(self) -> Result<(Run, Hash), PlayError> {
        let (run, sim, joiners) = self.play(NetworkSimulator::with_recordings);
        let mut digests = REPLAY.hasher();
        for recording in joiners.iter().flat_map(|&joiner| sim.recordings(joiner)) {
            digests.update(recording.replay()?.digest().as_bytes());
        }
        Ok((run, Hash::from_bytes(*digests.finalize().as_bytes())))
    }

    fn play(self, with: fn(NetworkSimulator) -> NetworkSimulator) -> (Run, NetworkSimulator, Vec<NodeId>) {
        let (theme, mut sim, joiners) = Draw::new(self.seed).world(with);
        let result = sim.run_until(LIMIT, |sim| {
            let arrived = |&joiner: &NodeId| sim.reached_at(joiner).is_some() && sim.has_history(joiner);
            joiners.iter().all(|joiner| sim.halted(*joiner) || arrived(joiner))
        });
        let result = match result {
            Ok(true) => sim.account(),
            Ok(false) => sim.run_to_history(Duration::ZERO),
            Err(violation) => Err(violation),
        };
        let run = Run {
            seed: self.seed,
            theme,
            result,
            trace_hash: sim.trace_hash(),
            events: sim.events(),
            took: sim.now().since(Instant::ZERO),
            timeline: sim.trace().lines().to_vec(),
        };
        (run, sim, joiners)
    }
}

struct Draw {
    rng: Rng,
    /// For what was added later, so that the worlds of old numbers stay what they are.
    later: Rng,
    chosen: Chosen,
    source: Arc<dyn Source>,
}

impl Draw {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let chosen = Chosen::new(rng.below(Chosen::COUNT as u64) as usize);
        let later = Rng::new(seed ^ u64::from_le_bytes(*b"history!"));
        Self { rng, later, chosen, source: chosen.chain() }
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.rng.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.rng.below(choices.len() as u64) as usize]
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.below(most + 1))
    }

    fn height(&mut self) -> Height {
        Height::new(1 + self.rng.below(self.source.tip_height().get()))
    }

    fn world(mut self, with: fn(NetworkSimulator) -> NetworkSimulator) -> (Theme, NetworkSimulator, Vec<NodeId>) {
        let theme = match self.rng.below(20) {
            0 => Theme::Equivocation,
            1 | 2 => Theme::Eclipse,
            3 => Theme::FlashCrowd,
            _ => Theme::Mixed,
        };
        let link = self.link();
        let mut sim = with(NetworkSimulator::new(self.rng.next_u64(), Arc::clone(&self.source), link));
        if theme == Theme::Equivocation {
            sim = sim.with_fork(self.chosen.fork());
        } else if self.one_in(4) {
            let from = self.height();
            let blocks = self.source.tip_height().above(from).max(1);
            // The last block comes within a few minutes.
            let interval = Duration::from_millis((1 + self.rng.below(240_000)) / blocks + 1);
            sim = sim.growing(from, interval);
        }
        if theme == Theme::FlashCrowd {
            sim = sim.share_verdicts();
        }
        let staying = sim.add_server(self.staying());
        let others = match theme {
            Theme::Mixed => self.rng.below(7),
            Theme::Eclipse => 10 + self.rng.below(30),
            Theme::FlashCrowd | Theme::Equivocation => self.rng.below(3),
        };
        let mut servers = vec![staying];
        for _ in 0..others {
            let spec = self.server(theme);
            servers.push(sim.add_server(spec));
        }
        if theme == Theme::Equivocation {
            for _ in 0..=self.rng.below(2) {
                let adversaries: Vec<Box<dyn Adversary>> = vec![Box::new(Equivocation(self.chosen.fork()))];
                servers.push(sim.add_server(ServerSpec { adversaries, ..self.staying() }));
            }
        }
        let joiners = match theme {
            Theme::FlashCrowd => 4 + self.rng.below(8),
            _ => 1 + self.rng.below(3) / 2,
        };
        let joiners: Vec<NodeId> = (0..joiners).map(|_| self.joiner(&mut sim, &servers, theme)).collect();
        for &joiner in &joiners {
            let others: Vec<NodeId> = joiners.iter().copied().filter(|&other| other != joiner).collect();
            if self.one_in(2) {
                sim.add_contacts(joiner, others);
            }
        }
        for _ in 0..self.rng.below(4) {
            let (one, other) = (self.pick(&servers), self.pick(&joiners));
            let link = self.link();
            sim.set_link(one, other, link);
        }
        for _ in 0..self.rng.below(5) {
            self.trouble(&mut sim, &servers, &joiners);
        }
        (theme, sim, joiners)
    }

    fn link(&mut self) -> Link {
        let mut ppm = |n: u64, choices: &[u32]| if self.one_in(n) { self.pick(choices) } else { 0 };
        let loss_ppm = ppm(2, &[1_000, 10_000, 100_000]);
        let reorder_ppm = ppm(2, &[10_000, 300_000]);
        let duplicate_ppm = ppm(3, &[10_000, 300_000]);
        let break_ppm = ppm(4, &[10_000, 100_000]);
        Link {
            latency: self.millis(150),
            jitter: if self.one_in(2) { self.millis(100) } else { Duration::ZERO },
            rate: self.pick(&[u64::MAX, u64::MAX, 4_000_000]),
            loss_ppm,
            reorder_ppm,
            reorder_by: Duration::from_millis(400),
            duplicate_ppm,
            break_ppm,
        }
    }

    fn line(&mut self) -> Line {
        let rates = [30_000, 1_000_000, 12_500_000, u64::MAX];
        Line { up: self.pick(&rates), down: self.pick(&rates) }
    }

    /// The honest server that stays. A block passes its line within a request's time-out, several at once too.
    fn staying(&mut self) -> ServerSpec {
        let line = self.line();
        let least = 200_000 + 4 * self.chosen.payload();
        ServerSpec { line: Line { up: line.up.max(least), down: line.down.max(least) }, ..ServerSpec::default() }
    }

    fn server(&mut self, theme: Theme) -> ServerSpec {
        let mut spec = ServerSpec { line: self.line(), ..ServerSpec::default() };
        spec.thinks = self.millis(30);
        if self.one_in(8) {
            // Many of one operator.
            spec.group = Some(1_000_000);
        }
        let honest = theme != Theme::Eclipse && self.one_in(3);
        if honest {
            if self.one_in(3) {
                let last = self.height();
                spec.held.states = HeightRange::new(Height::ZERO, last);
            }
            return spec;
        }
        let adversary = self.adversary();
        spec.adversaries.push(adversary);
        if self.one_in(3) {
            let adversary = self.adversary();
            spec.adversaries.push(adversary);
        }
        spec.held = Holdings { ..spec.held };
        spec
    }

    fn adversary(&mut self) -> Box<dyn Adversary> {
        let base: Box<dyn Adversary> = match self.rng.below(12) {
            0..=4 => Box::new(self.nuisance()),
            5..=9 => Box::new(self.pick(&Lie::ALL)),
            10 => Box::new(Forgery(self.chosen.forgery())),
            _ => Box::new(Minority(self.chosen.fork())),
        };
        match self.rng.below(6) {
            0 => Box::new(After(1 + self.rng.below(30), base)),
            1 => Box::new(Sometimes(1 + self.rng.below(6), base)),
            2 => {
                let kinds = self.pick(&[Kinds::PROOFS, Kinds::BLOCKS, Kinds::STATE, Kinds::STATUS]);
                Box::new(Only(kinds, base))
            }
            3 => Box::new(Only(Kinds::from_bits(self.rng.below(256) as u8), base)),
            _ => base,
        }
    }

    fn nuisance(&mut self) -> Nuisance {
        match self.rng.below(10) {
            0 => Nuisance::Silent,
            1 => Nuisance::Breaks,
            2 => Nuisance::Busy,
            3 => Nuisance::Empty,
            4 => Nuisance::OtherVersion,
            5 => Nuisance::Drips(1 + self.rng.below(5000)),
            6 => Nuisance::Stingy,
            7 => Nuisance::Stale(self.height()),
            8 => Nuisance::Pruned(self.height()),
            _ => Nuisance::OtherChain,
        }
    }

    fn config(&mut self) -> SyncConfig {
        use SyncStrategyType::{Auto, Fast, Incremental, Parallel};
        let has_states = self.source.genesis_state().is_some();
        let strategies = if has_states { [Auto, Fast, Fast, Parallel] } else { [Auto, Auto, Parallel, Incremental] };
        let history = [SyncHistory::None, SyncHistory::Headers, SyncHistory::Blocks][self.later.below(3) as usize];
        let least = if history == SyncHistory::Blocks { 16 << 20 } else { 0 };
        SyncConfig {
            default_strategy: self.pick(&strategies),
            history,
            state_after: self.pick(&[Duration::ZERO, Duration::from_secs(30)]),
            strategy_switch_threshold: self.rng.below(200),
            parallel_download_limit: 1 + self.rng.below(64) as usize,
            memory_budget: self.pick(&[8 << 20, 9 << 20, 32 << 20]).max(least),
            // A certificate for every block of a long chain is more than a simulation should sign.
            full_audit: self.source.tip_height() <= Height::new(100) && self.one_in(6),
            job_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(5),
            ban_duration: Duration::from_secs(1 + self.rng.below(600)),
            suspect_self_groups: 2 + self.rng.below(3) as usize,
            ..SyncConfig::default()
        }
    }

    fn joiner(&mut self, sim: &mut NetworkSimulator, servers: &[NodeId], theme: Theme) -> NodeId {
        let line = self.line();
        let least = 100_000 + 2 * self.chosen.payload();
        let joiner = sim.add_joiner(JoinerSpec {
            line: Line { up: line.up.max(least), down: line.down.max(least) },
            config: self.config(),
            serves: self.one_in(2) || theme == Theme::FlashCrowd,
            contacts: servers.to_vec(),
            lost_jobs_ppm: if self.one_in(4) { 50_000 } else { 0 },
            disk: self.millis(20) + Duration::from_millis(1),
            doctor: None,
        });
        let start = if self.one_in(2) { Duration::ZERO } else { self.millis(10_000) };
        sim.schedule(Instant::ZERO.after(start), Step::Start(joiner));
        if self.one_in(2) {
            for _ in 0..=self.rng.below(3) {
                let (write, crash) = (1 + self.rng.below(12), self.pick(&Crash::ALL));
                sim.disk(joiner).crash_at(write, crash);
            }
        }
        if self.one_in(4) {
            for _ in 0..=self.rng.below(3) {
                let write = 1 + self.rng.below(12);
                sim.disk(joiner).fail_at(write);
            }
        }
        joiner
    }

    /// Something goes wrong, and is mended in the end.
    fn trouble(&mut self, sim: &mut NetworkSimulator, servers: &[NodeId], joiners: &[NodeId]) {
        let from = Instant::ZERO.after(self.millis(TROUBLE_MS / 2));
        let to = from.after(self.millis(TROUBLE_MS / 2));
        let (server, joiner) = (self.pick(servers), self.pick(joiners));
        match self.rng.below(7) {
            0 => {
                for &server in servers {
                    if self.one_in(2) {
                        sim.schedule(from, Step::Side(server, 1));
                    }
                }
                sim.schedule(to, Step::Heal);
            }
            1 => {
                sim.schedule(from, Step::Side(joiner, 2));
                sim.schedule(to, Step::Heal);
            }
            2 => {
                sim.schedule(from, Step::Crash(server));
                sim.schedule(to, Step::Start(server));
            }
            3 => {
                sim.schedule(from, Step::Crash(joiner));
                sim.schedule(to, Step::Start(joiner));
            }
            4 => {
                sim.schedule(from, Step::Crash(joiner));
                sim.schedule(from, Step::LoseDisk(joiner));
                sim.schedule(to, Step::Start(joiner));
            }
            5 => {
                sim.schedule(from, Step::Pause(joiner));
                sim.schedule(to, Step::Resume(joiner));
            }
            _ => {
                sim.schedule(from, Step::Line(server, Line::symmetric(50_000)));
                sim.schedule(to, Step::Line(server, Line::symmetric(10_000_000)));
            }
        }
    }
}
