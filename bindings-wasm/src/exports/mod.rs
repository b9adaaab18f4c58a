//! The border: the classes that JavaScript sees. It checks what comes in, and throws plain objects with a `kind`, a `code`, a
//! `name` and a `message`, which the package's TypeScript makes errors of.
#![allow(unsafe_code, reason = "what wasm-bindgen writes for the functions and classes of this folder")]

#[cfg(feature = "full")]
mod full;
#[cfg(feature = "light")]
mod light;

use std::sync::Mutex;

use hotstuff2_sync::state::key_hash;
use hotstuff2_sync::time::Instant;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::settings::StartError;
use crate::values;

#[cfg(feature = "full")]
pub use full::{Full, Rules, not_available};
#[cfg(feature = "light")]
pub use light::Light;

/// Where and why the last panic was.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Called once when the module is loaded.
#[wasm_bindgen(start)]
pub fn on_load() {
    std::panic::set_hook(Box::new(|panic| {
        if let Ok(mut words) = PANIC.lock() {
            *words = panic.to_string();
        }
    }));
}

/// Where and why the module panicked, which it never should; empty where it did not.
#[wasm_bindgen(js_name = lastPanic)]
pub fn last_panic() -> String {
    PANIC.lock().map(|words| words.clone()).unwrap_or_default()
}

/// Panics, so that tests see what becomes of it.
#[wasm_bindgen(js_name = panicForTest)]
#[allow(clippy::panic, reason = "it is what this is for")]
pub fn panic_for_test() {
    panic!("a test asked for it");
}

/// The version of the library.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// The hash under which a key stands in the state.
#[wasm_bindgen(js_name = keyHash)]
pub fn hash_of_key(key: &[u8]) -> Vec<u8> {
    key_hash(key).as_bytes().to_vec()
}

/// The error of a start, thrown.
fn start_failed(error: &StartError) -> JsValue {
    values::error("start", 0, error.name(), &error.to_string())
}

fn argument(message: &str) -> JsValue {
    values::error("argument", 0, "argument", message)
}

fn fixed(bytes: &[u8], name: &str) -> Result<[u8; 32], JsValue> {
    bytes.try_into().map_err(|_| argument(&format!("{name} must have 32 bytes, it has {}", bytes.len())))
}

/// A number of JavaScript as a whole one: what is no number, or below zero, is zero.
fn whole(number: f64) -> u64 {
    number as u64
}

fn instant(millis: f64) -> Instant {
    Instant::from_micros(whole(millis * 1000.0))
}

/// The number of a group: FNV-1a of its name. Names come from whoever runs the page, not from peers.
fn number_of(group: &str) -> u64 {
    group.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
