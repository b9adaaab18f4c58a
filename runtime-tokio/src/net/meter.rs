//! Cost of a connection's datagrams: [`Meter`] measures it, and says when it is more than their bytes are worth.
//!
//! Quinn handles the datagrams of a connection in a task of its own, under a lock that whoever uses the connection waits
//! for. Some cost far more than others: pieces of streams with gaps between them, acknowledgements of single packets. No
//! rule about frames would name them all, and they are encrypted; so CPU time is counted, whatever it went into. The task
//! takes a few datagrams at a time, so that a lock is short and other connections have their turn.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use quinn::{AsyncTimer, AsyncUdpSocket, Connection, ConnectionStats, Runtime, TokioRuntime};
use tokio::sync::Notify;
use tokio::task::coop::poll_proceed;

use super::datagrams::{LargeSender, LargeSenders, Sieve};

/// Datagrams of a connection that are handled under one lock: a quarter of a millisecond for honest ones.
const AT_ONCE: usize = 16;
/// The same where they may have 64 KiB.
const LARGE_AT_ONCE: usize = 4;
/// CPU time in microseconds that a datagram may cost, sent or received: five times what an honest one does on a slow
/// machine.
const DATAGRAM_WORK: u64 = 50;
/// The same for a KiB in it.
const KIB_WORK: u64 = 50;
/// CPU time in microseconds that a connection may cost beyond that: a handshake, and what it saved up.
const AHEAD: u64 = 50_000;
/// CPU time in microseconds after which accounts are compared.
const LOOK_AFTER: u64 = 5_000;

/// CPU time of this thread, in microseconds.
pub(super) fn thread_cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000)).unwrap_or(0)
}

/// Counts the CPU time of one connection's task.
#[derive(Debug)]
pub(super) struct Meter {
    /// Held as long as the task is there.
    large: Option<LargeSender>,
    spent: AtomicU64,
    look: Notify,
}

thread_local! {
    /// The meter of the connection that is being opened.
    static OPENING: RefCell<Option<Arc<Meter>>> = const { RefCell::new(None) };
}

impl Meter {
    /// For a connection whose peer may send datagrams that are `large`, or may not.
    pub(super) fn new(large: Option<LargeSender>) -> Arc<Self> {
        Arc::new(Self { large, spent: AtomicU64::new(0), look: Notify::new() })
    }

    /// Counts for the connection that `open` makes.
    pub(super) fn count<T>(self: &Arc<Self>, open: impl FnOnce() -> T) -> T {
        OPENING.set(Some(Arc::clone(self)));
        let opened = open();
        OPENING.take();
        opened
    }

    /// Ends when a handshake has cost more than any honest one, with the microseconds that it did.
    pub(super) async fn handshake_overspent(&self) -> u64 {
        loop {
            self.look.notified().await;
            let spent = self.spent.load(Ordering::Relaxed);
            if spent > AHEAD {
                return spent;
            }
        }
    }

    /// Ends when `connection` has cost more than its datagrams may, with the microseconds that are too many.
    pub(super) async fn overspent(&self, connection: &Connection) -> u64 {
        let mut account = Account { left: AHEAD, spent: 0, worth: 0 };
        loop {
            self.look.notified().await;
            if let Err(over) = account.settle(self.spent.load(Ordering::Relaxed), worth(&connection.stats())) {
                return over;
            }
        }
    }

    fn at_once(&self) -> usize {
        if self.large.is_some() { LARGE_AT_ONCE } else { AT_ONCE }
    }

    fn add(&self, micros: u64) {
        let before = self.spent.fetch_add(micros, Ordering::Relaxed);
        if before / LOOK_AFTER != before.saturating_add(micros) / LOOK_AFTER {
            self.look.notify_one();
        }
    }
}

/// CPU time in microseconds that the datagrams of a connection may cost.
fn worth(stats: &ConnectionStats) -> u64 {
    let datagrams = stats.udp_rx.datagrams.saturating_add(stats.udp_tx.datagrams);
    let kib = stats.udp_rx.bytes.saturating_add(stats.udp_tx.bytes) >> 10;
    datagrams.saturating_mul(DATAGRAM_WORK).saturating_add(kib.saturating_mul(KIB_WORK))
}

/// Cost that a connection may still cause. Not more than [`AHEAD`] is saved up, so that nobody is honest for an hour
/// first.
struct Account {
    left: u64,
    spent: u64,
    worth: u64,
}

impl Account {
    /// Counts what was spent and earned since the last time.
    fn settle(&mut self, spent: u64, worth: u64) -> Result<(), u64> {
        let cost = spent.saturating_sub(std::mem::replace(&mut self.spent, spent));
        let earned = worth.saturating_sub(std::mem::replace(&mut self.worth, worth));
        let has = self.left.saturating_add(earned);
        if cost > has {
            return Err(cost - has);
        }
        self.left = (has - cost).min(AHEAD);
        Ok(())
    }
}

/// Runs what quinn runs on tokio: sockets behind a [`Sieve`], tasks of connections with their [`Meter`].
#[derive(Debug)]
pub(super) struct MeteredRuntime {
    pub(super) senders: Arc<LargeSenders>,
}

impl Runtime for MeteredRuntime {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        match OPENING.take() {
            Some(meter) => drop(tokio::spawn(MeteredTask { task, meter, begun: false })),
            // The endpoint's own, which only hands datagrams on.
            None => TokioRuntime.spawn(task),
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(Sieve::new(TokioRuntime.wrap_udp_socket(socket)?, Arc::clone(&self.senders))))
    }

    fn now(&self) -> std::time::Instant {
        TokioRuntime.now()
    }
}

/// The task of a connection.
struct MeteredTask {
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
    meter: Arc<Meter>,
    begun: bool,
}

/// Most of tokio's cooperative budget that a task was seen to have. One may begin with what another has left over.
static WHOLE_BUDGET: AtomicUsize = AtomicUsize::new(0);

impl Future for MeteredTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.begun, true) {
            measure_budget(cx);
            return Poll::Pending;
        }
        if !leave_budget(self.meter.at_once(), cx) {
            return Poll::Pending;
        }
        let begin = thread_cpu();
        let polled = self.task.as_mut().poll(cx);
        self.meter.add(thread_cpu().saturating_sub(begin));
        polled
    }
}

/// Uses up tokio's cooperative budget but for `left` datagrams, each of which takes one of it. False, and the task is woken
/// again, where less is there.
fn leave_budget(left: usize, cx: &mut Context<'_>) -> bool {
    (left..WHOLE_BUDGET.load(Ordering::Relaxed)).all(|_| take_budget(cx))
}

/// Finds out how much of tokio's budget there is, which it doesn't say. It is gone then, and the task is woken again.
fn measure_budget(cx: &mut Context<'_>) {
    /// Far more than it is: a task without a budget would count for ever.
    const UNLIMITED: usize = 10_000;
    let seen = (0..UNLIMITED).take_while(|_| take_budget(cx)).count();
    if seen < UNLIMITED {
        WHOLE_BUDGET.fetch_max(seen, Ordering::Relaxed);
    } else {
        cx.waker().wake_by_ref();
    }
}

fn take_budget(cx: &mut Context<'_>) -> bool {
    match poll_proceed(cx) {
        Poll::Ready(taken) => {
            taken.made_progress();
            true
        }
        Poll::Pending => false,
    }
}

#[cfg(test)]
#[path = "meter_tests.rs"]
mod tests;
