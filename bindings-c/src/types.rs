//! Plain values that cross the border, laid out as in the header. Sizes and offsets are asserted by the tests, in Rust and
//! in C.

use std::ffi::c_void;

/// A handle to an object of the library; 0 is none. The kinds below are all of this type: a handle of the wrong kind, or
/// one that was released, is a status and never undefined behaviour. Each handle that a function gives out has one
/// reference, which the host gives back with `hs2_release`; handing a handle to a function takes nothing away.
pub type hs2_handle = u64;

/// Bytes: memory to be filled, then final and shared.
pub type hs2_buffer = hs2_handle;

/// Settings of a machine.
pub type hs2_config = hs2_handle;

/// A checked genesis document. Immutable: usable on any number of threads at a time.
pub type hs2_genesis = hs2_handle;

/// A trusted epoch of a native chain. Immutable.
pub type hs2_epoch = hs2_handle;

/// A native chain to verify with. Immutable.
pub type hs2_chain = hs2_handle;

/// The decision who is served when.
pub type hs2_admission = hs2_handle;

/// Bytes that belong to somebody else. Each function says for how long they are there. `data` may be null where `len` is 0.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_slice {
    /// The first byte.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

impl hs2_slice {
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }
}

/// 32 bytes that name something: a block, a chain, a state root, a peer's or a validator's Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct hs2_id {
    /// The bytes.
    pub bytes: [u8; 32],
}

/// A member of a validator set.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_validator {
    /// Its Ed25519 public key.
    pub key: hs2_id,
    /// Its voting power; not 0.
    pub power: u64,
}

/// A validator's signature on a vote.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_signature {
    /// The signer's key.
    pub key: hs2_id,
    /// The Ed25519 signature: R and s.
    pub bytes: [u8; 64],
}

/// The fields of a genesis document, and what follows from them.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_genesis_info {
    /// The chain's id: the hash of the document.
    pub chain_id: hs2_id,
    /// The genesis block's id.
    pub block_id: hs2_id,
    /// Root of the state before the first block.
    pub state_root: hs2_id,
    /// When the chain begins, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The last height of epoch 0.
    pub last_height: u64,
    /// For how long a validator set stays trustworthy, in milliseconds; 0 for ever.
    pub trusting_period_ms: u64,
    /// States are offered at heights that are multiples of this.
    pub snapshot_interval: u64,
}

/// The part of a header that its proposer chooses.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_proposal {
    /// The view; above the parent's.
    pub view: u64,
    /// When it is proposed, in milliseconds since 1970; not before the parent.
    pub timestamp_ms: u64,
    /// The payload: at most 4 MiB.
    pub payload: hs2_slice,
    /// Root of the state after executing the payload.
    pub state_root: hs2_id,
    /// The epoch that begins above this block; 0 unless this is its epoch's last block.
    pub next_epoch: hs2_epoch,
    /// Index of the proposer in the validator set.
    pub proposer: u16,
}

/// The fields of a header.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_header_info {
    /// The block's id.
    pub id: hs2_id,
    /// The chain's id.
    pub chain_id: hs2_id,
    /// The parent's id.
    pub parent: hs2_id,
    /// Hash of the payload.
    pub payload_hash: hs2_id,
    /// Root of the state after this block.
    pub state_root: hs2_id,
    /// Hash of the epoch.
    pub epoch_hash: hs2_id,
    /// The parent's height plus one.
    pub height: u64,
    /// The view it was proposed in.
    pub view: u64,
    /// View of the certificate that justifies it: the parent's view.
    pub justify_view: u64,
    /// The epoch whose validators vote on it.
    pub epoch: u64,
    /// When it was proposed, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Length of the payload in bytes.
    pub payload_len: u32,
    /// Index of the proposer in the validator set.
    pub proposer: u16,
    /// 1 where the block ends its epoch, else 0.
    pub ends_epoch: u16,
}

/// A block that was proven final.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_tip {
    /// Its height.
    pub height: u64,
    /// Its id.
    pub id: hs2_id,
    /// Its epoch.
    pub epoch: u64,
    /// When it was proposed, in milliseconds since 1970.
    pub timestamp_ms: u64,
}

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

/// The result of a host's function: it did what it was asked.
pub const HS2_HOST_OK: i32 = 0;
/// The result of a host's function: there is no such thing, which is no failure.
pub const HS2_HOST_NONE: i32 = 1;

/// Make the answer of this ticket now.
pub const HS2_TURN_SERVE: u32 = 1;
/// Tell this ticket's peer that the node is busy (`hs2_refusal_busy`).
pub const HS2_TURN_REFUSE: u32 = 2;
/// Nothing now.
pub const HS2_TURN_WAIT: u32 = 3;

/// A time or a height that never comes.
pub const HS2_NEVER: u64 = 0xffff_ffff_ffff_ffff;

/// Largest buffer in bytes: more than any answer of the protocol takes.
pub const HS2_MAX_BUFFER_BYTES: usize = 128 << 20;

/// Phase of a vote for a proposal.
pub const HS2_PHASE_ONE: u32 = 1;
/// Phase of a vote for a block whose phase-one certificate the voter saw.
pub const HS2_PHASE_TWO: u32 = 2;

/// Bytes that a validator signs for a vote.
pub const HS2_VOTE_BYTES: usize = 105;

/// Version of this interface. It rises with every change that a program compiled before would not survive.
pub const HS2_ABI: u32 = 1;

/// One end of a session over a stream of bytes.
pub type hs2_session = hs2_handle;

/// An event of a session: the meaning of bytes that came in.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_session_event {
    /// `HS2_SESSION_…`.
    pub kind: u32,
    /// The question.
    pub id: u32,
    /// `HS2_SESSION_RESET`: why, `HS2_STREAM_…`. `HS2_SESSION_OPEN`: how many questions the peer takes at a time.
    pub code: u32,
    /// `HS2_SESSION_OPEN`: `HS2_ROLE_…`. A page is not told to a machine as a peer.
    pub role: u32,
    /// One reference to an `hs2_buffer`: the request with `HS2_SESSION_ASKED`, the answer with `HS2_SESSION_ANSWER`. Else
    /// 0.
    pub object: hs2_handle,
    /// `HS2_SESSION_OPEN`: the peer's key, proven.
    pub peer: hs2_id,
    /// `HS2_SESSION_OPEN`: its chain, which is this side's.
    pub chain_id: hs2_id,
}

/// A side of a session that asks, and answers if it serves.
pub const HS2_ROLE_NODE: u32 = 1;
/// A side of a session that asks and never answers.
pub const HS2_ROLE_PAGE: u32 = 2;

/// No event.
pub const HS2_SESSION_NONE: u32 = 0;
/// The peer has proven its key. From now on questions may be put.
pub const HS2_SESSION_OPEN: u32 = 1;
/// The peer asks: `hs2_session_answer` or `hs2_session_give_up` must follow.
pub const HS2_SESSION_ASKED: u32 = 2;
/// The peer has no more use for an answer.
pub const HS2_SESSION_CANCELLED: u32 = 3;
/// The last byte of an answer of this side was handed out to be written.
pub const HS2_SESSION_SENT: u32 = 4;
/// An answer of the peer is whole.
pub const HS2_SESSION_ANSWER: u32 = 5;
/// The peer sent more than it was asked for, which is its fault.
pub const HS2_SESSION_OVERSIZE: u32 = 6;
/// The peer gave up on a question.
pub const HS2_SESSION_RESET: u32 = 7;

/// The asker no longer wants the answer.
pub const HS2_STREAM_CANCELLED: u32 = 1;
/// The request or answer is longer than allowed.
pub const HS2_STREAM_OVERSIZE: u32 = 2;
/// The node does not serve.
pub const HS2_STREAM_NOT_SERVING: u32 = 3;
/// The other side was too slow.
pub const HS2_STREAM_TOO_SLOW: u32 = 4;
/// Something failed that is not the other side's fault.
pub const HS2_STREAM_FAILED: u32 = 5;

/// Where a host stands when its machine is made.
pub type hs2_start = hs2_handle;

/// A machine: the synchronization of one node.
pub type hs2_machine = hs2_handle;

/// One verification, for any thread. Immutable.
pub type hs2_job = hs2_handle;

/// The result of a verification. Immutable.
pub type hs2_verdict = hs2_handle;

/// A call of the machine into the host: blocks or handovers to store. Immutable: a host may hold it as long as it likes.
pub type hs2_call = hs2_handle;

/// The next thing to do. Which fields mean something depends on `kind`; the others are 0.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_output {
    /// `HS2_OUTPUT_…`.
    pub kind: u32,
    /// `HS2_OUTPUT_CALL`: `HS2_HOST_WORK_…`. `HS2_OUTPUT_PENALIZE`: `HS2_PENALTY_…`. `HS2_OUTPUT_EVENT`: `HS2_EVENT_…`.
    pub code: u32,
    /// Why: the fault of a ban (`HS2_FAULT_…`) or the reason of an exclusion (`HS2_BLACKLIST_REASON_…`); of an event its
    /// fault, its strategy, its stall's reason or its halt's reason.
    pub detail: u32,
    /// Of no meaning.
    pub reserved: u32,
    /// Of a request, a job or a call, as the answer must name it.
    pub id: u64,
    /// One reference to what there is to do: `HS2_OUTPUT_REQUEST`, an `hs2_buffer` with the bytes to send;
    /// `HS2_OUTPUT_VERIFY`, an `hs2_job`; `HS2_OUTPUT_CALL`, an `hs2_call`; `HS2_OUTPUT_EVENT`, an `hs2_buffer` with
    /// words for people. Else 0.
    pub object: hs2_handle,
    /// Whom to ask, or who is penalized, or whom an event is about.
    pub peer: hs2_id,
    /// `HS2_OUTPUT_REQUEST`: bytes of an answer after which to stop reading and say `HS2_REQUEST_FAILURE_OVERSIZE`.
    pub max_response_bytes: u64,
    /// `HS2_OUTPUT_WAIT`: when to say that time has passed, `HS2_NEVER` for never. `HS2_OUTPUT_PENALIZE`: when the peer
    /// may come back. In microseconds of the host's clock.
    pub deadline_us: u64,
    /// The height that an event is about; of a job, from which on blocks wait for it: the lowest are to be run first.
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

/// The gate between a synchronization and consensus.
pub type hs2_gate = hs2_handle;

/// Leave to take part in consensus. Immutable.
pub type hs2_permit = hs2_handle;

/// An order of a gate.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_gate_output {
    /// `HS2_GATE_…`.
    pub kind: u32,
    /// `HS2_GATE_PAUSE`: 1 too far behind, 2 the host asked, 3 the record of votes is lost, 4 another block is proven at the
    /// head's height. `HS2_GATE_WAIT`: 0 there is a permit, 1 proven blocks are not applied yet, 2 nothing shows that the tip
    /// is the network's, 3 the record of votes is lost, 4 the host has not brought it, 6 this validator's key signs elsewhere,
    /// 7 another block is proven at the head's height.
    pub reason: u32,
    /// `HS2_GATE_RESUME`: one reference to an `hs2_permit`. Else 0.
    pub object: hs2_handle,
    /// `HS2_GATE_RESUME`: the height of the final block that is executed.
    pub height: u64,
    /// `HS2_GATE_RESUME`: votes and proposals may be made in views above this one only.
    pub vote_above: u64,
    /// `HS2_GATE_RESUME`: that block's id. `HS2_GATE_ASK`: the challenge.
    pub id: hs2_id,
}

/// Cast no vote any more and make no proposal.
pub const HS2_GATE_PAUSE: u32 = 1;
/// Take part.
pub const HS2_GATE_RESUME: u32 = 2;
/// Ask every validator that can be reached for its word.
pub const HS2_GATE_ASK: u32 = 3;
/// Nothing now.
pub const HS2_GATE_WAIT: u32 = 4;

/// This key has never voted on this chain.
pub const HS2_VOTES_NEVER: u32 = 1;
/// The highest view that it voted in or gave up on is known.
pub const HS2_VOTES_LAST: u32 = 2;
/// The record of votes is gone, damaged or from a backup.
pub const HS2_VOTES_LOST: u32 = 3;
