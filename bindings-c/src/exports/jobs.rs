//! Jobs: verifications, to be run on any thread.
#![allow(unsafe_code)]

use hotstuff2_sync::verify::{Job, Verdict};

use crate::buffer::give;
use crate::failure::Failure;
use crate::fence::fence;
use crate::machine::HeldJob;
use crate::objects::Rules;
use crate::own_chain::OwnChain;
use crate::pointer::{Out, bytes, read};
use crate::status::hs2_status;
use crate::table;
use crate::types::{hs2_buffer, hs2_chain, hs2_chain_table, hs2_job, hs2_slice, hs2_verdict};

/// Does the work of a job. What it comes to, proven or false, is in the verdict, for `hs2_machine_handle_verdict`.
/// Ownership: one reference to `verdict`. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_job_run(job: hs2_job, chain: hs2_chain, verdict: *mut hs2_verdict) -> hs2_status {
    fence(job, || {
        // SAFETY: writable, as the header asks for.
        let verdict = unsafe { Out::new(verdict, "verdict") }?;
        let (held, rules) = (table::get::<HeldJob>(job)?, table::get::<Rules>(chain)?);
        let found = if held.was_read { rules.run_read(&held.job) } else { held.job.run(&rules.chain) };
        verdict.set(table::insert(found)?);
        Ok(())
    })
}

/// The same for a chain of the host's own. Where one of its functions could not check, nobody is blamed, and the machine
/// gives the job out again after a pause. Ownership: one reference to `verdict`. Threads: any; the functions of `chain` are
/// called on this one, and only while this runs.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`, also where a function of the table is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_job_run_own(
    job: hs2_job,
    chain: *const hs2_chain_table,
    verdict: *mut hs2_verdict,
) -> hs2_status {
    fence(job, || {
        // SAFETY: readable and writable, as the header asks for; the functions keep what their table's docs say.
        let (chain, verdict) = unsafe { (read(chain, "chain")?, Out::new(verdict, "verdict")?) };
        let held = table::get::<HeldJob>(job)?;
        verdict.set(table::insert(held.job.run(&OwnChain::new(&chain)?))?);
        Ok(())
    })
}

/// The number of a job, which `HS2_OUTPUT_CANCEL_JOB` names. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_job_id(job: hs2_job, id: *mut u64) -> hs2_status {
    fence(job, || {
        // SAFETY: writable, as the header asks for.
        let id = unsafe { Out::new(id, "id") }?;
        id.set(table::get::<HeldJob>(job)?.job.id().get());
        Ok(())
    })
}

/// The job's canonical encoding, for a process or an instance of the library that shares no memory with this one and has
/// the same version. Ownership: one reference to `encoded`. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_job_encode(job: hs2_job, encoded: *mut hs2_buffer) -> hs2_status {
    fence(job, || {
        // SAFETY: writable, as the header asks for.
        let encoded = unsafe { Out::new(encoded, "encoded") }?;
        encoded.set(give(table::get::<HeldJob>(job)?.job.encode())?);
        Ok(())
    })
}

/// Reads what `hs2_job_encode` wrote elsewhere. It is believed. Jobs that were read and are run with one chain share what
/// they decode of epochs and headers. Ownership: one reference to `job`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_job_decode(encoded: hs2_slice, job: *mut hs2_job) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (encoded, job) = unsafe { (bytes(encoded, "encoded")?, Out::new(job, "job")?) };
        let read = Job::decode(encoded).map_err(|why| Failure::malformed("job", why))?;
        job.set(table::insert(HeldJob { job: read, was_read: true })?);
        Ok(())
    })
}

/// The verdict's canonical encoding, to be brought back to where the machine is. Ownership: one reference to `encoded`.
/// Threads: any. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_verdict_encode(verdict: hs2_verdict, encoded: *mut hs2_buffer) -> hs2_status {
    fence(verdict, || {
        // SAFETY: writable, as the header asks for.
        let encoded = unsafe { Out::new(encoded, "encoded") }?;
        encoded.set(give(table::get::<Verdict>(verdict)?.encode())?);
        Ok(())
    })
}

/// Reads what `hs2_verdict_encode` wrote elsewhere. It is believed: it must come from a process of the host's own.
/// Ownership: one reference to `verdict`. Threads: any. Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_verdict_decode(encoded: hs2_slice, verdict: *mut hs2_verdict) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (encoded, verdict) = unsafe { (bytes(encoded, "encoded")?, Out::new(verdict, "verdict")?) };
        verdict.set(table::insert(Verdict::decode(encoded).map_err(|why| Failure::malformed("verdict", why))?)?);
        Ok(())
    })
}
