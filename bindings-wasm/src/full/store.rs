//! [`JsStore`]: a host's store as functions of JavaScript, behind the store that the core serves from. The package's TypeScript
//! checks what they give back and makes lists of it.

use std::fmt;
use std::ops::ControlFlow;

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::{PartStore, StoredPart};
use hotstuff2_sync::state::{PageKey, Prefix, StateReader};
use hotstuff2_sync::wire::PeerStatus;
use js_sys::{Array, Function, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};

/// A function of the host's store that failed, or gave back what can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JsStoreError(&'static str);

impl fmt::Display for JsStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store's function `{}` failed, or gave back what can't be", self.0)
    }
}

/// A host's store: one function, which is asked with a question's name and number. It gives back `undefined`, bytes, or a list.
#[derive(Debug)]
pub(crate) struct JsStore<'a> {
    pub(crate) read: &'a Function,
    pub(crate) chain_id: Hash,
}

impl JsStore<'_> {
    fn ask(&self, question: &'static str, number: u64) -> Result<JsValue, JsStoreError> {
        let found = self.read.call2(&JsValue::UNDEFINED, &question.into(), &number.into());
        found.map_err(|_| JsStoreError(question))
    }

    fn bytes(&self, question: &'static str, number: u64) -> Result<Option<Bytes>, JsStoreError> {
        let found = self.ask(question, number)?;
        if found.is_undefined() { Ok(None) } else { bytes_of(&found, question).map(Some) }
    }

    fn list(&self, question: &'static str, number: u64) -> Result<Option<Array>, JsStoreError> {
        let found = self.ask(question, number)?;
        if found.is_undefined() {
            return Ok(None);
        }
        found.dyn_into().map(Some).map_err(|_| JsStoreError(question))
    }
}

fn bytes_of(value: &JsValue, question: &'static str) -> Result<Bytes, JsStoreError> {
    let array: &Uint8Array = value.dyn_ref().ok_or(JsStoreError(question))?;
    Ok(array.to_vec().into())
}

fn number_of(list: &Array, index: u32, question: &'static str) -> Result<u64, JsStoreError> {
    u64::try_from(list.get(index)).map_err(|_| JsStoreError(question))
}

/// No state: nodes in JavaScript keep none that could be proven.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NoState {}

impl StateReader for NoState {
    type Error = std::convert::Infallible;

    fn page(&self, _: &PageKey) -> Result<Option<Bytes>, Self::Error> {
        match *self {}
    }

    fn record(&self, _: &Hash) -> Result<Option<Bytes>, Self::Error> {
        match *self {}
    }

    fn scan(&self, _: &Prefix, _: &mut dyn FnMut(Hash, Bytes) -> ControlFlow<()>) -> Result<(), Self::Error> {
        match *self {}
    }
}

impl PartStore for JsStore<'_> {
    type Error = JsStoreError;
    type State = NoState;

    fn status(&self) -> Result<PeerStatus, JsStoreError> {
        const QUESTION: &str = "status";
        let list = self.list(QUESTION, 0)?.ok_or(JsStoreError(QUESTION))?;
        let number = |index| number_of(&list, index, QUESTION);
        Ok(PeerStatus {
            chain_id: self.chain_id,
            earliest: Height::new(number(0)?),
            tip: Height::new(number(1)?),
            epoch: Epoch::new(number(2)?),
            snapshots: None,
        })
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, JsStoreError> {
        self.bytes("handover", epoch.get())
    }

    fn tip(&self) -> Result<Option<Bytes>, JsStoreError> {
        self.bytes("tip", 0)
    }

    fn part(&self, height: Height) -> Result<Option<StoredPart>, JsStoreError> {
        const QUESTION: &str = "segment";
        let Some(list) = self.list(QUESTION, height.get())? else { return Ok(None) };
        let number = |index| number_of(&list, index, QUESTION);
        let range = HeightRange::new(Height::new(number(0)?), Height::new(number(1)?));
        Ok(Some(StoredPart {
            range: range.ok_or(JsStoreError(QUESTION))?,
            epoch: Epoch::new(number(2)?),
            certified: number(3)? != 0,
            segment: bytes_of(&list.get(4), QUESTION)?,
            audit: bytes_of(&list.get(5), QUESTION)?,
        }))
    }

    fn payload(&self, height: Height) -> Result<Option<Bytes>, JsStoreError> {
        self.bytes("payload", height.get())
    }

    fn newest_state(&self) -> Option<(Height, NoState)> {
        None
    }

    fn states(&self, _: Height) -> Vec<NoState> {
        Vec::new()
    }

    fn impossible(&self, question: &'static str) -> JsStoreError {
        JsStoreError(question)
    }
}
