//! The logistic function and its inverse, in whole numbers.

/// Units of a logarithm of odds.
pub(super) const UNIT: i32 = 256;
/// The greatest logarithm of odds, and the least below zero.
const MOST: i32 = 8 * UNIT - 1;
const LENGTH: usize = 2 * MOST as usize + 1;
const BUCKETS: usize = 1 << 12;

static TABLES: Tables = Tables::new();

struct Tables {
    /// Of each logarithm from `-MOST` on, the probability in 65536ths.
    squashed: [u16; LENGTH],
    /// Of each 4096th of probability, the logarithm of odds.
    stretched: [i16; BUCKETS],
}

impl Tables {
    const fn new() -> Self {
        // The odds of one unit: e^(1/256), in 2^48ths.
        const STEP: u128 = 282_576_638_621_015;
        let mut squashed = [0; LENGTH];
        let mut odds: u128 = 1 << 48;
        let mut unit = 0;
        while unit <= MOST as usize {
            let above = ((odds << 16) / (odds + (1 << 48))) as u16;
            squashed[MOST as usize - unit] = u16::MAX - above + 1;
            squashed[MOST as usize + unit] = above;
            odds = (odds * STEP) >> 48;
            unit += 1;
        }
        let mut stretched = [0; BUCKETS];
        let (mut bucket, mut place) = (0, 0);
        while bucket < BUCKETS {
            let middle = (bucket << 4 | 8) as u16;
            while place + 1 < LENGTH && squashed[place] < middle {
                place += 1;
            }
            stretched[bucket] = place as i16 - MOST as i16;
            bucket += 1;
        }
        Self {
            squashed,
            stretched,
        }
    }
}

/// The probability of a logarithm of odds, in 65536ths.
#[inline(always)]
pub(super) fn squash(logarithm: i32) -> u16 {
    TABLES.squashed[(logarithm.clamp(-MOST, MOST) + MOST) as usize]
}

/// The logarithm of the odds of a probability in 4096ths.
#[inline(always)]
pub(super) fn stretch(probability: u32) -> i32 {
    i32::from(TABLES.stretched[probability as usize % BUCKETS])
}
