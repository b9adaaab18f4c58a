//! Frames: how a trace lies in a file. A name and a version, then frames of a length, a checksum and a content; the first
//! is the head, each other one step. A frame is written at once, so a trace that was cut off lacks its last one only.

use alloc::vec::Vec;

use super::TraceError;
use crate::hash::Context;

/// Version of the format.
pub const TRACE_VERSION: u16 = 3;
/// Largest content of a frame. A step of 256 inputs takes some kilobytes, and more only where they bring tips or
/// disputes, of which few are out at a time.
pub const MAX_FRAME_BYTES: u32 = 16 << 20;
/// Bytes before a frame's content.
pub(super) const FRAME_HEAD_BYTES: usize = 12;
/// First bytes of a trace, before the version.
const NAME: [u8; 8] = *b"hs2trace";
/// Bytes before the first frame.
pub(super) const PREFIX_BYTES: usize = 10;

static CHECKSUM: Context = Context::new("hotstuff2-sync trace frame v1");

fn checksum(content: &[u8]) -> [u8; 8] {
    let hash = CHECKSUM.hash(content);
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// The start of a trace.
pub(super) fn prefix() -> Vec<u8> {
    let mut bytes = NAME.to_vec();
    bytes.extend_from_slice(&TRACE_VERSION.to_le_bytes());
    bytes
}

/// Appends a frame. `None` where its content is too large.
pub(super) fn put_frame(out: &mut Vec<u8>, content: &[u8]) -> Option<()> {
    let len = u32::try_from(content.len()).ok().filter(|&len| len <= MAX_FRAME_BYTES)?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&checksum(content));
    out.extend_from_slice(content);
    Some(())
}

/// Head of a frame, before its content.
#[derive(Clone, Copy)]
struct FrameHead {
    len: u32,
    checksum: [u8; 8],
}

impl FrameHead {
    /// Reads the bytes before the content of a frame. `None` where no frame is as large as they say.
    fn read(bytes: &[u8; FRAME_HEAD_BYTES]) -> Option<Self> {
        let (len, checksum) = bytes.split_first_chunk::<4>()?;
        let head = Self { len: u32::from_le_bytes(*len), checksum: *checksum.first_chunk()? };
        (head.len <= MAX_FRAME_BYTES).then_some(head)
    }

    /// Bytes of the content, at most [`MAX_FRAME_BYTES`].
    fn len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    /// Whether `content` is what was written.
    fn matches(&self, content: &[u8]) -> bool {
        content.len() == self.len() && checksum(content) == self.checksum
    }
}

/// The frames of a trace that comes in pieces: push bytes, take the contents of whole frames.
///
/// Holds at most one frame beside what was pushed last.
#[derive(Debug, Default)]
pub struct TraceFrames {
    bytes: Vec<u8>,
    /// Number of them that were taken.
    at: usize,
    /// Frames that were taken.
    taken: u64,
    /// Whether the name and the version were read.
    begun: bool,
}

impl TraceFrames {
    /// Adds what comes next of the trace.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The content of the next frame, where it is there whole.
    pub fn take(&mut self) -> Result<Option<&[u8]>, TraceError> {
        let step = self.taken;
        if !self.begun {
            let Some(prefix) = self.bytes.first_chunk::<PREFIX_BYTES>() else {
                let begins = NAME.iter().zip(&self.bytes).all(|(a, b)| a == b);
                return if begins { Ok(None) } else { Err(TraceError::Foreign) };
            };
            let [name @ .., low, high] = *prefix;
            if name != NAME {
                return Err(TraceError::Foreign);
            }
            let version = u16::from_le_bytes([low, high]);
            if version != TRACE_VERSION {
                return Err(TraceError::Version(version));
            }
            self.begun = true;
            self.at = PREFIX_BYTES;
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<FRAME_HEAD_BYTES>() else { return Ok(None) };
        let head = FrameHead::read(head).ok_or(TraceError::TooLarge { step })?;
        let Some(content) = rest.get(..head.len()) else { return Ok(None) };
        if !head.matches(content) {
            return Err(TraceError::Damaged { step });
        }
        self.at = self.at.saturating_add(FRAME_HEAD_BYTES).saturating_add(head.len());
        self.taken = self.taken.saturating_add(1);
        Ok(Some(content))
    }

    /// Whether the trace may end here: after a whole frame. An error says in which step it was cut off.
    pub fn finish(&self) -> Result<(), TraceError> {
        match (self.begun, self.bytes.is_empty()) {
            (false, true) => Err(TraceError::Foreign),
            (true, _) if self.at == self.bytes.len() && self.taken > 0 => Ok(()),
            _ => Err(TraceError::Truncated { step: self.taken }),
        }
    }
}
