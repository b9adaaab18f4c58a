//! Cutting and joining verified segments, for serving a range that isn't stored as it is, and for sealing.

use alloc::vec::Vec;

use bytes::Bytes;

use super::finality::FinalityProof;
use super::header::Header;
use super::segment::{MAX_SEGMENT_HEADERS, Segment};
use crate::chain::SegmentEnd;
use crate::hash::Hash;
use crate::ids::Height;
use crate::ranges::HeightRange;

/// The segment for `range` out of `parts`, which are verified, consecutive and in order.
///
/// The proof of a height inside of a part comes from further up: the headers between are its path. The part that ends
/// closest above gives the shortest path. `None` where `parts` don't hold the range, or don't prove its end.
pub(crate) fn assemble(parts: &[Bytes], range: HeightRange, end: SegmentEnd) -> Option<Bytes> {
    let segments: Vec<Segment> = parts.iter().map(|part| Segment::decode(part).ok()).collect::<Option<_>>()?;
    let joined = Joined::new(&segments)?;
    if usize::try_from(range.count()).ok()? > MAX_SEGMENT_HEADERS {
        return None;
    }
    let (last, proof) = match end {
        SegmentEnd::Anchored(id) => {
            (joined.id(range.last())? == id).then_some((range.last(), FinalityProof::Anchored { id }))?
        }
        SegmentEnd::Certified => (range.last(), joined.proof(range.last())?),
        SegmentEnd::CertifiedUpTo => joined.highest_proof(range)?,
    };
    let range = HeightRange::new(range.first(), last)?;
    if let Some(whole) = segments.iter().position(|segment| segment.range() == range && *segment.proof() == proof) {
        return parts.get(whole).cloned();
    }
    let headers = joined.headers(range)?.to_vec();
    Some(Segment::new(joined.header(range.first().prev()?)?.clone(), headers, proof).ok()?.encode().into())
}

/// All headers of some consecutive segments, the first one's parent before them.
struct Joined<'a> {
    segments: &'a [Segment],
    headers: Vec<Header>,
    range: HeightRange,
}

impl<'a> Joined<'a> {
    fn new(segments: &'a [Segment]) -> Option<Self> {
        let (first, last) = (segments.first()?, segments.last()?);
        let follows = |pair: &[Segment]| match pair {
            [low, high] => low.ids().last() == Some(&high.parent_id()),
            _ => false,
        };
        if !segments.windows(2).all(follows) {
            return None;
        }
        let range = HeightRange::new(first.parent().height, last.range().last())?;
        let headers =
            core::iter::once(first.parent()).chain(segments.iter().flat_map(Segment::headers)).cloned().collect();
        Some(Self { segments, headers, range })
    }

    fn header(&self, height: Height) -> Option<&Header> {
        self.headers.get(self.range.index_of(height)?)
    }

    fn headers(&self, range: HeightRange) -> Option<&[Header]> {
        self.headers.get(self.range.index_of(range.first())?..=self.range.index_of(range.last())?)
    }

    fn id(&self, height: Height) -> Option<Hash> {
        self.segments.iter().find_map(|segment| segment.header(height)).map(|(_, id)| id)
    }

    /// The proof for the block at `height`, by the part that ends closest above it in the same epoch.
    fn proof(&self, height: Height) -> Option<FinalityProof> {
        let epoch = self.header(height)?.epoch;
        self.segments.iter().find_map(|segment| {
            let end = segment.range().last();
            if end < height || self.header(end)?.epoch != epoch {
                return None;
            }
            let between = if end == height { &[] } else { self.headers(HeightRange::new(height.next(), end)?)? };
            segment.proof().extended_down(between)
        })
    }

    /// The highest height in `range` that has a proof. Below the range's end only parts that end there can have one: a
    /// part that ends above is closest to the range's end.
    fn highest_proof(&self, range: HeightRange) -> Option<(Height, FinalityProof)> {
        let top = range.last().min(self.range.last());
        let inner = self.segments.iter().rev().map(|segment| segment.range().last());
        core::iter::once(top)
            .chain(inner.filter(|height| *height < top && range.contains(*height)))
            .find_map(|height| Some((height, self.proof(height)?)))
    }
}
