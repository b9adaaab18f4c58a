//! Contents of the frames that are not records: numbers and hashes, and the headers with the tip.

use bytes::{Buf as _, Bytes};
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::wire::{Sections, put_section};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The file's word on itself. Nothing of it counts until it is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) chain_id: Hash,
    /// The block that the proofs begin with.
    pub(super) anchor: BlockPoint,
    /// The block whose state it is.
    pub(super) point: BlockPoint,
    pub(super) epoch: Epoch,
    pub(super) state_root: Hash,
    pub(super) keys: u64,
}

/// Counts that must have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) keys: u64,
    /// Bytes of the records.
    pub(super) bytes: u64,
    /// Frames of leaves.
    pub(super) chunks: u64,
}

/// Numbers and hashes as bytes; empty, which nothing decodes, where that fails.
pub(super) fn encode(part: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(part).unwrap_or_default()
}

/// Reads what [`encode`] wrote, in that form only.
pub(super) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let part: T = postcard::from_bytes(bytes).ok()?;
    (encode(&part) == bytes).then_some(part)
}

/// The headers from the block's own on.
pub(super) struct Base {
    /// The last height of them.
    pub(super) last: Height,
    pub(super) segment: Bytes,
    /// The tip that proves the last, where they have no certificate.
    pub(super) tip: Option<Bytes>,
}

impl Base {
    /// `None` where one of its parts is far too long.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = self.last.get().to_le_bytes().to_vec();
        let tip = self.tip.as_deref().unwrap_or_default();
        (put_section(&mut out, &self.segment) && put_section(&mut out, tip)).then_some(out)
    }

    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        let last = Height::new(bytes.try_get_u64_le().ok()?);
        let mut sections = Sections::new(bytes);
        let (segment, tip) = (sections.take()?, sections.take()?);
        sections.is_empty().then_some(Self { last, segment, tip: Some(tip).filter(|tip| !tip.is_empty()) })
    }
}
