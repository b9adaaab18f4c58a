//! [`Handshake`] and [`Transport`]: the protocol `Noise_XX_25519_ChaChaPoly_SHA256` (noiseprotocol.org, revision 34) and
//! nothing else of Noise. A library that knows all patterns and ciphers is several times as long, and a page loads all of it.
//! Tests hold every byte against such a library.

use alloc::vec::Vec;

use super::crypto::{Cipher, KeyPair, TAG_BYTES, hash, hkdf};

/// The protocol's name, under which all of its hashes are.
const NAME: [u8; 32] = *b"Noise_XX_25519_ChaChaPoly_SHA256";

/// A part of a message: a key, or a secret that both ends have from then on.
#[derive(Clone, Copy)]
enum Token {
    /// The sender's key of this session.
    E,
    /// The sender's lasting key.
    S,
    /// From both keys of the session.
    Ee,
    /// From the session's key of the end that dialled and the lasting one of the other.
    Es,
    /// From the lasting key of the end that dialled and the session's one of the other.
    Se,
}

/// The pattern XX. The end that dialled writes the first message.
const MESSAGES: [&[Token]; 3] = [&[Token::E], &[Token::E, Token::Ee, Token::S, Token::Es], &[Token::S, Token::Se]];

/// A handshake, from the first message to the third. A failure is for good: it is of no more use then.
pub(super) struct Handshake {
    dialled: bool,
    ephemeral: KeyPair,
    lasting: KeyPair,
    their_ephemeral: Option<[u8; 32]>,
    their_lasting: Option<[u8; 32]>,
    /// Hash of all that both ends have seen.
    seen: [u8; 32],
    chaining_key: [u8; 32],
    cipher: Option<Cipher>,
}

impl Handshake {
    /// One end, with its `lasting` secret, and the one of this session alone.
    pub(super) fn new(dialled: bool, lasting: [u8; 32], ephemeral: [u8; 32]) -> Self {
        let (ephemeral, lasting) = (KeyPair::new(ephemeral), KeyPair::new(lasting));
        // There is no prologue, which is mixed in all the same.
        let seen = hash(&[&NAME]);
        let (their_ephemeral, their_lasting) = (None, None);
        Self { dialled, ephemeral, lasting, their_ephemeral, their_lasting, seen, chaining_key: NAME, cipher: None }
    }

    /// The other end's lasting key, once it is known.
    pub(super) fn their_lasting(&self) -> Option<&[u8; 32]> {
        self.their_lasting.as_ref()
    }

    /// Appends message `number`, from zero, to `out`.
    pub(super) fn write(&mut self, number: usize, payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
        for &token in *MESSAGES.get(number)? {
            match token {
                Token::E => {
                    let public = *self.ephemeral.public();
                    out.extend_from_slice(&public);
                    self.saw(&public);
                }
                Token::S => {
                    let public = *self.lasting.public();
                    self.seal(&public, out)?;
                }
                Token::Ee | Token::Es | Token::Se => self.mix(token)?,
            }
        }
        self.seal(payload, out)
    }

    /// Reads message `number`. What it carries.
    pub(super) fn read(&mut self, number: usize, mut message: &[u8]) -> Option<Vec<u8>> {
        for &token in *MESSAGES.get(number)? {
            match token {
                Token::E => {
                    let (key, rest) = message.split_first_chunk::<32>()?;
                    self.saw(key);
                    (self.their_ephemeral, message) = (Some(*key), rest);
                }
                Token::S => {
                    let (key, rest) = message.split_first_chunk::<{ 32 + TAG_BYTES }>()?;
                    self.their_lasting = Some(self.open(key)?.try_into().ok()?);
                    message = rest;
                }
                Token::Ee | Token::Es | Token::Se => self.mix(token)?,
            }
        }
        self.open(message)
    }

    /// The ciphers for what follows, once the third message was written or read.
    pub(super) fn into_transport(self) -> Transport {
        let (dialler, other) = hkdf(&self.chaining_key, &[]);
        let (own, theirs) = if self.dialled { (dialler, other) } else { (other, dialler) };
        Transport { outgoing: Cipher::new(&own), incoming: Cipher::new(&theirs) }
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.seen = hash(&[&self.seen, bytes]);
    }

    /// Mixes in a secret that both ends have.
    fn mix(&mut self, token: Token) -> Option<()> {
        let own_is_lasting = match token {
            Token::Es => !self.dialled,
            Token::Se => self.dialled,
            _ => false,
        };
        let theirs_is_lasting = matches!(token, Token::Es | Token::Se) && !own_is_lasting;
        let own = if own_is_lasting { &self.lasting } else { &self.ephemeral };
        let theirs = if theirs_is_lasting { self.their_lasting } else { self.their_ephemeral };
        let (chaining_key, key) = hkdf(&self.chaining_key, &own.shared(theirs?)?);
        self.chaining_key = chaining_key;
        self.cipher = Some(Cipher::new(&key));
        Some(())
    }

    /// Appends `content` to `out`, encrypted as soon as there is a key.
    fn seal(&mut self, content: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        match &mut self.cipher {
            Some(cipher) => cipher.seal(&self.seen, content, out)?,
            None => out.extend_from_slice(content),
        }
        self.saw(out.get(start..)?);
        Some(())
    }

    fn open(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        match &mut self.cipher {
            Some(cipher) => cipher.open(&self.seen, message, &mut content)?,
            None => content.extend_from_slice(message),
        }
        self.saw(message);
        Some(content)
    }
}

/// The ciphers of both directions, after the handshake.
pub(super) struct Transport {
    pub(super) outgoing: Cipher,
    pub(super) incoming: Cipher,
}
