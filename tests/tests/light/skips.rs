//! Attacks on skipping. Each test is named after the attack.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use hotstuff2_sync::chain::native::{
    EpochInfo, FinalityProof, Handover, Phase, Validator, ValidatorKey, ValidatorSet, build,
};
use hotstuff2_sync::ids::{Epoch, Height, PeerId};
use hotstuff2_sync::light::LightWay;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{Request, Sections, encode_answer, put_section};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain, Turnover};
use hotstuff2_sync_testkit::light::LightWorld;
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Reply, Scripted, claiming, status_answer};

use super::{MINUTE, config};

/// A chain of so many epochs in each of which the set changes by a seventh, at least one of seven.
pub(super) fn changing(epochs: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks: 2 * epochs, epochs, validators: 7, ..ChainSpec::default() }).unwrap()
}

/// A peer that claims epoch `epoch`, and answers questions for handovers with `forge`.
fn forger(epoch: u64, forge: impl Fn(Epoch, &TestChain) -> Option<Vec<Vec<u8>>> + 'static) -> impl Behaviour {
    Scripted(move |request: &Request, chain: &TestChain, honest| match *request {
        Request::Status => Reply::After(Duration::from_millis(1), status_answer(&claiming(chain, 1 << 40, epoch))),
        Request::Handovers { from, .. } => match forge(from, chain) {
            Some(handovers) => {
                let mut answer = encode_answer(0);
                assert!(handovers.iter().all(|handover| put_section(&mut answer, handover)));
                Reply::After(Duration::from_millis(1), answer.into())
            }
            None => honest,
        },
        Request::Tip => Reply::Never,
        _ => honest,
    })
}

/// Two handovers that make a skip to the epoch after `from`, made up for a set of `keys`, of whom `signers` sign.
fn forged_skip(chain: &TestChain, from: Epoch, keys: &[SigningKey], signers: &[SigningKey]) -> Vec<Vec<u8>> {
    let mut keys = keys.to_vec();
    keys.sort_by_key(|key| ValidatorKey::from(key));
    let set = |power| {
        ValidatorSet::new(keys.iter().map(|key| Validator { key: ValidatorKey::from(key), power }).collect()).unwrap()
    };
    let range = |epoch: Epoch| {
        HeightRange::new(Height::new(10_000 + epoch.get() * 10), Height::new(10_009 + epoch.get() * 10)).unwrap()
    };
    let epoch = EpochInfo::new(from.next(), range(from.next()), set(1));
    let after = EpochInfo::new(from.next().next(), range(from.next().next()), set(1));
    let mut header = chain.headers().last().unwrap().clone();
    header.height = epoch.range().last();
    header.epoch = epoch.epoch();
    header.epoch_hash = epoch.hash();
    header.proposer = 0;
    header.next_epoch_hash = Some(after.hash());
    let qc = build::certify(&header, Phase::Two, epoch.validators(), signers);
    let proof = FinalityProof::DoubleCertificate { descendants: Vec::new(), qc };
    let begins = Handover::new(header.clone(), proof.clone(), &epoch).encode();
    vec![begins, Handover::new(header, proof, &after).encode()]
}

fn strangers(count: u8) -> Vec<SigningKey> {
    (0..count).map(|number| SigningKey::from_bytes(&[number + 1; 32])).collect()
}

/// Runs a skipping client among three honest peers and a forger, and sees that nothing but the chain is believed.
fn skips_with(forge: impl Fn(Epoch, &TestChain) -> Option<Vec<Vec<u8>>> + 'static) -> LightWorld {
    let mut world = LightWorld::new(changing(12), config(LightWay::Skipping)).unwrap();
    let forger = world.join(9, forger(9_000, forge));
    // Alone with it, the client gets as far as it can.
    world.run(Duration::from_secs(20));
    assert_eq!(world.client.position().epoch.epoch(), Epoch::ZERO, "nothing is believed");
    for name in 1..=3 {
        world.join(name, Honest::default());
    }
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(world.told().map(|block| block.id), world.source.id(world.source.tip_height()));
    assert!(world.bans.iter().all(|&banned| banned == forger));
    world
}

#[test]
fn a_light_client_does_not_skip_on_old_keys() {
    // Keys of the first epoch that are sold sign a far set of their own, whose members are strangers but for them; they
    // hold just a third of the trusted power.
    let world = skips_with(|from, chain| {
        let trusted = &chain.epochs()[0];
        let total: u64 = trusted.info().validators().validators().iter().map(|validator| validator.power).sum();
        let mut sold = Vec::new();
        let mut power = 0;
        for (key, validator) in trusted.keys().iter().zip(trusted.info().validators().validators()) {
            if (power + validator.power) * 3 <= total {
                power += validator.power;
                sold.push(key.clone());
            }
        }
        assert!(!sold.is_empty());
        let all = [&sold[..], &strangers(20)].concat();
        Some(forged_skip(chain, from, &all, &all))
    });
    let forged = world.requests.iter().filter(|(_, _, request)| matches!(request, Request::Handovers { max: 2, .. }));
    assert!(forged.count() > 0, "it was asked for skips");
}

#[test]
fn a_light_client_does_not_skip_on_repeated_signers() {
    // One trusted key is listed again and again. No set has a key twice, so the set itself is false.
    let world = skips_with(|from, chain| {
        let key = chain.epochs()[0].keys()[0].clone();
        let mut handovers = forged_skip(chain, from, &strangers(3), &strangers(3));
        let mut begins = Handover::decode(&handovers[0]).unwrap();
        let own = EpochInfo::new(
            from.next(),
            HeightRange::new(Height::new(20_000), Height::new(20_001)).unwrap(),
            ValidatorSet::new(vec![Validator { key: ValidatorKey::from(&key), power: 1 }]).unwrap(),
        )
        .encode();
        // The one member's bytes follow the count, which is the byte before its 32 bytes of key and its power.
        let at = own.len() - 34;
        let mut twice = own[..at].to_vec();
        twice.push(2);
        twice.extend_from_slice(&own[at + 1..]);
        twice.extend_from_slice(&own[at + 1..]);
        begins.next = twice.clone();
        let mut ends = Handover::decode(&handovers[1]).unwrap();
        ends.header.epoch_hash = EpochInfo::hash_of(&twice);
        handovers = vec![begins.encode(), ends.encode()];
        Some(handovers)
    });
    assert_eq!(world.bans.len(), 1, "{:?}", world.events);
}

#[test]
fn a_claim_without_end_costs_a_skipping_client_little() {
    // Consistent, signed by its own set, and vouched for by nobody: no fault to prove, and no end to its claims.
    let world = skips_with(|from, chain| Some(forged_skip(chain, from, &strangers(20), &strangers(20))));
    let asked = world.requests.iter().filter(|(_, peer, request)| {
        *peer == PeerId::from_bytes([9; 32]) && matches!(request, Request::Handovers { .. })
    });
    // Thirteen halvings of nine thousand epochs, then a handover that it can't prove; once more after a rest at most.
    assert!(asked.count() <= 40);
    assert_eq!(world.bans.len(), 1, "it is caught where nothing is left to skip: {:?}", world.events);
}

#[test]
fn a_made_up_set_of_4096_keys_is_vouched_for_by_nobody() {
    // Refused on the bytes of its keys; the time that it takes is measured by a benchmark, not here.
    let keys: Vec<Validator> = (0..4096u32)
        .map(|number| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            Validator { key: ValidatorKey::from_bytes(key), power: 1 }
        })
        .collect();
    let world = skips_with(move |from, chain| {
        let handovers = forged_skip(chain, from, &strangers(3), &strangers(3));
        let range = HeightRange::new(Height::new(30_000), Height::new(30_009)).unwrap();
        let list = postcard::to_allocvec(&(1u8, from.next(), range.first(), range.last(), &keys)).unwrap();
        let begins = Handover { next: list.clone(), ..Handover::decode(&handovers[0]).unwrap() };
        let mut ends = Handover::decode(&handovers[1]).unwrap();
        ends.header.epoch_hash = EpochInfo::hash_of(&list);
        ends.header.height = range.last();
        if let FinalityProof::DoubleCertificate { qc, .. } = &mut ends.proof {
            qc.signers = vec![0xff; 512];
        }
        Some(vec![begins.encode(), ends.encode()])
    });
    // Nothing in it was ever decoded, so there was no fault in it but that it leads nowhere.
    assert!(world.quorum_checks < 60, "{}", world.quorum_checks);
}

#[test]
fn handovers_without_their_second_half_lead_nowhere_and_ban_nobody() {
    let mut world = LightWorld::new(changing(12), config(LightWay::Skipping)).unwrap();
    let short = world.join(
        9,
        Scripted(|request: &Request, _: &TestChain, honest| match (request, honest) {
            (Request::Handovers { max: 2, .. }, Reply::After(after, bytes)) => {
                let first = Sections::new(bytes.slice(1..)).take().unwrap();
                let mut answer = encode_answer(0);
                assert!(put_section(&mut answer, &first));
                Reply::After(after, answer.into())
            }
            (_, honest) => honest,
        }),
    );
    world.run(Duration::from_secs(5));
    for name in 1..=3 {
        world.join(name, Honest::default());
    }
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert!(!world.bans.contains(&short));
}

#[test]
fn skipped_sets_that_changed_too_much_are_nobodys_fault() {
    let turnover = Turnover::Some { replaced: 3, epochs: 1 };
    let spec = ChainSpec { blocks: 40, epochs: 20, validators: 9, turnover, ..ChainSpec::default() };
    let mut world = LightWorld::new(TestChain::new(spec).unwrap(), config(LightWay::Skipping)).unwrap();
    for name in 1..=4 {
        world.join(name, Honest::default());
    }
    assert!(world.run_to_tip(MINUTE));
    assert!(world.bans.is_empty());
}
