//! [`Record`]: what a replica remembers through a crash.

use hotstuff2_sync::chain::native::{Handover, QuorumCertificate, TimeoutCertificate};
use hotstuff2_sync::ids::{Epoch, View};
use serde::{Deserialize, Serialize};

use super::message::Block;

/// Written down before a replica speaks: what it voted for and gave up, its lock, why it is in its view, and the blocks that
/// no store holds yet. Without those blocks, a network that was stopped as a whole could be locked on one that nobody has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The epoch that it is in.
    pub epoch: Epoch,
    /// The view that it is in.
    pub view: View,
    /// The views of its last votes in phases one and two.
    pub voted: [View; 2],
    /// The highest view that it gave up.
    pub given_up: View,
    /// The view of its last proposal.
    pub proposed: View,
    /// A lock that others restored: nothing with a lower justification is voted for.
    pub floor: View,
    /// Certificate of the lock.
    pub high: Option<QuorumCertificate>,
    /// The certificate by which the view was entered, where that was not the lock's.
    pub entered_by: Option<TimeoutCertificate>,
    /// The end of the epoch before.
    pub ending: Option<Handover>,
    /// Blocks above the stored ones, lowest first.
    pub blocks: Vec<Block>,
}

impl Record {
    /// The highest view that it voted in or gave up on; `None` where it did neither.
    pub fn last_view(&self) -> Option<View> {
        let [one, two] = self.voted;
        let last = one.max(two).max(self.given_up).max(self.proposed);
        (last > View::ZERO).then_some(last)
    }
}
