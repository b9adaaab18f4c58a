//! The trusting period through the C interface: at the start, and while a machine runs.
#![allow(unsafe_code)]

#[macro_use]
#[path = "common/host.rs"]
mod host;

use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hs2sync::*;

use host::{code, last_error, slice, words};

/// The period of these tests: a week.
const PERIOD_MS: u64 = 7 * 24 * 3600 * 1000;

/// A start at the genesis of a chain, and the time of its block.
fn start() -> (hs2_start, u64) {
    let network = TestChain::new(ChainSpec { blocks: 3, ..ChainSpec::default() }).unwrap();
    let document = network.genesis().document().encode();
    let genesis = made!(hs2_genesis_decode(slice(&document)));
    let start = made!(hs2_start_new(genesis));
    assert_eq!(hs2_release(genesis), 0);
    (start, network.genesis().document().timestamp.get())
}

fn machine(start: hs2_start) -> Result<hs2_machine, hs2_status> {
    let (config, mut machine) = (made!(hs2_config_new()), 0);
    // SAFETY: the place is real.
    let status = unsafe { hs2_machine_new(config, start, 7, 0, &raw mut machine) };
    assert_eq!(hs2_release(config), 0);
    if status == 0 { Ok(machine) } else { Err(status) }
}

/// Codes and details of all events that are there.
fn events(machine: hs2_machine) -> Vec<(u32, u32)> {
    let mut events = Vec::new();
    loop {
        let output: hs2_output = filled!(hs2_machine_poll(machine));
        if output.kind == code("Output", "wait") {
            return events;
        }
        if output.kind == code("Output", "event") {
            assert!(!words(output.object).is_empty());
            events.push((output.code, output.detail));
        }
    }
}

#[test]
fn no_machine_is_made_of_what_is_older_than_the_trusting_period() {
    let (start, born) = start();
    assert_eq!(hs2_start_trust(start, 0, born), Status::InvalidArgument.number());
    assert_eq!(hs2_start_trust(start, PERIOD_MS, born + PERIOD_MS + 1), 0);
    assert_eq!(machine(start), Err(Status::Refused.number()));
    assert!(last_error().contains("trusts a validator set for"), "{}", last_error());
    assert_eq!(hs2_start_trust(start, PERIOD_MS, born + PERIOD_MS), 0);
    assert_eq!(hs2_release(machine(start).unwrap()), 0);
    assert_eq!(hs2_release(start), 0);
}

#[test]
fn a_machine_halts_when_its_trust_grows_old_while_it_runs() {
    let halted = (code("Event", "halted"), code("HaltReason", "trust_expired"));
    // By the machine's own time, and by a clock that was set while the machine slept.
    for slept in [false, true] {
        let (start, born) = start();
        assert_eq!(hs2_start_trust(start, PERIOD_MS, born), 0);
        let machine = machine(start).unwrap();
        assert_eq!(hs2_machine_start(machine, 0, HS2_NEVER), 0);
        assert!(!events(machine).contains(&halted));
        let status = if slept {
            hs2_machine_handle_wall(machine, 1, born + PERIOD_MS + 1)
        } else {
            hs2_machine_handle_timeout(machine, (PERIOD_MS + 1) * 1000)
        };
        assert_eq!(status, 0);
        assert!(events(machine).contains(&halted), "slept: {slept}");
        assert_eq!((hs2_release(machine), hs2_release(start)), (0, 0));
    }
}
