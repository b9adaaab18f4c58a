//! Child processes: how they are started, and what is said when one fails.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

/// Cargo, as the one that started this process, without what that one set for this package.
///
/// Build scripts that ask to be run again when `CARGO_PKG_NAME` and the like change would
/// otherwise be run, and all that depends on them rebuilt, whenever a developer changes between
/// `cargo xtask` and plain `cargo`.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_set_for_one_package) {
            command.env_remove(name);
        }
    }
    command
}

fn is_set_for_one_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_BIN_")
        || matches!(
            name,
            "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR"
        )
}

/// Runs `command` with this terminal as its own and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    println!("$ {}", line(command));
    let status = command.status().map_err(|error| start_error(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", line(command))) }
}

/// Runs `command` in silence and returns what it printed, or why it failed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| start_error(command, &error))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{}` ended with {}: {}", line(command), output.status, reason.trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{}` printed bytes that are not UTF-8", line(command)))
}

/// Whether `command` can be started and succeeds; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    output(command).is_ok()
}

fn start_error(command: &Command, error: &std::io::Error) -> String {
    let program = command.get_program().to_string_lossy();
    if error.kind() == ErrorKind::NotFound {
        format!("`{program}` is not installed, or not in PATH")
    } else {
        format!("can't start `{program}`: {error}")
    }
}

/// The command as one would type it, the program by its bare name.
fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut text = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let message = run(&mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert!(message.contains("no-such-program-anywhere"), "{message}");
        assert!(message.contains("not installed"), "{message}");
    }

    #[test]
    fn package_variables_stay_behind_and_settings_go_along() {
        assert!(is_set_for_one_package("CARGO_PKG_NAME"));
        assert!(is_set_for_one_package("CARGO_MANIFEST_DIR"));
        assert!(!is_set_for_one_package("CARGO_TARGET_DIR"));
        assert!(!is_set_for_one_package("CARGO_HOME"));
    }
}
