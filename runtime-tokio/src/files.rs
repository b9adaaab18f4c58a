//! Files of a node: opened where they are files, and written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Opens the file at `path`; `None` where that is something else: to open a pipe would wait for its other end for ever, and
/// a device may have no end.
pub(crate) fn open_file(path: &Path) -> io::Result<Option<File>> {
    if fs::metadata(path)?.is_file() { File::open(path).map(Some) } else { Ok(None) }
}

/// Opens the file at `path`, and nothing that is another thing.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    open_file(path)?.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
}

/// Makes the new name in the folder of `path` outlive a power cut.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// The file beside `path` with this at the end of its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Writes `bytes` to `path` by way of `draft`, a file beside it: whole or not at all, and so that it outlives a power cut
/// once this has returned.
pub(crate) fn write_whole(path: &Path, draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let mut file = File::create(draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(draft, path)?;
        sync_folder(path)
    };
    write().inspect_err(|_| drop(fs::remove_file(draft)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_no_draft_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for bytes in [&b"first, and longer"[..], b"second"] {
            write_whole(&path, &beside(&path, ".part"), bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        // A folder stands where the file would.
        let taken = folder.path().join("folder");
        fs::create_dir_all(taken.join("full")).unwrap();
        assert!(write_whole(&taken, &beside(&taken, ".part"), b"lost").is_err());
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "folder"]);
    }
}
