//! Connections between nodes.

use hotstuff2_sync::ids::RequestId;
use hotstuff2_sync::machine::{Input, PeerEvent};

use super::{DIAL_INTERVAL, NetworkSimulator, Tick};
use crate::sim::network::NodeId;

impl NetworkSimulator {
    /// Whom a joiner dials, beside those that it dials already.
    pub fn add_contacts(&mut self, joiner: NodeId, contacts: impl IntoIterator<Item = NodeId>) {
        let joiner_id = joiner;
        if let Some(joiner) = self.nodes[joiner.index()].joiner_mut() {
            joiner.contacts.extend(contacts);
        }
        // The node dials when it starts, and now if it is on.
        self.dial(joiner_id);
    }

    /// Disconnects a joiner from a node, and lets it dial that one no more.
    pub fn remove_contact(&mut self, joiner: NodeId, contact: NodeId) {
        if let Some(joiner) = self.nodes[joiner.index()].joiner_mut() {
            joiner.contacts.retain(|&other| other != contact);
        }
        if self.joiner(joiner).is_some_and(|joiner| joiner.connected.contains_key(&contact)) {
            self.disconnect(joiner, contact);
        }
    }

    /// Connects a joiner with those of its contacts that it can reach.
    pub(super) fn dial(&mut self, id: NodeId) {
        let now = self.now();
        let Some(joiner) = self.joiner(id).filter(|joiner| joiner.machine.is_some()) else { return };
        let mut complete = true;
        let mut new = Vec::new();
        for &contact in &joiner.contacts {
            if joiner.connected.contains_key(&contact) {
                continue;
            }
            let free = joiner.banned.get(&contact).is_none_or(|&until| until <= now);
            let other = &self.nodes[contact.index()];
            if free && other.up && self.net.reaches(id, contact) {
                new.push((contact, other.life, PeerEvent::Connected { peer: other.peer, group: other.group }));
            } else {
                complete = false;
            }
        }
        for (contact, life, event) in new {
            // The node may have crashed in what the connection before led to.
            let Some(joiner) = self.nodes[id.index()].joiner_mut().filter(|joiner| joiner.machine.is_some()) else {
                return;
            };
            joiner.connected.insert(contact, life);
            self.trace.note(now, format_args!("{id} connects to {contact}"));
            self.input(id, Input::Peer(event));
        }
        if !complete {
            self.dial_later(id);
        }
    }

    pub(super) fn dial_later(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.index()];
        let life = node.life;
        if let Some(joiner) = node.joiner_mut().filter(|joiner| !joiner.dials) {
            joiner.dials = true;
            self.net.after(DIAL_INTERVAL, Tick::Dial(id, life));
        }
    }

    /// Connections to nodes that are down, were restarted or can't be reached end.
    pub(super) fn drop_dead_connections(&mut self) {
        for id in self.net.nodes() {
            let Some(joiner) = self.joiner(id).filter(|joiner| joiner.machine.is_some()) else { continue };
            let dead = joiner.connected.iter().filter(|&(&contact, &life)| {
                let other = &self.nodes[contact.index()];
                !other.up || other.life != life || !self.net.reaches(id, contact)
            });
            let dead: Vec<NodeId> = dead.map(|(&contact, _)| contact).collect();
            for contact in dead {
                self.disconnect(id, contact);
            }
        }
    }

    fn disconnect(&mut self, id: NodeId, contact: NodeId) {
        let peer = self.nodes[contact.index()].peer;
        let Some(joiner) = self.nodes[id.index()].joiner_mut() else { return };
        joiner.connected.remove(&contact);
        let gone: Vec<RequestId> =
            joiner.open.iter().filter(|(_, open)| open.to == contact).map(|(&request, _)| request).collect();
        for request in gone {
            if let Some(open) = joiner.open.remove(&request) {
                self.net.cancel(open.asking);
                open.answering.into_iter().for_each(|answering| self.net.cancel(answering));
            }
        }
        self.trace.note(self.net.now(), format_args!("{id} loses its connection to {contact}"));
        self.input(id, Input::Peer(PeerEvent::Disconnected { peer }));
        self.dial_later(id);
    }
}
