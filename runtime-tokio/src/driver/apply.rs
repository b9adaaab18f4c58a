//! Storing and executing: two threads in a row, so that one batch is stored while the one before is executed.
//!
//! Blocks are durable before they are executed. A call that comes again, or that doesn't continue what is there because
//! the one before it failed, is told apart here, so that stores and applications see consecutive blocks only. When the
//! application commits is the [`Executor`]'s matter.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant as Clock;

use hotstuff2_sync::chain::{Chain, SegmentRef};
use hotstuff2_sync::ids::{CallId, Height};
use hotstuff2_sync::machine::{
    Applied, Apply, ApplyError, ApplyPart, HistoryCall, HistoryDone, Replay, StateCall, StateDone, StateReply,
    StateWork, StoreCall, StoreError,
};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::split_payloads;

use super::{Input, Inputs, SyncEvent, handle::Events};
use crate::application::{AppBlock, Application, ExecuteError};
use crate::executor::Executor;
use crate::monitor::{SyncErrorType, SyncPerformanceMonitor};
use crate::store::{Activation, BlockStore, HistoryStore, StateStaging, StoreFailure};

/// Payload bytes that are read back at once for a local replay.
const REPLAY_BYTES: u64 = 4 << 20;

/// Work for the store's thread.
pub(super) enum ToStore {
    Apply(Apply),
    Handovers(StoreCall),
    Replay(Replay),
    State(StateCall),
    History(HistoryCall),
    /// A higher block was proven.
    Target(Height),
    /// The stored blocks begin elsewhere now: say what is missing below.
    HistoryGap,
    /// Nobody needs these blocks and headers any more. Freeing megabytes takes a while, and the machine's thread has none.
    Free(Apply, Option<SegmentRef>),
}

enum ToExecute {
    Blocks(CallId, Vec<ApplyPart>),
    Replay(Replay),
    /// The state after the block at this height is live.
    Restore(CallId, Height),
}

/// Where things are kept: one store in three roles, or three.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) blocks: Arc<dyn BlockStore>,
    /// Where states are put together, if anywhere.
    pub(super) staging: Option<Arc<dyn StateStaging>>,
    /// Where history is added to, if anywhere.
    pub(super) history: Option<Arc<dyn HistoryStore>>,
}

/// The two threads.
pub(super) struct Appliers {
    to_store: Option<Sender<ToStore>>,
    /// Set when it is time to go.
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Appliers {
    pub(super) fn start<C: Chain>(
        chain: &Arc<C>,
        stores: Stores,
        application: Box<dyn Application>,
        answers: &Inputs,
        events: &Events,
        monitor: Option<&SyncPerformanceMonitor>,
    ) -> io::Result<Self> {
        let (to_store, store_work) = channel();
        let (to_execute, execute_work) = channel();
        let applied = Arc::new(AtomicU64::new(application.applied().get()));
        let stopping = Arc::new(AtomicBool::new(false));
        let storing = Storing {
            stores: stores.clone(),
            applied: Arc::clone(&applied),
            to_execute,
            answers: answers.clone(),
            events: events.clone(),
            monitor: monitor.cloned(),
        };
        let executing = Executing {
            chain: Arc::clone(chain),
            executor: Executor::new(application, stores.blocks.snapshot_interval()),
            store: stores.blocks,
            applied,
            stopping: Arc::clone(&stopping),
            answers: answers.clone(),
            events: events.clone(),
            monitor: monitor.cloned(),
        };
        let threads = vec![
            thread::Builder::new().name("hs2-store".to_owned()).spawn(move || storing.run(&store_work))?,
            thread::Builder::new().name("hs2-execute".to_owned()).spawn(move || executing.run(&execute_work))?,
        ];
        Ok(Self { to_store: Some(to_store), stopping, threads })
    }

    pub(super) fn send(&self, work: ToStore) {
        if let Some(to_store) = &self.to_store {
            // A thread that is gone has panicked and said so; the machine reports the call as late.
            let _ = to_store.send(work);
        }
    }
}

impl Appliers {
    /// Waits until what was handed over is stored, and what was executed is persisted. Blocks that are stored and not yet
    /// executed are left for the next start, so that stopping takes no longer than a batch.
    pub(super) fn finish(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.to_store = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Appliers {
    fn drop(&mut self) {
        self.finish();
    }
}

struct Storing {
    stores: Stores,
    /// Height of the application, kept by the other thread.
    applied: Arc<AtomicU64>,
    to_execute: Sender<ToExecute>,
    answers: Inputs,
    events: Events,
    monitor: Option<SyncPerformanceMonitor>,
}

impl Storing {
    fn run(self, work: &Receiver<ToStore>) {
        self.say_history_gap();
        for work in work {
            match work {
                ToStore::Apply(apply) => self.append(apply),
                ToStore::Handovers(call) => {
                    let result = self.stores.blocks.put_handovers(&call.handovers).map_err(|failure| {
                        self.report(&failure);
                        failure.as_store_error()
                    });
                    self.answers.send(Input::Stored(call.id, result));
                }
                ToStore::State(call) => self.state(call),
                ToStore::History(call) => self.add_history(&call),
                ToStore::HistoryGap => self.say_history_gap(),
                ToStore::Target(height) => {
                    if let Some(staging) = &self.stores.staging {
                        staging.note_target(height);
                    }
                }
                ToStore::Free(apply, link) => drop((apply, link)),
                ToStore::Replay(replay) => {
                    let _ = self.to_execute.send(ToExecute::Replay(replay));
                }
            }
        }
    }

    fn state(&self, call: StateCall) {
        let StateCall { id, work } = call;
        let result = match &self.stores.staging {
            Some(staging) => match work {
                StateWork::Survey(items) => staging.survey(&items).map(StateReply::Surveyed),
                StateWork::Stage(leaves) => staging.stage(&leaves).map(|()| StateReply::Staged),
                StateWork::Activate(base) => match staging.activate(&base) {
                    Ok(Activation::Activated) => {
                        // The application answers, once it stands there too.
                        let _ = self.to_execute.send(ToExecute::Restore(id, base.point.height));
                        return;
                    }
                    Ok(Activation::RootMismatch { found }) => Ok(StateReply::RootMismatch { found }),
                    Err(failure) => Err(failure),
                },
            },
            // The machine knows that there is none, and doesn't ask.
            None => {
                self.answers.send(Input::State(StateDone { id, result: Err(StoreError::Permanent) }));
                return;
            }
        };
        let result = result.map_err(|failure| {
            self.report(&failure);
            failure.as_store_error()
        });
        self.answers.send(Input::State(StateDone { id, result }));
    }

    fn add_history(&self, call: &HistoryCall) {
        let result = match &self.stores.history {
            Some(history) => history
                .prepend(&call.segment, call.frames.as_deref())
                .and_then(|()| history.history_gap())
                .map_err(|failure| {
                    self.report(&failure);
                    failure.as_store_error()
                }),
            // The machine was told of no gap, and doesn't ask.
            None => Err(StoreError::Permanent),
        };
        self.answers.send(Input::History(HistoryDone { id: call.id, result }));
    }

    /// Tells the machine what is missing below the stored blocks.
    fn say_history_gap(&self) {
        let Some(history) = &self.stores.history else { return };
        match history.history_gap() {
            Ok(gap) => {
                self.answers.send(Input::HistoryGap(gap));
            }
            Err(failure) => self.report(&failure),
        }
    }

    fn append(&self, apply: Apply) {
        let continues = apply.range().is_some_and(|range| range.first() <= self.stores.blocks.stored().height.next());
        let result = if continues {
            self.stores.blocks.append(&apply).map_err(|failure| {
                self.report(&failure);
                failure.as_apply_error()
            })
        } else {
            // The call before this one failed and will come again first.
            Err(ApplyError::Transient)
        };
        match result {
            Ok(()) => {
                let _ = self.to_execute.send(ToExecute::Blocks(apply.id, apply.parts));
            }
            Err(error) => {
                let through = Height::new(self.applied.load(Ordering::Acquire));
                self.answers.send(Input::Applied(Applied { id: apply.id, through, error: Some(error) }));
            }
        }
    }

    fn report(&self, failure: &StoreFailure) {
        self.events.send(SyncEvent::Host(failure.to_string()));
        if let Some(monitor) = &self.monitor {
            monitor.record_sync_error(SyncErrorType::Store, None);
        }
    }
}

/// Whether an application failed because the disk is full.
fn is_disk_full(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    cause.downcast_ref().is_some_and(StoreFailure::is_disk_full)
        || cause.downcast_ref().is_some_and(|error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        })
}

struct Executing<C> {
    chain: Arc<C>,
    store: Arc<dyn BlockStore>,
    executor: Executor,
    applied: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
    answers: Inputs,
    events: Events,
    monitor: Option<SyncPerformanceMonitor>,
}

impl<C: Chain> Executing<C> {
    fn run(mut self, work: &Receiver<ToExecute>) {
        while let Some(work) = self.next(work) {
            let (id, result) = match work {
                ToExecute::Restore(id, height) => {
                    self.restore(id, height);
                    continue;
                }
                ToExecute::Blocks(id, parts) => {
                    (id, parts.iter().try_for_each(|part| self.execute_unless_stopping(part)))
                }
                ToExecute::Replay(replay) => (replay.id, self.replay(replay.range)),
            };
            let error = result.err().map(|error| {
                if !self.stopping.load(Ordering::Acquire) {
                    self.report(&error);
                }
                match error {
                    ExecuteError::StateMismatch { height, .. } => ApplyError::StateMismatch(height),
                    ExecuteError::Transient(cause) if is_disk_full(&*cause) => ApplyError::NoSpace,
                    ExecuteError::Transient(_) => ApplyError::Transient,
                    ExecuteError::Permanent(_) | ExecuteError::Panicked(_) => ApplyError::Permanent,
                }
            });
            let through = self.executor.applied();
            self.answers.send(Input::Applied(Applied { id, through, error }));
        }
        if let Err(error) = self.executor.persist() {
            self.events.send(SyncEvent::Host(error.to_string()));
        }
    }

    /// The next work. What was executed is made durable in time though none comes.
    fn next(&mut self, work: &Receiver<ToExecute>) -> Option<ToExecute> {
        loop {
            let Some(deadline) = self.executor.deadline() else { return work.recv().ok() };
            match work.recv_timeout(deadline.saturating_duration_since(Clock::now())) {
                Ok(work) => return Some(work),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.executor.commit_if_due() {
                        self.report(&error);
                    }
                }
            }
        }
    }

    fn report(&self, error: &ExecuteError) {
        self.events.send(SyncEvent::Host(error.to_string()));
        if let Some(monitor) = &self.monitor {
            monitor.record_sync_error(SyncErrorType::Application, None);
        }
    }

    fn restore(&mut self, id: CallId, height: Height) {
        let result = self.executor.restore(height).map(|()| StateReply::Activated).map_err(|error| {
            self.events.send(SyncEvent::Host(error.to_string()));
            match error {
                ExecuteError::Transient(cause) if is_disk_full(&*cause) => StoreError::NoSpace,
                ExecuteError::Transient(_) => StoreError::Transient,
                ExecuteError::StateMismatch { .. } | ExecuteError::Permanent(_) | ExecuteError::Panicked(_) => {
                    StoreError::Permanent
                }
            }
        });
        self.applied.store(self.executor.applied().get(), Ordering::Release);
        self.answers.send(Input::State(StateDone { id, result }));
    }

    fn replay(&mut self, range: HeightRange) -> Result<(), ExecuteError> {
        while let Some(rest) = HeightRange::new(self.executor.applied().next(), range.last()) {
            let part = self.store.read(rest, REPLAY_BYTES).map_err(|failure| {
                let transient = failure.is_transient();
                let failure = Box::new(failure);
                if transient { ExecuteError::Transient(failure) } else { ExecuteError::Permanent(failure) }
            })?;
            let Some(part) = part else {
                let text = format!("block {} is to be executed but not in the store", rest.first());
                return Err(ExecuteError::Permanent(text.into()));
            };
            self.execute_unless_stopping(&part)?;
        }
        Ok(())
    }

    fn execute_unless_stopping(&mut self, part: &ApplyPart) -> Result<(), ExecuteError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(ExecuteError::Transient("this node is stopping".into()));
        }
        self.execute(part)
    }

    /// Executes what of `part` is above the application's height.
    fn execute(&mut self, part: &ApplyPart) -> Result<(), ExecuteError> {
        let broken = |what: &str| ExecuteError::Permanent(format!("{what} of verified blocks is unreadable").into());
        let decoded = part.segment.decoded(&*self.chain).map_err(|_| broken("a segment"))?;
        let done = self.executor.applied();
        let mut blocks = Vec::new();
        for frame in part.frames.iter().filter(|frame| frame.range.last() > done) {
            let lens = part.segment.payload_lens_of(frame.range).ok_or_else(|| broken("a frame"))?;
            let mut height = frame.range.first();
            for payload in split_payloads(&frame.raw, lens) {
                if height > done {
                    let facts = self.chain.header(decoded, height).ok_or_else(|| broken("a header"))?;
                    blocks.push(AppBlock {
                        height,
                        id: facts.id,
                        timestamp: facts.timestamp,
                        state_root: facts.state_root,
                        payload,
                    });
                }
                height = height.next();
            }
        }
        match blocks.first() {
            // The call before this one failed and will come again first.
            Some(first) if !first.height.is_next_of(done) => {
                return Err(ExecuteError::Transient("an earlier block is not executed yet".into()));
            }
            Some(_) => {}
            None => return Ok(()),
        }
        let (first, last) = (blocks.first().map(|block| block.height), blocks.last().map(|block| block.height));
        let begin = Clock::now();
        let result = {
            let count = blocks.len();
            let _span = tracing::debug_span!("execute", first = ?first, count).entered();
            self.executor.execute(&blocks)
        };
        if let (Some(monitor), Some(last)) = (&self.monitor, last) {
            monitor.record_state_application_time(last.get(), begin.elapsed());
        }
        self.applied.store(self.executor.applied().get(), Ordering::Release);
        result
    }
}
