//! The machine, by operations.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hotstuff2_sync::calls::{CallDone, HostCall, HostError, HostReply, HostWork, Start};
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{CallId, Height, JobId, PeerId, RequestId};
use hotstuff2_sync::machine::{Input as MachineInput, Machine, Output, PeerEvent, RequestFailure};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::{Job, Verdict};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};

use super::input::Input;
use super::jobs::CHAIN;

/// More outputs than any input can cause in such a small world.
const MOST_OUTPUTS: usize = 10_000;

struct World {
    machine: Machine,
    native: NativeChain,
    now: Instant,
    requests: Vec<(RequestId, Request)>,
    jobs: Vec<Job>,
    /// Calls, and up to where they apply blocks.
    applies: Vec<(CallId, Height)>,
    /// Calls for anything else.
    others: Vec<CallId>,
    seen_requests: BTreeSet<RequestId>,
    seen_jobs: BTreeMap<JobId, Job>,
    applied: Height,
}

/// Each byte or few are an operation: peers come and go, answer honestly, falsely or to questions that nobody asked, jobs
/// and calls succeed, fail or get lost, time passes. At all times the budget holds, a job says the same in another process, a drain ends with a wait, no id comes
/// twice, and blocks to apply are the next ones.
pub fn machine(data: &[u8]) {
    let mut input = Input(data);
    let start = CHAIN.start();
    let start = Start { stages_state: input.byte() & 1 == 1, ..start };
    let machine = Machine::new(SyncConfig::default(), start, 7, Instant::ZERO).expect("valid settings");
    let mut world = World {
        machine,
        native: CHAIN.chain(),
        now: Instant::ZERO,
        requests: Vec::new(),
        jobs: Vec::new(),
        applies: Vec::new(),
        others: Vec::new(),
        seen_requests: BTreeSet::new(),
        seen_jobs: BTreeMap::new(),
        applied: Height::ZERO,
    };
    world.machine.handle(world.now, MachineInput::Start(None));
    world.drain();
    while !input.is_empty() {
        world.step(&mut input);
        world.drain();
    }
}

/// Takes one of `items`, if there are any.
fn pick<T>(items: &mut Vec<T>, input: &mut Input<'_>) -> Option<T> {
    let at = input.below(items.len());
    (at < items.len()).then(|| items.swap_remove(at))
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        let now = self.now;
        let peer = |input: &mut Input<'_>| PeerId::from_bytes([input.byte() % 4; 32]);
        match input.byte() % 16 {
            0 | 1 => {
                let (peer, group) = (peer(input), u64::from(input.byte() % 3));
                self.machine.handle(now, MachineInput::Peer(PeerEvent::Connected { peer, group }));
            }
            2 => self.machine.handle(now, MachineInput::Peer(PeerEvent::Disconnected { peer: peer(input) })),
            3..=5 => {
                if let Some((id, request)) = pick(&mut self.requests, input) {
                    self.machine.handle(now, MachineInput::Response(id, Ok(CHAIN.respond(&request))));
                }
            }
            6 => {
                if let Some((id, request)) = pick(&mut self.requests, input) {
                    let answer: Bytes = input.mutate(&CHAIN.respond(&request)).into();
                    self.machine.handle(now, MachineInput::Response(id, Ok(answer)));
                }
            }
            7 => {
                if let Some((id, _)) = pick(&mut self.requests, input) {
                    let answers = [
                        Err(RequestFailure::Broken),
                        Err(RequestFailure::Oversize),
                        Ok(encode_refusal(Refusal::NotAvailable)),
                        Ok(encode_refusal(Refusal::Busy { retry_after_ms: u32::from(input.byte()) << 8 })),
                        Ok(encode_refusal(Refusal::Unsupported)),
                        Ok(Bytes::new()),
                    ];
                    let at = input.below(answers.len());
                    if let Some(answer) = answers.into_iter().nth(at) {
                        self.machine.handle(now, MachineInput::Response(id, answer));
                    }
                }
            }
            8 => {
                // Nobody asked, or it was answered before.
                let id = RequestId::from_raw(input.number());
                if !self.requests.iter().any(|(open, _)| *open == id) {
                    self.machine.handle(now, MachineInput::Response(id, Ok(CHAIN.respond(&Request::Tip))));
                }
            }
            9 | 10 => {
                if let Some(job) = pick(&mut self.jobs, input) {
                    let verdict = self.run_elsewhere(&job);
                    self.machine.handle(now, MachineInput::Verdict(verdict));
                }
            }
            11 => drop(pick(&mut self.jobs, input)),
            12 => self.answer_call(input),
            13 => {
                self.now = self.now.after(std::time::Duration::from_millis(input.number()));
                self.machine.handle(self.now, MachineInput::Timeout);
            }
            14 => match input.byte() % 3 {
                0 => self.machine.handle(now, MachineInput::Stop),
                1 => {
                    let until = Height::new(u64::from(input.byte() % 14));
                    self.machine.handle(now, MachineInput::Start(Some(until)));
                }
                _ => self.machine.handle(now, MachineInput::Start(None)),
            },
            // Time runs backwards on a bad host.
            _ => self.machine.handle(Instant::ZERO, MachineInput::Timeout),
        }
    }

    fn answer_call(&mut self, input: &mut Input<'_>) {
        let kind = input.byte() % 8;
        let done = match kind {
            0..=3 => pick(&mut self.applies, input).map(|(id, through)| {
                self.applied = self.applied.max(through);
                CallDone::applied(id, self.applied, None)
            }),
            4 => pick(&mut self.applies, input).map(|(id, _)| {
                let permanent = input.byte().is_multiple_of(4);
                let error = if permanent { HostError::Permanent } else { HostError::Transient };
                CallDone::applied(id, self.applied, Some(error))
            }),
            // What came of another kind of work, of another call, or of none.
            5 => pick(&mut self.others, input).map(|id| {
                let fails = input.byte().is_multiple_of(4);
                let result = if fails { Err(HostError::Transient) } else { Ok(HostReply::HandoversStored) };
                CallDone { id, result }
            }),
            6 => pick(&mut self.others, input).map(|id| CallDone { id, result: Err(HostError::Transient) }),
            _ => pick(&mut self.others, input)
                .map(|id| CallDone { id, result: Ok(HostReply::HistoryAdded { history_gap: None }) }),
        };
        if let Some(done) = done {
            self.machine.handle(self.now, MachineInput::Done(done));
        }
    }

    fn drain(&mut self) {
        for _ in 0..MOST_OUTPUTS {
            match self.machine.poll_output() {
                Output::Wait(_) => {
                    assert!(matches!(self.machine.poll_output(), Output::Wait(_)), "a wait is the last");
                    let progress = self.machine.progress();
                    assert!(progress.buffered_bytes <= progress.budget_bytes, "{progress:?}");
                    return;
                }
                Output::Request { id, request, .. } => {
                    assert!(self.seen_requests.insert(id), "request {id:?} came twice");
                    self.requests.push((id, request));
                }
                Output::Verify(job) => {
                    // One whose time ran out comes again as it was.
                    let before = self.seen_jobs.insert(job.id(), job.clone());
                    assert!(before.is_none_or(|before| before == job), "another job has the id {:?}", job.id());
                    self.jobs.push(job);
                }
                Output::Call(HostCall { id, work: HostWork::Apply(apply) }) => {
                    let range = apply.range().expect("blocks");
                    let on_its_way = self.applies.iter().map(|&(_, through)| through).fold(self.applied, Height::max);
                    assert!(range.first() <= on_its_way.next(), "a gap before {}", range.first());
                    for part in &apply.parts {
                        let own = part.range().expect("blocks");
                        assert_eq!(
                            part.segment.ids(&self.native, own).expect("verified").last().copied(),
                            CHAIN.id(own.last()),
                            "a block that is not the chain's"
                        );
                    }
                    self.applies.push((id, range.last()));
                }
                Output::Call(HostCall { id, work: HostWork::Replay(range) }) => self.applies.push((id, range.last())),
                Output::Call(call) => {
                    assert_eq!(HostCall::decode(&call.encode()).as_ref(), Ok(&call));
                    self.others.push(call.id);
                }
                _ => {}
            }
        }
        panic!("a drain doesn't end");
    }

    /// The verdict of a worker that shares no memory with the machine, which is that of a thread.
    fn run_elsewhere(&self, job: &Job) -> Verdict {
        let verdict = Job::decode(&job.encode()).expect("a job").run(&self.native);
        assert_eq!(verdict, job.run(&self.native));
        Verdict::decode(&verdict.encode()).expect("a verdict")
    }
}
