//! Transactions and their encoding in a payload: postcard, the number of transactions first. Decoding borrows from the
//! payload, so no length in it costs memory.

use serde::{Deserialize, Serialize};

/// Most transactions in a block. A thousand times what the demo puts into one; it bounds the work of a payload.
pub const MAX_TRANSACTIONS: u32 = 10_000;

/// One change that somebody asks for. Nothing is signed: the demo shows synchronization, not authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transaction<'a> {
    /// Moves `amount` from one account to another, which begins to exist if it did not. Does nothing where the balance
    /// is too low or the other balance would overflow.
    Transfer {
        /// The account that pays.
        from: u32,
        /// The account that receives.
        to: u32,
        /// How much.
        amount: u64,
    },
    /// Sets a key of the map.
    Put {
        /// The key.
        key: &'a [u8],
        /// Its value from now on.
        value: &'a [u8],
    },
    /// Removes a key from the map.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// Bytes that mean nothing to the ledger.
    Memo(&'a [u8]),
}

/// Why a payload is no list of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Bytes that are no transaction, or too few of them.
    #[error("the payload is not a list of transactions")]
    Malformed,
    /// More transactions than a block may have.
    #[error("the payload says {0} transactions, a block has at most {MAX_TRANSACTIONS}")]
    TooMany(u32),
    /// Something follows the last transaction.
    #[error("the payload goes on for {0} bytes after its last transaction")]
    Trailing(usize),
}

/// Reads a payload.
pub fn decode(payload: &[u8]) -> Result<Vec<Transaction<'_>>, DecodeError> {
    let (count, mut rest) = postcard::take_from_bytes::<u32>(payload).map_err(|_| DecodeError::Malformed)?;
    if count > MAX_TRANSACTIONS {
        return Err(DecodeError::TooMany(count));
    }
    let mut transactions = Vec::new();
    for _ in 0..count {
        let (transaction, after) = postcard::take_from_bytes(rest).map_err(|_| DecodeError::Malformed)?;
        transactions.push(transaction);
        rest = after;
    }
    if rest.is_empty() { Ok(transactions) } else { Err(DecodeError::Trailing(rest.len())) }
}

/// Writes a payload.
pub fn encode(transactions: &[Transaction<'_>]) -> Vec<u8> {
    // Serializing into memory that grows can't fail for these types.
    postcard::to_allocvec(transactions).unwrap_or_default()
}
