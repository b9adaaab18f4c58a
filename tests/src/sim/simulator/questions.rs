//! Questions to a node, and its answers.

use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::{Height, RequestId};
use hotstuff2_sync::machine::{Input, RequestFailure};
use hotstuff2_sync::serve::{ChainReader as _, respond};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};

use super::{FOLLOW_HOLD, FOLLOW_LOOK, Held, MESSAGE_OVERHEAD, NetworkSimulator, Tick, Wire};
use crate::sim::adversary::{Answering, Ask, Says};
use crate::sim::network::NodeId;
use crate::sim::node::Role;
use crate::sim::oracle::Law;
use crate::sim::source::Holdings;

impl NetworkSimulator {
    /// A request arrived at `server`, or waited there.
    pub(super) fn asked(&mut self, server: NodeId, asker: NodeId, held: Held) {
        if !self.nodes[server.index()].up {
            return;
        }
        let request = match Request::decode(&held.request) {
            Ok(request) => request,
            Err(error) => {
                return self.check(asker, Err((Law::Truth, format!("a request that can't be read: {error}"))));
            }
        };
        let now = self.now();
        let network_tip = self.network_tip();
        // A follower for whom there is nothing waits.
        let tip = match &self.nodes[server.index()].role {
            Role::Server(server) => server.held.tip.min(network_tip),
            Role::Joiner(joiner) => joiner.disk.shelf.status().tip,
        };
        if let Request::Follow { after, .. } = request
            && after >= tip
            && now < held.came.after(FOLLOW_HOLD)
        {
            let look = match &self.nodes[server.index()].role {
                Role::Server(_) => self.grows_above(after).map_or(held.came.after(FOLLOW_HOLD), |at| at.max(now)),
                Role::Joiner(_) => now.after(FOLLOW_LOOK),
            };
            let look = look.min(held.came.after(FOLLOW_HOLD)).max(now.after(Duration::from_micros(1)));
            return self.net.at(look, Tick::Asked(server, asker, held));
        }
        let Held { id, life, max, .. } = held;
        let Some((after, answer)) = self.answer(server, &request, network_tip) else { return };
        let answer = match answer {
            Ok(bytes) if bytes.len() as u64 > max => Err(RequestFailure::Oversize),
            other => other,
        };
        self.net.after(after, Tick::Answers { from: server, to: asker, id, life, answer });
    }

    /// A node's answer, and after which time; `None` for none.
    fn answer(
        &mut self,
        server: NodeId,
        request: &Request,
        network_tip: Height,
    ) -> Option<(Duration, Result<Bytes, RequestFailure>)> {
        let now = self.now();
        match &mut self.nodes[server.index()].role {
            Role::Joiner(joiner) => {
                let answer = match joiner.serves {
                    true => {
                        respond(request, &joiner.disk.shelf).unwrap_or_else(|_| encode_refusal(Refusal::NotAvailable))
                    }
                    false => encode_refusal(Refusal::NotAvailable),
                };
                Some((Duration::from_micros(200), Ok(answer)))
            }
            Role::Server(server) => {
                let held = Holdings { tip: server.held.tip.min(network_tip), ..server.held };
                let honest = self.source.answer(&held, request);
                let mut answering = Answering { after: server.thinks, says: Says::Bytes(honest) };
                let (source, asked) = (&*self.source, server.asked);
                let mut ask = Ask { request, now, source, held, rng: &mut server.rng, asked };
                for adversary in &mut server.adversaries {
                    adversary.bend(&mut ask, &mut answering);
                }
                server.asked += 1;
                match answering.says {
                    Says::Bytes(bytes) => Some((answering.after, Ok(bytes))),
                    Says::Break => Some((answering.after, Err(RequestFailure::Broken))),
                    Says::Nothing => None,
                }
            }
        }
    }

    /// A node sends an answer, if it is still wanted.
    pub(super) fn send_answer(
        &mut self,
        from: NodeId,
        to: NodeId,
        id: RequestId,
        life: u32,
        answer: Result<Bytes, RequestFailure>,
    ) {
        let up = self.nodes[from.index()].up;
        if !up || self.living(to, life).is_none_or(|joiner| !joiner.open.contains_key(&id)) {
            return;
        }
        let bytes = answer.as_ref().map_or(0, |bytes| bytes.len() as u64) + MESSAGE_OVERHEAD;
        let transfer = self.net.stream(from, to, bytes, Wire::Answer { id, life, answer });
        if let Some(open) = self.living(to, life).and_then(|joiner| joiner.open.get_mut(&id)) {
            open.answering = Some(transfer);
        }
    }

    pub(super) fn answered(
        &mut self,
        from: NodeId,
        to: NodeId,
        id: RequestId,
        life: u32,
        answer: Result<Bytes, RequestFailure>,
    ) {
        let Some(joiner) = self.living(to, life) else { return };
        joiner.open.remove(&id);
        let bytes = answer.as_ref().map_or(0, Bytes::len);
        let how = match &answer {
            Ok(_) => "gets",
            Err(RequestFailure::Oversize) => "gets too much for",
            Err(_) => "loses",
        };
        self.trace.note(self.net.now(), format_args!("{to} {how} {id} from {from}: {bytes}"));
        self.input(to, Input::Response(id, answer));
    }
}
