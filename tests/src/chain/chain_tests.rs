use hotstuff2_sync::chain::native::{Header, NativeChain};
use hotstuff2_sync::chain::{Chain as _, CheckError, EpochRef, Fault, SegmentClaim, SegmentEnd, TipCheck};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::GRID;
use hotstuff2_sync::ranges::{HeightRange, grid_cell};
use hotstuff2_sync::state::MemoryStateStore;
use hotstuff2_sync::wire::{Answer, Request, Sections, decode_bodies, split_payloads};

use super::*;
use crate::ledger::Ledger;

fn height(number: u64) -> Height {
    Height::new(number)
}

fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(height(first), height(last)).unwrap()
}

/// Verifies all pieces as a node that trusts genesis alone, and returns how many blocks that were.
fn verify(spec: ChainSpec, payload_bytes: u32) -> u64 {
    let payloads = RandomPayloads::new(spec.seed, payload_bytes);
    verify_with(spec, Box::new(payloads), |_, _| {})
}

/// [`verify`] with other payloads; `execute` is given each of them and the state root in its header.
fn verify_with(spec: ChainSpec, payloads: Box<dyn Payloads + Send>, mut execute: impl FnMut(&[u8], Hash)) -> u64 {
    let audited = spec.certify_every == 1;
    let mut generator = ChainGenerator::new(spec.clone(), payloads).unwrap();
    let chain = NativeChain::new(generator.genesis());
    let mut epoch: EpochRef = generator.genesis().epoch().to_ref();
    let mut tip = (Height::ZERO, generator.genesis().id());
    let mut ended: Option<EpochRef> = None;
    let mut tip_seen = false;
    while let Some(piece) = generator.next_piece().unwrap() {
        assert!(!tip_seen, "the tip comes last");
        let trusted = epoch.decoded(&chain).unwrap();
        match piece {
            Piece::Blocks(blocks) => {
                let segment = &blocks.part.segment;
                assert!(segment.range().first().is_next_of(tip.0));
                let cell = grid_cell(segment.range().first(), epoch.range(), GRID).unwrap();
                assert!(cell.covers(segment.range()));
                let claim = SegmentClaim {
                    range: segment.range(),
                    parent: Some(tip.1),
                    end: SegmentEnd::Certified,
                    audit: audited,
                };
                let (decoded, facts) = chain.verify_segment(trusted, &claim, segment.bytes(), segment.audit()).unwrap();
                assert_eq!(decoded.headers(), blocks.headers);
                assert_eq!((facts.last_id, facts.range), (segment.last_id(), segment.range()));
                assert_eq!(blocks.part.range(), Some(segment.range()), "all bodies are there");
                for frame in &blocks.part.frames {
                    let lens = segment.payload_lens_of(frame.range).unwrap();
                    assert_eq!(decode_bodies(frame.wire.clone(), frame.range.first(), lens).unwrap()[0], *frame);
                    let mut at = frame.range.first();
                    for payload in split_payloads(&frame.raw, lens) {
                        chain.check_payload(&decoded, at, payload).unwrap();
                        execute(payload, chain.header(&decoded, at).unwrap().state_root);
                        at = at.next();
                    }
                }
                tip = (segment.range().last(), segment.last_id());
            }
            Piece::Handover(link) => {
                let (_, facts) = chain.verify_handover(trusted, &link.bytes).unwrap();
                assert_eq!((facts.boundary_id, link.boundary_id, link.boundary), (tip.1, tip.1, tip.0));
                assert_eq!(
                    (facts.epoch, facts.range, &facts.bytes),
                    (link.epoch.epoch(), link.epoch.range(), link.epoch.bytes())
                );
                ended = Some(std::mem::replace(&mut epoch, link.epoch));
            }
            Piece::Tip(bytes) => {
                // A tip that ends its epoch belongs to the one before the newest.
                let of_tip = if spec.ends_epoch { ended.as_ref().unwrap() } else { &epoch };
                let check = chain.verify_tip(of_tip.decoded(&chain).unwrap(), &bytes).unwrap();
                let TipCheck::Final(facts) = check else { panic!("{check:?}") };
                assert_eq!((facts.height, facts.id), tip);
                assert_eq!(facts.timestamp, spec.last_timestamp);
                tip_seen = true;
            }
        }
    }
    assert!(tip_seen && tip.0 == spec.tip());
    tip.0.get()
}

#[test]
fn every_piece_verifies_from_genesis() {
    let spec = ChainSpec::default;
    verify(spec(), 100);
    verify(ChainSpec { ends_epoch: true, ..spec() }, 100);
    verify(ChainSpec { blocks: 1, epochs: 1, validators: 1, ..spec() }, 0);
    verify(ChainSpec { blocks: 8, epochs: 8, ..spec() }, 10);
    verify(ChainSpec { blocks: 8, epochs: 8, ends_epoch: true, ..spec() }, 10);
    verify(ChainSpec { blocks: 3 * GRID + 7, epochs: 2, validators: 7, ..spec() }, 10);
    verify(ChainSpec { certify_every: 1, ..spec() }, 10);
    verify(ChainSpec { certify_every: 7, ..spec() }, 10);
    // Frames of a single payload each, and segments that end where memory would.
    verify(ChainSpec { blocks: 40, ..spec() }, 1 << 20);
}

#[test]
fn ledger_chains_have_the_roots_that_executing_them_gives() {
    let accounts = 50;
    let mut ledger = Ledger::genesis(MemoryStateStore::default(), accounts).unwrap();
    let payloads = LedgerPayloads::new(1, accounts, 200).unwrap();
    assert_eq!(payloads.genesis_root(), ledger.root());
    let mut roots = std::collections::BTreeSet::new();
    let blocks = verify_with(ChainSpec { blocks: 600, ..ChainSpec::default() }, Box::new(payloads), |payload, root| {
        assert_eq!(payload.len(), 200);
        assert_eq!(ledger.execute(payload).unwrap(), root);
        roots.insert(root);
    });
    assert_eq!(roots.len() as u64, blocks, "every block changes the state");
}

#[test]
fn chains_have_gaps_in_views_and_rotate_proposers() {
    let chain = TestChain::new(ChainSpec { blocks: 1000, ..ChainSpec::default() }).unwrap();
    let gaps: Vec<u64> = chain.headers().windows(2).map(|pair| pair[1].view.above(pair[0].view) - 1).collect();
    let failed = gaps.iter().filter(|&&gap| gap > 0).count();
    assert!((30..80).contains(&failed), "{failed}");
    assert!(gaps.iter().any(|&gap| gap >= 3));
    let count = chain.epochs()[0].info().validators().count() as u64;
    assert!(chain.headers()[1..].iter().all(|header| u64::from(header.proposer) == header.view.get() % count));
    assert!(chain.headers().windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp));
}

#[test]
fn equal_specs_make_equal_chains_and_certificates_change_no_block() {
    let ids = |spec: ChainSpec| TestChain::new(spec).unwrap().headers().iter().map(Header::id).collect::<Vec<_>>();
    let spec = ChainSpec::default;
    assert_eq!(ids(spec()), ids(spec()));
    assert_eq!(ids(spec()), ids(ChainSpec { certify_every: 3, ..spec() }));
    assert_ne!(ids(spec())[1], ids(ChainSpec { seed: 2, ..spec() })[1]);
}

#[test]
fn a_chain_that_cannot_be_is_refused() {
    let refused = |spec: ChainSpec| TestChain::new(spec).unwrap_err().to_string();
    let spec = ChainSpec::default;
    assert!(refused(ChainSpec { blocks: 0, ..spec() }).contains("at least one block"));
    assert!(refused(ChainSpec { epochs: 101, ..spec() }).contains("101 epochs do not fit into 100 blocks"));
    assert!(refused(ChainSpec { validators: 0, ..spec() }).contains("0 validators"));
    assert!(refused(ChainSpec { name: String::new(), ..spec() }).contains("name"));
}

fn data(answer: bytes::Bytes) -> bytes::Bytes {
    match Answer::decode(answer).unwrap() {
        Answer::Data(data) => data,
        Answer::Refused(refusal) => panic!("{refusal:?}"),
    }
}

#[test]
fn a_test_chain_answers_requests_provably() {
    let test = TestChain::new(ChainSpec::default()).unwrap();
    let chain = test.chain();
    let epoch = test.context(Epoch::new(1)).unwrap();
    for (audit, certified) in [(false, true), (true, true), (false, false)] {
        let range = range(40, 57);
        let bytes = data(test.respond(&Request::Segment { range, certified, audit, bodies: 0 }));
        let mut sections = Sections::new(bytes);
        let (segment, trail) = (sections.take().unwrap(), sections.take().unwrap());
        let end = if certified { SegmentEnd::Certified } else { SegmentEnd::Anchored(test.id(height(57)).unwrap()) };
        let claim = SegmentClaim { range, parent: test.id(height(39)), end, audit };
        let (decoded, facts) = chain.verify_segment(&epoch, &claim, &segment, &trail).unwrap();

        let bodies = data(test.respond(&Request::Bodies { range, max_bytes: 450 }));
        let frames = decode_bodies(bodies, range.first(), &facts.payload_lens).unwrap();
        assert_eq!(frames.last().unwrap().range.last(), height(43));
        chain.check_payload(&decoded, height(40), &test.payload(height(40)).unwrap()).unwrap();
        assert!(frames[0].raw.starts_with(&test.payload(height(40)).unwrap()));
    }
    let tip = data(test.view(height(1), height(50)).respond(&Request::Tip));
    assert!(matches!(chain.verify_tip(&epoch, &tip), Ok(TipCheck::Final(facts)) if facts.height == height(50)));
    let follow = data(test.view(height(1), height(50)).respond(&Request::Follow {
        after: height(40),
        max_bytes: 1000,
        audit: false,
    }));
    let mut sections = Sections::new(follow);
    let claim = SegmentClaim { range: range(41, 50), parent: None, end: SegmentEnd::CertifiedUpTo, audit: false };
    chain.verify_segment(&epoch, &claim, &sections.take().unwrap(), &[]).unwrap();
    let handovers = data(test.respond(&Request::Handovers { from: Epoch::ZERO, max: 9 }));
    let mut sections = Sections::new(handovers);
    chain.verify_handover(&test.context(Epoch::ZERO).unwrap(), &sections.take().unwrap()).unwrap();
    chain.verify_handover(&epoch, &sections.take().unwrap()).unwrap();
    assert!(sections.is_empty());
}

#[test]
fn a_view_holds_nothing_outside_of_its_heights() {
    let test = TestChain::new(ChainSpec::default()).unwrap();
    let view = test.view(height(20), height(50));
    let refused = |request| matches!(Answer::decode(view.respond(&request)), Ok(Answer::Refused(_)));
    assert!(refused(Request::Bodies { range: range(19, 22), max_bytes: 1000 }));
    assert!(refused(Request::Segment { range: range(49, 51), certified: true, audit: false, bodies: 0 }));
    assert!(refused(Request::Segment { range: range(30, 40), certified: true, audit: false, bodies: 0 }), "two epochs");
    assert!(refused(Request::Follow { after: height(50), max_bytes: 1000, audit: false }));
    assert!(refused(Request::Handovers { from: Epoch::new(1), max: 9 }));
}

#[test]
fn forks_and_hooks_bend_what_they_are_told_to() {
    let test = TestChain::new(ChainSpec::default()).unwrap();
    let fork = test.fork(height(60)).unwrap();
    assert_eq!((test.id(height(59)), test.genesis()), (fork.id(height(59)), fork.genesis()));
    assert_ne!(test.id(height(60)), fork.id(height(60)));
    let epoch = test.context(Epoch::new(1)).unwrap();
    let claim = SegmentClaim { range: range(58, 61), parent: None, end: SegmentEnd::Certified, audit: false };
    let segment = |chain: &TestChain| chain.segment(claim.range, claim.end).unwrap().encode();
    for valid in [&test, &fork] {
        valid.chain().verify_segment(&epoch, &claim, &segment(valid), &[]).unwrap();
    }
    let bent = TestChain::with_hook(ChainSpec::default(), |header| {
        if header.height == Height::new(60) {
            header.proposer = 999;
        }
    });
    let bent = bent.unwrap();
    let fault = bent.chain().verify_segment(&epoch, &claim, &segment(&bent), &[]).unwrap_err();
    assert_eq!(fault, CheckError::False(Fault::BrokenLink(height(60))));
}
