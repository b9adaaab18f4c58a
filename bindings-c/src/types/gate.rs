//! The participation gate.

use super::plain::{hs2_handle, hs2_id};

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
    /// head's height, 5 the epoch is over for which the others knew of this validator's votes, 6 this node is no validator any
    /// more. `HS2_GATE_WAIT`: 0 there is a permit, 1 proven blocks are not applied yet, 2 nothing shows that the tip is the network's, 3 the record of votes is lost, 4 the host has not brought it, 5 the others restore it, 6 this
    /// validator's key signs elsewhere, 7 another block is proven at the head's height, 8 this node is in no place of the set that is
    /// in force. `HS2_GATE_ASK`: 1 where words must come
    /// with the certificates that back them (`hs2_advert_sign_backed`), else 0.
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
