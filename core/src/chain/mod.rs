//! Chains: what one must answer to be synchronized, the [`Chain`] trait, and the facts that pass between it and the
//! machine.
//!
//! The machine moves heights, ids, byte counts and opaque bytes. What a block, a certificate or a validator set *is*
//! belongs to an implementation of [`Chain`], which is called in two places only: inside a verification job, on bytes
//! that nobody trusts, and on the serving side, on bytes that were verified before. [`native`] is the complete default.
//!
//! # The contract
//! Everything that an implementation returns as `Ok` is believed, and for a [`Fault`] somebody is banned. An
//! implementation must therefore bound its work by the length of its input, never panic on any input, and depend on its
//! arguments alone. Where it can't tell, because something of its own failed, it says [`CheckError::Unable`]: nobody is
//! blamed, and the machine has the same checked again after a pause. It never refuses what an honest peer may send. The
//! guide `docs/your-chain.md` goes through all of it, with chains of other kinds to copy from.
//!
//! * A block's id covers its payload. Where it doesn't cover the payload's length, [`ChainProfile::proves_lengths`] says so,
//!   and headers are believed only together with all of their payloads. Where it covers the parent's id, one certificate
//!   proves all blocks of a segment; where it doesn't, every header brings a certificate.
//! * What a [`Job`](crate::verify::Job) has checked before it asks, and checks of the facts that come back, is said at each
//!   function. Nothing else was checked.
//! * Bytes of one value have one form: an implementation decodes no other.
//! * What the chain doesn't have is answered so: no clock, with [`UnixMillis::default`], which means "not known"; no state
//!   roots, with `false` and [`Hash::ZERO`]; no handovers, with a fault and an epoch that ends at [`Height::MAX`]; no
//!   adverts, with a fault; nothing above the final block, with `None`. Where the certificates of single blocks are,
//!   [`Audits`] says.
//! * The bounds are those that the chain states ([`ChainProfile`]), within those of [`crate::limits`]. A profile beyond them is
//!   refused when a machine or a store is made, and blocks beyond the profile are stored nowhere.

mod block;
mod fault;
mod memo;
mod profile;
mod refs;

pub mod native;

use alloc::vec::Vec;

use bytes::Bytes;

pub use block::Block;
pub use fault::{CheckError, Fault};
pub use memo::Memo;
pub use profile::{Audits, ChainProfile, ProfileError};
pub use refs::{EpochRef, SegmentRef};

use crate::hash::Hash;
use crate::ids::{Epoch, Height, View};
use crate::ranges::HeightRange;
use crate::time::UnixMillis;

/// A chain's blocks, certificates and validator sets.
pub trait Chain: Send + Sync + 'static {
    /// A validator set in force, decoded and ready to verify with. Decoded once for each epoch and shared.
    type Epoch: Send + Sync + 'static;

    /// The headers of a segment, decoded.
    type Segment: Send + Sync + 'static;

    /// Limits of the chain: how large what it has may be, which of it there is, and whether ids cover lengths. Always
    /// the same.
    fn profile(&self) -> ChainProfile;

    /// Whether [`HeaderFacts::state_root`] is the root of this crate's state tree ([`crate::state`]) after the block. Where
    /// it isn't, states are neither fetched nor exported: blocks alone bring a node to the tip.
    fn has_state_roots(&self) -> bool;

    /// Decodes the validator set that a handover (or the anchor) named. `before` is the set of an earlier epoch, where one is
    /// at hand: few validators change, so most keys are known from it.
    fn decode_epoch(&self, epoch: &[u8], before: Option<&Self::Epoch>) -> Result<Self::Epoch, CheckError>;

    /// Reads which epoch `handover` begins, and checks by hashes and numbers alone that it ends `epoch` and that the set
    /// which it brings along is the one that it names. No key is decoded and no signature checked: a made-up set costs
    /// nothing. `epoch` is an epoch as [`decode_epoch`](Self::decode_epoch) reads it, which may not be proven yet; its number
    /// must be in there. The facts are those that [`verify_handover`](Self::verify_handover) gives.
    fn link_handover(&self, epoch: &[u8], handover: &[u8]) -> Result<HandoverFacts, CheckError>;

    /// Proves that `epoch` ended as `handover` says and that the set it names comes next: all that
    /// [`link_handover`](Self::link_handover) checks, and the signatures. Returns that set, decoded as
    /// [`decode_epoch`](Self::decode_epoch) would: whoever verifies has looked at it already.
    ///
    /// Before: `epoch` is trusted. After: that the epoch which begins has the next number and the next height. The block and
    /// its certificate are the ended epoch's alone: a set that it names must not prove it.
    fn verify_handover(&self, epoch: &Self::Epoch, handover: &[u8])
    -> Result<(Self::Epoch, HandoverFacts), CheckError>;

    /// Proves an epoch further up without the handovers between, for light clients. `begins` is the handover that names
    /// it, of which only the set is looked at, and `ends` the one that proves its last block final. Signers of that proof
    /// must hold more than a third of the power of `trusted`, whose age the caller checks. A chain that can't tell refuses
    /// all, and its light clients go epoch by epoch.
    fn verify_skip(
        &self,
        trusted: &Self::Epoch,
        begins: &[u8],
        ends: &[u8],
    ) -> Result<Skipped<Self::Epoch>, CheckError>;

    /// Proves that the block in `tip` is final, if it belongs to `epoch`. A tip of another epoch is no fault: the peer is
    /// ahead, and its certificate can't be checked.
    ///
    /// After: that a final block is of `epoch`.
    fn verify_tip(&self, epoch: &Self::Epoch, tip: &[u8]) -> Result<TipCheck, CheckError>;

    /// Proves that `segment` is the finalized headers that `claim` asks for. `audit` holds the certificates of the
    /// single blocks and is empty unless `claim.audit` is set, which it is only where the profile has
    /// [audits apart](Audits::Apart).
    ///
    /// Before: the claim's heights are all of `epoch`. After: that range, parent and last id in the facts are those of the
    /// claim, and that there is a length for each height. That they are true is proven here alone.
    ///
    /// Where a header carries its parent's certificate, the first of an epoch brings one by the set before, which isn't at
    /// hand: `verify_handover` has proven that block, and the id of this one covers the bytes.
    ///
    /// A claim that ends [`Anchored`](SegmentEnd::Anchored) may be answered with a certified segment, as a server has it.
    /// That certificate isn't needed, and is checked all the same: what is stored here is served later.
    fn verify_segment(
        &self,
        epoch: &Self::Epoch,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
    ) -> Result<(Self::Segment, SegmentFacts), CheckError>;

    /// The same for a segment at the end of an epoch, for which [`verify_handover`](Self::verify_handover) has proven
    /// `handover` under the same `epoch`. A segment that ends with that very block and that very proof needs no second
    /// check of it; any other is verified whole, with [`verify_segment`](Self::verify_segment), as a chain without the
    /// shortcut does with each.
    fn verify_last_segment(
        &self,
        epoch: &Self::Epoch,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
        handover: &[u8],
    ) -> Result<(Self::Segment, SegmentFacts), CheckError>;

    /// Decodes a segment that was verified before and comes from the host's own store. Without signatures, so that reading
    /// is cheap.
    fn decode_segment(&self, segment: &[u8]) -> Result<Self::Segment, CheckError>;

    /// Facts of the header at `height` that an application needs; `None` where the segment doesn't hold it.
    fn header(&self, segment: &Self::Segment, height: Height) -> Option<HeaderFacts>;

    /// Proves that `payload` is the one that the header at `height` names. Before: its length is the one that the facts of
    /// the segment say.
    fn check_payload(&self, segment: &Self::Segment, height: Height, payload: &[u8]) -> Result<(), CheckError>;

    /// Cuts or joins verified segments, consecutive and in order, to the one for `range`. With [`SegmentEnd::Anchored`]
    /// no certificate is needed; otherwise `None` where none of the parts proves the range's end. Serving side.
    ///
    /// Parts are certified or not, in any mix. They may begin below the range and end above it, by up to
    /// [`MAX_PROOF_PATH`](crate::limits::MAX_PROOF_PATH) blocks and in the next epoch, for a proof that lies there. Certified
    /// headers that a part shows above its end need not be those that the next part begins with. What
    /// comes back must pass [`verify_segment`](Self::verify_segment) elsewhere.
    fn assemble(&self, parts: &[Bytes], range: HeightRange, end: SegmentEnd) -> Option<Bytes>;

    /// The tip message that the end of a certified segment makes; `None` for an anchored one. Serving side: this is how a
    /// store knows whether a segment is certified.
    fn tip_of(&self, segment: &[u8]) -> Option<Bytes>;

    /// Makes portable evidence from two verified proofs of different blocks at one height: anyone who holds the
    /// validator set can check it. An error where the two don't conflict. Both were verified before, and are verified again:
    /// a bit may have flipped.
    fn evidence(&self, epoch: &Self::Epoch, one: &Finalized, other: &Finalized) -> Result<Bytes, CheckError>;

    /// Checks that a validator of `epoch` signed `advert`, and the certificates in it. A word of another epoch is an error, and
    /// nobody's fault. A chain whose validators sign none refuses all, and its nodes
    /// know that they have caught up by the freshness of the tip alone.
    fn verify_advert(&self, epoch: &Self::Epoch, advert: &[u8]) -> Result<AdvertFacts, CheckError>;

    /// Certified blocks that a verified tip, or a verified certified segment, shows above the one that it proves
    /// final; `None` where it shows nothing that consensus can begin with.
    fn certified_suffix(&self, proof: &Finalized) -> Option<CertifiedSuffix>;
}

/// A validator's word on itself, its signature and its certificates checked. Proves nothing about any block.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct AdvertFacts {
    /// Key of the validator, or another name that is its alone in this set.
    pub validator: Hash,
    /// Voting power of the validator.
    pub power: u64,
    /// The power of all validators of the set together.
    pub total_power: u128,
    /// Height of its highest finalized block.
    pub height: Height,
    /// Id of that block.
    pub id: Hash,
    /// The view that it is in. Nothing but its word says that it is not in a lower one, or in a higher one.
    pub view: View,
    /// The highest view that the certificates beside the word allow to be in: the one above the highest that a quorum finished.
    /// `None` where none is shown.
    pub backed: Option<View>,
    /// The view of the highest certificate that it has seen; zero where it has seen none in this epoch.
    pub lock: View,
    /// Certificate of that view as the chain encodes it, verified; `None` where it is not shown.
    pub certificate: Option<Bytes>,
    /// Time at which it was said, by the validator's clock.
    pub timestamp: UnixMillis,
    /// Challenge that the asker had sent along.
    pub challenge: Hash,
}

/// Headers that are certified and not final yet, and the certificate of the last: where consensus goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertifiedSuffix {
    /// The headers above the final block as the chain encodes them, in order.
    pub headers: Vec<Bytes>,
    /// The certificate for the last of them, or for the final block itself where there is none.
    pub certificate: Bytes,
}

/// Proof by which the last header of a segment is known to be final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SegmentEnd {
    /// The segment ends exactly where asked and carries a finality proof for its last header.
    Certified,
    /// The segment ends at the first height up to the asked one for which the server has a proof (following the tip).
    CertifiedUpTo,
    /// The last header must be this block, which was proven before. No certificate is needed.
    Anchored(Hash),
}

/// Segment that was asked for, and so what an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct SegmentClaim {
    /// The heights. Within one cell of the grid.
    pub range: HeightRange,
    /// The id that the parent of the first header must have, where it is known already.
    pub parent: Option<Hash>,
    /// Proof of the end.
    pub end: SegmentEnd,
    /// Whether every block must come with a certificate of its own.
    pub audit: bool,
}

/// Facts of a verified segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct SegmentFacts {
    /// The heights that it holds.
    pub range: HeightRange,
    /// Id of the block below the first.
    pub parent_id: Hash,
    /// Id of the last block.
    pub last_id: Hash,
    /// Timestamp of the last block.
    pub last_timestamp: UnixMillis,
    /// Payload lengths in bytes, one for each height.
    #[serde(deserialize_with = "native::codec::bounded::<_, _, { crate::limits::GRID as usize }>")]
    pub payload_lens: Vec<u32>,
    /// Number of quorum checks that it took.
    pub quorum_checks: u32,
}

/// Facts of a verified handover.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HandoverFacts {
    /// Id of the last block of the epoch that ended.
    pub boundary_id: Hash,
    /// The time of that block; zero where the chain has no time.
    pub boundary_time: UnixMillis,
    /// Number of the epoch that begins.
    pub epoch: Epoch,
    /// All heights of the epoch that begins: the first is the one above the boundary block.
    pub range: HeightRange,
    /// The epoch that begins, as [`Chain::decode_epoch`] reads it.
    pub bytes: Bytes,
}

/// A block that was proven final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct TipFacts {
    /// The block's height.
    pub height: Height,
    /// The block's id.
    pub id: Hash,
    /// The block's epoch.
    pub epoch: Epoch,
    /// The block's timestamp, for freshness.
    pub timestamp: UnixMillis,
    /// Root of the state after the block; `None` where the proof doesn't show it, or the chain has none.
    pub state_root: Option<Hash>,
}

/// Result of a skip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped<E> {
    /// The epoch is as trusted as the one that vouches for it: its decoded set, and its facts.
    To(E, SkipFacts),
    /// A third of the trusted power or less is among the signers. Nothing was proven, and nobody is to blame: a nearer
    /// epoch may do.
    TooFar,
}

/// A verified skip's facts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SkipFacts {
    /// Number of the epoch that was skipped to.
    pub epoch: Epoch,
    /// All heights of that epoch.
    pub range: HeightRange,
    /// The epoch's bytes, as [`Chain::decode_epoch`] reads them.
    pub bytes: Bytes,
    /// Last block of the epoch.
    pub last: TipFacts,
}

/// Result of checking a tip against one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum TipCheck {
    /// Proven.
    Final(TipFacts),
    /// The block says that it belongs to another epoch: nothing was proven, and nobody is to blame.
    OtherEpoch(Epoch),
}

/// Facts of a header that an application needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct HeaderFacts {
    /// The block's id.
    pub id: Hash,
    /// Root of the state after this block; [`Hash::ZERO`] in a chain without
    /// [state roots](Chain::has_state_roots).
    pub state_root: Hash,
    /// The block's timestamp.
    pub timestamp: UnixMillis,
}

/// Bytes that proved a block final, kept for evidence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Finalized {
    /// A segment, and the height in question, which may also be that of the parent of its first header.
    Segment(Bytes, Height),
    /// A segment without a certificate and the tip whose block is its last, and the height in question, as above.
    Anchored {
        /// The segment.
        segment: Bytes,
        /// The tip.
        tip: Bytes,
        /// The height.
        height: Height,
    },
    /// A tip.
    Tip(Bytes),
    /// A handover: its boundary block.
    Handover(Bytes),
}

impl Finalized {
    /// The bytes that hold the block, and the tip that proves it where they have no certificate.
    pub const fn parts(&self) -> (&Bytes, Option<&Bytes>) {
        match self {
            Self::Segment(bytes, _) | Self::Tip(bytes) | Self::Handover(bytes) => (bytes, None),
            Self::Anchored { segment, tip, .. } => (segment, Some(tip)),
        }
    }
}

native::codec::plain!(Finalized);
