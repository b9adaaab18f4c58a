//! [`grow`]: a chain that grows while it is served, for the demo.
//!
//! Every server makes the same blocks, by the wall clock: all of them go on with one recipe up to one last block.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_testkit::chain::{BLOCK_MS, Blocks, ChainGenerator, Piece};
use hotstuff2_sync_tokio::genesis_file::GENESIS_FILE;
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore};
use hotstuff2_sync_tokio::wall_clock;
use tokio::task::spawn_blocking;

use crate::args::ChainArgs;
use crate::demo_args::GrowArgs;
use crate::error::CliError;
use crate::generate::{Sink, resumed};
use crate::node::Stop;
use crate::recipe::{RECIPE, Recipe};

/// Blocks that are proven together: one second's.
const PROVEN_TOGETHER: u64 = 1000 / BLOCK_MS;

/// Lets the chain in the folder `dir`, whose store is open, grow up to the end, or until `stop`.
pub(crate) async fn grow(
    args: GrowArgs,
    dir: &Path,
    store: &Arc<DiskStore<NativeChain>>,
    genesis: &Genesis,
    stop: &Stop,
) -> Result<(), CliError> {
    if args.grow == 0 {
        return Ok(());
    }
    let begins = store.stored().height.get();
    let (dir, store, genesis, stop) = (dir.to_owned(), Arc::clone(store), genesis.clone(), stop.clone());
    let mut growing = beside(move || Growing::begin(args, &dir, &store, &genesis, &stop)).await?;
    while let Some(blocks) = &growing.next {
        // Its last block is proposed by then.
        let last = blocks.part.segment.range().last().get().saturating_sub(begins);
        let due = args.grow_from.saturating_add(last.saturating_add(1).saturating_mul(BLOCK_MS));
        let now = wall_clock().get().saturating_add(args.grow_ahead_ms);
        tokio::time::sleep(Duration::from_millis(due.saturating_sub(now))).await;
        growing = beside(move || growing.step()).await?;
    }
    beside(move || growing.sink.finish()).await
}

/// Runs what waits for the disk where it keeps nobody waiting.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> Result<T, CliError> + Send + 'static) -> Result<T, CliError> {
    // It ends early where the process does.
    spawn_blocking(work).await.unwrap_or(Err(CliError::Stopped))
}

/// A chain between two additions.
struct Growing {
    generator: ChainGenerator,
    chain: ChainArgs,
    sink: Sink,
    /// The blocks that are added next; none behind the last.
    next: Option<Blocks>,
}

impl Growing {
    fn begin(
        args: GrowArgs,
        dir: &Path,
        store: &Arc<DiskStore<NativeChain>>,
        genesis: &Genesis,
        stop: &Stop,
    ) -> Result<Self, CliError> {
        let recipe = Recipe { certify_every: PROVEN_TOGETHER, ..Recipe::read(&dir.join(RECIPE))? };
        let last_timestamp = UnixMillis::new(args.grow_from.saturating_add(args.grow.saturating_mul(BLOCK_MS)));
        let generator = resumed(&recipe, genesis, store, args.grow, last_timestamp)?;
        let sink = Sink::new(recipe.chain.app(), Arc::clone(store), genesis, &dir.join(GENESIS_FILE), stop)?;
        let mut growing = Self { generator, chain: recipe.chain, sink, next: None };
        growing.look_ahead()?;
        Ok(growing)
    }

    /// Adds the next blocks.
    fn step(mut self) -> Result<Self, CliError> {
        if let Some(blocks) = self.next.take() {
            self.sink.push(blocks)?;
            self.sink.flush()?;
        }
        self.look_ahead()?;
        Ok(self)
    }

    fn look_ahead(&mut self) -> Result<(), CliError> {
        while let Some(piece) = self.generator.next_piece().map_err(CliError::from_generator(&self.chain))? {
            match piece {
                Piece::Blocks(blocks) => {
                    self.next = Some(blocks);
                    break;
                }
                Piece::Handover(link) => self.sink.cross(link)?,
                // The last segment has the same proof.
                Piece::Tip(_) => {}
            }
        }
        Ok(())
    }
}
