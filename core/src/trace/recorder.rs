//! The recording side: [`Recorder`] stands beside a machine and is cheap; [`TraceWriter`] hashes and makes frames, on
//! whatever thread has time for it.

use alloc::vec::Vec;

use super::canon::{OutputMark, put_output};
use super::frame::{FRAME_HEAD_BYTES, prefix, put_frame};
use super::header::TraceHeader;
use super::input::TraceInput;
use super::{TraceError, TraceStep};
use crate::hash::{Context, Hash};
use crate::machine::{Input, Machine, Output};
use crate::time::Instant;

static HEADER: Context = Context::new("hotstuff2-sync trace head v1");
static OUTPUT: Context = Context::new("hotstuff2-sync trace output v1");
static STEP: Context = Context::new("hotstuff2-sync trace step v1");

/// Writes down what goes into a machine and what comes out.
#[derive(Debug, Default)]
pub struct Recorder {
    inputs: Vec<(Instant, TraceInput)>,
    outputs: Vec<u8>,
    /// End of each output, after its code.
    ends: Vec<(u16, usize)>,
}

impl Recorder {
    /// Notes an input, before `machine` takes it.
    pub fn input(&mut self, machine: &Machine, now: Instant, input: &Input) {
        self.inputs.push((now, TraceInput::new(machine, input)));
    }

    /// Notes an output. [`Output::Wait`] ends a step, which is handed out.
    pub fn output(&mut self, output: &Output) -> Option<RecordedStep> {
        put_output(&mut self.outputs, output);
        self.ends.push((output.code(), self.outputs.len()));
        matches!(output, Output::Wait(_)).then(|| {
            let Self { inputs, outputs, ends } = core::mem::take(self);
            RecordedStep { inputs, outputs, ends }
        })
    }
}

/// Step of a run: what went in before a drain, and what came out of it.
#[derive(Debug)]
pub struct RecordedStep {
    inputs: Vec<(Instant, TraceInput)>,
    outputs: Vec<u8>,
    ends: Vec<(u16, usize)>,
}

impl RecordedStep {
    /// Digests of the outputs, the last of them the deadline's, and the digest of everything up to this step after
    /// `before`.
    pub(super) fn digests(&self, before: Hash) -> (Vec<OutputMark>, Hash) {
        let mut start = 0;
        let mut marks = Vec::with_capacity(self.ends.len());
        let mut all = STEP.hasher();
        all.update(before.as_bytes());
        for &(code, end) in &self.ends {
            let output = self.outputs.get(start..end).unwrap_or_default();
            let digest = OUTPUT.hash(output);
            all.update(&code.to_le_bytes());
            all.update(digest.as_bytes());
            marks.push(OutputMark { code, digest: digest.as_bytes().first_chunk().copied().unwrap_or_default() });
            start = end;
        }
        (marks, Hash::from_bytes(*all.finalize().as_bytes()))
    }
}

/// Makes the bytes of a trace from its head and its steps.
#[derive(Debug)]
pub struct TraceWriter {
    digest: Hash,
    steps: u64,
}

/// The digest that a trace's first step follows.
pub(super) fn first_digest(head: &[u8]) -> Hash {
    HEADER.hash(head)
}

impl TraceWriter {
    /// Begins a trace; its first bytes. An error where the head is larger than a frame.
    pub fn begin(header: &TraceHeader) -> Result<(Self, Vec<u8>), TraceError> {
        let too_large = || TraceError::TooLarge { step: 0 };
        let content = postcard::to_allocvec(header).map_err(|_| too_large())?;
        let mut bytes = prefix();
        put_frame(&mut bytes, &content).ok_or_else(too_large)?;
        Ok((Self { digest: first_digest(&content), steps: 0 }, bytes))
    }

    /// The bytes of the next step. An error where it is larger than a frame: the trace ends before it then.
    pub fn step(&mut self, step: RecordedStep) -> Result<Vec<u8>, TraceError> {
        self.steps = self.steps.saturating_add(1);
        let too_large = || TraceError::TooLarge { step: self.steps };
        let (outputs, digest) = step.digests(self.digest);
        self.digest = digest;
        let step = TraceStep { inputs: step.inputs, outputs, digest };
        let content = postcard::to_allocvec(&step).map_err(|_| too_large())?;
        let mut bytes = Vec::with_capacity(content.len().saturating_add(FRAME_HEAD_BYTES));
        put_frame(&mut bytes, &content).ok_or_else(too_large)?;
        Ok(bytes)
    }

    /// The digest of everything so far.
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}
