//! Views that nothing comes of are given up.

use std::sync::Arc;

use hotstuff2_sync::chain::native::{QuorumCertificate, TimeoutCertificate, ValidatorKey};
use hotstuff2_sync::ids::{Epoch, View};

use super::{Output, Replica, VIEWS_AHEAD};
use crate::replica::committee::power;
use crate::replica::execution::Execution;
use crate::replica::message::{GiveUp, Message};

impl<E: Execution> Replica<E> {
    pub(super) fn say_given_up(&mut self) {
        if self.speaks() {
            let quit = GiveUp::sign(&self.secret, self.epoch.chain_id(), self.epoch.epoch(), self.view);
            self.tell_all(Message::GiveUp(quit, self.high.clone()));
        } else {
            // An observer has no say; but what others answer brings it up to date.
            self.outputs.push_back(Output::Broadcast(Message::Where(self.epoch.epoch(), self.view)));
        }
    }

    /// Tells `from`, who is in this view, of a later one.
    pub(super) fn answer_behind(&mut self, from: ValidatorKey, epoch: Epoch, view: View) {
        let answer = match self.endings.get(&epoch) {
            Some(ending) => Some(Message::Handover(ending.clone())),
            None if epoch > self.epoch.epoch() => Some(Message::Behind(self.epoch.epoch())),
            None if epoch == self.epoch.epoch() && view >= self.view => None,
            None => match (&self.entered_by, &self.high) {
                (Some(timeout), _) => Some(Message::Timeout(timeout.clone())),
                (None, high) => high.clone().map(Message::Certificate),
            },
        };
        if let Some(answer) = answer.filter(|_| from != self.key) {
            self.outputs.push_back(Output::Send(from, answer));
        }
    }

    pub(super) fn on_give_up(&mut self, from: ValidatorKey, quit: GiveUp, high: Option<Arc<QuorumCertificate>>) {
        if let Some(high) = high {
            self.on_certificate(from, high);
        }
        if quit.epoch != self.epoch.epoch() || quit.view < self.view {
            // One of the two is behind the other.
            self.answer_behind(from, quit.epoch, quit.view);
            return;
        }
        if quit.view.get() > self.view.get().saturating_add(VIEWS_AHEAD) {
            self.outputs.push_back(Output::Send(from, Message::Where(self.epoch.epoch(), self.view)));
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
        } else if behind * 3 > set.total_power() && self.given_up < quit.view && self.speaks() {
            // Somebody honest gave up on it: waiting helps nobody. In a view of before, only a certificate leads on.
            if quit.view == self.view {
                self.given_up = quit.view;
                self.propose_at = None;
                self.deadline = self.now.after(self.patience());
                self.say_given_up();
            } else if from != self.key {
                self.outputs.push_back(Output::Send(from, Message::Where(self.epoch.epoch(), self.view)));
            }
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
