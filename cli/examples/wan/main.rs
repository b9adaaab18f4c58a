//! What a synchronization does over a wide area network: hosts in network namespaces, lines with delay, rate, loss and
//! queues between them, and the real command on them.
//!
//! Needs Linux, root, `/dev/net/tun` and `ip`. `cargo xtask wan` builds what it needs and starts it. Nothing leaves the
//! machine: the namespaces have no way out.

mod capped;
mod hosts;
mod liars;
mod link;
mod node;
mod paced;
mod plain;
#[path = "../line/quic.rs"]
mod quic;
mod switch;
mod vanish;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Why a scenario ended early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "wan", about = "Synchronizations over an emulated wide area network")]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Find out whether this machine can do it: hosts are made and taken down again
    Check,
    /// Ten peers on lines of 20 Mbit/s, one of them a hundred times as slow, against a plain QUIC download
    Paced(paced::PacedArgs),
    /// A sync that may take less than the lines give
    #[command(mut_arg("mbit", |mbit| mbit.default_value("100")))]
    Capped(capped::CappedArgs),
    /// Fifty peers, of which one is honest
    Liars(liars::LiarsArgs),
    /// All peers vanish and come back at other addresses
    Vanish(vanish::VanishArgs),
    /// Send to whoever connects (started by the other scenarios)
    #[command(hide = true)]
    PlainServe { address: SocketAddr },
    /// Take so many bytes from these addresses (started by the other scenarios)
    #[command(hide = true)]
    PlainGet { bytes: u64, servers: Vec<SocketAddr> },
}

/// What every scenario needs.
#[derive(Debug, Clone, Args)]
struct Common {
    /// The `hs2-sync` to run
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// Which packets are lost, and which chain is made
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Write the figures as JSON to FILE
    #[arg(long = "json", value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().scenario {
        Scenario::Check => hosts::check(),
        Scenario::Paced(args) => paced::run(&args),
        Scenario::Capped(args) => capped::run(&args),
        Scenario::Liars(args) => liars::run(&args),
        Scenario::Vanish(args) => vanish::run(&args),
        Scenario::PlainServe { address } => blocking(plain::serve(address)),
        Scenario::PlainGet { bytes, servers } => blocking(async move {
            println!("{}", serde_json::to_string(&plain::get(&servers, bytes).await?)?);
            Ok(())
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("wan: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn blocking(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}
