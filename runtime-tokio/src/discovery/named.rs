//! Dialling a peer that the operator named: its name is resolved, and the addresses that it stands for are raced, so that
//! one that is dead, or a whole family of them, costs a fraction of a second (RFC 8305, "Happy Eyeballs").

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::ids::PeerId;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::bootstrap::BootstrapPeer;
use crate::net::{ConnectError, Network};

/// Time between two looks at where a name leads while its addresses are dialled: a second, so that a peer that moves is
/// found as soon as its name says so, and not when a dial of its old place is given up.
const RESOLVE_EVERY: Duration = Duration::from_secs(1);
/// How long an address of a name is dialled before the next one is dialled as well: RFC 8305 recommends a quarter of a
/// second.
pub(super) const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of a name that one dial tries: two of each family where it has both. The next dial tries the next.
pub(super) const MAX_RACED: usize = 4;

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{name} can't be resolved: {source}; check the name, and that this machine has a resolver")]
    Name { name: String, source: io::Error },
    #[error("{name} has no address; check the name")]
    NoAddress { name: String },
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Connects to one of the operator's peers, by the addresses that `resolve` finds, after so many `failures` of such dials
/// in a row. Where `resolve` finds others meanwhile, those are dialled instead.
pub(super) async fn connect_named<F: Future<Output = io::Result<Vec<SocketAddr>>>>(
    network: Arc<dyn Network>,
    peer: &BootstrapPeer,
    resolve: impl Fn() -> F,
    failures: u32,
    after: Duration,
) -> (SocketAddr, Result<PeerId, DialError>) {
    let name = || peer.to_string();
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
    loop {
        let addresses = match timeout(after, resolve()).await.unwrap_or_else(late) {
            Err(source) => return (nowhere, Err(DialError::Name { name: name(), source })),
            Ok(addresses) => in_turn(addresses, failures),
        };
        tokio::select! {
            ended = race(&network, peer.id(), &addresses, after) => {
                return ended.unwrap_or_else(|| (nowhere, Err(DialError::NoAddress { name: name() })));
            }
            () = moved(&resolve, &addresses) => {}
        }
    }
}

/// The addresses of a name that are to be dialled after so many failures: first the resolver's choice, then by turns of
/// the other family and of its own.
pub(super) fn in_turn(mut addresses: Vec<SocketAddr>, failures: u32) -> Vec<SocketAddr> {
    let mut mixed: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
    while !addresses.is_empty() {
        let wanted = |address: &SocketAddr| mixed.last().is_none_or(|last| last.is_ipv4() != address.is_ipv4());
        let next = addresses.remove(addresses.iter().position(wanted).unwrap_or(0));
        if !mixed.contains(&next) {
            mixed.push(next);
        }
    }
    let tried = usize::try_from(failures).unwrap_or(usize::MAX).saturating_mul(MAX_RACED);
    let count = mixed.len();
    mixed.rotate_left(tried.checked_rem(count).unwrap_or(0));
    mixed.truncate(MAX_RACED);
    mixed
}

/// Dials `addresses` in their order, each a head start after the one before, or at once when that has failed. The first
/// that answers wins, and the other dials are dropped. `None` where there is no address.
async fn race(
    network: &Arc<dyn Network>,
    expected: Option<PeerId>,
    addresses: &[SocketAddr],
    after: Duration,
) -> Option<(SocketAddr, Result<PeerId, DialError>)> {
    let mut dials = JoinSet::new();
    let mut rest = addresses.iter().copied();
    let mut failed: Option<(SocketAddr, ConnectError)> = None;
    loop {
        if let Some(address) = rest.next() {
            let dial = network.connect(address, expected);
            dials.spawn(async move { (address, within(after, address, dial).await) });
        } else if dials.is_empty() {
            return failed.map(|(address, error)| (address, Err(error.into())));
        }
        tokio::select! {
            Some(ended) = dials.join_next() => match ended {
                Ok((address, Ok(peer))) => return Some((address, Ok(peer))),
                Ok((address, Err(error @ ConnectError::Closed))) => return Some((address, Err(error.into()))),
                Ok((address, Err(error))) => {
                    if failed.as_ref().is_none_or(|(_, known)| tells(&error) > tells(known)) {
                        failed = Some((address, error));
                    }
                }
                // A task that panicked has told why.
                Err(_) => {}
            },
            () = sleep(HEAD_START), if rest.len() > 0 => {}
        }
    }
}

/// How much an error tells of the peer: that somebody else is there more than that nobody answers, and both more than that
/// this node has no way there.
fn tells(error: &ConnectError) -> u8 {
    match error {
        ConnectError::BadAddress { .. } => 0,
        ConnectError::Timeout { .. } => 1,
        _ => 2,
    }
}

/// Ends when `resolve` finds none but other addresses. That it fails says nothing.
async fn moved<F: Future<Output = io::Result<Vec<SocketAddr>>>>(resolve: impl Fn() -> F, from: &[SocketAddr]) {
    loop {
        sleep(RESOLVE_EVERY).await;
        let is_there = |address: &SocketAddr| from.contains(address);
        if resolve().await.is_ok_and(|found| !found.is_empty() && !found.iter().any(is_there)) {
            return;
        }
    }
}

/// Gives a dial so much time.
pub(super) async fn within<T>(
    after: Duration,
    address: SocketAddr,
    dial: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    timeout(after, dial).await.unwrap_or(Err(ConnectError::Timeout { address, after }))
}
