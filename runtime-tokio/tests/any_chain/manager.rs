//! The manager of a chain of another kind.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::{Block, Fault};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::participation::{GateSettings, PauseReason, Permit, VoteRecord};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_tokio::consensus::{ConsensusControl, ConsensusMode};
use hotstuff2_sync_tokio::manager::{
    BlockCheckError, IncrementalSyncStrategy, ParallelSyncStrategy, SyncStrategy as _,
};
use hotstuff2_sync_tokio::net::{BoxFuture, HandlerFn};
use hotstuff2_sync_tokio::store::BlockStore as _;
use hotstuff2_sync_tokio::{SyncManager as _, SyncStatus, TokioSyncManager};

use crate::net::{Net, TIP, append, serve, soon};

async fn peers(sync: &TokioSyncManager, count: usize) {
    while sync.get_sync_peers().await.unwrap().len() != count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_another_kind_is_synchronized_followed_and_served_on() {
    let mut net = Net::new();
    let full = net.full();
    let server = serve(net.handler(&full));
    let builder = net.builder("late").with_peers([server.address()]);
    let late = Arc::clone(builder.store());
    let mut sync = builder.build().unwrap();
    sync.start_sync(None).await.unwrap();
    assert_eq!(soon(sync.synced()).await.unwrap(), net.notary.tip());
    assert!(matches!(sync.get_sync_status().await.unwrap(), SyncStatus::Following { .. }));

    // Blocks as their chain has them, which the validator proves again.
    let (from, to) = (Height::new(1000), Height::new(1100));
    let blocks = soon(sync.sync_blocks(from, to)).await.unwrap();
    assert_eq!(blocks.len(), 101);
    for block in &blocks {
        let parent_id = net.notary.id(block.height.prev().unwrap());
        assert_eq!((block.id, block.parent_id), (net.notary.id(block.height), parent_id));
        assert_eq!(Some(&block.payload), net.notary.payload(block.height));
        assert_eq!(block.header, net.notary.segment(HeightRange::single(block.height), false));
    }
    // Nothing but the end of a cell has a signature here: the stored block stands for it.
    assert!(blocks.iter().all(|block| block.proof.is_none() || block.height == Height::new(1023)));
    assert!(sync.verify_block_chain(&blocks).await.unwrap());
    let ends = soon(sync.sync_blocks(Height::new(1020), Height::new(1023))).await.unwrap();
    assert!(ends.last().unwrap().proof.is_some());
    let validator = sync.block_validator();
    validator.validate_block_chain(&ends).await.unwrap();
    assert!(validator.validate_block_sequence(&ends).await.iter().all(Result::is_ok));
    assert!(validator.validate_block_headers_only(&blocks).await.iter().all(Result::is_ok));
    validator.validate_block_signatures(ends.last().unwrap()).await.unwrap();
    validator.validate_consensus_rules(&ends[1], &ends[0]).await.unwrap();
    bent_blocks_are_refused(&sync, &ends).await;

    let mut incremental = IncrementalSyncStrategy::new(&sync);
    soon(incremental.execute_sync(TIP)).await.unwrap();
    let one = soon(incremental.block_requester().request_block(Height::new(1023))).await.unwrap();
    assert_eq!((one.id, &one.proof), (net.notary.id(one.height), &ends.last().unwrap().proof));
    let mut parallel = ParallelSyncStrategy::new(&sync);
    soon(parallel.execute_sync(TIP)).await.unwrap();

    // New blocks are followed, and whoever came late serves the next.
    sync.start_sync(None).await.unwrap();
    (0..3).for_each(|_| net.notary.push(Bytes::from_static(b"new")));
    append(&full, &net.notary);
    let mut progress = sync.watch_progress();
    let tip = net.notary.tip();
    soon(progress.wait_for(|progress| progress.current == tip.height)).await.unwrap();
    let third = serve(net.handler(&late));
    let mut next = net.builder("third").with_peers([third.address()]).build().unwrap();
    next.start_sync(None).await.unwrap();
    assert_eq!(soon(next.synced()).await.unwrap(), tip);
    soon(next.shutdown()).await;
    soon(sync.shutdown()).await;
    drop(sync);
    // After a restart it stands where it stood.
    assert_eq!(late.stored(), tip);
}

async fn bent_blocks_are_refused(sync: &TokioSyncManager, ends: &[Block]) {
    let validator = sync.block_validator();
    let refused = |result: Result<(), BlockCheckError>| match result {
        Err(BlockCheckError::Refused { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    let block = &ends[1];
    let bent = |change: &dyn Fn(&mut Block)| {
        let mut bent = block.clone();
        change(&mut bent);
        bent
    };
    for (bent, fault) in [
        (bent(&|block| block.payload = Bytes::from_static(b"other")), Fault::BadPayload(block.height)),
        (bent(&|block| block.id = Hash::ZERO), Fault::WrongAnchor),
        (bent(&|block| block.parent_id = Hash::ZERO), Fault::WrongParent),
        (bent(&|block| block.height = block.height.next()), Fault::WrongRange),
        (bent(&|block| block.header = ends[2].header.clone()), Fault::WrongRange),
    ] {
        assert_eq!(refused(validator.validate_block_structure(&bent).await), fault);
        let mut blocks = ends.to_vec();
        blocks[1] = bent;
        assert!(!sync.verify_block_chain(&blocks).await.unwrap());
        let each = validator.validate_block_sequence(&blocks).await;
        assert!(each[1].is_err() && each[3].is_ok(), "{each:?}");
    }
    let stolen = Block { proof: ends[3].proof.clone(), ..ends[1].clone() };
    assert_eq!(refused(validator.validate_block_signatures(&stolen).await), Fault::WrongAnchor);
    assert!(matches!(validator.validate_block_signatures(&ends[1]).await, Err(BlockCheckError::NotFinal(_))));
    assert!(matches!(validator.validate_block_chain(&ends[..2]).await, Err(BlockCheckError::NotFinal(_))));
    assert!(matches!(validator.validate_block_chain(&[]).await, Err(BlockCheckError::Empty)));
    let gap = [ends[0].clone(), ends[2].clone(), ends[3].clone()];
    assert_eq!(refused(validator.validate_block_chain(&gap).await), Fault::BrokenLink(ends[2].height));
    assert_eq!(
        refused(validator.validate_consensus_rules(&ends[0], &ends[1]).await),
        Fault::BrokenLink(ends[0].height)
    );
}

/// Lies in answers to what `about` says, by flipping the byte that it names.
async fn liar_is_banned_alone(name: &str, at: impl Fn(&Request, &Bytes) -> Option<usize> + Send + Sync + 'static) {
    let net = Net::new();
    let honest = net.handler(&net.full());
    let told = Arc::clone(&honest);
    let liar = serve(Arc::new(HandlerFn::new(move |peer, request: Bytes| {
        let mut answer = told.handle(peer, request.clone()).to_vec();
        let at = Request::decode(&request).ok().and_then(|request| at(&request, &Bytes::from(answer.clone())));
        if let Some(byte) = at.and_then(|at| answer.get_mut(at)) {
            *byte ^= 1;
        }
        answer.into()
    })));
    let mut sync = net.builder(name).with_peers([liar.address()]).build().unwrap();
    soon(peers(&sync, 1)).await;
    sync.start_sync(None).await.unwrap();
    soon(peers(&sync, 0)).await;
    let honest = serve(honest);
    sync.add_peer_address(honest.address());
    assert_eq!(soon(sync.synced()).await.unwrap(), net.notary.tip());
    assert_eq!(sync.get_sync_peers().await.unwrap(), [honest.address().id.unwrap()]);
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_about_payloads_is_banned_alone() {
    let last = |request: &Request, answer: &Bytes| match request {
        Request::Bodies { .. } | Request::Follow { .. } => answer.len().checked_sub(1),
        Request::Segment { bodies, .. } if *bodies > 0 => answer.len().checked_sub(1),
        _ => None,
    };
    liar_is_banned_alone("payloads", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_about_what_lies_below_the_first_block_is_banned() {
    // Kind of answer, length of the segment, its first height: the parent's id begins there.
    let parent = |request: &Request, _: &Bytes| match request {
        Request::Segment { range, .. } if range.first() == Height::new(1) => Some(6),
        Request::Follow { after: Height::ZERO, .. } => Some(6),
        _ => None,
    };
    liar_is_banned_alone("genesis", parent).await;
}

/// An engine of a node that is no validator.
struct Engine;

impl ConsensusControl for Engine {
    fn validator(&self, _: Epoch) -> Option<(Hash, u64)> {
        None
    }

    fn vote_record(&self) -> VoteRecord {
        VoteRecord::Never
    }

    fn advert(&self, _: Hash, _: bool) -> Option<Bytes> {
        None
    }

    fn pause_consensus_participation(&self, _: PauseReason) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn start_consensus_participation(&self, _: Permit) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn transition_to_sync_mode(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn transition_to_normal_mode(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn transition_to_consensus_mode(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_follows_a_chain_of_another_kind() {
    let net = Net::new();
    let server = serve(net.handler(&net.full()));
    let mut sync = net.builder("late").with_peers([server.address()]).with_consensus(Arc::new(Engine)).build().unwrap();
    let consensus = sync.coordinate(Arc::new(Engine), GateSettings::default()).unwrap();
    sync.start_sync(None).await.unwrap();
    assert_eq!(soon(sync.synced()).await.unwrap().height, TIP);
    assert!(consensus.handle_sync_completion(TIP.next()).await.is_err());
    soon(consensus.handle_falling_behind(TIP.plus(900))).await.unwrap();
    assert!(matches!(*consensus.mode().borrow(), ConsensusMode::Syncing(_)));
    soon(sync.shutdown()).await;
}
