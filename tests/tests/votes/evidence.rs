//! Evidence of two final blocks names those who broke a promise, or nobody.

use std::collections::BTreeSet;

use hotstuff2_sync::chain::native::{
    Conflict, ConflictEvidence, FinalityProof, FinalizedHeader, Header, NativeChain, QuorumCertificate, ValidatorKey,
};
use hotstuff2_sync::chain::{Chain as _, Fault, Finalized};

use crate::{Net, Voter};

impl Net {
    fn proof(&self, header: &Header, child: &Header, qc: QuorumCertificate) -> Finalized {
        let proof = FinalityProof::TwoChain { descendants: vec![child.clone()], qc };
        proof.verify(header, &self.epoch).unwrap();
        Finalized::Tip(FinalizedHeader::new(header.clone(), proof).encode().into())
    }

    fn evidence(&self, one: &Finalized, other: &Finalized) -> ConflictEvidence {
        let evidence = NativeChain::new(&self.genesis).evidence(&self.epoch, one, other).unwrap();
        ConflictEvidence::decode(&evidence).unwrap()
    }

    /// The places of the validators that are named.
    fn named(&self, conflict: &Conflict) -> BTreeSet<usize> {
        let place = |key: &ValidatorKey| (0..4).find(|&place| ValidatorKey::from(&self.keys[place]) == *key).unwrap();
        conflict.culprits.iter().map(place).collect()
    }
}

/// 0 and 1 are faulty, 2 and 3 honest. Whoever signed both proofs is not whoever broke a promise.
#[test]
fn evidence_names_no_innocent() {
    let net = Net::new();
    let genesis = net.genesis.header();
    let [mut two, mut three] = [Voter { lock: 0, voted: 0 }; 2];
    // Views 1 and 2: A1 is final, by A2, which 2 votes for with a lock on A1.
    let a1 = net.propose(genesis, 1, 1);
    let a2 = net.propose(&a1, 2, 1);
    assert!(two.votes(&a1) && two.votes(&a2));
    let a = net.proof(&a1, &a2, net.certify(&a2, [0, 1, 2]));
    // View 3: 0 and 1 vote against their lock, and 3 has none. View 4: 2 must vote for what has a certificate above its lock.
    let b1 = net.propose(genesis, 3, 2);
    let b2 = net.propose(&b1, 4, 2);
    assert!(!two.clone().votes(&b1) && three.votes(&b1));
    assert!(two.votes(&b2) && three.votes(&b2));
    let b = net.proof(&b1, &b2, net.certify(&b2, [0, 2, 3]));

    let evidence = net.evidence(&a, &b);
    let conflict = evidence.verify(&net.epoch).unwrap();
    assert_eq!(net.named(&conflict), BTreeSet::new(), "2 signed both, and kept every promise");
    assert_eq!(conflict.wanted, [b1.id()]);
    // The certificate of the first block above the view in which the other branch was decided shows it.
    let qc = net.certify(&b1, [0, 1, 3]);
    let full = evidence.clone().with_certificates([net.certify(&a1, [0, 1, 2]), qc.clone()]);
    let full = ConflictEvidence::decode(&full.encode()).unwrap();
    let conflict = full.verify(&net.epoch).unwrap();
    assert_eq!(net.named(&conflict), BTreeSet::from([0, 1]));
    assert_eq!(conflict.wanted, [], "nothing is missing any more");
    // One that doesn't hold names nobody.
    let mut forged = qc.clone();
    forged.signatures.swap(0, 1);
    assert_eq!(evidence.clone().with_certificates([forged]).verify(&net.epoch), Err(Fault::BadCertificate));
}

#[test]
fn two_votes_in_one_view_are_named() {
    let net = Net::new();
    let genesis = net.genesis.header();
    let chain = |salt| {
        let first = net.propose(genesis, 1, salt);
        let second = net.propose(&first, 2, salt);
        (first, second)
    };
    let ((a1, a2), (b1, b2)) = (chain(1), chain(2));
    let a = net.proof(&a1, &a2, net.certify(&a2, [0, 1, 2]));
    let b = net.proof(&b1, &b2, net.certify(&b2, [0, 1, 3]));
    let conflict = net.evidence(&a, &b).verify(&net.epoch).unwrap();
    assert_eq!(net.named(&conflict), BTreeSet::from([0, 1]));
    // A block further up it is the same.
    let (a3, b3) = (net.propose(&a2, 3, 1), net.propose(&b2, 3, 2));
    let a = net.proof(&a2, &a3, net.certify(&a3, [0, 1, 2]));
    let b = net.proof(&b2, &b3, net.certify(&b3, [0, 2, 3]));
    let conflict = net.evidence(&a, &b).verify(&net.epoch).unwrap();
    assert_eq!(net.named(&conflict), BTreeSet::from([0, 2]), "both signed two blocks of view 3");
}
