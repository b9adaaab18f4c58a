//! Epochs of a native chain: a validator set and the heights at which it decides.
#![allow(unsafe_code)]

use hotstuff2_sync::chain::native::{
    EpochContext, EpochInfo, Genesis, Handover, Validator, ValidatorKey, ValidatorSet,
};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::MAX_VALIDATORS;
use hotstuff2_sync::ranges::HeightRange;

use crate::buffer::give;
use crate::failure::Failure;
use crate::fence::fence;
use crate::pointer::{Out, array, bytes};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{hs2_buffer, hs2_epoch, hs2_genesis, hs2_slice, hs2_validator};

/// Sorts and checks members of a set.
pub(super) fn validators(members: &[hs2_validator]) -> Result<ValidatorSet, Failure> {
    if members.len() > MAX_VALIDATORS {
        return Err(Failure::new(Status::TooMany, format!("a set has at most {MAX_VALIDATORS} validators")));
    }
    let member =
        |member: &hs2_validator| Validator { key: ValidatorKey::from_bytes(member.key.bytes), power: member.power };
    ValidatorSet::sorted(members.iter().map(member).collect())
        .map_err(|error| Failure::new(Status::Refused, error.to_string()))
}

/// Epoch 0, as the genesis document says it. Ownership: one reference to `epoch`. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_epoch_first(genesis: hs2_genesis, epoch: *mut hs2_epoch) -> hs2_status {
    fence(genesis, || {
        // SAFETY: writable, as the header asks for.
        let epoch = unsafe { Out::new(epoch, "epoch") }?;
        let genesis = table::get::<Genesis>(genesis)?;
        epoch.set(table::insert(EpochContext::new(&genesis, genesis.epoch().clone()))?);
        Ok(())
    })
}

/// An epoch that the host puts together, and trusts because it does: for an engine that begins a new one. `members` may
/// be in any order; `first_height` is 0 for epoch 0 alone. Ownership: one reference to `epoch`. Threads: any.
/// Errors: `HS2_REFUSED` where the members make no set, `HS2_TOO_MANY`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_epoch_new(
    genesis: hs2_genesis,
    number: u64,
    first_height: u64,
    last_height: u64,
    members: *const hs2_validator,
    member_count: usize,
    epoch: *mut hs2_epoch,
) -> hs2_status {
    fence(genesis, || {
        // SAFETY: readable and writable, as the header asks for.
        let (members, epoch) = unsafe { (array(members, member_count, "members")?, Out::new(epoch, "epoch")?) };
        let genesis = table::get::<Genesis>(genesis)?;
        let range = HeightRange::new(Height::new(first_height), Height::new(last_height));
        let range = range.ok_or_else(|| Failure::argument("last_height", "is below the first height"))?;
        let info = EpochInfo::new(Epoch::new(number), range, validators(members)?);
        epoch.set(table::insert(EpochContext::new(&genesis, info))?);
        Ok(())
    })
}

/// An epoch that the host trusts because it verified it before and kept it, from `hs2_epoch_encode`.
/// Ownership: one reference to `epoch`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_epoch_decode(
    genesis: hs2_genesis,
    encoded: hs2_slice,
    epoch: *mut hs2_epoch,
) -> hs2_status {
    fence(genesis, || {
        // SAFETY: readable and writable, as the header asks for.
        let (encoded, epoch) = unsafe { (bytes(encoded, "encoded")?, Out::new(epoch, "epoch")?) };
        let genesis = table::get::<Genesis>(genesis)?;
        let info = EpochInfo::decode(encoded).map_err(|why| Failure::malformed("epoch", why))?;
        epoch.set(table::insert(EpochContext::new(&genesis, info))?);
        Ok(())
    })
}

/// Proves the epoch that follows: that `epoch` ended as the handover says, and names the next one.
/// Ownership: one reference to `next`. Threads: any.
/// Errors: `HS2_FALSE` (`hs2_last_error` says what is false), `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_epoch_next(epoch: hs2_epoch, handover: hs2_slice, next: *mut hs2_epoch) -> hs2_status {
    fence(epoch, || {
        // SAFETY: readable and writable, as the header asks for.
        let (handover, next) = unsafe { (bytes(handover, "handover")?, Out::new(next, "next")?) };
        let epoch = table::get::<EpochContext>(epoch)?;
        let (proven, _) = Handover::decode(handover)?.verify(&epoch)?;
        next.set(table::insert(proven)?);
        Ok(())
    })
}

/// The epoch's canonical encoding, to keep. Ownership: one reference to `encoded`. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_epoch_encode(epoch: hs2_epoch, encoded: *mut hs2_buffer) -> hs2_status {
    fence(epoch, || {
        // SAFETY: writable, as the header asks for.
        let encoded = unsafe { Out::new(encoded, "encoded") }?;
        encoded.set(give(table::get::<EpochContext>(epoch)?.info().encode())?);
        Ok(())
    })
}

/// The epoch's number and heights, and how many validators it has. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_epoch_read(
    epoch: hs2_epoch,
    number: *mut u64,
    first_height: *mut u64,
    last_height: *mut u64,
    member_count: *mut usize,
) -> hs2_status {
    fence(epoch, || {
        // SAFETY: writable, as the header asks for.
        let (number, first, last, count) = unsafe {
            let (first, last) = (Out::new(first_height, "first_height")?, Out::new(last_height, "last_height")?);
            (Out::new(number, "number")?, first, last, Out::new(member_count, "member_count")?)
        };
        let epoch = table::get::<EpochContext>(epoch)?;
        number.set(epoch.epoch().get());
        first.set(epoch.range().first().get());
        last.set(epoch.range().last().get());
        count.set(epoch.validators().count());
        Ok(())
    })
}
