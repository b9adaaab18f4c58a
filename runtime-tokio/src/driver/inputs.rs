//! The way to the machine's thread.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant as Clock;

use super::Input;

/// Sender of inputs for the machine: each with the time at which it came, since they are gathered. What is known of a
/// line is when its answers came, and not when somebody looked at them.
#[derive(Clone)]
pub(crate) struct Inputs(Sender<(Clock, Input)>);

impl Inputs {
    /// The way in and its end.
    pub(crate) fn new() -> (Self, Receiver<(Clock, Input)>) {
        let (sender, work) = channel();
        (Self(sender), work)
    }

    /// False where the machine's thread has ended.
    pub(crate) fn send(&self, input: Input) -> bool {
        self.0.send((Clock::now(), input)).is_ok()
    }
}
