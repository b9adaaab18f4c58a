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
use std::time::{Duration, Instant as Clock};

use hotstuff2_sync::calls::{Apply, ApplyPart, CallDone, HistoryGap, HostCall, HostError, HostReply, HostWork};
use hotstuff2_sync::chain::{Chain, SegmentRef};
use hotstuff2_sync::ids::{CallId, Height};
use hotstuff2_sync::ranges::HeightRange;

use super::{Input, Inputs, SyncEvent, handle::Events};
use crate::application::{AppBlock, Application, ExecuteError};
use crate::executor::Executor;
use crate::monitor::{SyncErrorType, SyncPerformanceMonitor};
use crate::store::{Activation, BlockStore, HistoryStore, PruningStore, StateStaging, StoreFailure};

/// Payload bytes that are read back at once for a local replay.
const REPLAY_BYTES: u64 = 4 << 20;

/// Time without work after which old blocks are looked for: one second, as long as what is executed takes to be durable.
const PRUNE_AFTER: Duration = Duration::from_secs(1);

/// Work for the store's thread.
pub(super) enum ToStore {
    Call(HostCall),
    /// Nobody needs these blocks and headers any more. Freeing megabytes takes a while, and the machine's thread has none.
    Free(Apply, Option<SegmentRef>),
}

enum ToExecute {
    Blocks(CallId, Vec<ApplyPart>),
    Replay(CallId, HeightRange),
    /// The state after the block at this height is live, and this is missing below the stored blocks.
    Restore(CallId, Height, Option<HistoryGap>),
}

/// Stores of a node: one store in three roles, or three.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) blocks: Arc<dyn BlockStore>,
    /// Store in which states are put together, if there is one.
    pub(super) staging: Option<Arc<dyn StateStaging>>,
    /// Store that history is added to, if there is one.
    pub(super) history: Option<Arc<dyn HistoryStore>>,
    /// Store that old blocks are taken away from, if there is one.
    pub(super) pruning: Option<Arc<dyn PruningStore>>,
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
        let durable = Arc::new(AtomicU64::new(application.applied().get()));
        let stopping = Arc::new(AtomicBool::new(false));
        let storing = Storing {
            stores: stores.clone(),
            applied: Arc::clone(&applied),
            durable: Arc::clone(&durable),
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
            durable,
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
    /// Height up to which the application is durable, kept by the other thread.
    durable: Arc<AtomicU64>,
    to_execute: Sender<ToExecute>,
    answers: Inputs,
    events: Events,
    monitor: Option<SyncPerformanceMonitor>,
}

impl Storing {
    fn run(self, work: &Receiver<ToStore>) {
        loop {
            match work.recv_timeout(PRUNE_AFTER) {
                Ok(ToStore::Call(call)) => self.carry_out(call),
                Ok(ToStore::Free(apply, link)) => drop((apply, link)),
                // What the application has made durable since the last blocks.
                Err(RecvTimeoutError::Timeout) => self.prune(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn carry_out(&self, call: HostCall) {
        let HostCall { id, work } = call;
        let Stores { blocks, staging, history, .. } = &self.stores;
        let result = match (work, staging, history) {
            (HostWork::Apply(apply), ..) => return self.append(id, apply),
            (HostWork::Replay(range), ..) => {
                let _ = self.to_execute.send(ToExecute::Replay(id, range));
                return;
            }
            (HostWork::StoreHandovers(links), ..) => blocks.put_handovers(&links).map(|()| HostReply::HandoversStored),
            (HostWork::Survey(items), Some(staging), _) => staging.survey(&items).map(HostReply::Surveyed),
            (HostWork::Stage(leaves), Some(staging), _) => staging.stage(&leaves).map(|()| HostReply::Staged),
            (HostWork::Activate(base), Some(staging), _) => match staging.activate(&base) {
                Ok(Activation::Activated) => match self.history_gap() {
                    Ok(gap) => {
                        // The application answers, once it stands there too.
                        let _ = self.to_execute.send(ToExecute::Restore(id, base.point.height, gap));
                        return;
                    }
                    Err(failure) => Err(failure),
                },
                Ok(Activation::RootMismatch { found }) => Ok(HostReply::RootMismatch { found }),
                Err(failure) => Err(failure),
            },
            (HostWork::AddHistory(piece), _, Some(history)) => history
                .prepend(&piece.segment, piece.frames.as_deref())
                .inspect(|()| self.prune())
                .and_then(|()| history.history_gap())
                .map(|history_gap| HostReply::HistoryAdded { history_gap }),
            // The machine was told that there is no such place, and doesn't ask; or the core knows more than this driver.
            _ => {
                self.answers.send(Input::Done(CallDone { id, result: Err(HostError::Permanent) }));
                return;
            }
        };
        let result = result.map_err(|failure| {
            self.report(&failure);
            failure.as_host_error()
        });
        self.answers.send(Input::Done(CallDone { id, result }));
    }

    /// Gap below the stored blocks, if there is one.
    fn history_gap(&self) -> Result<Option<HistoryGap>, StoreFailure> {
        self.stores.history.as_ref().map_or(Ok(None), |history| history.history_gap())
    }

    fn append(&self, id: CallId, apply: Apply) {
        let continues = apply.range().is_some_and(|range| range.first() <= self.stores.blocks.stored().height.next());
        let result = if continues {
            self.stores.blocks.append(&apply).map_err(|failure| {
                self.report(&failure);
                failure.as_host_error()
            })
        } else {
            // The call before this one failed and will come again first.
            Err(HostError::Transient)
        };
        // After a failure too, which may be for want of room.
        self.prune();
        match result {
            Ok(()) => {
                let _ = self.to_execute.send(ToExecute::Blocks(id, apply.parts));
            }
            Err(error) => {
                let through = Height::new(self.applied.load(Ordering::Acquire));
                self.answers.send(Input::Done(CallDone::applied(id, through, Some(error))));
            }
        }
    }

    /// Takes away old blocks, as far as that is wanted.
    fn prune(&self) {
        let Some(pruning) = &self.stores.pruning else { return };
        if let Err(failure) = pruning.prune(Height::new(self.durable.load(Ordering::Acquire))) {
            self.report(&failure);
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

/// Error that the machine is told, for an application's own.
fn host_error(error: &ExecuteError) -> HostError {
    match error {
        ExecuteError::StateMismatch { height, .. } => HostError::StateMismatch(*height),
        ExecuteError::Transient(cause) if is_disk_full(&**cause) => HostError::NoSpace,
        ExecuteError::Transient(_) => HostError::Transient,
        ExecuteError::Permanent(_) | ExecuteError::Panicked(_) => HostError::Permanent,
    }
}

struct Executing<C> {
    chain: Arc<C>,
    store: Arc<dyn BlockStore>,
    executor: Executor,
    applied: Arc<AtomicU64>,
    durable: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
    answers: Inputs,
    events: Events,
    monitor: Option<SyncPerformanceMonitor>,
}

impl<C: Chain> Executing<C> {
    fn run(mut self, work: &Receiver<ToExecute>) {
        while let Some(work) = self.next(work) {
            let (id, result) = match work {
                ToExecute::Restore(id, height, gap) => {
                    self.restore(id, height, gap);
                    continue;
                }
                ToExecute::Blocks(id, parts) => {
                    (id, parts.iter().try_for_each(|part| self.execute_unless_stopping(part)))
                }
                ToExecute::Replay(id, range) => (id, self.replay(range)),
            };
            let error = result.err().map(|error| {
                if !self.stopping.load(Ordering::Acquire) {
                    self.report(&error);
                }
                host_error(&error)
            });
            let through = self.executor.applied();
            self.answers.send(Input::Done(CallDone::applied(id, through, error)));
        }
        if let Err(error) = self.make_durable(Executor::persist) {
            self.events.send(SyncEvent::Host(error.to_string()));
        }
    }

    /// The next work. What was executed is made durable in time though none comes.
    fn next(&mut self, work: &Receiver<ToExecute>) -> Option<ToExecute> {
        loop {
            self.durable.store(self.executor.durable().get(), Ordering::Release);
            let Some(deadline) = self.executor.deadline() else { return work.recv().ok() };
            match work.recv_timeout(deadline.saturating_duration_since(Clock::now())) {
                Ok(work) => return Some(work),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.make_durable(Executor::commit_if_due) {
                        self.report(&error);
                    }
                }
            }
        }
    }

    /// Makes durable what was executed, as `commit` does, and tries a transient failure once more: it may be the trace that
    /// a full disk left in a database, which is opened again for the second try.
    fn make_durable(&mut self, commit: fn(&mut Executor) -> Result<(), ExecuteError>) -> Result<(), ExecuteError> {
        match commit(&mut self.executor) {
            Err(ExecuteError::Transient(_)) => commit(&mut self.executor),
            outcome => outcome,
        }
    }

    fn report(&self, error: &ExecuteError) {
        self.events.send(SyncEvent::Host(error.to_string()));
        if let Some(monitor) = &self.monitor {
            monitor.record_sync_error(SyncErrorType::Application, None);
        }
    }

    fn restore(&mut self, id: CallId, height: Height, history_gap: Option<HistoryGap>) {
        let result = self.executor.restore(height).map(|()| HostReply::Activated { history_gap }).map_err(|error| {
            self.events.send(SyncEvent::Host(error.to_string()));
            host_error(&error)
        });
        self.applied.store(self.executor.applied().get(), Ordering::Release);
        self.answers.send(Input::Done(CallDone { id, result }));
    }

    fn replay(&mut self, range: HeightRange) -> Result<(), ExecuteError> {
        while let Some(rest) = HeightRange::new(self.executor.applied().next(), range.last()) {
            let part = self.store.read(rest, REPLAY_BYTES).map_err(|failure| {
                let transient = failure.is_transient();
                let failure = Box::new(failure);
                if transient { ExecuteError::Transient(failure) } else { ExecuteError::Permanent(failure) }
            })?;
            let Some(part) = part else {
                let text = format!(
                    "block {} is to be executed but not in the store; where old blocks were pruned before this application \
                     ran, sync into a new folder",
                    rest.first()
                );
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
        let done = self.executor.applied();
        let blocks: Result<Vec<AppBlock<'_>>, _> = part.blocks(&*self.chain, done).collect();
        let blocks = blocks
            .map_err(|error| ExecuteError::Permanent(format!("verified blocks can't be read again: {error}").into()))?;
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
            if part.executed { self.executor.adopt(&blocks) } else { self.executor.execute(&blocks) }
        };
        if let (Some(monitor), Some(last)) = (&self.monitor, last) {
            monitor.record_state_application_time(last.get(), begin.elapsed());
        }
        self.applied.store(self.executor.applied().get(), Ordering::Release);
        result
    }
}
