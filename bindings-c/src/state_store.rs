//! [`HostStore`]: a host's ordered store, as a table of functions, and the failures of such tables.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::mem::MaybeUninit;

use bytes::Bytes;

use crate::failure::Failure;
use crate::pointer::bytes;
use crate::status::Status;
use crate::types::{HS2_HOST_NONE, HS2_HOST_OK, hs2_change, hs2_entry, hs2_slice, hs2_state_store};

/// A function of the host's table that did not do its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostError {
    pub(crate) function: &'static str,
    /// The host's own code; `None` where what it gave back can't be.
    pub(crate) code: Option<i32>,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "the host's function `{}` failed with {code}", self.function),
            None => write!(f, "the host's function `{}` gave back what can't be", self.function),
        }
    }
}

impl std::error::Error for HostError {}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::new(Status::HostFailed, error.to_string())
    }
}

/// A change of one key; `None` deletes.
pub(crate) type Change = (Vec<u8>, Option<Bytes>);

/// A host's ordered store, for one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostStore {
    context: *mut c_void,
    get: unsafe extern "C" fn(*mut c_void, hs2_slice, *mut hs2_slice) -> i32,
    next: unsafe extern "C" fn(*mut c_void, hs2_slice, hs2_slice, *mut hs2_entry) -> i32,
    write: unsafe extern "C" fn(*mut c_void, *const hs2_change, usize) -> i32,
}

impl HostStore {
    pub(crate) fn new(table: &hs2_state_store) -> Result<Self, Failure> {
        let null = |name: &str| Failure::argument(name, "is null in the state store's table");
        Ok(Self {
            context: table.context,
            get: table.get.ok_or_else(|| null("get"))?,
            next: table.next.ok_or_else(|| null("next"))?,
            write: table.write.ok_or_else(|| null("write"))?,
        })
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, HostError> {
        const FUNCTION: &str = "get";
        let mut out = MaybeUninit::new(hs2_slice::of(&[]));
        // SAFETY: a function of the host's table, called as its docs say.
        match unsafe { (self.get)(self.context, hs2_slice::of(key), out.as_mut_ptr()) } {
            // SAFETY: it was initialized before the call, and the host keeps the bytes until its next function is called.
            HS2_HOST_OK => copied(unsafe { bytes(out.assume_init(), FUNCTION) }, FUNCTION).map(Some),
            HS2_HOST_NONE => Ok(None),
            code => Err(HostError { function: FUNCTION, code: Some(code) }),
        }
    }

    /// The entry with the lowest key from `from` to `to`.
    pub(crate) fn next(&self, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, HostError> {
        const FUNCTION: &str = "next";
        if from > to {
            return Ok(None);
        }
        let mut out = MaybeUninit::new(hs2_entry { key: hs2_slice::of(&[]), value: hs2_slice::of(&[]) });
        // SAFETY: a function of the host's table, called as its docs say.
        match unsafe { (self.next)(self.context, hs2_slice::of(from), hs2_slice::of(to), out.as_mut_ptr()) } {
            HS2_HOST_OK => {
                // SAFETY: it was initialized before the call.
                let entry = unsafe { out.assume_init() };
                // SAFETY: the host keeps the bytes until its next function is called.
                let (key, value) = unsafe { (bytes(entry.key, FUNCTION), bytes(entry.value, FUNCTION)) };
                let (key, value) = (copied(key, FUNCTION)?, copied(value, FUNCTION)?);
                // A key out of order would make the next question the same for ever.
                if *key < *from || *key > *to {
                    return Err(HostError { function: FUNCTION, code: None });
                }
                Ok(Some((key, value)))
            }
            HS2_HOST_NONE => Ok(None),
            code => Err(HostError { function: FUNCTION, code: Some(code) }),
        }
    }

    /// Makes changes, all or none.
    pub(crate) fn write(&self, changes: &[Change]) -> Result<(), HostError> {
        if changes.is_empty() {
            return Ok(());
        }
        let change = |(key, value): &Change| hs2_change {
            key: hs2_slice::of(key),
            value: value.as_deref().map_or(hs2_slice::of(&[]), hs2_slice::of),
            deleted: value.is_none().into(),
        };
        let plain: Vec<hs2_change> = changes.iter().map(change).collect();
        // SAFETY: a function of the host's table, called as its docs say.
        match unsafe { (self.write)(self.context, plain.as_ptr(), plain.len()) } {
            HS2_HOST_OK => Ok(()),
            code => Err(HostError { function: "write", code: Some(code) }),
        }
    }
}

fn copied(read: Result<&[u8], Failure>, function: &'static str) -> Result<Bytes, HostError> {
    read.map(Bytes::copy_from_slice).map_err(|_| HostError { function, code: None })
}
