//! The handover chain: validator sets, from the trusted end up.
//!
//! Handovers are fetched ahead in ranges, but their signatures are checked only when the trusted end has reached them: a
//! fabricated set far ahead costs a buffer and no work. Handovers are verified at most [`WINDOW`] epochs ahead of the
//! blocks, so memory doesn't grow with the length of the chain.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::handover_check::HandoverCheck;
use crate::chain::EpochRef;
use crate::hash::Hash;
use crate::ids::{Epoch, Height, PeerId};
use crate::limits::MAX_HANDOVERS;
use crate::sorted::Sorted;
use crate::verify::HandoverLink;

/// Most verified epochs that are kept ahead of the one whose blocks are being applied.
const WINDOW: u64 = 256;
/// Bytes of encoded epochs up to which that many are kept: decoded they take some six times as much, so 256 sets of 4,096
/// validators would take as much memory as all blocks may.
const WINDOW_BYTES: u64 = 8 << 20;
/// Ranges of handovers that are fetched ahead of the trusted end.
const AHEAD: u64 = 2;

/// An answer with handovers that the trusted end has not reached yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Waiting {
    pub(crate) peer: PeerId,
    pub(crate) bytes: Bytes,
    /// Bytes of the budget that it holds.
    pub(crate) reserved: u64,
}

/// Verified epochs, and handovers on their way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Epochs {
    /// Consecutive, from the epoch of the applied head on. Never empty.
    known: VecDeque<EpochRef>,
    /// Handovers by the epoch that they end, for as long as that epoch is known: evidence, should a conflict show.
    links: Sorted<Epoch, HandoverLink>,
    /// The newest epoch whose handover is stored durably.
    stored: Epoch,
    /// Answers by the epoch that their first handover ends.
    waiting: Sorted<Epoch, Waiting>,
    /// The answer at the trusted end, while its signatures are checked.
    pub(crate) check: Option<HandoverCheck>,
}

impl Epochs {
    /// Starts from a trusted epoch and the stored handovers from its end on; `None` where they don't continue it.
    pub(crate) fn new(trusted: EpochRef, handovers: &[HandoverLink]) -> Option<Self> {
        let mut epochs = Self::starting(trusted);
        epochs.extend(handovers).then(|| Self { stored: epochs.newest().epoch(), ..epochs })
    }

    /// Starts from a trusted epoch.
    pub(crate) fn starting(trusted: EpochRef) -> Self {
        let stored = trusted.epoch();
        let (links, waiting) = (Sorted::new(), Sorted::new());
        Self { known: VecDeque::from([trusted]), links, stored, waiting, check: None }
    }

    /// The newest verified epoch.
    pub(crate) fn newest(&self) -> &EpochRef {
        // `new` begins with one, and `forget_below` keeps the newest.
        #[allow(clippy::expect_used)]
        self.known.back().expect("the newest epoch is never forgotten")
    }

    /// The verified epoch that `height` belongs to.
    pub(crate) fn of_height(&self, height: Height) -> Option<&EpochRef> {
        self.known.iter().find(|epoch| epoch.range().contains(height))
    }

    /// The verified epoch with this number.
    pub(crate) fn get(&self, epoch: Epoch) -> Option<&EpochRef> {
        self.known.iter().find(|known| known.epoch() == epoch)
    }

    /// The newest epoch whose handover is durable. Earlier ones may not be yet.
    pub(crate) fn stored(&self) -> Epoch {
        self.stored
    }

    /// The handover that begins `epoch` is durable.
    pub(crate) fn set_stored(&mut self, epoch: Epoch) {
        self.stored = self.stored.max(epoch);
    }

    /// The proven last block of `epoch`.
    pub(crate) fn boundary(&self, epoch: Epoch) -> Option<(Hash, &Bytes)> {
        self.links.get(&epoch).map(|link| (link.boundary_id, &link.bytes))
    }

    /// Bytes that one handover is expected to have: as many as the newest that is known, or as its own set.
    pub(crate) fn handover_bytes(&self) -> u64 {
        let newest = self.newest();
        let link = newest.epoch().prev().and_then(|ended| self.links.get(&ended));
        u64::try_from(link.map_or(newest.bytes().len(), |link| link.bytes.len())).unwrap_or(u64::MAX)
    }

    /// The epochs from whose end on handovers should be asked for, where peers claim `claimed` as the newest epoch and
    /// blocks stand in epoch `applied`. `asked` tells which are in flight already.
    pub(crate) fn wanted(&self, claimed: Epoch, applied: Epoch, asked: impl Fn(Epoch) -> bool) -> Vec<Epoch> {
        let trusted = self.newest().epoch();
        let end = claimed.min(applied.plus(self.window()));
        let mut wanted = Vec::new();
        let mut from = trusted;
        for _ in 0..=AHEAD {
            if from >= end {
                break;
            }
            if !asked(from) && !self.waiting.contains_key(&from) {
                wanted.push(from);
            }
            from = from.plus(u64::from(MAX_HANDOVERS));
        }
        wanted
    }

    /// Number of epochs that are verified ahead, by the size of the newest.
    fn window(&self) -> u64 {
        let size = u64::try_from(self.newest().bytes().len()).unwrap_or(u64::MAX).max(1);
        WINDOW_BYTES.checked_div(size).unwrap_or(WINDOW).clamp(1, WINDOW)
    }

    /// Keeps an answer until the trusted end reaches it. Returns what it displaces, to be released.
    pub(crate) fn keep(&mut self, from: Epoch, answer: Waiting) -> Option<Waiting> {
        self.waiting.insert(from, answer)
    }

    /// The answer that starts at the trusted end, if it is there.
    pub(crate) fn take_next(&mut self) -> Option<(EpochRef, Waiting)> {
        let trusted = self.newest().clone();
        let answer = self.waiting.remove(&trusted.epoch())?;
        Some((trusted, answer))
    }

    /// Answers that the trusted end has passed: nobody needs them any more.
    pub(crate) fn take_passed(&mut self) -> Vec<Waiting> {
        let trusted = self.newest().epoch();
        self.take_waiting(&|from, _| from < trusted)
    }

    /// Answers that wait, of the peers that are meant.
    pub(crate) fn take_waiting_of(&mut self, meant: &dyn Fn(PeerId) -> bool) -> Vec<Waiting> {
        self.take_waiting(&|_, answer| meant(answer.peer))
    }

    fn take_waiting(&mut self, meant: &dyn Fn(Epoch, &Waiting) -> bool) -> Vec<Waiting> {
        let taken = self.waiting.extract(|&from, answer| meant(from, answer));
        taken.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Adds proven handovers, if they continue from the newest epoch.
    pub(crate) fn extend(&mut self, links: &[HandoverLink]) -> bool {
        for link in links {
            let newest = self.newest();
            let follows = link.ended == newest.epoch()
                && link.epoch.epoch().is_next_of(newest.epoch())
                && link.epoch.range().first().is_next_of(newest.range().last());
            if !follows {
                return false;
            }
            self.known.push_back(link.epoch.clone());
            self.links.insert(link.ended, link.clone());
        }
        true
    }

    /// Forgets epochs that end below `height`, but never the newest.
    pub(crate) fn forget_below(&mut self, height: Height) {
        while self.known.len() > 1 && self.known.front().is_some_and(|epoch| epoch.range().last() < height) {
            if let Some(epoch) = self.known.pop_front() {
                self.links.remove(&epoch.epoch());
            }
        }
    }
}
