//! Light reads: what one key of a state has, with the proof, in the form in which a server gives it. The reader of an
//! answer trusts the state root, which comes from a proven header, and nothing else.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::chain::Fault;
use crate::hash::Hash;
use crate::sections::{Sections, put_section};
use crate::state::{DecodeProofError, MAX_KEY_BYTES, MAX_PROOF_BYTES, MAX_VALUE_BYTES, Record, StateProof};

/// Largest answer to a light read, in bytes: two section lengths, the proof, and a record with its key's length.
pub(super) const MAX_READ_BYTES: u32 = (4 + MAX_PROOF_BYTES + 4 + 2 + MAX_KEY_BYTES + MAX_VALUE_BYTES) as u32;

/// Appends the answer to a light read: the proof, then the key's record, empty where the key has no value. False, with
/// nothing of use written, where one of them is too long.
#[must_use]
pub fn encode_read(out: &mut Vec<u8>, proof: &StateProof, record: Option<&Bytes>) -> bool {
    put_section(out, &proof.encode()) && put_section(out, record.map_or(&[], |record| record.as_ref()))
}

/// The value that `key` has in the state with this root, `None` where it has none, as `answer` proves.
pub fn verify_read(root: &Hash, key: &[u8], answer: Bytes) -> Result<Option<Bytes>, Fault> {
    let mut sections = Sections::new(answer);
    let proof = sections.take().ok_or(Fault::Malformed)?;
    let record = sections.take().ok_or(Fault::Malformed)?;
    if !sections.is_empty() {
        return Err(Fault::NonCanonical);
    }
    let proof = StateProof::decode(&proof).map_err(|error| match error {
        DecodeProofError::TooLarge(_) => Fault::Oversize,
        DecodeProofError::Malformed => Fault::Malformed,
        DecodeProofError::NotCanonical => Fault::NonCanonical,
    })?;
    let value = if record.is_empty() {
        None
    } else {
        let record = Record::decode(record).map_err(|_| Fault::Malformed)?;
        if record.key() != key {
            return Err(Fault::WrongState);
        }
        Some(record.into_value())
    };
    proof.verify(root, key, value.as_deref()).map_err(|_| Fault::WrongState)?;
    Ok(value)
}
