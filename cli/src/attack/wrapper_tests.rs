//! Nodes that play a part have the limits of the node that they play it with.

use std::time::Duration;

use hotstuff2_sync_tokio::net::{BoxFuture, Handler};

use super::lie::Staged;
use super::nuisance::{Nuisance, Nuisant};
use super::unlike::Compared;

#[path = "../../../runtime-tokio/src/telltale.rs"]
mod telltale;

use telltale::assert_forwards;

#[tokio::test]
async fn wrappers_forward_everything() {
    assert_forwards(|inner| Staged { inner, older: None, lie: None, delay: Duration::ZERO, rate: 0 }).await;
    // Honest at first.
    assert_forwards(|inner| Nuisant::new(inner, Nuisance::Turncoat)).await;
    assert_forwards(|played| Compared::new(std::sync::Arc::clone(&played), played)).await;
}
