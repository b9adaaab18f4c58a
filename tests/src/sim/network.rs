//! [`VirtualNetwork`]: lines and links between nodes in virtual time, for messages of any type.
//!
//! A node has a line of its own, with a rate up and a rate down, which everything that it sends or gets must pass; two
//! nodes have a link between them, with latency, jitter, a rate and faults. What a node sends to several others at once
//! shares its line in turns of [`CHUNK_BYTES`].
//!
//! There are two ways to send. A [*datagram*](VirtualNetwork::send) may be lost, come twice, or be overtaken. A
//! [*stream*](VirtualNetwork::stream) is what QUIC and TCP make of that: loss makes it late, a partition holds it back
//! until it heals, and it may break.
//!
//! Nothing here knows the time or anything else but its seed: equal calls give equal happenings.

mod line;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;

use super::queue::Queue;

pub use line::{Line, Link};

/// Bytes of one transfer that a line carries before it turns to the next. Small against what a response may be, so
/// that a large one holds up nobody, and large against a packet, so that a simulation takes few steps.
pub const CHUNK_BYTES: u64 = 64 << 10;

/// Bytes of a packet, of which each may be lost.
const PACKET_BYTES: u64 = 1200;

/// Time that a lost packet costs a stream beside a round trip.
const LOSS_PAUSE: Duration = Duration::from_millis(10);

/// Millionths, in which probabilities are.
const MILLION: u64 = 1_000_000;

/// A node of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The number of the node, from 0 in the order in which they were added.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A stream that is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferId(u64);

/// Event of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening<M, E> {
    /// A message arrived.
    Message {
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
        /// The message.
        message: M,
    },
    /// The stream that carried this message broke.
    Broken {
        /// The sender.
        from: NodeId,
        /// The node that would have got it.
        to: NodeId,
        /// The message.
        message: M,
    },
    /// An event that the user of the network put in: a timer, a step of a script.
    Event(E),
}

#[derive(Debug)]
enum Inner<E> {
    /// A node's line is free to send the next chunk.
    LineFree(NodeId),
    /// A chunk arrived at the line of its receiver.
    Chunk(TransferId, u64),
    /// The whole message arrived.
    Arrived(TransferId),
    Event(E),
}

#[derive(Debug)]
struct Node {
    line: Line,
    /// Nodes on different sides don't hear each other.
    side: u32,
    /// Transfers that wait for the line.
    sending: VecDeque<TransferId>,
    line_busy: bool,
    down_free: Instant,
    sent: u64,
    received: u64,
}

#[derive(Debug)]
struct Transfer<M> {
    from: NodeId,
    to: NodeId,
    message: M,
    unsent: u64,
    /// Bytes that are on their way.
    travelling: u64,
    /// When the latest of them arrives: a stream's bytes stay in order.
    arrives: Instant,
    is_stream: bool,
    breaks: bool,
    duplicates: bool,
    /// Held back for so long after the last chunk.
    held_back: Duration,
}

/// Nodes, lines, links, and what travels between them. `M` is a message, `E` an event of the user's own.
#[derive(Debug)]
pub struct VirtualNetwork<M, E> {
    queue: Queue<Inner<E>>,
    rng: Rng,
    nodes: Vec<Node>,
    default_link: Link,
    links: HashMap<(NodeId, NodeId), Link>,
    /// When a link with a rate of its own is free again.
    link_free: HashMap<(NodeId, NodeId), Instant>,
    transfers: HashMap<TransferId, Transfer<M>>,
    next_transfer: u64,
    /// Streams that wait for a partition to heal, in their order.
    stalled: Vec<TransferId>,
}

impl<M: Clone, E> VirtualNetwork<M, E> {
    /// A network without nodes, whose links are `default_link` unless told otherwise.
    pub fn new(seed: u64, default_link: Link) -> Self {
        Self {
            queue: Queue::default(),
            rng: Rng::new(seed),
            nodes: Vec::new(),
            default_link,
            links: HashMap::new(),
            link_free: HashMap::new(),
            transfers: HashMap::new(),
            next_transfer: 0,
            stalled: Vec::new(),
        }
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.queue.now()
    }

    /// Adds a node.
    pub fn add_node(&mut self, line: Line) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node {
            line,
            side: 0,
            sending: VecDeque::new(),
            line_busy: false,
            down_free: Instant::ZERO,
            sent: 0,
            received: 0,
        });
        id
    }

    /// Every node that was added.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<M, E> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).map(NodeId)
    }

    /// Changes a node's line. What is on its way already keeps its time.
    pub fn set_line(&mut self, node: NodeId, line: Line) {
        self.nodes[node.index()].line = line;
    }

    /// Sets the way between two nodes, in both directions.
    pub fn set_link(&mut self, one: NodeId, other: NodeId, link: Link) {
        self.links.insert((one, other), link);
        self.links.insert((other, one), link);
    }

    /// The way between two nodes.
    pub fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(self.default_link)
    }

    /// Bytes that a node has sent and got.
    pub fn traffic(&self, node: NodeId) -> (u64, u64) {
        (self.nodes[node.index()].sent, self.nodes[node.index()].received)
    }

    /// Whether two nodes hear each other.
    pub fn reaches(&self, one: NodeId, other: NodeId) -> bool {
        self.nodes[one.index()].side == self.nodes[other.index()].side
    }

    /// Puts a node on a side of a partition; all begin on side 0. Nodes of different sides don't hear each other. Streams
    /// that waited go on where this lets them.
    pub fn set_side(&mut self, node: NodeId, side: u32) {
        self.nodes[node.index()].side = side;
        self.resume();
    }

    /// Ends every partition.
    pub fn heal(&mut self) {
        for node in &mut self.nodes {
            node.side = 0;
        }
        self.resume();
    }

    /// Puts in an event of the user's own.
    pub fn at(&mut self, at: Instant, event: E) {
        self.queue.at(at, Inner::Event(event));
    }

    /// Puts in an event of the user's own for a while from now.
    pub fn after(&mut self, pause: Duration, event: E) {
        self.queue.after(pause, Inner::Event(event));
    }

    /// Sends `bytes` in one piece that may be lost, come twice or be overtaken.
    pub fn send(&mut self, from: NodeId, to: NodeId, bytes: u64, message: M) {
        self.begin(from, to, bytes, message, false);
    }

    /// Sends `bytes` on a stream: they arrive in the end, unless the stream breaks or is cancelled.
    pub fn stream(&mut self, from: NodeId, to: NodeId, bytes: u64, message: M) -> TransferId {
        self.begin(from, to, bytes, message, true)
    }

    /// Gives up a transfer: what of it has not been sent yet is not sent, and it never arrives.
    pub fn cancel(&mut self, transfer: TransferId) {
        self.transfers.remove(&transfer);
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Instant> {
        self.queue.next()
    }

    /// Lets time pass up to `at`, where nothing happens before.
    pub fn rest_until(&mut self, at: Instant) {
        self.queue.rest_until(at);
    }

    /// The next event up to `until`; moves time there.
    pub fn poll(&mut self, until: Instant) -> Option<Happening<M, E>> {
        while self.queue.next().is_some_and(|at| at <= until) {
            match self.queue.pop()? {
                Inner::Event(event) => return Some(Happening::Event(event)),
                Inner::LineFree(node) => {
                    self.nodes[node.index()].line_busy = false;
                    self.send_chunk(node);
                }
                Inner::Chunk(id, bytes) => self.receive(id, bytes),
                Inner::Arrived(id) => {
                    let Some(transfer) = self.transfers.remove(&id) else { continue };
                    let Transfer { from, to, message, breaks, duplicates, .. } = transfer;
                    if breaks {
                        return Some(Happening::Broken { from, to, message });
                    }
                    if duplicates {
                        let again = Transfer { duplicates: false, ..Self::arrived(from, to, message.clone()) };
                        let id = self.next_id();
                        self.transfers.insert(id, again);
                        self.queue.after(self.link(from, to).latency, Inner::Arrived(id));
                    }
                    return Some(Happening::Message { from, to, message });
                }
            }
        }
        None
    }

    fn arrived(from: NodeId, to: NodeId, message: M) -> Transfer<M> {
        Transfer {
            from,
            to,
            message,
            unsent: 0,
            travelling: 0,
            arrives: Instant::ZERO,
            is_stream: true,
            breaks: false,
            duplicates: false,
            held_back: Duration::ZERO,
        }
    }

    fn next_id(&mut self) -> TransferId {
        self.next_transfer += 1;
        TransferId(self.next_transfer)
    }

    fn chance(&mut self, ppm: u64) -> bool {
        // No draw where nothing can come of it: a perfect link costs no randomness.
        ppm > 0 && self.rng.below(MILLION) < ppm
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        if micros == 0 { Duration::ZERO } else { Duration::from_micros(self.rng.below(micros.saturating_add(1))) }
    }

    fn begin(&mut self, from: NodeId, to: NodeId, bytes: u64, message: M, is_stream: bool) -> TransferId {
        let link = self.link(from, to);
        let held_back = if self.chance(link.reorder_ppm.into()) { self.up_to(link.reorder_by) } else { Duration::ZERO };
        let breaks = is_stream && self.chance(link.break_ppm.into());
        let duplicates = self.chance(link.duplicate_ppm.into());
        let transfer = Transfer {
            // A stream that breaks does so somewhere on its way.
            unsent: if breaks { 1 + self.rng.below(bytes.max(1)) } else { bytes.max(1) },
            is_stream,
            breaks,
            duplicates,
            held_back,
            ..Self::arrived(from, to, message)
        };
        let id = self.next_id();
        self.transfers.insert(id, transfer);
        self.nodes[from.index()].sending.push_back(id);
        self.send_chunk(from);
        id
    }

    /// Sends the next chunk of what waits for a node's line, if that is free.
    fn send_chunk(&mut self, from: NodeId) {
        while !self.nodes[from.index()].line_busy {
            let Some(id) = self.nodes[from.index()].sending.pop_front() else { return };
            let Some(transfer) = self.transfers.get(&id) else { continue };
            let (to, is_stream, unsent) = (transfer.to, transfer.is_stream, transfer.unsent);
            if !self.reaches(from, to) {
                if is_stream {
                    self.stalled.push(id);
                } else {
                    self.transfers.remove(&id);
                }
                continue;
            }
            let bytes = unsent.min(CHUNK_BYTES);
            let sent = self.now().after(takes(bytes, self.nodes[from.index()].line.up));
            self.nodes[from.index()].sent += bytes;
            if sent > self.now() {
                self.nodes[from.index()].line_busy = true;
                self.queue.at(sent, Inner::LineFree(from));
            }
            let Some(arrives) = self.cross(from, to, bytes, sent, is_stream) else {
                self.transfers.remove(&id);
                continue;
            };
            let Some(transfer) = self.transfers.get_mut(&id) else { continue };
            transfer.unsent -= bytes;
            transfer.travelling += bytes;
            transfer.arrives = transfer.arrives.max(arrives);
            let arrives = transfer.arrives;
            if transfer.unsent > 0 {
                self.nodes[from.index()].sending.push_back(id);
            }
            self.queue.at(arrives, Inner::Chunk(id, bytes));
        }
    }

    /// When a chunk that was sent at `sent` arrives; `None` where it is lost.
    fn cross(&mut self, from: NodeId, to: NodeId, bytes: u64, sent: Instant, is_stream: bool) -> Option<Instant> {
        let link = self.link(from, to);
        let mut at = sent;
        if link.rate != u64::MAX {
            let free = self.link_free.entry((from, to)).or_default();
            at = at.max(*free).after(takes(bytes, link.rate));
            *free = at;
        }
        at = at.after(link.latency).after(self.up_to(link.jitter));
        let packets = bytes.div_ceil(PACKET_BYTES);
        if self.chance(packets.saturating_mul(link.loss_ppm.into()).min(MILLION)) {
            if !is_stream {
                return None;
            }
            // Found missing after a round trip, and sent again.
            at = at.after(link.latency * 2).after(LOSS_PAUSE);
        }
        Some(at)
    }

    /// A chunk passes its receiver's line.
    fn receive(&mut self, id: TransferId, bytes: u64) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.travelling -= bytes;
        let complete = transfer.unsent == 0 && transfer.travelling == 0;
        let held_back = transfer.held_back;
        let now = self.queue.now();
        let node = &mut self.nodes[transfer.to.index()];
        node.received += bytes;
        node.down_free = node.down_free.max(now).after(takes(bytes, node.line.down));
        if complete {
            self.queue.at(node.down_free.after(held_back), Inner::Arrived(id));
        }
    }

    /// Goes on with the streams that a partition held up.
    fn resume(&mut self) {
        for id in std::mem::take(&mut self.stalled) {
            let Some(transfer) = self.transfers.get(&id) else { continue };
            let from = transfer.from;
            self.nodes[from.index()].sending.push_back(id);
            self.send_chunk(from);
        }
    }
}

/// The time that `bytes` take at `rate` bytes a second.
fn takes(bytes: u64, rate: u64) -> Duration {
    if rate == u64::MAX {
        return Duration::ZERO;
    }
    Duration::from_micros(bytes.saturating_mul(MILLION).div_ceil(rate.max(1)))
}

#[cfg(test)]
mod tests;
