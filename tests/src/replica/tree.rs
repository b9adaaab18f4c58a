//! [`Tree`]: the blocks that a replica knows, all connected to the genesis block, and their certificates.

use std::collections::BTreeMap;
use std::sync::Arc;

use hotstuff2_sync::chain::native::{Header, QuorumCertificate};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;

use super::message::Block;

/// Blocks by id, and who certified them.
#[derive(Clone, Debug)]
pub struct Tree {
    genesis: (Header, Hash),
    blocks: BTreeMap<Hash, Arc<Block>>,
    certified: BTreeMap<Hash, Arc<QuorumCertificate>>,
    doubly: BTreeMap<Hash, Arc<QuorumCertificate>>,
}

impl Tree {
    pub(super) fn new(genesis: Header) -> Self {
        let id = genesis.id();
        Self { genesis: (genesis, id), blocks: BTreeMap::new(), certified: BTreeMap::new(), doubly: BTreeMap::new() }
    }

    /// The header of a block, the genesis block's too.
    pub fn header(&self, id: Hash) -> Option<&Header> {
        if id == self.genesis.1 { Some(&self.genesis.0) } else { Some(&self.block(id)?.header) }
    }

    /// A block; the genesis block isn't one.
    pub fn block(&self, id: Hash) -> Option<&Arc<Block>> {
        self.blocks.get(&id)
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
