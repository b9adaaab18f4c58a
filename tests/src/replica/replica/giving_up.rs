//! Views that nothing comes of are given up.

use std::sync::Arc;

use hotstuff2_sync::chain::native::{QuorumCertificate, TimeoutCertificate, ValidatorKey};

use super::{Output, Replica};
use crate::replica::committee::power;
use crate::replica::message::{GiveUp, Message};

impl Replica {
    pub(super) fn say_given_up(&mut self) {
        let quit = GiveUp::sign(&self.secret, self.epoch.chain_id(), self.epoch.epoch(), self.view);
        if self.member() {
            self.tell_all(Message::GiveUp(quit, self.high.clone()));
        } else {
            // An observer has no say; but what others answer brings it up to date.
            self.outputs.push_back(Output::Broadcast(Message::GiveUp(quit, self.high.clone())));
        }
    }

    pub(super) fn on_give_up(&mut self, from: ValidatorKey, quit: GiveUp, high: Option<Arc<QuorumCertificate>>) {
        if let Some(high) = high {
            self.on_certificate(from, high);
        }
        if quit.epoch != self.epoch.epoch() || quit.view < self.view {
            // One of the two is behind the other.
            let answer = match usize::try_from(quit.epoch.get()).ok().and_then(|index| self.endings.get(index)) {
                Some(ending) => Some(Message::Handover(ending.clone())),
                None if quit.epoch > self.epoch.epoch() => Some(Message::Behind(self.epoch.epoch())),
                None => match (&self.entered_by, &self.high) {
                    (Some(timeout), _) => Some(Message::Timeout(timeout.clone())),
                    (None, high) => high.clone().map(Message::Certificate),
                },
            };
            if let Some(answer) = answer.filter(|_| from != self.key) {
                self.outputs.push_back(Output::Send(from, answer));
            }
            return;
        }
        let set = self.epoch.validators();
        if set.index_of(&quit.key).is_none() || !quit.holds(self.epoch.chain_id()) {
            return;
        }
        let quitters = self.quitters.entry(quit.view).or_default();
        quitters.insert(quit.key, quit.signature);
        let behind = power(set, quitters.keys());
        if set.is_quorum(behind) {
            let timeout = TimeoutCertificate::collect(quit.epoch, quit.view, set, quitters.clone());
            self.tell_all(Message::Timeout(Arc::new(timeout)));
        } else if behind * 3 > set.total_power() && self.given_up < quit.view && self.member() {
            // Somebody honest gave up on it: waiting in an earlier view helps nobody.
            self.given_up = quit.view;
            self.view = self.view.max(quit.view);
            self.propose_at = None;
            self.deadline = self.now.after(self.patience());
            self.say_given_up();
        }
    }

    pub(super) fn on_timeout_certificate(&mut self, from: ValidatorKey, timeout: Arc<TimeoutCertificate>) {
        if timeout.epoch > self.epoch.epoch() {
            self.outputs.push_back(Output::Send(from, Message::Behind(self.epoch.epoch())));
        }
        if timeout.view >= self.view && timeout.verify(&self.epoch).is_ok() {
            self.enter(timeout.view.next(), Some(timeout));
        }
    }
}
