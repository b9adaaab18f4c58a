//! Rules of epochs, their sets and their last blocks.

use hotstuff2_sync::chain::{Chain as _, CheckError, SegmentClaim, SegmentEnd, SegmentFacts, TipCheck};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::rules::{FLIPS, certified, segment, turned};
use super::{Kept, Specimen, demand};

/// Blocks of the epoch's end that are played with.
const LAST: u64 = 6;

/// Epochs follow each other by proof, and a set is read in one way.
pub(super) fn epochs<S: Specimen>(specimen: &S) -> Kept {
    let (chain, epoch) = (specimen.chain(), specimen.epoch());
    let longer = [&epoch.bytes()[..], &[0]].concat();
    demand("epochs", chain.decode_epoch(&longer, None).is_err(), || "a byte lies behind a set".into())?;
    demand("epochs", chain.decode_epoch(&[], None).is_err(), || "nothing is a set".into())?;
    let Ok(set) = epoch.decoded(chain) else { return demand("epochs", false, || "the set is not read".into()) };
    let handovers = specimen.handovers();
    let ends = handovers.first().map(|handover| chain.verify_handover(set, handover));
    let Some(first) = ends else {
        let found = chain.verify_handover(set, b"made up");
        return demand("epochs", found.is_err(), || "a made-up handover is believed".into());
    };
    let (next, facts) = match first {
        Ok(proven) => proven,
        Err(error) => return demand("epochs", false, || format!("an honest handover is refused: {error}")),
    };
    let follows = facts.epoch.is_next_of(epoch.epoch()) && facts.range.first().is_next_of(epoch.range().last());
    demand("epochs", follows, || format!("the next epoch is {facts:?}"))?;
    let linked = handovers.first().map(|handover| chain.link_handover(epoch.bytes(), handover));
    let same = matches!(&linked, Some(Ok(linked)) if *linked == facts);
    demand("epochs", same, || format!("a handover is linked as {linked:?} and proven as {facts:?}"))?;
    for (at, bent) in handovers.first().into_iter().flat_map(|handover| turned(handover)) {
        let refused = matches!(chain.verify_handover(set, &bent), Err(CheckError::False(_)));
        demand("epochs", refused, || format!("a handover with a bit turned in byte {at} is believed"))?;
    }
    for length in handovers.first().into_iter().flat_map(|handover| cut(handover)) {
        let refused = matches!(chain.verify_handover(set, length), Err(CheckError::False(_)));
        demand("epochs", refused, || format!("the first {} bytes of a handover are believed", length.len()))?;
    }
    let bent = specimen.false_handovers();
    demand("specimen", !bent.is_empty(), || "epochs end, and it brings no false handover".into())?;
    for (name, bent) in &bent {
        let found = chain.verify_handover(set, bent).map(|(_, facts)| facts);
        let refused = matches!(found, Err(CheckError::False(_)));
        demand(&format!("bent: {name}"), refused, || format!("the handover is proven all the same: {found:?}"))?;
    }
    if let Some(second) = handovers.get(1) {
        let proven = chain.verify_handover(&next, second);
        demand("epochs", proven.is_ok(), || "the next handover is refused".into())?;
        let skipped = chain.verify_handover(set, second).is_ok() || chain.link_handover(epoch.bytes(), second).is_ok();
        demand("epochs", !skipped, || "an epoch is left out".into())?;
    }
    let foreign = specimen.foreign_tip().map(|tip| chain.verify_tip(set, &tip));
    let no_fault = foreign.as_ref().is_none_or(|found| matches!(found, Ok(TipCheck::OtherEpoch(_))));
    demand("epochs", no_fault, || format!("a tip of an epoch that is not known yet is a fault: {foreign:?}"))
}

/// The bytes without their end, cut at places all over them.
fn cut(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let step = bytes.len().div_ceil(FLIPS).max(1);
    (0..bytes.len()).step_by(step).filter_map(|at| bytes.get(..at))
}

/// The last blocks of an epoch are proven with the handover and without it, and the shortcut believes nothing that the long
/// way refuses. Where epochs never end, there is nothing to play.
pub(super) fn ends<S: Specimen>(specimen: &S) -> Kept {
    let (chain, epoch, handovers) = (specimen.chain(), specimen.epoch(), specimen.handovers());
    let Some(handover) = handovers.first() else { return Ok(()) };
    let Ok(set) = epoch.decoded(chain) else { return demand("ends", false, || "the set is not read".into()) };
    let last = epoch.range().last();
    let below = |blocks: u64| Height::new(last.get().saturating_sub(blocks));
    let (Some(asked), Some(before)) =
        (HeightRange::new(below(LAST), last), HeightRange::new(below(2 * LAST), below(LAST + 1)))
    else {
        return demand("specimen", false, || format!("its epoch ends at {last}"));
    };
    let (short, long) = (
        |claim: &SegmentClaim, bytes: &[u8]| {
            chain.verify_last_segment(set, claim, bytes, &[], handover).map(|(_, facts)| shown(facts))
        },
        |claim: &SegmentClaim, bytes: &[u8]| {
            chain.verify_segment(set, claim, bytes, &[]).map(|(_, facts)| shown(facts))
        },
    );
    let parts = [segment(specimen, before, false)?, segment(specimen, asked, true)?];
    agree("an honest end", &long(&certified(asked), &parts[1]), &short(&certified(asked), &parts[1]))?;
    for (at, bent) in turned(&parts[1]) {
        let (long, short) = (long(&certified(asked), &bent), short(&certified(asked), &bent));
        let same = long.as_ref().ok() == short.as_ref().ok();
        demand("ends", same, || format!("a bit turned in byte {at} of the end: {short:?}, without handover {long:?}"))?;
    }
    for first in [before.first(), before.last(), asked.first(), last] {
        let Some(range) = HeightRange::new(first, last) else { continue };
        let anchor = SegmentEnd::Anchored(specimen.id(last));
        for claim in [certified(range), SegmentClaim { end: anchor, ..certified(range) }] {
            let Some(cut) = chain.assemble(&parts, range, claim.end) else {
                return demand("assemble", false, || format!("nothing for {claim:?} at an epoch's end"));
            };
            agree("what is made of an epoch's end", &long(&claim, &cut), &short(&claim, &cut))?;
        }
    }
    Ok(())
}

/// The facts, whatever work it took to prove them.
fn shown(facts: SegmentFacts) -> SegmentFacts {
    SegmentFacts { quorum_checks: 0, ..facts }
}

/// Both ways believe it, and say the same of it.
fn agree(name: &str, long: &Result<SegmentFacts, CheckError>, short: &Result<SegmentFacts, CheckError>) -> Kept {
    let both = long.as_ref().is_ok_and(|long| short.as_ref() == Ok(long));
    demand("ends", both, || format!("{name}: with its handover {short:?}, without {long:?}"))
}
