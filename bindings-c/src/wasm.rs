//! The library as a WebAssembly module: tables of functions for hosts that live outside of it. Only there, and no part of
//! the C interface. Each function asks the module's one import, which the host gives: it names itself by a number and
//! shows its arguments as words of 64 bits, in which a slice is the address of its two words of 32.
#![allow(unsafe_code, unreachable_pub)]

use std::ffi::c_void;

use crate::fence::fence;
use crate::pointer::Out;
use crate::status::hs2_status;
use crate::types::{
    hs2_chain_table, hs2_change, hs2_claim, hs2_entry, hs2_link, hs2_peer_status, hs2_reader, hs2_segment_facts,
    hs2_slice, hs2_state_store, hs2_stored_segment, hs2_tip,
};

#[link(wasm_import_module = "hs2")]
unsafe extern "C" {
    fn host(context: *mut c_void, function: u32, arguments: *const u64) -> i32;
}

/// An argument as the host sees it.
trait Word {
    fn word(&self) -> u64;
}

impl Word for u64 {
    fn word(&self) -> u64 {
        *self
    }
}

impl Word for usize {
    fn word(&self) -> u64 {
        *self as u64
    }
}

impl<T> Word for *const T {
    fn word(&self) -> u64 {
        *self as usize as u64
    }
}

impl<T> Word for *mut T {
    fn word(&self) -> u64 {
        *self as usize as u64
    }
}

impl Word for hs2_slice {
    fn word(&self) -> u64 {
        std::ptr::from_ref(self) as usize as u64
    }
}

macro_rules! functions {
    ($($number:literal $name:ident($($argument:ident: $kind:ty),*);)+) => {$(
        unsafe extern "C" fn $name(context: *mut c_void, $($argument: $kind),*) -> i32 {
            let arguments: &[u64] = &[$(Word::word(&$argument)),*];
            // SAFETY: the host reads the words that the function of this number has, and what they lead to, as the docs of
            // the tables say.
            unsafe { host(context, $number, arguments.as_ptr()) }
        }
    )+};
}

functions! {
    1 status(out: *mut hs2_peer_status);
    2 ended(epoch: u64, out: *mut hs2_slice);
    3 newest(out: *mut hs2_slice);
    4 part(height: u64, out: *mut hs2_stored_segment);
    5 body(height: u64, out: *mut hs2_slice);
    6 epoch(epoch: hs2_slice);
    7 link(epoch: hs2_slice, handover: hs2_slice, link: *mut hs2_link);
    8 handover(epoch: hs2_slice, handover: hs2_slice, link: *mut hs2_link);
    9 tip(epoch: hs2_slice, tip: hs2_slice, facts: *mut hs2_tip);
    10 segment(
        epoch: hs2_slice, claim: *const hs2_claim, segment: hs2_slice, audit: hs2_slice, facts: *mut hs2_segment_facts
    );
    11 stored(segment: hs2_slice, facts: *mut hs2_segment_facts);
    12 payload(segment: hs2_slice, height: u64, payload: hs2_slice);
    13 assemble(parts: *const hs2_slice, part_count: usize, claim: *const hs2_claim, segment: *mut hs2_slice);
    14 tip_of(segment: hs2_slice, tip: *mut hs2_slice);
    15 get(key: hs2_slice, value: *mut hs2_slice);
    16 next(from: hs2_slice, to: hs2_slice, entry: *mut hs2_entry);
    17 write(changes: *const hs2_change, count: usize);
}

/// Memory for arguments and results, which stays for as long as the module does.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_wasm_room(bytes: usize) -> *mut u8 {
    vec![0; bytes].leak().as_mut_ptr()
}

/// Writes a reader whose functions ask the host under `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_wasm_reader(context: usize, reader: *mut hs2_reader) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the host promises.
        let reader = unsafe { Out::new(reader, "reader") }?;
        reader.set(hs2_reader {
            context: context as *mut c_void,
            status: Some(status),
            handover: Some(ended),
            tip: Some(newest),
            segment: Some(part),
            payload: Some(body),
        });
        Ok(())
    })
}

/// Writes a state store whose functions ask the host under `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_wasm_states(context: usize, store: *mut hs2_state_store) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the host promises.
        let store = unsafe { Out::new(store, "store") }?;
        store.set(hs2_state_store {
            context: context as *mut c_void,
            get: Some(get),
            next: Some(next),
            write: Some(write),
        });
        Ok(())
    })
}

/// Writes a chain whose functions ask the host under `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_wasm_chain(context: usize, chain: *mut hs2_chain_table) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the host promises.
        let chain = unsafe { Out::new(chain, "chain") }?;
        chain.set(hs2_chain_table {
            context: context as *mut c_void,
            epoch: Some(epoch),
            link: Some(link),
            handover: Some(handover),
            tip: Some(tip),
            segment: Some(segment),
            stored: Some(stored),
            payload: Some(payload),
            assemble: Some(assemble),
            tip_of: Some(tip_of),
        });
        Ok(())
    })
}
