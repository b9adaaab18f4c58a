//! Chains that come out of real agreement, under faults, and what the real sync says to them.

use std::time::Duration;

use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::replica::{Agreement, Committee, Faults, Laws, Settings, Stalled, Violation};
use hotstuff2_sync_testkit::world::{Honest, World};

const HOUR: Duration = Duration::from_secs(3600);

fn settings(phase_two: bool) -> Settings {
    Settings {
        delta: Duration::from_millis(50),
        patience: Duration::from_millis(400),
        pace: Duration::ZERO,
        phase_two,
        noise: 5,
        payload_bytes: 200,
        laws: Laws::KEPT,
    }
}

fn committee(seed: u64, blocks: u64, validators: u64, epochs: u64) -> Committee {
    let ends_epoch = seed.is_multiple_of(2);
    Committee::new(ChainSpec { seed, blocks, validators, epochs, ends_epoch, ..ChainSpec::default() }).unwrap()
}

/// Faults of all kinds, drawn from a seed.
fn faults(seed: u64) -> Faults {
    let mut rng = Rng::new(seed);
    Faults {
        seed,
        heals_at: Duration::from_secs(10 + rng.below(20)),
        loss_percent: rng.below(30),
        delay: Duration::from_millis(1 + rng.below(500)),
        divided_percent: rng.below(60),
        crashes: rng.below(6),
        traitors: usize::try_from(rng.below(3)).unwrap(),
        dead: usize::try_from(rng.below(2)).unwrap(),
        too_many: false,
    }
}

fn synchronizes(chain: TestChain) {
    let tip = chain.tip_height();
    let mut world = World::new(chain, SyncConfig::default()).unwrap();
    world.join(1, Honest::default());
    world.join(2, Honest::default());
    world.start();
    assert!(world.run_to_tip(Duration::from_secs(60)), "{:?} {:#?}", world.events, world.machine.progress());
    assert!(world.bans.is_empty(), "{:?}", world.events);
    assert_eq!(world.applied, (1..=tip.get()).map(Height::new).collect::<Vec<_>>());
}

#[test]
fn an_agreed_chain_synchronizes() {
    for phase_two in [false, true] {
        let mut agreement = Agreement::new(committee(2, 60, 4, 3), settings(phase_two), Faults::default());
        agreement.run(HOUR).unwrap();
        let chain = agreement.chain().unwrap();
        assert_eq!(chain.handovers().len(), 3, "the last block ends its epoch too");
        synchronizes(chain);
    }
}

#[test]
fn agreement_survives_faults_and_what_it_makes_synchronizes() {
    let (mut traitors, mut gaps) = (0, 0);
    for seed in 0..24 {
        let validators = [4, 5, 7][seed as usize % 3];
        let mut agreement =
            Agreement::new(committee(seed, 30, validators, 1 + seed % 3), settings(seed % 4 < 2), faults(seed));
        agreement.run(HOUR).unwrap_or_else(|stalled| panic!("seed {seed}: {stalled}"));
        traitors += agreement.traitors();
        let chain = agreement.chain().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        gaps += chain.headers().windows(2).filter(|pair| !pair[1].view.is_next_of(pair[0].view)).count();
        for (height, id) in agreement.monitor().final_blocks().range(..=chain.tip_height()) {
            assert_eq!(chain.id(*height), Some(*id), "seed {seed}: the chain is the one that all agreed on");
        }
        synchronizes(chain);
    }
    assert!(traitors > 5 && gaps > 20, "the faults did something: {traitors} {gaps}");
}

#[test]
fn the_same_seed_agrees_on_the_same_chain() {
    let run = |seed| {
        let mut agreement = Agreement::new(committee(seed, 20, 4, 2), settings(true), faults(seed));
        agreement.run(HOUR).unwrap();
        (agreement.happenings(), agreement.now(), agreement.chain().unwrap().headers().to_vec())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

/// The violations of many runs in which honest replicas keep only `laws`.
fn violations(laws: Laws) -> Vec<Violation> {
    let runs = (0..40).filter_map(|seed| {
        let settings = Settings { laws, ..settings(seed % 2 == 0) };
        let faults = Faults { traitors: 1, divided_percent: 50, ..faults(seed) };
        match Agreement::new(committee(seed, 20, 4, 1), settings, faults).run(HOUR) {
            Err(Stalled::Violation(violation)) => Some(violation),
            _ => None,
        }
    });
    runs.collect()
}

#[test]
fn the_monitor_sees_what_happens_without_the_laws() {
    assert_eq!(violations(Laws::KEPT), []);
    let without = violations(Laws { lock: false, ..Laws::KEPT });
    assert!(without.iter().any(|violation| matches!(violation, Violation::Lock(_))), "{without:?}");
    let without = violations(Laws { once: false, ..Laws::KEPT });
    assert!(without.iter().any(|violation| matches!(violation, Violation::SecondVote(_))), "{without:?}");
}
