//! Length-prefixed parts of an answer, cut out without copying.

use alloc::vec::Vec;

use bytes::{Buf as _, Bytes};

/// Appends `part` with its length in front (u32, little-endian). False, with nothing written, where it is too long.
#[must_use]
pub fn put_section(out: &mut Vec<u8>, part: &[u8]) -> bool {
    let Ok(len) = u32::try_from(part.len()) else { return false };
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(part);
    true
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

    /// What is left.
    pub fn rest(self) -> Bytes {
        self.0
    }
}
