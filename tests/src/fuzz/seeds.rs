//! What fuzzing begins with.

use hotstuff2_sync::calls::{CallDone, HostReply};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{CallId, PeerId};
use hotstuff2_sync::machine::{Input as MachineInput, Machine, Output, PeerEvent};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::Request;

use super::jobs::{CHAIN, count, segment_bytes};

/// A few small inputs that reach far, for the target `name`; none for an unknown one.
pub fn seeds(name: &str) -> Vec<Vec<u8>> {
    match name {
        "decoders" => decoders(),
        "jobs" => {
            let kinds = 0..u8::try_from(count()).unwrap_or(u8::MAX);
            kinds
                .flat_map(|kind| [vec![kind], vec![kind, 1, 40, 0, 0, 1], vec![kind, 2, 9, 0, 1, 3, 0, 3, 9, 0]])
                .collect()
        }
        "respond" => {
            let mut seeds: Vec<Vec<u8>> = (0..9).map(|kind| vec![1, 3, 5, 0, 1, kind, 1, 0, 13, 0]).collect();
            seeds.push([&[0], Request::Tip.encode().as_slice()].concat());
            seeds
        }
        "machine" => (0..6).map(walk).collect(),
        "session" => (0..3).flat_map(|mode| (0..4).map(move |seed| talk(mode, seed))).collect(),
        _ => Vec::new(),
    }
}

fn decoders() -> Vec<Vec<u8>> {
    let with = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
    let header = CHAIN.headers().last().map(hotstuff2_sync::chain::native::Header::encode).unwrap_or_default();
    let handover = CHAIN.handovers().first().map(|link| link.bytes.to_vec()).unwrap_or_default();
    let epoch = CHAIN.epochs().first().map(|epoch| epoch.info().encode()).unwrap_or_default();
    vec![
        with(0, &header),
        with(1, &segment_bytes()),
        with(2, &handover),
        with(3, &CHAIN.tip(CHAIN.tip_height()).unwrap_or_default()),
        with(4, &epoch),
        with(7, &CHAIN.genesis().document().encode()),
        with(11, &Request::Handovers { from: hotstuff2_sync::ids::Epoch::ZERO, max: 3 }.encode()),
        with(12, &CHAIN.respond(&Request::Status)),
        with(13, b"bodies bodies bodies"),
        with(17, &[0]),
        with(20, &first_job()),
        with(22, &CHAIN.start().encode()),
        with(24, &CallDone { id: CallId::FIRST, result: Ok(HostReply::Staged) }.encode()),
    ]
}

/// The encoding of the first job that a machine gives out: to prove a peer's tip.
fn first_job() -> Vec<u8> {
    let mut machine = Machine::new(SyncConfig::default(), CHAIN.start(), 7, Instant::ZERO).expect("valid settings");
    let peer = PeerId::from_bytes([1; 32]);
    machine.handle(Instant::ZERO, MachineInput::Start(None));
    machine.handle(Instant::ZERO, MachineInput::Peer(PeerEvent::Connected { peer, group: 1 }));
    for _ in 0..100 {
        match machine.poll_output() {
            Output::Request { id, request, .. } => {
                machine.handle(Instant::ZERO, MachineInput::Response(id, Ok(CHAIN.respond(&request))));
            }
            Output::Verify(job) => return job.encode(),
            _ => {}
        }
    }
    panic!("a peer that answers makes work")
}

/// Operations that let a sync go on, with some trouble in between.
fn walk(seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = vec![u8::from(seed.is_multiple_of(2)), 0, 1, 1, 0, 2, 2];
    for _ in 0..150 {
        let operation = match rng.below(30) {
            trouble @ 0..=5 => 6 + trouble as u8,
            6 => 13,
            7..=16 => 3,
            17..=24 => 9,
            _ => 12,
        };
        bytes.push(operation);
        bytes.extend([rng.below(6) as u8, 0, rng.below(6) as u8]);
    }
    bytes
}

/// Operations on a session of the fuzz target's `mode`.
fn talk(mode: u8, seed: u64) -> Vec<u8> {
    let mut bytes = vec![mode];
    // All in turn first, so that a session gets on; then in any order.
    bytes.extend((0..60u8).map(|operation| operation.wrapping_mul(7)));
    let mut tail = vec![0; 40];
    Rng::new(seed).fill(&mut tail);
    bytes.extend(tail);
    bytes
}
