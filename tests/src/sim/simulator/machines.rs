//! A machine takes its inputs, and what it asks for is done.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{CallDone, HostCall, HostError, HostReply, HostWork};
use hotstuff2_sync::machine::{Event, Input, Output, Penalty};
use hotstuff2_sync::verify::{Job, Verdict};

use super::{JOB_BYTES_PER_MICRO, JOB_TIME, JOB_WAIT_MICROS, MESSAGE_OVERHEAD, NetworkSimulator, Step, Tick, Wire};
use crate::sim::disk::Crashed;
use crate::sim::network::NodeId;
use crate::sim::node::Open;
use crate::sim::oracle::Law;

impl NetworkSimulator {
    /// Gives a machine an input and does what it asks for.
    pub(super) fn input(&mut self, node: NodeId, input: Input) {
        self.give(node, input);
        self.drain(node);
    }

    /// Gives a machine an input, and nothing more.
    pub(super) fn give(&mut self, node: NodeId, input: Input) {
        let now = self.now();
        let Some(joiner) = self.nodes[node.index()].joiner_mut() else { return };
        let (Some(machine), Some(recording)) = (&mut joiner.machine, &mut joiner.recording) else { return };
        recording.input(machine, now, &input);
        machine.handle(now, input);
    }

    pub(super) fn drain(&mut self, node: NodeId) {
        loop {
            let Some(joiner) = self.nodes[node.index()].joiner_mut() else { return };
            let (Some(machine), Some(recording)) = (&mut joiner.machine, &mut joiner.recording) else { return };
            let output = machine.poll_output();
            if let Some(step) = recording.output(&output) {
                self.trace.absorb(&step);
            }
            let doctored = match &mut joiner.doctor {
                Some(doctor) => {
                    let waits = matches!(output, Output::Wait(_));
                    doctor.output(output).or(waits.then_some(Output::Wait(None)))
                }
                None => Some(output),
            };
            match doctored {
                None => {}
                Some(Output::Wait(deadline)) => {
                    joiner.deadline = deadline;
                    self.wake_later(node);
                    return self.watch(node);
                }
                Some(output) => self.carry_out(node, output),
            }
        }
    }

    pub(super) fn wake_later(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.index()];
        let life = node.life;
        let Some(joiner) = node.joiner_mut() else { return };
        let Some(deadline) = joiner.deadline else { return };
        if joiner.wakes.is_none_or(|wakes| wakes > deadline) {
            joiner.wakes = Some(deadline);
            self.net.at(deadline, Tick::Wake(id, life));
        }
    }

    pub(super) fn watch(&mut self, node: NodeId) {
        let now = self.now();
        let Some(joiner) = self.joiner(node).filter(|joiner| joiner.machine.is_some()) else { return };
        let waits = joiner.oracle.waits(now, joiner.deadline);
        self.check(node, waits);
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        let now = self.now();
        let node = &mut self.nodes[id.index()];
        let life = node.life;
        let Some(joiner) = node.joiner_mut() else { return };
        match output {
            Output::Request { id: request_id, peer, request, max_response_bytes } => {
                joiner.requests += 1;
                let checked = joiner.oracle.requested(&request);
                let Some(&to) = self.by_peer.get(&peer) else { return };
                self.trace.note(now, format_args!("{id} asks {to} {request_id} {request:?}"));
                self.check(id, checked);
                let request: Bytes = request.encode().into();
                let bytes = request.len() as u64 + MESSAGE_OVERHEAD;
                let ask = Wire::Ask { id: request_id, life, max: max_response_bytes, request };
                let asking = self.net.stream(id, to, bytes, ask);
                if let Some(joiner) = self.nodes[id.index()].joiner_mut() {
                    joiner.open.insert(request_id, Open { to, asking, answering: None });
                }
            }
            Output::CancelRequest(request) => {
                if let Some(open) = joiner.open.remove(&request) {
                    self.net.cancel(open.asking);
                    open.answering.into_iter().for_each(|answering| self.net.cancel(answering));
                }
            }
            Output::Verify(job) => {
                joiner.jobs += 1;
                let checked = joiner.oracle.verifies(&job);
                let lost = joiner.rng.below(1_000_000) < u64::from(joiner.lost_jobs_ppm);
                let reading = Duration::from_micros(job.input_bytes() as u64 / JOB_BYTES_PER_MICRO);
                let waiting = Duration::from_micros(joiner.rng.below(JOB_WAIT_MICROS));
                // A thread may die before it begins, or later.
                let begins = !lost || joiner.rng.below(2) == 0;
                if begins {
                    self.net.after(waiting, Tick::Begun(id, life, job.id()));
                }
                if !lost {
                    self.net.after(JOB_TIME + reading + waiting, Tick::Verdict(id, life, Box::new(job)));
                }
                self.check(id, checked);
            }
            Output::Call(call) => {
                let checked = joiner.oracle.calls(&call, &joiner.disk);
                let done = joiner.disk.carry_out(&call.work);
                match &call.work {
                    HostWork::Apply(apply) => self.trace.note(now, format_args!("{id} stores {:?}", apply.range())),
                    HostWork::Replay(range) => self.trace.note(now, format_args!("{id} replays {range}")),
                    HostWork::StoreHandovers(links) => {
                        self.trace.note(now, format_args!("{id} stores {} handovers", links.len()));
                    }
                    HostWork::AddHistory(piece) => {
                        self.trace.note(now, format_args!("{id} stores history {}", piece.segment.range()));
                    }
                    _ => self.trace.note(now, format_args!("{id} works on its state")),
                }
                self.check(id, checked);
                self.acknowledge(id, call, done);
            }
            Output::Penalize { peer, penalty: Penalty::Ban { fault, until } } => {
                let Some(&banned) = self.by_peer.get(&peer) else { return };
                joiner.bans += 1;
                joiner.banned.insert(banned, until);
                joiner.connected.remove(&banned);
                let truthful = self.nodes[banned.index()].is_truthful();
                self.trace.note(now, format_args!("{id} bans {banned} for {fault:?}"));
                if let Some(joiner) = self.joiner(id) {
                    let checked = joiner.oracle.bans(&banned.to_string(), truthful, &fault.to_string());
                    self.check(id, checked);
                }
                // A transport that bans a peer also says that it is gone.
                self.net.after(Duration::ZERO, Tick::HungUp(id, life, peer));
                self.dial_later(id);
            }
            Output::Penalize { peer, penalty: Penalty::Lift } => {
                let Some(pardoned) = self.by_peer.get(&peer) else { return };
                joiner.banned.remove(pardoned);
                self.trace.note(now, format_args!("{id} lets {pardoned} come back"));
                self.dial_later(id);
            }
            // Nothing is done about an event: who watches a run is told of it, and that is all.
            Output::Event(event) => {
                let checked = joiner.oracle.tells(now, &event, &joiner.disk);
                self.trace.note(now, format_args!("{id} tells {}", tell_shortly(&event)));
                let tip = self.source.tip_height();
                if matches!(event, Event::Reached(point) if point.height == tip) && joiner.reached_at.is_none() {
                    joiner.applied_at.get_or_insert(now);
                    joiner.reached_at = Some(now);
                    self.behind -= 1;
                }
                joiner.events.push((now, event));
                self.check(id, checked);
            }
            Output::Decided { id: submission, result } => self.decided(id, submission, result),
            Output::CancelJob(job) => joiner.oracle.verified(job),
            Output::Wait(_) => {}
            other => self.check(id, Err((Law::Order, format!("an output that nobody knows: {other:?}")))),
        }
    }

    /// Has a call answered after a while, or lets the node crash.
    fn acknowledge(&mut self, id: NodeId, call: HostCall, result: Result<Result<HostReply, HostError>, Crashed>) {
        let life = self.nodes[id.index()].life;
        match result {
            Ok(result) => {
                let Some(joiner) = self.nodes[id.index()].joiner_mut() else { return };
                let most = u64::try_from(joiner.disk_time.as_micros()).unwrap_or(u64::MAX);
                let time = Duration::from_micros(100 + joiner.rng.below(most));
                let done = CallDone { id: call.id, result };
                self.net.after(time, Tick::Done(id, life, Box::new(call.work), done));
            }
            Err(Crashed) => {
                self.trace.note(self.net.now(), format_args!("{id} crashes in a write"));
                self.crash(id);
                let pause = Duration::from_millis(self.rng.below(3000));
                self.net.after(pause, Tick::Step(Step::Start(id)));
            }
        }
    }

    pub(super) fn done(&mut self, node: NodeId, life: u32, work: &HostWork, done: CallDone) {
        let (now, tip) = (self.now(), self.source.tip_height());
        let Some(joiner) = self.living(node, life) else { return };
        let checked = joiner.oracle.done(now, work, &done, &joiner.disk);
        if joiner.disk.applied() == tip && joiner.applied_at.is_none() {
            joiner.applied_at = Some(now);
        }
        self.check(node, checked);
        self.input(node, Input::Done(done));
    }

    pub(super) fn prove(&mut self, job: &Job) -> Verdict {
        let Some(known) = &mut self.known else { return job.run(&self.chain) };
        if let Some((outcome, checks)) = known.get(job.task()) {
            return Verdict::from_host(job, outcome.clone(), *checks);
        }
        let verdict = job.run(&self.chain);
        known.insert(job.task().clone(), (verdict.outcome().clone(), verdict.quorum_checks()));
        verdict
    }
}

/// An event in few words.
fn tell_shortly(event: &Event) -> String {
    match event {
        Event::Strategy { strategy, gap, .. } => format!("strategy {strategy} for {gap} blocks"),
        Event::Halted(reason) => format!("halted: {reason}"),
        Event::Stalled { reason, .. } => format!("stalled: {reason}"),
        other => format!("{other:?}"),
    }
}
