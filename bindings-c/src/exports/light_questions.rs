//! Questions to a light client, and their proven answers. An `HS2_LIGHT_OUTPUT_ANSWER` with the question's number closes each.
#![allow(unsafe_code)]

use bytes::Bytes;
use hotstuff2_sync::ids::{Height, QueryId};
use hotstuff2_sync::light::{At, LightAnswer, LightInput, Query};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::MAX_KEY_BYTES;
use hotstuff2_sync::time::Instant;

use crate::failure::Failure;
use crate::fence::fence;
use crate::light::{Lights, found, payload};
use crate::pointer::{Out, bytes};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{
    HS2_LIGHT_AT, HS2_LIGHT_NOW, HS2_LIGHT_SNAPSHOT, hs2_light, hs2_light_answer, hs2_light_found, hs2_slice,
};

/// Puts a question, and writes its number.
///
/// # Safety
/// `question` can be written to, if it is neither null nor misaligned.
unsafe fn ask(
    light: hs2_light,
    now_us: u64,
    question: *mut u64,
    query: impl FnOnce() -> Result<Query, Failure>,
) -> hs2_status {
    fence(light, || {
        // SAFETY: writable, as the caller promises.
        let question = unsafe { Out::new(question, "question") }?;
        let seat = table::get::<Lights>(light)?;
        let query = query()?;
        question.set(seat.lock()?.client.ask(Instant::from_micros(now_us), query).get());
        Ok(())
    })
}

/// Asks for the value of a key, at most 1,024 bytes: of the newest state that peers have (`HS2_LIGHT_NOW`), of the newest
/// snapshot (`HS2_LIGHT_SNAPSHOT`), or of the state after the block at `height` (`HS2_LIGHT_AT`), which no other `at` looks
/// at. Up to 64 questions may be open. The question's number goes to `question`. Threads: one at a time.
/// Errors: `HS2_TOO_MANY` for a longer key, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_get(
    light: hs2_light,
    now_us: u64,
    key: hs2_slice,
    at: u32,
    height: u64,
    question: *mut u64,
) -> hs2_status {
    // SAFETY: readable, as the header asks for.
    let key = || unsafe { bytes(key, "key") };
    let query = || {
        let at = match at {
            HS2_LIGHT_NOW => At::Now,
            HS2_LIGHT_SNAPSHOT => At::Snapshot,
            HS2_LIGHT_AT => At::Height(Height::new(height)),
            _ => return Err(Failure::argument("at", "is neither HS2_LIGHT_NOW, HS2_LIGHT_SNAPSHOT nor HS2_LIGHT_AT")),
        };
        let key = key()?;
        if key.len() > MAX_KEY_BYTES {
            return Err(Failure::new(Status::TooMany, format!("a key has at most {MAX_KEY_BYTES} bytes")));
        }
        Ok(Query::Read { key: Bytes::copy_from_slice(key), at })
    };
    // SAFETY: writable, as the header asks for.
    unsafe { ask(light, now_us, question, query) }
}

/// Asks for the block at a height, above the client's anchor and of an epoch that it knows. The question's number goes to
/// `question`. Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_header(
    light: hs2_light,
    now_us: u64,
    height: u64,
    question: *mut u64,
) -> hs2_status {
    // SAFETY: writable, as the header asks for.
    unsafe { ask(light, now_us, question, || Ok(Query::Header(Height::new(height)))) }
}

/// Asks for the payloads of the blocks from `first` to `last`, within one cell of 1,024 heights and one epoch. The question's
/// number goes to `question`. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_bodies(
    light: hs2_light,
    now_us: u64,
    first: u64,
    last: u64,
    question: *mut u64,
) -> hs2_status {
    let query = || {
        let range = HeightRange::new(Height::new(first), Height::new(last));
        range.map(Query::Bodies).ok_or_else(|| Failure::argument("last", "is below the first height"))
    };
    // SAFETY: writable, as the header asks for.
    unsafe { ask(light, now_us, question, query) }
}

/// Nobody waits for this question any more: it is not answered. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_light_drop(light: hs2_light, now_us: u64, question: u64) -> hs2_status {
    fence(light, || {
        let seat = table::get::<Lights>(light)?;
        seat.lock()?.client.handle(Instant::from_micros(now_us), LightInput::Drop(QueryId::from_raw(question)));
        Ok(())
    })
}

/// Reads an answer. Ownership: the value is borrowed from the answer. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_answer_read(answer: hs2_light_answer, content: *mut hs2_light_found) -> hs2_status {
    fence(answer, || {
        // SAFETY: writable, as the header asks for.
        let content = unsafe { Out::new(content, "content") }?;
        content.set(found(&*table::get::<LightAnswer>(answer)?));
        Ok(())
    })
}

/// Reads a payload of an answer of the kind `HS2_LIGHT_BODIES`: the one at `index`, from 0 on. Ownership: borrowed from the
/// answer. Threads: any. Errors: `HS2_NOT_FOUND` behind the last, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_answer_payload(
    answer: hs2_light_answer,
    index: usize,
    body: *mut hs2_slice,
) -> hs2_status {
    fence(answer, || {
        // SAFETY: writable, as the header asks for.
        let body = unsafe { Out::new(body, "body") }?;
        let answer = table::get::<LightAnswer>(answer)?;
        let found = payload(&answer, index);
        let found = found.ok_or_else(|| Failure::new(Status::NotFound, "there is no further payload"))?;
        body.set(hs2_slice::of(found));
        Ok(())
    })
}
