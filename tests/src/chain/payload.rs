//! Where payloads come from: random bytes, or files cut into pieces. The demo ledger's are [`super::LedgerPayloads`].

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::rng::Rng;

/// Payloads in the order of their blocks, and what executing them does to the state.
pub trait Payloads {
    /// Root of the state before the first block.
    fn genesis_root(&self) -> Hash;

    /// Puts the next block's payload into `payload`, which is empty, and returns the root of the state after it.
    ///
    /// # Errors
    /// Where the source can't be read.
    fn next(&mut self, payload: &mut Vec<u8>) -> io::Result<Hash>;
}

/// Random bytes, which no compression makes smaller. The state never changes.
#[derive(Clone, Debug)]
pub struct RandomPayloads {
    rng: Rng,
    bytes: usize,
}

impl RandomPayloads {
    /// Payloads of `bytes` bytes each.
    pub fn new(seed: u64, bytes: u32) -> Self {
        Self { rng: Rng::new(seed), bytes: bytes as usize }
    }
}

/// The root of a state that nothing executes.
pub fn constant_root() -> Hash {
    Hash::ZERO
}

impl Payloads for RandomPayloads {
    fn genesis_root(&self) -> Hash {
        constant_root()
    }

    fn next(&mut self, payload: &mut Vec<u8>) -> io::Result<Hash> {
        payload.resize(self.bytes, 0);
        self.rng.fill(payload);
        Ok(constant_root())
    }
}

/// The bytes of files, end to end in the order of their names, cut into payloads of equal size (the last may be
/// shorter). Files are read as the chain is made. The state never changes.
#[derive(Debug)]
pub struct FilePayloads {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<(PathBuf, BufReader<File>)>,
    piece: u64,
    total: u64,
}

impl FilePayloads {
    /// The file at `path`, or all files in the folder there and in its folders. Links are not followed.
    ///
    /// # Errors
    /// Where `path` can't be read, with the path in the message.
    pub fn open(path: &Path, payload_bytes: u32) -> io::Result<Self> {
        let mut files = Vec::new();
        let mut total: u64 = 0;
        collect(path, &mut files, &mut total)?;
        Ok(Self { files: files.into_iter(), open: None, piece: u64::from(payload_bytes.max(1)), total })
    }

    /// How many blocks the files fill.
    pub fn blocks(&self) -> u64 {
        self.total.div_ceil(self.piece)
    }
}

fn naming(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>, total: &mut u64) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path).map_err(naming(path))?;
    if metadata.is_file() {
        *total = total.saturating_add(metadata.len());
        files.push(path.to_owned());
    } else if metadata.is_dir() {
        let entries: io::Result<Vec<_>> = fs::read_dir(path).map_err(naming(path))?.collect();
        let mut paths: Vec<_> = entries.map_err(naming(path))?.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().try_for_each(|path| collect(path, files, total))?;
    }
    Ok(())
}

impl Payloads for FilePayloads {
    fn genesis_root(&self) -> Hash {
        constant_root()
    }

    fn next(&mut self, payload: &mut Vec<u8>) -> io::Result<Hash> {
        while (payload.len() as u64) < self.piece {
            let (path, reader) = match &mut self.open {
                Some(open) => open,
                None => {
                    let Some(path) = self.files.next() else { break };
                    let file = File::open(&path).map_err(naming(&path))?;
                    self.open.insert((path, BufReader::new(file)))
                }
            };
            let wanted = self.piece - payload.len() as u64;
            if reader.take(wanted).read_to_end(payload).map_err(naming(path))? == 0 {
                self.open = None;
            }
        }
        Ok(constant_root())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_cut_end_to_end() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        for (name, content) in [("a", "01234"), ("b/empty", ""), ("b/x", "56"), ("c", "789")] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let mut source = FilePayloads::open(folder.path(), 4).unwrap();
        assert_eq!(source.blocks(), 3);
        let mut next = || {
            let mut payload = Vec::new();
            source.next(&mut payload).unwrap();
            String::from_utf8(payload).unwrap()
        };
        assert_eq!([next(), next(), next(), next()], ["0123", "4567", "89", ""]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = FilePayloads::open(Path::new("/no/such/file"), 4).unwrap_err();
        assert!(error.to_string().starts_with("/no/such/file: "), "{error}");
    }
}
