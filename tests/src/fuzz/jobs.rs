//! Jobs with answers that were honest once.

use std::sync::LazyLock;

use bytes::Bytes;
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::chain::{Chain as _, SegmentClaim, SegmentEnd, SegmentRef, TipCheck};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::{
    MemoryStateStore, Prefix, Record, StateAnswer, StateForm, StateItem, StateReader, key_hash,
};
use hotstuff2_sync::verify::{Outcome, Task};
use hotstuff2_sync::wire::{Answer, BodyFrame, Request};

use super::input::Input;
use crate::chain::{ChainSpec, TestChain};

/// A small chain with all that can be asked for: two epochs and their ends, and a state.
pub(super) static CHAIN: LazyLock<TestChain> = LazyLock::new(|| {
    let spec = ChainSpec { blocks: 12, epochs: 2, ends_epoch: true, snapshot_interval: 5, ..ChainSpec::default() };
    TestChain::with_ledger(spec, 20, 100).expect("a chain")
});

/// Tasks with their honest answers.
static TASKS: LazyLock<Vec<(Task, Bytes)>> = LazyLock::new(tasks);
pub(super) static NATIVE: LazyLock<NativeChain> = LazyLock::new(|| CHAIN.chain());

/// A key that the state has.
static KEY: LazyLock<Bytes> = LazyLock::new(|| {
    let records = CHAIN.state(Height::new(5)).into_iter().flat_map(MemoryStateStore::records);
    let key = records.last().and_then(|(_, record)| Some(Record::decode(record.clone()).ok()?.key().to_vec()));
    key.expect("a record").into()
});

/// The value that it has after the block at `height`.
fn value_at(height: Height) -> Option<Bytes> {
    let record = StateReader::record(CHAIN.state(height)?, &key_hash(&KEY)).ok()??;
    Some(Record::decode(record).ok()?.into_value())
}

/// How many tasks there are.
pub(super) fn count() -> usize {
    TASKS.len()
}

fn data(request: &Request) -> Bytes {
    match Answer::decode(CHAIN.respond(request)) {
        Ok(Answer::Data(bytes)) => bytes,
        other => panic!("{request:?}: {other:?}"),
    }
}

fn tasks() -> Vec<(Task, Bytes)> {
    let epoch = |number| CHAIN.epoch_ref(Epoch::new(number)).expect("an epoch");
    let range = |first, last| HeightRange::new(Height::new(first), Height::new(last)).expect("a range");
    let claim = |range, end| SegmentClaim { range, parent: None, end, audit: false };
    let none = Bytes::new;
    let part = &CHAIN.parts()[0];
    let (whole, follow) = (part.segment.range(), range(11, 12));
    let base = Height::new(5);
    let root = CHAIN.header(base).expect("a header").state_root;
    let items = vec![StateItem { prefix: Prefix::ROOT, hash: root }];
    let state = |form| {
        let ask = Request::State { height: base, form, items: items.clone(), max_bytes: 1 << 20 };
        (Task::State { form, items: items.clone(), bytes: none() }, data(&ask))
    };
    let ends = claim(whole, SegmentEnd::Certified);
    vec![
        (Task::Handovers { from: epoch(0), bytes: none() }, data(&Request::Handovers { from: Epoch::ZERO, max: 8 })),
        (Task::Tip { epoch: epoch(1), bytes: none() }, data(&Request::Tip)),
        (
            Task::Segment { epoch: epoch(0), claim: ends, bodies: 1 << 20, handover: None, bytes: none() },
            data(&Request::Segment { range: whole, certified: true, audit: false, bodies: 1 << 20 }),
        ),
        (
            Task::Segment {
                epoch: epoch(0),
                claim: SegmentClaim { audit: true, ..ends },
                bodies: 0,
                handover: None,
                bytes: none(),
            },
            data(&Request::Segment { range: whole, certified: true, audit: true, bodies: 0 }),
        ),
        (
            Task::Bodies { segment: part.segment.clone(), range: whole, bytes: none() },
            data(&Request::Bodies { range: whole, max_bytes: 1 << 20 }),
        ),
        (
            Task::Follow { epoch: epoch(1), claim: claim(follow, SegmentEnd::CertifiedUpTo), bytes: none() },
            data(&Request::Follow { after: Height::new(10), max_bytes: 1 << 20, audit: false }),
        ),
        (
            Task::Base { epoch: epoch(0), claim: ends, height: base, bytes: none() },
            data(&Request::Segment { range: whole, certified: true, audit: false, bodies: 0 }),
        ),
        state(StateForm::Leaves),
        state(StateForm::Tree { depth: 4 }),
        (
            Task::Skip { from: epoch(0), to: Epoch::new(1), bytes: none() },
            data(&Request::Handovers { from: Epoch::ZERO, max: 2 }),
        ),
        (
            Task::Read { epoch: epoch(1), key: KEY.clone(), bytes: none() },
            data(&Request::Read { key_hash: key_hash(&KEY) }),
        ),
        (
            Task::Proof { root, key: KEY.clone(), bytes: none() },
            data(&Request::Proof { height: base, root, key_hash: key_hash(&KEY) }),
        ),
    ]
}

fn with(task: &Task, new: Bytes) -> Task {
    let mut task = task.clone();
    if let Task::Handovers { bytes, .. }
    | Task::Tip { bytes, .. }
    | Task::Segment { bytes, .. }
    | Task::Bodies { bytes, .. }
    | Task::Follow { bytes, .. }
    | Task::State { bytes, .. }
    | Task::Base { bytes, .. }
    | Task::Skip { bytes, .. }
    | Task::Read { bytes, .. }
    | Task::Proof { bytes, .. } = &mut task
    {
        *bytes = new;
    }
    task
}

/// A job, named by the first byte, with its honest answer changed as the rest says: whatever it proves is the chain's,
/// and the honest answer proves it.
pub fn jobs(data: &[u8]) {
    let mut input = Input(data);
    let index = usize::from(input.byte()) % TASKS.len();
    let Some((task, honest)) = TASKS.get(index) else { return };
    let changed = input.mutate(honest);
    let is_honest = *honest == changed;
    match with(task, changed.into()).prove(&*NATIVE) {
        Ok(outcome) => check(&outcome),
        Err(fault) => assert!(!is_honest, "an honest answer is refused: {fault:?}"),
    }
}

fn check(outcome: &Outcome) {
    let of_chain = |segment: &SegmentRef| {
        let ids = segment.ids(&*NATIVE, segment.range()).expect("verified");
        let heights = (segment.range().first().get()..).map(Height::new);
        assert!(heights.zip(ids).all(|(height, id)| CHAIN.id(height) == Some(id)), "another block was proven");
    };
    let frames_of_chain = |frames: &[BodyFrame]| {
        for frame in frames {
            let honest: Vec<u8> = (frame.range.first().get()..=frame.range.last().get())
                .flat_map(|height| CHAIN.payload(Height::new(height)).expect("a payload"))
                .collect();
            assert_eq!(frame.raw, honest, "another payload was taken");
        }
    };
    match outcome {
        Outcome::Handovers { links, .. } => {
            for (link, honest) in links.iter().zip(CHAIN.handovers()) {
                assert_eq!((link.boundary_id, &link.epoch), (honest.boundary_id, &honest.epoch));
            }
        }
        Outcome::Tip(TipCheck::Final(facts), _) => assert_eq!(CHAIN.id(facts.height), Some(facts.id)),
        Outcome::Tip(TipCheck::OtherEpoch(_), _) => {}
        Outcome::Segment { segment, frames } | Outcome::Follow { segment, frames } => {
            of_chain(segment);
            frames_of_chain(frames);
        }
        Outcome::Base { segment, .. } => of_chain(segment),
        Outcome::Bodies(frames) => frames_of_chain(frames),
        Outcome::State(answers) => {
            let state = CHAIN.state(Height::new(5)).expect("a state");
            for answer in answers {
                if let StateAnswer::Leaves(leaves) = answer {
                    assert!(leaves.records.iter().map(|(key, record)| (key, record)).eq(state.records()));
                }
            }
        }
        Outcome::Skip(None) => panic!("the sets change by a validator"),
        Outcome::Skip(Some(found)) => {
            let (epoch, link) = &**found;
            assert_eq!(Some(epoch), CHAIN.epoch_ref(Epoch::new(1)).as_ref());
            assert_eq!(
                (link.boundary_id, &link.epoch),
                (CHAIN.handovers()[1].boundary_id, &CHAIN.handovers()[1].epoch)
            );
        }
        Outcome::Read { tip: TipCheck::OtherEpoch(_), .. } => {}
        Outcome::Read { tip: TipCheck::Final(facts), value, .. } => {
            assert_eq!(CHAIN.id(facts.height), Some(facts.id));
            assert_eq!(*value, value_at(facts.height));
        }
        Outcome::Proof(value) => assert_eq!(*value, value_at(Height::new(5))),
        Outcome::Conflict(_) | Outcome::HandoverPart { .. } => panic!("nobody asked for that"),
    }
}

/// The chain's answers decode as what they are.
pub(super) fn segment_bytes() -> Bytes {
    let part = &CHAIN.parts()[0];
    assert!(NATIVE.decode_segment(part.segment.bytes()).is_ok());
    part.segment.bytes().clone()
}
