//! The command line: what can be asked of `hs2-sync`, in the words of its help.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::args::{ConfigArgs, GenArgs, InspectArgs, PeersArgs, RepairArgs, ReplayArgs, ServeArgs, SyncArgs};
use crate::attack::args::{BesiegeArgs, PartArgs};
use crate::backup::{BackupArgs, RestoreArgs};
use crate::bench::args::{BenchArgs, CrowdArgs};
use crate::demo::DemoArgs;
use crate::devnet::{DevnetArgs, MemberArgs};
use crate::error::CliError;
use crate::light::LightArgs;
use crate::logs::LogArgs;
use crate::manual::{CompletionsArgs, ManArgs};
use crate::snapshot_args::SnapshotCommand;
use crate::status::StatusArgs;
use crate::{
    attack, backup, bench, config, demo, devnet, generate, inspect, light, manual, peers, repair, replay, serve,
    snapshot, status, sync,
};

/// What the codes mean that the process ends with; [`CliError::exit_code`] gives them.
const EXIT_CODES: &str = "\
Exit codes:
    0  done; of a node also: stopped with nothing lost
    1  failed, or stopped before it was done; standard error says why, and what to do
    2  the command line can't be read, or a file that it names can't be used
    3  caught up, but with `sync --fresh` the tip is too old
  130  ended at once by a second Ctrl-C";

/// What signals do to a node.
const SIGNALS: &str = "\
Signals: Ctrl-C (SIGINT), SIGTERM and SIGHUP stop it in order within 3 s, a second one at once; what was \
acknowledged is stored. SIGHUP reads nothing again, and is ignored under nohup. Exit codes: `hs2-sync --help`";

/// Brings a node that is behind to where a HotStuff-2 network is, from peers that nobody trusts.
#[derive(Debug, Parser)]
#[command(
    name = "hs2-sync",
    version = env!("HS2_VERSION"),
    propagate_version = true,
    arg_required_else_help = true,
    after_help = EXIT_CODES
)]
pub(crate) struct Cli {
    /// Run on this core alone, for measurements
    #[arg(long, hide = true, global = true, value_name = "N")]
    pub(crate) core: Option<usize>,
    #[command(flatten)]
    pub(crate) logs: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show it all: generate a chain, serve it from several processes (one lies, one is slow), and catch up from them
    #[command(mut_arg("app", |app| app.help("What executes the blocks [default: ledger; with --from: none]")))]
    Demo(DemoArgs),
    /// Run a network that decides its own blocks, of nodes on this machine: with crashes, partitions, wiped disks and late joiners
    Devnet(DevnetArgs),
    /// Generate a chain with real signatures into a store that `serve` can serve
    Gen(GenArgs),
    /// Serve a store to whoever asks, until stopped
    #[command(after_help = SIGNALS)]
    Serve(ServeCommand),
    /// Catch up with the network; stopped at any moment, the next `sync` goes on
    #[command(after_help = SIGNALS)]
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
    /// Make a backup of a node's store in a new folder, while the node runs or not
    Backup(BackupArgs),
    /// Put a backup in the place of a node's store
    Restore(RestoreArgs),
    /// Play a recorded sync again, without network and store, and check that it does the same
    Replay(ReplayArgs),
    /// Ask a running node how far it is; fails where it is not ready
    Status(StatusArgs),
    /// List the peers that a node has found, and those that it has banned
    Peers(PeersArgs),
    /// Be a node of a devnet
    #[command(hide = true)]
    DevnetNode(MemberArgs),
    /// Attack a node on this machine, for `bench siege`
    #[command(hide = true)]
    Besiege(BesiegeArgs),
    /// Serve from many identities, for `bench peers`
    #[command(hide = true)]
    Crowd(CrowdArgs),
    /// Move a state in a file that proves itself, without a network
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Print what a shell reads to complete commands and options
    Completions(CompletionsArgs),
    /// Write the manual's pages, for `man`
    Man(ManArgs),
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
            Self::Devnet(args) => devnet::run(&args),
            Self::DevnetNode(args) => devnet::run_member(&args),
            Self::Bench(args) => bench::run(&args),
            Self::Besiege(args) => attack::besiege::run(&args),
            Self::Crowd(args) => bench::peers::crowd(&args),
            Self::Gen(args) => generate::run(&args),
            Self::Serve(ServeCommand { serve, part }) => serve::run(serve, |answers, store| part.play(answers, store)),
            Self::Sync(args) => sync::run(&args),
            Self::Peers(args) => peers::run(&args),
            Self::Status(args) => status::run(&args),
            Self::Config(args) => config::run(&args),
            Self::Inspect(args) => inspect::run(&args),
            Self::Light(args) => light::run(&args),
            Self::Repair(args) => repair::run(&args),
            Self::Backup(args) => backup::backup(&args),
            Self::Restore(args) => backup::restore(&args),
            Self::Replay(args) => replay::run(&args),
            Self::Snapshot(command) => snapshot::run(&command),
            Self::Completions(args) => manual::completions(&args, Cli::command()),
            Self::Man(args) => manual::man(&args, Cli::command()),
        }
    }

    /// Where its result goes as JSON, if anywhere.
    pub(crate) fn json(&self) -> Option<&PathBuf> {
        match self {
            Self::Serve(ServeCommand { serve, .. }) => serve.json.as_ref(),
            Self::Demo(args) => args.json.path.as_ref(),
            Self::Devnet(args) => args.json.path.as_ref(),
            Self::Bench(args) => args.json(),
            Self::Gen(args) => args.json.path.as_ref(),
            Self::Sync(args) => args.json.path.as_ref(),
            Self::Peers(args) => args.json.path.as_ref(),
            Self::Status(args) => args.json.path.as_ref(),
            Self::Inspect(args) => args.json.path.as_ref(),
            Self::Light(args) => args.json.path.as_ref(),
            Self::Repair(args) => args.json.path.as_ref(),
            Self::Backup(args) => args.json.path.as_ref(),
            Self::Restore(args) => args.json.path.as_ref(),
            Self::Replay(args) => args.json.path.as_ref(),
            Self::Snapshot(command) => command.json(),
            Self::Besiege(_)
            | Self::Crowd(_)
            | Self::DevnetNode(_)
            | Self::Config(_)
            | Self::Completions(_)
            | Self::Man(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
