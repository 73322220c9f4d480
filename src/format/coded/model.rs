//! How probable the numbers of a tensor are: its own table, stored before them.

use std::collections::HashMap;
use std::num::NonZeroU16;

use super::stream::{PRECISION, Reader, Share, Slots, Writer};
use super::token::{MOST, Run, Tokens};

/// The alphabets that are tried: split and leading bits.
const ALPHABETS: [[u32; 2]; 8] = [
    [1, 0],
    [2, 1],
    [3, 1],
    [3, 2],
    [4, 2],
    [5, 2],
    [5, 3],
    [8, 3],
];

const SPLIT_BITS: u32 = 4;
const LEADING_BITS: u32 = 2;
const SCALE_BITS: u32 = 4;
const RICE_BITS: u32 = 4;
const LENGTH_BITS: u32 = 8;

/// An alphabet and the frequency of each token, the last not 0, in units of `2^-scale`.
pub(super) struct Model {
    tokens: Tokens,
    scale: u32,
    frequencies: Vec<u16>,
}

impl Model {
    /// The model with which these numbers (and how often each occurs) take the fewest bits, and how
    /// many; none of no numbers.
    pub fn best(counts: &HashMap<u32, u64>) -> Option<(Self, f64)> {
        let mut best: Option<(Self, f64)> = None;
        for [split, leading] in ALPHABETS {
            let tokens = Tokens { split, leading };
            let mut of_token = [0u64; MOST];
            let (mut length, mut plain) = (0, 0);
            let mut fits = true;
            for (&number, &count) in counts {
                let token = tokens.token(number);
                let Some(run) = tokens.run(token).filter(|_| token < MOST) else {
                    fits = false;
                    break;
                };
                of_token[token] += count;
                length = length.max(token + 1);
                plain += count * u64::from(run.bits);
            }
            if !fits || length == 0 {
                continue;
            }
            let counts = &of_token[..length];
            for scale in 0..=PRECISION as u32 {
                let Some(frequencies) = normalized(counts, scale) else {
                    continue;
                };
                let model = Self {
                    tokens,
                    scale,
                    frequencies,
                };
                let bits = plain as f64 + model.bits(counts);
                if best.as_ref().is_none_or(|(_, least)| bits < *least) {
                    best = Some((model, bits));
                }
            }
        }
        best
    }

    /// Bits of the table and of tokens that occur so often. Only the writer's choice depends on these
    /// floats: what is read does not.
    fn bits(&self, counts: &[u64]) -> f64 {
        let pairs = counts.iter().zip(&self.frequencies);
        let tokens = pairs.filter(|(count, _)| **count > 0);
        let tokens = tokens.map(|(&count, &frequency)| {
            count as f64 * (f64::from(self.scale) - f64::from(frequency).log2())
        });
        let head = SPLIT_BITS + LEADING_BITS + SCALE_BITS + RICE_BITS + LENGTH_BITS;
        tokens.sum::<f64>() + f64::from(head) + self.rice().1 as f64
    }

    /// The parameter with which a Rice code of the table (without the last, which is the rest) is
    /// shortest, and its bits.
    fn rice(&self) -> (u32, u64) {
        let coded = &self.frequencies[..self.frequencies.len() - 1];
        let bits = |rice: u32| -> u64 {
            let bits = coded
                .iter()
                .map(|f| u64::from((f >> rice) + 1) + u64::from(rice));
            bits.sum()
        };
        let all = (0..=PRECISION as u32).map(|rice| (rice, bits(rice)));
        all.min_by_key(|(_, bits)| *bits).unwrap_or((0, 0))
    }

    pub fn write(&self, writer: &mut Writer) {
        let (rice, _) = self.rice();
        writer.bits(self.tokens.split, SPLIT_BITS);
        writer.bits(self.tokens.leading, LEADING_BITS);
        writer.bits(self.scale, SCALE_BITS);
        writer.bits(rice, RICE_BITS);
        writer.bits(self.frequencies.len() as u32 - 1, LENGTH_BITS);
        for &frequency in &self.frequencies[..self.frequencies.len() - 1] {
            (0..frequency >> rice).for_each(|_| writer.bits(1, 1));
            writer.bits(0, 1);
            writer.bits(u32::from(frequency) & ((1 << rice) - 1), rice);
        }
    }

    /// Writes numbers that the model was made for.
    pub fn encode(&self, numbers: impl Iterator<Item = u32>, writer: &mut Writer) {
        let rest = PRECISION as u32 - self.scale;
        let mut left = 0;
        let mut shares = Vec::with_capacity(self.frequencies.len());
        for &frequency in &self.frequencies {
            let frequency = frequency << rest;
            shares.push(NonZeroU16::new(frequency).map(|frequency| Share { left, frequency }));
            left += frequency;
        }
        for number in numbers {
            let token = self.tokens.token(number);
            let run = self.tokens.run(token).unwrap_or_default();
            if let Some(Some(share)) = shares.get(token) {
                writer.push(*share);
                writer.bits(number - run.base, run.bits);
            }
        }
    }
}

/// Counts as frequencies whose sum is `2^scale`, none of them 0 that was not: the ones that code the
/// counts in the fewest bits, but for rounding. None where there are more than can be told apart.
fn normalized(counts: &[u64], scale: u32) -> Option<Vec<u16>> {
    let total: u64 = counts.iter().sum();
    let target = 1u64 << scale;
    if counts.iter().filter(|count| **count > 0).count() as u64 > target {
        return None;
    }
    let share = |&count: &u64| match count {
        0 => 0,
        count => ((u128::from(count) << scale) / u128::from(total)).max(1) as u64,
    };
    let mut shares: Vec<u64> = counts.iter().map(share).collect();
    let mut sum: u64 = shares.iter().sum();
    while sum != target {
        // One more saves most where the count is great beside the share; one less costs least where
        // it is small.
        let worth = |&i: &usize| {
            let beside = match sum < target {
                true => 2 * shares[i] + 1,
                false => 2 * shares[i] - 1,
            };
            (counts[i] << 16) / beside
        };
        let occurring = (0..counts.len()).filter(|&i| counts[i] > 0);
        if sum < target {
            let place = occurring.max_by_key(worth)?;
            shares[place] += 1;
            sum += 1;
        } else {
            let place = occurring.filter(|&i| shares[i] > 1).min_by_key(worth)?;
            shares[place] -= 1;
            sum -= 1;
        }
    }
    shares
        .into_iter()
        .map(|share| u16::try_from(share).ok())
        .collect()
}

/// A model for reading.
pub(super) struct Numbers {
    slots: Slots,
    runs: Box<[Run; MOST]>,
}

impl Numbers {
    /// None of what no [`Model`] wrote.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let split = reader.bits(SPLIT_BITS);
        let leading = reader.bits(LEADING_BITS);
        let scale = reader.bits(SCALE_BITS);
        let rice = reader.bits(RICE_BITS);
        let length = reader.bits(LENGTH_BITS) as usize + 1;
        let within = split <= 8 && leading <= split && scale.max(rice) <= PRECISION as u32;
        if !within {
            return None;
        }
        let mut rest = 1u32 << scale;
        let mut frequencies = Vec::with_capacity(length);
        for _ in 1..length {
            let mut high = 0;
            while reader.bits(1) == 1 {
                high += 1;
                if high << rice > rest {
                    return None;
                }
            }
            let frequency = high << rice | reader.bits(rice);
            rest = rest.checked_sub(frequency)?;
            frequencies.push((frequency << (PRECISION as u32 - scale)) as u16);
        }
        if rest == 0 {
            return None;
        }
        frequencies.push((rest << (PRECISION as u32 - scale)) as u16);
        let tokens = Tokens { split, leading };
        let mut runs = Box::new([Run::default(); MOST]);
        for (token, run) in runs.iter_mut().enumerate().take(length) {
            *run = tokens.run(token)?;
        }
        Some(Self {
            slots: Slots::new(&frequencies)?,
            runs,
        })
    }

    #[inline(always)]
    pub fn next(&self, reader: &mut Reader) -> u32 {
        let run = self.runs[usize::from(reader.symbol(&self.slots))];
        match run.bits {
            0 => run.base,
            bits => run.base + reader.bits(bits),
        }
    }
}
