//! [`BootstrapPeer`]: a peer that the operator named.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use hotstuff2_sync::ids::PeerId;
use tokio::sync::oneshot;

use crate::net::address::canonical;

/// Longest host name, in bytes (RFC 1035), and the port.
const MAX_HOST_BYTES: usize = 255 + 6;

/// Where a peer is, and who must answer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// The address.
    pub address: SocketAddr,
    /// The peer, if only that one will do.
    pub id: Option<PeerId>,
}

/// A peer that the operator named: where it is, and who must be there if only that one will do. A host's name is
/// resolved each time before it is dialled, so that a peer that moved is found again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BootstrapPeer {
    place: Place,
    id: Option<PeerId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Address(SocketAddr),
    /// `HOST:PORT`.
    Name(String),
}

impl BootstrapPeer {
    /// The peer at `place`, which is `HOST:PORT` and the host an IP address or a name.
    pub(super) fn new(place: &str, id: Option<PeerId>) -> Result<Self, ParseBootstrapError> {
        let place = match place.parse::<SocketAddr>() {
            Ok(address) => Place::Address(canonical(address)),
            Err(_) if is_name(place) => Place::Name(place.to_owned()),
            Err(_) => return Err(ParseBootstrapError::Address(place.to_owned())),
        };
        Ok(Self { place, id })
    }

    /// The peer, if only that one will do.
    pub fn id(&self) -> Option<PeerId> {
        self.id
    }

    /// Whether both are at one place, whoever must be there.
    pub(super) fn is_at_the_place_of(&self, other: &Self) -> bool {
        self.place == other.place
    }

    /// Where it is now: one address, or all that its name stands for.
    ///
    /// # Errors
    /// What the resolver says.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.place {
            Place::Address(address) => Ok(vec![*address]),
            Place::Name(name) => {
                let name = name.clone();
                on_a_thread(move || Ok(name.to_socket_addrs()?.map(canonical).collect())).await
            }
        }
    }
}

/// The outcome of `work`, which may wait for the system without end. It has a thread of its own, not one of the runtime's:
/// a runtime that is dropped waits for those.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (sender, outcome) = oneshot::channel();
    std::thread::Builder::new().name("hs2-resolve".to_owned()).spawn(move || {
        // The asker may have given up.
        let _ = sender.send(work());
    })?;
    outcome.await.unwrap_or_else(|_| Err(io::Error::other("the thread that resolves it is gone")))
}

impl From<PeerAddress> for BootstrapPeer {
    fn from(peer: PeerAddress) -> Self {
        Self { id: peer.id, ..peer.address.into() }
    }
}

impl From<SocketAddr> for BootstrapPeer {
    fn from(address: SocketAddr) -> Self {
        Self { place: Place::Address(canonical(address)), id: None }
    }
}

/// Where it is, without the id.
impl fmt::Display for BootstrapPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Address(address) => address.fmt(f),
            Place::Name(name) => f.write_str(name),
        }
    }
}

/// A text that names no peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseBootstrapError {
    /// The part before the slash.
    #[error("`{0}` is no address: write HOST:PORT, as in 127.0.0.1:7000, [::1]:7000 or node.example.org:7000")]
    Address(String),
    /// The part behind the slash.
    #[error("`{0}` is no peer id: it is the 64 hexadecimal digits that `serve` prints")]
    Id(String),
}

/// `HOST:PORT` or `HOST:PORT/PEERID`, where the host is an IP address or a name.
impl FromStr for BootstrapPeer {
    type Err = ParseBootstrapError;

    fn from_str(text: &str) -> Result<Self, ParseBootstrapError> {
        let (place, id) = match text.split_once('/') {
            Some((place, id)) => (place, Some(id)),
            None => (text, None),
        };
        let peer = Self::new(place, None)?;
        let id = id.map(|id| id.parse().map_err(|_| ParseBootstrapError::Id(id.to_owned()))).transpose()?;
        Ok(Self { id, ..peer })
    }
}

/// Whether `place` is a host's name and a port.
fn is_name(place: &str) -> bool {
    let Some((host, port)) = place.rsplit_once(':') else { return false };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    // A name that ends in a number is a mistyped address (WHATWG URL, "ends in a number").
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    place.len() <= MAX_HOST_BYTES
        && host.bytes().all(fits)
        && !is_number
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named_by_address_or_name_and_id() {
        let id = "ab".repeat(32);
        for text in ["127.0.0.1:7000", "[::1]:7000", "localhost:7000", "node-1.example.org:7000"] {
            let plain: BootstrapPeer = text.parse().unwrap();
            assert_eq!((plain.to_string().as_str(), plain.id()), (text, None));
            let named: BootstrapPeer = format!("{text}/{id}").parse().unwrap();
            assert_eq!((named.to_string().as_str(), named.id()), (text, Some(id.parse().unwrap())));
        }
        let nowhere =
            ["", "localhost", "localhost:", "localhost:0", "127.0.0:7", "a b:7", ":7", "300.1.1.1:7", "::1:7"];
        for text in nowhere {
            assert!(matches!(text.parse::<BootstrapPeer>(), Err(ParseBootstrapError::Address(_))), "{text}");
        }
        assert!(matches!("127.0.0.1:7/xyz".parse::<BootstrapPeer>(), Err(ParseBootstrapError::Id(_))));
    }

    #[tokio::test]
    async fn a_name_is_resolved() {
        let peer: BootstrapPeer = "localhost:7".parse().unwrap();
        let found = peer.resolve().await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 7) && !found.is_empty());
    }

    #[test]
    fn a_resolver_that_is_silent_does_not_hold_up_the_end_of_a_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (answer, silence) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        runtime.block_on(async {
            tokio::spawn(on_a_thread(move || {
                let _ = begun.send(());
                let _ = silence.recv();
                Ok(())
            }));
            has_begun.await.unwrap();
        });
        let (dropped, is_dropped) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            let _ = dropped.send(());
        });
        is_dropped.recv_timeout(std::time::Duration::from_secs(30)).expect("nobody waits for an answer");
        drop(answer);
    }
}
