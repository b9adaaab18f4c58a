//! Why bytes from a peer were refused, and why a check did not prove anything.

use crate::ids::Height;

/// A provable fault in an answer: whoever holds the same bytes and the same anchor comes to the same result.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are no encoding of what was asked for.
    #[error("malformed answer")]
    Malformed,
    /// The bytes decode, but an honest encoder writes the value differently.
    #[error("non-canonical encoding")]
    NonCanonical,
    /// A count or a length passes the protocol's limits.
    #[error("answer passes the protocol's limits")]
    Oversize,
    /// The answer is about other heights than the ones asked for.
    #[error("answer for another range")]
    WrongRange,
    /// The answer belongs to another chain.
    #[error("answer from another chain")]
    WrongChain,
    /// A header doesn't follow from its parent.
    #[error("header {0} breaks a rule between it and its parent")]
    BrokenLink(Height),
    /// The last header isn't the block that was proven before.
    #[error("headers end at another block than the one proven before")]
    WrongAnchor,
    /// The first header's parent isn't the block that was proven before.
    #[error("headers start from another block than the one proven before")]
    WrongParent,
    /// A certificate doesn't hold: its fields, its signers, their power or a signature.
    #[error("certificate does not hold")]
    BadCertificate,
    /// Certificates hold, but don't make the block final.
    #[error("proof does not make the block final")]
    NotFinal,
    /// An epoch is named or entered against the rules.
    #[error("epoch rule broken")]
    BadEpoch,
    /// A validator set is empty, unsorted, weak, or too large.
    #[error("validator set is not valid")]
    BadValidatorSet,
    /// A payload isn't the one that its header names.
    #[error("payload of block {0} does not match its header")]
    BadPayload(Height),
    /// A body frame doesn't decompress to exactly the bytes that the headers name.
    #[error("body frame does not decompress to what the headers name")]
    BadFrame,
    /// Keys, values or hashes of a subtree of the state, or a proof, don't lead to the hash that was asked for.
    #[error("state does not lead to the hash that was asked for")]
    WrongState,
    /// Two proofs given as conflicting don't conflict.
    #[error("the two proofs do not conflict")]
    NoConflict,
    /// A host-supplied chain refused the answer, with a code of its own.
    #[error("refused by the host's chain (code {0})")]
    Host(u32),
}

/// Why a check proved nothing: the bytes are false, or this host was not able to tell.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error, serde::Serialize, serde::Deserialize,
)]
pub enum CheckError {
    /// The bytes are provably false. Whoever gave them is to blame.
    #[error(transparent)]
    False(#[from] Fault),
    /// The check could not be made here: the host's chain failed, with a code of its own. Nobody is to blame, and the same
    /// bytes may be proven at the next try.
    #[error("could not be checked here: the host's chain failed (code {0})")]
    Unable(u32),
}

impl CheckError {
    /// The fault, where somebody is to blame.
    pub const fn fault(self) -> Option<Fault> {
        match self {
            Self::False(fault) => Some(fault),
            Self::Unable(_) => None,
        }
    }
}
