//! The command `hs2-sync` as its users run it: processes, files, exit codes and messages.

mod bad_input;
mod common;
mod demo;
mod devnet;
mod folders;
mod full_disk;
mod keep;
mod kept_store;
mod kill_nine;
mod light;
mod logs;
mod metrics;
mod passed_on;
mod peers;
mod repair;
mod replay;
mod running;
mod siege;
mod snapshot_file;
mod stopping;
mod tcp;
mod tip_age;
mod wrong_calls;
