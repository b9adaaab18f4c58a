//! Nodes that play a part have the limits of the node that they play it with.

use std::time::Duration;

use hotstuff2_sync_tokio::net::{BoxFuture, Handler};

use crate::lie::Staged;
use crate::nuisance::{Nuisance, Nuisant};
use crate::unlike::Compared;

#[path = "../../telltale.rs"]
mod telltale;

use telltale::assert_forwards;

#[tokio::test]
async fn wrappers_forward_everything() {
    assert_forwards(|inner| Staged { inner, older: None, lie: None, delay: Duration::ZERO, rate: 0 }).await;
    // Honest at first.
    assert_forwards(|inner| Nuisant::new(inner, Nuisance::Turncoat)).await;
    assert_forwards(|played| Compared::new(std::sync::Arc::clone(&played), played)).await;
}
