//! What an implementor of [`Chain`](hotstuff2_sync::chain::Chain) needs to try it.

mod part;

pub use part::whole_part;
