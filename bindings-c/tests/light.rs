//! A light client through the C interface: it proves a tip from peers of the Rust side, reads values, starts again from its
//! checkpoint, and bans a peer that shows a false block.
#![allow(unsafe_code)]

#[macro_use]
#[path = "common/host.rs"]
mod host;

use std::collections::{BTreeMap, VecDeque};

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::Record;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hs2sync::*;

use host::{NONE, code, given, id, last_error, shown, slice, taken, words};

/// Blocks of the chain: its newest state is a snapshot.
const BLOCKS: u64 = 60;
/// Peers that tell the truth, each of a group of its own.
const PEERS: u8 = 4;
/// The peer that lies.
const LIAR: u8 = 99;

fn network() -> TestChain {
    let spec = ChainSpec { blocks: BLOCKS, epochs: 3, snapshot_interval: 5, ..ChainSpec::default() };
    TestChain::with_ledger(spec, 40, 200).unwrap()
}

/// A host in one thread: a light client, and peers that answer at once.
struct Visit {
    light: hs2_light,
    chain: hs2_chain,
    now_us: u64,
    banned: Vec<(u8, u32)>,
    events: Vec<(u32, u32)>,
    kept: Vec<u8>,
    answers: BTreeMap<u64, Result<hs2_light_answer, (u32, String)>>,
}

impl Visit {
    fn begin(network: &TestChain, checkpoint: &[u8], peers: &[u8]) -> Self {
        let document = network.genesis().document().encode();
        let genesis = made!(hs2_genesis_decode(slice(&document)));
        let wall = network.headers().last().unwrap().timestamp.get() + 1000;
        let mut settings: hs2_light_settings = filled!(hs2_light_defaults());
        settings.status_interval_ms = 100;
        let light = made!(hs2_light_new(genesis, slice(checkpoint), &raw const settings, 7, 0, wall, 0));
        let chain = made!(hs2_light_chain(genesis, slice(checkpoint)));
        assert_eq!((hs2_release(genesis), hs2_light_start(light, 0)), (0, 0));
        for &peer in peers {
            let key = id(peer);
            // SAFETY: the id is real.
            assert_eq!(unsafe { hs2_light_handle_connected(light, 0, &raw const key, peer.into()) }, 0);
        }
        Self {
            light,
            chain,
            now_us: 0,
            banned: Vec::new(),
            events: Vec::new(),
            kept: Vec::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Carries out one output; false for the last.
    fn carry_out(&mut self, output: &hs2_output, requests: &mut VecDeque<(u64, u8, Vec<u8>)>) -> bool {
        let is = |name| output.kind == code("LightOutput", name);
        if is("request") {
            requests.push_back((output.id, output.peer.bytes[0], taken(output.object)));
        } else if is("verify") {
            let verdict = made!(hs2_job_run(output.object, self.chain));
            assert_eq!(hs2_light_handle_verdict(self.light, self.now_us, verdict), 0);
            assert_eq!((hs2_release(verdict), hs2_release(output.object)), (0, 0));
        } else if is("penalize") {
            self.banned.push((output.peer.bytes[0], output.detail));
        } else if is("answer") {
            let answer = if output.code == 0 { Ok(output.object) } else { Err((output.code, words(output.object))) };
            self.answers.insert(output.id, answer);
        } else if is("keep") {
            self.kept = taken(output.object);
        } else if is("event") {
            assert!(!words(output.object).is_empty());
            self.events.push((output.code, output.detail));
        } else if is("wait") {
            self.now_us = self.now_us.max(output.deadline_us.min(self.now_us + 100_000));
            return false;
        }
        true
    }

    /// Goes on until `done`, at most as long as an honest network takes a hundred times.
    fn until(&mut self, network: &TestChain, done: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            let mut requests = VecDeque::new();
            loop {
                let output: hs2_output = filled!(hs2_light_poll(self.light));
                if !self.carry_out(&output, &mut requests) {
                    break;
                }
            }
            if done(self) {
                return;
            }
            for (request, peer, question) in requests {
                let mut answer = network.respond(&Request::decode(&question).unwrap()).to_vec();
                let is_tip = matches!(Request::decode(&question), Ok(Request::Tip));
                if peer == LIAR && is_tip {
                    *answer.last_mut().unwrap() ^= 1;
                }
                let answer = given(&answer);
                assert_eq!(hs2_light_handle_response(self.light, self.now_us, request, answer), 0);
                assert_eq!(hs2_release(answer), 0);
            }
            assert_eq!(hs2_light_handle_timeout(self.light, self.now_us), 0);
        }
        panic!("nothing came of it: events {:x?}, banned {:x?}", self.events, self.banned);
    }

    fn position(&self) -> hs2_light_position {
        filled!(hs2_light_read(self.light))
    }

    fn ask(&self, key: &[u8], at: u32, height: u64) -> u64 {
        made!(hs2_light_get(self.light, self.now_us, slice(key), at, height))
    }

    /// Waits for an answer and reads it, with the value.
    fn answer(&mut self, network: &TestChain, question: u64) -> (hs2_light_found, Option<Vec<u8>>) {
        self.until(network, |visit| visit.answers.contains_key(&question));
        let answer = self.answers.remove(&question).unwrap().unwrap();
        let found: hs2_light_found = filled!(hs2_light_answer_read(answer));
        let value = (found.has_value == 1).then(|| shown(found.value));
        if found.kind == HS2_LIGHT_BODIES {
            let mut body = NONE;
            for index in 0..found.payload_count {
                // SAFETY: the place is real.
                assert_eq!(unsafe { hs2_light_answer_payload(answer, index, &raw mut body) }, 0);
                let height = Height::new(found.first + index as u64);
                assert_eq!(Some(shown(body)), network.payload(height).map(|payload| payload.to_vec()));
            }
            // SAFETY: the place is real.
            let behind = unsafe { hs2_light_answer_payload(answer, found.payload_count, &raw mut body) };
            assert_eq!(behind, Status::NotFound.number());
        }
        assert_eq!(hs2_release(answer), 0);
        (found, value)
    }

    fn end(self) -> Vec<u8> {
        assert_eq!((hs2_release(self.light), hs2_release(self.chain)), (0, 0));
        self.kept
    }
}

/// Keys and values of the state after a block.
fn entries(network: &TestChain, height: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let records = network.state(Height::new(height)).unwrap().records();
    let entry = |(_, record): (_, &bytes::Bytes)| {
        let record = Record::decode(record.clone()).unwrap();
        (record.key().to_vec(), record.value().to_vec())
    };
    records.map(entry).collect()
}

#[test]
fn values_are_proven_and_the_next_visit_starts_from_the_checkpoint() {
    let network = network();
    let peers: Vec<u8> = (1..=PEERS).collect();
    let mut visit = Visit::begin(&network, &[], &peers);
    assert_eq!(visit.position().freshness, HS2_LIGHT_UNKNOWN_AGE);
    visit.until(&network, |visit| visit.position().tip.height == BLOCKS);
    let position = visit.position();
    let head = network.headers().last().unwrap();
    assert_eq!(
        (position.tip.id, position.tip.state_root),
        (hs2_id { bytes: *head.id().as_bytes() }, { hs2_id { bytes: *head.state_root.as_bytes() } })
    );
    assert_eq!((position.epoch, position.freshness, position.proven), (2, HS2_LIGHT_FRESH, BLOCKS));
    assert!(position.witnesses >= 2 && visit.banned.is_empty());

    for (at, height, of) in [(HS2_LIGHT_NOW, 0, BLOCKS), (HS2_LIGHT_SNAPSHOT, 0, BLOCKS), (HS2_LIGHT_AT, 40, 40)] {
        for (key, value) in entries(&network, of).iter().take(3) {
            let question = visit.ask(key, at, height);
            let (found, read) = visit.answer(&network, question);
            assert_eq!((found.kind, found.block.height, read.as_ref()), (HS2_LIGHT_VALUE, of, Some(value)));
        }
    }
    let question = visit.ask(b"nobody's", HS2_LIGHT_NOW, 0);
    assert_eq!(visit.answer(&network, question).1, None, "and that is proven too");
    let (light, now) = (visit.light, visit.now_us);
    let question = made!(hs2_light_header(light, now, BLOCKS - 1));
    let (found, _) = visit.answer(&network, question);
    let header = network.header(Height::new(BLOCKS - 1)).unwrap();
    assert_eq!((found.kind, found.block.id.bytes), (HS2_LIGHT_HEADER, *header.id().as_bytes()));
    let question = made!(hs2_light_bodies(light, visit.now_us, BLOCKS - 3, BLOCKS));
    assert_eq!(visit.answer(&network, question).0.payload_count, 4);
    let exported = taken(made!(hs2_light_checkpoint(light)));
    let kept = visit.end();
    assert_eq!(exported, kept);

    // The next visit knows the epoch and the tip at once.
    let mut again = Visit::begin(&network, &kept, &peers);
    assert_eq!((again.position().epoch, again.position().tip.height), (2, BLOCKS));
    let (key, value) = entries(&network, BLOCKS).swap_remove(0);
    let question = again.ask(&key, HS2_LIGHT_NOW, 0);
    assert_eq!(again.answer(&network, question).1, Some(value));
    again.end();
}

#[test]
fn a_peer_that_shows_a_false_block_is_banned_and_nothing_of_it_is_told() {
    let network = network();
    let peers: Vec<u8> = [LIAR].into_iter().chain(1..=PEERS).collect();
    let mut visit = Visit::begin(&network, &[], &peers);
    visit.until(&network, |visit| visit.position().tip.height == BLOCKS && !visit.banned.is_empty());
    assert_eq!(visit.banned, [(LIAR, code("Fault", "bad_certificate"))]);
    assert!(visit.events.contains(&(code("LightEvent", "banned"), code("Fault", "bad_certificate"))));
    visit.end();
}

#[test]
fn starts_and_questions_that_cannot_be_are_refused() {
    let network = network();
    let document = network.genesis().document().encode();
    let genesis = made!(hs2_genesis_decode(slice(&document)));
    let mut light = 0;
    let new = |checkpoint: &[u8], settings: *const hs2_light_settings, out: *mut hs2_light| {
        // SAFETY: all places are real.
        unsafe { hs2_light_new(genesis, slice(checkpoint), settings, 7, 0, u64::MAX >> 1, 0, out) }
    };
    assert_eq!(new(&[1; 40], std::ptr::null(), &raw mut light), Status::Malformed.number());
    let settings = hs2_light_settings {
        one_by_one: 0,
        witnesses: 9,
        max_peers: 3,
        suspect_self_groups: 3,
        peer_timeout_ms: 1000,
        query_timeout_ms: 1000,
        job_timeout_ms: 1000,
        freshness_ms: 1000,
        status_interval_ms: 1000,
        stall_after_ms: 1000,
        ban_duration_ms: 1000,
    };
    assert_eq!(new(&[], &raw const settings, &raw mut light), Status::OutOfRange.number());
    assert!(last_error().contains("max_peers"), "{}", last_error());
    assert_eq!((light, new(&[], std::ptr::null(), &raw mut light)), (0, 0));
    // Not started: nothing can be asked yet, and the answer says so.
    let question = made!(hs2_light_get(light, 0, slice(b"key"), HS2_LIGHT_NOW, 0));
    let output: hs2_output = filled!(hs2_light_poll(light));
    assert_eq!((output.id, output.code), (question, code("LightError", "stopped")));
    assert_eq!(words(output.object), "the light client does not run");
    let mut nothing = 7;
    // SAFETY: all places are real.
    unsafe {
        let long = [0; 1025];
        let status = hs2_light_get(light, 0, slice(&long), HS2_LIGHT_NOW, 0, &raw mut nothing);
        assert_eq!(status, Status::TooMany.number());
        assert_eq!(hs2_light_get(light, 0, NONE, 9, 0, &raw mut nothing), Status::InvalidArgument.number());
        assert_eq!(hs2_light_bodies(light, 0, 2, 1, &raw mut nothing), Status::InvalidArgument.number());
        assert_eq!(hs2_light_checkpoint(light, &raw mut nothing), Status::NotFound.number());
        assert_eq!(hs2_light_evidence(light, &raw mut nothing), Status::NotFound.number());
    }
    assert_eq!((nothing, hs2_release(light), hs2_release(genesis)), (7, 0, 0));
}
