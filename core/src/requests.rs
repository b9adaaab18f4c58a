//! Requests by purpose and kind, and a request in flight.

use crate::ids::{Epoch, Height, PeerId};
use crate::ranges::HeightRange;
use crate::time::Instant;

/// Names the subtrees that one request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BatchId(pub(crate) u64);

/// Purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Purpose {
    /// The peer's claims.
    Status,
    /// Handovers from the end of this epoch on.
    Handovers(Epoch),
    /// The peer's tip, to be checked against this epoch.
    Tip(Epoch),
    /// Headers of the cell that starts here, and up to so many bytes of its payloads.
    Segment { first: Height, bodies: u32 },
    /// Payloads of this range.
    Bodies(HeightRange),
    /// The block after this height.
    Follow(Height),
    /// The peer's own proof of its block at this height, which differs from the one that was proven before.
    Dispute(Height),
    /// Headers that prove the block whose state is to be fetched.
    Base,
    /// Subtrees of a state.
    State(BatchId),
}

impl Purpose {
    /// The kind of request, for accounts that are kept by kind.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Status => Kind::Status,
            Self::Handovers(_) => Kind::Handovers,
            Self::Tip(_) => Kind::Tip,
            Self::Segment { .. } | Self::Dispute(_) | Self::Base => Kind::Segment,
            Self::Bodies(_) => Kind::Bodies,
            Self::Follow(_) => Kind::Follow,
            Self::State(_) => Kind::State,
        }
    }
}

/// Kinds of requests: a peer may be good for one and not for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// Claims.
    Status,
    /// Handovers.
    Handovers,
    /// A proven tip.
    Tip,
    /// Headers, perhaps with payloads behind them.
    Segment,
    /// Payloads.
    Bodies,
    /// The block after the tip.
    Follow,
    /// Subtrees of a state.
    State,
    /// A key's value.
    Read,
}

pub(crate) use RequestKind as Kind;

/// Capability that a true answer proves of a peer: the kind, and whether payloads came behind headers. A peer may be
/// honest in one and lie in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Capability {
    pub(crate) kind: RequestKind,
    pub(crate) with_bodies: bool,
}

impl From<RequestKind> for Capability {
    fn from(kind: RequestKind) -> Self {
        Self { kind, with_bodies: false }
    }
}

impl From<Purpose> for Capability {
    fn from(purpose: Purpose) -> Self {
        Self { kind: purpose.kind(), with_bodies: matches!(purpose, Purpose::Segment { bodies: 1.., .. }) }
    }
}

impl RequestKind {
    /// Whether answers are large: they fill the line, and what is asked for at once is bounded for each peer.
    pub const fn is_bulk(self) -> bool {
        matches!(self, Self::Segment | Self::Bodies | Self::State)
    }
}

/// Sorts of things that a peer has proven to give: a bit for each. Every choice looks at those of all peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Capabilities(u16);

impl Capabilities {
    const fn bit(capability: Capability) -> u16 {
        let kind = 1 << capability.kind as u16;
        if capability.with_bodies { kind << KINDS } else { kind }
    }

    pub(crate) const fn insert(&mut self, capability: Capability) {
        self.0 |= Self::bit(capability);
    }

    pub(crate) const fn contains(self, capability: Capability) -> bool {
        self.0 & Self::bit(capability) != 0
    }

    /// Whether any of them is of `kind`.
    pub(crate) const fn has(self, kind: RequestKind) -> bool {
        self.contains(Capability { kind, with_bodies: false }) || self.contains(Capability { kind, with_bodies: true })
    }
}

/// Number of kinds of requests.
const KINDS: usize = RequestKind::Read as usize + 1;

/// Something kept for each kind of request, in a row: every choice looks at those of all peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ByKind<T>([T; KINDS]);

impl<T> ByKind<T> {
    /// The place of `kind` behind the first kind; none for that one itself.
    const fn behind_first(kind: RequestKind) -> usize {
        (kind as usize).wrapping_sub(1)
    }

    pub(crate) fn get(&self, kind: RequestKind) -> &T {
        let [first, others @ ..] = &self.0;
        others.get(Self::behind_first(kind)).unwrap_or(first)
    }

    pub(crate) fn get_mut(&mut self, kind: RequestKind) -> &mut T {
        let [first, others @ ..] = &mut self.0;
        others.get_mut(Self::behind_first(kind)).unwrap_or(first)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// A request in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InFlight<P = Purpose> {
    pub(crate) peer: PeerId,
    pub(crate) purpose: P,
    pub(crate) sent: Instant,
    /// Time at which the answer is expected by what is known of the peer.
    pub(crate) due: Instant,
    /// Expected size of the answer in bytes, as counted against the peer's queue.
    pub(crate) size: u64,
    /// Bytes of the memory budget that belong to this request alone and go back when it ends.
    pub(crate) reserved: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_is_asked_for_by_one_kind_of_request() {
        let height = Height::new(7);
        let kinds = [
            (Purpose::Status, Kind::Status, false),
            (Purpose::Handovers(Epoch::ZERO), Kind::Handovers, false),
            (Purpose::Tip(Epoch::ZERO), Kind::Tip, false),
            (Purpose::Segment { first: height, bodies: 0 }, Kind::Segment, true),
            (Purpose::Dispute(height), Kind::Segment, true),
            (Purpose::Base, Kind::Segment, true),
            (Purpose::Bodies(HeightRange::single(height)), Kind::Bodies, true),
            (Purpose::Follow(height), Kind::Follow, false),
            (Purpose::State(BatchId(1)), Kind::State, true),
        ];
        for (purpose, kind, bulk) in kinds {
            assert_eq!((purpose.kind(), kind.is_bulk()), (kind, bulk), "{purpose:?}");
        }
    }

    const ALL: [Kind; KINDS] =
        [Kind::Status, Kind::Handovers, Kind::Tip, Kind::Segment, Kind::Bodies, Kind::Follow, Kind::State, Kind::Read];

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let mut kept: ByKind<usize> = ByKind::default();
        for (number, kind) in ALL.into_iter().enumerate() {
            assert_eq!(*kept.get(kind), 0);
            *kept.get_mut(kind) = number + 1;
        }
        assert!(ALL.into_iter().map(|kind| *kept.get(kind)).eq(1..=KINDS));
        assert!(kept.values().copied().eq(1..=KINDS));
    }

    #[test]
    fn every_skill_is_proven_by_itself() {
        let all = || ALL.into_iter().flat_map(|kind| [false, true].map(|with_bodies| Capability { kind, with_bodies }));
        for one in all() {
            let mut capabilities = Capabilities::default();
            capabilities.insert(one);
            assert!(all().filter(|&other| capabilities.contains(other)).eq([one]));
            assert!(ALL.into_iter().filter(|&kind| capabilities.has(kind)).eq([one.kind]));
        }
    }
}
