//! A key with its value, as one record of the store. The key is kept in full: the tree knows only its hash, and a
//! snapshot must hand out keys.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// Bytes before the key: its length, little-endian.
const PREFIX: usize = 2;

/// A key and its value within the limits. Its bytes are the key's length (two bytes, little-endian), key, value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    bytes: Bytes,
    key_len: u16,
}

/// Why a key and a value, or bytes, are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The key is too long.
    #[error("a key has at most {MAX_KEY_BYTES} bytes, this one has {0}: hash it, or keep part of it in the value")]
    KeyTooLong(usize),
    /// The value is too large.
    #[error("a value has at most {MAX_VALUE_BYTES} bytes, this one has {0}: split it over several keys")]
    ValueTooLarge(usize),
    /// The bytes end within the key.
    #[error("the record is cut short")]
    Truncated,
}

impl Record {
    /// A record of `key` and `value`.
    pub fn new(key: &[u8], value: &[u8]) -> Result<Self, RecordError> {
        let key_len = check(key.len(), value.len())?;
        let mut bytes = Vec::with_capacity(PREFIX.saturating_add(key.len()).saturating_add(value.len()));
        bytes.extend_from_slice(&key_len.to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Ok(Self { bytes: bytes.into(), key_len })
    }

    /// Reads what [`as_bytes`](Self::as_bytes) wrote.
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX>().ok_or(RecordError::Truncated)?;
        let key_len = usize::from(u16::from_le_bytes(*prefix));
        let value_len = rest.len().checked_sub(key_len).ok_or(RecordError::Truncated)?;
        let key_len = check(key_len, value_len)?;
        Ok(Self { bytes, key_len })
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.parts().0
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        self.parts().1
    }

    /// The value, without copying it.
    pub fn into_value(self) -> Bytes {
        self.bytes.slice(PREFIX.saturating_add(usize::from(self.key_len)).min(self.bytes.len())..)
    }

    /// The record as it is stored.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        self.bytes
            .split_at_checked(PREFIX)
            .and_then(|(_, rest)| rest.split_at_checked(usize::from(self.key_len)))
            .unwrap_or_default()
    }
}

/// Checks the limits; the key's length as it is written.
pub(super) fn check(key_len: usize, value_len: usize) -> Result<u16, RecordError> {
    if value_len > MAX_VALUE_BYTES {
        return Err(RecordError::ValueTooLarge(value_len));
    }
    match u16::try_from(key_len) {
        Ok(short) if key_len <= MAX_KEY_BYTES => Ok(short),
        _ => Err(RecordError::KeyTooLong(key_len)),
    }
}
