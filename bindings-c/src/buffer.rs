//! [`Buffer`]: bytes that pass the border without a copy. The library hands out memory, the host fills it, and once it is
//! frozen nobody writes to it any more and both may hold it.

use bytes::Bytes;

use crate::failure::Failure;
use crate::objects::{Exclusive, Kind};
use crate::status::Status;
use crate::table::{self, Object};
use crate::types::{HS2_MAX_BUFFER_BYTES, hs2_buffer};

/// Bytes, to be filled or final.
#[derive(Debug)]
pub(crate) struct Buffer(Exclusive<Content>);

#[derive(Debug)]
pub(crate) enum Content {
    Open(Vec<u8>),
    Frozen(Bytes),
}

impl Object for Buffer {
    const KIND: Kind = Kind::Buffer;
}

impl Buffer {
    pub(crate) fn open(capacity: usize) -> Result<Self, Failure> {
        if capacity > HS2_MAX_BUFFER_BYTES {
            return Err(Failure::new(Status::TooMany, format!("a buffer has at most {HS2_MAX_BUFFER_BYTES} bytes")));
        }
        Ok(Self(Exclusive::new(Content::Open(vec![0; capacity]))))
    }

    pub(crate) const fn frozen(bytes: Bytes) -> Self {
        Self(Exclusive::new(Content::Frozen(bytes)))
    }

    /// Where to write, and how much.
    pub(crate) fn memory(&self) -> Result<(*mut u8, usize), Failure> {
        match &mut *self.0.lock()? {
            Content::Open(bytes) => Ok((bytes.as_mut_ptr(), bytes.len())),
            Content::Frozen(_) => Err(Failure::new(Status::WrongState, "the buffer is frozen: it can only be read")),
        }
    }

    /// Ends the writing: the first `len` bytes are what it holds.
    pub(crate) fn freeze(&self, len: usize) -> Result<(), Failure> {
        let mut content = self.0.lock()?;
        let Content::Open(bytes) = &mut *content else {
            return Err(Failure::new(Status::WrongState, "the buffer is frozen already"));
        };
        if len > bytes.len() {
            return Err(Failure::argument("len", "is larger than the buffer"));
        }
        let mut bytes = std::mem::take(bytes);
        bytes.truncate(len);
        *content = Content::Frozen(bytes.into());
        Ok(())
    }

    /// The bytes of a frozen buffer.
    pub(crate) fn bytes(&self) -> Result<Bytes, Failure> {
        match &*self.0.lock()? {
            Content::Frozen(bytes) => Ok(bytes.clone()),
            Content::Open(_) => Err(Failure::new(Status::WrongState, "the buffer is not frozen yet")),
        }
    }
}

/// A handle to final bytes.
pub(crate) fn give(bytes: impl Into<Bytes>) -> Result<hs2_buffer, Failure> {
    table::insert(Buffer::frozen(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freezing_moves_no_byte() {
        for (capacity, len) in [(0, 0), (1, 0), (1, 1), (4096, 17), (4096, 4096), (1 << 20, 300_000)] {
            let buffer = Buffer::open(capacity).unwrap();
            let (start, size) = buffer.memory().unwrap();
            assert_eq!(size, capacity);
            buffer.freeze(len).unwrap();
            let bytes = buffer.bytes().unwrap();
            assert_eq!(bytes.len(), len);
            assert!(len == 0 || std::ptr::eq(bytes.as_ptr(), start), "{capacity} {len}");
        }
    }

    #[test]
    fn a_buffer_is_written_before_it_is_frozen_and_read_after() {
        let buffer = Buffer::open(4).unwrap();
        assert_eq!(buffer.bytes().unwrap_err().status, Status::WrongState);
        assert_eq!(buffer.freeze(5).unwrap_err().status, Status::InvalidArgument);
        buffer.freeze(3).unwrap();
        assert_eq!(buffer.memory().unwrap_err().status, Status::WrongState);
        assert_eq!(buffer.freeze(3).unwrap_err().status, Status::WrongState);
        assert_eq!(Buffer::open(HS2_MAX_BUFFER_BYTES + 1).unwrap_err().status, Status::TooMany);
    }
}
