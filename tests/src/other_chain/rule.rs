//! [`Rule`]: the rules of the chain by name, so that a test can leave one out.

use hotstuff2_sync::chain::Fault;

/// A rule of [`OtherChain`](super::OtherChain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A value has one encoding.
    OneEncoding,
    /// A segment has the heights that were asked for.
    Range,
    /// A segment hangs on the block that was proven before.
    Parent,
    /// A segment ends with the block that was proven before.
    Anchor,
    /// Where a proof of the end was asked for, there is one.
    Proof,
    /// Views rise from block to block.
    Views,
    /// The proof's last two certificates are of consecutive views.
    Consecutive,
    /// A proof is checked also where none was asked for: it is served on.
    UnaskedProof,
    /// Each signer is of the set, signs once, and all of them are more than two thirds.
    Quorum,
    /// A signature is of its signer, for this chain, view, height and block.
    Signature,
    /// A payload has the hash that its header names.
    Payload,
    /// Only a segment with a proof makes a tip.
    TipOfProven,
    /// An assembled segment ends where it was asked to, or there is none.
    AssembledEnd,
    /// Evidence is of two blocks at one height.
    Conflict,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::OneEncoding,
        Self::Range,
        Self::Parent,
        Self::Anchor,
        Self::Proof,
        Self::Views,
        Self::Consecutive,
        Self::UnaskedProof,
        Self::Quorum,
        Self::Signature,
        Self::Payload,
        Self::TipOfProven,
        Self::AssembledEnd,
        Self::Conflict,
    ];
}

/// The rules that are looked at: all, but in a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules(Option<Rule>);

impl Rules {
    /// All but one.
    pub(super) fn without(rule: Rule) -> Self {
        Self(Some(rule))
    }

    /// Whether `rule` is looked at.
    pub(super) fn has(self, rule: Rule) -> bool {
        self.0 != Some(rule)
    }

    /// The fault, unless what `rule` says holds.
    pub(super) fn demand(self, rule: Rule, holds: bool, fault: Fault) -> Result<(), Fault> {
        if holds || !self.has(rule) { Ok(()) } else { Err(fault) }
    }
}
