//! [`Trace`]: everything that happened, as one hash, and as lines for people where those are wanted.

use std::fmt::{Arguments, Write as _};

use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync::time::Instant;

static LINE: Context = Context::new("hotstuff2-sync testkit v1 trace line");
static STEP: Context = Context::new("hotstuff2-sync testkit v1 trace step");

/// The timeline so far. Two runs with one hash did the same at the same times.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: Hash,
    lines: u64,
    line: String,
    kept: Option<Vec<String>>,
}

impl Trace {
    /// A trace that keeps its lines.
    pub fn kept() -> Self {
        Self { kept: Some(Vec::new()), ..Self::default() }
    }

    /// Notes what happened at `now`.
    pub fn note(&mut self, now: Instant, what: Arguments<'_>) {
        self.line.clear();
        let micros = now.as_micros();
        // Writing to a string has no way to fail.
        let _ = write!(self.line, "{}.{:06} {what}", micros / 1_000_000, micros % 1_000_000);
        self.hash = LINE.hash(&[self.hash.as_bytes(), self.line.as_bytes()].concat());
        self.lines += 1;
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.clone());
        }
    }

    /// Adds a step of a machine, as a recording has it, to the hash: what went in and what came out of it.
    pub(super) fn absorb(&mut self, step: &[u8]) {
        self.hash = STEP.hash(&[self.hash.as_bytes(), step].concat());
    }

    /// The hash over all lines and steps.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// How many lines there are.
    pub fn len(&self) -> u64 {
        self.lines
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// The lines, if they are kept.
    pub fn lines(&self) -> &[String] {
        self.kept.as_deref().unwrap_or_default()
    }
}
