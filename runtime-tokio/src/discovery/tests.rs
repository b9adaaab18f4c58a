//! Discovery over real connections on loopback, and the plan of whom to dial on a paused clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::{KnownPeer, encode_peers};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::named::connect_named;
use super::plan::{Dial, LASTING, PLACE_TIME, PLACES, Plan, TRIAL_PAUSE};
use super::*;
use crate::net::{Handler, HandlerFn, Identity, Network, PeerLink, QuicLimits, QuicNetwork};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// Answers everything with this.
fn says(answer: Bytes) -> Arc<dyn Handler> {
    Arc::new(HandlerFn::new(move |_, _| answer.clone()))
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

struct Node {
    network: Arc<dyn Network>,
    discovery: Discovery,
    address: SocketAddr,
    id: PeerId,
    said: mpsc::UnboundedReceiver<String>,
    _task: DiscoveryTask,
}

impl Node {
    fn start(settings: DiscoverySettings) -> Self {
        Self::with(Identity::generate().unwrap(), AddressBook::new(1), settings)
    }

    fn with(identity: Identity, book: AddressBook, settings: DiscoverySettings) -> Self {
        let settings = DiscoverySettings {
            retry_interval: Duration::from_millis(300),
            exchange_interval: Duration::from_millis(600),
            trial_interval: Duration::from_millis(10),
            ..settings
        };
        let discovery = Discovery::new(book, settings);
        let handler = Arc::new(discovery.handler(says(Bytes::new())));
        let (network, mut events) = QuicNetwork::bind(any(), identity, QuicLimits::default(), Some(handler)).unwrap();
        let (address, id) = (network.local_addr().unwrap(), network.local_peer());
        let network: Arc<dyn Network> = Arc::new(network);
        let config = SyncConfig { connection_timeout: Duration::from_secs(2), ..SyncConfig::default() };
        let (tell, said) = mpsc::unbounded_channel();
        let task = discovery.start(&network, &config, Vec::new(), move |text| drop(tell.send(text)));
        let waking = discovery.clone();
        tokio::spawn(async move {
            while events.recv().await.is_some() {
                waking.wake();
            }
        });
        Self { network, discovery, address, id, said, _task: task }
    }

    fn knows(&self, peer: PeerId) -> bool {
        self.discovery.snapshot().peers().any(|(id, _)| id == peer)
    }

    fn is_linked(&self, peer: PeerId) -> bool {
        self.network.links().iter().any(|link| link.peer == peer)
    }
}

fn named(nodes: &[&Node]) -> DiscoverySettings {
    let bootstrap = nodes.iter().map(|node| node.address.into()).collect();
    DiscoverySettings { bootstrap, ..DiscoverySettings::default() }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(SOON, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

#[tokio::test]
async fn peers_of_one_node_find_each_other() {
    let hub = Node::start(DiscoverySettings::default());
    let (first, second) = (Node::start(named(&[&hub])), Node::start(named(&[&hub])));
    until("both are connected to each other", || first.is_linked(second.id) && second.is_linked(first.id)).await;
    // The hub has found out where they listen by itself.
    until("the hub knows where they are", || hub.knows(first.id) && hub.knows(second.id)).await;
    let found = first.discovery.discover_sync_peers().await;
    assert!(found.contains(&hub.id) && found.contains(&second.id) && found.len() == 2);
    assert!(first.discovery.snapshot().peers().any(|(id, entry)| id == hub.id && entry.bootstrap));
}

#[tokio::test]
async fn what_a_liar_says_is_believed_by_nobody() {
    let victim = Node::start(DiscoverySettings::default());
    // Keys that are elsewhere, and a port where nobody is.
    let mut lies: Vec<KnownPeer> =
        (0..40).map(|number| KnownPeer { id: PeerId::from_bytes([number; 32]), address: victim.address }).collect();
    lies.push(KnownPeer { id: victim.id, address: "127.0.0.1:9".parse().unwrap() });
    let liar = says(encode_peers(lies));
    let (liar, _events) =
        QuicNetwork::bind(any(), Identity::generate().unwrap(), QuicLimits::default(), Some(liar)).unwrap();
    let bootstrap = vec![liar.local_addr().unwrap().into()];
    let node = Node::start(DiscoverySettings { bootstrap, ..DiscoverySettings::default() });
    until("the lies are heard", || node.discovery.snapshot().candidates().count() > 10).await;
    node.discovery.discover_sync_peers().await;
    let book = node.discovery.snapshot();
    assert_eq!(book.peers().map(|(id, _)| id).collect::<Vec<_>>(), [liar.local_peer()]);
    assert!(!node.is_linked(victim.id));
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_followed_while_its_old_place_is_dialled() {
    let (node, other) = (Node::start(DiscoverySettings::default()), Node::start(DiscoverySettings::default()));
    let nobody = std::net::UdpSocket::bind(any()).unwrap();
    let asked = AtomicUsize::new(0);
    let resolve = || async {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(vec![if first { nobody.local_addr()? } else { other.address }])
    };
    let name = "moves.example:7000".parse().unwrap();
    let (address, result) = connect_named(Arc::clone(&node.network), &name, resolve, 0, SOON).await;
    assert_eq!((address, result.ok()), (other.address, Some(other.id)));
}

#[tokio::test]
async fn a_list_that_no_honest_peer_gives_bans() {
    let mut twice = encode_peers([KnownPeer { id: PeerId::from_bytes([1; 32]), address: any_port(7) }]).to_vec();
    twice.extend_from_within(1..);
    let liar = says(twice.into());
    let (liar, _events) =
        QuicNetwork::bind(any(), Identity::generate().unwrap(), QuicLimits::default(), Some(liar)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers.book");
    let settings = DiscoverySettings {
        bootstrap: vec![liar.local_addr().unwrap().into()],
        file: Some(path.clone()),
        ..DiscoverySettings::default()
    };
    let mut node = Node::start(settings.clone());
    let said = timeout(SOON, node.said.recv()).await.unwrap().unwrap();
    assert!(said.contains("banned") && said.contains(&liar.local_peer().to_string()), "{said}");
    until("it is gone", || !node.is_linked(liar.local_peer())).await;
    assert!(node.discovery.snapshot().is_banned(liar.local_peer()));

    // The ban outlives a restart, in both directions.
    drop(node);
    until("the book is saved", || AddressBook::load(&path, 1).is_ok_and(|book| book.bans().len() == 1)).await;
    let (book, found) = AddressBook::open(&path, 1).unwrap();
    assert_eq!(found, BookFound::Whole);
    let again = Node::with(Identity::generate().unwrap(), book, settings);
    let error = again.network.connect(liar.local_addr().unwrap(), Some(liar.local_peer())).await.unwrap_err();
    assert!(error.to_string().contains("banned"), "{error}");
}

fn any_port(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[tokio::test]
async fn a_book_is_enough_after_a_restart_and_a_peer_that_moved_is_found_through_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers.book");
    let (identity, moved) = (folder.path().join("node.key"), folder.path().join("moved.key"));
    let load = |path: &std::path::Path| Identity::load_or_generate(path).unwrap();
    let hub = Node::start(DiscoverySettings::default());
    let other = Node::with(load(&moved), AddressBook::new(2), named(&[&hub]));
    let settings = || DiscoverySettings { file: Some(path.clone()), ..DiscoverySettings::default() };
    let node = Node::with(
        load(&identity),
        AddressBook::new(1),
        DiscoverySettings { bootstrap: vec![hub.address.into()], ..settings() },
    );
    until("it knows both", || node.knows(hub.id) && node.knows(other.id)).await;
    let (other_id, old) = (other.id, other.address);
    drop(node);
    drop(other);
    until("the book is saved", || AddressBook::load(&path, 1).is_ok_and(|book| book.peers().len() == 2)).await;

    let other = Node::with(load(&moved), AddressBook::new(2), named(&[&hub]));
    assert!(other.id == other_id && other.address != old);
    // Nobody is named this time.
    let node = Node::with(load(&identity), AddressBook::open(&path, 1).unwrap().0, settings());
    until("both are found", || node.is_linked(hub.id) && node.is_linked(other_id)).await;
}

#[tokio::test]
async fn who_can_not_be_reached_is_said_once_by_name() {
    let bootstrap = vec!["no-such-host.invalid:7".parse().unwrap()];
    let mut node = Node::start(DiscoverySettings { bootstrap, ..DiscoverySettings::default() });
    let said = timeout(SOON, node.said.recv()).await.unwrap().unwrap();
    assert!(said.contains("no-such-host.invalid:7 can't be resolved"), "{said}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(node.said.try_recv().is_err());
}

// The tests below are about the plan alone.

fn id(number: u32) -> PeerId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(bytes)
}

fn at(number: u32, address: &str) -> KnownPeer {
    KnownPeer { id: id(number), address: address.parse().unwrap() }
}

fn link(peer: KnownPeer) -> PeerLink {
    PeerLink { peer: peer.id, address: peer.address, dialled: true }
}

fn plan(max_peers: usize, bootstrap: &[Option<PeerId>]) -> Plan {
    Plan::new(DiscoverySettings::default(), max_peers, 3, bootstrap.iter().copied(), 7)
}

const OWN: u32 = 4_000_000_000;

fn all(plan: &mut Plan, book: &AddressBook, links: &[PeerLink]) -> Vec<Dial> {
    std::iter::from_fn(|| plan.next(id(OWN), book, links, Instant::now())).collect()
}

#[tokio::test(start_paused = true)]
async fn the_operators_peer_is_dialled_again_within_a_bounded_time_for_ever() {
    let (book, mut plan) = (AddressBook::new(1), plan(64, &[None]));
    let most = DiscoverySettings::default().retry_interval * 5 / 4 + Duration::from_millis(50);
    for _ in 0..50 {
        let since = Instant::now();
        while plan.next(id(OWN), &book, &[], Instant::now()).is_none() {
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        assert!(since.elapsed() <= most, "{:?}", since.elapsed());
        assert_eq!(plan.next(id(OWN), &book, &[], Instant::now()), None, "one dial at a time");
        plan.failed(Dial::Bootstrap(0), Instant::now());
    }
    plan.succeeded(Dial::Bootstrap(0), id(1), Instant::now());
    let links = [link(at(1, "8.8.8.8:7"))];
    assert_eq!(all(&mut plan, &book, &links), []);
    tokio::time::advance(LASTING).await;
    plan.tidy(&book, &links, Instant::now());
    assert_eq!(all(&mut plan, &book, &[]), [Dial::Bootstrap(0)], "at once when a connection is lost that lasted");
    assert_eq!(plan.bootstrap_failures(0), 0, "at the address where it was");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_lets_us_in_and_hangs_up_is_not_dialled_without_pause() {
    // One that the operator has named, and one that was found: both take the call and end it at once, for ever.
    let found = at(2, "8.8.8.8:7");
    let mut book = AddressBook::new(1);
    book.answered(found, UnixMillis::new(1));
    let mut plan = plan(64, &[Some(id(1))]);
    let other = [link(at(3, "9.9.9.9:7"))];
    let (begin, mut named_dials, mut found_dials) = (Instant::now(), 0, 0);
    while begin.elapsed() < Duration::from_secs(60) {
        plan.tidy(&book, &other, Instant::now());
        for dial in all(&mut plan, &book, &other) {
            let (count, id) = match dial {
                Dial::Bootstrap(_) => (&mut named_dials, id(1)),
                _ => (&mut found_dials, found.id),
            };
            *count += 1;
            plan.succeeded(dial, id, Instant::now());
        }
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    assert!((10..=17).contains(&named_dials), "{named_dials}: every five seconds, for the operator wants it");
    assert_eq!(found_dials, 3, "then it rests as one that can't be reached");
}

#[tokio::test(start_paused = true)]
async fn connections_are_spread_over_groups_and_no_more_than_wanted() {
    let mut book = AddressBook::new(1);
    for number in 0..100 {
        book.answered(at(number, &format!("8.8.1.{number}:7")), UnixMillis::new(1));
    }
    for number in 100..105 {
        book.answered(at(number, &format!("{number}.8.1.1:7")), UnixMillis::new(1));
    }
    let mut plan = plan(6, &[]);
    let dials = all(&mut plan, &book, &[]);
    let groups: std::collections::BTreeSet<String> = dials
        .iter()
        .map(|dial| match dial {
            Dial::Known(peer) => peer.address.to_string().split('.').next().unwrap().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((dials.len(), groups.len()), (6, 6), "{dials:?}");
    // Those that connected to this node are not of its choosing: they take no room.
    let inbound: Vec<PeerLink> =
        (500..600).map(|number| PeerLink { dialled: false, ..link(at(number, "8.8.8.8:7")) }).collect();
    assert_eq!(all(&mut Plan::new(DiscoverySettings::default(), 6, 3, [], 7), &book, &inbound).len(), 6);
    let links: Vec<PeerLink> = (100..105).map(|number| link(at(number, &format!("{number}.8.1.1:7")))).collect();
    assert_eq!(all(&mut Plan::new(DiscoverySettings::default(), 6, 3, [], 7), &book, &links).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_fails_rests_for_long_unless_there_is_nobody_else() {
    let mut book = AddressBook::new(1);
    book.answered(at(1, "8.8.8.8:7"), UnixMillis::new(1));
    let mut plan = plan(64, &[]);
    let dial = Dial::Known(at(1, "8.8.8.8:7"));
    let others = [link(at(2, "9.9.9.9:7"))];
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(all(&mut plan, &book, &others), [dial]);
        plan.failed(dial, Instant::now());
    }
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(all(&mut plan, &book, &others), []);
    assert_eq!(all(&mut plan, &book, &[]), [dial], "with nobody else, a known address is tried soon");
    plan.failed(dial, Instant::now());
    tokio::time::advance(Duration::from_secs(100)).await;
    assert_eq!(all(&mut plan, &book, &others), [], "it rests longer each time");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(all(&mut plan, &book, &others), [dial]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_flooded_through_this_node() {
    // Sources of many groups name one victim, at many ports and under many ids.
    let mut book = AddressBook::new(1);
    for number in 0..2000_u32 {
        let source = SocketAddr::from(([20 + (number % 100) as u8, 8, 1, 1], 7));
        book.hear(id(10_000 + number % 200), source, at(number, &format!("8.8.8.8:{}", 1 + number)));
    }
    assert!(book.candidates().count() > 200);
    let mut victim = plan(64, &[]);
    let (begin, mut dials) = (Instant::now(), 0);
    while begin.elapsed() < 10 * TRIAL_PAUSE {
        for dial in all(&mut victim, &book, &[]) {
            dials += 1;
            victim.failed(dial, Instant::now());
        }
        victim.tidy(&book, &[], Instant::now());
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(dials, 10, "one a minute");

    // Many hosts: a few at a time, and so many a second.
    let mut book = AddressBook::new(1);
    for number in 0..2000_u32 {
        let source = SocketAddr::from(([20 + (number % 100) as u8, 8, 1, 1], 7));
        let [_, _, a, b] = number.to_be_bytes();
        book.hear(id(10_000 + number % 200), source, at(number, &format!("8.9.{a}.{b}:7")));
    }
    // Connected peers may name more of them; with nobody there, dialling is somewhat faster.
    for (links, most) in [(&[link(at(2, "9.9.9.9:7"))][..], 20), (&[], 80)] {
        let mut many = plan(64, &[]);
        let (mut out, mut dials) = (Vec::new(), 0);
        for _ in 0..200 {
            out.drain(..).for_each(|dial| many.failed(dial, Instant::now()));
            out.extend(all(&mut many, &book, links));
            dials += out.len();
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        assert!((most / 2..=most).contains(&dials), "{dials} in ten seconds");
    }
}

#[tokio::test(start_paused = true)]
async fn hearsay_is_tried_without_being_kept_where_there_is_no_room() {
    let mut book = AddressBook::new(1);
    book.hear(id(9), "9.9.9.9:7".parse().unwrap(), at(1, "8.8.8.8:7"));
    let links = [link(at(2, "9.9.9.9:7"))];
    assert_eq!(all(&mut plan(1, &[]), &book, &links), [Dial::Trial { peer: at(1, "8.8.8.8:7"), keep: false }]);
    assert_eq!(all(&mut plan(2, &[]), &book, &links), [Dial::Trial { peer: at(1, "8.8.8.8:7"), keep: true }]);
    let inbound = [PeerLink { dialled: false, ..link(at(1, "8.8.8.8:9")) }];
    assert_eq!(all(&mut plan(2, &[]), &book, &inbound), [Dial::Trial { peer: at(1, "8.8.8.8:7"), keep: false }]);
    // Not this node itself, and not who is banned.
    let mut book = AddressBook::new(1);
    book.hear(id(9), "9.9.9.9:7".parse().unwrap(), at(OWN, "8.8.8.8:7"));
    assert_eq!(all(&mut plan(2, &[]), &book, &links), []);
}

#[tokio::test(start_paused = true)]
async fn who_is_banned_is_not_dialled_though_the_operator_named_it() {
    let mut book = AddressBook::new(1);
    book.answered(at(1, "8.8.8.8:7"), UnixMillis::new(1));
    book.set_bootstrap(id(1));
    book.ban(id(1), UnixMillis::new(9));
    assert_eq!(book.peers().len(), 1, "where it is stays known");
    assert_eq!(all(&mut plan(64, &[]), &book, &[]), []);
    book.lift_ban(id(1));
    assert_eq!(all(&mut plan(64, &[]), &book, &[]), [Dial::Known(at(1, "8.8.8.8:7"))]);
}

#[tokio::test(start_paused = true)]
async fn dials_that_begin_at_a_time_are_bounded_and_no_class_takes_the_places_of_another() {
    let mut book = AddressBook::new(1);
    (0..100).for_each(|number| book.answered(at(number, &format!("8.{number}.1.1:7")), UnixMillis::new(1)));
    let mut plan = plan(64, &[None; 100]);
    let count = |dials: &[Dial]| {
        let named = dials.iter().filter(|dial| matches!(dial, Dial::Bootstrap(_))).count();
        (named, dials.len() - named)
    };
    for _ in 0..3 {
        assert_eq!(count(&all(&mut plan, &book, &[])), (PLACES, PLACES));
        assert_eq!(all(&mut plan, &book, &[]), []);
        // They go on, and give their places to others.
        tokio::time::advance(PLACE_TIME).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_address_of_a_peer_is_dialled_long_before_the_first_is_given_up() {
    let mut book = AddressBook::new(1);
    let (old, new) = (at(1, "8.8.8.8:7"), at(1, "[2600::1]:7"));
    book.answered(old, UnixMillis::new(1));
    book.answered(new, UnixMillis::new(2));
    let mut plan = plan(64, &[]);
    let first = all(&mut plan, &book, &[]);
    assert_eq!(first.len(), 1, "one at a time");
    tokio::time::advance(PLACE_TIME).await;
    let both = [first, all(&mut plan, &book, &[])].concat();
    assert!(both.contains(&Dial::Known(old)) && both.contains(&Dial::Known(new)) && both.len() == 2, "{both:?}");
}
