//! The bodies of the fuzz targets, over their corpora and over random bytes. `cargo xtask fuzz` lets a fuzzer look further.

use std::path::Path;

use hotstuff2_sync::rng::Rng;
use hotstuff2_sync_testkit::fuzz::{TARGETS, seeds};

#[test]
fn every_target_takes_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, body) in TARGETS {
        let mut files: Vec<_> =
            std::fs::read_dir(corpus.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= seeds(name).len(), "{name}: `cargo run --example fuzz_seeds` writes what is missing");
        for file in files {
            body(&std::fs::read(file).unwrap());
        }
    }
}

#[test]
fn every_target_takes_anything() {
    for (name, body) in TARGETS {
        let mut rng = Rng::new(11);
        let seeds = seeds(name);
        for round in 0..300 {
            let len = usize::try_from(rng.below(400)).unwrap();
            let mut bytes = vec![0; len];
            rng.fill(&mut bytes);
            body(&bytes);
            // A seed with one byte changed reaches further than noise.
            let mut seed = seeds[round % seeds.len()].clone();
            let at = usize::try_from(rng.below(seed.len() as u64)).unwrap();
            seed[at] = rng.below(256) as u8;
            body(&seed);
        }
    }
}

#[test]
fn every_target_has_its_program() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let mut found: Vec<String> = std::fs::read_dir(programs)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut named = TARGETS.map(|(name, _)| name.to_owned());
    named.sort();
    assert_eq!(found, named);
}
