//! Votes and certificates of a native chain.
#![allow(unsafe_code)]

use ed25519_dalek::{Signer as _, SigningKey};
use hotstuff2_sync::chain::native::{
    EpochContext, Phase, QuorumCertificate, Signature, TimeoutCertificate, ValidatorKey, Vote, give_up_bytes,
};
use hotstuff2_sync::ids::{Epoch, View};
use hotstuff2_sync::limits::MAX_VALIDATORS;

use super::headers::header_of;
use crate::buffer::give;
use crate::failure::Failure;
use crate::fence::fence;
use crate::pointer::{Out, array, bytes, read};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{HS2_TIMEOUT_BYTES, HS2_VOTE_BYTES, hs2_buffer, hs2_epoch, hs2_id, hs2_signature, hs2_slice};

fn phase_of(phase: u32) -> Result<Phase, Failure> {
    [Phase::One, Phase::Two]
        .into_iter()
        .find(|one| u32::from(one.byte()) == phase)
        .ok_or_else(|| Failure::argument("phase", "is neither HS2_PHASE_ONE nor HS2_PHASE_TWO"))
}

/// Signatures with their keys.
fn signatures(votes: &[hs2_signature]) -> Result<impl Iterator<Item = (ValidatorKey, Signature)>, Failure> {
    if votes.len() > MAX_VALIDATORS {
        return Err(Failure::new(Status::TooMany, format!("a certificate has at most {MAX_VALIDATORS} votes")));
    }
    Ok(votes.iter().map(|vote| {
        let signature = ed25519_dalek::Signature::from_bytes(&vote.bytes);
        (ValidatorKey::from_bytes(vote.key.bytes), Signature::from(signature))
    }))
}

/// The bytes that a validator signs to vote for a header in a phase. `vote` has room for `HS2_VOTE_BYTES`. What must be
/// checked before, and written down so that it survives a crash, is in the chain's rules (`docs/c.md`). Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_vote_bytes(header: hs2_slice, phase: u32, vote: *mut u8) -> hs2_status {
    fence(0, || {
        // SAFETY: readable, and writable for so many bytes, as the header asks for.
        let (header, vote) =
            unsafe { (bytes(header, "header")?, Out::new(vote.cast::<[u8; HS2_VOTE_BYTES]>(), "vote")?) };
        let header = header_of(header)?;
        vote.set(Vote::new(&header, header.id(), phase_of(phase)?).bytes());
        Ok(())
    })
}

/// Ed25519: the signature of `message` by the key whose 32 secret bytes are `secret`, and the public key. For nodes
/// without a library of their own for that; a key in a vault signs `hs2_vote_bytes` there. `signature` has room for 64
/// bytes; either result may be null where it is not wanted. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_sign(
    secret: *const hs2_id,
    message: hs2_slice,
    public_key: *mut hs2_id,
    signature: *mut u8,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable, as the header asks for.
        let (secret, message) = unsafe { (read(secret, "secret")?, bytes(message, "message")?) };
        let wanted = |null: bool| !null;
        // SAFETY: null, or writable for so many bytes, as the header asks for.
        let (public_key, signature) = unsafe {
            let key = wanted(public_key.is_null()).then(|| Out::new(public_key, "public_key")).transpose()?;
            let signature = signature.cast::<[u8; 64]>();
            (key, wanted(signature.is_null()).then(|| Out::new(signature, "signature")).transpose()?)
        };
        let key = SigningKey::from_bytes(&secret.bytes);
        if let Some(out) = public_key {
            out.set(hs2_id { bytes: key.verifying_key().to_bytes() });
        }
        if let Some(out) = signature {
            out.set(key.sign(message).to_bytes());
        }
        Ok(())
    })
}

/// Puts votes for a header together to a certificate, encoded. Votes of keys outside of the epoch's set are left out; of
/// two by one key the later counts. Neither signatures nor power are checked; `hs2_certificate_check` does.
/// Ownership: one reference to `certificate`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_TOO_MANY`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_certificate_new(
    header: hs2_slice,
    phase: u32,
    epoch: hs2_epoch,
    votes: *const hs2_signature,
    vote_count: usize,
    certificate: *mut hs2_buffer,
) -> hs2_status {
    fence(epoch, || {
        // SAFETY: readable and writable, as the header asks for.
        let (header, votes, certificate) = unsafe {
            (bytes(header, "header")?, array(votes, vote_count, "votes")?, Out::new(certificate, "certificate")?)
        };
        let votes = signatures(votes)?;
        let epoch = table::get::<EpochContext>(epoch)?;
        let made = QuorumCertificate::collect(phase_of(phase)?, &header_of(header)?, epoch.validators(), votes);
        certificate.set(give(made.encode())?);
        Ok(())
    })
}

/// Checks that validators with more than two thirds of the epoch's power signed for the header in that phase. Threads: any.
/// Errors: `HS2_FALSE` (`hs2_last_error` says why), `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_certificate_check(
    certificate: hs2_slice,
    header: hs2_slice,
    phase: u32,
    epoch: hs2_epoch,
) -> hs2_status {
    fence(epoch, || {
        // SAFETY: readable, as the header asks for.
        let (certificate, header) = unsafe { (bytes(certificate, "certificate")?, bytes(header, "header")?) };
        let epoch = table::get::<EpochContext>(epoch)?;
        let decoded = QuorumCertificate::decode(certificate).map_err(|why| Failure::malformed("certificate", why))?;
        let checked = decoded.verify(phase_of(phase)?, &header_of(header)?, &epoch);
        checked.map_err(|error| Failure::new(Status::False, error.to_string()))
    })
}

/// The bytes that a validator signs to give up on a view: it votes for nothing in that any more. `message` has room for
/// `HS2_TIMEOUT_BYTES`. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_timeout_bytes(
    chain_id: *const hs2_id,
    epoch: u64,
    view: u64,
    message: *mut u8,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable, and writable for so many bytes, as the header asks for.
        let (chain_id, message) = unsafe {
            let message = Out::new(message.cast::<[u8; HS2_TIMEOUT_BYTES]>(), "message")?;
            (read(chain_id, "chain_id")?, message)
        };
        let bytes = give_up_bytes(chain_id.into(), Epoch::new(epoch), View::new(view));
        let bytes = <[u8; HS2_TIMEOUT_BYTES]>::try_from(bytes);
        message.set(bytes.map_err(|_| Failure::argument("message", "is of another length in this library"))?);
        Ok(())
    })
}

/// Puts signatures of `hs2_timeout_bytes` together to the certificate by which validators leave a view without a block, encoded.
/// Those of keys outside of the epoch's set are left out. Neither signatures nor power are checked; `hs2_timeout_check` does.
/// Ownership: one reference to `certificate`. Threads: any.
/// Errors: `HS2_TOO_MANY`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_timeout_new(
    epoch: hs2_epoch,
    view: u64,
    votes: *const hs2_signature,
    vote_count: usize,
    certificate: *mut hs2_buffer,
) -> hs2_status {
    fence(epoch, || {
        // SAFETY: readable and writable, as the header asks for.
        let (votes, certificate) =
            unsafe { (array(votes, vote_count, "votes")?, Out::new(certificate, "certificate")?) };
        let votes = signatures(votes)?;
        let epoch = table::get::<EpochContext>(epoch)?;
        let made = TimeoutCertificate::collect(epoch.epoch(), View::new(view), epoch.validators(), votes);
        certificate.set(give(made.encode())?);
        Ok(())
    })
}

/// Checks that validators with more than two thirds of the epoch's power gave up on a view, which goes to `view`. Threads: any.
/// Errors: `HS2_FALSE` (`hs2_last_error` says why), `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_timeout_check(certificate: hs2_slice, epoch: hs2_epoch, view: *mut u64) -> hs2_status {
    fence(epoch, || {
        // SAFETY: readable and writable, as the header asks for.
        let (certificate, view) = unsafe { (bytes(certificate, "certificate")?, Out::new(view, "view")?) };
        let epoch = table::get::<EpochContext>(epoch)?;
        let decoded = TimeoutCertificate::decode(certificate).map_err(|why| Failure::malformed("certificate", why))?;
        decoded.verify(&epoch).map_err(|error| Failure::new(Status::False, error.to_string()))?;
        view.set(decoded.view.get());
        Ok(())
    })
}
