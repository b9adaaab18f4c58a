//! States: kept in an ordered store of the host's, through three functions.

use std::ffi::c_void;

use super::plain::{hs2_id, hs2_slice};
use super::serving::hs2_stored_segment;

/// An entry of a host's ordered store.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_entry {
    /// The key.
    pub key: hs2_slice,
    /// Its value.
    pub value: hs2_slice,
}

/// A change of one key.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_change {
    /// The key.
    pub key: hs2_slice,
    /// The new value. Of no meaning where the key is deleted.
    pub value: hs2_slice,
    /// 1 where the key is deleted, else 0.
    pub deleted: u64,
}

/// An ordered store of the host's, in which the library keeps a state: its keys and values, the tree over them, snapshots for
/// others, and a state that is being fetched. Keys are at most 64 bytes, ordered as `memcmp` orders them, a shorter one before
/// those that it begins. They belong to the library: the host keeps them apart from its own. Functions are called while a
/// function that got the table runs, on its thread, and are not kept. Each returns `HS2_HOST_OK` and has written its result;
/// `HS2_HOST_NONE` where there is no such thing; or any other number, a failure of the host's own. Bytes that a function points
/// to must stay until the next function of the table is called or the library's function returns. A function must not throw,
/// nor jump out.
///
/// Two functions of the library that write must not run at a time with one store; the host sees to that. While one that reads
/// runs (`hs2_respond_with_state`), its table shows one moment: a snapshot of the database, or nobody writes meanwhile.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_state_store {
    /// Handed to each function.
    pub context: *mut c_void,
    /// The value of a key.
    pub get: Option<unsafe extern "C" fn(context: *mut c_void, key: hs2_slice, value: *mut hs2_slice) -> i32>,
    /// The entry with the lowest key that is not below `from` and not above `to`.
    pub next: Option<
        unsafe extern "C" fn(context: *mut c_void, from: hs2_slice, to: hs2_slice, entry: *mut hs2_entry) -> i32,
    >,
    /// Makes changes, each of another key: all of them or none, also where the process or the machine dies. A write that
    /// survives has all those before it. Every write of a call survives once the call is answered to the machine.
    pub write: Option<unsafe extern "C" fn(context: *mut c_void, changes: *const hs2_change, count: usize) -> i32>,
}

/// Where a stored state stands.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_state_info {
    /// The height of the block that left it.
    pub height: u64,
    /// Its root.
    pub root: hs2_id,
    /// How many keys have a value.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// The lowest snapshot that others are served; 0 for none.
    pub oldest_snapshot: u64,
    /// The highest.
    pub newest_snapshot: u64,
}

/// The block whose state was fetched: stored blocks begin above it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_base {
    /// Its height.
    pub height: u64,
    /// Its id.
    pub id: hs2_id,
    /// Root of the state after it.
    pub state_root: hs2_id,
    /// Verified headers that begin with the block's own, to be stored and served: they prove it to others.
    pub segment: hs2_stored_segment,
    /// The tip message that proves the last of them, where the segment doesn't; else empty.
    pub tip: hs2_slice,
}
