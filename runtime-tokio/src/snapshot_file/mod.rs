//! Snapshot files: the state after one block, with everything that proves it, in one file. Made by [`export`] from a
//! store, checked by [`verify`] and taken into another store by [`import`], without a network.
//!
//! # What it trusts
//! The genesis document. A file may come from anyone: its handovers, headers and tip are proven by the same jobs that
//! check what peers send, its state by the root in the proven header. Checksums only tell a bad copy from a lie.
//!
//! # Form
//! `hs2snap`, a line feed, the format's version (u32), then frames. A frame has a head (kind u8, codec u8, decompressed
//! length u32, length u32), its content, and a checksum over both (XXH3 with the frame's offset as the seed, u64).
//! Numbers are little-endian. No frame has more than 2 MiB, so memory doesn't grow with the state.
//!
//! ```text
//! head       chain, anchor, block, epoch, state root, number of keys
//! handover   one for each epoch that ended before the block's, in order
//! base       the headers from the block's own on, and the tip where they have no certificate
//! leaves     records by ascending key hash, each with its length; as many frames as it takes
//! end        keys, bytes of records and frames of leaves that must have come
//! ```

mod error;
mod export;
mod frame;
mod import;
mod parts;
mod places;
mod reader;

#[cfg(test)]
mod tests;

pub use error::{ExportError, ImportError, SnapshotFileError};
pub use export::{Existing, export};
pub use import::{Imported, import};
pub use reader::{SnapshotReader, SnapshotSummary, verify};
