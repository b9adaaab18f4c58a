//! Questions of the user.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::{
    At, LightAnswer, LightBlock, LightConfig, LightError, LightInput, LightWay, MAX_QUERIES, Query,
};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::TestChain;
use hotstuff2_sync_testkit::light::LightWorld;
use hotstuff2_sync_testkit::world::Honest;

use super::{MINUTE, chain, entries, ledger, world};

fn block(chain: &TestChain, height: u64) -> LightBlock {
    let header = chain.header(Height::new(height)).unwrap();
    let (height, timestamp) = (header.height, header.timestamp);
    LightBlock { height, id: header.id(), timestamp, state_root: Some(header.state_root) }
}

fn read(key: &[u8], at: At) -> Query {
    Query::Read { key: Bytes::copy_from_slice(key), at }
}

fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(Height::new(first), Height::new(last)).unwrap()
}

#[test]
fn a_value_of_now_comes_with_its_block_in_one_answer() {
    let mut world = world(ledger(63, 2), LightWay::Skipping, 3);
    let states = entries(&world.source, 60);
    // Asked before anything is known.
    let early = world.ask(read(&states[0].0, At::Now));
    let answer = world.run_to_answer(MINUTE, early).unwrap().unwrap();
    let value = Some(Bytes::from(states[0].1.clone()));
    assert_eq!(answer, LightAnswer::Value { value, block: block(&world.source, 60) }, "the newest state");
    for (key, value) in &states[1..] {
        let before = world.requests.len();
        let id = world.ask(read(key, At::Now));
        let answer = world.run_to_answer(MINUTE, id).unwrap().unwrap();
        let value = Some(Bytes::from(value.clone()));
        assert_eq!(answer, LightAnswer::Value { value, block: block(&world.source, 60) });
        let reads = world.requests[before..].iter().filter(|(_, _, request)| matches!(request, Request::Read { .. }));
        assert_eq!(reads.count(), 1);
    }
    let nobody = world.ask(read(b"nobody's", At::Now));
    let answer = world.run_to_answer(MINUTE, nobody).unwrap().unwrap();
    assert_eq!(answer, LightAnswer::Value { value: None, block: block(&world.source, 60) });
}

#[test]
fn values_of_snapshots_and_heights_are_proven() {
    let mut world = world(ledger(63, 1), LightWay::OneByOne, 3);
    assert!(world.run_to_tip(MINUTE));
    let cases = [(At::Snapshot, 60), (At::Height(Height::new(25)), 25), (At::Height(Height::new(60)), 60)];
    for (at, height) in cases {
        let (key, value) = entries(&world.source, height).swap_remove(3);
        let id = world.ask(read(&key, at));
        let answer = world.run_to_answer(MINUTE, id).unwrap().unwrap();
        let value = Some(Bytes::from(value));
        assert_eq!(answer, LightAnswer::Value { value, block: block(&world.source, height) }, "{at:?}");
    }
    // No state is kept there.
    let id = world.ask(read(b"k", At::Height(Height::new(26))));
    assert_eq!(world.run_to_answer(MINUTE, id), Some(Err(LightError::NoAnswer)));
}

#[test]
fn headers_and_payloads_are_proven() {
    let mut world = world(chain(2300, 2), LightWay::OneByOne, 3);
    assert!(world.run_to_tip(MINUTE));
    // In the tip's cell, at its end, in a whole cell, in the epoch before, and the tip itself.
    for height in [2299, 2300, 1500, 1150, 1151, 700, 1] {
        let id = world.ask(Query::Header(Height::new(height)));
        let answer = world.run_to_answer(MINUTE, id).unwrap();
        assert_eq!(answer, Ok(LightAnswer::Header(block(&world.source, height))), "{height}");
    }
    for (first, last) in [(2200, 2300), (1500, 1500), (1151, 2047), (1, 40)] {
        let id = world.ask(Query::Bodies(range(first, last)));
        let Some(Ok(LightAnswer::Bodies { first: begins, payloads })) = world.run_to_answer(MINUTE, id) else {
            panic!("{first}: {:?}", world.answers.get(&id));
        };
        assert_eq!(begins, Height::new(first));
        let whole: Vec<_> = (first..=last).map(|height| world.source.payload(Height::new(height)).unwrap()).collect();
        assert_eq!(payloads, whole);
    }
    for (query, error) in [
        (Query::Header(Height::new(2301)), LightError::OutOfReach { height: Height::new(2301) }),
        (Query::Header(Height::ZERO), LightError::OutOfReach { height: Height::ZERO }),
        (Query::Bodies(range(1000, 1030)), LightError::NotOneCell { grid: 1024 }),
        (Query::Bodies(range(1140, 1160)), LightError::NotOneCell { grid: 1024 }),
        (read(&[0; 1025], At::Now), LightError::KeyTooLong { bytes: 1025 }),
    ] {
        let id = world.ask(query);
        assert_eq!(world.run_to_answer(MINUTE, id), Some(Err(error)));
    }
}

#[test]
fn answers_are_confirmed_or_say_that_they_are_not() {
    let source = ledger(63, 1);
    // One group proves everything; nobody else confirms the block of the read.
    let mut world = LightWorld::new(source, LightConfig::default()).unwrap();
    for name in 1..=3 {
        world.join(name, Honest { states: None, tip: Height::new(55), ..Honest::default() });
    }
    assert!(world.run_until(MINUTE, |world| world.told().is_some()));
    world.join(4, Honest::default());
    let (key, _) = entries(&world.source, 60).swap_remove(0);
    let id = world.ask(read(&key, At::Now));
    let refused = LightError::Unconfirmed { have: 0, need: 2 };
    assert_eq!(world.run_to_answer(MINUTE, id), Some(Err(refused)));
    world.join(5, Honest::default());
    world.join(6, Honest::default());
    let id = world.ask(read(&key, At::Now));
    assert!(matches!(world.run_to_answer(MINUTE, id), Some(Ok(LightAnswer::Value { .. }))));
}

#[test]
fn an_old_node_that_knows_no_reads_is_no_liar() {
    use hotstuff2_sync::wire::{Refusal, encode_refusal};
    use hotstuff2_sync_testkit::world::{Reply, Scripted};

    let mut world = LightWorld::new(ledger(60, 1), LightConfig::default()).unwrap();
    for name in 1..=3 {
        world.join(
            name,
            Scripted(|request: &Request, _: &TestChain, honest| match request {
                Request::Read { .. } => Reply::After(Duration::ZERO, encode_refusal(Refusal::Unsupported)),
                _ => honest,
            }),
        );
    }
    let id = world.ask(read(b"k", At::Now));
    assert_eq!(world.run_to_answer(MINUTE, id), Some(Err(LightError::NoAnswer)));
    assert!(world.run_to_tip(MINUTE) && world.bans.is_empty());
    // A snapshot is read without such a request.
    let (key, _) = entries(&world.source, 60).swap_remove(0);
    let id = world.ask(read(&key, At::Snapshot));
    assert!(matches!(world.run_to_answer(MINUTE, id), Some(Ok(LightAnswer::Value { .. }))));
}

#[test]
fn questions_are_bounded_dropped_and_ended() {
    let mut world = LightWorld::new(chain(60, 1), LightConfig::default()).unwrap();
    let ids: Vec<_> = (0..MAX_QUERIES).map(|_| world.ask(Query::Header(Height::new(5)))).collect();
    let one_more = world.ask(Query::Header(Height::new(5)));
    assert_eq!(world.answers.get(&one_more), Some(&Err(LightError::TooMany { open: MAX_QUERIES })));
    world.input(LightInput::Drop(ids[0]));
    world.input(LightInput::Stop);
    assert_eq!(world.answers.len(), MAX_QUERIES, "all but the dropped one");
    assert_eq!(world.answers.get(&ids[1]), Some(&Err(LightError::Stopped)));
    let late = world.ask(Query::Header(Height::new(5)));
    assert_eq!(world.answers.get(&late), Some(&Err(LightError::Stopped)));
}
