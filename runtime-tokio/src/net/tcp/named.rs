//! [`TcpName`]: a peer that the operator names as one that listens for sessions over TCP, and the task that keeps it
//! connected.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::PeerId;
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep, timeout};

use super::super::common::Common;
use super::listener::connect;

/// How such a name begins.
const SCHEME: &str = "tcp://";

/// First pause before a peer is dialled again, doubled each time up to [`LONGEST_PAUSE`]. One that has lasted for as long as
/// that begins anew.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a name's resolution may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// `tcp://HOST:PORT`, an address or a name that is resolved again for each dial, and `/PEERID` behind it where only that
/// peer will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpName {
    place: String,
    id: Option<PeerId>,
}

/// A text that is no [`TcpName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer over TCP is written tcp://HOST:PORT, or tcp://HOST:PORT/PEERID")]
pub struct ParseTcpNameError;

impl FromStr for TcpName {
    type Err = ParseTcpNameError;

    fn from_str(text: &str) -> Result<Self, ParseTcpNameError> {
        let name = text.strip_prefix(SCHEME).ok_or(ParseTcpNameError)?;
        let (place, id) = match name.split_once('/') {
            Some((place, id)) => (place, Some(id.parse().map_err(|_| ParseTcpNameError)?)),
            None => (name, None),
        };
        let (host, port) = place.rsplit_once(':').ok_or(ParseTcpNameError)?;
        let is_bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        let port = port.parse::<u16>().map_err(|_| ParseTcpNameError)?;
        if host.is_empty() || is_bare_ipv6 || port == 0 {
            return Err(ParseTcpNameError);
        }
        Ok(Self { place: place.into(), id })
    }
}

/// Where it is, without the id.
impl fmt::Display for TcpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.place)
    }
}

/// Keeps `name` connected, for ever.
pub(super) async fn keep(common: Arc<Common>, name: TcpName, chain: Hash) {
    let mut pause = FIRST_PAUSE;
    let mut is_told = false;
    loop {
        let begun = Instant::now();
        let addresses = match timeout(RESOLVE_TIMEOUT, lookup_host(&name.place)).await {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => {
                tracing::debug!(%name, %error, "a peer's name leads nowhere");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        for address in addresses {
            match connect(Arc::clone(&common), address, name.id, chain).await {
                Ok((_, line)) => {
                    if let Some(line) = line {
                        line.closed().await;
                    }
                    break;
                }
                // Said once: it may be of another chain, or another peer, for ever.
                Err(error) if !std::mem::replace(&mut is_told, true) => {
                    tracing::warn!(%name, %error, "a peer over TCP was not reached, and is tried again");
                }
                Err(error) => tracing::debug!(%name, %error, "a peer over TCP was not reached"),
            }
        }
        if begun.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["tcp://127.0.0.1:7000", "tcp://[::1]:7000", "tcp://node.example:7000"] {
            assert_eq!(text.parse::<TcpName>().unwrap().to_string(), text);
        }
        let id = PeerId::from_bytes([7; 32]);
        let named: TcpName = format!("tcp://host:7/{id}").parse().unwrap();
        assert_eq!((named.place.as_str(), named.id), ("host:7", Some(id)));
        for text in ["127.0.0.1:7000", "tcp://", "tcp://host", "tcp://:1", "tcp://host:0", "tcp://::1:7", "tcp://a/b:7"]
        {
            assert_eq!(text.parse::<TcpName>(), Err(ParseTcpNameError), "{text}");
        }
    }
}
