//! A node in one file: the machine, a host that keeps blocks in memory, and two peers, of which one lies.
//!
//! `cargo run -p hotstuff2-sync --example run_loop`

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a host has a clock and may wait")]

use std::collections::VecDeque;
use std::error::Error;
use std::time::Instant as Clock;

use hotstuff2_sync::calls::{CallDone, HostCall, HostError, HostReply, HostWork};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{Event, Input, Machine, Output, PeerEvent};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};

/// Blocks of the chain that the peers serve.
const BLOCKS: u64 = 3_000;

/// The node's own store and application.
#[derive(Default)]
struct Host {
    height: Height,
    payload_bytes: usize,
}

impl Host {
    /// Does what the machine asks for. A real host answers once it survives a crash.
    fn carry_out(&mut self, call: HostCall) -> CallDone {
        let id = call.id;
        match call.work {
            HostWork::Apply(apply) => {
                for frame in apply.parts.iter().flat_map(|part| &part.frames) {
                    self.height = frame.range.last();
                    self.payload_bytes += frame.raw.len();
                }
                CallDone::applied(id, self.height, None)
            }
            HostWork::StoreHandovers(_) => CallDone { id, result: Ok(HostReply::HandoversStored) },
            // It was said at the start that this host stages no states and adds no history.
            _ => CallDone { id, result: Err(HostError::Permanent) },
        }
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let source = TestChain::new(ChainSpec { blocks: BLOCKS, epochs: 3, ..ChainSpec::default() })?;
    let chain = source.chain();
    let (honest, liar) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));

    let clock = Clock::now();
    let now = || Instant::ZERO.after(clock.elapsed());
    let mut machine = Machine::new(SyncConfig::default(), source.start(), 7, now())?;
    let mut host = Host::default();
    let mut facts = VecDeque::from([
        Input::Peer(PeerEvent::Connected { peer: honest, group: 1 }),
        Input::Peer(PeerEvent::Connected { peer: liar, group: 2 }),
        Input::Start(None),
    ]);

    loop {
        // One fact goes in, or the news that time has passed.
        machine.handle(now(), facts.pop_front().unwrap_or(Input::Timeout));
        // All work comes out. Here it is done at once; a real host hands it to its network, threads and disk, and brings
        // the facts back whenever they are there.
        loop {
            match machine.poll_output() {
                Output::Request { id, peer, request, .. } => {
                    let mut answer = source.respond(&request).to_vec();
                    if let Some(last) = answer.last_mut().filter(|_| peer == liar) {
                        *last ^= 1;
                    }
                    facts.push_back(Input::Response(id, Ok(answer.into())));
                }
                Output::Verify(job) => facts.push_back(Input::Verdict(job.run(&chain))),
                Output::Call(call) => facts.push_back(Input::Done(host.carry_out(call))),
                Output::Penalize { peer, penalty } => println!("{peer}: {penalty}"),
                Output::Event(Event::Reached(point)) => {
                    println!("caught up at {}: {} bytes of payload, all proven", point.height, host.payload_bytes);
                    if point.height == Height::new(BLOCKS) {
                        return Ok(());
                    }
                }
                Output::Event(event) => println!("{event}"),
                Output::Wait(deadline) => {
                    // Nothing to do until then, unless a fact comes first.
                    if let Some(at) = deadline.filter(|_| facts.is_empty()) {
                        std::thread::sleep(at.since(now()));
                    }
                    break;
                }
                // Nothing was cancelled before it was done.
                _ => {}
            }
        }
    }
}
