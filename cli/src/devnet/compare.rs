//! The end of a network: its nodes rest, and what they have come to is compared.

use std::time::{Duration, Instant};

use super::network::{Devnet, LOOK_EVERY};
use super::report::{DevnetReport, NodeReport, spread};
use super::status::Order;

/// How long nodes may take at the end to come to one block.
const SETTLE: Duration = Duration::from_secs(30);

impl Devnet {
    /// Lets the network rest, and compares what its nodes have.
    pub(super) async fn compare(&mut self) -> DevnetReport {
        let seconds = self.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        let votes: Vec<bool> = self.nodes.iter().map(|node| node.status.as_ref().is_some_and(|s| s.votes)).collect();
        self.give(&Order::Rest, |_| true).await;
        let begin = Instant::now();
        let mut same_since = None;
        while begin.elapsed() < SETTLE {
            tokio::time::sleep(LOOK_EVERY).await;
            self.give(&Order::Status, |_| true).await;
            let running = self.nodes.iter().filter(|node| node.child.is_some());
            let mut heights: Vec<_> = running.filter_map(|node| Some(node.status.as_ref()?.height)).collect();
            heights.dedup();
            match (heights.len(), same_since) {
                (1, Some((height, since))) if heights.first() == Some(&height) => {
                    let since: Instant = since;
                    if since.elapsed() > Duration::from_secs(1) {
                        break;
                    }
                }
                (1, _) => same_since = heights.first().map(|height| (*height, Instant::now())),
                _ => same_since = None,
            }
        }
        self.give(&Order::Root, |_| true).await;
        self.report(seconds, &votes)
    }

    fn report(&mut self, seconds: f64, votes: &[bool]) -> DevnetReport {
        let mut faults = Vec::new();
        let mut nodes = Vec::new();
        let (mut sum, mut count) = (0u64, 0u64);
        for (node, votes) in self.nodes.iter().zip(votes) {
            if node.child.is_none() {
                continue;
            }
            let number = node.plan.node;
            let Some(status) = &node.status else {
                faults.push(format!("node {number} says nothing"));
                continue;
            };
            if status.validator && !votes {
                faults.push(format!("node {number} doesn't vote: {}", status.waits_for));
            }
            if let Some(reason) = &status.failed {
                faults.push(format!("node {number}: {reason}"));
            }
            sum = sum.saturating_add(status.latencies.0);
            count = count.saturating_add(status.latencies.1);
            nodes.push(NodeReport {
                node: number,
                height: status.height,
                id: status.id.clone(),
                computed_state_root: status.root.clone(),
                validator: status.validator,
                votes: *votes,
                taken_back: status.taken_back,
                banned: status.banned.clone(),
            });
        }
        for node in self.nodes.iter().filter(|node| node.awaited.is_some() && node.child.is_some()) {
            faults.push(format!("node {} is not in its role again", node.plan.node));
        }
        let first = nodes.first().cloned();
        for node in &nodes {
            let Some(first) = &first else { break };
            if (node.height, &node.id) != (first.height, &first.id) {
                let words = "nodes came to different blocks";
                faults.push(format!(
                    "{words}: node {} to {} and node {} to {}",
                    first.node, first.height, node.node, node.height
                ));
            } else if node.computed_state_root != first.computed_state_root || node.computed_state_root.is_none() {
                faults.push(format!("nodes {} and {} came to different states", first.node, node.node));
            }
        }
        let height = first.as_ref().map_or(0, |node| node.height);
        DevnetReport {
            ok: faults.is_empty() && !nodes.is_empty(),
            seconds,
            height,
            id: first.as_ref().map(|node| node.id.clone()).unwrap_or_default(),
            computed_state_root: first.and_then(|node| node.computed_state_root).unwrap_or_default(),
            blocks_per_second: DevnetReport::rate(height, seconds),
            epochs: height / self.epoch_blocks.max(1),
            executed_after_ms: crate::report::ratio(sum as f64, count as f64),
            transactions: self.sent,
            events: std::mem::take(&mut self.events),
            recovery_seconds: spread(&self.recoveries),
            recoveries: std::mem::take(&mut self.recoveries),
            faults,
            nodes,
        }
    }
}
