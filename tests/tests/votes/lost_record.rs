//! A validator that lost its record of votes gets no permit: others could tell it which views are over, and not which lock it
//! held. Four validators, one of them faulty, play what would come of it.

use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::native::{FinalityProof, FinalizedHeader, NativeChain, QuorumCertificate, ValidatorKey};
use hotstuff2_sync::chain::{Chain as _, Finalized, TipFacts};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, View};
use hotstuff2_sync::participation::{GateOutput, GateSettings, ParticipationGate, SyncFacts, VoteRecord, WaitReason};
use hotstuff2_sync::time::UnixMillis;

use crate::{CHALLENGE, NOW, Net, Voter};

#[test]
fn a_lost_record_loses_the_lock_too() {
    let net = Net::new();
    // All have F final, by E above it.
    let f = net.propose(net.genesis.header(), 1, 10);
    let e = net.propose(&f, 2, 10);
    let above_f = net.certify(&e, [1, 2, 3]);
    assert!(net.is_final(&f, &e, above_f.clone()));
    let [mut one, mut two, mut three] = [Voter { lock: 2, voted: 2 }; 3];
    // View 3: A1. View 4: the faulty leader 0 shows A2 to 1 and 2 alone, and keeps its certificate back: A1 is final for
    // whoever is shown that.
    let a1 = net.propose(&e, 3, 20);
    assert!(one.votes(&a1) && two.votes(&a1) && three.votes(&a1));
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
        let mut gate = ParticipationGate::new(GateSettings::default(), Some((name, 1)), CHALLENGE);
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
            gate.handle_advert(NOW, net.word(validator, &f, 10));
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
