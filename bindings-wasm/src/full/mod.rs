//! [`SyncHost`]: the machine with its jobs, for a node that is written in JavaScript. The node has the network, the store, the
//! application and the clock.

mod store;
mod values;

use std::collections::BTreeMap;

use bytes::Bytes;
use hotstuff2_sync::calls::{BlockPoint, Start, TrustingPeriod};
use hotstuff2_sync::chain::Finalized;
use hotstuff2_sync::chain::native::{Checkpoint, Genesis, NativeChain, PROFILE, TrustAnchor};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Height, JobId};
use hotstuff2_sync::machine::{Input, Machine, Output};
use hotstuff2_sync::time::{Instant, UnixMillis};
use hotstuff2_sync::verify::{HandoverLink, Job, Known, Verdict};

use crate::settings::{StartError, genesis};

pub(crate) use store::JsStore;
pub(crate) use values::{output, progress};

/// Most handovers that a start is given: at 8 KB each they are a gigabyte.
pub const MAX_HANDOVERS: usize = 1 << 17;

/// The trusted beginning of a chain: its genesis file, or a checkpoint that fits it.
#[derive(Clone, Debug)]
pub struct Trusted {
    genesis: Genesis,
    anchor: hotstuff2_sync::chain::native::AnchorFacts,
    /// Whether any age will do.
    long_range: bool,
    wall: UnixMillis,
}

impl Trusted {
    /// Reads and checks them at the time of day `wall`. Where `long_range`, any age will do, which accepts long-range attacks.
    ///
    /// # Errors
    /// Where one of them is not valid, or too old to be trusted.
    pub fn new(
        genesis_file: &str,
        checkpoint: Option<&[u8]>,
        long_range: bool,
        wall: UnixMillis,
    ) -> Result<Self, StartError> {
        let genesis = genesis(genesis_file)?;
        let anchor = match checkpoint {
            None => TrustAnchor::Genesis,
            Some(bytes) => {
                let checkpoint = Checkpoint::decode(bytes).map_err(|_| StartError::Checkpoint)?;
                TrustAnchor::Checkpoint(Box::new(checkpoint))
            }
        };
        let anchor = anchor.check(&genesis, wall, long_range).map_err(StartError::Anchor)?;
        Ok(Self { genesis, anchor, long_range, wall })
    }

    /// The chain's rules from there on.
    pub fn chain(&self) -> NativeChain {
        NativeChain::with_anchor(&self.genesis, &self.anchor)
    }

    /// The chain's id.
    pub fn chain_id(&self) -> hotstuff2_sync::hash::Hash {
        self.genesis.chain_id()
    }
}

/// Parts that a node has stored, as it kept them.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The highest block that is stored durably, and its time; `None` on a new node.
    pub block: Option<(BlockPoint, UnixMillis)>,
    /// The tip message that proves it, if it was kept: needed only as evidence.
    pub tip: Option<Bytes>,
    /// The height that the application has executed durably; `None` where that is all.
    pub applied: Option<Height>,
    /// The stored handovers, in order.
    pub handovers: Vec<Bytes>,
}

/// The machine, and its jobs that are not done.
pub struct SyncHost {
    chain: NativeChain,
    machine: Machine,
    jobs: BTreeMap<JobId, Job>,
}

impl SyncHost {
    /// A node of this chain that has stored so much. `seed` feeds its choices.
    ///
    /// # Errors
    /// Where what is stored does not fit the chain, or the settings do not fit that.
    pub fn new(
        trusted: &Trusted,
        stored: Stored,
        config: SyncConfig,
        seed: u64,
        now: Instant,
    ) -> Result<Self, StartError> {
        let anchor = &trusted.anchor;
        if stored.handovers.len() > MAX_HANDOVERS {
            return Err(StartError::Stored(format!("a start has at most {MAX_HANDOVERS} handovers")));
        }
        let at_anchor = (BlockPoint { height: anchor.height, id: anchor.id }, anchor.timestamp);
        let (block, block_time) = stored.block.unwrap_or(at_anchor);
        let mut epoch = anchor.epoch.clone();
        let mut handovers = Vec::new();
        for (index, bytes) in stored.handovers.into_iter().enumerate() {
            let link = HandoverLink::from_native(bytes)
                .map_err(|why| StartError::Stored(format!("the stored handover {index} can't be read: {why}")))?;
            // Of epochs that the stored block is past of, only the last one counts. The machine checks that all follow.
            if handovers.is_empty() && link.ended == epoch.epoch() && epoch.range().last() < block.height {
                epoch = link.epoch;
            } else if link.ended >= epoch.epoch() {
                handovers.push(link);
            }
        }
        let period = trusted.genesis.document().trusting_period_ms.filter(|_| !trusted.long_range);
        let start = Start {
            chain_id: trusted.chain_id(),
            profile: PROFILE,
            stored: block,
            stored_time: block_time,
            stored_proof: stored.tip.map(Finalized::Tip),
            applied: stored.applied.unwrap_or(block.height),
            stages_state: false,
            lacks_state: false,
            epoch,
            handovers,
            history_gap: None,
            trust: period.map(|period_ms| TrustingPeriod {
                period_ms,
                anchor_time: anchor.timestamp,
                wall: trusted.wall,
            }),
        };
        let machine = Machine::new(config, start, seed, now).map_err(|error| StartError::Stored(error.to_string()))?;
        Ok(Self { chain: trusted.chain(), machine, jobs: BTreeMap::new() })
    }

    /// Something has happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if let Input::Verdict(verdict) = &input {
            self.jobs.remove(&verdict.job());
        }
        self.machine.handle(now, input);
    }

    /// The next thing to do. A job is kept until its verdict is there, or it is cancelled.
    pub fn poll(&mut self) -> Output {
        let output = self.machine.poll_output();
        match &output {
            Output::Verify(job) => drop(self.jobs.insert(job.id(), job.clone())),
            Output::CancelJob(id) => drop(self.jobs.remove(id)),
            _ => {}
        }
        output
    }

    /// A job that is not done, to be done elsewhere: by [`Verifier::run`].
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Does a job here, and hands in its verdict. `false` where it is done or cancelled.
    pub fn run(&mut self, now: Instant, id: JobId) -> bool {
        let Some(job) = self.jobs.get(&id) else { return false };
        let verdict = job.run(&self.chain);
        self.handle(now, Input::Verdict(verdict));
        true
    }

    /// The chain's rules.
    pub fn chain(&self) -> &NativeChain {
        &self.chain
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

impl std::fmt::Debug for SyncHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncHost").field("progress", &self.machine.progress()).finish_non_exhaustive()
    }
}

/// Rules of a chain, and what jobs that came as bytes have decoded under them: for workers, and for serving.
pub struct Verifier {
    chain: NativeChain,
    chain_id: hotstuff2_sync::hash::Hash,
    known: Known,
}

impl Verifier {
    /// The rules of this chain.
    pub fn new(trusted: &Trusted) -> Self {
        Self { chain: trusted.chain(), chain_id: trusted.chain_id(), known: Known::default() }
    }

    /// Does an encoded job, and gives the encoded verdict. `None` for bytes that are none.
    pub fn run(&mut self, job: &[u8]) -> Option<Vec<u8>> {
        let mut job = Job::decode(job).ok()?;
        self.known.share(&mut job);
        let verdict: Verdict = job.run(&self.chain);
        self.known.note(&verdict);
        Some(verdict.encode())
    }

    /// The chain's rules.
    pub fn chain(&self) -> &NativeChain {
        &self.chain
    }

    /// The chain's id.
    pub fn chain_id(&self) -> hotstuff2_sync::hash::Hash {
        self.chain_id
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}
