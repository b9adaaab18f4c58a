//! Answering requests from a host's store.
#![allow(unsafe_code)]

use bytes::Bytes;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::serve::{PartReader, ServeError};

use super::admission::request_of;
use crate::buffer::give;
use crate::failure::Failure;
use crate::fence::fence;
use crate::objects::Rules;
use crate::own_chain::OwnChain;
use crate::pointer::{Out, bytes, read};
use crate::reader::HostReader;
use crate::state::States;
use crate::state_store::HostStore;
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{hs2_buffer, hs2_chain, hs2_chain_table, hs2_id, hs2_reader, hs2_slice, hs2_state_store};

/// Answers a peer's request from the host's store, with bounded work, whatever is asked. What the store doesn't hold, and
/// states, are answered with "not available". Ownership: one reference to `answer`. Threads: any; the functions of
/// `reader` are called on this one, and only while this runs.
/// Errors: `HS2_HOST_FAILED` where a function failed or gave back what can't be (answer with
/// `hs2_refusal_not_available`), `HS2_MALFORMED` for a request that can't be read, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`, also where a function of the table is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_respond(
    chain: hs2_chain,
    reader: *const hs2_reader,
    request: hs2_slice,
    answer: *mut hs2_buffer,
) -> hs2_status {
    // A panic here leaves nothing of the chain in an unknown state: it is never changed.
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for; the functions keep what their table's docs say.
        let (reader, request, answer) =
            unsafe { (read(reader, "reader")?, bytes(request, "request")?, Out::new(answer, "answer")?) };
        let rules = table::get::<Rules>(chain)?;
        answer.set(give(made(&rules.chain, rules.chain.chain_id(), &reader, request, None)?)?);
        Ok(())
    })
}

/// The same, with the states that a store holds: pieces of its snapshots for nodes that fetch a state, and proven values for
/// light clients. `reader` and `states` show one moment, in which the tip is the highest stored block. Ownership: one reference
/// to `answer`. Threads: any; the functions of both tables are called on this one, and only while this runs.
/// Errors: as for `hs2_respond`: `HS2_HOST_FAILED`, `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_respond_with_state(
    chain: hs2_chain,
    reader: *const hs2_reader,
    states: *const hs2_state_store,
    request: hs2_slice,
    answer: *mut hs2_buffer,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for; the functions keep what their tables' docs say.
        let (reader, states, request, answer) = unsafe {
            let (reader, states) = (read(reader, "reader")?, read(states, "states")?);
            (reader, states, bytes(request, "request")?, Out::new(answer, "answer")?)
        };
        let rules = table::get::<Rules>(chain)?;
        let states = States::open(HostStore::new(&states)?)?;
        answer.set(give(made(&rules.chain, rules.chain.chain_id(), &reader, request, Some(states))?)?);
        Ok(())
    })
}

/// The same without states for a chain of the host's own, whose id is `chain_id`. Ownership: one reference to `answer`. Threads: any; the
/// functions of `chain` and `reader` are called on this one, and only while this runs.
/// Errors: as for `hs2_respond`: `HS2_HOST_FAILED`, `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_respond_own(
    chain: *const hs2_chain_table,
    chain_id: *const hs2_id,
    reader: *const hs2_reader,
    request: hs2_slice,
    answer: *mut hs2_buffer,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for; the functions keep what their table's docs say.
        let (chain, chain_id, reader, request, answer) = unsafe {
            let (chain, chain_id) = (read(chain, "chain")?, read(chain_id, "chain_id")?);
            (chain, chain_id, read(reader, "reader")?, bytes(request, "request")?, Out::new(answer, "answer")?)
        };
        answer.set(give(made(&OwnChain::new(&chain)?, chain_id.into(), &reader, request, None)?)?);
        Ok(())
    })
}

fn made<C: Chain>(
    chain: &C,
    chain_id: Hash,
    reader: &hs2_reader,
    request: &[u8],
    states: Option<States>,
) -> Result<Bytes, Failure> {
    let request = request_of(request)?;
    let host = PartReader::new(chain, HostReader::new(reader, chain_id, states)?);
    let made = hotstuff2_sync::serve::respond(&request, &host);
    let failed = host.failure().map(|error| Failure::new(Status::HostFailed, error.to_string()));
    match (made, failed) {
        (Ok(made), None) => Ok(made),
        (Err(ServeError::Reader(error)), _) => Err(Failure::new(Status::HostFailed, error.to_string())),
        (Err(ServeError::State(error)), _) => Err(error.into()),
        (_, Some(failed)) => Err(failed),
    }
}
