//! Attacks on the encoding: second spellings of a value, counts that ask for memory, nesting.

use core::marker::PhantomData;

use proptest::prelude::*;
use serde::de::{SeqAccess, Visitor};

use super::*;
use crate::chain::native::codec;
use crate::chain::{Chain, Fault, Finalized};

type Decode = fn(&[u8]) -> Result<Vec<u8>, Fault>;

/// One encoding of each message, and its decoder followed by its encoder.
fn messages(net: &Net) -> Vec<(&'static str, Vec<u8>, Decode)> {
    let header = net.header(9);
    let trail = build::audit_trail((7..=9).map(|number| net.certify(net.header(number), Phase::One)).collect());
    let checkpoint = Checkpoint { header: header.clone(), epoch: net.epochs[0].clone() }.encode();
    let advert = Advert::sign(&net.keys[0][0], header.chain_id, net.advert_claim(header));
    vec![
        ("header", header.encode(), |bytes| Header::decode(bytes).map(|value| value.encode())),
        ("epoch", net.epochs[0].encode(), |bytes| EpochInfo::decode(bytes).map(|value| value.encode())),
        ("genesis", net.genesis.document().encode(), |bytes| {
            GenesisDocument::decode(bytes).map(|value| value.encode())
        }),
        ("tip", net.tip(5).encode(), |bytes| FinalizedHeader::decode(bytes).map(|value| value.encode())),
        ("handover", net.handover(0).encode(), |bytes| Handover::decode(bytes).map(|value| value.encode())),
        ("segment", net.segment(5, 9).to_vec(), |bytes| Segment::decode(bytes).map(|value| value.encode())),
        ("epoch's end", net.segment(18, 20).to_vec(), |bytes| Segment::decode(bytes).map(|value| value.encode())),
        ("anchored", net.anchored(5, 9).to_vec(), |bytes| Segment::decode(bytes).map(|value| value.encode())),
        ("audit", trail, |bytes| AuditTrail::decode(bytes).map(|value| value.encode())),
        ("checkpoint", checkpoint, |bytes| Checkpoint::decode(bytes).map(|value| value.encode())),
        ("evidence", evidence(net), |bytes| ConflictEvidence::decode(bytes).map(|value| value.encode())),
        ("skip", Skip::new(header.clone(), net.double(9), &net.epochs[0]).encode(), |bytes| {
            Skip::decode(bytes).map(|value| value.encode())
        }),
        ("advert", advert.encode(), |bytes| Advert::decode(bytes).map(|value| value.encode())),
    ]
}

fn evidence(net: &Net) -> Vec<u8> {
    let rival = with(net.header(9), |header| header.state_root = Hash::from_bytes([66; 32]));
    let rival = FinalizedHeader::new(rival.clone(), net.double_of(&rival)).encode();
    let one = Finalized::Segment(net.segment(5, 9), height(9));
    net.chain().evidence(&net.context(0), &one, &Finalized::Tip(rival.into())).unwrap().to_vec()
}

/// The largest set, the longest path, and every number as long as it gets.
#[test]
fn the_largest_messages_fit_their_limits() {
    use crate::limits::{MAX_HANDOVER_BYTES, MAX_PROOF_PATH, MAX_SEGMENT_BYTES, MAX_TIP_BYTES, MAX_VALIDATORS};
    let net = Net::new(&Shape::default());
    let header = with(net.header(9), |header| {
        (header.height, header.view, header.justify_view) =
            (height(u64::MAX), View::new(u64::MAX), View::new(u64::MAX));
        (header.epoch, header.timestamp) = (Epoch::new(u64::MAX), UnixMillis::new(u64::MAX));
        (header.proposer, header.payload_len) = (u16::MAX, u32::MAX);
        header.next_epoch_hash = Some(Hash::from_bytes([1; 32]));
    });
    assert_eq!(header.encode().len(), MAX_HEADER_BYTES);
    let qc = QuorumCertificate {
        epoch: header.epoch,
        view: header.view,
        height: header.height,
        signers: vec![u8::MAX; MAX_VALIDATORS / 8],
        signatures: vec![net.certify(net.header(9), Phase::One).signatures[0]; MAX_VALIDATORS],
        ..net.certify(net.header(9), Phase::One)
    };
    let proof = FinalityProof::TwoChain { descendants: vec![header.clone(); MAX_PROOF_PATH], qc };
    let tip = FinalizedHeader::new(header.clone(), proof.clone());
    assert!(tip.encode().len() <= MAX_TIP_BYTES as usize, "{}", tip.encode().len());
    assert_eq!(FinalizedHeader::decode(&tip.encode()).as_ref(), Ok(&tip));
    let handover = Handover { version: Version, header, proof, next: vec![0; MAX_EPOCH_BYTES] };
    assert!(handover.encode().len() <= MAX_HANDOVER_BYTES as usize, "{}", handover.encode().len());
    assert_eq!(Handover::decode(&handover.encode()).as_ref(), Ok(&handover));
    // Of a header in a segment there is less than 100 bytes.
    assert!(tip.encode().len() + 1024 * 100 <= MAX_SEGMENT_BYTES as usize);
}

#[test]
fn non_canonical_encoding_is_rejected() {
    let net = Net::new(&Shape::default());
    // An audit is certificates with lengths in front, which have no second form.
    for (name, bytes, decode) in messages(&net).into_iter().filter(|(name, ..)| *name != "audit") {
        assert_eq!(decode(&bytes).as_ref(), Ok(&bytes), "{name}");
        let mut trailing = bytes.clone();
        trailing.push(0);
        assert_eq!(decode(&trailing), Err(Fault::NonCanonical), "{name}");
        // Every varint padded by one byte, which postcard reads as the same number.
        let mut padded_decoded = 0;
        for at in 0..bytes.len() {
            if bytes[at] >= 0x80 {
                continue;
            }
            let mut padded = bytes[..at].to_vec();
            padded.extend([bytes[at] | 0x80, 0]);
            padded.extend(&bytes[at + 1..]);
            let result = decode(&padded);
            // Inside of a hash the bytes may move on to another value; then they must be that value's only form.
            assert!(result.as_ref().is_err() || result.as_ref() == Ok(&padded), "{name} at {at}");
            padded_decoded += usize::from(result == Err(Fault::NonCanonical));
        }
        assert!(padded_decoded > 0, "{name}: nothing here was padded in a way that postcard reads");
        assert_eq!(decode(&bytes[..bytes.len() - 1]), Err(Fault::Malformed), "{name}");
        assert!(decode(&[]).is_err(), "{name}");
        let mut version = bytes.clone();
        version[0] = 2;
        assert_eq!(decode(&version), Err(Fault::Malformed), "{name}");
    }
}

#[test]
fn an_audit_has_one_form() {
    let net = Net::new(&Shape::default());
    let certificates: Vec<_> = (7..=9).map(|number| net.certify(net.header(number), Phase::One)).collect();
    let trail = build::audit_trail(certificates.clone());
    assert_eq!(AuditTrail::decode(&trail).map(|it| it.encode()).as_ref(), Ok(&trail));
    for cut in [trail.len() - 1, 3, 0] {
        assert_eq!(AuditTrail::decode(&trail[..cut]), Err(Fault::Malformed), "{cut}");
    }
    assert_eq!(AuditTrail::decode(&[&trail[..], &[0]].concat()), Err(Fault::Malformed));
    // A certificate whose first number is padded by a byte, which postcard reads as the same.
    let certificate = certificates[0].encode();
    let padded = [&[certificate[0] | 0x80, 0][..], &certificate[1..]].concat();
    let mut trail = Vec::new();
    assert!(crate::sections::put_section(&mut trail, &padded));
    assert_eq!(AuditTrail::decode(&trail), Err(Fault::NonCanonical));
}

#[test]
fn a_compact_header_has_one_form() {
    // What a compact header may leave out, it must leave out.
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Wire {
        version: Version,
        parent: Header,
        headers: Vec<CompactHeader>,
        next_epoch_hash: Option<Hash>,
        proof: FinalityProof,
    }
    let net = Net::new(&Shape::default());
    type Change = fn(&mut CompactHeader, &Header);
    let wrong: [(usize, Change, Fault); 6] = [
        (3, |compact, _| compact.payload_hash = Some(payload_hash(&[])), Fault::NonCanonical),
        (1, |compact, _| compact.payload_hash = None, Fault::NonCanonical),
        (3, |compact, parent| compact.state_root = Some(parent.state_root), Fault::NonCanonical),
        (1, |compact, _| compact.skipped_views = u64::MAX, Fault::BrokenLink(height(6))),
        (1, |compact, _| compact.skipped_views = u64::MAX - 2, Fault::BrokenLink(height(6))),
        (1, |compact, _| compact.elapsed_ms = u64::MAX, Fault::BrokenLink(height(6))),
    ];
    for (index, change, fault) in wrong {
        let mut wire: Wire = postcard::from_bytes(&net.segment(5, 9)).unwrap();
        assert_eq!(net.header(8).payload_len, 0);
        change(&mut wire.headers[index], net.header(7));
        assert_eq!(Segment::decode(&codec::encode(&wire)), Err(fault));
    }
    let mut wire: Wire = postcard::from_bytes(&net.segment(5, 9)).unwrap();
    wire.parent.height = height(u64::MAX - 3);
    assert_eq!(Segment::decode(&codec::encode(&wire)), Err(Fault::Malformed));
    wire.headers.clear();
    assert_eq!(Segment::decode(&codec::encode(&wire)), Err(Fault::Malformed));
}

/// Announces a count and counts what is taken.
struct Announced<'a> {
    count: usize,
    taken: &'a mut usize,
}

impl<'de> SeqAccess<'de> for Announced<'_> {
    type Error = serde::de::value::Error;

    fn next_element_seed<T: serde::de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        // Ends some time, so that a bound that doesn't hold fails the test and not the machine.
        if *self.taken == 1000 {
            return Ok(None);
        }
        *self.taken += 1;
        seed.deserialize(serde::de::value::U8Deserializer::new(1)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        (self.count != 0).then_some(self.count)
    }
}

#[test]
fn length_prefix_bomb() {
    // The count alone is enough to refuse; no element is read and no room is made.
    let mut taken = 0;
    for count in [11, 4096, usize::MAX] {
        let sequence = Announced { count, taken: &mut taken };
        assert!(codec::Bounded::<u8, 10>(PhantomData).visit_seq(sequence).is_err());
        assert_eq!(taken, 0);
    }
    // A source that doesn't say ends at the bound.
    let sequence = Announced { count: 0, taken: &mut taken };
    assert!(codec::Bounded::<u8, 10>(PhantomData).visit_seq(sequence).is_err());
    assert_eq!(taken, 11);

    // In messages: a huge count in place of each small one, with and without that many bytes to follow.
    let net = Net::new(&Shape::default());
    for (name, bytes, decode) in messages(&net) {
        for at in 0..bytes.len() {
            for count in [&[0xff, 0xff, 0x03][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff; 9]] {
                let mut bomb = bytes[..at].to_vec();
                bomb.extend(count);
                bomb.extend(&bytes[at + 1..]);
                // In the place of a number that is no count, the bytes may be another message.
                let result = decode(&bomb);
                assert!(result.is_err() || result == Ok(bomb), "{name} at {at}");
            }
        }
    }
    // By the limits in bytes, before anything is decoded.
    let big = vec![1u8; 70 << 20];
    for (name, _, decode) in messages(&net) {
        assert_eq!(decode(&big), Err(Fault::Oversize), "{name}");
    }
}

#[test]
fn counts_beyond_the_protocols_are_refused() {
    let net = Net::new(&Shape::default());
    let qc = net.certify(net.header(9), Phase::One);
    let tip = |qc: QuorumCertificate, path: usize| {
        let proof = FinalityProof::TwoChain { descendants: vec![net.header(10).clone(); path], qc };
        FinalizedHeader::decode(&FinalizedHeader::new(net.header(9).clone(), proof).encode())
    };
    let with_counts = |signers: usize, signatures: usize| QuorumCertificate {
        signers: vec![0; signers],
        signatures: vec![qc.signatures[0]; signatures],
        ..qc.clone()
    };
    let path = crate::limits::MAX_PROOF_PATH;
    assert!(tip(with_counts(512, 4096), path).is_ok());
    assert_eq!(tip(with_counts(513, 4096), path), Err(Fault::Malformed));
    assert_eq!(tip(with_counts(512, 4097), path), Err(Fault::Malformed));
    assert_eq!(tip(with_counts(512, 4096), path + 1), Err(Fault::Malformed));
    let trail = |count: usize| AuditTrail::decode(&build::audit_trail(vec![with_counts(0, 0); count]));
    assert!(trail(1024).is_ok());
    assert_eq!(trail(1025), Err(Fault::Malformed));
}

#[test]
fn deep_nesting() {
    // No message holds a message of its own kind, so no input recurses, however it is made up: option and variant tags
    // and small counts in every mixture, as long as the limits allow.
    let net = Net::new(&Shape::default());
    for filler in [0u8, 1, 2, 3, 4, 0x7f, 0x80, 0xff] {
        for prefix in 0..3 {
            let mut bytes = vec![1u8; prefix];
            bytes.resize(512 << 10, filler);
            for (name, _, decode) in messages(&net) {
                assert!(decode(&bytes).is_err(), "{name} of {filler}");
            }
        }
    }
}

#[test]
fn the_largest_header_fits_its_limit() {
    let net = Net::new(&Shape::default());
    let largest = with(net.header(20), |header| {
        (header.height, header.view, header.epoch) = (Height::MAX, View::MAX, Epoch::MAX);
        (header.justify_view, header.timestamp) = (View::MAX, UnixMillis::new(u64::MAX));
        (header.proposer, header.payload_len) = (u16::MAX, u32::MAX);
    });
    assert_eq!(largest.encode().len(), MAX_HEADER_BYTES);
    assert_eq!(Header::decode(&largest.encode()), Ok(largest));
}

#[test]
fn a_vote_is_its_fields_and_nothing_more() {
    // What validators sign may not change its length: other programs make these bytes too.
    let hash = |byte| Hash::from_bytes([byte; 32]);
    let vote = Vote {
        chain_id: hash(1),
        epoch: Epoch::new(2),
        view: View::new(3),
        height: Height::new(4),
        block: hash(5),
        phase: Phase::Two,
    };
    let numbers = [2u64, 3, 4].map(u64::to_le_bytes).concat();
    let expected = [&VOTE_TAG[..], &[1; 32], &numbers, &[5; 32], &[2]].concat();
    assert_eq!(vote.bytes().to_vec(), expected);
}

#[test]
fn the_largest_epoch_fits_its_limit_closely() {
    // A key and a power of ten bytes each; the rest are numbers.
    let largest = crate::limits::MAX_VALIDATORS * 42;
    assert!((largest + 33..=largest + 64).contains(&MAX_EPOCH_BYTES), "{MAX_EPOCH_BYTES}");
}

#[test]
fn ids_cover_every_field() {
    let net = Net::new(&Shape::default());
    let header = net.header(20);
    type Change = fn(&mut Header);
    let changes: [Change; 13] = [
        |header| header.chain_id = Hash::ZERO,
        |header| header.height = height(1000),
        |header| header.view = view(1000),
        |header| header.epoch = Epoch::new(1000),
        |header| header.epoch_hash = Hash::ZERO,
        |header| header.parent = Hash::ZERO,
        |header| header.justify_view = view(1000),
        |header| header.proposer = 1000,
        |header| header.timestamp = UnixMillis::new(1),
        |header| header.payload_hash = Hash::ZERO,
        |header| header.payload_len = 1000,
        |header| header.state_root = Hash::ZERO,
        |header| header.next_epoch_hash = None,
    ];
    for change in changes {
        assert_ne!(with(header, change).id(), header.id());
    }
    // The same bytes under other contexts are other hashes.
    let bytes = header.encode();
    assert_ne!(payload_hash(&bytes), header.id());
    assert_ne!(EpochInfo::hash_of(&bytes), header.id());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode_to_themselves_or_not_at_all(which in 0usize..13, bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let net = small();
        let (_, _, decode) = messages(&net)[which];
        if let Ok(again) = decode(&bytes) {
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn headers_round_trip(
        numbers in any::<[u64; 5]>(),
        hashes in any::<[[u8; 32]; 5]>(),
        next in any::<Option<[u8; 32]>>(),
        small in any::<(u16, u32)>(),
    ) {
        let [height, view_number, epoch, justify, time] = numbers;
        let [chain_id, epoch_hash, parent, payload_hash, state_root] = hashes.map(Hash::from_bytes);
        let header = Header {
            version: Version,
            chain_id,
            height: Height::new(height),
            view: view(view_number),
            epoch: Epoch::new(epoch),
            epoch_hash,
            parent,
            justify_view: view(justify),
            proposer: small.0,
            timestamp: UnixMillis::new(time),
            payload_hash,
            payload_len: small.1,
            state_root,
            next_epoch_hash: next.map(Hash::from_bytes),
        };
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn mutated_messages_never_verify(
        which in 0usize..5,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        kind in 0..4,
    ) {
        let net = small();
        let (chain, epoch) = (net.chain(), net.context(0));
        let original = match which {
            0 => net.segment(3, 6).to_vec(),
            1 => net.segment(6, 8).to_vec(),
            2 => net.tip(5).encode(),
            3 => net.handover(0).encode(),
            _ => build::audit_trail((3..=6).map(|number| net.certify(net.header(number), Phase::One)).collect()),
        };
        let mut bytes = original.clone();
        let at = at.index(bytes.len());
        match kind {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => drop(bytes.remove(at)),
            _ => bytes[at] ^= 1 << (byte % 8),
        }
        prop_assume!(bytes != original);
        let audited = SegmentClaim { audit: true, ..certified(3, 6) };
        let refused = match which {
            0 => chain.verify_segment(&epoch, &certified(3, 6), &bytes, &[]).is_err(),
            1 => chain.verify_segment(&epoch, &certified(6, 8), &bytes, &[]).is_err(),
            // A tip that says another epoch is not proven.
            2 => !matches!(chain.verify_tip(&epoch, &bytes), Ok(crate::chain::TipCheck::Final(_))),
            3 => chain.verify_handover(&epoch, &bytes).is_err(),
            _ => chain.verify_segment(&epoch, &audited, &net.segment(3, 6), &bytes).is_err(),
        };
        prop_assert!(refused);
    }
}

fn small() -> Net {
    Net::new(&Shape { last_heights: vec![20], gaps_after: vec![5], ..Shape::default() })
}
