//! `config`: shows the settings that a `sync` would use.

use crate::args::ConfigArgs;
use crate::error::CliError;
use crate::report::say;
use crate::settings::Settings;

/// Prints the configuration that a `sync` with the same options would use.
pub(crate) fn run(args: &ConfigArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.settings, std::env::vars_os())?;
    say(None, format_args!("{}", settings.describe().trim_end()));
    Ok(())
}
