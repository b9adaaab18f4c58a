//! Every kind of damage to every segment, mended from peers that serve, lie, or have nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::serve::ChainReader as _;

use super::{HealError, HealEvent, Healer};
use crate::StoreHandler;
use crate::net::{Handler, Network, PeerLink};
use crate::store::StorePart;
use crate::test_network::TestNetwork;
use crate::test_world::{Store, World};

pub(super) type Bend = fn(Vec<u8>) -> Vec<u8>;

/// A kind of damage, and what does it to the file at a path.
type Kind = (&'static str, fn(&Path));

const DAMAGE: [Kind; 11] = [
    ("a bit of the front", |path| flip(path, |_| 9)),
    ("a bit of the headers", |path| flip(path, |_| 200)),
    ("a bit of the proof", |path| flip(path, |bytes| 15 + segment_len(bytes))),
    ("a bit of the first frame", |path| flip(path, |bytes| 16 + segment_len(bytes) + 40)),
    ("a bit of the frames", |path| flip(path, |bytes| bytes.len() / 2)),
    ("a bit of the footer", |path| flip(path, |bytes| bytes.len() - 60)),
    ("a file that was cut", |path| fs::File::options().write(true).open(path).unwrap().set_len(700).unwrap()),
    ("an empty file", |path| fs::write(path, "").unwrap()),
    ("no file", |path| fs::remove_file(path).unwrap()),
    ("a pipe in its place", |path| {
        fs::remove_file(path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
    ("a folder in its place", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
        fs::write(path.join("somebody's"), "own").unwrap();
    }),
];

fn segment_len(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize
}

fn flip(path: &Path, at: impl Fn(&[u8]) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(&bytes);
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// A node's store, and peers with the same blocks.
pub(super) struct Net {
    pub(super) world: World,
    pub(super) store: Arc<Store>,
    pub(super) network: Arc<TestNetwork>,
    asked: Arc<Mutex<Vec<PeerId>>>,
}

pub(super) const fn peer(number: u8) -> PeerId {
    PeerId::from_bytes([number; 32])
}

impl Net {
    /// Peers that answer with these bends, and one with nothing.
    fn new(bends: &[Bend]) -> Self {
        let world = World::new();
        drop(world.full());
        Self::of(world, bends)
    }

    /// The same in copies of the store `full`.
    pub(super) fn of(world: World, bends: &[Bend]) -> Self {
        let store = Arc::new(world.copy_of_full("node"));
        let mut handlers = BTreeMap::new();
        handlers.insert(peer(0), (StoreHandler::new(Arc::new(world.create("empty"))), bends[0]));
        for (number, bend) in (1u8..).zip(bends) {
            let copy = Arc::new(world.copy_of_full(&format!("peer-{number}")));
            handlers.insert(peer(number), (StoreHandler::new(copy), *bend));
        }
        let links = handlers.keys().map(|&peer| link(peer)).collect();
        let asked: Arc<Mutex<Vec<PeerId>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let network = TestNetwork::new(move |peer, request, most| {
            noted.lock().unwrap().push(peer);
            let (handler, bend) = &handlers[&peer];
            let answer = bend(handler.handle(PeerId::from_bytes([0xff; 32]), request).into());
            assert!(answer.len() <= most);
            Some(Ok(answer.into()))
        });
        *network.links.lock().unwrap() = links;
        Self { world, store, network: Arc::new(network), asked }
    }

    pub(super) fn healer(&self) -> Healer<hotstuff2_sync::chain::native::NativeChain> {
        let network = Arc::clone(&self.network) as Arc<dyn Network>;
        Healer::new(Arc::clone(&self.store), Arc::new(self.world.chain.chain()), network)
    }

    /// The segment files, with what is in them.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.world.path("node/segments")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    pub(super) fn damaged(&self) -> Vec<StorePart> {
        self.store.damage().borrow().iter().map(|damage| damage.part).collect()
    }

    fn earliest(&self) -> Height {
        self.store.status().earliest
    }
}

fn link(peer: PeerId) -> PeerLink {
    PeerLink { peer, address: "127.0.0.1:1".parse().unwrap(), dialled: true }
}

pub(super) const HONEST: Bend = |answer| answer;

#[tokio::test]
async fn a_damaged_segment_heals_from_peers() {
    let mut net = Net::new(&[HONEST, HONEST]);
    let files = net.files();
    assert!(files.len() >= 2, "{}", files.len());
    for stopped in [false, true] {
        for (path, whole) in &files {
            for (kind, damage) in DAMAGE {
                let what = format!("{} in {}, stopped: {stopped}", kind, path.display());
                if stopped {
                    // The node is not there while the file changes.
                    net.store = Arc::new(net.world.create(&format!("place-{}", rand_name())));
                }
                damage(path);
                if stopped {
                    net.store = Arc::new(net.world.open("node"));
                }
                let mut healer = net.healer();
                healer.patrol().await;
                let parts = net.damaged();
                let [StorePart::Segment(range)] = parts.as_slice() else { panic!("{what}: {parts:?}") };
                assert!(net.earliest() > range.last(), "{what}: it claims what it can't read");
                let from = healer.heal(parts[0]).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(!from.is_empty() && !from.contains(&peer(0)), "{what}: {from:?}");
                assert_eq!(net.damaged(), []);
                assert_eq!(net.earliest(), Height::new(1));
                assert!(&fs::read(path).unwrap() == whole, "{what}: other bytes than before");
                net.store.check(|_| ()).unwrap();
            }
        }
    }
    assert_eq!(*net.network.banned.lock().unwrap(), []);
    // Nothing of anyone's is lost: a folder in a file's place was moved aside.
    let aside = fs::read_dir(net.world.path("node/segments")).unwrap();
    let aside: Vec<_> = aside.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert_eq!(aside.len(), 2 * files.len());
    assert!(aside.iter().all(|folder| fs::read(folder.join("somebody's")).unwrap() == b"own"));
}

fn rand_name() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[tokio::test]
async fn all_segments_at_once_heal_from_peers() {
    let net = Net::new(&[HONEST]);
    let files = net.files();
    files.iter().for_each(|(path, _)| fs::remove_file(path).unwrap());
    let (events, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let healer = net.healer();
    healer.patrol().await;
    assert_eq!(net.damaged().len(), files.len());
    let tell = move |event| drop(events.send(event));
    let healing = tokio::spawn(healer.run(tell));
    let mut mended = 0;
    while mended < files.len() {
        let event = tokio::time::timeout(Duration::from_secs(60), seen.recv()).await.unwrap().unwrap();
        mended += usize::from(matches!(event, HealEvent::Mended { .. }));
    }
    healing.abort();
    assert_eq!(net.files(), files);
}

#[tokio::test]
async fn a_lie_about_a_damaged_segment_is_not_put_in_place() {
    // A liar first, whose every answer has a bit changed where it hurts.
    let bent: Bend = |mut answer| {
        if let Some(byte) = answer.get_mut(300) {
            *byte ^= 1;
        }
        answer
    };
    let net = Net::new(&[bent]);
    let files = net.files();
    fs::remove_file(&files[1].0).unwrap();
    let mut healer = net.healer();
    healer.patrol().await;
    let part = net.damaged()[0];
    let error = healer.heal(part).await.unwrap_err();
    assert!(matches!(error, HealError::NotAvailable { .. } | HealError::False { .. }), "{error}");
    assert!(!files[1].0.exists());
    assert_eq!(net.damaged(), [part]);
    // With an honest one beside it, the liar is asked no more once it was seen.
    let net = Net::new(&[bent, HONEST]);
    fs::remove_file(&net.files()[1].0).unwrap();
    let mut healer = net.healer();
    healer.patrol().await;
    assert_eq!(healer.heal(part).await.unwrap(), [peer(2)]);
    assert_eq!(net.files(), files.iter().map(|(path, bytes)| (renamed(&net, path), bytes.clone())).collect::<Vec<_>>());
    assert!(net.asked.lock().unwrap().iter().filter(|&&asked| asked == peer(1)).count() <= 1);
}

fn renamed(net: &Net, path: &Path) -> PathBuf {
    net.world.path("node/segments").join(path.file_name().unwrap())
}

#[tokio::test]
async fn damage_that_nobody_can_mend_says_what_to_do() {
    let net = Net::new(&[HONEST]);
    fs::remove_file(&net.files()[0].0).unwrap();
    let mut healer = net.healer();
    healer.patrol().await;
    let part = net.damaged()[0];
    net.network.links.lock().unwrap().retain(|link| link.peer == peer(0));
    let error = healer.heal(part).await.unwrap_err();
    assert!(matches!(error, HealError::NotAvailable { asked: 1 }) && error.to_string().contains("--peer"), "{error}");
    net.network.links.lock().unwrap().clear();
    let error = healer.heal(part).await.unwrap_err();
    assert!(matches!(error, HealError::NoPeers) && error.to_string().contains("--peer"), "{error}");
}
