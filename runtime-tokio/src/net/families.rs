//! IPv4 and IPv6: one socket for both where the machine has them, and whether there is a way to an address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::address::canonical;

/// A socket at `address`. At `[::]` it is for both families; where the machine has no IPv6, or allows no such socket, it is
/// at `0.0.0.0` instead, which its local address shows.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    bind_with(address, bind_both)
}

/// A listening TCP socket at `address`, with both families as for [`bind`], that doesn't block.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match address.ip() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => match listen_both(address) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))?
            }
            bound => bound?,
        },
        _ => TcpListener::bind(address)?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// See [`bind_both`].
fn listen_both(address: SocketAddr) -> io::Result<TcpListener> {
    /// Connections that wait to be accepted: what the standard library asks for.
    const BACKLOG: i32 = 128;
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    // Connections of the process before this one may linger at the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_with(address: SocketAddr, both: impl FnOnce(SocketAddr) -> io::Result<UdpSocket>) -> io::Result<UdpSocket> {
    if address.ip() != Ipv6Addr::UNSPECIFIED {
        return UdpSocket::bind(address);
    }
    match both(address) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, address.port()))?;
            tracing::warn!(%error, "no socket for IPv6: this node is reached and reaches others by IPv4 only");
            Ok(socket)
        }
        bound => bound,
    }
}

/// Systems differ in whether a socket at `[::]` is for IPv4 too unless that is said.
fn bind_both(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(false)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Why `to` can't be reached from a socket at `from`, if that is known beforehand: the socket is of the other family, or
/// the system has no route. Nothing is sent.
pub(super) fn no_way(from: SocketAddr, to: SocketAddr) -> Option<String> {
    let to = canonical(to);
    let local = match from.ip().to_canonical() {
        // For both families.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) if to.is_ipv4() => Ipv4Addr::UNSPECIFIED.into(),
        ip => ip,
    };
    if local.is_ipv4() != to.is_ipv4() {
        let (own, other) = if to.is_ipv4() { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
        let port = from.port();
        return Some(format!(
            "it is {other}, and this node listens at {from}, which is {own} only; listen at [::]:{port}, which is both \
             where the machine has both"
        ));
    }
    // The system looks for the route when a datagram socket is connected.
    let found = UdpSocket::bind((local, 0)).and_then(|socket| socket.connect(to));
    found.err().map(|error| format!("this machine has no way there from {local} ({error}); check its network"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn without_ipv6_a_node_listens_by_ipv4_and_shows_it() {
        let missing = |_| Err(io::Error::other("address family not supported"));
        let socket = bind_with(at("[::]:0"), missing).unwrap();
        assert_eq!(socket.local_addr().unwrap().ip(), Ipv4Addr::UNSPECIFIED);
        // A port that is taken is no lack of a family.
        let taken = |_| Err(io::ErrorKind::AddrInUse.into());
        assert_eq!(bind_with(at("[::]:0"), taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // A named address is dialled alone.
        let never = |_| panic!("it is one address");
        assert_eq!(bind_with(at("127.0.0.1:0"), never).unwrap().local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn the_other_family_is_named_where_a_socket_has_one() {
        for (from, to) in [("0.0.0.0:7", "[::1]:8"), ("127.0.0.1:7", "[2600::1]:8"), ("[::1]:7", "127.0.0.1:8")] {
            let why = no_way(at(from), at(to)).unwrap();
            assert!(why.contains(from) && why.contains("only") && why.contains("[::]:7"), "{why}");
        }
        for (from, to) in [("0.0.0.0:7", "127.0.0.1:8"), ("[::]:7", "127.0.0.1:8"), ("[::]:7", "[::ffff:127.0.0.1]:8")]
        {
            assert_eq!(no_way(at(from), at(to)), None, "{from} {to}");
        }
    }

    // Other systems look for the route when something is sent.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_address_without_a_route_is_known_beforehand() {
        // From loopback there is none to elsewhere, whatever network the machine has.
        let why = no_way(at("127.0.0.1:7"), at("8.8.8.8:8")).unwrap();
        assert!(why.contains("no way there from 127.0.0.1"), "{why}");
    }
}
