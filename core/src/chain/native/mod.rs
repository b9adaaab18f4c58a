//! The native chain.
