//! The cryptography of the channel: X25519, ChaCha20-Poly1305 and SHA-256, of the crates that the core has anyway.

use alloc::vec::Vec;
use core::fmt;

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use curve25519_dalek::montgomery::MontgomeryPoint;
use sha2::{Digest as _, Sha256};

/// Bytes by which an encrypted message is longer than its content.
pub(super) const TAG_BYTES: usize = 16;

/// An X25519 key pair.
pub(super) struct KeyPair {
    secret: [u8; 32],
    public: [u8; 32],
}

impl KeyPair {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret, public: public_key(secret) }
    }

    pub(super) fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The secret that this pair and another have in common. A point of small order would make one that everyone knows.
    pub(super) fn shared(&self, public: [u8; 32]) -> Option<[u8; 32]> {
        let shared = MontgomeryPoint(public).mul_clamped(self.secret).to_bytes();
        (shared != [0; 32]).then_some(shared)
    }
}

/// The X25519 public key of `secret`.
pub(super) fn public_key(secret: [u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(secret).to_bytes()
}

/// SHA-256 of `parts`, one behind the other.
pub(super) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// HMAC-SHA256 (RFC 2104) of `parts`, one behind the other.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut pad = [byte; 64];
        for (byte, key) in pad.iter_mut().zip(key) {
            *byte ^= key;
        }
        pad
    };
    let mut inner = Sha256::new_with_prefix(pad(0x36));
    for part in parts {
        inner.update(part);
    }
    hash(&[&pad(0x5c), &inner.finalize()])
}

/// HKDF of Noise (section 4.3): two keys from one and something new.
pub(super) fn hkdf(key: &[u8; 32], more: &[u8]) -> ([u8; 32], [u8; 32]) {
    let secret = hmac(key, &[more]);
    let first = hmac(&secret, &[&[1]]);
    let second = hmac(&secret, &[&first, &[2]]);
    (first, second)
}

/// ChaCha20-Poly1305 with a key, and the number of the next message (Noise, section 5.1).
pub(super) struct Cipher {
    cipher: ChaCha20Poly1305,
    next: u64,
}

impl Cipher {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { cipher: ChaCha20Poly1305::new(key.into()), next: 0 }
    }

    /// Appends `content`, encrypted, to `out`. `None` after 2^64 - 1 messages.
    pub(super) fn seal(&mut self, authtext: &[u8], content: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let after = self.next.checked_add(1)?;
        let start = out.len();
        out.extend_from_slice(content);
        let buffer = out.get_mut(start..)?;
        let tag = self.cipher.encrypt_inout_detached(&nonce(self.next).into(), authtext, buffer.into()).ok()?;
        out.extend_from_slice(&tag);
        self.next = after;
        Some(())
    }

    /// Decrypts `message` into `out`, whose content it replaces. `None` where it is not the next message.
    pub(super) fn open(&mut self, authtext: &[u8], message: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let after = self.next.checked_add(1)?;
        let (content, tag) = message.split_last_chunk::<TAG_BYTES>()?;
        out.clear();
        out.extend_from_slice(content);
        let opened = self.cipher.decrypt_inout_detached(
            &nonce(self.next).into(),
            authtext,
            out.as_mut_slice().into(),
            &(*tag).into(),
        );
        if opened.is_err() {
            out.clear();
            return None;
        }
        self.next = after;
        Some(())
    }

    /// Goes on with a key that follows from this one, which can't be found from it (Noise, section 4.2).
    pub(super) fn rekey(&mut self) {
        let mut key = [0; 32];
        // Fails for messages of gigabytes only.
        let _ = self.cipher.encrypt_inout_detached(&nonce(u64::MAX).into(), &[], key.as_mut_slice().into());
        self.cipher = ChaCha20Poly1305::new(&key.into());
    }
}

/// The nonce of message `number` (Noise, section 12.3): four zeros, then the number with its lowest byte first.
fn nonce(number: u64) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [0, 0, 0, 0, a, b, c, d, e, f, g, h]
}

/// Secrets stay out of logs.
impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").field("next", &self.next).finish_non_exhaustive()
    }
}
