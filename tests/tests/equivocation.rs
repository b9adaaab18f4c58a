//! Validators that equivocate, at the exact border of what a chain bears: with f of them there is one chain and the sync
//! goes on, with f + 1 there are two, and a node that learns of both halts with evidence against them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::native::{ConflictEvidence, ValidatorKey};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::machine::{Event, HaltReason};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::replica::{Agreement, Committee, Faults, Laws, Settings, Stalled, Violation};
use hotstuff2_sync_testkit::sim::{
    Adversary, CachedChain, Equivocation, Holdings, JoinerSpec, Link, Minority, NetworkSimulator, ServerSpec, Source,
    Step,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const BLOCKS: u64 = 40;

const SETTINGS: Settings = Settings {
    delta: Duration::from_millis(50),
    patience: Duration::from_millis(400),
    pace: Duration::ZERO,
    phase_two: false,
    noise: 5,
    payload_bytes: 200,
    laws: Laws::KEPT,
};

fn committee(seed: u64, validators: u64) -> Committee {
    let name = "equivocation".to_owned();
    let spec = ChainSpec { name, seed, blocks: BLOCKS, validators, epochs: 1, ..ChainSpec::default() };
    Committee::new(spec).unwrap()
}

/// The run of a committee in which f + 1 of its 3 f + 1 members lie, until both halves of the rest have their chain.
fn broken(seed: u64, f: usize) -> (Agreement, [TestChain; 2]) {
    let faults = Faults { seed, too_many: true, ..Faults::default() };
    let mut agreement = Agreement::new(committee(seed, 3 * f as u64 + 1), SETTINGS, faults);
    assert_eq!(agreement.traitors(), f + 1, "seed {seed}: powers are such that heads count");
    let violated = agreement.run(HOUR).unwrap_err();
    assert!(matches!(violated, Stalled::Violation(Violation::Conflict(_))), "seed {seed}: {violated}");
    agreement.run_on(HOUR).unwrap_or_else(|stalled| panic!("seed {seed}: {stalled}"));
    let chains = agreement.chains().unwrap();
    (agreement, chains)
}

/// Seeds of committees in which f members are tolerated and no f + 1 are, and in which either half of the others makes a
/// quorum with the liars.
fn seeds(f: usize) -> impl Iterator<Item = u64> {
    let splits = move |seed: &u64| {
        let faults = Faults { seed: *seed, too_many: true, ..Faults::default() };
        let agreement = Agreement::new(committee(*seed, 3 * f as u64 + 1), SETTINGS, faults);
        agreement.traitors() == f + 1 && agreement.is_split()
    };
    (0..).filter(splits).take(4)
}

fn served(chain: TestChain) -> Arc<dyn Source> {
    Arc::new(CachedChain::new(chain, None))
}

fn link() -> Link {
    Link::with_latency(Duration::from_millis(10))
}

#[test]
fn f_equivocating_validators_change_nothing() {
    for f in [1, 2] {
        for seed in seeds(f) {
            // What the liars would like to be final: a chain that they made in another course of the same network.
            let (_, [_, wished]) = broken(seed, f);
            let faults = Faults { seed, traitors: f, heals_at: MINUTE, divided_percent: 40, ..Faults::default() };
            let faults = Faults { delay: Duration::from_millis(100), ..faults };
            let mut agreement = Agreement::new(committee(seed, 3 * f as u64 + 1), SETTINGS, faults);
            assert_eq!(agreement.traitors(), f);
            agreement.run(HOUR).unwrap_or_else(|stalled| panic!("seed {seed}: {stalled}"));
            assert!(agreement.monitor().equivocations() > 0, "seed {seed}: two blocks in a view");
            let source = served(agreement.chain().unwrap());
            let wished = served(wished);
            assert_ne!(source.id(Height::new(BLOCKS)), wished.id(Height::new(BLOCKS)));
            let mut sim = NetworkSimulator::new(seed, Arc::clone(&source), link());
            let adversary = || -> Vec<Box<dyn Adversary>> { vec![Box::new(Minority(Arc::clone(&wished)))] };
            let mut contacts: Vec<_> = (0..f)
                .map(|_| sim.add_server(ServerSpec { adversaries: adversary(), ..ServerSpec::default() }))
                .collect();
            contacts.push(sim.add_server(ServerSpec::default()));
            let joiner = sim.add_joiner(JoinerSpec { contacts, ..JoinerSpec::default() });
            sim.schedule(Instant::ZERO, Step::Start(joiner));
            assert_eq!(sim.run_to_tip(MINUTE * 10), Ok(()), "seed {seed}");
            assert!(!sim.halted(joiner) && sim.applied(joiner) == Height::new(BLOCKS));
        }
    }
}

#[test]
fn one_more_makes_two_chains_and_the_sync_halts_with_evidence_against_them() {
    let mut named = false;
    for f in [1, 2] {
        for seed in seeds(f) {
            let (agreement, [one, other]) = broken(seed, f);
            let context = one.context(Epoch::ZERO).unwrap();
            let liars: BTreeSet<ValidatorKey> = agreement.liars().collect();
            let apart = (1..=BLOCKS).map(Height::new).find(|&height| one.id(height) != other.id(height)).unwrap();
            let (one, other) = (served(one), served(other));
            let mut sim = NetworkSimulator::new(seed, Arc::clone(&one), link()).with_fork(Arc::clone(&other));
            // It stands on one chain, as far as that is served; what is above it can get only from the other's nodes.
            let held = Holdings { tip: Height::new(BLOCKS - 5), ..ServerSpec::default().held };
            let server = sim.add_server(ServerSpec { held, ..ServerSpec::default() });
            let config = SyncConfig::default();
            let joiner = sim.add_joiner(JoinerSpec { contacts: vec![server], config, ..JoinerSpec::default() });
            sim.schedule(Instant::ZERO, Step::Start(joiner));
            assert_eq!(sim.run_until(MINUTE, |sim| sim.applied(joiner) == held.tip), Ok(true), "seed {seed}");
            assert!(apart <= held.tip, "seed {seed}: they differ above {apart}");
            let adversaries: Vec<Box<dyn Adversary>> = vec![Box::new(Equivocation(Arc::clone(&other)))];
            let contact = sim.add_server(ServerSpec { adversaries, ..ServerSpec::default() });
            sim.add_contacts(joiner, [contact]);
            // The oracle verifies the evidence too.
            assert_eq!(sim.run_until(MINUTE * 10, |sim| sim.halted(joiner)), Ok(true), "{:?}", sim.told(joiner));
            let halted = sim.told(joiner).iter().find_map(|(_, event)| match event {
                Event::Halted(HaltReason::ConflictingFinality { evidence, .. }) => Some(evidence),
                _ => None,
            });
            let evidence = ConflictEvidence::decode(halted.unwrap()).unwrap();
            let conflict = evidence.verify(&context).unwrap();
            let certificate = |block| agreement.honest().find_map(|replica| replica.tree().certificate(block).cloned());
            let missing = conflict.wanted.iter().filter_map(|&block| certificate(block));
            let evidence = evidence.with_certificates(missing.map(|certificate| (*certificate).clone()));
            let full = evidence.verify(&context).unwrap();
            for conflict in [&conflict, &full] {
                let accused: BTreeSet<ValidatorKey> = conflict.culprits.iter().copied().collect();
                assert!(accused.is_subset(&liars), "seed {seed}: {accused:?} of {liars:?}");
            }
            // The node's blocks may not reach down to where the promise was broken; then the evidence asks for
            // nothing.
            let reaches = !conflict.culprits.is_empty() || !conflict.wanted.is_empty();
            assert_eq!(full.culprits.is_empty(), !reaches, "seed {seed}");
            named |= reaches;
            assert_eq!(sim.bans(joiner), 0, "seed {seed}: no peer is to blame");
            assert_eq!(sim.applied(joiner), held.tip, "seed {seed}: nothing was taken from the other chain");
        }
    }
    assert!(named, "the evidence says of nobody who broke a promise");
}
