//! Whole blocks through [`BlockValidator`]: every stage, and that each stage is strict by itself.

use super::*;
use crate::chain::Fault;

fn block(net: &Net, number: u64) -> Block {
    Block::anchored(net.header(number).clone(), net.payloads[number as usize].clone().into())
}

fn proven(net: &Net, number: u64) -> Block {
    Block { proof: net.two_chain(number), ..block(net, number) }
}

fn blocks(net: &Net, first: u64, last: u64) -> Vec<Block> {
    let ends = |number| number == last || net.epochs.iter().any(|epoch| epoch.range().last() == height(number));
    (first..=last).map(|number| if ends(number) { proven(net, number) } else { block(net, number) }).collect()
}

fn validator(net: &Net) -> BlockValidator {
    BlockValidator::new((0..net.epochs.len()).map(|epoch| net.context(epoch)))
}

fn rule(number: u64, rule: Rule) -> Result<(), BlockError> {
    Err(BlockError::Rule { height: height(number), rule })
}

#[test]
fn every_stage_takes_honest_blocks() {
    let net = Net::new(&Shape::default());
    let validator = validator(&net);
    let blocks = blocks(&net, 1, 60);
    validator.validate_block_chain(&blocks).unwrap();
    validator.validate_block_chain_to(&blocks[..30], &net.header(30).id()).unwrap();
    assert_eq!(validator.validate_block_sequence(&blocks), vec![Ok(()); 60]);
    assert_eq!(validator.validate_block_headers_only(&net.headers[1..]), vec![Ok(()); 60]);
    let genesis = Block::anchored(net.genesis.header().clone(), Bytes::new());
    validator.validate_consensus_rules(&blocks[0], &genesis).unwrap();
    for pair in blocks.windows(2) {
        validator.validate_block_structure(&pair[1]).unwrap();
        validator.validate_consensus_rules(&pair[1], &pair[0]).unwrap();
        validator.fast_validate_block(&pair[1]).unwrap();
    }
    validator.validate_block_signatures(&proven(&net, 33)).unwrap();
    validator.validate_block_signatures(&Block { proof: net.double(33), ..block(&net, 33) }).unwrap();
    validator.state().validate_state_root(&blocks[4], &net.header(5).state_root).unwrap();
}

#[test]
fn each_stage_finds_what_is_its_own() {
    let net = Net::new(&Shape::default());
    let validator = validator(&net);
    let honest = block(&net, 9);
    let longer = Block { payload: vec![9; 10].into(), ..honest.clone() };
    let other = Block { payload: vec![8; 9].into(), ..honest.clone() };
    for bent in [&longer, &other] {
        assert_eq!(validator.validate_block_structure(bent), Err(BlockError::Payload(height(9))));
        assert_eq!(validator.fast_validate_block(bent), Err(BlockError::Payload(height(9))));
    }
    let proposer = Block { header: with(&honest.header, |header| header.proposer = 4), ..honest.clone() };
    assert_eq!(validator.validate_block_structure(&proposer), rule(9, Rule::Proposer));
    // By itself it is a fine block, but not the one that it is known by, nor the child of its parent.
    let moved = Block { header: with(&honest.header, |header| header.parent = Hash::ZERO), ..honest.clone() };
    validator.validate_block_structure(&moved).unwrap();
    let known = honest.id();
    assert_eq!(validator.fast_validate_block(&moved), Err(BlockError::OtherBlock { height: height(9), known }));
    assert_eq!(validator.validate_consensus_rules(&moved, &block(&net, 8)), rule(9, Rule::Parent));
    assert_eq!(validator.validate_consensus_rules(&honest, &block(&net, 7)), rule(9, Rule::Height));
    // A parent that breaks a rule is no parent, though the child fits it.
    let parent = Block { header: with(net.header(8), |header| header.proposer = 4), ..block(&net, 8) };
    let child = Block { header: with(&honest.header, |header| header.parent = parent.id()), ..honest.clone() };
    assert_eq!(validator.validate_consensus_rules(&child, &parent), rule(8, Rule::Proposer));

    let root = Hash::from_bytes([1; 32]);
    let expected = honest.header.state_root;
    let refused = Err(BlockError::StateRoot { height: height(9), expected, found: root });
    assert_eq!(validator.state().validate_state_root(&honest, &root), refused);
}

#[test]
fn only_a_certificate_of_the_blocks_own_epoch_proves() {
    let net = Net::new(&Shape::default());
    let validator = validator(&net);
    assert_eq!(validator.validate_block_signatures(&block(&net, 9)), Err(BlockError::NotFinal(height(9))));
    let mut forged = proven(&net, 9);
    if let FinalityProof::TwoChain { qc, .. } = &mut forged.proof {
        qc.signatures.swap(0, 1);
    }
    let refused = Err(BlockError::Proof { height: height(9), fault: Fault::BadCertificate });
    assert_eq!(validator.validate_block_signatures(&forged), refused);
    assert_eq!(validator.validate_block_chain(&[block(&net, 8), forged.clone()]), refused);
    assert_eq!(
        validator.validate_block_sequence(&[block(&net, 8), forged]),
        [Err(BlockError::NotFinal(height(8))), refused]
    );

    // Without proof at the end, or at the end of an epoch, nothing below is final.
    let mut chain = blocks(&net, 15, 30);
    validator.validate_block_chain(&chain).unwrap();
    chain[5] = block(&net, 20);
    assert_eq!(validator.validate_block_chain(&chain), Err(BlockError::NotFinal(height(20))));
    let results = validator.validate_block_sequence(&chain);
    assert!(results[..6].iter().all(Result::is_err) && results[6..].iter().all(Result::is_ok), "{results:?}");
    let open = [block(&net, 25), block(&net, 26)];
    assert_eq!(validator.validate_block_chain(&open), Err(BlockError::NotFinal(height(26))));
    let other = net.header(27).id();
    let refused = Err(BlockError::OtherBlock { height: height(26), known: other });
    assert_eq!(validator.validate_block_chain_to(&open, &other), refused);
    assert_eq!(validator.validate_block_chain(&[]), Err(BlockError::Empty));

    // An epoch that nobody vouched for proves nothing.
    let first = BlockValidator::new([net.context(0)]);
    let unknown = Err(BlockError::UnknownEpoch { height: height(25), epoch: Epoch::new(1) });
    assert_eq!(first.validate_block_structure(&block(&net, 25)), unknown);
    assert_eq!(first.validate_block_signatures(&proven(&net, 25)), unknown);
}

#[test]
fn a_broken_link_is_found_wherever_it_is() {
    let net = Net::new(&Shape::default());
    let validator = validator(&net);
    let mut chain = blocks(&net, 1, 12);
    chain.remove(6);
    assert_eq!(validator.validate_block_chain(&chain), rule(8, Rule::Height));
    let results = validator.validate_block_sequence(&chain);
    assert_eq!(results[6], rule(8, Rule::Height));
    // What is above is final by itself; what is below is proven by nothing.
    assert!(results[7..].iter().all(Result::is_ok) && results[..6].iter().all(Result::is_err), "{results:?}");
    let mut headers = net.headers[1..=12].to_vec();
    headers[3].timestamp = UnixMillis::new(0);
    let results = validator.validate_block_headers_only(&headers);
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2);
    assert_eq!((results[3], results[4]), (rule(4, Rule::Timestamp), rule(5, Rule::Parent)));
}

#[test]
fn a_block_in_a_sequence_is_the_one_that_it_is_known_by() {
    let net = Net::new(&Shape::default());
    let mut chain = blocks(&net, 5, 9);
    let known = net.header(6).id();
    // The block above proves it; but whoever gave it named another.
    chain[2].proof = FinalityProof::Anchored { id: known };
    let results = validator(&net).validate_block_sequence(&chain);
    assert_eq!(results[2], Err(BlockError::OtherBlock { height: height(7), known }));
    assert_eq!((&results[3..], results[1]), (&[Ok(()), Ok(())][..], Err(BlockError::NotFinal(height(6)))));
}

#[test]
fn a_block_goes_into_bytes_and_back_whole() {
    let net = Net::new(&Shape::default());
    for whole in [block(&net, 9), proven(&net, 9), proven(&net, 1)] {
        let number = whole.height().get();
        let bytes = whole.to_bytes(net.header(number - 1)).unwrap();
        assert_eq!(
            (bytes.height, bytes.id, bytes.parent_id),
            (height(number), whole.id(), net.header(number - 1).id())
        );
        assert_eq!(Block::try_from(&bytes), Ok(whole.clone()));
        assert_eq!(whole.to_bytes(net.header(number + 1)), Err(NotASegment));
        // Parts of another block are told from this one's.
        let other = proven(&net, 10).to_bytes(net.header(9)).unwrap();
        for (bent, fault) in [
            (crate::chain::Block { header: other.header.clone(), ..bytes.clone() }, Fault::WrongRange),
            (crate::chain::Block { id: other.id, ..bytes.clone() }, Fault::WrongAnchor),
            (crate::chain::Block { parent_id: other.id, ..bytes.clone() }, Fault::WrongParent),
            (crate::chain::Block { proof: other.proof, ..bytes.clone() }, Fault::WrongAnchor),
        ] {
            assert_eq!(Block::try_from(&bent), Err(fault));
        }
    }
}
