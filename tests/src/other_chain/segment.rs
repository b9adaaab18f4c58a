//! [`OtherHeader`] and [`OtherSegment`]: headers, each with its certificate, and the headers above that make the last final.

use hotstuff2_sync::chain::{Fault, HeaderFacts};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, View};
use hotstuff2_sync::limits::GRID;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::certificate::{Certificate, Committee, Vote, digest};
use super::rule::{Rule, Rules};

/// Most headers above a block in its proof.
pub(super) const MAX_ABOVE: usize = 64;

/// A header. Its height and its parent are known from where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherHeader {
    /// The view that the block was proposed in.
    pub view: View,
    /// SHA-256 of the payload.
    pub payload_hash: Hash,
    /// The certificate for this block.
    pub certificate: Certificate,
}

impl OtherHeader {
    /// The id of a block. It covers the parent, and not the length of the payload.
    pub fn id_of(height: Height, parent: Hash, view: View, payload_hash: Hash) -> Hash {
        let (height, view) = (height.get().to_le_bytes(), view.get().to_le_bytes());
        digest("other chain: block", &[&height, parent.as_bytes(), &view, payload_hash.as_bytes()])
    }

    fn id(&self, height: Height, parent: Hash) -> Hash {
        Self::id_of(height, parent, self.view, self.payload_hash)
    }
}

/// A segment on the wire and in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wire {
    pub(super) first: Height,
    pub(super) parent_id: Hash,
    /// Each header with the length of its payload, which nobody signed.
    pub(super) headers: Vec<(OtherHeader, u32)>,
    /// The headers above the last: the last two certificates of all are of consecutive views. Empty where it is anchored.
    pub(super) above: Vec<OtherHeader>,
}

/// A final block with what makes it final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tip {
    pub(super) height: Height,
    pub(super) parent_id: Hash,
    pub(super) header: OtherHeader,
    pub(super) above: Vec<OtherHeader>,
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap_or_default()
}

/// Decodes the one form that [`encode`] gives a value.
pub(super) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], most: u64, rules: Rules) -> Result<T, Fault> {
    if bytes.len() as u64 > most {
        return Err(Fault::Oversize);
    }
    let value: T = postcard::from_bytes(bytes).map_err(|_| Fault::Malformed)?;
    rules.demand(Rule::OneEncoding, encode(&value) == bytes, Fault::NonCanonical)?;
    Ok(value)
}

/// A segment, decoded, with the ids of its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSegment {
    pub(super) wire: Wire,
    pub(super) range: HeightRange,
    ids: Vec<Hash>,
}

impl OtherSegment {
    pub(super) fn new(wire: Wire) -> Result<Self, Fault> {
        let count = wire.headers.len() as u64;
        if count > GRID || wire.above.len() > MAX_ABOVE {
            return Err(Fault::Oversize);
        }
        let last = count.checked_sub(1).and_then(|more| wire.first.get().checked_add(more)).ok_or(Fault::Malformed)?;
        let range = HeightRange::new(wire.first, Height::new(last)).ok_or(Fault::Malformed)?;
        let (mut ids, mut parent, mut height) = (Vec::new(), wire.parent_id, wire.first);
        for (header, _) in &wire.headers {
            parent = header.id(height, parent);
            ids.push(parent);
            height = height.next();
        }
        Ok(Self { wire, range, ids })
    }

    /// The heights that it holds.
    pub fn range(&self) -> HeightRange {
        self.range
    }

    pub(super) fn id(&self, height: Height) -> Option<Hash> {
        self.ids.get(self.range.index_of(height)?).copied()
    }

    /// The id of the block at `height`, or of the one below the first.
    pub(super) fn id_or_parent(&self, height: Height) -> Option<Hash> {
        if self.range.first().is_next_of(height) { Some(self.wire.parent_id) } else { self.id(height) }
    }

    pub(super) fn last_id(&self) -> Hash {
        self.ids.last().copied().unwrap_or_default()
    }

    pub(super) fn header(&self, height: Height) -> Option<&(OtherHeader, u32)> {
        self.wire.headers.get(self.range.index_of(height)?)
    }

    pub(super) fn facts(&self, height: Height) -> Option<HeaderFacts> {
        Some(HeaderFacts { id: self.id(height)?, state_root: Hash::ZERO, timestamp: UnixMillis::default() })
    }

    /// Checks all certificates: one for each block, and those of the proof, if there is one.
    pub(super) fn check(&self, committee: &Committee, chain_id: Hash, rules: Rules) -> Result<(), Fault> {
        let mut headers = self.wire.headers.iter().map(|(header, _)| header);
        let mut path = Path { height: self.range.first(), parent: self.wire.parent_id, view: None };
        headers.clone().try_for_each(|header| path.step(header, committee, chain_id, rules))?;
        match headers.next_back() {
            Some(last) if !self.wire.above.is_empty() => {
                path.finish(last, &self.wire.above, committee, chain_id, rules)
            }
            _ => Ok(()),
        }
    }
}

impl Tip {
    /// Proves it, and returns the block's id.
    pub(super) fn check(&self, committee: &Committee, chain_id: Hash, rules: Rules) -> Result<Hash, Fault> {
        let mut path = Path { height: self.height, parent: self.parent_id, view: None };
        path.step(&self.header, committee, chain_id, rules)?;
        let id = path.parent;
        path.finish(&self.header, &self.above, committee, chain_id, rules)?;
        Ok(id)
    }
}

/// A walk up the chain, header by header.
struct Path {
    /// Of the next header.
    height: Height,
    /// Its parent.
    parent: Hash,
    /// The parent's view, where it is known.
    view: Option<View>,
}

impl Path {
    fn step(&mut self, header: &OtherHeader, committee: &Committee, chain_id: Hash, rules: Rules) -> Result<(), Fault> {
        let rises = self.view.is_none_or(|below| below < header.view);
        rules.demand(Rule::Views, rises, Fault::BrokenLink(self.height))?;
        let id = header.id(self.height, self.parent);
        let vote = Vote { view: header.view, height: self.height, id };
        header.certificate.check(committee, chain_id, &vote, rules)?;
        *self = Self { height: self.height.next(), parent: id, view: Some(header.view) };
        Ok(())
    }

    /// Checks the headers above the block with the header `last`: they make it final.
    fn finish(
        mut self,
        last: &OtherHeader,
        above: &[OtherHeader],
        committee: &Committee,
        chain_id: Hash,
        rules: Rules,
    ) -> Result<(), Fault> {
        if above.len() > MAX_ABOVE {
            return Err(Fault::Oversize);
        }
        let decided = deciding(last, above) == Some(above.len());
        rules.demand(Rule::Consecutive, decided, Fault::NotFinal)?;
        above.iter().try_for_each(|header| self.step(header, committee, chain_id, rules))
    }
}

/// How many of the headers above one decide it: up to the first that is of the view right above that of the one before.
pub(super) fn deciding<'a>(last: &'a OtherHeader, above: impl IntoIterator<Item = &'a OtherHeader>) -> Option<usize> {
    let mut view = last.view;
    for (index, header) in above.into_iter().enumerate().take(MAX_ABOVE) {
        if view.get().checked_add(1) == Some(header.view.get()) {
            return Some(index.saturating_add(1));
        }
        view = header.view;
    }
    None
}
