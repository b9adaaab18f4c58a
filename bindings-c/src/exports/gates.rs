//! The participation gate: when a validator may take part in consensus, and with what.
#![allow(unsafe_code)]

use hotstuff2_sync::chain::Chain as _;
use hotstuff2_sync::chain::native::{Advert, AdvertClaim, EpochContext, QuorumCertificate, TimeoutCertificate};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::participation::{
    GateOutput, GateSettings, ParticipationGate, PauseReason, Permit, SyncFacts, VoteRecord, WaitReason,
};
use hotstuff2_sync::time::UnixMillis;

use crate::buffer::give;
use crate::failure::Failure;
use crate::fence::fence;
use crate::machine::Machines;
use crate::objects::{Gates, Rules};
use crate::pointer::{Out, bytes, read};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{
    HS2_GATE_ASK, HS2_GATE_PAUSE, HS2_GATE_RESUME, HS2_GATE_WAIT, HS2_VOTES_LAST, HS2_VOTES_LOST, HS2_VOTES_NEVER,
    hs2_buffer, hs2_chain, hs2_epoch, hs2_gate, hs2_gate_output, hs2_id, hs2_machine, hs2_permit, hs2_slice,
};

/// A gate that is closed. `own` is this validator's key in the set, with its `power`; null where it is none, and then there is no
/// permit before `hs2_gate_validator` says otherwise. `seed` is 32 fresh random bytes, new at each start and told to nobody: challenges follow from it. `max_behind` is how many proven
/// blocks may be ahead of this node before it leaves consensus, and `fresh_tip_ms` up to which age a proven tip shows by
/// itself that nothing newer is withheld; 0 for the defaults, 64 and 10,000. Ownership: one reference to `gate`. Threads: any.
/// Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_gate_new(
    own: *const hs2_id,
    power: u64,
    seed: *const hs2_id,
    max_behind: u64,
    fresh_tip_ms: u64,
    gate: *mut hs2_gate,
) -> hs2_status {
    // SAFETY: passed on.
    unsafe { gate_of(own, power, seed, max_behind, fresh_tip_ms, false, gate) }
}

/// The same for a chain of which all hosts enter a view by a certificate of the one before alone: promise 7 of the native
/// chain's voters. Only there may `HS2_VOTES_LOST` lead to a permit: the other validators show their certificates, and with them
/// the views in which this one can have voted, and its lock (`hs2_permit_lock`). On a chain whose views go by a clock it would let
/// a validator vote against a lock that it has forgotten. Ownership: one reference to `gate`. Threads: any.
/// Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_gate_new_certified(
    own: *const hs2_id,
    power: u64,
    seed: *const hs2_id,
    max_behind: u64,
    fresh_tip_ms: u64,
    gate: *mut hs2_gate,
) -> hs2_status {
    // SAFETY: passed on.
    unsafe { gate_of(own, power, seed, max_behind, fresh_tip_ms, true, gate) }
}

/// Makes a gate.
///
/// # Safety
/// As for `hs2_gate_new`.
unsafe fn gate_of(
    own: *const hs2_id,
    power: u64,
    seed: *const hs2_id,
    max_behind: u64,
    fresh_tip_ms: u64,
    views_are_certified: bool,
    gate: *mut hs2_gate,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the caller promises.
        let (own, seed, gate) = unsafe {
            let own = if own.is_null() { None } else { Some(read(own, "own")?) };
            (own, read(seed, "seed")?, Out::new(gate, "gate")?)
        };
        let mut settings = GateSettings { views_are_certified, ..GateSettings::default() };
        if max_behind > 0 {
            settings.max_behind_blocks = max_behind;
        }
        if fresh_tip_ms > 0 {
            settings.fresh_tip_ms = fresh_tip_ms;
        }
        let own = own.map(|key| (Hash::from(key), power));
        gate.set(table::insert(Gates::new(ParticipationGate::new(settings, own, seed.into())))?);
        Ok(())
    })
}

/// Takes the host's record of its own votes, read back from its disk; again before every return to consensus. `record` is
/// `HS2_VOTES_NEVER`, `HS2_VOTES_LAST` with the highest view that it voted in or gave up on, or `HS2_VOTES_LOST`, after
/// which there is no permit but with `hs2_gate_new_certified`. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_gate_votes(gate: hs2_gate, record: u32, view: u64) -> hs2_status {
    fence(gate, || {
        let record = match record {
            HS2_VOTES_NEVER => VoteRecord::Never,
            HS2_VOTES_LAST => VoteRecord::Last(View::new(view)),
            HS2_VOTES_LOST => VoteRecord::Lost,
            _ => return Err(Failure::argument("record", "is no HS2_VOTES")),
        };
        table::get::<Gates>(gate)?.lock()?.handle_vote_record(record);
        Ok(())
    })
}

/// This validator in the set that is in force: its key with its `power`; null where it is in none, which withdraws the permit
/// until an epoch comes that has it. To be told whenever an epoch ends, before `hs2_gate_sync`. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_gate_validator(gate: hs2_gate, own: *const hs2_id, power: u64) -> hs2_status {
    fence(gate, || {
        // SAFETY: readable where it is not null, as the header asks for.
        let own = if own.is_null() { None } else { Some(unsafe { read(own, "own") }?) };
        table::get::<Gates>(gate)?.lock()?.handle_validator(own.map(|key| (Hash::from(key), power)));
        Ok(())
    })
}

/// Where the machine stands now, at `wall_ms` by the host's time of day. To be told after each drain of the machine.
/// Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_gate_sync(gate: hs2_gate, wall_ms: u64, machine: hs2_machine, chain: hs2_chain) -> hs2_status {
    fence(gate, || {
        let rules = table::get::<Rules>(chain)?;
        let position = table::get::<Machines>(machine)?.lock()?.machine.position();
        let facts = SyncFacts {
            applied: position.applied,
            proven: position.proven.as_ref().map(|(tip, _)| *tip),
            epoch: position.epoch.epoch(),
            suffix: position.proven.as_ref().and_then(|(_, proof)| rules.chain.certified_suffix(proof)),
        };
        table::get::<Gates>(gate)?.lock()?.handle_sync(UnixMillis::new(wall_ms), facts);
        Ok(())
    })
}

/// A validator's signed word (`hs2_advert_sign`), checked here under the epoch that is in force. Threads: one at a time.
/// Errors: `HS2_FALSE`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_gate_advert(
    gate: hs2_gate,
    wall_ms: u64,
    epoch: hs2_epoch,
    advert: hs2_slice,
) -> hs2_status {
    fence(gate, || {
        // SAFETY: readable, as the header asks for.
        let advert = unsafe { bytes(advert, "advert") }?;
        let epoch = table::get::<EpochContext>(epoch)?;
        let word = Advert::decode(advert)?.verify(&epoch)?;
        table::get::<Gates>(gate)?.lock()?.handle_advert(UnixMillis::new(wall_ms), word);
        Ok(())
    })
}

/// Time has passed. Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_gate_time(gate: hs2_gate, wall_ms: u64) -> hs2_status {
    fence(gate, || {
        table::get::<Gates>(gate)?.lock()?.handle_time(UnixMillis::new(wall_ms));
        Ok(())
    })
}

/// Consensus has verified that the network stands at `height` or above and misses what leads there: the permit is withdrawn
/// where that is too far. Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_gate_behind(gate: hs2_gate, height: u64) -> hs2_status {
    fence(gate, || {
        table::get::<Gates>(gate)?.lock()?.fall_behind(Height::new(height));
        Ok(())
    })
}

/// The next order: `HS2_GATE_PAUSE` (cast no vote any more), `HS2_GATE_RESUME` (take part, with the permit in `object`),
/// `HS2_GATE_ASK` (ask every validator for its word, with the challenge in `id`), and `HS2_GATE_WAIT` last.
/// Ownership: one reference to `output->object`, where it is not 0. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_gate_poll(gate: hs2_gate, output: *mut hs2_gate_output) -> hs2_status {
    fence(gate, || {
        // SAFETY: writable, as the header asks for.
        let output = unsafe { Out::new(output, "output") }?;
        let mut plain = hs2_gate_output {
            kind: HS2_GATE_WAIT,
            reason: 0,
            object: 0,
            height: 0,
            vote_above: 0,
            id: hs2_id { bytes: [0; 32] },
        };
        match table::get::<Gates>(gate)?.lock()?.poll_output() {
            GateOutput::Pause(reason) => {
                plain.kind = HS2_GATE_PAUSE;
                plain.reason = match reason {
                    PauseReason::Behind { .. } => 1,
                    PauseReason::Asked => 2,
                    PauseReason::VoteRecordLost => 3,
                    PauseReason::Forked { .. } => 4,
                    PauseReason::EpochEnded => 5,
                    PauseReason::NoValidator => 6,
                };
            }
            GateOutput::Resume(permit) => {
                plain.kind = HS2_GATE_RESUME;
                plain.height = permit.head.height.get();
                plain.id = permit.head.id.into();
                plain.vote_above = permit.vote_above.get();
                plain.object = table::insert(permit)?;
            }
            GateOutput::Ask { challenge, certificates } => {
                plain.kind = HS2_GATE_ASK;
                plain.reason = certificates.into();
                plain.id = challenge.into();
            }
            GateOutput::Wait(reason) => {
                plain.reason = match reason {
                    None => 0,
                    Some(WaitReason::Applying { .. }) => 1,
                    Some(WaitReason::NotKnownToBeCaughtUp) => 2,
                    Some(WaitReason::VoteRecordLost) => 3,
                    Some(WaitReason::NoVoteRecord) => 4,
                    Some(WaitReason::RestoringVotes) => 5,
                    Some(WaitReason::OwnKeyElsewhere { .. }) => 6,
                    Some(WaitReason::Forked { .. }) => 7,
                    Some(WaitReason::NoValidator) => 8,
                };
            }
            // An order that this library does not know is none.
            _ => {}
        }
        output.set(plain);
        Ok(())
    })
}

/// Reads a header that is certified above the permit's block: the one at `index`, from 0 on, encoded.
/// Ownership: borrowed from the permit. Threads: any.
/// Errors: `HS2_NOT_FOUND` behind the last, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_permit_header(permit: hs2_permit, index: usize, header: *mut hs2_slice) -> hs2_status {
    fence(permit, || {
        // SAFETY: writable, as the header asks for.
        let header = unsafe { Out::new(header, "header") }?;
        let permit = table::get::<Permit>(permit)?;
        let found = permit.suffix.as_ref().and_then(|suffix| suffix.headers.get(index));
        let found = found.ok_or_else(|| Failure::new(Status::NotFound, "there is no further header"))?;
        header.set(hs2_slice::of(found));
        Ok(())
    })
}

/// The certificate for the last of those headers, or for the permit's block where there are none: the high certificate and
/// the lock that consensus begins with. Ownership: borrowed from the permit. Threads: any.
/// Errors: `HS2_NOT_FOUND` where nothing was shown, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_permit_certificate(permit: hs2_permit, certificate: *mut hs2_slice) -> hs2_status {
    fence(permit, || {
        // SAFETY: writable, as the header asks for.
        let certificate = unsafe { Out::new(certificate, "certificate") }?;
        let permit = table::get::<Permit>(permit)?;
        let found = permit.suffix.as_ref().map(|suffix| &suffix.certificate);
        let found = found.ok_or_else(|| Failure::new(Status::NotFound, "nothing was shown above the block"))?;
        certificate.set(hs2_slice::of(found));
        Ok(())
    })
}

/// The lock of a validator whose votes were restored: the view and the certificate that it is locked on, whether or not the block
/// is there. It votes for nothing with a lower justification, and writes both down with `vote_above` as its record before it signs
/// anything. Ownership: the certificate is borrowed from the permit. Threads: any.
/// Errors: `HS2_NOT_FOUND` where the votes were not restored, or nobody has seen a certificate, `HS2_STALE_HANDLE`,
/// `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_permit_lock(
    permit: hs2_permit,
    view: *mut u64,
    certificate: *mut hs2_slice,
) -> hs2_status {
    fence(permit, || {
        // SAFETY: writable, as the header asks for.
        let (view, certificate) = unsafe { (Out::new(view, "view")?, Out::new(certificate, "certificate")?) };
        let permit = table::get::<Permit>(permit)?;
        let lock = permit.lock.as_ref();
        let lock = lock.ok_or_else(|| Failure::new(Status::NotFound, "the permit restores no lock"))?;
        view.set(lock.view.get());
        certificate.set(hs2_slice::of(&lock.bytes));
        Ok(())
    })
}

/// This validator's signed word on where it stands, for a peer's gate: the epoch that it is in, its highest final block, the
/// view that it is in by a record that survives a crash, the time now, and the challenge of whoever asked. Ownership: one
/// reference to `advert`. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_advert_sign(
    secret: *const hs2_id,
    chain_id: *const hs2_id,
    epoch: u64,
    height: u64,
    block: *const hs2_id,
    view: u64,
    wall_ms: u64,
    challenge: *const hs2_id,
    advert: *mut hs2_buffer,
) -> hs2_status {
    // No certificate goes with it, so nobody takes a lock for what it has seen.
    let none = hs2_slice::of(&[]);
    // SAFETY: readable and writable, as the header asks for of both.
    unsafe {
        hs2_advert_sign_backed(secret, chain_id, epoch, height, block, view, wall_ms, challenge, none, none, advert)
    }
}

/// The same with what backs it, for an `HS2_GATE_ASK` that wants certificates (`reason` is 1): `high` is the highest phase-one
/// certificate of the epoch that this validator has seen, which its lock is on, and `entered_by` that by which it entered its
/// view where `high` is not the one (`hs2_timeout_new`). Either may be empty. Ownership: one reference to `advert`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_advert_sign_backed(
    secret: *const hs2_id,
    chain_id: *const hs2_id,
    epoch: u64,
    height: u64,
    block: *const hs2_id,
    view: u64,
    wall_ms: u64,
    challenge: *const hs2_id,
    high: hs2_slice,
    entered_by: hs2_slice,
    advert: *mut hs2_buffer,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (secret, chain_id, block, challenge, advert) = unsafe {
            let (secret, chain_id) = (read(secret, "secret")?, read(chain_id, "chain_id")?);
            let (block, challenge) = (read(block, "block")?, read(challenge, "challenge")?);
            (secret, chain_id, block, challenge, Out::new(advert, "advert")?)
        };
        // SAFETY: readable, as the header asks for.
        let (high, entered_by) = unsafe { (bytes(high, "high")?, bytes(entered_by, "entered_by")?) };
        let malformed = |why| Failure::malformed("certificate", why);
        let shown = |bytes: &[u8]| !bytes.is_empty();
        let high = shown(high).then(|| QuorumCertificate::decode(high)).transpose().map_err(malformed)?;
        let entered_by =
            shown(entered_by).then(|| TimeoutCertificate::decode(entered_by)).transpose().map_err(malformed)?;
        let lock = high.as_ref().map_or(View::ZERO, |high| high.view);
        let claim = AdvertClaim {
            epoch: Epoch::new(epoch),
            lock,
            height: Height::new(height),
            block: block.into(),
            view: View::new(view),
            timestamp: UnixMillis::new(wall_ms),
            challenge: challenge.into(),
        };
        let key = ed25519_dalek::SigningKey::from_bytes(&secret.bytes);
        advert.set(give(Advert::sign(&key, chain_id.into(), claim).backed(high, entered_by).encode())?);
        Ok(())
    })
}
