//! A chain of the host's own.

use std::ffi::c_void;

use super::machine::hs2_link;
use super::native::hs2_tip;
use super::plain::{hs2_id, hs2_slice};

/// The terms that a segment must keep, for `hs2_chain_table`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_claim {
    /// The first height asked for.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// `HS2_END_CERTIFIED`: it ends at `last` and proves that block final. `HS2_END_CERTIFIED_UP_TO`: it ends at or below
    /// `last`, and proves its end final. `HS2_END_ANCHORED`: it ends at `last` with the block `anchor`, which was proven.
    pub end: u32,
    /// 1 where every block comes with a certificate of its own, in the audit.
    pub audit: u32,
    /// 1 where `parent` is known.
    pub has_parent: u64,
    /// The id that the parent of the first header must have, if `has_parent` is 1.
    pub parent: hs2_id,
    /// The id of the last block, with `HS2_END_ANCHORED`.
    pub anchor: hs2_id,
}

/// The facts that a host's chain gives of a header.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_header_facts {
    /// The block's id.
    pub id: hs2_id,
    /// Root of the state after it; zeros for a chain without.
    pub state_root: hs2_id,
    /// When it was proposed, in milliseconds since 1970; 0 for a chain without time.
    pub timestamp_ms: u64,
    /// Length of the payload in bytes, at most 4 MiB.
    pub payload_len: u32,
    /// Of no meaning.
    pub reserved: u32,
}

/// The facts that a host's chain gives of a segment that it proved, or decodes from the host's store.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_segment_facts {
    /// Places for headers, in order from the first on; set before the call.
    pub headers: *mut hs2_header_facts,
    /// How many places there are: 1,024, the most headers that a segment has; set before the call.
    pub capacity: usize,
    /// How many were written: at least one.
    pub count: usize,
    /// Height of the first.
    pub first: u64,
    /// Id of the block below the first.
    pub parent_id: hs2_id,
    /// How many certificates were checked against a quorum.
    pub quorum_checks: u32,
    /// Of no meaning.
    pub reserved: u32,
}

/// A chain of the host's own: its blocks, certificates and validator sets. The functions are called inside of
/// `hs2_job_run_own` and the other functions that take the table, on the calling thread, on any number of threads at a
/// time, and are not kept. What they are shown comes from peers that nobody trusts, unless a function says otherwise; it is
/// there until they return, and what they point to in their results must stay until the next function of the table is
/// called or the library's returns. A function must not throw, nor jump out, must bound its work by the length of its
/// input, and depend on its arguments alone.
///
/// Results: `HS2_HOST_OK`, proven and written. A positive number above `HS2_HOST_NONE`: provably false, and whoever gave
/// the bytes is banned; `HS2_FAULT_…` or a number of the host's own. A negative number: could not be checked here, nobody
/// is to blame, and the same is checked again after a pause.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_chain_table {
    /// Handed to each function.
    pub context: *mut c_void,
    /// Looks whether a validator set, named by a verified handover or trusted, can be read.
    pub epoch: Option<unsafe extern "C" fn(context: *mut c_void, epoch: hs2_slice) -> i32>,
    /// Reads which epoch a handover begins, and checks by hashes and numbers alone that it ends `epoch` and brings along the
    /// set that it names, so that a made-up one costs nothing. `epoch` may not be proven yet. Writes of `link` as below.
    pub link: Option<
        unsafe extern "C" fn(context: *mut c_void, epoch: hs2_slice, handover: hs2_slice, link: *mut hs2_link) -> i32,
    >,
    /// Proves that `epoch` ended as `handover` says, signatures and all. Writes of `link`: `boundary_id`, `epoch`, `first`, `last` and
    /// `encoded_epoch`.
    pub handover: Option<
        unsafe extern "C" fn(context: *mut c_void, epoch: hs2_slice, handover: hs2_slice, link: *mut hs2_link) -> i32,
    >,
    /// Proves that the block in `tip` is final, if it belongs to `epoch`. Where it says that it belongs to another one:
    /// `HS2_HOST_NONE`, with that number in `facts->epoch`.
    pub tip: Option<
        unsafe extern "C" fn(context: *mut c_void, epoch: hs2_slice, tip: hs2_slice, facts: *mut hs2_tip) -> i32,
    >,
    /// Proves that a segment is the final headers that `claim` asks for.
    pub segment: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            epoch: hs2_slice,
            claim: *const hs2_claim,
            segment: hs2_slice,
            audit: hs2_slice,
            facts: *mut hs2_segment_facts,
        ) -> i32,
    >,
    /// Decodes a segment that was verified before and comes from the host's own store.
    pub stored:
        Option<unsafe extern "C" fn(context: *mut c_void, segment: hs2_slice, facts: *mut hs2_segment_facts) -> i32>,
    /// Proves that `payload` is the one that the header at `height` of a verified segment names.
    pub payload:
        Option<unsafe extern "C" fn(context: *mut c_void, segment: hs2_slice, height: u64, payload: hs2_slice) -> i32>,
    /// Cuts or joins verified segments, consecutive and in order, to the one that `claim` asks for (without its parent);
    /// `HS2_HOST_NONE` where they don't prove its end. For serving.
    pub assemble: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            parts: *const hs2_slice,
            part_count: usize,
            claim: *const hs2_claim,
            segment: *mut hs2_slice,
        ) -> i32,
    >,
    /// The tip message that the end of a certified segment makes; `HS2_HOST_NONE` for an anchored one. For serving.
    pub tip_of: Option<unsafe extern "C" fn(context: *mut c_void, segment: hs2_slice, tip: *mut hs2_slice) -> i32>,
}

/// A segment ends where asked, and proves its last block final.
pub const HS2_END_CERTIFIED: u32 = 1;
/// A segment ends at or below the height asked for, and proves its last block final.
pub const HS2_END_CERTIFIED_UP_TO: u32 = 2;
/// A segment ends with a block that was proven before.
pub const HS2_END_ANCHORED: u32 = 3;
