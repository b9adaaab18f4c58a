//! What travels between nodes: requests, answers, and the frames that block bodies travel and are stored in.
//!
//! Nothing here is trusted. Decoders are bounded by constants of [`crate::limits`] and by what verified headers say,
//! check before they allocate, and accept one encoding of each value only.

mod blocks;
mod bodies;
mod peers;
mod reads;
mod request;
mod response;
mod status;

#[cfg(test)]
mod peers_tests;
#[cfg(test)]
mod reads_tests;
#[cfg(test)]
mod tests;

pub use blocks::encode_blocks;
pub use bodies::{BodyFrame, cut_frame, decode_bodies, encode_frame, frame_lens, frame_sizes, split_payloads};
pub use peers::{KnownPeer, decode_peers, encode_peers};
pub use reads::{encode_read, verify_read};
pub use request::{PROTOCOL_VERSION, Request, RequestError};
pub use response::{Answer, Refusal, encode_answer, encode_refusal};
pub use status::{AdvertisedSnapshots, PeerStatus};

pub use crate::sections::{Sections, cut_audit, put_section, split_section};
