//! Traps among peers: attacks and faults played against the machine with real wire code and real verification.
//!
//! Each test is named after the trap that it springs; deleting the check that stops the attack makes it fail.

mod claims;
mod slow;

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, PeerId, RequestId};
use hotstuff2_sync::machine::{Event, Input, Output, PeerEvent};
use hotstuff2_sync::peers::PeerHealth;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{PeerStatus, Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Reply, Scripted, World, claiming, status_answer};

const MINUTE: Duration = Duration::from_secs(60);

fn chain(blocks: u64, epochs: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks, epochs, ..ChainSpec::default() }).unwrap()
}

fn world(blocks: u64) -> World {
    World::new(chain(blocks, 2), SyncConfig::default()).unwrap()
}

fn status(chain: &TestChain, tip: u64, epoch: u64) -> Bytes {
    status_answer(&claiming(chain, tip, epoch))
}

/// Flips a bit in the last byte of an answer with data.
fn corrupt(reply: Reply) -> Reply {
    match reply {
        Reply::After(after, bytes) if bytes.len() > 1 => {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            Reply::After(after, bytes.into())
        }
        other => other,
    }
}

/// Gives false bodies.
fn body_liar() -> impl Behaviour {
    Scripted(|request: &Request, _: &TestChain, honest| match request {
        Request::Bodies { .. } | Request::Follow { .. } | Request::Segment { bodies: 1.., .. } => corrupt(honest),
        _ => honest,
    })
}

fn count(world: &World, peer: PeerId, matches: impl Fn(&Request) -> bool) -> usize {
    world.requests.iter().filter(|(_, asked, request)| *asked == peer && matches(request)).count()
}

#[test]
fn late_unsolicited_and_crossed_responses_are_counted_not_obeyed() {
    let mut world = world(300);
    // The first answer to each request for bodies comes long after its time.
    let slow = world.join(
        1,
        Scripted(|request: &Request, _: &TestChain, honest| match request {
            Request::Bodies { .. } => Reply::Never,
            _ => honest,
        }),
    );
    world.start();
    world.run_until(Duration::from_secs(5), |world| count(world, slow, |r| matches!(r, Request::Bodies { .. })) > 0);
    let before = world.machine.clone();
    let strays = before.progress().strays;
    let now = world.now();
    let answer = world.source.respond(&Request::Tip);
    for number in [0, 1, 9_999_999] {
        // Never asked, or answered long ago: an id is used once.
        world.machine.handle(now, Input::Response(RequestId::from_raw(number), Ok(answer.clone())));
        assert!(matches!(world.machine.poll_output(), Output::Wait(_)));
    }
    assert_eq!(world.machine.progress().strays, strays + 3);
    assert_eq!(world.machine.target(), before.target());
    assert_eq!(world.machine.applied(), before.applied());
}

#[test]
fn limit_is_clamped_with_min() {
    // More payload in one cell than an answer may hold, so that the asker's limit alone would let it all through.
    let spec = ChainSpec { blocks: 1023, epochs: 1, ..ChainSpec::default() };
    let chain = TestChain::with_payloads(spec, 8000, None).unwrap();
    let range = HeightRange::new(Height::new(1), Height::new(1023)).unwrap();
    let most = hotstuff2_sync::limits::MAX_BODIES_BYTES as usize;
    let bodies = chain.respond(&Request::Bodies { range, max_bytes: u32::MAX });
    assert!((most / 2..most + (64 << 10)).contains(&bodies.len()), "{}", bodies.len());
    let headers = chain.respond(&Request::Segment { range, certified: true, audit: false, bodies: 0 }).len();
    let follow = chain.respond(&Request::Follow { after: Height::ZERO, max_bytes: u32::MAX, audit: false });
    assert!((most / 2..most + headers + (64 << 10)).contains(&follow.len()), "{}", follow.len());
    let many = TestChain::new(ChainSpec { blocks: 200, epochs: 100, ..ChainSpec::default() }).unwrap();
    let answer = many.respond(&Request::Handovers { from: Epoch::ZERO, max: u32::MAX });
    let mut sections = hotstuff2_sync::wire::Sections::new(answer.slice(1..));
    let mut handovers = 0;
    while sections.take().is_some() {
        handovers += 1;
    }
    assert_eq!(handovers, hotstuff2_sync::limits::MAX_HANDOVERS);
}

#[test]
fn ban_lasts() {
    let config = SyncConfig { ban_duration: Duration::from_secs(3600), ..SyncConfig::default() };
    let mut world = World::new(chain(3000, 2), config).unwrap();
    let liar = world.join(1, body_liar());
    world.start();
    assert!(world.run_until(MINUTE, |world| world.is_banned(liar)), "{:?}", world.events);
    let asked = count(&world, liar, |_| true);
    // It comes back again and again: it is not asked, and told off each time.
    for minute in 1..50 {
        let at = world.now().after(MINUTE * minute);
        world.schedule(at, PeerEvent::Connected { peer: liar, group: 1 });
    }
    world.run_until(MINUTE * 49, |_| false);
    assert_eq!(count(&world, liar, |_| true), asked, "a banned peer was asked");
    assert!(world.bans.len() > 40, "{}", world.bans.len());
}

#[test]
fn ban_expires() {
    let config = SyncConfig { ban_duration: Duration::from_secs(10), ..SyncConfig::default() };
    let mut world = World::new(chain(300, 2), config).unwrap();
    let mut lies = 1;
    let reformed = world.join(
        1,
        Scripted(move |request: &Request, _: &TestChain, honest| match request {
            Request::Bodies { .. } | Request::Segment { bodies: 1.., .. } if lies > 0 => {
                lies -= 1;
                corrupt(honest)
            }
            _ => honest,
        }),
    );
    world.start();
    assert!(world.run_until(MINUTE, |world| world.is_banned(reformed)));
    let at = world.now().after(Duration::from_secs(11));
    world.schedule(at, PeerEvent::Connected { peer: reformed, group: 1 });
    assert!(world.run_to_tip(MINUTE), "after its ban it serves again: {:?}", world.events);
}

#[test]
fn not_available_reassigns_at_once() {
    let mut world = world(3000);
    let empty = world.join(
        1,
        Scripted(|request: &Request, _: &TestChain, honest| match request {
            Request::Bodies { .. } | Request::Segment { .. } => {
                Reply::After(Duration::from_micros(10), encode_refusal(Refusal::NotAvailable))
            }
            _ => honest,
        }),
    );
    world.join(2, Honest::default());
    world.start();
    // Far below the time-out of a request.
    assert!(world.run_to_tip(Duration::from_secs(2)), "{:?}", world.events);
    assert!(!world.is_banned(empty), "not available is no fault");
    assert!(count(&world, empty, |request| matches!(request, Request::Segment { .. })) > 0, "it was tried");
}

#[test]
fn disconnect_reassigns_at_once() {
    let mut world = world(3000);
    let gone = world.join(
        1,
        Scripted(|request: &Request, _: &TestChain, honest| match request {
            Request::Bodies { .. } | Request::Segment { .. } => Reply::Never,
            _ => honest,
        }),
    );
    world.start();
    assert!(world.run_until(MINUTE, |world| count(world, gone, |r| matches!(r, Request::Segment { .. })) > 0));
    world.join(2, Honest::default());
    world.leave(gone);
    // Sooner than the head of line would count as late, and far below the time-out of a request.
    assert!(world.run_to_tip(Duration::from_millis(80)), "{:?} {:?}", world.now(), world.events);
}

#[test]
fn one_bad_of_two_is_blamed_alone() {
    let mut world = world(5000);
    let honest = world.join(1, Honest::default());
    let liar = world.join(2, body_liar());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert!(world.is_banned(liar));
    assert!(!world.is_banned(honest));
}

#[test]
fn oversize_answers_are_cut_off() {
    let mut world = world(500);
    // A true answer with a little more behind it: verified headers say how long it may be, so that nobody reads on.
    let bomb = world.join(
        1,
        Scripted(|request: &Request, _: &TestChain, honest| match (request, honest) {
            (Request::Bodies { .. }, Reply::After(after, bytes)) => {
                Reply::After(after, [bytes.as_ref(), &[0; 16 << 10]].concat().into())
            }
            (_, honest) => honest,
        }),
    );
    world.start();
    assert!(world.run_until(MINUTE, |world| world.is_banned(bomb)), "{:?}", world.events);
    let banned = Event::Banned { peer: bomb, fault: Fault::Oversize };
    assert!(world.events.iter().any(|(_, event)| *event == banned), "{:?}", world.events);
    world.join(2, Honest::default());
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    // An honest answer fits into what the transport was told to read.
    assert_eq!(world.bans.len(), 1);
}

#[test]
fn suspect_self_stops_bans() {
    let mut world = world(300);
    let liars: Vec<PeerId> = (1..=10).map(|name| world.join(name, body_liar())).collect();
    world.start();
    world.run_until(MINUTE, |_| false);
    let banned = liars.iter().filter(|&&peer| world.is_banned(peer)).count();
    let groups = SyncConfig::default().suspect_self_groups;
    assert!(banned < groups, "{banned} of ten peers banned");
    let said = world
        .events
        .iter()
        .any(|(_, event)| matches!(event, Event::SuspectSelf { groups: said, .. } if *said == groups));
    assert!(said, "{:?}", world.events);
    // A true answer ends the suspicion, and the sync completes.
    world.join(99, Honest::default());
    assert!(world.run_to_tip(MINUTE * 5), "{:?}", world.events);
}

#[test]
fn unsupported_version_is_no_fault() {
    let mut world = world(300);
    let newer = world.join(
        1,
        Scripted(|request: &Request, _: &TestChain, _| {
            let answer = if matches!(request, Request::Status) {
                Bytes::from_static(&[77, 1, 2])
            } else {
                encode_refusal(Refusal::Unsupported)
            };
            Reply::After(Duration::from_millis(1), answer)
        }),
    );
    let other_chain = world.join(
        2,
        Scripted(|_: &Request, chain: &TestChain, _| {
            let status = PeerStatus { chain_id: Hash::ZERO, ..claiming(chain, 9, 0) };
            Reply::After(Duration::from_millis(1), status_answer(&status))
        }),
    );
    world.join(3, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(world.bans, []);
    assert!(count(&world, newer, |_| true) <= 2 && count(&world, other_chain, |_| true) <= 2, "they are left alone");
}

#[test]
fn an_upgraded_peer_is_used_again() {
    // The only peer speaks another version for a while, and keeps its connection.
    let mut world = world(300);
    let mut old = 1;
    let peer = world.join(
        1,
        Scripted(move |_: &Request, _: &TestChain, honest| {
            if old > 0 {
                old -= 1;
                return Reply::After(Duration::from_millis(1), encode_refusal(Refusal::Unsupported));
            }
            honest
        }),
    );
    world.start();
    world.run_until(MINUTE * 9, |_| false);
    assert_eq!(count(&world, peer, |_| true), 1, "it is left alone");
    assert!(world.run_to_tip(MINUTE * 2), "{:?}", world.events);
}

#[test]
fn lost_job_is_reissued() {
    let config = SyncConfig { job_timeout: Duration::from_secs(2), ..SyncConfig::default() };
    let mut world = World::new(chain(3000, 3), config).unwrap();
    // Of every kind of job some are lost: workers die.
    world.lose_jobs = (1..60).step_by(3).collect();
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE * 5), "{:?} {:?}", world.events, world.machine.progress());
    assert_eq!(world.bans, [], "nobody is to blame");
}

#[test]
fn fabricated_sets_cost_nothing() {
    // A chain of 200 epochs; the liar answers the ranges ahead of the trusted end with handovers of a chain of its own.
    let mut world = World::new(chain(400, 200), SyncConfig::default()).unwrap();
    let forged = TestChain::new(ChainSpec { blocks: 400, epochs: 200, seed: 999, ..ChainSpec::default() }).unwrap();
    let liar = world.join(
        2,
        Scripted(move |request: &Request, _: &TestChain, honest| match request {
            Request::Handovers { from, .. } if *from > Epoch::ZERO => {
                Reply::After(Duration::from_micros(1), forged.respond(request))
            }
            Request::Handovers { .. } | Request::Tip => Reply::Never,
            _ => honest,
        }),
    );
    // Whoever has proven nothing is asked for one thing at a time: the first range is asked of another.
    world.join(
        1,
        Scripted(|request: &Request, _: &TestChain, honest| match request {
            Request::Status => honest,
            _ => Reply::Never,
        }),
    );
    world.start();
    world.run_until(Duration::from_secs(4), |_| false);
    let asked = count(&world, liar, |r| matches!(r, Request::Handovers { from, .. } if *from > Epoch::ZERO));
    assert_eq!(asked, 1);
    assert_eq!(world.jobs, 0, "no signature of theirs was looked at");
    world.join(3, Honest::default());
    assert!(world.run_to_tip(MINUTE * 2), "{:?}", world.events);
    let progress = world.machine.progress();
    // At most one check for each false range that the trusted end reached.
    assert!(progress.quorum_checks <= 199 + 200 + 10, "{}", progress.quorum_checks);
}

#[test]
fn eclipse_minus_one() {
    // Fifty peers claim ever more and never give anything; one is honest, claims least, and is slower to say so.
    let mut world = World::new(chain(3000, 1), SyncConfig::default()).unwrap();
    for name in 1..=50 {
        let mut claimed = 1 << 40;
        world.join(
            name,
            Scripted(move |request: &Request, chain: &TestChain, _| match request {
                Request::Status => {
                    claimed += 1;
                    Reply::After(Duration::from_millis(1), status(chain, claimed, 0))
                }
                _ => Reply::Never,
            }),
        );
    }
    world.join(51, Honest { rate: 1_000_000, ..Honest::default() });
    world.start();
    // Each of the fifty may cost one time-out for its tip, three at once, and few of them more than that.
    let done = world.run_until(MINUTE * 2, |world| world.machine.applied() == world.source.tip_height());
    assert!(done, "{:?}", world.machine.progress());
}

#[test]
fn same_inputs_same_outputs() {
    let run = || {
        let mut world = world(2500);
        world.join(1, Honest::default());
        world.join(2, body_liar());
        world.join(3, Honest { latency: Duration::from_millis(80), rate: 300_000, ..Honest::default() });
        world.start();
        assert!(world.run_to_tip(MINUTE * 5));
        (world.requests, world.events, world.machine.progress())
    };
    assert_eq!(run(), run());
}

#[test]
fn honest_peers_with_pruned_history_are_not_blamed() {
    let mut world = world(3000);
    let pruned: Vec<PeerId> =
        (1..=3).map(|name| world.join(name, Honest { earliest: Height::new(2000), ..Honest::default() })).collect();
    // One prunes on while it is asked: what it claimed a moment ago it has no longer.
    let pruning = world.join(
        4,
        Scripted(|request: &Request, _: &TestChain, honest| match request {
            Request::Segment { range, .. } | Request::Bodies { range, .. } if range.first() < Height::new(2000) => {
                Reply::After(Duration::from_millis(1), encode_refusal(Refusal::NotAvailable))
            }
            _ => honest,
        }),
    );
    world.join(5, Honest { latency: Duration::from_millis(30), ..Honest::default() });
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(world.bans, []);
    for peer in pruned.iter().chain([&pruning]) {
        let report = world.machine.peer(peer).unwrap();
        assert!(!matches!(report.health, PeerHealth::Suspected { .. }), "{report:?}");
        let early = |request: &Request| match request {
            Request::Segment { range, .. } | Request::Bodies { range, .. } => range.first() < Height::new(1024),
            _ => false,
        };
        assert!(*peer == pruning || count(&world, *peer, early) == 0, "asked for what it doesn't claim");
    }
}

#[test]
fn a_majority_of_liars_buys_no_amnesty() {
    // 20 liars and one honest peer: after a first true answer false ones are the liars' doing, however many there are.
    let mut world = World::new(chain(30_000, 1), SyncConfig::default()).unwrap();
    world.join(99, Honest { rate: 3_000_000, ..Honest::default() });
    world.start();
    world.run_until(Duration::from_millis(500), |_| false);
    let liars: Vec<PeerId> = (1..=20).map(|name| world.join(name, body_liar())).collect();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    let amnesty = world.events.iter().any(|(_, event)| matches!(event, Event::SuspectSelf { .. }));
    assert!(!amnesty, "{:?}", world.events);
    for liar in liars {
        let lies = count(&world, liar, |request| matches!(request, Request::Bodies { .. } | Request::Segment { .. }));
        assert!(lies <= 6, "asked {lies} times");
    }
}

#[test]
fn everyone_failing_is_our_own_fault_though_true_answers_came_before() {
    // The network moves to something that this node can't read: every answer that was true before is false from here on.
    let spec = ChainSpec { blocks: 20_000, epochs: 1, ..ChainSpec::default() };
    let chain = TestChain::with_payloads(spec, 3000, None).unwrap();
    let mut world = World::new(chain, SyncConfig::default()).unwrap();
    let upgraded = std::rc::Rc::new(std::cell::Cell::new(false));
    for name in 1..=8 {
        let upgraded = std::rc::Rc::clone(&upgraded);
        world.join(
            name,
            Scripted(move |request: &Request, _: &TestChain, honest| match request {
                Request::Bodies { .. } | Request::Segment { .. } if upgraded.get() => corrupt(honest),
                _ => honest,
            }),
        );
    }
    world.start();
    world.run_until(MINUTE, |world| world.machine.applied() > Height::new(2000));
    upgraded.set(true);
    let suspects = |world: &World| world.events.iter().any(|(_, event)| matches!(event, Event::SuspectSelf { .. }));
    assert!(world.run_until(MINUTE, suspects), "{:?}", world.events);
    let peers = (1..=8).map(|name| PeerId::from_bytes([name; 32]));
    let banned = peers.filter(|peer| world.machine.peer(peer).unwrap().banned.is_some()).count();
    assert_eq!(banned, 0, "bans are lifted");
}
