//! What is asked and checked no more often than it must be, and the lies that could hide behind that.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::native::Segment;
use hotstuff2_sync::chain::{Chain as _, Fault, SegmentClaim, SegmentEnd};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Epoch, Height, PeerId};
use hotstuff2_sync::machine::Event;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::Task;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Reply, Scripted, World};

const MINUTE: Duration = Duration::from_secs(60);

fn chain(blocks: u64, epochs: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks, epochs, ..ChainSpec::default() }).unwrap()
}

fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(Height::new(first), Height::new(last)).unwrap()
}

/// Counts jobs that check a tip.
fn count_tip_jobs(world: &mut World) -> Rc<Cell<u32>> {
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    world.tamper = Some(Box::new(move |job, verdict| {
        counted.set(counted.get() + u32::from(matches!(job.task(), Task::Tip { .. })));
        verdict
    }));
    count
}

#[test]
fn the_same_tip_is_checked_once() {
    // At the same time, and long after the first one's verdict.
    for latency in [5, 300] {
        let mut world = World::new(chain(300, 1), SyncConfig::default()).unwrap();
        let checked = count_tip_jobs(&mut world);
        for name in 1..=3 {
            let late = Duration::from_millis(if name == 3 { latency } else { 5 });
            world.join(name, Honest { latency: late, ..Honest::default() });
        }
        world.start();
        assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
        assert_eq!((checked.get(), world.machine.progress().quorum_checks), (1, 1));
    }
}

/// Gives tips with a flipped bit.
fn tip_liar() -> impl Behaviour {
    Scripted(|request: &Request, _: &TestChain, honest| match (request, honest) {
        (Request::Tip, Reply::After(after, bytes)) => {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            Reply::After(after, bytes.into())
        }
        (_, honest) => honest,
    })
}

#[test]
fn whoever_gives_the_same_false_tip_is_blamed() {
    let mut world = World::new(chain(300, 1), SyncConfig::default()).unwrap();
    let checked = count_tip_jobs(&mut world);
    let liars = [world.join(1, tip_liar()), world.join(2, tip_liar())];
    world.start();
    let all = |world: &World| liars.iter().all(|&liar| world.is_banned(liar));
    assert!(world.run_until(MINUTE, all), "{:?}", world.events);
    assert_eq!((checked.get(), world.machine.target()), (1, None), "one check was enough for both, and proved nothing");
    let honest = world.join(3, Honest::default());
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert!(!world.is_banned(honest));
}

#[test]
fn a_lost_tip_check_is_made_again_for_all_who_share_it() {
    let config = SyncConfig { job_timeout: Duration::from_secs(2), ..SyncConfig::default() };
    let mut world = World::new(chain(300, 1), config).unwrap();
    world.lose_jobs = [1].into();
    let liars = [world.join(1, tip_liar()), world.join(2, tip_liar())];
    world.start();
    let all = |world: &World| liars.iter().all(|&liar| world.is_banned(liar));
    assert!(world.run_until(Duration::from_secs(4), all), "{:?}", world.events);
}

#[test]
fn the_end_of_an_epoch_is_checked_once() {
    let mut world = World::new(chain(3000, 3), SyncConfig::default()).unwrap();
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    // Two handovers, one tip, and the two cells that end neither an epoch nor at the tip.
    assert_eq!(world.machine.progress().quorum_checks, 2 + 1 + 2);
    // What is handed on to be stored proves its end by itself all the same.
    let mut ends = Vec::new();
    for part in world.applies.iter().flat_map(|(_, apply)| &apply.parts) {
        let (segment, epoch) = (&part.segment, world.source.context(part.segment.epoch()).unwrap());
        if segment.range().last() == epoch.range().last() && segment.epoch() < Epoch::new(2) {
            let claim = SegmentClaim { range: segment.range(), parent: None, end: SegmentEnd::Certified, audit: false };
            let (_, facts) = world.source.chain().verify_segment(&epoch, &claim, segment.bytes(), &[]).unwrap();
            assert_eq!(facts.quorum_checks, 1);
            ends.push(segment.range().last().get());
        }
    }
    ends.dedup();
    assert_eq!(ends, [1000, 2000]);
}

#[test]
fn a_last_segment_with_another_proof_is_checked() {
    // The true last segment of the first epoch with a false signature, though its handover was proven.
    let mut world = World::new(chain(3000, 3), SyncConfig::default()).unwrap();
    let liar = world.join(
        1,
        Scripted(|request: &Request, chain: &TestChain, honest| match *request {
            Request::Segment { range: asked, .. } if asked.last() == Height::new(1000) => {
                let headers = chain.segment(asked, SegmentEnd::Certified).unwrap();
                let other = chain.segment(range(1001, 1023), SegmentEnd::Certified).unwrap();
                let forged = headers.headers().to_vec();
                let forged = Segment::new(headers.parent().clone(), forged, other.proof().clone()).unwrap();
                let mut answer = hotstuff2_sync::wire::encode_answer(0);
                assert!(hotstuff2_sync::wire::put_section(&mut answer, &forged.encode()));
                assert!(hotstuff2_sync::wire::put_section(&mut answer, &[]));
                Reply::After(Duration::from_millis(1), answer.into())
            }
            _ => honest,
        }),
    );
    world.start();
    assert!(world.run_until(MINUTE, |world| world.is_banned(liar)), "{:?}", world.events);
    assert!(world.applied.is_empty());
}

fn asked(world: &World, matches: impl Fn(&Request) -> bool) -> usize {
    world.requests.iter().filter(|(_, _, request)| matches(request)).count()
}

#[test]
fn bodies_come_with_their_headers() {
    let spec = ChainSpec { blocks: 60_000, epochs: 1, ..ChainSpec::default() };
    let mut world = World::new(TestChain::with_payloads(spec, 1000, None).unwrap(), SyncConfig::default()).unwrap();
    for name in 1..=3 {
        world.join(name, Honest::default());
    }
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    let headers = asked(&world, |request| matches!(request, Request::Segment { .. }));
    let alone = asked(&world, |request| matches!(request, Request::Bodies { .. }));
    // Without before the first answers have said how large blocks are and how fast the peers, and beside what a peer is
    // tried by.
    assert!(headers == 59 && alone <= 40, "{headers} {alone}");
    let progress = world.machine.progress();
    assert_eq!(progress.duplicate_bytes, 0);
    assert!(progress.peak_buffered_bytes <= progress.budget_bytes, "{progress:?}");
    world.stop();
    assert_eq!(world.machine.progress().buffered_bytes, 0, "all that was set aside came back");
    let blocks: u64 = progress.peers.iter().map(|peer| peer.blocks).sum();
    assert_eq!(blocks, 60_000);
}

#[test]
fn slow_peers_and_large_blocks_are_asked_in_parts() {
    for (bytes, rate) in [(1000, 2_000_000), (20_000, 50_000_000)] {
        let spec = ChainSpec { blocks: 5000, epochs: 1, ..ChainSpec::default() };
        let chain = TestChain::with_payloads(spec, bytes, None).unwrap();
        let mut world = World::new(chain, SyncConfig::default()).unwrap();
        world.join(1, Honest { rate, ..Honest::default() });
        world.start();
        assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
        assert_eq!(asked(&world, |request| matches!(request, Request::Segment { bodies: 1.., .. })), 0);
    }
}

/// The fault for which a peer is banned that changes answers with bodies behind headers.
fn fault_of(change: impl Fn(HeightRange, &TestChain, Bytes) -> Bytes + 'static) -> Option<Fault> {
    let spec = ChainSpec { blocks: 30_000, epochs: 1, ..ChainSpec::default() };
    let mut world = World::new(TestChain::with_payloads(spec, 1000, None).unwrap(), SyncConfig::default()).unwrap();
    let liar: PeerId = world.join(
        1,
        Scripted(move |request: &Request, chain: &TestChain, honest| match (request, honest) {
            (&Request::Segment { range, bodies: 1.., .. }, Reply::After(after, bytes)) => {
                Reply::After(after, change(range, chain, bytes))
            }
            (_, honest) => honest,
        }),
    );
    world.start();
    world.run_until(MINUTE, |world| world.is_banned(liar));
    world.join(2, Honest::default());
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    world.events.iter().find_map(|(_, event)| match event {
        Event::Banned { fault, .. } => Some(*fault),
        _ => None,
    })
}

#[test]
fn false_bodies_behind_headers_are_a_fault() {
    let flip = |_: HeightRange, _: &TestChain, bytes: Bytes| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes.into()
    };
    assert!(matches!(fault_of(flip), Some(Fault::BadPayload(_))));
    let cut = |_: HeightRange, _: &TestChain, bytes: Bytes| bytes.slice(..bytes.len() - 1);
    assert_eq!(fault_of(cut), Some(Fault::BadFrame));
    // Headers alone are true and enough.
    let none = |range: HeightRange, chain: &TestChain, _: Bytes| {
        chain.respond(&Request::Segment { range, certified: true, audit: false, bodies: 0 })
    };
    assert_eq!(fault_of(none), None);
}

#[test]
fn a_server_sends_no_more_bodies_than_asked_for() {
    let spec = ChainSpec { blocks: 1023, epochs: 1, ..ChainSpec::default() };
    let chain = TestChain::with_payloads(spec, 1000, None).unwrap();
    let ask =
        |bodies| chain.respond(&Request::Segment { range: range(1, 1023), certified: true, audit: false, bodies });
    let headers = ask(0).len();
    assert_eq!(ask(1).len(), headers, "not even the first block where it is larger");
    assert!((9_000..=10_000 + 9).contains(&(ask(10_000).len() - headers)), "{}", ask(10_000).len() - headers);
}
