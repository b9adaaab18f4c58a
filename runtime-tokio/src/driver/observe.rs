//! Observations of the driver in the monitor's words.

use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{Event, RequestFailure};
use hotstuff2_sync::verify::{Job, Task};
use hotstuff2_sync::wire::{Answer, Request};

use crate::monitor::{PeerFailureType, SyncErrorType, SyncPerformanceMonitor};

/// A request on its way.
pub(super) struct Asked {
    monitor: SyncPerformanceMonitor,
    peer: PeerId,
    sent: Clock,
    what: What,
}

/// Meaning of an answer's time.
#[derive(Clone, Copy)]
enum What {
    /// Speed at which blocks from this height on come.
    Blocks(Height),
    /// Distance of the peer.
    Small,
    /// Nothing: the peer waits until it has something.
    Poll,
    /// Speed of the peer.
    Other,
}

impl Asked {
    pub(super) fn new(monitor: SyncPerformanceMonitor, peer: PeerId, request: &Request) -> Self {
        let what = match request {
            Request::Segment { range, .. } | Request::Bodies { range, .. } => What::Blocks(range.first()),
            Request::Status | Request::Tip => What::Small,
            Request::Follow { .. } => What::Poll,
            _ => What::Other,
        };
        Self { monitor, peer, sent: Clock::now(), what }
    }

    pub(super) fn answered(self, answer: &Result<Bytes, RequestFailure>) {
        let Self { monitor, peer, sent, what } = self;
        let took = sent.elapsed();
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(RequestFailure::Oversize) => return monitor.record_peer_failure(&peer, PeerFailureType::Oversize),
            Err(_) => return monitor.record_peer_failure(&peer, PeerFailureType::Broken),
        };
        let busy = if matches!(what, What::Poll) { Duration::ZERO } else { took };
        monitor.record_bandwidth_usage(&peer, bytes.len() as u64, busy);
        match what {
            What::Small => monitor.record_peer_latency(&peer, took),
            What::Blocks(height) if matches!(Answer::decode(bytes.clone()), Ok(Answer::Data(_))) => {
                monitor.record_block_download_time(height.get(), took);
            }
            What::Blocks(_) | What::Poll | What::Other => {}
        }
    }
}

/// A job was run, or panicked.
pub(super) fn job(monitor: &SyncPerformanceMonitor, job: &Job, took: Duration, ran: bool) {
    if !ran {
        monitor.record_sync_error(SyncErrorType::Verification, None);
        return;
    }
    let first = match job.task() {
        Task::Segment { claim, .. } | Task::Follow { claim, .. } | Task::Base { claim, .. } => claim.range.first(),
        Task::Bodies { range, .. } => range.first(),
        // These check no blocks.
        _ => return,
    };
    monitor.record_block_validation_time(first.get(), took);
}

/// The machine said something.
pub(super) fn event(monitor: &SyncPerformanceMonitor, event: &Event) {
    match event {
        Event::Banned { peer, .. } => {
            monitor.record_peer_failure(peer, PeerFailureType::Banned);
            monitor.record_sync_error(SyncErrorType::InvalidAnswer, Some(peer));
        }
        Event::Stalled { .. } => monitor.record_sync_error(SyncErrorType::Stall, None),
        Event::SuspectSelf { .. } => monitor.record_sync_error(SyncErrorType::SuspectSelf, None),
        Event::Halted(_) => monitor.record_sync_error(SyncErrorType::Halt, None),
        _ => {}
    }
}
