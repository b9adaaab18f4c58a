//! Serving peers from a host's store.

use std::ffi::c_void;

use super::plain::{hs2_handle, hs2_slice};

/// The decision who is served when.
pub type hs2_admission = hs2_handle;

/// The next word of admission.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_turn {
    /// `HS2_TURN_SERVE`, `HS2_TURN_REFUSE` or `HS2_TURN_WAIT`.
    pub kind: u32,
    /// For a refusal: milliseconds after which the peer may ask again.
    pub retry_after_ms: u32,
    /// The request's ticket; 0 with `HS2_TURN_WAIT`. After a refusal it is void.
    pub ticket: u64,
    /// With `HS2_TURN_WAIT`: when to poll again though nothing happened, in microseconds of the host's clock;
    /// `HS2_NEVER` where that is not needed.
    pub deadline_us: u64,
}

/// The blocks and states that a serving node holds.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct hs2_peer_status {
    /// Lowest height whose header and payload are there.
    pub earliest: u64,
    /// Highest height that is final here.
    pub tip: u64,
    /// The epoch of that block.
    pub epoch: u64,
}

/// A segment of headers as the host stored it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_stored_segment {
    /// The lowest height that it holds.
    pub first: u64,
    /// The highest.
    pub last: u64,
    /// The epoch of all of them.
    pub epoch: u64,
    /// 1 where it proves its last block final by itself, 0 where it was anchored to a block above.
    pub certified: u64,
    /// The segment, as it was given to the host.
    pub segment: hs2_slice,
    /// The certificates of the single blocks, if they came with it.
    pub audit: hs2_slice,
}

/// The host's store, which `hs2_respond` reads from. Functions are called while `hs2_respond` runs, on its thread, and not
/// kept. Each returns `HS2_HOST_OK` and has written its result; `HS2_HOST_NONE` where there is no such thing; or any other
/// number, a failure of the host's own, which `hs2_respond` reports. Bytes that a function points to must stay until the
/// next function of the table is called or `hs2_respond` returns. A function must not throw, nor jump out.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_reader {
    /// Handed to each function.
    pub context: *mut c_void,
    /// The blocks and states that this node holds.
    pub status: Option<unsafe extern "C" fn(context: *mut c_void, out: *mut hs2_peer_status) -> i32>,
    /// The handover that ends an epoch.
    pub handover: Option<unsafe extern "C" fn(context: *mut c_void, epoch: u64, out: *mut hs2_slice) -> i32>,
    /// The newest proof of finality.
    pub tip: Option<unsafe extern "C" fn(context: *mut c_void, out: *mut hs2_slice) -> i32>,
    /// The stored segment that holds the header at this height.
    pub segment: Option<unsafe extern "C" fn(context: *mut c_void, height: u64, out: *mut hs2_stored_segment) -> i32>,
    /// The payload of the block at this height.
    pub payload: Option<unsafe extern "C" fn(context: *mut c_void, height: u64, out: *mut hs2_slice) -> i32>,
}

/// Make the answer of this ticket now.
pub const HS2_TURN_SERVE: u32 = 1;
/// Tell this ticket's peer that the node is busy (`hs2_refusal_busy`).
pub const HS2_TURN_REFUSE: u32 = 2;
/// Nothing now.
pub const HS2_TURN_WAIT: u32 = 3;
