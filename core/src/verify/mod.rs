//! Verification as data: a [`Job`] goes out to any thread, a [`Verdict`] comes back.
//!
//! A job carries all that it needs and runs against a [`Chain`](crate::chain::Chain). What it was asked to prove is
//! private to it and comes back in the verdict, so that the machine can compare it with what it asked, and an answer
//! can't be taken for the answer to something else. Both have a canonical encoding ([`Job::encode`], [`Verdict::encode`]),
//! so that a job can run in a worker or a process that shares no memory with the machine; there, [`Known`] keeps what its
//! jobs have decoded.

mod handovers;
mod job;
mod known;
mod segments;
mod verdict;

pub(crate) use handovers::HANDOVER_PART;
pub use job::{Job, Task};
pub use known::Known;
pub use verdict::{HandoverLink, Outcome, Statement, Verdict};

#[cfg(test)]
mod job_tests;
#[cfg(test)]
mod known_tests;
#[cfg(test)]
mod plain_tests;
#[cfg(test)]
mod toy;
