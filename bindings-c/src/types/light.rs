//! The light client: proven values without blocks or states of one's own.

use super::plain::{hs2_handle, hs2_id, hs2_slice};

/// A light client.
pub type hs2_light = hs2_handle;

/// A proven answer of a light client. Immutable.
pub type hs2_light_answer = hs2_handle;

/// Settings of a light client. `hs2_light_defaults` fills them in, so that a program changes what it means to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_light_settings {
    /// 1: each epoch is proven by the one before. 0: epochs are skipped, which assumes that less than a third of a set turns
    /// false within the trusting period.
    pub one_by_one: u32,
    /// Peers of other groups that must prove the same block before it is told: 0 to 16.
    pub witnesses: u32,
    /// Most peers that are asked at a time: 1 to 1,000, and more than `witnesses`.
    pub max_peers: u32,
    /// Groups that must give the same false kind of answer before the client suspects itself: 2 to 1,000.
    pub suspect_self_groups: u32,
    /// Longest time of a request, in milliseconds: 100 ms to 1 h.
    pub peer_timeout_ms: u64,
    /// Longest time of a question, in milliseconds: 1 s to 1 h.
    pub query_timeout_ms: u64,
    /// Longest time of a job, in milliseconds: 100 ms to 1 h.
    pub job_timeout_ms: u64,
    /// Age from which on a tip is old, in milliseconds: 1 s to 10 years.
    pub freshness_ms: u64,
    /// How often each peer is asked for its status, in milliseconds: 100 ms to 1 h.
    pub status_interval_ms: u64,
    /// Time without progress after which an event says why, in milliseconds: 100 ms to 1 h.
    pub stall_after_ms: u64,
    /// How long a peer that gave a false answer is left out, in milliseconds: at least 1 s.
    pub ban_duration_ms: u64,
}

/// A proven block, as far as a light client knows it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_light_block {
    /// Its height.
    pub height: u64,
    /// When it was proposed, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Its id.
    pub id: hs2_id,
    /// Root of the state after it.
    pub state_root: hs2_id,
}

/// The content of an answer.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_light_found {
    /// `HS2_LIGHT_VALUE`, `HS2_LIGHT_HEADER` or `HS2_LIGHT_BODIES`.
    pub kind: u32,
    /// `HS2_LIGHT_VALUE`: 1 where the key has a value, 0 where it has none, which is proven too.
    pub has_value: u32,
    /// `HS2_LIGHT_VALUE`: the block after which the key has the value. `HS2_LIGHT_HEADER`: the block.
    pub block: hs2_light_block,
    /// `HS2_LIGHT_VALUE`: the value.
    pub value: hs2_slice,
    /// `HS2_LIGHT_BODIES`: height of the first payload.
    pub first: u64,
    /// `HS2_LIGHT_BODIES`: how many payloads there are, for `hs2_light_answer_payload`.
    pub payload_count: usize,
}

/// Where a light client stands.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct hs2_light_position {
    /// The newest trusted epoch.
    pub epoch: u64,
    /// The highest height that anyone proved, confirmed or not; 0 for none.
    pub proven: u64,
    /// The highest block that was proven and confirmed; all zero before there is one.
    pub tip: hs2_light_block,
    /// Groups that confirmed it, beside the one that showed it.
    pub witnesses: u32,
    /// `HS2_LIGHT_FRESH`, `HS2_LIGHT_OLD` or `HS2_LIGHT_UNKNOWN_AGE`.
    pub freshness: u32,
    /// Its age in milliseconds, with `HS2_LIGHT_OLD`.
    pub age_ms: u64,
}

/// The answer is a key's value.
pub const HS2_LIGHT_VALUE: u32 = 1;
/// The answer is a block.
pub const HS2_LIGHT_HEADER: u32 = 2;
/// The answer is payloads of consecutive blocks.
pub const HS2_LIGHT_BODIES: u32 = 3;

/// The tip is younger than the setting `freshness_ms`.
pub const HS2_LIGHT_FRESH: u32 = 1;
/// The tip is older than that.
pub const HS2_LIGHT_OLD: u32 = 2;
/// There is no tip yet, or it is from the future by more than clocks differ.
pub const HS2_LIGHT_UNKNOWN_AGE: u32 = 3;

/// Read the newest state that peers have.
pub const HS2_LIGHT_NOW: u32 = 1;
/// Read the newest snapshot that a peer says it serves.
pub const HS2_LIGHT_SNAPSHOT: u32 = 2;
/// Read the state after the block at a height, one of the chain's snapshot heights.
pub const HS2_LIGHT_AT: u32 = 3;
