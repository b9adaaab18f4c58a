//! [`Recording`]: what went into a machine and what came out, in memory.

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::machine::{Input, Machine, Output};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::trace::{PlayError, Recorder, Replayer, TraceFrames, TraceHeader, TraceWriter};

/// A trace in memory.
#[derive(Debug)]
pub struct Recording {
    recorder: Recorder,
    writer: TraceWriter,
    /// The trace so far, where it is kept.
    bytes: Option<Vec<u8>>,
    /// A step was larger than a trace may hold: it ends there.
    failed: bool,
}

impl Recording {
    /// The recording of a machine that is made from `header`, before anything happens to it. Its bytes are kept, or its
    /// digest only.
    pub(crate) fn new(header: &TraceHeader, kept: bool) -> Self {
        match TraceWriter::begin(header) {
            Ok((writer, bytes)) => {
                Self { recorder: Recorder::default(), writer, bytes: kept.then_some(bytes), failed: false }
            }
            Err(error) => unreachable!("a world's head is small: {error}"),
        }
    }

    /// An input, before `machine` takes it.
    pub(crate) fn input(&mut self, machine: &Machine, now: Instant, input: &Input) {
        self.recorder.input(machine, now, input);
    }

    /// An output. Where it ends a step, the bytes of that, with the inputs and digests of the outputs.
    pub(crate) fn output(&mut self, output: &Output) -> Option<Vec<u8>> {
        let step = self.recorder.output(output)?;
        let step = self.writer.step(step).unwrap_or_default();
        self.failed |= step.is_empty();
        if let (Some(bytes), false) = (&mut self.bytes, self.failed) {
            bytes.extend_from_slice(&step);
        }
        Some(step)
    }

    /// The trace as a file has it; nothing where it isn't kept.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    /// The digest of all outputs.
    pub fn digest(&self) -> Hash {
        self.writer.digest()
    }

    /// Plays it on a new machine, as long as that gives the same outputs.
    ///
    /// # Errors
    /// Where it gives others, or the recording isn't kept.
    pub fn replay(&self) -> Result<Replayer, PlayError> {
        let mut frames = TraceFrames::default();
        frames.push(self.bytes());
        let head = frames.take().map_err(PlayError::Trace)?.unwrap_or_default();
        let (mut replayer, _) = Replayer::new(head).map_err(PlayError::Trace)?;
        while let Some(frame) = frames.take().map_err(PlayError::Trace)? {
            let step = replayer.read(frame).map_err(PlayError::Trace)?;
            replayer.play(step)?;
        }
        frames.finish().map_err(PlayError::Trace)?;
        Ok(replayer)
    }
}
