//! Plain values that cross the border, laid out as in the header. Sizes and offsets are asserted by the tests, in Rust and
//! in C.

mod gate;
mod light;
mod machine;
mod native;
mod own_chain;
mod plain;
mod serving;
mod session;
mod state;

pub use gate::*;
pub use light::*;
pub use machine::*;
pub use native::*;
pub use own_chain::*;
pub use plain::*;
pub use serving::*;
pub use session::*;
pub use state::*;
