//! `bench state`: how fast a state comes over the network into a new node's store, against loading the same pairs and
//! tree nodes into the same kind of store locally; and what a node receives whose own state differs in a thousandth.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{PageBuilder, Prefix, Record, StateReader as _, value_hash};
use hotstuff2_sync_tokio::store::{DiskStore, SnapshotRetention, StateSpace, StateStore as _, StoreAnchor};
use hotstuff2_sync_tokio::wall_clock;
use serde::Serialize;

use super::args::BenchStateArgs;
use super::{KEY_BYTES, Servers, chain_of, pair_bytes};
use crate::args::{Parent, Strategy};
use crate::cluster::Folder;
use crate::error::CliError;
use crate::generate::{GenPlan, generate};
use crate::node::{Stop, open_store};
use crate::report::{StateReport, SyncReport, ratio, say, write_json};

/// Blocks below which a sync follows the tip, whatever the strategy: either part of the chain has more.
const LEAST_BLOCKS: u64 = 100;

/// One entry in so many is changed for the second measurement.
const ENTRIES_PER_CHANGE: u64 = 1000;

/// Bytes that are committed at once when a state is loaded locally.
const LOAD_BYTES: usize = 8 << 20;

#[derive(Debug, Serialize)]
struct StateBench {
    entries: u64,
    /// Bytes of all keys and values.
    pair_bytes: u64,
    /// The download into a new node, from the first proven block to the live state.
    download: StateReport,
    /// The same pairs and tree nodes loaded locally.
    local_seconds: f64,
    local_keys_per_second: f64,
    /// The download's speed over that.
    speed_ratio: f64,
    /// All bytes that the new node received, over those of the pairs.
    received_ratio: f64,
    /// Resident memory of the new node with its store open and nothing begun, and at its peak.
    start_rss_bytes: Option<u64>,
    peak_rss_bytes: Option<u64>,
    /// What the download added: the peak over the start.
    memory_growth_bytes: Option<u64>,
    /// Changes of entries since the state that the second node has.
    changes: u64,
    delta: StateReport,
    /// All bytes that the second node received, over those of the pairs.
    delta_share: f64,
}

pub(crate) async fn measure(args: &BenchStateArgs) -> Result<(), CliError> {
    let mut stop = Stop::of_tool(&Parent { until_stdin_closes: false })?;
    let json = args.json.path.as_deref();
    let folder = Folder::prepare(args.servers.kept.dir.as_deref())?;
    let dir = &folder.entry("state")?;

    // The first half makes the state, the second changes it.
    let mut chain = chain_of(args.entries, 0, &args.servers);
    let half = chain.entries().map_or(0, |entries| entries.filling_blocks()).max(LEAST_BLOCKS);
    let changes = (args.entries / ENTRIES_PER_CHANGE).div_ceil(half);
    chain.blocks = Some(half.saturating_mul(2));
    chain.epochs = 2;
    chain.snapshot_interval = half;
    chain.changes = u32::try_from(changes).unwrap_or(u32::MAX);
    let early = dir.join("behind");
    let plan = GenPlan { early: Some(&early), ..GenPlan::new(&chain, wall_clock()) };
    let generated = generate(&dir.join("chain"), &plan, &stop)?;
    say(json, format_args!("generated {} blocks in {:.1} s", generated.blocks, generated.seconds));

    let local_seconds = load_locally(&dir.join("chain"), &dir.join("loaded"))?;
    let servers = Servers::start(dir, args.servers.peers)?;
    let late = servers.sync(dir, "late", Strategy::Fast, &mut stop).await?;
    let behind = servers.sync(dir, "behind", Strategy::Fast, &mut stop).await?;
    drop(servers);

    let pair_bytes = pair_bytes(args.entries, &args.servers);
    let share = |report: &SyncReport| ratio(report.wire_bytes_received as f64, pair_bytes as f64);
    let (received_ratio, delta_share) = (share(&late), share(&behind));
    let state = |report: SyncReport| {
        report.state.ok_or(CliError::Options("the state was not fetched: there are too few blocks for that"))
    };
    let (start_rss_bytes, peak_rss_bytes) = (late.start_rss_bytes, late.peak_rss_bytes);
    let memory_growth_bytes = peak_rss_bytes.zip(start_rss_bytes).map(|(peak, start)| peak.saturating_sub(start));
    let (download, delta) = (state(late)?, state(behind)?);
    let local_keys_per_second = ratio(args.entries as f64, local_seconds);
    let bench = StateBench {
        entries: args.entries,
        pair_bytes,
        speed_ratio: ratio(download.keys_per_second, local_keys_per_second),
        download,
        local_seconds,
        local_keys_per_second,
        received_ratio,
        start_rss_bytes,
        peak_rss_bytes,
        memory_growth_bytes,
        changes: changes.saturating_mul(half),
        delta,
        delta_share,
    };
    say(
        json,
        format_args!(
            "{} keys of {KEY_BYTES} bytes with values of {}: {:.1} MB\n\
             from {} peers: {:.2} s, {:.0} keys/s\n\
             loaded locally: {:.2} s, {:.0} keys/s; the network reaches {:.0} % of that\n\
             received: {:.4} of the pairs' bytes; memory grew from {} MiB by {} MiB\n\
             after {} changes: {} keys fetched in {:.2} s, received: {:.2} % of the pairs' bytes",
            bench.entries,
            args.servers.value_bytes,
            bench.pair_bytes as f64 / 1e6,
            args.servers.peers,
            bench.download.seconds,
            bench.download.keys_per_second,
            bench.local_seconds,
            bench.local_keys_per_second,
            bench.speed_ratio * 100.0,
            bench.received_ratio,
            bench.start_rss_bytes.unwrap_or_default() >> 20,
            bench.memory_growth_bytes.unwrap_or_default() >> 20,
            bench.changes,
            bench.delta.keys,
            bench.delta.seconds,
            bench.delta_share * 100.0,
        ),
    );
    json.map_or(Ok(()), |path| write_json(&bench, path))
}

/// Loads the state of the store in `from` into a new one in `to`; the seconds that writing it took.
fn load_locally(from: &Path, to: &Path) -> Result<f64, CliError> {
    let (genesis, source) = open_store(from)?;
    let mut pairs: Vec<(Hash, Bytes)> = Vec::new();
    source.live_state()?.scan(&Prefix::ROOT, &mut |key_hash, record| {
        pairs.push((key_hash, Bytes::copy_from_slice(&record)));
        ControlFlow::Continue(())
    })?;
    drop(source);
    let damaged = |error: &dyn std::fmt::Display| CliError::LedgerDamaged(error.to_string());
    let mut builder = PageBuilder::new();
    for (key_hash, record) in &pairs {
        let record = Record::decode(record.clone()).map_err(|error| damaged(&error))?;
        builder.push(*key_hash, value_hash(record.value())).map_err(|error| damaged(&error))?;
    }
    let (_, _, pages) = builder.finish();

    let store = DiskStore::create(to, Arc::new(NativeChain::new(&genesis)), &StoreAnchor::from(&genesis))?;
    store.set_snapshot_retention(SnapshotRetention { count: 0, max_age: None })?;
    let pairs = pairs
        .into_iter()
        .map(|(key, record)| (StateSpace::Values, Bytes::copy_from_slice(key.as_bytes()), Some(record)));
    let pages =
        pages.into_iter().map(|(key, page)| (StateSpace::Pages, Bytes::from(key.to_bytes()), Some(Bytes::from(page))));
    let begin = Instant::now();
    let (mut batch, mut bytes) = (Vec::new(), 0usize);
    for write in pairs.chain(pages) {
        bytes = bytes.saturating_add(write.1.len()).saturating_add(write.2.as_ref().map_or(0, Bytes::len));
        batch.push(write);
        if bytes >= LOAD_BYTES {
            store.commit(Height::ZERO, &mut batch.drain(..))?;
            bytes = 0;
        }
    }
    store.commit(Height::ZERO, &mut batch.drain(..))?;
    store.persist()?;
    Ok(begin.elapsed().as_secs_f64())
}
