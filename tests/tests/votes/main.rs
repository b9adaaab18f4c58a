//! Votes of four validators of equal power, one or two of them faulty, by the promises of the native chain, with real
//! headers and certificates.

use ed25519_dalek::{Signer as _, SigningKey};
use hotstuff2_sync::chain::native::{
    Advert, AdvertClaim, EpochContext, FinalityProof, Genesis, GenesisDocument, Header, NativeChain, Phase,
    QuorumCertificate, TimeoutCertificate, Validator, ValidatorKey, Version, build, give_up_bytes,
};
use hotstuff2_sync::chain::{AdvertFacts, Chain as _};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::time::UnixMillis;

mod evidence;
mod lost_record;

pub(crate) const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);
/// Seed of a gate's challenges.
pub(crate) const SEED: Hash = Hash::from_bytes([9; 32]);

/// Four validators of equal power.
pub(crate) struct Net {
    pub(crate) genesis: Genesis,
    pub(crate) epoch: EpochContext,
    pub(crate) keys: Vec<SigningKey>,
}

impl Net {
    pub(crate) fn new() -> Self {
        let mut keys: Vec<SigningKey> = (1..=4).map(|seed| SigningKey::from_bytes(&[seed; 32])).collect();
        keys.sort_by_key(|key| ValidatorKey::from(key));
        let genesis = GenesisDocument {
            version: Version,
            name: "four validators".to_owned(),
            timestamp: UnixMillis::new(NOW.get() - 60_000),
            validators: keys.iter().map(|key| Validator { key: key.into(), power: 1 }).collect(),
            last_height: Height::new(1000),
            state_root: Hash::ZERO,
            trusting_period_ms: None,
            snapshot_interval: 100,
        }
        .check()
        .unwrap();
        let epoch = EpochContext::new(&genesis, genesis.epoch().clone());
        Self { genesis, epoch, keys }
    }

    /// A proposal that every voter finds in order.
    pub(crate) fn propose(&self, parent: &Header, view: u64, salt: u64) -> Header {
        let proposal = build::Proposal {
            view: View::new(view),
            proposer: 0,
            timestamp: UnixMillis::new(parent.timestamp.get() + salt),
            payload: &[],
            state_root: parent.state_root,
            next_epoch_hash: None,
        };
        let header = build::child(parent, parent.id(), self.epoch.info(), &proposal);
        self.epoch.check_proposal(parent, parent.id(), &header).unwrap();
        header
    }

    pub(crate) fn certify(&self, header: &Header, signers: [usize; 3]) -> QuorumCertificate {
        let keys = signers.iter().map(|&signer| &self.keys[signer]);
        build::certify(header, Phase::One, self.epoch.validators(), keys)
    }

    /// Whether this pair makes `header` final for everybody.
    pub(crate) fn is_final(&self, header: &Header, child: &Header, certificate: QuorumCertificate) -> bool {
        let proof = FinalityProof::TwoChain { descendants: vec![child.clone()], qc: certificate };
        proof.verify(header, &self.epoch).is_ok()
    }

    /// A word with what backs it: the certificate that the speaker is locked on, and the time-out by which it entered its view.
    pub(crate) fn backed_word(
        &self,
        validator: usize,
        head: &Header,
        view: u64,
        high: &QuorumCertificate,
        said_at: u64,
        challenge: Hash,
    ) -> AdvertFacts {
        let claim = AdvertClaim {
            epoch: Epoch::ZERO,
            height: head.height,
            block: head.id(),
            view: View::new(view),
            lock: high.view,
            timestamp: UnixMillis::new(NOW.get() + said_at),
            challenge,
        };
        let before = View::new(view - 1);
        let signatures = self.keys.iter().take(3).map(|key| {
            let bytes = give_up_bytes(self.genesis.chain_id(), Epoch::ZERO, before);
            (key.into(), key.sign(&bytes).into())
        });
        let entered = TimeoutCertificate::collect(Epoch::ZERO, before, self.epoch.validators(), signatures);
        let advert = Advert::sign(&self.keys[validator], self.genesis.chain_id(), claim);
        let advert = advert.backed(Some(high.clone()), Some(entered)).encode();
        NativeChain::new(&self.genesis).verify_advert(&self.epoch, &advert).unwrap()
    }

    pub(crate) fn word(&self, validator: usize, head: &Header, view: u64, challenge: Hash) -> AdvertFacts {
        let claim = AdvertClaim {
            epoch: Epoch::ZERO,
            lock: View::ZERO,
            height: head.height,
            block: head.id(),
            view: View::new(view),
            timestamp: NOW,
            challenge,
        };
        let advert = Advert::sign(&self.keys[validator], self.genesis.chain_id(), claim);
        advert.verify(&self.epoch).unwrap()
    }
}

/// State of an honest voter, and the rules by which it votes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voter {
    pub(crate) lock: u64,
    pub(crate) voted: u64,
}

impl Voter {
    /// Shown a proposal with the certificate of its parent.
    pub(crate) fn votes(&mut self, header: &Header) -> bool {
        let votes = header.view.get() > self.voted && header.justify_view.get() >= self.lock;
        if votes {
            (self.voted, self.lock) = (header.view.get(), self.lock.max(header.justify_view.get()));
        }
        votes
    }
}
