//! [`Permit`]: with what a validator may go on, and the record of votes that bounds it.

use crate::calls::BlockPoint;
use crate::chain::CertifiedSuffix;
use crate::ids::View;

/// What a validator knows of its own votes. It is written to disk before a vote leaves, so it is never behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum VoteRecord {
    /// This key has never voted on this chain: it is new, and its owner knows that.
    Never,
    /// The highest view that it voted in or gave up on, in any phase.
    Last(View),
    /// The record is gone, damaged or from a backup: it may have voted in views, and may be locked on a block, that nobody
    /// here remembers. There is [no permit](super::WaitReason::VoteRecordLost) then: the [module](super) says why. The record
    /// is brought back, or the validator leaves the set and returns under a new key.
    Lost,
}

/// Leave to take part in consensus, until it is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permit {
    /// The final block that is executed.
    pub head: BlockPoint,
    /// Votes, of either phase, and proposals may be made in views above this one only.
    pub vote_above: View,
    /// What is certified above the head, if anything was shown: the lock and the high certificate begin there.
    pub suffix: Option<CertifiedSuffix>,
}
