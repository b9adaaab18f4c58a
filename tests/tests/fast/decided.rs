//! An engine that decides blocks while a state is fetched: whoever is first at a height, nothing is lost and nothing twice.

use std::time::Duration;

use hotstuff2_sync::calls::{Apply, HostError, HostReply, HostWork};
use hotstuff2_sync::config::SyncStrategyType;
use hotstuff2_sync::ids::{DecidedId, Height};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::world::{Applied, Applier, Honest, StateHost, World};

use crate::decided_by_state::{one, world_of};
use crate::{MINUTE, chain, honest};

const SHORT: Duration = Duration::from_millis(2);

/// A host that takes its time to put a state in place. It is given only blocks that continue what it has, and no state of before
/// them.
struct Hashing(StateHost);

impl Applier for Hashing {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        let through = self.0.held.borrow().applied;
        let range = apply.range().unwrap();
        assert!(range.first() <= through.next(), "{range} doesn't continue {through}");
        self.0.apply(apply)
    }

    fn state(&mut self, work: &HostWork) -> Option<(Duration, Result<HostReply, HostError>)> {
        let applied = self.0.held.borrow().applied;
        if let HostWork::Activate(base) = work {
            assert!(base.point.height > applied, "a state at {} though block {applied} is executed", base.point.height);
        }
        let (after, reply) = self.0.state(work)?;
        Some((if matches!(work, HostWork::Activate(_)) { SHORT * 40 } else { after }, reply))
    }
}

fn node(blocks: u64, accounts: u32) -> (World, StateHost) {
    let (mut world, host) = world_of(chain(blocks, accounts), accounts, SyncStrategyType::Fast);
    world.set_host(Hashing(host.clone()));
    (world, host)
}

/// The whole chain is applied on the right state, each block once and in order, and every submission is answered once.
fn assert_whole(world: &mut World, host: &StateHost, ids: &[DecidedId], what: &str) {
    assert!(world.run_to_tip(MINUTE * 10), "{what}: {:?} {:#?}", world.machine.waiting(), world.events.last());
    world.run_until(MINUTE, |world| ids.iter().all(|&id| world.answer(id).is_some()));
    let tip = world.source.tip_height();
    assert_eq!(host.held.borrow().applied, tip, "{what}");
    assert_eq!(Some(host.root()), world.source.header(tip).map(|header| header.state_root), "{what}");
    assert!(world.applied.is_sorted_by(|one, other| one < other), "{what}: {:?}", world.applied);
    assert_eq!(world.decided.len(), ids.len(), "{what}: each is answered once: {:?}", world.decided);
    assert_eq!(world.bans, [], "{what}");
    world.stop();
    assert_eq!(world.machine.progress().buffered_bytes, 0, "{what}: every reservation was given back");
}

fn is_walking(world: &World) -> bool {
    world.requests.iter().any(|(_, _, request)| matches!(request, Request::State { .. }))
}

#[test]
fn an_engine_that_passes_the_state_makes_it_needless() {
    let (mut world, host) = node(540, 20_000);
    world.join(1, Honest { rate: 20_000, ..honest() });
    world.start();
    assert!(world.run_until(MINUTE, is_walking));
    let mut ids = Vec::new();
    for height in 1..=510 {
        let id = world.decide(one(height));
        ids.push(id);
        assert!(world.run_until(MINUTE, |world| world.answer(id).is_some()), "{:?}", world.machine.waiting());
    }
    assert!(host.held.borrow().activated.is_none(), "the state of block 500 was overtaken");
    assert_whole(&mut world, &host, &ids, "overtaken");
    assert_eq!(world.applied.len(), 540, "every block was executed");
}

#[test]
fn blocks_decided_above_the_state_follow_it() {
    let (mut world, host) = node(600, 20_000);
    world.join(1, Honest { rate: 400_000, ..honest() });
    world.start();
    assert!(world.run_until(MINUTE, is_walking));
    // The first ones continue what is stored, the others what the state will bring.
    let ids: Vec<_> = (1..=20).chain(501..=540).map(|height| world.decide(one(height))).collect();
    assert_whole(&mut world, &host, &ids, "above the state");
    assert!(ids.iter().all(|&id| world.answer(id).is_some_and(|answer| answer.is_ok())), "{:?}", world.decided);
    assert_eq!(host.held.borrow().activated.as_ref().map(|base| base.point.height), Some(Height::new(500)));
}

#[test]
fn any_moment_of_a_decision_is_a_good_one() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let (mut world, host) = node(560, 3000);
        let rate = 50_000 + rng.below(2_000_000);
        for name in 1..=2 {
            world.join(name, Honest { rate, latency: Duration::from_millis(1 + rng.below(30)), ..honest() });
        }
        world.start();
        let (mut ids, mut next) = (Vec::new(), 1);
        world.run_until(Duration::from_millis(rng.below(600)), |_| false);
        while next < 550 {
            let from = world.machine.applied().get() + 1;
            next = if rng.below(8) == 0 { 1 + rng.below(550) } else { from.max(next) };
            next = next.min(560);
            ids.push(world.decide(one(next)));
            next += 1;
            let pause = if rng.below(10) == 0 { rng.below(60) } else { rng.below(3) };
            world.run_until(SHORT + Duration::from_millis(pause), |_| false);
        }
        assert_whole(&mut world, &host, &ids, &format!("seed {seed}"));
    }
}
