//! `completions` and `man`: what shells and `man` know of the command, made from its own description.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::CliError;

/// The name of the program.
const NAME: &str = "hs2-sync";

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages, one for each command; it is made where it is missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Prints what `shell` reads to complete the options of `command`.
pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, NAME, &mut script);
    io::stdout().lock().write_all(&script).map_err(CliError::Stdout)
}

/// Writes the manual's pages.
pub(crate) fn man(args: &ManArgs, command: Command) -> Result<(), CliError> {
    fs::create_dir_all(&args.dir).map_err(CliError::file("created", &args.dir))?;
    clap_mangen::generate_to(command, &args.dir).map_err(CliError::file("written to", &args.dir))
}
