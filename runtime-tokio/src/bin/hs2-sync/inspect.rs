//! `inspect`: checks a store and says what it holds.

use std::path::Path;
use std::sync::Arc;

use hotstuff2_sync::chain::native::{Genesis, GenesisDocument, NativeChain};
use hotstuff2_sync::chain::{Chain as _, HeaderFacts};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, read_genesis};

use crate::args::InspectArgs;
use crate::error::CliError;
use crate::report::{Head, InspectReport, say, write_json};

pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    let report = inspect(&args.dir)?;
    let json = args.json.path.as_deref();
    let InspectReport { head, epoch, earliest_height, blocks, handovers } = &report;
    say(
        json,
        format_args!(
            "head {} {}\nstate root {}\nepoch {epoch}, {handovers} handovers\n{blocks} blocks from height {earliest_height} on, all checked",
            head.height, head.id, head.state_root,
        ),
    );
    json.map_or(Ok(()), |path| write_json(&report, path))
}

/// The genesis document in the store in `dir`.
pub(crate) fn stored_genesis(dir: &Path) -> Result<Genesis, CliError> {
    let bytes = read_genesis(dir)?;
    let genesis = GenesisDocument::decode(&bytes).ok().and_then(|document| document.check().ok());
    genesis.ok_or_else(|| CliError::DamagedGenesis(dir.to_owned()))
}

/// Opens the store in `dir`, with the genesis document that it was made with.
pub(crate) fn open_store(dir: &Path) -> Result<(Genesis, DiskStore<NativeChain>), CliError> {
    let genesis = stored_genesis(dir)?;
    let store = DiskStore::open(dir, Arc::new(NativeChain::new(&genesis)), Some(genesis.chain_id()))?;
    Ok((genesis, store))
}

/// Checks the store in `dir`, which nobody else may have open, and says what it holds.
pub(crate) fn inspect(dir: &Path) -> Result<InspectReport, CliError> {
    let (genesis, store) = open_store(dir)?;
    store.check(|_| {})?;
    let head = head_of(&store, &genesis)?;
    let status = store.status();
    let mut handovers = 0;
    while store.handover(Epoch::new(handovers))?.is_some() {
        handovers += 1;
    }
    let blocks = head.height.saturating_add(1).saturating_sub(status.earliest.get());
    Ok(InspectReport { head, epoch: status.epoch.get(), earliest_height: status.earliest.get(), blocks, handovers })
}

/// The highest stored block.
pub(crate) fn head_of(store: &DiskStore<NativeChain>, genesis: &Genesis) -> Result<Head, CliError> {
    let height = store.stored().height;
    let HeaderFacts { id, state_root, .. } = header_at(store, genesis, height)?;
    Ok(Head { height: height.get(), id: id.to_string(), state_root: state_root.to_string() })
}

/// The header of the block at `height`, which is stored, or the one that the store begins above.
pub(crate) fn header_at(
    store: &DiskStore<NativeChain>,
    genesis: &Genesis,
    height: Height,
) -> Result<HeaderFacts, CliError> {
    if height == Height::ZERO {
        let header = genesis.header();
        return Ok(HeaderFacts { id: genesis.id(), state_root: header.state_root, timestamp: header.timestamp });
    }
    let chain = NativeChain::new(genesis);
    // The block whose state was fetched is not among the stored ones.
    let base = store.base()?.filter(|base| base.height == height).map(|base| base.segment);
    let segment = match base {
        Some(segment) => Some(segment),
        None => store.segment(HeightRange::single(height), false, false)?.map(|stored| stored.segment),
    };
    let segment = segment.and_then(|segment| chain.decode_segment(&segment).ok());
    segment.and_then(|segment| chain.header(&segment, height)).ok_or(CliError::NoHeader(height))
}
