//! What one peer can make a sync wait for: one that says nothing, breaks its streams or closes its connection, among others
//! that are good. Whatever it was asked for, and whenever it falls silent, the sync takes less than a second longer than
//! without it.

use std::time::Duration;

use hotstuff2_sync::calls::Start;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::PeerEvent;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Reply, StateHost, World};

/// What one peer among good ones costs less than.
const A_HEDGE: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Kinds of questions, by what they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Status,
    Tip,
    Handovers,
    Segment,
    Bodies,
    State,
    Follow,
    AllButStatus,
    Anything,
}

impl Asked {
    const ALL: [Self; 9] = [
        Self::Status,
        Self::Tip,
        Self::Handovers,
        Self::Segment,
        Self::Bodies,
        Self::State,
        Self::Follow,
        Self::AllButStatus,
        Self::Anything,
    ];

    fn is(self, request: &Request) -> bool {
        match self {
            Self::Status => matches!(request, Request::Status),
            Self::Tip => matches!(request, Request::Tip),
            Self::Handovers => matches!(request, Request::Handovers { .. }),
            Self::Segment => matches!(request, Request::Segment { .. }),
            Self::Bodies => matches!(request, Request::Bodies { .. }),
            Self::State => matches!(request, Request::State { .. }),
            Self::Follow => matches!(request, Request::Follow { .. }),
            Self::AllButStatus => !matches!(request, Request::Status),
            Self::Anything => true,
        }
    }
}

/// What becomes of such a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No answer ever comes, or never the end of one.
    Silent,
    /// The stream breaks.
    Breaks,
    /// The first is lost, and all others are answered.
    LosesOne,
}

/// A peer that answers `honest`, so many questions of a kind; the others of the kind meet its fault.
struct Faulty {
    peer: Honest,
    asked: Asked,
    fault: Fault,
    answers: u32,
}

impl Behaviour for Faulty {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        if !self.asked.is(request) || self.answers > 0 {
            self.answers -= u32::from(self.asked.is(request));
            return self.peer.reply(request, chain);
        }
        match self.fault {
            Fault::Silent => Reply::Never,
            Fault::Breaks => Reply::Broken(Duration::from_millis(3)),
            Fault::LosesOne => {
                self.answers = u32::MAX;
                Reply::Never
            }
        }
    }

    fn reply_at(&mut self, _: Instant, request: &Request, chain: &TestChain) -> Reply {
        self.reply(request, chain)
    }
}

/// The peers of a world: good ones, and perhaps one more.
struct Case<'a> {
    chain: &'a TestChain,
    strategy: SyncStrategyType,
    good: Vec<Honest>,
    bad: Option<(u8, Faulty)>,
    /// When that one's connection ends, and when it is back.
    gone: Option<(Duration, Duration)>,
}

impl Case<'_> {
    /// Virtual time until the sync says that it is there.
    fn took(self) -> Duration {
        let chain = self.chain.clone();
        let config = SyncConfig { default_strategy: self.strategy, ..SyncConfig::default() };
        let stages_state = self.strategy == SyncStrategyType::Fast;
        let host = StateHost::new(chain.chain());
        let start = Start { stages_state, ..chain.start() };
        let mut world = World::from(chain, config, start).unwrap();
        if stages_state {
            world.set_host(host);
        }
        if let Some((name, bad)) = self.bad {
            let peer = world.join(name, bad);
            if let Some((from, to)) = self.gone {
                world.schedule(Instant::ZERO.after(from), PeerEvent::Disconnected { peer });
                world.schedule(Instant::ZERO.after(to), PeerEvent::Connected { peer, group: name.into() });
            }
        }
        for (name, good) in (10..).zip(self.good) {
            world.join(name, good);
        }
        world.start();
        assert!(world.run_to_tip(MINUTE * 10), "{:#?} {:#?}", world.events, world.machine.progress());
        assert_eq!(world.bans, [], "nobody said anything false");
        world.now().since(Instant::ZERO)
    }
}

fn blocks() -> TestChain {
    TestChain::with_payloads(ChainSpec { blocks: 3000, epochs: 3, ..ChainSpec::default() }, 1024, None).unwrap()
}

fn ledger() -> TestChain {
    let spec = ChainSpec { blocks: 1500, epochs: 3, snapshot_interval: 500, ..ChainSpec::default() };
    TestChain::with_ledger(spec, 3000, 100).unwrap()
}

fn good(latency: u64) -> Honest {
    Honest { latency: Duration::from_millis(latency), rate: 10_000_000, ..Honest::default() }
}

/// The chains, strategies and lines that are tried.
fn worlds() -> Vec<(TestChain, SyncStrategyType, Vec<Honest>)> {
    use SyncStrategyType::{Auto, Fast, Parallel};
    let (blocks, ledger) = (blocks(), ledger());
    vec![
        (blocks.clone(), Parallel, vec![good(5); 3]),
        (blocks.clone(), Auto, vec![good(40), good(80)]),
        (blocks, Parallel, vec![good(5)]),
        (ledger.clone(), Fast, vec![good(5); 3]),
        (ledger, Fast, vec![good(40)]),
    ]
}

#[test]
fn one_silent_peer_among_good_ones_costs_no_second() {
    let mut costs = Vec::new();
    for (number, (chain, strategy, peers)) in worlds().into_iter().enumerate() {
        let chain = &chain;
        let without = Case { chain, strategy, good: peers.clone(), bad: None, gone: None }.took();
        for asked in Asked::ALL {
            for fault in [Fault::Silent, Fault::Breaks, Fault::LosesOne] {
                for (answers, latency, name) in [(0, 5, 1), (0, 1, 99), (1, 1, 1), (3, 1, 1)] {
                    let bad = Faulty { peer: good(latency), asked, fault, answers };
                    let took = Case { chain, strategy, good: peers.clone(), bad: Some((name, bad)), gone: None }.took();
                    let cost = took.saturating_sub(without);
                    if cost >= A_HEDGE {
                        costs.push(format!(
                            "world {number}, {asked:?} {fault:?} after {answers} answers, named {name}: {took:?} \
                             instead of {without:?}"
                        ));
                    }
                }
            }
        }
    }
    assert!(costs.is_empty(), "{} cases: {costs:#?}", costs.len());
}

#[test]
fn a_connection_that_ends_under_questions_costs_no_second() {
    for (number, (chain, strategy, peers)) in worlds().into_iter().enumerate() {
        let chain = &chain;
        let without = Case { chain, strategy, good: peers.clone(), bad: None, gone: None }.took();
        for from in (1..200).step_by(9).map(Duration::from_millis) {
            for pause in [5, 300].map(Duration::from_millis) {
                // It answers all until it is gone, or says nothing at all, and is the best of them.
                for answers in [u32::MAX, 0] {
                    let bad = Faulty { peer: good(1), asked: Asked::Anything, fault: Fault::Silent, answers };
                    let gone = Some((from, from + pause));
                    let took = Case { chain, strategy, good: peers.clone(), bad: Some((1, bad)), gone }.took();
                    assert!(
                        took < without + A_HEDGE,
                        "world {number}, {from:?} {pause:?} {answers}: {took:?} {without:?}"
                    );
                }
            }
        }
    }
}

/// Blocks above these come one every so often.
const GROWS_FROM: u64 = 300;
const GROWS_EVERY: Duration = Duration::from_secs(7);

/// The tip at a time.
fn tip_at(now: Instant) -> Height {
    let grown = now.since(Instant::ZERO).as_micros() / GROWS_EVERY.as_micros();
    Height::new(GROWS_FROM + u64::try_from(grown).unwrap())
}

/// A peer of a chain that grows.
struct Growing(Honest);

impl Behaviour for Growing {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        self.reply_at(Instant::ZERO, request, chain)
    }

    fn reply_at(&mut self, now: Instant, request: &Request, chain: &TestChain) -> Reply {
        // A long poll is answered when there is something to tell.
        let mut told = now;
        while let Request::Follow { after, .. } = request
            && *after >= tip_at(told)
        {
            told = told.after(Duration::from_millis(1));
        }
        match (Honest { tip: tip_at(told), ..self.0 }).reply(request, chain) {
            Reply::After(after, bytes) => Reply::After(told.since(now) + after, bytes),
            other => other,
        }
    }
}

/// The same, until it meets its fault.
struct Failing(Growing, Asked, Instant);

impl Behaviour for Failing {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        self.reply_at(Instant::ZERO, request, chain)
    }

    fn reply_at(&mut self, now: Instant, request: &Request, chain: &TestChain) -> Reply {
        match self.0.reply_at(now, request, chain) {
            Reply::After(after, _) if now.after(after) >= self.2 && self.1.is(request) => Reply::Never,
            other => other,
        }
    }
}

#[test]
fn one_silent_peer_hides_no_new_block_for_a_second() {
    let chain = TestChain::new(ChainSpec { blocks: GROWS_FROM + 10, epochs: 1, ..ChainSpec::default() }).unwrap();
    for goods in 1..=3u8 {
        for asked in [Asked::Follow, Asked::AllButStatus, Asked::Anything] {
            for fails_at in [0, 1, 10_000, 14_005, 30_000] {
                let mut world = World::new(chain.clone(), SyncConfig::default()).unwrap();
                let fails_at = Instant::from_micros(fails_at * 1000);
                let bad: PeerId = world.join(1, Failing(Growing(good(1)), asked, fails_at));
                for name in 10..10 + goods {
                    world.join(name, Growing(good(20)));
                }
                world.start();
                for height in GROWS_FROM + 1..=GROWS_FROM + 10 {
                    let comes = Instant::ZERO.after(GROWS_EVERY * u32::try_from(height - GROWS_FROM).unwrap());
                    let told = world.run_until(MINUTE, |world| world.machine.applied() >= Height::new(height));
                    let late = world.now().since(comes);
                    assert!(
                        told && late < A_HEDGE,
                        "{goods} good ones, {asked:?} from {fails_at:?}: block {height} came {late:?} late"
                    );
                }
                assert!(!world.is_banned(bad), "silence is no proof of anything");
            }
        }
    }
}

#[test]
fn the_quick_alone_do_not_say_that_there_is_no_more() {
    // One that is behind answers at once; two that are not take seconds for each answer, be it because of their line or of
    // ours. Nobody is given up for that.
    for seconds in [1, 2, 3] {
        let mut world = World::new(blocks(), SyncConfig::default()).unwrap();
        world.join(1, Honest { tip: Height::new(100), ..good(1) });
        for name in 2..=3 {
            world.join(name, good(seconds * 1000));
        }
        world.start();
        assert!(world.run_until(MINUTE, |world| world.reached().is_some()), "{:#?}", world.events);
        assert_eq!(world.reached(), Some(world.source.tip_height()), "{seconds} s");
    }
}
