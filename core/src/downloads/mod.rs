//! Downloads: who was asked for what, how far that is, and what became of it.
//!
//! The [`DownloadCoordinator`] is the machine's own table of requests in flight. It trusts nobody: ids are never reused, so
//! a late, unsolicited or crossed answer finds nothing here, and whatever fails is simply wanted again.

mod coordinator;
mod task;

pub use coordinator::DownloadCoordinator;
pub(crate) use coordinator::STALLED_FACTOR;
pub use task::{BlockRange, DownloadProgress, DownloadStatistics, DownloadTask, TaskId};

#[cfg(test)]
mod tests;
