//! No silent stall, in whatever order things happen: while the machine runs and is not at its goal, it says at every moment
//! why it waits, what it does next and by when; and left alone until then, that is what it does. Each of these runs also
//! replays from its trace.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::calls::{Apply, HostError, HostReply, HostWork, Start};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Event, Input, Output, PeerEvent, StallReason, StallStep};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Applied, Applier, Behaviour as _, Honest, Reply, Scripted, StateHost, World};

/// Worlds that are tried. `STALL_SEED=n` runs one.
const WORLDS: u64 = 300;

fn one_in(rng: &mut Rng, n: u64) -> bool {
    rng.below(n) == 0
}

/// A peer that answers some requests truly and others not at all, late, or with nothing.
fn fickle(rng: &mut Rng) -> Scripted<impl FnMut(&Request, &TestChain, Reply) -> Reply + 'static> {
    let mut own = Rng::new(rng.next_u64());
    let moods = 1 + rng.below(10);
    let mut base = Honest {
        latency: Duration::from_millis(rng.below(800)),
        rate: [3_000, 1_000_000, 50_000_000][rng.below(3) as usize],
        earliest: Height::new(if one_in(rng, 3) { 150 } else { 1 }),
        states: if one_in(rng, 2) { None } else { Honest::default().states },
        ..Honest::default()
    };
    let mute = if one_in(rng, 3) { rng.below(7) } else { 99 };
    Scripted(move |request: &Request, chain: &TestChain, _| {
        let kind = match request {
            Request::Status => 0,
            Request::Handovers { .. } => 1,
            Request::Tip => 2,
            Request::Segment { .. } => 3,
            Request::Bodies { .. } => 4,
            Request::Follow { .. } => 5,
            _ => 6,
        };
        let after = Duration::from_millis(own.below(400));
        match own.below(moods + 4) {
            0 => Reply::Never,
            1 => Reply::Broken(after),
            2 => Reply::After(after, encode_refusal(Refusal::NotAvailable)),
            3 => Reply::After(after, encode_refusal(Refusal::Busy { retry_after_ms: own.below(5_000) as u32 })),
            4 => Reply::After(after, vec![0; own.below(60) as usize].into()),
            _ if kind == mute => Reply::Never,
            _ => base.reply(request, chain),
        }
    })
}

/// A host that forgets calls, or can't.
struct Fickle(Rng);

impl Fickle {
    fn after(&mut self) -> Duration {
        Duration::from_millis(self.0.below(2_000))
    }

    fn applied(&mut self, last: Height, first: Height) -> Option<(Height, Option<HostError>)> {
        match self.0.below(8) {
            0 => None,
            1 | 2 => Some((Height::new(first.get().saturating_sub(1)), Some(HostError::Transient))),
            _ => Some((last, None)),
        }
    }
}

impl Applier for Fickle {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        let range = apply.range()?;
        let (through, error) = self.applied(range.last(), range.first())?;
        Some((self.after(), Applied { through, stopped: error }))
    }

    fn replay(&mut self, range: HeightRange) -> Option<(Duration, Applied)> {
        let (through, error) = self.applied(range.last(), range.first())?;
        Some((self.after(), Applied { through, stopped: error }))
    }

    fn store(&mut self, _: &[HandoverLink]) -> Option<(Duration, Result<(), HostError>)> {
        let result = match self.0.below(6) {
            0 => return None,
            1 => Err(HostError::Transient),
            _ => Ok(()),
        };
        Some((self.after(), result))
    }
}

/// A host of either kind.
enum Host {
    Fickle(Fickle),
    States(StateHost),
}

impl Host {
    fn host(&mut self) -> &mut dyn Applier {
        match self {
            Self::Fickle(host) => host,
            Self::States(host) => host,
        }
    }
}

/// A disk that is full now and then, for a while: nothing is written until there is room again.
struct Filling {
    host: Host,
    rng: Rng,
    refusals: u64,
    /// Whether it was full when it was asked last.
    full: Rc<Cell<bool>>,
}

impl Filling {
    /// Whether the disk is full this time.
    fn is_full(&mut self) -> bool {
        if self.refusals == 0 && one_in(&mut self.rng, 12) {
            self.refusals = 1 + self.rng.below(9);
        }
        let full = self.refusals > 0;
        self.refusals = self.refusals.saturating_sub(1);
        self.full.set(full);
        full
    }
}

impl Applier for Filling {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        if self.is_full() {
            let through = Height::new(apply.range()?.first().get() - 1);
            return Some((Duration::from_millis(5), Applied { through, stopped: Some(HostError::NoSpace) }));
        }
        self.host.host().apply(apply)
    }

    fn replay(&mut self, range: HeightRange) -> Option<(Duration, Applied)> {
        self.host.host().replay(range)
    }

    fn store(&mut self, links: &[HandoverLink]) -> Option<(Duration, Result<(), HostError>)> {
        if self.is_full() {
            return Some((Duration::from_millis(5), Err(HostError::NoSpace)));
        }
        self.host.host().store(links)
    }

    fn state(&mut self, work: &HostWork) -> Option<(Duration, Result<HostReply, HostError>)> {
        if !matches!(work, HostWork::Survey(_)) && self.is_full() {
            return Some((Duration::from_millis(5), Err(HostError::NoSpace)));
        }
        self.host.host().state(work)
    }
}

/// What a disk that stays full must be told as, whatever else moves. Counts the times at which it was.
struct FullDisk {
    full: Rc<Cell<bool>>,
    since: Option<Instant>,
    stall_after: Duration,
    told: u64,
}

impl FullDisk {
    fn check(&mut self, world: &World) {
        if !self.full.get() {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(world.now());
        // The host answers after a moment, and the watch looks at times of its own.
        if world.now().since(since) > 2 * self.stall_after + Duration::from_secs(1) {
            let stall = world.machine.stall().map(|stall| (stall.reason, stall.step));
            assert_eq!(stall, Some((StallReason::DiskFull, StallStep::CallAgain)), "full since {since:?}");
            assert_eq!(world.machine.progress().eta, None);
            self.told += 1;
        }
    }
}

/// Whether `output` is the step that was announced.
fn is(step: StallStep, output: &Output) -> bool {
    match step {
        // A ban may end before.
        StallStep::AwaitPeer => {
            matches!(output, Output::Event(Event::Stalled { step: StallStep::AwaitPeer, .. }) | Output::Request { .. })
        }
        StallStep::AskPeers => matches!(output, Output::Request { .. } | Output::CancelRequest(_)),
        StallStep::AskOthers => matches!(output, Output::CancelRequest(_)),
        // A change of strategy before that drops the job and asks instead.
        StallStep::VerifyAgain => matches!(output, Output::Verify(_) | Output::Request { .. }),
        StallStep::CallAgain => matches!(output, Output::Call(_)),
        step => panic!("a step that nobody knows: {step}"),
    }
}

/// What must hold after every drain. Counts what was waited for.
fn check(world: &World, running: bool, steps: &mut [u64; 5]) {
    let machine = &world.machine;
    let Some(stall) = machine.waiting() else {
        let mut events = world.events.iter().rev();
        let at_goal = events.find_map(|(_, event)| match event {
            Event::Reached(point) => Some(point.height == machine.applied()),
            Event::Target { .. } => Some(false),
            _ => None,
        });
        assert!(!running || machine.is_halted() || at_goal == Some(true), "it stands and doesn't say why");
        return;
    };
    assert!(running, "it says that it waits, and is stopped");
    assert!(stall.since <= world.now() && stall.deadline >= world.now(), "{stall:?} at {:?}", world.now());
    steps[stall.step as usize] += 1;
    let mut alone = machine.clone();
    loop {
        match alone.poll_output() {
            Output::Wait(Some(at)) if at <= stall.deadline => alone.handle(at, Input::Timeout),
            Output::Wait(next) => panic!("{stall:?} at {:?}, and then nothing before {next:?}", world.now()),
            output if is(stall.step, &output) => return,
            _ => {}
        }
    }
}

/// Returns how often a full disk was told of.
fn try_world(seed: u64, steps: &mut [u64; 5]) -> u64 {
    let rng = &mut Rng::new(seed);
    let strategies =
        [SyncStrategyType::Auto, SyncStrategyType::Parallel, SyncStrategyType::Incremental, SyncStrategyType::Fast];
    let strategy = strategies[rng.below(4) as usize];
    let config = SyncConfig {
        default_strategy: strategy,
        state_after: Duration::ZERO,
        job_timeout: Duration::from_secs(3),
        call_timeout: Duration::from_secs(4),
        stall_after: Duration::from_millis(200 + rng.below(5_000)),
        ban_duration: Duration::from_secs(1 + rng.below(30)),
        strategy_switch_threshold: rng.below(100),
        ..SyncConfig::default()
    };
    let spec =
        ChainSpec { blocks: 300, epochs: 1 + rng.below(3), snapshot_interval: 100, seed, ..ChainSpec::default() };
    let staging = strategy == SyncStrategyType::Fast || one_in(rng, 2);
    let full = Rc::new(Cell::new(false));
    let rng_of_disk = Rng::new(rng.next_u64());
    let filling = |host| Filling { host, rng: rng_of_disk, refusals: 0, full: Rc::clone(&full) };
    let stall_after = config.stall_after;
    let mut world = if staging {
        let chain = TestChain::with_ledger(spec, 50, 10).unwrap();
        let host = StateHost::new(chain.chain());
        let start = Start { stages_state: true, ..chain.start() };
        let mut world = World::from(chain, config, start).unwrap();
        world.set_host(filling(Host::States(host)));
        world
    } else {
        let chain = TestChain::with_payloads(spec, 200, None).unwrap();
        let mut world = World::new(chain, config).unwrap();
        world.set_host(filling(Host::Fickle(Fickle(Rng::new(rng.next_u64())))));
        world
    };
    world.record();
    world.lose_jobs = (0..rng.below(20)).map(|_| rng.below(60)).collect();
    for name in 0..rng.below(5) as u8 {
        let peer = world.join(name, fickle(rng));
        for _ in 0..rng.below(4) {
            let at = Instant::ZERO.after(Duration::from_millis(rng.below(60_000)));
            world.schedule(at, PeerEvent::Disconnected { peer });
            if !one_in(rng, 3) {
                let back = at.after(Duration::from_millis(rng.below(20_000)));
                world.schedule(back, PeerEvent::Connected { peer, group: u64::from(name) });
            }
        }
    }
    check(&world, false, steps);
    let mut disk = FullDisk { full, since: None, stall_after, told: 0 };
    for _ in 0..=rng.below(3) {
        world.start();
        disk.since = None;
        check(&world, true, steps);
        world.run_until(Duration::from_secs(5 + rng.below(40)), |world| {
            check(world, true, steps);
            disk.check(world);
            false
        });
        world.stop();
        check(&world, false, steps);
        world.run_until(Duration::from_secs(rng.below(5)), |world| {
            check(world, false, steps);
            false
        });
    }
    // States and failures of the host are among what must replay.
    let trace = world.trace().unwrap();
    let replayed = trace.replay().unwrap();
    assert_eq!(replayed.digest(), trace.digest());
    assert_eq!(replayed.machine().progress(), world.machine.progress());
    disk.told
}

#[test]
fn no_silent_stall() {
    let (mut steps, mut full) = ([0; 5], 0);
    if let Some(seed) = std::env::var("STALL_SEED").ok().and_then(|seed| seed.parse().ok()) {
        try_world(seed, &mut steps);
        return;
    }
    for seed in 0..WORLDS {
        let tried = std::panic::catch_unwind(|| {
            let mut steps = [0; 5];
            let full = try_world(seed, &mut steps);
            (steps, full)
        });
        let Ok((counted, told)) = tried else { panic!("the world of STALL_SEED={seed} fails") };
        full += told;
        steps.iter_mut().zip(counted).for_each(|(all, counted)| *all += counted);
    }
    assert!(steps.iter().all(|&count| count > 100), "every step is waited for in some world: {steps:?}");
    assert!(full > 100, "some disks stay full for long: {full}");
}

/// The goal that is asked for may lie below the tip; then nothing is waited for above it.
#[test]
fn at_its_goal_it_waits_for_nothing() {
    let chain = TestChain::with_payloads(ChainSpec { blocks: 300, ..ChainSpec::default() }, 200, None).unwrap();
    let mut world = World::new(chain, SyncConfig::default()).unwrap();
    assert_eq!(world.machine.waiting(), None);
    world.join(1, Honest { states: HeightRange::new(Height::ZERO, Height::ZERO), ..Honest::default() });
    world.start();
    assert!(world.machine.waiting().is_some());
    assert!(world.run_to_tip(Duration::from_secs(60)));
    assert_eq!(world.machine.waiting(), None);
    assert_eq!(world.machine.progress().stall, None);
}
