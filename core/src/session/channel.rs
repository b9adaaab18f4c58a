//! [`Channel`]: the Noise handshake, and then frames that are encrypted, authenticated and in order.
//!
//! Somebody on the way may bend, repeat, reflect, leave out and invent messages. All of that fails here, before
//! anything is read out of it, and says nothing about the peer.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use snow::{Builder, HandshakeState, TransportState};

use super::crypto::{PROTOCOL, Primitives, TAG_BYTES};
use super::error::SessionError;
use super::identity::{PROOF_BYTES, SessionIdentity, proven_peer};
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
    Handshake(Box<HandshakeState>, usize),
    Open(Box<TransportState>),
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
        let mut noise = builder(identity, seed)?.build_initiator().map_err(|_| SessionError::Handshake)?;
        write(&mut noise, &PREAMBLE, HANDSHAKE_BYTES[0], out)?;
        Ok(Self::new(identity, expected, State::Handshake(Box::new(noise), 1)))
    }

    /// The end that is spoken to first.
    ///
    /// # Errors
    /// None, unless by a defect.
    pub fn accept(identity: &SessionIdentity, seed: [u8; 32]) -> Result<Self, SessionError> {
        let noise = builder(identity, seed)?.build_responder().map_err(|_| SessionError::Handshake)?;
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
        let mut payload = [0; PROOF_BYTES];
        let length = noise.read_message(message, &mut payload).map_err(|_| SessionError::Handshake)?;
        let payload = payload.get(..length).ok_or(SessionError::Handshake)?;
        if number == 0 {
            if payload != PREAMBLE {
                return Err(SessionError::OtherProtocol);
            }
            write(&mut noise, &self.proof, HANDSHAKE_BYTES[1], out)?;
            self.state = State::Handshake(noise, 2);
            return Ok(None);
        }
        let public = noise.get_remote_static().ok_or(SessionError::Handshake)?;
        let peer = proven_peer(public, payload)?;
        if peer == self.own {
            return Err(SessionError::OwnKey);
        }
        if let Some(expected) = self.expected.filter(|&expected| expected != peer) {
            return Err(SessionError::WrongPeer { expected, found: peer });
        }
        if number == 1 {
            write(&mut noise, &self.proof, HANDSHAKE_BYTES[2], out)?;
        }
        let transport = noise.into_transport_mode().map_err(|_| SessionError::Handshake)?;
        self.state = State::Open(Box::new(transport));
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
        let message = room(out, bytes).ok_or(SessionError::Handshake)?;
        // Fails after 2^64 frames only.
        transport.write_message(frame, message).map_err(|_| SessionError::Handshake)?;
        self.sealed = self.sealed.wrapping_add(1);
        if self.sealed.is_multiple_of(REKEY_FRAMES) {
            transport.rekey_outgoing();
        }
        Ok(())
    }

    /// Decrypts a message into `frame`, whose content it replaces.
    ///
    /// # Errors
    /// [`SessionError::Tampered`] where it is not the next message of the peer. The channel is of no more use then.
    pub fn open(&mut self, message: &[u8], frame: &mut Vec<u8>) -> Result<(), SessionError> {
        let State::Open(transport) = &mut self.state else { return Err(SessionError::Handshake) };
        frame.resize(message.len().saturating_sub(TAG_BYTES), 0);
        let opened = transport.read_message(message, frame);
        if opened.is_err() {
            self.state = State::Broken;
            return Err(SessionError::Tampered);
        }
        self.opened = self.opened.wrapping_add(1);
        if self.opened.is_multiple_of(REKEY_FRAMES) {
            transport.rekey_incoming();
        }
        Ok(())
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("sealed", &self.sealed).field("opened", &self.opened).finish_non_exhaustive()
    }
}

fn builder(identity: &SessionIdentity, seed: [u8; 32]) -> Result<Builder<'_>, SessionError> {
    let params = PROTOCOL.parse().map_err(|_| SessionError::Handshake)?;
    Builder::with_resolver(params, Box::new(Primitives { seed }))
        .local_private_key(identity.secret())
        .map_err(|_| SessionError::Handshake)
}

/// Appends a message of the handshake to `out`, its length in front.
fn write(noise: &mut HandshakeState, payload: &[u8], bytes: usize, out: &mut Vec<u8>) -> Result<(), SessionError> {
    // The first message has no tag, but `snow` wants room for one.
    let mut message = [0; HANDSHAKE_BYTES[1] + TAG_BYTES];
    let length = noise.write_message(payload, &mut message).map_err(|_| SessionError::Handshake)?;
    let message = message.get(..length).filter(|_| length == bytes).ok_or(SessionError::Handshake)?;
    room(out, bytes).ok_or(SessionError::Handshake)?.copy_from_slice(message);
    Ok(())
}

/// A message of so many bytes, where there may be `limit`.
pub(super) fn too_long(bytes: usize, limit: usize) -> SessionError {
    let number = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    SessionError::FrameLength { bytes: number(bytes), limit: number(limit) }
}

/// Room for a message at the end of `out`, behind its length.
fn room(out: &mut Vec<u8>, bytes: usize) -> Option<&mut [u8]> {
    out.extend_from_slice(&u32::try_from(bytes).ok()?.to_le_bytes());
    let start = out.len();
    out.resize(start.checked_add(bytes)?, 0);
    out.get_mut(start..)
}
