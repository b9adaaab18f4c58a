//! The functions of the library, by what they are about. Each checks what can be checked, calls safe code, and writes
//! results last.

mod admission;
mod basics;
mod buffers;
mod calls;
mod certificates;
mod configs;
mod epochs;
mod gates;
mod genesis;
mod headers;
mod jobs;
mod light_questions;
mod lights;
mod machines;
mod respond;
mod sessions;
mod starts;
mod states;

pub use admission::*;
pub use basics::*;
pub use buffers::*;
pub use calls::*;
pub use certificates::*;
pub use configs::*;
pub use epochs::*;
pub use gates::*;
pub use genesis::*;
pub use headers::*;
pub use jobs::*;
pub use light_questions::*;
pub use lights::*;
pub use machines::*;
pub use respond::*;
pub use sessions::*;
pub use starts::*;
pub use states::*;

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::PeerId;

use crate::types::hs2_id;

impl From<Hash> for hs2_id {
    fn from(hash: Hash) -> Self {
        Self { bytes: *hash.as_bytes() }
    }
}

impl From<hs2_id> for Hash {
    fn from(id: hs2_id) -> Self {
        Self::from_bytes(id.bytes)
    }
}

impl From<hs2_id> for PeerId {
    fn from(id: hs2_id) -> Self {
        Self::from_bytes(id.bytes)
    }
}
