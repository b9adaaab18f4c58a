use hotstuff2_sync::chain::{Chain as _, CheckError, Fault, SegmentClaim, SegmentEnd};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::wire::{decode_bodies, split_payloads};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_tokio::net::HandlerFn;

use super::*;

fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(Height::new(first), Height::new(last)).unwrap()
}

/// What an asker finds wrong in the answers of a liar, request by request.
fn faults(lie: Option<Lie>) -> Vec<Option<Fault>> {
    let chain = TestChain::new(ChainSpec::default()).unwrap();
    let served = chain.clone();
    let staged = Staged {
        inner: Arc::new(HandlerFn::new(move |_, request| served.respond(&Request::decode(&request).unwrap()))),
        older: None,
        lie,
        delay: Duration::ZERO,
        rate: 0,
    };
    let ask =
        |request: Request| match Answer::decode(staged.handle(PeerId::from_bytes([0; 32]), request.encode().into()))
            .unwrap()
        {
            Answer::Data(data) => data,
            Answer::Refused(refusal) => panic!("{request:?}: {refusal:?}"),
        };
    let range = range(1, 20);
    let (native, epoch) = (chain.chain(), chain.context(Epoch::ZERO).unwrap());
    let claim = SegmentClaim { range, parent: None, end: SegmentEnd::Certified, audit: false };

    let handovers = || {
        let handover = Sections::new(ask(Request::Handovers { from: Epoch::ZERO, max: 1 })).take().unwrap();
        native.verify_handover(&epoch, &handover).map(drop)
    };
    let segment = || -> Result<(), CheckError> {
        let mut sections = Sections::new(ask(Request::Segment { range, certified: true, audit: false, bodies: 0 }));
        let segment = sections.take().ok_or(Fault::Malformed)?;
        native.verify_segment(&epoch, &claim, &segment, &[]).map(drop)
    };
    let bodies = || -> Result<(), CheckError> {
        let headers = chain.segment(range, SegmentEnd::Certified).unwrap();
        let lens = headers.facts(0).unwrap().payload_lens;
        let frames = decode_bodies(ask(Request::Bodies { range, max_bytes: 1 << 20 }), range.first(), &lens)?;
        split_payloads(&frames[0].raw, &lens)
            .zip(1..)
            .try_for_each(|(payload, height)| native.check_payload(&headers, Height::new(height), payload))
    };
    let found = [handovers().err(), segment().err(), bodies().err()];
    found.map(|error| error.and_then(CheckError::fault)).into()
}

#[test]
fn an_honest_node_is_left_as_it_is() {
    assert_eq!(faults(None), [None, None, None]);
}

#[test]
fn every_lie_is_a_provable_fault() {
    use Fault::{BadCertificate, BadEpoch, BadFrame, BadPayload, BrokenLink, Malformed, WrongRange};
    let last = Some(BadPayload(Height::new(20)));
    assert_eq!(faults(Some(Lie::Payload)), [None, None, last]);
    assert_eq!(faults(Some(Lie::Header)), [None, Some(BrokenLink(Height::new(21))), None]);
    assert_eq!(faults(Some(Lie::Signature)), [None, Some(BadCertificate), None]);
    assert_eq!(faults(Some(Lie::Range)), [None, Some(WrongRange), None]);
    assert_eq!(faults(Some(Lie::Handover)), [Some(BadEpoch), None, last]);
    assert_eq!(faults(Some(Lie::Garbage)), [None, Some(Malformed), Some(BadFrame)]);
}

#[test]
fn the_seed_picks_every_lie() {
    let picked: Vec<Lie> = (0..Lie::value_variants().len()).map(|seed| Lie::pick(seed as u64, 0)).collect();
    assert_eq!(picked, Lie::value_variants());
    assert_ne!(Lie::pick(5, 0), Lie::pick(5, 1));
}
