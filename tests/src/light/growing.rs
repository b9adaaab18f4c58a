//! [`Growing`]: a peer whose chain grows while it is asked.

use std::time::Duration;

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::time::{Instant, micros};
use hotstuff2_sync::wire::Request;

use crate::chain::TestChain;
use crate::world::{Behaviour, Honest, Reply};

/// Answers truthfully, from a chain that gets a block every so often.
#[derive(Clone, Copy, Debug)]
pub struct Growing {
    /// How it answers.
    pub honest: Honest,
    /// Its tip at the start of time.
    pub from: Height,
    /// Time between two blocks.
    pub every: Duration,
}

impl Growing {
    /// Its tip at this time.
    pub fn tip(&self, now: Instant) -> Height {
        self.from.plus(now.as_micros() / micros(self.every).max(1))
    }
}

impl Behaviour for Growing {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        self.reply_at(Instant::ZERO, request, chain)
    }

    fn reply_at(&mut self, now: Instant, request: &Request, chain: &TestChain) -> Reply {
        Honest { tip: self.tip(now).min(self.honest.tip), ..self.honest }.reply(request, chain)
    }
}
