//! Certificates that a node of the worked example checks in a second, on all cores, beside what its signature scheme does
//! alone. `cargo bench -p hotstuff2-sync-testkit --bench other_chain`.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::thread;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hotstuff2_sync::chain::{Chain, SegmentClaim, SegmentEnd};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync_testkit::other_chain::OtherMaker;
use k256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};

/// Blocks of a segment, each with a certificate: one cell of the chain's grid.
const BLOCKS: u64 = 256;
/// Signatures of a certificate: those of three of four signers.
const SIGNATURES: u64 = 3;

/// Runs `work` once on each core.
fn on_all_cores(work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(&work);
        }
    });
}

fn cores() -> u64 {
    thread::available_parallelism().map_or(1, NonZeroUsize::get) as u64
}

fn certificates(criterion: &mut Criterion) {
    let maker = OtherMaker::new(1, (0..BLOCKS).map(|number| number.to_le_bytes().to_vec()));
    let (chain, (_, epoch)) = (maker.chain(), maker.anchor());
    let range = HeightRange::new(Height::new(1), Height::new(BLOCKS)).expect("blocks follow genesis");
    let segment = maker.segment(range, true).expect("the chain is long enough");
    let committee = chain.decode_epoch(epoch.bytes(), None).expect("the committee is the maker's");
    let claim = SegmentClaim { range, parent: None, end: SegmentEnd::Certified, audit: false };
    let verified = || chain.verify_segment(&committee, &claim, &segment, &[]).expect("the segment holds");
    let checked = u64::from(verified().1.quorum_checks);

    let key = SigningKey::from_slice(&[7; 32]).expect("a key of the curve");
    let message = [9; 32];
    let signature: Signature = key.sign_prehash(&message).expect("a message of 32 bytes");
    let public = VerifyingKey::from(&key);

    let mut group = criterion.benchmark_group("other chain, certificates on all cores");
    group.throughput(Throughput::Elements(checked * cores()));
    group.bench_function("segments, verified", |bencher| {
        bencher.iter(|| on_all_cores(|| drop(black_box(verified()))));
    });
    group.bench_function("signatures alone", |bencher| {
        let check = || public.verify_prehash(black_box(&message), &signature).expect("the signature holds");
        bencher.iter(|| on_all_cores(|| (0..checked * SIGNATURES).for_each(|_| check())));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = certificates
}
criterion_main!(benches);
