//! Bounds that every honest node shares. A message outside of them is malformed, whoever sent it.

/// Spacing of the segment grid in headers: one certificate proves up to this many blocks. At 100 validators a quorum
/// check costs about 2 ms, so 1,024 brings it to 2 µs a block.
pub const GRID: u64 = 1024;

/// Largest encoding of a job, a verdict, a call or its reply, or of where a host stands, in bytes: more than any of them
/// takes, and what a 32-bit machine still has.
pub const MAX_PLAIN_BYTES: usize = 512 << 20;

/// Most validators in a set: what a u16 index and a certificate of 64-byte signatures carry without passing
/// [`MAX_SEGMENT_BYTES`].
pub const MAX_VALIDATORS: usize = 4096;

/// Most headers above a block in its finality proof. Where leaders take turns, votes go to the next leader, and every third
/// leader is silent, as many blocks as there are silent leaders stand below two in consecutive views: a third of the largest
/// set. The other 64 are for views that fail beside those. A network that certifies more blocks in a row without two in
/// consecutive views can't prove them, nor end an epoch with them.
pub const MAX_PROOF_PATH: usize = 64 + MAX_VALIDATORS.div_ceil(3);

/// Largest payload of one block, in bytes.
pub const MAX_PAYLOAD_BYTES: u32 = 4 << 20;

/// Most payload bytes that one body frame holds before compression; a larger single payload has a frame of its own.
pub const FRAME_BYTES: u32 = 256 << 10;

/// Largest encoded request, in bytes: one for [`MAX_STATE_ITEMS`] subtrees takes 4.3 KiB.
pub const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Largest encoded segment in bytes, without per-block certificates: a parent header, 1,024 compact headers of about
/// 100 bytes, a path of [`MAX_PROOF_PATH`] headers and a certificate of 4,096 signatures.
pub const MAX_SEGMENT_BYTES: u32 = 1 << 20;

/// Largest audit in one answer, in bytes: a certificate for every block of the segment beside it. A cell of a hundred validators
/// takes some 7 MiB; of larger sets a cell is audited in pieces ([`ChainProfile::piece`](crate::chain::ChainProfile::piece)), so
/// that no answer grows with them.
pub const MAX_AUDIT_BYTES: u32 = 8 << 20;

/// Most blocks in an answer to who follows the tip with audits: certificates of so many fit in, whatever set signed them.
pub const AUDITED_FOLLOW: u64 = 16;

/// Largest encoded tip, in bytes: a header, a path of [`MAX_PROOF_PATH`] headers and a certificate of 4,096 signatures.
pub const MAX_TIP_BYTES: u32 = 640 << 10;

/// Largest encoded handover, in bytes: a header, its proof and the next validator set.
pub const MAX_HANDOVER_BYTES: u32 = 1 << 20;

/// Most handovers in one answer.
pub const MAX_HANDOVERS: u32 = 64;

/// Largest answer of handovers, in bytes; a server stops before it.
pub const MAX_HANDOVERS_BYTES: u32 = 4 << 20;

/// Largest answer of bodies, in bytes of payload before compression, unless one single payload is larger.
pub const MAX_BODIES_BYTES: u32 = 4 << 20;

/// Most subtrees of the state that one request names.
pub const MAX_STATE_ITEMS: usize = 64;

/// Largest answer of state, in bytes of its subtrees.
pub const MAX_STATE_BYTES: u32 = 4 << 20;

/// A request for state allows at least so many bytes: the largest record and the largest pruned tree fit in, so there
/// is always an answer.
pub const MIN_STATE_BYTES: u32 = 128 << 10;

/// Most addresses of peers in one answer: a few KiB, and enough to find others when most of them are gone.
pub const MAX_PEER_ADDRESSES: usize = 64;

/// Largest signed word of a validator on where it stands, in bytes. The native chain's takes some 220; a chain of its own may
/// sign with another scheme.
pub const MAX_ADVERT_BYTES: u32 = 4 << 10;

/// Largest such word with what backs it: two certificates of 4,096 signatures.
pub const MAX_BACKED_ADVERT_BYTES: u32 = 640 << 10;

/// Submissions of decided blocks that a machine holds at a time. An engine that decides a hundred blocks a second is
/// ahead of its disk by half a second then.
pub const MAX_DECIDED: usize = 64;

/// Most bytes of them together, handovers included, as they are handed in: one of the largest blocks and some more.
pub const MAX_DECIDED_BYTES: u64 = 16 << 20;
