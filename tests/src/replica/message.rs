//! Messages between replicas.

use std::sync::Arc;

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey, Verifier as _, VerifyingKey};
use hotstuff2_sync::chain::native::{
    Handover, Header, Phase, QuorumCertificate, Signature, TimeoutCertificate, ValidatorKey, Vote, give_up_bytes,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, View};
use serde::{Deserialize, Serialize};

/// A block as it is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// Its id.
    pub id: Hash,
    /// The payload.
    pub payload: Bytes,
    /// The phase-one certificate of the parent; none for the genesis block.
    pub justify: Option<QuorumCertificate>,
    /// For the first block of an epoch: why the one below is final.
    pub boundary: Option<Arc<Handover>>,
}

/// A validator's vote for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVote {
    /// The vote.
    pub vote: Vote,
    /// Key of the voter.
    pub key: ValidatorKey,
    /// The signature over the vote's bytes.
    pub signature: Signature,
}

impl SignedVote {
    /// Signs `vote`.
    pub fn sign(key: &SigningKey, vote: Vote) -> Self {
        Self { vote, key: key.into(), signature: key.sign(&vote.bytes()).into() }
    }

    /// Whether the signature is the key's.
    pub fn holds(&self) -> bool {
        signed_by(&self.key, &self.vote.bytes(), &self.signature)
    }
}

/// A validator's word that it waits no longer for a view, and votes for nothing in it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUp {
    /// The epoch.
    pub epoch: Epoch,
    /// The view.
    pub view: View,
    /// Key of the replica that gave up.
    pub key: ValidatorKey,
    /// The signature.
    pub signature: Signature,
}

impl GiveUp {
    /// Signs that `view` of `epoch` on the chain `chain_id` is given up.
    pub fn sign(key: &SigningKey, chain_id: Hash, epoch: Epoch, view: View) -> Self {
        Self { epoch, view, key: key.into(), signature: key.sign(&give_up_bytes(chain_id, epoch, view)).into() }
    }

    /// Whether the signature is the key's.
    pub fn holds(&self, chain_id: Hash) -> bool {
        signed_by(&self.key, &give_up_bytes(chain_id, self.epoch, self.view), &self.signature)
    }
}

/// A message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// A leader's block, and why its view began where the justification doesn't say it.
    Propose(Arc<Block>, Option<Arc<TimeoutCertificate>>),
    /// A vote, for the leader of the next view.
    Vote(SignedVote),
    /// A certificate of either phase.
    Certificate(Arc<QuorumCertificate>),
    /// A view is given up; with the sender's highest certificate.
    GiveUp(GiveUp, Option<Arc<QuorumCertificate>>),
    /// Why the sender is in the view after this.
    Timeout(Arc<TimeoutCertificate>),
    /// How far the sender is, when a view began by a time-out: its highest certificate, for the view's leader.
    NewView(View, Option<Arc<QuorumCertificate>>),
    /// The epoch and view that the sender is in, who wants to hear of later ones.
    Where(Epoch, View),
    /// The sender's epoch; it was told of a later one.
    Behind(Epoch),
    /// How an epoch ended.
    Handover(Arc<Handover>),
    /// Asks for a block and its ancestors above a height.
    Fetch(Hash, Height),
    /// Blocks, each the parent of the next.
    Blocks(Vec<Arc<Block>>),
}

impl Message {
    /// The phase of a vote.
    pub fn voted(&self) -> Option<(Phase, &SignedVote)> {
        match self {
            Self::Vote(vote) => Some((vote.vote.phase, vote)),
            _ => None,
        }
    }
}

fn signed_by(key: &ValidatorKey, bytes: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_components(*signature.r(), *signature.s());
    VerifyingKey::from_bytes(key.as_bytes()).is_ok_and(|key| key.verify(bytes, &signature).is_ok())
}
