//! Discovery: finding peers, and keeping connections to them.
//!
//! A node begins with the peers that its operator names ([`BootstrapPeer`]), asks connected peers for others, and keeps
//! them and what it finds in an [`AddressBook`] that survives restarts. [`Discovery`] does it in the background.
//!
//! # What it trusts
//! Nothing that peers say. An address is worth a try if it can be reached from where it was heard; it is a peer's when
//! that peer's key has answered there. What was heard and not tried is bounded for each source and each group of sources,
//! and is tried so seldom that nobody can use this node to flood a third party. Connections are spread over groups of
//! addresses.
//!
//! # What it does not do
//! It can't tell whether many keys at many addresses are one operator's. One honest peer among those that are connected
//! is enough to synchronize; the operator's own list of peers is what makes one likely.

mod book;
mod bootstrap;
mod candidates;
mod dialer;
mod exchange;
mod file;
mod handle;
mod named;
mod plan;

#[cfg(test)]
mod belief_tests;
#[cfg(test)]
mod dead_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vanish_tests;

pub use book::{AddressBook, BookAddress, BookEntry};
pub use bootstrap::{BootstrapPeer, ParseBootstrapError, PeerAddress};
pub use file::{BOOK_FILE, BookError, BookFound};
pub use handle::{Discovery, DiscoveryHandler, DiscoverySettings, DiscoveryTask};
