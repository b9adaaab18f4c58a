//! Penalties carried out: the same for every driver of a machine that asks for them.

use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::machine::Penalty;
use hotstuff2_sync::time::Instant;

use crate::discovery::Discovery;
use crate::net::Network;

/// Carries out a penalty of `peer` at the machine's time `now`: on the network, which drops its connections, and on
/// `discovery` where there is one, which doesn't dial it meanwhile.
pub(crate) fn penalize(
    network: &dyn Network,
    discovery: Option<&Discovery>,
    peer: PeerId,
    penalty: Penalty,
    now: Instant,
) {
    let (reason, until) = match penalty {
        Penalty::Ban { fault, until } => (fault.to_string(), until),
        Penalty::Exclude { reason, until } => (reason.to_string(), until),
        Penalty::Lift => {
            network.lift_ban(peer);
            if let Some(discovery) = discovery {
                discovery.lift_ban(peer);
            }
            return;
        }
        // The enum may grow; what this driver doesn't know it can't do.
        other => {
            tracing::warn!(%other, "an unknown penalty is asked for");
            return;
        }
    };
    let duration = until.since(now);
    network.ban(peer, duration, &reason);
    if let Some(discovery) = discovery {
        discovery.ban(peer, duration);
    }
}
