//! What is asked of peers, by purpose and kind, and a request in flight.

use alloc::collections::BTreeMap;

use crate::ids::{Epoch, Height, PeerId};
use crate::ranges::HeightRange;
use crate::time::Instant;

/// Names the subtrees that one request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BatchId(pub(crate) u64);

/// What a request is for.
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
    /// What follows this height.
    Follow(Height),
    /// The peer's own proof of its block at this height, which differs from the one that was proven before.
    Contest(Height),
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
            Self::Segment { .. } | Self::Contest(_) | Self::Base => Kind::Segment,
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
    /// What follows the tip.
    Follow,
    /// Subtrees of a state.
    State,
}

pub(crate) use RequestKind as Kind;

/// What a true answer proves that a peer gives: the kind, and whether payloads came behind headers. A peer may be honest in
/// one and lie in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Skill {
    pub(crate) kind: RequestKind,
    pub(crate) with_bodies: bool,
}

impl From<RequestKind> for Skill {
    fn from(kind: RequestKind) -> Self {
        Self { kind, with_bodies: false }
    }
}

impl From<Purpose> for Skill {
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

/// Something kept for each kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ByKind<T>(BTreeMap<RequestKind, T>);

impl<T> Default for ByKind<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Default> ByKind<T> {
    pub(crate) fn get(&self, kind: RequestKind) -> Option<&T> {
        self.0.get(&kind)
    }

    pub(crate) fn entry(&mut self, kind: RequestKind) -> &mut T {
        self.0.entry(kind).or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RequestKind, &T)> {
        self.0.iter().map(|(&kind, value)| (kind, value))
    }
}

/// A request in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InFlight {
    pub(crate) peer: PeerId,
    pub(crate) purpose: Purpose,
    pub(crate) sent: Instant,
    /// When the answer is expected by what is known of the peer.
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
            (Purpose::Contest(height), Kind::Segment, true),
            (Purpose::Base, Kind::Segment, true),
            (Purpose::Bodies(HeightRange::single(height)), Kind::Bodies, true),
            (Purpose::Follow(height), Kind::Follow, false),
            (Purpose::State(BatchId(1)), Kind::State, true),
        ];
        for (purpose, kind, bulk) in kinds {
            assert_eq!((purpose.kind(), kind.is_bulk()), (kind, bulk), "{purpose:?}");
        }
    }

    #[test]
    fn accounts_are_kept_by_kind() {
        let mut counts: ByKind<u32> = ByKind::default();
        assert_eq!(counts.get(Kind::Tip), None);
        *counts.entry(Kind::Tip) += 2;
        *counts.entry(Kind::Status) += 1;
        *counts.entry(Kind::Tip) += 3;
        assert_eq!((counts.get(Kind::Tip), counts.get(Kind::Follow)), (Some(&5), None));
        assert!(counts.iter().eq([(Kind::Status, &1), (Kind::Tip, &5)]));
    }
}
