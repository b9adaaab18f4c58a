//! Facts in, orders out: when there is a permit, and with what.

use super::*;
use crate::calls::BlockPoint;
use crate::chain::{AdvertFacts, TipFacts};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, View};
use crate::time::UnixMillis;

const NOW: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;
const CHALLENGE: Hash = Hash::from_bytes([9; 32]);

fn wall(ms: u64) -> UnixMillis {
    UnixMillis::new(NOW + ms)
}

fn id(height: u64) -> Hash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&height.to_le_bytes());
    Hash::from_bytes(bytes)
}

fn point(height: u64) -> BlockPoint {
    BlockPoint { height: Height::new(height), id: id(height) }
}

/// A sync that has applied so far and proven so far; the tip is so old.
fn facts(applied: u64, proven: u64, age_ms: u64) -> SyncFacts {
    let proven = TipFacts {
        height: Height::new(proven),
        id: id(proven),
        epoch: Epoch::ZERO,
        timestamp: UnixMillis::new(NOW - age_ms),
    };
    SyncFacts { applied: Some(point(applied)), proven: Some(proven), epoch: Epoch::ZERO, suffix: None }
}

/// The word of one of four validators with a power of one each.
fn word(validator: u8, height: u64, view: u64) -> AdvertFacts {
    AdvertFacts {
        validator: Hash::from_bytes([validator; 32]),
        power: 1,
        total_power: 4,
        height: Height::new(height),
        id: id(height),
        view: View::new(view),
        timestamp: wall(0),
        challenge: CHALLENGE,
    }
}

/// Validator 1 of four.
fn gate(record: VoteRecord) -> ParticipationGate {
    let own = Some((Hash::from_bytes([1; 32]), 1));
    let mut gate = ParticipationGate::new(GateSettings::default(), own, CHALLENGE);
    gate.handle_vote_record(record);
    gate
}

fn drain(gate: &mut ParticipationGate) -> Vec<GateOutput> {
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

fn permit(gate: &mut ParticipationGate) -> Option<Permit> {
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

    // Without a record there is no permit, however fresh the tip is, and whatever others say.
    let mut lost = gate(VoteRecord::Lost);
    assert_eq!(drain(&mut lost), [waits.clone()], "told at once");
    for age in [0, HOUR] {
        lost.handle_sync(wall(0), facts(100, 100, age));
        for validator in 1..=4 {
            lost.handle_advert(wall(0), word(validator, 100, 40));
        }
        assert_eq!(drain(&mut lost), [waits.clone()], "nobody is asked for what doesn't help");
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
    assert_eq!(drain(&mut gate), [GateOutput::Ask(CHALLENGE), waits.clone()]);
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
            let mut gate = ParticipationGate::new(GateSettings::default(), own, CHALLENGE);
            gate.handle_vote_record(VoteRecord::Last(View::new(120)));
            gate
        })
        .collect();
    for gate in &mut gates {
        gate.handle_sync(wall(0), facts(100, 100, HOUR));
        assert_eq!(drain(gate)[0], GateOutput::Ask(CHALLENGE));
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
