//! A node's name on the network: an Ed25519 key pair whose public half is its peer id, with the self-signed certificate
//! that carries it through TLS.
//!
//! Nothing is trusted but the key file, which must belong to its owner alone: whoever reads it can be this node.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::session::{SessionError, SessionIdentity};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519, PublicKeyData as _};
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::files::{open_file, sync_folder};

/// Longest key file that is read, in bytes: an Ed25519 key in PKCS#8 takes 83, and what is far longer is another file.
const MAX_KEY_FILE_BYTES: u64 = 4096;

/// The key pair and certificate of a node.
pub struct Identity {
    peer_id: PeerId,
    key: PrivatePkcs8KeyDer<'static>,
    certificate: CertificateDer<'static>,
}

impl Identity {
    /// A fresh key pair from the randomness of the operating system.
    pub fn generate() -> Result<Self, IdentityError> {
        let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(IdentityError::Generate)?;
        Self::from_pair(&pair)
    }

    /// The identity with this secret key: of a validator whose key names it among its peers as well.
    ///
    /// # Errors
    /// Where no certificate can be made of it.
    pub fn from_secret(secret: &[u8; 32]) -> Result<Self, IdentityError> {
        // PKCS#8, version 1, for Ed25519 (RFC 8410, section 7): the rest is the same for every key.
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend_from_slice(secret);
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &PKCS_ED25519);
        Self::from_pair(&pair.map_err(IdentityError::Generate)?)
    }

    /// The identity in the file at `path`, which [`save`](Self::save) wrote (an unencrypted PKCS#8 key in DER).
    ///
    /// # Errors
    /// A file that is missing, unreadable, readable by others than its owner, or no Ed25519 key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        let read = |source| IdentityError::Read { path: path.to_owned(), source };
        let file = open_file(path).map_err(read)?.ok_or_else(|| IdentityError::NoFile { path: path.to_owned() })?;
        refuse_shared(path, &file)?;
        let mut der = Vec::new();
        file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut der).map_err(read)?;
        KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &PKCS_ED25519)
            .and_then(|pair| Self::from_pair(&pair).map_err(|_| rcgen::Error::CouldNotParseKeyPair))
            .map_err(|source| IdentityError::Malformed { path: path.to_owned(), source })
    }

    /// The identity at `path`, or where there is no such file a fresh one that is saved there first.
    ///
    /// # Errors
    /// As for [`load`](Self::load) and [`save`](Self::save). A file that is there is never replaced.
    pub fn load_or_generate(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        match Self::load(path) {
            Err(IdentityError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let identity = Self::generate()?;
        match identity.save(path) {
            Ok(()) => Ok(identity),
            // Another process was faster. Its key is the node's.
            Err(IdentityError::AlreadyThere { .. }) => Self::load(path),
            Err(error) => Err(error),
        }
    }

    /// Writes the key pair to `path`, readable by its owner only, whole or not at all.
    ///
    /// # Errors
    /// Where the file can't be written, or there is one already: a key that was in use is not replaced.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), IdentityError> {
        let path = path.as_ref();
        let failed = |source| IdentityError::Write { path: path.to_owned(), source };
        let mut name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?.to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let draft = path.with_file_name(name);
        // Left by a process of this id that was killed while writing.
        let _ = fs::remove_file(&draft);
        let written = write_private(&draft, self.key.secret_pkcs8_der())
            // A hard link, unlike a rename, refuses to replace a file that is there.
            .and_then(|()| fs::hard_link(&draft, path))
            .and_then(|()| sync_folder(path));
        let _ = fs::remove_file(&draft);
        written.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => IdentityError::AlreadyThere { path: path.to_owned() },
            _ => failed(source),
        })
    }

    /// The public key: this node's name to its peers.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// A number that follows from the key and that only this node knows: for choices that peers must not foresee.
    pub fn seed(&self) -> u64 {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.key.secret_pkcs8_der());
        let seed = hmac::sign(&secret, b"hs2-sync/1 choices");
        seed.as_ref().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The same identity for sessions. The key of their channel follows from this one.
    pub(super) fn session(&self) -> Result<SessionIdentity, SessionError> {
        let key = self.key.secret_pkcs8_der();
        let channel = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"hs2-sync/1 session channel");
        let secret = channel.as_ref().first_chunk().copied().ok_or(SessionError::KeyProof)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).map_err(|_| SessionError::KeyProof)?;
        SessionIdentity::with_signer(self.peer_id, secret, |statement| {
            pair.sign(statement).as_ref().first_chunk().copied().unwrap_or([0; 64])
        })
    }

    pub(super) fn key(&self) -> PrivatePkcs8KeyDer<'static> {
        self.key.clone_key()
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// Secrets by which an endpoint is recognized after a restart: the key under which this node, and nobody else,
    /// tells peers that it has forgotten a connection, and the number by which it knows its own connection ids.
    pub(super) fn endpoint_keys(&self) -> (hmac::Key, u64) {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.key.secret_pkcs8_der());
        let reset = hmac::sign(&secret, b"hs2-sync/1 stateless reset");
        let ids = hmac::sign(&secret, b"hs2-sync/1 connection ids");
        let id_key = ids.as_ref().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        (hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref()), id_key)
    }

    fn from_pair(pair: &KeyPair) -> Result<Self, IdentityError> {
        let raw: [u8; 32] =
            pair.der_bytes().try_into().map_err(|_| IdentityError::Generate(rcgen::Error::CouldNotParseKeyPair))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "hs2-sync");
        let certificate = params.self_signed(pair).map_err(IdentityError::Generate)?;
        Ok(Self {
            peer_id: PeerId::from_bytes(raw),
            key: PrivatePkcs8KeyDer::from(pair.serialized_der().to_vec()),
            certificate: certificate.der().clone(),
        })
    }
}

/// The secret key stays out of logs.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("peer_id", &self.peer_id).finish_non_exhaustive()
    }
}

/// Why an identity could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The operating system gave no randomness, or the certificate could not be made.
    #[error("no key pair could be generated: {0}")]
    Generate(#[source] rcgen::Error),
    /// The key file could not be read.
    #[error("identity file {path} can't be read: {source}; check that it is there and belongs to the user of this process", path = path.display())]
    Read {
        /// The key file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// There is a folder, a pipe or a device at the path.
    #[error("identity file {path} isn't a file, but a folder, a pipe or a device; name a file, or remove it for a new identity", path = path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// Others than the owner may read or write the key file.
    #[error("identity file {path} is open to others (mode {mode:03o}); whoever read it can pose as this node: run `chmod 600` on it, or remove it for a new identity", path = path.display())]
    Shared {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else than an Ed25519 key.
    #[error("identity file {path} is not an Ed25519 key in PKCS#8 DER ({source}); restore it from a backup, or remove it for a new identity", path = path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
        /// Error of the certificate library.
        source: rcgen::Error,
    },
    /// There is a key at the path already.
    #[error("identity file {path} is there already and is not replaced; load it, or choose another path", path = path.display())]
    AlreadyThere {
        /// The key file.
        path: PathBuf,
    },
    /// The key file could not be written.
    #[error("identity file {path} can't be written: {source}; check that its folder is there and writable and that the disk has room", path = path.display())]
    Write {
        /// The key file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(unix)]
fn refuse_shared(path: &Path, file: &File) -> Result<(), IdentityError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = file.metadata().map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(IdentityError::Shared { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn refuse_shared(_: &Path, _: &File) -> Result<(), IdentityError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_identity_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let first = Identity::load_or_generate(&path).unwrap();
        let again = Identity::load_or_generate(&path).unwrap();
        assert_eq!(first.peer_id(), again.peer_id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_key_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let first = Identity::load_or_generate(&path).unwrap();
        let error = Identity::generate().unwrap().save(&path).unwrap_err();
        assert!(matches!(error, IdentityError::AlreadyThere { .. }), "{error}");
        assert_eq!(Identity::load(&path).unwrap().peer_id(), first.peer_id());
    }

    #[cfg(unix)]
    #[test]
    fn the_key_file_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        Identity::load_or_generate(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Identity::load(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600") && error.to_string().contains("node.key"), "{error}");
    }

    #[test]
    fn damaged_and_missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        assert!(matches!(Identity::load(&path), Err(IdentityError::Read { .. })));
        write_private(&path, b"not a key").unwrap();
        let error = Identity::load_or_generate(&path).unwrap_err();
        assert!(matches!(error, IdentityError::Malformed { .. }) && error.to_string().contains("node.key"), "{error}");
        let error = Identity::generate().unwrap().save(folder.path().join("no/such/node.key")).unwrap_err();
        assert!(matches!(error, IdentityError::Write { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn no_pipe_or_device_in_the_place_of_a_key_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("node.key");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&*pipe, Path::new("/dev/zero"), folder.path()] {
            let error = Identity::load_or_generate(path).unwrap_err();
            assert!(matches!(&error, IdentityError::NoFile { path: named } if named == path), "{error}");
        }
        assert!(pipe.exists(), "it is left as it is");
    }

    #[test]
    fn the_secret_is_not_printed() {
        let identity = Identity::generate().unwrap();
        let text = format!("{identity:?}");
        assert!(text.contains(&identity.peer_id().to_string()) && text.len() < 128, "{text}");
    }
}
