//! [`LightSeat`]: a light client behind a handle, and its outputs as plain values and handles.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::native::{Genesis, NativeChain, PROFILE, TrustAnchor};
use hotstuff2_sync::light::{
    Freshness, LightAnswer, LightBlock, LightCheckpoint, LightClient, LightConfig, LightError, LightEvent, LightHalt,
    LightOutput, LightStart, LightWay,
};
use hotstuff2_sync::time::{Instant, UnixMillis};

use crate::buffer::give;
use crate::failure::Failure;
use crate::machine::{HeldJob, NOTHING, penalty};
use crate::objects::{Exclusive, Kind};
use crate::status::Status;
use crate::table::{self, Object};
use crate::types::{
    HS2_LIGHT_BODIES, HS2_LIGHT_FRESH, HS2_LIGHT_HEADER, HS2_LIGHT_OLD, HS2_LIGHT_UNKNOWN_AGE, HS2_LIGHT_VALUE,
    HS2_NEVER, hs2_id, hs2_light_block, hs2_light_found, hs2_light_position, hs2_light_settings, hs2_output, hs2_slice,
};

/// A light client and what is kept of its outputs.
#[derive(Debug)]
pub(crate) struct LightSeat {
    pub(crate) client: LightClient,
    /// Proof of conflicting blocks, once it has halted for that.
    pub(crate) evidence: Option<Bytes>,
}

/// A light client behind a handle.
pub(crate) type Lights = Exclusive<LightSeat>;

impl Object for Lights {
    const KIND: Kind = Kind::Light;
}

impl Object for LightAnswer {
    const KIND: Kind = Kind::LightAnswer;
}

const NO_BLOCK: hs2_light_block = hs2_light_block {
    height: 0,
    timestamp_ms: 0,
    id: hs2_id { bytes: [0; 32] },
    state_root: hs2_id { bytes: [0; 32] },
};

impl LightSeat {
    pub(crate) const fn new(client: LightClient) -> Self {
        Self { client, evidence: None }
    }

    /// The next output.
    pub(crate) fn poll(&mut self) -> Result<hs2_output, Failure> {
        let output = self.client.poll_output();
        let mut plain = hs2_output { kind: output.code().into(), ..NOTHING };
        match output {
            LightOutput::Request { id, peer, request, max_response_bytes } => {
                plain.id = id.get();
                plain.peer.bytes = *peer.as_bytes();
                plain.max_response_bytes = max_response_bytes;
                plain.object = give(request.encode())?;
            }
            LightOutput::CancelRequest(id) => plain.id = id.get(),
            LightOutput::Verify(job) => {
                plain.id = job.id().get();
                plain.object = table::insert(HeldJob { job, was_read: false })?;
            }
            LightOutput::CancelJob(id) => plain.id = id.get(),
            LightOutput::Penalize { peer, penalty: of } => penalty(peer, of, &mut plain),
            LightOutput::Answer { query, result } => {
                plain.id = query.get();
                plain.object = match result {
                    Ok(answer) => table::insert(answer)?,
                    Err(error) => {
                        plain.code = error.code().into();
                        if let LightError::OutOfReach { height } = &error {
                            plain.height = height.get();
                        }
                        give(error.to_string())?
                    }
                };
            }
            LightOutput::Keep(checkpoint) => {
                plain.height = checkpoint.tip.height.get();
                plain.object = give(checkpoint.encode())?;
            }
            LightOutput::Event(event) => {
                self.describe(&event, &mut plain);
                plain.object = give(event.to_string())?;
            }
            LightOutput::Wait(deadline) => plain.deadline_us = deadline.map_or(HS2_NEVER, Instant::as_micros),
            // A kind that this library does not know is passed on by its number.
            _ => {}
        }
        Ok(plain)
    }

    fn describe(&mut self, event: &LightEvent, plain: &mut hs2_output) {
        plain.code = event.code().into();
        match event {
            LightEvent::Tip { block, .. } => plain.height = block.height.get(),
            LightEvent::Stalled { reason, next, .. } => {
                plain.detail = reason.code().into();
                plain.deadline_us = next.as_micros();
            }
            LightEvent::Banned { peer, fault } => {
                plain.peer.bytes = *peer.as_bytes();
                plain.detail = fault.code().into();
            }
            LightEvent::SuspectSelf { fault, .. } => plain.detail = fault.code().into(),
            LightEvent::Halted(reason) => {
                plain.detail = reason.code().into();
                if let LightHalt::ConflictingFinality { height, evidence } = reason {
                    plain.height = height.get();
                    self.evidence = Some(evidence.clone());
                }
            }
            _ => {}
        }
    }

    /// Where it stands.
    pub(crate) fn position(&self) -> hs2_light_position {
        let position = self.client.position();
        let (freshness, age) = match position.freshness {
            Freshness::Fresh => (HS2_LIGHT_FRESH, Duration::ZERO),
            Freshness::Old { age } => (HS2_LIGHT_OLD, age),
            Freshness::Unknown => (HS2_LIGHT_UNKNOWN_AGE, Duration::ZERO),
        };
        hs2_light_position {
            epoch: position.epoch.epoch().get(),
            proven: position.proven.map_or(0, |tip| tip.height.get()),
            tip: position.tip.map_or(NO_BLOCK, |(tip, _)| plain_block(&tip.into())),
            witnesses: u32::try_from(position.witnesses).unwrap_or(u32::MAX),
            freshness,
            age_ms: millis(age),
        }
    }
}

fn plain_block(block: &LightBlock) -> hs2_light_block {
    hs2_light_block {
        height: block.height.get(),
        timestamp_ms: block.timestamp.get(),
        id: block.id.into(),
        state_root: block.state_root.unwrap_or_default().into(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The content of an answer, as long as that is there.
pub(crate) fn found(answer: &LightAnswer) -> hs2_light_found {
    let mut plain = hs2_light_found {
        kind: 0,
        has_value: 0,
        block: NO_BLOCK,
        value: hs2_slice::of(&[]),
        first: 0,
        payload_count: 0,
    };
    match answer {
        LightAnswer::Value { value, block } => {
            plain.kind = HS2_LIGHT_VALUE;
            plain.has_value = value.is_some().into();
            plain.value = value.as_deref().map_or(plain.value, hs2_slice::of);
            plain.block = plain_block(block);
        }
        LightAnswer::Header(block) => (plain.kind, plain.block) = (HS2_LIGHT_HEADER, plain_block(block)),
        LightAnswer::Bodies { first, payloads } => {
            (plain.kind, plain.first, plain.payload_count) = (HS2_LIGHT_BODIES, first.get(), payloads.len());
        }
        // An answer that this library does not know is none.
        _ => {}
    }
    plain
}

/// The default settings as plain values.
pub(crate) fn defaults() -> hs2_light_settings {
    let config = LightConfig::default();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    hs2_light_settings {
        one_by_one: (config.way == LightWay::OneByOne).into(),
        witnesses: count(config.witnesses),
        max_peers: count(config.max_peers),
        suspect_self_groups: count(config.suspect_self_groups),
        peer_timeout_ms: millis(config.peer_timeout),
        query_timeout_ms: millis(config.query_timeout),
        job_timeout_ms: millis(config.job_timeout),
        freshness_ms: millis(config.freshness),
        status_interval_ms: millis(config.status_interval),
        stall_after_ms: millis(config.stall_after),
        ban_duration_ms: millis(config.ban_duration),
    }
}

/// Plain values as settings, in range or not.
pub(crate) fn config(plain: &hs2_light_settings) -> LightConfig {
    LightConfig {
        way: if plain.one_by_one == 0 { LightWay::Skipping } else { LightWay::OneByOne },
        witnesses: plain.witnesses as usize,
        max_peers: plain.max_peers as usize,
        peer_timeout: Duration::from_millis(plain.peer_timeout_ms),
        query_timeout: Duration::from_millis(plain.query_timeout_ms),
        job_timeout: Duration::from_millis(plain.job_timeout_ms),
        freshness: Duration::from_millis(plain.freshness_ms),
        status_interval: Duration::from_millis(plain.status_interval_ms),
        stall_after: Duration::from_millis(plain.stall_after_ms),
        ban_duration: Duration::from_millis(plain.ban_duration_ms),
        suspect_self_groups: plain.suspect_self_groups as usize,
    }
}

/// The start of a client: the genesis block, or the checkpoint that is not empty.
pub(crate) fn start(
    genesis: &Genesis,
    checkpoint: &[u8],
    wall: UnixMillis,
    accept_long_range: bool,
) -> Result<LightStart, Failure> {
    let period = genesis.document().trusting_period_ms.filter(|_| !accept_long_range);
    let trusting_period = period.map(Duration::from_millis);
    if checkpoint.is_empty() {
        let anchor = TrustAnchor::Genesis.check(genesis, wall, accept_long_range);
        let anchor = anchor.map_err(|error| Failure::new(Status::Refused, error.to_string()))?;
        return Ok(LightStart { chain_id: genesis.chain_id(), profile: PROFILE, anchor, trusting_period, tip: None });
    }
    Ok(read_checkpoint(genesis, checkpoint)?.into_start(PROFILE, trusting_period))
}

/// The chain that the jobs of a client with this start are verified under.
pub(crate) fn chain(genesis: &Genesis, checkpoint: &[u8]) -> Result<NativeChain, Failure> {
    if checkpoint.is_empty() {
        return Ok(NativeChain::new(genesis));
    }
    let start = read_checkpoint(genesis, checkpoint)?.into_start(PROFILE, None);
    Ok(NativeChain::with_anchor(genesis, &start.anchor))
}

fn read_checkpoint(genesis: &Genesis, bytes: &[u8]) -> Result<LightCheckpoint, Failure> {
    let read = LightCheckpoint::decode(bytes).map_err(|why| Failure::malformed("checkpoint", why))?;
    if read.chain_id != genesis.chain_id() {
        return Err(Failure::new(Status::Refused, "the checkpoint is of another chain than the genesis document"));
    }
    Ok(read)
}

/// The payload at `index` of an answer that has some.
pub(crate) fn payload(answer: &LightAnswer, index: usize) -> Option<&Bytes> {
    match answer {
        LightAnswer::Bodies { payloads, .. } => payloads.get(index),
        _ => None,
    }
}
