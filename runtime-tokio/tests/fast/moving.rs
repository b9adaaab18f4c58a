//! A state that is dropped and replaced again and again while it is fetched.

use std::time::Duration;

use hotstuff2_sync::machine::Event;
use hotstuff2_sync_testkit::chain::Entries;
use hotstuff2_sync_tokio::SyncEvent;

use crate::source::{Servers, Source, create, live_root, node};

const MOVES: u64 = 5;

/// A move comes when another such part of the state is there: the last of them long before the end.
const PARTS: u64 = MOVES + 3;

/// Of an eight-megabyte state, one key in a thousand is changed before each move, or one more.
const ENTRIES: Entries = Entries { count: 69_888, value_bytes: 100, changes: 5 };

/// Fetches the state from two servers while it is replaced `moves` times; the bytes that were received.
async fn received(moves: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let mut source = Source::new(folder.path(), 2, MOVES + 1, ENTRIES);
    // The one target that stays is as far along as the last of those that move.
    for _ in moves..=MOVES {
        source.advance();
    }
    let servers = Servers::start(&source.stores, 700_000);
    let store = std::sync::Arc::new(create(&folder.path().join("late"), &source.genesis()));
    let mut handle = node(&source.genesis(), &store, store.clone(), &servers.addresses);
    let progress = handle.progress();
    let mut moved = 0;
    let reached = loop {
        tokio::select! {
            event = handle.next_event() => match event.unwrap() {
                SyncEvent::Machine(Event::Reached(point)) => break point,
                SyncEvent::Machine(Event::Banned { peer, fault }) => panic!("{peer} is honest: {fault}"),
                _ => {}
            },
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
        let Some(state) = progress.borrow().state else { continue };
        if moved < moves && state.moves == moved && state.done_ppm > (moved + 1) * 1_000_000 / PARTS {
            let old = source.height;
            tokio::task::block_in_place(|| source.advance());
            for store in &source.stores {
                assert!(store.drop_snapshot(old).unwrap());
            }
            moved += 1;
        }
    };
    let end = handle.shutdown().await;
    let state = end.progress.state.unwrap();
    assert_eq!((state.moves, reached.height), (moves, source.height));
    assert_eq!(live_root(&store), source.root);
    println!("{moves} moves: {state:?}, {} bytes received", end.usage.wire_bytes_received);
    end.usage.wire_bytes_received
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_target_that_moves_five_times_costs_little_more_than_one_that_stays() {
    assert!(u64::from(ENTRIES.changes) * ENTRIES.filling_blocks() * 1000 >= ENTRIES.count);
    let still = received(0).await;
    let moving = received(MOVES).await;
    assert!(moving <= still * 12 / 10, "{moving} bytes, and {still} of a target that stays");
}
