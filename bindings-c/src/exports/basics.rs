//! Versions, words, and the life of handles.
#![allow(unsafe_code)]

use std::ffi::c_char;

use hotstuff2_sync::codes::TABLE;

use crate::failure::{Failure, last_text};
use crate::fence::fence;
use crate::pointer::Out;
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{HS2_ABI, hs2_handle, hs2_slice};

/// The library's version, as `0.1.0`. Ownership: the library's, for ever. Threads: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The version of this interface in the library that runs. A program compares it with its own `HS2_ABI` before anything
/// else. Threads: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_abi() -> u32 {
    HS2_ABI
}

/// Words for a status, in English; for a number that is none, words that say so. Ownership: the library's, for ever.
/// Threads: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_status_words(status: hs2_status) -> *const c_char {
    let found = Status::ALL.iter().find(|one| one.number() == status);
    found.map_or(c"no status of this library", |status| status.c_words()).as_ptr()
}

/// The name of a number that the machine says (`HS2_OUTPUT_…`, `HS2_EVENT_…`, `HS2_FAULT_…`, and so on), as `broken_link`.
/// Ownership: the library's, for ever; no zero byte is behind it. Threads: any.
/// Errors: `HS2_NOT_FOUND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_code_name(code: u32, name: *mut hs2_slice) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the header asks for.
        let name = unsafe { Out::new(name, "name") }?;
        let found = TABLE.iter().flat_map(|(_, codes)| codes.iter()).find(|(number, _)| u32::from(*number) == code);
        let (_, word) = found.ok_or_else(|| Failure::new(Status::NotFound, "nothing has this number"))?;
        name.set(hs2_slice::of(word.as_bytes()));
        Ok(())
    })
}

/// The exact fault of the last call on this thread that failed, in English; empty before the first. Calls that
/// succeed leave it as it is. Ownership: the library's; it reads the same until the next failure on this thread, and is
/// there until the thread ends. Threads: each has its own. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_last_error() -> *const c_char {
    last_text()
}

/// One more reference to an object, to be given back with `hs2_release`. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_INVALID_ARGUMENT` for 0, `HS2_TOO_MANY` after four billion.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_retain(handle: hs2_handle) -> hs2_status {
    fence(0, || table::retain(handle))
}

/// Gives a reference back. With the last one the handle is stale, and so are bytes that were borrowed from the object.
/// Calls that use the object meanwhile end as if nothing had happened. 0 is let pass, as `free` does with null.
/// Threads: any. Errors: `HS2_STALE_HANDLE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_release(handle: hs2_handle) -> hs2_status {
    fence(0, || if handle == 0 { Ok(()) } else { table::release(handle) })
}

/// How many objects are held now, to find what was forgotten. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_object_count(count: *mut usize) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the header asks for.
        let count = unsafe { Out::new(count, "count") }?;
        count.set(table::count());
        Ok(())
    })
}
