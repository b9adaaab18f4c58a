//! `besiege`: the attackers of `bench siege`. Each connection has a key of its own, asks for the most expensive things
//! that there are, as many at a time as the server lets it, asks again whatever it is told, and comes back when it is
//! thrown out. For measurements of one's own nodes: it refuses to leave this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hotstuff2_sync::chain::native::Segment;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::{Prefix, StateForm, StateItem};
use hotstuff2_sync::wire::{Answer, PeerStatus, Refusal, Request, Sections};
use hotstuff2_sync_tokio::net::{Identity, Network, QuicLimits, QuicNetwork};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::args::BesiegeArgs;
use crate::error::CliError;
use crate::node::{Stop, one_thread};
use crate::report::write_json;

/// Requests of one connection at a time: more than a server lets in.
const AT_A_TIME: usize = 64;

/// How long until a connection that was refused or lost is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Report of attackers: what they did and got.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SiegeReport {
    pub(crate) connected: usize,
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    /// Answers with data.
    pub(crate) answers: u64,
    pub(crate) bytes: u64,
    /// Answers that say "busy".
    pub(crate) busy: u64,
    /// Without an answer: reset, or the connection was gone.
    pub(crate) lost: u64,
    pub(crate) reconnects: u64,
}

#[derive(Default)]
struct Counts {
    connected: AtomicUsize,
    requests: AtomicU64,
    answers: AtomicU64,
    bytes: AtomicU64,
    busy: AtomicU64,
    lost: AtomicU64,
    reconnects: AtomicU64,
}

pub(crate) fn run(args: &BesiegeArgs) -> Result<(), CliError> {
    one_thread()?.block_on(besiege(args))
}

async fn besiege(args: &BesiegeArgs) -> Result<(), CliError> {
    let mut stop = Stop::of_tool(&args.parent)?;
    let server = args.peer;
    if !server.ip().is_loopback() {
        return Err(CliError::NotLoopback(server));
    }
    let counts = Arc::new(Counts::default());
    let begin = Instant::now();
    let mut attackers = JoinSet::new();
    for number in 0..args.connections {
        let attacker = Attacker { server, from: from(number, args.networks), counts: Arc::clone(&counts) };
        attackers.spawn(attacker.attack(u64::try_from(number).unwrap_or(u64::MAX)));
    }
    while counts.connected.load(Ordering::Relaxed) < args.connections {
        tokio::select! {
            _ = stop.asked() => return Ok(()),
            () = tokio::time::sleep(AGAIN) => {}
            Some(ended) = attackers.join_next() => match ended {
                Ok(Err(error)) => return Err(error),
                _ => continue,
            },
        }
    }
    write_json(&counts.report(begin), std::path::Path::new("-"))?;
    stop.asked().await;
    write_json(&counts.report(begin), &args.report)
}

/// An address on this machine, in one of so many networks (an IPv4 /16), none of them that of the honest node.
pub(crate) fn from(number: usize, networks: u8) -> IpAddr {
    let network = u8::try_from(number % usize::from(networks.max(1))).unwrap_or(0);
    IpAddr::V4(Ipv4Addr::new(127, network.saturating_add(1), 0, 1))
}

impl Counts {
    fn report(&self, begin: Instant) -> SiegeReport {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SiegeReport {
            connected: self.connected.load(Ordering::Relaxed),
            seconds: begin.elapsed().as_secs_f64(),
            requests: get(&self.requests),
            answers: get(&self.answers),
            bytes: get(&self.bytes),
            busy: get(&self.busy),
            lost: get(&self.lost),
            reconnects: get(&self.reconnects),
        }
    }
}

struct Attacker {
    server: SocketAddr,
    from: IpAddr,
    counts: Arc<Counts>,
}

impl Attacker {
    async fn attack(self, seed: u64) -> Result<(), CliError> {
        let identity = Identity::generate()?;
        let at = SocketAddr::new(self.from, 0);
        let (network, mut events) = QuicNetwork::bind(at, identity, QuicLimits::default(), None)?;
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        let network = Arc::new(network);
        let mut rng = Rng::new(seed);
        let mut targets = None;
        let mut was_there = false;
        loop {
            let Ok(peer) = network.connect(self.server, None).await else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            if !std::mem::replace(&mut was_there, true) {
                self.counts.connected.fetch_add(1, Ordering::Relaxed);
            } else {
                self.counts.reconnects.fetch_add(1, Ordering::Relaxed);
            }
            if targets.is_none() {
                targets = Targets::find(&*network, peer).await;
            }
            let targets = targets.unwrap_or_default();
            let mut asked = JoinSet::new();
            loop {
                while asked.len() < AT_A_TIME {
                    let request = targets.pick(&mut rng);
                    let most = usize::try_from(request.max_response_bytes()).unwrap_or(usize::MAX);
                    self.counts.requests.fetch_add(1, Ordering::Relaxed);
                    asked.spawn(network.request(peer, request.encode().into(), most));
                }
                let Some(Ok(answer)) = asked.join_next().await else { break };
                match answer.map(|answer| (answer.len(), Answer::decode(answer))) {
                    Ok((_, Ok(Answer::Refused(Refusal::Busy { .. })))) => {
                        self.counts.busy.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok((len, _)) => {
                        self.counts.answers.fetch_add(1, Ordering::Relaxed);
                        self.counts.bytes.fetch_add(u64::try_from(len).unwrap_or(0), Ordering::Relaxed);
                    }
                    Err(_) => {
                        self.counts.lost.fetch_add(1, Ordering::Relaxed);
                        if network.links().is_empty() {
                            break;
                        }
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Targets of requests: what there is to ask for.
#[derive(Debug, Clone, Copy)]
struct Targets {
    tip: u64,
    state: Option<(Height, Hash)>,
}

impl Default for Targets {
    fn default() -> Self {
        Self { tip: 1, state: None }
    }
}

impl Targets {
    async fn find(network: &dyn Network, peer: PeerId) -> Option<Self> {
        let status: PeerStatus = postcard::from_bytes(&data(network, peer, &Request::Status).await?).ok()?;
        let tip = status.tip.get();
        let Some(height) = status.snapshots.map(|snapshots| snapshots.newest) else {
            return Some(Self { tip, state: None });
        };
        let range = HeightRange::single(height);
        let request = Request::Segment { range, certified: false, audit: false, bodies: 0 };
        let segment = Sections::new(data(network, peer, &request).await?).take()?;
        let root = Segment::decode(&segment).ok()?.headers().first()?.state_root;
        Some(Self { tip, state: Some((height, root)) })
    }

    /// All of a state over and over, blocks cut anywhere, segments that need a proof from far above.
    fn pick(&self, rng: &mut Rng) -> Request {
        let first = Height::new(1 + rng.below(self.tip.max(1)));
        let last = Height::new(first.get().saturating_add(1000).min(self.tip.max(first.get())));
        let range = HeightRange::new(first, last).unwrap_or(HeightRange::single(first));
        match (rng.below(4), self.state) {
            (0 | 1, Some((height, root))) => Request::State {
                height,
                form: StateForm::Leaves,
                items: vec![StateItem { prefix: Prefix::ROOT, hash: root }; 64],
                max_bytes: 4 << 20,
            },
            (2, _) => Request::Segment { range, certified: true, audit: false, bodies: 4 << 20 },
            _ => Request::Bodies { range, max_bytes: 4 << 20 },
        }
    }
}

async fn data(network: &dyn Network, peer: PeerId, request: &Request) -> Option<Bytes> {
    let most = usize::try_from(request.max_response_bytes()).ok()?;
    for _ in 0..20 {
        let answer = network.request(peer, request.encode().into(), most).await.ok()?;
        match Answer::decode(answer).ok()? {
            Answer::Data(data) => return Some(data),
            Answer::Refused(Refusal::Busy { retry_after_ms }) => {
                tokio::time::sleep(Duration::from_millis(u64::from(retry_after_ms))).await;
            }
            Answer::Refused(_) => return None,
        }
    }
    None
}
