//! Parts that `serve`, `sync` and `repair` share: the files of a node, how it finds peers, who shows its figures,
//! what executes its blocks, what it does for its operator while it runs, and when it stops.

mod control;
mod files;
mod ledger_app;
mod metrics;
mod peers;
mod stop;
mod threads;
mod web;

pub(crate) use control::{ask_backup, take_orders};
pub(crate) use files::{
    IDENTITY_FILE, copy_store, head_of, header_at, open_or_create, open_store, require_empty, stored_genesis,
};
pub(crate) use ledger_app::{LedgerFunction, open_ledger};
pub(crate) use metrics::{ShownMetrics, answering, counted, show_kept, show_metrics, show_served};
pub(crate) use peers::{beside_peers, discovery, keep_tcp, say_families};
pub(crate) use stop::{Stop, StopCause};
pub(crate) use threads::{one_thread, threads};
pub(crate) use web::{Pages, serve_pages};
