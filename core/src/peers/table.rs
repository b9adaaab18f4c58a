//! [`PeerTable`]: all peers by id, with those that are asked in a row of their own.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::peer::Peer;
use crate::ids::PeerId;
use crate::sorted::Sorted;

/// All peers that are known. Every choice looks at all active ones, and must neither search for
/// them nor touch anybody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct PeerTable {
    /// The active peers, which are asked, by id.
    active: Vec<(PeerId, Box<Peer>)>,
    /// Everyone; `None` for the active ones.
    all: Sorted<PeerId, Option<Box<Peer>>>,
}

impl PeerTable {
    fn index_of(&self, id: PeerId) -> Result<usize, usize> {
        self.active.binary_search_by_key(&id, |&(id, _)| id)
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&Peer> {
        match self.index_of(id) {
            Ok(index) => self.active.get(index).map(|(_, peer)| &**peer),
            Err(_) => self.all.get(&id)?.as_deref(),
        }
    }

    pub(super) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        match self.index_of(id) {
            Ok(index) => self.active.get_mut(index).map(|(_, peer)| &mut **peer),
            Err(_) => self.all.get_mut(&id)?.as_deref_mut(),
        }
    }

    /// The peer, who is made if it is not known.
    pub(super) fn entry(&mut self, id: PeerId, new: impl FnOnce() -> Peer) -> &mut Peer {
        let active = self.index_of(id).ok().and_then(|index| self.active.get_mut(index));
        match active {
            Some((_, peer)) => peer,
            None => self.all.get_or_insert_with(id, || None).get_or_insert_with(|| Box::new(new())),
        }
    }

    /// Forgets a peer that is not active.
    pub(super) fn remove(&mut self, id: PeerId) {
        if self.index_of(id).is_err() {
            self.all.remove(&id);
        }
    }

    /// Makes a peer active, or no longer so.
    pub(super) fn set_active(&mut self, id: PeerId, active: bool) {
        match self.index_of(id) {
            Err(index) if active => {
                if let Some(peer) = self.all.get_mut(&id).and_then(Option::take) {
                    self.active.insert(index, (id, peer));
                }
            }
            Ok(index) if !active => {
                let (id, peer) = self.active.remove(index);
                self.all.insert(id, Some(peer));
            }
            _ => {}
        }
    }

    /// Number of active peers.
    pub(super) fn active_len(&self) -> usize {
        self.active.len()
    }

    /// The active peers, in the order of their ids.
    pub(super) fn active(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.active.iter().map(|(id, peer)| (*id, &**peer))
    }

    /// The active peers, in the order of their ids.
    pub(super) fn active_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.active.iter_mut().map(|(_, peer)| &mut **peer)
    }

    /// Everyone, in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.all.iter().filter_map(|(&id, peer)| Some((id, peer.as_deref().or_else(|| self.get(id))?)))
    }

    /// Number of known peers.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}
