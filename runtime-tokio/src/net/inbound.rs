//! Room for connections that peers open to this node: so many in all, and so many from one address prefix, so that one
//! host can't shut out the others.
//!
//! A slot is taken before the handshake begins. The address of a first packet may be forged, which is why a slot says
//! whether room is scarce: then the other side has to prove its address first.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::address::{Scope, scope_of};

/// The room.
#[derive(Debug)]
pub(super) struct Inbound {
    most: usize,
    most_per_prefix: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_prefix: BTreeMap<u64, usize>,
}

/// Room for one connection, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    inbound: Arc<Inbound>,
    prefix: Option<u64>,
    scarce: bool,
}

impl Inbound {
    pub(super) fn new(most: usize, most_per_prefix: usize) -> Self {
        Self { most, most_per_prefix, taken: Mutex::default() }
    }

    /// Room for a connection from `ip`, if there is any.
    pub(super) fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Slot> {
        let prefix = prefix_of(ip);
        let mut taken = self.lock();
        let of_prefix = prefix.map_or(0, |prefix| taken.by_prefix.get(&prefix).copied().unwrap_or(0));
        if taken.all >= self.most || (prefix.is_some() && of_prefix >= self.most_per_prefix) {
            return None;
        }
        let scarce = taken.all >= self.most / 2 || of_prefix >= self.most_per_prefix / 2;
        taken.all += 1;
        if let Some(prefix) = prefix {
            taken.by_prefix.insert(prefix, of_prefix + 1);
        }
        Some(Slot { inbound: Arc::clone(self), prefix, scarce })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // The counts are whole at every point where a panic could poison them.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Whether half of what there is was taken already.
    pub(super) fn is_scarce(&self) -> bool {
        self.scarce
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.inbound.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(prefix) = self.prefix
            && let Some(count) = taken.by_prefix.get_mut(&prefix)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_prefix.remove(&prefix);
            }
        }
    }
}

/// Prefix that one operator is likely to have whole. `None` for this machine: somebody on it needs no connections to
/// harm it.
fn prefix_of(ip: IpAddr) -> Option<u64> {
    let scope = scope_of(ip);
    if scope == Some(Scope::Loopback) {
        return None;
    }
    Some(match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let ip = u64::from(ip.to_bits());
            // Neighbours in a private network are nodes of the same owner, who has reason to run many.
            if scope == Some(Scope::Private) { ip } else { ip >> 8 << 8 }
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            let d = if scope == Some(Scope::Private) { d } else { 0 };
            [a, b, c, d].into_iter().fold(0, |prefix, part| prefix << 16 | u64::from(part))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_host_does_not_take_all_slots() {
        let inbound = Arc::new(Inbound::new(8, 3));
        let mut slots: Vec<Slot> = (1..=3).map(|host| inbound.take(ip(&format!("8.8.8.{host}"))).unwrap()).collect();
        assert!(inbound.take(ip("8.8.8.200")).is_none(), "the prefix is full");
        assert!(inbound.take(ip("::ffff:8.8.8.200")).is_none(), "however it is written");
        slots.push(inbound.take(ip("8.8.9.1")).expect("others still get in"));
        slots.extend((1..=3).map(|host| inbound.take(ip(&format!("2600:0:1:{host}::1"))).unwrap()));
        assert!(inbound.take(ip("2600:0:1:9::1")).is_none());
        slots.push(inbound.take(ip("127.0.0.1")).unwrap());
        assert!(inbound.take(ip("9.9.9.9")).is_none() && inbound.take(ip("127.0.0.1")).is_none(), "all are taken");
        slots.remove(0);
        assert!(inbound.take(ip("8.8.8.200")).is_some(), "a slot that is given back is free");
        drop(slots);
        assert!(inbound.lock().by_prefix.is_empty(), "nothing is remembered of who is gone");
    }

    #[test]
    fn neighbours_in_a_private_network_are_counted_apart_and_this_machine_not_at_all() {
        let inbound = Arc::new(Inbound::new(100, 2));
        let take = |text: &str| inbound.take(ip(text));
        let _slots = [take("10.0.0.1"), take("10.0.0.1"), take("10.0.0.2"), take("10.0.0.2")].map(Option::unwrap);
        assert!(take("10.0.0.1").is_none() && take("10.0.0.3").is_some());
        let _own: Vec<Slot> = (0..10).map(|_| take("127.0.0.1").unwrap()).collect();
    }

    #[test]
    fn an_address_must_be_proven_while_room_is_scarce() {
        let inbound = Arc::new(Inbound::new(100, 4));
        let slots: Vec<Slot> = (0..4).map(|_| inbound.take(ip("8.8.8.8")).unwrap()).collect();
        assert_eq!(slots.iter().map(Slot::is_scarce).collect::<Vec<_>>(), [false, false, true, true]);
        assert!(!inbound.take(ip("9.9.9.9")).unwrap().is_scarce());
    }
}
