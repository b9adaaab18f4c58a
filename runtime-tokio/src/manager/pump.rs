//! From the driver's one stream of events to a status that anyone may watch, and to any number of subscribers.

use hotstuff2_sync::machine::Progress;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};

use super::status::{Seen, SyncStatus};
use crate::driver::SyncEvent;

/// Events that are kept for a subscriber that is slow; of older ones it is told how many it missed.
pub(super) const EVENTS_KEPT: usize = 256;

/// A subscription to the events of a sync, from when it was made on.
#[derive(Debug)]
pub struct SyncEvents(broadcast::Receiver<SyncEvent>);

impl SyncEvents {
    pub(super) fn new(events: broadcast::Receiver<SyncEvent>) -> Self {
        Self(events)
    }

    /// The next event; `None` when the sync is shut down. A subscriber that is slower than events come loses the oldest:
    /// [`SyncEvent::Missed`] says how many.
    pub async fn next(&mut self) -> Option<SyncEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(count)) => Some(SyncEvent::Missed(count)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// The ends that the pump fills.
pub(super) struct Pump {
    pub(super) events: broadcast::Sender<SyncEvent>,
    pub(super) seen: watch::Sender<Seen>,
    pub(super) status: watch::Sender<SyncStatus>,
}

impl Pump {
    /// Runs until the machine's thread is gone, which its end of `progress` tells.
    pub(super) async fn run(
        self,
        mut from: mpsc::UnboundedReceiver<SyncEvent>,
        mut progress: watch::Receiver<Progress>,
    ) {
        let gone = async { while progress.changed().await.is_ok() {} };
        tokio::pin!(gone);
        loop {
            tokio::select! {
                biased;
                event = from.recv() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
                () = &mut gone => break,
            }
        }
        while let Ok(event) = from.try_recv() {
            self.take(event);
        }
        self.update(|seen| seen.status = SyncStatus::ShutDown);
    }

    fn take(&self, event: SyncEvent) {
        self.update(|seen| seen.take(&event));
        // Nobody has to listen.
        let _ = self.events.send(event);
    }

    fn update(&self, change: impl FnOnce(&mut Seen)) {
        let mut status = None;
        self.seen.send_if_modified(|seen| {
            let before = seen.clone();
            change(seen);
            status = (before.status != seen.status).then(|| seen.status.clone());
            before != *seen
        });
        if let Some(status) = status {
            self.status.send_replace(status);
        }
    }
}
