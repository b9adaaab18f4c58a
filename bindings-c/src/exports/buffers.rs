//! Buffers: bytes over the border without a copy.
#![allow(unsafe_code)]

use bytes::Bytes;

use crate::buffer::{Buffer, give};
use crate::failure::Failure;
use crate::fence::fence;
use crate::pointer::{Out, bytes};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{HS2_MAX_BUFFER_BYTES, hs2_buffer, hs2_slice};

/// Memory of `capacity` zero bytes, at most `HS2_MAX_BUFFER_BYTES`, to be filled by the host and frozen.
/// Ownership: one reference to `buffer`. Threads: any.
/// Errors: `HS2_TOO_MANY` for more bytes, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_buffer_new(capacity: usize, buffer: *mut hs2_buffer) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the header asks for.
        let buffer = unsafe { Out::new(buffer, "buffer") }?;
        buffer.set(table::insert(Buffer::open(capacity)?)?);
        Ok(())
    })
}

/// A frozen buffer with a copy of `content`. Ownership: one reference to `buffer`. Threads: any.
/// Errors: `HS2_TOO_MANY` for more than `HS2_MAX_BUFFER_BYTES`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_buffer_copy(content: hs2_slice, buffer: *mut hs2_buffer) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (content, buffer) = unsafe { (bytes(content, "content")?, Out::new(buffer, "buffer")?) };
        if content.len() > HS2_MAX_BUFFER_BYTES {
            return Err(Failure::new(Status::TooMany, "the content is larger than a buffer can be"));
        }
        buffer.set(give(Bytes::copy_from_slice(content))?);
        Ok(())
    })
}

/// Where to write in a buffer that is not frozen, and how many bytes. The memory stays where it is until the buffer is
/// frozen; nothing may be written to it after that. Threads: one at a time.
/// Errors: `HS2_WRONG_STATE` for a frozen buffer, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_buffer_memory(buffer: hs2_buffer, data: *mut *mut u8, capacity: *mut usize) -> hs2_status {
    fence(buffer, || {
        // SAFETY: writable, as the header asks for.
        let (data, capacity) = unsafe { (Out::new(data, "data")?, Out::new(capacity, "capacity")?) };
        let (start, size) = table::get::<Buffer>(buffer)?.memory()?;
        data.set(start);
        capacity.set(size);
        Ok(())
    })
}

/// Ends the writing: the first `len` bytes are the buffer's content from now on, and never change. No byte is moved.
/// Threads: one at a time.
/// Errors: `HS2_WRONG_STATE` for a frozen buffer, `HS2_INVALID_ARGUMENT` for more bytes than there are,
/// `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_buffer_freeze(buffer: hs2_buffer, len: usize) -> hs2_status {
    fence(buffer, || table::get::<Buffer>(buffer)?.freeze(len))
}

/// The content of a frozen buffer. Ownership: borrowed; it is there until the buffer's last reference is released.
/// Threads: any.
/// Errors: `HS2_WRONG_STATE` for a buffer that is not frozen, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_buffer_bytes(buffer: hs2_buffer, content: *mut hs2_slice) -> hs2_status {
    fence(buffer, || {
        // SAFETY: writable, as the header asks for.
        let content = unsafe { Out::new(content, "content") }?;
        content.set(hs2_slice::of(&table::get::<Buffer>(buffer)?.bytes()?));
        Ok(())
    })
}
