//! Bytes over the border, for tests that call the exported functions from Rust.
#![allow(dead_code, unsafe_code)]

use hs2sync::*;

/// The handle or number that a function writes last.
macro_rules! made {
    ($function:ident($($argument:expr),* $(,)?)) => {{
        let mut made = 0;
        // SAFETY: all places are real.
        let status = unsafe { $function($($argument,)* &raw mut made) };
        assert_eq!(status, 0, "{}", $crate::host::last_error());
        made
    }};
}

/// The plain value that a function writes last.
macro_rules! filled {
    ($function:ident($($argument:expr),* $(,)?)) => {{
        let mut value = std::mem::MaybeUninit::uninit();
        // SAFETY: all places are real, and the value is written where the status is 0.
        unsafe {
            let status = $function($($argument,)* value.as_mut_ptr());
            assert_eq!(status, 0, "{}", $crate::host::last_error());
            value.assume_init()
        }
    }};
}

/// No bytes.
pub(crate) const NONE: hs2_slice = hs2_slice { data: std::ptr::null(), len: 0 };

/// An id of this byte alone.
pub(crate) fn id(byte: u8) -> hs2_id {
    hs2_id { bytes: [byte; 32] }
}

/// Bytes as a host shows them.
pub(crate) fn slice(bytes: &[u8]) -> hs2_slice {
    hs2_slice { data: bytes.as_ptr(), len: bytes.len() }
}

/// Bytes that the library shows.
pub(crate) fn shown(slice: hs2_slice) -> Vec<u8> {
    if slice.len == 0 {
        return Vec::new();
    }
    // SAFETY: the library says that they are there, and its object is still held.
    unsafe { std::slice::from_raw_parts(slice.data, slice.len).to_vec() }
}

/// The content of a frozen buffer, which is released.
pub(crate) fn taken(buffer: hs2_buffer) -> Vec<u8> {
    let mut bytes = NONE;
    // SAFETY: the place is real.
    assert_eq!(unsafe { hs2_buffer_bytes(buffer, &raw mut bytes) }, 0);
    let content = shown(bytes);
    assert_eq!(hs2_release(buffer), 0);
    content
}

/// The same as text.
pub(crate) fn words(buffer: hs2_buffer) -> String {
    String::from_utf8(taken(buffer)).unwrap()
}

/// A frozen buffer with these bytes.
pub(crate) fn given(bytes: &[u8]) -> hs2_buffer {
    made!(hs2_buffer_copy(slice(bytes)))
}

/// The words of this thread's last failure.
pub(crate) fn last_error() -> String {
    // SAFETY: a text that ends with a zero byte.
    unsafe { std::ffi::CStr::from_ptr(hs2_last_error()) }.to_string_lossy().into_owned()
}

/// A number of the header by its name, `HS2_` left out: numbers of tables are no constants of the Rust library.
pub(crate) fn code(kind: &str, name: &str) -> u32 {
    let (_, codes) = hotstuff2_sync::codes::TABLE.iter().find(|(of, _)| *of == kind).unwrap();
    codes.iter().find(|(_, of)| *of == name).unwrap().0.into()
}
