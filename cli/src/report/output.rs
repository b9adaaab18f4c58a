//! Results: lines for people on standard output, and reports, the JSON that scripts read.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::error::CliError;
use crate::screen::tell;

/// Why a line could not be written to standard output, the first time.
static UNSAID: Mutex<Option<io::Error>> = Mutex::new(None);

/// Why a command failed, for scripts.
#[derive(Debug, Serialize)]
struct Failure {
    /// A name of the cause that never changes.
    kind: &'static str,
    /// The cause and the next step, as people read them.
    message: String,
    /// The next step: the end of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<String>,
}

impl Failure {
    fn of(error: &CliError) -> Self {
        let message = error.to_string();
        // Every message of this program says what happened, then what to do.
        let step = message.split_once("; ").or_else(|| message.rsplit_once(": "));
        let next_step = step.map(|(_, step)| step.to_owned());
        Self { kind: error.kind(), message, next_step }
    }
}

/// A report of what failed before there was any other.
#[derive(Serialize)]
struct FailureReport {
    ok: bool,
    error: Failure,
}

/// A report, and the error that the command ends with.
#[derive(Serialize)]
struct Concluded<'a, R> {
    #[serde(flatten)]
    report: &'a R,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Writes `report`, if it is wanted, with the error of `result` in it where that is one, and returns the result.
pub(crate) fn conclude(
    report: &impl Serialize,
    json: Option<&Path>,
    result: Result<(), CliError>,
) -> Result<(), CliError> {
    let Some(path) = json else { return result };
    write_json(&Concluded { report, error: result.as_ref().err().map(Failure::of) }, path)?;
    result.map_err(|error| CliError::Reported(Box::new(error)))
}

/// Writes why a command failed, unless its report says so already.
pub(crate) fn write_failure(error: &CliError, path: &Path) -> Result<(), CliError> {
    match error {
        CliError::Reported(_) | CliError::WriteReport { .. } => Ok(()),
        error => write_json(&FailureReport { ok: false, error: Failure::of(error) }, path),
    }
}

/// Writes `report` on one line to the file at `path`, or to standard output for "-". An earlier report there is replaced,
/// which is said, when the new one is complete.
pub(crate) fn write_json(report: &impl Serialize, path: &Path) -> Result<(), CliError> {
    let failed = |source| CliError::WriteReport { path: path.to_owned(), source };
    let mut line = serde_json::to_vec(report).map_err(io::Error::from).map_err(failed)?;
    line.push(b'\n');
    if path == Path::new("-") {
        let mut out = io::stdout().lock();
        return out.write_all(&line).and_then(|()| out.flush()).map_err(failed);
    }
    match fs::metadata(path) {
        // A pipe or a device takes it as it comes.
        Ok(there) if !there.is_file() => fs::write(path, &line).map_err(failed),
        Ok(_) => {
            put(&fs::canonicalize(path).map_err(failed)?, &line).map_err(failed)?;
            tell(format_args!("the earlier report in {} was replaced", path.display()));
            Ok(())
        }
        Err(_) => put(path, &line).map_err(failed),
    }
}

/// Puts a file with these bytes at `path`, whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any new file, not for its owner alone.
    let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Says a result to people: on standard output, or out of the way of JSON that goes there.
pub(crate) fn say(json: Option<&Path>, text: impl std::fmt::Display) {
    if json == Some(Path::new("-")) {
        tell(text);
    } else if let Err(error) = writeln!(io::stdout(), "{text}")
        // A reader that has gone may have seen enough, as `head` has.
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        UNSAID.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// An error where a result could not be said.
pub(crate) fn all_was_said() -> Result<(), CliError> {
    UNSAID.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), |error| Err(CliError::Stdout(error)))
}
