//! The address book's file: written as a whole or not at all, and believed after its length, form and checksum were
//! checked. What is in it is checked like news from a peer: whoever can write the file can choose whom this node dials,
//! and nothing else.

use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::KnownPeer;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::book::{AddressBook, BookAddress, BookEntry, MAX_ADDRESSES, MAX_BANS, MAX_NAMED, MAX_PEERS};
use super::bootstrap::BootstrapPeer;
use super::candidates::{Candidate, Source};
use crate::files::{beside, open_file, write_whole};
use crate::net::address::scope_of;

/// Name of the address book in a node's folder.
pub const BOOK_FILE: &str = "peers.book";

/// First bytes of the file, with the version of what follows.
const MAGIC: &[u8; 12] = b"hs2-peers/1\n";
/// Bytes of the checksum behind the magic: xxh3, little-endian. It finds damage, not malice.
const SUM_BYTES: usize = 8;
/// Longest file that is read: what [`MAX_PEERS`] with all of their addresses, all candidates, [`MAX_BANS`] and
/// [`MAX_NAMED`] take, and some.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Longest wall-clock time that is believed, in milliseconds since 1970: the year 2500.
const MAX_TIME: u64 = 16_725_225_600_000;

/// Why an address book can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file can't be read.
    #[error("address book {path} can't be read: {source}; check that it belongs to the user of this process", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// There is a folder, a pipe or a device at the path.
    #[error("address book {path} isn't a file, but a folder, a pipe or a device; name a file, or remove it for a new book", path = path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is no address book, or damaged.
    #[error("address book {path} is damaged: {what}; remove it, and name peers with `--peer` until it has filled again", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault in it.
        what: &'static str,
    },
    /// The file can't be written.
    #[error("address book {path} can't be written: {source}; check that its folder is there and writable and that the disk has room", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
}

/// How an address book was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookFound {
    /// The file was read.
    Whole,
    /// There was none.
    Missing,
    /// The file was damaged, and was moved here.
    PutAside(PathBuf),
}

#[derive(Serialize, Deserialize)]
struct Content {
    peers: Vec<Peer>,
    candidates: Vec<(PeerId, SocketAddr, Source, u32)>,
    bans: Vec<(PeerId, UnixMillis)>,
}

#[derive(Serialize, Deserialize)]
struct Peer {
    id: PeerId,
    bootstrap: bool,
    addresses: Vec<(SocketAddr, UnixMillis, u32)>,
}

impl AddressBook {
    /// Reads the book in the file at `path`; its further choices follow from `seed`, as for [`new`](Self::new).
    ///
    /// # Errors
    /// A file that is missing or unreadable, or no whole address book.
    pub fn load(path: impl AsRef<Path>, seed: u64) -> Result<Self, BookError> {
        let path = path.as_ref();
        let read = |source| BookError::Read { path: path.to_owned(), source };
        let damaged = |what| BookError::Damaged { path: path.to_owned(), what };
        let mut bytes = Vec::new();
        let file = open_file(path).map_err(read)?.ok_or_else(|| BookError::NoFile { path: path.to_owned() })?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(damaged("it is longer than any address book"));
        }
        decode(&bytes, seed).map_err(damaged)
    }

    /// Reads the book in the file at `path`, begins an empty one where there is no file, and puts a damaged file aside.
    ///
    /// # Errors
    /// A file that can't be read or moved.
    pub fn open(path: impl AsRef<Path>, seed: u64) -> Result<(Self, BookFound), BookError> {
        let path = path.as_ref();
        match Self::load(path, seed) {
            Ok(book) => Ok((book, BookFound::Whole)),
            Err(BookError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok((Self::new(seed), BookFound::Missing))
            }
            Err(BookError::Damaged { .. }) => {
                let aside = free_name(path);
                fs::rename(path, &aside).map_err(|source| BookError::Write { path: aside.clone(), source })?;
                Ok((Self::new(seed), BookFound::PutAside(aside)))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the book to `path`, whole or not at all. It outlives a power cut once this has returned.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), BookError> {
        let path = path.as_ref();
        let written = write_whole(path, &beside(path, ".new"), &encode(self));
        written.map_err(|source| BookError::Write { path: path.to_owned(), source })
    }
}

fn encode(book: &AddressBook) -> Vec<u8> {
    let content = Content {
        peers: book
            .peers()
            .map(|(id, entry)| Peer {
                id,
                bootstrap: entry.bootstrap,
                addresses: entry.addresses.iter().map(|at| (at.address, at.last_success, at.failures)).collect(),
            })
            .collect(),
        candidates: book
            .candidates
            .iter()
            .map(|candidate| (candidate.peer.id, candidate.peer.address, candidate.source, candidate.failures))
            .collect(),
        bans: book.bans().collect(),
    };
    let named: Vec<(String, Option<PeerId>)> = book.named().iter().map(|peer| (peer.to_string(), peer.id())).collect();
    // Serializing numbers and texts into a growing vector has no way to fail.
    let content = postcard::to_allocvec(&(content, named)).unwrap_or_default();
    [&MAGIC[..], &xxh3_64(&content).to_le_bytes(), &content].concat()
}

fn decode(bytes: &[u8], seed: u64) -> Result<AddressBook, &'static str> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin like one of this version")?;
    let (sum, content) = rest.split_first_chunk::<SUM_BYTES>().ok_or("it is cut off")?;
    if xxh3_64(content) != u64::from_le_bytes(*sum) {
        return Err("its checksum is wrong");
    }
    // Lists are read item by item out of at most a mebibyte, so what is read is bounded too.
    let unreadable = |_| "its content can't be read";
    let (content, rest) = postcard::take_from_bytes::<Content>(content).map_err(unreadable)?;
    // A book that was written before named peers were remembered ends here.
    let named: Vec<(String, Option<PeerId>)> =
        if rest.is_empty() { Vec::new() } else { postcard::from_bytes(rest).map_err(unreadable)? };
    let Content { peers, candidates, bans } = content;
    if peers.len() > MAX_PEERS || bans.len() > MAX_BANS || named.len() > MAX_NAMED {
        return Err("it holds more than any address book");
    }
    let fits = |address: &SocketAddr| {
        let ip = address.ip();
        scope_of(ip).is_some() && ip == ip.to_canonical() && address.port() != 0
    };
    let in_time = |time: UnixMillis| time.get() <= MAX_TIME;
    let mut book = AddressBook::new(seed);
    for Peer { id, bootstrap, addresses } in peers {
        let whole = addresses.iter().all(|(address, at, _)| fits(address) && in_time(*at));
        if !whole || addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
            return Err("it has addresses where no node can be");
        }
        let address = |(address, last_success, failures)| BookAddress { address, last_success, failures };
        let addresses = addresses.into_iter().map(address).collect();
        book.peers.insert(id, BookEntry { addresses, bootstrap });
    }
    for (id, address, source, failures) in candidates {
        if !fits(&address) {
            return Err("it has candidates where no node can be");
        }
        // Those that find no place are heard of again.
        book.candidates.insert(Candidate { peer: KnownPeer { id, address }, source, failures });
    }
    for (id, until) in bans {
        if !in_time(until) {
            return Err("it has bans without an end");
        }
        book.ban(id, until);
    }
    let name = |(place, id): (String, Option<PeerId>)| BootstrapPeer::new(&place, id).ok();
    let named = named.into_iter().map(name).collect::<Option<Vec<_>>>().ok_or("it has names that name no peer")?;
    book.set_named(&named);
    Ok(book)
}

/// A name beside `path` for a damaged book, which nothing has yet: what was put aside before stays.
fn free_name(path: &Path) -> PathBuf {
    let names = (2u32..).map(|number| beside(path, &format!(".damaged-{number}")));
    let mut names = std::iter::once(beside(path, ".damaged")).chain(names);
    names.find(|name| fs::symlink_metadata(name).is_err()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn book() -> AddressBook {
        let mut book = AddressBook::new(1);
        let at = |number: u8, address: &str| KnownPeer { id: id(number), address: address.parse().unwrap() };
        book.answered(at(1, "8.8.8.8:7"), UnixMillis::new(5));
        book.answered(at(1, "[2600::1]:7"), UnixMillis::new(9));
        book.answered(at(2, "127.0.0.1:8"), UnixMillis::new(5));
        book.failed(at(2, "127.0.0.1:8"), false, 3);
        book.set_bootstrap(id(2));
        assert!(book.hear(id(9), "10.0.0.1:1".parse().unwrap(), at(3, "10.0.0.2:9")));
        book.ban(id(4), UnixMillis::new(77));
        let named = ["8.8.8.8:7".parse(), format!("node.example.org:7/{}", id(2)).parse()];
        book.set_named(&named.map(Result::unwrap));
        book
    }

    fn same(left: &AddressBook, right: &AddressBook) -> bool {
        let said = left.peers == right.peers && left.bans == right.bans && left.named() == right.named();
        said && left.candidates.iter().eq(right.candidates.iter())
    }

    #[test]
    fn a_book_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.book");
        assert_eq!(AddressBook::open(&path, 1).unwrap().1, BookFound::Missing);
        let book = book();
        for _ in 0..2 {
            book.save(&path).unwrap();
            let (again, found) = AddressBook::open(&path, 1).unwrap();
            assert!(found == BookFound::Whole && same(&book, &again));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
        let error = book.save(folder.path().join("no/such/file")).unwrap_err();
        assert!(matches!(error, BookError::Write { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn no_pipe_or_device_in_the_place_of_a_book_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("peers.book");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&*pipe, Path::new("/dev/zero"), folder.path()] {
            let error = AddressBook::open(path, 1).unwrap_err();
            assert!(matches!(&error, BookError::NoFile { path: named } if named == path), "{error}");
        }
        assert!(pipe.exists(), "it is left as it is");
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let whole = encode(&book());
        for len in 0..whole.len() {
            assert!(decode(&whole[..len], 1).is_err(), "cut to {len}");
        }
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 1;
            assert!(decode(&bent, 1).is_err(), "bent at {at}");
        }
    }

    #[test]
    fn a_hostile_file_is_an_error_and_never_a_panic() {
        // The checksum is right each time.
        let sealed = |content: &[u8]| [&MAGIC[..], &xxh3_64(content).to_le_bytes(), content].concat();
        let whole = encode(&book());
        let content = &whole[MAGIC.len() + SUM_BYTES..];
        assert!(decode(&sealed(content), 1).is_ok());
        let mut bent = content.to_vec();
        for at in 0..content.len() {
            for bit in 0..8 {
                bent[at] ^= 1 << bit;
                let _ = decode(&sealed(&bent), 1);
                bent[at] ^= 1 << bit;
            }
        }
        // A list that says that it is endless.
        assert!(decode(&sealed(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), 1).is_err());
        let wrong = |addresses: Vec<(&str, u64)>, bans: Vec<(PeerId, UnixMillis)>| {
            let addresses = addresses.into_iter().map(|(text, at)| (text.parse().unwrap(), UnixMillis::new(at), 0));
            let peers = vec![Peer { id: id(1), bootstrap: false, addresses: addresses.collect() }];
            decode(&sealed(&postcard::to_allocvec(&Content { peers, candidates: Vec::new(), bans }).unwrap()), 1).err()
        };
        assert_eq!(wrong(vec![("8.8.8.8:7", 1)], Vec::new()), None);
        for address in ["0.0.0.0:7", "8.8.8.8:0", "224.0.0.1:7", "[::ffff:8.8.8.8]:7"] {
            assert!(wrong(vec![(address, 1)], Vec::new()).is_some(), "{address}");
        }
        assert!(wrong(Vec::new(), Vec::new()).is_some());
        assert!(wrong(vec![("8.8.8.8:7", 1); 5], Vec::new()).is_some());
        assert!(wrong(vec![("8.8.8.8:7", u64::MAX)], Vec::new()).is_some());
        assert!(wrong(vec![("8.8.8.8:7", 1)], vec![(id(2), UnixMillis::new(u64::MAX))]).is_some());
    }

    #[test]
    fn a_damaged_file_is_named_and_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.book");
        let mut kept = Vec::new();
        for bytes in [&b"not a book"[..], &vec![0x5a; MAX_FILE_BYTES as usize + 1]] {
            fs::write(&path, bytes).unwrap();
            let error = AddressBook::load(&path, 1).unwrap_err();
            assert!(matches!(error, BookError::Damaged { .. }) && error.to_string().contains("peers.book"), "{error}");
            let (book, found) = AddressBook::open(&path, 1).unwrap();
            let BookFound::PutAside(aside) = found else { panic!("{found:?}") };
            assert!(book.is_empty() && !path.exists());
            kept.push((aside, bytes.to_vec()));
        }
        // The second doesn't take the first one's place.
        kept.iter().for_each(|(aside, bytes)| assert!(fs::read(aside).unwrap() == *bytes, "{}", aside.display()));
    }
}
