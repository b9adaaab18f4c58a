//! The border of the machine: calls into the host, events that nobody hears, and numbers that never change.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::calls::{
    Apply, CallDone, HistoryPiece, HostCall, HostError, HostReply, HostWork, SnapshotBase, Start,
};
use hotstuff2_sync::codes::TABLE;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{CallId, Height, PeerId};
use hotstuff2_sync::machine::{Input, Machine, Output, PeerEvent};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::sim::{CachedChain, Source as _};
use hotstuff2_sync_testkit::world::{Applied, Applier, Honest, StateHost, World, carry_out};

const MINUTE: Duration = Duration::from_secs(60);
/// Accounts of the ledger.
const ACCOUNTS: u32 = 3000;

fn with_state(blocks: u64) -> TestChain {
    let spec = ChainSpec { blocks, epochs: 40, snapshot_interval: 100, ..ChainSpec::default() };
    TestChain::with_ledger(spec, ACCOUNTS, 100).unwrap()
}

fn fast() -> SyncConfig {
    SyncConfig { default_strategy: SyncStrategyType::Fast, ..SyncConfig::default() }
}

/// What a host knows of the calls that are out.
#[derive(Default)]
struct Counted {
    out: BTreeMap<&'static str, BTreeSet<CallId>>,
    most: BTreeMap<&'static str, usize>,
    most_of_all: usize,
}

/// A machine, three honest peers, and a host that hears no event and answers a call once `delay` others are out or there is
/// nothing else to do.
fn run_deaf(chain: &TestChain, config: SyncConfig, delay: usize) -> (Machine, StateHost, Counted) {
    let start = Start { stages_state: true, ..chain.start() };
    let mut machine = Machine::new(config, start, 7, Instant::ZERO).unwrap();
    let genesis = CachedChain::new(chain.clone(), Some(ACCOUNTS)).genesis_state().expect("a chain with a state");
    let (native, mut host) = (chain.chain(), StateHost::with_state(chain.chain(), genesis, Height::ZERO));
    let mut now = Instant::ZERO;
    let (mut counted, mut calls) = (Counted::default(), Vec::<HostCall>::new());
    machine.handle(now, Input::Start(None));
    for number in 1..=3 {
        let peer = PeerId::from_bytes([number; 32]);
        machine.handle(now, Input::Peer(PeerEvent::Connected { peer, group: number.into() }));
    }
    for _ in 0..200_000 {
        let mut inputs = Vec::new();
        let deadline = loop {
            match machine.poll_output() {
                Output::Request { id, request, .. } => inputs.push(Input::Response(id, Ok(chain.respond(&request)))),
                Output::Verify(job) => inputs.push(Input::Verdict(job.run(&native))),
                Output::Call(call) => {
                    let out = counted.out.entry(call.work.name()).or_default();
                    out.insert(call.id);
                    assert!(out.len() <= call.work.most(), "{} {}", out.len(), call.work.name());
                    let most = counted.most.entry(call.work.name()).or_default();
                    *most = out.len().max(*most);
                    let all = counted.out.values().map(BTreeSet::len).sum();
                    counted.most_of_all = counted.most_of_all.max(all);
                    if !calls.iter().any(|known| known.id == call.id) {
                        calls.push(call);
                    }
                }
                Output::Wait(deadline) => break deadline,
                // Events are dropped unread.
                _ => {}
            }
        };
        if machine.reached() == Some(chain.tip_height()) && calls.is_empty() {
            return (machine, host, counted);
        }
        if calls.len() > delay || (inputs.is_empty() && !calls.is_empty()) {
            let call = calls.remove(0);
            counted.out.entry(call.work.name()).or_default().remove(&call.id);
            inputs.extend(carry_out(&mut host, &call).map(|(_, done)| Input::Done(done)));
        }
        now = match deadline {
            Some(at) if inputs.is_empty() => at.max(now),
            _ => now.after(Duration::from_millis(1)),
        };
        // A follower's question has no answer at the tip: its time passes.
        let asked = inputs.is_empty();
        inputs.into_iter().for_each(|input| machine.handle(now, input));
        if asked {
            machine.handle(now, Input::Timeout);
        }
    }
    panic!("it doesn't arrive: {:?}", machine.progress());
}

#[test]
fn a_host_that_drops_all_events_loses_nothing() {
    let chain = with_state(350);
    for strategy in [SyncStrategyType::Fast, SyncStrategyType::Parallel, SyncStrategyType::Incremental] {
        let config = SyncConfig { default_strategy: strategy, strategy_switch_threshold: 64, ..SyncConfig::default() };
        let (machine, host, _) = run_deaf(&chain, config, 0);
        assert_eq!(machine.applied(), chain.tip_height(), "{strategy}");
        let held = host.held.borrow();
        assert_eq!(held.activated.is_some(), strategy == SyncStrategyType::Fast, "{strategy}");
        assert_eq!(held.applied, chain.tip_height(), "{strategy}");
    }
}

#[test]
fn no_more_calls_are_out_than_their_documentation_says() {
    let chain = with_state(350);
    let mut seen = BTreeSet::new();
    for (config, delay) in [(fast(), 64), (fast(), 0), (SyncConfig::default(), 64), (SyncConfig::default(), 3)] {
        let (.., counted) = run_deaf(&chain, config, delay);
        assert!(counted.most_of_all <= HostCall::MAX_CALLS);
        seen.extend(counted.most.into_keys());
    }
    let all: BTreeSet<&str> = ["apply", "store_handovers", "survey", "stage", "activate"].into();
    assert_eq!(seen, all, "calls of every kind that these worlds make");
    assert_eq!(HostCall::MAX_CALLS, 16, "as the documentation of `MAX_CALLS` says");
}

/// Stores nothing of a kind until it is let go.
struct Stuck {
    ids: Rc<RefCell<Vec<u64>>>,
}

impl Applier for Stuck {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        self.ids.borrow_mut().push(apply.range()?.first().get());
        None
    }
}

#[test]
fn a_reply_that_does_not_fit_moves_nothing() {
    let chain = TestChain::new(ChainSpec { blocks: 300, ..ChainSpec::default() }).unwrap();
    let mut world = World::new(chain, SyncConfig::default()).unwrap();
    let ids = Rc::default();
    world.set_host(Stuck { ids: Rc::clone(&ids) });
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_until(MINUTE, |world| world.calls.iter().any(|(_, name)| *name == "apply")));
    let id = world.calls.iter().find(|(_, name)| *name == "apply").unwrap().0;
    let replies = [
        HostReply::HandoversStored,
        HostReply::Staged,
        HostReply::Surveyed(Vec::new()),
        HostReply::Activated { history_gap: None },
        HostReply::RootMismatch { found: hotstuff2_sync::hash::Hash::ZERO },
        HostReply::HistoryAdded { history_gap: None },
    ];
    for (number, reply) in (1..).zip(replies) {
        let before = world.machine.progress();
        world.tell(Input::Done(CallDone { id, result: Ok(reply) }));
        let after = world.machine.progress();
        assert_eq!((after.current, after.strays), (before.current, before.strays + 1), "{number}");
        assert_eq!(after.buffered_bytes, before.buffered_bytes, "{number}: the call is still out");
    }
    let unknown = CallDone::applied(CallId::from_raw(1 << 40), Height::new(300), None);
    world.tell(Input::Done(unknown));
    assert_eq!(world.machine.applied(), Height::ZERO);
    // How far it came counts, also where it failed on the way.
    world.tell(Input::Done(CallDone::applied(id, Height::new(5), Some(HostError::Transient))));
    assert_eq!(world.machine.applied(), Height::new(5));
}

#[test]
fn blocks_of_a_call_are_those_of_the_chain() {
    let chain = with_state(350);
    let (native, parts) = (chain.chain(), chain.parts().to_vec());
    let last = chain.tip_height();
    let apply = Apply { parts, tip: None, target: last };
    let blocks: Vec<_> = apply.blocks(&native, Height::ZERO).map(Result::unwrap).collect();
    assert_eq!(blocks.len() as u64, last.get());
    for (height, block) in (1..).map(Height::new).zip(&blocks) {
        let header = chain.header(height).unwrap();
        assert_eq!((block.height, block.id), (height, header.id()));
        assert_eq!((block.timestamp, block.state_root), (header.timestamp, header.state_root));
    }
    let payloads: usize = blocks.iter().map(|block| block.payload.len()).sum();
    assert_eq!(payloads as u64, apply.payload_bytes());
    let above: Vec<_> = apply.blocks(&native, Height::new(340)).map(|block| block.unwrap().height.get()).collect();
    assert_eq!(above, (341..=350).collect::<Vec<_>>());
    // What the disk or bad memory cut off is missed.
    let mut cut = apply.parts[0].clone();
    let whole = cut.frames[0].raw.clone();
    cut.frames[0].raw = whole.slice(..whole.len() - 1);
    assert!(cut.blocks(&native, Height::ZERO).any(|block| block.is_err()));
}

#[test]
fn numbers_of_what_leaves_are_those_of_the_page() {
    let page = include_str!("../../docs/codes.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `0x")?.split('|');
        let number = u16::from_str_radix(cells.next()?.trim().trim_end_matches('`'), 16).ok()?;
        let mut word = || Some(cells.next()?.trim().trim_matches('`').to_owned());
        Some((number, word()?, word()?))
    });
    let rows: Vec<(u16, String, String)> = rows.collect();
    let table = TABLE.iter().flat_map(|(kind, codes)| codes.iter().map(move |&(code, name)| (code, *kind, name)));
    let table: Vec<_> = table.map(|(code, kind, name)| (code, kind.to_owned(), name.to_owned())).collect();
    assert_eq!(rows, table, "docs/codes.md lists every number once; a number is never changed, and new ones come last");
    let numbers: BTreeSet<u16> = table.iter().map(|(code, ..)| *code).collect();
    assert_eq!(numbers.len(), table.len(), "no number twice");
    for (kind, codes) in TABLE {
        let high: BTreeSet<u16> = codes.iter().map(|(code, _)| code >> 8).collect();
        assert_eq!(high.len(), 1, "{kind} has a high byte of its own");
    }
    let names: BTreeMap<(&str, &str), u16> =
        table.iter().map(|(code, kind, name)| ((kind.as_str(), name.as_str()), *code)).collect();
    assert_eq!(names.len(), table.len(), "no name twice");
    assert_eq!(HostError::NoSpace.code(), names[&("HostError", "no_space")]);
}

#[test]
fn what_a_host_holds_may_go_to_any_thread() {
    fn held<T: Send + Sync + Clone + 'static>() {}
    held::<HostCall>();
    held::<HostWork>();
    held::<HistoryPiece>();
    held::<SnapshotBase>();
    held::<CallDone>();
    held::<Output>();
    held::<Input>();
}

#[test]
fn a_drain_ends_at_the_end_of_the_clock() {
    let chain = TestChain::new(ChainSpec { blocks: 100, epochs: 1, ..ChainSpec::default() }).unwrap();
    let mut machine = Machine::new(SyncConfig::default(), chain.start(), 7, Instant::ZERO).unwrap();
    let peer = PeerId::from_bytes([1; 32]);
    for input in [Input::Start(None), Input::Peer(PeerEvent::Connected { peer, group: 1 }), Input::Timeout] {
        machine.handle(Instant::MAX, input);
        let outputs = (0..1000).map(|_| machine.poll_output());
        assert!(outputs.into_iter().any(|output| matches!(output, Output::Wait(_))), "a drain without an end");
    }
}
