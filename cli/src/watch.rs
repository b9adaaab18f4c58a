//! [`Watch`]: looks on while a sync runs, tells people about it, and says when and how it is over.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Event, HaltReason, Progress, StallReason, StateProgress};
use hotstuff2_sync::time::Instant as MachineTime;
use hotstuff2_sync::wire::{Answer, PeerStatus, Request};
use hotstuff2_sync_tokio::net::Network;
use hotstuff2_sync_tokio::{SyncEvent, SyncHandle, wall_clock};

use crate::args::SyncArgs;
use crate::demo_args::Until;
use crate::node::{Stop, StopCause};
use crate::report::{Lanes, ProgressLine, Snapshot, StateShare, WHOLE_PPM, ratio, short};
use crate::screen::tell;
use crate::tip::OldTip;

/// Time between two looks at progress.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Time between two messages of a disk or an application that goes on failing.
const REPEAT_EVERY: Duration = Duration::from_secs(30);

/// How long a peer may take to say which chain it serves.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// End of a sync.
pub(crate) enum End {
    Reached,
    Stopped(StopCause),
    Failed(String),
}

/// Record of a sync, from its start to its end.
pub(crate) struct Seen {
    /// The strategies that were used, in order.
    pub(crate) strategies: Vec<String>,
    /// The block whose state was fetched, where one was made live.
    pub(crate) base: Option<Height>,
    pub(crate) end: End,
}

/// Watches a sync and tells the user about it.
pub(crate) struct Watch {
    line: ProgressLine,
    lanes: Lanes,
    /// Height that was stored at the start.
    stored: Height,
    /// Progress of executing that, while it goes on.
    executing: Option<ProgressLine>,
    strategies: Vec<String>,
    /// How long nothing may move; zero is for ever.
    patience: Duration,
    /// The block whose state was made live.
    base: Option<Height>,
    chain_id: Hash,
    /// The node's folder, for evidence.
    dir: PathBuf,
    /// Whom to ask.
    peers: Vec<String>,
    /// Whether being caught up is no end.
    follow: bool,
    /// Where following ends by itself.
    until: Option<Until>,
    /// Whether it was caught up once.
    arrived: bool,
    /// Last word of a disk or an address: what to tell if nothing moves.
    host: Option<String>,
    /// Time at which a disk or an application last said something to the user.
    said: Option<Instant>,
    /// Why nothing moves, by the machine.
    stall: Option<StallReason>,
    /// Age from which on a tip is old, and whether it was said of this one.
    max_tip_age: Duration,
    said_old: bool,
}

impl Watch {
    pub(crate) fn new(args: &SyncArgs, max_tip_age: Duration, height: Height, chain_id: Hash) -> Self {
        Self {
            line: ProgressLine::new(height.get(), "syncing"),
            lanes: Lanes::new(&args.names),
            stored: height,
            executing: None,
            strategies: Vec::new(),
            patience: args.patience(),
            base: None,
            chain_id,
            dir: args.dir.clone(),
            peers: args.peers.named.iter().map(ToString::to_string).collect(),
            follow: args.follow,
            until: args.until,
            arrived: false,
            host: None,
            said: None,
            stall: None,
            max_tip_age,
            said_old: false,
        }
    }

    pub(crate) async fn until_end(&mut self, handle: &mut SyncHandle, network: &dyn Network, stop: &mut Stop) -> End {
        let progress = handle.progress();
        let mut show = tokio::time::interval(SHOW_EVERY);
        loop {
            tokio::select! {
                cause = stop.asked() => return End::Stopped(cause),
                event = handle.next_event() => match event {
                    Some(event) => {
                        if let Some(end) = self.event(event) {
                            return end;
                        }
                        if let Some(StallReason::NoPeers | StallReason::NoTarget(_)) = self.stall
                            && let Some(other) = other_chain(network, &progress.borrow().clone(), self.chain_id).await
                        {
                            let ours = self.chain_id;
                            return End::Failed(format!(
                                "the peers serve chain {other}, the genesis file is of chain {ours}; name the genesis \
                                 file of their chain, or other peers"
                            ));
                        }
                    }
                    None => return End::Failed("its own thread is gone; run it again".to_owned()),
                },
                _ = show.tick() => {
                    let (progress, now) = (progress.borrow().clone(), handle.now());
                    if let Some(end) = self.tick(&progress, now) {
                        return end;
                    }
                }
            }
        }
    }

    fn event(&mut self, event: SyncEvent) -> Option<End> {
        match event {
            SyncEvent::Dial(text) => {
                tell(&text);
                self.host = Some(text);
            }
            SyncEvent::Host(text) => {
                // What fails is tried again, and says the same again.
                if self.said.is_none_or(|said| said.elapsed() >= REPEAT_EVERY) {
                    tell(&text);
                    self.said = Some(Instant::now());
                }
                self.host = Some(text);
            }
            SyncEvent::Trace(text) => tell(text),
            SyncEvent::Machine(Event::Reached(_)) if !self.follow => return Some(End::Reached),
            SyncEvent::Machine(Event::Reached(point)) if !self.arrived => {
                self.arrived = true;
                tell(format_args!("caught up at height {}; following from there, until stopped", point.height));
            }
            SyncEvent::Machine(Event::Strategy { strategy, .. }) => {
                let name = strategy.to_string();
                if self.strategies.last() != Some(&name) {
                    self.strategies.push(name);
                }
            }
            SyncEvent::Machine(Event::StateActive(point)) => {
                self.base = Some(point.height);
                tell(Event::StateActive(point));
            }
            SyncEvent::Machine(
                event @ (Event::StateTarget { .. }
                | Event::StateLost { .. }
                | Event::StateMismatch { .. }
                | Event::SuspectSelf { .. }),
            ) => tell(event),
            SyncEvent::Machine(Event::Banned { peer, fault }) => {
                tell(format_args!("banned {}: {fault}", short(&peer.to_string())));
            }
            SyncEvent::Machine(Event::Stalled { reason, .. }) => {
                // It is said again as long as it lasts.
                if self.stall != Some(reason) {
                    tell(reason);
                }
                self.stall = Some(reason);
            }
            SyncEvent::Machine(Event::Resumed) => {
                self.host = None;
                if self.stall.take().is_some() {
                    tell(Event::Resumed);
                }
            }
            SyncEvent::Machine(Event::Halted(reason)) => {
                let cause = match &reason {
                    HaltReason::ConflictingFinality { height, evidence } => {
                        Some(keep_evidence(&self.dir, *height, evidence))
                    }
                    _ => self.host.take(),
                };
                let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
                return Some(End::Failed(format!("{reason}{cause}")));
            }
            _ => {}
        }
        None
    }

    /// Shows how far it is at `now`, and ends it where nothing has moved for too long.
    fn tick(&mut self, progress: &Progress, now: MachineTime) -> Option<End> {
        let at_tip = self.arrived && progress.current >= progress.target;
        let tip_age = progress.tip_age(wall_clock());
        let shown = Snapshot { at_tip, tip_age, ..snapshot(progress, self.base, now) };
        if progress.current < self.stored {
            let begin = || ProgressLine::new(progress.start.get(), "executing");
            let note = Some("blocks that were stored before".to_owned());
            let (target, remaining, at_tip) = (self.stored.get(), None, false);
            self.executing.get_or_insert_with(begin).show(&Snapshot { target, remaining, note, at_tip, ..shown });
        } else {
            if let Some(mut done) = self.executing.take() {
                done.finish(&Snapshot { target: self.stored.get(), at_tip: false, ..shown.clone() });
            }
            self.line.show(&shown);
        }
        // At the tip a peer is worth a line where it lies, and that is said.
        if at_tip && !self.lanes.are_named() {
            self.lanes.clear();
        } else {
            self.lanes.show(progress);
        }
        if at_tip && self.until.is_some_and(|until| until.is_over(progress)) {
            return Some(End::Reached);
        }
        if at_tip {
            let old = OldTip::of(tip_age, self.max_tip_age);
            if let Some(old) = old.filter(|_| !self.said_old) {
                tell(old);
            }
            self.said_old = old.is_some();
        }
        let stall = progress.stall.filter(|stall| now.since(stall.since) >= self.patience)?;
        if self.patience.is_zero() {
            return None;
        }
        let why = match self.host.take() {
            // What an address or a disk said is more use than that nobody answers.
            Some(text) => text,
            None if progress.peers.iter().all(|peer| !peer.connected) => {
                let named = if self.peers.is_empty() {
                    "no known peer answered".to_owned()
                } else {
                    format!("{} did not answer", self.peers.join(", "))
                };
                format!("{named}; check the address, and that a node serves there")
            }
            None => stall.reason.to_string(),
        };
        let waited = self.patience.as_secs();
        Some(End::Failed(format!("nothing moved for {waited} s: {why}; what is stored stays, so try again")))
    }

    /// Ends with what came after [`Self::until_end`]: the last `progress`, and `events` that nobody has looked at. Returns
    /// what was seen, and the end in its light.
    pub(crate) fn finish(mut self, progress: &Progress, events: Vec<SyncEvent>, mut end: End) -> Seen {
        // What it waited for is over.
        let last = Progress { stall: None, ..progress.clone() };
        self.line.finish(&snapshot(&last, self.base, MachineTime::ZERO));
        if self.arrived && !self.lanes.are_named() {
            self.lanes.clear();
        } else {
            self.lanes.finish(&last);
        }
        for event in events {
            match event {
                // Everything was applied before, so it is the last commit of the application that failed.
                SyncEvent::Host(text) if matches!(end, End::Reached) => end = End::Failed(text),
                SyncEvent::Machine(Event::Halted(_)) => end = self.event(event).unwrap_or(end),
                SyncEvent::Machine(Event::StateActive(point)) => self.base = Some(point.height),
                _ => {}
            }
        }
        Seen { strategies: self.strategies, base: self.base, end }
    }
}

/// Keeps evidence in a new file of `dir`, and says where it is. The same evidence is kept once.
fn keep_evidence(dir: &Path, height: Height, evidence: &[u8]) -> String {
    if evidence.is_empty() {
        return "the older proof is no longer in this store, so there is no evidence to keep".to_owned();
    }
    let names = (2u32..).map(|number| format!("evidence-{height}-{number}"));
    let mut paths = std::iter::once(format!("evidence-{height}")).chain(names).map(|name| dir.join(name));
    let is_kept = |path: &PathBuf| std::fs::read(path).is_ok_and(|kept| kept == evidence);
    let is_free = |path: &PathBuf| std::fs::symlink_metadata(path).is_err();
    let path = paths.find(|path| is_free(path) || is_kept(path)).unwrap_or_default();
    let written = if is_kept(&path) { Ok(()) } else { write_new(&path, evidence) };
    match written {
        Ok(()) => format!("the evidence is in {}", path.display()),
        Err(error) => {
            format!("the evidence can't be written to {}: {error}; make room there and sync again", path.display())
        }
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The chain that the connected peers serve, if it is another one.
async fn other_chain(network: &dyn Network, progress: &Progress, ours: Hash) -> Option<Hash> {
    let request = Request::Status;
    let most = usize::try_from(request.max_response_bytes()).unwrap_or(usize::MAX);
    let mut other = None;
    for peer in progress.peers.iter().filter(|peer| peer.connected) {
        let asked = network.request(peer.id, request.encode().into(), most);
        let Ok(Ok(answer)) = tokio::time::timeout(STATUS_PATIENCE, asked).await else { continue };
        let Ok(Answer::Data(data)) = Answer::decode(answer) else { continue };
        match postcard::from_bytes::<PeerStatus>(&data) {
            Ok(status) if status.chain_id == ours => return None,
            Ok(status) => other = Some(status.chain_id),
            Err(_) => {}
        }
    }
    other
}

/// The state that is being fetched.
fn fetched(progress: &Progress) -> Option<StateProgress> {
    progress.state.filter(|state| state.height > progress.current)
}

/// Snapshot to show at `now`. `base` is the block whose state was fetched: those below it are not stored.
fn snapshot(progress: &Progress, base: Option<Height>, now: MachineTime) -> Snapshot {
    let is_hashing = fetched(progress).is_some_and(|state| state.done_ppm >= WHOLE_PPM);
    let note = match is_hashing {
        true => "hashing all of it".to_owned(),
        false => format!("limited by {}", progress.bottleneck.name()),
    };
    let note = Some(note);
    let still = progress.stall.map(|stall| (now.since(stall.since), stall.reason));
    if let Some(state) = fetched(progress) {
        let rate = |count: u64| ratio(count as f64, state.elapsed.as_secs_f64());
        return Snapshot {
            height: progress.current.get(),
            target: progress.target.get(),
            blocks_per_second: 0.0,
            bytes_per_second: rate(state.bytes),
            remaining: state.remaining,
            note,
            still,
            tip_age: None,
            state: Some(StateShare {
                height: state.height.get(),
                done_ppm: state.done_ppm,
                keys_per_second: rate(state.keys),
            }),
            at_tip: false,
        };
    }
    let blocks = progress.current.above(base.map_or(progress.start, |base| base.max(progress.start)));
    let blocks_per_second = progress.blocks_per_second as f64;
    let bytes_per_block = ratio(progress.payload_bytes as f64, blocks as f64);
    Snapshot {
        height: progress.current.get(),
        target: progress.target.get(),
        blocks_per_second,
        bytes_per_second: blocks_per_second * bytes_per_block,
        remaining: progress.remaining,
        note,
        still,
        tip_age: None,
        state: None,
        at_tip: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halted(dir: &Path, evidence: &'static [u8]) -> String {
        let mut watch = Watch {
            line: ProgressLine::new(0, "syncing"),
            lanes: Lanes::new(&[]),
            stored: Height::ZERO,
            executing: None,
            strategies: Vec::new(),
            patience: Duration::ZERO,
            base: None,
            chain_id: Hash::ZERO,
            dir: dir.to_owned(),
            peers: Vec::new(),
            follow: true,
            until: None,
            arrived: false,
            host: None,
            said: None,
            stall: None,
            max_tip_age: Duration::ZERO,
            said_old: false,
        };
        let reason = HaltReason::ConflictingFinality { height: Height::new(7), evidence: evidence.into() };
        match watch.event(SyncEvent::Machine(Event::Halted(reason))) {
            Some(End::Failed(text)) => text,
            _ => panic!("a halt is a failure"),
        }
    }

    #[test]
    fn evidence_is_kept_and_said_where() {
        let folder = tempfile::tempdir().unwrap();
        let text = halted(folder.path(), b"two chains");
        let file = folder.path().join("evidence-7");
        assert!(text.contains("two different blocks at height 7") && text.contains(file.to_str().unwrap()), "{text}");
        assert_eq!(std::fs::read(&file).unwrap(), b"two chains");
        // Again is no more, and other evidence is kept beside it.
        halted(folder.path(), b"two chains");
        assert!(!folder.path().join("evidence-7-2").exists());
        assert!(halted(folder.path(), b"two others").contains("evidence-7-2"));
        assert_eq!(std::fs::read(&file).unwrap(), b"two chains");
        assert_eq!(std::fs::read(folder.path().join("evidence-7-2")).unwrap(), b"two others");

        let nowhere = folder.path().join("nowhere");
        assert!(halted(&nowhere, b"two chains").contains("can't be written"));
        assert!(halted(folder.path(), b"").contains("no evidence to keep"));
    }
}
