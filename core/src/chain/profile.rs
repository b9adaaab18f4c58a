//! [`ChainProfile`]: the sizes that a chain states, and how far its cells of the grid reach for them.

use serde::{Deserialize, Serialize};

use super::refs::EpochRef;
use crate::ids::Height;
use crate::limits::{
    GRID, MAX_AUDIT_BYTES, MAX_BODIES_BYTES, MAX_HANDOVER_BYTES, MAX_PAYLOAD_BYTES, MAX_SEGMENT_BYTES, MAX_TIP_BYTES,
};
use crate::ranges::{HeightRange, grid_cell};

/// Payload bytes of the largest cell of a chain whose ids don't cover lengths: its headers are believed only together
/// with all of its payloads, which must fit into one answer.
const MAX_UNPROVEN_CELL_BYTES: u64 = MAX_BODIES_BYTES as u64;

/// Bytes of a certificate in an audit beside what grows with its set: its length, the place and the id of its block.
const CERTIFICATE_HEAD_BYTES: u64 = 256;

/// Most times that a certificate may be as long as its epoch: that of the longest epoch fits into an answer then.
const MAX_AUDIT_TIMES: u32 = (MAX_AUDIT_BYTES - CERTIFICATE_HEAD_BYTES as u32) / MAX_HANDOVER_BYTES;

/// Where the certificates of single blocks are, for a full audit ([`SyncConfig::full_audit`](crate::config::SyncConfig::full_audit)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Audits {
    /// Nowhere: not every block has a certificate. A full audit is refused when a machine is made.
    None,
    /// In each segment, whose verification checks them all: a full audit asks for nothing more.
    InSegments,
    /// Beside the segment, on request, each with its length in front. A block's certificate takes at most so many times the
    /// bytes of its epoch ([`EpochRef::bytes`]), 1 to 7, and 256 more.
    Apart(u32),
}

/// The sizes that a chain states: what passes one of them is refused where it is stored, and a false answer of a peer. All
/// nodes of a chain state the same, or they cut heights into other cells and don't understand each other.
///
/// Large headers make cells smaller ([`grid`](Self::grid)), and every cell's end needs a certificate. State what your blocks
/// take, and not what they could ever take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChainProfile {
    /// Largest header in a segment, in bytes, with the certificate that it brings, if any. 1 to 1 MiB less a tip.
    pub header_bytes: u32,
    /// Largest payload of a block, in bytes. 0 to [`MAX_PAYLOAD_BYTES`].
    pub payload_bytes: u32,
    /// Largest tip, in bytes, and what a segment takes at most beside its headers: the certificate at its end. 1 to
    /// [`MAX_TIP_BYTES`].
    pub tip_bytes: u32,
    /// Largest handover, in bytes; 0 where epochs never end. Up to [`MAX_HANDOVER_BYTES`].
    pub handover_bytes: u32,
    /// Where certificates of single blocks are.
    pub audits: Audits,
    /// Whether a block's id covers the length of its payload. Where it doesn't, a segment proves no length: headers are
    /// believed only in one answer with all of their payloads, and cells hold at most 4 MiB of them.
    pub proves_lengths: bool,
}

/// A size that a chain states and no answer can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the chain's profile: {name} is {value}; it must be {least} to {most}")]
pub struct ProfileError {
    /// The field of [`ChainProfile`].
    pub name: &'static str,
    /// The stated value.
    pub value: u32,
    /// The least that can be.
    pub least: u32,
    /// The most that can be.
    pub most: u32,
}

impl ChainProfile {
    /// Says which of the sizes can't be carried, if one can't.
    pub fn check(&self) -> Result<(), ProfileError> {
        let audit_times = match self.audits {
            Audits::None | Audits::InSegments => 1,
            Audits::Apart(times) => times,
        };
        // One header must fit into an answer, with the parent's and the certificate.
        let header = MAX_SEGMENT_BYTES.saturating_sub(self.tip_bytes) / 2;
        for (name, value, least, most) in [
            ("tip_bytes", self.tip_bytes, 1, MAX_TIP_BYTES),
            ("header_bytes", self.header_bytes, 1, header),
            ("payload_bytes", self.payload_bytes, 0, MAX_PAYLOAD_BYTES),
            ("handover_bytes", self.handover_bytes, 0, MAX_HANDOVER_BYTES),
            ("audits", audit_times, 1, MAX_AUDIT_TIMES),
        ] {
            if value < least || value > most {
                return Err(ProfileError { name, value, least, most });
            }
        }
        Ok(())
    }

    /// Most headers of a cell: the largest power of two up to [`GRID`] of which a segment fits into an answer.
    pub fn grid(&self) -> u64 {
        let mut grid = GRID;
        while grid > 1 && !self.fits(grid) {
            grid /= 2;
        }
        grid
    }

    fn fits(&self, headers: u64) -> bool {
        let bodies = headers.saturating_mul(self.payload_bytes.into());
        self.segment_bytes(headers) <= u64::from(MAX_SEGMENT_BYTES)
            && (self.proves_lengths || bodies <= MAX_UNPROVEN_CELL_BYTES)
    }

    /// The cell of `height` within an epoch of the heights `epoch`. See [`grid_cell`].
    pub fn cell(&self, height: Height, epoch: HeightRange) -> Option<HeightRange> {
        grid_cell(height, epoch, self.grid())
    }

    /// Bytes that the certificates of the single blocks of `range`, which lies in `epoch`, take at most. Zero where there are
    /// none beside segments.
    pub fn audit_bytes(&self, range: HeightRange, epoch: &EpochRef) -> u64 {
        let Audits::Apart(times) = self.audits else { return 0 };
        let epoch = u64::try_from(epoch.bytes().len()).unwrap_or(u64::MAX);
        let each = epoch.saturating_mul(times.into()).saturating_add(CERTIFICATE_HEAD_BYTES);
        range.count().saturating_mul(each)
    }

    /// Heights around `height` whose headers are asked for at once in an audit: its cell, or of a large set the part of it
    /// whose certificates fit into one answer. Powers of two, so that every node means the same.
    pub fn piece(&self, height: Height, epoch: &EpochRef) -> Option<HeightRange> {
        let mut spacing = self.grid();
        loop {
            let piece = grid_cell(height, epoch.range(), spacing)?;
            let full = HeightRange::new(Height::ZERO, Height::new(spacing.saturating_sub(1)))?;
            if spacing <= 1 || self.audit_bytes(full, epoch) <= MAX_AUDIT_BYTES.into() {
                return Some(piece);
            }
            spacing /= 2;
        }
    }

    /// Largest segment of so many headers, in bytes: those, the one before them, and a certificate.
    pub fn segment_bytes(&self, headers: u64) -> u64 {
        headers.saturating_add(1).saturating_mul(self.header_bytes.into()).saturating_add(self.tip_bytes.into())
    }

    /// Whether a verified segment proves the lengths of its payloads without them: by its ids, or as all are empty.
    pub const fn knows_lengths(&self) -> bool {
        self.proves_lengths || self.payload_bytes == 0
    }

    /// Most payload bytes that have to be fetched at once: of a block, or where lengths are not proven, of a cell.
    pub fn alone_bytes(&self) -> u64 {
        let blocks = if self.knows_lengths() { 1 } else { self.grid() };
        blocks.saturating_mul(self.payload_bytes.into())
    }

    /// Names the stated size that the headers of a verified segment of `bytes` bytes, or one of their payloads, pass.
    pub fn exceeded(&self, bytes: usize, payload_lens: &[u32]) -> Option<&'static str> {
        let headers = u64::try_from(payload_lens.len()).unwrap_or(u64::MAX);
        if u64::try_from(bytes).unwrap_or(u64::MAX) > self.segment_bytes(headers) {
            return Some("header_bytes");
        }
        payload_lens.iter().any(|&len| len > self.payload_bytes).then_some("payload_bytes")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::chain::native;
    use crate::ids::Epoch;
    use crate::limits::MAX_VALIDATORS;

    fn of(header_bytes: u32, tip_bytes: u32) -> ChainProfile {
        ChainProfile { header_bytes, tip_bytes, ..native::PROFILE }
    }

    #[test]
    fn large_headers_make_small_cells_that_fit_an_answer() {
        assert_eq!(native::PROFILE.check(), Ok(()));
        assert_eq!(native::PROFILE.grid(), GRID);
        for (header, tip, grid) in [(100, 8 << 10, 1024), (1 << 10, 8 << 10, 512), (16 << 10, 8 << 10, 32)] {
            let profile = of(header, tip);
            assert_eq!((profile.check(), profile.grid()), (Ok(()), grid));
            assert!(profile.segment_bytes(grid) <= MAX_SEGMENT_BYTES.into());
            assert!(grid == GRID || profile.segment_bytes(2 * grid) > MAX_SEGMENT_BYTES.into());
        }
        let largest = of((MAX_SEGMENT_BYTES - 1) / 2, 1);
        assert_eq!((largest.check(), largest.grid()), (Ok(()), 1));
        assert!(largest.segment_bytes(1) <= MAX_SEGMENT_BYTES.into());
    }

    #[test]
    fn a_cell_of_unproven_lengths_fits_an_answer_with_all_payloads() {
        let unproven = |payload_bytes| ChainProfile { payload_bytes, proves_lengths: false, ..native::PROFILE };
        assert_eq!(unproven(1 << 10).grid(), GRID);
        assert_eq!(unproven(1 << 20).grid(), 4);
        assert_eq!(unproven(MAX_PAYLOAD_BYTES).grid(), 1);
    }

    #[test]
    fn an_audit_of_any_set_comes_in_pieces_that_fit_an_answer() {
        let whole = HeightRange::new(Height::ZERO, Height::new(100_000)).unwrap();
        let epoch = |bytes: usize| EpochRef::trusted(Epoch::ZERO, whole, alloc::vec![0; bytes].into());
        let native = native::PROFILE;
        // The set's bytes, and the blocks of a piece: 4, 100, 1,000 and 4,096 validators, and the largest handover.
        let sizes = [(140, 1024), (3320, 1024), (33_020, 64), (MAX_VALIDATORS * 33 + 30, 16), (1 << 20, 2)];
        for (bytes, count) in sizes {
            let epoch = epoch(bytes);
            let piece = native.piece(Height::new(5000), &epoch).unwrap();
            assert_eq!((piece.count(), piece.first().get() % count), (count, 0), "{bytes}");
            assert!(native.audit_bytes(piece, &epoch) <= MAX_AUDIT_BYTES.into());
            assert!(piece.contains(Height::new(5000)));
        }
        // Without audits beside segments a piece is the cell, whatever the set.
        for audits in [Audits::None, Audits::InSegments] {
            let profile = ChainProfile { audits, ..native };
            let large = epoch(1 << 20);
            assert_eq!(profile.piece(Height::new(5000), &large), profile.cell(Height::new(5000), whole));
            assert_eq!(profile.audit_bytes(whole, &large), 0);
        }
    }

    #[test]
    fn what_no_answer_can_carry_is_refused_by_name() {
        let fine = native::PROFILE;
        let bent = [
            ("header_bytes", ChainProfile { header_bytes: MAX_SEGMENT_BYTES, ..fine }),
            ("header_bytes", ChainProfile { header_bytes: 0, ..fine }),
            ("payload_bytes", ChainProfile { payload_bytes: MAX_PAYLOAD_BYTES + 1, ..fine }),
            ("tip_bytes", ChainProfile { tip_bytes: MAX_TIP_BYTES + 1, ..fine }),
            ("tip_bytes", ChainProfile { tip_bytes: 0, ..fine }),
            ("handover_bytes", ChainProfile { handover_bytes: MAX_HANDOVER_BYTES + 1, ..fine }),
            ("audits", ChainProfile { audits: Audits::Apart(MAX_AUDIT_TIMES + 1), ..fine }),
            ("audits", ChainProfile { audits: Audits::Apart(0), ..fine }),
        ];
        for (name, profile) in bent {
            assert_eq!(profile.check().unwrap_err().name, name);
        }
        let error = bent[2].1.check().unwrap_err().to_string();
        assert_eq!(error, "the chain's profile: payload_bytes is 4194305; it must be 0 to 4194304");
    }

    #[test]
    fn blocks_beyond_the_stated_sizes_are_named() {
        let profile = ChainProfile { payload_bytes: 10, ..of(100, 50) };
        assert_eq!(profile.exceeded(350, &[10, 0]), None);
        assert_eq!(profile.exceeded(351, &[10, 0]), Some("header_bytes"));
        assert_eq!(profile.exceeded(350, &[0, 11]), Some("payload_bytes"));
    }
}
