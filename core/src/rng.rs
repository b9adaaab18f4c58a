//! Deterministic choices: a SplitMix64 stream from a seed that the host supplies.
//!
//! Written here because the machine must be `Clone + Eq + Hash` and its choices must stay the same across versions of
//! every dependency: a recorded run replays bit for bit. It is not for secrets (Steele, Lea, Flood: *Fast splittable
//! pseudorandom number generators*, OOPSLA 2014).

/// A stream of pseudo-random numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rng(u64);

impl Rng {
    /// The stream that `seed` names.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or zero where `bound` is zero. The bias is below 2⁻³² for bounds below 2³².
    pub const fn below(&mut self, bound: u64) -> u64 {
        let wide = (self.next_u64() as u128).wrapping_mul(bound as u128);
        (wide >> 64) as u64
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            for (byte, random) in chunk.iter_mut().zip(self.next_u64().to_le_bytes()) {
                *byte = random;
            }
        }
    }
}
