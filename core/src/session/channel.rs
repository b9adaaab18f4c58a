//! [`Channel`]: the Noise handshake, and then frames that are encrypted, authenticated and in order.
//!
//! Somebody on the way may bend, repeat, reflect, leave out and invent messages. All of that fails here, before
//! anything is read out of it, and says nothing about the peer.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::crypto::TAG_BYTES;
use super::error::SessionError;
use super::identity::{PROOF_BYTES, SessionIdentity, proven_peer};
use super::noise::{Handshake, Transport};
use crate::ids::PeerId;

/// The protocol with its version, in clear in the first message, as QUIC names it in its handshake (ALPN).
const PREAMBLE: [u8; 10] = *b"hs2-sync/1";

/// Lengths of the three messages of the handshake: an ephemeral key and the preamble; an ephemeral key, the encrypted
/// static key and the encrypted proof; the same without the ephemeral key.
pub(super) const HANDSHAKE_BYTES: [usize; 3] = [
    32 + PREAMBLE.len(),
    32 + (32 + TAG_BYTES) + (PROOF_BYTES + TAG_BYTES),
    (32 + TAG_BYTES) + (PROOF_BYTES + TAG_BYTES),
];

/// Bytes in front of each message: its length, little-endian.
pub(super) const LENGTH_BYTES: usize = 4;

/// Longest message: what Noise allows, so that no piece of an answer is longer than 64 KiB.
pub(super) const MAX_MESSAGE_BYTES: usize = 65_535;

/// Frames in one direction under one key: then both sides derive the next one (Noise, section 11.3), so that a key that
/// leaks opens a gigabyte and not all that was ever sent.
pub(super) const REKEY_FRAMES: u64 = 65_536;

enum State {
    /// The handshake, with the number of the message that is read next (0 to 2).
    Handshake(Box<Handshake>, usize),
    Open(Box<Transport>),
    Broken,
}

/// One end of an authenticated channel. Messages have their length in front (four bytes, little-endian) where they are
/// written, and not where they are read.
pub struct Channel {
    state: State,
    own: PeerId,
    proof: [u8; PROOF_BYTES],
    expected: Option<PeerId>,
    sealed: u64,
    opened: u64,
}

impl Channel {
    /// The end that speaks first; its first message goes into `out`. Where another key than `expected` answers, it says so
    /// and does not show its own.
    ///
    /// # Errors
    /// None, unless by a defect.
    pub fn dial(
        identity: &SessionIdentity,
        expected: Option<PeerId>,
        seed: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<Self, SessionError> {
        let mut noise = Handshake::new(true, *identity.secret(), seed);
        write(&mut noise, 0, &PREAMBLE, out)?;
        Ok(Self::new(identity, expected, State::Handshake(Box::new(noise), 1)))
    }

    /// The end that is spoken to first.
    ///
    /// # Errors
    /// None, unless by a defect.
    pub fn accept(identity: &SessionIdentity, seed: [u8; 32]) -> Result<Self, SessionError> {
        let noise = Handshake::new(false, *identity.secret(), seed);
        Ok(Self::new(identity, None, State::Handshake(Box::new(noise), 0)))
    }

    fn new(identity: &SessionIdentity, expected: Option<PeerId>, state: State) -> Self {
        Self { state, own: identity.peer_id(), proof: identity.proof(), expected, sealed: 0, opened: 0 }
    }

    /// The one length that the next message of the handshake may have; `None` when the handshake is over.
    pub(super) fn handshake_bytes(&self) -> Option<usize> {
        match &self.state {
            State::Handshake(_, number) => HANDSHAKE_BYTES.get(*number).copied(),
            State::Open(_) | State::Broken => None,
        }
    }

    /// Reads a message of the handshake, and writes the one that follows into `out`. The peer, when that was the last one
    /// to read.
    ///
    /// # Errors
    /// Whatever is wrong with the message, or with who sent it. The channel is of no more use then.
    pub fn shake(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<Option<PeerId>, SessionError> {
        let State::Handshake(mut noise, number) = core::mem::replace(&mut self.state, State::Broken) else {
            return Err(SessionError::Handshake);
        };
        let payload = noise.read(number, message).ok_or(SessionError::Handshake)?;
        if number == 0 {
            if payload != PREAMBLE {
                return Err(SessionError::OtherProtocol);
            }
            write(&mut noise, 1, &self.proof, out)?;
            self.state = State::Handshake(noise, 2);
            return Ok(None);
        }
        let public = noise.their_lasting().ok_or(SessionError::Handshake)?;
        let peer = proven_peer(public, &payload)?;
        if peer == self.own {
            return Err(SessionError::OwnKey);
        }
        if let Some(expected) = self.expected.filter(|&expected| expected != peer) {
            return Err(SessionError::WrongPeer { expected, found: peer });
        }
        if number == 1 {
            write(&mut noise, 2, &self.proof, out)?;
        }
        self.state = State::Open(Box::new(noise.into_transport()));
        Ok(Some(peer))
    }

    /// Encrypts a frame, and appends it to `out`.
    ///
    /// # Errors
    /// Before the handshake is done, and where the frame is longer than 65,519 bytes.
    pub fn seal(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        let State::Open(transport) = &mut self.state else { return Err(SessionError::Handshake) };
        let bytes = frame.len().saturating_add(TAG_BYTES);
        if bytes > MAX_MESSAGE_BYTES {
            return Err(too_long(bytes, MAX_MESSAGE_BYTES));
        }
        put_length(bytes, out);
        // Fails after 2^64 frames only.
        transport.outgoing.seal(&[], frame, out).ok_or(SessionError::Handshake)?;
        self.sealed = self.sealed.wrapping_add(1);
        if self.sealed.is_multiple_of(REKEY_FRAMES) {
            transport.outgoing.rekey();
        }
        Ok(())
    }

    /// Decrypts a message into `frame`, whose content it replaces.
    ///
    /// # Errors
    /// [`SessionError::Tampered`] where it is not the next message of the peer. The channel is of no more use then.
    pub fn open(&mut self, message: &[u8], frame: &mut Vec<u8>) -> Result<(), SessionError> {
        let State::Open(transport) = &mut self.state else { return Err(SessionError::Handshake) };
        if transport.incoming.open(&[], message, frame).is_none() {
            self.state = State::Broken;
            return Err(SessionError::Tampered);
        }
        self.opened = self.opened.wrapping_add(1);
        if self.opened.is_multiple_of(REKEY_FRAMES) {
            transport.incoming.rekey();
        }
        Ok(())
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("sealed", &self.sealed).field("opened", &self.opened).finish_non_exhaustive()
    }
}

/// Appends message `number` of the handshake to `out`, its length in front.
fn write(noise: &mut Handshake, number: usize, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
    let bytes = HANDSHAKE_BYTES.get(number).copied().unwrap_or_default();
    put_length(bytes, out);
    let end = out.len().saturating_add(bytes);
    noise.write(number, payload, out).filter(|()| out.len() == end).ok_or(SessionError::Handshake)
}

/// A message of so many bytes, where there may be `limit`.
pub(super) fn too_long(bytes: usize, limit: usize) -> SessionError {
    let number = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    SessionError::FrameLength { bytes: number(bytes), limit: number(limit) }
}

/// Appends the length of a message.
fn put_length(bytes: usize, out: &mut Vec<u8>) {
    // No message is longer than `MAX_MESSAGE_BYTES`.
    out.extend_from_slice(&u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes());
}
