//! [`Mail`]: the channel between validators, over the node's own connections.
//!
//! Each node keeps a box for each other member, and each fetches its mail by a request that is answered when there is some. So
//! whoever is slow holds up nobody: a full box loses its oldest messages, as a network does, and the replica repeats what matters.
//! Who asks is known by its key, which is the validator's. The same requests carry what the process that started the network
//! orders.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::{Refusal, encode_refusal};
use hotstuff2_sync_tokio::net::{BoxFuture, Handler, Network};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use super::status::{MemberStatus, Order};

/// Begins a request for mail, and one with an order. No request of the sync begins so.
const ASKS: &[u8] = b"\xffdevnet mail\n";
const ORDERS: &[u8] = b"\xffdevnet order\n";

/// Most messages and bytes that wait in a box, and most bytes of one answer but for its first message.
const MOST_MESSAGES: usize = 1024;
const MOST_WAITING: usize = 16 << 20;
const MOST_SENT: usize = 1 << 20;
/// Longest answer that is read.
const MOST_READ: usize = 16 << 20;

/// How long an empty box is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked who is connected.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Pause after an answer that was none.
const PAUSE: Duration = Duration::from_millis(50);

/// An order, and where the answer goes.
pub(super) type Ordered = (Order, oneshot::Sender<MemberStatus>);

/// The last message that somebody has of a box: they are numbered from 1 on, anew in each run of the box's owner.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Mark {
    run: u64,
    last: u64,
}

#[derive(Debug, Default)]
struct Outbox {
    /// Number of the message before the first one here.
    before: u64,
    messages: VecDeque<Bytes>,
    bytes: usize,
    news: Arc<Notify>,
}

/// Boxes for all other members.
#[derive(Debug)]
pub(super) struct Mail {
    run: u64,
    boxes: Mutex<HashMap<PeerId, Outbox>>,
    /// Members that are not heard and not answered.
    cut: Mutex<HashSet<PeerId>>,
    slow_ms: AtomicU64,
}

impl Mail {
    /// Boxes for `members`. The number tells this run of the node from others.
    pub(super) fn new(members: impl IntoIterator<Item = PeerId>, run: u64) -> Self {
        let boxes = members.into_iter().map(|member| (member, Outbox::default())).collect();
        Self { run, boxes: Mutex::new(boxes), cut: Mutex::default(), slow_ms: AtomicU64::new(0) }
    }

    /// Puts a message into the box of `to`, or of all.
    pub(super) fn send(&self, to: Option<PeerId>, message: &Bytes) {
        let mut boxes = self.boxes();
        let all = to.is_none();
        for (_, outbox) in boxes.iter_mut().filter(|(member, _)| all || to == Some(**member)) {
            outbox.bytes = outbox.bytes.saturating_add(message.len());
            outbox.messages.push_back(message.clone());
            while outbox.messages.len() > MOST_MESSAGES || outbox.bytes > MOST_WAITING {
                let Some(lost) = outbox.messages.pop_front() else { break };
                outbox.bytes = outbox.bytes.saturating_sub(lost.len());
                outbox.before = outbox.before.saturating_add(1);
            }
            outbox.news.notify_waiters();
        }
    }

    pub(super) fn cut(&self, members: impl IntoIterator<Item = PeerId>) {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).extend(members);
    }

    pub(super) fn heal(&self) {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn slow(&self, millis: u64) {
        self.slow_ms.store(millis, Ordering::Relaxed);
    }

    fn is_cut(&self, peer: PeerId) -> bool {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer)
    }

    async fn delay(&self) {
        match self.slow_ms.load(Ordering::Relaxed) {
            0 => {}
            millis => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
    }

    fn boxes(&self) -> MutexGuard<'_, HashMap<PeerId, Outbox>> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a message for `member` that it doesn't have.
    async fn wait(&self, member: PeerId, mark: Mark) {
        let Some(news) = self.boxes().get(&member).map(|outbox| Arc::clone(&outbox.news)) else { return };
        let mut told = Box::pin(news.notified());
        // Before it is looked, so that nothing comes between.
        told.as_mut().enable();
        let last = if mark.run == self.run { mark.last } else { 0 };
        let there = |outbox: &Outbox| outbox.before.saturating_add(outbox.messages.len() as u64) > last;
        if !self.boxes().get(&member).is_some_and(there) {
            // An answer without mail is one as well.
            let _ = tokio::time::timeout(PATIENCE, told).await;
        }
        self.delay().await;
    }

    /// The messages for `member` from the one after its mark on, as far as they fit. What it has is forgotten.
    fn take(&self, member: PeerId, mark: Mark) -> Bytes {
        let mut boxes = self.boxes();
        let Some(outbox) = boxes.get_mut(&member) else { return encode_refusal(Refusal::NotAvailable) };
        let has = if mark.run == self.run { mark.last } else { 0 };
        while outbox.before < has {
            let Some(had) = outbox.messages.pop_front() else { break };
            outbox.bytes = outbox.bytes.saturating_sub(had.len());
            outbox.before = outbox.before.saturating_add(1);
        }
        let mut bytes = 0usize;
        let fit = |message: &&Bytes| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(message.len().max(1));
            first || bytes <= MOST_SENT
        };
        let sent: Vec<&Bytes> = outbox.messages.iter().take_while(fit).collect();
        let mark = Mark { run: self.run, last: outbox.before.saturating_add(sent.len() as u64) };
        postcard::to_allocvec(&(mark, sent)).map_or_else(|_| encode_refusal(Refusal::NotAvailable), Bytes::from)
    }
}

/// Answers members and the process that started them, and leaves the rest to another handler.
pub(super) struct MailHandler {
    pub(super) inner: Arc<dyn Handler>,
    pub(super) mail: Arc<Mail>,
    pub(super) director: PeerId,
    pub(super) orders: mpsc::Sender<Ordered>,
}

impl MailHandler {
    fn order(&self, bytes: &[u8]) -> Option<Bytes> {
        let order = postcard::from_bytes(bytes).ok()?;
        let (answer, answered) = oneshot::channel();
        self.orders.blocking_send((order, answer)).ok()?;
        let status = answered.blocking_recv().ok()?;
        serde_json::to_vec(&status).ok().map(Bytes::from)
    }
}

fn mark_of(request: &[u8]) -> Option<Mark> {
    postcard::from_bytes(request.strip_prefix(ASKS)?).ok()
}

impl Handler for MailHandler {
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        match mark_of(request) {
            Some(mark) => Box::pin(self.mail.wait(peer, mark)),
            None => {
                let inner = self.inner.ready(peer, request);
                Box::pin(async move {
                    inner.await;
                    self.mail.delay().await;
                })
            }
        }
    }

    fn cost(&self, request: &Bytes) -> Cost {
        if request.starts_with(ASKS) || request.starts_with(ORDERS) {
            Cost::default()
        } else {
            self.inner.cost(request)
        }
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        self.inner.busy(retry_after_ms)
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        let nothing = || encode_refusal(Refusal::NotAvailable);
        if self.mail.is_cut(peer) {
            return nothing();
        }
        if let Some(mark) = mark_of(&request) {
            return self.mail.take(peer, mark);
        }
        match request.strip_prefix(ORDERS) {
            Some(order) if peer == self.director => self.order(order).unwrap_or_else(nothing),
            Some(_) => nothing(),
            None => self.inner.handle(peer, request),
        }
    }
}

/// Fetches the mail of all `members` that are connected, for as long as it is polled, and hands it to `arrived`.
pub(super) async fn fetch(
    network: Arc<dyn Network>,
    mail: Arc<Mail>,
    members: HashSet<PeerId>,
    arrived: impl Fn(PeerId, Bytes) + Clone + Send + 'static,
) {
    let mut fetching: HashSet<PeerId> = HashSet::new();
    let mut tasks = JoinSet::new();
    let mut marks: HashMap<PeerId, Mark> = HashMap::new();
    loop {
        for link in network.links() {
            if members.contains(&link.peer) && fetching.insert(link.peer) {
                let mark = marks.get(&link.peer).copied().unwrap_or_default();
                tasks.spawn(fetch_from(Arc::clone(&network), Arc::clone(&mail), link.peer, mark, arrived.clone()));
            }
        }
        tokio::select! {
            Some(ended) = tasks.join_next() => {
                if let Ok((peer, mark)) = ended {
                    fetching.remove(&peer);
                    marks.insert(peer, mark);
                }
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Fetches the mail of `peer` until the connection is gone.
async fn fetch_from(
    network: Arc<dyn Network>,
    mail: Arc<Mail>,
    peer: PeerId,
    mut mark: Mark,
    arrived: impl Fn(PeerId, Bytes),
) -> (PeerId, Mark) {
    loop {
        let mut request = ASKS.to_vec();
        request.extend(postcard::to_allocvec(&mark).unwrap_or_default());
        let Ok(answer) = network.request(peer, request.into(), MOST_READ).await else { return (peer, mark) };
        match postcard::from_bytes::<(Mark, Vec<Bytes>)>(&answer) {
            Ok((next, messages)) if !mail.is_cut(peer) => {
                mark = next;
                messages.into_iter().for_each(|message| arrived(peer, message));
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Gives `order` to `member`, and returns what it says of itself.
pub(super) async fn order(network: &dyn Network, member: PeerId, order: &Order) -> Option<MemberStatus> {
    let mut request = ORDERS.to_vec();
    request.extend(postcard::to_allocvec(order).ok()?);
    let answer = network.request(member, request.into(), MOST_READ).await.ok()?;
    serde_json::from_slice(&answer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(byte: u8) -> PeerId {
        PeerId::from_bytes([byte; 32])
    }

    fn taken(mail: &Mail, mark: Mark) -> (Mark, Vec<Bytes>) {
        postcard::from_bytes(&mail.take(peer(1), mark)).unwrap()
    }

    #[test]
    fn mail_comes_in_order_and_once_and_a_new_run_begins_anew() {
        let mail = Mail::new([peer(1), peer(2)], 7);
        mail.send(None, &Bytes::from_static(b"a"));
        mail.send(Some(peer(2)), &Bytes::from_static(b"for another"));
        mail.send(Some(peer(1)), &Bytes::from_static(b"b"));
        let (mark, messages) = taken(&mail, Mark::default());
        assert_eq!(messages, ["a", "b"]);
        // Lost on its way: it comes again.
        assert_eq!(taken(&mail, Mark::default()).1, ["a", "b"]);
        mail.send(None, &Bytes::from_static(b"c"));
        let (mark, messages) = taken(&mail, mark);
        assert_eq!((messages, mark.last), (vec![Bytes::from_static(b"c")], 3));
        // What the other run said of its numbers says nothing of this one's.
        let other = Mark { run: 6, last: 100 };
        assert_eq!(taken(&mail, other).1, ["c"]);
        assert_eq!(mail.take(peer(3), mark), encode_refusal(Refusal::NotAvailable), "no member");
    }

    #[test]
    fn a_full_box_loses_its_oldest_messages() {
        let mail = Mail::new([peer(1)], 7);
        for number in 0..MOST_MESSAGES + 5 {
            mail.send(None, &number.to_string().into());
        }
        let (mark, messages) = taken(&mail, Mark::default());
        assert_eq!((messages.len(), &messages[0][..]), (MOST_MESSAGES, &b"5"[..]));
        assert_eq!(mark.last, MOST_MESSAGES as u64 + 5);
        mail.send(None, &vec![0; MOST_SENT].into());
        mail.send(None, &Bytes::from_static(b"next"));
        let (mark, messages) = taken(&mail, mark);
        assert_eq!(messages.len(), 1, "a large one comes alone");
        assert_eq!(taken(&mail, mark).1, ["next"]);
        for _ in 0..20 {
            mail.send(None, &vec![0; MOST_SENT].into());
        }
        assert_eq!(mail.boxes()[&peer(1)].messages.len(), MOST_WAITING / MOST_SENT);
    }
}
