//! The replaying side: feeds a new machine what a trace has, and compares what comes out.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::TraceError;
use super::blob::Memory;
use super::canon::OutputMark;
use super::header::TraceHeader;
use super::input::TraceInput;
use super::recorder::{Recorder, first_digest};
use crate::hash::Hash;
use crate::machine::{Input, Machine, Output};
use crate::time::Instant;

/// Step of a trace: what went in before a drain, and what came out of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStep {
    /// The inputs with their times, in order. The machine planned once for all of them.
    pub inputs: Vec<(Instant, TraceInput)>,
    /// The outputs, the last of them [`Output::Wait`].
    pub outputs: Vec<OutputMark>,
    /// The digest of all outputs up to here.
    pub digest: Hash,
}

/// Step as it was replayed.
#[derive(Debug)]
pub struct Played {
    /// Inputs of the step. Bytes that the machine doesn't read are stand-ins.
    pub inputs: Vec<(Instant, Input)>,
    /// Outputs of the step; the last is [`Output::Wait`].
    pub outputs: Vec<Output>,
}

/// A replay that gave something else than was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The step, counted from one.
    pub step: u64,
    /// The time of its last input.
    pub at: Option<Instant>,
    /// The output, counted from one.
    pub output: usize,
    /// Recorded output in that place, if any.
    pub recorded: Option<OutputMark>,
    /// Output that came instead, if any.
    pub replayed: Option<Output>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, at, output, recorded, replayed } = self;
        write!(f, "output {output} of step {step}")?;
        if let Some(at) = at {
            write!(f, " at {} µs", at.as_micros())?;
        }
        match recorded {
            Some(mark) => write!(f, " was recorded as another {}", mark.name())?,
            None => write!(f, " was not recorded")?,
        }
        match replayed {
            Some(output) => write!(f, "; the replay gives {output:?}"),
            None => write!(f, "; the replay gives none"),
        }
    }
}

/// Why a step can't be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayError {
    /// The trace is at fault.
    Trace(TraceError),
    /// The machine does something else.
    Different(Box<Difference>),
}

/// A machine that is fed from a trace.
#[derive(Debug)]
pub struct Replayer {
    machine: Machine,
    digest: Hash,
    step: u64,
}

impl Replayer {
    /// Makes the machine that the content of a trace's first frame describes.
    pub fn new(head: &[u8]) -> Result<(Self, TraceHeader), TraceError> {
        let header: TraceHeader =
            postcard::from_bytes(head).map_err(|_| TraceError::Invalid { step: 0, what: "the head can't be read" })?;
        let start = header.start.clone().stand_in(&mut Memory::new()).ok_or(TraceError::TooLarge { step: 0 })?;
        let machine = Machine::new(header.config.clone(), start, header.seed, header.now)?;
        Ok((Self { machine, digest: first_digest(head), step: 0 }, header))
    }

    /// The machine as it is after the steps so far.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The digest of everything so far.
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Reads the content of a frame after the first.
    pub fn read(&self, frame: &[u8]) -> Result<TraceStep, TraceError> {
        let step = self.step.saturating_add(1);
        postcard::from_bytes(frame).map_err(|_| TraceError::Invalid { step, what: "it can't be read" })
    }

    /// Feeds the machine a step and compares what comes out.
    pub fn play(&mut self, step: TraceStep) -> Result<Played, PlayError> {
        self.step = self.step.saturating_add(1);
        let TraceStep { inputs: recorded_inputs, outputs: marks, digest } = step;
        let mut memory = Memory::new();
        let mut inputs = Vec::new();
        for (now, input) in recorded_inputs {
            let input = input.stand_in(&self.machine, &mut memory).ok_or(PlayError::Trace(TraceError::Invalid {
                step: self.step,
                what: "an input takes more memory than any real one, or contradicts itself",
            }))?;
            inputs.push((now, input.clone()));
            self.machine.handle(now, input);
        }
        let mut recorder = Recorder::default();
        let mut outputs = Vec::new();
        let replayed = loop {
            let output = self.machine.poll_output();
            let ended = recorder.output(&output);
            outputs.push(output);
            if let Some(step) = ended {
                break step;
            }
        };
        let (found, all) = replayed.digests(self.digest);
        self.digest = all;
        if all == digest {
            return Ok(Played { inputs, outputs });
        }
        let same = found.iter().zip(&marks).take_while(|(found, mark)| found == mark).count();
        Err(PlayError::Different(Box::new(Difference {
            step: self.step,
            at: inputs.last().map(|&(at, _)| at),
            output: same.saturating_add(1),
            recorded: marks.get(same).copied(),
            replayed: outputs.into_iter().nth(same),
        })))
    }
}
