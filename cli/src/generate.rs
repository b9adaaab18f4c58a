//! `gen`: generates a chain into a store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use hotstuff2_sync::calls::{Apply, ApplyPart};
use hotstuff2_sync::chain::native::{Genesis, Header, NativeChain};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::split_payloads;
use hotstuff2_sync_testkit::chain::{
    Blocks, ChainGenerator, ChainSpec, EntryPayloads, FilePayloads, GenerateError, LedgerPayloads, Payloads, Piece,
    RandomPayloads, Turnover,
};
use hotstuff2_sync_testkit::ledger::DEFAULT_ACCOUNTS;
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, StoreAnchor};
use hotstuff2_sync_tokio::{AppBlock, Executor, wall_clock};

use crate::args::{App, ChainArgs, GenArgs, Parent};
use crate::error::CliError;
use crate::node::{Stop, copy_store, open_ledger, open_store, require_empty};
use crate::report::{GenReport, Head, ProgressLine, Snapshot, say, write_json};
use hotstuff2_sync_tokio::genesis_file::{GENESIS_FILE, write_genesis};

/// Blocks of a generated chain, unless told otherwise.
const DEFAULT_BLOCKS: u64 = 20_000;

/// Payload bytes that are made durable together: some grid cells of small blocks, so that waiting for the disk costs
/// little.
const BATCH_BYTES: u64 = 16 << 20;

/// Folder inside of a chain's folder in which the chain is made, until all of it is there.
const UNFINISHED: &str = "hs2-gen.part";

pub(crate) fn run(args: &GenArgs) -> Result<(), CliError> {
    let stop = Stop::of_tool(&Parent { until_stdin_closes: false })?;
    let timestamp = args.timestamp.map_or_else(wall_clock, UnixMillis::new);
    let plan = GenPlan { certify_every: args.certify_every, ..GenPlan::new(&args.chain, timestamp) };
    let report = generate(&args.dir, &plan, &stop)?;
    let json = args.json.path.as_deref();
    say(
        json,
        format_args!(
            "{} blocks with {:.1} MB of payload in {:.1} s\nhead {} {}\ngenesis file {}",
            report.blocks,
            report.payload_bytes as f64 / 1e6,
            report.seconds,
            report.head.height,
            report.head.id,
            report.genesis.display(),
        ),
    );
    json.map_or(Ok(()), |path| write_json(&report, path))
}

/// A chain that is to be generated.
pub(crate) struct GenPlan<'a> {
    /// The chain, as options say it.
    pub(crate) chain: &'a ChainArgs,
    /// Heights between two blocks with a certificate of their own in the store; 0 for none but those that prove.
    pub(crate) certify_every: u64,
    /// The time of the last block.
    pub(crate) last_timestamp: UnixMillis,
    /// A folder for a copy of the store as it is after the first epoch.
    pub(crate) early: Option<&'a Path>,
}

impl<'a> GenPlan<'a> {
    /// A chain whose last block has this time, with no more certificates than it takes and without a copy.
    pub(crate) fn new(chain: &'a ChainArgs, last_timestamp: UnixMillis) -> Self {
        Self { chain, certify_every: 0, last_timestamp, early: None }
    }
}

/// Generates a chain into a new store in `dir`, with its genesis file, until `stop`: then nothing of it is left.
pub(crate) fn generate(dir: &Path, plan: &GenPlan<'_>, stop: &Stop) -> Result<GenReport, CliError> {
    let unfinished = Unfinished::begin(dir)?;
    let report = generate_in(&unfinished.path, plan, stop)?;
    unfinished.finish(dir)?;
    Ok(GenReport { genesis: dir.join(GENESIS_FILE), ..report })
}

/// A folder for what is being made; with it goes all of that, unless it is finished.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// Begins in `dir`, which must hold nothing but what a call like this one left that was killed.
    fn begin(dir: &Path) -> Result<Self, CliError> {
        let path = dir.join(UNFINISHED);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path).map_err(CliError::file("removed", &path))?;
        }
        require_empty(dir)?;
        fs::create_dir_all(&path).map_err(CliError::file("created", &path))?;
        Ok(Self { path })
    }

    /// Moves all that was made to where it belongs.
    fn finish(self, dir: &Path) -> Result<(), CliError> {
        for entry in fs::read_dir(&self.path).map_err(CliError::file("read", &self.path))? {
            let entry = entry.map_err(CliError::file("read", &self.path))?;
            let target = dir.join(entry.file_name());
            fs::rename(entry.path(), &target).map_err(CliError::file("created", target))?;
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Files that can't be removed now are removed by the next call.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn generate_in(dir: &Path, plan: &GenPlan<'_>, stop: &Stop) -> Result<GenReport, CliError> {
    let GenPlan { chain, certify_every, last_timestamp, early } = *plan;
    let begin = Instant::now();
    let (payloads, blocks) = payloads(chain)?;
    let spec = ChainSpec {
        name: format!("hs2-sync-gen-{}", chain.seed),
        seed: chain.seed,
        blocks,
        validators: chain.validators,
        epochs: chain.epochs,
        ends_epoch: false,
        certify_every,
        last_timestamp,
        snapshot_interval: chain.snapshot_interval,
        turnover: Turnover::Seventh,
    };
    let mut generator = ChainGenerator::new(spec, payloads)?;
    let genesis = generator.genesis().clone();
    let genesis_file = dir.join(GENESIS_FILE);
    write_genesis(&genesis, &genesis_file)?;
    let store = DiskStore::create(dir, Arc::new(NativeChain::new(&genesis)), &StoreAnchor::from(&genesis))?;
    let store = Arc::new(store);
    let mut sink = Sink::new(chain.app(), store, &genesis, &genesis_file, stop)?;
    let mut head =
        Head { height: 0, id: genesis.id().to_string(), state_root: genesis.header().state_root.to_string() };
    let mut handovers = 0;
    let mut progress = ProgressLine::new(0, "generating");
    while let Some(piece) = generator.next_piece().map_err(CliError::from_generator(chain))? {
        match piece {
            Piece::Blocks(blocks) => {
                let segment = &blocks.part.segment;
                head.height = segment.range().last().get();
                head.id = segment.last_id().to_string();
                if let Some(last) = blocks.headers.last() {
                    head.state_root = last.state_root.to_string();
                }
                sink.push(blocks)?;
            }
            Piece::Handover(link) => {
                sink.flush()?;
                sink.store.put_handovers(&[link])?;
                handovers += 1;
                if handovers == 1
                    && let Some(early) = early
                {
                    sink.finish()?;
                    let payload_bytes = sink.payload_bytes;
                    drop(sink);
                    copy_store(dir, early)?;
                    let (_, store) = open_store(dir)?;
                    sink = Sink::new(chain.app(), Arc::new(store), &genesis, &genesis_file, stop)?;
                    sink.payload_bytes = payload_bytes;
                }
            }
            // The last segment has the same proof.
            Piece::Tip(_) => {}
        }
        progress.show(&snapshot(begin, head.height, blocks, sink.payload_bytes));
    }
    sink.finish()?;
    progress.finish(&snapshot(begin, head.height, blocks, sink.payload_bytes));
    Ok(GenReport {
        head,
        genesis: genesis_file,
        chain_id: genesis.chain_id().to_string(),
        blocks,
        handovers,
        payload_bytes: sink.payload_bytes,
        seconds: begin.elapsed().as_secs_f64(),
    })
}

/// Where the payloads come from, and how many blocks they make.
fn payloads(chain: &ChainArgs) -> Result<(Box<dyn Payloads + Send>, u64), CliError> {
    let failed = |error| CliError::from_generator(chain)(GenerateError::Payload(error));
    let blocks = chain.blocks.unwrap_or(DEFAULT_BLOCKS);
    if let Some(entries) = chain.entries() {
        if chain.app() != App::Ledger {
            return Err(CliError::Options("entries are the ledger's: say --app ledger too, or leave out --entries"));
        }
        let blocks = chain.blocks.unwrap_or_else(|| entries.filling_blocks());
        return Ok((Box::new(EntryPayloads::new(chain.seed, entries, chain.payload_bytes).map_err(failed)?), blocks));
    }
    Ok(match (&chain.from, chain.app()) {
        (Some(_), App::Ledger) => {
            return Err(CliError::Options("the ledger's payloads are its transfers: leave out --from or --app ledger"));
        }
        (Some(path), App::None) => {
            let files = FilePayloads::open(path, chain.payload_bytes).map_err(failed)?;
            let blocks = files.blocks().min(chain.blocks.unwrap_or(u64::MAX));
            (Box::new(files), blocks)
        }
        (None, App::None) => (Box::new(RandomPayloads::new(chain.seed, chain.payload_bytes)), blocks),
        (None, App::Ledger) => {
            let ledger = LedgerPayloads::new(chain.seed, DEFAULT_ACCOUNTS, chain.payload_bytes).map_err(failed)?;
            (Box::new(ledger), blocks)
        }
    })
}

fn snapshot(begin: Instant, height: u64, target: u64, bytes: u64) -> Snapshot {
    let seconds = begin.elapsed().as_secs_f64().max(1e-3);
    Snapshot {
        height,
        target,
        blocks_per_second: height as f64 / seconds,
        bytes_per_second: bytes as f64 / seconds,
        remaining: None,
        note: None,
        still: None,
        tip_age: None,
        state: None,
        at_tip: false,
    }
}

/// Hands blocks to the store, several segments at a time, and to the ledger, whose state nodes that join can fetch.
struct Sink<'a> {
    stop: &'a Stop,
    store: Arc<DiskStore<NativeChain>>,
    ledger: Option<Executor>,
    batch: Vec<Blocks>,
    batch_bytes: u64,
    payload_bytes: u64,
}

impl<'a> Sink<'a> {
    fn new(
        app: App,
        store: Arc<DiskStore<NativeChain>>,
        genesis: &Genesis,
        genesis_file: &Path,
        stop: &'a Stop,
    ) -> Result<Self, CliError> {
        let ledger = match app {
            App::None => None,
            App::Ledger => {
                let ledger = open_ledger(&store, genesis, genesis_file)?;
                Some(Executor::new(Box::new(ledger), store.snapshot_interval()))
            }
        };
        Ok(Self { stop, store, ledger, batch: Vec::new(), batch_bytes: 0, payload_bytes: 0 })
    }

    fn push(&mut self, blocks: Blocks) -> Result<(), CliError> {
        self.stop.check()?;
        let bytes: u64 = blocks.part.frames.iter().map(|frame| frame.raw.len() as u64).sum();
        self.batch.push(blocks);
        self.batch_bytes += bytes;
        self.payload_bytes += bytes;
        if self.batch_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), CliError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (parts, headers): (_, Vec<_>) =
            std::mem::take(&mut self.batch).into_iter().map(|blocks| (blocks.part, blocks.headers)).unzip();
        let apply = Apply { target: Height::ZERO, parts, tip: None };
        self.store.append(&apply)?;
        if let Some(ledger) = &mut self.ledger {
            for (part, headers) in apply.parts.iter().zip(&headers) {
                self.stop.check()?;
                execute(ledger, part, headers)?;
            }
        }
        self.batch_bytes = 0;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), CliError> {
        self.flush()?;
        match &mut self.ledger {
            Some(ledger) => ledger.persist().map_err(CliError::Execute),
            None => Ok(()),
        }
    }
}

fn execute(ledger: &mut Executor, part: &ApplyPart, headers: &[Header]) -> Result<(), CliError> {
    let mut headers = headers.iter();
    for frame in &part.frames {
        let lens = part.segment.payload_lens_of(frame.range).unwrap_or_default();
        let payloads = split_payloads(&frame.raw, lens).zip(headers.by_ref());
        let block = |(payload, header): (_, &Header)| AppBlock {
            height: header.height,
            id: header.id(),
            timestamp: header.timestamp,
            state_root: header.state_root,
            payload,
        };
        ledger.execute(&payloads.map(block).collect::<Vec<_>>()).map_err(CliError::Execute)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_finished_is_not_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("chain");
        drop(Unfinished::begin(&dir).unwrap());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        let killed = Unfinished::begin(&dir).unwrap();
        fs::write(killed.path.join("genesis"), "half").unwrap();
        std::mem::forget(killed);
        let done = Unfinished::begin(&dir).unwrap();
        fs::write(done.path.join("genesis"), "whole").unwrap();
        done.finish(&dir).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(dir.join("genesis")).unwrap(), "whole");
        assert!(matches!(Unfinished::begin(&dir), Err(CliError::NotEmpty(_))));
    }
}
