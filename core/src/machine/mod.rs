//! The synchronization state machine.

mod calls;

pub use calls::{Applied, Apply, ApplyError, ApplyPart, BlockPoint, Replay, Start, StoreCall, StoreError};
