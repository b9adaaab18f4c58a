//! Tips: proven, confirmed, told, fresh or not.

use std::time::Duration;

use hotstuff2_sync::chain::native::PROFILE;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::{
    Freshness, LightCheckpoint, LightConfig, LightEvent, LightInput, LightStall, LightWay, NewLightError,
};
use hotstuff2_sync::time::{Instant, UnixMillis};
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::light::{Growing, LightWorld};
use hotstuff2_sync_testkit::world::Honest;

use super::{MINUTE, chain, config, world};

fn growing(from: u64) -> Growing {
    Growing { honest: Honest::default(), from: Height::new(from), every: Duration::from_millis(250) }
}

#[test]
fn a_tip_is_told_once_witnesses_have_confirmed_it() {
    let mut world = world(chain(100, 3), LightWay::OneByOne, 2);
    world.run(MINUTE);
    assert_eq!(world.told(), None, "one witness of two");
    let height = Height::new(100);
    assert_eq!(world.stalled(), Some(LightStall::Witnesses { height, have: 1, need: 2 }));
    assert_eq!(world.client.position().proven.map(|facts| facts.height), Some(height));
    world.join(3, Honest::default());
    assert!(world.run_to_tip(MINUTE));
    let told = world.told().unwrap();
    assert_eq!(Some(told.id), world.source.id(height));
    assert_eq!(told.state_root, world.source.header(height).map(|header| header.state_root));
    assert_eq!(world.client.position().witnesses, 2);
    assert_eq!(world.client.position().freshness, Freshness::Fresh);
    world.run(Duration::from_secs(1));
    assert_eq!(world.stalled(), None, "progress again");
}

#[test]
fn a_single_peer_is_enough_where_no_witness_is_wanted() {
    let config = LightConfig { witnesses: 0, ..LightConfig::default() };
    let mut world = LightWorld::new(chain(100, 3), config).unwrap();
    world.join(1, Honest::default());
    assert!(world.run_to_tip(MINUTE));
}

#[test]
fn a_growing_chain_is_followed_though_no_two_peers_stand_at_one_height() {
    let mut world = LightWorld::new(chain(400, 4), config(LightWay::Skipping)).unwrap();
    for (name, from) in [(1, 200), (2, 203), (3, 198), (4, 201)] {
        world.join(name, growing(from));
    }
    world.run(Duration::from_secs(30));
    let tips = world.events.iter().filter_map(|(at, event)| match event {
        LightEvent::Tip { block, .. } => Some((*at, *block)),
        _ => None,
    });
    let tips = tips.collect::<Vec<_>>();
    assert!(tips.len() >= 6, "{tips:?}");
    for (at, block) in &tips {
        assert_eq!(Some(block.id), world.source.id(block.height));
        let newest = growing(203).tip(*at).get();
        assert!(newest - block.height.get() <= 24, "{} of {newest}", block.height);
    }
    assert!(tips.windows(2).all(|pair| pair[0].1.height < pair[1].1.height));
    // The cell's seam at no height of this chain, the epochs' at 200 and 300, were passed.
    assert!(tips.last().unwrap().1.height > Height::new(300));
}

#[test]
fn an_old_tip_is_told_as_old() {
    let source = chain(60, 2);
    let wall = UnixMillis::new(LightWorld::wall_of(&source).get() + 3_600_000);
    let start = LightWorld::genesis(&source, None);
    let mut world = LightWorld::from(source, LightConfig::default(), start, wall).unwrap();
    for name in 1..=3 {
        world.join(name, Honest::default());
    }
    assert!(world.run_to_tip(MINUTE));
    world.run(MINUTE);
    let hour = Duration::from_secs(3600);
    assert!(matches!(world.client.position().freshness, Freshness::Old { age } if age > hour));
    assert!(matches!(world.stalled(), Some(LightStall::OldTip { age }) if age > hour));
}

#[test]
fn a_fresh_tip_becomes_old_when_nothing_follows() {
    let mut world = world(chain(60, 2), LightWay::Skipping, 3);
    assert!(world.run_to_tip(MINUTE));
    world.run(Duration::from_secs(590));
    assert_eq!((world.client.position().freshness, world.stalled()), (Freshness::Fresh, None));
    world.run(Duration::from_secs(20));
    assert!(matches!(world.client.position().freshness, Freshness::Old { .. }));
    assert!(matches!(world.stalled(), Some(LightStall::OldTip { .. })));
}

#[test]
fn the_next_visit_goes_on_from_a_checkpoint() {
    let source = chain(100, 5);
    let mut first = LightWorld::new(source.clone(), config(LightWay::OneByOne)).unwrap();
    for name in 1..=3 {
        first.join(name, Honest { tip: Height::new(70), ..Honest::default() });
    }
    assert!(first.run_until(MINUTE, |world| world.told().is_some()));
    let kept = LightCheckpoint::decode(&first.kept.last().unwrap().encode()).unwrap();
    assert_eq!(Some(&kept), first.client.checkpoint().as_ref());
    assert_eq!(kept.tip.height, Height::new(70));

    let period = Duration::from_secs(24 * 3600);
    let wall = LightWorld::wall_of(&source);
    let start = kept.clone().into_start(PROFILE, Some(period));
    let mut second = LightWorld::from(source.clone(), config(LightWay::OneByOne), start, wall).unwrap();
    assert_eq!(second.client.position().tip.map(|(facts, _)| facts), Some(kept.tip));
    for name in 1..=3 {
        second.join(name, Honest::default());
    }
    assert!(second.run_to_tip(MINUTE));
    let asked = second.requests.iter().filter_map(|(_, _, request)| match request {
        Request::Handovers { from, .. } => Some(from.get()),
        _ => None,
    });
    assert_eq!(asked.min(), Some(3), "epochs before are known");

    // A visit after the trusting period begins with an error that says what to do.
    let late = UnixMillis::new(wall.get() + 2 * 24 * 3_600_000);
    let refused = LightWorld::from(source, LightConfig::default(), kept.into_start(PROFILE, Some(period)), late);
    assert!(matches!(refused.err(), Some(NewLightError::Anchor(_))));
}

#[test]
fn a_chain_that_stands_still_at_the_checkpoint_is_told() {
    let source = chain(100, 5);
    let mut first = LightWorld::new(source.clone(), config(LightWay::Skipping)).unwrap();
    for name in 1..=3 {
        first.join(name, Honest::default());
    }
    assert!(first.run_to_tip(MINUTE));
    let mut start = first.client.checkpoint().unwrap().into_start(PROFILE, None);
    start.tip = None;
    let wall = LightWorld::wall_of(&source);
    let mut second = LightWorld::from(source, config(LightWay::Skipping), start, wall).unwrap();
    for name in 1..=3 {
        second.join(name, Honest::default());
    }
    assert!(second.run_to_tip(MINUTE));
}

#[test]
fn the_same_inputs_have_the_same_outputs() {
    let digest = |seed| {
        let source = chain(300, 4);
        let (start, wall) = (LightWorld::genesis(&source, None), LightWorld::wall_of(&source));
        let mut world = LightWorld::with_seed(source, LightConfig::default(), start, wall, seed).unwrap();
        for name in 1..=6 {
            world.join(name, growing(150 + u64::from(name)));
        }
        world.run(Duration::from_secs(20));
        (world.digest, world.client)
    };
    let ((one, client), (two, again)) = (digest(1), digest(1));
    assert_eq!(one, two);
    assert_eq!(client, again);
}

#[test]
fn stopping_ends_questions_and_starting_goes_on() {
    let mut world = world(chain(100, 3), LightWay::OneByOne, 3);
    world.run(Duration::from_millis(12));
    world.input(LightInput::Stop);
    world.run(MINUTE);
    let before = world.requests.len();
    world.run(MINUTE);
    assert_eq!((world.told(), world.requests.len()), (None, before));
    world.input(LightInput::Start);
    assert!(world.run_to_tip(MINUTE));
    // Time that runs backwards stands still, and late timers do no harm.
    world.client.handle(Instant::ZERO, LightInput::Timeout);
    world.input(LightInput::Timeout);
}
