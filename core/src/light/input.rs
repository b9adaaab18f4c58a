//! [`LightInput`]: everything that can happen to a light client, as one value, so that it can be queued and replayed.

use bytes::Bytes;

use super::client::LightClient;
use crate::ids::{Height, QueryId, RequestId};
use crate::machine::{PeerEvent, RequestFailure};
use crate::ranges::HeightRange;
use crate::time::{Instant, UnixMillis};
use crate::verify::Verdict;

/// One input of the light client.
#[allow(
    clippy::large_enum_variant,
    reason = "an input is moved once, and a box would be an allocation for each verdict"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LightInput {
    /// News of a peer.
    Peer(PeerEvent),
    /// A request was answered, or won't be.
    Response(RequestId, Result<Bytes, RequestFailure>),
    /// A job is done.
    Verdict(Verdict),
    /// The host's time of day. The client counts on from it by its monotonic time, so once is enough for a clock that is
    /// right; the host says it again when it was set.
    Wall(UnixMillis),
    /// Time has passed.
    Timeout,
    /// The command to start, or to go on.
    Start,
    /// The command to stop: requests and jobs are cancelled, what is proven stays.
    Stop,
    /// A question of the user. The first one has the id [`QueryId::FIRST`], each further one the next.
    Ask(Query),
    /// A question that nobody waits for any more. It is not answered.
    Drop(QueryId),
}

/// A question of the user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// The value of a key.
    Read {
        /// The key, at most [`MAX_KEY_BYTES`](crate::state::MAX_KEY_BYTES).
        key: Bytes,
        /// The state that is meant.
        at: At,
    },
    /// The block at a height, of an epoch that the client knows and above its anchor.
    Header(Height),
    /// The payloads of some blocks within one cell of the grid: at most
    /// [`MAX_BODIES_BYTES`](crate::limits::MAX_BODIES_BYTES) together.
    Bodies(HeightRange),
}

/// The state that a read means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// The newest that peers have.
    Now,
    /// The newest snapshot that a peer says it serves.
    Snapshot,
    /// That after the block at this height, one of the chain's snapshot heights.
    Height(Height),
}

impl LightClient {
    /// Takes one input, whatever it is.
    pub fn handle(&mut self, now: Instant, input: LightInput) {
        match input {
            LightInput::Peer(event) => self.handle_peer(now, event),
            LightInput::Response(id, answer) => self.handle_response(now, id, answer),
            LightInput::Verdict(verdict) => self.handle_verdict(now, verdict),
            LightInput::Wall(wall) => self.handle_wall(now, wall),
            LightInput::Timeout => self.handle_timeout(now),
            LightInput::Start => self.start(now),
            LightInput::Stop => self.stop(now),
            // A host that needs the id at once asks by name.
            LightInput::Ask(query) => drop(self.ask(now, query)),
            LightInput::Drop(id) => self.drop_query(now, id),
        }
    }
}
