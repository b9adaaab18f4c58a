//! [`read_state`]: one key of a chain's state, from a peer that nobody trusts. For light clients, and for whoever wants
//! to look something up without holding the state. It trusts the block's header, which the caller has proven.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::{Fault, HeaderFacts};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::state::{MAX_KEY_BYTES, key_hash};
use hotstuff2_sync::wire::{Answer, Refusal, Request, verify_read};

use crate::net::{Network, ResponseError};

/// Longest time that a read waits. An answer is a few KiB: a peer that needs longer is as good as none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a key could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No state has keys of this length.
    #[error("a key has at most {MAX_KEY_BYTES} bytes, this one has {0}")]
    KeyTooLong(usize),
    /// The peer didn't answer, or sent too much.
    #[error("{0}; ask another peer")]
    Response(#[from] ResponseError),
    /// The peer took too long.
    #[error("peer {0} did not answer in time; ask another peer")]
    Silent(PeerId),
    /// The peer doesn't have this state, or no time. No fault of its.
    #[error("peer {peer} gives nothing ({refusal:?}); ask another peer, or for a newer snapshot height")]
    Refused {
        /// The peer.
        peer: PeerId,
        /// Its reason.
        refusal: Refusal,
    },
    /// The answer is false: the peer lies or is broken, and the caller may want to ban it.
    #[error("peer {peer} gave a false answer ({fault}); ban it and ask another peer")]
    False {
        /// The peer.
        peer: PeerId,
        /// What is wrong.
        fault: Fault,
    },
}

/// The value that `key` has in the state after the block at `height`, `None` where it has none: both proven under the
/// block's header. The height is one of the chain's snapshot heights, and `peer` is connected.
pub async fn read_state(
    network: &dyn Network,
    peer: PeerId,
    height: Height,
    header: &HeaderFacts,
    key: &[u8],
) -> Result<Option<Vec<u8>>, ReadError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(ReadError::KeyTooLong(key.len()));
    }
    let request = Request::Proof { height, root: header.state_root, key_hash: key_hash(key) };
    let limit = usize::try_from(request.max_response_bytes()).unwrap_or(usize::MAX);
    let asked = network.request(peer, Bytes::from(request.encode()), limit);
    let bytes = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| ReadError::Silent(peer))??;
    let lie = |fault| ReadError::False { peer, fault };
    match Answer::decode(bytes).map_err(lie)? {
        Answer::Refused(refusal) => Err(ReadError::Refused { peer, refusal }),
        Answer::Data(answer) => {
            let value = verify_read(&header.state_root, key, answer).map_err(lie)?;
            Ok(value.map(Vec::from))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hotstuff2_sync::state::Record;

    use super::*;
    use crate::StoreHandler;
    use crate::net::{Handler, HandlerFn, Identity, QuicLimits, QuicNetwork};
    use crate::test_world::{HEIGHT, Store, World};

    type Bend = fn(Vec<u8>) -> Vec<u8>;

    /// Bends every answer of a store.
    fn liar(store: &Arc<Store>, bend: Bend) -> impl Handler {
        let honest = StoreHandler::new(Arc::clone(store));
        HandlerFn::new(move |peer, request| bend(honest.handle(peer, request).into()).into())
    }

    fn bind(handler: Option<Arc<dyn Handler>>) -> QuicNetwork {
        let address = "127.0.0.1:0".parse().unwrap();
        QuicNetwork::bind(address, Identity::generate().unwrap(), QuicLimits::default(), handler).unwrap().0
    }

    #[tokio::test]
    async fn values_and_their_absence_are_proven_and_lies_are_found() {
        let world = World::new();
        let store = Arc::new(world.full());
        let header = world.header(HEIGHT);
        let honest = bind(Some(Arc::new(StoreHandler::new(Arc::clone(&store)))));
        let asking = bind(None);
        let peer = asking.connect(honest.local_addr().unwrap(), None).await.unwrap();
        let state = world.chain.state(HEIGHT).unwrap();
        for (_, record) in state.records().step_by(97) {
            let record = Record::decode(record.clone()).unwrap();
            let value = read_state(&asking, peer, HEIGHT, &header, record.key()).await.unwrap();
            assert_eq!(value.as_deref(), Some(record.value()));
        }
        assert_eq!(read_state(&asking, peer, HEIGHT, &header, b"nobody's").await.unwrap(), None);
        // A state that isn't there, a key that can't be, a peer that isn't there.
        let other = HeaderFacts { state_root: hotstuff2_sync::hash::Hash::ZERO, ..header };
        let refused = read_state(&asking, peer, HEIGHT, &other, b"k").await.unwrap_err();
        assert!(matches!(refused, ReadError::Refused { refusal: Refusal::NotAvailable, .. }), "{refused}");
        let long = read_state(&asking, peer, HEIGHT, &header, &[0; MAX_KEY_BYTES + 1]).await;
        assert!(matches!(long, Err(ReadError::KeyTooLong(_))));
        let nobody = read_state(&asking, PeerId::from_bytes([1; 32]), HEIGHT, &header, b"k").await;
        assert!(matches!(nobody, Err(ReadError::Response(ResponseError::NotConnected { .. }))));

        let (_, record) = state.records().nth(5).unwrap();
        let key = Record::decode(record.clone()).unwrap().key().to_vec();
        let bends: [(Bend, &[u8]); 5] = [
            // Another value.
            (
                |mut bytes| {
                    *bytes.last_mut().unwrap() ^= 1;
                    bytes
                },
                &key,
            ),
            // The proof bent.
            (
                |mut bytes| {
                    bytes[40] ^= 1;
                    bytes
                },
                &key,
            ),
            // The record left out, and the key said to be absent.
            (
                |mut bytes| {
                    let proof = u32::from_le_bytes(bytes[1..5].try_into().unwrap()) as usize;
                    bytes.truncate(5 + proof);
                    bytes.extend([0; 4]);
                    bytes
                },
                &key,
            ),
            (
                |mut bytes| {
                    bytes.push(0);
                    bytes
                },
                b"nobody's",
            ),
            (|_| vec![0], b"nobody's"),
        ];
        for (bend, key) in bends {
            let liar = bind(Some(Arc::new(liar(&store, bend))));
            let peer = asking.connect(liar.local_addr().unwrap(), None).await.unwrap();
            let error = read_state(&asking, peer, HEIGHT, &header, key).await.unwrap_err();
            assert!(matches!(error, ReadError::False { peer: found, .. } if found == peer), "{error}");
        }
    }
}
