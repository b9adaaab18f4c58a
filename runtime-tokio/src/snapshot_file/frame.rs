//! The frames of a snapshot file: bounded before anything is allocated, checked before anything is believed.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes};
use hotstuff2_sync::limits::{MAX_HANDOVER_BYTES, MAX_SEGMENT_BYTES, MAX_TIP_BYTES};
use hotstuff2_sync::state::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use xxhash_rust::xxh3::Xxh3;

use super::error::SnapshotFileError;
use crate::files::open_regular;

const MAGIC: &[u8; 8] = b"hs2snap\n";
const VERSION: u32 = 1;

/// Bytes of records after which a frame of leaves is full: large enough to compress well.
pub(super) const LEAVES_BYTES: usize = 256 << 10;

/// Largest head and end: numbers and hashes.
const MAX_SMALL_BYTES: u32 = 1 << 10;

/// Lengths of the sections of a frame, and a height.
const SECTIONS_BYTES: u32 = 32;

/// A full frame of leaves, and the record that fills it.
const MAX_LEAVES_BYTES: u32 = (LEAVES_BYTES + MAX_KEY_BYTES + MAX_VALUE_BYTES) as u32 + SECTIONS_BYTES;

const CODEC_RAW: u8 = 0;
const CODEC_LZ4: u8 = 1;

/// Bytes before a frame's content.
const HEAD_BYTES: usize = 10;
/// Bytes behind it.
const CHECK_BYTES: usize = 8;

/// Kind of a frame's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Head = 1,
    Handover = 2,
    Base = 3,
    Leaves = 4,
    End = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Head, Self::Handover, Self::Base, Self::Leaves, Self::End].into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Most bytes of its content, decompressed.
    const fn max_bytes(self) -> u32 {
        match self {
            Self::Head | Self::End => MAX_SMALL_BYTES,
            Self::Handover => MAX_HANDOVER_BYTES,
            Self::Base => MAX_SEGMENT_BYTES + MAX_TIP_BYTES + SECTIONS_BYTES,
            Self::Leaves => MAX_LEAVES_BYTES,
        }
    }
}

fn check_of(offset: u64, head: &[u8], content: &[u8]) -> u64 {
    // The offset as the seed: frames that change places are found.
    let mut hasher = Xxh3::with_seed(offset);
    hasher.update(head);
    hasher.update(content);
    hasher.digest()
}

/// Writes frames.
pub(super) struct FrameWriter {
    file: BufWriter<File>,
    offset: u64,
}

impl FrameWriter {
    /// Whether `file` begins as a snapshot file does, as far as it goes.
    pub(super) fn begins(file: &mut File) -> std::io::Result<bool> {
        let mut head = Vec::new();
        file.take(MAGIC.len() as u64).read_to_end(&mut head)?;
        Ok(MAGIC.starts_with(&head))
    }

    /// Writes over what `file` holds.
    pub(super) fn over(mut file: File) -> std::io::Result<Self> {
        file.set_len(0)?;
        file.rewind()?;
        let mut file = BufWriter::with_capacity(LEAVES_BYTES, file);
        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        Ok(Self { file, offset: (MAGIC.len() + 4) as u64 })
    }

    /// Appends a frame, compressed where that saves an eighth or more.
    pub(super) fn put(&mut self, kind: Kind, content: &[u8]) -> std::io::Result<()> {
        let too_long = || std::io::Error::new(ErrorKind::InvalidData, "a part is larger than the format allows");
        let raw_len = u32::try_from(content.len()).ok().filter(|len| *len <= kind.max_bytes()).ok_or_else(too_long)?;
        let compressed = lz4_flex::block::compress(content);
        let pays = compressed.len() < content.len().saturating_sub(content.len() / 8);
        let (codec, stored) = if pays { (CODEC_LZ4, compressed.as_slice()) } else { (CODEC_RAW, content) };
        // No longer than what was just measured.
        let len = u32::try_from(stored.len()).map_err(|_| too_long())?;
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(&[kind as u8, codec]);
        head.extend_from_slice(&raw_len.to_le_bytes());
        head.extend_from_slice(&len.to_le_bytes());
        let check = check_of(self.offset, &head, stored);
        self.file.write_all(&head)?;
        self.file.write_all(stored)?;
        self.file.write_all(&check.to_le_bytes())?;
        self.offset = self.offset.saturating_add((HEAD_BYTES + CHECK_BYTES) as u64).saturating_add(u64::from(len));
        Ok(())
    }

    /// Makes all of it durable; the length of the file.
    pub(super) fn finish(mut self) -> std::io::Result<u64> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(self.offset)
    }
}

/// A frame whose checksum holds. Nothing else is known of it.
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// Where it begins.
    pub(super) offset: u64,
    pub(super) content: Bytes,
}

/// Reads frames.
pub(super) struct FrameReader {
    path: PathBuf,
    file: BufReader<File>,
    offset: u64,
    len: u64,
}

impl FrameReader {
    pub(super) fn open(path: &Path) -> Result<Self, SnapshotFileError> {
        let io = |action| SnapshotFileError::io(path, action);
        let mut file = open_regular(path).map_err(io("opened"))?;
        // A device may have no length, a file always has.
        let len = file.seek(SeekFrom::End(0)).map_err(io("read"))?;
        file.seek(SeekFrom::Start(0)).map_err(io("read"))?;
        let file = BufReader::with_capacity(LEAVES_BYTES, file);
        let mut reader = Self { path: path.to_owned(), file, offset: 0, len };
        let none = |_| SnapshotFileError::NotASnapshot(path.to_owned());
        let magic: [u8; 8] = reader.take().map_err(none)?;
        if &magic != MAGIC {
            return Err(SnapshotFileError::NotASnapshot(path.to_owned()));
        }
        let found = u32::from_le_bytes(reader.take()?);
        if found != VERSION {
            return Err(SnapshotFileError::OtherVersion { path: path.to_owned(), found, known: VERSION });
        }
        Ok(reader)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that were read, and bytes that there are.
    pub(super) fn position(&self) -> (u64, u64) {
        (self.offset, self.len)
    }

    pub(super) fn damaged(&self, offset: u64, what: impl Into<String>) -> SnapshotFileError {
        SnapshotFileError::Damaged { path: self.path.clone(), offset, what: what.into() }
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Result<Frame, SnapshotFileError> {
        let offset = self.offset;
        let head: [u8; HEAD_BYTES] = self.take()?;
        let mut fields = &head[..];
        let (kind, codec) = (fields.get_u8(), fields.get_u8());
        let (raw_len, len) = (fields.get_u32_le(), fields.get_u32_le());
        let kind = Kind::from_byte(kind).ok_or_else(|| self.damaged(offset, format!("no part is of kind {kind}")))?;
        let fits = match codec {
            CODEC_RAW => len == raw_len,
            CODEC_LZ4 => len < raw_len,
            _ => return Err(self.damaged(offset, format!("codec {codec} is unknown"))),
        };
        // Before any memory is spent.
        if !fits || raw_len > kind.max_bytes() {
            return Err(self.damaged(offset, format!("a part of {raw_len} bytes, stored in {len}, can't be")));
        }
        let (raw_len, len) = (raw_len as usize, len as usize);
        let mut stored = vec![0; len];
        self.fill(&mut stored)?;
        let check = u64::from_le_bytes(self.take()?);
        if check != check_of(offset, &head, &stored) {
            return Err(self.damaged(offset, "its checksum is another"));
        }
        if codec == CODEC_LZ4 {
            let mut raw = vec![0; raw_len];
            let written = lz4_flex::block::decompress_into(&stored, &mut raw);
            if !matches!(written, Ok(len) if len == raw_len) {
                return Err(self.damaged(offset, "it doesn't decompress to its length"));
            }
            stored = raw;
        }
        Ok(Frame { kind, offset, content: stored.into() })
    }

    /// Whether nothing follows.
    pub(super) fn finish(&mut self) -> Result<(), SnapshotFileError> {
        let mut byte = [0];
        match self.file.read(&mut byte) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged(self.offset, "bytes follow the end")),
            Err(error) => Err(SnapshotFileError::io(&self.path, "read")(error)),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotFileError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotFileError> {
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => SnapshotFileError::Truncated { path: self.path.clone(), offset: self.len },
            _ => SnapshotFileError::io(&self.path, "read")(error),
        })?;
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        Ok(())
    }
}
