//! `hs2-sync`: generate, serve, synchronize and inspect HotStuff-2 chains.
//!
//! Each command is a module that turns options into calls of the library. A failure is one line on standard error, and
//! an exit code that is not zero ([`error::CliError::exit_code`]).

mod args;
mod bench;
mod bench_args;
mod bench_peers;
mod bench_pieces;
mod bench_siege;
mod bench_state;
mod besiege;
mod child;
mod cluster;
mod config;
mod demo;
mod error;
mod generate;
mod inspect;
mod ledger_app;
mod lie;
mod nuisance;
mod peers;
mod progress;
mod repair;
mod replay;
mod report;
mod serve;
mod snapshot;
mod snapshot_args;
mod state_lie;
mod stop;
mod sync;
mod tip;
mod unlike;
mod usage;
mod watch;
#[cfg(test)]
mod wrapper_tests;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};

fn main() -> ExitCode {
    let Cli { core, command } = Cli::parse();
    if let Some(core) = core {
        usage::stay_on(core);
    }
    let result = match command {
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(&args),
        Command::Besiege(args) => besiege::run(&args),
        Command::Crowd(args) => bench_peers::crowd(&args),
        Command::Gen(args) => generate::run(&args),
        Command::Serve(args) => serve::run(args),
        Command::Sync(args) => sync::run(&args),
        Command::Peers(args) => peers::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Snapshot(command) => snapshot::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hs2-sync: {error}");
            error.exit_code()
        }
    }
}
