//! [`SessionIdentity`]: the key of the channel, signed by the Ed25519 key that is a node's name on every transport.

use core::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use super::crypto::public_key;
use super::error::SessionError;
use crate::ids::PeerId;

/// Bytes of what a side shows of itself in the handshake: its peer id and a signature.
pub(super) const PROOF_BYTES: usize = 32 + 64;

/// Domain of the signature. No other signed bytes of this project begin so.
const STATEMENT: [u8; 23] = *b"hs2-sync/1 session key\n";

/// Bytes that a peer signs so that a channel's key is its own.
const STATEMENT_BYTES: usize = STATEMENT.len() + 32;

/// Derives the channel's key from the identity's, so that there is one secret to keep.
const KEY_CONTEXT: &str = "hotstuff2-sync v1 session key";

/// A node's keys for sessions: an X25519 key pair, and its public half signed by the node's Ed25519 key.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionIdentity {
    peer: PeerId,
    secret: [u8; 32],
    signature: [u8; 64],
}

impl SessionIdentity {
    /// The identity of an Ed25519 secret key (32 bytes, the seed of RFC 8032). The channel's key follows from it.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(secret);
        let channel = blake3::derive_key(KEY_CONTEXT, secret);
        let signature = key.sign(&statement(&public_key(channel))).to_bytes();
        Self { peer: PeerId::from_bytes(key.verifying_key().to_bytes()), secret: channel, signature }
    }

    /// The identity of `peer`, whose Ed25519 key is kept elsewhere: `sign` signs the bytes it is given with it. `secret` is
    /// the channel's own, 32 random bytes that should stay the same for as long as the peer has its key.
    ///
    /// # Errors
    /// [`SessionError::KeyProof`] where the signature is not that of `peer`.
    pub fn with_signer(
        peer: PeerId,
        secret: [u8; 32],
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<Self, SessionError> {
        let public = public_key(secret);
        let signature = sign(&statement(&public));
        check(peer, &public, &signature)?;
        Ok(Self { peer, secret, signature })
    }

    /// The node's name.
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    pub(super) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Proof of this side's identity, for the other side.
    pub(super) fn proof(&self) -> [u8; PROOF_BYTES] {
        let mut proof = [0; PROOF_BYTES];
        let (peer, signature) = proof.split_at_mut(32);
        peer.copy_from_slice(self.peer.as_bytes());
        signature.copy_from_slice(&self.signature);
        proof
    }
}

/// The secret stays out of logs.
impl fmt::Debug for SessionIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionIdentity").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The peer whose key has signed `public`, by what it showed.
pub(super) fn proven_peer(public: &[u8], proof: &[u8]) -> Result<PeerId, SessionError> {
    let (peer, signature) = proof.split_first_chunk::<32>().ok_or(SessionError::KeyProof)?;
    let signature = signature.try_into().map_err(|_| SessionError::KeyProof)?;
    let public = public.try_into().map_err(|_| SessionError::KeyProof)?;
    let peer = PeerId::from_bytes(*peer);
    check(peer, public, signature)?;
    Ok(peer)
}

fn check(peer: PeerId, public: &[u8; 32], signature: &[u8; 64]) -> Result<(), SessionError> {
    VerifyingKey::from_bytes(peer.as_bytes())
        .and_then(|key| key.verify_strict(&statement(public), &Signature::from_bytes(signature)))
        .map_err(|_| SessionError::KeyProof)
}

fn statement(public: &[u8; 32]) -> [u8; STATEMENT_BYTES] {
    let mut bytes = [0; STATEMENT_BYTES];
    let (domain, key) = bytes.split_at_mut(STATEMENT.len());
    domain.copy_from_slice(&STATEMENT);
    key.copy_from_slice(public);
    bytes
}
