//! Whole numbers as tokens of a small alphabet and plain bits.

/// Tokens of an alphabet, at most.
pub(super) const MOST: usize = 256;

/// Numbers below `2^split` are a token each. Of those above, a token says the power of two and the
/// `leading` bits below it; the rest are plain bits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Tokens {
    pub split: u32,
    /// At most `split`.
    pub leading: u32,
}

/// What a token stands for: the numbers from `base` on that differ in the last `bits`.
#[derive(Clone, Copy, Default)]
pub(super) struct Run {
    pub base: u32,
    pub bits: u32,
}

impl Tokens {
    pub fn token(self, number: u32) -> usize {
        if u64::from(number) < 1 << self.split {
            return number as usize;
        }
        let power = number.ilog2();
        let leading = number >> (power - self.leading) & ((1 << self.leading) - 1);
        (1 << self.split) + (((power - self.split) << self.leading) + leading) as usize
    }

    /// None of a token that stands for no number of 32 bits.
    pub fn run(self, token: usize) -> Option<Run> {
        let Some(above) = token.checked_sub(1 << self.split) else {
            return Some(Run {
                base: token as u32,
                bits: 0,
            });
        };
        let power = self.split as usize + (above >> self.leading);
        if power > 31 {
            return None;
        }
        let bits = power as u32 - self.leading;
        let leading = above as u32 & ((1 << self.leading) - 1);
        Some(Run {
            base: (1 << self.leading | leading) << bits,
            bits,
        })
    }
}
