//! `hs2-sync`: generate, serve, synchronize and inspect HotStuff-2 chains.
//!
//! Each command is a module that turns options into calls of the library. A failure is one line on standard error, and
//! an exit code that is not zero ([`error::CliError::exit_code`]).
//!
//! The rooms, from below: [`screen`] is standard error, which all share, and [`logs`] what the library says there;
//! [`report`] has what commands say, [`node`] what `serve`, `sync` and `repair` share; the commands take from those alone.
//! [`attack`] (peers that lie or do harm), [`cluster`] (processes of this program), [`mod@bench`], [`demo`] and [`devnet`] are
//! tools: they take from the commands, and no command takes from them.

mod args;
mod attack;
mod backup;
mod bench;
mod cli;
mod cluster;
mod config;
mod demo;
mod demo_args;
mod devnet;
mod error;
mod generate;
mod inspect;
mod light;
mod live;
mod logs;
mod manual;
mod node;
mod peers;
mod recipe;
mod repair;
mod replay;
mod report;
mod screen;
mod serve;
mod settings;
mod snapshot;
mod snapshot_args;
mod status;
mod sync;
mod tip;
mod usage;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli::Cli { core, logs, command } = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        // Also help and version, which somebody wants to read.
        Err(error) => {
            return match error.print() {
                Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1)),
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    logs::begin(&logs);
    if let Some(core) = core {
        usage::stay_on(core);
    }
    let json = command.json().cloned();
    let Err(error) = command.run().and_then(|()| report::all_was_said()) else {
        return ExitCode::SUCCESS;
    };
    if let Some(path) = json
        && let Err(second) = report::write_failure(&error, &path)
    {
        screen::complain(second);
    }
    screen::complain(&error);
    error.exit_code()
}
