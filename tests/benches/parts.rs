//! Time that the parts take beside signatures: headers and bodies of a cell, the state tree, a subtree of a walk, a plan
//! of the machine, admission, sessions, and the codec. `cargo bench -p hotstuff2-sync-testkit --bench parts`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hotstuff2_sync::chain::{Chain as _, SegmentClaim, SegmentEnd};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, PeerId};
use hotstuff2_sync::limits::GRID;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::serve::{Admission, Cost, ServeLimits, Turn};
use hotstuff2_sync::session::{Role, Session, SessionConfig, SessionEvent, SessionIdentity};
use hotstuff2_sync::state::{
    KeyValueState, MemoryStateStore, Prefix, StateAnswer, StateForm, StateItem, StateReader as _, decode_state,
    encode_state, key_hash, subtree, subtree_hash, value_hash,
};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::{Request, decode_bodies, encode_frame, encode_read, split_payloads, verify_read};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, World};

/// Bytes of each payload.
const PAYLOAD: u32 = 1024;
/// Entries of the state that is changed and walked.
const ENTRIES: u32 = 100_000;
/// Keys that one change of the state touches: what a commit of some hundred blocks brings.
const TOUCHED: u32 = 1000;
/// Bits of the subtree that a walk's answer holds: some 390 keys of the state above.
const WALK_BITS: u16 = 8;
/// Blocks that a planning machine is behind.
const PLANNED: u64 = 20_480;
/// Peers that ask a server.
const ASKERS: u64 = 1000;

fn cell(criterion: &mut Criterion) {
    let last = GRID - 1;
    let spec = ChainSpec { blocks: 2 * GRID, epochs: 1, validators: 100, ..ChainSpec::default() };
    let chain = TestChain::with_payloads(spec, PAYLOAD, None).expect("the chain can be made");
    let native = chain.chain();
    let range = HeightRange::new(Height::new(1), Height::new(last)).expect("a range");
    let segment = chain.segment(range, SegmentEnd::Certified).expect("a segment").encode();
    let claim = SegmentClaim { range, parent: None, end: SegmentEnd::Certified, audit: false };
    let epoch = chain.context(Epoch::ZERO).expect("the first epoch is there");
    let mut group = criterion.benchmark_group("cell");
    group.throughput(Throughput::Elements(range.count()));
    group.bench_function("segment: decoded, linked, one certificate of 67 of 100", |bencher| {
        bencher.iter(|| native.verify_segment(&epoch, &claim, black_box(&segment), &[]).expect("it holds"));
    });
    let decoded = native.decode_segment(&segment).expect("it decodes");
    let payloads: Vec<_> = (1..=last).map(|height| chain.payload(Height::new(height)).expect("a payload")).collect();
    let lens = vec![PAYLOAD; payloads.len()];
    let raw = payloads.concat();
    let mut frame = Vec::new();
    encode_frame(&mut frame, u32::try_from(payloads.len()).expect("a cell is small"), &raw);
    let mut frames = Vec::new();
    for part in raw.chunks(64 * PAYLOAD as usize) {
        encode_frame(&mut frames, u32::try_from(part.len() / PAYLOAD as usize).expect("it is small"), part);
    }
    let frames = bytes::Bytes::from(frames);
    group.bench_function("bodies of 1 KiB: decoded, hash and length checked", |bencher| {
        bencher.iter(|| {
            let mut heights = range.first().get()..;
            for body in decode_bodies(frames.clone(), range.first(), &lens).expect("they decode") {
                let count = usize::try_from(body.range.count()).expect("it is small");
                for (payload, height) in split_payloads(&body.raw, &lens[..count]).zip(&mut heights) {
                    native.check_payload(&decoded, Height::new(height), payload).expect("it is the block's");
                }
            }
        });
    });
    group.finish();
}

/// A state of so many keys.
fn state() -> KeyValueState<MemoryStateStore> {
    let mut state = KeyValueState::load(MemoryStateStore::default()).expect("an empty state loads");
    change(&mut state, ENTRIES, &mut Rng::new(1), |_, number| number);
    let writes = state.take_writes();
    state.store_mut().write(writes);
    state
}

fn change(state: &mut KeyValueState<MemoryStateStore>, keys: u32, rng: &mut Rng, name: impl Fn(&mut Rng, u32) -> u32) {
    let pairs: Vec<([u8; 4], [u8; 100])> = (0..keys)
        .map(|number| {
            let mut value = [0; 100];
            rng.fill(&mut value);
            (name(rng, number).to_be_bytes(), value)
        })
        .collect();
    let changes = pairs.iter().map(|(key, value)| (&key[..], Some(&value[..])));
    state.apply(changes).expect("the state is whole");
}

fn tree(criterion: &mut Criterion) {
    let mut state = state();
    let mut rng = Rng::new(2);
    let mut group = criterion.benchmark_group("state of 100,000 keys");
    group.throughput(Throughput::Elements(u64::from(TOUCHED)));
    group.bench_function("1,000 keys changed, hashed and written", |bencher| {
        bencher.iter(|| {
            change(&mut state, TOUCHED, &mut rng, |rng, _| rng.below(u64::from(ENTRIES)) as u32);
            let writes = state.take_writes();
            state.store_mut().write(black_box(writes));
        });
    });
    let key = 7u32.to_be_bytes();
    let (root, _) = subtree(state.store(), &Prefix::ROOT).expect("the state is whole");
    let proof = state.prove(&key).expect("the state is whole");
    let record = state.store().record(&key_hash(&key)).expect("a store in memory").expect("the key has a value");
    let mut read = Vec::new();
    assert!(encode_read(&mut read, &proof, Some(&record)));
    let read = bytes::Bytes::from(read);
    group.throughput(Throughput::Elements(1));
    group.bench_function("read: a key's value and its proof checked", |bencher| {
        bencher.iter(|| verify_read(&root, &key, black_box(read.clone())).expect("it is proven"));
    });
    let prefix = Prefix::new(Hash::ZERO, WALK_BITS).expect("a place");
    let (hash, keys) = subtree(state.store(), &prefix).expect("the state is whole");
    let item = StateItem { prefix, hash };
    let mut answer = Vec::new();
    encode_state(&[state.store()], StateForm::Leaves, &[item], 1 << 20, &mut answer).expect("the state is whole");
    let answer = bytes::Bytes::from(answer);
    group.throughput(Throughput::Elements(keys));
    group.bench_function("walk: one subtree decoded and hashed", |bencher| {
        bencher.iter(|| {
            let answers = decode_state(StateForm::Leaves, &[item], black_box(&answer)).expect("it decodes");
            let Some(StateAnswer::Leaves(leaves)) = answers.first() else { unreachable!("leaves were asked for") };
            let pairs: Vec<_> = leaves.records.iter().map(|(key, record)| (*key, value_hash(record))).collect();
            black_box(subtree_hash(&prefix, &pairs))
        });
    });
    group.finish();
}

fn plan(criterion: &mut Criterion) {
    let spec = ChainSpec { blocks: PLANNED, epochs: 1, ..ChainSpec::default() };
    let chain = TestChain::new(spec).expect("the chain can be made");
    let mut group = criterion.benchmark_group("machine");
    group.sample_size(10);
    group.throughput(Throughput::Elements(PLANNED));
    for peers in [3, 1000] {
        group.bench_function(format!("time inside it for 20,480 blocks, {peers} peers"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| inside(&chain, peers)).sum());
        });
    }
    group.finish();
}

/// The time inside the machine while a node catches up, from when every peer has said what it has.
fn inside(chain: &TestChain, peers: u64) -> Duration {
    let config = SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() };
    let mut world = World::new(chain.clone(), config).expect("the defaults are in range");
    for number in 0..peers {
        world.join_as(id(number), number, Honest { latency: Duration::from_millis(5), ..Honest::default() });
    }
    world.start();
    world.run_until(Duration::from_millis(1), |_| false);
    let before = world.machine_time;
    let done = world.run_until(Duration::from_secs(600), |world| world.machine.applied() == Height::new(PLANNED));
    assert!(done, "{:#?}", world.machine.progress());
    world.machine_time - before
}

/// A key, spread over tables as keys are.
fn id(number: u64) -> PeerId {
    let mut name = [0; 32];
    name[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    name[8..16].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(name)
}

fn admission(criterion: &mut Criterion) {
    let cost = Cost { bytes: 1000, work: 10 };
    let mut group = criterion.benchmark_group("admission");
    group.throughput(Throughput::Elements(ASKERS));
    group.bench_function("one request of each of 1,000 peers, to its end", |bencher| {
        let mut now = Instant::ZERO;
        let mut admission = Admission::new(ServeLimits::default());
        bencher.iter(|| {
            for number in 0..ASKERS {
                now = now.after(Duration::from_millis(1));
                if admission.ask(now, id(number), number % 50, black_box(cost)).is_ok()
                    && let Turn::Serve(ticket) = admission.poll(now)
                {
                    admission.made(now, ticket, cost);
                    admission.end(now, ticket);
                }
            }
        });
        assert!(admission.peers() > 0);
    });
    group.finish();
}

/// Both ends of a session, before a byte was said.
fn ends() -> (Session, Session) {
    let identity = |number: u8| SessionIdentity::from_secret(&[number; 32]);
    let config = SessionConfig { chain: Hash::ZERO, role: Role::Node, max_asks: 32 };
    let dialler = Session::dial(&identity(1), None, config, [3; 32]).expect("the seed is fresh");
    (dialler, Session::accept(&identity(2), config, [4; 32]).expect("the seed is fresh"))
}

/// Carries everything both ways, until neither end has more to say.
fn carry(one: &mut Session, other: &mut Session, buffer: &mut Vec<u8>) {
    while one.wants_write() || other.wants_write() {
        for turned in [false, true] {
            let (from, to) = if turned { (&mut *other, &mut *one) } else { (&mut *one, &mut *other) };
            buffer.clear();
            from.poll_bytes(buffer, usize::MAX);
            to.handle_bytes(buffer).expect("both ends are honest");
        }
    }
}

fn session(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    let mut buffer = Vec::new();
    group.bench_function("opened, both ends", |bencher| {
        bencher.iter(|| {
            let (mut dialler, mut server) = ends();
            carry(&mut dialler, &mut server, &mut buffer);
            assert!(dialler.peer().is_some() && server.peer().is_some());
        });
    });
    let answer = bytes::Bytes::from(vec![7; 1 << 20]);
    let (mut dialler, mut server) = ends();
    carry(&mut dialler, &mut server, &mut buffer);
    group.throughput(Throughput::Bytes(answer.len() as u64));
    group.bench_function("an answer of 1 MiB, asked, encrypted and decrypted", |bencher| {
        bencher.iter(|| {
            dialler.ask(bytes::Bytes::from_static(b"request"), answer.len()).expect("a session takes 32 questions");
            carry(&mut dialler, &mut server, &mut buffer);
            while let Some(event) = server.poll_event() {
                if let SessionEvent::Asked { id, .. } = event {
                    assert!(server.answer(id, answer.clone()));
                }
            }
            carry(&mut dialler, &mut server, &mut buffer);
            let mut events = std::iter::from_fn(|| dialler.poll_event());
            assert!(events.any(|event| matches!(event, SessionEvent::Answer { .. })), "the answer has come");
        });
    });
    group.finish();
}

fn codec(criterion: &mut Criterion) {
    let range = HeightRange::new(Height::new(1), Height::new(1023)).expect("a range");
    let request = Request::Segment { range, certified: true, audit: false, bodies: 1 << 20 };
    let mut group = criterion.benchmark_group("codec");
    group.bench_function("a request, encoded and decoded", |bencher| {
        bencher.iter(|| Request::decode(&black_box(&request).encode()).expect("it decodes"));
    });
    let mut rng = Rng::new(3);
    let mut noise = vec![0; 256 << 10];
    rng.fill(&mut noise);
    let text: Vec<u8> = (0..noise.len()).map(|at| b"transfer 1000 from alice to bob; "[at % 33]).collect();
    group.throughput(Throughput::Bytes(noise.len() as u64));
    for (what, raw) in [("noise", noise), ("text", text)] {
        let (count, lens) = (256, [PAYLOAD; 256]);
        group.bench_function(format!("a frame of 256 KiB of {what}, made"), |bencher| {
            bencher.iter_batched_ref(
                || Vec::with_capacity(300 << 10),
                |out| encode_frame(out, count, black_box(&raw)),
                BatchSize::SmallInput,
            );
        });
        let mut frame = Vec::new();
        encode_frame(&mut frame, count, &raw);
        let frame = bytes::Bytes::from(frame);
        group.bench_function(format!("a frame of 256 KiB of {what}, read"), |bencher| {
            bencher.iter(|| decode_bodies(black_box(frame.clone()), Height::new(1), &lens).expect("it decodes"));
        });
    }
    group.finish();
}

criterion_group!(benches, cell, tree, plan, admission, session, codec);
criterion_main!(benches);
