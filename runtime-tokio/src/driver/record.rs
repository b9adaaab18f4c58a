//! Recording: what the machine is told and what it asks for goes to a file, hashed and written by a thread of its own.
//!
//! The machine's thread only copies facts, lengths and the ends of byte strings. What waits for the disk is bounded; a
//! disk that can't keep up with some kilobytes for each thousand blocks slows the sync rather than losing steps, without
//! which the rest of a trace is worthless.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use hotstuff2_sync::machine::{Input, Machine, Output};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::trace::{RecordedStep, Recorder, TraceError, TraceHeader, TraceWriter};

use super::builder::StartError;
use super::handle::{Events, SyncEvent};

/// Steps that may wait for the disk. In bulk there are some eighty a second, or half as many.
const MOST_WAITING: usize = 256;

/// A trace that is being written. Dropped, it waits until all of it is.
pub(super) struct Recording {
    recorder: Recorder,
    steps: Option<SyncSender<RecordedStep>>,
    thread: Option<JoinHandle<()>>,
}

impl Recording {
    /// Begins a trace in a new file at `path`.
    pub(super) fn start(path: PathBuf, header: &TraceHeader, events: &Events) -> Result<Self, StartError> {
        let (writer, head) = TraceWriter::begin(header)?;
        let opened = File::create_new(&path).and_then(|mut file| file.write_all(&head).map(|()| file));
        let file = match opened {
            Ok(file) => file,
            Err(source) => return Err(StartError::Record { path, source }),
        };
        let (steps, work) = sync_channel(MOST_WAITING);
        let events = events.clone();
        let thread = thread::Builder::new().name("hs2-record".to_owned()).spawn(move || {
            if let Err(failure) = write(&work, writer, file) {
                events.send(SyncEvent::Trace(failure.describe(&path)));
            }
        })?;
        Ok(Self { recorder: Recorder::default(), steps: Some(steps), thread: Some(thread) })
    }

    /// Notes an input, before the machine takes it.
    pub(super) fn input(&mut self, machine: &Machine, now: Instant, input: &Input) {
        if self.steps.is_some() {
            self.recorder.input(machine, now, input);
        }
    }

    /// Notes an output.
    pub(super) fn output(&mut self, output: &Output) {
        let Some(steps) = &self.steps else { return };
        let Some(step) = self.recorder.output(output) else { return };
        // The thread that wrote has failed and said so: no more is noted.
        if steps.send(step).is_err() {
            self.steps = None;
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.steps = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// Why a trace ends before the sync does.
enum Failure {
    Disk(io::Error),
    Step(TraceError),
}

impl Failure {
    fn describe(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Disk(error) => format!("the trace in {path} ends here: {error}; make room there to record again"),
            Self::Step(error) => format!("the trace in {path} ends here: {error}"),
        }
    }
}

/// Writes steps as they come, each with one call where they come slowly, so that little is lost with the process.
fn write(work: &Receiver<RecordedStep>, mut writer: TraceWriter, mut file: File) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    while let Ok(first) = work.recv() {
        bytes.clear();
        for step in std::iter::once(first).chain(work.try_iter().take(MOST_WAITING)) {
            bytes.extend(writer.step(step).map_err(Failure::Step)?);
        }
        file.write_all(&bytes).map_err(Failure::Disk)?;
    }
    Ok(())
}
