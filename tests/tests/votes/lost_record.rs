//! A validator that lost its record of votes gets no permit from words that say which views are over, and not which lock it
//! held; and where all hosts keep promise 7, the others restore both. Four validators, one of them faulty, play what would come
//! of anything less.

use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::native::{
    FinalityProof, FinalizedHeader, Header, NativeChain, QuorumCertificate, ValidatorKey,
};
use hotstuff2_sync::chain::{Chain as _, Finalized, TipFacts};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, View};
use hotstuff2_sync::participation::{
    GateOutput, GateSettings, ParticipationGate, Permit, SyncFacts, VoteRecord, WaitReason,
};
use hotstuff2_sync::time::UnixMillis;

use crate::{NOW, Net, SEED, Voter};

/// Beginning of each play: F is final by E above it, and A1 on E is certified in view 3.
struct Begun {
    net: Net,
    f: Header,
    e: Header,
    qc_e: QuorumCertificate,
    a1: Header,
    qc_a1: QuorumCertificate,
    /// Validators 1, 2 and 3, which have voted for A1.
    voters: [Voter; 3],
}

fn begun() -> Begun {
    let net = Net::new();
    let f = net.propose(net.genesis.header(), 1, 10);
    let e = net.propose(&f, 2, 10);
    let qc_e = net.certify(&e, [1, 2, 3]);
    assert!(net.is_final(&f, &e, qc_e.clone()));
    let mut voters = [Voter { lock: 2, voted: 2 }; 3];
    let a1 = net.propose(&e, 3, 20);
    assert!(voters.iter_mut().all(|voter| voter.votes(&a1)));
    let qc_a1 = net.certify(&a1, [1, 2, 3]);
    Begun { net, f, e, qc_e, a1, qc_a1, voters }
}

#[test]
fn a_lost_record_loses_the_lock_too() {
    let Begun { net, f, e, qc_e: above_f, a1, voters: [mut one, mut two, mut three], .. } = begun();
    // View 4: the faulty leader 0 shows A2 to 1 and 2 alone, and keeps its certificate back: A1 is final for
    // whoever is shown that.
    let a2 = net.propose(&a1, 4, 20);
    assert!(one.votes(&a2) && two.votes(&a2));
    assert!(net.is_final(&a1, &a2, net.certify(&a2, [0, 1, 2])));
    // Some views pass. Validator 1 loses its disk and synchronizes: F is proven, E is above it.
    (two.voted, three.voted) = (9, 9);
    let proof = FinalityProof::TwoChain { descendants: vec![e.clone()], qc: above_f };
    let tip = Finalized::Tip(FinalizedHeader::new(f.clone(), proof).encode().into());
    let suffix = NativeChain::new(&net.genesis).certified_suffix(&tip);
    let shown = QuorumCertificate::decode(&suffix.as_ref().unwrap().certificate).unwrap().view;
    assert_eq!((shown, one.lock), (View::new(2), 3), "nothing that is shown to it has its lock");

    // Whatever speaks for it, however many say which views are over: there is no permit, and it is said why.
    let name = Hash::from_bytes(*ValidatorKey::from(&net.keys[1]).as_bytes());
    for age in [0, 3_600_000] {
        let mut gate = ParticipationGate::new(GateSettings::default(), Some((name, 1)), SEED);
        gate.handle_vote_record(VoteRecord::Lost);
        let timestamp = UnixMillis::new(NOW.get() - age);
        let facts = SyncFacts {
            applied: Some(BlockPoint { height: f.height, id: f.id() }),
            proven: Some(TipFacts { state_root: None, height: f.height, id: f.id(), epoch: Epoch::ZERO, timestamp }),
            epoch: Epoch::ZERO,
            suffix: suffix.clone(),
        };
        gate.handle_sync(NOW, facts);
        for validator in [0, 2, 3] {
            gate.handle_advert(NOW, net.word(validator, &f, 10, gate.challenge()));
        }
        assert_eq!(gate.poll_output(), GateOutput::Wait(Some(WaitReason::VoteRecordLost)));
        // The record, found again, is enough.
        gate.handle_vote_record(VoteRecord::Last(View::new(4)));
        assert!(matches!(gate.poll_output(), GateOutput::Resume(permit) if permit.vote_above == View::new(4)));
    }

    // Had it been told the views alone: it votes for B1, against the lock that it forgot, and B1 is final beside A1.
    let mut forgetful = Voter { lock: shown.get(), voted: 11 };
    let b1 = net.propose(&e, 12, 30);
    assert!(!one.votes(&b1) && !two.votes(&b1), "who remembers its lock doesn't");
    assert!(forgetful.votes(&b1) && three.votes(&b1));
    let b2 = net.propose(&b1, 13, 30);
    assert!(forgetful.votes(&b2) && three.votes(&b2));
    assert!(net.is_final(&b1, &b2, net.certify(&b2, [0, 1, 3])));
    assert_eq!(a1.height, b1.height);
    assert_ne!(a1.id(), b1.id());
}

/// The gate of validator 1 after it lost its disk, where all hosts keep promise 7: it stands on `head`.
fn lost(net: &Net, head: &Header) -> ParticipationGate {
    let name = Hash::from_bytes(*ValidatorKey::from(&net.keys[1]).as_bytes());
    let settings = GateSettings { views_are_certified: true, ..GateSettings::default() };
    let mut gate = ParticipationGate::new(settings, Some((name, 1)), SEED);
    gate.handle_vote_record(VoteRecord::Lost);
    let (height, id) = (head.height, head.id());
    gate.handle_sync(
        NOW,
        SyncFacts {
            applied: Some(BlockPoint { height, id }),
            proven: Some(TipFacts { state_root: None, height, id, epoch: Epoch::ZERO, timestamp: NOW }),
            epoch: Epoch::ZERO,
            suffix: None,
        },
    );
    gate
}

fn permit(gate: &mut ParticipationGate) -> Option<Permit> {
    loop {
        match gate.poll_output() {
            GateOutput::Resume(permit) => return Some(permit),
            GateOutput::Wait(reason) => {
                assert_eq!(reason, Some(WaitReason::RestoringVotes));
                return None;
            }
            _ => {}
        }
    }
}

/// The voter that a host makes of a permit.
fn restored(permit: &Permit) -> Voter {
    let lock = permit.lock.as_ref().unwrap();
    assert_eq!(QuorumCertificate::decode(&lock.bytes).unwrap().view, lock.view, "the certificate itself");
    Voter { lock: lock.view.get(), voted: permit.vote_above.get() }
}

#[test]
fn a_restored_validator_keeps_its_lock() {
    let Begun { net, f, e, qc_e, a1, qc_a1, voters: [mut one, mut two, mut three] } = begun();
    // As above: A1 is final by the certificate that 0 keeps back; 2 has seen that of A1, 3 has not.
    let a2 = net.propose(&a1, 4, 20);
    assert!(one.votes(&a2) && two.votes(&a2));
    assert!(net.is_final(&a1, &a2, net.certify(&a2, [0, 1, 2])));
    (two.voted, three.voted) = (9, 9);

    let mut gate = lost(&net, &f);
    for (at, view) in [(0, 10), (1, 12)] {
        for (validator, high) in [(0, &qc_e), (2, &qc_a1), (3, &qc_e)] {
            gate.handle_advert(NOW, net.backed_word(validator, &f, view, high, at, gate.challenge()));
        }
    }
    let mut one = restored(&permit(&mut gate).expect("a quorum has shown all that it must remember"));
    assert_eq!((one.lock, one.voted), (3, 11));
    let b1 = net.propose(&e, 12, 30);
    assert!(!one.votes(&b1) && !two.votes(&b1) && three.votes(&b1), "no quorum, whatever 0 does");
    // The voter is no mute one: blocks that extend its lock get its vote.
    let a3 = net.propose(&a1, 13, 30);
    assert!(one.votes(&a3) && two.votes(&a3) && three.votes(&a3));
}

/// The certificate that makes a block final gets its last vote only after the others have answered.
#[test]
fn a_vote_that_comes_after_the_answer_is_covered() {
    let Begun { net, f, e, qc_e, a1, qc_a1, voters: [mut one, mut two, mut three] } = begun();
    // A1 is certified, and 0 shows that to 1 alone, with A2. The others are in view 4 by a time-out.
    let a2 = net.propose(&a1, 4, 20);
    assert!(one.votes(&a2));
    // Validator 1 loses its record, and all answer. Nobody says that there is anything above E.
    let mut gate = lost(&net, &f);
    for validator in [0, 2, 3] {
        gate.handle_advert(NOW, net.backed_word(validator, &f, 4, &qc_e, 0, gate.challenge()));
    }
    assert_eq!(permit(&mut gate), None, "2 and 3 can still vote in view 4");
    // Had it a permit by now, it would vote for B1 with 3 and 0. For 0 shows A2 to 2 after its answer, and A1 is final.
    assert!(two.votes(&a2));
    assert!(net.is_final(&a1, &a2, net.certify(&a2, [0, 1, 2])));
    let b1 = net.propose(&e, 5, 30);
    assert!(Voter { lock: 2, voted: 4 }.votes(&b1) && three.votes(&b1));
    // As it is, 2 has left view 4 first, and the view above it, in which 1 may have been; it says what it has seen there.
    for (at, view) in [(1, 5), (2, 6)] {
        assert_eq!(permit(&mut gate), None);
        for (validator, high) in [(0, &qc_e), (2, &qc_a1), (3, &qc_e)] {
            gate.handle_advert(NOW, net.backed_word(validator, &f, view, high, at, gate.challenge()));
        }
    }
    let mut one = restored(&permit(&mut gate).unwrap());
    assert_eq!((one.lock, one.voted), (3, 5));
    let b1 = net.propose(&e, 6, 40);
    assert!(!one.votes(&b1) && !two.votes(&b1) && three.votes(&b1));
}
