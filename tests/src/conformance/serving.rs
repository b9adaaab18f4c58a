//! Rules of the serving side: tips, what is put together, and evidence.

use bytes::Bytes;
use hotstuff2_sync::chain::{Chain as _, CheckError, Finalized, SegmentClaim, SegmentEnd, TipCheck};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::rules::{ENDS, anchored, certified, end, range, segment, verify};
use super::{Broken, Kept, Specimen, demand};

/// A segment makes a tip if, and only if, it is certified; and the tip is that of its end.
pub(super) fn tips<S: Specimen>(specimen: &S) -> Kept {
    let asked = range(specimen, 4, ENDS[0]);
    let (chain, epoch) = (specimen.chain(), specimen.epoch());
    let none = chain.tip_of(&segment(specimen, asked, false)?);
    demand("tip_of", none.is_none(), || "an anchored segment makes a tip, which proves nothing".into())?;
    let Some(tip) = chain.tip_of(&segment(specimen, asked, true)?) else {
        return demand("tip_of", false, || "a certified segment makes no tip".into());
    };
    let found = epoch.decoded(chain).and_then(|set| chain.verify_tip(set, &tip));
    let its_end = matches!(&found, Ok(TipCheck::Final(facts)) if facts.height == asked.last()
        && facts.id == specimen.id(asked.last()) && facts.epoch == epoch.epoch());
    demand("tip_of", its_end, || format!("the tip of a segment that ends with {} is {found:?}", asked.last()))?;
    let alone = segment(specimen, HeightRange::single(asked.last()), false)?;
    let found = epoch.decoded(chain).and_then(|set| chain.verify_tip(set, &alone));
    let believed = matches!(found, Ok(TipCheck::Final(_)));
    demand("tip", !believed, || format!("a segment of one block without a proof is a tip: {found:?}"))?;
    let mut bent = tip.to_vec();
    if let Some(last) = bent.last_mut() {
        *last ^= 1;
    }
    let found = epoch.decoded(chain).and_then(|set| chain.verify_tip(set, &bent));
    let refused = matches!(found, Err(CheckError::False(_)));
    demand("tip", refused, || format!("a tip with a bent proof: {found:?}"))
}

/// Segments that are cut and joined anywhere are believed elsewhere; where it can't be done, nothing is given.
pub(super) fn assembled<S: Specimen>(specimen: &S) -> Kept {
    let (lower, upper) = (range(specimen, 0, ENDS[0]), range(specimen, ENDS[0] + 1, ENDS[1]));
    for proven in [[true, true], [false, true], [true, false]] {
        let parts = [segment(specimen, lower, proven[0])?, segment(specimen, upper, proven[1])?];
        for (from, to) in [(0, 7), (3, 3), (2, ENDS[0]), (9, ENDS[0] + 1), (0, ENDS[1]), (ENDS[0] + 2, ENDS[1])] {
            let asked = range(specimen, from, to);
            let claim = anchored(specimen, asked);
            let Some(cut) = specimen.chain().assemble(&parts, asked, claim.end) else {
                return demand("assemble", false, || format!("nothing for {asked}, anchored"));
            };
            believed(specimen, &claim, &cut)?;
            let claim = certified(asked);
            if let Some(cut) = specimen.chain().assemble(&parts, asked, claim.end) {
                believed(specimen, &claim, &cut)?;
            } else {
                // Where a part ends with its proof, that is the proof of the whole.
                let at_end = (to == ENDS[0] && proven[0]) || (to == ENDS[1] && proven[1]);
                demand("assemble", !at_end, || format!("nothing for {asked}, though a part proves its end"))?;
            }
            let claim = SegmentClaim { end: SegmentEnd::CertifiedUpTo, ..claim };
            if let Some(cut) = specimen.chain().assemble(&parts, asked, claim.end) {
                believed(specimen, &claim, &cut)?;
            }
        }
    }
    let parts = [segment(specimen, lower, true)?, segment(specimen, upper, true)?];
    let whole = range(specimen, 0, ENDS[1]);
    let nothing = |what: &str, parts: &[Bytes], range: HeightRange, end| {
        let given = specimen.chain().assemble(parts, range, end);
        demand("assemble", given.is_none(), || format!("something is made of {what}"))
    };
    let end_of = |range: HeightRange| SegmentEnd::Anchored(specimen.id(range.last()));
    nothing("no parts", &[], whole, end_of(whole))?;
    nothing("parts in the wrong order", &[parts[1].clone(), parts[0].clone()], whole, end_of(whole))?;
    nothing("a part that lacks the rest", &parts[..1], whole, end_of(whole))?;
    nothing("parts with another end", &parts, whole, SegmentEnd::Anchored(specimen.id(lower.last())))?;
    if let Some(fork) = specimen.fork(upper) {
        nothing("parts that don't hang together", &[parts[0].clone(), fork], whole, SegmentEnd::Certified)?;
    }
    Ok(())
}

fn believed<S: Specimen>(specimen: &S, claim: &SegmentClaim, cut: &[u8]) -> Kept {
    let found = verify(specimen, claim, cut, &[]);
    let fits = found.as_ref().is_ok_and(|facts| match claim.end {
        SegmentEnd::CertifiedUpTo => facts.range.last() <= claim.range.last(),
        _ => facts.range == claim.range,
    });
    demand("assemble", fits, || format!("what is made for {claim:?} is {found:?}"))
}

/// Evidence is made of two proofs of different blocks at one height, and of nothing else.
pub(super) fn evidence<S: Specimen>(specimen: &S) -> Kept {
    let asked = range(specimen, 4, ENDS[0]);
    let (chain, epoch) = (specimen.chain(), specimen.epoch());
    let set = epoch.decoded(chain).map_err(|error| Broken { rule: "evidence".into(), what: error.to_string() })?;
    let honest = segment(specimen, asked, true)?;
    let ours = Finalized::Segment(honest.clone(), asked.last());
    let lower = Finalized::Segment(honest.clone(), end(specimen, 0).prev().unwrap_or(Height::ZERO));
    let made_up = chain.evidence(set, &ours, &ours).is_ok() || chain.evidence(set, &ours, &lower).is_ok();
    demand("evidence", !made_up, || "one history is evidence against itself".into())?;
    let bare = Finalized::Segment(segment(specimen, asked, false)?, asked.last());
    let unproven = chain.evidence(set, &ours, &bare);
    demand("evidence", unproven.is_err(), || "a segment without a proof is evidence".into())?;
    for bend in specimen.bends() {
        let Some(honest) = specimen.segment(bend.range, true) else { continue };
        let last = bend.range.last();
        let (ours, theirs) = (Finalized::Segment(honest, last), Finalized::Segment(bend.segment.clone(), last));
        let made = [chain.evidence(set, &ours, &theirs), chain.evidence(set, &theirs, &ours)];
        let refused = made.iter().all(Result::is_err);
        demand("evidence", refused, || format!("{}: what proves nothing is evidence: {made:?}", bend.name))?;
    }
    let Some(fork) = specimen.fork(asked) else { return Ok(()) };
    let theirs = Finalized::Segment(fork.clone(), asked.last());
    let made = chain.evidence(set, &ours, &theirs);
    demand("evidence", made.is_ok(), || format!("two final blocks at one height are none: {made:?}"))?;
    let tips = chain.tip_of(&honest).zip(chain.tip_of(&fork));
    let made = tips.map(|(ours, theirs)| chain.evidence(set, &Finalized::Tip(ours), &Finalized::Tip(theirs)));
    demand("evidence", matches!(made, Some(Ok(_))), || format!("two final tips at one height are none: {made:?}"))
}
