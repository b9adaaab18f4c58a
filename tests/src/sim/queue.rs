//! [`Queue`]: what is going to happen, in virtual time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use hotstuff2_sync::time::Instant;

/// Events by the time at which they happen; those of one time in the order in which they were put in. Time moves when an
/// event is taken out, and only then.
#[derive(Debug)]
pub struct Queue<E> {
    now: Instant,
    order: u64,
    heap: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: Instant,
    order: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { now: Instant::ZERO, order: 0, heap: BinaryHeap::new() }
    }
}

impl<E> Queue<E> {
    /// The time of what was taken out last.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Puts `event` in for `at`, or for now where that is past.
    pub fn at(&mut self, at: Instant, event: E) {
        self.order += 1;
        self.heap.push(Reverse(Entry { at: at.max(self.now), order: self.order, event }));
    }

    /// Puts `event` in for a while from now.
    pub fn after(&mut self, pause: Duration, event: E) {
        self.at(self.now.after(pause), event);
    }

    /// When the next event happens.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the next event out and moves time there.
    pub fn pop(&mut self) -> Option<E> {
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }

    /// Lets time pass up to `at`, where nothing happens before.
    pub fn rest_until(&mut self, at: Instant) {
        if self.next().is_none_or(|next| next > at) {
            self.now = self.now.max(at);
        }
    }

    /// How many events are waiting.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is going to happen.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}
