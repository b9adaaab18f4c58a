#![doc = include_str!("README.md")]

mod certificate;
mod chain;
mod maker;
mod rule;
mod segment;
mod specimen;

#[cfg(test)]
mod tests;

pub use certificate::{Certificate, Committee, MAX_SIGNERS};
pub use chain::OtherChain;
pub use maker::{OtherMaker, Signers};
pub use rule::Rule;
pub use segment::{OtherHeader, OtherSegment};
pub use specimen::OtherSpecimen;
