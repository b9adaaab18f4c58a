//! Random worlds: whatever peers do, what a light client tells is true.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::light::{At, LightAnswer, LightConfig, LightEvent, LightWay, Query};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::{Record, StateReader, key_hash};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::light::{Growing, LightWorld};
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Reply, Scripted, claiming, status_answer};

/// Worlds that the test plays; `HS2_LIGHT_SEEDS` asks for more.
const SEEDS: u64 = 60;

fn honest(rng: &mut Rng, chain: &TestChain) -> Growing {
    let honest = Honest { latency: Duration::from_millis(1 + rng.below(80)), ..Honest::default() };
    let from = Height::new(chain.tip_height().get() / 2 + rng.below(4));
    Growing { honest, from, every: Duration::from_millis(300) }
}

/// A peer that is false, silent, moody, or behind.
fn other(rng: &mut Rng, chain: &TestChain) -> Box<dyn Behaviour> {
    let mut base = honest(rng, chain);
    let mut own = Rng::new(rng.next_u64());
    let mut reply = move |request: &Request, chain: &TestChain| base.reply(request, chain);
    match rng.below(6) {
        0 => Box::new(Scripted(|_: &Request, _: &TestChain, _| Reply::Never)),
        // Flips a bit now and then.
        1 => Box::new(Scripted(move |request: &Request, chain: &TestChain, _| match reply(request, chain) {
            Reply::After(after, bytes) if own.below(2) == 0 => {
                let mut bytes = bytes.to_vec();
                let at = own.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << own.below(8);
                Reply::After(after, bytes.into())
            }
            other => other,
        })),
        // Claims what nobody has.
        2 => Box::new(Scripted(move |request: &Request, chain: &TestChain, _| match request {
            Request::Status => {
                let claim = claiming(chain, own.next_u64(), own.below(1 << 40));
                Reply::After(Duration::from_millis(2), status_answer(&claim))
            }
            _ => reply(request, chain),
        })),
        // Refuses, breaks off, or floods.
        3 => Box::new(Scripted(move |request: &Request, chain: &TestChain, _| {
            let after = Duration::from_millis(own.below(50));
            match own.below(6) {
                0 => Reply::After(after, encode_refusal(Refusal::NotAvailable)),
                1 => Reply::After(after, encode_refusal(Refusal::Busy { retry_after_ms: own.next_u64() as u32 })),
                2 => Reply::Broken(after),
                3 => Reply::Oversize(after),
                _ => reply(request, chain),
            }
        })),
        // Stands still, with all that it has proven.
        4 => Box::new(Honest { tip: Height::new(chain.tip_height().get() / 3), ..Honest::default() }),
        // Answers another question than the one that was asked.
        _ => Box::new(Scripted(move |request: &Request, chain: &TestChain, _| {
            let turned = match (request, own.below(3)) {
                (Request::Tip, 0) => Request::Status,
                (Request::Read { .. }, 0) => Request::Tip,
                (Request::Segment { range, certified, .. }, 0) => {
                    Request::Segment { range: *range, certified: !certified, audit: false, bodies: 0 }
                }
                _ => request.clone(),
            };
            reply(&turned, chain)
        })),
    }
}

/// Everything that was told is the chain's.
fn check(world: &LightWorld, seed: u64) {
    let mut height = Height::ZERO;
    for (_, event) in &world.events {
        match event {
            LightEvent::Tip { block, .. } => {
                assert_eq!(Some(block.id), world.source.id(block.height), "seed {seed}");
                assert!(block.height > height, "seed {seed}");
                height = block.height;
            }
            LightEvent::Halted(reason) => panic!("seed {seed}: {reason}"),
            _ => {}
        }
    }
}

fn play(seed: u64) {
    let mut rng = Rng::new(seed);
    let spec = ChainSpec {
        seed,
        blocks: 60 + rng.below(60),
        epochs: 1 + rng.below(12),
        validators: 4 + rng.below(5),
        snapshot_interval: 1 + rng.below(3),
        ..ChainSpec::default()
    };
    let source = TestChain::with_ledger(spec, 20, 100).unwrap();
    let way = if rng.below(2) == 0 { LightWay::OneByOne } else { LightWay::Skipping };
    let witnesses = rng.below(3) as usize;
    let config = LightConfig { way, witnesses, max_peers: 4 + rng.below(8) as usize, ..LightConfig::default() };
    let start = LightWorld::genesis(&source, None);
    let wall = LightWorld::wall_of(&source);
    let mut world = LightWorld::with_seed(source, config, start, wall, seed).unwrap();
    let mut honest_peers: Vec<PeerId> = Vec::new();
    let (good, bad) = (1 + witnesses as u64 + rng.below(3), rng.below(12));
    let mut names: Vec<u8> = (1..=(good + bad) as u8).collect();
    for place in 0..names.len() {
        let other = rng.below(names.len() as u64) as usize;
        names.swap(place, other);
    }
    for (place, name) in names.into_iter().enumerate() {
        let source = world.source.clone();
        if (place as u64) < good {
            let peer = honest(&mut rng, &source);
            honest_peers.push(world.join(name, peer));
        } else {
            let peer = other(&mut rng, &source);
            // Some come as one group.
            let group = if rng.below(3) == 0 { 1_000 } else { u64::from(name) };
            world.join_group(name, group, peer);
        }
    }
    let key = vec![b'a', 0, 0, 0, rng.below(20) as u8];
    world.run(Duration::from_secs(2));
    let read = world.ask(Query::Read { key: Bytes::from(key.clone()), at: At::Now });
    // A silent peer that comes first costs ten seconds; two of them twenty, and some come again after a rest.
    let done = world.run_until(Duration::from_secs(300), |world| {
        world.told().is_some_and(|block| block.height >= Height::new(world.source.tip_height().get() / 2))
            && world.answers.contains_key(&read)
    });
    check(&world, seed);
    assert!(done, "seed {seed}: {:?}\n{:?}", world.stalled(), world.events);
    assert!(!honest_peers.iter().any(|peer| world.bans.contains(peer)), "seed {seed}: an honest peer was banned");
    if let Some(Ok(LightAnswer::Value { value, block })) = world.answers.get(&read) {
        assert_eq!(Some(block.id), world.source.id(block.height), "seed {seed}");
        let state = world.source.state(block.height).unwrap();
        let record = StateReader::record(state, &key_hash(&key)).unwrap();
        let expected = record.map(|record| Record::decode(record).unwrap().into_value());
        assert_eq!(*value, expected, "seed {seed}");
    }
}

#[test]
fn in_any_world_the_light_client_tells_the_truth() {
    let seeds = std::env::var("HS2_LIGHT_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        play(seed);
    }
}
