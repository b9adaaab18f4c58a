//! Facts in, orders out: when there is a permit, and with what.

use super::*;
use crate::calls::BlockPoint;
use crate::chain::{AdvertFacts, TipFacts};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, View};
use crate::time::UnixMillis;

pub(super) const NOW: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;
pub(super) const SEED: Hash = Hash::from_bytes([9; 32]);

pub(super) fn wall(ms: u64) -> UnixMillis {
    UnixMillis::new(NOW + ms)
}

/// The first challenge of a gate.
pub(super) fn first() -> Hash {
    ParticipationGate::new(GateSettings::default(), None, SEED).challenge()
}

/// The order to ask for words that answer it.
fn ask(challenge: Hash) -> GateOutput {
    GateOutput::Ask { challenge, certificates: false }
}

pub(super) fn id(height: u64) -> Hash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&height.to_le_bytes());
    Hash::from_bytes(bytes)
}

pub(super) fn point(height: u64) -> BlockPoint {
    BlockPoint { height: Height::new(height), id: id(height) }
}

/// A sync that has applied so far and proven so far; the tip is so old.
pub(super) fn facts(applied: u64, proven: u64, age_ms: u64) -> SyncFacts {
    let proven = TipFacts {
        state_root: None,
        height: Height::new(proven),
        id: id(proven),
        epoch: Epoch::ZERO,
        timestamp: UnixMillis::new(NOW - age_ms),
    };
    SyncFacts { applied: Some(point(applied)), proven: Some(proven), epoch: Epoch::ZERO, suffix: None }
}

/// The word of one of four validators with a power of one each.
pub(super) fn word(validator: u8, height: u64, view: u64) -> AdvertFacts {
    AdvertFacts {
        validator: Hash::from_bytes([validator; 32]),
        power: 1,
        total_power: 4,
        height: Height::new(height),
        id: id(height),
        view: View::new(view),
        backed: None,
        lock: View::ZERO,
        certificate: None,
        timestamp: wall(0),
        challenge: first(),
    }
}

/// Validator 1 of four.
pub(super) fn gate(record: VoteRecord) -> ParticipationGate {
    let own = Some((Hash::from_bytes([1; 32]), 1));
    let mut gate = ParticipationGate::new(GateSettings::default(), own, SEED);
    gate.handle_vote_record(record);
    gate
}

pub(super) fn drain(gate: &mut ParticipationGate) -> Vec<GateOutput> {
    let mut outputs = Vec::new();
    loop {
        match gate.poll_output() {
            wait @ GateOutput::Wait(_) => {
                outputs.push(wait);
                return outputs;
            }
            output => outputs.push(output),
        }
    }
}

pub(super) fn permit(gate: &mut ParticipationGate) -> Option<Permit> {
    drain(gate).into_iter().find_map(|output| match output {
        GateOutput::Resume(permit) => Some(permit),
        _ => None,
    })
}

use alloc::vec::Vec;

#[test]
fn no_permit_while_syncing() {
    let mut gate = gate(VoteRecord::Last(View::new(7)));
    assert_eq!(permit(&mut gate), None, "nothing is known yet");
    gate.handle_sync(wall(0), facts(90, 100, 0));
    assert_eq!(drain(&mut gate), [GateOutput::Wait(Some(WaitReason::Applying { proven: Height::new(100) }))]);
    // While a state is put in place there is no head at all.
    gate.handle_sync(wall(0), SyncFacts { applied: None, ..facts(90, 100, 0) });
    assert_eq!(permit(&mut gate), None);
    gate.handle_sync(wall(0), facts(100, 100, 0));
    assert_eq!(permit(&mut gate).map(|permit| permit.head), Some(point(100)));
    assert!(gate.is_permitted());
}

#[test]
fn vote_floor_survives_restart() {
    let mut voted = gate(VoteRecord::Last(View::new(7)));
    voted.handle_sync(wall(0), facts(100, 100, 0));
    assert_eq!(permit(&mut voted).unwrap().vote_above, View::new(7));

    let mut new = gate(VoteRecord::Never);
    new.handle_sync(wall(0), facts(100, 100, 0));
    assert_eq!(permit(&mut new).unwrap().vote_above, View::ZERO);

    // A record from which nothing is known any more ends what was begun with a good one.
    new.handle_vote_record(VoteRecord::Lost);
    let waits = GateOutput::Wait(Some(WaitReason::VoteRecordLost));
    assert_eq!(drain(&mut new), [GateOutput::Pause(PauseReason::VoteRecordLost), waits.clone()]);
    assert!(!new.is_permitted());

    // Without a record there is no permit, however fresh the tip is, and whatever others say: nobody declared promise 7.
    let mut lost = gate(VoteRecord::Lost);
    assert_eq!(drain(&mut lost), core::slice::from_ref(&waits), "told at once");
    assert!(WaitReason::VoteRecordLost.is_final());
    for age in [0, HOUR] {
        lost.handle_sync(wall(0), facts(100, 100, age));
        for validator in 2..=4 {
            lost.handle_advert(wall(0), word(validator, 100, 40));
        }
        assert_eq!(drain(&mut lost), core::slice::from_ref(&waits), "nobody is asked for what doesn't help");
    }
    // With the record, found again, there is one.
    lost.handle_vote_record(VoteRecord::Last(View::new(39)));
    assert_eq!(permit(&mut lost).unwrap().vote_above, View::new(39));
}

#[test]
fn falls_behind_again() {
    for gap in [65, 900, 1_000_000] {
        let mut gate = gate(VoteRecord::Last(View::new(7)));
        gate.handle_sync(wall(0), facts(100, 100, 0));
        assert!(permit(&mut gate).is_some());
        gate.handle_sync(wall(0), facts(100, 164, 0));
        assert!(gate.is_permitted(), "64 blocks are no reason");
        gate.handle_sync(wall(0), facts(100, 100 + gap, 0));
        assert_eq!(drain(&mut gate)[0], GateOutput::Pause(PauseReason::Behind { gap }));
        assert!(!gate.is_permitted());
        // Back again, without a restart, with the record as it is now.
        gate.handle_sync(wall(0), facts(100 + gap, 100 + gap, 0));
        assert_eq!(drain(&mut gate), [GateOutput::Wait(Some(WaitReason::NoVoteRecord))]);
        gate.handle_vote_record(VoteRecord::Last(View::new(11)));
        assert_eq!(permit(&mut gate).unwrap().vote_above, View::new(11));
    }
}

#[test]
fn consensus_says_that_it_misses_blocks() {
    let mut gate = gate(VoteRecord::Last(View::new(7)));
    gate.handle_sync(wall(0), facts(100, 100, 0));
    assert!(permit(&mut gate).is_some());
    assert!(!gate.fall_behind(Height::new(164)));
    assert!(gate.fall_behind(Height::new(200)));
    assert_eq!(drain(&mut gate)[0], GateOutput::Pause(PauseReason::Behind { gap: 100 }));
    gate.handle_vote_record(VoteRecord::Last(View::new(7)));
    gate.handle_sync(wall(0), facts(150, 150, 0));
    assert_eq!(permit(&mut gate), None, "what it missed is not there yet");
    gate.handle_sync(wall(0), facts(200, 200, 0));
    assert!(permit(&mut gate).is_some());
}

#[test]
fn caught_up_is_proven() {
    // Everything proven is applied, and the tip is old: it may be that newer blocks are withheld.
    let mut gate = gate(VoteRecord::Last(View::new(7)));
    gate.handle_sync(wall(0), facts(100, 100, 60_000));
    let waits = GateOutput::Wait(Some(WaitReason::NotKnownToBeCaughtUp));
    assert_eq!(drain(&mut gate), [ask(first()), waits.clone()]);
    assert_eq!(drain(&mut gate), [waits], "asked once, not all the time");
    // One that knows of more, one that says nothing new, one whose clock is wrong: no two thirds.
    gate.handle_advert(wall(0), word(2, 101, 8));
    gate.handle_advert(wall(0), AdvertFacts { timestamp: UnixMillis::new(NOW - 31_000), ..word(3, 100, 8) });
    gate.handle_advert(wall(0), AdvertFacts { timestamp: wall(6_000), ..word(4, 100, 8) });
    assert_eq!(permit(&mut gate), None);
    // A tip from the future shows nothing either.
    let mut ahead = facts(100, 100, 0);
    ahead.proven.as_mut().unwrap().timestamp = wall(6_000);
    gate.handle_sync(wall(0), ahead);
    assert_eq!(permit(&mut gate), None);
    // A fresh one does.
    gate.handle_sync(wall(0), facts(101, 101, 9_000));
    assert!(permit(&mut gate).is_some());
}

#[test]
fn network_restart_resumes() {
    // All validators start at once, an hour after the last block. Nobody can make a fresher one before somebody votes.
    let mut gates: Vec<ParticipationGate> = (1..=4)
        .map(|validator: u8| {
            let own = Some((Hash::from_bytes([validator; 32]), 1));
            let mut gate = ParticipationGate::new(GateSettings::default(), own, SEED);
            gate.handle_vote_record(VoteRecord::Last(View::new(120)));
            gate
        })
        .collect();
    for gate in &mut gates {
        gate.handle_sync(wall(0), facts(100, 100, HOUR));
        assert_eq!(drain(gate)[0], ask(first()));
        gate.handle_advert(wall(0), word(2, 100, 120));
        assert_eq!(permit(gate), None);
        for validator in 1..=4 {
            gate.handle_advert(wall(0), word(validator, 100, 120));
        }
        assert_eq!(permit(gate).unwrap().vote_above, View::new(120));
    }
}

#[test]
fn words_of_another_set_are_forgotten() {
    let mut gate = gate(VoteRecord::Never);
    gate.handle_sync(wall(0), facts(100, 100, HOUR));
    for validator in 2..=4 {
        gate.handle_advert(wall(0), word(validator, 100, 8));
    }
    let mut next = gate.clone();
    next.handle_sync(wall(0), SyncFacts { epoch: Epoch::new(1), ..facts(100, 100, HOUR) });
    assert_eq!(permit(&mut next), None);
    assert!(permit(&mut gate).is_some(), "in the epoch that they speak of they are enough");
}

#[test]
fn a_permit_shows_the_suffix_of_its_own_head() {
    let suffix = Some(crate::chain::CertifiedSuffix { headers: Vec::new(), certificate: bytes::Bytes::new() });
    let mut gate = gate(VoteRecord::Never);
    gate.handle_sync(wall(0), SyncFacts { suffix: suffix.clone(), ..facts(100, 100, 0) });
    assert_eq!(permit(&mut gate).unwrap().suffix, suffix);
}

/// A gate of validator 1 that was permitted by words on an old tip at this height.
fn permitted_by_words(height: u64) -> ParticipationGate {
    let mut gate = gate(VoteRecord::Last(View::new(7)));
    gate.handle_sync(wall(0), facts(height, height, HOUR));
    for validator in 2..=4 {
        gate.handle_advert(wall(0), word(validator, height, 8));
    }
    assert!(permit(&mut gate).is_some());
    gate
}

#[test]
fn words_of_before_a_pause_count_for_nothing() {
    let mut gate = permitted_by_words(100);
    assert!(gate.fall_behind(Height::new(200)));
    assert_eq!(drain(&mut gate)[0], GateOutput::Pause(PauseReason::Behind { gap: 100 }));
    gate.handle_vote_record(VoteRecord::Last(View::new(7)));
    // Who knew of nothing above 100 may know by now of what is above 200.
    gate.handle_sync(wall(0), facts(200, 200, HOUR));
    let waits = GateOutput::Wait(Some(WaitReason::NotKnownToBeCaughtUp));
    let challenge = gate.challenge();
    assert_ne!(challenge, first());
    assert_eq!(drain(&mut gate), [ask(challenge), waits.clone()], "all are asked again, at once");
    for validator in 2..=4 {
        gate.handle_advert(wall(0), word(validator, 200, 8));
    }
    assert_eq!(drain(&mut gate), [waits], "words that answer the old question, however often they are shown");
    for validator in 2..=4 {
        gate.handle_advert(wall(0), AdvertFacts { challenge, ..word(validator, 200, 8) });
    }
    assert!(permit(&mut gate).is_some());
}

#[test]
fn the_host_may_close_it() {
    let mut gate = permitted_by_words(100);
    gate.close();
    let waits = GateOutput::Wait(Some(WaitReason::NotKnownToBeCaughtUp));
    let asked = ask(gate.challenge());
    assert_eq!(drain(&mut gate), [GateOutput::Pause(PauseReason::Asked), asked, waits.clone()]);
    assert!(!gate.is_permitted());
    gate.close();
    assert_eq!(drain(&mut gate), [waits], "there is nothing to withdraw any more");
}

#[test]
fn a_fresh_tip_below_the_head_shows_nothing_of_the_head() {
    let mut gate = gate(VoteRecord::Last(View::new(7)));
    gate.handle_sync(wall(0), facts(100, 90, 0));
    assert_eq!(permit(&mut gate), None);
    gate.handle_sync(wall(0), facts(100, 100, 0));
    assert!(permit(&mut gate).is_some());
}

#[test]
fn a_tip_is_fresh_up_to_its_bounds() {
    let fresh = |timestamp| {
        let mut gate = gate(VoteRecord::Last(View::new(7)));
        let mut facts = facts(100, 100, 0);
        facts.proven.as_mut().unwrap().timestamp = UnixMillis::new(timestamp);
        gate.handle_sync(wall(0), facts);
        permit(&mut gate).is_some()
    };
    assert!(fresh(NOW - 10_000) && fresh(NOW + 5_000));
    assert!(!fresh(NOW - 10_001) && !fresh(NOW + 5_001));
}

#[test]
fn a_word_counts_from_its_time_on_and_not_for_ever() {
    // With this validator's own power, two words decide.
    let counts = |timestamp| {
        let mut gate = gate(VoteRecord::Last(View::new(7)));
        gate.handle_sync(wall(0), facts(100, 100, HOUR));
        gate.handle_advert(wall(0), word(2, 100, 8));
        gate.handle_advert(wall(0), AdvertFacts { timestamp: UnixMillis::new(timestamp), ..word(3, 100, 8) });
        permit(&mut gate).is_some()
    };
    assert!(counts(NOW - 30_000) && counts(NOW + 5_000));
    assert!(!counts(NOW - 30_001) && !counts(NOW + 5_001), "a clock far ahead can't be right");
}

#[test]
fn validators_are_asked_again_each_third_of_the_time_for_which_words_count() {
    let mut gate = gate(VoteRecord::Last(View::new(7)));
    gate.handle_sync(wall(0), facts(100, 100, HOUR));
    let mut asks = |at: UnixMillis| {
        gate.handle_time(at);
        drain(&mut gate).contains(&ask(first()))
    };
    assert!(asks(wall(0)));
    assert!(!asks(wall(9_999)) && asks(wall(10_000)));
    assert!(!asks(wall(10_001)));
    // The host's clock was set back.
    assert!(asks(wall(5_000)) && !asks(wall(5_001)));
}

#[test]
fn the_newest_word_of_each_validator_counts_but_its_own() {
    let own = Hash::from_bytes([1; 32]);
    let agree = |roll: &RollCall, own_power| roll.nothing_above(Height::new(100), own_power, wall(0));
    let mut roll = RollCall::new(Some(own), first());
    for validator in 1..=3 {
        roll.hear(word(validator, 100, 8), wall(0));
    }
    assert!(!agree(&roll, 0), "two of four");
    assert!(agree(&roll, 1), "three of four");
    // An older word changes nothing, a newer one does.
    roll.hear(AdvertFacts { timestamp: UnixMillis::new(NOW - 1), ..word(3, 200, 8) }, wall(0));
    assert!(agree(&roll, 1));
    roll.hear(word(3, 200, 9), wall(0));
    assert!(!agree(&roll, 1));
    roll.hear(word(4, 100, 8), wall(0));
    assert!(agree(&roll, 1));
    // Whose words were heard before it was known who this is.
    roll.set_own(Some(Hash::from_bytes([4; 32])));
    assert!(!agree(&roll, 1));
    roll.hear(word(4, 100, 8), wall(0));
    assert!(!agree(&roll, 1));
    roll.set_own(None);
    roll.hear(word(4, 100, 8), wall(0));
    assert!(agree(&roll, 1), "nobody's own");
    roll.clear();
    assert!(!agree(&roll, 4), "of an unknown total nothing is a quorum");
}

#[test]
fn words_are_bounded_whatever_comes() {
    let most = crate::limits::MAX_VALIDATORS as u64;
    let mut roll = RollCall::new(None, first());
    let mut hear = |name: u64, height| {
        // Two thirds of the power are as many as are kept.
        let total_power = u128::from(most) * 3 / 2;
        roll.hear(AdvertFacts { validator: id(name), total_power, ..word(1, height, 8) }, wall(0));
        roll.nothing_above(Height::new(100), 0, wall(0))
    };
    for name in 0..=most {
        assert!(!hear(name, 100), "no more are kept than a set can have: {name}");
    }
    let own_power = 1;
    hear(0, 101);
    assert!(!roll.nothing_above(Height::new(100), own_power, wall(0)), "whose is known is still heard");
    assert!(roll.nothing_above(Height::new(101), own_power, wall(0)));
}

#[test]
fn a_validator_counts_in_the_set_that_is_in_force() {
    let mut gate = ParticipationGate::new(GateSettings::default(), None, SEED);
    gate.handle_vote_record(VoteRecord::Never);
    gate.handle_sync(wall(0), facts(100, 100, HOUR));
    for validator in [2, 3] {
        gate.handle_advert(wall(0), word(validator, 100, 40));
    }
    assert_eq!(drain(&mut gate), [GateOutput::Wait(Some(WaitReason::NoValidator))], "this one is none of them");
    gate.handle_validator(Some((Hash::from_bytes([1; 32]), 1)));
    assert!(permit(&mut gate).is_some(), "two of four, and this one");
}

#[test]
fn who_is_no_validator_has_no_permit_and_gets_one_with_the_epoch_that_has_it() {
    let own = Some((Hash::from_bytes([1; 32]), 1));
    let mut gate = gate(VoteRecord::Last(View::new(7)));
    gate.handle_sync(wall(0), facts(100, 100, 0));
    assert!(permit(&mut gate).is_some());
    // The next epoch goes on without it.
    gate.handle_validator(None);
    gate.handle_sync(wall(1), SyncFacts { epoch: Epoch::new(1), ..facts(101, 101, 0) });
    let orders = [GateOutput::Pause(PauseReason::NoValidator), GateOutput::Wait(Some(WaitReason::NoValidator))];
    assert_eq!(drain(&mut gate), orders);
    gate.handle_vote_record(VoteRecord::Last(View::new(9)));
    gate.handle_sync(wall(2), SyncFacts { epoch: Epoch::new(1), ..facts(102, 102, 0) });
    assert_eq!(drain(&mut gate), [GateOutput::Wait(Some(WaitReason::NoValidator))], "however fresh the tip is");
    // A place without power is none.
    gate.handle_validator(own.map(|(name, _)| (name, 0)));
    assert_eq!(drain(&mut gate), [GateOutput::Wait(Some(WaitReason::NoValidator))]);
    // And one later has it again.
    gate.handle_validator(own);
    gate.handle_sync(wall(3), SyncFacts { epoch: Epoch::new(2), ..facts(103, 103, 0) });
    assert_eq!(permit(&mut gate).map(|permit| permit.vote_above), Some(View::new(9)));
}

#[test]
fn only_what_a_new_start_ends_is_final() {
    let view = View::ZERO;
    let last =
        [WaitReason::VoteRecordLost, WaitReason::OwnKeyElsewhere { view }, WaitReason::Forked { height: Height::ZERO }];
    assert!(last.iter().all(|reason| reason.is_final()));
    let passing = [
        WaitReason::Applying { proven: Height::ZERO },
        WaitReason::NotKnownToBeCaughtUp,
        WaitReason::RestoringVotes,
        WaitReason::NoVoteRecord,
        WaitReason::NoValidator,
    ];
    assert!(passing.iter().all(|reason| !reason.is_final()));
}
