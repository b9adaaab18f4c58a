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
    /// Who signed.
    pub key: hs2_id,
    /// The Ed25519 signature: R and s.
    pub bytes: [u8; 64],
}

/// What a genesis document says, and what follows from it.
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

/// What a proposer chooses of a header.
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

/// What a header says.
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

/// What admission says next.
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

/// What a node that serves holds.
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

/// What `hs2_respond` reads from: the host's store. Functions are called while `hs2_respond` runs, on its thread, and not
/// kept. Each returns `HS2_HOST_OK` and has written its result; `HS2_HOST_NONE` where there is no such thing; or any other
/// number, a failure of the host's own, which `hs2_respond` reports. Bytes that a function points to must stay until the
/// next function of the table is called or `hs2_respond` returns. A function must not throw, nor jump out.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_reader {
    /// Handed to each function.
    pub context: *mut c_void,
    /// What this node holds.
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

/// What the bytes that came into a session mean.
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
