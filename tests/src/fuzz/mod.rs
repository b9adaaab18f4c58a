//! The bodies of the fuzz targets, so that they also run without a fuzzer: over the corpora, in a normal test.
//!
//! Each takes any bytes and panics where something is wrong. What they check beyond "no panic" is in their docs. Where
//! honest bytes are hard to come by (signatures, hashes), the input says how an honest answer is changed.

mod decoders;
mod input;
mod jobs;
mod machine;
mod seeds;
mod serving;
mod session;

pub use decoders::decoders;
pub use jobs::jobs;
pub use machine::machine;
pub use seeds::seeds;
pub use serving::respond;
pub use session::session;

/// Body of a target for some bytes: nothing shows, or it panics.
pub type Body = fn(&[u8]);

/// Name and body of each target.
pub const TARGETS: [(&str, Body); 5] =
    [("decoders", decoders), ("jobs", jobs), ("respond", respond), ("machine", machine), ("session", session)];
