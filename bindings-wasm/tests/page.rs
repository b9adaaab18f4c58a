//! The client as JavaScript drives it, without JavaScript: sockets are calls, and nodes are sessions that answer from a
//! generated chain, truthfully or not.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::ids::{Height, PeerId, QueryId};
use hotstuff2_sync::light::{At, LightAnswer, LightError, LightEvent, Query};
use hotstuff2_sync::session::{Role, Session, SessionConfig, SessionEvent, SessionIdentity};
use hotstuff2_sync::state::{MemoryStateStore, Record, key_hash};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::light::LightWorld;
use hotstuff2_sync_testkit::world::{Behaviour as _, Honest, Reply};
use hotstuff2_sync_wasm::host::Host;
use hotstuff2_sync_wasm::{HostOutput, Settings, StartError};

/// Bends an answer, if it is of a kind that the node lies about.
type Lie = fn(&Request, &mut [u8]);

fn honest(_: &Request, _: &mut [u8]) {}

fn false_tips(request: &Request, answer: &mut [u8]) {
    if let (Request::Tip, Some(last)) = (request, answer.last_mut()) {
        *last ^= 1;
    }
}

fn genesis_file(chain: &TestChain) -> String {
    let document = chain.genesis().document();
    serde_json::json!({ "chain_id": chain.genesis().chain_id().to_string(), "document": document }).to_string()
}

/// A page, its sockets and the nodes behind them.
struct Page {
    host: Host,
    chain: TestChain,
    now: Instant,
    nodes: BTreeMap<u32, (Session, Lie)>,
    events: Vec<LightEvent>,
    /// Peers that were blamed, what for, and how many bytes of evidence there are.
    blamed: Vec<(PeerId, Fault, usize)>,
    closed: Vec<(u32, Option<u64>)>,
    answers: BTreeMap<QueryId, HostOutput>,
    kept: Option<Vec<u8>>,
}

impl Page {
    fn new(chain: TestChain, checkpoint: Option<&[u8]>, witnesses: u16) -> Result<Self, StartError> {
        let settings = Settings { witnesses: Some(witnesses), ..Settings::default() };
        let wall = LightWorld::wall_of(&chain);
        let host = Host::new(&genesis_file(&chain), checkpoint, &settings, [[7; 32]; 2], Instant::ZERO, wall)?;
        let (events, blamed, closed, answers) = Default::default();
        let (now, nodes) = (Instant::ZERO, BTreeMap::new());
        Ok(Self { host, chain, now, nodes, events, blamed, closed, answers, kept: None })
    }

    fn key(number: u32) -> SessionIdentity {
        SessionIdentity::from_secret(&[number as u8 + 10; 32])
    }

    /// Opens a socket to a node.
    fn connect(&mut self, number: u32, lie: Lie) {
        let chain = self.chain.genesis().chain_id();
        let config = SessionConfig { chain, role: Role::Node, max_asks: 16 };
        let session = Session::accept(&Self::key(number), config, [number as u8 + 50; 32]).unwrap();
        self.nodes.insert(number, (session, lie));
        self.host.open(self.now, number, u64::from(number), Some(Self::key(number).peer_id()), [number as u8; 32]);
    }

    /// Carries bytes and runs jobs until nothing moves any more.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            while self.host.work() {
                moved = true;
            }
            self.host.tick(self.now);
            while let Some(output) = self.host.poll() {
                moved = true;
                match output {
                    HostOutput::Send { connection, bytes } => {
                        assert!(bytes.len() <= 16 << 10, "a message of a page");
                        if let Some((node, _)) = self.nodes.get_mut(&connection) {
                            let _ = node.handle_bytes(&bytes);
                        }
                    }
                    HostOutput::Close { connection, banned_for, .. } => {
                        self.nodes.remove(&connection);
                        self.closed.push((connection, banned_for));
                    }
                    HostOutput::Open { connection, peer } => assert_eq!(peer, Self::key(connection).peer_id()),
                    HostOutput::Event(event, blame) => {
                        self.events.push(event);
                        self.blamed.extend(blame.map(|blame| (blame.peer, blame.fault, blame.answer.len())));
                    }
                    HostOutput::Keep(checkpoint) => self.kept = Some(checkpoint),
                    HostOutput::Answer { query, .. } => drop(self.answers.insert(query, output)),
                }
            }
            for (&number, (node, lie)) in &mut self.nodes {
                while let Some(event) = node.poll_event() {
                    if let SessionEvent::Asked { id, request } = event {
                        let request = Request::decode(&request).unwrap();
                        let Reply::After(_, answer) = Honest::default().reply(&request, &self.chain) else { continue };
                        let mut answer = answer.to_vec();
                        lie(&request, &mut answer);
                        node.answer(id, answer.into());
                    }
                }
                let mut bytes = Vec::new();
                node.poll_bytes(&mut bytes, 1 << 20);
                // Cut where no frame ends.
                for piece in bytes.chunks(999) {
                    moved = true;
                    self.host.receive(self.now, number, piece);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass until `done`.
    fn run(&mut self, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..600 {
            self.settle();
            if done(self) {
                return;
            }
            self.now = self.now.after(Duration::from_millis(200));
        }
        panic!("it never came; events: {:?}", self.events);
    }

    fn tip(&self) -> Option<Height> {
        self.host.position().tip.map(|(tip, _)| tip.height)
    }

    fn read(&mut self, key: &[u8]) -> Result<(LightAnswer, Option<hotstuff2_sync_wasm::Read>), LightError> {
        let id = self.host.ask(self.now, Query::Read { key: Bytes::copy_from_slice(key), at: At::Now });
        self.run(|page| page.answers.contains_key(&id));
        let Some(HostOutput::Answer { result, .. }) = self.answers.remove(&id) else { panic!("it is an answer") };
        result
    }
}

fn ledger() -> TestChain {
    TestChain::with_ledger(ChainSpec { blocks: 60, snapshot_interval: 5, ..ChainSpec::default() }, 30, 200).unwrap()
}

#[test]
fn a_page_proves_the_tip_reads_with_proof_and_goes_on_from_its_checkpoint() {
    let mut page = Page::new(ledger(), None, 1).unwrap();
    page.connect(1, honest);
    page.connect(2, honest);
    page.run(|page| page.tip() == Some(Height::new(60)));
    let state = page.chain.state(Height::new(60)).unwrap();
    let (_, record) = MemoryStateStore::records(state).next().unwrap();
    let record = Record::decode(record.clone()).unwrap();
    let (answer, read) = page.read(record.key()).unwrap();
    let LightAnswer::Value { value, block } = answer else { panic!("it is a value") };
    assert_eq!((value.as_deref(), block.height), (Some(record.value()), Height::new(60)));
    let read = read.expect("the way is shown");
    let hash = *key_hash(record.key()).as_bytes();
    assert_eq!((read.key_hash, read.leaf.map(|(key, _)| key)), (hash, Some(hash)));
    assert!(read.siblings.len() > 2);
    let (answer, _) = page.read(b"nobody's").unwrap();
    assert!(matches!(answer, LightAnswer::Value { value: None, .. }));
    let checkpoint = page.kept.expect("a checkpoint is kept");
    let later = Page::new(ledger(), Some(&checkpoint), 0).unwrap();
    assert_eq!(later.tip(), Some(Height::new(60)), "before a node is asked");
}

#[test]
fn a_node_that_lies_is_named_with_its_answer_and_does_not_come_back() {
    let mut page = Page::new(ledger(), None, 1).unwrap();
    page.connect(1, honest);
    page.connect(2, false_tips);
    page.connect(3, honest);
    page.run(|page| page.tip() == Some(Height::new(60)) && !page.blamed.is_empty());
    let liar = Page::key(2).peer_id();
    let (peer, _, evidence) = page.blamed[0];
    assert_eq!(peer, liar);
    assert!(evidence > 100, "the false answer is at hand: {evidence}");
    assert!(page.events.iter().any(|event| matches!(event, LightEvent::Banned { peer, .. } if *peer == liar)));
    assert!(matches!(page.closed[..], [(2, Some(millis))] if millis > 1000), "{:?}", page.closed);
    page.closed.clear();
    page.connect(2, honest);
    page.settle();
    assert!(matches!(page.closed[..], [(2, Some(_))]), "{:?}", page.closed);
}

#[test]
fn a_socket_that_is_silent_or_gone_is_given_up() {
    let mut page = Page::new(ledger(), None, 0).unwrap();
    page.connect(1, honest);
    page.run(|page| page.tip() == Some(Height::new(60)));
    page.host.closed(page.now, 1);
    page.nodes.clear();
    page.settle();
    assert_eq!(page.closed, [(1, None)]);
    // Opened, and nobody says a word.
    page.host.open(page.now, 7, 7, None, [9; 32]);
    page.run(|page| page.closed.contains(&(7, None)));
    // Numbers that name nothing, or something else, do no harm.
    page.host.receive(page.now, 99, b"nothing");
    page.host.closed(page.now, 99);
    page.host.drop_query(page.now, QueryId::from_raw(99));
    page.connect(8, honest);
    page.host.open(page.now, 8, 8, None, [9; 32]);
    page.settle();
}

#[test]
fn a_wrong_start_is_refused_with_its_reason() {
    let chain = ledger();
    let wall = LightWorld::wall_of(&chain);
    let start = |text: &str, checkpoint: Option<&[u8]>, settings: &str| {
        let settings = Settings::parse(settings)?;
        Host::new(text, checkpoint, &settings, [[7; 32]; 2], Instant::ZERO, wall).map(drop)
    };
    let text = genesis_file(&chain);
    assert_eq!(start(&text, None, "{}"), Ok(()));
    let more = |more: &str| text.replacen("\"name\"", &format!("{more}, \"name\""), 1);
    assert_eq!(start(&more(r#""later": [1.5, {"a": null}]"#), None, "{}"), Ok(()), "a name of a newer version");
    let twice = more(r#""name": "generated""#);
    let lacking = text.replacen("\"last_height\"", "\"first_height\"", 1);
    let outside = text.replacen('{', "{\"later\": 1,", 1);
    let old = text.replacen("\"version\":1", "\"version\":2", 1);
    for text in ["", "{}", "[]", &text[..text.len() / 2], &twice, &lacking, &outside, &old] {
        assert_eq!(start(text, None, "{}").unwrap_err().name(), "genesis", "{text}");
    }
    let other = text.replace("\"generated\"", "\"another\"");
    assert_eq!(start(&other, None, "{}"), Err(StartError::GenesisChanged));
    assert_eq!(start(&text, Some(&[1, 2, 3]), "{}"), Err(StartError::Checkpoint));
    assert_eq!(start(&text, None, r#"{"oneByOne": true, "witnesses": null, "freshness": 9000 }"#), Ok(()));
    let twice = r#"{"witnesses":1,"witnesses":1}"#;
    for settings in [twice, "{\"witnesses\":17}", "{\"witnesses\":-1}", "{\"colour\":1}", "7", "{\"peerTimeout\":0}"] {
        assert_eq!(start(&text, None, settings).unwrap_err().name(), "settings", "{settings}");
    }
}
