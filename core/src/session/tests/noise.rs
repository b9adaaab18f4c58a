//! The handshake and what follows it, against `snow`, which knows all of Noise: both ends of each, to the byte.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use curve25519_dalek::montgomery::MontgomeryPoint;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};

use super::super::crypto::{TAG_BYTES, public_key};
use super::super::noise::Handshake;

/// One end of `snow`'s.
fn theirs(dialled: bool, secret: [u8; 32], seed: [u8; 32]) -> HandshakeState {
    let params = "Noise_XX_25519_ChaChaPoly_SHA256".parse().unwrap();
    let builder = Builder::with_resolver(params, Box::new(Primitives { seed })).local_private_key(&secret).unwrap();
    if dialled { builder.build_initiator() } else { builder.build_responder() }.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn another_library_for_noise_reads_and_writes_the_same(
        secrets: [[u8; 32]; 4],
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 3..12),
        dialled: bool,
    ) {
        let [secret, seed, other_secret, other_seed] = secrets;
        let mut ours = Handshake::new(dialled, secret, seed);
        let mut other = theirs(!dialled, other_secret, other_seed);
        for (number, payload) in payloads.iter().take(3).enumerate() {
            if (number % 2 == 0) == dialled {
                let mut message = Vec::new();
                ours.write(number, payload, &mut message).unwrap();
                let mut read = vec![0; 400];
                let length = other.read_message(&message, &mut read).unwrap();
                prop_assert_eq!(&read[..length], payload);
            } else {
                let mut message = vec![0; 500];
                let length = other.write_message(payload, &mut message).unwrap();
                prop_assert_eq!(&ours.read(number, &message[..length]).unwrap(), payload);
            }
        }
        prop_assert_eq!(ours.their_lasting().copied(), Some(public_key(other_secret)));
        prop_assert_eq!(other.get_remote_static().map(<[u8]>::to_vec), Some(public_key(secret).to_vec()));
        let (mut ours, mut other) = (ours.into_transport(), other.into_transport_mode().unwrap());
        for payload in &payloads {
            let mut message = Vec::new();
            ours.outgoing.seal(&[], payload, &mut message).unwrap();
            let mut read = vec![0; 400];
            let length = other.read_message(&message, &mut read).unwrap();
            prop_assert_eq!(&read[..length], payload);
            let mut message = vec![0; 400];
            let length = other.write_message(payload, &mut message).unwrap();
            let mut read = vec![7];
            ours.incoming.open(&[], &message[..length], &mut read).unwrap();
            prop_assert_eq!(&read, payload);
            prop_assert!(ours.incoming.open(&[], &message[..length], &mut read).is_none(), "it comes once");
            ours.outgoing.rekey();
            other.rekey_incoming();
            ours.incoming.rekey();
            other.rekey_outgoing();
        }
    }
}

/// Hands `snow` the primitives of the protocol, and `seed` as the one ephemeral key.
struct Primitives {
    seed: [u8; 32],
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Seed(Some(self.seed))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        (*choice == DHChoice::Curve25519).then(|| Box::<X25519>::default() as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        (*choice == HashChoice::SHA256).then(|| Box::<Sha>::default() as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        (*choice == CipherChoice::ChaChaPoly).then(|| Box::<ChaChaPoly>::default() as Box<dyn Cipher>)
    }
}

/// Randomness for one ephemeral key. A second draw fails, because a key that is used twice is no secret.
struct Seed(Option<[u8; 32]>);

impl Random for Seed {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let seed = self.0.take().ok_or(snow::Error::Rng)?;
        let dest: &mut [u8; 32] = dest.try_into().map_err(|_| snow::Error::Rng)?;
        *dest = seed;
        Ok(())
    }
}

#[derive(Default)]
struct X25519 {
    secret: [u8; 32],
    public: [u8; 32],
}

impl X25519 {
    fn take(&mut self, secret: [u8; 32]) {
        self.secret = secret;
        self.public = public_key(secret);
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        if let Ok(secret) = privkey.try_into() {
            self.take(secret);
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        let mut secret = [0; 32];
        rng.try_fill_bytes(&mut secret)?;
        self.take(secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.secret
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let public = pubkey.first_chunk::<32>().ok_or(snow::Error::Dh)?;
        let shared = MontgomeryPoint(*public).mul_clamped(self.secret).to_bytes();
        // A point of small order makes a secret that everyone knows.
        if shared == [0; 32] {
            return Err(snow::Error::Dh);
        }
        out.get_mut(..32).ok_or(snow::Error::Dh)?.copy_from_slice(&shared);
        Ok(())
    }
}

#[derive(Default)]
struct Sha(Sha256);

impl Hash for Sha {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Sha256::default();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let hash = core::mem::take(&mut self.0).finalize();
        if let Some(out) = out.get_mut(..32) {
            out.copy_from_slice(&hash);
        }
    }
}

#[derive(Default)]
struct ChaChaPoly {
    cipher: Option<ChaCha20Poly1305>,
}

/// The nonce of message `number` (Noise, section 12.3): four zeros, then the number with its lowest byte first.
fn nonce(number: u64) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [0, 0, 0, 0, a, b, c, d, e, f, g, h]
}

impl ChaChaPoly {
    fn seal(&self, number: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> Option<usize> {
        let (content, rest) = out.split_at_mut_checked(plaintext.len())?;
        let buffer = InOutBuf::new(plaintext, content).ok()?;
        let tag = self.cipher.as_ref()?.encrypt_inout_detached(&nonce(number).into(), authtext, buffer).ok()?;
        rest.get_mut(..TAG_BYTES)?.copy_from_slice(&tag);
        plaintext.len().checked_add(TAG_BYTES)
    }

    fn open(&self, number: u64, authtext: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Option<usize> {
        let (content, tag) = ciphertext.split_last_chunk::<TAG_BYTES>()?;
        let buffer = InOutBuf::new(content, out.get_mut(..content.len())?).ok()?;
        self.cipher.as_ref()?.decrypt_inout_detached(&nonce(number).into(), authtext, buffer, &(*tag).into()).ok()?;
        Some(content.len())
    }
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.cipher = Some(ChaCha20Poly1305::new(&(*key).into()));
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        // `snow` gives room for the tag and sets a key first; a message of no length would fail at the other side.
        self.seal(nonce, authtext, plaintext, out).unwrap_or(0)
    }

    fn decrypt(&self, nonce: u64, authtext: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<usize, snow::Error> {
        self.open(nonce, authtext, ciphertext, out).ok_or(snow::Error::Decrypt)
    }
}
