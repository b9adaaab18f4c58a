//! Pointers of the host, as far as they can be checked: not null, aligned, of a possible length. That they lead to memory
//! of that length is the host's promise, named in each `SAFETY` line.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

use crate::failure::Failure;
use crate::types::hs2_slice;

/// Where a result goes. Nothing is written but by [`Out::set`], which comes last.
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// # Safety
    /// If `place` is neither null nor misaligned, it can be written to until the call ends.
    pub(crate) unsafe fn new(place: *mut T, name: &str) -> Result<Self, Failure> {
        checked(place, name).map(Self)
    }

    pub(crate) fn set(self, value: T) {
        // SAFETY: not null, aligned, and writable, as `new` was promised. Nothing is dropped: hosts hold plain values.
        unsafe { self.0.write(value) }
    }
}

fn checked<T>(place: *mut T, name: &str) -> Result<NonNull<T>, Failure> {
    let place = NonNull::new(place).ok_or_else(|| Failure::argument(name, "is null"))?;
    if !place.is_aligned() {
        return Err(Failure::argument(name, "is misaligned"));
    }
    Ok(place)
}

/// A value that the host shows.
///
/// # Safety
/// If `place` is neither null nor misaligned, it leads to a `T` that nobody writes to until the call ends.
pub(crate) unsafe fn read<T: Copy>(place: *const T, name: &str) -> Result<T, Failure> {
    // SAFETY: not null, aligned, and readable, as the caller promises.
    checked(place.cast_mut(), name).map(|place| unsafe { place.read() })
}

/// Values that the host shows; none where `count` is 0, whatever `first` is.
///
/// # Safety
/// If `first` is neither null nor misaligned, `count` values of type `T` lie there that nobody writes to while `'a` lasts.
pub(crate) unsafe fn array<'a, T: Copy>(first: *const T, count: usize, name: &str) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    let first = checked(first.cast_mut(), name)?;
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::argument(name, "is longer than memory can be"));
    }
    // SAFETY: not null, aligned, of a possible length, and readable, as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(first.as_ptr(), count) })
}

/// Bytes that the host shows.
///
/// # Safety
/// As for [`array`].
pub(crate) unsafe fn bytes<'a>(slice: hs2_slice, name: &str) -> Result<&'a [u8], Failure> {
    // SAFETY: passed on.
    unsafe { array(slice.data, slice.len, name) }
}

/// Writes results one after the other.
///
/// # Safety
/// If `first` is neither null nor misaligned, as many values of type `T` can be written there until the call ends.
pub(crate) unsafe fn fill<T: Copy>(first: *mut T, values: &[T], name: &str) -> Result<(), Failure> {
    if values.is_empty() {
        return Ok(());
    }
    let first = checked(first, name)?;
    // SAFETY: not null, aligned, and writable for so many, as the caller promises; a host's memory is none of ours.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), first.as_ptr(), values.len()) };
    Ok(())
}

/// A text that the host shows, in UTF-8.
///
/// # Safety
/// If `text` is not null, it ends with a zero byte, and nobody writes to it while `'a` lasts.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::argument(name, "is null"));
    }
    // SAFETY: not null and closed by a zero byte, as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| Failure::argument(name, "is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_misaligned_pointers_are_named() {
        let words = [0u64; 2];
        let odd = words.as_ptr().cast::<u8>().wrapping_add(1).cast::<u64>();
        // SAFETY: what is not null and aligned is real.
        unsafe {
            assert_eq!(read::<u64>(std::ptr::null(), "place").unwrap_err().text, "`place` is null");
            assert_eq!(read(odd, "place").unwrap_err().text, "`place` is misaligned");
            assert_eq!(read(words.as_ptr(), "place").unwrap(), 0);
            assert!(Out::new(odd.cast_mut(), "place").is_err());
            assert!(array(odd, 1, "place").is_err() && array::<u64>(std::ptr::null(), 1, "place").is_err());
            assert_eq!(array::<u64>(std::ptr::null(), 0, "place").unwrap(), &[] as &[u64]);
            assert!(array(words.as_ptr(), usize::MAX, "place").is_err());
            assert!(text(std::ptr::null(), "place").is_err());
            assert!(text(c"\xff".as_ptr(), "place").is_err());
        }
    }
}
