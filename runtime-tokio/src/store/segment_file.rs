//! Segment files: one grid cell each, written once, served byte for byte.
//!
//! ```text
//! magic                       8 bytes, the format's version in the last
//! segment length              u32, little-endian
//! audit length                u32
//! segment, audit              as verified
//! frames                      as received, end to end
//! footer                      what the headers said; size and checksum of segment, audit and every frame
//! footer length               u32
//! footer checksum             32 bytes
//! magic                       8 bytes
//! ```
//!
//! While bodies are missing the file is called `.part`, has no footer, and the database holds the record that will
//! become it: bytes past the end that the record implies are left over from a crash and are overwritten. Payloads are
//! bound by the headers' hashes, so the checksums are there to notice a disk that changes bytes before anyone else
//! does: every read checks what it read (0.2 ms a MiB), and nothing damaged is ever served or replayed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::db_files::require_file;
use super::failure::StoreFailure;
use super::records::{SegmentRecord, check_of, decode, encode};
use super::steps::{Step, Steps};

const MAGIC: [u8; 8] = *b"hs2seg\x00\x01";
/// Bytes before the segment.
const HEAD_BYTES: u64 = 16;
/// Bytes behind the footer.
const TAIL_BYTES: u64 = 44;
/// A cell has at most 1,024 frames of 20 bytes and as many payload lengths; more than this is damage.
const MAX_FOOTER_BYTES: u32 = 1 << 20;

/// Where the store keeps segment files, and how it names them.
#[derive(Clone, Debug)]
pub(super) struct SegmentDir(PathBuf);

impl SegmentDir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Where files that will take the place of damaged ones are written.
    pub(super) fn healing(&self) -> Self {
        Self(self.0.join("healing"))
    }

    /// Removes the directory and the files of ours in it. Where that can't be, it is tried again next time.
    pub(super) fn remove(&self) {
        if !self.0.is_dir() {
            return;
        }
        if let Err(error) = self.remove_strays(|_, _| false) {
            tracing::debug!(%error, "left over from healing");
        }
        // Fails where there is something of somebody else's.
        let _ = std::fs::remove_dir(&self.0);
    }

    /// The file of the complete cell that begins at `first`.
    pub(super) fn sealed(&self, first: Height) -> PathBuf {
        self.0.join(format!("{:020}.seg", first.get()))
    }

    /// The file of the same cell while bodies are missing.
    pub(super) fn part(&self, first: Height) -> PathBuf {
        self.0.join(format!("{:020}.part", first.get()))
    }

    /// The cell whose sealed file is at `path`, by its first height.
    pub(super) fn first_of(&self, path: &Path) -> Option<Height> {
        let first = path.file_stem()?.to_str()?.parse().ok().map(Height::new)?;
        (self.sealed(first) == path).then_some(first)
    }

    /// Whether the file at `path` has a name as the store gives them.
    pub(super) fn is_named(&self, path: &Path) -> bool {
        let first = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()).map(Height::new);
        first.is_some_and(|first| path == self.sealed(first) || path == self.part(first))
    }

    /// Removes the files that `keep` doesn't want, told the first height and whether the file is sealed. What has another
    /// name than the store gives is left alone.
    pub(super) fn remove_strays(&self, keep: impl Fn(Height, bool) -> bool) -> Result<(), StoreFailure> {
        let failed = |error| StoreFailure::io(&self.0, "list", error);
        for entry in std::fs::read_dir(&self.0).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let sealed = match path.extension().and_then(|extension| extension.to_str()) {
                Some("seg") => true,
                Some("part") => false,
                _ => continue,
            };
            let first = stem.map(Height::new);
            let ours = first.is_some_and(|first| path == if sealed { self.sealed(first) } else { self.part(first) });
            if ours && first.is_some_and(|first| !keep(first, sealed)) {
                std::fs::remove_file(&path)
                    .map_err(|error| StoreFailure::io(&path, "remove the file that nothing refers to", error))?;
            }
        }
        Ok(())
    }

    /// Forces the names in the directory to disk.
    pub(super) fn sync(&self, steps: &Steps) -> Result<(), StoreFailure> {
        steps
            .reached(Step::SyncDirectory, &self.0)
            .and_then(|()| File::open(&self.0)?.sync_all())
            .map_err(|error| StoreFailure::io(&self.0, "force the directory to disk", error))
    }
}

/// Where the first frame begins.
pub(super) fn frames_offset(record: &SegmentRecord) -> u64 {
    // Two u32 and a constant.
    HEAD_BYTES + u64::from(record.segment_len) + u64::from(record.audit_len)
}

/// Where the next frame belongs: the length of a `.part` file, and where the footer of a sealed one begins.
pub(super) fn frames_end(record: &SegmentRecord) -> u64 {
    record.frames.iter().fold(frames_offset(record), |end, frame| end.saturating_add(u64::from(frame.len)))
}

/// Everything before the segment.
fn front(record: &SegmentRecord) -> Vec<u8> {
    [&MAGIC[..], &record.segment_len.to_le_bytes(), &record.audit_len.to_le_bytes()].concat()
}

/// Everything before the frames.
pub(super) fn file_head(record: &SegmentRecord, segment: &[u8], audit: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(segment.len().saturating_add(audit.len()).saturating_add(16));
    head.extend_from_slice(&front(record));
    head.extend_from_slice(segment);
    head.extend_from_slice(audit);
    head
}

/// Everything behind the frames.
pub(super) fn file_foot(record: &SegmentRecord) -> Vec<u8> {
    let footer = encode(record);
    let mut foot = Vec::with_capacity(footer.len().saturating_add(44));
    foot.extend_from_slice(&footer);
    // A footer is far below 4 GiB; a wrong length would be found by the first read.
    foot.extend_from_slice(&u32::try_from(footer.len()).unwrap_or(u32::MAX).to_le_bytes());
    foot.extend_from_slice(check_of(&footer).as_bytes());
    foot.extend_from_slice(&MAGIC);
    foot
}

/// One file to write in one go. Jobs of different files are independent.
pub(super) struct FileJob {
    /// First height of the cell.
    pub(super) first: Height,
    /// The open file, or `None` to create it.
    pub(super) file: Option<Arc<File>>,
    /// Where to write; the file holds nothing that counts from there on.
    pub(super) offset: u64,
    /// Whether the file is complete with that.
    pub(super) seal: bool,
}

impl FileJob {
    /// Writes `pieces` end to end and forces all but the file's name to disk.
    pub(super) fn run(
        &self,
        pieces: impl Iterator<Item = Result<Bytes, StoreFailure>>,
        dir: &SegmentDir,
        steps: &Steps,
    ) -> Result<Arc<File>, StoreFailure> {
        let part = dir.part(self.first);
        let failed = |action| move |error| StoreFailure::io(&dir.part(self.first), action, error);
        let file = self.open(&part, steps).map_err(failed("open for writing"))?;
        let mut offset = self.offset;
        for piece in pieces {
            let piece = piece?;
            steps
                .reached(Step::Write, &part)
                .and_then(|()| file.write_all_at(&piece, offset))
                .map_err(failed("write"))?;
            offset = offset.saturating_add(piece.len() as u64);
        }
        let synced = steps.reached(Step::SyncFile, &part).and_then(|()| file.sync_all());
        synced.map_err(failed("force the file to disk"))?;
        if self.seal {
            let renamed =
                steps.reached(Step::Rename, &part).and_then(|()| std::fs::rename(&part, dir.sealed(self.first)));
            renamed.map_err(failed("rename the complete file"))?;
        }
        Ok(file)
    }

    fn open(&self, part: &Path, steps: &Steps) -> io::Result<Arc<File>> {
        let Some(file) = &self.file else {
            steps.reached(Step::Create, part)?;
            return Ok(Arc::new(File::options().read(true).write(true).create(true).truncate(true).open(part)?));
        };
        if file.metadata()?.len() != self.offset {
            file.set_len(self.offset)?;
        }
        Ok(file.clone())
    }
}

/// An open segment file and what it holds, as of one commit. Later commits to a `.part` file don't change it.
#[derive(Debug)]
pub(super) struct SegmentFile {
    path: PathBuf,
    file: Arc<File>,
}

impl SegmentFile {
    /// A file that was opened before.
    pub(super) fn new(path: PathBuf, file: Arc<File>) -> Self {
        Self { path, file }
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Opens a `.part` file, cut to what `record` says.
    pub(super) fn open_part(path: PathBuf, record: &SegmentRecord) -> Result<Self, StoreFailure> {
        require_file(&path)?;
        let io = |action| move |error| (action, error);
        let opened = File::options().read(true).write(true).open(&path).map_err(io("open")).and_then(|file| {
            let len = file.metadata().map_err(io("read the length"))?.len();
            Ok((file, len))
        });
        let (file, len) = opened.map_err(|(action, error)| StoreFailure::io(&path, action, error))?;
        let end = frames_end(record);
        if len < end {
            return Err(StoreFailure::damaged(&path, format!("it has {len} bytes, the database recorded {end}")));
        }
        if len > end {
            let cut = file.set_len(end).and_then(|()| file.sync_all());
            cut.map_err(|error| StoreFailure::io(&path, "cut off an unfinished write", error))?;
        }
        Ok(Self { path, file: Arc::new(file) })
    }

    /// Opens a sealed file and reads its footer. The cell must be `cell`.
    pub(super) fn open_sealed(path: PathBuf, cell: HeightRange) -> Result<(Self, SegmentRecord), StoreFailure> {
        require_file(&path)?;
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len, file) = opened.map_err(|error| StoreFailure::io(&path, "open", error))?;
        let this = Self { path, file: Arc::new(file) };
        let record = this.footer(len)?;
        // Nothing here reads by the lengths at the front, but others may.
        if this.read(0, HEAD_BYTES as u32)? != front(&record) {
            return Err(this.damaged("it doesn't begin as its footer says"));
        }
        // History may have been added without bodies.
        let complete = record.frames.is_empty() || record.bodies() == Some(cell);
        if record.facts.range != cell || !complete {
            return Err(this.damaged(format!("it holds the blocks {}, not {cell}", record.facts.range)));
        }
        Ok((this, record))
    }

    fn footer(&self, file_len: u64) -> Result<SegmentRecord, StoreFailure> {
        let short = || self.damaged(format!("it ends after {file_len} bytes, before its footer"));
        let tail_at = file_len.checked_sub(TAIL_BYTES).ok_or_else(short)?;
        let tail = self.read(tail_at, TAIL_BYTES as u32)?;
        let (len, rest) = tail.split_first_chunk::<4>().ok_or_else(short)?;
        let (check, magic) = rest.split_first_chunk::<32>().ok_or_else(short)?;
        if magic != MAGIC {
            return Err(self.damaged("it doesn't end as a segment file does"));
        }
        let len = u32::from_le_bytes(*len);
        let footer_at = tail_at.checked_sub(u64::from(len)).filter(|_| len <= MAX_FOOTER_BYTES).ok_or_else(short)?;
        let footer = self.read(footer_at, len)?;
        if check_of(&footer).as_bytes() != check {
            return Err(self.damaged("the checksum of its footer is wrong"));
        }
        let record: Option<SegmentRecord> = decode(&footer).filter(SegmentRecord::is_consistent);
        match record {
            Some(record) if frames_end(&record) == footer_at => Ok(record),
            _ => Err(self.damaged("its footer doesn't describe it")),
        }
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> StoreFailure {
        StoreFailure::damaged(&self.path, what)
    }

    /// Reads exactly `len` bytes.
    pub(super) fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>, StoreFailure> {
        let mut out = Vec::new();
        self.read_into(offset, len, &mut out)?;
        Ok(out)
    }

    /// Appends exactly `len` bytes to `out`, or nothing.
    pub(super) fn read_into(&self, offset: u64, len: u32, out: &mut Vec<u8>) -> Result<(), StoreFailure> {
        let start = out.len();
        out.resize(start.saturating_add(len as usize), 0);
        let read = out.get_mut(start..).map_or(Ok(()), |room| self.file.read_exact_at(room, offset));
        read.map_err(|error| {
            out.truncate(start);
            match error.kind() {
                io::ErrorKind::UnexpectedEof => self.damaged(format!("{len} bytes at {offset} are missing")),
                _ => StoreFailure::io(&self.path, "read", error),
            }
        })
    }
}

/// Where the segment and the audit of a file are.
pub(super) fn sections(record: &SegmentRecord) -> [(u64, u32); 2] {
    let audit_at = HEAD_BYTES + u64::from(record.segment_len);
    [(HEAD_BYTES, record.segment_len), (audit_at, record.audit_len)]
}

/// Whether the beginning of the file at `path`, damaged as it may be, says that it has certificates of single blocks.
pub(super) fn has_audit(path: &Path) -> bool {
    let mut head = [0u8; HEAD_BYTES as usize];
    // Opening a pipe would wait for somebody to write into it.
    if require_file(path).is_err() {
        return false;
    }
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut head, 0));
    let (magic, lengths) = head.split_at(MAGIC.len());
    read.is_ok() && magic == MAGIC && lengths.get(4..).is_some_and(|audit| audit != [0; 4])
}
