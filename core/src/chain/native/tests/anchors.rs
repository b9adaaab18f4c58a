//! Attacks on trust anchors and the genesis document.

use super::*;
use crate::chain::{Chain, CheckError, Fault};

fn checkpoint(net: &Net, number: u64) -> TrustAnchor {
    let header = net.header(number).clone();
    let epoch = net.epochs[header.epoch.get() as usize].clone();
    TrustAnchor::Checkpoint(Checkpoint { header, epoch }.into())
}

#[test]
fn anchor_too_old() {
    let net = Net::new(&Shape::default());
    let period = 14 * DAY_MS;
    let start = |anchor: &TrustAnchor, now: u64, accept| anchor.check(&net.genesis, UnixMillis::new(now), accept);
    let anchors = [(TrustAnchor::Genesis, GENESIS_MS), (checkpoint(&net, 25), net.header(25).timestamp.get())];
    for (anchor, made) in anchors {
        assert!(start(&anchor, made + period, false).is_ok());
        let error = start(&anchor, made + period + 1, false).unwrap_err();
        assert_eq!(error, AnchorError::TooOld { age_ms: period + 1, trusting_period_ms: period });
        assert!(error.to_string().contains("AcceptLongRange"));
        assert!(start(&anchor, made + 100 * period, true).is_ok());
        // A clock that is far behind can't tell an age.
        let error = start(&anchor, made - MAX_CLOCK_ERROR_MS - 1, false).unwrap_err();
        assert_eq!(error, AnchorError::ClockBehind { ahead_ms: MAX_CLOCK_ERROR_MS + 1 });
        assert!(start(&anchor, made - MAX_CLOCK_ERROR_MS, false).is_ok());
    }
    // A permissioned chain has no such period.
    let mut document = net.genesis.document().clone();
    document.trusting_period_ms = None;
    let genesis = document.check().unwrap();
    assert!(TrustAnchor::Genesis.check(&genesis, UnixMillis::new(u64::MAX), false).is_ok());
}

#[test]
fn clock_comes_from_the_host() {
    let net = Net::new(&Shape::default());
    // The same anchor is young or old by the time that the caller gives, and by nothing else: the same call gives the
    // same answer, and times long past and far ahead of any real clock count as they are given.
    let at = |now: u64| TrustAnchor::Genesis.check(&net.genesis, UnixMillis::new(now), false);
    assert_eq!(at(GENESIS_MS), at(GENESIS_MS));
    assert!(at(GENESIS_MS + DAY_MS).is_ok());
    assert!(matches!(at(u64::MAX), Err(AnchorError::TooOld { .. })));
    assert!(matches!(at(0), Err(AnchorError::ClockBehind { .. })));
}

#[test]
fn checkpoint_fits_its_epoch_and_chain() {
    let net = Net::new(&Shape::default());
    let check = |anchor: TrustAnchor| anchor.check(&net.genesis, UnixMillis::new(GENESIS_MS), false);
    let facts = check(checkpoint(&net, 25)).unwrap();
    assert_eq!((facts.height, facts.id), (height(25), net.header(25).id()));
    assert_eq!((facts.epoch.epoch(), facts.epoch.range()), (Epoch::new(1), range(21, 40)));
    assert_eq!(net.chain().decode_epoch(facts.epoch.bytes(), None), Ok(net.context(1)));
    let of = |header: &Header, epoch: usize| {
        TrustAnchor::Checkpoint(Checkpoint { header: header.clone(), epoch: net.epochs[epoch].clone() }.into())
    };
    let other_chain = with(net.header(25), |header| header.chain_id = Hash::ZERO);
    let closing = build::closing(net.header(40), net.header(40).view.next(), 0);
    let wrong = [
        (of(net.header(25), 0), Rule::Epoch),
        (of(net.header(25), 2), Rule::Epoch),
        (of(&other_chain, 1), Rule::ChainId),
        (of(&closing, 1), Rule::Closing),
        (of(net.genesis.header(), 0), Rule::Genesis),
    ];
    for (anchor, rule) in wrong {
        assert_eq!(check(anchor), Err(AnchorError::Inconsistent(rule)));
    }
}

#[test]
fn no_ratchet_behind_the_anchor() {
    let net = Net::new(&Shape::default());
    let facts = checkpoint(&net, 25).check(&net.genesis, UnixMillis::new(GENESIS_MS), false).unwrap();
    let chain = NativeChain::with_anchor(&net.genesis, &facts);
    let epoch = chain.decode_epoch(facts.epoch.bytes(), None).unwrap();
    // Old keys can sign another past: a rival of the block right below the anchor, with a certificate that holds.
    let rival = with(net.header(24), |header| header.state_root = Hash::from_bytes([66; 32]));
    let proof = net.double_of(&rival);
    let rival = Segment::new(net.header(23).clone(), vec![rival], proof).unwrap().encode();
    for end in [SegmentEnd::Certified, SegmentEnd::CertifiedUpTo] {
        let result = chain.verify_segment(&epoch, &claim(24, 24, end), &rival, &[]);
        assert_eq!(result.unwrap_err(), CheckError::False(Fault::NotFinal));
        // True ones aren't taken on a certificate either, nor ranges that begin below or at the anchor.
        for (first, last) in [(22, 24), (24, 27), (25, 27)] {
            let result = chain.verify_segment(&epoch, &claim(first, last, end), &net.segment(first, last), &[]);
            assert_eq!(result.unwrap_err(), CheckError::False(Fault::NotFinal));
        }
        chain.verify_segment(&epoch, &claim(26, 28, end), &net.segment(26, 28), &[]).unwrap();
    }
    // The block above the anchor is the anchor's child, even if nobody said which parent to expect.
    let impostor = with(net.header(25), |header| header.state_root = Hash::from_bytes([66; 32]));
    let child = with(net.header(26), |header| header.parent = impostor.id());
    let proof = net.double_of(&child);
    let fork = Segment::new(impostor, vec![child], proof).unwrap().encode();
    let result = chain.verify_segment(&epoch, &certified(26, 26), &fork, &[]);
    assert_eq!(result.unwrap_err(), CheckError::False(Fault::WrongParent));
    // Links down from the anchor are what counts there.
    let below = claim(22, 24, SegmentEnd::Anchored(net.header(24).id()));
    chain.verify_segment(&epoch, &below, &net.anchored(22, 24), &[]).unwrap();
    let result = chain.verify_segment(&epoch, &claim(24, 24, below.end), &rival, &[]);
    assert_eq!(result.unwrap_err(), CheckError::False(Fault::WrongAnchor));
}

#[test]
fn an_anchor_at_the_epochs_end_is_the_boundary() {
    let net = Net::new(&Shape::default());
    let facts = checkpoint(&net, 40).check(&net.genesis, UnixMillis::new(GENESIS_MS), false).unwrap();
    let chain = NativeChain::with_anchor(&net.genesis, &facts);
    let epoch = chain.decode_epoch(facts.epoch.bytes(), None).unwrap();
    assert_eq!(chain.verify_handover(&epoch, &net.handover(1).encode()).unwrap().1.boundary_id, facts.id);
    // The anchor's own validators, later, for another boundary and a set of their choice.
    let next = EpochInfo::new(Epoch::new(2), range(41, 60), set(&keys("attacker", 4), &[1; 4]));
    let rival = with(net.header(40), |header| header.next_epoch_hash = Some(next.hash()));
    let handover = Handover::new(rival.clone(), net.double_of(&rival), &next).encode();
    assert_eq!(chain.verify_handover(&epoch, &handover).err(), Some(CheckError::False(Fault::WrongAnchor)));
    assert!(net.chain().verify_handover(&epoch, &handover).is_ok());
}

#[test]
fn genesis_documents_are_checked() {
    let keys = keys("genesis", 4);
    let right = document(&keys, &[1; 4], 10);
    let genesis = right.clone().check().unwrap();
    assert_eq!(genesis.header().parent, Hash::ZERO);
    assert_eq!((genesis.header().height, genesis.header().view), (Height::ZERO, View::ZERO));
    assert_eq!(genesis.epoch().range(), range(0, 10));
    type Change = fn(&mut GenesisDocument);
    let wrong: [(Change, GenesisError); 7] = [
        (|document| document.name.clear(), GenesisError::Name),
        (|document| document.name = "x".repeat(65), GenesisError::Name),
        (|document| document.name = "a\nb".to_string(), GenesisError::Name),
        (|document| document.last_height = Height::ZERO, GenesisError::LastHeight),
        (|document| document.trusting_period_ms = Some(0), GenesisError::TrustingPeriod),
        (|document| document.snapshot_interval = 0, GenesisError::SnapshotInterval),
        (|document| document.validators.clear(), GenesisError::Validators(ValidatorSetError::Empty)),
    ];
    for (change, error) in wrong {
        let mut document = right.clone();
        change(&mut document);
        assert_eq!(document.check(), Err(error));
    }
    // Every field is under the chain's id.
    let same: [Change; 6] = [
        |document| document.name.push('2'),
        |document| document.timestamp = UnixMillis::new(1),
        |document| document.validators[0].power += 1,
        |document| document.last_height = height(11),
        |document| document.trusting_period_ms = None,
        |document| document.snapshot_interval += 1,
    ];
    for change in same {
        let mut document = right.clone();
        change(&mut document);
        assert_ne!(document.check().unwrap().chain_id(), genesis.chain_id());
    }
}
