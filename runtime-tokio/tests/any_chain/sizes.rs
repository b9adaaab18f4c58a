//! Chains with small and large headers and payloads, and one whose ids don't cover lengths: all synchronize, and nobody
//! honest is banned.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, BlockPoint};
use hotstuff2_sync::chain::{
    Audits, Chain as _, ChainProfile, CheckError, Fault, ProfileError, SegmentClaim, SegmentEnd,
};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::limits::MAX_PAYLOAD_BYTES;
use hotstuff2_sync::machine::NewMachineError;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::{Outcome, Task};
use hotstuff2_sync::wire::{Answer, Request, Sections, encode_answer, put_section};
use hotstuff2_sync_testkit::notary::Notary;
use hotstuff2_sync_tokio::manager::BuildError;
use hotstuff2_sync_tokio::net::HandlerFn;
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, OpenError, StoreFailure};
use hotstuff2_sync_tokio::{StartError, SyncManager as _, SyncManagerBuilder, TokioSyncManager};

use crate::net::{Net, Server, serve, soon};

/// A payload hash, a payload length and the length of a note.
const BARE_HEADER_BYTES: u32 = 40;

pub(crate) fn profile(header_bytes: u32, payload_bytes: u32) -> ChainProfile {
    ChainProfile { header_bytes, payload_bytes, ..Notary::new(1).chain().profile() }
}

/// `blocks` blocks with headers as large as the profile allows, and payloads of the length that `payload` says.
pub(crate) fn chain(profile: ChainProfile, blocks: u64, payload: impl Fn(u64) -> usize) -> Notary {
    let mut notary = Notary::with_profile(9, profile);
    let note = vec![7; profile.header_bytes.saturating_sub(BARE_HEADER_BYTES) as usize];
    for height in 1..=blocks {
        let payload: Vec<u8> = (0..payload(height)).map(|at| (at as u64 * height % 251) as u8).collect();
        notary.push_noted(payload, &note);
    }
    notary
}

/// Until the peers are these and no others.
async fn only(sync: &TokioSyncManager, servers: &[Server]) {
    let mut wanted: Vec<_> = servers.iter().map(|server| server.address().id.unwrap()).collect();
    wanted.sort_unstable();
    loop {
        let mut peers = sync.get_sync_peers().await.unwrap();
        peers.sort_unstable();
        if peers == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A late node with two honest servers gets everything, and keeps both.
async fn synchronizes(notary: Notary) {
    let net = Net::of(notary);
    let full = net.full();
    let servers: [Server; 2] = std::array::from_fn(|_| serve(net.handler(&full)));
    let builder = net.builder("late").with_peers(servers.iter().map(Server::address));
    let late = Arc::clone(builder.store());
    let mut sync = builder.build().unwrap();
    sync.start_sync(None).await.unwrap();
    assert_eq!(soon(sync.synced()).await.unwrap(), net.notary.tip());
    // A ban lasts for a day.
    soon(only(&sync, &servers)).await;
    soon(sync.shutdown()).await;
    assert_eq!(late.stored(), net.notary.tip());
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_headers_of_any_stated_size_sync() {
    for (header, grid) in [(100, 1024), (1 << 10, 512), (16 << 10, 32)] {
        let profile = profile(header, 64);
        assert_eq!(profile.grid(), grid);
        synchronizes(chain(profile, 2 * grid + 50, |height| (height % 3) as usize)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_of_none_one_and_the_largest_size_sync() {
    let largest = MAX_PAYLOAD_BYTES as usize;
    for (blocks, payload_bytes, len) in [(1500, 0, 0), (1500, 1, 1), (5, MAX_PAYLOAD_BYTES, largest)] {
        synchronizes(chain(profile(BARE_HEADER_BYTES, payload_bytes), blocks, |_| len)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_whose_ids_cover_no_lengths_syncs() {
    for (blocks, payload_bytes) in [(1500, 1 << 10), (40, 1 << 20), (4, MAX_PAYLOAD_BYTES)] {
        let profile = ChainProfile { proves_lengths: false, ..profile(BARE_HEADER_BYTES, payload_bytes) };
        synchronizes(chain(profile, blocks, |height| (height % 2) as usize * payload_bytes as usize)).await;
    }
}

/// Names in its segments a payload length that is one too much, for the first block of each; and sends the payloads of the
/// others, or none.
fn lies_about_lengths(notary: &Notary, request: &Request, answer: Bytes, bare: bool, lies: &AtomicUsize) -> Bytes {
    let (Request::Segment { .. } | Request::Follow { .. }) = request else { return answer };
    let Ok(Answer::Data(data)) = Answer::decode(answer.clone()) else { return answer };
    let mut sections = Sections::new(data);
    let (Some(segment), Some(_)) = (sections.take(), sections.take()) else { return answer };
    let range = notary.range_of(&segment).unwrap();
    let certified = notary.chain().tip_of(&segment).is_some();
    let mut bent = encode_answer(0);
    assert!(put_section(&mut bent, &notary.segment_with_a_wrong_length(range, certified, range.first())));
    assert!(put_section(&mut bent, &[]));
    if !bare {
        bent.extend_from_slice(&sections.rest());
    }
    lies.fetch_add(1, Ordering::Relaxed);
    bent.into()
}

async fn syncs_beside_a_liar_about_lengths(bare: bool) {
    let profile = ChainProfile { proves_lengths: false, ..profile(BARE_HEADER_BYTES, 1 << 10) };
    let net = Net::of(chain(profile, 3000, |height| (height % 100) as usize));
    let told = net.handler(&net.full());
    let honest: [Server; 2] = std::array::from_fn(|_| serve(Arc::clone(&told)));
    let (notary, lies) = (net.notary.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&lies);
    let liar = serve(Arc::new(HandlerFn::new(move |peer, bytes: Bytes| {
        let answer = told.handle(peer, bytes.clone());
        match Request::decode(&bytes) {
            Ok(request) => lies_about_lengths(&notary, &request, answer, bare, &counted),
            Err(_) => answer,
        }
    })));
    // Alone at first, so that it is asked for headers.
    let mut sync = net.builder("late").with_peers([liar.address()]).build().unwrap();
    sync.start_sync(None).await.unwrap();
    let lied = async {
        while lies.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(lied).await;
    honest.iter().for_each(|server| {
        sync.add_peer_address(server.address());
    });
    assert_eq!(soon(sync.synced()).await.unwrap(), net.notary.tip());
    if bare {
        // The answer contradicts nothing that is proven, and is asked elsewhere.
        let peers = sync.get_sync_peers().await.unwrap();
        assert!(honest.iter().any(|server| peers.contains(&server.address().id.unwrap())), "{peers:?}");
    } else {
        soon(only(&sync, &honest)).await;
    }
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unproven_length_bans_nobody_honest() {
    syncs_beside_a_liar_about_lengths(false).await;
    syncs_beside_a_liar_about_lengths(true).await;
}

/// A liar about a length bends honest payloads, where its word is believed: they don't fit. Where the chain says that
/// lengths are not proven nobody is blamed, and no machine asks for payloads apart.
#[test]
fn payloads_that_come_apart_from_unproven_lengths_blame_nobody() {
    let unproven = ChainProfile { proves_lengths: false, ..profile(BARE_HEADER_BYTES, 1 << 10) };
    let notary = chain(unproven, 40, |height| height as usize);
    let range = HeightRange::new(Height::new(1), Height::new(40)).unwrap();
    let mut bytes = Vec::new();
    assert!(put_section(&mut bytes, &notary.segment_with_a_wrong_length(range, true, Height::new(7))));
    assert!(put_section(&mut bytes, &[]));
    let claim = SegmentClaim { range, parent: None, end: SegmentEnd::Certified, audit: false };
    let headers = Task::Segment { epoch: notary.anchor().1, claim, bodies: 0, handover: None, bytes: bytes.into() };
    let Ok(Outcome::Segment { segment, .. }) = headers.prove(&notary.chain()) else {
        panic!("no id covers the length")
    };
    let honest: Vec<u8> = notary.parts(Height::ZERO)[0].frames.iter().flat_map(|frame| frame.wire.to_vec()).collect();
    let bodies = Task::Bodies { segment, range, bytes: honest.into() };
    let overconfident = notary.chain().with_profile(ChainProfile { proves_lengths: true, ..unproven });
    assert_eq!(bodies.clone().prove(&overconfident), Err(CheckError::False(Fault::BadFrame)), "the honest are banned");
    assert!(matches!(bodies.prove(&notary.chain()), Err(CheckError::Unable(_))));
}

#[test]
fn what_passes_the_stated_sizes_is_stored_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let wide = chain(profile(100, 64), 3, |_| 64);
    for (narrow, name) in [(profile(80, 64), "header_bytes"), (profile(100, 63), "payload_bytes")] {
        // The same blocks, in a store whose chain states less. A tip's bytes are a header's room where there are few.
        let narrow = ChainProfile { tip_bytes: if name == "header_bytes" { 1 } else { narrow.tip_bytes }, ..narrow };
        let net = Net::of(Notary::with_profile(9, narrow));
        let store = DiskStore::create(&folder.path().join(name), Arc::new(net.notary.chain()), &net.anchor()).unwrap();
        let refused = store.append(&Apply { target: Height::ZERO, parts: wide.parts(Height::ZERO), tip: None });
        let Err(StoreFailure::Refused { what, .. }) = refused else { panic!("{refused:?}") };
        assert!(what.contains(&format!("ChainProfile::{name}")), "{what}");
        assert_eq!(store.stored(), BlockPoint { height: Height::ZERO, ..store.stored() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_no_answer_can_carry_is_refused_by_name() {
    let too_large = ChainProfile { payload_bytes: MAX_PAYLOAD_BYTES + 1, ..profile(100, 0) };
    let net = Net::of(Notary::with_profile(9, too_large));
    let chain = Arc::new(net.notary.chain());
    let refused = SyncManagerBuilder::open_chain(chain, &net.anchor(), net.path("large")).map(|_| ());
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("payload_bytes is 4194305"), "{refused}");
    let store = DiskStore::create(&net.path("large"), Arc::new(net.notary.chain()), &net.anchor()).map(|_| ());
    assert!(matches!(store, Err(OpenError::Profile(ProfileError { name: "payload_bytes", .. }))), "{store:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_audit_of_a_chain_without_audits_does_not_stall() {
    let config = || SyncConfig { full_audit: true, ..SyncConfig::default() };
    // Not every block has a certificate: nothing could be audited.
    let net = Net::of(chain(profile(100, 64), 20, |_| 1));
    let refused = net.builder("none").with_config(config()).build().map(|_| ());
    let Err(BuildError::Start(StartError::Machine(error))) = refused else { panic!("{refused:?}") };
    assert_eq!(error, NewMachineError::NoAudits);
    // Its segments hold all that there are.
    let all = ChainProfile { audits: Audits::InSegments, ..profile(100, 64) };
    let net = Net::of(chain(all, 20, |_| 1));
    let server = serve(net.handler(&net.full()));
    let mut sync = net.builder("all").with_config(config()).with_peers([server.address()]).build().unwrap();
    sync.start_sync(None).await.unwrap();
    assert_eq!(soon(sync.synced()).await.unwrap(), net.notary.tip());
    soon(sync.shutdown()).await;
    // A full cell's lengths can't be fetched without their payloads.
    let bare = ChainProfile { proves_lengths: false, ..profile(100, 64) };
    let net = Net::of(chain(bare, 20, |_| 1));
    let headers = SyncConfig { history: hotstuff2_sync::config::SyncHistory::Headers, ..SyncConfig::default() };
    let refused = net.builder("headers").with_config(headers).build().map(|_| ());
    let Err(BuildError::Start(StartError::Machine(error))) = refused else { panic!("{refused:?}") };
    assert_eq!(error, NewMachineError::UnprovenLengths);
}
