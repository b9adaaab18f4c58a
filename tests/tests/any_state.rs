//! Whatever the world does while a state is fetched, as long as one honest peer stays: the node arrives on the right state,
//! within its budget, however often it is restarted, and bans liars alone. `STATE_SEED=n` runs one seed.

use std::time::Duration;

use hotstuff2_sync::calls::{BlockPoint, Start};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::{MemoryStateStore, StateForm, StateItem, subtree};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::ledger::Ledger;
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Reply, Scripted, StateHost, World};

/// Worlds that are tried.
const WORLDS: u64 = 80;
/// Virtual time in which even the worst of them must be done.
const LIMIT: Duration = Duration::from_secs(2 * 3600);
/// Machines that one node loses before it is left alone.
const MAX_RESTARTS: u64 = 4;

fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

fn honest(rng: &mut Rng) -> Honest {
    let latency = Duration::from_millis(rng.below(100));
    Honest { latency, rate: one_of(rng, &[30_000, 1_000_000, 50_000_000]), ..Honest::default() }
}

/// A peer that says nothing false about states.
fn truthful(rng: &mut Rng, chain: &TestChain) -> Box<dyn Behaviour> {
    let mut own = Rng::new(rng.next_u64());
    let mut base = honest(rng);
    let is_state = |request: &Request| matches!(request, Request::State { .. });
    let tip = chain.tip_height().get();
    match rng.below(6) {
        0 => Box::new(base),
        1 => Box::new(Honest { states: None, ..base }),
        // Keeps older states only.
        2 => {
            let last = rng.below(tip + 1);
            Box::new(Honest { states: HeightRange::new(Height::ZERO, Height::new(last)), ..base })
        }
        // Says that it serves states, and doesn't.
        3 => Box::new(Scripted(move |request: &Request, chain: &TestChain, _| match is_state(request) {
            true => Reply::After(Duration::from_millis(3), encode_refusal(Refusal::NotAvailable)),
            false => base.reply(request, chain),
        })),
        // Is silent, busy or broken now and then.
        4 => Box::new(Scripted(move |request: &Request, chain: &TestChain, _| match own.below(6) {
            0 => Reply::Never,
            1 => Reply::Broken(Duration::from_millis(own.below(50))),
            2 => Reply::After(
                Duration::from_millis(1),
                encode_refusal(Refusal::Busy { retry_after_ms: own.below(500) as u32 }),
            ),
            _ => base.reply(request, chain),
        })),
        // Gives one subtree at a time.
        _ => Box::new(Scripted(move |request: &Request, chain: &TestChain, _| match request {
            Request::State { height, form, items, max_bytes } => {
                let items = items[..1].to_vec();
                base.reply(&Request::State { height: *height, form: *form, items, max_bytes: *max_bytes }, chain)
            }
            _ => base.reply(request, chain),
        })),
    }
}

/// A peer that lies about states.
fn liar(rng: &mut Rng) -> Box<dyn Behaviour> {
    let mut own = Rng::new(rng.next_u64());
    let mut base = honest(rng);
    match rng.below(3) {
        // Flips a bit, cuts or adds.
        0 => Box::new(Scripted(move |request: &Request, chain: &TestChain, _| {
            match (request, base.reply(request, chain)) {
                (Request::State { .. }, Reply::After(after, answer)) => {
                    let mut answer = answer.to_vec();
                    match own.below(3) {
                        0 => answer.truncate(own.below(answer.len() as u64) as usize),
                        1 => answer.push(own.below(256) as u8),
                        _ => {
                            let at = own.below(answer.len() as u64) as usize;
                            answer[at] ^= 1 << own.below(8);
                        }
                    }
                    Reply::After(after, answer.into())
                }
                (_, reply) => reply,
            }
        })),
        // Answers for another state.
        1 => Box::new(Scripted(move |request: &Request, chain: &TestChain, _| match request {
            Request::State { form, items, max_bytes, .. } => {
                let interval = chain.genesis().document().snapshot_interval;
                let Some(old) = chain.state(Height::new(interval)) else { return Reply::Never };
                let item = |item: &StateItem| StateItem { hash: subtree(old, &item.prefix).unwrap().0, ..*item };
                let items = items.iter().map(item).collect();
                let height = Height::new(interval);
                base.reply(&Request::State { height, form: *form, items, max_bytes: *max_bytes }, chain)
            }
            _ => base.reply(request, chain),
        })),
        // Answers another form.
        _ => Box::new(Scripted(move |request: &Request, chain: &TestChain, _| match request {
            Request::State { height, form: StateForm::Tree { .. }, items, max_bytes } => {
                let form = StateForm::Tree { depth: 1 + own.below(10) as u8 };
                let (items, max_bytes) = (items.clone(), *max_bytes);
                base.reply(&Request::State { height: *height, form, items, max_bytes }, chain)
            }
            _ => base.reply(request, chain),
        })),
    }
}

fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let blocks = 30 + rng.below(700);
    // There is a state above genesis: with the strategy `Fast` a node waits for one.
    let snapshot_interval = 10 + rng.below(blocks - 10);
    let spec =
        ChainSpec { blocks, epochs: 1 + rng.below(4), seed: rng.next_u64(), snapshot_interval, ..ChainSpec::default() };
    let accounts = one_of(&mut rng, &[1, 2, 50, 3_000, 40_000]);
    let source = TestChain::with_ledger(spec, accounts, 100).unwrap();
    let config = SyncConfig {
        default_strategy: one_of(&mut rng, &[SyncStrategyType::Fast, SyncStrategyType::Fast, SyncStrategyType::Auto]),
        strategy_switch_threshold: rng.below(40),
        memory_budget: one_of(&mut rng, &[8 << 20, 48 << 20]),
        job_timeout: Duration::from_secs(2),
        call_timeout: Duration::from_secs(5),
        ban_duration: Duration::from_secs(1 + rng.below(600)),
        ..SyncConfig::default()
    };

    let mut genesis = Ledger::genesis(MemoryStateStore::default(), accounts).unwrap();
    let writes = genesis.take_writes();
    genesis.store_mut().write(writes);
    let host = StateHost::with_state(source.chain(), std::mem::take(genesis.store_mut()), Height::ZERO);
    host.held.borrow_mut().damage = rng.below(3) as u32;

    let mut restarts = rng.below(MAX_RESTARTS + 1);
    loop {
        let applied = host.held.borrow().applied;
        let start = Start {
            stages_state: true,
            stored: BlockPoint { height: applied, id: source.id(applied).unwrap() },
            applied,
            epoch: source.epoch_of(applied).unwrap().info().to_ref(),
            ..source.start()
        };
        let mut world = World::from(source.clone(), config.clone(), start).unwrap();
        world.set_host(host.clone());
        let mut liars: Vec<PeerId> = Vec::new();
        let mut name = 1;
        world.join(name, honest(&mut rng));
        for _ in 0..rng.below(5) {
            name += 1;
            if rng.below(2) == 0 {
                let behaviour = liar(&mut rng);
                liars.push(world.join(name, behaviour));
            } else {
                let behaviour = truthful(&mut rng, &source);
                world.join(name, behaviour);
            }
        }
        for _ in 0..rng.below(3) {
            world.lose_jobs.insert(1 + rng.below(20));
        }
        world.start();
        let limit = if restarts > 0 { Duration::from_millis(rng.below(3000)) } else { LIMIT };
        let done = world.run_to_tip(limit);
        for (_, banned) in &world.bans {
            assert!(liars.contains(banned), "seed {seed}: an honest peer was banned: {:#?}", world.events);
        }
        assert!(world.machine.progress().peak_buffered_bytes <= config.memory_budget, "seed {seed}");
        world.stop();
        if !done && restarts > 0 {
            restarts -= 1;
            continue;
        }
        assert!(done, "seed {seed}: {:#?} {:#?}", world.events, world.machine.progress());
        assert_eq!(host.held.borrow().applied, source.tip_height(), "seed {seed}");
        assert_eq!(Some(host.root()), source.header(source.tip_height()).map(|header| header.state_root));
        assert_eq!(world.machine.progress().buffered_bytes, 0, "seed {seed}");
        return;
    }
}

#[test]
fn any_state_is_fetched_as_long_as_one_peer_is_honest() {
    if let Some(seed) = std::env::var("STATE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed);
    }
    for seed in 0..WORLDS {
        run(seed);
    }
}
