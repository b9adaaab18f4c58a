//! [`DiskStore::check`] and [`DiskStore::patrol`]: read everything once and compare it with its checksums and with its
//! neighbours.

use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::view::View;

/// Amounts that [`DiskStore::check`] read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Blocks, with header and body.
    pub blocks: u64,
    /// Segments, in files and in the tail.
    pub segments: u64,
    /// Bytes of segments and frames, as stored.
    pub bytes: u64,
}

/// A stored piece that was found sound.
pub(super) struct Sound {
    /// The heights whose bodies it has, or whose headers, where it has no bodies.
    range: HeightRange,
    blocks: u64,
    last_id: Hash,
    /// Bytes that were read.
    bytes: u64,
}

impl<C: Chain> DiskStore<C> {
    /// Reads every stored segment and frame: checksums, decoding, and the links between segments. Stops at the first
    /// fault. `progress` is told each piece that was found sound. Signatures are not verified again: what is stored
    /// was verified before.
    pub fn check(&self, mut progress: impl FnMut(HeightRange)) -> Result<CheckReport, StoreFailure> {
        let mut report = CheckReport::default();
        let floor = self.view().floor;
        let mut below = BlockPoint { height: floor.headers.prev().unwrap_or_default(), id: floor.parent_id };
        while below.height < self.view().head.height {
            let sound = self.on_view(|view| self.check_piece(view, below.height.next(), Some(below.id)))?;
            let Some(sound) = sound else {
                // Pruned meanwhile.
                let floor = self.view().floor;
                below = BlockPoint { height: floor.headers.prev().unwrap_or_default(), id: floor.parent_id };
                continue;
            };
            report.blocks = report.blocks.saturating_add(sound.blocks);
            report.segments = report.segments.saturating_add(1);
            report.bytes = report.bytes.saturating_add(sound.bytes);
            below = BlockPoint { height: sound.range.last(), id: sound.last_id };
            progress(sound.range);
        }
        Ok(report)
    }

    /// Checks the piece above `after`, or the lowest one: its last height, and the bytes that were read. `None` where
    /// there is none above. Who begins at the bottom and goes on until then has seen all; what is damaged is in
    /// [`Self::damage`].
    pub fn patrol(&self, after: Option<Height>) -> Option<(Height, u64)> {
        let view = self.view();
        let next = after.map_or(view.floor.headers, |after| after.next().max(view.floor.headers));
        if next > view.head.height || after == Some(Height::MAX) {
            return None;
        }
        // A file that is open may not be the one of that name any more.
        self.caches.forget_file(next);
        Some(match self.on_view(|view| self.check_piece(view, next, None)) {
            Ok(Some(sound)) => (sound.range.last(), sound.bytes),
            // Pruned meanwhile.
            Ok(None) => (next, 0),
            Err(_) => {
                let unsealed = view.unsealed_at(next).map(|piece| piece.bodies().unwrap_or(piece.range()));
                let damaged = unsealed.or(view.cell_of(next)).unwrap_or(HeightRange::single(next));
                (damaged.last(), 0)
            }
        })
    }

    /// Checks the piece whose bodies begin at `first`, and that it continues `parent_id`, where that is known. `None` where
    /// the store begins above `first`.
    pub(super) fn check_piece(
        &self,
        view: &View,
        first: Height,
        parent_id: Option<Hash>,
    ) -> Result<Option<Sound>, StoreFailure> {
        if first < view.floor.headers {
            return Ok(None);
        }
        let missing = || StoreFailure::damaged(self.segments.path(), format!("block {first} is in no file"));
        let stored = self.stored_at(view, first)?.ok_or_else(missing)?;
        // Below what is claimed there may be headers alone.
        let blocks = stored.bodies().map_or(0, HeightRange::count);
        let headers = Some(stored.range()).filter(|range| range.last() < view.floor.bodies);
        let range = stored.bodies().or(headers).filter(|bodies| bodies.first() == first).ok_or_else(missing)?;
        if parent_id.is_some_and(|parent_id| stored.record().facts.parent_id != parent_id) {
            return Err(stored.damaged(format!("block {first} doesn't continue the block below")));
        }
        let segment = stored.segment()?;
        let mut bytes = u64::try_from(segment.len()).unwrap_or(u64::MAX).saturating_add(stored.check_audit()?);
        let decoded = self.chain.decode_segment(&segment);
        let decoded = decoded.map_err(|fault| stored.damaged(format!("its headers can't be decoded: {fault}")))?;
        for height in stored.frame_heights() {
            let frame = stored.frame_at(height).ok_or_else(missing)?.decode()?;
            bytes = bytes.saturating_add(frame.wire.len() as u64);
        }
        let last = self.chain.header(&decoded, range.last()).map(|header| header.id);
        let last_id = last.ok_or_else(|| stored.damaged(format!("it has no header at {}", range.last())))?;
        if range.last() == stored.range().last() && last_id != stored.record().facts.last_id {
            return Err(stored.damaged("its headers don't end with the recorded block"));
        }
        Ok(Some(Sound { range, blocks, last_id, bytes }))
    }
}
