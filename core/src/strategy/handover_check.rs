//! [`HandoverCheck`]: an answer of handovers whose signatures are checked part by part, in any order.

use alloc::vec::Vec;

use crate::chain::{EpochRef, Fault};
use crate::ids::{JobId, PeerId};
use crate::sorted::Sorted;
use crate::verify::{HANDOVER_PART, HandoverLink};

/// A linked answer that is being checked. What comes of it doesn't depend on the order of the verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HandoverCheck {
    pub(crate) peer: PeerId,
    /// Size of the answer.
    pub(crate) bytes: u64,
    /// All that is linked, from the trusted end on.
    links: Vec<HandoverLink>,
    /// Number of them that are proven or may be, from the first on: all up to the first that is known to be false.
    sound: usize,
    /// Fault of the first one behind those, if it has one.
    fault: Option<Fault>,
    /// Jobs that are out, with the places of their first links.
    out: Sorted<JobId, usize>,
}

/// Signatures for one job.
pub(crate) struct HandoverPart {
    /// The place of the first.
    pub(crate) place: usize,
    /// The epoch that it ends.
    pub(crate) from: EpochRef,
    pub(crate) links: Vec<HandoverLink>,
}

impl HandoverCheck {
    /// The answer of a peer: `proven` links, at least one, and those `ahead`; `fault` is what comes behind them.
    pub(crate) fn new(
        peer: PeerId,
        bytes: u64,
        proven: Vec<HandoverLink>,
        ahead: Vec<HandoverLink>,
        fault: Option<Fault>,
    ) -> (Self, Vec<HandoverPart>) {
        let mut parts = Vec::new();
        let mut place = proven.len();
        let mut from = proven.last().map(|link| link.epoch.clone());
        for links in ahead.chunks(HANDOVER_PART) {
            let Some(first) = from else { break };
            from = links.last().map(|link| link.epoch.clone());
            parts.push(HandoverPart { place, from: first, links: links.to_vec() });
            place = place.saturating_add(links.len());
        }
        let mut links = proven;
        links.extend(ahead);
        (Self { peer, bytes, sound: links.len(), links, fault, out: Sorted::new() }, parts)
    }

    /// A job checks the part that begins at `place`.
    pub(crate) fn sent(&mut self, job: JobId, place: usize) {
        self.out.insert(job, place);
    }

    /// A part was checked: so many of its links hold, and the next has this fault. Returns the jobs that nobody needs any
    /// more, because they check what comes behind it.
    pub(crate) fn judged(&mut self, job: JobId, proven: u32, fault: Option<Fault>) -> Vec<JobId> {
        let Some(place) = self.out.remove(&job) else { return Vec::new() };
        let Some(fault) = fault else { return Vec::new() };
        let end = place.saturating_add(usize::try_from(proven).unwrap_or(usize::MAX));
        // Of two false ones the first counts, whichever is found first.
        if end >= self.sound {
            return Vec::new();
        }
        (self.sound, self.fault) = (end, Some(fault));
        let needless: Vec<JobId> = self.out.iter().filter(|&(_, &place)| place >= end).map(|(&job, _)| job).collect();
        for job in &needless {
            self.out.remove(job);
        }
        needless
    }

    /// Whether all is known.
    pub(crate) fn is_done(&self) -> bool {
        self.out.is_empty()
    }

    /// The proven handovers, and the fault of what follows them.
    pub(crate) fn into_proven(mut self) -> (Vec<HandoverLink>, Option<Fault>) {
        self.links.truncate(self.sound);
        (self.links, self.fault)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::hash::Hash;
    use crate::ids::{Epoch, Height};
    use crate::ranges::HeightRange;
    use crate::time::UnixMillis;

    fn link(number: u64) -> HandoverLink {
        let next = HeightRange::single(Height::new(number + 1));
        HandoverLink {
            ended: Epoch::new(number),
            boundary: Height::new(number),
            boundary_id: Hash::ZERO,
            boundary_time: UnixMillis::default(),
            epoch: EpochRef::trusted(Epoch::new(number + 1), next, Bytes::new()),
            bytes: Bytes::new(),
        }
    }

    /// Proven part of an answer of 28 handovers, of which the first is, where the parts are judged in this order.
    fn proven(order: &[usize], verdicts: &[(u32, Option<Fault>)], behind: Option<Fault>) -> (usize, Option<Fault>) {
        let all: Vec<_> = (0..28).map(link).collect();
        let peer = PeerId::from_bytes([1; 32]);
        let (mut check, parts) = HandoverCheck::new(peer, 9, all[..1].to_vec(), all[1..].to_vec(), behind);
        let cut: Vec<_> = parts.iter().map(|part| (part.place, part.from.epoch().get(), part.links.len())).collect();
        assert_eq!(cut, [(1, 1, 8), (9, 9, 8), (17, 17, 8), (25, 25, 3)]);
        let mut job = JobId::FIRST;
        let mut jobs = Vec::new();
        for part in &parts {
            check.sent(job, part.place);
            jobs.push(job);
            job = job.next();
        }
        let mut needless = Vec::new();
        for &index in order {
            if !needless.contains(&jobs[index]) {
                assert!(!check.is_done());
                let (proven, fault) = verdicts[index];
                needless.extend(check.judged(jobs[index], proven, fault));
            }
        }
        assert!(check.is_done());
        let (links, fault) = check.into_proven();
        assert_eq!(links, all[..links.len()]);
        (links.len(), fault)
    }

    #[test]
    fn the_order_of_verdicts_changes_nothing() {
        let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2], [3, 1, 2, 0], [1, 0, 2, 3]];
        let (bad, odd) = (Some(Fault::BadCertificate), Some(Fault::NotFinal));
        for order in orders {
            let good = [(8, None), (8, None), (8, None), (3, None)];
            assert_eq!(proven(&order, &good, None), (28, None));
            assert_eq!(proven(&order, &good, odd), (28, odd), "what comes behind all of them is false");
            assert_eq!(proven(&order, &[(8, None), (2, bad), (0, odd), (3, None)], odd), (11, bad));
            assert_eq!(proven(&order, &[(0, bad), (8, None), (8, None), (0, odd)], None), (1, bad));
            assert_eq!(proven(&order, &[(8, None), (8, None), (8, None), (2, odd)], bad), (27, odd));
        }
    }
}
