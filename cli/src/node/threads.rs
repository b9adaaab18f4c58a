//! The threads that commands with a network run on.

use tokio::runtime::{Builder, Runtime};

use crate::error::CliError;

/// As many as there are cores: for a node.
pub(crate) fn threads() -> Result<Runtime, CliError> {
    built(Builder::new_multi_thread())
}

/// This thread alone: for what mostly waits for other processes.
pub(crate) fn one_thread() -> Result<Runtime, CliError> {
    built(Builder::new_current_thread())
}

fn built(mut builder: Builder) -> Result<Runtime, CliError> {
    builder.enable_all().build().map_err(|source| CliError::System { what: "threads can't be started", source })
}
