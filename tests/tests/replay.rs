//! Record and replay: a run's inputs give its outputs again, to the byte, and whatever differs is found where it differs.

use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{PeerEvent, RequestFailure};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::trace::{
    Blob, MAX_FRAME_BYTES, PlayError, Replayer, TraceError, TraceFrames, TraceInput, TraceReply, TraceStep, TraceWriter,
};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Behaviour as _, Honest, Reply, Scripted, World};

const MINUTE: Duration = Duration::from_secs(60);
/// Worlds that are recorded and replayed.
const WORLDS: u64 = 60;

/// A world with peers of all kinds, some of which lie, recorded to its end.
fn recorded(seed: u64) -> World {
    let rng = &mut Rng::new(seed);
    let spec = ChainSpec { blocks: 200 + rng.below(2400), epochs: 1 + rng.below(4), seed, ..ChainSpec::default() };
    let chain = TestChain::with_payloads(spec, [0, 100, 3000][rng.below(3) as usize], None).unwrap();
    let strategies = [SyncStrategyType::Auto, SyncStrategyType::Parallel, SyncStrategyType::Incremental];
    let config = SyncConfig {
        default_strategy: strategies[rng.below(3) as usize],
        memory_budget: 8 << 20,
        job_timeout: Duration::from_secs(2),
        ..SyncConfig::default()
    };
    let mut world = World::new(chain, config).unwrap();
    world.record();
    world.lose_jobs = (0..rng.below(5)).map(|_| rng.below(40)).collect();
    world.join(0, Honest::default());
    for name in 1..=rng.below(5) as u8 {
        let mut own = Rng::new(rng.next_u64());
        let mut base = Honest { latency: Duration::from_millis(rng.below(200)), ..Honest::default() };
        let peer = world.join(
            name,
            Scripted(move |request: &Request, chain: &TestChain, _| {
                match (own.below(12), base.reply(request, chain)) {
                    (0, Reply::After(after, bytes)) => {
                        let mut bytes = bytes.to_vec();
                        let at = own.below(bytes.len() as u64) as usize;
                        bytes[at] ^= 1 << own.below(8);
                        Reply::After(after, bytes.into())
                    }
                    (1, _) => Reply::Never,
                    (2, _) => Reply::Broken(Duration::from_millis(own.below(50))),
                    (3, Reply::After(after, _)) => Reply::After(after, encode_refusal(Refusal::NotAvailable)),
                    (_, reply) => reply,
                }
            }),
        );
        if rng.below(2) == 0 {
            let at = Instant::from_micros(rng.below(400_000));
            world.schedule(at, PeerEvent::Disconnected { peer });
            world.schedule(at.after(MINUTE / 60), PeerEvent::Connected { peer, group: u64::from(name) });
        }
    }
    world.start();
    world.run_until(Duration::from_millis(rng.below(300)), |_| false);
    world.stop();
    world.start();
    assert!(world.run_to_tip(MINUTE * 60), "world {seed}: {:?}", world.machine.progress());
    world
}

/// The contents of a trace's frames, as far as they are whole, and how it ends.
fn frames(bytes: &[u8]) -> (Vec<Vec<u8>>, Result<(), TraceError>) {
    let (mut frames, mut found) = (TraceFrames::default(), Vec::new());
    // In pieces, as a file is read.
    for piece in bytes.chunks(10_000) {
        frames.push(piece);
        loop {
            match frames.take() {
                Ok(Some(content)) => found.push(content.to_vec()),
                Ok(None) => break,
                Err(error) => return (found, Err(error)),
            }
        }
    }
    let end = frames.finish();
    (found, end)
}

fn steps(frames: &[Vec<u8>]) -> Vec<TraceStep> {
    frames[1..].iter().map(|frame| postcard::from_bytes(frame).unwrap()).collect()
}

/// Replays; the digest, or the first error.
fn replay(frames: &[Vec<u8>]) -> Result<Replayer, PlayError> {
    let (mut replayer, _) = Replayer::new(&frames[0]).map_err(PlayError::Trace)?;
    for frame in &frames[1..] {
        let step = replayer.read(frame).map_err(PlayError::Trace)?;
        replayer.play(step)?;
    }
    Ok(replayer)
}

#[test]
fn any_run_replays_to_the_same_outputs() {
    for seed in 0..WORLDS {
        let world = recorded(seed);
        let trace = world.trace().unwrap();
        let replayer = trace.replay().unwrap_or_else(|error| panic!("world {seed}: {error:?}"));
        assert_eq!(replayer.digest(), trace.digest(), "world {seed}");
        assert_eq!(replayer.machine().progress(), world.machine.progress(), "world {seed}");
    }
}

#[test]
fn a_trace_is_small_whatever_the_blocks_are() {
    let spec = ChainSpec { blocks: 3000, ..ChainSpec::default() };
    let chain = TestChain::with_payloads(spec, 10_000, None).unwrap();
    let mut world = World::new(chain, SyncConfig::default()).unwrap();
    world.record();
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(MINUTE));
    let size = world.trace().unwrap().bytes().len() as u64;
    assert!(size * 100 < world.machine.progress().payload_bytes, "{size} bytes");
}

/// Changes an input in a way that matters to the machine.
fn flip(input: &mut TraceInput) -> bool {
    match input {
        TraceInput::Response(_, answer @ Ok(_)) => *answer = Err(RequestFailure::Oversize),
        TraceInput::Verdict { outcome: outcome @ Some(Ok(_)), .. } => {
            *outcome = Some(Err(hotstuff2_sync::chain::Fault::Malformed.into()));
        }
        TraceInput::Peer(PeerEvent::Connected { peer, .. }) => *peer = PeerId::from_bytes([99; 32]),
        TraceInput::Done(_, Ok(TraceReply::Applied(through, _))) => *through = Height::new(through.get() - 1),
        _ => return false,
    }
    true
}

#[test]
fn a_changed_input_is_found_at_its_drain() {
    let world = recorded(3);
    let (frames, _) = frames(world.trace().unwrap().bytes());
    let steps = steps(&frames);
    let mut tried = 0;
    for (number, step) in steps.iter().enumerate() {
        let mut changed = step.clone();
        if !changed.inputs.iter_mut().any(|(_, input)| flip(input)) {
            continue;
        }
        tried += 1;
        let (mut replayer, _) = Replayer::new(&frames[0]).unwrap();
        for step in &steps[..number] {
            replayer.play(step.clone()).unwrap();
        }
        let mut rest = steps[number + 1..].iter().cloned();
        let first = replayer.play(changed.clone());
        let difference = match first {
            Err(PlayError::Different(difference)) => difference,
            // What a blob stands for may come out later only, when the machine hands it on.
            Ok(_) => match rest.find_map(|step| replayer.play(step).err()) {
                Some(PlayError::Different(difference)) => difference,
                other => panic!("step {} {:?}: {other:?}", number + 1, changed.inputs),
            },
            Err(other) => panic!("{other:?}"),
        };
        assert!(difference.step > number as u64, "{difference}");
        assert!(difference.to_string().contains(&format!("step {}", difference.step)), "{difference}");
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn a_flipped_end_of_opaque_bytes_is_found_at_once() {
    let world = recorded(5);
    let (frames, _) = frames(world.trace().unwrap().bytes());
    let all = steps(&frames);
    let is_opaque = |input: &TraceInput| matches!(input, TraceInput::Response(_, Ok(Blob::Ends { .. })));
    let number = all.iter().position(|step| step.inputs.iter().any(|(_, input)| is_opaque(input))).unwrap();
    let mut steps = all.clone();
    for (_, input) in &mut steps[number].inputs {
        if let TraceInput::Response(_, Ok(Blob::Ends { back, .. })) = input {
            back[3] ^= 1;
        }
    }
    let (mut replayer, _) = Replayer::new(&frames[0]).unwrap();
    let error = steps.into_iter().find_map(|step| replayer.play(step).err());
    match error {
        Some(PlayError::Different(difference)) => assert_eq!(difference.step, number as u64 + 1, "{difference}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trace_that_was_cut_off_replays_up_to_there() {
    let world = recorded(1);
    let bytes = world.trace().unwrap().bytes();
    let (whole, _) = frames(bytes);
    for cut in [bytes.len() - 1, bytes.len() / 2, bytes.len() / 3] {
        let (some, end) = frames(&bytes[..cut]);
        assert!(some.len() < whole.len());
        assert_eq!(end, Err(TraceError::Truncated { step: some.len() as u64 }));
        let replayer = replay(&some).unwrap();
        assert_eq!(replayer.steps() + 1, some.len() as u64);
        assert_eq!(replayer.digest(), steps(&some).last().unwrap().digest);
    }
}

#[test]
fn what_is_no_trace_is_refused_with_the_reason() {
    let world = recorded(1);
    let bytes = world.trace().unwrap().bytes().to_vec();
    let error = |bytes: &[u8]| frames(bytes).1.unwrap_err();
    assert_eq!(error(b""), TraceError::Foreign);
    assert_eq!(error(b"hs2"), TraceError::Truncated { step: 0 });
    assert_eq!(error(b"PNG or something else entirely"), TraceError::Foreign);
    let mut newer = bytes.clone();
    newer[8] = 200;
    assert_eq!(error(&newer), TraceError::Version(200));
    let mut endless = bytes[..10].to_vec();
    endless.extend((MAX_FRAME_BYTES + 1).to_le_bytes());
    endless.extend([0; 8]);
    assert_eq!(error(&endless), TraceError::TooLarge { step: 0 });
    // A bit anywhere but in a length is a damaged frame; in a length it is that, a cut or a frame too large.
    let mut rng = Rng::new(9);
    for _ in 0..500 {
        let mut damaged = bytes.clone();
        let at = 10 + rng.below(damaged.len() as u64 - 10) as usize;
        damaged[at] ^= 1 << rng.below(8);
        let found = error(&damaged);
        let named =
            matches!(found, TraceError::Damaged { .. } | TraceError::Truncated { .. } | TraceError::TooLarge { .. });
        assert!(named, "{found:?}");
    }
}

#[test]
fn made_up_frames_are_errors_and_nothing_worse() {
    let world = recorded(2);
    let (frames, _) = frames(world.trace().unwrap().bytes());
    let mut rng = Rng::new(4);
    let mut kinds = [0; 3];
    for round in 0..400 {
        let number = rng.below(frames.len() as u64) as usize;
        let mut made_up = frames.clone();
        for _ in 0..=rng.below(4) {
            let frame = &mut made_up[number];
            let at = rng.below(frame.len() as u64) as usize;
            frame[at] = rng.next_u64() as u8;
        }
        match replay(&made_up) {
            Err(PlayError::Trace(_)) => kinds[0] += 1,
            Err(PlayError::Different(_)) => kinds[1] += 1,
            Ok(_) => kinds[2] += 1,
        }
        let _ = round;
    }
    assert!(kinds[0] > 0 && kinds[1] > 0, "{kinds:?}");
}

#[test]
fn a_blob_that_claims_more_than_any_answer_takes_no_memory() {
    let world = recorded(1);
    let (frames, _) = frames(world.trace().unwrap().bytes());
    let (mut replayer, _) = Replayer::new(&frames[0]).unwrap();
    let huge = || Blob::Ends { len: u32::MAX, front: [0; 24], back: [0; 16] };
    let id = hotstuff2_sync::ids::RequestId::FIRST;
    let inputs = vec![(Instant::ZERO, TraceInput::Response(id, Ok(huge())))];
    let error = replayer.play(TraceStep { inputs, outputs: Vec::new(), digest: Hash::ZERO });
    assert!(matches!(error, Err(PlayError::Trace(TraceError::Invalid { step: 1, .. }))), "{error:?}");
}

#[test]
fn a_head_is_written_once_and_read_back() {
    let world = recorded(1);
    let (frames, _) = frames(world.trace().unwrap().bytes());
    let (_, header) = Replayer::new(&frames[0]).unwrap();
    assert_eq!(header.seed, 7);
    assert_eq!(header.height(), Height::ZERO);
    assert_eq!(header.chain_id(), world.source.genesis().chain_id());
    let (_, again) = TraceWriter::begin(&header).unwrap();
    assert_eq!(again, &world.trace().unwrap().bytes()[..again.len()]);
}
