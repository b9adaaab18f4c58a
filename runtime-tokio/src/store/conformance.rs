//! [`check_store`]: what every [`BlockStore`] must do, played against one of any kind. For whoever writes a store; our own
//! passes it too.
//!
//! Everything that the store serves goes through the jobs that check what peers send: a store that passes bans nobody's
//! node.

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, ApplyPart, BlockPoint};
use hotstuff2_sync::chain::{Chain, EpochRef, SegmentClaim, SegmentEnd, SegmentRef, TipCheck};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::limits::{MAX_BODIES_BYTES, MAX_PAYLOAD_BYTES};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::respond;
use hotstuff2_sync::verify::{HandoverLink, Outcome, Task};
use hotstuff2_sync::wire::{Answer, Request};

use super::BlockStore;

/// A chain to fill a store with.
#[derive(Clone, Debug)]
pub struct StoreCase<'a, C> {
    /// The chain.
    pub chain: &'a C,
    /// Its id.
    pub chain_id: Hash,
    /// The block below the first, which the store is made with.
    pub anchor: BlockPoint,
    /// All blocks above it: one part for each cell of the grid, each certified, and at least three of them.
    pub parts: Vec<ApplyPart>,
    /// The handovers between their epochs.
    pub handovers: Vec<HandoverLink>,
}

/// A rule that a store broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store breaks the rule `{rule}`: {what}")]
pub struct BrokenRule {
    /// The rule.
    pub rule: &'static str,
    /// Description of what was seen.
    pub what: String,
}

type Checked<T = ()> = Result<T, BrokenRule>;

fn expect(rule: &'static str, holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(BrokenRule { rule, what: what() }) }
}

/// Fills a store with the blocks of `case`, restarts it between, and compares all that it says with what went in. `open`
/// opens the store that it opened before, as after a restart; the first time, one that was just made from the anchor. The
/// store that it gave before is dropped by then.
///
/// # Errors
/// The first rule that the store breaks.
pub fn check_store<C: Chain, S: BlockStore>(case: &StoreCase<'_, C>, mut open: impl FnMut() -> S) -> Checked {
    let Some(all) = case.parts.first().zip(case.parts.last()).and_then(|(first, last)| {
        HeightRange::new(first.range()?.first(), last.range()?.last()).filter(|_| case.parts.len() >= 3)
    }) else {
        return Err(BrokenRule { rule: "case", what: "a case has three parts at least, none of them empty".into() });
    };
    let store = open();
    begins_at_its_anchor(case, &store, all)?;
    keeps_handovers(case, &store)?;
    drop(store);
    let mut store = open();
    keeps_handovers(case, &store)?;
    for count in 1..=case.parts.len() {
        refuses_a_gap(case, &store, count)?;
        appends(case, &store, count)?;
        holds(case, &store, count)?;
        drop(store);
        store = open();
        holds(case, &store, count)?;
    }
    Ok(())
}

fn begins_at_its_anchor<C: Chain, S: BlockStore>(case: &StoreCase<'_, C>, store: &S, all: HeightRange) -> Checked {
    let rule = "a new store stands at its anchor and has nothing above it";
    expect(rule, store.chain_id() == case.chain_id, || format!("its chain is {}", store.chain_id()))?;
    expect(rule, store.stored() == case.anchor, || format!("it stands at {:?}", store.stored()))?;
    let epoch = store.epoch_of(all.first());
    expect(rule, matches!(epoch, Ok(Some(_))), || format!("the epoch of the first block is {epoch:?}"))?;
    let read = store.read(all, u64::MAX);
    expect(rule, matches!(read, Ok(None)), || format!("it reads {read:?}"))?;
    for request in requests(all) {
        let answer = answer(rule, store, &request)?;
        expect(rule, answer.is_none(), || format!("it answers {request:?}"))?;
    }
    Ok(())
}

/// Every question about blocks of `range`.
fn requests(range: HeightRange) -> Vec<Request> {
    let after = range.first().prev().unwrap_or_default();
    let cell = HeightRange::single(range.first());
    vec![
        Request::Segment { range: cell, certified: true, audit: false, bodies: 0 },
        Request::Segment { range: cell, certified: false, audit: false, bodies: 0 },
        Request::Bodies { range, max_bytes: MAX_BODIES_BYTES },
        Request::Follow { after, max_bytes: MAX_BODIES_BYTES, audit: false },
    ]
}

fn answer<S: BlockStore>(rule: &'static str, store: &S, request: &Request) -> Checked<Option<Bytes>> {
    let answer = respond(request, store).map_err(|error| BrokenRule { rule, what: format!("{request:?}: {error}") })?;
    match Answer::decode(answer) {
        Ok(Answer::Data(bytes)) => Ok(Some(bytes)),
        Ok(Answer::Refused(_)) => Ok(None),
        Err(fault) => Err(BrokenRule { rule, what: format!("{request:?}: {fault}") }),
    }
}

fn keeps_handovers<C: Chain, S: BlockStore>(case: &StoreCase<'_, C>, store: &S) -> Checked {
    let rule = "handovers are kept, known ones are skipped, and their epochs are known";
    for _ in 0..2 {
        let put = case.handovers.is_empty() || store.put_handovers(&case.handovers).is_ok();
        expect(rule, put, || "they were refused".into())?;
    }
    let known = store.epochs();
    let links = known.as_ref().map(|(_, links)| links == &case.handovers);
    expect(rule, matches!(links, Ok(true)) || store.stored() != case.anchor, || format!("it knows {known:?}"))?;
    for link in &case.handovers {
        let kept = store.handover(link.ended);
        expect(rule, matches!(&kept, Ok(Some(bytes)) if *bytes == link.bytes), || format!("{}: {kept:?}", link.ended))?;
        let epoch = store.epoch_of(link.epoch.range().first());
        let number = epoch.as_ref().map(|epoch| epoch.as_ref().map(EpochRef::epoch));
        expect(rule, matches!(number, Ok(Some(number)) if number == link.epoch.epoch()), || format!("{epoch:?}"))?;
    }
    Ok(())
}

fn call(part: &ApplyPart) -> Apply {
    Apply { target: Height::ZERO, parts: vec![part.clone()], tip: None }
}

fn refuses_a_gap<C: Chain, S: BlockStore>(case: &StoreCase<'_, C>, store: &S, count: usize) -> Checked {
    let rule = "blocks that don't continue the stored ones are refused, and nothing is stored";
    let (Some(part), before) = (case.parts.get(count), store.stored()) else { return Ok(()) };
    expect(rule, store.append(&call(part)).is_err(), || format!("{:?} above {before:?}", part.range()))?;
    expect(rule, store.stored() == before, || format!("it stands at {:?}", store.stored()))
}

fn appends<C: Chain, S: BlockStore>(case: &StoreCase<'_, C>, store: &S, count: usize) -> Checked {
    let rule = "blocks are stored, known ones are skipped, and whoever watches is told";
    let Some(part) = count.checked_sub(1).and_then(|index| case.parts.get(index)) else { return Ok(()) };
    let (last, version, tip) = (part.segment.range().last(), store.version(), store.subscribe());
    for _ in 0..2 {
        let appended = store.append(&call(part));
        expect(rule, appended.is_ok(), || format!("{appended:?}"))?;
        let point = BlockPoint { height: last, id: part.segment.last_id() };
        expect(rule, store.stored() == point, || format!("it stands at {:?}", store.stored()))?;
    }
    expect(rule, store.version() > version, || format!("its version is still {version}"))?;
    expect(rule, *tip.borrow() == last, || format!("it tells of {}", *tip.borrow()))
}

/// Everything of the first `count` parts, as a replay reads it and as peers are given it.
fn holds<C: Chain, S: BlockStore>(case: &StoreCase<'_, C>, store: &S, count: usize) -> Checked {
    let rule = "the head is proven";
    let Some(head) = case.parts.get(..count).and_then(|parts| parts.last()) else { return Ok(()) };
    let point = BlockPoint { height: head.segment.range().last(), id: head.segment.last_id() };
    expect(rule, store.stored() == point, || format!("it stands at {:?}", store.stored()))?;
    let status = store.status();
    let says = status.tip == point.height && status.epoch == head.segment.epoch() && status.chain_id == case.chain_id;
    expect(rule, says, || format!("it says {status:?}"))?;
    let tip = answer(rule, store, &Request::Tip)?;
    let task = tip.map(|bytes| Task::Tip { epoch: epoch_of(store, point.height), bytes });
    let proven = task.map(|task| task.prove(case.chain));
    let proves = matches!(&proven, Some(Ok(Outcome::Tip(TipCheck::Final(tip), _))) if tip.id == point.id);
    expect(rule, proves, || format!("its tip is {proven:?}"))?;
    for part in case.parts.iter().take(count) {
        reads(store, part)?;
        serves_headers(case, store, part)?;
        serves_bodies(case, store, part)?;
    }
    let above = HeightRange::new(point.height.next(), point.height.next());
    for request in above.map(requests).unwrap_or_default() {
        let rule = "nothing above the head is served";
        let answer = answer(rule, store, &request)?;
        expect(rule, answer.is_none(), || format!("it answers {request:?}"))?;
    }
    Ok(())
}

fn epoch_of<S: BlockStore>(store: &S, height: Height) -> EpochRef {
    // A store that doesn't know it has another one than the blocks, which proves nothing.
    let nothing = || EpochRef::trusted(Default::default(), HeightRange::single(Height::MAX), Bytes::new());
    store.epoch_of(height).ok().flatten().unwrap_or_else(nothing)
}

fn payloads(part: &ApplyPart) -> Vec<u8> {
    part.frames.iter().flat_map(|frame| frame.raw.iter().copied()).collect()
}

fn reads<S: BlockStore>(store: &S, part: &ApplyPart) -> Checked {
    let rule = "what was stored is read again, from any height on";
    let range = part.segment.range();
    for (from, most) in [(range.first(), u64::MAX), (range.first(), 0), (middle(range), u64::MAX), (range.last(), 1)] {
        let Some(wanted) = HeightRange::new(from, range.last()) else { continue };
        let mut read = Vec::new();
        let mut next = Some(wanted);
        while let Some(rest) = next {
            let got = store.read(rest, most);
            let Ok(Some(got)) = got else { return expect(rule, false, || format!("{rest}: {got:?}")) };
            let Some(held) = got.range().filter(|held| held.first() == rest.first() && rest.covers(*held)) else {
                return expect(rule, false, || format!("{rest}: {:?}", got.range()));
            };
            expect(rule, got.segment.range().covers(held), || format!("{held} of {:?}", got.segment.range()))?;
            read.extend(payloads(&got));
            next = HeightRange::new(held.last().next(), rest.last()).filter(|_| held.last() < rest.last());
        }
        let all = payloads(part);
        let stored = all.len().checked_sub(read.len()).and_then(|skipped| all.get(skipped..));
        expect(rule, stored == Some(&read[..]), || format!("{wanted}: other payloads than were stored"))?;
    }
    Ok(())
}

fn middle(range: HeightRange) -> Height {
    range.first().plus(range.count() / 2).min(range.last())
}

fn serves_headers<C: Chain, S: BlockStore>(case: &StoreCase<'_, C>, store: &S, part: &ApplyPart) -> Checked {
    let rule = "headers are served as they were asked for, and prove themselves";
    let whole = part.segment.range();
    let cuts = [
        (whole, true),
        (whole, false),
        (HeightRange::new(middle(whole), whole.last()).unwrap_or(whole), true),
        (HeightRange::new(whole.first(), middle(whole)).unwrap_or(whole), false),
        (HeightRange::single(middle(whole)), false),
    ];
    for (range, certified) in cuts {
        let ids = part.segment.ids(case.chain, range);
        let Some(last_id) = ids.ok().and_then(|ids| ids.last().copied()) else { continue };
        let end = if certified { SegmentEnd::Certified } else { SegmentEnd::Anchored(last_id) };
        let claim = SegmentClaim { range, parent: None, end, audit: false };
        let request = Request::Segment { range, certified, audit: false, bodies: 0 };
        let epoch = epoch_of(store, range.first());
        let task = answer(rule, store, &request)?.map(|bytes| Task::Segment {
            epoch,
            claim,
            bodies: 0,
            handover: None,
            bytes,
        });
        let proven = task.map(|task| task.prove(case.chain));
        let is = |segment: &SegmentRef| segment.last_id() == last_id && segment.range() == range;
        let right = matches!(&proven, Some(Ok(Outcome::Segment { segment, .. })) if is(segment));
        expect(rule, right, || format!("{range}, certified: {certified}: {proven:?}"))?;
    }
    Ok(())
}

fn serves_bodies<C: Chain, S: BlockStore>(case: &StoreCase<'_, C>, store: &S, part: &ApplyPart) -> Checked {
    let rule = "payloads are served as far as they fit, one at least";
    let range = part.segment.range();
    for (from, max_bytes) in [(range.first(), MAX_BODIES_BYTES), (middle(range), MAX_PAYLOAD_BYTES), (range.last(), 1)]
    {
        let Some(range) = HeightRange::new(from, range.last()) else { continue };
        let bytes = answer(rule, store, &Request::Bodies { range, max_bytes })?;
        let task = bytes.map(|bytes| Task::Bodies { segment: part.segment.clone(), range, bytes });
        let proven = task.map(|task| task.prove(case.chain));
        expect(rule, matches!(&proven, Some(Ok(Outcome::Bodies(_)))), || format!("{range}: {proven:?}"))?;
    }
    let mut out = vec![7];
    let first = part.segment.payload_lens().first().copied().unwrap_or_default();
    if let Some(less) = first.checked_sub(1) {
        let none = store.bodies(range, less, &mut out);
        expect(rule, matches!(none, Ok(false)) && out == [7], || format!("{range} in {less} bytes: {none:?}"))?;
    }
    let rule = "who follows gets what comes next, with its proof";
    let after = range.first().prev().unwrap_or_default();
    let epoch = epoch_of(store, range.first());
    let claim =
        SegmentClaim { range, parent: Some(part.segment.parent_id()), end: SegmentEnd::CertifiedUpTo, audit: false };
    let bytes = answer(rule, store, &Request::Follow { after, max_bytes: MAX_BODIES_BYTES, audit: false })?;
    let proven = bytes.map(|bytes| Task::Follow { epoch, claim, bytes }.prove(case.chain));
    expect(rule, matches!(&proven, Some(Ok(Outcome::Follow { .. }))), || format!("after {after}: {proven:?}"))
}
