//! [`Failure`]: a status with words, and the words of a thread's last one.

use std::cell::Cell;
use std::ffi::c_char;

use hotstuff2_sync::chain::Fault;

use crate::status::Status;

/// Bytes of a thread's last error text, the closing zero included. Longer texts are cut.
const TEXT_BYTES: usize = 512;

thread_local! {
    // Never moved and never freed before its thread ends, so that a pointer to it that a host keeps too long leads to
    // other words and not nowhere.
    static LAST: [Cell<u8>; TEXT_BYTES] = const { [const { Cell::new(0) }; TEXT_BYTES] };
}

/// Why a call did nothing.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// An argument that can't be.
    pub(crate) fn argument(name: &str, why: &str) -> Self {
        Self::new(Status::InvalidArgument, format!("`{name}` {why}"))
    }

    /// Bytes that can't be decoded.
    pub(crate) fn malformed(what: &str, why: impl std::fmt::Display) -> Self {
        Self::new(Status::Malformed, format!("{what}: {why}"))
    }

    /// Keeps the words for [`last_text`].
    pub(crate) fn remember(&self) {
        // Inside of a character the cut would make the text no UTF-8.
        let longest = self.text.len().min(TEXT_BYTES - 1);
        let most = (0..=longest).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0);
        let bytes = self.text.bytes().take(most).map(|byte| if byte == 0 { b' ' } else { byte });
        let _ = LAST.try_with(|last| {
            last.iter().zip(bytes.chain([0])).for_each(|(place, byte)| place.set(byte));
        });
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::new(Status::False, fault.to_string())
    }
}

/// The words of the last failure on this thread; empty before the first.
pub(crate) fn last_text() -> *const c_char {
    LAST.try_with(|last| last.as_ptr().cast()).unwrap_or(c"".as_ptr())
}
