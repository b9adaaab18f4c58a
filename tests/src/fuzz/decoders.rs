//! Every decoder of bytes that a peer or a file may give.

use bytes::Bytes;
use hotstuff2_sync::calls::{CallDone, HostCall, Start};
use hotstuff2_sync::chain::native::{
    Advert, AuditTrail, Checkpoint, ConflictEvidence, EpochInfo, FinalizedHeader, GenesisDocument, Handover, Header,
    Segment, Skip,
};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{Prefix, Record, StateForm, StateItem, StateProof, decode_state};
use hotstuff2_sync::trace::{Replayer, TraceFrames};
use hotstuff2_sync::verify::{Job, Verdict};
use hotstuff2_sync::wire::{
    Answer, Request, Sections, decode_bodies, decode_peers, encode_frame, frame_sizes, verify_read,
};

use super::input::Input;
use super::jobs::NATIVE;

/// How many decoders there are.
pub(super) const KINDS: u8 = 25;

/// One decoder, named by the first byte, reads the rest. What it takes must encode to the very bytes that it came from:
/// else there are two spellings of one thing.
pub fn decoders(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte() % KINDS;
    let bytes = input.rest();
    let same = |encoded: Vec<u8>| assert_eq!(encoded, bytes, "two encodings, decoder {kind}");
    match kind {
        0 => drop(Header::decode(bytes).map(|header| same(header.encode()))),
        1 => drop(Segment::decode(bytes).map(|segment| same(segment.encode()))),
        2 => drop(Handover::decode(bytes).map(|handover| same(handover.encode()))),
        3 => drop(FinalizedHeader::decode(bytes).map(|tip| same(tip.encode()))),
        4 => drop(EpochInfo::decode(bytes).map(|epoch| same(epoch.encode()))),
        5 => drop(AuditTrail::decode(bytes).map(|trail| same(trail.encode()))),
        6 => drop(Advert::decode(bytes).map(|advert| same(advert.encode()))),
        7 => drop(GenesisDocument::decode(bytes).map(|document| {
            same(document.encode());
            document.check()
        })),
        8 => drop(Checkpoint::decode(bytes)),
        9 => drop(ConflictEvidence::decode(bytes)),
        10 => drop(Skip::decode(bytes)),
        11 => drop(Request::decode(bytes).map(|request| same(request.encode()))),
        12 => drop(Answer::decode(Bytes::copy_from_slice(bytes))),
        13 => bodies(bytes),
        14 => drop(StateProof::decode(bytes)),
        15 => drop(Record::decode(Bytes::copy_from_slice(bytes))),
        16 => drop(verify_read(&hotstuff2_sync::state::PLACEHOLDER, b"key", Bytes::copy_from_slice(bytes))),
        17 => {
            let item = StateItem { prefix: Prefix::ROOT, hash: hotstuff2_sync::state::PLACEHOLDER };
            for form in [StateForm::Leaves, StateForm::Tree { depth: 3 }] {
                drop(decode_state(form, &[item], &Bytes::copy_from_slice(bytes)));
            }
        }
        18 => drop(decode_peers(Bytes::copy_from_slice(bytes))),
        19 => trace(bytes),
        20 => drop(Job::decode(bytes).map(|job| {
            same(job.encode());
            let verdict = job.run(&*NATIVE);
            assert_eq!(Verdict::decode(&verdict.encode()), Ok(verdict));
        })),
        21 => drop(Verdict::decode(bytes).map(|verdict| same(verdict.encode()))),
        22 => drop(Start::decode(bytes).map(|start| same(start.encode()))),
        23 => drop(HostCall::decode(bytes).map(|call| same(call.encode()))),
        _ => drop(CallDone::decode(bytes).map(|done| same(done.encode()))),
    }
}

fn bodies(bytes: &[u8]) {
    let _ = frame_sizes(bytes);
    let mut sections = Sections::new(Bytes::copy_from_slice(bytes));
    while sections.take().is_some() {}
    // Whatever length the headers say, no more comes out.
    let lens = [bytes.len() as u32, 7, 0, 100];
    if let Ok(frames) = decode_bodies(Bytes::copy_from_slice(bytes), Height::new(5), &lens) {
        let out: usize = frames.iter().map(|frame| frame.raw.len()).sum();
        assert!(out as u64 <= lens.iter().map(|&len| u64::from(len)).sum());
    }
    let mut wire = Vec::new();
    encode_frame(&mut wire, 1, bytes);
    let frames = decode_bodies(wire.into(), Height::new(5), &[bytes.len() as u32]).expect("our own frame");
    assert!(frames.iter().flat_map(|frame| frame.raw.iter()).eq(bytes));
}

fn trace(bytes: &[u8]) {
    let mut frames = TraceFrames::default();
    frames.push(bytes);
    let mut replayer = None;
    while let Ok(Some(frame)) = frames.take() {
        let frame = frame.to_vec();
        match &mut replayer {
            None => match Replayer::new(&frame) {
                Ok((new, _)) => replayer = Some(new),
                Err(_) => return,
            },
            Some(replayer) => {
                if !replayer.read(&frame).is_ok_and(|step| replayer.play(step).is_ok()) {
                    return;
                }
            }
        }
    }
}
