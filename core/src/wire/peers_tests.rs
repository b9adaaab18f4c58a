use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;
use proptest::prelude::*;

use super::peers::MAX_PEERS_BYTES;
use super::*;
use crate::chain::Fault;
use crate::ids::PeerId;
use crate::limits::MAX_PEER_ADDRESSES;

fn peer(id: u8, address: &str) -> KnownPeer {
    KnownPeer { id: PeerId::from_bytes([id; 32]), address: address.parse().unwrap() }
}

fn data(answer: Bytes) -> Bytes {
    match Answer::decode(answer) {
        Ok(Answer::Data(data)) => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn addresses_of_both_kinds_come_back_in_order_and_once() {
    let (a, b, c) = (peer(1, "8.8.4.4:1"), peer(1, "[2600::1]:65535"), peer(2, "127.0.0.1:7000"));
    let listed = encode_peers([c, b, a, b, peer(3, "1.2.3.4:0"), peer(2, "[::ffff:127.0.0.1]:7000")]);
    assert_eq!(decode_peers(data(listed)).unwrap(), [a, b, c]);
    assert_eq!(decode_peers(data(encode_peers([]))).unwrap(), []);
}

#[test]
fn a_list_has_one_form_and_a_bound() {
    let whole = data(encode_peers([peer(1, "8.8.4.4:258"), peer(2, "[2600::1]:9")]));
    for len in (1..whole.len()).filter(|&len| len != 39) {
        assert_eq!(decode_peers(whole.slice(..len)), Err(Fault::Malformed), "{len} bytes");
    }
    let bent = |at: usize, byte: u8| {
        let mut bytes = whole.to_vec();
        bytes[at] = byte;
        decode_peers(bytes.into())
    };
    assert_eq!(bent(32, 5), Err(Fault::Malformed), "another kind of address");
    assert_eq!(bent(37, 0).map(|peers| peers[0].address.port()), Ok(256), "a port is two bytes, the lower first");
    let swapped = [&whole[39..], &whole[..39]].concat();
    assert_eq!(decode_peers(swapped.into()), Err(Fault::NonCanonical));
    let twice = [&whole[..39], &whole[..39]].concat();
    assert_eq!(decode_peers(twice.into()), Err(Fault::NonCanonical));
    let mut no_port = whole[..39].to_vec();
    no_port[37..].fill(0);
    assert_eq!(decode_peers(no_port.into()), Err(Fault::Malformed));
    let mut mapped = whole[39..].to_vec();
    mapped[33..49].copy_from_slice(&core::net::Ipv4Addr::new(8, 8, 8, 8).to_ipv6_mapped().octets());
    assert_eq!(decode_peers(mapped.into()), Err(Fault::NonCanonical));

    let many = |ip: &str, count: usize| -> Vec<u8> {
        let address: SocketAddr = ip.parse().unwrap();
        let one = |number: usize| {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
            data(encode_peers([KnownPeer { id: PeerId::from_bytes(id), address }]))
        };
        (0..count).flat_map(|number| one(number).to_vec()).collect()
    };
    assert_eq!(decode_peers(many("[2600::1]:9", MAX_PEER_ADDRESSES).into()).unwrap().len(), MAX_PEER_ADDRESSES);
    assert_eq!(decode_peers(many("8.8.8.8:9", MAX_PEER_ADDRESSES + 1).into()), Err(Fault::Oversize));
    let bomb = alloc::vec![0; MAX_PEERS_BYTES as usize + 1];
    assert_eq!(decode_peers(bomb.into()), Err(Fault::Oversize));
}

#[test]
fn an_answer_fits_its_request() {
    let all = (0..200).map(|id| peer(id, "[2600::1]:9"));
    let answer = encode_peers(all);
    assert!(answer.len() <= Request::Peers { max: 64, port: 1 }.max_response_bytes() as usize);
    assert_eq!(decode_peers(data(answer)).unwrap().len(), MAX_PEER_ADDRESSES);
}

proptest! {
    #[test]
    fn what_is_read_is_what_would_be_written(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(peers) = decode_peers(Bytes::from(bytes.clone())) {
            prop_assert_eq!(data(encode_peers(peers)), Bytes::from(bytes));
        }
    }
}
