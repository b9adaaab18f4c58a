//! [`Source`]: the true chain, as those hold it who never lag behind.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use hotstuff2_sync::calls::{BlockPoint, Start};
use hotstuff2_sync::chain::native::{self, Genesis, NativeChain};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::respond;
use hotstuff2_sync::state::MemoryStateStore;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::{BodyFrame, Refusal, Request, encode_refusal};

use super::shelf::Shelf;
use crate::chain::{ChainGenerator, ChainSpec, GenerateError, Piece, RandomPayloads, SpecError, TestChain};
use crate::ledger::Ledger;

/// Bytes of answers that a [`CachedChain`] keeps.
const CACHED_BYTES: usize = 64 << 20;

/// What one server holds of the true chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holdings {
    /// Lowest height whose block it holds.
    pub earliest: Height,
    /// Highest height that it holds and proves.
    pub tip: Height,
    /// Heights whose states it keeps, of those that the chain has; `None` for none.
    pub states: Option<HeightRange>,
}

/// The true chain: what is served by honest nodes, and what everything that a node applies is compared with.
pub trait Source: Send + Sync {
    /// The genesis.
    fn genesis(&self) -> &Genesis;

    /// The last block's height.
    fn tip_height(&self) -> Height;

    /// The id of the block at `height`; `None` where it isn't known, and then it isn't compared.
    fn id(&self, height: Height) -> Option<Hash>;

    /// The payload at `height`; `None` where it isn't known, and then it isn't compared.
    fn payload(&self, height: Height) -> Option<Bytes>;

    /// Whether a frame holds the payloads of its heights.
    fn holds_frame(&self, frame: &BodyFrame) -> bool {
        let mut payloads = Vec::new();
        let mut height = frame.range.first();
        while height <= frame.range.last() {
            let Some(payload) = self.payload(height) else { return true };
            payloads.extend_from_slice(&payload);
            height = height.next();
        }
        payloads == frame.raw
    }

    /// What a server that holds so much of it answers.
    fn answer(&self, held: &Holdings, request: &Request) -> Bytes;

    /// The chain with all of its keys, for liars who need them.
    fn test_chain(&self) -> Option<&TestChain> {
        None
    }

    /// The state before the first block, on chains whose blocks are executed.
    fn genesis_state(&self) -> Option<MemoryStateStore> {
        None
    }

    /// Where a new node stands.
    fn start(&self) -> Start {
        let genesis = self.genesis();
        Start {
            stages_state: self.genesis_state().is_some(),
            chain_id: genesis.chain_id(),
            profile: native::PROFILE,
            stored: BlockPoint { height: Height::ZERO, id: genesis.id() },
            stored_time: UnixMillis::default(),
            stored_proof: None,
            applied: Height::ZERO,
            epoch: genesis.epoch().to_ref(),
            handovers: Vec::new(),
            history_gap: None,
            lacks_state: false,
            trust: None,
        }
    }

    /// The chain to verify with.
    fn chain(&self) -> NativeChain {
        NativeChain::new(self.genesis())
    }
}

/// A [`TestChain`] that remembers its answers: it makes a proof for every height, and signatures take time.
#[derive(Debug)]
pub struct CachedChain {
    chain: TestChain,
    genesis_state: Option<MemoryStateStore>,
    ids: Vec<Hash>,
    answers: Mutex<Answers>,
}

/// The ledger's state with `accounts` accounts and no block executed.
fn genesis_state(accounts: u32) -> MemoryStateStore {
    let mut ledger = Ledger::genesis(MemoryStateStore::default(), accounts).expect("an empty store, in memory");
    let writes = ledger.take_writes();
    ledger.store_mut().write(writes);
    std::mem::take(ledger.store_mut())
}

#[derive(Debug, Default)]
struct Answers {
    bytes: usize,
    by_request: HashMap<(Holdings, Request), Bytes>,
}

impl CachedChain {
    /// The chain, whose ledger began with so many accounts, if it has one.
    pub fn new(chain: TestChain, accounts: Option<u32>) -> Self {
        let ids = chain.headers().iter().map(hotstuff2_sync::chain::native::Header::id).collect();
        Self { chain, genesis_state: accounts.map(genesis_state), ids, answers: Mutex::default() }
    }
}

impl Source for CachedChain {
    fn genesis(&self) -> &Genesis {
        self.chain.genesis()
    }

    fn tip_height(&self) -> Height {
        self.chain.tip_height()
    }

    fn id(&self, height: Height) -> Option<Hash> {
        self.ids.get(usize::try_from(height.get()).ok()?).copied()
    }

    fn payload(&self, height: Height) -> Option<Bytes> {
        self.chain.payload(height)
    }

    fn answer(&self, held: &Holdings, request: &Request) -> Bytes {
        let key = (*held, request.clone());
        let mut answers = self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(answer) = answers.by_request.get(&key) {
            return answer.clone();
        }
        let answer = self.chain.view(held.earliest, held.tip).with_states(held.states).respond(request);
        answers.bytes += answer.len();
        if answers.bytes > CACHED_BYTES {
            *answers = Answers { bytes: answer.len(), ..Answers::default() };
        }
        answers.by_request.insert(key, answer.clone());
        answer
    }

    fn test_chain(&self) -> Option<&TestChain> {
        Some(&self.chain)
    }

    fn genesis_state(&self) -> Option<MemoryStateStore> {
        self.genesis_state.clone()
    }
}

/// A long chain of empty blocks, held as its encoded segments: about eight bytes a block. It proves what a node that
/// stored it could prove, and answers with what it holds, whatever a server is said to hold of it.
#[derive(Debug)]
pub struct LeanChain {
    genesis: Genesis,
    shelf: Shelf,
}

/// Why a lean chain can't be made.
#[derive(Debug, thiserror::Error)]
pub enum LeanChainError {
    /// There is no such chain.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A piece of it can't be made.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

impl LeanChain {
    /// The chain of `spec`, with payloads of `payload_bytes`.
    ///
    /// # Errors
    /// Where there is no such chain.
    pub fn new(spec: ChainSpec, payload_bytes: u32) -> Result<Self, LeanChainError> {
        let seed = spec.seed;
        let mut generator = ChainGenerator::new(spec, Box::new(RandomPayloads::new(seed, payload_bytes)))?;
        let genesis = generator.genesis().clone();
        let mut shelf = Shelf::new(&genesis);
        while let Some(piece) = generator.next_piece()? {
            match piece {
                Piece::Blocks(blocks) => shelf.put_part(&blocks.part, usize::MAX),
                Piece::Handover(link) => shelf.put_handovers(&[link]),
                Piece::Tip(tip) => shelf.put_tip(tip),
            }
        }
        Ok(Self { genesis, shelf })
    }
}

impl Source for LeanChain {
    fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    fn tip_height(&self) -> Height {
        self.shelf.stored().height
    }

    fn id(&self, height: Height) -> Option<Hash> {
        (height == self.shelf.stored().height).then(|| self.shelf.stored().id)
    }

    fn payload(&self, _: Height) -> Option<Bytes> {
        None
    }

    fn answer(&self, _: &Holdings, request: &Request) -> Bytes {
        respond(request, &self.shelf).unwrap_or_else(|_| encode_refusal(Refusal::NotAvailable))
    }
}
