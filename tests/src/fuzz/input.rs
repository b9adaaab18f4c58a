//! [`Input`]: a fuzzer's bytes, read as choices.

/// Bytes as choices; behind their end everything is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(super) fn number(&mut self) -> u64 {
        let low = [self.byte(), self.byte()];
        u64::from(u16::from_le_bytes(low))
    }

    /// Below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number()).unwrap_or(0) % bound.max(1)
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// `honest` with up to four changes; without any where the input is at its end.
    pub(super) fn mutate(&mut self, honest: &[u8]) -> Vec<u8> {
        let mut bytes = honest.to_vec();
        for _ in 0..self.byte() % 5 {
            let at = self.below(bytes.len().saturating_add(1));
            match self.byte() % 5 {
                0 => {
                    let mask = self.byte();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= mask;
                    }
                }
                1 => bytes.truncate(at),
                2 => {
                    let new = self.byte();
                    bytes.insert(at, new);
                }
                3 => {
                    let to = self.below(bytes.len().saturating_add(1));
                    let copied = bytes.get(at.min(to)..at.max(to)).unwrap_or_default().to_vec();
                    bytes.extend_from_slice(&copied);
                }
                _ => {
                    let to = self.below(bytes.len().saturating_add(1));
                    bytes.drain(at.min(to)..at.max(to));
                }
            }
        }
        bytes
    }
}
