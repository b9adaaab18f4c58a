//! One memory budget, in decompressed bytes, over all that is in flight, waiting, being verified or being applied.
//!
//! A reservation is made before a request is sent. The head of line (the next block to apply) has a share of its own that
//! nothing else may use: otherwise later ranges could fill the budget while the first must be asked for again, and
//! nothing would ever move.

/// Bytes reserved against a limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    limit: u64,
    head_share: u64,
    used: u64,
    peak: u64,
}

impl Budget {
    /// A budget of `limit` bytes, of which `head_share` are for the head of line alone.
    pub(crate) fn new(limit: u64, head_share: u64) -> Self {
        Self { limit, head_share: head_share.min(limit), used: 0, peak: 0 }
    }

    /// Bytes that a reservation may still take.
    pub(crate) fn room(&self, head_of_line: bool) -> u64 {
        let limit = if head_of_line { self.limit } else { self.limit.saturating_sub(self.head_share) };
        limit.saturating_sub(self.used)
    }

    /// Reserves `bytes`, or says no. The head of line may take what is left even if it is too little, once nothing else
    /// holds any: a single block larger than the budget must not stop the sync.
    pub(crate) fn reserve(&mut self, bytes: u64, head_of_line: bool) -> bool {
        let lone_head = head_of_line && self.used == 0;
        if bytes > self.room(head_of_line) && !lone_head {
            return false;
        }
        self.used = self.used.saturating_add(bytes);
        self.peak = self.peak.max(self.used);
        true
    }

    /// Accounts for `bytes` that are here already and can't be refused: one answer from the tip, whose size was bounded
    /// when it was asked for.
    pub(crate) fn reserve_forced(&mut self, bytes: u64) {
        self.used = self.used.saturating_add(bytes);
        self.peak = self.peak.max(self.used);
    }

    /// Gives `bytes` back.
    pub(crate) fn release(&mut self, bytes: u64) {
        // Bytes given back twice would let others in beyond the limit, unseen.
        debug_assert!(bytes <= self.used, "{bytes} bytes given back where {} are in use", self.used);
        self.used = self.used.saturating_sub(bytes);
    }

    /// Bytes reserved now.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Most bytes that were ever reserved at once.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// The limit.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_share_is_kept_for_the_head() {
        let mut budget = Budget::new(100, 30);
        assert!(budget.reserve(70, false));
        assert!(!budget.reserve(1, false));
        assert!(budget.reserve(30, true));
        assert!(!budget.reserve(1, true));
        budget.release(30);
        assert_eq!((budget.used(), budget.peak(), budget.room(false), budget.room(true)), (70, 100, 0, 30));
    }

    #[test]
    fn a_lone_head_larger_than_the_budget_passes() {
        let mut budget = Budget::new(100, 30);
        assert!(!budget.clone().reserve(101, false));
        assert!(budget.reserve(101, true));
        assert!(!budget.reserve(1, true));
    }

    #[test]
    fn what_cannot_be_refused_counts_too() {
        let mut budget = Budget::new(100, 200);
        assert_eq!(
            (budget.limit(), budget.room(true), budget.room(false)),
            (100, 100, 0),
            "a share is no more than all"
        );
        assert!(budget.reserve(60, true));
        budget.reserve_forced(70);
        assert_eq!((budget.used(), budget.peak(), budget.room(true)), (130, 130, 0));
        budget.release(130);
        assert_eq!((budget.used(), budget.peak(), budget.room(true)), (0, 130, 100));
        // A head that is too large waits for the others to give theirs back.
        budget.reserve_forced(1);
        assert!(!budget.reserve(101, true));
        budget.release(1);
        assert!(budget.reserve(101, true));
    }
}
