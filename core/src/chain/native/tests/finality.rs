//! Attacks on the commit rule and on the rules of headers.

use super::*;
use crate::chain::{Chain, CheckError, Fault};

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
    assert_eq!(chain.verify_tip(&epoch, &tip(&dead, one_qc.clone())), Err(CheckError::False(Fault::NotFinal)));
    let as_double = FinalityProof::DoubleCertificate { descendants: Vec::new(), qc };
    assert_eq!(chain.verify_tip(&epoch, &tip(&dead, as_double.clone())), Err(CheckError::False(Fault::BadCertificate)));
    let as_anchor = FinalityProof::Anchored { id: dead.id() };
    assert_eq!(chain.verify_tip(&epoch, &tip(&dead, as_anchor.clone())), Err(CheckError::False(Fault::NotFinal)));
    for (proof, fault) in [(one_qc, Fault::NotFinal), (as_double, Fault::BadCertificate), (as_anchor, Fault::NotFinal)]
    {
        let segment = Segment::new(parent.clone(), vec![dead.clone()], proof).unwrap().encode();
        let result = chain.verify_segment(&epoch, &certified(10, 10), &segment, &[]);
        assert_eq!(result.unwrap_err(), CheckError::False(fault));
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
    let top = 38 + crate::limits::MAX_PROOF_PATH;
    let gaps: Vec<u64> = (5..=top as u64 - 2).collect();
    let net = Net::new(&Shape { last_heights: vec![top as u64 + 100], gaps_after: gaps, ..Shape::default() });
    let epoch = net.context(0);
    // Consecutive views come back at the top of every path.
    two_chain(&net, net.headers[39..=top].to_vec()).verify(net.header(38), &epoch).unwrap();
    let long = two_chain(&net, net.headers[38..=top].to_vec());
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
    let longest = with(net.header(9), |header| header.payload_len = crate::limits::MAX_PAYLOAD_BYTES);
    assert_eq!(net.double_of(&longest).verify(&longest, &epoch), Ok(()));
}

#[test]
fn a_voter_holds_a_proposal_against_the_rules() {
    let net = Net::new(&Shape::default());
    let (epoch, parent) = (net.context(0), net.header(9));
    let check = |parent: &Header, proposal: &Header| epoch.check_proposal(parent, parent.id(), proposal);
    // What a proposer makes by the book passes: a block, an epoch's last one, and the closing header above it.
    let proposal = Proposal {
        view: parent.view.plus(3),
        proposer: 2,
        timestamp: parent.timestamp,
        payload: b"pay",
        state_root: Hash::from_bytes([1; 32]),
        next_epoch_hash: None,
    };
    let child = build::child_of(parent, parent.id(), epoch.info(), epoch.hash(), &proposal);
    assert_eq!(check(parent, &child), Ok(()));
    let last = net.header(20);
    assert_eq!(check(net.header(19), last), Ok(()));
    let closing = build::closing(last, last.view.next(), 1);
    assert_eq!(check(last, &closing), Ok(()));
    // Nothing else does: by itself, as a child, or for the parent that it names.
    type Change = fn(&mut Header);
    let wrong: [(Change, Rule); 8] = [
        (|header| header.chain_id = Hash::ZERO, Rule::ChainId),
        (|header| header.epoch_hash = Hash::ZERO, Rule::Epoch),
        (|header| header.height = Height::ZERO, Rule::Genesis),
        (|header| header.next_epoch_hash = Some(Hash::ZERO), Rule::NextEpoch),
        (|header| header.view = header.justify_view, Rule::View),
        (|header| header.proposer = 4, Rule::Proposer),
        (|header| header.parent = Hash::ZERO, Rule::Parent),
        (|header| header.timestamp = UnixMillis::new(0), Rule::Timestamp),
    ];
    for (change, rule) in wrong {
        assert_eq!(check(parent, &with(&child, change)), Err(rule));
    }
    assert_eq!(check(net.header(8), &child), Err(Rule::Height));
    assert_eq!(check(last, &with(&closing, |header| header.state_root = Hash::ZERO)), Err(Rule::Closing));
    // A parent is of the same epoch by number and by hash: a set of that number that another fork chose is another set.
    let strangers: [Change; 2] =
        [|header| header.epoch = Epoch::new(1), |header| header.epoch_hash = Hash::from_bytes([66; 32])];
    for change in strangers {
        let parent = with(parent, change);
        assert_eq!(check(&parent, &with(&child, |header| header.parent = parent.id())), Err(Rule::Epoch));
    }
}

#[test]
fn genesis_certificate_is_exact() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    let fake = with(net.genesis.header(), |header| header.state_root = Hash::from_bytes([66; 32]));
    // Not even all validators together prove a block at height zero or in view zero, not the true one either.
    let with_view = with(&fake, |header| header.view = view(5));
    for header in [&fake, &with_view, net.genesis.header()] {
        for phase in [Phase::One, Phase::Two] {
            let qc = net.certify(header, phase);
            assert_eq!(qc.verify(phase, header, &epoch), Err(CertificateError::Genesis));
        }
        let result = chain.verify_tip(&epoch, &tip(header, net.double_of(header)));
        assert_eq!(result, Err(CheckError::False(Fault::BrokenLink(Height::ZERO))));
    }
    let no_view = with(net.header(1), |header| header.view = View::ZERO);
    assert_eq!(net.certify(&no_view, Phase::Two).verify(Phase::Two, &no_view, &epoch), Err(CertificateError::Genesis));
    // A chain that is sound but for its beginning: from below, and from an anchor down.
    let first = with(net.header(1), |header| header.parent = fake.id());
    let proof = net.double_of(&first);
    let segment = Segment::new(fake.clone(), vec![first.clone()], proof).unwrap().encode();
    let result = chain.verify_segment(&epoch, &certified(1, 1), &segment, &[]);
    assert_eq!(result.unwrap_err(), CheckError::False(Fault::WrongParent));
    let header = net.header(25).clone();
    let anchor = TrustAnchor::Checkpoint(Checkpoint { header, epoch: net.epochs[1].clone() }.into());
    let facts = anchor.check(&net.genesis, UnixMillis::new(GENESIS_MS), false).unwrap();
    let result = NativeChain::with_anchor(&net.genesis, &facts).verify_segment(
        &epoch,
        &claim(1, 1, SegmentEnd::Anchored(first.id())),
        &segment,
        &[],
    );
    assert_eq!(result.unwrap_err(), CheckError::False(Fault::BrokenLink(height(1))));
    // And nobody asks for the genesis block.
    let result = chain.verify_segment(&epoch, &certified(0, 1), &net.segment(1, 1), &[]);
    assert_eq!(result.unwrap_err(), CheckError::False(Fault::WrongRange));
}
