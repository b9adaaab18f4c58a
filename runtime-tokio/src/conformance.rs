//! [`play`]: a chain through a whole network of nodes. For whoever implements [`Chain`]; the rules of its functions are
//! played by the kit of the test package (`hotstuff2_sync_testkit::conformance`).
//!
//! A node that is late gets all blocks over QUIC into its durable store, from honest servers and from one that bends what it
//! says. It is stopped and started on the way, follows new blocks, and serves the next node.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, ApplyPart, BlockPoint};
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::{Answer, Request, encode_answer};

use crate::net::{Handler, HandlerFn, Identity, Network as _, NetworkEvent, QuicLimits, QuicNetwork};
use crate::store::{BlockStore as _, DiskStore, StoreAnchor};
use crate::{PeerAddress, StoreHandler, SyncManager as _, SyncManagerBuilder, TokioSyncManager};

/// Longest time that a step may take before it counts as stalled.
const PATIENCE: Duration = Duration::from_secs(120);
/// Times that the late node is stopped on the way.
const RESTARTS: u64 = 4;
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// A liar's version of the honest data of an answer; `None` where it tells the truth.
pub type Lie = Arc<dyn Fn(&Request, &Bytes) -> Option<Vec<u8>> + Send + Sync>;

/// A chain to play with.
pub struct NetworkCase<C> {
    /// The chain.
    pub chain: Arc<C>,
    /// The anchor that stores begin with.
    pub anchor: StoreAnchor,
    /// All blocks above the anchor: one part for each cell of the grid, each certified, and at least two of them.
    pub parts: Vec<ApplyPart>,
    /// The handovers between their epochs.
    pub handovers: Vec<HandoverLink>,
    /// Ways to bend what is said: each is a liar of its own, which is to be banned.
    pub lies: Vec<(&'static str, Lie)>,
}

/// A step of the play that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {what}")]
pub struct Failed {
    /// The step.
    pub step: String,
    /// Description of what was seen.
    pub what: String,
}

type Played<T = ()> = Result<T, Failed>;

fn failed(step: &str, what: impl ToString) -> Failed {
    Failed { step: step.into(), what: what.to_string() }
}

struct Server {
    network: QuicNetwork,
    _news: tokio::sync::mpsc::Receiver<NetworkEvent>,
}

impl Server {
    fn start(handler: Arc<dyn Handler>) -> Played<Self> {
        let problem = |error: &dyn std::error::Error| failed("serve", error);
        let identity = Identity::generate().map_err(|error| problem(&error))?;
        let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        let bound = QuicNetwork::bind(address, identity, QuicLimits::default(), Some(handler));
        let (network, news) = bound.map_err(|error| problem(&error))?;
        Ok(Self { network, _news: news })
    }

    fn id(&self) -> PeerId {
        self.network.local_peer()
    }

    fn address(&self) -> Played<PeerAddress> {
        let address = self.network.local_addr().map_err(|error| failed("serve", error))?;
        Ok(PeerAddress { address, id: Some(self.id()) })
    }
}

impl<C: Chain> NetworkCase<C> {
    fn tip(&self, parts: usize) -> Option<Height> {
        self.parts.get(..parts)?.last()?.range().map(HeightRange::last)
    }

    fn append(&self, step: &str, store: &DiskStore<C>, parts: &[ApplyPart]) -> Played {
        let apply = Apply { parts: parts.to_vec(), tip: None, target: Height::ZERO };
        store.append(&apply).map_err(|error| failed(step, error))
    }

    fn builder(&self, dir: &Path, name: &str, servers: &[&Server]) -> Played<SyncManagerBuilder<C>> {
        let opened = SyncManagerBuilder::open_chain(Arc::clone(&self.chain), &self.anchor, dir.join(name));
        let builder = opened.map_err(|error| failed(name, error))?;
        let peers: Vec<PeerAddress> = servers.iter().map(|server| server.address()).collect::<Played<_>>()?;
        Ok(builder.with_listen((std::net::Ipv4Addr::LOCALHOST, 0).into()).with_peers(peers))
    }
}

async fn soon<T>(step: &str, what: impl Future<Output = T>) -> Played<T> {
    tokio::time::timeout(PATIENCE, what).await.map_err(|_| failed(step, "nothing happens any more"))
}

/// Until exactly these are peers.
async fn only(step: &str, sync: &TokioSyncManager, servers: &[&Server]) -> Played {
    let mut wanted: Vec<PeerId> = servers.iter().map(|server| server.id()).collect();
    wanted.sort_unstable();
    let there = async {
        loop {
            let mut peers = sync.get_sync_peers().await.map_err(|error| failed(step, error))?;
            peers.sort_unstable();
            if peers == wanted {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let waited = soon(step, there).await;
    waited.map_err(|_| failed(step, "an honest peer was banned, or a liar was not"))?
}

async fn synced(step: &str, sync: &mut TokioSyncManager, tip: Option<Height>) -> Played {
    sync.start_sync(None).await.map_err(|error| failed(step, error))?;
    let reached: BlockPoint = soon(step, sync.synced()).await?.map_err(|error| failed(step, error))?;
    if Some(reached.height) == tip { Ok(()) } else { Err(failed(step, format!("it stands at {reached:?}"))) }
}

/// Whether two stores hold the same payloads under the same ids.
fn same<C: Chain>(step: &str, one: &DiskStore<C>, other: &DiskStore<C>, from: Height) -> Played {
    if one.stored() != other.stored() {
        return Err(failed(step, format!("{:?} and {:?} are stored", one.stored(), other.stored())));
    }
    let mut height = from.next();
    while height <= one.stored().height {
        let range = HeightRange::single(height);
        let read = |store: &DiskStore<C>| store.read(range, 1).map_err(|error| failed(step, error));
        let payload = |part: ApplyPart| part.frames.iter().map(|frame| frame.raw.clone()).collect::<Vec<_>>();
        if read(one)?.map(payload) != read(other)?.map(payload) {
            return Err(failed(step, format!("block {height} differs")));
        }
        height = height.next();
    }
    Ok(())
}

/// Plays a network of the chain in the folder `dir`.
///
/// # Errors
/// The first step that does not go as it should.
pub async fn play<C: Chain>(case: &NetworkCase<C>, dir: &Path) -> Result<(), Failed> {
    if case.parts.len() < 2 {
        let what = format!("{}, where two are needed: one is stored at first, and one comes later", case.parts.len());
        return Err(failed("parts", what));
    }
    let begun = case.parts.len().saturating_sub(1);
    let (lower, upper) = case.parts.split_at(begun);
    let full = DiskStore::create(&dir.join("full"), Arc::clone(&case.chain), &case.anchor);
    let full = Arc::new(full.map_err(|error| failed("store", error))?);
    full.put_handovers(&case.handovers).map_err(|error| failed("store", error))?;
    case.append("store", &full, lower)?;
    let told: Arc<dyn Handler> = Arc::new(StoreHandler::new(Arc::clone(&full)));
    let honest = [Server::start(Arc::clone(&told))?, Server::start(Arc::clone(&told))?];

    for (name, lie) in &case.lies {
        let (told, lie) = (Arc::clone(&told), Arc::clone(lie));
        let liar = Server::start(Arc::new(HandlerFn::new(move |peer, bytes: Bytes| {
            let answer = told.handle(peer, bytes.clone());
            let bent = match (Request::decode(&bytes), Answer::decode(answer.clone())) {
                (Ok(request), Ok(Answer::Data(data))) => lie(&request, &data),
                _ => None,
            };
            bent.map_or(answer, |bent| [encode_answer(0), bent].concat().into())
        })))?;
        // Alone at first, so that it is asked for all that it lies about.
        let mut sync = case.builder(dir, name, &[&liar])?.build().map_err(|error| failed(name, error))?;
        sync.start_sync(None).await.map_err(|error| failed(name, error))?;
        while !soon(name, sync.get_sync_peers()).await?.is_ok_and(|peers| peers == [liar.id()]) {
            tokio::time::sleep(LOOK).await;
        }
        only(name, &sync, &[]).await?;
        for server in &honest {
            sync.add_peer_address(server.address()?);
        }
        synced(name, &mut sync, case.tip(begun)).await?;
        only(name, &sync, &[&honest[0], &honest[1]]).await?;
        soon(name, sync.shutdown()).await?;
    }

    // Stopped on the way, within cells too.
    let end = full.stored().height;
    let step = end.above(case.anchor.point.height) / RESTARTS + 1;
    let late = loop {
        let builder = case.builder(dir, "late", &[&honest[0], &honest[1]])?;
        let store = Arc::clone(builder.store());
        let before = store.stored().height;
        let mut sync = builder.build().map_err(|error| failed("restart", error))?;
        let until = before.plus(step).min(end);
        sync.start_sync(Some(until)).await.map_err(|error| failed("restart", error))?;
        let mut progress = sync.watch_progress();
        let moved = soon("restart", progress.wait_for(|progress| progress.current >= until)).await?;
        moved.map(drop).map_err(|error| failed("restart", error))?;
        soon("restart", sync.shutdown()).await?;
        drop(sync);
        if store.stored().height == end {
            break store;
        }
    };
    same("late", &full, &late, case.anchor.point.height)?;
    drop(late);

    let builder = case.builder(dir, "late", &[&honest[0], &honest[1]])?;
    let late = Arc::clone(builder.store());
    let mut sync = builder.build().map_err(|error| failed("follow", error))?;
    synced("follow", &mut sync, case.tip(begun)).await?;
    case.append("follow", &full, upper)?;
    let tip = full.stored().height;
    let mut progress = sync.watch_progress();
    let reached = soon("follow", progress.wait_for(|progress| progress.current == tip)).await?;
    reached.map(drop).map_err(|error| failed("follow", error))?;
    only("follow", &sync, &[&honest[0], &honest[1]]).await?;

    let next = Server::start(Arc::new(StoreHandler::new(Arc::clone(&late))))?;
    let builder = case.builder(dir, "third", &[&next])?;
    let third = Arc::clone(builder.store());
    let mut last = builder.build().map_err(|error| failed("serve on", error))?;
    synced("serve on", &mut last, Some(tip)).await?;
    only("serve on", &last, &[&next]).await?;
    soon("serve on", last.shutdown()).await?;
    soon("serve on", sync.shutdown()).await?;
    drop((last, sync));
    same("serve on", &full, &third, case.anchor.point.height)
}
