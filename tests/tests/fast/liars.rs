//! Peers that lie about a state, or don't have it.

use std::time::Duration;

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Event, StallReason};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::wire::{AdvertisedSnapshots, Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::TestChain;
use hotstuff2_sync_testkit::world::{Behaviour, Honest, Reply, Scripted, World, status_answer};

use crate::{MINUTE, assert_arrived, chain, fast, honest, world_with};

/// An answer of `honest` to a request for leaves, bent.
fn bends(mut bend: impl FnMut(&mut Vec<u8>) + 'static) -> impl Behaviour {
    Scripted(move |request: &Request, chain: &TestChain, _| {
        let reply = honest().reply(request, chain);
        match (request, reply) {
            (Request::State { .. }, Reply::After(after, answer)) => {
                let mut answer = answer.to_vec();
                bend(&mut answer);
                Reply::After(after, answer.into())
            }
            (_, reply) => reply,
        }
    })
}

#[test]
fn a_liar_about_the_state_is_banned_at_once_and_the_others_finish() {
    let lies: [fn(&mut Vec<u8>); 3] = [
        |answer| {
            if let Some(last) = answer.last_mut() {
                *last ^= 1;
            }
        },
        |answer| {
            answer.pop();
        },
        |answer| answer.extend_from_slice(&[1, 2, 3]),
    ];
    for lie in lies {
        let (mut world, host) = world_with(chain(1100, 4000), fast());
        let liar = world.join(9, bends(lie));
        world.join(1, honest());
        world.start();
        assert_arrived(&mut world, &host, 1000);
        let asked: Vec<_> = world.requests.iter().filter(|(_, peer, _)| *peer == liar).collect();
        let subtrees = asked.iter().filter(|(_, _, request)| matches!(request, Request::State { .. })).count();
        assert!(world.is_banned(liar) || subtrees == 0, "one answer is enough");
        assert!(subtrees <= 2, "{subtrees} questions went to the liar before its first answer was seen");
        assert_eq!(world.bans.len(), usize::from(subtrees > 0));
    }
}

#[test]
fn chunk_of_another_height_is_found_on_arrival() {
    // It answers for the state before, as if that were the one that was asked for: the shape is right, the hash is not.
    let (mut world, host) = world_with(chain(1100, 2000), fast());
    let stale = Scripted(|request: &Request, chain: &TestChain, reply| match request {
        Request::State { form, items, max_bytes, .. } => {
            let old = chain.state(Height::new(500)).unwrap();
            let items = items
                .iter()
                .map(|item| {
                    let (hash, _) = hotstuff2_sync::state::subtree(old, &item.prefix).unwrap();
                    hotstuff2_sync::state::StateItem { hash, ..*item }
                })
                .collect();
            let request = Request::State { height: Height::new(500), form: *form, items, max_bytes: *max_bytes };
            honest().reply(&request, chain)
        }
        Request::Status => honest().reply(request, chain),
        _ => reply,
    });
    let liar = world.join(9, stale);
    world.start();
    assert!(world.run_until(MINUTE, |world| world.is_banned(liar)), "{:#?}", world.events);
    world.join(1, honest());
    assert_arrived(&mut world, &host, 1000);
}

/// The words with which it says what nobody gives.
fn said(world: &mut World) -> String {
    let words = |world: &World| {
        world.events.iter().find_map(|(_, event)| match event {
            Event::Stalled { reason, .. } => Some(reason.to_string()),
            _ => None,
        })
    };
    assert!(world.run_until(MINUTE, |world| words(world).is_some()), "{:#?}", world.events);
    words(world).unwrap()
}

#[test]
fn nobody_has_a_snapshot() {
    let (mut world, host) = world_with(chain(1100, 100), fast());
    world.join(1, Honest { states: None, ..honest() });
    world.start();
    let words = said(&mut world);
    assert!(words.starts_with("no peer serves a state above 0 (of 1 peer, none serves any)"), "{words}");
    let (above, newest) = (Height::new(9), Some(Height::new(12)));
    let words = StallReason::NoSnapshot { above, newest, peers: 2 }.to_string();
    assert!(words.contains("above 9 (of 2 peers, the newest is that of block 12)"), "{words}");
    world.join(2, honest());
    assert_arrived(&mut world, &host, 1000);
}

#[test]
fn nobody_gives_what_is_claimed() {
    // They say that they serve states, and have none; then one comes that has.
    let (mut world, host) = world_with(chain(1100, 100), fast());
    for name in 1..=3 {
        world.join(
            name,
            Scripted(|request: &Request, chain: &TestChain, _| match request {
                Request::State { .. } => Reply::After(Duration::from_millis(5), encode_refusal(Refusal::NotAvailable)),
                _ => honest().reply(request, chain),
            }),
        );
    }
    world.start();
    let stalled = |world: &World| world.events.iter().any(|(_, event)| matches!(event, Event::Stalled { .. }));
    assert!(world.run_until(MINUTE, stalled), "{:#?}", world.events);
    world.join(7, honest());
    assert_arrived(&mut world, &host, 1000);
    assert!(world.bans.is_empty());
}

#[test]
fn a_peer_with_a_new_offer_each_time_holds_nobody_up() {
    // It offers the state of another block whenever it is asked, and gives none: by silence, or by saying so.
    for silent in [true, false] {
        let (mut world, host) = world_with(chain(1700, 2000), fast());
        let mut asked = 0;
        world.join(
            9,
            Scripted(move |request: &Request, chain: &TestChain, reply| match request {
                Request::Status => {
                    asked += 1;
                    let status = |last| {
                        chain
                            .view(Height::new(1), Height::MAX)
                            .with_states(HeightRange::new(Height::ZERO, last))
                            .status()
                    };
                    let height = Height::new(1600 + asked % 100);
                    let mut status = status(Height::MAX);
                    status.snapshots =
                        status.snapshots.map(|claim| AdvertisedSnapshots { oldest: height, newest: height, ..claim });
                    Reply::After(Duration::from_millis(2), status_answer(&status))
                }
                Request::State { .. } if silent => Reply::Never,
                Request::State { .. } => Reply::After(Duration::from_millis(2), encode_refusal(Refusal::NotAvailable)),
                _ => reply,
            }),
        );
        world.join(1, honest());
        world.start();
        assert_arrived(&mut world, &host, 1500);
        assert!(world.bans.is_empty());
        let lost = world.events.iter().filter(|(_, event)| matches!(event, Event::StateLost { .. })).count();
        assert!((1..=2).contains(&lost), "silent: {silent}, {lost} targets were tried in vain: {:#?}", world.events);
    }
}
