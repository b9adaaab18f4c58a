//! What `docs/design.md` says of the bytes on the wire is what the encoders make: whoever writes another implementation has
//! that page.

use hotstuff2_sync::chain::native::{CertificateError, FinalityProof, Header, Phase, QuorumCertificate, Vote};
use hotstuff2_sync::chain::{Fault, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, PeerId};
use hotstuff2_sync::limits::{GRID, MAX_PEER_ADDRESSES};
use hotstuff2_sync::ranges::{HeightRange, grid_cell};
use hotstuff2_sync::state::StateForm;
use hotstuff2_sync::wire::{KnownPeer, Request, decode_peers, encode_peers};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};

const PAGE: &str = include_str!("../../docs/design.md");

/// Whether the page still says what a test here holds it to.
fn says(words: &str) {
    assert!(PAGE.contains(words), "docs/design.md doesn't say: {words}");
}

#[test]
fn a_request_in_the_documents_is_what_they_say() {
    let range = HeightRange::new(Height::new(1024), Height::new(2047)).unwrap();
    let request = Request::Segment { range, certified: true, audit: false, bodies: 1 << 20 }.encode();
    let digits: Vec<String> = request.iter().map(|byte| format!("{byte:02x}")).collect();
    let digits = format!("`{}`", digits.join(" "));
    assert!(PAGE.contains(&digits), "docs/design.md: the example is {digits} now");
    let text = |height: Height| format!("{},{:03}", height.get() / 1000, height.get() % 1000);
    let words = format!("the headers from {} to {}", text(range.first()), text(range.last()));
    assert!(PAGE.contains(&words), "docs/design.md: the example asks for {words}");
    let everything = HeightRange::new(Height::ZERO, Height::MAX).unwrap();
    assert_eq!(grid_cell(range.first(), everything, GRID), Some(range), "one that a server answers: a whole cell");
}

#[test]
fn cells_begin_and_end_where_the_documents_say() {
    let cells = |heights: &[(u64, u64)], epoch: (u64, u64)| {
        let range = |(first, last)| HeightRange::new(Height::new(first), Height::new(last)).unwrap();
        for &cell in heights {
            assert_eq!(grid_cell(range(cell).last(), range(epoch), GRID), Some(range(cell)));
        }
    };
    says("0 to 1,023, 1,024 to 2,047");
    cells(&[(0, 1023), (1024, 2047)], (0, 1 << 40));
    says("1,024 to 1,500 and of\n1,501 to 2,047");
    cells(&[(1024, 1500)], (0, 1500));
    cells(&[(1501, 2047)], (1501, 9000));
    says("A range that leaves its cell is not available.");
    says("the first cell on the wire begins with 1.");
    let chain = TestChain::new(ChainSpec { blocks: 1100, epochs: 1, ..ChainSpec::default() }).unwrap();
    let ask = |first, last| {
        let range = HeightRange::new(Height::new(first), Height::new(last)).unwrap();
        chain.respond(&Request::Segment { range, certified: true, audit: false, bodies: 0 })[0]
    };
    assert_eq!([ask(1, 1023), ask(1023, 1024), ask(1024, 1090), ask(0, 1)], [0, 1, 0, 1]);
}

#[test]
fn requests_have_the_numbers_that_the_documents_give() {
    let range = HeightRange::single(Height::new(1));
    let requests = [
        ("Status", Request::Status),
        ("Handovers", Request::Handovers { from: Epoch::ZERO, max: 1 }),
        ("Tip", Request::Tip),
        ("Segment", Request::Segment { range, certified: true, audit: false, bodies: 0 }),
        ("Bodies", Request::Bodies { range, max_bytes: 1 }),
        ("Follow", Request::Follow { after: Height::ZERO, max_bytes: 1, audit: false }),
        ("State", Request::State { height: Height::ZERO, form: StateForm::Leaves, items: Vec::new(), max_bytes: 1 }),
        ("Proof", Request::Proof { height: Height::ZERO, root: Hash::ZERO, key_hash: Hash::ZERO }),
        ("Peers", Request::Peers { max: 1, port: 0 }),
        ("Advert", Request::Advert { challenge: Hash::ZERO }),
        ("Read", Request::Read { key_hash: Hash::ZERO }),
        ("BackedAdvert", Request::BackedAdvert { challenge: Hash::ZERO }),
    ];
    for (name, request) in requests {
        let row = format!("| {} | `{name}` |", request.encode()[1]);
        assert!(PAGE.contains(&row), "docs/design.md: there is no row `{row}`");
    }
}

/// Writes what the page describes, and nothing that the encoders use.
#[derive(Default)]
struct Pen(Vec<u8>);

impl Pen {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn hash(self, hash: &Hash) -> Self {
        self.raw(hash.as_bytes())
    }

    /// Seven bits a byte, the lowest first.
    fn number(mut self, mut number: u64) -> Self {
        while number > 127 {
            self.0.push(number as u8 & 127 | 128);
            number >>= 7;
        }
        self.0.push(number as u8);
        self
    }

    fn if_any(self, hash: Option<&Hash>) -> Self {
        match hash {
            None => self.raw(&[0]),
            Some(hash) => self.raw(&[1]).hash(hash),
        }
    }

    fn header(self, header: &Header) -> Self {
        self.raw(&[1])
            .hash(&header.chain_id)
            .number(header.height.get())
            .number(header.view.get())
            .number(header.epoch.get())
            .hash(&header.epoch_hash)
            .hash(&header.parent)
            .number(header.justify_view.get())
            .number(header.proposer.into())
            .number(header.timestamp.get())
            .hash(&header.payload_hash)
            .number(header.payload_len.into())
            .hash(&header.state_root)
            .if_any(header.next_epoch_hash.as_ref())
    }

    fn short(self, parent: &Header, header: &Header) -> Self {
        self.number(header.payload_len.into())
            .number(header.view.get() - parent.view.get() - 1)
            .number(header.proposer.into())
            .number(header.timestamp.get() - parent.timestamp.get())
            .if_any((header.payload_len > 0).then_some(&header.payload_hash))
            .if_any((header.state_root != parent.state_root).then_some(&header.state_root))
    }

    fn certificate(mut self, certificate: &QuorumCertificate) -> Self {
        self = self
            .number(certificate.epoch.get())
            .number(certificate.view.get())
            .number(certificate.height.get())
            .hash(&certificate.block)
            .raw(&[u8::from(certificate.phase == Phase::Two)])
            .number(certificate.signers.len() as u64)
            .raw(&certificate.signers)
            .number(certificate.signatures.len() as u64);
        certificate.signatures.iter().fold(self, |pen, signature| pen.raw(signature.r()).raw(signature.s()))
    }

    fn proof(self, proof: &FinalityProof) -> Self {
        let (kind, path, certificate) = match proof {
            FinalityProof::TwoChain { descendants, qc } => (0, descendants, qc),
            FinalityProof::DoubleCertificate { descendants, qc } => (1, descendants, qc),
            FinalityProof::Anchored { id } => return self.raw(&[2]).hash(id),
        };
        let pen = self.raw(&[kind]).number(path.len() as u64);
        path.iter().fold(pen, Self::header).certificate(certificate)
    }
}

/// A chain with ends of epochs, empty payloads and payloads, and views without blocks.
fn chain() -> TestChain {
    TestChain::new(ChainSpec { validators: 10, ..ChainSpec::default() }).unwrap()
}

#[test]
fn structures_are_laid_out_as_the_documents_say() {
    let chain = chain();
    let first = chain.epochs()[0].info().range();
    let range = HeightRange::new(Height::new(1), first.last()).unwrap();
    let segment = chain.segment(range, SegmentEnd::Certified).unwrap();
    assert!(segment.headers().iter().any(|header| header.payload_len > 0));
    let proof = chain.proof(range.last()).unwrap();
    let mut pen = Pen::default().raw(&[1]).header(segment.parent()).number(segment.headers().len() as u64);
    let mut parent = segment.parent();
    for header in segment.headers() {
        pen = pen.short(parent, header);
        parent = header;
    }
    let end = parent;
    assert!(end.next_epoch_hash.is_some());
    assert_eq!(pen.if_any(end.next_epoch_hash.as_ref()).proof(&proof).0, segment.encode(), "segment");
    assert_eq!(Pen::default().raw(&[1]).header(end).proof(&proof).0, chain.tip(end.height).unwrap(), "tip");

    let next = chain.epochs()[1].info();
    let heights = [next.range().first(), next.range().last()].map(Height::get);
    let mut epoch = Pen::default().raw(&[1]).number(next.epoch().get()).number(heights[0]).number(heights[1]);
    epoch = epoch.number(next.validators().count() as u64);
    for validator in next.validators().validators() {
        epoch = epoch.raw(validator.key.as_bytes()).number(validator.power);
    }
    assert_eq!(epoch.0, next.encode(), "epoch");
    let handover = Pen::default().raw(&[1]).header(end).proof(&proof).number(epoch.0.len() as u64).raw(&epoch.0);
    let asked = chain.respond(&Request::Handovers { from: Epoch::ZERO, max: 1 });
    let length = u32::try_from(handover.0.len()).unwrap().to_le_bytes();
    assert_eq!([&[0], &length[..], &handover.0].concat(), asked, "handover");

    let (single, header) = (HeightRange::single(Height::new(2)), chain.header(Height::new(2)).unwrap());
    let certificate = chain.epochs()[0].certify(Phase::One, header);
    let certificate = Pen::default().certificate(&certificate).0;
    let length = u32::try_from(certificate.len()).unwrap().to_le_bytes();
    assert_eq!([&length[..], &certificate].concat(), chain.audit(single).unwrap(), "audit");
    let anchored = FinalityProof::Anchored { id: header.id() };
    let segment = chain.segment(single, SegmentEnd::Anchored(header.id())).unwrap();
    assert!(segment.encode().ends_with(&Pen::default().proof(&anchored).0));

    for (context, bytes, id) in [
        ("hotstuff2-sync v1 block id", Pen::default().header(header).0, header.id()),
        ("hotstuff2-sync v1 epoch", epoch.0, chain.epochs()[1].hash()),
        ("hotstuff2-sync v1 payload", chain.payload(header.height).unwrap().to_vec(), header.payload_hash),
    ] {
        says(&format!("`{context}`"));
        assert_eq!(&blake3::derive_key(context, &bytes), id.as_bytes(), "{context}");
    }
}

#[test]
fn certificates_are_signed_and_judged_as_the_documents_say() {
    let chain = chain();
    let (epoch, context) = (&chain.epochs()[0], chain.context(Epoch::ZERO).unwrap());
    let header = chain.header(Height::new(2)).unwrap();
    let (numbers, id) = ([header.epoch.get(), header.view.get(), header.height.get()], header.id());
    for (phase, byte) in [(Phase::One, 1), (Phase::Two, 2)] {
        let parts: [(&[u8], &str); 7] = [
            (b"hs2-sync/1 vote\n", "`hs2-sync/1 vote` and a line feed"),
            (header.chain_id.as_bytes(), "chain id"),
            (&numbers[0].to_le_bytes(), "epoch"),
            (&numbers[1].to_le_bytes(), "view"),
            (&numbers[2].to_le_bytes(), "height"),
            (id.as_bytes(), "block's id"),
            (&[byte], "phase: 1 or 2"),
        ];
        let mut bytes = Vec::new();
        for (part, name) in parts {
            says(&format!("| {} | {} | {name}", bytes.len(), part.len()));
            bytes.extend(part);
        }
        says(&format!("these {} bytes", bytes.len()));
        assert_eq!(Vote::new(header, id, phase).bytes()[..], bytes);
        let certificate = epoch.certify(phase, header);
        certificate.verify(phase, header, &context).unwrap();
        let signer = certificate.signers(epoch.info().validators()).unwrap()[0].key;
        let key = ed25519_dalek::VerifyingKey::from_bytes(signer.as_bytes()).unwrap();
        let signature = &certificate.signatures[0];
        let signature = ed25519_dalek::Signature::from_components(*signature.r(), *signature.s());
        key.verify_strict(&bytes, &signature).expect("the first signature is of the validator at the first bit");
    }

    // Ten validators: two bytes, of which six bits are nobody's.
    let all: Vec<usize> = (0..10).collect();
    let whole = epoch.sign(Phase::One, header, &all);
    assert_eq!(whole.signers, [0xff, 0x03], "the lowest bit is the first validator's");
    let keys: Vec<_> = epoch.info().validators().validators().iter().map(|validator| validator.key).collect();
    assert!(keys.is_sorted(), "in ascending order of keys");
    let judge = |change: &dyn Fn(&mut QuorumCertificate)| {
        let mut changed = whole.clone();
        change(&mut changed);
        changed.verify(Phase::One, header, &context).unwrap_err()
    };
    assert_eq!(judge(&|qc| qc.signers.push(0)), CertificateError::Bitmap, "a byte more");
    assert_eq!(judge(&|qc| qc.signers.truncate(qc.signers.len() - 1)), CertificateError::Bitmap, "a byte less");
    assert_eq!(judge(&|qc| qc.signers[1] |= 4), CertificateError::Bitmap, "a bit beyond the last");
    assert_eq!(judge(&|qc| qc.signatures.truncate(qc.signatures.len() - 1)), CertificateError::SignatureCount);
    assert_eq!(judge(&|qc| qc.signatures.swap(0, 1)), CertificateError::Signature, "another order");
    assert_eq!(judge(&|qc| qc.phase = Phase::Two), CertificateError::OtherPhase);
    assert_eq!(judge(&|qc| qc.height = qc.height.next()), CertificateError::OtherHeader);
    // Signers from the first on, until their power is enough.
    let set = epoch.info().validators();
    let power =
        |count: usize| set.validators()[..count].iter().map(|validator| u128::from(validator.power)).sum::<u128>();
    let quorum = (1..=10).find(|&count| 3 * power(count) > 2 * power(10)).unwrap();
    for count in 1..=10 {
        let holds = epoch.sign(Phase::One, header, &all[..count]).verify(Phase::One, header, &context);
        assert_eq!(holds, if count < quorum { Err(CertificateError::NoQuorum) } else { Ok(()) }, "{count}");
    }
}

#[test]
fn addresses_are_written_as_the_documents_say() {
    let peer =
        |id: u8, address: &str| KnownPeer { id: PeerId::from_bytes([id; 32]), address: address.parse().unwrap() };
    says("is\nsent as IPv4, with the tag 4; with the tag 6 it is refused");
    let sent = encode_peers([peer(2, "[2001:db8::1]:9"), peer(2, "9.9.9.9:258"), peer(1, "[::ffff:192.0.2.1]:7")]);
    let ipv6 = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let entries = [
        Pen::default().raw(&[1; 32]).raw(&[4, 192, 0, 2, 1, 7, 0]).0,
        Pen::default().raw(&[2; 32]).raw(&[4, 9, 9, 9, 9, 2, 1]).0,
        Pen::default().raw(&[2; 32]).raw(&[6]).raw(&ipv6).raw(&[9, 0]).0,
    ];
    assert_eq!(sent, [&[0], &entries.concat()[..]].concat());
    let read = |entries: &[&[u8]]| decode_peers(entries.concat().into()).map(|peers| peers.len());
    let [first, second, third] = &entries;
    assert_eq!(read(&[first, second, third]), Ok(3));
    for wrong in [[second, first], [third, second], [first, first]] {
        assert_eq!(read(&[wrong[0], wrong[1]]), Err(Fault::NonCanonical));
    }
    let mapped = "::ffff:192.0.2.1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    assert_eq!(read(&[&[1; 32], &[6], &mapped, &[7, 0]]), Err(Fault::NonCanonical));
    assert_eq!(read(&[&[1; 32], &[4, 9, 9, 9, 9, 0, 0]]), Err(Fault::Malformed), "port 0");
    says(&format!("and more than {MAX_PEER_ADDRESSES}"));
    let many = (0..=MAX_PEER_ADDRESSES as u8).map(|id| [&[id; 32][..], &[4, 9, 9, 9, 9, 7, 0]].concat());
    assert_eq!(decode_peers(many.flatten().collect::<Vec<u8>>().into()), Err(Fault::Oversize));
}
