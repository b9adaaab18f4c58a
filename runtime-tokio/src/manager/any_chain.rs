//! [`AnyChain`]: a [`Chain`] without its types, so that a manager is one type whatever chain it synchronizes.

use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::chain::{Chain, ChainProfile, CheckError, SegmentEnd, SegmentRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::participation::GateSettings;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::verify::{Outcome, Task};

use crate::consensus::{ConsensusControl, ConsensusCoordinator, ConsensusError};
use crate::driver::SyncHandle;

/// A chain of any kind, as far as a manager needs one.
pub(super) trait AnyChain: Send + Sync {
    /// Sizes that the chain states.
    fn stated(&self) -> ChainProfile;

    /// Whether the chain's headers name states of our tree.
    fn names_states(&self) -> bool;

    /// Proves something here and now.
    fn prove(&self, task: Task) -> Result<Outcome, CheckError>;

    /// The ids of the blocks in `range`, which `segment` holds.
    fn ids(&self, segment: &SegmentRef, range: HeightRange) -> Result<Vec<Hash>, CheckError>;

    /// Whether `payload` is the one that the header at `height` names.
    fn check_body(&self, segment: &SegmentRef, height: Height, payload: &[u8]) -> Result<(), CheckError>;

    /// Cuts `range` out of a verified segment.
    fn cut(&self, segment: &Bytes, range: HeightRange, end: SegmentEnd) -> Option<Bytes>;

    /// The tip message that the end of a certified segment makes.
    fn proof_of(&self, segment: &[u8]) -> Option<Bytes>;

    /// Starts a coordinator over this chain.
    fn coordinate(
        self: Arc<Self>,
        sync: &SyncHandle,
        control: Arc<dyn ConsensusControl>,
        settings: GateSettings,
    ) -> Result<ConsensusCoordinator, ConsensusError>;
}

impl<C: Chain> AnyChain for C {
    fn stated(&self) -> ChainProfile {
        self.profile()
    }

    fn names_states(&self) -> bool {
        self.has_state_roots()
    }

    fn prove(&self, task: Task) -> Result<Outcome, CheckError> {
        task.prove(self)
    }

    fn ids(&self, segment: &SegmentRef, range: HeightRange) -> Result<Vec<Hash>, CheckError> {
        segment.ids(self, range)
    }

    fn check_body(&self, segment: &SegmentRef, height: Height, payload: &[u8]) -> Result<(), CheckError> {
        self.check_payload(segment.decoded(self)?, height, payload)
    }

    fn cut(&self, segment: &Bytes, range: HeightRange, end: SegmentEnd) -> Option<Bytes> {
        self.assemble(std::slice::from_ref(segment), range, end)
    }

    fn proof_of(&self, segment: &[u8]) -> Option<Bytes> {
        self.tip_of(segment)
    }

    fn coordinate(
        self: Arc<Self>,
        sync: &SyncHandle,
        control: Arc<dyn ConsensusControl>,
        settings: GateSettings,
    ) -> Result<ConsensusCoordinator, ConsensusError> {
        ConsensusCoordinator::start(sync, self, control, settings)
    }
}
