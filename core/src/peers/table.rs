//! [`PeerTable`]: all peers by id, with those that are asked in a row of their own.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::peer::Peer;
use crate::ids::PeerId;

/// All peers that are known. Whoever is asked has a seat: every choice looks at all seats, and must neither search for
/// them nor touch anybody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct PeerTable {
    /// Those that are asked, by id.
    seated: Vec<(PeerId, Box<Peer>)>,
    /// Everyone; `None` for those that have a seat.
    all: BTreeMap<PeerId, Option<Box<Peer>>>,
}

impl PeerTable {
    fn seat_of(&self, id: PeerId) -> Result<usize, usize> {
        self.seated.binary_search_by_key(&id, |&(id, _)| id)
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&Peer> {
        match self.seat_of(id) {
            Ok(seat) => self.seated.get(seat).map(|(_, peer)| &**peer),
            Err(_) => self.all.get(&id)?.as_deref(),
        }
    }

    pub(super) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        match self.seat_of(id) {
            Ok(seat) => self.seated.get_mut(seat).map(|(_, peer)| &mut **peer),
            Err(_) => self.all.get_mut(&id)?.as_deref_mut(),
        }
    }

    /// The peer, who is made if it is not known.
    pub(super) fn entry(&mut self, id: PeerId, new: impl FnOnce() -> Peer) -> &mut Peer {
        let seat = self.seat_of(id).ok().and_then(|seat| self.seated.get_mut(seat));
        match seat {
            Some((_, peer)) => peer,
            None => self.all.entry(id).or_default().get_or_insert_with(|| Box::new(new())),
        }
    }

    /// Forgets a peer that has no seat.
    pub(super) fn remove(&mut self, id: PeerId) {
        if self.seat_of(id).is_err() {
            self.all.remove(&id);
        }
    }

    /// Gives a peer a seat, or takes it away.
    pub(super) fn seat(&mut self, id: PeerId, seated: bool) {
        match self.seat_of(id) {
            Err(place) if seated => {
                if let Some(peer) = self.all.get_mut(&id).and_then(Option::take) {
                    self.seated.insert(place, (id, peer));
                }
            }
            Ok(place) if !seated => {
                let (id, peer) = self.seated.remove(place);
                self.all.insert(id, Some(peer));
            }
            _ => {}
        }
    }

    /// How many have a seat.
    pub(super) fn seats(&self) -> usize {
        self.seated.len()
    }

    /// Those that have a seat, in the order of their ids.
    pub(super) fn seated(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.seated.iter().map(|(id, peer)| (*id, &**peer))
    }

    /// Those that have a seat, in the order of their ids.
    pub(super) fn seated_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.seated.iter_mut().map(|(_, peer)| &mut **peer)
    }

    /// Everyone, in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.all.iter().filter_map(|(&id, peer)| Some((id, peer.as_deref().or_else(|| self.get(id))?)))
    }

    /// How many are known.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}
