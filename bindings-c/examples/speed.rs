//! How many blocks per CPU-second pass through the C interface, against the machine driven from Rust: 100,000 blocks of 1 KiB
//! and 100 validators, answers in memory, each block looked at, in turn in one process. A first round of each kind, which
//! isn't measured, asks the generator; the others get the same answers from memory.
//!
//! `cargo run --release -p hotstuff2-sync-c --example speed [ROUNDS]`
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{CallDone, HostReply, HostWork};
use hotstuff2_sync::chain::Chain as _;
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::machine::{Event, Input, Machine, Output, PeerEvent};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::{Request, split_payloads};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hs2sync::*;
use rustix::time::{ClockId, clock_gettime};

const BLOCKS: u64 = 100_000;
const PEERS: u8 = 3;
/// Virtual time that passes with each input.
const STEP_US: u64 = 100;

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(7);
    let spec = ChainSpec { blocks: BLOCKS, validators: 100, epochs: 1, ..ChainSpec::default() };
    let chain = match TestChain::with_payloads(spec, 1024, None) {
        Ok(chain) => chain,
        Err(error) => unreachable!("a plain chain: {error}"),
    };
    let mut plain: HashMap<Vec<u8>, Bytes> = HashMap::new();
    let mut held: HashMap<Vec<u8>, hs2_buffer> = HashMap::new();
    let warm = (by_rust(&chain, &mut plain), by_c(&chain, &mut held));
    assert_eq!(warm.0.1, warm.1.1, "both looked at the same bytes");
    let (mut rust, mut c) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        rust.push(by_rust(&chain, &mut plain).0);
        c.push(by_c(&chain, &mut held).0);
    }
    for (name, times) in [("Rust", &mut rust), ("C", &mut c)] {
        times.sort_unstable();
        let median = times[times.len() / 2].as_secs_f64();
        println!(
            "{name:<5} {median:.4} s of CPU (median of {rounds}), {:.0} blocks per CPU-second",
            BLOCKS as f64 / median
        );
    }
    let ratio = |place: usize| rust[place].as_secs_f64() / c[place].as_secs_f64() * 100.0;
    println!("C against Rust: {:.1} % by medians, {:.1} % by the fastest", ratio(rust.len() / 2), ratio(0));
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn answer(chain: &TestChain, request: &[u8]) -> Bytes {
    Request::decode(request).map(|request| chain.respond(&request)).unwrap_or_default()
}

/// Something of a block, so that it is looked at.
fn look(sum: u64, id: &[u8; 32], payload: &[u8]) -> u64 {
    let byte = payload.first().copied().unwrap_or(0);
    sum.wrapping_mul(31).wrapping_add(u64::from(id[0])).wrapping_add(u64::from(byte))
}

fn by_rust(chain: &TestChain, answers: &mut HashMap<Vec<u8>, Bytes>) -> (Duration, u64) {
    let native: NativeChain = chain.chain();
    let begun = cpu();
    let mut now = 0;
    let mut machine = Machine::new(SyncConfig::default(), chain.start(), 7, Instant::ZERO).expect("defaults are valid");
    let mut inputs = std::collections::VecDeque::new();
    for name in 1..=PEERS {
        let peer = PeerId::from_bytes([name; 32]);
        inputs.push_back(Input::Peer(PeerEvent::Connected { peer, group: name.into() }));
    }
    inputs.push_back(Input::Start(None));
    let (mut sum, mut reached) = (0, false);
    while !reached {
        let input = inputs.pop_front().unwrap_or(Input::Timeout);
        now += STEP_US;
        machine.handle(Instant::from_micros(now), input);
        loop {
            match machine.poll_output() {
                Output::Request { id, request, .. } => {
                    let request = request.encode();
                    let bytes = match answers.get(&request) {
                        Some(bytes) => bytes.clone(),
                        None => {
                            let bytes = answer(chain, &request);
                            answers.insert(request, bytes.clone());
                            bytes
                        }
                    };
                    inputs.push_back(Input::Response(id, Ok(bytes)));
                }
                Output::Verify(job) => inputs.push_back(Input::Verdict(job.run(&native))),
                Output::Call(call) => {
                    let done = match &call.work {
                        HostWork::Apply(apply) => {
                            for part in &apply.parts {
                                let decoded = part.segment.decoded(&native).expect("decoded by its job");
                                for frame in &part.frames {
                                    let lens = part.segment.payload_lens_of(frame.range).unwrap_or_default();
                                    let mut height = frame.range.first();
                                    for payload in split_payloads(&frame.raw, lens) {
                                        let header = native.header(decoded, height).expect("in the segment");
                                        sum = look(sum, header.id.as_bytes(), payload);
                                        height = height.next();
                                    }
                                }
                            }
                            CallDone::applied(call.id, apply.range().expect("never empty").last(), None)
                        }
                        _ => CallDone { id: call.id, result: Ok(HostReply::HandoversStored) },
                    };
                    inputs.push_back(Input::Done(done));
                }
                Output::Event(Event::Reached(point)) => reached |= point.height.get() == BLOCKS,
                Output::Wait(deadline) => {
                    if inputs.is_empty() && !reached {
                        now = now.max(deadline.map_or(now, Instant::as_micros));
                    }
                    break;
                }
                _ => {}
            }
        }
    }
    drop(machine);
    (cpu() - begun, sum)
}

/// What waits to be told to the machine.
enum Told {
    Connected(u8),
    Start,
    Response(u64, hs2_buffer),
    Verdict(hs2_verdict),
    Applied(u64, u64),
    Stored(u64),
}

fn must(status: hs2_status) {
    assert_eq!(status, 0, "a call of the C interface failed");
}

/// # Panics
/// Where a call fails.
fn by_c(chain: &TestChain, answers: &mut HashMap<Vec<u8>, hs2_buffer>) -> (Duration, u64) {
    let encoded = chain.genesis().document().encode();
    let slice = |bytes: &[u8]| hs2_slice { data: bytes.as_ptr(), len: bytes.len() };
    let begun = cpu();
    let (mut genesis, mut native, mut config, mut start, mut machine) = (0, 0, 0, 0, 0);
    let (mut now, mut sum, mut reached) = (0u64, 0, false);
    let mut told = std::collections::VecDeque::new();
    told.extend((1..=PEERS).map(Told::Connected));
    told.push_back(Told::Start);
    let zero = hs2_id { bytes: [0; 32] };
    let empty = hs2_slice { data: std::ptr::null(), len: 0 };
    let mut blocks = vec![hs2_block { height: 0, timestamp_ms: 0, id: zero, state_root: zero, payload: empty }; 1024];
    // SAFETY: every pointer leads to a value of this function that lives longer than the call.
    unsafe {
        must(hs2_genesis_decode(slice(&encoded), &raw mut genesis));
        must(hs2_chain_new(genesis, &raw mut native));
        must(hs2_config_new(&raw mut config));
        must(hs2_start_new(genesis, &raw mut start));
        must(hs2_machine_new(config, start, 7, 0, &raw mut machine));
        while !reached {
            now += STEP_US;
            must(match told.pop_front() {
                Some(Told::Connected(name)) => {
                    let peer = hs2_id { bytes: [name; 32] };
                    hs2_machine_handle_connected(machine, now, &raw const peer, name.into())
                }
                Some(Told::Start) => hs2_machine_start(machine, now, HS2_NEVER),
                Some(Told::Response(id, buffer)) => hs2_machine_handle_response(machine, now, id, buffer),
                Some(Told::Verdict(verdict)) => {
                    must(hs2_machine_handle_verdict(machine, now, verdict));
                    hs2_release(verdict)
                }
                Some(Told::Applied(id, through)) => hs2_machine_handle_applied(machine, now, id, through, 0, 0),
                Some(Told::Stored(id)) => hs2_machine_handle_stored(machine, now, id, 0),
                None => hs2_machine_handle_timeout(machine, now),
            });
            loop {
                let mut output = std::mem::zeroed::<hs2_output>();
                must(hs2_machine_poll(machine, &raw mut output));
                let code = |number: u32| u16::try_from(number).unwrap_or(0);
                match code(output.kind) {
                    0x0101 => {
                        let mut bytes = empty;
                        must(hs2_buffer_bytes(output.object, &raw mut bytes));
                        let request = std::slice::from_raw_parts(bytes.data, bytes.len);
                        let buffer = match answers.get(request) {
                            Some(buffer) => *buffer,
                            None => {
                                let (made, mut buffer) = (answer(chain, request), 0);
                                must(hs2_buffer_copy(slice(&made), &raw mut buffer));
                                answers.insert(request.to_vec(), buffer);
                                buffer
                            }
                        };
                        told.push_back(Told::Response(output.id, buffer));
                    }
                    0x0103 => {
                        let mut verdict = 0;
                        must(hs2_job_run(output.object, native, &raw mut verdict));
                        told.push_back(Told::Verdict(verdict));
                    }
                    0x0105 => {
                        let mut info = std::mem::zeroed::<hs2_call_info>();
                        must(hs2_call_read(output.object, &raw mut info));
                        if code(info.work) == 0x0201 {
                            let mut next = info.first;
                            while next <= info.last {
                                let mut count = 0;
                                must(hs2_call_blocks(
                                    output.object,
                                    native,
                                    next,
                                    blocks.as_mut_ptr(),
                                    blocks.len(),
                                    &raw mut count,
                                ));
                                for block in &blocks[..count] {
                                    let payload = std::slice::from_raw_parts(block.payload.data, block.payload.len);
                                    sum = look(sum, &block.id.bytes, payload);
                                }
                                next += count as u64;
                            }
                            told.push_back(Told::Applied(info.id, info.last));
                        } else {
                            told.push_back(Told::Stored(info.id));
                        }
                    }
                    0x0107 => reached |= code(output.code) == 0x0b08 && output.height == BLOCKS,
                    0x0108 => {
                        if told.is_empty() && !reached && output.deadline_us != HS2_NEVER {
                            now = now.max(output.deadline_us);
                        }
                        break;
                    }
                    _ => {}
                }
                must(hs2_release(output.object));
            }
        }
        for handle in [machine, start, config, native, genesis] {
            must(hs2_release(handle));
        }
    }
    for waiting in told {
        if let Told::Verdict(verdict) = waiting {
            must(hs2_release(verdict));
        }
    }
    (cpu() - begun, sum)
}
