//! [`HostReader`]: a host's store, as a table of functions, behind the store that the core serves from.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::mem::MaybeUninit;

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::{PartStore, StoredPart};
use hotstuff2_sync::wire::PeerStatus;

use crate::failure::Failure;
use crate::pointer::bytes;
use crate::state::{States, View};
use crate::state_store::HostError;
use crate::types::{HS2_HOST_NONE, HS2_HOST_OK, hs2_peer_status, hs2_reader, hs2_slice, hs2_stored_segment};

type Ask<K, T> = unsafe extern "C" fn(*mut c_void, K, *mut T) -> i32;

/// The functions, none of them null.
struct Functions {
    context: *mut c_void,
    status: unsafe extern "C" fn(*mut c_void, *mut hs2_peer_status) -> i32,
    handover: Ask<u64, hs2_slice>,
    tip: unsafe extern "C" fn(*mut c_void, *mut hs2_slice) -> i32,
    segment: Ask<u64, hs2_stored_segment>,
    payload: Ask<u64, hs2_slice>,
}

/// A host's store, for one call.
pub(crate) struct HostReader {
    functions: Functions,
    chain_id: Hash,
    /// The state and its snapshots, where the host has one.
    states: Option<States>,
}

impl HostReader {
    pub(crate) fn new(table: &hs2_reader, chain_id: Hash, states: Option<States>) -> Result<Self, Failure> {
        let null = |name: &str| Failure::argument(name, "is null in the reader's table");
        let functions = Functions {
            context: table.context,
            status: table.status.ok_or_else(|| null("status"))?,
            handover: table.handover.ok_or_else(|| null("handover"))?,
            tip: table.tip.ok_or_else(|| null("tip"))?,
            segment: table.segment.ok_or_else(|| null("segment"))?,
            payload: table.payload.ok_or_else(|| null("payload"))?,
        };
        Ok(Self { functions, chain_id, states })
    }

    /// Calls one of the functions that give bytes, and copies them.
    fn bytes_of(
        &self,
        function: &'static str,
        call: impl FnOnce(*mut c_void, *mut hs2_slice) -> i32,
    ) -> Result<Option<Bytes>, HostError> {
        let mut out = MaybeUninit::new(hs2_slice::of(&[]));
        match call(self.functions.context, out.as_mut_ptr()) {
            HS2_HOST_OK => {
                // SAFETY: it was initialized before the call.
                let slice = unsafe { out.assume_init() };
                // SAFETY: the host keeps the bytes until its next function is called.
                let read = unsafe { bytes(slice, function) }.map_err(|_| HostError { function, code: None })?;
                Ok(Some(Bytes::copy_from_slice(read)))
            }
            HS2_HOST_NONE => Ok(None),
            code => Err(HostError { function, code: Some(code) }),
        }
    }
}

impl PartStore for HostReader {
    type Error = HostError;
    type State = View;

    fn status(&self) -> Result<PeerStatus, HostError> {
        let mut status = hs2_peer_status::default();
        // SAFETY: a function of the host's table, called as its docs say.
        let code = unsafe { (self.functions.status)(self.functions.context, &raw mut status) };
        if code != HS2_HOST_OK {
            return Err(HostError { function: "status", code: Some(code) });
        }
        Ok(PeerStatus {
            chain_id: self.chain_id,
            earliest: Height::new(status.earliest),
            tip: Height::new(status.tip),
            epoch: Epoch::new(status.epoch),
            snapshots: self.states.as_ref().and_then(States::advertised),
        })
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, HostError> {
        // SAFETY: a function of the host's table, called as its docs say.
        self.bytes_of("handover", |context, out| unsafe { (self.functions.handover)(context, epoch.get(), out) })
    }

    fn tip(&self) -> Result<Option<Bytes>, HostError> {
        // SAFETY: a function of the host's table, called as its docs say.
        self.bytes_of("tip", |context, out| unsafe { (self.functions.tip)(context, out) })
    }

    fn part(&self, height: Height) -> Result<Option<StoredPart>, HostError> {
        const FUNCTION: &str = "segment";
        let (segment, audit) = (hs2_slice::of(&[]), hs2_slice::of(&[]));
        let mut out = hs2_stored_segment { first: 0, last: 0, epoch: 0, certified: 0, segment, audit };
        // SAFETY: a function of the host's table, called as its docs say.
        match unsafe { (self.functions.segment)(self.functions.context, height.get(), &raw mut out) } {
            HS2_HOST_OK => {}
            HS2_HOST_NONE => return Ok(None),
            code => return Err(HostError { function: FUNCTION, code: Some(code) }),
        }
        let wrong = self.impossible(FUNCTION);
        let range = HeightRange::new(Height::new(out.first), Height::new(out.last)).ok_or(wrong)?;
        // SAFETY: the host keeps the bytes until its next function is called.
        let (segment, audit) = unsafe { (bytes(out.segment, FUNCTION), bytes(out.audit, FUNCTION)) };
        let copy = |read: Result<&[u8], Failure>| read.map(Bytes::copy_from_slice).map_err(|_| wrong);
        let (segment, audit) = (copy(segment)?, copy(audit)?);
        Ok(Some(StoredPart { range, epoch: Epoch::new(out.epoch), certified: out.certified != 0, segment, audit }))
    }

    fn payload(&self, height: Height) -> Result<Option<Bytes>, HostError> {
        // SAFETY: a function of the host's table, called as its docs say.
        self.bytes_of("payload", |context, out| unsafe { (self.functions.payload)(context, height.get(), out) })
    }

    fn newest_state(&self) -> Option<(Height, View)> {
        self.states.as_ref().and_then(States::live)
    }

    fn states(&self, near: Height) -> Vec<View> {
        self.states.as_ref().map_or_else(Vec::new, |states| states.near(near))
    }

    fn impossible(&self, question: &'static str) -> HostError {
        HostError { function: question, code: None }
    }
}
