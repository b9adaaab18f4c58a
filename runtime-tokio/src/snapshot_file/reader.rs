//! [`SnapshotReader`]: proves a snapshot file from the anchor on, then hands its records out, and at the end says whether
//! they are the state of the proven header. Until then a record is what somebody wrote, no more.

use std::path::Path;

use bytes::Bytes;
use hotstuff2_sync::calls::SnapshotBase;
use hotstuff2_sync::chain::{Chain, CheckError, EpochRef, Fault, HeaderFacts, SegmentClaim, SegmentEnd, TipCheck};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::{PageBuilder, Record, key_hash, value_hash};
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::verify::{HandoverLink, Outcome, Task};
use hotstuff2_sync::wire::{Sections, put_section};

use super::error::SnapshotFileError;
use super::frame::{Frame, FrameReader, Kind};
use super::parts::{Base, End, Head, decode};
use crate::store::StoreAnchor;

/// Proven summary of a snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// The chain: the hash of its genesis document.
    pub chain_id: Hash,
    /// The block whose state it is.
    pub height: Height,
    /// The block's id.
    pub id: Hash,
    /// The block's epoch.
    pub epoch: Epoch,
    /// The block's timestamp.
    pub timestamp: UnixMillis,
    /// The root of the state.
    pub state_root: Hash,
    /// How many handovers lead to the block's epoch.
    pub handovers: u64,
    /// How many keys the state has.
    pub keys: u64,
    /// Bytes of its keys and values.
    pub bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
}

/// Bytes of a record beside its key and value.
const RECORD_HEAD: u64 = 2;

/// A snapshot file whose block is proven, and whose records are being read.
pub struct SnapshotReader {
    frames: FrameReader,
    head: Head,
    base: SnapshotBase,
    timestamp: UnixMillis,
    handovers: u64,
    builder: PageBuilder,
    came: End,
    /// Set when all records have come, with the root that they have.
    root: Option<Hash>,
}

/// Checks the file at `path` from its first to its last byte against `anchor`, the genesis of its chain. `progress` is
/// told the bytes that were read and the bytes that there are.
pub fn verify<C: Chain>(
    chain: &C,
    anchor: &StoreAnchor,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<SnapshotSummary, SnapshotFileError> {
    let mut reader = SnapshotReader::open(chain, anchor, path)?;
    while reader.next_records()?.is_some() {
        let (read, all) = reader.position();
        progress(read, all);
    }
    reader.finish().map(|(summary, _)| summary)
}

impl SnapshotReader {
    /// Opens the file at `path` and proves its block from `anchor` on.
    pub fn open<C: Chain>(chain: &C, anchor: &StoreAnchor, path: &Path) -> Result<Self, SnapshotFileError> {
        Self::open_with(chain, anchor, path, &mut |_| Ok::<_, SnapshotFileError>(()))
    }

    /// The same, with each proven handover given to `take`.
    pub(super) fn open_with<C: Chain, E: From<SnapshotFileError>>(
        chain: &C,
        anchor: &StoreAnchor,
        path: &Path,
        take: &mut dyn FnMut(HandoverLink) -> Result<(), E>,
    ) -> Result<Self, E> {
        if !chain.has_state_roots() {
            return Err(SnapshotFileError::NoStateRoots.into());
        }
        let mut frames = FrameReader::open(path)?;
        let frame = frames.next()?;
        let head = head_in(&frames, &frame, anchor)?;
        let mut epoch = anchor.epoch.clone();
        let mut handovers = 0u64;
        loop {
            let frame = frames.next()?;
            match frame.kind {
                Kind::Handover if epoch.epoch() < head.epoch => {
                    let link = link_in(chain, &frames, frame, epoch)?;
                    epoch = link.epoch.clone();
                    handovers = handovers.saturating_add(1);
                    take(link)?;
                }
                Kind::Base if epoch.epoch() == head.epoch => {
                    let (base, header) = base_in(chain, &frames, frame, &head, epoch)?;
                    let (builder, came, timestamp) = (PageBuilder::new(), End::default(), header.timestamp);
                    return Ok(Self { frames, head, base, timestamp, handovers, builder, came, root: None });
                }
                kind => return Err(misplaced(&frames, frame.offset, kind).into()),
            }
        }
    }

    /// The proven block and its headers.
    pub fn base(&self) -> &SnapshotBase {
        &self.base
    }

    /// When the proven block was made.
    pub fn timestamp(&self) -> UnixMillis {
        self.timestamp
    }

    /// Bytes that were read, and bytes that there are.
    pub fn position(&self) -> (u64, u64) {
        self.frames.position()
    }

    /// The next records with the hashes of their keys, in ascending order of these through the whole file; `None` at the
    /// end. They prove nothing before [`finish`](Self::finish).
    pub fn next_records(&mut self) -> Result<Option<Vec<(Hash, Bytes)>>, SnapshotFileError> {
        if self.root.is_some() {
            return Ok(None);
        }
        let frame = self.frames.next()?;
        match frame.kind {
            Kind::Leaves => self.take_records(frame).map(Some),
            Kind::End => {
                let says: Option<End> = decode(&frame.content);
                let (root, keys, _) = std::mem::take(&mut self.builder).finish();
                if says != Some(self.came) || keys != self.head.keys || keys != self.came.keys {
                    return Err(self.frames.damaged(frame.offset, "other records came than the file says"));
                }
                self.root = Some(root);
                Ok(None)
            }
            kind => Err(misplaced(&self.frames, frame.offset, kind)),
        }
    }

    fn take_records(&mut self, frame: Frame) -> Result<Vec<(Hash, Bytes)>, SnapshotFileError> {
        let Frame { offset, content, .. } = frame;
        let mut records = Vec::new();
        let mut sections = Sections::new(content);
        while !sections.is_empty() {
            let bytes = sections.take().ok_or_else(|| self.frames.damaged(offset, "a record is cut short"))?;
            let record = Record::decode(bytes).map_err(|error| self.frames.damaged(offset, error.to_string()))?;
            let (key_hash, value_hash) = (key_hash(record.key()), value_hash(record.value()));
            let pushed = self.builder.push(key_hash, value_hash);
            pushed.map_err(|error| self.frames.damaged(offset, error.to_string()))?;
            let bytes = record.as_bytes().clone();
            self.came.keys = self.came.keys.saturating_add(1);
            self.came.bytes = self.came.bytes.saturating_add((bytes.len() as u64).saturating_sub(RECORD_HEAD));
            records.push((key_hash, bytes));
        }
        if records.is_empty() {
            return Err(self.frames.damaged(offset, "it holds no record"));
        }
        self.came.chunks = self.came.chunks.saturating_add(1);
        // Only the root is wanted.
        drop(self.builder.take_pages());
        Ok(records)
    }

    /// The proven summary of the file, once [`next_records`](Self::next_records) has come to its end.
    pub fn finish(mut self) -> Result<(SnapshotSummary, SnapshotBase), SnapshotFileError> {
        let (read, file_bytes) = self.frames.position();
        let Some(found) = self.root else {
            return Err(self.frames.damaged(read, "its records were not read to the end"));
        };
        self.frames.finish()?;
        let expected = self.base.state_root;
        let height = self.base.point.height;
        if found != expected {
            return Err(SnapshotFileError::WrongState { path: self.frames.path().to_owned(), height, expected, found });
        }
        let summary = SnapshotSummary {
            chain_id: self.head.chain_id,
            height,
            id: self.base.point.id,
            epoch: self.head.epoch,
            timestamp: self.timestamp,
            state_root: expected,
            handovers: self.handovers,
            keys: self.came.keys,
            bytes: self.came.bytes,
            file_bytes,
        };
        Ok((summary, self.base))
    }
}

fn misplaced(frames: &FrameReader, offset: u64, kind: Kind) -> SnapshotFileError {
    frames.damaged(offset, format!("a part of kind {} is out of place", kind as u8))
}

fn head_in(frames: &FrameReader, frame: &Frame, anchor: &StoreAnchor) -> Result<Head, SnapshotFileError> {
    if frame.kind != Kind::Head {
        return Err(misplaced(frames, frame.offset, frame.kind));
    }
    let head: Option<Head> = decode(&frame.content);
    let head = head.ok_or_else(|| frames.damaged(frame.offset, "the head can't be decoded"))?;
    if head.chain_id != anchor.chain_id {
        let (found, wanted) = (head.chain_id, anchor.chain_id);
        return Err(SnapshotFileError::OtherChain { path: frames.path().to_owned(), found, wanted });
    }
    if head.anchor != anchor.point || head.point.height <= anchor.point.height {
        return Err(frames.damaged(frame.offset, "it doesn't begin with the chain's genesis"));
    }
    Ok(head)
}

fn unproven(frames: &FrameReader, offset: u64, what: String) -> impl FnOnce(CheckError) -> SnapshotFileError {
    let path = frames.path().to_owned();
    move |error| match error {
        CheckError::False(fault) => SnapshotFileError::Unproven { path, offset, what, fault },
        CheckError::Unable(code) => SnapshotFileError::Unable { path, offset, what, code },
    }
}

fn link_in<C: Chain>(
    chain: &C,
    frames: &FrameReader,
    frame: Frame,
    from: EpochRef,
) -> Result<HandoverLink, SnapshotFileError> {
    let refused = unproven(frames, frame.offset, format!("the handover that ends epoch {}", from.epoch()));
    let mut bytes = Vec::with_capacity(frame.content.len().saturating_add(4));
    if !put_section(&mut bytes, &frame.content) {
        return Err(refused(Fault::Oversize.into()));
    }
    match (Task::Handovers { from, bytes: bytes.into() }).prove(chain) {
        Ok(Outcome::Handovers { mut links, fault: None, .. }) if links.len() == 1 => {
            links.pop().ok_or_else(|| refused(Fault::Malformed.into()))
        }
        Ok(Outcome::Handovers { fault: Some(fault), .. }) => Err(refused(fault.into())),
        Err(error) => Err(refused(error)),
        Ok(_) => Err(refused(Fault::Malformed.into())),
    }
}

fn base_in<C: Chain>(
    chain: &C,
    frames: &FrameReader,
    frame: Frame,
    head: &Head,
    epoch: EpochRef,
) -> Result<(SnapshotBase, HeaderFacts), SnapshotFileError> {
    let refused = unproven(frames, frame.offset, format!("block {}", head.point.height));
    prove_base(chain, frame.content, head, epoch).map_err(refused)
}

fn prove_base<C: Chain>(
    chain: &C,
    content: Bytes,
    head: &Head,
    epoch: EpochRef,
) -> Result<(SnapshotBase, HeaderFacts), CheckError> {
    let Base { last, segment, tip } = Base::decode(content).ok_or(Fault::Malformed)?;
    let height = head.point.height;
    let range = HeightRange::new(height, last).ok_or(Fault::WrongRange)?;
    if !chain.profile().cell(height, epoch.range()).is_some_and(|cell| cell.covers(range)) {
        return Err(Fault::WrongRange.into());
    }
    let end = match &tip {
        None => SegmentEnd::Certified,
        Some(tip) => match (Task::Tip { epoch: epoch.clone(), bytes: tip.clone() }).prove(chain)? {
            Outcome::Tip(TipCheck::Final(facts), _) if facts.height == last => SegmentEnd::Anchored(facts.id),
            Outcome::Tip(TipCheck::OtherEpoch(_), _) => return Err(Fault::BadEpoch.into()),
            _ => return Err(Fault::WrongRange.into()),
        },
    };
    let claim = SegmentClaim { range, parent: None, end, audit: false };
    let mut bytes = Vec::with_capacity(segment.len().saturating_add(8));
    // In the form of an answer: the segment, and no audit.
    if !put_section(&mut bytes, &segment) || !put_section(&mut bytes, &[]) {
        return Err(Fault::Oversize.into());
    }
    let proven = Task::Base { epoch, claim, height, bytes: bytes.into() }.prove(chain)?;
    let Outcome::Base { segment, header } = proven else { return Err(Fault::Malformed.into()) };
    if header.id != head.point.id {
        return Err(Fault::WrongAnchor.into());
    }
    if header.state_root != head.state_root {
        return Err(Fault::WrongState.into());
    }
    Ok((SnapshotBase { point: head.point, state_root: header.state_root, segment, tip }, header))
}

impl std::fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotReader").field("head", &self.head).field("came", &self.came).finish_non_exhaustive()
    }
}
