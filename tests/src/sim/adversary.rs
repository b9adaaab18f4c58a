//! [`Adversary`]: what a peer makes of the answers that an honest one would give.
//!
//! They compose: a peer has a list of them, each bends what the one before left, and [`After`], [`Sometimes`] and [`Only`]
//! hold another one back. [`Adversary::lies`] says whether a node may ban the peer for it: whoever says nothing provably
//! false must never be banned, however useless.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::native::{
    EpochInfo, FinalityProof, FinalizedHeader, Handover, Header, Phase, QuorumCertificate, Segment, Signature,
    Validator, ValidatorSet,
};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::{StateForm, StateItem, subtree};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::{
    Answer, PeerStatus, Refusal, Request, Sections, encode_answer, encode_refusal, put_section,
};

use super::source::{Holdings, Source};
use crate::chain::{SigningEpoch, TestChain};

/// A question, and what its answerer knows.
pub struct Ask<'a> {
    /// The question.
    pub request: &'a Request,
    /// When it came.
    pub now: Instant,
    /// The true chain.
    pub source: &'a dyn Source,
    /// What the peer holds of it.
    pub held: Holdings,
    /// The peer's own randomness.
    pub rng: &'a mut Rng,
    /// How many questions it was asked before.
    pub asked: u64,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// These bytes.
    Bytes(Bytes),
    /// Nothing, and the stream stays open.
    Nothing,
    /// The stream breaks.
    Break,
}

/// An answer, and how long the peer takes for it beside what its line takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answering {
    /// Time before the first byte.
    pub after: Duration,
    /// The answer.
    pub says: Says,
}

impl Answering {
    fn refuses(&mut self, refusal: Refusal) {
        self.says = Says::Bytes(encode_refusal(refusal));
    }

    /// Changes the data of an answer that has some; leaves it as it is where `change` finds nothing to change.
    fn change_data(&mut self, change: impl FnOnce(&Bytes) -> Option<Vec<u8>>) {
        let Says::Bytes(bytes) = &self.says else { return };
        let Ok(Answer::Data(data)) = Answer::decode(bytes.clone()) else { return };
        if let Some(changed) = change(&data) {
            let mut answer = encode_answer(changed.len());
            answer.extend_from_slice(&changed);
            self.says = Says::Bytes(answer.into());
        }
    }
}

/// Bends answers.
pub trait Adversary {
    /// What it is called in a timeline.
    fn name(&self) -> String;

    /// Changes an answer, which is honest or was bent already.
    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering);

    /// Whether what it says may be provably false. Who only says true things too late or too rarely doesn't lie.
    fn lies(&self) -> bool {
        true
    }
}

/// Kinds of requests, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// Every kind.
    pub const ALL: Self = Self(0xff);
    /// What proves finality: tips and handovers.
    pub const PROOFS: Self = Self(0b0000_0110);
    /// What carries payloads.
    pub const BLOCKS: Self = Self(0b0011_1000);
    /// Subtrees of the state.
    pub const STATE: Self = Self(0b0100_0000);
    /// Claims.
    pub const STATUS: Self = Self(0b0000_0001);

    /// The kinds whose bits are set, by the order in which [`Request`] has them.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Whether `request` is of one of them.
    pub fn contain(self, request: &Request) -> bool {
        let bit = match request {
            Request::Status => 0,
            Request::Handovers { .. } => 1,
            Request::Tip => 2,
            Request::Segment { .. } => 3,
            Request::Bodies { .. } => 4,
            Request::Follow { .. } => 5,
            Request::State { .. } => 6,
            // Light reads, and whatever is not about blocks and states.
            _ => 7,
        };
        self.0 >> bit & 1 == 1
    }
}

/// Honest at first: another adversary, from some question on.
pub struct After<A>(pub u64, pub A);

impl<A: Adversary> Adversary for After<A> {
    fn name(&self) -> String {
        format!("after {} questions {}", self.0, self.1.name())
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        if ask.asked >= self.0 {
            self.1.bend(ask, answering);
        }
    }

    fn lies(&self) -> bool {
        self.1.lies()
    }
}

/// Another adversary, at one question in so many.
pub struct Sometimes<A>(pub u64, pub A);

impl<A: Adversary> Adversary for Sometimes<A> {
    fn name(&self) -> String {
        format!("once in {} {}", self.0, self.1.name())
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        if ask.rng.below(self.0.max(1)) == 0 {
            self.1.bend(ask, answering);
        }
    }

    fn lies(&self) -> bool {
        self.1.lies()
    }
}

/// Another adversary, for some kinds of questions.
pub struct Only<A>(pub Kinds, pub A);

impl<A: Adversary> Adversary for Only<A> {
    fn name(&self) -> String {
        format!("for kinds {:#010b} {}", self.0.0, self.1.name())
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        if self.0.contain(ask.request) {
            self.1.bend(ask, answering);
        }
    }

    fn lies(&self) -> bool {
        self.1.lies()
    }
}

impl Adversary for Box<dyn Adversary> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        (**self).bend(ask, answering);
    }

    fn lies(&self) -> bool {
        (**self).lies()
    }
}

/// Useless or annoying, and never false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nuisance {
    /// Says nothing.
    Silent,
    /// Breaks off.
    Breaks,
    /// Is always busy, and says for how long it will be.
    Busy,
    /// Has nothing.
    Empty,
    /// Speaks another version.
    OtherVersion,
    /// Sends so many bytes a second.
    Drips(u64),
    /// Gives one block, or one subtree, at a time.
    Stingy,
    /// Knows the chain up to this height and no further.
    Stale(Height),
    /// Has pruned everything below this height.
    Pruned(Height),
    /// Says that it is on another chain.
    OtherChain,
}

impl Adversary for Nuisance {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        match *self {
            Self::Silent => answering.says = Says::Nothing,
            Self::Breaks => answering.says = Says::Break,
            Self::Busy => answering.refuses(Refusal::Busy { retry_after_ms: ask.rng.below(2000) as u32 }),
            Self::Empty => answering.refuses(Refusal::NotAvailable),
            Self::OtherVersion => answering.refuses(Refusal::Unsupported),
            Self::Drips(rate) => {
                if let Says::Bytes(bytes) = &answering.says {
                    answering.after += Duration::from_micros(bytes.len() as u64 * 1_000_000 / rate.max(1));
                }
            }
            Self::Stingy => {
                let less = match ask.request {
                    Request::Bodies { range, .. } => {
                        Request::Bodies { range: HeightRange::single(range.first()), max_bytes: 1 }
                    }
                    Request::State { height, form, items, max_bytes } => {
                        let items = items.iter().take(1).copied().collect();
                        Request::State { height: *height, form: *form, items, max_bytes: *max_bytes }
                    }
                    _ => return,
                };
                answering.says = Says::Bytes(ask.source.answer(&ask.held, &less));
            }
            Self::Stale(tip) => {
                let held = Holdings { tip: tip.min(ask.held.tip), ..ask.held };
                answering.says = Says::Bytes(ask.source.answer(&held, ask.request));
            }
            Self::Pruned(earliest) => {
                let held = Holdings { earliest: earliest.max(ask.held.earliest), ..ask.held };
                answering.says = Says::Bytes(ask.source.answer(&held, ask.request));
            }
            Self::OtherChain => {
                if matches!(ask.request, Request::Status) {
                    answering.change_data(|data| {
                        let status: PeerStatus = postcard::from_bytes(data).ok()?;
                        postcard::to_allocvec(&PeerStatus { chain_id: Default::default(), ..status }).ok()
                    });
                } else {
                    answering.refuses(Refusal::NotAvailable);
                }
            }
        }
    }

    fn lies(&self) -> bool {
        false
    }
}

/// Says what is false, in one of many ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A flipped bit somewhere.
    Bit,
    /// A flipped bit in the last byte, where payloads are.
    LastBit,
    /// Less than it should be.
    Cut,
    /// More than it should be.
    Longer,
    /// More than anybody would read.
    Oversize,
    /// Random bytes.
    Noise,
    /// A length that no memory holds.
    LengthBomb,
    /// A tip that it can't prove.
    Claim,
    /// A header that nobody signed.
    Header,
    /// A certificate with a false signature.
    Signature,
    /// Other heights than the ones asked for.
    Range,
    /// A validator set of its own.
    Handover,
    /// The state of an older block.
    OlderState,
    /// A tree of another depth.
    OtherForm,
}

impl Lie {
    /// All lies.
    pub const ALL: [Self; 14] = [
        Self::Bit,
        Self::LastBit,
        Self::Cut,
        Self::Longer,
        Self::Oversize,
        Self::Noise,
        Self::LengthBomb,
        Self::Claim,
        Self::Header,
        Self::Signature,
        Self::Range,
        Self::Handover,
        Self::OlderState,
        Self::OtherForm,
    ];
}

impl Adversary for Lie {
    fn name(&self) -> String {
        format!("lie {self:?}")
    }

    fn bend(&mut self, ask: &mut Ask<'_>, answering: &mut Answering) {
        match *self {
            Self::Bit => {
                if let Says::Bytes(bytes) = &answering.says {
                    let mut bytes = bytes.to_vec();
                    let at = ask.rng.below(bytes.len() as u64) as usize;
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << ask.rng.below(8);
                    }
                    answering.says = Says::Bytes(bytes.into());
                }
            }
            Self::LastBit => answering.change_data(|data| {
                let mut bent = data.to_vec();
                *bent.last_mut()? ^= 1;
                Some(bent)
            }),
            Self::Cut => {
                if let Says::Bytes(bytes) = &answering.says {
                    answering.says = Says::Bytes(bytes.slice(..ask.rng.below(bytes.len() as u64) as usize));
                }
            }
            Self::Longer => answering.change_data(|data| Some([data.as_ref(), &[0; 16]].concat())),
            Self::Oversize => {
                let more = ask.request.max_response_bytes() as usize + 1;
                answering.says = Says::Bytes(vec![0; more].into());
            }
            Self::Noise => {
                let mut bytes = vec![0; ask.rng.below(200) as usize];
                ask.rng.fill(&mut bytes);
                answering.says = Says::Bytes(bytes.into());
            }
            Self::LengthBomb => answering.change_data(|_| Some(vec![0xff; 24])),
            Self::Claim => {
                if matches!(ask.request, Request::Status) {
                    let tip = [u64::MAX, ask.held.tip.get().saturating_add(5)][ask.rng.below(2) as usize];
                    let epoch = [u64::MAX, 0, 3][ask.rng.below(3) as usize];
                    answering.change_data(|data| {
                        let status: PeerStatus = postcard::from_bytes(data).ok()?;
                        let claim = PeerStatus { tip: Height::new(tip), epoch: Epoch::new(epoch), ..status };
                        postcard::to_allocvec(&claim).ok()
                    });
                }
            }
            Self::Header => {
                if matches!(ask.request, Request::Segment { .. } | Request::Follow { .. }) {
                    answering.change_data(|data| bend_segment(data, forge_header));
                }
            }
            Self::Signature => {
                if matches!(ask.request, Request::Segment { .. } | Request::Follow { .. }) {
                    answering.change_data(|data| bend_segment(data, |segment| with_certificate(segment, forge)));
                }
            }
            Self::Range => {
                if let Request::Segment { range, certified, audit, bodies } = *ask.request {
                    let range = HeightRange::new(range.first().next(), range.last()).unwrap_or(range);
                    let other = Request::Segment { range, certified, audit, bodies };
                    answering.says = Says::Bytes(ask.source.answer(&ask.held, &other));
                }
            }
            Self::Handover => {
                if matches!(ask.request, Request::Handovers { .. }) {
                    answering.change_data(forge_handovers);
                }
            }
            Self::OlderState => {
                if let Some(older) = older_state(ask) {
                    answering.says = Says::Bytes(older);
                }
            }
            Self::OtherForm => {
                if let Request::State { height, form: StateForm::Tree { depth }, items, max_bytes } = ask.request {
                    let form = StateForm::Tree { depth: 1 + (*depth + ask.rng.below(3) as u8) % 8 };
                    let items = items.clone();
                    let other = Request::State { height: *height, form, items, max_bytes: *max_bytes };
                    answering.says = Says::Bytes(ask.source.answer(&ask.held, &other));
                }
            }
        }
    }
}

/// Changes the segment at the front of an answer, and leaves what follows.
fn bend_segment(data: &Bytes, change: impl FnOnce(Segment) -> Option<Segment>) -> Option<Vec<u8>> {
    let mut sections = Sections::new(data.clone());
    let segment = change(Segment::decode(&sections.take()?).ok()?)?;
    let mut bent = Vec::new();
    if !put_section(&mut bent, &segment.encode()) {
        return None;
    }
    bent.extend_from_slice(&sections.rest());
    Some(bent)
}

fn forge_header(segment: Segment) -> Option<Segment> {
    let mut headers = segment.headers().to_vec();
    let last = headers.last_mut()?;
    last.state_root = last.id();
    Segment::new(segment.parent().clone(), headers, segment.proof().clone()).ok()
}

fn with_certificate(
    segment: Segment,
    change: impl FnOnce(QuorumCertificate) -> Option<QuorumCertificate>,
) -> Option<Segment> {
    let proof = match segment.proof().clone() {
        FinalityProof::TwoChain { descendants, qc } => FinalityProof::TwoChain { descendants, qc: change(qc)? },
        FinalityProof::DoubleCertificate { descendants, qc } => {
            FinalityProof::DoubleCertificate { descendants, qc: change(qc)? }
        }
        FinalityProof::Anchored { .. } => return None,
    };
    Segment::new(segment.parent().clone(), segment.headers().to_vec(), proof).ok()
}

fn forge(mut qc: QuorumCertificate) -> Option<QuorumCertificate> {
    let signature = qc.signatures.first_mut()?;
    let mut s = *signature.s();
    s[0] ^= 1;
    *signature = Signature::from_parts(*signature.r(), s);
    Some(qc)
}

/// Gives the next epoch to its first validator alone.
fn forge_handovers(data: &Bytes) -> Option<Vec<u8>> {
    let mut sections = Sections::new(data.clone());
    let mut bent = Vec::new();
    while !sections.is_empty() {
        let handover = Handover::decode(&sections.take()?).ok()?;
        let next = EpochInfo::decode(&handover.next).ok()?;
        let usurper = Validator { power: u64::MAX, ..*next.validators().validators().first()? };
        let forged = EpochInfo::new(next.epoch(), next.range(), ValidatorSet::new(vec![usurper]).ok()?);
        if !put_section(&mut bent, &Handover::new(handover.header, handover.proof, &forged).encode()) {
            return None;
        }
    }
    Some(bent)
}

/// What the first state of the chain has in the places that are asked for.
fn older_state(ask: &Ask<'_>) -> Option<Bytes> {
    let Request::State { form, items, max_bytes, .. } = ask.request else { return None };
    let chain = ask.source.test_chain()?;
    let height = Height::new(chain.genesis().document().snapshot_interval);
    let old = chain.state(height)?;
    let item = |item: &StateItem| Some(StateItem { hash: subtree(old, &item.prefix).ok()?.0, ..*item });
    let items = items.iter().map(item).collect::<Option<Vec<_>>>()?;
    Some(ask.source.answer(&ask.held, &Request::State { height, form: *form, items, max_bytes: *max_bytes }))
}

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
        if matches!(ask.request, Request::Status | Request::State { .. } | Request::Proof { .. }) {
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
