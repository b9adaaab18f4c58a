//! Rules of verification.

use bytes::Bytes;
use hotstuff2_sync::chain::{Audits, Chain as _, CheckError, SegmentClaim, SegmentEnd, SegmentFacts};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::{Broken, Kept, Specimen, demand};

/// Places of an honest segment at which a bit is turned, and at which it is cut.
pub(super) const FLIPS: usize = 24;

/// Where proofs are: so many blocks above the first.
pub(super) const ENDS: [u64; 2] = [15, 35];

pub(super) fn range<S: Specimen>(specimen: &S, from: u64, to: u64) -> HeightRange {
    let first = specimen.first();
    HeightRange::new(first.plus(from), first.plus(to)).unwrap_or(HeightRange::single(first))
}

pub(super) fn certified(range: HeightRange) -> SegmentClaim {
    SegmentClaim { range, parent: None, end: SegmentEnd::Certified, audit: false }
}

pub(super) fn anchored<S: Specimen>(specimen: &S, range: HeightRange) -> SegmentClaim {
    SegmentClaim { end: SegmentEnd::Anchored(specimen.id(range.last())), ..certified(range) }
}

pub(super) fn segment<S: Specimen>(specimen: &S, range: HeightRange, proven: bool) -> Result<Bytes, Broken> {
    let given = specimen.segment(range, proven);
    given.ok_or_else(|| Broken {
        rule: "specimen".into(),
        what: format!("gives no segment of {range}, proven: {proven}"),
    })
}

pub(super) fn verify<S: Specimen>(
    specimen: &S,
    claim: &SegmentClaim,
    segment: &[u8],
    audit: &[u8],
) -> Result<SegmentFacts, CheckError> {
    let epoch = specimen.epoch();
    let chain = specimen.chain();
    chain.verify_segment(epoch.decoded(chain)?, claim, segment, audit).map(|(_, facts)| facts)
}

/// Honest bytes must be believed: the first thing to look at where honest peers are banned.
fn believed<S: Specimen>(
    specimen: &S,
    rule: &str,
    claim: &SegmentClaim,
    segment: &[u8],
) -> Result<SegmentFacts, Broken> {
    verify(specimen, claim, segment, &[]).map_err(|error| Broken {
        rule: rule.into(),
        what: format!("an honest segment for {claim:?} is refused: {error}"),
    })
}

fn refused<S: Specimen>(
    specimen: &S,
    rule: &str,
    claim: &SegmentClaim,
    segment: &[u8],
    audit: &[u8],
    why: &str,
) -> Kept {
    match verify(specimen, claim, segment, audit) {
        Err(CheckError::False(_)) => Ok(()),
        found => demand(rule, false, || format!("{why}: {found:?}, where a fault was to be found")),
    }
}

/// Sizes can be carried, and honest bytes keep to them.
pub(super) fn sizes<S: Specimen>(specimen: &S) -> Kept {
    let profile = specimen.chain().profile();
    profile.check().map_err(|error| Broken { rule: "sizes".into(), what: error.to_string() })?;
    let all = range(specimen, 0, ENDS[1]);
    let segment = segment(specimen, all, true)?;
    let lens = lens(specimen, all);
    let exceeded = profile.exceeded(segment.len(), &lens);
    demand("sizes", exceeded.is_none(), || {
        format!("an honest segment of {} bytes passes {exceeded:?}", segment.len())
    })?;
    let tip = specimen.chain().tip_of(&segment).map_or(0, |tip| tip.len());
    let fits = tip <= profile.tip_bytes as usize;
    demand("sizes", fits, || format!("an honest tip of {tip} bytes passes tip_bytes"))?;
    let handover = specimen.handovers().iter().map(Bytes::len).max().unwrap_or(0);
    let fits = handover <= profile.handover_bytes as usize;
    demand("sizes", fits, || format!("an honest handover of {handover} bytes passes handover_bytes"))
}

fn lens<S: Specimen>(specimen: &S, range: HeightRange) -> Vec<u32> {
    let heights = (0..range.count()).map(|above| range.first().plus(above));
    heights.map(|height| u32::try_from(specimen.payload(height).len()).unwrap_or(u32::MAX)).collect()
}

/// Honest segments are believed, in every way in which they may be asked for, and say what is true.
pub(super) fn honest<S: Specimen>(specimen: &S) -> Kept {
    for (from, to) in [(0, ENDS[0]), (4, ENDS[0]), (ENDS[0], ENDS[0]), (3, ENDS[1])] {
        let range = range(specimen, from, to);
        let (proven, bare) = (segment(specimen, range, true)?, segment(specimen, range, false)?);
        let below = range.first().prev().map(|below| specimen.id(below));
        let longer = HeightRange::new(range.first(), range.last().plus(3)).unwrap_or(range);
        let up_to = SegmentClaim { end: SegmentEnd::CertifiedUpTo, ..certified(longer) };
        for (claim, segment) in [
            (certified(range), &proven),
            (SegmentClaim { parent: below, ..certified(range) }, &proven),
            (up_to, &proven),
            (anchored(specimen, range), &bare),
            // As a server has stored it.
            (anchored(specimen, range), &proven),
        ] {
            let facts = believed(specimen, "honest", &claim, segment)?;
            let true_facts = facts.range == range
                && Some(facts.parent_id) == below
                && facts.last_id == specimen.id(range.last())
                && facts.payload_lens == lens(specimen, range);
            demand("honest", true_facts, || format!("for {claim:?} the facts are {facts:?}"))?;
            let again = believed(specimen, "honest", &claim, segment)?;
            demand("honest", facts == again, || "the same bytes give other facts the second time".into())?;
        }
        let chain = specimen.chain();
        let Ok(decoded) = chain.decode_segment(&bare) else {
            return demand("honest", false, || format!("the segment of {range} is verified and not decoded"));
        };
        let facts = chain.header(&decoded, range.last());
        let same = facts.is_some_and(|facts| facts.id == specimen.id(range.last()));
        demand("honest", same, || format!("the header of {} says {facts:?}", range.last()))?;
        let beyond = chain.header(&decoded, range.last().next());
        demand("honest", beyond.is_none(), || format!("the segment of {range} has a header above: {beyond:?}"))?;
    }
    Ok(())
}

/// A segment is what was asked for.
pub(super) fn claims<S: Specimen>(specimen: &S) -> Kept {
    let other = Hash::from_bytes([0x5a; 32]);
    let asked = range(specimen, 4, ENDS[0]);
    let (proven, bare) = (segment(specimen, asked, true)?, segment(specimen, asked, false)?);
    for end in [SegmentEnd::Certified, SegmentEnd::CertifiedUpTo, anchored(specimen, asked).end] {
        let claim = SegmentClaim { parent: Some(other), end, ..certified(asked) };
        refused(specimen, "parent", &claim, &proven, &[], "it hangs on another block than the one proven before")?;
    }
    for (from, to) in [(3, ENDS[0]), (5, ENDS[0]), (4, ENDS[0] + 1), (4, ENDS[0] - 1)] {
        let claimed = range(specimen, from, to);
        refused(specimen, "range", &certified(claimed), &proven, &[], "it has other heights than asked for")?;
        let claim = SegmentClaim { range: claimed, ..anchored(specimen, asked) };
        refused(specimen, "range", &claim, &bare, &[], "it has other heights than asked for")?;
    }
    for claimed in [range(specimen, 4, ENDS[0] - 1), range(specimen, 3, ENDS[0])] {
        let claim = SegmentClaim { end: SegmentEnd::CertifiedUpTo, ..certified(claimed) };
        refused(specimen, "range", &claim, &proven, &[], "it begins elsewhere or reaches further than asked for")?;
    }
    let claim = SegmentClaim { end: SegmentEnd::Anchored(other), ..certified(asked) };
    for segment in [&bare, &proven] {
        refused(specimen, "anchor", &claim, segment, &[], "it ends with another block than the one proven before")?;
    }
    for end in [SegmentEnd::Certified, SegmentEnd::CertifiedUpTo] {
        let claim = SegmentClaim { end, ..certified(asked) };
        refused(specimen, "proof", &claim, &bare, &[], "its end is not proven, and was to be")?;
    }
    Ok(())
}

/// Certificates of single blocks are checked where the profile says that there are some.
pub(super) fn audits<S: Specimen>(specimen: &S) -> Kept {
    let asked = range(specimen, 0, ENDS[0]);
    let proven = segment(specimen, asked, true)?;
    let audit = SegmentClaim { audit: true, ..certified(asked) };
    match (specimen.chain().profile().audits, specimen.audit(asked)) {
        (Audits::Apart(_), Some(certificates)) => {
            let most = specimen.chain().profile().audit_bytes(asked, &specimen.epoch());
            let fits = u64::try_from(certificates.len()).is_ok_and(|bytes| bytes <= most);
            demand("audit", fits, || format!("an audit of {} bytes passes the profile's", certificates.len()))?;
            let found = verify(specimen, &audit, &proven, &certificates);
            demand("audit", found.is_ok(), || format!("an honest audit is refused: {found:?}"))?;
            refused(specimen, "audit", &audit, &proven, &[], "it comes without the certificates")?;
            let mut bent = certificates.to_vec();
            if let Some(last) = bent.last_mut() {
                *last ^= 1;
            }
            refused(specimen, "audit", &audit, &proven, &bent, "a signature of its certificates is false")
        }
        (Audits::Apart(_), None) => demand("audit", false, || "the profile has audits and the specimen none".into()),
        // Nobody asks for them.
        (Audits::None | Audits::InSegments, _) => Ok(()),
    }
}

/// Bytes of one value have one form.
pub(super) fn encoding<S: Specimen>(specimen: &S) -> Kept {
    let asked = range(specimen, 4, ENDS[0]);
    let proven = segment(specimen, asked, true)?;
    let longer = [&proven[..], &[0]].concat();
    refused(specimen, "one_encoding", &certified(asked), &longer, &[], "a byte lies behind its end")?;
    let step = proven.len().div_ceil(FLIPS).max(1);
    for cut in (0..proven.len()).step_by(step) {
        let shorter = proven.get(..cut).unwrap_or_default();
        refused(specimen, "one_encoding", &certified(asked), shorter, &[], "it is cut off")?;
    }
    let Some(tip) = specimen.chain().tip_of(&proven) else { return Ok(()) };
    let longer = [&tip[..], &[0]].concat();
    let epoch = specimen.epoch();
    let found = epoch.decoded(specimen.chain()).and_then(|set| specimen.chain().verify_tip(set, &longer));
    demand("one_encoding", found.is_err(), || format!("a byte lies behind a tip: {found:?}"))
}

/// The chain's own rules, and that a proof which nobody asked for is looked at all the same.
pub(super) fn bends<S: Specimen>(specimen: &S) -> Kept {
    let bends = specimen.bends();
    demand("specimen", !bends.is_empty(), || "it bends nothing".into())?;
    for bend in &bends {
        let rule = format!("bent: {}", bend.name);
        refused(specimen, &rule, &certified(bend.range), &bend.segment, &[], "it is proven all the same")?;
    }
    let chain = specimen.chain();
    for bend in &bends {
        // The id that it has, or says that it has.
        let decoded = chain.decode_segment(&bend.segment).ok();
        let Some(last) = decoded.and_then(|decoded| chain.header(&decoded, bend.range.last())) else { continue };
        let claim = SegmentClaim { end: SegmentEnd::Anchored(last.id), ..certified(bend.range) };
        let why = format!("{}: it is stored, and whoever gets it from here finds it false", bend.name);
        refused(specimen, "unasked_proof", &claim, &bend.segment, &[], &why)?;
    }
    Ok(())
}

/// A payload is the one that its header names.
pub(super) fn payloads<S: Specimen>(specimen: &S) -> Kept {
    let asked = range(specimen, 4, ENDS[0]);
    let chain = specimen.chain();
    let bare = segment(specimen, asked, false)?;
    let Ok(decoded) = chain.decode_segment(&bare) else {
        return demand("payload", false, || "an honest segment is not decoded".into());
    };
    for above in 0..asked.count() {
        let height = asked.first().plus(above);
        let payload = specimen.payload(height);
        let found = chain.check_payload(&decoded, height, &payload);
        demand("payload", found.is_ok(), || format!("the payload of {height} is refused: {found:?}"))?;
        let mut others = vec![[&payload[..], &[0]].concat()];
        let mut bent = payload.to_vec();
        if let Some(last) = bent.last_mut() {
            *last ^= 1;
            others.push(bent);
        }
        for other in others {
            let found = chain.check_payload(&decoded, height, &other);
            let why = || format!("another payload of {} bytes is taken for that of {height}: {found:?}", other.len());
            demand("payload", found.is_err(), why)?;
        }
    }
    let beyond = chain.check_payload(&decoded, asked.last().next(), &[]);
    demand("payload", beyond.is_err(), || "a payload is taken for a height that the segment doesn't have".into())
}

/// The bytes with a bit turned, at places all over them.
pub(super) fn turned(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let step = bytes.len().div_ceil(FLIPS).max(1);
    (0..bytes.len()).step_by(step).map(move |at| {
        let mut bent = bytes.to_vec();
        if let Some(byte) = bent.get_mut(at) {
            *byte ^= 1;
        }
        (at, bent)
    })
}

/// A bit that is turned anywhere is noticed; but in a length that nothing proves.
pub(super) fn flips<S: Specimen>(specimen: &S) -> Kept {
    let asked = range(specimen, 4, ENDS[0]);
    let proven = segment(specimen, asked, true)?;
    let proves_lengths = specimen.chain().profile().proves_lengths;
    let honest = believed(specimen, "flips", &certified(asked), &proven)?;
    for (at, bent) in turned(&proven) {
        let found = verify(specimen, &certified(asked), &bent, &[]);
        let harmless = match &found {
            Ok(facts) => {
                !proves_lengths && SegmentFacts { payload_lens: honest.payload_lens.clone(), ..facts.clone() } == honest
            }
            Err(CheckError::False(_)) => true,
            Err(CheckError::Unable(_)) => false,
        };
        demand("flips", harmless, || format!("with a bit turned in byte {at}: {found:?}"))?;
    }
    Ok(())
}

/// The height of a proven end.
pub(super) fn end<S: Specimen>(specimen: &S, at: usize) -> Height {
    specimen.first().plus(ENDS.get(at).copied().unwrap_or_default())
}
