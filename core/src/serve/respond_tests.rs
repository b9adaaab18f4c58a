use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::hash::Hash;
use crate::limits::{MAX_BODIES_BYTES, MAX_HANDOVER_BYTES, MAX_SEGMENT_BYTES};
use crate::state::MemoryStateStore;
use crate::wire::{Answer, Sections};

/// A store whose content is as large as it is told, whatever the limits say.
struct Careless {
    segment: usize,
    tip: usize,
    handover: usize,
    bodies: usize,
}

impl ChainReader for Careless {
    type Error = ();
    type State = MemoryStateStore;

    fn status(&self) -> PeerStatus {
        let zero = (Height::ZERO, Epoch::ZERO);
        PeerStatus { chain_id: Hash::ZERO, earliest: zero.0, tip: zero.0, epoch: zero.1, snapshots: None }
    }

    fn handover(&self, _: Epoch) -> Result<Option<Bytes>, ()> {
        Ok(Some(vec![0; self.handover].into()))
    }

    fn tip(&self) -> Result<Option<Bytes>, ()> {
        Ok(Some(vec![0; self.tip].into()))
    }

    fn segment(&self, _: HeightRange, _: bool, _: bool) -> Result<Option<StoredSegment>, ()> {
        Ok(Some(StoredSegment { segment: vec![0; self.segment].into(), audit: Bytes::new() }))
    }

    fn follow_range(&self, after: Height) -> Option<HeightRange> {
        Some(HeightRange::single(after.next()))
    }

    fn bodies(&self, _: HeightRange, _: u32, out: &mut Vec<u8>) -> Result<bool, ()> {
        out.resize(out.len() + self.bodies, 0);
        Ok(true)
    }

    fn newest_state(&self) -> Result<Option<(Bytes, MemoryStateStore)>, ()> {
        Ok(None)
    }

    fn states(&self, _: Height) -> Result<Vec<MemoryStateStore>, ()> {
        Ok(Vec::new())
    }
}

#[test]
fn respond_never_passes_the_askers_limit() {
    let range = HeightRange::single(Height::new(1));
    let segment = |bodies| Request::Segment { range, certified: true, audit: false, bodies };
    let follow = Request::Follow { after: Height::ZERO, max_bytes: 1, audit: false };
    let requests = [
        Request::Tip,
        Request::Handovers { from: Epoch::ZERO, max: 64 },
        segment(0),
        segment(1 << 10),
        Request::Bodies { range, max_bytes: 1 },
        follow.clone(),
    ];
    let sizes = [0, 1 << 10, 1 << 20, (1 << 20) + (64 << 10), 4 << 20, 9 << 20];
    for size in sizes {
        let reader = Careless { segment: size, tip: size, handover: size, bodies: size };
        for request in &requests {
            let answer = respond(request, &reader).unwrap();
            assert!(answer.len() <= request.max_response_bytes() as usize, "{size} {request:?}");
        }
    }
    // Parts that fit are given: headers without payloads that don't, and as many handovers as do.
    let headers = MAX_SEGMENT_BYTES as usize;
    let reader = Careless { segment: headers, tip: 1, handover: MAX_HANDOVER_BYTES as usize, bodies: 9 << 20 };
    let data = |request: &Request| match Answer::decode(respond(request, &reader).unwrap()) {
        Ok(Answer::Data(data)) => Some(data),
        _ => None,
    };
    let mut alone = Sections::new(data(&segment(MAX_BODIES_BYTES)).unwrap());
    assert_eq!((alone.take().map(|part| part.len()), alone.take().map(|part| part.len())), (Some(headers), Some(0)));
    assert!(alone.is_empty());
    assert_eq!(data(&follow), None, "whoever follows gets nothing without payloads");
    let handovers = data(&Request::Handovers { from: Epoch::ZERO, max: 64 }).unwrap();
    assert_eq!(handovers.len(), 3 * (MAX_HANDOVER_BYTES as usize + 4));
}
