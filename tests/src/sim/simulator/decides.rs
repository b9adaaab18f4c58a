//! Nodes whose own engines decide blocks.

use hotstuff2_sync::ids::{DecidedId, Height};
use hotstuff2_sync::machine::{DecidedError, Input};
use hotstuff2_sync::ranges::HeightRange;

use super::NetworkSimulator;
use crate::sim::network::NodeId;
use crate::sim::oracle::Law;

impl NetworkSimulator {
    /// The engine of a node has decided the block at `height`, and hands it in if the node is on.
    pub(super) fn decide(&mut self, node: NodeId, height: Height) {
        let decided = self.source.test_chain().and_then(|chain| chain.decided(HeightRange::single(height)));
        match decided {
            Some(decided) => self.input(node, Input::Decided(decided)),
            None => self.check(node, Err((Law::Order, format!("there is no block {height} to decide")))),
        }
    }

    /// The machine has answered its engine. The submission is named after its last block.
    pub(super) fn decided(&mut self, id: NodeId, submission: DecidedId, result: Result<Height, DecidedError>) {
        let now = self.now();
        self.trace.note(now, format_args!("{id} answers its engine {submission}: {result:?}"));
        let Some(joiner) = self.nodes[id.index()].joiner_mut() else { return };
        joiner.decided.push((submission, result));
        let (stored, applied) = (joiner.disk.stored(), joiner.disk.applied());
        let checked = match result {
            Ok(height) if height.get() < submission.get() || height > stored || height > applied => {
                Err((Law::Durability, format!("block {submission} is said to be there, and {applied} is applied")))
            }
            _ => Ok(()),
        };
        self.check(id, checked);
    }

    /// Answers of the machine to its engine, in all lives of the node.
    pub fn answers(&self, node: NodeId) -> &[(DecidedId, Result<Height, DecidedError>)] {
        self.joiner(node).map(|joiner| joiner.decided.as_slice()).unwrap_or_default()
    }
}
