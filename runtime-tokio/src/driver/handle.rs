//! The handle of a running sync.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Event, Position, Progress};
use hotstuff2_sync::time::Instant;
use tokio::sync::{mpsc, watch};

use super::cost::Cost;
use super::{CallNumber, Input, Inputs, StartCall};
use crate::discovery::{Discovery, DiscoveryTask};
use crate::net::Network;

/// Something that the user may want to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SyncEvent {
    /// From the machine.
    Machine(Event),
    /// A peer can't be reached: who, why and what to do, in one line. Dialling goes on.
    Dial(String),
    /// The store or the application failed: what, and what to do, in one line.
    Host(String),
    /// The trace can't be written: what, and what to do, in one line. The sync goes on without.
    Trace(String),
    /// Downloads were started, or go on.
    Started {
        /// Height at which they end, if at any.
        until: Option<Height>,
        /// The number of the call that did it, for whoever numbers calls; else 0.
        call: u64,
    },
    /// Downloads were stopped.
    Stopped {
        /// The number of the call that did it, for whoever numbers calls; else 0.
        call: u64,
    },
    /// A subscriber was too slow for so many events, which are lost to it.
    Missed(u64),
}

/// Sender of events. Nobody has to listen.
#[derive(Clone)]
pub(super) struct Events(pub(super) mpsc::UnboundedSender<SyncEvent>);

impl Events {
    pub(super) fn send(&self, event: SyncEvent) {
        let _ = self.0.send(event);
    }
}

/// Usage of the sync itself: time, memory and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncUsage {
    /// CPU time of the machine, of the thread that drives it, and of what brings news of peers to it.
    pub coordination_cpu: Duration,
    /// Time from the start until now, or until everything was durable after a shutdown.
    pub running: Duration,
    /// Bytes that streams have received from peers, cancelled and cut-off answers included.
    pub wire_bytes_received: u64,
}

/// End of a sync.
#[derive(Clone, Debug)]
pub struct SyncEnd {
    /// The last word on progress.
    pub progress: Progress,
    /// Usage of the sync, until everything was durable.
    pub usage: SyncUsage,
    /// Events that nobody has taken: what failed at the very end is among them.
    pub events: Vec<SyncEvent>,
}

/// A running sync. Dropping the handle stops it; [`shutdown`](Self::shutdown) does so and waits.
pub struct SyncHandle {
    pub(super) inputs: Inputs,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) position: watch::Receiver<Position>,
    pub(super) events: mpsc::UnboundedReceiver<SyncEvent>,
    pub(super) cost: Arc<Cost>,
    pub(super) network: Arc<dyn Network>,
    pub(super) thread: Option<JoinHandle<()>>,
    pub(super) dialer: DiscoveryTask,
    pub(super) discovery: Discovery,
    pub(super) begin: Clock,
    pub(super) ended: Option<Clock>,
}

impl SyncHandle {
    /// Starts, or goes on after [`stop`](Self::stop). With `until`, downloads end with the first proven segment that
    /// holds that height, and the sync stops when it is applied.
    pub fn start(&self, until: Option<Height>) {
        self.send_start(StartCall { until, ..StartCall::default() });
    }

    /// Stops downloading. Blocks that were handed on are still stored and executed.
    pub fn stop(&self) {
        self.send_stop(0);
    }

    pub(crate) fn send_start(&self, call: StartCall) {
        self.inputs.send(Input::Start(call));
    }

    pub(crate) fn send_stop(&self, call: CallNumber) {
        self.inputs.send(Input::Stop(call));
    }

    /// Hands the events to another listener; [`next_event`](Self::next_event) has none from here on.
    pub(crate) fn take_events(&mut self) -> mpsc::UnboundedReceiver<SyncEvent> {
        std::mem::replace(&mut self.events, mpsc::unbounded_channel().1)
    }

    /// Progress of the sync, as it changes; at most some milliseconds old.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// The machine's time now, which the times in progress and events are in.
    pub fn now(&self) -> Instant {
        Instant::ZERO.after(self.begin.elapsed())
    }

    /// Position of the node, as it changes: what is executed, what is proven, and who decides over the next block.
    pub fn position(&self) -> watch::Receiver<Position> {
        self.position.clone()
    }

    pub(crate) fn network(&self) -> Arc<dyn Network> {
        Arc::clone(&self.network)
    }

    pub(crate) fn inputs(&self) -> Inputs {
        self.inputs.clone()
    }

    /// The next event; `None` when the sync has ended.
    pub async fn next_event(&mut self) -> Option<SyncEvent> {
        self.events.recv().await
    }

    /// Discovery, which finds its peers.
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Usage of the sync so far.
    pub fn usage(&self) -> SyncUsage {
        SyncUsage {
            coordination_cpu: self.cost.total(),
            running: self.ended.unwrap_or_else(Clock::now).duration_since(self.begin),
            wire_bytes_received: self.network.wire_bytes_received(),
        }
    }

    /// Stops, waits until everything that was handed on is stored and everything executed is durable, and closes the
    /// network. Blocks that are stored and not executed yet are executed by the next start.
    pub async fn shutdown(mut self) -> SyncEnd {
        self.dialer.stop().await;
        self.inputs.send(Input::Shutdown);
        if let Some(thread) = self.thread.take() {
            // Joining blocks; the runtime's threads are needed to end the requests.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.ended = Some(Clock::now());
        self.network.close().await;
        let events = std::iter::from_fn(|| self.events.try_recv().ok()).collect();
        let progress = self.progress.borrow().clone();
        SyncEnd { progress, usage: self.usage(), events }
    }
}

impl Drop for SyncHandle {
    fn drop(&mut self) {
        self.inputs.send(Input::Shutdown);
    }
}
