//! [`LightCheckpoint`]: the point that the next visit starts from. Its source is believed: this client's own store, or
//! somebody whom the user trusts.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::chain::native::{AnchorFacts, codec};
use crate::chain::{ChainProfile, EpochRef, Fault, TipFacts};
use crate::hash::Hash;
use crate::ids::Epoch;
use crate::limits::{MAX_HANDOVER_BYTES, MAX_TIP_BYTES};
use crate::ranges::HeightRange;

/// Largest encoded checkpoint, in bytes: an epoch, a tip with its proof, and a few numbers.
pub const MAX_LIGHT_CHECKPOINT_BYTES: usize = MAX_HANDOVER_BYTES as usize + MAX_TIP_BYTES as usize + 256;

/// Version of the encoding.
const VERSION: u8 = 1;

/// Everything that a light client starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightStart {
    /// The chain's id.
    pub chain_id: Hash,
    /// The chain's sizes, [`Chain::profile`](crate::chain::Chain::profile): by them its nodes cut heights into cells.
    pub profile: ChainProfile,
    /// The trusted block and its epoch.
    pub anchor: AnchorFacts,
    /// How long signatures of a set prove anything; `None` on a chain without a trusting period, and for a user who
    /// accepts long-range attacks.
    pub trusting_period: Option<Duration>,
    /// The trusted block as a tip with its proof, where it is one that was proven before.
    pub tip: Option<(TipFacts, Bytes)>,
}

/// A proven and confirmed tip with its epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LightCheckpoint {
    /// The chain's id.
    pub chain_id: Hash,
    /// The tip's epoch.
    pub epoch: EpochRef,
    /// The tip.
    pub tip: TipFacts,
    /// The tip with its proof, as a peer gave it.
    pub proof: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u8,
    chain_id: Hash,
    epoch: Epoch,
    range: HeightRange,
    tip: TipFacts,
    epoch_bytes: Vec<u8>,
    proof: Vec<u8>,
}

impl LightCheckpoint {
    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            version: VERSION,
            chain_id: self.chain_id,
            epoch: self.epoch.epoch(),
            range: self.epoch.range(),
            tip: self.tip,
            epoch_bytes: self.epoch.bytes().to_vec(),
            proof: self.proof.to_vec(),
        };
        codec::encode(&wire)
    }

    /// Reads an encoding of at most [`MAX_LIGHT_CHECKPOINT_BYTES`]. Nothing in it is proven: its source is believed.
    ///
    /// # Errors
    /// Where the bytes are no checkpoint, or not in its one form, or the tip isn't of the epoch.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let wire: Wire = codec::decode(bytes, MAX_LIGHT_CHECKPOINT_BYTES)?;
        if wire.version != VERSION {
            return Err(Fault::Malformed);
        }
        if wire.tip.epoch != wire.epoch || !wire.range.contains(wire.tip.height) {
            return Err(Fault::BadEpoch);
        }
        Ok(Self {
            chain_id: wire.chain_id,
            epoch: EpochRef::trusted(wire.epoch, wire.range, wire.epoch_bytes.into()),
            tip: wire.tip,
            proof: wire.proof.into(),
        })
    }

    /// The start of a client that trusts this checkpoint, on a chain of these sizes.
    pub fn into_start(self, profile: ChainProfile, trusting_period: Option<Duration>) -> LightStart {
        let Self { chain_id, epoch, tip, proof } = self;
        let TipFacts { height, id, timestamp, .. } = tip;
        let anchor = AnchorFacts { height, id, timestamp, epoch };
        LightStart { chain_id, profile, anchor, trusting_period, tip: Some((tip, proof)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Height;
    use crate::time::UnixMillis;

    fn checkpoint() -> LightCheckpoint {
        let range = HeightRange::new(Height::new(100), Height::new(199)).unwrap();
        LightCheckpoint {
            chain_id: Hash::from_bytes([1; 32]),
            epoch: EpochRef::trusted(Epoch::new(4), range, Bytes::from_static(b"a set")),
            tip: TipFacts {
                height: Height::new(150),
                id: Hash::from_bytes([2; 32]),
                epoch: Epoch::new(4),
                timestamp: UnixMillis::new(1_700_000_000_000),
                state_root: Some(Hash::from_bytes([3; 32])),
            },
            proof: Bytes::from_static(b"a proof"),
        }
    }

    #[test]
    fn checkpoints_have_one_encoding() {
        let (checkpoint, bytes) = (checkpoint(), checkpoint().encode());
        assert_eq!(LightCheckpoint::decode(&bytes), Ok(checkpoint));
        assert_eq!(LightCheckpoint::decode(&[&bytes[..], &[0]].concat()), Err(Fault::NonCanonical));
        assert_eq!(LightCheckpoint::decode(&bytes[..bytes.len() - 1]), Err(Fault::Malformed));
        assert_eq!(LightCheckpoint::decode(&[1; MAX_LIGHT_CHECKPOINT_BYTES + 1]), Err(Fault::Oversize));
        let mut newer = bytes.clone();
        newer[0] = 2;
        assert_eq!(LightCheckpoint::decode(&newer), Err(Fault::Malformed));
    }

    #[test]
    fn a_tip_of_another_epoch_is_no_checkpoint() {
        let fine = checkpoint();
        let early = TipFacts { height: Height::new(99), ..fine.tip };
        let other = TipFacts { epoch: Epoch::new(5), ..fine.tip };
        for tip in [early, other] {
            let bytes = LightCheckpoint { tip, ..fine.clone() }.encode();
            assert_eq!(LightCheckpoint::decode(&bytes), Err(Fault::BadEpoch));
        }
    }
}
