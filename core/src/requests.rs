//! The table of requests in flight. Ids are never reused, so a late, unsolicited or crossed answer finds nothing here.

use alloc::collections::BTreeMap;

use crate::ids::{Epoch, Height, PeerId, RequestId};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Claims.
    Status,
    /// Handovers.
    Handovers,
    /// A proven tip.
    Tip,
    /// Headers.
    Segment,
    /// Payloads.
    Bodies,
    /// What follows the tip.
    Follow,
    /// Subtrees of a state.
    State,
}

/// A request in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InFlight {
    pub(crate) peer: PeerId,
    pub(crate) purpose: Purpose,
    pub(crate) sent: Instant,
    /// Expected size of the answer in bytes, as counted against the peer's queue.
    pub(crate) size: u64,
    /// Bytes of the memory budget that belong to this request alone and go back when it ends.
    pub(crate) reserved: u64,
}

/// Requests in flight, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Requests {
    in_flight: BTreeMap<RequestId, InFlight>,
    last: Option<RequestId>,
}

impl Requests {
    /// Enters a request and names it.
    pub(crate) fn insert(&mut self, request: InFlight) -> RequestId {
        let id = self.last.map_or(RequestId::FIRST, RequestId::next);
        self.last = Some(id);
        self.in_flight.insert(id, request);
        id
    }

    /// Takes a request out: it was answered, failed, or is no longer wanted.
    pub(crate) fn remove(&mut self, id: RequestId) -> Option<InFlight> {
        self.in_flight.remove(&id)
    }

    pub(crate) fn get(&self, id: RequestId) -> Option<&InFlight> {
        self.in_flight.get(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// All requests, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RequestId, &InFlight)> {
        self.in_flight.iter().map(|(&id, request)| (id, request))
    }

    /// Ids of the requests to `peer`, oldest first.
    pub(crate) fn of_peer(&self, peer: PeerId) -> alloc::vec::Vec<RequestId> {
        self.iter().filter(|(_, request)| request.peer == peer).map(|(id, _)| id).collect()
    }

    /// Whether a request of this kind is in flight to anyone.
    pub(crate) fn any(&self, matches: impl Fn(Purpose) -> bool) -> bool {
        self.in_flight.values().any(|request| matches(request.purpose))
    }
}
