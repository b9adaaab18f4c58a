//! The driver: carries what the machine asks for to the network, the verification pool and the host's store and
//! application, and brings the answers back.
//!
//! The machine lives on one thread, which does nothing else. Requests are tasks of the tokio runtime, jobs run on a pool
//! of threads as large as the machine has cores, and storing and executing are a thread each, so that one batch is
//! stored while the one before is executed. What can pile up between them is bounded by the machine's memory budget.

mod apply;
mod builder;
mod cost;
mod decided;
mod handle;
mod inputs;
mod machine_thread;
mod observe;
mod pool;
mod record;
mod state_sync;

#[cfg(test)]
mod monitor_tests;
#[cfg(test)]
mod tcp_tests;

pub use crate::discovery::PeerAddress;
pub use builder::{StartError, SyncBuilder};
pub use decided::{DecidedBlocks, SubmitError};
pub use handle::{SyncEnd, SyncEvent, SyncHandle, SyncUsage};
pub(crate) use inputs::Inputs;
pub use state_sync::{StateSync, StateSyncError};

use std::net::SocketAddr;

use bytes::Bytes;
use hotstuff2_sync::calls::CallDone;
use hotstuff2_sync::config::SyncStrategyType;
use hotstuff2_sync::ids::{Height, JobId, PeerId, RequestId};
use hotstuff2_sync::machine::{DecidedError, RequestFailure};
use hotstuff2_sync::verify::Verdict;
use tokio::sync::oneshot;

/// Input of the machine's thread.
pub(crate) enum Input {
    Connected(PeerId, SocketAddr),
    Disconnected(PeerId),
    Response(RequestId, Result<Bytes, RequestFailure>),
    Begun(JobId),
    Verdict(Box<Verdict>),
    Done(CallDone),
    /// This node's own engine has decided blocks; where the answer goes.
    Decided(DecidedBlocks, oneshot::Sender<Result<Height, DecidedError>>),
    Start(StartCall),
    Stop(CallNumber),
    Shutdown,
}

/// Names a start or a stop, so that its event can be told from others. Zero for callers that don't wait for it.
pub(crate) type CallNumber = u64;

/// A start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StartCall {
    pub(crate) call: CallNumber,
    /// Height at which downloads end.
    pub(crate) until: Option<Height>,
    /// The strategy from here on; the one in use where there is none.
    pub(crate) strategy: Option<SyncStrategyType>,
}
