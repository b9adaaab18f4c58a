//! [`LightNode`]: a task that carries what the light client asks for to the network and to threads, and brings answers
//! back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::ids::{PeerId, QueryId, RequestId};
use hotstuff2_sync::light::{
    LightAnswer, LightCheckpoint, LightClient, LightConfig, LightError, LightEvent, LightInput, LightOutput,
    LightPosition, LightStart, NewLightError, Query,
};
use hotstuff2_sync::machine::{PeerEvent, RequestFailure};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::Job;
use hotstuff2_sync::wire::Request;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::dial::keep_connected;
use crate::discovery::BootstrapPeer;
use crate::net::address::group_of;
use crate::net::{Network, NetworkEvent};
use crate::penalty::penalize;
use crate::wall_clock;

/// Events that wait for a listener; one that lags further loses the oldest.
const EVENTS: usize = 256;
/// Time after which the client is told the time of day again: clocks are set now and then.
const WALL_EVERY: Duration = Duration::from_secs(10);

/// Anything that reaches the client.
#[allow(
    clippy::large_enum_variant,
    reason = "verdicts are most of what comes, and a box would be an allocation for each"
)]
enum Input {
    Client(LightInput),
    Ask(Query, oneshot::Sender<Result<LightAnswer, LightError>>),
    Network(NetworkEvent),
}

/// A running light client. Dropping it ends it; the network stays as it is.
#[derive(Debug)]
pub struct LightNode {
    inputs: mpsc::UnboundedSender<Input>,
    position: watch::Receiver<LightPosition>,
    checkpoint: watch::Receiver<Option<LightCheckpoint>>,
    events: broadcast::Sender<LightEvent>,
    tasks: Vec<JoinHandle<()>>,
}

impl LightNode {
    /// Starts a client that trusts `start`, over `network`, whose `events` it takes from here on; it keeps `peers`
    /// connected. `seed` feeds its choices, such as [`Identity::seed`](crate::net::Identity::seed). To be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// Where a setting is out of range, or the start is older than the trusting period.
    pub fn start<C: Chain>(
        chain: Arc<C>,
        config: LightConfig,
        start: LightStart,
        seed: u64,
        network: Arc<dyn Network>,
        events: mpsc::Receiver<NetworkEvent>,
        peers: Vec<BootstrapPeer>,
    ) -> Result<Self, NewLightError> {
        let mut client = LightClient::new(config, start, seed, Instant::ZERO, wall_clock())?;
        client.handle(Instant::ZERO, LightInput::Start);
        let (inputs, work) = mpsc::unbounded_channel();
        let (position_in, position) = watch::channel(client.position());
        let (checkpoint_in, checkpoint) = watch::channel(client.checkpoint());
        let (events_in, _) = broadcast::channel(EVENTS);
        let task = Task {
            client,
            chain,
            clock: Clock::now(),
            wall_said: Clock::now(),
            network: Arc::clone(&network),
            inputs: inputs.clone(),
            position: position_in,
            checkpoint: checkpoint_in,
            events: events_in.clone(),
            requests: HashMap::new(),
            asked: HashMap::new(),
        };
        let mut tasks = vec![tokio::spawn(task.run(work)), tokio::spawn(pass_on(events, inputs.clone()))];
        tasks.extend(peers.into_iter().map(|peer| tokio::spawn(keep_connected(Arc::clone(&network), peer))));
        Ok(Self { inputs, position, checkpoint, events: events_in, tasks })
    }

    /// Asks, and waits for the proven answer.
    ///
    /// # Errors
    /// Where there is no answer in time, or can be none.
    pub async fn ask(&self, query: Query) -> Result<LightAnswer, LightError> {
        let (sender, answer) = oneshot::channel();
        // Where the task has ended, the other end is gone.
        let _ = self.inputs.send(Input::Ask(query, sender));
        answer.await.unwrap_or(Err(LightError::Stopped))
    }

    /// Where the client stands, as it changes.
    pub fn watch_position(&self) -> watch::Receiver<LightPosition> {
        self.position.clone()
    }

    /// The point to start the next visit from; `None` before a tip was told.
    pub fn checkpoint(&self) -> Option<LightCheckpoint> {
        self.checkpoint.borrow().clone()
    }

    /// Events from here on.
    pub fn events(&self) -> broadcast::Receiver<LightEvent> {
        self.events.subscribe()
    }
}

impl Drop for LightNode {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Tells whoever watches, if there is something new.
fn tell<T: PartialEq>(watched: &watch::Sender<T>, now: T) {
    watched.send_if_modified(|known| {
        let changed = *known != now;
        if changed {
            *known = now;
        }
        changed
    });
}

/// Brings the network's events to the client.
async fn pass_on(mut events: mpsc::Receiver<NetworkEvent>, inputs: mpsc::UnboundedSender<Input>) {
    while let Some(event) = events.recv().await {
        if inputs.send(Input::Network(event)).is_err() {
            return;
        }
    }
}

struct Task<C> {
    client: LightClient,
    chain: Arc<C>,
    /// The start of the client's time.
    clock: Clock,
    wall_said: Clock,
    network: Arc<dyn Network>,
    inputs: mpsc::UnboundedSender<Input>,
    position: watch::Sender<LightPosition>,
    checkpoint: watch::Sender<Option<LightCheckpoint>>,
    events: broadcast::Sender<LightEvent>,
    requests: HashMap<RequestId, AbortHandle>,
    asked: HashMap<QueryId, oneshot::Sender<Result<LightAnswer, LightError>>>,
}

impl<C: Chain> Task<C> {
    async fn run(mut self, mut work: mpsc::UnboundedReceiver<Input>) {
        loop {
            let deadline = self.drain();
            self.publish();
            let sleep = deadline.map_or(WALL_EVERY, |at| at.since(self.now())).min(WALL_EVERY);
            match tokio::time::timeout(sleep, work.recv()).await {
                Ok(Some(input)) => self.take(input),
                Ok(None) => return,
                Err(_) => self.client.handle(self.now(), LightInput::Timeout),
            }
            if self.wall_said.elapsed() >= WALL_EVERY {
                self.wall_said = Clock::now();
                self.client.handle(self.now(), LightInput::Wall(wall_clock()));
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn take(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Client(input) => {
                if let LightInput::Response(id, _) = &input {
                    self.requests.remove(id);
                }
                self.client.handle(now, input);
            }
            Input::Ask(query, sender) => {
                // Nobody waits for some any more.
                let gone: Vec<QueryId> =
                    self.asked.iter().filter(|(_, sender)| sender.is_closed()).map(|(&id, _)| id).collect();
                for id in gone {
                    self.asked.remove(&id);
                    self.client.handle(now, LightInput::Drop(id));
                }
                let id = self.client.ask(now, query);
                self.asked.insert(id, sender);
            }
            Input::Network(NetworkEvent::Connected { peer, address }) => {
                let event = PeerEvent::Connected { peer, group: group_of(address) };
                self.client.handle(now, LightInput::Peer(event));
            }
            Input::Network(NetworkEvent::Disconnected { peer, .. }) => {
                self.client.handle(now, LightInput::Peer(PeerEvent::Disconnected { peer }));
            }
        }
    }

    /// Says where the client stands, if that has changed.
    fn publish(&self) {
        // The checkpoint first: whoever hears of a new tip may ask for it at once.
        tell(&self.checkpoint, self.client.checkpoint());
        tell(&self.position, self.client.position());
    }

    /// Carries out what the client asks for. Returns the deadline.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.client.poll_output() {
                LightOutput::Request { id, peer, request, max_response_bytes } => {
                    self.request(id, peer, &request, max_response_bytes);
                }
                LightOutput::CancelRequest(id) => {
                    if let Some(task) = self.requests.remove(&id) {
                        task.abort();
                    }
                }
                LightOutput::Verify(job) => self.verify(job),
                LightOutput::Penalize { peer, penalty } => penalize(&*self.network, None, peer, penalty, self.now()),
                LightOutput::Answer { query, result } => {
                    if let Some(sender) = self.asked.remove(&query) {
                        // The asker may be gone.
                        let _ = sender.send(result);
                    }
                }
                LightOutput::Event(event) => {
                    // Nobody has to listen.
                    let _ = self.events.send(event);
                }
                LightOutput::Wait(deadline) => return deadline,
                // A verdict that comes all the same is ignored, and the point to keep is watched.
                LightOutput::CancelJob(_) | LightOutput::Keep(_) => {}
                other => tracing::warn!(?other, "the light client asks for something unknown"),
            }
        }
    }

    fn request(&mut self, id: RequestId, peer: PeerId, request: &Request, max_response_bytes: u64) {
        let most = usize::try_from(max_response_bytes).unwrap_or(usize::MAX);
        let answer = self.network.request(peer, request.encode().into(), most);
        let inputs = self.inputs.clone();
        let task = tokio::spawn(async move {
            let answer = answer.await.map_err(RequestFailure::from);
            // Where the client has ended, nobody needs it.
            let _ = inputs.send(Input::Client(LightInput::Response(id, answer)));
        });
        self.requests.insert(id, task.abort_handle());
    }

    fn verify(&self, job: Job) {
        let (chain, inputs) = (Arc::clone(&self.chain), self.inputs.clone());
        tokio::task::spawn_blocking(move || {
            let verdict = job.run_light(&*chain);
            let _ = inputs.send(Input::Client(LightInput::Verdict(verdict)));
        });
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
