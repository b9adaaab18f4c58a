//! Options of the attackers: the part that a serving node plays, and who besieges one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::state::{StateItem, subtree};
use hotstuff2_sync_tokio::net::Handler;
use hotstuff2_sync_tokio::store::DiskStore;

use super::lie::{Lie, Staged};
use super::nuisance::{Nuisance, Nuisant};
use super::unlike::Compared;
use crate::args::Parent;
use crate::serve::Played;

/// The part that a serving node plays; without any of these it is honest.
#[derive(Debug, Args)]
pub(crate) struct PartArgs {
    /// Play a liar, to see it caught
    #[arg(long, value_enum, hide = true)]
    lie: Option<Lie>,
    /// Be of no use, to see what that costs
    #[arg(long, value_enum, hide = true)]
    nuisance: Option<Nuisance>,
    /// Answer only after so many milliseconds
    #[arg(long, default_value_t = 0, hide = true)]
    delay_ms: u64,
    /// Answer with at most so many bytes per second and request; 0 is no limit
    #[arg(long, default_value_t = 0, hide = true)]
    rate: u64,
}

impl PartArgs {
    /// The part, played with the honest `answers` of `store`.
    pub(crate) fn play(self, answers: Arc<dyn Handler>, store: &Arc<DiskStore<NativeChain>>) -> Played {
        let Self { lie, nuisance, delay_ms, rate } = self;
        let plays = lie.is_some() || nuisance.is_some();
        if !plays && delay_ms == 0 && rate == 0 {
            return (answers, Arc::default());
        }
        let store = Arc::clone(store);
        let staged: Arc<dyn Handler> = Arc::new(Staged {
            inner: Arc::clone(&answers),
            older: Some(Box::new(move |item| older_subtree(&store, item))),
            lie,
            delay: Duration::from_millis(delay_ms),
            rate,
        });
        let played = match nuisance {
            Some(kind) => Arc::new(Nuisant::new(staged, kind)),
            None => staged,
        };
        if !plays {
            return (played, Arc::default());
        }
        let compared = Compared::new(answers, played);
        let unlike = compared.unlike();
        (Arc::new(compared), unlike)
    }
}

/// What stands in the place of `item` in the oldest state that is kept.
fn older_subtree(store: &DiskStore<NativeChain>, item: StateItem) -> Option<StateItem> {
    let oldest = store.snapshots().into_iter().map(|snapshot| snapshot.height).min()?;
    let state = store.states(oldest).ok()?.into_iter().next()?;
    let (hash, _) = subtree(&state, &item.prefix).ok()?;
    Some(StateItem { hash, ..item })
}

#[derive(Debug, Args)]
pub(crate) struct BesiegeArgs {
    #[arg(long, value_name = "ADDR")]
    pub(crate) peer: SocketAddr,
    #[arg(long, value_name = "N")]
    pub(crate) connections: usize,
    #[arg(long, value_name = "N")]
    pub(crate) networks: u8,
    #[arg(long, value_name = "FILE")]
    pub(crate) report: PathBuf,
    #[command(flatten)]
    pub(crate) parent: Parent,
}
