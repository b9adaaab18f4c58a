//! `replay`: plays a trace again, checks that the machine does the same, and shows what happened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use hotstuff2_sync::calls::{CallDone, HostReply};
use hotstuff2_sync::ids::{PeerId, RequestId};
use hotstuff2_sync::machine::{Event, Input, Output, PeerEvent, Penalty};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::trace::{PlayError, Played, Replayer, TraceError, TraceFrames};
use hotstuff2_sync::wire::{Answer, Refusal, Request};
use serde::Serialize;

use crate::args::ReplayArgs;
use crate::error::CliError;
use crate::report::{conclude, say, short};

/// Bytes of the file that are read at once.
const PIECE: usize = 64 << 10;

/// Report of a replay.
#[derive(Debug, Serialize)]
struct ReplayReport {
    /// Whether the replay gave what was recorded.
    same: bool,
    /// Whether the trace ends in the middle of a step: what wrote it was killed.
    truncated: bool,
    /// The version of the program that wrote it.
    software: String,
    chain_id: String,
    steps: u64,
    inputs: u64,
    outputs: u64,
    /// The digest of all outputs.
    digest: String,
    /// From the first input to the last.
    seconds: f64,
    start_height: u64,
    height: u64,
    target_height: u64,
    peers: Vec<PeerLine>,
    stalls: Vec<Stall>,
    bans: Vec<Ban>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<Vec<Line>>,
}

/// Requests to one peer, and what came of them.
#[derive(Debug, Default, Serialize)]
struct PeerLine {
    id: String,
    /// Number of requests of each kind.
    requests: BTreeMap<&'static str, u64>,
    answered: u64,
    refused: u64,
    failed: u64,
    /// Given up by this node: late, or no longer wanted.
    cancelled: u64,
    /// Bytes of its answers.
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Stall {
    /// Seconds since the node's start, as all times here.
    since: f64,
    /// Time of the next progress, if there was any.
    until: Option<f64>,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Ban {
    at: f64,
    peer: String,
    fault: String,
}

#[derive(Debug, Serialize)]
struct Line {
    at: f64,
    text: String,
}

pub(crate) fn run(args: &ReplayArgs) -> Result<(), CliError> {
    let json = args.json.path.as_deref();
    let mut seen =
        Seen { keep: args.timeline && json.is_some(), show: args.timeline && json.is_none(), ..Seen::default() };
    let (replayed, end) = replay(&args.trace, &mut seen)?;
    let Some((replayer, mut report)) = replayed else {
        return Err(CliError::Trace { path: args.trace.clone(), source: end.err().unwrap_or(TraceError::Foreign) });
    };
    let difference = match end {
        Ok(()) => None,
        Err(TraceError::Truncated { .. }) => {
            report.truncated = true;
            None
        }
        Err(source) => return Err(CliError::Trace { path: args.trace.clone(), source }),
    }
    .or(seen.difference.take());
    let progress = replayer.machine().progress();
    report.same = difference.is_none();
    report.steps = replayer.steps();
    report.digest = replayer.digest().to_string();
    report.height = progress.current.get();
    report.target_height = progress.target.get();
    seen.fill(&mut report);
    say(json, format_args!("{}", describe(&report)));
    let result = match difference {
        Some(difference) => Err(CliError::Different { path: args.trace.clone(), difference }),
        None => Ok(()),
    };
    conclude(&report, json, result)
}

type Replayed = Option<(Replayer, ReplayReport)>;

/// Plays the trace at `path`, as far as it is whole or gives what was recorded; and how it ends. `None` where it has no
/// head.
fn replay(path: &Path, seen: &mut Seen) -> Result<(Replayed, Result<(), TraceError>), CliError> {
    let mut file = File::open(path).map_err(CliError::file("read", path))?;
    let (mut frames, mut piece) = (TraceFrames::default(), vec![0; PIECE]);
    let mut replayed: Replayed = None;
    loop {
        let count = match file.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CliError::file("read", path)(error)),
        };
        if count == 0 {
            return Ok((replayed, frames.finish()));
        }
        frames.push(piece.get(..count).unwrap_or_default());
        loop {
            let frame = match frames.take() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return Ok((replayed, Err(error))),
            };
            let Some((replayer, report)) = &mut replayed else {
                match Replayer::new(frame) {
                    Ok((replayer, header)) => replayed = Some((replayer, begin(&header))),
                    Err(error) => return Ok((None, Err(error))),
                }
                continue;
            };
            let played = replayer.read(frame).map_err(PlayError::Trace).and_then(|step| replayer.play(step));
            match played {
                Ok(played) => seen.step(played, report),
                Err(PlayError::Trace(error)) => return Ok((replayed, Err(error))),
                Err(PlayError::Different(difference)) => {
                    seen.difference = Some(difference);
                    return Ok((replayed, Ok(())));
                }
            }
        }
    }
}

fn begin(header: &hotstuff2_sync::trace::TraceHeader) -> ReplayReport {
    ReplayReport {
        same: false,
        truncated: false,
        software: header.software.clone(),
        chain_id: header.chain_id().to_string(),
        steps: 0,
        inputs: 0,
        outputs: 0,
        digest: String::new(),
        seconds: 0.0,
        start_height: header.height().get(),
        height: 0,
        target_height: 0,
        peers: Vec::new(),
        stalls: Vec::new(),
        bans: Vec::new(),
        timeline: None,
    }
}

fn seconds(at: Instant) -> f64 {
    at.as_micros() as f64 / 1e6
}

/// Record of what a replay has shown so far.
#[derive(Default)]
struct Seen {
    /// Whether to keep lines for the report, and whether to show them.
    keep: bool,
    show: bool,
    lines: Vec<Line>,
    peers: BTreeMap<PeerId, PeerLine>,
    open: BTreeMap<RequestId, PeerId>,
    stalls: Vec<Stall>,
    bans: Vec<Ban>,
    first: Option<Instant>,
    last: Instant,
    difference: Option<Box<hotstuff2_sync::trace::Difference>>,
}

impl Seen {
    fn step(&mut self, played: Played, report: &mut ReplayReport) {
        for (at, input) in played.inputs {
            report.inputs += 1;
            self.first.get_or_insert(at);
            self.last = self.last.max(at);
            self.input(input);
        }
        for output in played.outputs {
            if !matches!(output, Output::Wait(_)) {
                report.outputs += 1;
            }
            self.output(output);
        }
    }

    fn line(&mut self, text: String) {
        let at = seconds(self.last);
        if self.show {
            // Whoever looks at a part of it closes the pipe.
            let _ = writeln!(io::stdout().lock(), "{at:12.6}  {text}");
        }
        if self.keep {
            self.lines.push(Line { at, text });
        }
    }

    fn peer(&mut self, id: PeerId) -> &mut PeerLine {
        self.peers.entry(id).or_insert_with(|| PeerLine { id: id.to_string(), ..PeerLine::default() })
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Start(None) => self.line("start".to_owned()),
            Input::Start(Some(until)) => self.line(format!("start, until block {until}")),
            Input::Stop => self.line("stop".to_owned()),
            Input::Peer(PeerEvent::Connected { peer, .. }) => {
                self.peer(peer);
                self.line(format!("{} connected", name(peer)));
            }
            Input::Peer(PeerEvent::Disconnected { peer }) => self.line(format!("{} disconnected", name(peer))),
            Input::Peer(PeerEvent::Excluded { peer, reason }) => self.line(format!("{}: {reason}", name(peer))),
            Input::Peer(PeerEvent::Pardoned { peer }) => self.line(format!("{} pardoned", name(peer))),
            Input::Response(id, answer) => {
                let Some(peer) = self.open.remove(&id) else { return };
                let line = self.peer(peer);
                match answer {
                    Ok(bytes) => {
                        line.bytes += bytes.len() as u64;
                        match Answer::decode(bytes) {
                            Ok(Answer::Refused(Refusal::NotAvailable)) => line.refused += 1,
                            Ok(Answer::Refused(refusal)) => {
                                line.refused += 1;
                                self.line(format!("{} says {refusal:?}", name(peer)));
                            }
                            Ok(Answer::Data(_)) | Err(_) => line.answered += 1,
                        }
                    }
                    Err(failure) => {
                        line.failed += 1;
                        self.line(format!("{}: {failure}", name(peer)));
                    }
                }
            }
            Input::Verdict(verdict) => {
                if let Err(fault) = verdict.outcome() {
                    self.line(format!("job {} finds: {fault}", verdict.job()));
                }
            }
            Input::Done(CallDone { id, result: Ok(HostReply::Applied { stopped: Some(error), .. }) | Err(error) }) => {
                self.line(format!("call {id}: {error}"));
            }
            Input::Strategy(strategy) => self.line(format!("told to use the strategy {strategy}")),
            _ => {}
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Request { id, peer, request, .. } => {
                self.open.insert(id, peer);
                *self.peer(peer).requests.entry(kind(&request)).or_default() += 1;
            }
            Output::CancelRequest(id) => {
                if let Some(peer) = self.open.remove(&id) {
                    self.peer(peer).cancelled += 1;
                }
            }
            Output::Penalize { peer, penalty } => {
                let fault = match penalty {
                    Penalty::Ban { fault, .. } => fault.to_string(),
                    Penalty::Exclude { reason, .. } => reason.to_string(),
                    other => return self.line(format!("{} {other}", name(peer))),
                };
                self.bans.push(Ban { at: seconds(self.last), peer: peer.to_string(), fault });
            }
            Output::Event(event) => {
                match &event {
                    Event::Stalled { reason, since, .. } => {
                        let begins = seconds(*since);
                        let again = self
                            .stalls
                            .last()
                            .is_some_and(|stall| stall.until.is_none() && stall.reason == reason.to_string());
                        if !again {
                            self.end_stall();
                            self.stalls.push(Stall { since: begins, until: None, reason: reason.to_string() });
                        }
                    }
                    Event::Resumed | Event::Reached(_) => self.end_stall(),
                    _ => {}
                }
                self.line(event.to_string());
            }
            _ => {}
        }
    }

    fn end_stall(&mut self) {
        let now = seconds(self.last);
        if let Some(stall) = self.stalls.last_mut() {
            stall.until.get_or_insert(now);
        }
    }

    fn fill(self, report: &mut ReplayReport) {
        report.seconds = seconds(self.last) - self.first.map_or(0.0, seconds);
        report.peers = self.peers.into_values().collect();
        report.stalls = self.stalls;
        report.bans = self.bans;
        report.timeline = self.keep.then_some(self.lines);
    }
}

fn name(peer: PeerId) -> String {
    short(&peer.to_string()).to_owned()
}

fn kind(request: &Request) -> &'static str {
    match request {
        Request::Status => "status",
        Request::Handovers { .. } => "handovers",
        Request::Tip => "tip",
        Request::Segment { .. } => "segment",
        Request::Bodies { .. } => "bodies",
        Request::Follow { .. } => "follow",
        Request::State { .. } => "state",
        Request::Proof { .. } => "proof",
        Request::Peers { .. } => "peers",
        Request::Advert { .. } => "advert",
        Request::BackedAdvert { .. } => "backed advert",
        Request::Read { .. } => "read",
    }
}

fn describe(report: &ReplayReport) -> String {
    let ReplayReport { steps, inputs, outputs, digest, height, start_height, target_height, .. } = report;
    let mut text = String::new();
    for PeerLine { id, requests, answered, refused, failed, cancelled, bytes } in &report.peers {
        let asked: u64 = requests.values().sum();
        let kinds: Vec<String> = requests.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        text += &format!(
            "{}: {asked} requests ({}): {answered} answered with {:.1} MB, {refused} refused, {failed} failed, {cancelled} given up\n",
            short(id),
            kinds.join(", "),
            *bytes as f64 / 1e6,
        );
    }
    for Ban { at, peer, fault } in &report.bans {
        text += &format!("banned {} at {at:.3} s: {fault}\n", short(peer));
    }
    for Stall { since, until, reason } in &report.stalls {
        let until = until.map_or_else(|| "the end".to_owned(), |until| format!("{until:.3} s"));
        text += &format!("no progress from {since:.3} s to {until}: {reason}\n");
    }
    let end = if report.truncated { ", where the trace was cut off" } else { "" };
    let same = if report.same { "the same" } else { "NOT the same" };
    text += &format!(
        "height {start_height} to {height} of {target_height} in {:.3} s{end}\n\
         {steps} steps, {inputs} inputs, {outputs} outputs: {same} as recorded\ndigest {digest}",
        report.seconds,
    );
    text
}
