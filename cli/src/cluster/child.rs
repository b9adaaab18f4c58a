//! [`Child`]: a process of this program that the demo starts, and that doesn't outlive it.

use std::io::{self, BufRead as _, BufReader};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::error::CliError;
use crate::logs;

/// How long a process has to stop by itself once its standard input is closed.
const GRACE: Duration = Duration::from_secs(10);

/// Time between two looks at a process that is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running process. Dropped, it is stopped.
pub(crate) struct Child {
    what: String,
    process: std::process::Child,
    /// While this is open, the process goes on; the operating system closes it when the demo ends, however it ends.
    stdin: Option<ChildStdin>,
}

impl Child {
    /// Starts this program with `arguments`. `what` names the process in messages.
    pub(crate) fn start(what: impl Into<String>, arguments: &[String]) -> Result<Self, CliError> {
        let what = what.into();
        let failed = |source| CliError::System { what: "a process can't be started", source };
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg("--until-stdin-closes")
            .args(logs::options())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // A Ctrl-C on the terminal is for the demo, which then stops its processes in order.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn().map_err(failed)?;
        let stdin = process.stdin.take();
        Ok(Self { what, process, stdin })
    }

    /// The process, as the operating system numbers it.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The first line that the process prints, as JSON.
    pub(crate) fn first_line<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<T, CliError> {
        let failed = |what: &str, source| CliError::ChildReport { what: what.to_owned(), source };
        let Some(stdout) = self.process.stdout.take() else {
            return Err(failed(&self.what, io::ErrorKind::BrokenPipe.into()));
        };
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // Nobody listens any more where the line came too late.
            let _ = sender.send(read.map(|_| line));
        });
        let line = receiver
            .recv_timeout(patience)
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| failed(&self.what, source))?;
        serde_json::from_str(&line).map_err(|error| failed(&self.what, error.into()))
    }

    /// Exit status of the process, if it ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, CliError> {
        self.process.try_wait().map_err(|source| CliError::System { what: "a process can't be waited for", source })
    }

    /// The error that `status` is, unless it is success.
    pub(crate) fn check(&self, status: ExitStatus) -> Result<(), CliError> {
        if status.success() {
            return Ok(());
        }
        Err(CliError::Child { what: self.what.clone(), status: status.to_string() })
    }

    /// Tells the process to stop.
    pub(crate) fn ask_to_stop(&mut self) {
        self.stdin = None;
    }

    /// Ends the process where it is, as a crash would.
    pub(crate) fn kill(&mut self) {
        // Fails only where the process is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Stops the process, by force if it takes too long.
    pub(crate) fn stop(&mut self) {
        self.ask_to_stop();
        let begin = Instant::now();
        while begin.elapsed() < GRACE {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        // Fails only where the process is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}
