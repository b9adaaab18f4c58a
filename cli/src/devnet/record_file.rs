//! The file with a replica's [`Record`]: replaced whole, and durable when the call returns.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync_testkit::replica::Record;

use crate::error::CliError;

static CHECKSUM: Context = Context::new("hs2-sync devnet v1 record of votes");

/// Name of the file in a node's folder.
pub(super) const RECORD_FILE: &str = "votes.record";

/// A record on its disk.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    folder: PathBuf,
}

impl RecordFile {
    pub(super) fn in_folder(dir: &Path) -> Self {
        Self { path: dir.join(RECORD_FILE), folder: dir.to_owned() }
    }

    /// The record; `None` where there is none that can be relied on.
    pub(super) fn read(&self) -> Option<Record> {
        let bytes = std::fs::read(&self.path).ok()?;
        let (checksum, record) = bytes.split_first_chunk()?;
        if CHECKSUM.hash(record) != Hash::from_bytes(*checksum) {
            return None;
        }
        postcard::from_bytes(record).ok()
    }

    /// Puts `record` in the place of the one before.
    pub(super) fn write(&self, record: &Record) -> Result<(), CliError> {
        let failed = || CliError::file("written", &self.path);
        let record = postcard::to_allocvec(record).map_err(|error| failed()(std::io::Error::other(error)))?;
        let mut draft = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed())?;
        let written = draft.write_all(CHECKSUM.hash(&record).as_bytes()).and_then(|()| draft.write_all(&record));
        written.and_then(|()| draft.as_file().sync_all()).map_err(failed())?;
        draft.persist(&self.path).map_err(|error| failed()(error.error))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed())
    }
}
