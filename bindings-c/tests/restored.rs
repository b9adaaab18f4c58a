//! A validator in C that has lost its record of votes: the others show their certificates, and the permit brings back the view
//! above which it may vote, and its lock.
#![allow(unsafe_code)]

#[macro_use]
#[path = "common/host.rs"]
mod host;

use hs2sync::*;

use host::{NONE, code, id, last_error, shown, slice, taken};

const BORN_MS: u64 = 1_700_000_000_000;
/// A time at which the genesis block shows nothing any more.
const WALL_MS: u64 = BORN_MS + 3_600_000;

fn signed(validator: u8, message: &[u8]) -> hs2_signature {
    let (secret, mut key, mut signature) = (id(validator), id(0), [0; 64]);
    // SAFETY: all places are real.
    let status = unsafe { hs2_sign(&raw const secret, slice(message), &raw mut key, signature.as_mut_ptr()) };
    assert_eq!(status, 0);
    hs2_signature { key, bytes: signature }
}

/// A network of four validators at its genesis, the first of which is this one.
struct Network {
    genesis: hs2_genesis,
    chain: hs2_chain,
    epoch: hs2_epoch,
    machine: hs2_machine,
    info: hs2_genesis_info,
}

impl Network {
    fn new() -> Self {
        let member = |validator| hs2_validator { key: signed(validator, b"").key, power: 1 };
        let (members, root) = ([1, 2, 3, 4].map(member), id(0));
        let genesis = made!(hs2_genesis_new(
            c"restored".as_ptr(),
            BORN_MS,
            members.as_ptr(),
            members.len(),
            1000,
            &raw const root,
            0,
            1000,
        ));
        let (config, start) = (made!(hs2_config_new()), made!(hs2_start_new(genesis)));
        let machine = made!(hs2_machine_new(config, start, 7, 0));
        assert_eq!((hs2_release(config), hs2_release(start), hs2_machine_start(machine, 0, HS2_NEVER)), (0, 0, 0));
        loop {
            let output: hs2_output = filled!(hs2_machine_poll(machine));
            if output.kind == code("Output", "wait") {
                break;
            }
            assert_eq!(hs2_release(output.object), 0);
        }
        let (chain, epoch) = (made!(hs2_chain_new(genesis)), made!(hs2_epoch_first(genesis)));
        Self { genesis, chain, epoch, machine, info: filled!(hs2_genesis_read(genesis)) }
    }

    /// The certificate of three validators for giving up on a view.
    fn timeout(&self, view: u64) -> Vec<u8> {
        let mut message = [0; HS2_TIMEOUT_BYTES];
        // SAFETY: all places are real.
        let status = unsafe { hs2_timeout_bytes(&raw const self.info.chain_id, 0, view, message.as_mut_ptr()) };
        assert_eq!(status, 0);
        let votes = [2, 3, 4].map(|validator| signed(validator, &message));
        let certificate = taken(made!(hs2_timeout_new(self.epoch, view, votes.as_ptr(), votes.len())));
        assert_eq!(made!(hs2_timeout_check(slice(&certificate), self.epoch)), view);
        certificate
    }

    /// The first block, and three votes for it in its view.
    fn certificate(&self, view: u64) -> Vec<u8> {
        let parent = taken(made!(hs2_genesis_header(self.genesis)));
        let proposal = hs2_proposal {
            view,
            timestamp_ms: BORN_MS + 1,
            payload: NONE,
            state_root: id(0),
            next_epoch: 0,
            proposer: 0,
        };
        let header = taken(made!(hs2_header_new(slice(&parent), self.epoch, &raw const proposal)));
        let mut vote = [0; HS2_VOTE_BYTES];
        // SAFETY: all places are real.
        assert_eq!(unsafe { hs2_vote_bytes(slice(&header), HS2_PHASE_ONE, vote.as_mut_ptr()) }, 0);
        let votes = [2, 3, 4].map(|validator| signed(validator, &vote));
        let made = made!(hs2_certificate_new(slice(&header), HS2_PHASE_ONE, self.epoch, votes.as_ptr(), votes.len()));
        taken(made)
    }

    /// A validator's word in a view that it entered because the one before was given up on.
    fn word(&self, validator: u8, view: u64, high: &[u8], wall_ms: u64, challenge: hs2_id) -> Vec<u8> {
        let (secret, entered_by) = (id(validator), self.timeout(view - 1));
        taken(made!(hs2_advert_sign_backed(
            &raw const secret,
            &raw const self.info.chain_id,
            0,
            0,
            &raw const self.info.block_id,
            view,
            wall_ms,
            &raw const challenge,
            slice(high),
            slice(&entered_by),
        )))
    }

    fn end(self) {
        for handle in [self.genesis, self.chain, self.epoch, self.machine] {
            assert_eq!(hs2_release(handle), 0);
        }
    }
}

/// Tells a gate where the machine stands, and takes its first order.
fn order(gate: hs2_gate, network: &Network, wall_ms: u64) -> hs2_gate_output {
    assert_eq!(hs2_gate_sync(gate, wall_ms, network.machine, network.chain), 0);
    filled!(hs2_gate_poll(gate))
}

fn hear(gate: hs2_gate, network: &Network, wall_ms: u64, word: &[u8]) -> hs2_status {
    // SAFETY: the bytes are real.
    unsafe { hs2_gate_advert(gate, wall_ms, network.epoch, slice(word)) }
}

#[test]
fn a_validator_without_its_record_gets_the_view_and_the_lock_from_the_others() {
    let network = Network::new();
    let (own, seed) = (signed(1, b"").key, id(77));
    let gate = made!(hs2_gate_new_certified(&raw const own, 1, &raw const seed, 0, 0));
    assert_eq!(hs2_gate_votes(gate, HS2_VOTES_LOST, 0), 0);
    let ask = order(gate, &network, WALL_MS);
    assert_eq!((ask.kind, ask.reason), (HS2_GATE_ASK, 1), "words are to come with certificates");

    // They are in view 41; one has seen the certificate of a block in view 38.
    let high = network.certificate(38);
    for validator in [2, 3, 4] {
        let high: &[u8] = if validator == 3 { &high } else { &[] };
        assert_eq!(hear(gate, &network, WALL_MS, &network.word(validator, 41, high, WALL_MS, ask.id)), 0);
    }
    let waits = order(gate, &network, WALL_MS);
    assert_eq!((waits.kind, waits.reason), (HS2_GATE_WAIT, 5), "in view 42 this one may have voted");
    // A bent word is false, and so is one with another's lock.
    let mut bent = network.word(2, 43, &[], WALL_MS + 1, ask.id);
    *bent.last_mut().unwrap() ^= 1;
    assert_eq!(hear(gate, &network, WALL_MS, &bent), Status::False.number(), "{}", last_error());
    for validator in [2, 3, 4] {
        let word = network.word(validator, 43, &[], WALL_MS + 1, ask.id);
        assert_eq!(hear(gate, &network, WALL_MS + 1, &word), 0);
    }
    let resume = order(gate, &network, WALL_MS + 1);
    assert_eq!((resume.kind, resume.height, resume.vote_above), (HS2_GATE_RESUME, 0, 42));
    let mut view = 0;
    let lock: hs2_slice = filled!(hs2_permit_lock(resume.object, &raw mut view));
    assert_eq!((view, shown(lock)), (38, high));
    assert_eq!((hs2_release(resume.object), hs2_release(gate)), (0, 0));
    network.end();
}

#[test]
fn without_promise_seven_a_lost_record_stays_lost() {
    let network = Network::new();
    let (own, seed) = (signed(1, b"").key, id(77));
    let gate = made!(hs2_gate_new(&raw const own, 1, &raw const seed, 0, 0));
    assert_eq!(hs2_gate_votes(gate, HS2_VOTES_LOST, 0), 0);
    let waits = order(gate, &network, WALL_MS);
    assert_eq!((waits.kind, waits.reason), (HS2_GATE_WAIT, 3));
    // With its record the same validator gets a permit, and no lock beside what was shown.
    let gate = made!(hs2_gate_new_certified(&raw const own, 1, &raw const seed, 0, 0));
    assert_eq!(hs2_gate_votes(gate, HS2_VOTES_LAST, 12), 0);
    let ask = order(gate, &network, WALL_MS);
    assert_eq!((ask.kind, ask.reason), (HS2_GATE_ASK, 0));
    for validator in [2, 3] {
        assert_eq!(hear(gate, &network, WALL_MS, &network.word(validator, 9, &[], WALL_MS, ask.id)), 0);
    }
    let resume = order(gate, &network, WALL_MS);
    assert_eq!((resume.kind, resume.vote_above), (HS2_GATE_RESUME, 12));
    let (mut view, mut lock) = (7, NONE);
    // SAFETY: all places are real.
    let status = unsafe { hs2_permit_lock(resume.object, &raw mut view, &raw mut lock) };
    assert_eq!((status, view), (Status::NotFound.number(), 7));
    network.end();
}
