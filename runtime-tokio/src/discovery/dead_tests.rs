//! Peers that are gone, in any number, keep nobody from those that are there: on a paused clock, and over real sockets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::{KnownPeer, encode_peers};
use tokio::time::{Instant, sleep, timeout};

use super::named::{MAX_RACED, connect_named, in_turn};
use super::*;
use crate::net::{Identity, Network, QuicLimits, QuicNetwork};
use crate::test_network::TestNetwork;

/// How a node knows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Named,
    Known,
    Heard,
}

fn id(number: u32) -> PeerId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(bytes)
}

fn at(number: u32, address: SocketAddr) -> KnownPeer {
    KnownPeer { id: id(number), address }
}

/// Addresses at which nobody is, another for each number and class.
fn nowhere(class: Class, number: u32) -> SocketAddr {
    let [_, _, high, low] = number.to_be_bytes();
    ([20 + class as u8, 8 + high, low, 1], 9).into()
}

/// A book with so many dead peers of each class, and the named ones.
fn dead(seed: u64, count: u32) -> (AddressBook, Vec<BootstrapPeer>) {
    let mut book = AddressBook::new(seed);
    (0..count).for_each(|number| book.answered(at(1_000 + number, nowhere(Class::Known, number)), UnixMillis::new(1)));
    for number in 0.. {
        if book.candidates().count() == usize::try_from(count).unwrap() {
            break;
        }
        hear(&mut book, at(10_000 + number, nowhere(Class::Heard, number)), number);
    }
    (book, (0..count).map(|number| nowhere(Class::Named, number).into()).collect())
}

/// Hears of a peer by the source of this number.
fn hear(book: &mut AddressBook, peer: KnownPeer, source: u32) -> bool {
    let [_, _, high, low] = source.to_be_bytes();
    book.hear(id(100_000 + source), ([40, low, high, 1], 7).into(), peer)
}

/// A node at the end of whose lists there is a live peer, known in this way, behind so many dead ones of each class.
fn start(seed: u64, count: u32, class: Class, live: KnownPeer) -> (Arc<TestNetwork>, DiscoveryTask) {
    let (mut book, mut named) = dead(seed, count);
    match class {
        Class::Named => named.push(live.address.into()),
        Class::Known => {
            book.answered(live, UnixMillis::new(1));
            // Of those that were never dialled it is the last.
            book.failed(live, false, 3);
        }
        Class::Heard => assert!((0..100).any(|source| hear(&mut book, live, source))),
    }
    let network = Arc::new(TestNetwork::new(|_, _, _| Some(Ok(encode_peers([])))));
    *network.places.lock().unwrap() = Some(HashMap::new());
    let discovery = Discovery::new(book, DiscoverySettings { bootstrap: named, ..DiscoverySettings::default() });
    let dynamic = Arc::clone(&network) as Arc<dyn Network>;
    let task = discovery.start(&dynamic, &SyncConfig::default(), Vec::new(), |_| ());
    (network, task)
}

fn comes_up(network: &TestNetwork, live: KnownPeer) {
    *network.places.lock().unwrap() = Some(HashMap::from([(live.address, live.id)]));
}

/// How long it takes until somebody is connected.
async fn connected(network: &TestNetwork) -> Duration {
    let begin = Instant::now();
    while network.links.lock().unwrap().is_empty() && begin.elapsed() < Duration::from_secs(3600) {
        sleep(Duration::from_millis(10)).await;
    }
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn dead_named_peers_starve_nobody() {
    let live = at(1, ([9, 9, 9, 9], 7).into());
    for seed in 1..=20 {
        for class in [Class::Named, Class::Known, Class::Heard] {
            let (network, _task) = start(seed, 100, class, live);
            comes_up(&network, live);
            let took = connected(&network).await;
            assert!(took <= Duration::from_secs(20), "{class:?}, seed {seed}: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_back_is_dialled_within_a_round_however_many_are_dead() {
    // Each dial of a dead peer ends after ten seconds and is made again within some seven more: more come due than there
    // are places for.
    let live = at(1, ([9, 9, 9, 9], 7).into());
    for class in [Class::Named, Class::Known] {
        let (network, _task) = start(7, 400, class, live);
        sleep(Duration::from_secs(600)).await;
        comes_up(&network, live);
        let took = connected(&network).await;
        assert!(took <= Duration::from_secs(401 / 8 + 20), "{class:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn dead_peers_are_not_dialled_faster_than_the_places_of_their_class_allow() {
    let live = at(1, ([9, 9, 9, 9], 7).into());
    let (network, _task) = start(3, 100, Class::Named, live);
    sleep(Duration::from_secs(60)).await;
    let dials = network.dials.lock().unwrap();
    let class_of = |address: &SocketAddr| match address {
        SocketAddr::V4(address) => address.ip().octets()[0],
        SocketAddr::V6(_) => 0,
    };
    for class in [Class::Named, Class::Known, Class::Heard] {
        let mine: Vec<Instant> =
            dials.iter().filter(|(address, _)| class_of(address) == 20 + class as u8).map(|(_, at)| *at).collect();
        assert!(mine.len() >= 100, "{class:?}: {}", mine.len());
        assert!(mine.windows(9).all(|nine| nine[8] - nine[0] >= Duration::from_secs(1)), "{class:?}");
    }
}

#[tokio::test]
async fn one_live_peer_is_found_behind_dead_ones_over_real_sockets() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let bind = || QuicNetwork::bind(any, Identity::generate().unwrap(), QuicLimits::default(), None).unwrap();
    let (live, _live_events) = bind();
    let (network, _events) = bind();
    let nobody = |net: u8, number: u8| SocketAddr::from(([127, net, number, 1], 9));
    let mut book = AddressBook::new(5);
    (0..40).for_each(|number| book.answered(at(1_000 + u32::from(number), nobody(1, number)), UnixMillis::new(1)));
    (0..40).for_each(|number| {
        book.hear(id(9), any, at(2_000 + u32::from(number), nobody(2, number)));
    });
    let mut bootstrap: Vec<BootstrapPeer> = (0..40).map(|number| nobody(3, number).into()).collect();
    bootstrap.push(live.local_addr().unwrap().into());
    let network: Arc<dyn Network> = Arc::new(network);
    let discovery = Discovery::new(book, DiscoverySettings { bootstrap, ..DiscoverySettings::default() });
    let _task = discovery.start(&network, &SyncConfig::default(), Vec::new(), |_| ());
    // A dead one is given up after ten seconds: it is long before the second dial of any.
    let is_there = async {
        while !network.links().iter().any(|link| link.peer == live.local_peer()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), is_there).await.expect("the live one is dialled");
}

const V4: &str = "9.9.9.9:7";
const V6: &str = "[2600::1]:7";

/// How long it takes to reach a name that stands for these addresses, where somebody is at the second alone.
async fn reached(first: &str, second: &str) -> Duration {
    let (first, second): (SocketAddr, SocketAddr) = (first.parse().unwrap(), second.parse().unwrap());
    let network = Arc::new(TestNetwork::new(|_, _, _| None));
    comes_up(&network, at(1, second));
    let begin = Instant::now();
    let resolve = || async move { Ok(vec![first, second]) };
    let name = "both.example:7".parse().unwrap();
    let after = Duration::from_secs(10);
    let (address, result) = connect_named(network as Arc<dyn Network>, &name, resolve, 0, after).await;
    assert_eq!((address, result.ok()), (second, Some(id(1))));
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_dead_family_costs_a_fraction_of_a_second() {
    for (first, second) in [(V4, V6), (V6, V4)] {
        let took = reached(first, second).await;
        assert!(took <= Duration::from_millis(300), "{second}: {took:?}");
    }
}

#[test]
fn families_take_turns_and_each_failure_brings_the_next_addresses() {
    let parse = |list: &[&str]| -> Vec<SocketAddr> { list.iter().map(|text| text.parse().unwrap()).collect() };
    let six = parse(&["[2600::1]:7", "[2600::2]:7", "[2600::3]:7", "[2600::1]:7", "8.8.8.8:7", "9.9.9.9:7"]);
    let first = in_turn(six.clone(), 0);
    assert_eq!(first, parse(&["[2600::1]:7", "8.8.8.8:7", "[2600::2]:7", "9.9.9.9:7"]));
    let second = in_turn(six.clone(), 1);
    assert_eq!((second.len(), second[0]), (MAX_RACED, six[2]), "none is left out for ever");
    assert_eq!(in_turn(Vec::new(), 3), []);
}

#[tokio::test]
async fn a_name_whose_addresses_all_fail_says_what_tells_most() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (network, _events) =
        QuicNetwork::bind(any, Identity::generate().unwrap(), QuicLimits::default(), None).unwrap();
    let (own, other_family) = (network.local_addr().unwrap(), V6.parse().unwrap());
    let network: Arc<dyn Network> = Arc::new(network);
    for addresses in [[own, other_family], [other_family, own]] {
        let resolve = || async move { Ok(addresses.to_vec()) };
        let name = "both.example:7".parse().unwrap();
        let (_, result) = connect_named(Arc::clone(&network), &name, resolve, 0, Duration::from_secs(30)).await;
        let error = result.unwrap_err().to_string();
        assert!(error.contains("is this node itself"), "{error}");
    }
}
