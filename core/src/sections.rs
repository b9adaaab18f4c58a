//! Length-prefixed parts of an answer, cut out without copying.
//!
//! Certificates of single blocks are such parts too, one for each height, so that a server cuts and joins audits of any chain.

use alloc::vec::Vec;

use bytes::{Buf as _, Bytes};

use crate::ranges::HeightRange;

/// Appends `part` with its length in front (u32, little-endian). False, with nothing written, where it is too long.
#[must_use]
pub fn put_section(out: &mut Vec<u8>, part: &[u8]) -> bool {
    let Ok(len) = u32::try_from(part.len()) else { return false };
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(part);
    true
}

/// Splits the first part off; `None` where the bytes don't hold a whole one.
pub fn split_section(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)
}

/// The certificates for `wanted` out of `audit`, which holds those of `all`: a part for each height, lowest first. `None` where
/// `audit` has another form, or `wanted` is not within `all`.
pub fn cut_audit(audit: &Bytes, all: HeightRange, wanted: HeightRange) -> Option<Bytes> {
    if !all.covers(wanted) {
        return None;
    }
    let mut rest: &[u8] = audit;
    let (mut begin, mut end) = (0, 0);
    for height in (0..all.count()).map(|index| all.first().plus(index)) {
        if height == wanted.first() {
            begin = audit.len().saturating_sub(rest.len());
        }
        (_, rest) = split_section(rest)?;
        if height == wanted.last() {
            end = audit.len().saturating_sub(rest.len());
        }
    }
    (rest.is_empty() && begin <= end && end <= audit.len()).then(|| audit.slice(begin..end))
}

/// Reads length-prefixed parts from the front of some bytes.
#[derive(Clone, Debug)]
pub struct Sections(Bytes);

impl Sections {
    /// Reads from `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The next part, or `None` where the bytes don't hold a whole one.
    pub fn take(&mut self) -> Option<Bytes> {
        let len = usize::try_from(self.0.try_get_u32_le().ok()?).ok()?;
        (len <= self.0.len()).then(|| self.0.split_to(len))
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rest.
    pub fn rest(self) -> Bytes {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Height;

    fn range(first: u64, last: u64) -> HeightRange {
        HeightRange::new(Height::new(first), Height::new(last)).unwrap()
    }

    #[test]
    fn audits_are_cut_by_height_and_by_nothing_else() {
        let mut audit = Vec::new();
        for part in [&b"five"[..], b"", b"seven"] {
            assert!(put_section(&mut audit, part));
        }
        let audit = Bytes::from(audit);
        let cut = |first, last| cut_audit(&audit, range(5, 7), range(first, last));
        assert_eq!(cut(5, 7).as_ref(), Some(&audit));
        assert_eq!(cut(5, 5), Some(Bytes::from_static(b"\x04\0\0\0five")));
        assert_eq!(cut(6, 7), Some(Bytes::from_static(b"\0\0\0\0\x05\0\0\0seven")));
        // Heights that it doesn't have, and audits of fewer or more heights.
        assert_eq!((cut(4, 5), cut(7, 8)), (None, None));
        assert_eq!(cut_audit(&audit, range(5, 8), range(5, 5)), None);
        assert_eq!(cut_audit(&audit, range(5, 6), range(5, 5)), None);
        assert_eq!(cut_audit(&audit.slice(..audit.len() - 1), range(5, 7), range(5, 5)), None);
        assert_eq!(cut_audit(&Bytes::new(), range(5, 5), range(5, 5)), None);
    }
}
