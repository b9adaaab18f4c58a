//! [`DownloadCoordinator`]: the table of requests in flight.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::task::{BlockRange, DownloadProgress, DownloadStatistics, DownloadTask, TaskId};
use crate::ids::{PeerId, RequestId};
use crate::peers::SyncPeerManager;
use crate::requests::{InFlight, Purpose};
use crate::time::{Instant, micros};

/// A download is taken from a peer that has sent nothing since, after so many times of what it was expected to take …
pub(crate) const STALLED_FACTOR: u32 = 4;
/// … and not before this.
const STALLED_AFTER: Duration = Duration::from_secs(1);
/// Time over which the rate of what comes is taken.
const RATE_INTERVAL: Duration = Duration::from_secs(1);
/// Weight of a new sample of latency: one in eight, as TCP smooths its round-trip time (RFC 6298, section 2).
const SMOOTHING: u64 = 8;
const MICROS_PER_SECOND: u64 = 1_000_000;

/// Requests in flight, by id. The machine's own, open to be read: see [`Machine::downloads`](crate::machine::Machine::downloads).
///
/// Every function is O(log n) in the requests in flight, or linear in those of one peer; none looks at peers that are not
/// asked for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DownloadCoordinator {
    /// All but questions for claims, which must not be in the way of anything.
    tasks: BTreeMap<RequestId, InFlight>,
    /// Questions for claims.
    probes: BTreeMap<RequestId, InFlight>,
    by_peer: BTreeSet<(PeerId, RequestId)>,
    last: Option<RequestId>,
    statistics: DownloadStatistics,
    missing: u64,
    rate: Rate,
}

/// Bytes a second over the last interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Rate {
    since: Instant,
    bytes: u64,
    per_second: u64,
}

impl Rate {
    fn add(&mut self, now: Instant, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        let elapsed = now.since(self.since);
        if elapsed >= RATE_INTERVAL {
            let sample = self.bytes.saturating_mul(MICROS_PER_SECOND).checked_div(micros(elapsed)).unwrap_or(0);
            // After a pause the time before it says nothing.
            let fresh = elapsed > RATE_INTERVAL.saturating_mul(4) || self.per_second == 0;
            self.per_second = if fresh { sample } else { self.per_second.midpoint(sample) };
            self.since = now;
            self.bytes = 0;
        }
    }
}

impl DownloadCoordinator {
    /// Asks `peer` for the payloads of `range`, which are expected to have `bytes`, and to be here at `due`. The caller
    /// sends the request that the returned name stands for; `reserved` bytes of its memory budget belong to it alone.
    pub fn assign_block_range(
        &mut self,
        now: Instant,
        peer: PeerId,
        range: BlockRange,
        bytes: u64,
        due: Instant,
        reserved: u64,
    ) -> TaskId {
        self.insert(InFlight { peer, purpose: Purpose::Bodies(range), sent: now, due, size: bytes, reserved })
    }

    /// Takes a download from its peer, so that it is wanted again and goes to the next best one. `None` where it is not in
    /// flight any more.
    pub fn reassign_failed_download(&mut self, task: TaskId) -> Option<DownloadTask> {
        self.take_failed(task).map(|request| view(task, &request))
    }

    /// Downloads that are to be taken from the peers that they were asked of, oldest first: those are much later than
    /// expected, though others have answered on time since they were asked, and are not late themselves. The caller
    /// gives each to [`reassign_failed_download`](Self::reassign_failed_download).
    pub fn balance_download_load(&self, now: Instant, peers: &SyncPeerManager) -> Vec<TaskId> {
        let stalled = |request: &InFlight| {
            let patience = request.due.since(request.sent).saturating_mul(STALLED_FACTOR).max(STALLED_AFTER);
            request.purpose.kind().is_bulk()
                && request.sent.after(patience) <= now
                && peers.is_alone_late(now, request.peer, request.purpose.kind(), request.sent)
        };
        self.tasks.iter().filter(|(_, request)| stalled(request)).map(|(&id, _)| id).collect()
    }

    /// Progress of downloads.
    pub fn get_download_progress(&self) -> DownloadProgress {
        let bulk = || self.tasks.values().filter(|request| request.purpose.kind().is_bulk());
        let peers: BTreeSet<PeerId> = bulk().map(|request| request.peer).collect();
        DownloadProgress {
            active: bulk().count(),
            peers: peers.len(),
            bytes_in_flight: bulk().fold(0, |sum, request| sum.saturating_add(request.size)),
            bytes_received: self.statistics.bytes,
            bytes_missing: self.missing,
            bytes_per_second: self.rate.per_second,
        }
    }

    /// Time until all that is in flight or known to be missing is here, at the rate of the last seconds. `None` while there
    /// is no rate.
    pub fn estimate_completion_time(&self) -> Option<Duration> {
        let progress = self.get_download_progress();
        let bytes = progress.bytes_in_flight.saturating_add(progress.bytes_missing);
        let micros = bytes.saturating_mul(MICROS_PER_SECOND).checked_div(progress.bytes_per_second)?;
        Some(Duration::from_micros(micros))
    }

    /// Totals of downloads so far.
    pub const fn get_download_statistics(&self) -> DownloadStatistics {
        self.statistics
    }

    /// The downloads in flight, oldest first.
    pub fn tasks(&self) -> impl Iterator<Item = DownloadTask> {
        self.tasks
            .iter()
            .filter(|(_, request)| request.purpose.kind().is_bulk())
            .map(|(&id, request)| view(id, request))
    }

    /// Enters a request and names it.
    pub(crate) fn insert(&mut self, request: InFlight) -> RequestId {
        let id = self.last.map_or(RequestId::FIRST, RequestId::next);
        self.last = Some(id);
        self.by_peer.insert((request.peer, id));
        if request.purpose.kind().is_bulk() {
            self.statistics.assigned = self.statistics.assigned.saturating_add(1);
        }
        let table = if request.purpose == Purpose::Status { &mut self.probes } else { &mut self.tasks };
        table.insert(id, request);
        id
    }

    /// Takes a request out: it was answered, failed, or is no longer wanted.
    pub(crate) fn remove(&mut self, id: RequestId) -> Option<InFlight> {
        let request = self.tasks.remove(&id).or_else(|| self.probes.remove(&id))?;
        self.by_peer.remove(&(request.peer, id));
        Some(request)
    }

    /// Takes a request out that failed, so that what it was to bring is wanted again.
    pub(crate) fn take_failed(&mut self, id: RequestId) -> Option<InFlight> {
        let request = self.remove(id)?;
        if request.purpose.kind().is_bulk() {
            self.statistics.reassigned = self.statistics.reassigned.saturating_add(1);
        }
        Some(request)
    }

    /// Takes a request out that was answered with `bytes` of data.
    pub(crate) fn completed(&mut self, now: Instant, request: &InFlight, bytes: u64) {
        if !request.purpose.kind().is_bulk() {
            return;
        }
        self.rate.add(now, bytes);
        let statistics = &mut self.statistics;
        statistics.completed = statistics.completed.saturating_add(1);
        statistics.bytes = statistics.bytes.saturating_add(bytes);
        let (before, sample) = (micros(statistics.latency), micros(now.since(request.sent)));
        let smooth = before.saturating_sub(before / SMOOTHING).saturating_add(sample / SMOOTHING);
        statistics.latency = Duration::from_micros(if before == 0 { sample } else { smooth });
    }

    /// A second peer is asked for the same.
    pub(crate) fn hedged(&mut self) {
        self.statistics.hedged = self.statistics.hedged.saturating_add(1);
    }

    /// A request was given up because nobody needs it.
    pub(crate) fn cancelled(&mut self) {
        self.statistics.cancelled = self.statistics.cancelled.saturating_add(1);
    }

    /// Bytes that are known to be missing and not asked for.
    pub(crate) fn set_missing(&mut self, bytes: u64) {
        self.missing = bytes;
    }

    pub(crate) fn get(&self, id: RequestId) -> Option<&InFlight> {
        self.tasks.get(&id).or_else(|| self.probes.get(&id))
    }

    /// Requests in flight besides questions for claims.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// All requests but questions for claims, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RequestId, &InFlight)> {
        self.tasks.iter().map(|(&id, request)| (id, request))
    }

    /// Ids of all requests.
    pub(crate) fn ids(&self) -> Vec<RequestId> {
        self.tasks.keys().chain(self.probes.keys()).copied().collect()
    }

    /// Ids of the requests to `peer`, oldest first.
    pub(crate) fn of_peer(&self, peer: PeerId) -> Vec<RequestId> {
        let (first, last) = ((peer, RequestId::from_raw(0)), (peer, RequestId::from_raw(u64::MAX)));
        self.by_peer.range(first..=last).map(|&(_, id)| id).collect()
    }

    /// Whether `peer` is being asked for its claims.
    pub(crate) fn is_probed(&self, peer: PeerId) -> bool {
        self.of_peer(peer).iter().any(|id| self.probes.contains_key(id))
    }

    /// Whether a request of this kind, other than for claims, is in flight to anyone.
    pub(crate) fn any(&self, matches: impl Fn(Purpose) -> bool) -> bool {
        self.tasks.values().any(|request| matches(request.purpose))
    }
}

fn view(id: TaskId, request: &InFlight) -> DownloadTask {
    let range = match request.purpose {
        Purpose::Bodies(range) => Some(range),
        _ => None,
    };
    let InFlight { peer, purpose, sent, due, size, .. } = *request;
    DownloadTask { id, peer, kind: purpose.kind(), range, bytes: size, sent, due }
}
