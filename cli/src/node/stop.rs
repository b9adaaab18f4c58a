//! [`Stop`]: when to stop: on Ctrl-C, when asked to terminate, when the terminal hangs up, or when the demo that started
//! this process is gone.
//!
//! A thread of its own listens, so that nothing that peers or work make the others do can keep a signal waiting.

use std::io::{self, Read as _};
use std::process;
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::args::Parent;
use crate::error::CliError;
use crate::screen::{complain, tell};

/// How long a node may take to stop: enough to store what is at hand and to say goodbye to peers. An end at any moment
/// loses nothing that was acknowledged, as after a power cut, so what takes longer is not waited for.
const NODE_PATIENCE: Duration = Duration::from_millis(2500);

/// Exit code of a node that was not waited for, unless it was asked to terminate: nothing is lost then.
const CUT_SHORT: i32 = 1;

/// Exit code after a second Ctrl-C, as shells have it: 128 and the number of the signal.
const ENDED_AT_ONCE: i32 = 130;

/// Why a process should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// A person wants it back: Ctrl-C.
    Interrupted,
    /// Its supervisor ends it: SIGTERM, or SIGHUP when the terminal is gone.
    Terminated,
    /// The process that started it is gone.
    Orphaned,
}

/// Says whether this process should stop. Clones say the same.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    cause: watch::Receiver<Option<StopCause>>,
}

impl Stop {
    /// Listens for what makes something and then ends: it says at once that it stops, and a second Ctrl-C ends it where it
    /// is.
    pub(crate) fn of_tool(parent: &Parent) -> Result<Self, CliError> {
        Self::listen(parent, None)
    }

    /// Listens for a node, which ends within 3 s whatever holds it up.
    pub(crate) fn of_node(parent: &Parent) -> Result<Self, CliError> {
        Self::listen(parent, Some(NODE_PATIENCE))
    }

    /// Ends when this process should stop.
    pub(crate) async fn asked(&mut self) -> StopCause {
        match self.cause.wait_for(Option::is_some).await.map(|cause| *cause) {
            Ok(Some(cause)) => cause,
            // The thread tells before it ends.
            _ => std::future::pending().await,
        }
    }

    /// An error where this process should stop, for work that nothing can be awaited beside.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        if self.cause.borrow().is_some() { Err(CliError::Stopped) } else { Ok(()) }
    }

    fn listen(parent: &Parent, patience: Option<Duration>) -> Result<Self, CliError> {
        let failed = |source| CliError::System { what: "signals can't be listened to", source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let mut signals = {
            let _inside = runtime.enter();
            Signals::new(parent).map_err(failed)?
        };
        let (told, cause) = watch::channel(None);
        thread::Builder::new()
            .name("hs2-signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let first = signals.next().await;
                    told.send_replace(Some(first));
                    match patience {
                        Some(patience) => tokio::select! {
                            _ = signals.next() => {}
                            () = tokio::time::sleep(patience) => {}
                        },
                        None => {
                            if first != StopCause::Orphaned {
                                tell("stopping; a second Ctrl-C ends it at once");
                            }
                            signals.next().await;
                            process::exit(ENDED_AT_ONCE);
                        }
                    }
                    complain(
                        "not everything could be closed in time; what was acknowledged is stored, the rest comes again",
                    );
                    process::exit(if first == StopCause::Terminated { 0 } else { CUT_SHORT });
                });
            })
            .map_err(failed)?;
        Ok(Self { cause })
    }
}

/// Signals that stop a process.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    /// Left alone where it is ignored, as under nohup.
    #[cfg(unix)]
    hang_up: Option<tokio::signal::unix::Signal>,
    orphaned: Option<oneshot::Receiver<()>>,
}

impl Signals {
    /// Must be called within a runtime.
    fn new(parent: &Parent) -> io::Result<Self> {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            hang_up: if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) },
            orphaned: parent.until_stdin_closes.then(stdin_closed).transpose()?,
        })
    }

    /// The next reason to stop. That the parent is gone is one once.
    async fn next(&mut self) -> StopCause {
        let Self { orphaned, .. } = self;
        let parent = async {
            match orphaned {
                // An error means that the thread is gone, which it is when standard input has ended.
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            }
        };
        #[cfg(unix)]
        let cause = {
            let hang_up = async {
                match &mut self.hang_up {
                    Some(signal) => drop(signal.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.interrupt.recv() => StopCause::Interrupted,
                _ = self.terminate.recv() => StopCause::Terminated,
                () = hang_up => StopCause::Terminated,
                () = parent => StopCause::Orphaned,
            }
        };
        #[cfg(not(unix))]
        let cause = tokio::select! {
            _ = tokio::signal::ctrl_c() => StopCause::Interrupted,
            () = parent => StopCause::Orphaned,
        };
        if cause == StopCause::Orphaned {
            self.orphaned = None;
        }
        cause
    }
}

/// Whether whoever started this process has it ignore SIGHUP, as `nohup` does; no, where the system doesn't say.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignored_in(&status))
}

#[cfg(unix)]
fn ignored_in(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signals count from one, and SIGHUP is the first.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Ends when standard input does. The thread can't be interrupted; it ends with the process.
fn stdin_closed() -> io::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut ignored = [0; 64];
        while stdin.read(&mut ignored).is_ok_and(|read| read > 0) {}
        let _ = sender.send(());
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_is_ignored_where_the_mask_says_so() {
        assert!(ignored_in("Name:\tx\nSigIgn:\t0000000000001001\n"));
        assert!(!ignored_in("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!ignored_in("SigIgn:\tmany\n") && !ignored_in(""));
    }
}
