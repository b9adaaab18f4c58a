//! `gen`: generates a chain into a store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use hotstuff2_sync::calls::{Apply, ApplyPart};
use hotstuff2_sync::chain::native::{Genesis, Header, NativeChain, Segment};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::split_payloads;
use hotstuff2_sync_testkit::chain::{
    Blocks, ChainGenerator, EntryPayloads, FilePayloads, GenerateError, LedgerPayloads, Payloads, Piece, RandomPayloads,
};
use hotstuff2_sync_testkit::ledger::DEFAULT_ACCOUNTS;
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, StoreAnchor};
use hotstuff2_sync_tokio::{AppBlock, Executor, wall_clock};

use crate::args::{App, ChainArgs, GenArgs, Parent};
use crate::error::CliError;
use crate::node::{Stop, copy_store, head_of, open_ledger, open_store, require_empty};
use crate::recipe::{RECIPE, Recipe};
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
    let report = match args.extend {
        Some(blocks) => extend(&args.dir, blocks, timestamp, &stop)?,
        None => generate(&args.dir, &plan, &stop)?,
    };
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
    let chain = &ChainArgs { blocks: Some(blocks), ..chain.clone() };
    // The command may be called from another folder next time.
    let source = chain.from.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    let recipe = Recipe { chain: ChainArgs { from: source, ..chain.clone() }, certify_every };
    let mut generator = ChainGenerator::new(recipe.spec(last_timestamp), payloads)?;
    let genesis = generator.genesis().clone();
    let genesis_file = dir.join(GENESIS_FILE);
    write_genesis(&genesis, &genesis_file)?;
    recipe.write(&dir.join(RECIPE))?;
    let store = DiskStore::create(dir, Arc::new(NativeChain::new(&genesis)), &StoreAnchor::from(&genesis))?;
    let mut sink = Sink::new(chain.app(), Arc::new(store), &genesis, &genesis_file, stop)?;
    let mut run = Run { begin, from: 0, to: blocks, handovers: 0, head: first_head(&genesis), progress: bar(0) };
    let reopen = |mut sink: Sink, handovers| -> Result<Sink, CliError> {
        let Some(early) = early.filter(|_| handovers == 1) else { return Ok(sink) };
        sink.finish()?;
        let payload_bytes = sink.payload_bytes;
        drop(sink);
        copy_store(dir, early)?;
        let (_, store) = open_store(dir)?;
        let mut sink = Sink::new(chain.app(), Arc::new(store), &genesis, &genesis_file, stop)?;
        sink.payload_bytes = payload_bytes;
        Ok(sink)
    };
    sink = run.fill(sink, &mut generator, chain, reopen)?;
    Ok(run.report(&genesis, genesis_file, sink.payload_bytes))
}

/// Adds `blocks` to the chain in `dir`, up to the time `last_timestamp`.
fn extend(dir: &Path, blocks: u64, last_timestamp: UnixMillis, stop: &Stop) -> Result<GenReport, CliError> {
    let begin = Instant::now();
    let recipe = Recipe::read(&dir.join(RECIPE))?;
    let (genesis, store) = open_store(dir)?;
    let mut generator = resumed(&recipe, &genesis, &store, blocks, last_timestamp)?;
    let genesis_file = dir.join(GENESIS_FILE);
    let head = head_of(&store, &genesis)?;
    let from = store.stored().height.get();
    let sink = Sink::new(recipe.chain.app(), Arc::new(store), &genesis, &genesis_file, stop)?;
    let to = from.saturating_add(blocks);
    let mut run = Run { begin, from, to, handovers: 0, head, progress: bar(from) };
    let sink = run.fill(sink, &mut generator, &recipe.chain, |sink, _| Ok(sink))?;
    Ok(run.report(&genesis, genesis_file, sink.payload_bytes))
}

/// A generator of the `blocks` that follow on the chain in `store`, up to the time `last_timestamp`.
pub(crate) fn resumed(
    recipe: &Recipe,
    genesis: &Genesis,
    store: &DiskStore<NativeChain>,
    blocks: u64,
    last_timestamp: UnixMillis,
) -> Result<ChainGenerator, CliError> {
    let (payloads, _) = payloads(&recipe.chain)?;
    let height = store.stored().height;
    let newest = store.segment(HeightRange::single(height), false, false)?;
    let newest = newest.and_then(|stored| Segment::decode(&stored.segment).ok());
    let newest = newest.and_then(|segment| segment.header(height).map(|(header, _)| header.clone()));
    let newest = newest.ok_or(CliError::NoHeader(height))?;
    // The time of the chain's first blocks doesn't matter any more.
    let mut generator = ChainGenerator::new(recipe.spec(last_timestamp), payloads)?;
    let resumed = generator.resume(genesis.clone(), newest, height.plus(blocks), last_timestamp);
    resumed.map_err(CliError::from_generator(&recipe.chain))?;
    Ok(generator)
}

fn first_head(genesis: &Genesis) -> Head {
    Head { height: 0, id: genesis.id().to_string(), state_root: genesis.header().state_root.to_string() }
}

fn bar(height: u64) -> ProgressLine {
    ProgressLine::new(height, "generating")
}

/// One run of a generator, from the height `from` to the height `to`.
struct Run {
    begin: Instant,
    from: u64,
    to: u64,
    handovers: u64,
    head: Head,
    progress: ProgressLine,
}

impl Run {
    /// Puts everything that `generator` makes into `sink`. After each handover `at_seam` is asked for the sink to go on with.
    fn fill(
        &mut self,
        mut sink: Sink,
        generator: &mut ChainGenerator,
        chain: &ChainArgs,
        at_seam: impl Fn(Sink, u64) -> Result<Sink, CliError>,
    ) -> Result<Sink, CliError> {
        while let Some(piece) = generator.next_piece().map_err(CliError::from_generator(chain))? {
            match piece {
                Piece::Blocks(blocks) => {
                    let segment = &blocks.part.segment;
                    self.head.height = segment.range().last().get();
                    self.head.id = segment.last_id().to_string();
                    if let Some(last) = blocks.headers.last() {
                        self.head.state_root = last.state_root.to_string();
                    }
                    sink.push(blocks)?;
                }
                Piece::Handover(link) => {
                    sink.cross(link)?;
                    self.handovers += 1;
                    sink = at_seam(sink, self.handovers)?;
                }
                // The last segment has the same proof.
                Piece::Tip(_) => {}
            }
            let shown = self.snapshot(sink.payload_bytes);
            self.progress.show(&shown);
        }
        sink.finish()?;
        let shown = self.snapshot(sink.payload_bytes);
        self.progress.finish(&shown);
        Ok(sink)
    }

    fn snapshot(&self, bytes: u64) -> Snapshot {
        let seconds = self.begin.elapsed().as_secs_f64().max(1e-3);
        Snapshot {
            height: self.head.height,
            target: self.to,
            blocks_per_second: self.head.height.saturating_sub(self.from) as f64 / seconds,
            bytes_per_second: bytes as f64 / seconds,
            remaining: None,
            note: None,
            still: None,
            tip_age: None,
            state: None,
            at_tip: false,
        }
    }

    fn report(self, genesis: &Genesis, genesis_file: PathBuf, payload_bytes: u64) -> GenReport {
        GenReport {
            head: self.head,
            genesis: genesis_file,
            chain_id: genesis.chain_id().to_string(),
            blocks: self.to.saturating_sub(self.from),
            handovers: self.handovers,
            payload_bytes,
            seconds: self.begin.elapsed().as_secs_f64(),
        }
    }
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

/// Hands blocks to the store, several segments at a time, and to the ledger, whose state nodes that join can fetch.
pub(crate) struct Sink {
    stop: Stop,
    store: Arc<DiskStore<NativeChain>>,
    ledger: Option<Executor>,
    batch: Vec<Blocks>,
    batch_bytes: u64,
    payload_bytes: u64,
}

impl Sink {
    /// A sink that gives up where `stop` says so.
    pub(crate) fn new(
        app: App,
        store: Arc<DiskStore<NativeChain>>,
        genesis: &Genesis,
        genesis_file: &Path,
        stop: &Stop,
    ) -> Result<Self, CliError> {
        let ledger = match app {
            App::None => None,
            App::Ledger => {
                let ledger = open_ledger(&store, genesis, genesis_file, false)?;
                Some(Executor::new(Box::new(ledger), store.snapshot_interval()))
            }
        };
        Ok(Self { stop: stop.clone(), store, ledger, batch: Vec::new(), batch_bytes: 0, payload_bytes: 0 })
    }

    pub(crate) fn push(&mut self, blocks: Blocks) -> Result<(), CliError> {
        self.stop.check()?;
        let bytes: u64 = blocks.part.frames.iter().map(|frame| frame.raw.len() as u64).sum();
        self.batch.push(blocks);
        self.batch_bytes += bytes;
        self.payload_bytes += bytes;
        if self.batch_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Ends the epoch of all blocks so far.
    pub(crate) fn cross(&mut self, link: HandoverLink) -> Result<(), CliError> {
        self.flush()?;
        Ok(self.store.put_handovers(&[link])?)
    }

    /// Has the store take all blocks so far, and the ledger execute them.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
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

    /// Makes all of it durable.
    pub(crate) fn finish(&mut self) -> Result<(), CliError> {
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
