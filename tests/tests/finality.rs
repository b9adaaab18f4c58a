//! Conflicting finality, played against the machine: two histories that are both really final, because more than a third
//! of the power signed both. The sync must halt with evidence that anyone can check, and blame no peer: each of them
//! serves a chain that is proven.

use std::time::Duration;

use hotstuff2_sync::calls::{BlockPoint, Start};
use hotstuff2_sync::chain::native::{Conflict, ConflictEvidence, FinalityProof, FinalizedHeader, Phase, Segment};
use hotstuff2_sync::chain::{CheckError, Fault, Finalized, Memo, SegmentFacts, SegmentRef};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::limits::GRID;
use hotstuff2_sync::machine::{Event, HaltReason};
use hotstuff2_sync::verify::{Job, Outcome, Task, Verdict};
use hotstuff2_sync::wire::{Refusal, Request, encode_answer, encode_refusal, put_section};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour, Elsewhere, Honest, Reply, Scripted, World};

const MINUTE: Duration = Duration::from_secs(60);

fn chain(blocks: u64, epochs: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks, epochs, ..ChainSpec::default() }).unwrap()
}

fn world(source: TestChain) -> World {
    World::new(source, SyncConfig::default()).unwrap()
}

fn holding(earliest: u64, tip: u64) -> Honest {
    Honest { earliest: Height::new(earliest), tip: Height::new(tip), ..Honest::default() }
}

/// Refuses requests that `refused` says, and is honest otherwise.
fn without(refused: impl Fn(&Request) -> bool + 'static) -> impl Behaviour {
    Scripted(move |request: &Request, _: &TestChain, honest| if refused(request) { not_available() } else { honest })
}

fn not_available() -> Reply {
    Reply::After(Duration::from_millis(1), encode_refusal(Refusal::NotAvailable))
}

/// Runs until the world halts, and checks the evidence: it holds, both histories are in it, it names validators with more than
/// a third of the power, and nobody was banned.
fn halts(world: &mut World, fork: &TestChain) -> Conflict {
    assert!(
        world.run_until(MINUTE * 2, |world| world.machine.is_halted()),
        "no halt: {:?} {:?}",
        world.events,
        world.machine.progress()
    );
    assert_eq!(world.bans, [], "{:?}", world.events);
    let halted = world.events.iter().find_map(|(_, event)| match event {
        Event::Halted(HaltReason::ConflictingFinality { height, evidence }) => Some((*height, evidence.clone())),
        _ => None,
    });
    let (height, evidence) = halted.expect("it says why");
    let epoch = world.source.epoch_of(height).unwrap().info();
    let context = world.source.context(epoch.epoch()).unwrap();
    let conflict = ConflictEvidence::decode(&evidence).unwrap().verify(&context).unwrap();
    assert!(conflict.height <= height);
    let mut blocks = [world.source.id(conflict.height).unwrap(), fork.id(conflict.height).unwrap()];
    blocks.sort_unstable();
    assert_eq!(conflict.blocks, blocks);
    let set = epoch.validators();
    let power = |key| set.validators()[set.index_of(key).unwrap()].power;
    // One half of a proof may not say whose promise was broken.
    let guilty: u64 = conflict.culprits.iter().map(power).sum();
    let all: u64 = set.validators().iter().map(|validator| validator.power).sum();
    let wanted = !conflict.wanted.is_empty();
    assert!(3 * guilty > all || (guilty == 0 && wanted), "{guilty} of {all}, wanted: {wanted}");
    conflict
}

#[test]
fn conflicting_finality_halts_with_evidence_at_a_grid_seam() {
    for forked in [500, GRID - 1, GRID] {
        let fork = chain(3000, 1).fork(Height::new(forked)).unwrap();
        let mut world = world(chain(3000, 1));
        world.join(1, holding(1, 2 * GRID - 1));
        world.join(2, Elsewhere(chain(3000, 1).fork(Height::new(forked)).unwrap(), holding(2 * GRID, 3000)));
        world.start();
        let conflict = halts(&mut world, &fork);
        assert_eq!(conflict.height, Height::new(2 * GRID - 1));
    }
}

#[test]
fn conflicting_finality_halts_with_evidence_at_the_tip() {
    // Nobody gives headers: all that shows the conflict is two proven tips of one height.
    let headers = |request: &Request| matches!(request, Request::Segment { .. } | Request::Follow { .. });
    let fork = chain(300, 1).fork(Height::new(200)).unwrap();
    let mut world = world(chain(300, 1));
    world.join(1, without(headers));
    let other = chain(300, 1).fork(Height::new(200)).unwrap();
    world.join(
        2,
        Scripted(
            move |request: &Request, _: &TestChain, _| {
                if headers(request) { not_available() } else { Honest::default().reply(request, &other) }
            },
        ),
    );
    world.start();
    let conflict = halts(&mut world, &fork);
    assert_eq!((conflict.height, world.applied.as_slice()), (Height::new(300), [].as_slice()));
}

#[test]
fn conflicting_finality_halts_with_evidence_at_an_epoch_boundary() {
    // Handovers from one history, headers from the other.
    let fork = chain(3000, 2).fork(Height::new(700)).unwrap();
    let mut world = world(chain(3000, 2));
    world.join(1, without(|request| matches!(request, Request::Segment { .. } | Request::Follow { .. })));
    let other = chain(3000, 2).fork(Height::new(700)).unwrap();
    world.join(
        2,
        Scripted(move |request: &Request, _: &TestChain, _| match request {
            Request::Handovers { .. } | Request::Tip => not_available(),
            _ => holding(1, 1500).reply(request, &other),
        }),
    );
    world.start();
    let conflict = halts(&mut world, &fork);
    assert_eq!(conflict.height, Height::new(1500));
    assert!(world.applied.last() < Some(&Height::new(GRID)), "nothing of the cell that contradicts is applied");
}

/// A node that stands at `height` of `chain`, with the proof of the block there.
fn standing_at(chain: &TestChain, height: u64) -> Start {
    let height = Height::new(height);
    let stored = BlockPoint { height, id: chain.id(height).unwrap() };
    let epoch = chain.epoch_of(height).unwrap().info().to_ref();
    Start {
        stored,
        stored_proof: Some(Finalized::Tip(chain.tip(height).unwrap())),
        applied: height,
        epoch,
        ..chain.start()
    }
}

#[test]
fn conflicting_finality_halts_with_evidence_where_the_node_left_off() {
    // It stood inside of a cell, on one history; everybody that it meets now follows the other, up to inside the same
    // cell or beyond, and it may follow or download.
    for (tip, strategy) in [
        (60, SyncStrategyType::Incremental),
        (700, SyncStrategyType::Parallel),
        (700, SyncStrategyType::Incremental),
        (3000, SyncStrategyType::Parallel),
        (3000, SyncStrategyType::Incremental),
    ] {
        let source = chain(3000, 1);
        let start = standing_at(&source, 50);
        let config = SyncConfig { default_strategy: strategy, ..SyncConfig::default() };
        let mut world = World::from(source, config, start).unwrap();
        let fork = chain(3000, 1).fork(Height::new(30)).unwrap();
        world.join(1, Elsewhere(chain(3000, 1).fork(Height::new(30)).unwrap(), holding(1, tip)));
        world.start();
        let conflict = halts(&mut world, &fork);
        assert_eq!(conflict.height, Height::new(50), "{tip} {strategy}");
        assert_eq!(world.applied, []);
    }
}

#[test]
fn conflicting_finality_halts_with_evidence_above_an_anchored_tail() {
    // The last cell has no certificate of its own, only the tip that it ends at.
    let mut world = world(chain(3000, 1));
    let gone = world.join(1, holding(1, 1500));
    world.start();
    assert!(world.run_until(MINUTE, |world| world.reached() == Some(Height::new(1500))));
    world.leave(gone);
    let fork = chain(3000, 1).fork(Height::new(1200)).unwrap();
    world.join(2, Elsewhere(chain(3000, 1).fork(Height::new(1200)).unwrap(), Honest::default()));
    let conflict = halts(&mut world, &fork);
    assert_eq!(conflict.height, Height::new(1500), "the lowest of which both proofs hold a header");
    assert_eq!(world.applied.last(), Some(&Height::new(1500)));
}

#[test]
fn conflicting_finality_halts_with_evidence_where_epochs_meet() {
    // One history up to the end of the first epoch, and from there on the other, whose first header names a parent that
    // is not the block at which the handover ended the epoch. Who serves the second epoch has pruned the first; it still
    // has all handovers.
    for (gives_handover, first_alone) in [(true, true), (false, true), (false, false)] {
        let fork = chain(3000, 2).fork(Height::new(700)).unwrap();
        let mut world = world(chain(3000, 2));
        world.join(
            1,
            Scripted(move |request: &Request, chain: &TestChain, _| match request {
                Request::Handovers { .. } if !gives_handover => not_available(),
                _ => holding(1, 1500).reply(request, chain),
            }),
        );
        if first_alone {
            world.start();
            assert!(world.run_until(MINUTE, |world| world.machine.applied() == Height::new(1500)));
        }
        world.join(2, Elsewhere(chain(3000, 2).fork(Height::new(700)).unwrap(), holding(1501, 3000)));
        if !first_alone {
            world.start();
        }
        let conflict = halts(&mut world, &fork);
        assert_eq!(conflict.height, Height::new(1500), "{gives_handover} {first_alone}");
    }
    // The same for a node that comes back at the end of the first epoch: all it has of its own history is the proof that
    // it stored.
    let source = chain(3000, 2);
    let start = standing_at(&source, 1500);
    let mut world = World::from(source, SyncConfig::default(), start).unwrap();
    let fork = chain(3000, 2).fork(Height::new(700)).unwrap();
    world.join(1, Elsewhere(chain(3000, 2).fork(Height::new(700)).unwrap(), holding(1501, 3000)));
    world.start();
    assert_eq!(halts(&mut world, &fork).height, Height::new(1500));
}

#[test]
fn conflicting_finality_halts_with_evidence_against_a_stored_handover() {
    // It comes back below the end of an epoch whose handover it has stored, and everybody follows the other history now.
    for forked in [700, 1499, 1500] {
        let source = chain(3000, 2);
        let start = Start { handovers: source.handovers().to_vec(), ..standing_at(&source, 50) };
        let mut world = World::from(source, SyncConfig::default(), start).unwrap();
        let fork = chain(3000, 2).fork(Height::new(forked)).unwrap();
        world.join(1, Elsewhere(chain(3000, 2).fork(Height::new(forked)).unwrap(), Honest::default()));
        world.start();
        assert_eq!(halts(&mut world, &fork).height, Height::new(1500), "{forked}");
        assert!(world.applied.last() < Some(&Height::new(1500)));
    }
}

#[test]
fn conflicting_finality_halts_with_evidence_below_a_state() {
    // The tip of one history, and the headers that a state is to be proven by from the other.
    let chain = || {
        let spec = ChainSpec { blocks: 700, epochs: 1, snapshot_interval: 100, ..ChainSpec::default() };
        TestChain::with_ledger(spec, 20, 100).unwrap()
    };
    let config = SyncConfig { default_strategy: SyncStrategyType::Fast, ..SyncConfig::default() };
    let start = Start { stages_state: true, ..chain().start() };
    let mut world = World::from(chain(), config, start).unwrap();
    let headers = |request: &Request| matches!(request, Request::Segment { .. } | Request::Follow { .. });
    world.join(1, without(headers));
    let fork = chain().fork(Height::new(300)).unwrap();
    let other = chain().fork(Height::new(300)).unwrap();
    let theirs = move |request: &Request, _: &TestChain, honest| {
        if headers(request) { Honest::default().reply(request, &other) } else { honest }
    };
    world.join(2, Scripted(theirs));
    world.start();
    assert_eq!(halts(&mut world, &fork).height, Height::new(700));
}

#[test]
fn conflicting_finality_halts_with_evidence_between_two_camps() {
    // Every peer is honest and holds all of its own history, up to the same height or another one. Wherever the two meet
    // first, the sync halts there; it does not take one side by banning the other. It may end in one camp without having
    // seen anything of the other.
    let mut halted = 0;
    let mut runs = 0;
    for forked in [1, 700, 1023, 1024, 1499, 1500, 1501, 2999] {
        for (ours, theirs) in [(3000, 3000), (3000, 2995), (2995, 3000), (3000, 1500), (2500, 3000)] {
            let fork = chain(3000, 2).fork(Height::new(forked)).unwrap();
            if forked > ours.min(theirs) {
                continue;
            }
            let mut world = world(chain(3000, 2));
            world.join(1, holding(1, ours));
            world.join(2, Elsewhere(chain(3000, 2).fork(Height::new(forked)).unwrap(), holding(1, theirs)));
            world.join(3, holding(1, ours));
            world.start();
            runs += 1;
            world.run_until(MINUTE, |world| world.machine.is_halted() || world.reached().is_some());
            assert_eq!(world.bans, [], "{forked} {ours} {theirs}: {:?}", world.events);
            if world.reached().is_none() {
                let conflict = halts(&mut world, &fork);
                assert!(conflict.height >= Height::new(forked), "{forked} {ours} {theirs}");
                halted += 1;
            }
        }
    }
    assert!(2 * halted >= runs, "{halted} of {runs}");
}

#[test]
fn a_late_witness_of_another_history_is_heard() {
    // The tip of one history is proven before anyone of the other comes; their tips are at one height.
    let mut world = world(chain(3000, 1));
    world.join(1, without(|request| matches!(request, Request::Segment { .. } | Request::Follow { .. })));
    world.start();
    assert!(world.run_until(MINUTE, |world| world.machine.target() == Some(Height::new(3000))));
    let fork = chain(3000, 1).fork(Height::new(2900)).unwrap();
    world.join(2, Elsewhere(chain(3000, 1).fork(Height::new(2900)).unwrap(), Honest::default()));
    let conflict = halts(&mut world, &fork);
    assert_eq!(conflict.height, Height::new(3000));
}

/// The verdict of a job whose segment's facts a bit was flipped in.
fn flip_parent(job: &Job, verdict: &Verdict) -> Option<Verdict> {
    let Ok(Outcome::Segment { segment, frames }) = verdict.outcome() else { return None };
    let mut parent_id = *segment.parent_id().as_bytes();
    parent_id[7] ^= 4;
    let facts = SegmentFacts {
        range: segment.range(),
        parent_id: Hash::from_bytes(parent_id),
        last_id: segment.last_id(),
        last_timestamp: segment.last_timestamp(),
        payload_lens: segment.payload_lens().to_vec(),
        quorum_checks: 1,
    };
    let (bytes, audit) = (segment.bytes().clone(), segment.audit().clone());
    let flipped = SegmentRef::trusted(segment.epoch(), facts, bytes, audit, Memo::default());
    Some(Verdict::from_host(job, Ok(Outcome::Segment { segment: flipped, frames: frames.clone() }), 1))
}

/// Whether a job looks again at two proofs that seem to conflict.
fn looks_again(job: &Job) -> bool {
    matches!(job.task(), Task::Conflict { .. })
}

#[test]
fn a_flipped_bit_does_not_halt() {
    // The second cell seems to have another parent than the first one ends at. Both jobs run again, both proofs hold,
    // and there is no conflict in them: the cell is fetched again, and the sync goes on.
    let mut world = world(chain(3000, 1));
    let (looked, flipped) = (std::rc::Rc::new(std::cell::Cell::new(0)), std::rc::Rc::new(std::cell::Cell::new(0)));
    let (looks, flips) = (looked.clone(), flipped.clone());
    world.tamper = Some(Box::new(move |job, verdict| {
        looks.set(looks.get() + u32::from(looks_again(job)));
        let second = matches!(job.task(), Task::Segment { claim, .. } if claim.range.first() == Height::new(GRID));
        match flip_parent(job, &verdict) {
            Some(other) if second && flips.get() == 0 => {
                flips.set(1);
                other
            }
            _ => verdict,
        }
    }));
    world.join(1, Honest::default());
    world.join(2, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!((flipped.get(), looked.get()), (1, 1), "it happened, and was looked at again");
    assert_eq!(world.bans, []);
    assert_eq!(world.applied, (1..=3000).map(Height::new).collect::<Vec<_>>());
}

#[test]
fn a_flipped_bit_in_a_second_look_does_not_halt() {
    // A conflict that is really there; but the job that looks again finds nothing. It is not believed to be one, and is
    // found again as soon as the two histories meet again.
    let fork = chain(3000, 1).fork(Height::new(500)).unwrap();
    let mut world = world(chain(3000, 1));
    let mut looked = 0;
    world.tamper = Some(Box::new(move |job, verdict| {
        looked += u32::from(looks_again(job));
        if looks_again(job) && looked < 3 {
            return Verdict::from_host(job, Err(CheckError::False(Fault::BadCertificate)), 2);
        }
        verdict
    }));
    world.join(1, holding(1, 2 * GRID - 1));
    world.join(2, Elsewhere(chain(3000, 1).fork(Height::new(500)).unwrap(), holding(2 * GRID, 3000)));
    world.start();
    halts(&mut world, &fork);
}

/// A peer that shows certified blocks of a dead fork: each has a phase-one certificate, none is final.
fn dead_fork(fork: TestChain, certificate: fn(&TestChain, Height) -> FinalityProof) -> impl Behaviour {
    Scripted(move |request: &Request, _: &TestChain, _| {
        let answer = match *request {
            Request::Tip => {
                let tip = fork.tip_height();
                let mut answer = encode_answer(0);
                let header = fork.header(tip).unwrap().clone();
                answer.extend(FinalizedHeader::new(header, certificate(&fork, tip)).encode());
                answer.into()
            }
            Request::Segment { range, certified: true, .. } => {
                let headers = (range.first().get()..=range.last().get())
                    .map(|height| fork.header(Height::new(height)).unwrap().clone())
                    .collect();
                let parent = fork.header(range.first().prev().unwrap()).unwrap().clone();
                let segment = Segment::new(parent, headers, certificate(&fork, range.last())).unwrap();
                let mut answer = encode_answer(0);
                assert!(put_section(&mut answer, &segment.encode()) && put_section(&mut answer, &[]));
                answer.into()
            }
            _ => fork.respond(request),
        };
        Reply::After(Duration::from_millis(1), answer)
    })
}

/// A certificate of the block itself, put where a certificate for its child in the next view belongs.
fn no_child(fork: &TestChain, height: Height) -> FinalityProof {
    let header = fork.header(height).unwrap();
    let qc = fork.epoch_of(height).unwrap().certify(Phase::One, header);
    FinalityProof::TwoChain { descendants: Vec::new(), qc }
}

/// A phase-one certificate passed off as one of phase two.
fn first_phase_as_second(fork: &TestChain, height: Height) -> FinalityProof {
    let header = fork.header(height).unwrap();
    let qc = fork.epoch_of(height).unwrap().certify(Phase::One, header);
    FinalityProof::DoubleCertificate { descendants: Vec::new(), qc }
}

#[test]
fn one_chain_is_not_final() {
    for certificate in [no_child, first_phase_as_second] {
        // Alone, it proves nothing to a new node …
        let mut world = world(chain(3000, 1));
        let forked = || chain(3000, 1).fork(Height::new(10)).unwrap();
        let liar = world.join(1, dead_fork(forked(), certificate));
        world.start();
        assert!(world.run_until(MINUTE, |world| world.is_banned(liar)), "{:?}", world.events);
        assert_eq!((world.machine.target(), world.applied.len()), (None, 0));
        // … and beside an honest peer it keeps nobody from the real chain, and is no conflict.
        let again = world.join(2, dead_fork(forked(), certificate));
        world.join(3, Honest::default());
        assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
        let real: Vec<_> =
            world.applies.iter().flat_map(|(_, apply)| &apply.parts).map(|part| part.segment.last_id()).collect();
        assert_eq!(real.last().copied(), world.source.id(Height::new(3000)));
        assert!(world.bans.iter().all(|&(_, peer)| peer == liar || peer == again));
        assert!(!world.machine.is_halted());
    }
}

#[test]
fn one_chain_moves_no_follower() {
    for certificate in [no_child, first_phase_as_second] {
        // A node at the tip of the real chain; the dead fork goes on above it, certified block by block.
        let source = chain(300, 1);
        let start = standing_at(&source, 250);
        let config = SyncConfig { default_strategy: SyncStrategyType::Incremental, ..SyncConfig::default() };
        let mut world = World::from(source, config, start).unwrap();
        let fork = chain(300, 1).fork(Height::new(251)).unwrap();
        let liar = world.join(
            1,
            Scripted(move |request: &Request, _: &TestChain, _| {
                let Request::Follow { after, .. } = *request else {
                    let status = matches!(request, Request::Status);
                    return if status { Honest::default().reply(request, &fork) } else { not_available() };
                };
                if after >= fork.tip_height() {
                    return not_available();
                }
                let headers =
                    (after.next().get()..=300).map(|h| fork.header(Height::new(h)).unwrap().clone()).collect();
                let parent = fork.header(after).unwrap().clone();
                let segment = Segment::new(parent, headers, certificate(&fork, Height::new(300))).unwrap();
                let range = hotstuff2_sync::ranges::HeightRange::new(after.next(), Height::new(300)).unwrap();
                let bodies = fork.respond(&Request::Bodies { range, max_bytes: 1 << 20 });
                let mut answer = encode_answer(0);
                assert!(put_section(&mut answer, &segment.encode()) && put_section(&mut answer, &[]));
                answer.extend_from_slice(&bodies[1..]);
                Reply::After(Duration::from_millis(1), answer.into())
            }),
        );
        world.start();
        assert!(world.run_until(MINUTE, |world| world.is_banned(liar)), "{:?}", world.events);
        assert_eq!((world.machine.target(), world.applied.len()), (None, 0));
    }
}

#[test]
fn headers_that_end_elsewhere_are_a_lie_unless_proven() {
    // Headers that end at another block than the proven one, from a peer that has no proof for it: it is asked once for
    // one, and banned for what it gives.
    for answers in [true, false] {
        let mut world = world(chain(300, 1));
        let fork = chain(300, 1).fork(Height::new(10)).unwrap();
        let liar = world.join(
            1,
            Scripted(move |request: &Request, _: &TestChain, honest| match request {
                Request::Segment { .. } => Reply::After(Duration::from_millis(1), fork.respond(request)),
                Request::Follow { .. } if !answers => Reply::Never,
                _ => honest,
            }),
        );
        world.start();
        world.run_until(MINUTE, |world| world.is_banned(liar));
        assert_eq!(world.is_banned(liar), answers, "{:?}", world.events);
        assert_eq!(world.applied, []);
        world.join(2, Honest::default());
        assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
        assert!(!world.machine.is_halted());
    }
}
