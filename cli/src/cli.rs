//! The command line: what can be asked of `hs2-sync`, in the words of its help.

use clap::{Args, Parser, Subcommand};

use crate::args::{ConfigArgs, DemoArgs, GenArgs, InspectArgs, PeersArgs, RepairArgs, ReplayArgs, ServeArgs, SyncArgs};
use crate::attack::args::{BesiegeArgs, PartArgs};
use crate::bench::args::{BenchArgs, CrowdArgs};
use crate::error::CliError;
use crate::light::LightArgs;
use crate::snapshot_args::SnapshotCommand;
use crate::{attack, bench, config, demo, generate, inspect, light, peers, repair, replay, serve, snapshot, sync};

/// Brings a node that is behind to where a HotStuff-2 network is, from peers that nobody trusts.
#[derive(Debug, Parser)]
#[command(name = "hs2-sync", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Run on this core alone, for measurements
    #[arg(long, hide = true, global = true, value_name = "N")]
    pub(crate) core: Option<usize>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show it all: generate a chain, serve it from several processes (one lies, one is slow), and catch up from them
    #[command(mut_arg("app", |app| app.help("What executes the blocks [default: ledger; with --from: none]")))]
    Demo(DemoArgs),
    /// Generate a chain with real signatures into a store that `serve` can serve
    Gen(GenArgs),
    /// Serve a store to whoever asks, until stopped
    Serve(ServeCommand),
    /// Catch up with the network; stopped at any moment, the next `sync` goes on
    #[command(
        after_help = "Exit codes: 0 caught up, or stopped while following; 1 not caught up; 2 options that can't be \
                            read; 3 caught up, but with --fresh the tip is too old"
    )]
    Sync(SyncArgs),
    /// Print the settings that `sync` would use, with what each is for, its range and where it comes from
    Config(ConfigArgs),
    /// Measure how long each strategy takes, for states of several sizes and gaps of several lengths
    Bench(BenchArgs),
    /// Prove the chain's tip, and read values of its state, without a store: from peers that nobody trusts
    Light(LightArgs),
    /// Check a store and say what it holds
    Inspect(InspectArgs),
    /// Fetch again from peers what can't be read in a store of a node that is stopped
    Repair(RepairArgs),
    /// Play a recorded sync again, without network and store, and check that it does the same
    Replay(ReplayArgs),
    /// List the peers that a node has found, and those that it has banned
    Peers(PeersArgs),
    /// Attack a node on this machine, for `bench siege`
    #[command(hide = true)]
    Besiege(BesiegeArgs),
    /// Serve from many identities, for `bench peers`
    #[command(hide = true)]
    Crowd(CrowdArgs),
    /// Move a state in a file that proves itself, without a network
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
}

/// `serve`, and the part that the node plays in a demo or a measurement.
#[derive(Debug, Args)]
pub(crate) struct ServeCommand {
    #[command(flatten)]
    serve: ServeArgs,
    #[command(flatten)]
    part: PartArgs,
}

impl Command {
    /// Carries the command out.
    pub(crate) fn run(self) -> Result<(), CliError> {
        match self {
            Self::Demo(args) => demo::run(args),
            Self::Bench(args) => bench::run(&args),
            Self::Besiege(args) => attack::besiege::run(&args),
            Self::Crowd(args) => bench::peers::crowd(&args),
            Self::Gen(args) => generate::run(&args),
            Self::Serve(ServeCommand { serve, part }) => serve::run(serve, |answers, store| part.play(answers, store)),
            Self::Sync(args) => sync::run(&args),
            Self::Peers(args) => peers::run(&args),
            Self::Config(args) => config::run(&args),
            Self::Inspect(args) => inspect::run(&args),
            Self::Light(args) => light::run(&args),
            Self::Repair(args) => repair::run(&args),
            Self::Replay(args) => replay::run(&args),
            Self::Snapshot(command) => snapshot::run(&command),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
