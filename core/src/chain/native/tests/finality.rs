//! Attacks on the commit rule and on the rules of headers.

use super::*;
use crate::chain::{Chain, Fault};

/// A tip is the shortest way in: one header, one proof.
fn tip(header: &Header, proof: FinalityProof) -> Vec<u8> {
    FinalizedHeader::new(header.clone(), proof).encode()
}

fn two_chain(net: &Net, descendants: Vec<Header>) -> FinalityProof {
    let qc = net.certify(descendants.last().unwrap(), Phase::One);
    FinalityProof::TwoChain { descendants, qc }
}

#[test]
fn one_chain_is_not_final() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    // A block that all validators certified, and that a later view abandoned.
    let parent = net.header(9);
    let dead = with(net.header(10), |header| header.view = parent.view.plus(7));
    let qc = net.certify(&dead, Phase::One);
    let one_qc = FinalityProof::TwoChain { descendants: Vec::new(), qc: qc.clone() };
    assert_eq!(chain.verify_tip(&epoch, &tip(&dead, one_qc.clone())), Err(Fault::NotFinal));
    let as_double = FinalityProof::DoubleCertificate { descendants: Vec::new(), qc };
    assert_eq!(chain.verify_tip(&epoch, &tip(&dead, as_double.clone())), Err(Fault::BadCertificate));
    let as_anchor = FinalityProof::Anchored { id: dead.id() };
    assert_eq!(chain.verify_tip(&epoch, &tip(&dead, as_anchor.clone())), Err(Fault::NotFinal));
    for (proof, fault) in [(one_qc, Fault::NotFinal), (as_double, Fault::BadCertificate), (as_anchor, Fault::NotFinal)]
    {
        let segment = Segment::new(parent.clone(), vec![dead.clone()], proof).unwrap().encode();
        let result = chain.verify_segment(&epoch, &certified(10, 10), &segment, &[]);
        assert_eq!(result.unwrap_err(), fault);
    }
}

#[test]
fn views_must_be_consecutive() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    // Views pass without a block after heights 5 and 6; 7 and 8 are the first pair above 5.
    for top in [6, 7] {
        let proof = two_chain(&net, net.headers[6..=top].to_vec());
        assert_eq!(proof.verify(net.header(5), &epoch), Err(Fault::NotFinal), "{top}");
    }
    two_chain(&net, net.headers[6..=8].to_vec()).verify(net.header(5), &epoch).unwrap();
    // Every gap but the one of exactly one view.
    let block = net.header(9);
    for step in [2, 3, 100, u64::MAX - block.view.get()] {
        let child = with(net.header(10), |header| header.view = view(block.view.get() + step));
        assert_eq!(two_chain(&net, vec![child]).verify(block, &epoch), Err(Fault::NotFinal), "{step}");
    }
}

#[test]
fn a_path_longer_than_the_limit_is_refused() {
    let gaps: Vec<u64> = (5..=100).collect();
    let net = Net::new(&Shape { last_heights: vec![200], gaps_after: gaps, ..Shape::default() });
    let epoch = net.context(0);
    // Consecutive views come back at 102, so 102 is the top of every path.
    two_chain(&net, net.headers[39..=102].to_vec()).verify(net.header(38), &epoch).unwrap();
    let long = two_chain(&net, net.headers[38..=102].to_vec());
    assert_eq!(long.verify(net.header(37), &epoch), Err(Fault::Oversize));
    let bytes = tip(net.header(37), long);
    assert_eq!(FinalizedHeader::decode(&bytes), Err(Fault::Malformed));
}

#[test]
fn height_is_parent_plus_one() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    for wrong in [9, 11, 12] {
        let child = with(net.header(10), |header| header.height = height(wrong));
        let proof = two_chain(&net, vec![child]);
        assert_eq!(proof.verify(net.header(9), &epoch), Err(Fault::BrokenLink(height(wrong))));
    }
}

#[test]
fn view_above_parent() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    let block = net.header(9);
    for back in [0, 1, 5] {
        // The pair at the top is sound; the block below it is not above its parent's view.
        let child = with(net.header(10), |header| header.view = view(block.view.get() - back));
        let above = with(net.header(11), |header| {
            header.parent = child.id();
            header.justify_view = child.view;
            header.view = child.view.next();
        });
        let proof = two_chain(&net, vec![child, above]);
        assert_eq!(proof.verify(block, &epoch), Err(Fault::BrokenLink(height(10))), "{back}");
    }
    // The same for a tip, which comes without its parent.
    let block = with(block, |header| header.justify_view = header.view);
    let child = with(net.header(10), |header| header.parent = block.id());
    let result = two_chain(&net, vec![child]).verify(&block, &epoch);
    assert_eq!(result, Err(Fault::BrokenLink(height(9))));
}

#[test]
fn justify_view_is_the_parents() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    // A child that builds on its parent's re-proposal in a later view: the pair is not what it seems.
    let block = net.header(10);
    for justify in [block.view.get() - 1, block.view.get() + 1] {
        let child = with(net.header(11), |header| {
            header.justify_view = view(justify);
            header.view = view(block.view.get() + 2);
        });
        let above = with(net.header(12), |header| {
            header.parent = child.id();
            header.justify_view = child.view;
            header.view = child.view.next();
        });
        let result = two_chain(&net, vec![child, above]).verify(block, &epoch);
        assert_eq!(result, Err(Fault::BrokenLink(height(11))), "{justify}");
    }
}

#[test]
fn descendants_are_hash_linked() {
    let net = Net::new(&Shape::default());
    // Final is the parent of the certified header, not whatever has the same height and view.
    let impostor = with(net.header(9), |header| header.state_root = Hash::from_bytes([66; 32]));
    let result = two_chain(&net, vec![net.header(10).clone()]).verify(&impostor, &net.context(0));
    assert_eq!(result, Err(Fault::BrokenLink(height(10))));
}

#[test]
fn timestamp_monotonic() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    let block = net.header(9);
    let at = |millis| with(net.header(10), |header| header.timestamp = UnixMillis::new(millis));
    two_chain(&net, vec![at(block.timestamp.get())]).verify(block, &epoch).unwrap();
    for earlier in [block.timestamp.get() - 1, 0] {
        let result = two_chain(&net, vec![at(earlier)]).verify(block, &epoch);
        assert_eq!(result, Err(Fault::BrokenLink(height(10))));
    }
}

#[test]
fn header_epoch_matches_set() {
    let net = Net::new(&Shape { same_keys: true, ..Shape::default() });
    let epoch = net.context(0);
    let signed = |header: &Header| {
        let qc = build::certify(header, Phase::Two, epoch.validators(), &net.keys[0]);
        FinalityProof::DoubleCertificate { descendants: Vec::new(), qc }
    };
    // The right number with another set's hash, which would let a header vouch for validators that nobody checked.
    let other_hash = with(net.header(9), |header| header.epoch_hash = net.epochs[1].hash());
    assert_eq!(signed(&other_hash).verify(&other_hash, &epoch), Err(Fault::BadEpoch));
    let other_number = with(net.header(9), |header| header.epoch = Epoch::new(1));
    assert_eq!(signed(&other_number).verify(&other_number, &epoch), Err(Fault::BadEpoch));
    let before = with(net.header(25), |header| header.height = height(20));
    assert_eq!(net.double_of(&before).verify(&before, &net.context(1)), Err(Fault::BadEpoch));
    // Inside of a path, too.
    let child = with(net.header(10), |header| header.epoch_hash = net.epochs[1].hash());
    assert_eq!(two_chain(&net, vec![child]).verify(net.header(9), &epoch), Err(Fault::BadEpoch));
}

#[test]
fn next_epoch_is_named_by_the_last_block_alone() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    let early = with(net.header(9), |header| header.next_epoch_hash = Some(net.epochs[1].hash()));
    assert_eq!(net.double_of(&early).verify(&early, &epoch), Err(Fault::BadEpoch));
    let missing = with(net.header(20), |header| header.next_epoch_hash = None);
    assert_eq!(net.double_of(&missing).verify(&missing, &epoch), Err(Fault::BadEpoch));
}

#[test]
fn proposer_and_payload_are_bounded() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    type Change = fn(&mut Header);
    let wrong: [Change; 4] = [
        |header| header.proposer = 4,
        |header| header.payload_len = crate::limits::MAX_PAYLOAD_BYTES + 1,
        |header| header.payload_len = 0,
        |header| header.payload_hash = payload_hash(&[]),
    ];
    for change in wrong {
        let header = with(net.header(9), change);
        assert_eq!(net.double_of(&header).verify(&header, &epoch), Err(Fault::BrokenLink(height(9))));
    }
}

#[test]
fn genesis_certificate_is_exact() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    let fake = with(net.genesis.header(), |header| header.state_root = Hash::from_bytes([66; 32]));
    // Not even all validators together prove a block at height zero or in view zero, not the true one either.
    for header in [&fake, net.genesis.header()] {
        for phase in [Phase::One, Phase::Two] {
            let qc = net.certify(header, phase);
            assert_eq!(qc.verify(phase, header, &epoch), Err(CertificateError::Genesis));
        }
        let result = chain.verify_tip(&epoch, &tip(header, net.double_of(header)));
        assert_eq!(result, Err(Fault::BrokenLink(Height::ZERO)));
    }
    let no_view = with(net.header(1), |header| header.view = View::ZERO);
    assert_eq!(net.certify(&no_view, Phase::Two).verify(Phase::Two, &no_view, &epoch), Err(CertificateError::Genesis));
    // A chain that is sound but for its beginning.
    let first = with(net.header(1), |header| header.parent = fake.id());
    let proof = net.double_of(&first);
    let segment = Segment::new(fake, vec![first], proof).unwrap().encode();
    let result = chain.verify_segment(&epoch, &certified(1, 1), &segment, &[]);
    assert_eq!(result.unwrap_err(), Fault::BrokenLink(height(1)));
    // And nobody asks for the genesis block.
    let result = chain.verify_segment(&epoch, &certified(0, 1), &net.segment(1, 1), &[]);
    assert_eq!(result.unwrap_err(), Fault::WrongRange);
}
