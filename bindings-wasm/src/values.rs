//! Values of JavaScript: heights as `bigint`, hashes and bytes as `Uint8Array`, everything else as plain objects with a
//! `type`, its number in the table of codes, and its words.

use hotstuff2_sync::hash::Hash;
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::JsValue;

/// An object with these properties.
pub(crate) fn object(properties: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in properties {
        // Setting a property of a fresh object can't fail.
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object.into()
}

pub(crate) fn bytes(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

pub(crate) fn hash(hash: &Hash) -> JsValue {
    bytes(hash.as_bytes())
}

pub(crate) fn or_undefined(value: Option<JsValue>) -> JsValue {
    value.unwrap_or(JsValue::UNDEFINED)
}

#[cfg(feature = "light")]
pub(crate) fn count(number: usize) -> JsValue {
    // Counts here are far below 2^53.
    JsValue::from_f64(number as f64)
}

/// An error, which the JavaScript side makes an instance of a class of.
pub(crate) fn error(kind: &str, code: u16, name: &str, message: &str) -> JsValue {
    object(&[("kind", kind.into()), ("code", code.into()), ("name", name.into()), ("message", message.into())])
}
