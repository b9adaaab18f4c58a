//! Long answers of handovers: linked by hash first, their certificates checked side by side, and what a lie in them costs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::HostError;
use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::chain::native::{FinalityProof, Handover};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Epoch;
use hotstuff2_sync::machine::Event;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::{HandoverLink, Job, Task};
use hotstuff2_sync::wire::{Answer, Request, Sections, encode_answer, put_section};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Applier, Honest, Reply, Scripted, World};

const MINUTE: Duration = Duration::from_secs(60);

fn chain(epochs: u64, seed: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks: epochs * 2, epochs, seed, ..ChainSpec::default() }).unwrap()
}

/// A host that notes how many handovers it was given at once.
struct Noting(Rc<RefCell<Vec<usize>>>);

impl Applier for Noting {
    fn store(&mut self, links: &[HandoverLink]) -> Option<(Duration, Result<(), HostError>)> {
        self.0.borrow_mut().push(links.len());
        Some((Duration::from_millis(1), Ok(())))
    }
}

/// The handovers in an answer.
fn handovers(answer: &Bytes) -> Vec<Bytes> {
    let Ok(Answer::Data(data)) = Answer::decode(answer.clone()) else { panic!("an answer") };
    let mut sections = Sections::new(data);
    let mut all = Vec::new();
    while let Some(section) = sections.take() {
        all.push(section);
    }
    all
}

fn answer(handovers: &[Bytes]) -> Bytes {
    let mut answer = encode_answer(0);
    assert!(handovers.iter().all(|handover| put_section(&mut answer, handover)));
    answer.into()
}

/// The same handover with two signatures in each other's place.
fn unsigned(handover: &Bytes) -> Bytes {
    let mut handover = Handover::decode(handover).unwrap();
    match &mut handover.proof {
        FinalityProof::TwoChain { qc, .. } | FinalityProof::DoubleCertificate { qc, .. } => qc.signatures.swap(0, 1),
        FinalityProof::Anchored { .. } => panic!("a handover has a certificate"),
    }
    handover.encode().into()
}

/// A peer that changes its answers of handovers.
fn liar(
    change: impl Fn(&Request, Vec<Bytes>) -> Vec<Bytes> + 'static,
) -> impl hotstuff2_sync_testkit::world::Behaviour {
    Scripted(move |request: &Request, _: &TestChain, honest| match (request, honest) {
        (Request::Handovers { .. }, Reply::After(after, bytes)) => {
            Reply::After(after, answer(&change(request, handovers(&bytes))))
        }
        (_, honest) => honest,
    })
}

fn fault(world: &World) -> Option<Fault> {
    world.events.iter().find_map(|(_, event)| match event {
        Event::Banned { fault, .. } => Some(*fault),
        _ => None,
    })
}

#[test]
fn certificates_of_a_long_answer_are_checked_side_by_side() {
    let each = Duration::from_millis(50);
    let run = |threads| {
        let mut world = World::new(chain(129, 1), SyncConfig::default()).unwrap();
        world.threads = Some(threads);
        world.job_time = Box::new(move |job: &Job| match job.task() {
            Task::Handovers { .. } => each,
            Task::HandoverPart { links, .. } => each * u32::try_from(links.len()).unwrap(),
            _ => Duration::from_micros(10),
        });
        world.join(1, Honest::default());
        world.start();
        assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
        (world.now(), world.machine.progress())
    };
    let (one, before) = run(1);
    let (four, after) = run(4);
    let seconds = |at: Instant| at.since(Instant::ZERO);
    assert!(seconds(one) >= each * 128, "{one:?}");
    // Two answers: a link's check, and two rounds of four parts each.
    assert!(seconds(four) <= each * 2 * (1 + 2 * 8) + Duration::from_secs(1), "{four:?}");
    assert_eq!(before.quorum_checks, after.quorum_checks, "the same is checked");
}

#[test]
fn a_proven_prefix_of_a_long_answer_is_kept() {
    for bad in [1, 20, 63] {
        let mut world = World::new(chain(129, 1), SyncConfig::default()).unwrap();
        let stored = Rc::new(RefCell::new(Vec::new()));
        world.set_host(Noting(Rc::clone(&stored)));
        let liar = world.join(
            1,
            liar(move |request, mut all| {
                if matches!(request, Request::Handovers { from, .. } if *from == Epoch::ZERO) {
                    all[bad] = unsigned(&all[bad]);
                }
                all
            }),
        );
        world.start();
        assert!(world.run_until(MINUTE, |world| world.is_banned(liar)), "{:?}", world.events);
        assert_eq!((fault(&world), &stored.borrow()[..]), (Some(Fault::BadCertificate), &[bad][..]));
        let honest = world.join(2, Honest::default());
        assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
        assert!(!world.is_banned(honest));
        let asked = world.requests.iter().find_map(|(_, peer, request)| match request {
            Request::Handovers { from, .. } if *peer == honest => Some(from.get()),
            _ => None,
        });
        assert_eq!(asked, Some(bad as u64), "what was proven is not asked for again");
        world.stop();
        assert_eq!(world.machine.progress().buffered_bytes, 0, "all that was set aside came back");
    }
}

#[test]
fn a_fabricated_set_costs_a_hash() {
    // Handovers of another chain: all of them, or all behind the first; or true ones for which nobody signed.
    for (honest, unsigned_ones, checks) in [(0, false, 0), (1, false, 1), (0, true, 1)] {
        let mut world = World::new(chain(129, 1), SyncConfig::default()).unwrap();
        let forged = chain(129, 999);
        let counted = Rc::new(Cell::new(0));
        let count = Rc::clone(&counted);
        world.tamper = Some(Box::new(move |job, verdict| {
            if matches!(job.task(), Task::Handovers { .. } | Task::HandoverPart { .. }) {
                count.set(count.get() + verdict.quorum_checks());
            }
            verdict
        }));
        let liar = world.join(
            1,
            liar(move |request, all| match unsigned_ones {
                true => all.iter().map(unsigned).collect(),
                false => {
                    let other = handovers(&forged.respond(request));
                    all.into_iter().take(honest).chain(other.into_iter().skip(honest)).collect()
                }
            }),
        );
        world.start();
        assert!(world.run_until(MINUTE, |world| world.is_banned(liar)), "{:?}", world.events);
        assert_eq!(counted.get(), checks, "{:?}", fault(&world));
    }
}
