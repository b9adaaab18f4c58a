//! The objects that handles lead to.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use hotstuff2_sync::chain::native::{EpochContext, Genesis, NativeChain};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::participation::{ParticipationGate, Permit};
use hotstuff2_sync::serve::Admission;
use hotstuff2_sync::session::Session;
use hotstuff2_sync::verify::{Job, Known, Verdict};

use crate::failure::Failure;
use crate::status::Status;
use crate::table::Object;

/// Kinds of objects; the number is part of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Buffer = 1,
    Config,
    Genesis,
    Epoch,
    Chain,
    Admission,
    Session,
    Start,
    Machine,
    Job,
    Verdict,
    Call,
    Gate,
    Permit,
    Light,
    LightAnswer,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Buffer => "buffer",
            Self::Config => "config",
            Self::Genesis => "genesis",
            Self::Epoch => "epoch",
            Self::Chain => "chain",
            Self::Admission => "admission",
            Self::Session => "session",
            Self::Start => "start",
            Self::Machine => "machine",
            Self::Job => "job",
            Self::Verdict => "verdict",
            Self::Call => "call",
            Self::Gate => "gate",
            Self::Permit => "permit",
            Self::Light => "light client",
            Self::LightAnswer => "light client's answer",
        }
    }
}

/// An object that calls change: one at a time, and the next is told instead of made to wait.
#[derive(Debug, Default)]
pub(crate) struct Exclusive<T>(Mutex<T>);

impl<T> Exclusive<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, T>, Failure> {
        match self.0.try_lock() {
            Ok(guard) => Ok(guard),
            // The fence has poisoned the handle; whoever got the object before that sees it here.
            Err(TryLockError::Poisoned(_)) => Err(Failure::new(Status::Poisoned, Status::Poisoned.words())),
            Err(TryLockError::WouldBlock) => Err(Failure::new(Status::InUse, Status::InUse.words())),
        }
    }
}

/// Settings.
pub(crate) type Config = Exclusive<SyncConfig>;

impl Object for Config {
    const KIND: Kind = Kind::Config;
}

impl Object for Genesis {
    const KIND: Kind = Kind::Genesis;
}

impl Object for EpochContext {
    const KIND: Kind = Kind::Epoch;
}

/// A native chain to verify with, and what jobs that came as bytes have decoded under it.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) chain: NativeChain,
    known: Mutex<Known>,
}

impl Rules {
    pub(crate) fn new(chain: NativeChain) -> Self {
        Self { chain, known: Mutex::default() }
    }

    /// Does the work of a job that was read from bytes.
    pub(crate) fn run_read(&self, job: &Job) -> Verdict {
        let mut job = job.clone();
        self.known().share(&mut job);
        let verdict = job.run(&self.chain);
        self.known().note(&verdict);
        verdict
    }

    /// It is whole even where a call panicked.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Object for Rules {
    const KIND: Kind = Kind::Chain;
}

/// The decision who is served.
pub(crate) type Admissions = Exclusive<Admission>;

impl Object for Admissions {
    const KIND: Kind = Kind::Admission;
}

/// One end of a session.
pub(crate) type Sessions = Exclusive<Session>;

impl Object for Sessions {
    const KIND: Kind = Kind::Session;
}

/// The gate between a synchronization and consensus.
pub(crate) type Gates = Exclusive<ParticipationGate>;

impl Object for Gates {
    const KIND: Kind = Kind::Gate;
}

impl Object for Permit {
    const KIND: Kind = Kind::Permit;
}
