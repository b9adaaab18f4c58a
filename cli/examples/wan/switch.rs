//! [`Switch`]: carries IP packets between hosts, each as late and as often as their lines allow.
//!
//! A host is a TUN device that its packets come out of and go into. One thread for each device reads; one thread lets time
//! pass. Packets to nobody are dropped.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use tun_rs::SyncDevice;

use crate::link::{Dice, Link, Pipe};

/// Longest packet: an Ethernet frame's content.
pub(crate) const MTU: u16 = 1500;
/// Where an IPv4 header has the destination.
const DESTINATION: std::ops::Range<usize> = 16..20;

/// A host on the switch.
pub(crate) struct Port {
    pub(crate) address: Ipv4Addr,
    pub(crate) device: Arc<SyncDevice>,
    pub(crate) link: Link,
    /// Bytes of all packets that it was given.
    pub(crate) received: Arc<AtomicU64>,
}

struct Arrival {
    port: usize,
    at: Duration,
    packet: Vec<u8>,
}

/// A packet on its way, in the order in which things happen.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct OnTheWay {
    due: Duration,
    order: u64,
    to: usize,
    /// Whether it has the receiver's line behind it.
    at_the_door: bool,
    packet: Vec<u8>,
}

struct Line {
    up: Pipe,
    down: Pipe,
    port: Port,
}

/// Connects hosts for as long as the process lives.
pub(crate) fn connect(ports: Vec<Port>, seed: u64) -> io::Result<()> {
    let begin = Instant::now();
    let (sender, arrivals) = channel();
    for (number, port) in ports.iter().enumerate() {
        let (device, sender) = (Arc::clone(&port.device), sender.clone());
        thread::Builder::new().name(format!("wan-{number}")).spawn(move || read(&device, number, begin, &sender))?;
    }
    let lines = ports.into_iter().map(|port| Line { up: Pipe::new(&port.link), down: Pipe::new(&port.link), port });
    let switch = Switch { lines: lines.collect(), dice: Dice::new(seed), heap: BinaryHeap::new(), order: 0, begin };
    thread::Builder::new().name("wan-switch".to_owned()).spawn(move || switch.run(&arrivals))?;
    Ok(())
}

fn read(device: &SyncDevice, port: usize, begin: Instant, arrivals: &Sender<Arrival>) {
    let mut buffer = [0; MTU as usize];
    // Ends with the device, which goes with its namespace.
    while let Ok(length) = device.recv(&mut buffer) {
        let packet = buffer.get(..length).unwrap_or_default().to_vec();
        if arrivals.send(Arrival { port, at: begin.elapsed(), packet }).is_err() {
            return;
        }
    }
}

struct Switch {
    lines: Vec<Line>,
    dice: Dice,
    heap: BinaryHeap<Reverse<OnTheWay>>,
    order: u64,
    begin: Instant,
}

impl Switch {
    fn run(mut self, arrivals: &Receiver<Arrival>) {
        loop {
            self.let_go();
            let wait = match self.heap.peek() {
                Some(Reverse(next)) => next.due.saturating_sub(self.begin.elapsed()),
                None => Duration::from_secs(3600),
            };
            match arrivals.recv_timeout(wait) {
                Ok(arrival) => {
                    self.take(arrival);
                    while let Ok(arrival) = arrivals.try_recv() {
                        self.take(arrival);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// A packet leaves its host.
    fn take(&mut self, Arrival { port, at, packet }: Arrival) {
        let Some(destination) = packet.get(DESTINATION).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) else {
            return;
        };
        let destination = Ipv4Addr::from(destination);
        let Some(to) = self.lines.iter().position(|line| line.port.address == destination) else { return };
        let far = self.lines[to].port.link.delay;
        let line = &mut self.lines[port];
        if self.dice.falls(line.port.link.loss_ppm) {
            return;
        }
        if let Some(left) = line.up.pass(at, packet.len() as u64) {
            let due = left + line.port.link.delay + far;
            self.order += 1;
            self.heap.push(Reverse(OnTheWay { due, order: self.order, to, at_the_door: false, packet }));
        }
    }

    /// Lets go what is due.
    fn let_go(&mut self) {
        let now = self.begin.elapsed();
        while self.heap.peek().is_some_and(|Reverse(next)| next.due <= now) {
            let Some(Reverse(mut next)) = self.heap.pop() else { return };
            let line = &mut self.lines[next.to];
            if next.at_the_door || line.port.link.rate == 0 {
                // A host that is gone or whose queue is full loses it, as hosts do.
                if line.port.device.send(&next.packet).is_ok() {
                    line.port.received.fetch_add(next.packet.len() as u64, Ordering::Relaxed);
                }
            } else if let Some(due) = line.down.pass(next.due, next.packet.len() as u64) {
                next.due = due;
                next.at_the_door = true;
                self.heap.push(Reverse(next));
            }
        }
    }
}
