//! Nodes start, stop, crash and lose their disks.

use std::sync::Arc;

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Input, Machine, NewMachineError};
use hotstuff2_sync::trace::TraceHeader;

use super::{IDLE_TIMEOUT, NetworkSimulator, Step, Tick};
use crate::sim::network::NodeId;
use crate::sim::oracle::Law;
use crate::world::Recording;

impl NetworkSimulator {
    /// Does something now.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Start(node) => self.start(node),
            Step::Pause(node) => {
                if let Some(joiner) = self.nodes[node.index()].joiner_mut() {
                    joiner.oracle.stopped();
                }
                self.input(node, Input::Stop);
            }
            Step::Resume(node) => self.go_on(node, None),
            Step::Crash(node) => self.crash(node),
            Step::LoseDisk(node) => {
                let source = Arc::clone(&self.source);
                let node = &mut self.nodes[node.index()];
                if let (false, Some(joiner)) = (node.up, node.joiner_mut()) {
                    self.behind += usize::from(joiner.reached_at.take().is_some());
                    joiner.applied_at = None;
                    joiner.disk.lose(&*source);
                    joiner.oracle.disk_lost();
                }
            }
            Step::Side(node, side) => {
                self.net.set_side(node, side);
                self.net.after(IDLE_TIMEOUT, Tick::Idle);
            }
            Step::Heal => self.net.heal(),
            Step::Line(node, line) => self.net.set_line(node, line),
            Step::Decide(node, height) => self.decide(node, height),
        }
    }

    /// Tells a machine to go on; with `until`, to the first proven segment that holds that height.
    pub fn go_on(&mut self, node: NodeId, until: Option<Height>) {
        let now = self.now();
        let joiner = self.nodes[node.index()].joiner_mut();
        if let Some(joiner) = joiner.filter(|joiner| joiner.machine.is_some() && !joiner.oracle.halted()) {
            joiner.oracle.resumed(now);
        }
        self.input(node, Input::Start(until));
    }

    fn start(&mut self, id: NodeId) {
        let now = self.now();
        let node = &mut self.nodes[id.index()];
        if node.up {
            return;
        }
        node.up = true;
        node.life += 1;
        let Some(joiner) = node.joiner_mut() else { return };
        let seed = joiner.rng.next_u64();
        let (mut config, mut start) = (joiner.config.clone(), joiner.disk.start());
        if let Some(doctor) = &mut joiner.doctor {
            (config, start) = (doctor.config(config), doctor.start(start));
        }
        // Which release it is says nothing about what happens.
        let head = TraceHeader { software: String::new(), ..TraceHeader::new(&config, &start, seed, now) };
        let machine = match Machine::new(config, start, seed, now) {
            Ok(machine) => machine,
            Err(error) => return self.refused(id, error),
        };
        joiner.machine = Some(machine);
        joiner.recording = Some(Recording::new(&head, self.records));
        joiner.deadline = None;
        joiner.wakes = None;
        joiner.dials = false;
        let started = joiner.oracle.started(now, &joiner.disk);
        self.check(id, started);
        self.input(id, Input::Start(None));
        self.dial(id);
    }

    fn refused(&mut self, node: NodeId, error: NewMachineError) {
        self.check(node, Err((Law::Durability, format!("its disk is refused: {error}"))));
    }

    pub(super) fn crash(&mut self, id: NodeId) {
        self.check_accounts(id);
        let node = &mut self.nodes[id.index()];
        node.up = false;
        let Some(joiner) = node.joiner_mut() else {
            self.net.after(IDLE_TIMEOUT, Tick::Idle);
            return;
        };
        joiner.machine = None;
        let recording = joiner.recording.take().filter(|_| self.records);
        joiner.recorded.extend(recording);
        joiner.oracle.stopped();
        joiner.connected.clear();
        for open in std::mem::take(&mut joiner.open).into_values() {
            self.net.cancel(open.asking);
            open.answering.into_iter().for_each(|answering| self.net.cancel(answering));
        }
        self.net.after(IDLE_TIMEOUT, Tick::Idle);
    }
}
