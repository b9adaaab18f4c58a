//! [`DiskStore::check`]: reads everything once and compares it with its checksums and with its neighbours.

use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::view::View;

/// What [`DiskStore::check`] read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Blocks, with header and body.
    pub blocks: u64,
    /// Segments, in files and in the tail.
    pub segments: u64,
    /// Bytes of segments and frames, as stored.
    pub bytes: u64,
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
            let (bodies, blocks, id, bytes) =
                self.on_view(|view| self.check_piece(view, below.height.next(), below.id))?;
            report.blocks = report.blocks.saturating_add(blocks);
            report.segments = report.segments.saturating_add(1);
            report.bytes = report.bytes.saturating_add(bytes);
            below = BlockPoint { height: bodies.last(), id };
            progress(bodies);
        }
        Ok(report)
    }

    /// Checks the piece whose bodies begin at `first`: the heights, how many bodies they have, the last id, and the bytes
    /// that were read.
    fn check_piece(
        &self,
        view: &View,
        first: Height,
        parent_id: hotstuff2_sync::hash::Hash,
    ) -> Result<(HeightRange, u64, hotstuff2_sync::hash::Hash, u64), StoreFailure> {
        let missing = || StoreFailure::damaged(self.segments.path(), format!("block {first} is in no file"));
        let stored = self.stored_at(view, first)?.ok_or_else(missing)?;
        // Below the base there may be headers alone.
        let blocks = stored.bodies().map_or(0, HeightRange::count);
        let headers = Some(stored.range()).filter(|range| range.last() <= view.base.height);
        let bodies = stored.bodies().or(headers).filter(|bodies| bodies.first() == first).ok_or_else(missing)?;
        if stored.record().facts.parent_id != parent_id {
            return Err(stored.damaged(format!("block {first} doesn't continue the block below")));
        }
        let segment = stored.segment()?;
        let mut bytes = u64::try_from(segment.len()).unwrap_or(u64::MAX).saturating_add(stored.audit()?.len() as u64);
        let decoded = self.chain.decode_segment(&segment);
        let decoded = decoded.map_err(|fault| stored.damaged(format!("its headers can't be decoded: {fault}")))?;
        for height in stored.frame_heights() {
            let frame = stored.frame_at(height).ok_or_else(missing)?.decode()?;
            bytes = bytes.saturating_add(frame.wire.len() as u64);
        }
        let last = self.chain.header(&decoded, bodies.last()).map(|header| header.id);
        let last = last.ok_or_else(|| stored.damaged(format!("it has no header at {}", bodies.last())))?;
        if bodies.last() == stored.range().last() && last != stored.record().facts.last_id {
            return Err(stored.damaged("its headers don't end with the recorded block"));
        }
        Ok((bodies, blocks, last, bytes))
    }
}
