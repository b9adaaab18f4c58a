//! Addresses of peers, as nodes tell them to each other.
//!
//! Where peers are is the network's business and not the chain's: a host with a network answers
//! [`Request::Peers`](super::Request::Peers) by itself with [`encode_peers`], before
//! [`respond`](crate::serve::respond), which has no addresses. An answer proves nothing. An address is worth a try,
//! and is the peer's when the peer's key answers there.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf as _, Bytes};

use super::response::encode_answer;
use crate::chain::Fault;
use crate::ids::PeerId;
use crate::limits::MAX_PEER_ADDRESSES;

const TAG_IPV4: u8 = 4;
const TAG_IPV6: u8 = 6;
/// Bytes of an entry: id, tag, IPv4 address, port.
const SHORT_ENTRY: usize = 32 + 1 + 4 + 2;
/// The same with an IPv6 address.
const LONG_ENTRY: usize = 32 + 1 + 16 + 2;

/// Largest list of addresses, in bytes.
pub(super) const MAX_PEERS_BYTES: u32 = (MAX_PEER_ADDRESSES * LONG_ENTRY) as u32;

/// A peer, and where it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnownPeer {
    /// Its key.
    pub id: PeerId,
    /// One of its addresses. An IPv6 address has no scope and no flow, and an IPv4 address is not mapped into IPv6.
    pub address: SocketAddr,
}

/// The whole answer to a request for peers: the first [`MAX_PEER_ADDRESSES`] of `peers` in their one canonical form, in
/// order and each once. Those with port 0 are left out.
pub fn encode_peers(peers: impl IntoIterator<Item = KnownPeer>) -> Bytes {
    let canonical = |peer: KnownPeer| KnownPeer {
        id: peer.id,
        address: SocketAddr::new(peer.address.ip().to_canonical(), peer.address.port()),
    };
    let peers = peers.into_iter().filter(|peer| peer.address.port() != 0);
    let mut peers: Vec<KnownPeer> = peers.map(canonical).take(MAX_PEER_ADDRESSES).collect();
    peers.sort_unstable();
    peers.dedup();
    let mut out = encode_answer(peers.len().saturating_mul(LONG_ENTRY));
    for peer in peers {
        out.extend_from_slice(peer.id.as_bytes());
        match peer.address.ip() {
            IpAddr::V4(ip) => {
                out.push(TAG_IPV4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(TAG_IPV6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&peer.address.port().to_le_bytes());
    }
    out.into()
}

/// Reads the data of an answer. Nothing is wrong with an empty list.
///
/// # Errors
/// [`Fault::Oversize`] where there are more entries than [`MAX_PEER_ADDRESSES`], [`Fault::Malformed`] where one can't be
/// read or has port 0, [`Fault::NonCanonical`] where they are out of order, or one comes twice or has another form.
pub fn decode_peers(mut data: Bytes) -> Result<Vec<KnownPeer>, Fault> {
    if data.len() > MAX_PEERS_BYTES as usize {
        return Err(Fault::Oversize);
    }
    let most = data.len().checked_div(SHORT_ENTRY).unwrap_or(0).min(MAX_PEER_ADDRESSES);
    let mut peers: Vec<KnownPeer> = Vec::with_capacity(most);
    while data.has_remaining() {
        if peers.len() == MAX_PEER_ADDRESSES {
            return Err(Fault::Oversize);
        }
        let peer = take(&mut data).ok_or(Fault::Malformed)?;
        if peer.address.port() == 0 {
            return Err(Fault::Malformed);
        }
        if peer.address.ip() != peer.address.ip().to_canonical() || peers.last().is_some_and(|last| *last >= peer) {
            return Err(Fault::NonCanonical);
        }
        peers.push(peer);
    }
    Ok(peers)
}

/// The next entry, or `None` where there is no whole one.
fn take(data: &mut Bytes) -> Option<KnownPeer> {
    let id = PeerId::from_bytes(bytes(data)?);
    let ip = match data.try_get_u8().ok()? {
        TAG_IPV4 => IpAddr::V4(Ipv4Addr::from(bytes::<4>(data)?)),
        TAG_IPV6 => IpAddr::V6(Ipv6Addr::from(bytes::<16>(data)?)),
        _ => return None,
    };
    let port = data.try_get_u16_le().ok()?;
    Some(KnownPeer { id, address: SocketAddr::new(ip, port) })
}

fn bytes<const N: usize>(data: &mut Bytes) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    data.try_copy_to_slice(&mut bytes).ok()?;
    Some(bytes)
}
