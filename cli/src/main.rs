//! `hs2-sync`: generate, serve, synchronize and inspect HotStuff-2 chains.
//!
//! Each command is a module that turns options into calls of the library. A failure is one line on standard error, and
//! an exit code that is not zero ([`error::CliError::exit_code`]).
//!
//! The rooms, from below: [`report`] has what commands say, [`node`] what `serve`, `sync` and `repair` share; the
//! commands take from those alone. [`attack`] (peers that lie or do harm), [`cluster`] (processes of this program),
//! [`mod@bench`] and [`demo`] are tools: they take from the commands, and no command takes from them.

mod args;
mod attack;
mod bench;
mod cli;
mod cluster;
mod config;
mod demo;
mod error;
mod generate;
mod inspect;
mod light;
mod node;
mod peers;
mod repair;
mod replay;
mod report;
mod serve;
mod settings;
mod snapshot;
mod snapshot_args;
mod sync;
mod tip;
mod usage;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli::Cli { core, command } = cli::Cli::parse();
    if let Some(core) = core {
        usage::stay_on(core);
    }
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hs2-sync: {error}");
            error.exit_code()
        }
    }
}
