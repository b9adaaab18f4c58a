//! Traps of the host's own execution and store: lost answers, a full disk, another state. None is a peer's doing.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::calls::{Apply, HostError};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::machine::{Event, Input, StallReason};
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::verify::{Outcome, Verdict};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Applied, Applier, Honest, World};

const MINUTE: Duration = Duration::from_secs(60);

fn world(blocks: u64) -> World {
    let chain = TestChain::new(ChainSpec { blocks, epochs: 2, ..ChainSpec::default() }).unwrap();
    World::new(chain, SyncConfig::default()).unwrap()
}

/// A host whose first answers get lost.
struct Forgetful(u32);

impl Applier for Forgetful {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        self.0 = self.0.saturating_sub(1);
        let through = apply.range()?.last();
        (self.0 == 0).then_some((Duration::from_millis(1), Applied { through, stopped: None }))
    }
}

#[test]
fn unacknowledged_apply_has_a_deadline() {
    let mut world = world(300);
    world.set_host(Forgetful(3));
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE * 10), "{:?}", world.events);
    let stalled =
        world.events.iter().any(|(_, event)| matches!(event, Event::Stalled { reason: StallReason::HostLate, .. }));
    assert!(stalled, "it says why nothing moves: {:?}", world.events);
    let applies = world.calls.iter().filter(|(_, name)| *name == "apply");
    let ids: Vec<_> = applies.map(|&(id, _)| id).collect();
    assert_eq!(ids[0], ids[1], "the same call comes again under its id");
}

/// A host whose disk is full for a while, half-way through a call.
struct Full(u32);

impl Applier for Full {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        let range = apply.range()?;
        let error = (self.0 > 0).then_some(HostError::Transient);
        self.0 = self.0.saturating_sub(1);
        let through = if error.is_some() { range.first() } else { range.last() };
        Some((Duration::from_millis(1), Applied { through, stopped: error }))
    }
}

#[test]
fn a_full_disk_pauses_and_nothing_is_lost() {
    let mut world = world(3000);
    world.set_host(Full(4));
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE * 5), "{:?}", world.events);
    assert_eq!(world.machine.applied(), Height::new(3000));
}

#[test]
fn state_mismatch_halts_and_blames_no_peer() {
    struct Wrong;
    impl Applier for Wrong {
        fn apply(&mut self, _: &Apply) -> Option<(Duration, Applied)> {
            let (at, error) = (Height::new(17), Some(HostError::StateMismatch(Height::new(17))));
            Some((Duration::ZERO, Applied { through: at.prev()?, stopped: error }))
        }
    }
    let mut world = world(300);
    world.set_host(Wrong);
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_until(MINUTE, |world| world.machine.is_halted()));
    assert_eq!(world.bans, []);
    assert_eq!(world.machine.applied(), Height::new(16));
}

/// A store that refuses the second call for handovers at first, and takes those after it.
struct Gap {
    calls: u32,
    /// Epochs whose handovers are stored, in any order.
    stored: Vec<Epoch>,
}

impl Applier for Gap {
    fn store(&mut self, links: &[HandoverLink]) -> Option<(Duration, Result<(), HostError>)> {
        self.calls += 1;
        if self.calls == 2 {
            return Some((Duration::from_millis(1), Err(HostError::Transient)));
        }
        self.stored.extend(links.iter().map(|link| link.epoch.epoch()));
        Some((Duration::from_millis(1), Ok(())))
    }

    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        let last = apply.parts.last()?.segment.epoch();
        let missing = (1..=last.get()).map(Epoch::new).find(|epoch| !self.stored.contains(epoch));
        assert_eq!(missing, None, "blocks of epoch {last} are stored behind a gap in the handovers");
        Some((Duration::from_millis(1), Applied { through: apply.range()?.last(), stopped: None }))
    }
}

#[test]
fn blocks_wait_for_every_handover_below_them() {
    let chain = TestChain::new(ChainSpec { blocks: 400, epochs: 200, ..ChainSpec::default() }).unwrap();
    let mut world = World::new(chain, SyncConfig::default()).unwrap();
    world.set_host(Gap { calls: 0, stored: Vec::new() });
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
}

#[test]
fn a_verdict_on_another_question_does_not_end_the_job() {
    // Another machine numbers its jobs in the same way, and its verdicts come here: after a restart, or by a mistake.
    let run = |blocks, epochs| {
        let chain = TestChain::new(ChainSpec { blocks, epochs, ..ChainSpec::default() }).unwrap();
        let config = SyncConfig { job_timeout: MINUTE * 60, ..SyncConfig::default() };
        let mut world = World::new(chain, config).unwrap();
        world.join(1, Honest::default());
        world.start();
        world
    };
    let verdicts = Rc::new(RefCell::new(Vec::new()));
    let mut other = run(900, 3);
    let kept = Rc::clone(&verdicts);
    other.tamper = Some(Box::new(move |_, verdict| {
        kept.borrow_mut().push(verdict.clone());
        verdict
    }));
    assert!(other.run_to_tip(MINUTE), "{:?}", other.events);

    let mut world = run(3000, 1);
    assert!(world.run_until(MINUTE, |world| world.machine.target().is_some() && world.jobs_out() > 0));
    let (now, strays) = (world.now(), world.machine.progress().strays);
    let verdicts = verdicts.take();
    let count = u64::try_from(verdicts.len()).unwrap();
    for verdict in verdicts {
        world.machine.handle(now, Input::Verdict(verdict));
    }
    assert_eq!(world.machine.progress().strays, strays + count, "none is taken in");
    assert!(world.run_to_tip(MINUTE), "{:?} {:#?}", world.events, world.machine.progress());
}

/// A host that says that it has executed more than it was given.
struct Boastful;

impl Applier for Boastful {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        let through = apply.range()?.last().plus(7);
        Some((Duration::from_millis(1), Applied { through, stopped: None }))
    }
}

#[test]
fn a_hosts_word_reaches_no_further_than_what_it_was_given() {
    let mut world = world(3000);
    world.set_host(Boastful);
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(world.machine.applied(), Height::new(3000));
    let mut next = Height::new(1);
    for (_, apply) in &world.applies {
        assert_eq!(apply.range().unwrap().first(), next, "nothing is left out");
        next = apply.range().unwrap().last().next();
    }
    assert_eq!(next, Height::new(3001));
}

#[test]
fn handovers_that_do_not_continue_the_newest_epoch_are_not_taken_in() {
    let chain = TestChain::new(ChainSpec { blocks: 400, epochs: 5, ..ChainSpec::default() }).unwrap();
    let config = SyncConfig { job_timeout: Duration::from_secs(1), ..SyncConfig::default() };
    let mut world = World::new(chain, config).unwrap();
    world.set_host(Gap { calls: 10, stored: Vec::new() });
    world.join(1, Honest::default());
    // A host whose checks lose the first of several.
    let lost = Rc::new(RefCell::new(0));
    let count = Rc::clone(&lost);
    world.tamper = Some(Box::new(move |job, verdict| match verdict.outcome() {
        Ok(Outcome::Handovers { links, ahead, fault }) if links.len() > 1 && *count.borrow() == 0 => {
            *count.borrow_mut() += 1;
            let links = links[1..].to_vec();
            Verdict::from_host(job, Ok(Outcome::Handovers { links, ahead: ahead.clone(), fault: *fault }), 1)
        }
        _ => verdict,
    }));
    let strays = world.machine.progress().strays;
    world.start();
    assert!(world.run_to_tip(MINUTE * 5), "{:?}", world.events);
    assert_eq!(*lost.borrow(), 1);
    assert!(world.machine.progress().strays > strays);
}
