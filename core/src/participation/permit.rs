//! [`Permit`]: with what a validator may go on, and the record of votes that bounds it.

use bytes::Bytes;

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
    /// here remembers. Where all hosts keep promise 7 ([`GateSettings`](super::GateSettings)), the others can tell; else there
    /// is [no permit](super::WaitReason::VoteRecordLost), and the record is brought back, or the validator leaves the set and
    /// returns under a new key. Without a permit such a validator gives no word of itself either.
    Lost,
}

/// Leave to take part in consensus, until it is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permit {
    /// The final block that is executed.
    pub head: BlockPoint,
    /// Votes, of either phase, and proposals may be made in views above this one only. After [`VoteRecord::Lost`] it is written
    /// to disk as the record, with the lock, before anything is signed.
    pub vote_above: View,
    /// Certified blocks above the head, if anything was shown: the lock and the high certificate begin there, or
    /// higher.
    pub suffix: Option<CertifiedSuffix>,
    /// After [`VoteRecord::Lost`]: the highest certificate that a quorum showed. The validator is locked on its view, whether or
    /// not the block is there, and votes for nothing with a lower justification.
    pub lock: Option<HighCertificate>,
}

/// A verified phase-one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HighCertificate {
    /// Its view.
    pub view: View,
    /// The certificate as the chain encodes it.
    pub bytes: Bytes,
}
