//! Outputs of a light client as JavaScript has them.

use hotstuff2_sync::light::{Freshness, LightAnswer, LightBlock, LightError, LightEvent, LightHalt, LightPosition};
use js_sys::Array;
use wasm_bindgen::JsValue;

use crate::output::{Blame, HostOutput, Read};
use crate::values::{bytes, count, error, hash, object, or_undefined};

fn block(block: &LightBlock) -> JsValue {
    object(&[
        ("height", block.height.get().into()),
        ("id", hash(&block.id)),
        ("timestamp", JsValue::from_f64(block.timestamp.get() as f64)),
        ("stateRoot", or_undefined(block.state_root.as_ref().map(hash))),
    ])
}

fn light_error(found: &LightError) -> JsValue {
    error("light", found.code(), found.name(), &found.to_string())
}

fn read(read: &Read) -> JsValue {
    let siblings: Array = read.siblings.iter().map(|sibling| bytes(sibling)).collect();
    let leaf = read.leaf.map(|(key, value)| object(&[("keyHash", bytes(&key)), ("valueHash", bytes(&value))]));
    object(&[("keyHash", bytes(&read.key_hash)), ("leaf", or_undefined(leaf)), ("siblings", siblings.into())])
}

fn answer(found: &LightAnswer, proof: Option<&Read>) -> JsValue {
    match found {
        LightAnswer::Value { value, block: of } => object(&[
            ("value", or_undefined(value.as_ref().map(|value| bytes(value)))),
            ("block", block(of)),
            ("proof", or_undefined(proof.map(read))),
        ]),
        LightAnswer::Header(of) => block(of),
        LightAnswer::Bodies { first, payloads } => {
            let payloads: Array = payloads.iter().map(|payload| bytes(payload)).collect();
            object(&[("first", first.get().into()), ("payloads", payloads.into())])
        }
        _ => JsValue::UNDEFINED,
    }
}

fn event(found: &LightEvent, blame: Option<&Blame>) -> JsValue {
    let mut properties = vec![("type", found.name().into()), ("code", found.code().into())];
    match found {
        LightEvent::Epoch { epoch } => properties.push(("epoch", epoch.get().into())),
        LightEvent::Skipped { from, to } => {
            properties.extend([("from", from.get().into()), ("epoch", to.get().into())]);
        }
        LightEvent::Tip { block: of, witnesses } => {
            properties.extend([("block", block(of)), ("witnesses", count(*witnesses))]);
        }
        LightEvent::Stalled { reason, .. } => {
            let words = reason.to_string();
            properties.extend([
                ("reason", reason.name().into()),
                ("reasonCode", reason.code().into()),
                ("message", words.into()),
            ]);
        }
        LightEvent::Banned { peer, fault } => {
            properties.extend([
                ("peer", bytes(peer.as_bytes())),
                ("fault", fault.name().into()),
                ("faultCode", fault.code().into()),
                ("message", fault.to_string().into()),
                ("request", or_undefined(blame.map(|blame| bytes(&blame.request)))),
                ("answer", or_undefined(blame.map(|blame| bytes(&blame.answer)))),
            ]);
        }
        LightEvent::SuspectSelf { fault, groups } => {
            properties.extend([
                ("fault", fault.name().into()),
                ("faultCode", fault.code().into()),
                ("groups", count(*groups)),
            ]);
        }
        LightEvent::Halted(reason) => {
            let evidence = match reason {
                LightHalt::ConflictingFinality { evidence, .. } if !evidence.is_empty() => Some(bytes(evidence)),
                _ => None,
            };
            properties.extend([
                ("reason", reason.name().into()),
                ("reasonCode", reason.code().into()),
                ("message", reason.to_string().into()),
                ("evidence", or_undefined(evidence)),
            ]);
        }
        _ => {}
    }
    object(&properties)
}

/// An output of a host, as JavaScript has it.
pub(crate) fn output(found: &HostOutput) -> JsValue {
    match found {
        HostOutput::Send { connection, bytes: content } => {
            object(&[("type", "send".into()), ("connection", (*connection).into()), ("bytes", bytes(content))])
        }
        HostOutput::Close { connection, reason, banned_for } => object(&[
            ("type", "close".into()),
            ("connection", (*connection).into()),
            ("reason", reason.as_str().into()),
            ("bannedFor", or_undefined(banned_for.map(|millis| JsValue::from_f64(millis as f64)))),
        ]),
        HostOutput::Open { connection, peer } => {
            object(&[("type", "open".into()), ("connection", (*connection).into()), ("peer", bytes(peer.as_bytes()))])
        }
        HostOutput::Event(found, blame) => object(&[("type", "event".into()), ("event", event(found, blame.as_ref()))]),
        HostOutput::Answer { query, result } => {
            let (name, value) = match result {
                Ok((found, proof)) => ("answer", answer(found, proof.as_ref())),
                Err(error) => ("error", light_error(error)),
            };
            object(&[("type", "answer".into()), ("query", query.get().into()), (name, value)])
        }
        HostOutput::Keep(checkpoint) => object(&[("type", "keep".into()), ("checkpoint", bytes(checkpoint))]),
    }
}

/// Where a client stands.
pub(crate) fn position(found: &LightPosition) -> JsValue {
    let freshness = match found.freshness {
        Freshness::Fresh => "fresh",
        Freshness::Old { .. } => "old",
        Freshness::Unknown => "unknown",
    };
    object(&[
        ("epoch", found.epoch.epoch().get().into()),
        ("tip", or_undefined(found.tip.as_ref().map(|(tip, _)| block(&(*tip).into())))),
        ("witnesses", count(found.witnesses)),
        ("freshness", freshness.into()),
        ("proven", or_undefined(found.proven.map(|tip| block(&tip.into())))),
    ])
}
