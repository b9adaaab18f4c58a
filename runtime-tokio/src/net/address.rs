//! Relations of addresses: which may be one operator's, and from where one can be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `address` as it is written everywhere: IPv4 as such, also where a socket for both families has it mapped into IPv6.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

/// Prefix that peers of one operator may share: the /16 of an IPv4 address, the /32 of an IPv6 address.
pub(crate) fn group_of(address: SocketAddr) -> u64 {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            u64::from(u16::from_be_bytes([a, b]))
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            1 << 32 | u64::from(a) << 16 | u64::from(b)
        }
    }
}

/// From where an address can be reached, the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scope {
    /// This machine.
    Loopback,
    /// A network of its own: private, link-local, shared by a carrier, or set aside for measurements.
    Private,
    /// Everywhere.
    Public,
}

/// The scope of an address, `None` where no node can be.
pub(crate) fn scope_of(ip: IpAddr) -> Option<Scope> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => scope_of_v4(ip),
        IpAddr::V6(ip) => scope_of_v6(ip),
    }
}

fn scope_of_v4(ip: Ipv4Addr) -> Option<Scope> {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let measured = a == 198 && b & 0xfe == 18;
    match a {
        // "This network", and what is reserved, multicast and broadcast.
        0 | 224.. => None,
        127 => Some(Scope::Loopback),
        _ if ip.is_documentation() => None,
        _ if ip.is_private() || ip.is_link_local() || shared || measured => Some(Scope::Private),
        _ => Some(Scope::Public),
    }
}

fn scope_of_v6(ip: Ipv6Addr) -> Option<Scope> {
    let [first, second, ..] = ip.segments();
    match first {
        _ if ip == Ipv6Addr::LOCALHOST => Some(Scope::Loopback),
        0x2001 if second == 0xdb8 => None,
        0xfc00..=0xfdff => Some(Scope::Private),
        // The ranges that are assigned today. Link-local addresses mean nothing without the link.
        0x2000..=0x3fff => Some(Scope::Public),
        _ => None,
    }
}

/// Whether a peer at `from` may name `address`, or be told it: it must be reachable from there.
pub(crate) fn is_reachable_from(address: SocketAddr, from: IpAddr) -> bool {
    match (scope_of(address.ip()), scope_of(from)) {
        (Some(scope), Some(from)) => address.port() != 0 && scope >= from,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(ip: &str) -> Option<Scope> {
        scope_of(ip.parse().unwrap())
    }

    #[test]
    fn addresses_where_no_node_can_be_have_no_scope() {
        let nowhere = ["0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1"];
        for ip in nowhere.into_iter().chain(["::", "ff02::1", "fe80::1", "2001:db8::1", "64:ff9b::1", "::ffff:0.0.0.0"])
        {
            assert_eq!(scope(ip), None, "{ip}");
        }
        for ip in ["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(scope(ip), Some(Scope::Loopback), "{ip}");
        }
        for ip in ["10.0.0.1", "172.31.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "198.18.0.1", "fd00::1"] {
            assert_eq!(scope(ip), Some(Scope::Private), "{ip}");
        }
        for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2600::1", "::ffff:8.8.8.8"] {
            assert_eq!(scope(ip), Some(Scope::Public), "{ip}");
        }
    }

    #[test]
    fn an_address_is_believed_only_from_where_it_can_be_reached() {
        let believed = |address: &str, from: &str| is_reachable_from(address.parse().unwrap(), from.parse().unwrap());
        assert!(believed("127.0.0.1:7", "127.0.0.1") && believed("10.0.0.1:7", "127.0.0.1"));
        assert!(believed("10.0.0.1:7", "192.168.0.1") && believed("8.8.8.8:7", "192.168.0.1"));
        assert!(believed("8.8.8.8:7", "9.9.9.9") && believed("[2600::1]:7", "9.9.9.9"));
        assert!(!believed("127.0.0.1:7", "9.9.9.9") && !believed("127.0.0.1:7", "10.0.0.1"));
        assert!(!believed("10.0.0.1:7", "9.9.9.9") && !believed("[::1]:7", "2600::1"));
        assert!(!believed("8.8.8.8:0", "9.9.9.9") && !believed("224.0.0.1:7", "127.0.0.1"));
    }
}
