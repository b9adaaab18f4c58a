//! Consequences of each outcome of a request.

use super::*;
use crate::peers::peer::Peer;
use crate::ranges::HeightRange;
use crate::requests::{InFlight, Purpose};

fn of(kind: RequestKind, outcome: PeerOutcome) -> PeerPerformance {
    PeerPerformance { kind, ..performance(100, 50_000, outcome) }
}

fn peer(manager: &SyncPeerManager, name: u8) -> &Peer {
    manager.get(id(name)).unwrap()
}

fn request(name: u8, sent: u64, due: u64) -> InFlight {
    let range = HeightRange::single(crate::ids::Height::new(1));
    let (peer, purpose) = (id(name), Purpose::Bodies(range));
    InFlight { peer, purpose, sent: at(sent), due: at(due), size: 100_000, reserved: 0 }
}

#[test]
fn the_only_one_that_is_asked_has_nobody_to_share_the_blame_with() {
    let mut manager = manager(1, 2);
    let until = manager.record_peer_performance(at(900), &id(1), &of(RequestKind::Bodies, PeerOutcome::NoAnswer));
    assert_eq!(manager.check_peer_health(at(900), &id(1)), PeerHealth::Suspected { until: until.unwrap() });
    assert!(manager.get_peer_reliability(&id(1)).unwrap() < 1_000_000, "and its account is charged");
    assert_eq!(active(&manager), [id(2)]);
}

#[test]
fn latency_is_taken_from_small_answers_on_an_idle_line() {
    let mut manager = manager(2, 2);
    let assumed = manager.evaluate_peer_quality(&id(1)).latency;
    let deliver = |manager: &mut SyncPeerManager, kind| {
        manager.record_peer_performance(at(110), &id(1), &of(kind, PeerOutcome::Delivered));
        manager.evaluate_peer_quality(&id(1)).latency
    };
    // Handovers may be many, and an answer from the tip waits for news.
    for kind in [RequestKind::Handovers, RequestKind::Follow] {
        assert_eq!(deliver(&mut manager, kind), assumed, "{kind:?}");
    }
    manager.sent(id(1), RequestKind::Bodies, 1, at(500), at(100));
    assert_eq!(deliver(&mut manager, RequestKind::Status), assumed, "it waited behind something large");
    manager.ended(&request(1, 100, 500));
    assert_eq!(deliver(&mut manager, RequestKind::Status), Duration::from_millis(10));
}

#[test]
fn only_an_answer_on_time_vouches_for_our_link() {
    // Expected within a second, so that two seconds and a tenth are on time.
    for (now, on_time) in [(2200, true), (2201, false)] {
        let mut manager = manager(3, 3);
        manager.record_peer_performance(at(now), &id(2), &of(RequestKind::Bodies, PeerOutcome::Delivered));
        assert_eq!(manager.is_alone_late(at(now), id(1), RequestKind::Bodies, at(0)), on_time, "{now}");
    }
}

#[test]
fn who_is_late_now_vouches_for_nobody() {
    let late = |manager: &SyncPeerManager, now| manager.is_alone_late(at(now), id(1), RequestKind::Bodies, at(400));
    let answered = |manager: &mut SyncPeerManager, now| {
        manager.record_peer_performance(at(now), &id(2), &performance(now - 50, 50_000, PeerOutcome::Delivered));
    };
    let mut manager = manager(3, 3);
    answered(&mut manager, 500);
    assert!(late(&manager, 9000), "it has nothing left to answer");
    manager.sent(id(2), RequestKind::Bodies, 1, at(2000), at(1000));
    assert!(late(&manager, 2100) && !late(&manager, 2101), "what it was asked for should have been here");
    answered(&mut manager, 3000);
    manager.ended(&request(2, 1000, 2000));
    assert!(late(&manager, 3000));
    manager.record_peer_performance(at(3001), &id(2), &performance(2900, 50_000, PeerOutcome::NoAnswer));
    assert!(!late(&manager, 3001), "it fell silent itself");
    answered(&mut manager, 3002);
    assert!(late(&manager, 3002));
    manager.disconnected(at(3003), id(2));
    assert!(!late(&manager, 3003), "it is gone");
}

#[test]
fn all_that_is_lost_in_one_silence_counts_once() {
    let silence = |manager: &mut SyncPeerManager, kind, sent, now| {
        let lost = PeerPerformance { sent: at(sent), ..of(kind, PeerOutcome::NoAnswer) };
        manager.record_peer_performance(at(now), &id(1), &lost)
    };
    for blamed in [true, false] {
        let mut manager = manager(3, 2);
        for now in [100, 5000].into_iter().filter(|_| blamed) {
            manager.record_peer_performance(at(now), &id(2), &performance(now - 100, 50_000, PeerOutcome::Delivered));
        }
        for _ in 0..14 {
            manager.get_mut(id(1)).unwrap().succeeded();
        }
        let before = peer(&manager, 1).clone();
        for now in [1000, 1001, 1100] {
            assert_eq!(silence(&mut manager, RequestKind::Bodies, 90, now), Some(at(1250)), "{blamed} {now}");
        }
        assert_eq!(silence(&mut manager, RequestKind::Segment, 999, 1200), Some(at(1250)), "whatever it is");
        let one = peer(&manager, 1);
        assert_eq!((one.suspicions, one.unanswered), (u32::from(blamed), 4));
        assert_eq!(one.window(), before.window() / 2);
        assert_eq!(one.estimator.bytes_per_second(), before.estimator.bytes_per_second() / 2);
        for kind in [RequestKind::Bodies, RequestKind::Segment] {
            assert!(one.rests(kind, at(1249)) && !one.rests(kind, at(1250)), "{kind:?}");
        }
        // Until it answers something large it is asked for one thing, and that counts again.
        assert_eq!((before.capacity() > 1, one.capacity()), (true, 1));
        let again = if blamed { 500 } else { 250 };
        assert_eq!(silence(&mut manager, RequestKind::Bodies, 1300, 6000), Some(at(6000 + again)));
        manager.record_peer_performance(at(6600), &id(1), &performance(6500, 50_000, PeerOutcome::Delivered));
        assert_eq!(peer(&manager, 1).capacity(), before.window() / 4, "as many as before, less what time-outs cost");
    }
}

#[test]
fn what_was_true_counts_for_the_peer_and_clears_others() {
    let mut manager = manager(2, 3);
    let fault = Fault::Malformed;
    for name in 2..=3 {
        manager.consequence_of(id(name), RequestKind::Bodies, fault, at(0));
    }
    let took = Duration::from_millis(3);
    manager.record_peer_performance(at(200), &id(1), &of(RequestKind::Bodies, PeerOutcome::Verified { took }));
    let info = manager.info(at(200), &id(1)).unwrap();
    assert_eq!((info.bytes, peer(&manager, 1).recent_bytes), (50_000, 50_000));
    assert!(info.quality.verify_per_mib >= Duration::from_millis(60), "{:?}", info.quality);
    let told = manager.consequence_of(id(1), RequestKind::Bodies, fault, at(40_000));
    assert_eq!(told, crate::peers::Consequence::Ban, "those before are forgotten");
}

#[test]
fn who_spares_is_less_reliable_and_gives_its_place_up() {
    let mut manager = manager(2, 3);
    let until = manager.record_peer_performance(at(200), &id(1), &of(RequestKind::Bodies, PeerOutcome::Sparing));
    assert_eq!(until, Some(at(450)));
    assert!(manager.get_peer_reliability(&id(1)).unwrap() < 1_000_000);
    assert_eq!(active(&manager), [id(2), id(3)]);
}

#[test]
fn silence_says_something_of_the_line_where_much_was_expected() {
    for (kind, halved) in [
        (RequestKind::Bodies, true),
        (RequestKind::Follow, true),
        (RequestKind::Tip, false),
        (RequestKind::Status, false),
    ] {
        let mut manager = manager(2, 2);
        let before = peer(&manager, 1).estimator.bytes_per_second();
        manager.record_peer_performance(at(900), &id(1), &of(kind, PeerOutcome::NoAnswer));
        let after = peer(&manager, 1).estimator.bytes_per_second();
        assert_eq!(after, if halved { before / 2 } else { before }, "{kind:?}");
    }
}

#[test]
fn where_nobody_is_on_time_less_is_asked_for_and_of_others() {
    let mut manager = manager(2, 3);
    let before = peer(&manager, 1).window();
    for _ in 0..8 {
        manager.sent(id(1), RequestKind::Bodies, 1, at(500), at(100));
    }
    let until = manager.record_peer_performance(at(900), &id(1), &of(RequestKind::Bodies, PeerOutcome::NoAnswer));
    assert_eq!(until, Some(at(1150)));
    assert_eq!(peer(&manager, 1).window(), before / 2);
    assert!(peer(&manager, 1).rests(RequestKind::Bodies, at(1149)) && peer(&manager, 1).suspicions == 0);
    assert_eq!(active(&manager), [id(2), id(3)]);
    assert!(!manager.link_has_room(), "four at once where eight were too many");
    // Something small that is lost says nothing of the link.
    let mut manager = super::manager(2, 2);
    manager.sent(id(1), RequestKind::Bodies, 1, at(500), at(100));
    manager.record_peer_performance(at(900), &id(1), &of(RequestKind::Tip, PeerOutcome::NoAnswer));
    assert!(manager.link_has_room());
}

#[test]
fn a_lost_status_does_not_hide_that_our_link_is_full() {
    let mut manager = manager(2, 3);
    for _ in 0..8 {
        manager.sent(id(1), RequestKind::Bodies, 1, at(500), at(100));
    }
    // Small questions time out sooner, so its silence is known by the time that the large ones do.
    let lost = |kind| PeerPerformance { sent: at(100), ..of(kind, PeerOutcome::NoAnswer) };
    manager.record_peer_performance(at(5100), &id(1), &lost(RequestKind::Status));
    assert!(manager.link_has_room());
    manager.record_peer_performance(at(10_100), &id(1), &lost(RequestKind::Bodies));
    assert!(!manager.link_has_room(), "four at once where eight were too many");
}

#[test]
fn what_is_in_flight_is_known() {
    let mut manager = manager(2, 2);
    manager.sent(id(1), RequestKind::Bodies, 100_000, at(700), at(100));
    manager.sent(id(1), RequestKind::Bodies, 100_000, at(900), at(200));
    // Small questions are nobody's load.
    manager.sent(id(1), RequestKind::Status, 64, at(5000), at(300));
    let one = peer(&manager, 1);
    assert_eq!((one.in_flight, one.queued_bytes, one.asked_at), (2, 200_000, at(200)));
    assert_eq!(
        [one.late_micros(at(900)), one.late_micros(at(901))],
        [0, 1000],
        "since the last of them should be here"
    );
    let status = InFlight { purpose: Purpose::Status, ..request(1, 300, 5000) };
    manager.ended(&status);
    assert_eq!(peer(&manager, 1).in_flight, 2);
    manager.ended(&request(1, 100, 900));
    manager.ended(&request(1, 200, 700));
    let one = peer(&manager, 1);
    assert_eq!((one.in_flight, one.queued_bytes, one.late_micros(at(9000))), (0, 0, 0));
    // Earlier expectations count no more.
    manager.sent(id(1), RequestKind::Bodies, 100_000, at(600), at(500));
    assert_eq!(peer(&manager, 1).late_micros(at(601)), 1000);
}

#[test]
fn a_line_is_outlasted_by_late_answers_that_nothing_came_before() {
    let mut manager = manager(2, 2);
    assert!(!manager.timed_out_unheard(&request(1, 0, 2000), at(1999)), "it is not late yet");
    assert!(manager.timed_out_unheard(&request(1, 0, 2000), at(2000)));
    assert_eq!(peer(&manager, 1).estimator.bytes_per_second(), 25_000);
    let delivered = PeerPerformance { sent: at(2000), ..of(RequestKind::Bodies, PeerOutcome::Delivered) };
    manager.record_peer_performance(at(2500), &id(1), &delivered);
    assert!(!manager.timed_out_unheard(&request(1, 2400, 2600), at(60_000)), "it sends, if something else");
    assert!(manager.timed_out_unheard(&request(1, 2500, 2600), at(60_000)));
    assert!(!manager.timed_out_unheard(&request(9, 0, 1), at(60_000)), "nobody knows it");
}

#[test]
fn who_does_not_have_it_gives_its_place_up() {
    let mut manager = manager(1, 2);
    for kind in [RequestKind::Follow, RequestKind::Status] {
        manager.not_available(id(1), kind, at(0));
        assert_eq!(active(&manager), [id(1)], "news that aren't there yet are no reason: {kind:?}");
    }
    let until = manager.not_available(id(1), RequestKind::Segment, at(0));
    assert_eq!(active(&manager), [id(2)]);
    assert!(
        peer(&manager, 1).rests(RequestKind::Segment, at(124)) && !peer(&manager, 1).rests(RequestKind::Segment, until)
    );
}

#[test]
fn who_is_busy_is_left_alone_with_everything() {
    let mut manager = manager(1, 2);
    assert_eq!(manager.busy(id(1), at(3000), at(0)), (at(3000), 1));
    assert_eq!(manager.busy(id(1), at(1000), at(0)), (at(3000), 2));
    assert_eq!(active(&manager), [id(2)]);
    manager.get_mut(id(1)).unwrap().pause(RequestKind::Bodies, at(500));
    for kind in [RequestKind::Bodies, RequestKind::Status] {
        assert!(peer(&manager, 1).rests(kind, at(2999)), "a longer word stays: {kind:?}");
    }
    assert_eq!(manager.check_peer_health(at(0), &id(1)), PeerHealth::Busy { until: at(3000) });
    let took = Duration::ZERO;
    manager.record_peer_performance(at(3000), &id(1), &of(RequestKind::Bodies, PeerOutcome::Verified { took }));
    assert_eq!(manager.busy(id(1), at(4000), at(3000)), (at(4000), 1), "what is true ends the row");
}

#[test]
fn another_version_is_no_way_out_of_a_ban() {
    let mut manager = manager(1, 2);
    let until = manager.blacklist_unreliable_peer(at(0), &id(1), BlacklistReason::Proven(Fault::Malformed));
    manager.unsupported(id(1), at(1));
    assert_eq!(manager.check_peer_health(at(1), &id(1)), PeerHealth::Banned { until });
    let until = manager.unsupported(id(2), at(1));
    assert_eq!(manager.check_peer_health(at(1), &id(2)), PeerHealth::Unsupported { until });
    assert_eq!(active(&manager), []);
}
