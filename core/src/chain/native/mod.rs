//! The native chain: blocks, certificates and validator sets of a HotStuff-2 network, and what proves them.
//!
//! Start with [`Genesis`] and a [`TrustAnchor`]. The anchor's epoch is trusted; each [`Handover`] proves the next from
//! the one before; and an epoch ([`EpochContext`]) proves its headers: a [`FinalizedHeader`] for the tip, [`Segment`]s
//! for the rest. [`NativeChain`] offers all this to the machine as a [`Chain`](super::Chain).
//!
//! # Finality
//!
//! The rules are those of HotStuff-2 (Malkhi and Nayak, eprint 2023/397). A certificate of phase one says that a quorum
//! voted for a block, and that alone is not final: another block may win. Final is a block with a child in the very next
//! view that has such a certificate, or a block with a certificate of phase two, and everything below such a block. See
//! [`FinalityProof`].
//!
//! # What voters of this chain promise
//!
//! A proof holds one certificate, though the commit rule speaks of two. That is enough only because each honest voter
//! checked the rest before it signed. More than two thirds of an epoch's power signed, so with less than a third of it
//! faulty some honest voter did. An honest voter of this chain votes in phase one for a header only if
//!
//! 1. it verified a phase-one certificate for exactly the parent, with a view equal to the header's `justify_view`;
//! 2. chain id, epoch, epoch hash, height, proposer, payload hash and length are right, the timestamp is not before the
//!    parent's nor far ahead of its own clock, and executing the payload gave the header's state root;
//! 3. its lock, the highest view of a certificate that it has seen, is not above `justify_view`; it raises the lock to
//!    the highest justification that it sees and never lowers it, but for this: when an epoch begins, the lock is the
//!    view of the last block of the epoch before, as certificates of closing headers above that final block bind nobody;
//! 4. it has voted in no view as high in this phase, and has not given up on one as high, by a record that survives a
//!    crash;
//! 5. a header that begins an epoch came with the proof that the last block of the epoch before is final;
//! 6. a header above an epoch's last block, but of that epoch, is an empty closing header.
//!
//! In phase two it votes for a block whose phase-one certificate it verified, in the view of that block, once, and not
//! after it gave up on the view or voted in a higher one. A header is proposed in one view only; there are no
//! re-proposals, as the view is under the block's id.
//!
//! Some hosts promise one thing more. It makes no block final, and no proof rests on it; but a validator that lost its record of
//! votes can be told by the others how far it can have voted, and on what it was locked, only where it was kept:
//!
//! 7. it is in view v of an epoch only with a certificate of that epoch for view v - 1, a quorum's votes for a block
//!    ([`QuorumCertificate`]) or a quorum's word that it gave up ([`TimeoutCertificate`]), or because v is the view right above
//!    the last block of the epoch before; and it writes v and that certificate down before it says or signs anything in it, and
//!    shows the certificate where it says v.
//!
//! An engine whose views go by a clock, or that enters an epoch in a higher view than that, does not promise 7, and says so
//! ([`GateSettings`](crate::participation::GateSettings)).
//!
//! A chain whose voters don't promise 1 to 6 needs both certificates of the commit rule, or phase two, in its proofs, and
//! so a [`Chain`](super::Chain) of its own.
//!
//! # Epochs
//!
//! An epoch's heights are fixed when it begins. Its last block names the next epoch and is made final by its own epoch
//! alone, with empty closing headers above it that live in proofs only: they have heights that the next epoch's blocks
//! also have, and are never delivered, never final, and no conflict with those. If the next set's signatures counted for
//! that block, a dead fork could name a set that approves of it.

mod advert;
mod anchor;
mod assemble;
mod batch;
mod block;
pub mod build;
mod certificate;
pub(crate) mod codec;
mod culprits;
mod epoch;
mod evidence;
mod finality;
mod genesis;
mod handover;
mod header;
mod key_points;
mod native_chain;
mod rules;
mod segment;
mod signature;
mod skip;
mod timeout;
mod tip;
mod validator;
mod validators;
mod vote;

pub use advert::{ADVERT_TAG, Advert, AdvertClaim};
pub use anchor::{
    AnchorError, AnchorFacts, Checkpoint, MAX_CHECKPOINT_BYTES, MAX_CLOCK_ERROR_MS, TrustAnchor, check_age,
    check_age_within,
};
pub use block::{Block, BlockHeader};
pub use certificate::{CertificateError, QuorumCertificate};
pub use codec::Version;
pub use epoch::{EpochInfo, MAX_EPOCH_BYTES};
pub use evidence::{Branch, Conflict, ConflictEvidence, MAX_EVIDENCE_BYTES};
pub use finality::FinalityProof;
pub use genesis::{Genesis, GenesisDocument, GenesisError, MAX_GENESIS_BYTES, MAX_NAME_BYTES};
pub use handover::Handover;
pub use header::{Header, MAX_HEADER_BYTES, payload_hash};
pub use native_chain::{NativeChain, PROFILE};
pub use rules::{EpochContext, Rule};
pub use segment::{AuditTrail, CompactHeader, MAX_SEGMENT_HEADERS, NotASegment, Segment};
pub use signature::{ParseValidatorKeyError, Signature, ValidatorKey};
pub use skip::{Skip, SkipCheck};
pub use timeout::{GIVE_UP_TAG, TimeoutCertificate, give_up_bytes};
pub use tip::FinalizedHeader;
pub use validator::{BlockError, BlockValidator, ConsensusValidator, SignatureValidator, StateValidator};
pub use validators::{Validator, ValidatorSet, ValidatorSetError};
pub use vote::{Phase, VOTE_BYTES, VOTE_TAG, Vote};

#[cfg(test)]
mod tests;
