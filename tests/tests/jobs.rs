//! Jobs on few threads: in which order, for how long, and what becomes of one that is late, lost, or could not be checked.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::chain::CheckError;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Event, Stall, StallReason, StallStep};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::{Job, Task, Verdict};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A node whose two threads take `each` for every block whose headers they verify, as where each has a certificate.
fn slow_certificates(blocks: u64, each: Duration, config: SyncConfig) -> World {
    let chain = TestChain::new(ChainSpec { blocks, epochs: 1, ..ChainSpec::default() }).unwrap();
    let mut world = World::new(chain, config).unwrap();
    world.threads = Some(2);
    world.job_time = Box::new(move |job: &Job| match job.task() {
        Task::Segment { claim, .. } | Task::Follow { claim, .. } => {
            each * u32::try_from(claim.range.count()).expect("a cell")
        }
        _ => Duration::from_micros(500),
    });
    for name in 1..=3 {
        world.join(name, Honest::default());
    }
    world
}

fn stalls(world: &World) -> Vec<StallReason> {
    let told = |(_, event): &(Instant, Event)| match event {
        Event::Stalled { reason, .. } => Some(*reason),
        _ => None,
    };
    world.events.iter().filter_map(told).collect()
}

#[test]
fn bodies_do_not_wait_behind_all_headers() {
    // Two and a half seconds for a cell's headers: fifteen for all.
    let mut world = slow_certificates(12_000, Duration::from_micros(2500), SyncConfig::default());
    world.start();
    let mut at = Vec::new();
    for second in 1..=16 {
        world.run_until(SECOND, |_| false);
        at.push((second, world.machine.applied().get()));
    }
    // Two cells are done every two and a half seconds; their bodies come next, whatever else waits. The threads may have
    // begun with any two.
    for &(second, applied) in &at {
        let verified = ((second * 1000_u64).saturating_sub(2560) / 2560) * 2 * 1024;
        assert!(applied + 2 * 1024 >= verified.min(12_000), "{at:?}");
    }
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(stalls(&world), [], "threads are at work all the time");
}

#[test]
fn a_job_is_timed_from_when_it_begins() {
    // A dozen jobs of five seconds wait for two threads, the last for half a minute; each may take twelve.
    let config = SyncConfig { job_timeout: SECOND * 12, stall_after: SECOND, ..SyncConfig::default() };
    let mut world = slow_certificates(12_000, Duration::from_micros(5000), config);
    let given_out = Rc::new(Cell::new(0));
    let count = Rc::clone(&given_out);
    world.tamper = Some(Box::new(move |_, verdict| {
        count.set(count.get() + 1);
        verdict
    }));
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(world.jobs, given_out.get(), "no job was given out twice");
    assert_eq!(stalls(&world), [], "a thread that is at work within its time is no stall");
}

#[test]
fn done_work_is_not_thrown_away() {
    // Every job for headers takes four times as long as it may.
    let config = SyncConfig { job_timeout: SECOND, ..SyncConfig::default() };
    for says_begun in [true, false] {
        let mut world = slow_certificates(4000, Duration::from_micros(4000), config.clone());
        world.says_begun = says_begun;
        let ran = Rc::new(RefCell::new(Vec::new()));
        let noted = Rc::clone(&ran);
        world.tamper = Some(Box::new(move |job, verdict| {
            noted.borrow_mut().push(job.id());
            verdict
        }));
        world.start();
        // Four jobs of four seconds on two threads, and little else.
        assert!(world.run_to_tip(SECOND * 12), "{:?} {:?}", world.now(), world.events);
        let once: BTreeSet<_> = ran.borrow().iter().copied().collect();
        assert_eq!(once.len(), ran.borrow().len(), "each was run once");
        assert_eq!(world.machine.progress().strays, 0, "and each verdict was taken in");
    }
}

#[test]
fn a_lost_job_comes_back_from_a_host_that_says_nothing() {
    for (says_begun, within) in [(true, SECOND * 3), (false, SECOND * 21)] {
        let config = SyncConfig { job_timeout: SECOND * 2, ..SyncConfig::default() };
        let chain = TestChain::new(ChainSpec { blocks: 300, epochs: 1, ..ChainSpec::default() }).unwrap();
        let mut world = World::new(chain, config).unwrap();
        (world.says_begun, world.lose_jobs) = (says_begun, [2].into());
        world.join(1, Honest::default());
        world.start();
        assert!(!world.run_to_tip(within - SECOND * 2), "{:?}", world.events);
        assert!(world.run_to_tip(SECOND * 2), "{:?}", world.events);
    }
}

/// A chain that can't check the first `times` headers that it sees.
fn failing(times: u32, config: SyncConfig) -> World {
    let chain = TestChain::new(ChainSpec { blocks: 3000, epochs: 1, ..ChainSpec::default() }).unwrap();
    let mut world = World::new(chain, config).unwrap();
    let left = Cell::new(times);
    world.tamper = Some(Box::new(move |job, verdict| {
        if left.get() == 0 || !matches!(job.task(), Task::Segment { .. }) {
            return verdict;
        }
        left.set(left.get() - 1);
        Verdict::from_host(job, Err(CheckError::Unable(17)), 0)
    }));
    world.join(1, Honest::default());
    world.join(2, Honest::default());
    world
}

#[test]
fn what_the_host_cannot_check_blames_nobody() {
    let mut world = failing(5, SyncConfig::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(world.bans, [], "nobody is to blame");
    assert_eq!(stalls(&world), [], "it did not last");
    // What was there was not asked for again.
    let progress = world.machine.progress();
    assert_eq!((progress.duplicate_bytes, progress.strays), (0, 0));
    world.stop();
    assert_eq!(world.machine.progress().buffered_bytes, 0, "all that was set aside came back");
}

#[test]
fn a_chain_that_goes_on_failing_is_told_of() {
    let mut world = failing(u32::MAX, SyncConfig { stall_after: SECOND * 2, ..SyncConfig::default() });
    world.start();
    world.run_until(MINUTE, |_| false);
    assert_eq!((world.machine.applied(), stalls(&world)), (Height::ZERO, vec![StallReason::VerifyFails(17)]));
    let Some(Stall { step, deadline, .. }) = world.machine.stall() else { panic!("it is one still") };
    assert!(step == StallStep::VerifyAgain && deadline > world.now(), "{step:?} {deadline:?}");
    // Each job was tried less and less often: after 250 ms, 500 ms, … of a minute.
    let cells = 3;
    assert!(world.jobs <= 2 + cells * 9, "{}", world.jobs);
    // The chain is mended.
    world.tamper = None;
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(world.bans, []);
}

#[test]
fn dead_threads_are_told_of() {
    let config = SyncConfig { stall_after: SECOND * 2, ..SyncConfig::default() };
    let chain = TestChain::new(ChainSpec { blocks: 300, epochs: 1, ..ChainSpec::default() }).unwrap();
    let mut world = World::new(chain, config).unwrap();
    world.says_begun = false;
    world.lose_jobs = (1..1000).collect();
    world.join(1, Honest::default());
    world.start();
    world.run_until(SECOND * 10, |_| false);
    assert_eq!(stalls(&world), [StallReason::VerifyLate]);
}

#[test]
fn a_job_may_run_where_no_memory_is_shared() {
    let spec = ChainSpec { blocks: 3000, epochs: 12, ends_epoch: true, ..ChainSpec::default() };
    let chain = TestChain::new(spec).unwrap();
    let native = chain.chain();
    let mut world = World::new(chain, SyncConfig::default()).unwrap();
    let kinds = Rc::new(RefCell::new(BTreeSet::new()));
    let seen = Rc::clone(&kinds);
    world.tamper = Some(Box::new(move |job, verdict| {
        let elsewhere = Job::decode(&job.encode()).unwrap().run(&native);
        assert_eq!(elsewhere, verdict, "{:?}", job.statement());
        let name = format!("{:?}", job.statement());
        seen.borrow_mut().insert(name.split(' ').next().unwrap_or_default().to_owned());
        Verdict::decode(&elsewhere.encode()).unwrap()
    }));
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(world.bans, []);
    for kind in ["Bodies", "HandoverPart", "Handovers", "Segment"] {
        assert!(kinds.borrow().contains(kind), "no job of the kind {kind} was run: {kinds:?}");
    }
}
