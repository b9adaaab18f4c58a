//! The chain keeps the contract, and each of its rules is needed for that.

use super::{Committee, OtherMaker, OtherSpecimen, Rule};
use crate::conformance::check;

#[test]
fn the_example_passes_the_conformance_kit() {
    assert_eq!(check(&OtherSpecimen::default()), Ok(()));
}

/// For each rule of the chain, the rule of the kit that breaks without it.
#[test]
fn the_kit_names_each_rule_that_is_left_out() {
    let expected = [
        (Rule::OneEncoding, "one_encoding"),
        (Rule::Range, "range"),
        (Rule::Parent, "parent"),
        (Rule::Anchor, "anchor"),
        (Rule::Proof, "proof"),
        (Rule::Views, "bent: views fall"),
        (Rule::Consecutive, "bent: not decided"),
        (Rule::UnaskedProof, "unasked_proof"),
        (Rule::Quorum, "bent: too few signers"),
        (Rule::Signature, "bent: strangers"),
        (Rule::Payload, "payload"),
        (Rule::TipOfProven, "tip_of"),
        (Rule::AssembledEnd, "assemble"),
        (Rule::Conflict, "evidence"),
    ];
    assert!(expected.iter().map(|(rule, _)| *rule).eq(Rule::ALL), "every rule is left out once");
    for (rule, broken) in expected {
        let found = check(&OtherSpecimen::default().without(rule)).map_err(|broken| broken.rule);
        assert_eq!(found, Err(broken.into()), "without {rule:?}");
    }
}

#[test]
fn a_committee_has_one_encoding() {
    let genesis = OtherMaker::new(1, []).genesis();
    assert!(Committee::decode(&genesis).is_ok());
    let (low, high) = genesis.split_at(33);
    assert!(Committee::decode(&[high, low].concat()).is_err(), "another order");
    assert!(Committee::decode(&[low, low].concat()).is_err(), "a key twice");
    assert!(Committee::decode(&genesis[1..]).is_err() && Committee::decode(&[]).is_err());
    assert!(Committee::decode(&genesis.repeat(3)).is_err(), "too many");
}
