//! [`Tree`]: the blocks that a replica knows, all connected to one final block, and their certificates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hotstuff2_sync::chain::native::{Header, QuorumCertificate};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;

use super::message::Block;

/// Blocks by id, and who certified them.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The final block that all others stand on, and its id.
    root: (Header, Hash),
    blocks: BTreeMap<Hash, Arc<Block>>,
    certified: BTreeMap<Hash, Arc<QuorumCertificate>>,
    doubly: BTreeMap<Hash, Arc<QuorumCertificate>>,
}

impl Tree {
    pub(super) fn new(root: Header) -> Self {
        let id = root.id();
        Self { root: (root, id), blocks: BTreeMap::new(), certified: BTreeMap::new(), doubly: BTreeMap::new() }
    }

    /// The final block that all others stand on.
    pub fn root(&self) -> &Header {
        &self.root.0
    }

    /// The header of a block, the root's too.
    pub fn header(&self, id: Hash) -> Option<&Header> {
        if id == self.root.1 { Some(&self.root.0) } else { Some(&self.block(id)?.header) }
    }

    /// A block; the root isn't one.
    pub fn block(&self, id: Hash) -> Option<&Arc<Block>> {
        self.blocks.get(&id)
    }

    /// All blocks above the root, those of dead forks too, in no order that means anything.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.values()
    }

    /// The phase-one certificate of a block.
    pub fn certificate(&self, id: Hash) -> Option<&Arc<QuorumCertificate>> {
        self.certified.get(&id)
    }

    /// The phase-two certificate of a block.
    pub fn double_certificate(&self, id: Hash) -> Option<&Arc<QuorumCertificate>> {
        self.doubly.get(&id)
    }

    pub(super) fn insert(&mut self, block: Arc<Block>) {
        self.blocks.insert(block.id, block);
    }

    pub(super) fn certify(&mut self, certificate: Arc<QuorumCertificate>) {
        self.certified.insert(certificate.block, certificate);
    }

    pub(super) fn certify_doubly(&mut self, certificate: Arc<QuorumCertificate>) {
        self.doubly.insert(certificate.block, certificate);
    }

    /// Makes `root`, which is final, the block that all others stand on, and forgets whatever doesn't stand on it.
    pub(super) fn rise(&mut self, root: Header) {
        let id = root.id();
        let mut kept = BTreeSet::from([id]);
        let mut by_height: Vec<_> = self.blocks.values().cloned().collect();
        by_height.sort_by_key(|block| block.header.height);
        for block in by_height {
            if kept.contains(&block.header.parent) {
                kept.insert(block.id);
            }
        }
        self.root = (root, id);
        self.blocks.retain(|block, _| *block != id && kept.contains(block));
        self.certified.retain(|block, _| kept.contains(block));
        self.doubly.retain(|block, _| kept.contains(block));
    }

    /// The blocks from the child of the one at `above` to `id`, oldest first; `None` where `id` isn't known.
    pub fn path(&self, id: Hash, above: Height) -> Option<Vec<&Arc<Block>>> {
        self.header(id)?;
        let mut path = Vec::new();
        let mut at = id;
        while let Some(block) = self.block(at).filter(|block| block.header.height > above) {
            path.push(block);
            at = block.header.parent;
        }
        path.reverse();
        Some(path)
    }
}
