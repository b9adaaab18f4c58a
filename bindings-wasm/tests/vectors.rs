//! `js/test/vectors.json`: a chain, messages, jobs and codes with what they come to natively, for the module to be held
//! against in JavaScript. `HS2_BLESS=1 cargo test -p hotstuff2-sync-wasm --all-features --test vectors` writes it anew.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

use bytes::Bytes;
use hotstuff2_sync::calls::{CallDone, HostReply, HostWork};
use hotstuff2_sync::chain::CheckError;
use hotstuff2_sync::codes::TABLE;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Epoch, Height, PeerId};
use hotstuff2_sync::machine::{Event, Input, Machine, Output, PeerEvent};
use hotstuff2_sync::serve::{PartReader, PartStore, StoredPart, respond};
use hotstuff2_sync::state::{MemoryStateStore, key_hash};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::Job;
use hotstuff2_sync::wire::{PeerStatus, Request};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_wasm::full::{Trusted, Verifier};
use serde_json::{Value, json};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/js/test/vectors.json");
/// The peer whose answers have a bit turned around, all but its status.
const LIAR: u8 = 4;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn chain() -> TestChain {
    let spec = ChainSpec { blocks: 48, validators: 4, epochs: 3, certify_every: 8, ..ChainSpec::default() };
    TestChain::new(spec).unwrap()
}

fn genesis_file(chain: &TestChain) -> String {
    let document = chain.genesis().document();
    json!({ "chain_id": chain.genesis().chain_id().to_string(), "document": document }).to_string()
}

/// The chain as a host stores it.
struct Parts<'a>(&'a TestChain);

impl PartStore for Parts<'_> {
    type Error = Infallible;
    type State = &'static MemoryStateStore;

    fn status(&self) -> Result<PeerStatus, Infallible> {
        let tip = self.0.tip_height();
        Ok(PeerStatus {
            chain_id: self.0.genesis().chain_id(),
            earliest: Height::new(1),
            tip,
            epoch: self.0.epoch_of(tip).unwrap().info().epoch(),
            snapshots: None,
        })
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, Infallible> {
        Ok(self.0.handovers().iter().find(|link| link.ended == epoch).map(|link| link.bytes.clone()))
    }

    fn tip(&self) -> Result<Option<Bytes>, Infallible> {
        Ok(self.0.tip(self.0.tip_height()))
    }

    fn part(&self, height: Height) -> Result<Option<StoredPart>, Infallible> {
        Ok(parts(self.0).into_iter().find(|part| part.range.contains(height)))
    }

    fn payload(&self, height: Height) -> Result<Option<Bytes>, Infallible> {
        Ok(self.0.payload(height))
    }

    fn newest_state(&self) -> Option<(Height, Self::State)> {
        None
    }

    fn states(&self, _: Height) -> Vec<Self::State> {
        Vec::new()
    }

    fn impossible(&self, question: &'static str) -> Infallible {
        panic!("{question} gave what can't be")
    }
}

fn parts(chain: &TestChain) -> Vec<StoredPart> {
    let rules = chain.chain();
    let part = |part: &hotstuff2_sync::calls::ApplyPart| StoredPart {
        range: part.segment.range(),
        epoch: part.segment.epoch(),
        certified: part.segment.decoded(&rules).unwrap().proof().certificate().is_some(),
        segment: part.segment.bytes().clone(),
        audit: part.segment.audit().clone(),
    };
    chain.parts().iter().map(part).collect()
}

/// Run of a node that catches up: messages, jobs, and who was banned.
#[derive(Default)]
struct Run {
    messages: BTreeMap<String, String>,
    jobs: Vec<(String, String)>,
    banned: Vec<PeerId>,
    applied: Height,
}

/// A machine catches up from three honest peers and the liar.
fn run(chain: &TestChain) -> Run {
    let (rules, mut run) = (chain.chain(), Run::default());
    let mut machine = Machine::new(SyncConfig::default(), chain.start(), 7, Instant::ZERO).unwrap();
    let mut facts = VecDeque::from([Input::Start(None)]);
    for peer in 1..=LIAR {
        let peer_event = PeerEvent::Connected { peer: PeerId::from_bytes([peer; 32]), group: u64::from(peer) };
        facts.push_back(Input::Peer(peer_event));
    }
    let mut now = Instant::ZERO;
    for _ in 0..10_000 {
        for fact in facts.drain(..) {
            machine.handle(now, fact);
        }
        let deadline = loop {
            match machine.poll_output() {
                Output::Request { id, peer, request, .. } => {
                    let answer = respond(&request, &PartReader::new(&rules, Parts(chain))).unwrap();
                    run.messages.insert(hex(&request.encode()), hex(&answer));
                    let mut answer = answer.to_vec();
                    if peer.as_bytes()[0] == LIAR && request != Request::Status {
                        let middle = answer.len() / 2;
                        answer[middle] ^= 1;
                    }
                    facts.push_back(Input::Response(id, Ok(answer.into())));
                }
                Output::Verify(job) => {
                    // As a worker of another memory would.
                    let verdict = Job::decode(&job.encode()).unwrap().run(&rules);
                    run.jobs.push((hex(&job.encode()), hex(&verdict.encode())));
                    facts.push_back(Input::Verdict(verdict));
                }
                Output::Call(call) => facts.push_back(Input::Done(match &call.work {
                    HostWork::Apply(apply) => {
                        run.applied = apply.range().unwrap().last();
                        CallDone::applied(call.id, run.applied, None)
                    }
                    HostWork::StoreHandovers(_) => CallDone { id: call.id, result: Ok(HostReply::HandoversStored) },
                    other => panic!("{other:?}"),
                })),
                Output::Event(Event::Banned { peer, .. }) => run.banned.push(peer),
                Output::Wait(deadline) => break deadline,
                _ => {}
            }
        };
        if facts.is_empty() {
            if run.applied == chain.tip_height() && !run.banned.is_empty() {
                return run;
            }
            now = deadline.expect("it waits for something").max(now);
            facts.push_back(Input::Timeout);
        }
    }
    panic!("it never caught up: {:?}, {:?}", run.applied, run.banned);
}

fn made() -> Value {
    let chain = chain();
    let tip = chain.tip_height();
    let run = run(&chain);
    assert_eq!(run.banned, [PeerId::from_bytes([LIAR; 32])]);
    let segments = parts(&chain).into_iter().map(|part| {
        json!({
            "first": part.range.first().get(), "last": part.range.last().get(), "epoch": part.epoch.get(),
            "certified": part.certified, "segment": hex(&part.segment), "audit": hex(&part.audit),
        })
    });
    let payloads = (1..=tip.get()).map(|height| hex(&chain.payload(Height::new(height)).unwrap()));
    let handovers =
        chain.handovers().iter().map(|link| json!({ "ended": link.ended.get(), "handover": hex(&link.bytes) }));
    let keys: [&[u8]; 3] = [b"", b"balance/alice", &[0xff; 40]];
    let codes: BTreeMap<&str, BTreeMap<&str, u16>> =
        TABLE.iter().map(|(kind, codes)| (*kind, codes.iter().map(|(code, name)| (*name, *code)).collect())).collect();
    json!({
        "genesis": genesis_file(&chain),
        "chainId": hex(chain.genesis().chain_id().as_bytes()),
        "head": { "height": tip.get(), "id": hex(chain.id(tip).unwrap().as_bytes()) },
        "segments": segments.collect::<Vec<_>>(),
        "payloads": payloads.collect::<Vec<_>>(),
        "handovers": handovers.collect::<Vec<_>>(),
        "tip": hex(&chain.tip(tip).unwrap()),
        "messages": run.messages.iter().map(|(request, answer)| json!({ "request": request, "answer": answer })).collect::<Vec<_>>(),
        "jobs": run.jobs.iter().map(|(job, verdict)| json!({ "job": job, "verdict": verdict })).collect::<Vec<_>>(),
        "keys": keys.iter().map(|key| json!({ "key": hex(key), "hash": hex(key_hash(key).as_bytes()) })).collect::<Vec<_>>(),
        "codes": codes,
    })
}

#[test]
fn the_vectors_are_what_the_core_comes_to() {
    let text = format!("{:#}\n", made());
    if std::env::var_os("HS2_BLESS").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    let committed = std::fs::read_to_string(FILE).unwrap();
    assert!(
        committed == text,
        "js/test/vectors.json is not what the core comes to: HS2_BLESS=1 cargo test -p hotstuff2-sync-wasm \
         --all-features --test vectors"
    );
}

#[test]
fn a_verifier_comes_to_the_same_whether_or_not_it_knows_the_epoch() {
    let chain = chain();
    let trusted = Trusted::new(&genesis_file(&chain), None, true, hotstuff2_sync::time::UnixMillis::default()).unwrap();
    let mut verifier = Verifier::new(&trusted);
    let (mut held, mut false_ones) = (0, 0);
    for (job, verdict) in run(&chain).jobs {
        let bytes: Vec<u8> =
            (0..job.len()).step_by(2).map(|at| u8::from_str_radix(&job[at..at + 2], 16).unwrap()).collect();
        assert_eq!(hex(&verifier.run(&bytes).unwrap()), verdict);
        match Job::decode(&bytes).unwrap().run(&chain.chain()).outcome() {
            Ok(_) => held += 1,
            Err(CheckError::False(_)) => false_ones += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(held > 3 && false_ones > 0, "{held} held, {false_ones} were false");
    assert_eq!(verifier.run(&[1, 2, 3]), None);
}
