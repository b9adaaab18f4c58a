//! Replicas that go through crashes with what they had written down, lose blocks to a sync that brings them others, and take up
//! again: never two votes in a view, never two final blocks, and the chain goes on. `HS2_REPLICA_SEEDS` plays more of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::native::{Header, Phase, ValidatorKey};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync_testkit::chain::{ChainSpec, Turnover};
use hotstuff2_sync_testkit::replica::{
    Block, Committee, Final, Laws, Message, Noise, Output, Record, Replica, Settings,
};

const SETTINGS: Settings = Settings {
    delta: Duration::from_millis(20),
    patience: Duration::from_millis(200),
    pace: Duration::ZERO,
    phase_two: false,
    noise: 5,
    payload_bytes: 50,
    laws: Laws::KEPT,
};

/// Rounds of one second of virtual time within which the chain must go on once nobody crashes any more.
const MOST_ROUNDS: u32 = 60;

/// A validator's node: its replica, its disk, and its store of final blocks.
struct Node {
    replica: Option<Replica>,
    record: Record,
    /// Final blocks that the store has, by height.
    stored: Vec<Final>,
}

impl Node {
    fn height(&self) -> Height {
        self.stored.last().and_then(|part| part.blocks.last()).map_or(Height::ZERO, |block| block.header.height)
    }
}

struct Net {
    committee: Arc<Committee>,
    nodes: Vec<Node>,
    rng: Rng,
    now: Instant,
    mail: VecDeque<(Instant, usize, ValidatorKey, Message)>,
    deadlines: Vec<Instant>,
    votes: BTreeMap<(ValidatorKey, View, Phase), Hash>,
    finals: BTreeMap<Height, Hash>,
    /// Headers that were proposed, and the highest justification that each validator voted for in an epoch.
    proposed: BTreeMap<Hash, Header>,
    locks: BTreeMap<(ValidatorKey, Epoch), View>,
    loses: bool,
}

impl Net {
    fn new(seed: u64) -> Self {
        let spec = ChainSpec {
            seed,
            blocks: 400,
            validators: 4,
            epochs: 20,
            turnover: Turnover::Rotating { members: 5, replaced: 1 },
            ..ChainSpec::default()
        };
        let committee = Arc::new(Committee::new(spec.clone()).unwrap());
        let node = || Node { replica: None, record: Record::default(), stored: Vec::new() };
        let mut net = Self {
            committee,
            nodes: (0..5).map(|_| node()).collect(),
            rng: Rng::new(seed),
            now: Instant::ZERO,
            mail: VecDeque::new(),
            deadlines: vec![Instant::ZERO; 5],
            votes: BTreeMap::new(),
            finals: BTreeMap::new(),
            proposed: BTreeMap::new(),
            locks: BTreeMap::new(),
            loses: true,
        };
        for node in 0..5 {
            net.start(node);
        }
        net
    }

    /// The node starts with what its disk has, and is told at once that it may vote above it.
    fn start(&mut self, index: usize) {
        let roster = hotstuff2_sync_testkit::chain::Roster::of(self.committee.spec());
        let node = &mut self.nodes[index];
        let bytes = postcard::to_allocvec(&node.record).unwrap();
        let record: Record = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(record, node.record);
        let last = node.stored.last();
        let head = last.and_then(|part| part.blocks.last());
        let head = head.map_or_else(|| self.committee.genesis().header().clone(), |block| block.header.clone());
        let above = record.last_view().unwrap_or(View::ZERO);
        let execution = Noise { seed: 3, most_bytes: 50 };
        let secret = roster.secret(index as u64);
        let committee = Arc::clone(&self.committee);
        let mut replica = Replica::resumed(committee, secret, SETTINGS, execution, head, record, self.now);
        if let Some(handover) = last.and_then(|part| part.handover.clone()) {
            replica.handle_ending(handover);
        }
        replica.speak(self.now, above, None);
        node.replica = Some(replica);
        self.drain(index);
    }

    /// Takes over what others have stored, as a sync does.
    fn sync(&mut self, index: usize) {
        let from = usize::try_from(self.rng.below(5)).unwrap();
        let above = self.nodes[index].height();
        let parts: Vec<Final> = self.nodes[from]
            .stored
            .iter()
            .filter(|part| part.parent.height >= above && self.nodes[index].replica.is_some())
            .cloned()
            .collect();
        let Some(first) = parts.first().filter(|first| first.parent.height == above) else { return };
        assert_eq!(first.parent.height, above);
        let node = &mut self.nodes[index];
        for part in parts {
            let top = part.blocks.last().unwrap().header.clone();
            let handover = part.handover.clone();
            node.stored.push(part);
            let replica = node.replica.as_mut().unwrap();
            replica.handle_final(self.now, &top, handover);
        }
        self.drain(index);
    }

    fn drain(&mut self, index: usize) {
        let mut messages = Vec::new();
        loop {
            let node = &mut self.nodes[index];
            let Some(replica) = &mut node.replica else { return };
            match replica.poll_output() {
                Output::Broadcast(message) => messages.push((None, message)),
                Output::Send(to, message) => messages.push((Some(to), message)),
                Output::Commit(part) => self.store(index, part),
                Output::Wait(until) => {
                    self.deadlines[index] = until;
                    break;
                }
            }
        }
        let node = &mut self.nodes[index];
        let Some(replica) = &node.replica else { return };
        let stored = node.stored.last().and_then(|part| part.blocks.last()).map_or(Height::ZERO, |b| b.header.height);
        node.record = replica.record(stored);
        let own = replica.key();
        for (to, message) in messages {
            self.check_vote(own, &message);
            for target in 0..5 {
                let Some(replica) = &self.nodes[target].replica else { continue };
                let meant = to.is_none_or(|to| to == replica.key()) && target != index;
                if meant && !(self.loses && self.rng.below(100) < 10) {
                    let at = self.now.after(Duration::from_millis(1 + self.rng.below(15)));
                    self.mail.push_back((at, target, own, message.clone()));
                }
            }
        }
    }

    fn store(&mut self, index: usize, part: Final) {
        for block in &part.blocks {
            let known = *self.finals.entry(block.header.height).or_insert(block.id);
            assert_eq!(known, block.id, "two blocks are final at height {}", block.header.height);
        }
        let node = &mut self.nodes[index];
        let at = node.height();
        let blocks: Vec<Arc<Block>> = part.blocks.iter().filter(|block| block.header.height > at).cloned().collect();
        // After a crash, blocks come out again that had been stored.
        let Some(first) = blocks.first() else { return };
        assert_eq!(first.header.height, at.next(), "no block is left out");
        let parent = if at == part.parent.height { part.parent } else { self.nodes[index].top() };
        self.nodes[index].stored.push(Final { parent, blocks, ..part });
    }

    fn check_vote(&mut self, by: ValidatorKey, message: &Message) {
        if let Message::Propose(block, _) = message {
            self.proposed.insert(block.id, block.header.clone());
        }
        let Some((phase, vote)) = message.voted() else { return };
        let voted = *self.votes.entry((by, vote.vote.view, phase)).or_insert(vote.vote.block);
        assert_eq!(voted, vote.vote.block, "two votes in view {}", vote.vote.view);
        let header = &self.proposed[&vote.vote.block];
        let lock = self.locks.entry((by, header.epoch)).or_insert(View::ZERO);
        assert!(header.justify_view >= *lock, "a vote in view {} against the lock of {lock}", header.view);
        *lock = header.justify_view;
    }

    fn run(&mut self, ticks: u64, crashes: bool) {
        for _ in 0..ticks {
            self.now = self.now.after(Duration::from_millis(2));
            let due: Vec<_> = {
                let (due, later) = std::mem::take(&mut self.mail).into_iter().partition(|(at, ..)| *at <= self.now);
                self.mail = later;
                let due: VecDeque<_> = due;
                due.into_iter().collect()
            };
            for (_, to, from, message) in due {
                if let Some(replica) = &mut self.nodes[to].replica {
                    replica.handle_message(self.now, from, message);
                    self.drain(to);
                }
            }
            for index in 0..5 {
                if self.deadlines[index] <= self.now
                    && let Some(replica) = &mut self.nodes[index].replica
                {
                    replica.handle_timeout(self.now);
                    self.drain(index);
                }
                if self.rng.below(100) == 0 {
                    self.sync(index);
                    let height = self.nodes[index].height();
                    if let Some(replica) = &mut self.nodes[index].replica {
                        replica.forget(Height::new(height.get().saturating_sub(4)));
                    }
                }
                // Up for 3 s and down for half a second, on average.
                let rarely = if self.nodes[index].replica.is_some() { 1500 } else { 250 };
                if crashes && self.rng.below(rarely) == 0 && self.nodes[index].replica.take().is_none() {
                    self.start(index);
                }
            }
        }
    }
}

impl Node {
    fn top(&self) -> Header {
        self.stored
            .last()
            .and_then(|part| part.blocks.last())
            .map(|block| block.header.clone())
            .expect("blocks are stored")
    }
}

fn crashes_cost_nothing(seed: u64) {
    let mut net = Net::new(seed);
    net.run(3000, true);
    net.loses = false;
    for index in 0..5 {
        if net.nodes[index].replica.is_none() {
            net.start(index);
        }
    }
    let highest = |net: &Net| net.finals.last_key_value().map_or(0, |(height, _)| height.get());
    let before = highest(&net);
    let goes_on = |net: &Net| {
        let lowest = net.nodes.iter().map(|node| node.height().get()).min().unwrap_or(0);
        highest(net) >= before + 20 && lowest >= before + 5
    };
    // Who waited long for a view before the crashes ended waits to the end of it: up to 32 times as long as for the first.
    for _ in 0..MOST_ROUNDS {
        if goes_on(&net) {
            return;
        }
        net.run(500, false);
    }
    let heights: Vec<Height> = net.nodes.iter().map(Node::height).collect();
    let epochs: Vec<Epoch> = net.nodes.iter().filter_map(|node| Some(node.replica.as_ref()?.epoch())).collect();
    panic!("seed {seed}: the chain went from {before} to {}, the nodes to {heights:?} in {epochs:?}", highest(&net));
}

#[test]
fn replicas_that_crash_vote_once_and_go_on() {
    let more = std::env::var("HS2_REPLICA_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    (0..more.unwrap_or(40)).for_each(crashes_cost_nothing);
}

#[test]
fn a_lock_outlives_the_block_that_it_is_on() {
    let mut net = Net::new(3);
    net.loses = false;
    // Until one has a certificate of its epoch for a block above what is final.
    let is_locked = |node: &Node| {
        let replica = node.replica.as_ref().unwrap();
        let head = replica.head();
        replica
            .high()
            .is_some_and(|high| high.view > head.view && high.epoch == head.epoch && high.epoch == replica.epoch())
    };
    while !net.nodes.iter().any(is_locked) {
        net.run(1, false);
    }
    let index = net.nodes.iter().position(is_locked).unwrap();
    let replica = net.nodes[index].replica.as_ref().unwrap();
    let lock = replica.high().unwrap().view;

    // The sync brings a final block that this replica has never seen.
    let head = replica.head();
    let header = Header { height: head.height.next(), view: head.view, ..head.clone() };
    let mut brought = replica.clone();
    brought.handle_final(net.now, &header, None);
    assert_eq!((brought.head(), brought.high()), (&header, None));
    assert!(brought.record(header.height).floor >= lock);

    // The blocks above the stored ones are gone when it starts again.
    let record = Record { blocks: Vec::new(), ..replica.record(head.height) };
    let secret = hotstuff2_sync_testkit::chain::Roster::of(net.committee.spec()).secret(index as u64);
    let execution = Noise { seed: 3, most_bytes: 50 };
    let committee = Arc::clone(&net.committee);
    let again = Replica::resumed(committee, secret, SETTINGS, execution, head.clone(), record, net.now);
    assert!(again.high().is_none() && again.record(head.height).floor >= lock);
}
