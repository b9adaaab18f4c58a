//! [`Healer`]: finds damage, and fetches what is damaged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff2_sync::chain::{Chain, Fault, SegmentClaim, SegmentEnd, SegmentRef};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::{Outcome, Task};
use hotstuff2_sync::wire::{BodyFrame, Request};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::event::{HealError, HealEvent};
use super::source::Source;
use crate::net::Network;
use crate::store::{Damage, DiskStore, LostSegment, StoreFailure, StorePart};

/// Bytes a second that a patrol reads, so that whoever is asked for something doesn't notice. A terabyte takes three days.
const PATROL_BYTES: u64 = 4 << 20;

/// Rest before each patrol: a store of a few MiB is read some five times a minute.
const PATROL_REST: Duration = Duration::from_secs(10);

/// Rest before what could not be mended is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Bytes of payload that are asked for at once: a healer is in no hurry, and holds four such answers at most.
const BODIES_BYTES: u32 = 1 << 20;

/// Frames that may wait for the disk.
const FRAMES_AHEAD: usize = 4;

/// Fetches from peers what a store can't read any more.
pub struct Healer<C: Chain> {
    pub(super) store: Arc<DiskStore<C>>,
    pub(super) chain: Arc<C>,
    pub(super) source: Source,
    /// Whether it may use the staging area.
    pub(super) states: bool,
}

impl<C: Chain> Healer<C> {
    /// A healer of `store`, which asks whoever is connected to `network`.
    pub fn new(store: Arc<DiskStore<C>>, chain: Arc<C>, network: Arc<dyn Network>) -> Self {
        Self { store, chain, source: Source::new(network), states: true }
    }

    /// Leaves the state alone: for a node whose application moves it and which may fetch another one, as a sync does.
    pub fn without_states(self) -> Self {
        Self { states: false, ..self }
    }

    /// Patrols and heals until the future is dropped. `tell` is told what an operator should know.
    pub async fn run(mut self, tell: impl Fn(HealEvent) + Send + Sync) {
        let patrol = async |store: Arc<DiskStore<C>>| loop {
            sleep(PATROL_REST).await;
            let mut after = None;
            while let Some((last, bytes)) = step(&store, after).await {
                after = Some(last);
                sleep(pause_after(bytes)).await;
            }
            let states = Arc::clone(&store);
            let read = on_thread(move || states.patrol_state()).await;
            sleep(pause_after(read.unwrap_or(0))).await;
        };
        let store = Arc::clone(&self.store);
        tokio::join!(patrol(store), self.heal_all(&tell));
    }

    /// Reads all that is stored, as fast as it goes. What can't be read is in [`DiskStore::damage`] afterwards.
    pub async fn patrol(&self) {
        let mut after = None;
        while let Some((last, _)) = step(&self.store, after).await {
            after = Some(last);
        }
        let store = Arc::clone(&self.store);
        if let Err(error) = on_thread(move || store.patrol_state()).await {
            tracing::debug!(%error, "the state could not be read");
        }
    }

    async fn heal_all(&mut self, tell: &(impl Fn(HealEvent) + Send + Sync)) {
        let mut damage = self.store.damage();
        let (mut told, mut waiting) = (Vec::<StorePart>::new(), BTreeSet::<String>::new());
        loop {
            let known = damage.borrow_and_update().clone();
            told.retain(|part| known.iter().any(|damage| damage.part == *part));
            for damage in &known {
                if !told.contains(&damage.part) {
                    told.push(damage.part);
                    tell(HealEvent::Found(damage.clone()));
                }
            }
            let mut left = false;
            for Damage { part, .. } in in_order(known) {
                let begin = Instant::now();
                match self.heal(part).await {
                    Ok(from) => tell(HealEvent::Mended { part, from, took: begin.elapsed() }),
                    Err(why) => {
                        left = true;
                        if waiting.insert(format!("{part} {why}")) {
                            tell(HealEvent::Waiting { part, why });
                        }
                    }
                }
            }
            if left {
                sleep(RETRY).await;
            } else {
                waiting.clear();
                // The store outlives this.
                let _ = damage.wait_for(|damage| !damage.is_empty()).await;
            }
        }
    }

    /// Fetches a damaged part and puts it in place. Returns the peers that gave something of it.
    pub async fn heal(&mut self, part: StorePart) -> Result<Vec<PeerId>, HealError> {
        match part {
            StorePart::Segment(range) => self.heal_segment(range).await,
            StorePart::State => self.heal_state().await,
            StorePart::Unsealed => Err(HealError::NotInPlace),
        }
    }

    async fn heal_segment(&mut self, range: HeightRange) -> Result<Vec<PeerId>, HealError> {
        let store = Arc::clone(&self.store);
        let lost = on_thread(move || store.lost_segment(range)).await?;
        // The store begins above it by now.
        let Some(lost) = lost else { return Ok(Vec::new()) };
        let (peer, segment) = self.fetch_headers(&lost).await?;
        let mut from = vec![peer];
        let (sender, mut receiver) = mpsc::channel(FRAMES_AHEAD);
        let (store, headers) = (Arc::clone(&self.store), segment.clone());
        let written = tokio::task::spawn_blocking(move || {
            let mut frames = std::iter::from_fn(|| receiver.blocking_recv().map(Ok));
            store.replace_segment(&headers, lost.bodies.then_some(&mut frames))
        });
        let fetched = if lost.bodies {
            self.fetch_bodies(&segment, sender, &mut from).await
        } else {
            drop(sender);
            Ok(())
        };
        let written = written.await.map_err(|_| HealError::Broken)?;
        fetched?;
        written?;
        Ok(from)
    }

    /// The headers, with the best proof that anyone gives.
    async fn fetch_headers(&mut self, lost: &LostSegment) -> Result<(PeerId, SegmentRef), HealError> {
        let LostSegment { range, ref epoch, parent, last_id, audit, .. } = *lost;
        let certified = [true, false].into_iter().filter(|&audited| audit || !audited);
        let certified = certified.map(|audit| SegmentClaim { range, parent, end: SegmentEnd::Certified, audit });
        let anchored = last_id.map(|id| SegmentClaim { range, parent, end: SegmentEnd::Anchored(id), audit: false });
        let mut failed = HealError::NoPeers;
        for claim in certified.chain(anchored) {
            let request = Request::Segment {
                range,
                certified: claim.end == SegmentEnd::Certified,
                audit: claim.audit,
                bodies: 0,
            };
            let (chain, epoch) = (Arc::clone(&self.chain), epoch.clone());
            let prove = move |bytes| {
                let task = Task::Segment { epoch: epoch.clone(), claim, bodies: 0, handover: None, bytes };
                match task.prove(&*chain)? {
                    Outcome::Segment { segment, .. } => Ok(segment),
                    _ => Err(Fault::Malformed.into()),
                }
            };
            match self.source.ask(&request, prove).await {
                Ok(found) => return Ok(found),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// All bodies, in order, to whoever writes them. A writer that gave up says why itself.
    async fn fetch_bodies(
        &mut self,
        segment: &SegmentRef,
        sender: mpsc::Sender<BodyFrame>,
        from: &mut Vec<PeerId>,
    ) -> Result<(), HealError> {
        let mut next = Some(segment.range().first());
        while let Some(range) = next.and_then(|first| HeightRange::new(first, segment.range().last())) {
            let request = Request::Bodies { range, max_bytes: BODIES_BYTES };
            let (chain, segment) = (Arc::clone(&self.chain), segment.clone());
            let prove = move |bytes| match (Task::Bodies { segment: segment.clone(), range, bytes }).prove(&*chain)? {
                Outcome::Bodies(frames) => Ok(frames),
                _ => Err(Fault::Malformed.into()),
            };
            let (peer, frames) = self.source.ask(&request, prove).await?;
            if !from.contains(&peer) {
                from.push(peer);
            }
            for frame in frames {
                next = Some(frame.range.last()).filter(|last| *last < range.last()).map(Height::next);
                if sender.send(frame).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl<C: Chain> std::fmt::Debug for Healer<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Healer").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The highest first: what is mended above names the last block of what is below.
fn in_order(mut damage: Vec<Damage>) -> Vec<Damage> {
    damage.sort_by_key(|damage| match damage.part {
        StorePart::Segment(range) => std::cmp::Reverse(range.last()),
        // A state is proven by the headers of its blocks.
        StorePart::State => std::cmp::Reverse(Height::ZERO),
        StorePart::Unsealed => std::cmp::Reverse(Height::MAX),
    });
    damage
}

async fn step<C: Chain>(store: &Arc<DiskStore<C>>, after: Option<Height>) -> Option<(Height, u64)> {
    let store = Arc::clone(store);
    // A store that panics has said so.
    tokio::task::spawn_blocking(move || store.patrol(after)).await.ok().flatten()
}

/// How long a patrol pauses that has read so many bytes.
fn pause_after(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / PATROL_BYTES)
}

pub(super) async fn on_thread<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StoreFailure> + Send + 'static,
) -> Result<T, HealError> {
    Ok(tokio::task::spawn_blocking(call).await.map_err(|_| HealError::Broken)??)
}
