//! Chains in the place of the true one: [`Forgery`], [`Equivocation`] and [`Minority`].

use std::sync::Arc;

use hotstuff2_sync::chain::native::{
    EpochInfo, FinalityProof, FinalizedHeader, Handover, Header, Phase, Segment, Validator,
};
use hotstuff2_sync::wire::{Request, Sections, put_section};

use super::{Adversary, Answering, Ask, Says};
use crate::chain::{SigningEpoch, TestChain};
use crate::forgery::bend_segment;
use crate::sim::source::{Holdings, Source};

/// Serves another chain under the name of the true one: a forgery that strangers signed.
pub struct Forgery(pub Arc<dyn Source>);

impl Adversary for Forgery {
    fn name(&self) -> String {
        "a chain of its own".to_owned()
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        if !matches!(ask.request, Request::Status) {
            let held = Holdings { tip: ask.held.tip.min(self.0.tip_height()), ..ask.held };
            answering.says = Says::Bytes(self.0.answer(&held, ask.request));
        }
    }

    fn lies(&self) -> bool {
        true
    }
}

/// Serves a fork of the true chain that is just as final: more than a third of the power signed both. No answer of it is
/// false, and a node that sees both must halt.
pub struct Equivocation(pub Arc<dyn Source>);

impl Adversary for Equivocation {
    fn name(&self) -> String {
        "a fork that a quorum signed too".to_owned()
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        answering.says = Says::Bytes(self.0.answer(&ask.held, ask.request));
    }

    fn lies(&self) -> bool {
        false
    }
}

/// Serves a fork of the true chain that exactly the validators signed who may be faulty: as many as have at most a third
/// of the power, and not one more.
pub struct Minority(pub Arc<dyn Source>);

impl Adversary for Minority {
    fn name(&self) -> String {
        "a fork that f validators signed".to_owned()
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        if matches!(ask.request, Request::Status | Request::State { .. } | Request::Proof { .. } | Request::Read { .. })
        {
            return;
        }
        let Some(fork) = self.0.test_chain() else { return };
        let held = Holdings { tip: ask.held.tip.min(fork.tip_height()), ..ask.held };
        answering.says = Says::Bytes(self.0.answer(&held, ask.request));
        match ask.request {
            Request::Segment { .. } | Request::Follow { .. } => {
                answering.change_data(|data| bend_segment(data, |segment| signed_by_few(fork, segment)));
            }
            Request::Tip => answering.change_data(|data| {
                let tip = FinalizedHeader::decode(data).ok()?;
                let proof = few_signers(fork, tip.proof.clone())?;
                Some(FinalizedHeader::new(tip.header, proof).encode())
            }),
            Request::Handovers { .. } => answering.change_data(|data| {
                let mut sections = Sections::new(data.clone());
                let mut bent = Vec::new();
                while !sections.is_empty() {
                    let handover = Handover::decode(&sections.take()?).ok()?;
                    let next = EpochInfo::decode(&handover.next).ok()?;
                    let proof = few_signers(fork, handover.proof)?;
                    put_section(&mut bent, &Handover::new(handover.header, proof, &next).encode()).then_some(())?;
                }
                Some(bent)
            }),
            _ => {}
        }
    }

    fn lies(&self) -> bool {
        true
    }
}

fn signed_by_few(fork: &TestChain, segment: Segment) -> Option<Segment> {
    let proof = few_signers(fork, segment.proof().clone())?;
    Segment::new(segment.parent().clone(), segment.headers().to_vec(), proof).ok()
}

/// The proof with a certificate of those who may be faulty in the place of the quorum's.
fn few_signers(fork: &TestChain, proof: FinalityProof) -> Option<FinalityProof> {
    let FinalityProof::TwoChain { descendants, .. } = proof else { return None };
    let last: &Header = descendants.last()?;
    let epoch = fork.epochs().iter().find(|epoch| epoch.info().epoch() == last.epoch)?;
    let qc = epoch.sign(Phase::One, last, &faulty(epoch));
    Some(FinalityProof::TwoChain { descendants, qc })
}

/// As many validators as have at most a third of the power, so that the others are a quorum.
fn faulty(epoch: &SigningEpoch) -> Vec<usize> {
    let set = epoch.info().validators().validators();
    let total: u128 = set.iter().map(|validator| u128::from(validator.power)).sum();
    let mut power = 0;
    let within = |&(_, validator): &(usize, &Validator)| {
        power += u128::from(validator.power);
        3 * power < total
    };
    set.iter().enumerate().take_while(within).map(|(index, _)| index).collect()
}
