//! Outputs of the machine as JavaScript has them: the same as the C interface tells, by the same numbers.

use hotstuff2_sync::calls::{Apply, HostCall, HostWork};
use hotstuff2_sync::chain::CheckError;
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{DecidedError, Event, HaltReason, Machine, Output, Penalty};
use hotstuff2_sync::time::Instant;
use js_sys::Array;
use wasm_bindgen::JsValue;

use crate::values::{bytes, error, hash, object, or_undefined};

type Properties = Vec<(&'static str, JsValue)>;

/// A whole number of JavaScript: counts and times, far below 2^53.
fn number(value: u64) -> JsValue {
    JsValue::from_f64(value as f64)
}

fn millis(at: Instant) -> JsValue {
    JsValue::from_f64(at.as_micros() as f64 / 1000.0)
}

fn text(words: &str) -> JsValue {
    JsValue::from_str(words)
}

/// An output. An error is the host's own: what was verified can't be read again, so its memory is bad.
pub(crate) fn output(found: &Output, chain: &NativeChain) -> Result<JsValue, CheckError> {
    let mut properties: Properties = vec![("type", text(found.name())), ("code", found.code().into())];
    match found {
        Output::Request { id, peer, request, max_response_bytes } => properties.extend([
            ("id", id.get().into()),
            ("peer", bytes(peer.as_bytes())),
            ("request", bytes(&request.encode())),
            ("maxResponseBytes", number(*max_response_bytes)),
        ]),
        Output::CancelRequest(id) => properties.push(("id", id.get().into())),
        Output::Verify(job) => {
            properties.extend([("id", job.id().get().into()), ("height", job.height().get().into())]);
        }
        Output::CancelJob(id) => properties.push(("id", id.get().into())),
        Output::Call(call) => properties.extend(call_of(call, chain)?),
        Output::Penalize { peer, penalty } => {
            properties.extend([
                ("peer", bytes(peer.as_bytes())),
                ("penalty", text(penalty.name())),
                ("penaltyCode", penalty.code().into()),
                ("message", penalty.to_string().into()),
            ]);
            match penalty {
                Penalty::Ban { fault, until } => properties.extend([
                    ("reason", text(fault.name())),
                    ("reasonCode", fault.code().into()),
                    ("until", millis(*until)),
                ]),
                Penalty::Exclude { reason, until } => properties.extend([
                    ("reason", text(reason.name())),
                    ("reasonCode", reason.code().into()),
                    ("until", millis(*until)),
                ]),
                _ => {}
            }
        }
        Output::Decided { id, result } => {
            properties.push(("id", id.get().into()));
            match result {
                Ok(through) => properties.push(("through", through.get().into())),
                Err(why) => {
                    let height = match why {
                        DecidedError::UnknownEpoch(height) | DecidedError::Contradicted(height) => Some(*height),
                        DecidedError::Overlap { next } => Some(*next),
                        _ => None,
                    };
                    properties.extend([
                        ("error", error("decided", why.code(), why.name(), &why.to_string())),
                        ("height", or_undefined(height.map(|height| height.get().into()))),
                    ]);
                }
            }
        }
        Output::Event(event) => properties.push(("event", event_of(event))),
        Output::Wait(deadline) => properties.push(("deadline", or_undefined(deadline.map(millis)))),
        // Outputs that only a later version of the core has.
        _ => {}
    }
    Ok(object(&properties))
}

fn call_of(call: &HostCall, chain: &NativeChain) -> Result<Properties, CheckError> {
    let mut properties: Properties =
        vec![("id", call.id.get().into()), ("work", text(call.work.name())), ("workCode", call.work.code().into())];
    let range = match &call.work {
        HostWork::Apply(apply) => {
            properties.extend(apply_of(apply, chain)?);
            apply.range()
        }
        HostWork::Replay(range) => Some(*range),
        HostWork::StoreHandovers(links) => {
            let links = links
                .iter()
                .map(|link| object(&[("ended", link.ended.get().into()), ("handover", bytes(&link.bytes))]));
            properties.push(("handovers", links.collect::<Array>().into()));
            None
        }
        _ => None,
    };
    if let Some(range) = range {
        properties.extend([("first", range.first().get().into()), ("last", range.last().get().into())]);
    }
    Ok(properties)
}

fn apply_of(apply: &Apply, chain: &NativeChain) -> Result<Properties, CheckError> {
    let (blocks, segments) = (Array::new(), Array::new());
    for part in &apply.parts {
        let stored = &part.segment;
        let certified = stored.decoded(chain)?.proof().certificate().is_some();
        segments.push(&object(&[
            ("first", stored.range().first().get().into()),
            ("last", stored.range().last().get().into()),
            ("epoch", stored.epoch().get().into()),
            ("certified", certified.into()),
            ("segment", bytes(stored.bytes())),
            ("audit", bytes(stored.audit())),
        ]));
        for block in part.blocks(chain, Height::ZERO) {
            let block = block?;
            blocks.push(&object(&[
                ("height", block.height.get().into()),
                ("id", hash(&block.id)),
                ("timestamp", number(block.timestamp.get())),
                ("stateRoot", hash(&block.state_root)),
                ("payload", bytes(block.payload)),
                ("executed", part.executed.into()),
            ]));
        }
    }
    Ok(vec![
        ("blocks", blocks.into()),
        ("segments", segments.into()),
        ("tip", or_undefined(apply.tip.as_deref().map(bytes))),
        ("target", apply.target.get().into()),
    ])
}

fn event_of(event: &Event) -> JsValue {
    let mut properties: Properties =
        vec![("type", text(event.name())), ("code", event.code().into()), ("message", event.to_string().into())];
    let height = match event {
        Event::Target { height, .. }
        | Event::StateTarget { height, .. }
        | Event::StateLost { height }
        | Event::StateMismatch { height, .. } => Some(*height),
        Event::StateActive(point) | Event::Reached(point) => Some(point.height),
        Event::Halted(HaltReason::ConflictingFinality { height, .. } | HaltReason::StateRoot { height, .. }) => {
            Some(*height)
        }
        Event::Halted(HaltReason::Apply { through, .. }) => Some(*through),
        _ => None,
    };
    properties.extend(height.map(|height| ("height", height.get().into())));
    match event {
        Event::Strategy { strategy, .. } => {
            properties.extend([("reason", text(strategy.name())), ("reasonCode", strategy.code().into())]);
        }
        Event::Stalled { reason, next, .. } => properties.extend([
            ("reason", text(reason.name())),
            ("reasonCode", reason.code().into()),
            ("next", millis(*next)),
        ]),
        Event::Banned { peer, fault } => properties.extend([
            ("peer", bytes(peer.as_bytes())),
            ("reason", text(fault.name())),
            ("reasonCode", fault.code().into()),
        ]),
        Event::SuspectSelf { fault, .. } => {
            properties.extend([("reason", text(fault.name())), ("reasonCode", fault.code().into())]);
        }
        Event::Halted(reason) => {
            properties.extend([("reason", text(reason.name())), ("reasonCode", reason.code().into())]);
            if let HaltReason::ConflictingFinality { evidence, .. } = reason {
                properties.push(("evidence", bytes(evidence)));
            }
        }
        _ => {}
    }
    object(&properties)
}

/// How far a machine is.
pub(crate) fn progress(machine: &Machine) -> JsValue {
    let progress = machine.progress();
    object(&[
        ("start", progress.start.get().into()),
        ("current", progress.current.get().into()),
        ("target", progress.target.get().into()),
        ("claimed", or_undefined(progress.claimed.map(|height| height.get().into()))),
        ("tipTime", or_undefined(progress.tip_time.map(|time| number(time.get())))),
        ("blocksPerSecond", number(progress.blocks_per_second)),
        ("remaining", or_undefined(progress.remaining.map(|left| JsValue::from_f64(left.as_secs_f64() * 1000.0)))),
        ("payloadBytes", number(progress.payload_bytes)),
        ("usefulBytes", number(progress.useful_bytes)),
        ("duplicateBytes", number(progress.duplicate_bytes)),
        ("bufferedBytes", number(progress.buffered_bytes)),
        ("strategy", text(progress.strategy.name())),
        ("bottleneck", text(progress.bottleneck.name())),
        ("stall", or_undefined(progress.stall.map(|stall| text(stall.reason.name())))),
        ("halted", machine.is_halted().into()),
    ])
}
