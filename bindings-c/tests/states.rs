//! States through the C interface: a host fetches one from answers of the Rust side, keeps it in a store of its own behind three
//! functions, and serves it to the next host.
#![allow(unsafe_code)]

#[macro_use]
#[path = "common/host.rs"]
mod host;

use std::collections::BTreeMap;
use std::ffi::c_void;

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::Record;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hs2sync::*;

use host::{NONE, code, given, id, last_error, shown, slice, taken, words};

/// Entries of the state: an account each, and what the ledger keeps beside them.
const ACCOUNTS: u32 = 10_000;
/// Blocks of the chain: its tip is a snapshot.
const BLOCKS: u64 = 100;

fn network() -> TestChain {
    let spec = ChainSpec { blocks: BLOCKS, epochs: 2, snapshot_interval: 50, ..ChainSpec::default() };
    TestChain::with_ledger(spec, ACCOUNTS, 200).unwrap()
}

/// An ordered store in memory.
#[derive(Default)]
struct Store {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Writes that go well before one fails.
    writes_left: Option<u64>,
}

/// The store behind a context.
fn store_of<'a>(context: *mut c_void) -> &'a mut Store {
    // SAFETY: the table's context is a store that lives as long as the call, and nobody else uses it meanwhile.
    unsafe { &mut *context.cast::<Store>() }
}

unsafe extern "C" fn get(context: *mut c_void, key: hs2_slice, value: *mut hs2_slice) -> i32 {
    let Some(found) = store_of(context).entries.get(&shown(key)) else { return HS2_HOST_NONE };
    // SAFETY: the library can be written to.
    unsafe { value.write(slice(found)) };
    HS2_HOST_OK
}

unsafe extern "C" fn next(context: *mut c_void, from: hs2_slice, to: hs2_slice, entry: *mut hs2_entry) -> i32 {
    let found = store_of(context).entries.range(shown(from)..=shown(to)).next();
    let Some((key, value)) = found else { return HS2_HOST_NONE };
    // SAFETY: the library can be written to.
    unsafe { entry.write(hs2_entry { key: slice(key), value: slice(value) }) };
    HS2_HOST_OK
}

unsafe extern "C" fn write(context: *mut c_void, changes: *const hs2_change, count: usize) -> i32 {
    let store = store_of(context);
    if let Some(left) = &mut store.writes_left {
        if *left == 0 {
            return 28;
        }
        *left -= 1;
    }
    // SAFETY: the library shows so many.
    for change in unsafe { std::slice::from_raw_parts(changes, count) } {
        let key = shown(change.key);
        assert!(key.len() <= 64, "as the header says");
        match change.deleted {
            0 => drop(store.entries.insert(key, shown(change.value))),
            _ => drop(store.entries.remove(&key)),
        }
    }
    HS2_HOST_OK
}

impl Store {
    fn table(&mut self) -> hs2_state_store {
        hs2_state_store {
            context: std::ptr::from_mut(self).cast(),
            get: Some(get),
            next: Some(next),
            write: Some(write),
        }
    }

    fn info(&mut self) -> hs2_state_info {
        let table = self.table();
        filled!(hs2_state_read(&raw const table))
    }

    fn value(&mut self, key: &[u8]) -> Vec<u8> {
        let table = self.table();
        taken(made!(hs2_state_get(&raw const table, slice(key))))
    }
}

/// The base of a fetched state, as a host keeps it.
#[derive(Default)]
struct Base {
    height: u64,
    epoch: u64,
    last: u64,
    certified: u64,
    segment: Vec<u8>,
    tip: Vec<u8>,
}

/// A host in one thread, and its peer that answers at once.
struct Host {
    machine: hs2_machine,
    chain: hs2_chain,
    now_us: u64,
    store: Store,
    base: Base,
    handovers: Vec<Vec<u8>>,
    events: Vec<(u32, u64)>,
}

impl Host {
    fn begin(network: &TestChain, store: Store) -> Self {
        let document = network.genesis().document().encode();
        let genesis = made!(hs2_genesis_decode(slice(&document)));
        let chain = made!(hs2_chain_new(genesis));
        let config = made!(hs2_config_new());
        for (name, value) in [(c"default_strategy", c"fast"), (c"strategy_switch_threshold", c"10")] {
            // SAFETY: texts that end with zero.
            assert_eq!(unsafe { hs2_config_set(config, name.as_ptr(), value.as_ptr()) }, 0, "{}", last_error());
        }
        let start = made!(hs2_start_new(genesis));
        let mut machine = 0;
        // SAFETY: the place is real.
        let refused = unsafe { hs2_machine_new(config, start, 7, 0, &raw mut machine) };
        assert_eq!(refused, Status::Refused.number(), "a host without states can't be fast");
        assert_eq!(hs2_start_states(start, 0), 0);
        let machine = made!(hs2_machine_new(config, start, 7, 0));
        let peer = id(1);
        // SAFETY: the id is real.
        assert_eq!(unsafe { hs2_machine_handle_connected(machine, 0, &raw const peer, 1) }, 0);
        assert_eq!(hs2_machine_start(machine, 0, HS2_NEVER), 0);
        for handle in [genesis, config, start] {
            assert_eq!(hs2_release(handle), 0);
        }
        Self { machine, chain, now_us: 0, store, base: Base::default(), handovers: Vec::new(), events: Vec::new() }
    }

    /// Carries out a call, as another process would: it gets bytes.
    fn call(&mut self, call: hs2_call) {
        let encoded = taken(made!(hs2_call_encode(call)));
        let call = made!(hs2_call_decode(slice(&encoded)));
        let info: hs2_call_info = filled!(hs2_call_read(call));
        let is = |name| info.work == code("HostWork", name);
        if is("store_handovers") {
            for index in 0..info.handover_count {
                let link: hs2_link = filled!(hs2_call_handover(call, index));
                self.handovers.push(shown(link.handover));
            }
            assert_eq!(hs2_machine_handle_stored(self.machine, self.now_us, info.id, 0), 0);
        } else {
            if is("activate") {
                let base: hs2_base = filled!(hs2_call_base(call));
                let segment = base.segment;
                self.base = Base {
                    height: base.height,
                    epoch: segment.epoch,
                    last: segment.last,
                    certified: segment.certified,
                    segment: shown(segment.segment),
                    tip: shown(base.tip),
                };
                assert_eq!(segment.first, base.height);
            }
            let table = self.store.table();
            let mut done = 0;
            // SAFETY: the table is as its docs say.
            let status = unsafe { hs2_state_carry_out(call, &raw const table, &raw mut done) };
            if status == 0 {
                let done = taken(done);
                // SAFETY: the bytes are real.
                assert_eq!(unsafe { hs2_machine_handle_done(self.machine, self.now_us, slice(&done)) }, 0);
            } else {
                assert_eq!(
                    (status, last_error().as_str()),
                    (Status::HostFailed.number(), "the host's function `write` failed with 28")
                );
                // The disk has room again.
                self.store.writes_left = None;
                let full = code("HostError", "no_space");
                assert_eq!(hs2_machine_handle_stored(self.machine, self.now_us, info.id, full), 0);
            }
        }
        assert_eq!(hs2_release(call), 0);
    }

    /// Carries out one output; false for the last.
    fn carry_out(&mut self, output: &hs2_output, requests: &mut Vec<(u64, Vec<u8>)>) -> bool {
        let is = |name| output.kind == code("Output", name);
        if is("request") {
            requests.push((output.id, taken(output.object)));
        } else if is("verify") {
            let verdict = made!(hs2_job_run(output.object, self.chain));
            assert_eq!(hs2_machine_handle_verdict(self.machine, self.now_us, verdict), 0);
            assert_eq!((hs2_release(verdict), hs2_release(output.object)), (0, 0));
        } else if is("call") {
            self.call(output.object);
            assert_eq!(hs2_release(output.object), 0);
        } else if is("event") {
            assert!(!words(output.object).is_empty());
            self.events.push((output.code, output.height));
        } else if is("penalize") {
            panic!("nobody lies here: {:#x} {:#x}", output.code, output.detail);
        } else if is("wait") {
            self.now_us = self.now_us.max(output.deadline_us.min(self.now_us + 100_000));
            return false;
        }
        true
    }

    /// Goes on until the state is live and nothing is missing above it.
    fn catch_up(&mut self, mut answer: impl FnMut(&[u8]) -> Vec<u8>) {
        let reached = (code("Event", "reached"), BLOCKS);
        for _ in 0..5000 {
            let mut requests = Vec::new();
            loop {
                let output: hs2_output = filled!(hs2_machine_poll(self.machine));
                if !self.carry_out(&output, &mut requests) {
                    break;
                }
            }
            if self.events.contains(&reached) {
                return;
            }
            for (request, question) in requests {
                let answer = given(&answer(&question));
                assert_eq!(hs2_machine_handle_response(self.machine, self.now_us, request, answer), 0);
                assert_eq!(hs2_release(answer), 0);
            }
            assert_eq!(hs2_machine_handle_timeout(self.machine, self.now_us), 0);
        }
        panic!("nothing came of it: {:x?}", self.events);
    }

    /// Looks that the state is the chain's.
    fn is_right(&mut self, network: &TestChain) {
        let header = network.header(Height::new(BLOCKS)).unwrap();
        let info = self.store.info();
        assert_eq!((info.height, info.root.bytes), (BLOCKS, *header.state_root.as_bytes()));
        assert_eq!((info.oldest_snapshot, info.newest_snapshot), (BLOCKS, BLOCKS));
        let records: Vec<Record> = {
            let state = network.state(Height::new(BLOCKS)).unwrap();
            state.records().map(|(_, record)| Record::decode(record.clone()).unwrap()).collect()
        };
        assert!(info.keys >= u64::from(ACCOUNTS) && info.keys == records.len() as u64, "{} keys", info.keys);
        assert_eq!(info.bytes, records.iter().map(|record| record.as_bytes().len() as u64).sum::<u64>());
        for record in records.iter().step_by(999) {
            assert_eq!(self.store.value(record.key()), record.value());
        }
        assert!(self.events.contains(&(code("Event", "state_active"), BLOCKS)));
        // The half that is not live is empty.
        assert!(self.store.entries.len() < 2 * records.len());
    }

    /// Answers from what this host holds.
    fn answer(&mut self, question: &[u8]) -> Vec<u8> {
        let states = self.store.table();
        let context = std::ptr::from_mut(self).cast();
        let reader = hs2_reader {
            context,
            status: Some(read_status),
            handover: Some(read_handover),
            tip: Some(read_tip),
            segment: Some(read_segment),
            payload: Some(read_payload),
        };
        taken(made!(hs2_respond_with_state(self.chain, &raw const reader, &raw const states, slice(question))))
    }

    fn end(self) -> Store {
        assert_eq!((hs2_release(self.machine), hs2_release(self.chain)), (0, 0));
        self.store
    }
}

/// The host behind a reader's context. Its store is read by the other table at the same time, and written by nobody.
fn host_of<'a>(context: *mut c_void) -> &'a Host {
    // SAFETY: the table's context is a host that lives as long as the call.
    unsafe { &*context.cast::<Host>() }
}

unsafe extern "C" fn read_status(context: *mut c_void, out: *mut hs2_peer_status) -> i32 {
    let base = &host_of(context).base;
    // SAFETY: the library can be written to.
    unsafe { out.write(hs2_peer_status { earliest: base.height + 1, tip: base.height, epoch: base.epoch }) };
    HS2_HOST_OK
}

unsafe extern "C" fn read_handover(context: *mut c_void, epoch: u64, out: *mut hs2_slice) -> i32 {
    let Some(handover) = host_of(context).handovers.get(epoch as usize) else { return HS2_HOST_NONE };
    // SAFETY: the library can be written to.
    unsafe { out.write(slice(handover)) };
    HS2_HOST_OK
}

unsafe extern "C" fn read_tip(context: *mut c_void, out: *mut hs2_slice) -> i32 {
    // SAFETY: the library can be written to.
    unsafe { out.write(slice(&host_of(context).base.tip)) };
    HS2_HOST_OK
}

unsafe extern "C" fn read_segment(context: *mut c_void, height: u64, out: *mut hs2_stored_segment) -> i32 {
    let base = &host_of(context).base;
    if !(base.height..=base.last).contains(&height) {
        return HS2_HOST_NONE;
    }
    let stored = hs2_stored_segment {
        first: base.height,
        last: base.last,
        epoch: base.epoch,
        certified: base.certified,
        segment: slice(&base.segment),
        audit: NONE,
    };
    // SAFETY: the library can be written to.
    unsafe { out.write(stored) };
    HS2_HOST_OK
}

unsafe extern "C" fn read_payload(_: *mut c_void, _: u64, _: *mut hs2_slice) -> i32 {
    HS2_HOST_NONE
}

#[test]
fn a_state_is_fetched_from_native_answers_kept_and_served_on() {
    let network = network();
    let mut first = Host::begin(&network, Store::default());
    // A disk that is full for once: the call comes again.
    first.store.writes_left = Some(1);
    // The peer has pruned its blocks.
    let view = network.view(Height::new(BLOCKS - 5), Height::new(BLOCKS));
    first.catch_up(|question| view.respond(&Request::decode(question).unwrap()).to_vec());
    first.is_right(&network);
    assert!(first.store.writes_left.is_none());

    let mut second = Host::begin(&network, Store::default());
    second.catch_up(|question| first.answer(question));
    second.is_right(&network);
    assert_eq!(first.end().entries, second.end().entries);
}

#[test]
fn a_state_that_is_there_is_not_fetched_again_but_for_what_has_changed() {
    let network = network();
    // The state of the last block, but for a few values: as if few keys had changed since block 50.
    let mut store = Store::default();
    let records: Vec<Record> = {
        let state = network.state(Height::new(BLOCKS)).unwrap();
        state.records().map(|(_, record)| Record::decode(record.clone()).unwrap()).collect()
    };
    let change = |(index, record): (usize, &Record)| hs2_change {
        key: slice(record.key()),
        value: if index % 2000 == 7 { slice(b"older") } else { slice(record.value()) },
        deleted: 0,
    };
    let changes: Vec<hs2_change> = records.iter().enumerate().map(change).collect();
    let (table, none) = (store.table(), std::ptr::null());
    let root: hs2_id = filled!(hs2_state_apply(&raw const table, 50, 50, changes.as_ptr(), changes.len(), none));
    assert_eq!(root, store.info().root);

    let mut host = Host::begin(&network, store);
    let mut fetched = 0;
    let view = network.view(Height::new(BLOCKS - 5), Height::new(BLOCKS));
    host.catch_up(|question| {
        let request = Request::decode(question).unwrap();
        let answer = view.respond(&request).to_vec();
        fetched += if matches!(request, Request::State { .. }) { answer.len() } else { 0 };
        answer
    });
    host.is_right(&network);
    let whole: usize = records.iter().map(|record| record.as_bytes().len()).sum();
    assert!(fetched > 0 && fetched < whole / 10, "{fetched} of {whole} bytes");
    host.end();
}

/// A block that sets and deletes keys, named by numbers.
fn block(store: &mut Store, height: u64, set: &[(u64, u64)], deleted: &[u64]) -> Result<hs2_id, hs2_status> {
    let set: Vec<([u8; 8], [u8; 8])> =
        set.iter().map(|(key, value)| (key.to_be_bytes(), value.to_be_bytes())).collect();
    let deleted: Vec<[u8; 8]> = deleted.iter().map(|key| key.to_be_bytes()).collect();
    let put = set.iter().map(|(key, value)| hs2_change { key: slice(key), value: slice(value), deleted: 0 });
    let delete = deleted.iter().map(|key| hs2_change { key: slice(key), value: NONE, deleted: 1 });
    let changes: Vec<hs2_change> = put.chain(delete).collect();
    let table = store.table();
    let mut root = id(0);
    // SAFETY: all places are real.
    let status = unsafe {
        let none = std::ptr::null();
        hs2_state_apply(&raw const table, height, 10, changes.as_ptr(), changes.len(), none, &raw mut root)
    };
    if status == 0 { Ok(root) } else { Err(status) }
}

#[test]
fn snapshots_stay_as_they_were_while_blocks_go_on() {
    let network = network();
    let document = network.genesis().document().encode();
    let genesis = made!(hs2_genesis_decode(slice(&document)));
    let chain = made!(hs2_chain_new(genesis));
    let mut store = Store::default();
    let mut roots = BTreeMap::new();
    for height in 1..=35u64 {
        let set: Vec<(u64, u64)> = (0..40).map(|place| (height * 7 % 50 + place * 50, height)).collect();
        let deleted: Vec<u64> = (0..10).map(|place| (height * 3 + 1) % 50 + place * 50).collect();
        roots.insert(height, block(&mut store, height, &set, &deleted).unwrap());
        assert_eq!(block(&mut store, height, &set, &[]), Err(Status::WrongState.number()), "blocks come once");
    }
    let info = store.info();
    assert_eq!((info.height, info.oldest_snapshot, info.newest_snapshot), (35, 20, 30));
    assert_eq!(info.root, roots[&35]);
    // A reader of nothing but the state: what was put aside makes the snapshots' roots.
    let mut host =
        Host { machine: 0, chain, now_us: 0, store, base: Base::default(), handovers: Vec::new(), events: Vec::new() };
    for (height, is_kept) in [(20u64, true), (30, true), (35, true), (10, false), (34, false)] {
        let root = hotstuff2_sync::hash::Hash::from_bytes(roots[&height].bytes);
        for key in [0u64, 7, 51, 1999, 5_000_000] {
            let key = key.to_be_bytes();
            let request =
                Request::Proof { height: Height::new(height), root, key_hash: hotstuff2_sync::state::key_hash(&key) };
            let answer = host.answer(&request.encode());
            let hotstuff2_sync::wire::Answer::Data(data) = hotstuff2_sync::wire::Answer::decode(answer.into()).unwrap()
            else {
                assert!(!is_kept, "height {height}");
                continue;
            };
            assert!(is_kept, "height {height}");
            let value = hotstuff2_sync::wire::verify_read(&root, &key, data).unwrap();
            let known = (height == 35).then(|| host.store.value_or_none(&key));
            assert!(known.is_none_or(|known| known == value.map(|value| value.to_vec())), "height {height}");
        }
    }
    // Everything that was put aside for the snapshot at 10 is gone.
    let aside = |snapshot: u64| [&[3][..], &snapshot.to_be_bytes()].concat();
    let count = |from, to| host.store.entries.range(aside(from)..aside(to)).count();
    assert_eq!((count(0, 20), count(20, 30) > 0, count(30, 40) > 0), (0, true, true));
    assert_eq!((hs2_release(chain), hs2_release(genesis)), (0, 0));
}

impl Store {
    fn value_or_none(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let (table, mut value) = (self.table(), 0);
        // SAFETY: all places are real.
        let status = unsafe { hs2_state_get(&raw const table, slice(key), &raw mut value) };
        assert!(status == 0 || status == Status::NotFound.number(), "{}", last_error());
        (status == 0).then(|| taken(value))
    }
}

#[test]
fn a_block_whose_root_is_another_changes_nothing() {
    let mut store = Store::default();
    block(&mut store, 1, &[(1, 1)], &[]).unwrap();
    let before = store.entries.clone();
    let (key, value, wrong) = (2u64.to_be_bytes(), [7; 8], id(9));
    let change = hs2_change { key: slice(&key), value: slice(&value), deleted: 0 };
    let (table, mut root) = (store.table(), id(0));
    let mut apply = |change: &hs2_change, expected: *const hs2_id| {
        // SAFETY: all places are real.
        unsafe { hs2_state_apply(&raw const table, 2, 10, std::ptr::from_ref(change), 1, expected, &raw mut root) }
    };
    assert_eq!(apply(&change, &raw const wrong), Status::Refused.number());
    assert!(last_error().contains("was expected"), "{}", last_error());
    let long = [0; 1025];
    assert_eq!(apply(&hs2_change { key: slice(&long), ..change }, std::ptr::null()), Status::Refused.number());
    store.writes_left = Some(0);
    assert_eq!(apply(&change, std::ptr::null()), Status::HostFailed.number());
    assert_eq!((root, store.entries == before), (id(0), true));
}
