//! At the tip: who is asked to tell of the next block, and how many at a time.

use std::time::Duration;

use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour as _, Honest, Reply, Scripted, World};

const MINUTE: Duration = Duration::from_secs(60);

fn world(blocks: u64) -> World {
    let chain = TestChain::new(ChainSpec { blocks, epochs: 1, ..ChainSpec::default() }).unwrap();
    World::new(chain, SyncConfig::default()).unwrap()
}

fn up_to(tip: u64) -> Honest {
    Honest { tip: Height::new(tip), ..Honest::default() }
}

/// Who was asked to be told what comes after `height`.
fn followed(world: &World, height: u64) -> Vec<PeerId> {
    let follows = world
        .requests
        .iter()
        .filter(|(_, _, request)| matches!(request, Request::Follow { after, .. } if *after == Height::new(height)));
    follows.map(|&(_, peer, _)| peer).collect()
}

#[test]
fn one_peer_is_followed_while_nobody_claims_more() {
    let mut world = world(300);
    for name in 1..=4 {
        world.join(name, Honest::default());
    }
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    world.run_until(Duration::from_secs(8), |_| false);
    assert_eq!(followed(&world, 300).len(), 1, "it holds the question for ten seconds");
}

#[test]
fn a_second_one_is_followed_where_others_claim_more() {
    // The first that is followed says nothing. Then others have more, and no proof of it but by following.
    let mut world = world(303);
    let silent = world.join(
        1,
        Scripted(|request: &Request, chain: &TestChain, _| match request {
            Request::Follow { .. } => Reply::Never,
            _ => up_to(300).reply(request, chain),
        }),
    );
    world.start();
    let asked = |world: &World| !followed(world, 300).is_empty();
    assert!(world.run_until(MINUTE, asked), "{:?}", world.events);
    let without_tip = |peer: Honest| {
        Scripted(move |request: &Request, chain: &TestChain, _| match request {
            Request::Tip => Reply::Never,
            _ => Honest { ..peer }.reply(request, chain),
        })
    };
    // It lacks what comes next, so that it can't tell of it.
    let pruned = world.join(2, without_tip(Honest { earliest: Height::new(302), ..Honest::default() }));
    let ahead = world.join(3, without_tip(Honest::default()));
    // One thing at a time: after the tip that it keeps back.
    let done = world.run_until(Duration::from_secs(8), |world| world.machine.applied() == Height::new(303));
    assert!(done, "{:?}", followed(&world, 300));
    assert_eq!(followed(&world, 300), [silent, ahead], "{pruned} can't tell");
}

#[test]
fn a_tip_is_asked_for_once_at_a_time() {
    let mut world = world(300);
    world.join(
        1,
        Scripted(|request: &Request, _: &TestChain, honest| match request {
            Request::Tip | Request::Follow { .. } => Reply::Never,
            _ => honest,
        }),
    );
    world.start();
    world.run_until(Duration::from_secs(4), |_| false);
    let tips = world.requests.iter().filter(|(_, _, request)| matches!(request, Request::Tip)).count();
    assert_eq!(tips, 1);
}
