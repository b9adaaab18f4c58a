//! An answer of handovers: links by hash along all of it first, then signatures, part by part in any order.
//!
//! An epoch's set is known by its hash before its keys are looked at, so whether an answer hangs together costs next to
//! nothing. Its certificates don't wait for each other then: several threads check one answer.

use alloc::vec::Vec;

use bytes::Bytes;

use super::verdict::{HandoverLink, Outcome};
use crate::chain::native::{EpochInfo, Handover};
use crate::chain::{Chain, CheckError, EpochRef, Fault};
use crate::limits::MAX_HANDOVERS;
use crate::wire::Sections;

/// Handovers whose signatures one job checks. At 100 validators that is some 10 ms, long against what a job costs beside
/// them; and a liar who makes up sets of his own gets no more than that checked by each thread.
pub(crate) const HANDOVER_PART: usize = 8;

/// Links a whole answer, and proves all of it where that is one part, else its first handover.
pub(super) fn run_handovers<C: Chain>(chain: &C, from: &EpochRef, bytes: &Bytes) -> (Result<Outcome, CheckError>, u32) {
    let mut sections = Sections::new(bytes.clone());
    let mut links: Vec<HandoverLink> = Vec::new();
    let mut unlinked = bytes.is_empty().then_some(CheckError::False(Fault::Malformed));
    while !sections.is_empty() && unlinked.is_none() {
        match next_link(chain, links.last().map_or(from, |link| &link.epoch), &mut sections, links.len()) {
            Ok(link) => links.push(link),
            Err(error) => unlinked = Some(error),
        }
    }
    // The first hangs on a trusted set: where it is made up, nothing behind it is looked at.
    let own = if links.len() > HANDOVER_PART { 1 } else { links.len() };
    let mut ahead = links.split_off(own);
    let (proven, unproven) = prove(chain, from, from, &links);
    let checks = checks(proven, unproven);
    if unproven.is_some() {
        links.truncate(proven);
        ahead.clear();
    }
    match unproven.or(unlinked) {
        Some(error) if links.is_empty() => (Err(error), checks),
        // The rest is asked for again where this host could not tell.
        error => (Ok(Outcome::Handovers { links, ahead, fault: error.and_then(CheckError::fault) }), checks),
    }
}

/// Proves handovers that were linked.
pub(super) fn run_handover_part<C: Chain>(
    chain: &C,
    known: &EpochRef,
    from: &EpochRef,
    links: &[HandoverLink],
) -> (Result<Outcome, CheckError>, u32) {
    let (proven, unproven) = prove(chain, known, from, links);
    let outcome = match unproven {
        Some(error @ CheckError::Unable(_)) => Err(error),
        unproven => {
            let fault = unproven.and_then(CheckError::fault);
            Ok(Outcome::HandoverPart { proven: u32::try_from(proven).unwrap_or(u32::MAX), fault })
        }
    };
    (outcome, checks(proven, unproven))
}

/// Proves the rest of a linked answer here and now.
pub(super) fn prove_ahead<C: Chain>(
    chain: &C,
    mut links: Vec<HandoverLink>,
    mut ahead: Vec<HandoverLink>,
    fault: Option<Fault>,
) -> Outcome {
    let mut fault = fault;
    if let Some(from) = links.last().map(|link| link.epoch.clone()) {
        let (proven, unproven) = prove(chain, &from, &from, &ahead);
        if unproven.is_some() {
            fault = unproven.and_then(CheckError::fault);
        }
        ahead.truncate(proven);
        links.append(&mut ahead);
    }
    Outcome::Handovers { links, ahead: Vec::new(), fault }
}

fn next_link<C: Chain>(
    chain: &C,
    before: &EpochRef,
    sections: &mut Sections,
    taken: usize,
) -> Result<HandoverLink, CheckError> {
    let bytes = sections.take().ok_or(Fault::Malformed)?;
    if bytes.len() > chain.profile().handover_bytes as usize || taken >= MAX_HANDOVERS as usize {
        return Err(Fault::Oversize.into());
    }
    let facts = chain.link_handover(before.bytes(), &bytes)?;
    let follows = facts.epoch.is_next_of(before.epoch()) && facts.range.first().is_next_of(before.range().last());
    if !follows {
        return Err(Fault::BadEpoch.into());
    }
    Ok(HandoverLink {
        ended: before.epoch(),
        boundary: before.range().last(),
        boundary_id: facts.boundary_id,
        boundary_time: facts.boundary_time,
        epoch: EpochRef::linked(facts),
        bytes,
    })
}

/// Proves consecutive linked handovers, the first of which ends `from`. Returns how many hold, and why the next doesn't.
fn prove<C: Chain>(
    chain: &C,
    known: &EpochRef,
    from: &EpochRef,
    links: &[HandoverLink],
) -> (usize, Option<CheckError>) {
    let mut proven: usize = 0;
    let mut all = || -> Result<(), CheckError> {
        let mut epoch = from.decoded_after(chain, known.decoded(chain)?)?;
        for link in links {
            let (next, facts) = chain.verify_handover(epoch, &link.bytes)?;
            let same = facts.epoch == link.epoch.epoch()
                && facts.range == link.epoch.range()
                && facts.boundary_id == link.boundary_id;
            if !same {
                return Err(Fault::BadEpoch.into());
            }
            epoch = link.epoch.decoded_as::<C>(next)?;
            proven = proven.saturating_add(1);
        }
        Ok(())
    };
    let unproven = all().err();
    (proven, unproven)
}

/// Number of certificates that were checked: one for each that holds, and the one that doesn't.
fn checks(proven: usize, unproven: Option<CheckError>) -> u32 {
    u32::try_from(proven).unwrap_or(u32::MAX).saturating_add(u32::from(unproven.is_some()))
}

impl HandoverLink {
    /// A stored handover of a native chain as it was proven before, to go on from. Nothing is proven here: for bytes of the host's own
    /// store.
    ///
    /// # Errors
    /// [`Fault::Malformed`] and its like, where the bytes are no handover.
    pub fn from_native(bytes: Bytes) -> Result<Self, Fault> {
        let handover = Handover::decode(&bytes)?;
        let next = EpochInfo::decode(&handover.next)?;
        Ok(Self {
            ended: handover.header.epoch,
            boundary: handover.header.height,
            boundary_id: handover.header.id(),
            boundary_time: handover.header.timestamp,
            epoch: next.to_ref(),
            bytes,
        })
    }
}
