//! What a node answers.

use alloc::vec::Vec;

use bytes::{Buf as _, Bytes};

use crate::chain::Fault;

const TAG_DATA: u8 = 0;
const TAG_NOT_AVAILABLE: u8 = 1;
const TAG_BUSY: u8 = 2;
const TAG_UNSUPPORTED: u8 = 3;

/// Why a peer gives no data. None of these is a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The peer doesn't hold it (pruned, not there yet), or has nothing new for a follower.
    NotAvailable,
    /// The peer is busy; ask again after so many milliseconds.
    Busy {
        /// Milliseconds to wait.
        retry_after_ms: u32,
    },
    /// The peer doesn't speak this version of the protocol or doesn't know this request.
    Unsupported,
}

/// An answer, with its data still unread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Data in the form that belongs to the request.
    Data(Bytes),
    /// No data.
    Refused(Refusal),
}

impl Answer {
    /// Reads an answer's envelope. The data stays as it is: verification jobs read it.
    pub fn decode(mut bytes: Bytes) -> Result<Self, Fault> {
        let tag = bytes.try_get_u8().map_err(|_| Fault::Malformed)?;
        let refusal = match tag {
            TAG_DATA => return Ok(Self::Data(bytes)),
            TAG_NOT_AVAILABLE => Refusal::NotAvailable,
            TAG_BUSY => Refusal::Busy { retry_after_ms: bytes.try_get_u32_le().map_err(|_| Fault::Malformed)? },
            TAG_UNSUPPORTED => Refusal::Unsupported,
            // A newer peer may know answers that we don't.
            _ => return Ok(Self::Refused(Refusal::Unsupported)),
        };
        if bytes.has_remaining() { Err(Fault::NonCanonical) } else { Ok(Self::Refused(refusal)) }
    }
}

/// Starts an answer with data: append the data to what is returned.
pub fn encode_answer(capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(capacity.saturating_add(1));
    bytes.push(TAG_DATA);
    bytes
}

/// An answer without data.
pub fn encode_refusal(refusal: Refusal) -> Bytes {
    let mut bytes = Vec::new();
    match refusal {
        Refusal::NotAvailable => bytes.push(TAG_NOT_AVAILABLE),
        Refusal::Unsupported => bytes.push(TAG_UNSUPPORTED),
        Refusal::Busy { retry_after_ms } => {
            bytes.push(TAG_BUSY);
            bytes.extend_from_slice(&retry_after_ms.to_le_bytes());
        }
    }
    bytes.into()
}
