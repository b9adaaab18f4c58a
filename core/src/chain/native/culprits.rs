//! Culprits: the validators that broke a promise, by what pairs of certificates show.
//!
//! To have signed in two branches is no offence: a voter leaves a branch, by its promises, for one with a higher certificate.
//! Two things are. To vote in one view and phase for two blocks; and to vote for a block whose justification is below the
//! lock that an earlier vote shows. A vote in phase one shows a lock on the block's own justification, and a vote in phase two
//! a lock on the block.

use alloc::vec::Vec;

use super::certificate::QuorumCertificate;
use super::header::Header;
use super::signature::ValidatorKey;
use super::validators::ValidatorSet;
use super::vote::Phase;
use crate::chain::Fault;
use crate::hash::Hash;
use crate::ids::View;

/// A block with a certificate that was verified for it.
pub(super) struct Signed {
    view: View,
    justify_view: View,
    block: Hash,
    phase: Phase,
    /// Places in the set, ascending.
    signers: Vec<usize>,
}

impl Signed {
    /// `certificate` was verified for `header` with the validators `set`.
    pub(super) fn new(header: &Header, certificate: &QuorumCertificate, set: &ValidatorSet) -> Result<Self, Fault> {
        let places = certificate.signer_places(set.count()).map_err(|_| Fault::BadCertificate)?;
        Ok(Self {
            view: header.view,
            justify_view: header.justify_view,
            block: certificate.block,
            phase: certificate.phase,
            signers: places,
        })
    }

    /// The view of a certificate that whoever signed this had seen.
    fn lock(&self) -> View {
        match self.phase {
            Phase::One => self.justify_view,
            Phase::Two => self.view,
        }
    }

    /// Whether nobody who keeps the promises signs both.
    fn excludes(&self, other: &Self) -> bool {
        let twice = self.view == other.view && self.phase == other.phase && self.block != other.block;
        let (low, high) = if self.view < other.view { (self, other) } else { (other, self) };
        let against_the_lock = low.view < high.view && high.phase == Phase::One && high.justify_view < low.lock();
        twice || against_the_lock
    }
}

/// The validators of `set` that signed two things of which nobody honest signs both, in the order of the set.
pub(super) fn culprits(signed: &[Signed], set: &ValidatorSet) -> Vec<ValidatorKey> {
    let pairs = signed.iter().enumerate().flat_map(|(at, one)| signed.iter().skip(at).map(move |other| (one, other)));
    let mut guilty = alloc::vec![false; set.count()];
    for (one, other) in pairs.filter(|(one, other)| one.excludes(other)) {
        for &place in one.signers.iter().filter(|place| other.signers.binary_search(place).is_ok()) {
            if let Some(guilty) = guilty.get_mut(place) {
                *guilty = true;
            }
        }
    }
    let guilty = set.validators().iter().zip(guilty).filter(|(_, guilty)| *guilty);
    guilty.map(|(validator, _)| validator.key).collect()
}
