//! Chains through the network play of the conformance kit.

use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::chain::native::Segment;
use hotstuff2_sync::wire::{Request, Sections, put_section};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::forgery::{bend_segment, forge_signature};
use hotstuff2_sync_testkit::other_chain::OtherMaker;
use hotstuff2_sync_tokio::conformance::{Lie, NetworkCase, play};
use hotstuff2_sync_tokio::store::StoreAnchor;

/// Whether the answer begins with a segment.
fn has_segment(request: &Request) -> bool {
    matches!(request, Request::Segment { .. } | Request::Follow { .. })
}

/// Turns a bit of the last payload.
fn false_payload(request: &Request, data: &Bytes) -> Option<Vec<u8>> {
    let bodies = match request {
        Request::Bodies { .. } => data.len(),
        _ if has_segment(request) => {
            let mut sections = Sections::new(data.clone());
            sections.take()?;
            sections.take()?;
            sections.rest().len()
        }
        _ => 0,
    };
    let mut bent = data.to_vec();
    *bent.last_mut().filter(|_| bodies > 0)? ^= 1;
    Some(bent)
}

fn lie(lie: impl Fn(&Request, &Bytes) -> Option<Vec<u8>> + Send + Sync + 'static) -> Lie {
    Arc::new(lie)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_passes_the_network_play() {
    let payload = |height: u64| (0..height % 90).map(|at| (at * height % 251) as u8).collect();
    let maker = Arc::new(OtherMaker::new(3, (1..=600).map(payload)));
    let (point, epoch) = maker.anchor();
    let anchor = StoreAnchor {
        chain_id: maker.chain_id(),
        genesis: maker.genesis(),
        point,
        epoch,
        snapshot_interval: OtherMaker::snapshot_interval(),
    };
    let liar = Arc::clone(&maker);
    let wrong_length = move |request: &Request, data: &Bytes| {
        let mut sections = Sections::new(data.clone());
        let segment = sections.take().filter(|_| has_segment(request))?;
        let mut bent = Vec::new();
        let whole = put_section(&mut bent, &liar.with_a_wrong_length(&segment)?);
        bent.extend_from_slice(&sections.rest());
        whole.then_some(bent)
    };
    let false_tip = |request: &Request, data: &Bytes| {
        let mut bent = data.to_vec();
        *bent.last_mut().filter(|_| matches!(request, Request::Tip | Request::Follow { .. }))? ^= 1;
        Some(bent)
    };
    let lies = vec![("lengths", lie(wrong_length)), ("payloads", lie(false_payload)), ("tips", lie(false_tip))];
    let parts = maker.parts(point.height);
    assert_eq!(parts.len(), 3);
    let case = NetworkCase { chain: Arc::new(maker.chain()), anchor, parts, handovers: Vec::new(), lies };
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(play(&case, folder.path()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_chain_passes_the_network_play() {
    let source = TestChain::new(ChainSpec { blocks: 3000, epochs: 2, ..ChainSpec::default() }).unwrap();
    let anchor = StoreAnchor::from(source.genesis());
    let signature = |request: &Request, data: &Bytes| {
        bend_segment(data, |segment: Segment| forge_signature(segment)).filter(|_| has_segment(request))
    };
    let lies = vec![("signatures", lie(signature)), ("payloads", lie(false_payload))];
    let case = NetworkCase {
        chain: Arc::new(source.chain()),
        anchor,
        parts: source.parts().to_vec(),
        handovers: source.handovers().to_vec(),
        lies,
    };
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(play(&case, folder.path()).await, Ok(()));
}

#[tokio::test]
async fn a_play_of_a_chain_that_is_too_short_says_so() {
    let source = TestChain::new(ChainSpec { blocks: 20, ..ChainSpec::default() }).unwrap();
    let case = NetworkCase {
        chain: Arc::new(source.chain()),
        anchor: StoreAnchor::from(source.genesis()),
        parts: source.parts().get(..1).unwrap_or_default().to_vec(),
        handovers: Vec::new(),
        lies: Vec::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    let failed = play(&case, folder.path()).await.unwrap_err();
    assert_eq!(failed.step, "parts");
    assert!(failed.what.starts_with("1, where two are needed"), "{failed}");
}
