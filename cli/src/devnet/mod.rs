//! `devnet`: a network that decides its own blocks, of processes on this machine.
//!
//! Each process is a whole node: a [`member`] with store, state, sync, and the reference replica of the testkit as its consensus
//! [`engine`]. Blocks reach store and state through the sync alone, whoever decided them. This process starts them, plays a
//! [`scenario`], shows where they are ([`mod@view`]), and [compares](compare) what they came to.

mod args;
mod compare;
mod control;
mod engine;
mod ledger;
mod mail;
mod member;
mod network;
mod plan;
mod record_file;
mod report;
mod scenario;
mod status;
mod view;

pub(crate) use args::{DevnetArgs, MemberArgs};

use crate::error::CliError;
use crate::node::{one_thread, threads};

/// Runs the network.
pub(crate) fn run(args: &DevnetArgs) -> Result<(), CliError> {
    one_thread()?.block_on(network::run(args))
}

/// Runs one node of it.
pub(crate) fn run_member(args: &MemberArgs) -> Result<(), CliError> {
    threads()?.block_on(member::run(args))
}
