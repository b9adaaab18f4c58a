//! What verification costs: certificates, handovers, audits. `cargo bench -p hotstuff2-sync-testkit --bench verification`.

use std::hint::black_box;
use std::sync::Mutex;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hotstuff2_sync::chain::native::{EpochContext, EpochInfo, NativeChain, Phase};
use hotstuff2_sync::chain::{Chain, EpochRef, SegmentClaim, SegmentEnd};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::{HandoverLink, Task};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};

/// Validators of every set that is measured.
const VALIDATORS: u64 = 100;
/// Blocks of an epoch in the chain of handovers.
const EPOCH_BLOCKS: u64 = 2;
/// Handovers that are verified in a row.
const HANDOVERS: u64 = 64;
/// Handovers that one job checks.
const PART: usize = 8;
/// Checks with a set after which it certainly has tables.
const MANY: usize = 300;

fn chain(blocks: u64, epochs: u64, certify_every: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks, epochs, certify_every, validators: VALIDATORS, ..ChainSpec::default() })
        .expect("the chain can be made")
}

fn certificates(criterion: &mut Criterion) {
    let chain = chain(10, 1, 0);
    let signing = chain.epoch_of(Height::new(5)).expect("the epoch is there");
    let header = chain.header(Height::new(5)).expect("the header is there");
    let fresh = || EpochContext::new(chain.genesis(), EpochInfo::decode(&signing.info().encode()).expect("it decodes"));
    let mut group = criterion.benchmark_group("certificate");
    let everybody: Vec<usize> = (0..signing.keys().len()).collect();
    for certificate in [signing.certify(Phase::One, header), signing.sign(Phase::One, header, &everybody)] {
        let signers = certificate.signatures.len();
        let used = fresh();
        (0..MANY).for_each(|_| certificate.verify(Phase::One, header, &used).expect("it holds"));
        group.bench_function(format!("{signers} signers, a set seen often"), |bencher| {
            bencher.iter(|| certificate.verify(Phase::One, black_box(header), &used));
        });
        group.bench_function(format!("{signers} signers, a new set, decoded"), |bencher| {
            bencher.iter_batched_ref(
                fresh,
                |epoch| certificate.verify(Phase::One, black_box(header), epoch),
                BatchSize::SmallInput,
            );
        });
    }
    group.bench_function("decoding a set of 100", |bencher| bencher.iter(|| black_box(fresh())));
    group.finish();
}

fn handovers(criterion: &mut Criterion) {
    let chain = chain((HANDOVERS + 1) * EPOCH_BLOCKS, HANDOVERS + 1, 0);
    let native = chain.chain();
    let links = chain.handovers();
    let first = chain.epoch_ref(Epoch::ZERO).expect("the first epoch is there");
    let mut group = criterion.benchmark_group("handovers");
    group.sample_size(10);
    group.bench_function(format!("{} in a row", links.len()), |bencher| {
        bencher.iter(|| {
            let mut epoch = native.decode_epoch(first.bytes(), None).expect("it decodes");
            for link in links {
                (epoch, _) = native.verify_handover(&epoch, black_box(&link.bytes)).expect("it holds");
            }
        });
    });
    for threads in [1, 2] {
        group.bench_function(format!("an answer of {} on {threads} threads", links.len()), |bencher| {
            bencher.iter(|| check_answer(&native, &first, black_box(links), threads));
        });
    }
    group.finish();
}

/// Links an answer by hash and proves its parts side by side, with nothing known of it but the epoch that it begins in.
fn check_answer(chain: &NativeChain, first: &EpochRef, answer: &[HandoverLink], threads: usize) {
    let fresh = |epoch, range, bytes: &Bytes| EpochRef::trusted(epoch, range, bytes.clone());
    let first = fresh(first.epoch(), first.range(), first.bytes());
    let mut before = first.clone();
    let mut linked = Vec::new();
    for link in answer {
        let facts = chain.link_handover(before.bytes(), &link.bytes).expect("it links");
        before = fresh(facts.epoch, facts.range, &facts.bytes);
        linked.push(HandoverLink { epoch: before.clone(), ..link.clone() });
    }
    let mut from = first.clone();
    let mut parts = Vec::new();
    for links in linked.chunks(PART) {
        let task = Task::HandoverPart { known: first.clone(), from, links: links.to_vec() };
        from = links.last().expect("a part").epoch.clone();
        parts.push(task);
    }
    let parts = Mutex::new(parts.into_iter());
    let work = || {
        loop {
            let next = parts.lock().expect("nobody panics").next();
            let Some(task) = next else { break };
            task.prove(chain).expect("it holds");
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
}

fn audit(criterion: &mut Criterion) {
    let chain = chain(300, 1, 1);
    let native = chain.chain();
    let range = HeightRange::new(Height::new(1), Height::new(256)).expect("a range");
    let segment = chain.segment(range, SegmentEnd::Certified).expect("a segment").encode();
    let trail = chain.audit(range).expect("certificates");
    let claim = SegmentClaim { range, parent: None, end: SegmentEnd::Certified, audit: true };
    let epoch = chain.context(Epoch::ZERO).expect("the first epoch is there");
    let mut group = criterion.benchmark_group("audit");
    group.sample_size(10);
    group.bench_function("256 blocks", |bencher| {
        bencher
            .iter(|| native.verify_segment(&epoch, &claim, black_box(&segment), black_box(&trail)).expect("it holds"));
    });
    group.finish();
}

criterion_group!(benches, certificates, handovers, audit);
criterion_main!(benches);
