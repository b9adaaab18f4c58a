//! [`KeyPoints`]: the keys of a validator set as curve points, decoded once in the set's life.
//!
//! Decoding a key costs about as much as a quarter of checking a signature with it. The points are shared by all clones
//! of a set, with tables of their multiples once enough certificates came by for those to pay.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{EdwardsPoint, VartimeEdwardsPrecomputation};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{VartimeMultiscalarMul, VartimePrecomputedMultiscalarMul};
use once_cell::race::OnceBox;

/// Checks with one set after which tables of its keys are made, by an estimate. With vector instructions a table costs what
/// a few checks save, and the wait keeps sets that are passed by from having any; without them (32-bit machines, WASM)
/// every entry of a table takes an inversion, and it must serve many more checks to pay.
const CHECKS_BEFORE_TABLES: u32 = if cfg!(target_arch = "x86_64") { 16 } else { 256 };

/// Largest set that gets tables: they take 10 KiB for each key, so 5 MiB at most. Without the feature `tables` none gets any.
const MAX_TABLES: usize = 512;

/// Signatures up to which tables are faster. A larger sum is computed over buckets, which tables don't help.
const MAX_SIGNATURES_BY_TABLES: usize = 512;

/// The keys of one set, in its order. Clones share the points.
#[derive(Clone)]
pub(super) struct KeyPoints(Arc<Inner>);

struct Inner {
    points: Vec<EdwardsPoint>,
    checks: AtomicU32,
    /// Multiples of the base point and of every key, in this order.
    tables: OnceBox<VartimeEdwardsPrecomputation>,
}

impl KeyPoints {
    pub(super) fn new(points: Vec<EdwardsPoint>) -> Self {
        Self(Arc::new(Inner { points, checks: AtomicU32::new(0), tables: OnceBox::new() }))
    }

    pub(super) fn len(&self) -> usize {
        self.0.points.len()
    }

    /// The key at `place`.
    pub(super) fn get(&self, place: usize) -> Option<EdwardsPoint> {
        self.0.points.get(place).copied()
    }

    /// `base` times the base point, plus the keys times `factors` (one for each key), plus `points` times `scalars`.
    ///
    /// Counts as one check with the set. Whether tables are there changes the time that it takes and not the result.
    pub(super) fn sum(
        &self,
        base: Scalar,
        factors: &[Scalar],
        scalars: &[Scalar],
        points: &[EdwardsPoint],
    ) -> EdwardsPoint {
        if points.len() <= MAX_SIGNATURES_BY_TABLES
            && let Some(tables) = self.tables()
        {
            return tables.vartime_mixed_multiscalar_mul(core::iter::once(&base).chain(factors), scalars, points);
        }
        let keys = factors.iter().zip(&self.0.points).filter(|(factor, _)| **factor != Scalar::ZERO);
        let (factors, keys): (Vec<_>, Vec<_>) = keys.unzip();
        EdwardsPoint::vartime_multiscalar_mul(
            core::iter::once(&base).chain(factors).chain(scalars),
            core::iter::once(&ED25519_BASEPOINT_POINT).chain(keys).chain(points),
        )
    }

    /// Whether there are tables of the keys.
    #[cfg(test)]
    pub(super) fn has_tables(&self) -> bool {
        self.0.tables.get().is_some()
    }

    fn tables(&self) -> Option<&VartimeEdwardsPrecomputation> {
        let inner = &*self.0;
        let fits = cfg!(feature = "tables") && inner.points.len() <= MAX_TABLES;
        if !fits || inner.checks.fetch_add(1, Ordering::Relaxed) < CHECKS_BEFORE_TABLES {
            return None;
        }
        let all = || core::iter::once(&ED25519_BASEPOINT_POINT).chain(&inner.points);
        Some(inner.tables.get_or_init(|| Box::new(VartimeEdwardsPrecomputation::new(all()))))
    }
}

impl fmt::Debug for KeyPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPoints({})", self.len())
    }
}
