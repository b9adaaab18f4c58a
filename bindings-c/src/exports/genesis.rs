//! Genesis documents, and the chain that begins with one.
#![allow(unsafe_code)]

use std::ffi::c_char;

use hotstuff2_sync::chain::native::{Checkpoint, Genesis, GenesisDocument, NativeChain, TrustAnchor, Version};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::time::UnixMillis;

use super::epochs::validators;
use crate::buffer::give;
use crate::failure::Failure;
use crate::fence::fence;
use crate::objects::Rules;
use crate::pointer::{Out, array, bytes, read, text};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{hs2_buffer, hs2_chain, hs2_genesis, hs2_genesis_info, hs2_id, hs2_slice, hs2_validator};

/// Makes a genesis document. `name` is for people, 1 to 64 bytes; `validators` are those of epoch 0, in any order, which
/// decide up to `last_height`; `trusting_period_ms` is 0 for a chain without one.
/// Ownership: one reference to `genesis`. Threads: any.
/// Errors: `HS2_REFUSED` where the parts make no genesis, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_genesis_new(
    name: *const c_char,
    timestamp_ms: u64,
    members: *const hs2_validator,
    member_count: usize,
    last_height: u64,
    state_root: *const hs2_id,
    trusting_period_ms: u64,
    snapshot_interval: u64,
    genesis: *mut hs2_genesis,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (name, members, state_root, genesis) = unsafe {
            let members = array(members, member_count, "members")?;
            (text(name, "name")?, members, read(state_root, "state_root")?, Out::new(genesis, "genesis")?)
        };
        let document = GenesisDocument {
            version: Version,
            name: name.to_owned(),
            timestamp: UnixMillis::new(timestamp_ms),
            validators: validators(members)?.validators().to_vec(),
            last_height: Height::new(last_height),
            state_root: state_root.into(),
            trusting_period_ms: (trusting_period_ms > 0).then_some(trusting_period_ms),
            snapshot_interval,
        };
        genesis.set(table::insert(check(document)?)?);
        Ok(())
    })
}

/// Reads a genesis document as `hs2_genesis_encode` and the command `hs2-sync` encode it.
/// Ownership: one reference to `genesis`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_REFUSED` where it makes no sense, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_genesis_decode(encoded: hs2_slice, genesis: *mut hs2_genesis) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (encoded, genesis) = unsafe { (bytes(encoded, "encoded")?, Out::new(genesis, "genesis")?) };
        let document = GenesisDocument::decode(encoded).map_err(|why| Failure::malformed("genesis document", why))?;
        genesis.set(table::insert(check(document)?)?);
        Ok(())
    })
}

fn check(document: GenesisDocument) -> Result<Genesis, Failure> {
    document.check().map_err(|error| Failure::new(Status::Refused, error.to_string()))
}

/// The genesis document's canonical encoding, which the chain's id is the hash of.
/// Ownership: one reference to `encoded`. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_genesis_encode(genesis: hs2_genesis, encoded: *mut hs2_buffer) -> hs2_status {
    fence(genesis, || {
        // SAFETY: writable, as the header asks for.
        let encoded = unsafe { Out::new(encoded, "encoded") }?;
        encoded.set(give(table::get::<Genesis>(genesis)?.document().encode())?);
        Ok(())
    })
}

/// The genesis block's header, encoded: the parent of the first block. Ownership: one reference to `header`. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_genesis_header(genesis: hs2_genesis, header: *mut hs2_buffer) -> hs2_status {
    fence(genesis, || {
        // SAFETY: writable, as the header asks for.
        let header = unsafe { Out::new(header, "header") }?;
        header.set(give(table::get::<Genesis>(genesis)?.header().encode())?);
        Ok(())
    })
}

/// Reads a genesis document. Threads: any. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_genesis_read(genesis: hs2_genesis, info: *mut hs2_genesis_info) -> hs2_status {
    fence(genesis, || {
        // SAFETY: writable, as the header asks for.
        let info = unsafe { Out::new(info, "info") }?;
        let genesis = table::get::<Genesis>(genesis)?;
        let document = genesis.document();
        info.set(hs2_genesis_info {
            chain_id: genesis.chain_id().into(),
            block_id: genesis.id().into(),
            state_root: document.state_root.into(),
            timestamp_ms: document.timestamp.get(),
            last_height: document.last_height.get(),
            trusting_period_ms: document.trusting_period_ms.unwrap_or(0),
            snapshot_interval: document.snapshot_interval,
        });
        Ok(())
    })
}

/// The native chain that begins with a genesis, to verify with, trusted from there on. Ownership: one reference to
/// `chain`. Threads: any. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_chain_new(genesis: hs2_genesis, chain: *mut hs2_chain) -> hs2_status {
    fence(genesis, || {
        // SAFETY: writable, as the header asks for.
        let chain = unsafe { Out::new(chain, "chain") }?;
        let native = NativeChain::new(&*table::get::<Genesis>(genesis)?);
        chain.set(table::insert(Rules::new(native))?);
        Ok(())
    })
}

/// The same, trusted from a checkpoint on: below it no certificate proves anything. `wall_ms` is the time now, in
/// milliseconds since 1970, by which the checkpoint's age is held against the chain's trusting period, unless
/// `accept_long_range` is not 0. Ownership: one reference to `chain`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_REFUSED` where the checkpoint is too old or does not fit, `HS2_STALE_HANDLE`,
/// `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_chain_from_checkpoint(
    genesis: hs2_genesis,
    checkpoint: hs2_slice,
    wall_ms: u64,
    accept_long_range: i32,
    chain: *mut hs2_chain,
) -> hs2_status {
    fence(genesis, || {
        // SAFETY: readable and writable, as the header asks for.
        let (checkpoint, chain) = unsafe { (bytes(checkpoint, "checkpoint")?, Out::new(chain, "chain")?) };
        let genesis = table::get::<Genesis>(genesis)?;
        let checkpoint = Checkpoint::decode(checkpoint).map_err(|why| Failure::malformed("checkpoint", why))?;
        let anchor = TrustAnchor::Checkpoint(Box::new(checkpoint))
            .check(&genesis, UnixMillis::new(wall_ms), accept_long_range != 0)
            .map_err(|error| Failure::new(Status::Refused, error.to_string()))?;
        chain.set(table::insert(Rules::new(NativeChain::with_anchor(&genesis, &anchor)))?);
        Ok(())
    })
}
