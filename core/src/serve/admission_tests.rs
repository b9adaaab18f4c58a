use alloc::vec::Vec;

use super::*;

const CHEAP: Cost = Cost { bytes: 0, work: 40 };

fn peer(number: u16) -> PeerId {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(bytes)
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

/// Limits so wide that none is felt.
fn wide() -> ServeLimits {
    let all = ServeRates { requests: 1 << 40, bytes: 1 << 50, work: 1 << 50 };
    ServeLimits {
        total: all,
        group: all,
        peer: all,
        request_work: 0,
        mib_work: 0,
        refusal_work: 0,
        refusals: 1 << 40,
        memory: 1 << 50,
        group_memory: 1 << 50,
        peer_memory: 1 << 50,
        ..ServeLimits::default()
    }
}

/// All turns that there are at `now`; the answers are received at once.
fn drain(admission: &mut Admission, now: Instant, real: Cost) -> Vec<Ticket> {
    let mut served = Vec::new();
    while let Turn::Serve(ticket) = admission.poll(now) {
        admission.made(now, ticket, real);
        admission.end(now, ticket);
        served.push(ticket);
    }
    served
}

/// Asks whenever there is room, from these peers, each in its group, for so many milliseconds; says what each got.
fn flood(admission: &mut Admission, askers: &[(u16, u64)], cost: Cost, from: u64, millis: u64) -> Vec<u64> {
    let mut got = alloc::vec![0; askers.len()];
    let mut open = alloc::vec![0; askers.len()];
    let mut tickets = BTreeMap::new();
    for now in (from..from + millis).step_by(5).map(at) {
        for (index, &(id, group)) in askers.iter().enumerate() {
            // Two always wait.
            while open[index] < 2 {
                let Ok(ticket) = admission.ask(now, peer(id), group, cost) else { break };
                tickets.insert(ticket, index);
                open[index] += 1;
            }
        }
        loop {
            match admission.poll(now) {
                Turn::Serve(ticket) => {
                    let index = tickets.remove(&ticket).unwrap();
                    got[index] += 1;
                    open[index] -= 1;
                    admission.made(now, ticket, cost);
                    admission.end(now, ticket);
                }
                Turn::Refuse(ticket, _) => open[tickets.remove(&ticket).unwrap()] -= 1,
                Turn::Wait(_) => break,
            }
        }
    }
    for ticket in tickets.into_keys() {
        admission.end(at(from + millis), ticket);
    }
    got
}

#[test]
fn everyone_together_gets_no_more_work_than_configured() {
    let limits = ServeLimits { total: ServeRates { work: 100_000, ..wide().total }, ..wide() };
    let mut admission = Admission::new(limits);
    let askers: Vec<_> = (0..200).map(|id| (id, u64::from(id))).collect();
    let cost = Cost { bytes: 0, work: 1000 };
    flood(&mut admission, &askers, cost, 0, 5000);
    // A burst of a second on top of what comes back, and one that may be owed.
    let spent = admission.stats().work;
    assert!((590_000..=601_000).contains(&spent), "{spent}");
}

#[test]
fn everyone_together_gets_no_more_bytes_and_requests_than_configured() {
    let cost = Cost { bytes: 1000, work: 0 };
    let askers: Vec<_> = (0..50).map(|id| (id, u64::from(id))).collect();
    let limits = ServeLimits { total: ServeRates { bytes: 100_000, ..wide().total }, ..wide() };
    let mut admission = Admission::new(limits);
    flood(&mut admission, &askers, cost, 0, 4000);
    assert!((499_000..=501_000).contains(&admission.stats().bytes), "{:?}", admission.stats());
    let limits = ServeLimits { total: ServeRates { requests: 100, ..wide().total }, ..wide() };
    let mut admission = Admission::new(limits);
    flood(&mut admission, &askers, cost, 0, 4000);
    assert!((499..=501).contains(&admission.stats().answers), "{:?}", admission.stats());
}

#[test]
fn a_group_gets_no_more_than_its_part_however_many_keys_it_has() {
    let limits = ServeLimits { group: ServeRates { work: 100_000, ..wide().group }, ..wide() };
    let mut admission = Admission::new(limits);
    let askers: Vec<_> = (0..300).map(|id| (id, 7)).collect();
    flood(&mut admission, &askers, Cost { bytes: 0, work: 1000 }, 0, 3000);
    let spent = admission.stats().work;
    assert!((390_000..=401_000).contains(&spent), "{spent}");
}

#[test]
fn a_peer_beyond_its_allowance_is_told_when_it_comes_back() {
    let limits = ServeLimits { peer: ServeRates { work: 1000, ..wide().peer }, ..wide() };
    let mut admission = Admission::new(limits);
    let cost = Cost { bytes: 0, work: 500 };
    for _ in 0..2 {
        admission.ask(at(0), peer(1), 1, cost).unwrap();
    }
    assert_eq!(admission.ask(at(0), peer(1), 1, cost), Err(Busy { retry_after_ms: 500 }));
    assert!(admission.ask(at(0), peer(2), 1, cost).is_ok(), "another has an allowance of its own");
    assert_eq!(drain(&mut admission, at(0), cost).len(), 3);
    assert!(admission.ask(at(499), peer(1), 1, cost).is_err());
    assert!(admission.ask(at(500), peer(1), 1, cost).is_ok());
}

#[test]
fn the_real_cost_is_what_counts() {
    let limits = ServeLimits { peer: ServeRates { work: 1000, ..wide().peer }, ..wide() };
    let mut admission = Admission::new(limits);
    let estimate = Cost { bytes: 0, work: 100 };
    // Estimated low, it is owed.
    admission.ask(at(0), peer(1), 1, estimate).unwrap();
    drain(&mut admission, at(0), Cost { bytes: 0, work: 3000 });
    assert_eq!(admission.ask(at(0), peer(1), 1, estimate), Err(Busy { retry_after_ms: 2100 }));
    // Estimated high, it comes back.
    let estimate = Cost { bytes: 0, work: 900 };
    for _ in 0..10 {
        admission.ask(at(0), peer(2), 1, estimate).unwrap();
        drain(&mut admission, at(0), Cost { bytes: 0, work: 1 });
    }
}

#[test]
fn what_really_was_spent_counts_for_everyone_too() {
    let limits = ServeLimits { total: ServeRates { work: 1000, ..wide().total }, ..wide() };
    let mut admission = Admission::new(limits);
    for id in 0..2 {
        admission.ask(at(0), peer(id), u64::from(id), Cost { bytes: 0, work: 100 }).unwrap();
        let Turn::Serve(ticket) = admission.poll(at(0)) else { break };
        admission.made(at(0), ticket, Cost { bytes: 0, work: 3000 });
        admission.end(at(0), ticket);
    }
    assert_eq!(admission.stats().answers, 1);
    assert_eq!(admission.poll(at(0)), Turn::Wait(Some(at(2100))));
}

#[test]
fn whoever_did_without_for_a_while_has_no_claim_for_that() {
    let mut admission = Admission::new(ServeLimits { max_running: 1, ..wide() });
    let cost = Cost { bytes: 0, work: 1000 };
    for _ in 0..50 {
        admission.ask(at(0), peer(1), 7, cost).unwrap();
    }
    drain(&mut admission, at(0), cost);
    // A new one has its turns beside the other, not fifty before it.
    let mut of_new = BTreeSet::new();
    for _ in 0..20 {
        of_new.insert(admission.ask(at(1), peer(2), 7, cost).unwrap());
        admission.ask(at(1), peer(1), 7, cost).unwrap();
    }
    let mut turns = 0;
    for _ in 0..10 {
        let Turn::Serve(ticket) = admission.poll(at(1)) else { panic!("there is a turn") };
        turns += usize::from(of_new.contains(&ticket));
        admission.made(at(1), ticket, cost);
        admission.end(at(1), ticket);
    }
    assert!((4..=6).contains(&turns), "{turns} of 10");
}

#[test]
fn what_was_given_up_while_it_waited_costs_nothing() {
    let limits = ServeLimits { peer: ServeRates { requests: 1, bytes: 100, work: 100 }, ..wide() };
    let mut admission = Admission::new(limits);
    for _ in 0..100 {
        let ticket = admission.ask(at(0), peer(1), 1, Cost { bytes: 100, work: 100 }).unwrap();
        admission.end(at(0), ticket);
    }
    assert_eq!(admission.poll(at(0)), Turn::Wait(None));
}

#[test]
fn a_thousand_peers_of_one_network_do_not_starve_one_of_another() {
    let limits = ServeLimits { total: ServeRates { work: 100_000, ..wide().total }, ..wide() };
    let mut admission = Admission::new(limits);
    let mut askers: Vec<_> = (1..=1000).map(|id| (id, 66)).collect();
    askers.push((0, 7));
    let got = flood(&mut admission, &askers, Cost { bytes: 0, work: 1000 }, 0, 3000);
    // Half of what comes back in three seconds; the burst was there before it could ask for more than two.
    let honest = *got.last().unwrap();
    assert!((140..=160).contains(&honest), "{honest} of {}", got.iter().sum::<u64>());
}

#[test]
fn turns_go_round_among_the_peers_of_a_network_by_what_they_cost() {
    let mut admission = Admission::new(ServeLimits { max_running: 1, ..wide() });
    let (dear, cheap) = (Cost { bytes: 0, work: 4000 }, Cost { bytes: 0, work: 1000 });
    let mut of_dear = BTreeSet::new();
    for _ in 0..40 {
        of_dear.insert(admission.ask(at(0), peer(1), 7, dear).unwrap());
    }
    for _ in 0..40 {
        admission.ask(at(0), peer(2), 7, cheap).unwrap();
    }
    let mut count = 0;
    for _ in 0..25 {
        let Turn::Serve(ticket) = admission.poll(at(0)) else { panic!("there is a turn") };
        let is_dear = of_dear.contains(&ticket);
        count += usize::from(is_dear);
        admission.made(at(0), ticket, if is_dear { dear } else { cheap });
        admission.end(at(0), ticket);
    }
    assert!((4..=6).contains(&count), "one of five turns is the dear one's, not {count} of 25");
}

#[test]
fn whoever_goes_on_asking_is_read_from_more_slowly_and_weighs_less() {
    let limits = ServeLimits { peer: ServeRates { requests: 10, ..wide().peer }, ..wide() };
    let mut admission = Admission::new(limits);
    for _ in 0..10 + 63 {
        let _ = admission.ask(at(0), peer(1), 1, CHEAP);
        assert_eq!(admission.pause(at(0), peer(1)), Duration::ZERO, "what was in flight is answered");
    }
    for _ in 0..3 {
        assert!(admission.ask(at(0), peer(1), 1, CHEAP).is_err());
    }
    assert_eq!(admission.pause(at(0), peer(1)), Duration::from_millis(1500));
    assert_eq!(admission.pause(at(0), peer(2)), Duration::ZERO);
    assert_eq!(admission.pause(at(1500), peer(1)), Duration::ZERO);

    // Beside a peer that has done nothing wrong, it gets half for each time.
    drain(&mut admission, at(1500), CHEAP);
    let mut admission = Admission { limits: wide(), ..admission };
    admission.limits.total.work = 100_000;
    let cost = Cost { bytes: 0, work: 1000 };
    let got = flood(&mut admission, &[(1, 1), (2, 1)], cost, 1500, 4000);
    assert!(got[1] > got[0] * 3 / 2 && got[0] > 0, "{got:?}");
    // The record of asking too often is forgotten.
    let got = flood(&mut admission, &[(1, 1), (2, 1)], cost, 60_000, 4000);
    assert!(got[1] < got[0] * 11 / 10, "{got:?}");
}

#[test]
fn refusals_are_bounded_over_all_peers() {
    let limits = ServeLimits { peer: ServeRates { requests: 1, ..wide().peer }, refusals: 100, ..wide() };
    let mut admission = Admission::new(limits);
    for id in 0..200 {
        let _ = admission.ask(at(0), peer(id), 1, CHEAP);
        let _ = admission.ask(at(0), peer(id), 1, CHEAP);
    }
    assert!(admission.pause(at(0), peer(0)) >= Duration::from_millis(1000));
    assert_eq!(admission.pause(at(0), peer(999)), Duration::ZERO);
    admission.ask(at(0), peer(999), 1, CHEAP).unwrap();
    assert_eq!(admission.pause(at(0), peer(999)), Duration::ZERO, "it was never refused");
}

#[test]
fn waits_told_grow_while_there_is_nothing() {
    let limits = ServeLimits { max_waiting: 1, max_wait: Duration::from_millis(10), ..wide() };
    let mut admission = Admission::new(limits);
    admission.ask(at(0), peer(1), 1, CHEAP).unwrap();
    let mut now = 0;
    let mut told = Vec::new();
    for _ in 0..4 {
        let Err(busy) = admission.ask(at(now), peer(1), 1, CHEAP) else { panic!("there is no room") };
        told.push(busy.retry_after_ms);
        now += u64::from(busy.retry_after_ms);
    }
    assert_eq!(told, [50, 100, 200, 400]);
}

#[test]
fn waiting_ends_in_time() {
    let mut admission = Admission::new(ServeLimits { max_running: 1, ..wide() });
    let first = admission.ask(at(0), peer(1), 1, CHEAP).unwrap();
    let second = admission.ask(at(10), peer(2), 1, CHEAP).unwrap();
    assert_eq!(admission.poll(at(10)), Turn::Serve(first));
    assert_eq!(admission.poll(at(10)), Turn::Wait(Some(at(5010))));
    assert_eq!(admission.poll(at(5009)), Turn::Wait(Some(at(5010))));
    assert!(matches!(admission.poll(at(5010)), Turn::Refuse(ticket, _) if ticket == second));
    assert_eq!(admission.poll(at(5010)), Turn::Wait(None));
}

#[test]
fn no_more_answers_are_made_at_a_time_than_configured() {
    let mut admission = Admission::new(ServeLimits { max_running: 3, ..wide() });
    let tickets: Vec<_> = (0..5).map(|id| admission.ask(at(0), peer(id), 1, CHEAP).unwrap()).collect();
    for ticket in &tickets[..3] {
        assert_eq!(admission.poll(at(0)), Turn::Serve(*ticket));
    }
    assert!(matches!(admission.poll(at(0)), Turn::Wait(_)));
    // Made, though not yet received.
    admission.made(at(1), tickets[0], CHEAP);
    assert_eq!(admission.poll(at(1)), Turn::Serve(tickets[3]));
    // Given up while it was made.
    admission.end(at(2), tickets[1]);
    assert_eq!(admission.poll(at(2)), Turn::Serve(tickets[4]));
}

#[test]
fn unread_answers_are_bounded_for_a_peer_a_network_and_everyone() {
    let cost = Cost { bytes: 1 << 20, work: 10 };
    let limits = ServeLimits { memory: 8 << 20, group_memory: 4 << 20, peer_memory: 2 << 20, ..wide() };
    let mut admission = Admission::new(limits);
    let mut unread = |askers: &[(u16, u64)]| {
        for &(id, group) in askers.iter().cycle().take(askers.len() * 20) {
            let _ = admission.ask(at(0), peer(id), group, cost);
        }
        let mut served = Vec::new();
        while let Turn::Serve(ticket) = admission.poll(at(0)) {
            admission.made(at(0), ticket, cost);
            served.push(ticket);
        }
        let peak = admission.stats().peak_memory;
        (served, peak, admission.clone())
    };
    assert_eq!(unread(&[(1, 1)]).0.len(), 2);
    assert_eq!(unread(&[(2, 1), (3, 1), (4, 1)]).0.len(), 2, "the group has two already");
    let (served, peak, _) = unread(&[(5, 2), (6, 2), (7, 3), (8, 3)]);
    assert_eq!((served.len(), peak), (4, 8 << 20));
    let (none, _, mut admission) = unread(&[(9, 4)]);
    assert!(none.is_empty());
    // Received answers make room, for the one that has nothing yet first.
    admission.end(at(1), served[0]);
    let Turn::Serve(next) = admission.poll(at(1)) else { panic!("there is room") };
    assert_eq!(admission.open.get(&next).map(|open| open.peer), Some(peer(9)));
}

#[test]
fn an_answer_larger_than_all_memory_is_still_given_some_time() {
    let limits = ServeLimits { memory: 4 << 20, group_memory: 2 << 20, peer_memory: 1 << 20, ..wide() };
    let mut admission = Admission::new(limits);
    let ticket = admission.ask(at(0), peer(1), 1, Cost { bytes: 64 << 20, work: 0 }).unwrap();
    assert_eq!(admission.poll(at(0)), Turn::Serve(ticket));
}

#[test]
fn peers_that_are_kept_account_of_are_bounded() {
    let mut admission = Admission::new(ServeLimits { max_peers: 10, ..wide() });
    for id in 0..500u16 {
        let ticket = admission.ask(at(u64::from(id)), peer(id), u64::from(id), CHEAP).unwrap();
        admission.end(at(u64::from(id)), ticket);
        assert!(admission.peers() <= 10 && admission.groups.len() <= 10);
    }
    // Those that have something open are not forgotten for others.
    let now = at(1000);
    for id in 490..500u16 {
        admission.ask(now, peer(id), u64::from(id), CHEAP).unwrap();
    }
    assert!(admission.ask(now, peer(1), 1, CHEAP).is_err());
    assert_eq!(drain(&mut admission, now, CHEAP).len(), 10);
    assert!(admission.ask(now, peer(1), 1, CHEAP).is_ok());
}

#[test]
fn handshakes_are_bounded_and_one_network_leaves_half_to_others() {
    let mut admission = Admission::new(ServeLimits { handshakes: 10, ..wide() });
    let mut begun = 0;
    for _ in 0..100 {
        begun += usize::from(admission.handshake(at(0), 1, false) == Handshake::Begin);
    }
    assert_eq!(begun, 6, "beyond half, an address must be proven first");
    assert_eq!(admission.handshake(at(0), 1, false), Handshake::Prove);
    let mut begun =
        |now, group| (0..100).filter(|_| admission.handshake(at(now), group, true) == Handshake::Begin).count();
    assert_eq!(begun(10_000, 1), 5);
    assert_eq!(begun(10_000, 2), 5);
    assert_eq!(begun(10_000, 3), 0);
}

#[test]
fn connections_that_cost_too_much_count_as_handshakes_of_their_network() {
    let mut admission = Admission::new(ServeLimits { handshakes: 10, ..wide() });
    let begun = |admission: &mut Admission, now, group| {
        (0..100).filter(|_| admission.handshake(at(now), group, true) == Handshake::Begin).count()
    };
    // An asker that may have forged an address makes others prove theirs, and shuts out nobody who does.
    admission.overspent(at(0), 1, false, 10_000_000);
    assert_eq!(admission.handshake(at(0), 1, false), Handshake::Prove);
    assert_eq!(begun(&mut admission, 0, 1), 4);
    // A hundred handshakes, at five a second, in the place of the five that could be made at once.
    let mut admission = Admission::new(ServeLimits { handshakes: 10, ..wide() });
    admission.overspent(at(0), 1, true, 50_000);
    assert_eq!(begun(&mut admission, 18_000, 1), 0);
    assert_eq!(begun(&mut admission, 18_000, 2), 5, "another network");
    assert_eq!(begun(&mut admission, 21_000, 1), 5);
    // However often, a minute is the most.
    for _ in 0..100 {
        admission.overspent(at(30_000), 1, true, u64::MAX);
    }
    assert_eq!(begun(&mut admission, 89_000, 1), 0);
    assert_eq!(begun(&mut admission, 92_000, 1), 5);
}

#[test]
fn serving_gives_way_while_the_node_has_work_of_its_own() {
    let limits = ServeLimits { total: ServeRates { work: 100_000, ..wide().total }, ..wide() };
    let mut admission = Admission::new(limits);
    let cost = Cost { bytes: 0, work: 1000 };
    admission.set_percent(20);
    let got = flood(&mut admission, &[(1, 1), (2, 2)], cost, 0, 5000);
    assert!((115..=121).contains(&got.iter().sum::<u64>()), "{got:?}");
}

#[test]
fn limits_out_of_range_are_named() {
    assert_eq!(ServeLimits::default().validate(), Ok(()));
    assert_eq!(ServeLimits::with_work(1).validate(), Ok(()));
    let bad = ServeLimits { peer_memory: 1, ..ServeLimits::default() };
    assert_eq!(bad.validate().unwrap_err().field, "peer_memory");
    let bad = ServeLimits { max_wait: Duration::ZERO, ..ServeLimits::default() };
    assert_eq!(bad.validate().unwrap_err().field, "max_wait");
}

/// Any order of calls, at any time, leaves nothing behind and breaks no bound.
#[test]
fn whatever_happens_the_books_are_balanced() {
    use proptest::prelude::*;
    let limits = ServeLimits {
        total: ServeRates { requests: 100, bytes: 8 << 20, work: 100_000 },
        memory: 4 << 20,
        group_memory: 2 << 20,
        peer_memory: 1 << 20,
        max_waiting: 20,
        max_peers: 6,
        ..ServeLimits::default()
    };
    proptest!(|(calls in prop::collection::vec((0u8..6, any::<u8>(), 0u64..400), 1..300))| {
        let mut admission = Admission::new(limits);
        let (mut waiting, mut running, mut sending) = (Vec::new(), Vec::new(), Vec::new());
        let mut now = Instant::ZERO;
        for (call, pick, amount) in calls {
            let take = |from: &mut Vec<Ticket>| (!from.is_empty()).then(|| from.swap_remove(usize::from(pick) % from.len()));
            match call {
                0 | 1 => {
                    let cost = Cost { bytes: amount << 13, work: amount * 20 };
                    let (id, group) = (u16::from(pick % 10), u64::from(pick % 3));
                    waiting.extend(admission.ask(now, peer(id), group, cost));
                }
                2 => if let Some(ticket) = take(&mut running) {
                    admission.made(now, ticket, Cost { bytes: amount << 12, work: amount });
                    sending.push(ticket);
                },
                3 => if let Some(ticket) = take(&mut sending) { admission.end(now, ticket) },
                4 => {
                    let from = if pick % 2 == 0 { &mut waiting } else { &mut running };
                    if let Some(ticket) = take(from) { admission.end(now, ticket) }
                }
                _ => now = now.after(Duration::from_millis(amount)),
            }
            loop {
                match admission.poll(now) {
                    Turn::Serve(ticket) => {
                        waiting.retain(|other| *other != ticket);
                        running.push(ticket);
                    }
                    Turn::Refuse(ticket, _) => waiting.retain(|other| *other != ticket),
                    Turn::Wait(at) => {
                        prop_assert!(at.is_none_or(|at| at > now));
                        // Every asker that waits is told in the end.
                        prop_assert!(waiting.is_empty() || at.is_some());
                        break;
                    }
                }
            }
            prop_assert!(running.len() <= limits.max_running && admission.peers() <= 6);
        }
        for ticket in waiting.into_iter().chain(running).chain(sending) {
            admission.end(now, ticket);
        }
        prop_assert_eq!((admission.held, admission.running, admission.open.is_empty()), (0, 0, true));
        prop_assert!(admission.ready.is_empty() && admission.resting.is_empty() && admission.waiting.is_empty());
        for group in admission.groups.values() {
            prop_assert_eq!((group.held, group.waiting, group.queue_state), (0, 0, QueueState::Idle));
        }
        for peer in admission.peers.values() {
            prop_assert_eq!((peer.held, peer.open, peer.full), (0, 0, false));
        }
    });
}
