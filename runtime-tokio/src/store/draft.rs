//! [`Draft`]: one piece as a batch of blocks will leave it, before anything is written.

use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, ApplyPart, BlockPoint};
use hotstuff2_sync::chain::{Chain, SegmentEnd, SegmentRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{BodyFrame, cut_audit};

use super::records::{Facts, FrameRecord, SegmentRecord};
use super::stored::{Place, Stored};
use super::view::View;

/// A segment's own bytes, where they must be written.
pub(super) struct Sections {
    pub(super) segment: Bytes,
    pub(super) audit: Bytes,
}

/// A piece as it will be.
pub(super) struct Draft {
    /// The piece as it is, if there is one.
    pub(super) base: Option<Arc<Stored>>,
    pub(super) record: SegmentRecord,
    pub(super) in_file: bool,
    /// The segment's bytes, where they are new.
    pub(super) sections: Option<Sections>,
    /// Bodies to write, and the height of each one's first block.
    pub(super) frames: Vec<(Height, Bytes)>,
}

impl Draft {
    fn of_stored(stored: &Arc<Stored>) -> Self {
        Self {
            base: Some(stored.clone()),
            record: stored.record().clone(),
            in_file: matches!(stored.place(), Place::File(_)),
            sections: None,
            frames: Vec::new(),
        }
    }

    /// Whether all bodies will be there.
    pub(super) fn is_complete(&self) -> bool {
        self.record.bodies() == Some(self.record.facts.range)
    }
}

/// Changes that a batch of blocks comes to.
pub(super) struct Plan {
    pub(super) drafts: Vec<Draft>,
    pub(super) head: BlockPoint,
}

/// Checks that `apply` continues what `view` holds, and says what to write. `None` where all of it is stored already.
/// An error says what doesn't fit; the caller names the store.
pub(super) fn plan<C: Chain>(chain: &C, view: &View, apply: &Apply) -> Result<Option<Plan>, String> {
    let mut plan = Plan { drafts: Vec::new(), head: view.head };
    for part in &apply.parts {
        // A call that is made again after its answer was lost.
        let stored = part.frames.iter().take_while(|frame| frame.range.last() <= plan.head.height).count();
        let frames = part.frames.get(stored..).unwrap_or_default();
        if !frames.is_empty() {
            add(chain, view, &mut plan, part, frames)?;
        }
    }
    Ok((!plan.drafts.is_empty()).then_some(plan))
}

fn add<C: Chain>(
    chain: &C,
    view: &View,
    plan: &mut Plan,
    part: &ApplyPart,
    frames: &[BodyFrame],
) -> Result<(), String> {
    let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return Ok(()) };
    let (first, last) = (first.range.first(), last.range.last());
    let consecutive = frames.windows(2).all(|pair| match pair {
        [one, other] => other.range.first().is_next_of(one.range.last()),
        _ => true,
    });
    if !first.is_next_of(plan.head.height) || !consecutive {
        return Err(format!("the bodies don't continue the stored blocks up to {}", plan.head.height));
    }
    let segment = &part.segment;
    if let Some(size) = chain.profile().exceeded(segment.bytes().len(), segment.payload_lens()) {
        return Err(format!("they pass the chain's {size} (ChainProfile::{size}); no other node would take them"));
    }
    let last_id = id_in(chain, segment, last)?;
    let below = if first == segment.range().first() {
        segment.parent_id()
    } else {
        let below = first.prev().ok_or("there is nothing below height 0")?;
        id_in(chain, segment, below)?
    };
    if below != plan.head.id {
        return Err(format!("their parent is {below}, the stored block {} is {}", plan.head.height, plan.head.id));
    }
    let draft = draft_for(chain, view, plan, segment, first)?;
    for frame in frames {
        draft.record.frames.push(FrameRecord::of(frame).ok_or("a frame is too long")?);
        draft.frames.push((frame.range.first(), frame.wire.clone()));
    }
    plan.head = BlockPoint { height: last, id: last_id };
    Ok(())
}

/// The draft whose segment names the bodies from `first` on.
fn draft_for<'a, C: Chain>(
    chain: &C,
    view: &View,
    plan: &'a mut Plan,
    segment: &SegmentRef,
    first: Height,
) -> Result<&'a mut Draft, String> {
    if plan.drafts.is_empty() {
        // A piece whose headers reach beyond the head goes on.
        plan.drafts.extend(view.unsealed_at(first).map(Draft::of_stored));
    }
    let open = plan.drafts.last_mut().filter(|draft| draft.record.facts.range.contains(first));
    let goes_on = match open {
        Some(draft) if segment.range().last() <= draft.record.facts.range.last() => {
            let stored = id_in_draft(chain, draft, segment.range().last())?;
            if stored != segment.last_id() {
                return Err(format!("block {} is stored as {stored}", segment.range().last()));
            }
            true
        }
        Some(draft) => {
            cut_at(chain, draft, plan.head)?;
            false
        }
        None => false,
    };
    if !goes_on {
        plan.drafts.push(new_draft(chain, view, segment, first, plan.head.id)?);
    }
    plan.drafts.last_mut().ok_or_else(|| "nothing to write".to_owned())
}

fn new_draft<C: Chain>(
    chain: &C,
    view: &View,
    segment: &SegmentRef,
    first: Height,
    parent_id: Hash,
) -> Result<Draft, String> {
    let cell = view.cell_of(first).ok_or_else(|| format!("block {first} belongs to no trusted epoch"))?;
    let epoch = view.epoch_of(first).map(|(epoch, _)| epoch);
    if segment.range().last() > cell.last() || epoch != Some(segment.epoch()) {
        return Err(format!(
            "the segment {} of epoch {} isn't within the cell {cell}",
            segment.range(),
            segment.epoch()
        ));
    }
    let (facts, sections) = if segment.range().first() == first {
        (Facts::of(segment), Sections { segment: segment.bytes().clone(), audit: segment.audit().clone() })
    } else {
        let range = HeightRange::new(first, segment.range().last()).ok_or("the segment ends before its bodies")?;
        let parts = [segment.bytes().clone()];
        let bytes = chain
            .assemble(&parts, range, SegmentEnd::Certified)
            .or_else(|| chain.assemble(&parts, range, SegmentEnd::Anchored(segment.last_id())))
            .ok_or_else(|| format!("the segment {} can't be cut to {range}", segment.range()))?;
        let lens = segment.payload_lens_of(range).unwrap_or_default().to_vec();
        let facts = Facts { range, parent_id, payload_lens: lens, ..Facts::of(segment) };
        let audit = cut_audit(segment.audit(), segment.range(), range).unwrap_or_default();
        (facts, Sections { segment: bytes, audit })
    };
    let in_file = facts.range == cell;
    let record = SegmentRecord::new(facts, &sections.segment, &sections.audit).ok_or("the segment is too long")?;
    Ok(Draft { base: None, record, in_file, sections: Some(sections), frames: Vec::new() })
}

/// Takes the headers above `head` off a piece of the tail, because others come in their place.
fn cut_at<C: Chain>(chain: &C, draft: &mut Draft, head: BlockPoint) -> Result<(), String> {
    let facts = &draft.record.facts;
    let range = HeightRange::new(facts.range.first(), head.height).filter(|_| !draft.in_file);
    let range = range.ok_or_else(|| format!("the cell {} is stored, and these headers leave it", facts.range))?;
    let (bytes, audit) = match (&draft.sections, &draft.base) {
        (Some(sections), _) => (sections.segment.clone(), sections.audit.clone()),
        (None, Some(base)) => {
            let parts = base.segment().and_then(|segment| Ok((segment, base.audit()?)));
            parts.map_err(|error| error.to_string())?
        }
        (None, None) => (Bytes::new(), Bytes::new()),
    };
    let audit = cut_audit(&audit, facts.range, range).unwrap_or_default();
    let cut = chain.assemble(std::slice::from_ref(&bytes), range, SegmentEnd::Anchored(head.id));
    let cut = cut.ok_or_else(|| format!("the stored segment {} can't be cut to {range}", facts.range))?;
    let decoded = chain.decode_segment(&bytes).map_err(|fault| fault.to_string())?;
    let timestamp = chain.header(&decoded, head.height).map_or(facts.last_timestamp, |header| header.timestamp);
    let lens = facts.lens_of(range).unwrap_or_default().to_vec();
    let facts = Facts { range, payload_lens: lens, last_id: head.id, last_timestamp: timestamp, ..facts.clone() };
    let frames = std::mem::take(&mut draft.record.frames);
    draft.record = SegmentRecord::new(facts, &cut, &audit).ok_or("the segment is too long")?;
    draft.record.frames = frames;
    draft.sections = Some(Sections { segment: cut, audit });
    Ok(())
}

fn id_in<C: Chain>(chain: &C, segment: &SegmentRef, height: Height) -> Result<Hash, String> {
    if height == segment.range().last() {
        return Ok(segment.last_id());
    }
    let decoded = segment.decoded(chain).map_err(|fault| fault.to_string())?;
    let header = chain.header(decoded, height);
    header.map(|header| header.id).ok_or_else(|| format!("their headers don't have height {height}"))
}

fn id_in_draft<C: Chain>(chain: &C, draft: &Draft, height: Height) -> Result<Hash, String> {
    if height == draft.record.facts.range.last() {
        return Ok(draft.record.facts.last_id);
    }
    let bytes = match (&draft.sections, &draft.base) {
        (Some(sections), _) => sections.segment.clone(),
        (None, Some(base)) => base.segment().map_err(|error| error.to_string())?,
        (None, None) => Bytes::new(),
    };
    let decoded = chain.decode_segment(&bytes).map_err(|fault| fault.to_string())?;
    let header = chain.header(&decoded, height);
    header.map(|header| header.id).ok_or_else(|| format!("the stored headers don't have height {height}"))
}
