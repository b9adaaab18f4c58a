//! [`estimate`]: what a request may cost, before anything is read for it.

use super::limits::Cost;
use crate::limits::{AUDITED_FOLLOW, GRID, MAX_BODIES_BYTES, MAX_HANDOVERS, MAX_STATE_BYTES, MIN_STATE_BYTES};
use crate::wire::Request;

/// Bytes of a segment beside its headers: mostly the certificate.
const PROOF_BYTES: u64 = 32 << 10;
/// Bytes of a header in a segment.
const HEADER_BYTES: u64 = 128;
/// Bytes of a block's certificate in an audit.
const CERTIFICATE_BYTES: u64 = 8 << 10;
/// Bytes of a handover: mostly a validator set.
const HANDOVER_BYTES: u64 = 32 << 10;

/// Estimated cost of answering `request`. The real cost is settled when it is known, so the estimate only has to keep
/// a flood of expensive requests from being let in as if they were cheap. Microseconds are for one core of a server,
/// rounded up.
pub fn estimate(request: &Request) -> Cost {
    /// Reading, checking and copying takes a microsecond for each KiB.
    const READ: u64 = 10;
    let bodies = |max_bytes: u32| u64::from(max_bytes.min(MAX_BODIES_BYTES));
    let headers = |count: u64, audit: bool| {
        let each = if audit { CERTIFICATE_BYTES } else { HEADER_BYTES };
        count.min(GRID).saturating_mul(each).saturating_add(PROOF_BYTES)
    };
    let (bytes, work) = match *request {
        Request::Status => (256, 10),
        Request::Tip => (PROOF_BYTES, 10),
        Request::Handovers { max, .. } => {
            let count = u64::from(max.min(MAX_HANDOVERS));
            (count.saturating_mul(HANDOVER_BYTES), count.saturating_mul(20))
        }
        // Cutting a segment, and finding a proof for its end, decodes the headers of the cell.
        Request::Segment { range, audit, bodies: max, .. } => {
            (headers(range.count(), audit).saturating_add(bodies(max)), 300)
        }
        Request::Bodies { max_bytes, .. } => (bodies(max_bytes), 50),
        Request::Follow { max_bytes, audit, .. } => {
            let count = if audit { AUDITED_FOLLOW } else { GRID };
            (headers(count, audit).saturating_add(bodies(max_bytes)), 300)
        }
        // Each subtree is searched for in several states, and the whole of its records is read, whatever fits in.
        Request::State { ref items, max_bytes, .. } => {
            let bytes = u64::from(max_bytes.clamp(MIN_STATE_BYTES, MAX_STATE_BYTES));
            let items = u64::try_from(items.len()).unwrap_or(u64::MAX);
            (bytes, items.saturating_mul(100).saturating_add(bytes >> READ))
        }
        Request::Proof { .. } => (16 << 10, 200),
        Request::Peers { .. } => (2 << 10, 20),
        // One signature, and a record of the view on disk.
        Request::Advert { .. } => (512, 100),
        Request::BackedAdvert { .. } => (16 << 10, 100),
        // A proof of the block, which may have to be cut out of a cell, and one of the key.
        Request::Read { .. } => (PROOF_BYTES + (16 << 10), 500),
    };
    Cost { bytes, work: (bytes >> READ).saturating_add(work) }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::hash::Hash;
    use crate::ids::Height;
    use crate::ranges::HeightRange;
    use crate::state::{Prefix, StateForm, StateItem};

    #[test]
    fn what_is_expensive_is_not_taken_for_cheap() {
        let range = HeightRange::new(Height::new(1), Height::new(1024)).unwrap();
        let segment = |audit, bodies| estimate(&Request::Segment { range, certified: true, audit, bodies });
        let item = StateItem { prefix: Prefix::ROOT, hash: Hash::ZERO };
        let state = |count| {
            let items = vec![item; count];
            estimate(&Request::State { height: Height::new(1), form: StateForm::Leaves, items, max_bytes: 1 << 20 })
        };
        let order = [
            estimate(&Request::Status),
            segment(false, 0),
            estimate(&Request::Bodies { range, max_bytes: u32::MAX }),
            segment(true, 0),
        ];
        for pair in order.windows(2) {
            assert!(pair[0].work < pair[1].work || pair[0].bytes < pair[1].bytes, "{pair:?}");
        }
        assert!(state(64).work > state(1).work + 63 * 50);
        assert!(segment(false, 1 << 20).bytes > 1 << 20);
        assert!(estimate(&Request::Handovers { from: crate::ids::Epoch::ZERO, max: u32::MAX }).bytes <= 4 << 20);
    }
}
