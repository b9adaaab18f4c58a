//! [`Blob`]: bytes in a trace, whole or by what can be seen of them.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes kept of the front of a blob. More than [`MARK_FRONT`], as an answer loses its tag on the way to a job.
const FRONT: usize = 24;
/// Bytes kept of its back.
const BACK: usize = 16;
/// Blobs up to this long are kept whole: shorter ones are the more expensive to describe.
const WHOLE: usize = 64;
/// Bytes of the front that an output's digest is over.
const MARK_FRONT: usize = 16;
/// Most memory that one step of a replay may take for what its inputs stand for: the largest answer that a request allows
/// (an audited segment) several times over.
const MAX_STEP_BYTES: u64 = 512 << 20;

/// Bytes as a trace has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blob {
    /// All of them.
    Whole(Vec<u8>),
    /// Their number and both ends.
    Ends {
        /// Number of bytes.
        len: u32,
        /// The first.
        front: [u8; FRONT],
        /// The last.
        back: [u8; BACK],
    },
}

impl Blob {
    /// Bytes that the machine looks into.
    pub(super) fn whole(bytes: &[u8]) -> Self {
        Self::Whole(bytes.to_vec())
    }

    /// Bytes that the machine only moves.
    pub(super) fn ends(bytes: &[u8]) -> Self {
        if bytes.len() <= WHOLE {
            return Self::whole(bytes);
        }
        match (u32::try_from(bytes.len()), bytes.first_chunk(), bytes.last_chunk()) {
            (Ok(len), Some(front), Some(back)) => Self::Ends { len, front: *front, back: *back },
            _ => Self::whole(bytes),
        }
    }

    /// Number of bytes that it stands for.
    pub fn stands_for(&self) -> u64 {
        match self {
            Self::Whole(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Ends { len, .. } => u64::from(*len),
        }
    }

    /// Bytes that look the same to a machine. `None` where that takes more memory than is left.
    pub(super) fn stand_in(self, memory: &mut Memory) -> Option<Bytes> {
        memory.take(self.stands_for())?;
        match self {
            Self::Whole(bytes) => Some(bytes.into()),
            Self::Ends { len, front, back } => {
                let len = usize::try_from(len).ok().filter(|&len| len > WHOLE)?;
                let mut bytes = vec![0; len];
                bytes.first_chunk_mut().map(|place| *place = front)?;
                bytes.last_chunk_mut().map(|place| *place = back)?;
                Some(bytes.into())
            }
        }
    }
}

/// Memory that a step of a replay may still take.
pub(super) struct Memory(u64);

impl Memory {
    pub(super) const fn new() -> Self {
        Self(MAX_STEP_BYTES)
    }

    pub(super) fn take(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.checked_sub(bytes)?;
        Some(())
    }
}

/// Appends what an output's digest is over of `bytes`: the same for bytes and for their stand-in.
pub(super) fn put_mark(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    if bytes.len() <= WHOLE {
        out.extend_from_slice(bytes);
        return;
    }
    out.extend_from_slice(bytes.get(..MARK_FRONT).unwrap_or_default());
    out.extend_from_slice(bytes.last_chunk::<BACK>().map_or(&[][..], |back| back));
}
