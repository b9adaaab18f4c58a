//! Record and replay: everything that enters a machine, in order and with its time, and a digest of what came out.
//!
//! The machine is deterministic, so its inputs are all that a run is. A [`Recorder`] beside a machine writes them down,
//! drain by drain; a [`Replayer`] feeds them to a new machine and compares its outputs, drain by drain. A trace of a sync
//! in the field shows what the machine did and why, as often as one likes, without a network, a chain or a store.
//!
//! # What is written
//! * A head: the settings, where the node stood, and the seed of all choices.
//! * A step for each drain: the inputs that went in since the last one (several may be planned for together), and a short
//!   digest of each output that came out, with a digest over everything so far.
//!
//! # Bytes
//! The machine moves most bytes without looking at them, so a trace doesn't hold them: of an answer or a payload it has
//! the length and both ends, from which the replay makes a [stand-in](Blob) of the same length. Outputs are digested by
//! the same measure: of bytes the length and both ends count. What the machine reads itself (claims, tips, the other side
//! of a dispute) is written whole. So a trace takes some kilobytes for each thousand blocks, whatever their size, and
//! recording neither copies nor hashes what is downloaded; a state takes what its trees do, whose hashes are facts that
//! the machine works with. A verdict's facts are written, not what they were found in: a
//! replay runs no jobs.
//!
//! # What it trusts
//! Nothing: a trace may be cut off, damaged or made up. Every frame has a length with a bound and a checksum, what is
//! decoded is checked, and memory for stand-ins is bounded. A trace that ends inside a frame is good up to there.

mod blob;
mod canon;
mod facts;
mod frame;
mod header;
mod input;
mod outcome;
mod recorder;
mod replayer;

pub use blob::Blob;
pub use canon::OutputMark;
pub use frame::{MAX_FRAME_BYTES, TRACE_VERSION, TraceFrames};
pub use header::{TraceHeader, TraceStart};
pub use input::{TraceInput, TraceReply};
pub use recorder::{RecordedStep, Recorder, TraceWriter};
pub use replayer::{Difference, PlayError, Played, Replayer, TraceStep};

/// Why a trace can't be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// The file doesn't begin as a trace does.
    #[error("this is no trace of a sync; give a file that `sync --record` wrote")]
    Foreign,
    /// Another version of the format.
    #[error(
        "the trace has version {0} of the format and this program reads version {TRACE_VERSION}; replay it with the program that wrote it"
    )]
    Version(u16),
    /// The trace ends inside a frame: what wrote it was killed, or the file was cut.
    #[error("the trace ends in the middle of step {step}; the steps before it are whole")]
    Truncated {
        /// The step, counted from one; zero is the head.
        step: u64,
    },
    /// A frame's bytes aren't those that were written.
    #[error("step {step} of the trace is damaged")]
    Damaged {
        /// The step, counted from one; zero is the head.
        step: u64,
    },
    /// A frame is whole and holds what no machine takes in.
    #[error("step {step} of the trace is not valid: {what}")]
    Invalid {
        /// The step, counted from one; zero is the head.
        step: u64,
        /// Defect of the frame.
        what: &'static str,
    },
    /// More than a frame may hold, or than a replay may take of memory.
    #[error("step {step} of the trace is too large")]
    TooLarge {
        /// The step, counted from one; zero is the head.
        step: u64,
    },
    /// The head's settings or start make no machine.
    #[error("the trace's head makes no machine: {0}")]
    Machine(#[from] crate::machine::NewMachineError),
}
