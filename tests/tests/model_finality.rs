//! All that a network of two epochs with four validators each can do in a few views, one of the four being faulty:
//! no two blocks become final on different branches. And what happens where a rule is missing.
//!
//! The checker's rules are the real ones: headers by `EpochContext::check_proposal`, certificates by
//! `QuorumCertificate::verify`, finality by `FinalityProof::verify`, each called on real headers with real signatures.
//! Voters keep the promises of the native chain, and nothing more: leaders may propose anything, also a block of an
//! earlier view again, and messages go where the adversary wants. What can't help the adversary is left out: a vote that
//! completes no certificate only raises a lock, so each certificate has the faulty validator's vote and just enough others.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use hotstuff2_sync::chain::native::{
    CertificateError, EpochContext, FinalityProof, Genesis, Header, Phase, QuorumCertificate, ValidatorSet, build,
};
use hotstuff2_sync::ids::{Height, View};
use hotstuff2_sync_testkit::chain::{ChainSpec, SigningEpoch};
use hotstuff2_sync_testkit::replica::Committee;
use stateright::{Checker as _, Model, Property};

/// A block by its branch: view and epoch of each block from the first on. Genesis is the empty one.
type Branch = Vec<(u8, u8)>;

/// Honest validators in each epoch; one more is faulty.
const HONEST: usize = 3;

const SAFE: &str = "no two blocks are final on different branches";

/// Which rules hold.
#[derive(Clone, Copy)]
struct Rules {
    /// A certificate counts only for a header with its own view, height, epoch and block.
    qc_binds_to_its_header: bool,
    /// An epoch begins only above a final block.
    boundary_is_final: bool,
}

struct World {
    rules: Rules,
    views: u8,
    /// The last height of the first epoch.
    boundary: usize,
    genesis: Genesis,
    epochs: Vec<SigningEpoch>,
    contexts: Vec<EpochContext>,
    headers: Mutex<HashMap<Branch, Header>>,
    accepted: Mutex<HashMap<(Branch, u8), bool>>,
    paired: Mutex<HashMap<Branch, bool>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    view: u8,
    proposed: BTreeSet<Branch>,
    /// Certified blocks, and the views in which they were certified.
    certified: BTreeSet<(Branch, u8)>,
    /// The locks of the honest, in ascending order, in each epoch.
    locks: [[u8; HONEST]; 2],
}

/// What happens in one view.
#[derive(Clone, Debug, PartialEq)]
struct Action {
    /// Proposed, and voted for by nobody in time.
    shown: Option<Branch>,
    /// In each epoch, what is certified, and the honest validator that doesn't vote for it.
    certified: [Option<(Branch, usize)>; 2],
}

impl World {
    fn new(rules: Rules, views: u8, boundary: u64) -> Self {
        // Members of the second epoch differ from those of the first; that some are in both gives the adversary nothing.
        let spec = ChainSpec { blocks: boundary, epochs: 1, validators: 4, ends_epoch: true, ..ChainSpec::default() };
        let committee = Committee::new(spec).unwrap();
        let contexts = committee.epochs().map(|epoch| EpochContext::new(committee.genesis(), epoch.info().clone()));
        Self {
            rules,
            views,
            boundary: usize::try_from(boundary).unwrap(),
            genesis: committee.genesis().clone(),
            epochs: committee.epochs().cloned().collect(),
            contexts: contexts.collect(),
            headers: Mutex::default(),
            accepted: Mutex::default(),
            paired: Mutex::default(),
        }
    }

    fn header(&self, branch: &[(u8, u8)]) -> Header {
        let Some((&(view, epoch), below)) = branch.split_last() else { return self.genesis.header().clone() };
        if let Some(known) = self.headers.lock().unwrap().get(branch) {
            return known.clone();
        }
        let parent = self.header(below);
        let info = self.epochs[usize::from(epoch)].info();
        let header = if epoch == 0 && branch.len() > self.boundary {
            build::closing(&parent, View::new(view.into()), 0)
        } else {
            let next = (branch.len() == self.boundary).then(|| self.epochs[1].hash());
            let proposal = build::Proposal {
                view: View::new(view.into()),
                proposer: 0,
                timestamp: parent.timestamp,
                payload: &[],
                state_root: parent.state_root,
                next_epoch_hash: next,
            };
            build::child(&parent, parent.id(), info, &proposal)
        };
        self.headers.lock().unwrap().insert(branch.to_vec(), header.clone());
        header
    }

    fn certificate(&self, branch: &[(u8, u8)], view: u8) -> QuorumCertificate {
        let header = self.header(branch);
        let epoch = &self.epochs[usize::from(branch.last().unwrap().1)];
        let mut voted = hotstuff2_sync::chain::native::Vote::new(&header, header.id(), Phase::One);
        voted.view = View::new(view.into());
        let set: &ValidatorSet = epoch.info().validators();
        let signatures = epoch.keys().iter().map(|key| {
            let signature = ed25519_dalek::Signer::sign(key, &voted.bytes());
            (key.into(), signature.into())
        });
        let mut certificate = QuorumCertificate::collect(Phase::One, &header, set, signatures);
        certificate.view = voted.view;
        certificate
    }

    /// Whether a certificate for `branch`, made in `view`, is one for its header.
    fn accepts(&self, branch: &Branch, view: u8) -> bool {
        let key = (branch.clone(), view);
        if let Some(known) = self.accepted.lock().unwrap().get(&key) {
            return *known;
        }
        let context = &self.contexts[usize::from(branch.last().unwrap().1)];
        let accepted = match self.certificate(branch, view).verify(Phase::One, &self.header(branch), context) {
            Ok(()) => true,
            Err(CertificateError::OtherHeader) => !self.rules.qc_binds_to_its_header,
            Err(other) => panic!("a certificate by all: {other}"),
        };
        self.accepted.lock().unwrap().insert(key, accepted);
        accepted
    }

    /// Whether `branch`, once certified, makes its parent final by what their headers say.
    fn decides(&self, branch: &Branch) -> bool {
        if let Some(known) = self.paired.lock().unwrap().get(branch) {
            return *known;
        }
        let (&(view, epoch), below) = branch.split_last().unwrap();
        let decides = !below.is_empty() && {
            let (parent, child) = (self.header(below), self.header(branch));
            let proof = FinalityProof::TwoChain { descendants: vec![child], qc: self.certificate(branch, view) };
            let closing = epoch == 0 && below.len() > self.boundary;
            // A closing header is never final itself; what makes one final makes the boundary final.
            if closing {
                let between: Vec<Header> =
                    (self.boundary + 1..=below.len()).map(|len| self.header(&below[..len])).collect();
                let proof = proof.extended_down(&between).unwrap();
                proof.verify(&self.header(&below[..self.boundary]), &self.contexts[0]).is_ok()
            } else {
                proof.verify(&parent, &self.contexts[usize::from(epoch)]).is_ok()
            }
        };
        self.paired.lock().unwrap().insert(branch.clone(), decides);
        decides
    }

    /// The highest final blocks of `state`, without closing headers.
    fn final_blocks(&self, state: &State) -> BTreeSet<Branch> {
        let certified = state.certified.iter().filter(|(branch, view)| self.accepts(branch, *view));
        let deciding = certified.filter(|(branch, _)| self.decides(branch));
        deciding
            .map(|(branch, _)| {
                let mut parent = branch[..branch.len() - 1].to_vec();
                if branch.last().unwrap().1 == 0 {
                    parent.truncate(self.boundary);
                }
                parent
            })
            .collect()
    }

    /// All blocks that someone may propose in the state's view.
    fn proposals(&self, state: &State) -> Vec<Branch> {
        let finals = self.final_blocks(state);
        let certified = state.certified.iter().filter(|(branch, view)| self.accepts(branch, *view));
        let parents: BTreeSet<Branch> =
            certified.map(|(branch, _)| branch.clone()).chain(std::iter::once(Branch::new())).collect();
        let mut proposals: Vec<Branch> = state.proposed.iter().cloned().collect();
        for parent in parents {
            for epoch in 0..2 {
                let mut child = parent.clone();
                child.push((state.view, epoch));
                let context = &self.contexts[usize::from(epoch)];
                let (below, header) = (self.header(&parent), self.header(&child));
                if context.check_proposal(&below, below.id(), &header).is_err() {
                    continue;
                }
                let begins = epoch == 1 && parent.len() == self.boundary;
                let is_final = finals.iter().any(|block| block.starts_with(&parent));
                if !begins || is_final || !self.rules.boundary_is_final {
                    proposals.push(child);
                }
            }
        }
        proposals
    }

    /// The view of the certificate that a block's proposal comes with.
    fn justification(branch: &Branch) -> u8 {
        let mut below = branch.iter().rev();
        let own = below.next().unwrap();
        // At the beginning of an epoch all hold its first lock.
        below.next().filter(|parent| parent.1 == own.1).map_or(0, |parent| parent.0)
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { view: 1, proposed: BTreeSet::new(), certified: BTreeSet::new(), locks: [[0; HONEST]; 2] }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.view > self.views {
            return;
        }
        let proposals = self.proposals(state);
        let choices = |epoch: u8| {
            let mut choices = vec![None];
            for branch in proposals.iter().filter(|branch| branch.last().unwrap().1 == epoch) {
                // Equal locks make equal choices.
                let locks = state.locks[usize::from(epoch)];
                for absent in (0..HONEST).filter(|&at| at == 0 || locks[at] != locks[at - 1]) {
                    let voters = (0..HONEST).filter(|&at| at != absent);
                    if voters.map(|at| locks[at]).all(|lock| lock <= Self::justification(branch)) {
                        choices.push(Some((branch.clone(), absent)));
                    }
                }
            }
            choices
        };
        let shown = proposals.iter().filter(|branch| !state.proposed.contains(*branch)).cloned().map(Some);
        for shown in std::iter::once(None).chain(shown) {
            for one in choices(0) {
                for two in choices(1) {
                    actions.push(Action { shown: shown.clone(), certified: [one.clone(), two] });
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = State { view: last.view + 1, ..last.clone() };
        state.proposed.extend(action.shown);
        for (epoch, certified) in action.certified.into_iter().enumerate() {
            let Some((branch, absent)) = certified else { continue };
            let locks = &mut state.locks[epoch];
            for at in (0..HONEST).filter(|&at| at != absent) {
                locks[at] = locks[at].max(Self::justification(&branch));
            }
            locks.sort_unstable();
            state.proposed.insert(branch.clone());
            state.certified.insert((branch, last.view));
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(SAFE, |world: &Self, state: &State| {
            let finals = world.final_blocks(state);
            finals.iter().all(|one| finals.iter().all(|other| one.starts_with(other) || other.starts_with(one)))
        })]
    }
}

/// The actions that lead to two final blocks on different branches.
fn attack(rules: Rules, views: u8, boundary: u64) -> Option<Vec<Action>> {
    let checker = World::new(rules, views, boundary).checker().timeout(Duration::from_secs(300)).spawn_bfs().join();
    println!("{views} views, boundary at {boundary}: {} states", checker.unique_state_count());
    assert!(checker.unique_state_count() > 100);
    let found = checker.discovery(SAFE).map(stateright::Path::into_actions);
    assert!(found.is_some() || checker.is_done());
    found
}

const ALL: Rules = Rules { qc_binds_to_its_header: true, boundary_is_final: true };

#[test]
fn no_attack_gets_through_the_rules() {
    // All of one epoch; and with the boundary as early as can be, where all is closing headers and the next epoch.
    assert_eq!(attack(ALL, 5, 20), None);
    assert_eq!(attack(ALL, 4, 1), None);
}

#[test]
fn without_qc_binds_to_its_header_a_reproposed_block_finalizes_a_fork() {
    let attack = attack(Rules { qc_binds_to_its_header: false, ..ALL }, 5, 20).expect("the known attack");
    let again = attack.iter().enumerate().any(|(at, action)| {
        action.certified.iter().flatten().any(|(branch, _)| usize::from(branch.last().unwrap().0) < at + 1)
    });
    assert!(again, "a block is certified in another view than its own: {attack:#?}");
}

#[test]
fn starting_on_a_certified_boundary_finalizes_two_blocks() {
    let attack = attack(Rules { boundary_is_final: false, ..ALL }, 4, 1).expect("the known attack");
    let epochs: BTreeSet<u8> = attack
        .iter()
        .flat_map(|action| action.certified.iter().flatten())
        .map(|(branch, _)| branch.last().unwrap().1)
        .collect();
    assert_eq!(epochs.len(), 2, "each epoch goes its own way: {attack:#?}");
}

#[test]
fn the_heights_are_as_the_model_says() {
    let world = World::new(ALL, 1, 1);
    assert_eq!(world.contexts[0].range().last(), Height::new(1));
    assert!((2..10).all(|height| world.contexts[1].range().contains(Height::new(height))));
    // A faulty one of four is less than a third, whoever it is.
    for context in &world.contexts {
        let powers: Vec<u128> = context.validators().validators().iter().map(|member| member.power.into()).collect();
        assert!(powers.iter().all(|power| power * 3 < context.validators().total_power()), "{powers:?}");
    }
}
