//! [`assert_forwards`]: sees whether a handler that wraps another loses anything of it. Included by the tests of each part
//! that has such handlers; the part that includes it brings `BoxFuture` and `Handler`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::Request;

use super::{BoxFuture, Handler};

const COST: Cost = Cost { bytes: 7, work: 9 };
const ASKER: PeerId = PeerId::from_bytes([7; 32]);

/// A handler of which every method does what no other handler does.
#[derive(Default)]
struct Telltale {
    waited: AtomicBool,
}

impl Handler for Telltale {
    fn ready(&self, peer: PeerId, _: &Bytes) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.waited.store(peer == ASKER, Ordering::Relaxed);
        })
    }

    fn cost(&self, request: &Bytes) -> Cost {
        Cost { bytes: COST.bytes + request.len() as u64, ..COST }
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        format!("busy for {retry_after_ms}").into_bytes().into()
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        [peer.as_bytes(), request.as_ref()].concat().into()
    }
}

/// Panics where the handler that `wrap` makes of another loses something of it that concerns a request for the tip.
pub(crate) async fn assert_forwards<H: Handler>(wrap: impl FnOnce(Arc<dyn Handler>) -> H) {
    let telltale = Arc::new(Telltale::default());
    let wrapper = wrap(Arc::clone(&telltale) as _);
    let name = std::any::type_name::<H>();
    let request = Bytes::from(Request::Tip.encode());
    let cost = Cost { bytes: COST.bytes + request.len() as u64, ..COST };
    assert_eq!(wrapper.cost(&request), cost, "{name}: what is let in depends on it");
    assert_eq!(wrapper.busy(8), "busy for 8", "{name}: who counts refusals counts them there");
    wrapper.ready(ASKER, &request).await;
    assert!(telltale.waited.load(Ordering::Relaxed), "{name}: followers wait there");
    assert_eq!(wrapper.handle(ASKER, request.clone()), telltale.handle(ASKER, request), "{name}");
}
