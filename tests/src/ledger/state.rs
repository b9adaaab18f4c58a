//! The ledger over the state of the core.

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::state::{
    KeyValueState, KeyValueView, MAX_KEY_BYTES, Record, StateError, StateProof, StateReader, StateWrites,
};

use super::transaction::{Transaction, decode};

/// Accounts of a demo chain unless it is told otherwise.
pub const DEFAULT_ACCOUNTS: u32 = 100_000;

/// Balance of every account at genesis. A demo transfer is at most 100, so a random walk rarely gets to an overdraft.
pub const START_BALANCE: u64 = 1_000_000;

/// First byte of an account's key; its number follows, big-endian. Its value is the balance, eight bytes little-endian.
const ACCOUNT: u8 = b'a';

/// First byte of a map entry's key; the key of the transaction follows.
const ENTRY: u8 = b'k';

/// The ledger over a store. It is an overlay: executed blocks stay in memory until [`take_writes`](Self::take_writes)
/// and whatever is written after it. If a batch can't be written, drop the ledger and open it again.
#[derive(Debug)]
pub struct Ledger<R> {
    state: KeyValueState<R>,
}

/// Why the ledger can't go on. Never because of a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError<E: std::error::Error + 'static> {
    /// The state can't be read.
    #[error(transparent)]
    State(#[from] StateError<E>),
    /// Genesis is for an empty store.
    #[error("the store holds a state already (root {0}): open it, or take an empty directory")]
    NotEmpty(Hash),
}

/// The records of [`Ledger::genesis`], one by one, for a store that takes them in parts.
pub fn genesis_records(accounts: u32) -> impl Iterator<Item = Record> {
    // Keys and values of a few bytes are no error.
    (0..accounts).filter_map(|account| Record::new(&account_key(account), &START_BALANCE.to_le_bytes()).ok())
}

/// Executes a block on the state before it.
///
/// # Errors
/// Where the state can't be read; never because of a payload.
pub fn execute<R: StateReader>(payload: &[u8], state: &mut KeyValueView<'_, R>) -> Result<(), StateError<R::Error>> {
    for transaction in decode(payload).unwrap_or_default() {
        match transaction {
            Transaction::Transfer { from, to, amount } => transfer(state, from, to, amount)?,
            Transaction::Put { key, value } => {
                if let Some(key) = entry_key(key) {
                    set(state, &key, value);
                }
            }
            Transaction::Delete { key } => {
                if let Some(key) = entry_key(key) {
                    state.delete(&key);
                }
            }
            Transaction::Memo(_) => {}
        }
    }
    Ok(())
}

/// Sets the value of a key, unless it is over its limit: then the transaction does nothing.
fn set<R: StateReader>(state: &mut KeyValueView<'_, R>, key: &[u8], value: &[u8]) {
    let _ = state.put(key, value);
}

fn transfer<R: StateReader>(
    state: &mut KeyValueView<'_, R>,
    from: u32,
    to: u32,
    amount: u64,
) -> Result<(), StateError<R::Error>> {
    if from == to {
        return Ok(());
    }
    let (from, to) = (account_key(from), account_key(to));
    let paying = balance_of(state.get(&from)?).and_then(|balance| balance.checked_sub(amount));
    let receiving = balance_of(state.get(&to)?).unwrap_or(0).checked_add(amount);
    if let (Some(paying), Some(receiving)) = (paying, receiving) {
        set(state, &from, &paying.to_le_bytes());
        set(state, &to, &receiving.to_le_bytes());
    }
    Ok(())
}

/// The balance that an account's value is. Only this ledger writes account keys, always with eight bytes.
fn balance_of(value: Option<&[u8]>) -> Option<u64> {
    value.and_then(|value| value.try_into().ok()).map(u64::from_le_bytes)
}

impl<R: StateReader> Ledger<R> {
    /// The ledger that `store` holds.
    pub fn open(store: R) -> Result<Self, LedgerError<R::Error>> {
        Ok(Self { state: KeyValueState::load(store)? })
    }

    /// A new ledger over an empty store, with accounts 0 to `accounts` − 1 at [`START_BALANCE`]. Its first
    /// [`take_writes`](Self::take_writes) has them all.
    pub fn genesis(store: R, accounts: u32) -> Result<Self, LedgerError<R::Error>> {
        let mut ledger = Self::open(store)?;
        if ledger.state.keys() > 0 {
            return Err(LedgerError::NotEmpty(ledger.root()));
        }
        let records: Vec<Record> = genesis_records(accounts).collect();
        ledger.state.apply(records.iter().map(|record| (record.key(), Some(record.value()))))?;
        Ok(ledger)
    }

    /// Whether nothing was ever written: not even the accounts of genesis.
    pub fn is_empty(&self) -> bool {
        self.state.keys() == 0
    }

    /// The state root after the last executed block.
    pub fn root(&self) -> Hash {
        self.state.root()
    }

    /// Executes a block and returns the state root after it.
    pub fn execute(&mut self, payload: &[u8]) -> Result<Hash, LedgerError<R::Error>> {
        Ok(self.state.change(|state| execute(payload, state))?)
    }

    /// The balance of an account, if it exists.
    pub fn balance(&mut self, account: u32) -> Result<Option<u64>, LedgerError<R::Error>> {
        Ok(balance_of(self.state.get(&account_key(account))?))
    }

    /// The value of a key of the map.
    pub fn entry(&mut self, key: &[u8]) -> Result<Option<&[u8]>, LedgerError<R::Error>> {
        match entry_key(key) {
            Some(key) => Ok(self.state.get(&key)?),
            None => Ok(None),
        }
    }

    /// The key of an account in the state and the proof of its balance there.
    pub fn prove_account(&mut self, account: u32) -> Result<([u8; 5], StateProof), LedgerError<R::Error>> {
        let key = account_key(account);
        let proof = self.state.prove(&key)?;
        Ok((key, proof))
    }

    /// Takes the writes that make the store hold the state after the last executed block: for one atomic batch,
    /// together with that block's height.
    pub fn take_writes(&mut self) -> StateWrites {
        self.state.take_writes()
    }

    /// About how many bytes of memory the ledger takes.
    pub fn memory(&self) -> usize {
        self.state.memory()
    }

    /// About how many bytes wait for writes to be taken: see [`KeyValueState::uncommitted`].
    pub fn uncommitted(&self) -> usize {
        self.state.uncommitted()
    }

    /// Frees what the store has as well, if the ledger takes more than `limit` bytes: only when the writes that were
    /// taken last are durable.
    pub fn evict(&mut self, limit: usize) {
        self.state.evict(limit);
    }

    /// The store.
    pub fn store(&self) -> &R {
        self.state.store()
    }

    /// The store, to write to.
    pub fn store_mut(&mut self) -> &mut R {
        self.state.store_mut()
    }
}

fn account_key(account: u32) -> [u8; 5] {
    let [a, b, c, d] = account.to_be_bytes();
    [ACCOUNT, a, b, c, d]
}

/// The key of a map entry in the state, if it is not too long.
fn entry_key(key: &[u8]) -> Option<Vec<u8>> {
    (key.len() < MAX_KEY_BYTES).then(|| [&[ENTRY], key].concat())
}
