//! A validator without its record of votes: what others restore, and what liars can't do to it. And words that are no answer.

use alloc::format;
use alloc::vec::Vec;

use super::tests::{SEED, drain, facts, first, gate, id, permit, wall, word};
use super::*;
use crate::chain::{AdvertFacts, TipFacts};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, View};
use crate::time::UnixMillis;

/// The word of one of `count` validators, in view `view` by the certificate of the view before, locked on view `lock`.
fn backed(validator: u8, count: u128, view: u64, lock: u64) -> AdvertFacts {
    let certificate = (lock > 0).then(|| format!("certificate of view {lock}").into_bytes().into());
    let (lock, backed) = (View::new(lock), Some(View::new(view)));
    AdvertFacts { total_power: count, backed, lock, certificate, ..word(validator, 100, view) }
}

/// Validator 1 of a network whose hosts keep promise 7, without its record, at the tip.
fn lost() -> ParticipationGate {
    let settings = GateSettings { views_are_certified: true, ..GateSettings::default() };
    let own = Some((Hash::from_bytes([1; 32]), 1));
    let mut gate = ParticipationGate::new(settings, own, SEED);
    gate.handle_vote_record(VoteRecord::Lost);
    gate.handle_sync(wall(0), facts(100, 100, 0));
    gate
}

const RESTORING: GateOutput = GateOutput::Wait(Some(WaitReason::RestoringVotes));

#[test]
fn a_quorum_restores_the_views_and_the_lock() {
    let mut gate = lost();
    assert_eq!(drain(&mut gate), [GateOutput::Ask { challenge: first(), certificates: true }, RESTORING]);
    gate.handle_advert(wall(0), backed(2, 4, 40, 38));
    gate.handle_advert(wall(0), backed(3, 4, 41, 40));
    assert_eq!(permit(&mut gate), None, "two of four");
    gate.handle_advert(wall(0), backed(4, 4, 41, 35));
    assert_eq!(permit(&mut gate), None, "in view 42 somebody may still vote for what this one has voted for");
    for validator in 2..=4 {
        gate.handle_advert(wall(1), AdvertFacts { timestamp: wall(1), ..backed(validator, 4, 43, 40) });
    }
    let permit = permit(&mut gate).unwrap();
    assert_eq!(permit.vote_above, View::new(42), "the first answers say how far it can have been");
    let lock = permit.lock.unwrap();
    assert_eq!((lock.view, &lock.bytes[..]), (View::new(40), &b"certificate of view 40"[..]));
}

#[test]
fn a_view_that_the_others_have_finished_and_not_left_is_counted() {
    // All others gave up view 40, and the certificate of that reached the first alone, which voted in view 41. They say that
    // they are in view 40, as they are.
    let mut gate = lost();
    for (at, view) in [(0, 40), (1, 41)] {
        for validator in 2..=4 {
            gate.handle_advert(wall(at), AdvertFacts { timestamp: wall(at), ..backed(validator, 4, view, 0) });
        }
        assert_eq!(permit(&mut gate), None, "once all are in view 41, a vote there would be its second");
    }
    for validator in 2..=4 {
        gate.handle_advert(wall(2), AdvertFacts { timestamp: wall(2), ..backed(validator, 4, 42, 0) });
    }
    assert_eq!(permit(&mut gate).unwrap().vote_above, View::new(41));
}

#[test]
fn one_liar_mutes_nobody() {
    // The liar names the highest view there is, with a true certificate, whatever its place among the answers.
    let liar = |count: u128, view: u64| AdvertFacts { view: View::MAX, ..backed(2, count, view, view - 1) };
    for order in [[2, 3, 4], [3, 2, 4], [3, 4, 2]] {
        let mut gate = lost();
        for (round, view) in [1000, 1002].into_iter().enumerate() {
            for validator in order {
                let timestamp = wall(round as u64);
                let honest = backed(validator, 4, view, view - 1);
                let said = if validator == 2 { liar(4, view) } else { honest };
                gate.handle_advert(timestamp, AdvertFacts { timestamp, ..said });
            }
        }
        assert_eq!(permit(&mut gate).unwrap().vote_above, View::new(1001), "{order:?}");
    }
    let mut gate = lost();
    gate.handle_advert(wall(0), liar(100, 1000));
    for validator in 3..=100 {
        gate.handle_advert(wall(0), backed(validator, 100, 1000, 999));
    }
    for validator in 3..=100 {
        gate.handle_advert(wall(1), AdvertFacts { timestamp: wall(1), ..backed(validator, 100, 1002, 999) });
    }
    assert_eq!(permit(&mut gate).unwrap().vote_above, View::new(1001));
}

#[test]
fn views_without_certificates_count_for_nothing() {
    let bare = |view| AdvertFacts { backed: None, ..backed(2, 4, view, 0) };
    let hidden = |view| AdvertFacts { certificate: None, ..backed(2, 4, view, view - 1) };
    for nothing in [bare, hidden] {
        let mut gate = lost();
        for (at, view) in [(0, 40), (1, 42)] {
            let said = [nothing(view), backed(3, 4, view, view - 1), backed(4, 4, view, view - 1)];
            for word in said {
                gate.handle_advert(wall(at), AdvertFacts { timestamp: wall(at), ..word });
            }
        }
        assert_eq!(drain(&mut gate).last(), Some(&RESTORING));
    }
}

#[test]
fn silent_validators_are_waited_for_and_named() {
    // Four validators: one is silent, one has lost its record. Two are no quorum, and it is said what is missing.
    let mut gate = lost();
    for (at, view) in [(0, 40), (10_000, 42), (20_000, 44)] {
        for validator in [3, 4] {
            gate.handle_advert(wall(at), AdvertFacts { timestamp: wall(at), ..backed(validator, 4, view, 39) });
        }
        let asked = GateOutput::Ask { challenge: first(), certificates: true };
        assert_eq!(drain(&mut gate), [asked, RESTORING], "they are asked again and again");
    }
}

#[test]
fn a_challenge_is_used_once() {
    let mut gate = lost();
    let words: Vec<AdvertFacts> = (2..=4)
        .flat_map(|validator| [(0, 40), (1, 42)].map(|(at, view)| (validator, at, view)))
        .map(|(validator, at, view)| AdvertFacts { timestamp: wall(at), ..backed(validator, 4, view, 39) })
        .collect();
    let hear = |gate: &mut ParticipationGate, challenge| {
        for word in &words {
            gate.handle_advert(wall(1), AdvertFacts { challenge, ..word.clone() });
        }
    };
    hear(&mut gate, first());
    assert_eq!(permit(&mut gate).unwrap().vote_above, View::new(41));
    // The validator votes in higher views, falls behind, and its host has lost the record again. The old words don't
    // know of those votes.
    assert!(gate.fall_behind(Height::new(300)));
    gate.handle_vote_record(VoteRecord::Lost);
    gate.handle_sync(wall(1), facts(300, 300, 0));
    hear(&mut gate, first());
    assert_eq!(drain(&mut gate).last(), Some(&RESTORING));
    let fresh = gate.challenge();
    assert_ne!(fresh, first());
    hear(&mut gate, fresh);
    assert!(permit(&mut gate).is_some());
}

#[test]
fn words_do_not_displace_words() {
    let mut gate = lost();
    for (at, view) in [(0, 40), (1, 42)] {
        for validator in 2..=4 {
            let word = AdvertFacts { timestamp: wall(at), ..backed(validator, 4, view, 39) };
            gate.handle_advert(wall(at), word.clone());
            // Anybody asks the same validator a moment later, with a question of its own, or with ours but for the certificates.
            let later = AdvertFacts { timestamp: wall(at + 1), ..word };
            gate.handle_advert(wall(at), AdvertFacts { challenge: Hash::ZERO, ..later.clone() });
            gate.handle_advert(wall(at), AdvertFacts { backed: None, certificate: None, ..later });
        }
    }
    assert_eq!(permit(&mut gate).unwrap().vote_above, View::new(41));
}

#[test]
fn words_from_the_future_are_refused_when_they_come() {
    let mut gate = gate(VoteRecord::Last(View::new(7)));
    gate.handle_sync(wall(0), facts(100, 100, 3_600_000));
    // Said while the clock of validator 2 was an hour ahead, and shown to us by anybody.
    gate.handle_advert(wall(0), AdvertFacts { timestamp: wall(3_600_000), ..word(2, 100, 8) });
    for at in 0..60 {
        let at = at * 10_000;
        for validator in [2, 3] {
            gate.handle_advert(wall(at), AdvertFacts { timestamp: wall(at), ..word(validator, 100, 8) });
        }
        assert!(at > 0 || permit(&mut gate).is_some(), "it hides none of its later words");
    }
}

#[test]
fn a_clone_is_noticed() {
    let own = |view, challenge| AdvertFacts { challenge, ..word(1, 100, view) };
    let elsewhere = |view| GateOutput::Wait(Some(WaitReason::OwnKeyElsewhere { view: View::new(view) }));
    // By its record it is in view 8 at most: what it has said itself, relayed by anybody, shows nothing.
    for (record, known) in [(VoteRecord::Last(View::new(7)), 8), (VoteRecord::Never, 1)] {
        let mut gate = gate(record);
        gate.handle_sync(wall(0), facts(100, 100, 0));
        gate.handle_advert(wall(0), own(known, first()));
        let mut clone = gate.clone();
        clone.handle_advert(wall(0), own(known + 1, Hash::ZERO));
        assert_eq!(drain(&mut clone), [elsewhere(known + 1)]);
        // A new record doesn't end what another instance does.
        clone.handle_vote_record(VoteRecord::Last(View::new(90)));
        assert_eq!(drain(&mut clone), [elsewhere(known + 1)]);
        assert!(WaitReason::OwnKeyElsewhere { view: View::ZERO }.is_final());
        assert!(permit(&mut gate).is_some());
        // Its record is an old one while it takes part.
        gate.handle_advert(wall(0), own(500, Hash::ZERO));
        assert!(gate.is_permitted());
        assert!(gate.fall_behind(Height::new(300)));
        gate.handle_vote_record(VoteRecord::Last(View::new(500)));
        gate.handle_sync(wall(0), facts(300, 300, 0));
        assert_eq!(permit(&mut gate).unwrap().vote_above, View::new(500));
    }
    // A validator that has lost its record says nothing, so nobody but another instance can have answered this
    // start's question.
    let mut gate = lost();
    gate.handle_advert(wall(0), own(40, Hash::ZERO));
    assert_eq!(drain(&mut gate).last(), Some(&RESTORING));
    gate.handle_advert(wall(0), own(40, first()));
    assert_eq!(drain(&mut gate), [elsewhere(40)]);
}

#[test]
fn a_head_that_a_proof_contradicts_gets_no_permit() {
    let height = Height::new(100);
    let forked = || {
        let mut facts = facts(100, 100, 0);
        facts.proven = facts.proven.map(|proven| TipFacts { id: id(999), ..proven });
        facts
    };
    let waits = GateOutput::Wait(Some(WaitReason::Forked { height }));
    let mut closed = gate(VoteRecord::Last(View::new(7)));
    closed.handle_sync(wall(0), forked());
    assert_eq!(drain(&mut closed), core::slice::from_ref(&waits));
    let mut open = gate(VoteRecord::Last(View::new(7)));
    open.handle_sync(wall(0), facts(100, 100, 0));
    assert!(permit(&mut open).is_some());
    open.handle_sync(wall(0), forked());
    assert_eq!(drain(&mut open), [GateOutput::Pause(PauseReason::Forked { height }), waits]);
}

#[test]
fn votes_are_restored_for_one_epoch() {
    let mut gate = lost();
    let speak = |gate: &mut ParticipationGate| {
        let challenge = gate.challenge();
        for (at, view) in [(0, 40), (1, 42)] {
            for validator in 2..=4 {
                let word = AdvertFacts { timestamp: wall(at), challenge, ..backed(validator, 4, view, 39) };
                gate.handle_advert(wall(1), word);
            }
        }
    };
    speak(&mut gate);
    assert!(permit(&mut gate).is_some());
    // How far it can have voted in the next epoch is for that epoch's validators to say, whatever its record says of this one.
    let next = |at: UnixMillis, gate: &mut ParticipationGate| {
        gate.handle_sync(at, SyncFacts { epoch: Epoch::new(1), ..facts(101, 101, 0) });
    };
    next(wall(1), &mut gate);
    assert_eq!(drain(&mut gate)[0], GateOutput::Pause(PauseReason::EpochEnded));
    gate.handle_vote_record(VoteRecord::Last(View::new(41)));
    assert_eq!(drain(&mut gate).last(), Some(&RESTORING));
    speak(&mut gate);
    assert_eq!(permit(&mut gate).unwrap().vote_above, View::new(41), "the higher of the two");
    // Within the epoch it comes back as any other.
    gate.close();
    drain(&mut gate);
    gate.handle_vote_record(VoteRecord::Last(View::new(50)));
    next(wall(1), &mut gate);
    assert_eq!(permit(&mut gate).unwrap().vote_above, View::new(50));
}
