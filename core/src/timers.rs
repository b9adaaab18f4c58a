//! One table for all deadlines: at most one for each key, earliest first.

use core::cmp::Reverse;

use crate::sorted::Sorted;
use crate::time::Instant;

/// Deadlines by key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Timers<K> {
    /// The earliest stands last, where taking in and out moves least.
    by_time: Sorted<Reverse<(Instant, K)>, ()>,
    by_key: Sorted<K, Instant>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) const fn new() -> Self {
        Self { by_time: Sorted::new(), by_key: Sorted::new() }
    }

    /// Sets or moves the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        match self.by_key.insert(key, at) {
            Some(before) if before == at => return,
            Some(before) => {
                self.by_time.remove(&Reverse((before, key)));
            }
            None => {}
        }
        self.by_time.insert(Reverse((at, key)), ());
    }

    /// Sets the deadline of `key`, unless it has an earlier one.
    pub(crate) fn set_sooner(&mut self, key: K, at: Instant) {
        if self.by_key.get(&key).is_none_or(|&set| at < set) {
            self.set(key, at);
        }
    }

    /// Removes the deadline of `key`, if it has one.
    pub(crate) fn cancel(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&Reverse((at, key)));
        }
    }

    /// The deadline of `key`, if it has one.
    pub(crate) fn at(&self, key: K) -> Option<Instant> {
        self.by_key.get(&key).copied()
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.last().map(|&Reverse((at, _))| at)
    }

    /// Takes out the earliest key whose deadline is `now` or before. The end of the clock never comes: deadlines that can't
    /// be represented lie there, and one that is set again as soon as it is taken out would be taken out for ever.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let next = self.next()?;
        if next > now || next == Instant::MAX {
            return None;
        }
        let (Reverse((_, key)), ()) = self.by_time.pop_last()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_clock_never_comes() {
        let mut timers = Timers::new();
        timers.set('a', Instant::MAX);
        timers.set('b', Instant::from_micros(u64::MAX - 1));
        assert_eq!((timers.pop_due(Instant::MAX), timers.pop_due(Instant::MAX)), (Some('b'), None));
    }

    #[test]
    fn deadlines_come_in_order_and_move() {
        let at = Instant::from_micros;
        let mut timers = Timers::new();
        timers.set('b', at(20));
        timers.set('a', at(10));
        timers.set('b', at(5));
        assert_eq!(timers.next(), Some(at(5)));
        assert_eq!(timers.pop_due(at(4)), None);
        assert_eq!(timers.pop_due(at(30)), Some('b'));
        timers.set_sooner('a', at(20));
        assert_eq!(timers.next(), Some(at(10)));
        timers.set_sooner('a', at(7));
        assert_eq!(timers.next(), Some(at(7)));
        timers.cancel('a');
        assert_eq!((timers.pop_due(at(30)), timers.next()), (None, None));
    }
}
