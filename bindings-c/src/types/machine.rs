//! The machine: where it starts, what it says, and what it calls for.

use super::plain::{hs2_handle, hs2_id, hs2_slice};

/// Where a host stands when its machine is made.
pub type hs2_start = hs2_handle;

/// A machine: the synchronization of one node.
pub type hs2_machine = hs2_handle;

/// One verification, for any thread. Immutable.
pub type hs2_job = hs2_handle;

/// The result of a verification. Immutable.
pub type hs2_verdict = hs2_handle;

/// A call of the machine into the host: blocks, handovers or parts of a state to store. Immutable: a host may hold it as long as it likes.
pub type hs2_call = hs2_handle;

/// The next thing to do, of a machine or a light client. Which fields mean something depends on `kind`; the others are 0. What
/// is said of `HS2_OUTPUT_…` holds for the `HS2_LIGHT_OUTPUT_…` of the same name.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_output {
    /// `HS2_OUTPUT_…`, of a light client `HS2_LIGHT_OUTPUT_…`.
    pub kind: u32,
    /// `HS2_OUTPUT_CALL`: `HS2_HOST_WORK_…`. `HS2_OUTPUT_PENALIZE`: `HS2_PENALTY_…`. `HS2_OUTPUT_EVENT`: `HS2_EVENT_…`.
    /// `HS2_OUTPUT_DECIDED`: 0 where the blocks are stored and executed, else `HS2_DECIDED_ERROR_…`.
    /// `HS2_LIGHT_OUTPUT_EVENT`: `HS2_LIGHT_EVENT_…`. `HS2_LIGHT_OUTPUT_ANSWER`: 0 where there is an answer, else
    /// `HS2_LIGHT_ERROR_…`.
    pub code: u32,
    /// Why: the fault of a ban (`HS2_FAULT_…`) or the reason of an exclusion (`HS2_BLACKLIST_REASON_…`); of an event its
    /// fault, its strategy, its stall's reason or its halt's reason; the fault of decided blocks that don't hold.
    pub detail: u32,
    /// Of no meaning.
    pub reserved: u32,
    /// Of a request, a job or a call, as the answer must name it; of decided blocks, as they were handed in; of the question
    /// that `HS2_LIGHT_OUTPUT_ANSWER` closes.
    pub id: u64,
    /// One reference to what there is to do: `HS2_OUTPUT_REQUEST`, an `hs2_buffer` with the bytes to send;
    /// `HS2_OUTPUT_VERIFY`, an `hs2_job`; `HS2_OUTPUT_CALL`, an `hs2_call`; `HS2_OUTPUT_EVENT`, an `hs2_buffer` with
    /// words for people, and so `HS2_OUTPUT_DECIDED` where the blocks were not taken in; `HS2_LIGHT_OUTPUT_ANSWER`, an
    /// `hs2_light_answer`, or an `hs2_buffer` with words where there is none; `HS2_LIGHT_OUTPUT_KEEP`, an `hs2_buffer` with
    /// the checkpoint. Else 0.
    pub object: hs2_handle,
    /// Whom to ask, or who is penalized, or whom an event is about.
    pub peer: hs2_id,
    /// `HS2_OUTPUT_REQUEST`: bytes of an answer after which to stop reading and say `HS2_REQUEST_FAILURE_OVERSIZE`.
    pub max_response_bytes: u64,
    /// `HS2_OUTPUT_WAIT`: when to say that time has passed, `HS2_NEVER` for never. `HS2_OUTPUT_PENALIZE`: when the peer
    /// may come back. In microseconds of the host's clock.
    pub deadline_us: u64,
    /// The height that an event is about; of a job, from which on blocks wait for it: the lowest are to be run first.
    /// `HS2_OUTPUT_DECIDED`: up to which all blocks are stored and executed; with `HS2_DECIDED_ERROR_OVERLAP` the first that
    /// is missing, with `HS2_DECIDED_ERROR_UNKNOWN_EPOCH` and `HS2_DECIDED_ERROR_CONTRADICTED` the block concerned.
    /// `HS2_LIGHT_OUTPUT_KEEP`: the checkpoint's block.
    pub height: u64,
}

/// How far a synchronization is.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_progress {
    /// Height at the start.
    pub start: u64,
    /// Height that is stored and executed.
    pub current: u64,
    /// Highest proven height; the current one where nothing is proven above it.
    pub target: u64,
    /// Highest height that a usable peer claims, which proves nothing; 0 where none does.
    pub claimed: u64,
    /// Time in the header of the target, in milliseconds since 1970; 0 where it is not known.
    pub tip_time_ms: u64,
    /// Blocks a second, over the last seconds in which there was something to do.
    pub blocks_per_second: u64,
    /// Time that is likely left, in microseconds; `HS2_NEVER` while that can't be said.
    pub remaining_us: u64,
    /// Payload bytes applied.
    pub payload_bytes: u64,
    /// Bytes of answers that were accepted, each piece once.
    pub useful_bytes: u64,
    /// Bytes of answers that came although the same had been accepted already.
    pub duplicate_bytes: u64,
    /// Certificates that were checked against a quorum.
    pub quorum_checks: u64,
    /// Bytes of the memory budget in use.
    pub buffered_bytes: u64,
    /// Answers and verdicts that came too late, twice or for nothing.
    pub strays: u64,
    /// `HS2_SYNC_STRATEGY_TYPE_…` in use.
    pub strategy: u32,
    /// `HS2_BOTTLENECK_…`: what it waits for most.
    pub bottleneck: u32,
    /// `HS2_STALL_REASON_…`: why nothing moves; 0 while something does.
    pub stall: u32,
    /// 1 once it has stopped for good, else 0.
    pub halted: u32,
}

/// The work that a call asks for.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_call_info {
    /// The call, as the answer must name it.
    pub id: u64,
    /// `HS2_HOST_WORK_…`.
    pub work: u32,
    /// Of no meaning.
    pub reserved: u32,
    /// Of blocks to apply or replay: the lowest height.
    pub first: u64,
    /// The highest.
    pub last: u64,
    /// Payload bytes of the blocks to apply.
    pub payload_bytes: u64,
    /// Segments that the blocks to apply come from, for `hs2_call_segment`.
    pub segment_count: usize,
    /// Handovers to store, for `hs2_call_handover`.
    pub handover_count: usize,
    /// The message that proves the last block to apply final, where its segment doesn't; else empty.
    pub tip: hs2_slice,
}

/// A block to store and execute: final and verified.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_block {
    /// Its height.
    pub height: u64,
    /// When it was proposed, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Its id.
    pub id: hs2_id,
    /// Root of the state after it: executing it must give this.
    pub state_root: hs2_id,
    /// Its payload.
    pub payload: hs2_slice,
}

/// A proven handover, as a host stores it and gives it back at the next start.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_link {
    /// The epoch that ended.
    pub ended: u64,
    /// Its last height.
    pub boundary: u64,
    /// The block there.
    pub boundary_id: hs2_id,
    /// The epoch that begins.
    pub epoch: u64,
    /// Its first height.
    pub first: u64,
    /// Its last height.
    pub last: u64,
    /// Milliseconds since 1970 in the header of the block at `boundary`; 0 where the chain has no time.
    pub boundary_time_ms: u64,
    /// That epoch, as the chain encodes it.
    pub encoded_epoch: hs2_slice,
    /// The handover as it came, to store and serve.
    pub handover: hs2_slice,
}
