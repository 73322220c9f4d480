//! Weights of layers: which are zero, their signs, their sizes.

use super::bits::Coding;
use super::predictor::Predictor;

/// Bits of a size that are predicted, at most: those below are noise.
const PREDICTED: u32 = 8;
/// Classes of sizes.
const CLASSES: usize = 40;
/// Channels of a block, and 8 for whether each of the three before is zero.
const CHANNELS: usize = 4 * 8;
/// Positions of a kernel that are told apart.
const TAPS: usize = 16;

/// Models of weights, tensor after tensor: what is alike in layers of a model is learned once.
///
/// In a pruned network filters and input channels differ in how many weights are left and how large they
/// are. Neighbours in a kernel are alike: in whether they are zero, in size, and most of all in sign. Where
/// blocks of input channels were removed together, so are neighbouring channels at one tap.
pub(crate) struct Weights {
    zero: Predictor<5>,
    sign: Predictor<4>,
    size: Predictor<4>,
}

/// Dimensions as rows, columns, and rows and columns of a kernel; of more than four, the last are one.
pub(crate) fn shape(dims: &[usize]) -> [usize; 4] {
    match *dims {
        [] => [1; 4],
        [rows] => [rows, 1, 1, 1],
        [rows, columns] => [rows, columns, 1, 1],
        [rows, columns, width] => [rows, columns, 1, width],
        [rows, columns, height, ref width @ ..] => [rows, columns, height, width.iter().product()],
    }
}

/// What lies around a weight in its kernel, of what is coded before it.
struct Around {
    left: i32,
    above: i32,
    above_left: i32,
    above_right: i32,
    second_left: i32,
    second_above: i32,
}

impl Around {
    fn of(kernel: &[i32], tap: usize, width: usize) -> Self {
        let (row, column) = (tap / width, tap % width);
        let at = |rows: usize, left: usize, right: usize| {
            let inside = row >= rows && column >= left && column + right < width;
            match inside {
                true => kernel[(row - rows) * width + column + right - left],
                false => 0,
            }
        };
        Self {
            left: at(0, 1, 0),
            above: at(1, 0, 0),
            above_left: at(1, 1, 0),
            above_right: at(1, 0, 1),
            second_left: at(0, 2, 0),
            second_above: at(2, 0, 0),
        }
    }

    /// Contexts of a sign, beside the signs of the kernel so far.
    fn signs(&self, before: usize) -> [usize; 4] {
        let nearest = sign(self.left) * 3 + sign(self.above);
        let corners = sign(self.above_left) * 3 + sign(self.above_right);
        let farther = sign(self.second_left) * 3 + sign(self.second_above);
        [
            nearest * 9 + corners,
            nearest * 9 + farther,
            self.sum(),
            before,
        ]
    }

    /// The class of their sizes, the nearest counted twice.
    fn size(&self) -> usize {
        let size = |number: i32| u64::from(number.unsigned_abs());
        let near = size(self.left) + size(self.above);
        class(2 * near + size(self.above_left) + size(self.above_right))
    }

    /// The same of their sum, from both sides of zero.
    fn sum(&self) -> usize {
        let near = i64::from(self.left) + i64::from(self.above);
        let sum = 2 * near + i64::from(self.above_left) + i64::from(self.above_right);
        match sum < 0 {
            true => CLASSES - 1 - class(sum.unsigned_abs()),
            false => CLASSES + class(sum.unsigned_abs()),
        }
    }
}

/// Two classes for each power of two.
fn class(number: u64) -> usize {
    let class = match number {
        0 | 1 => number as usize,
        number => {
            let power = number.ilog2();
            2 * power as usize + (number >> (power - 1) & 1) as usize
        }
    };
    class.min(CLASSES - 1)
}

fn sign(number: i32) -> usize {
    (number.signum() + 1) as usize
}

/// The sizes of a row or a column so far.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: u64,
    count: u64,
}

impl Mean {
    fn class(self) -> usize {
        match self.sum.checked_div(self.count) {
            Some(mean) => class(mean + 1),
            None => 0,
        }
    }

    fn add(&mut self, size: u32) {
        self.sum += u64::from(size);
        self.count += 1;
    }
}

impl Weights {
    pub fn new() -> Self {
        let nodes = 1 << PREDICTED;
        Self {
            zero: Predictor::new(1, [0, 0, TAPS * TAPS * 4, TAPS * CLASSES, CHANNELS * 4], 5),
            sign: Predictor::new(1, [81, 81, 2 * CLASSES, 2 * TAPS], 1),
            size: Predictor::new(nodes + 2, [0, 0, 0, nodes * CLASSES], PREDICTED as usize),
        }
    }

    /// Codes a tensor of numbers of at most 31 bits, as many as its shape says. A reader fills them in.
    pub fn code(&mut self, coding: &mut impl Coding, shape: [usize; 4], numbers: &mut [i32]) {
        if numbers.is_empty() {
            return;
        }
        let [rows, columns, height, width] = shape;
        let taps = height * width;
        let nodes = 1 << PREDICTED;
        self.zero.forget_base();
        self.zero.forget(0, rows);
        self.zero.forget(1, columns);
        self.size.forget(0, rows * 16 + nodes);
        self.size.forget(1, nodes * CLASSES);
        self.size.forget(2, nodes * CLASSES);
        let largest = numbers.iter().map(|number| number.unsigned_abs()).max();
        let bits = u32::BITS - largest.unwrap_or(0).saturating_sub(1).leading_zeros();
        let bits = coding.plain(bits, 5);
        let mut of_columns = vec![Mean::default(); columns];
        let mut of_row = Mean::default();
        for place in 0..numbers.len() / taps {
            let (before, kernel) = numbers.split_at_mut(place * taps);
            let kernel = &mut kernel[..taps];
            let (row, column) = (place / columns, place % columns);
            if column == 0 {
                of_row = Mean::default();
            }
            let (mut kept, mut signs) = (0, TAPS);
            for tap in 0..taps {
                let around = Around::of(kernel, tap, width);
                let near = around.size();
                let beside = usize::from(around.above != 0) * 2 + usize::from(around.left != 0);
                let at = tap.min(TAPS - 1);
                let channel = |back: usize| {
                    let kept = column >= back && before[(place - back) * taps + tap] != 0;
                    usize::from(kept)
                };
                let channels = channel(1) * 4 + channel(2) * 2 + channel(3);
                let places = [
                    row,
                    column,
                    (kept * TAPS + at) * 4 + beside,
                    at * CLASSES + near,
                    (column % 4 * 8 + channels) * 4 + beside,
                ];
                let number = kernel[tap];
                let mix = if tap == 0 { 4 } else { beside };
                let is_kept = self.zero.code(coding, number != 0, 0, places, mix);
                if !is_kept {
                    kernel[tap] = 0;
                    continue;
                }
                let below = self
                    .sign
                    .code(coding, number < 0, 0, around.signs(signs), 0);
                let means = [of_row.class(), of_columns[column].class(), near];
                let size = number.unsigned_abs().saturating_sub(1);
                let size = self.size(coding, size, bits, (row, rows), means);
                of_row.add(size);
                of_columns[column].add(size);
                kept = (kept + 1).min(TAPS - 1);
                signs = match below {
                    true => signs.saturating_sub(1),
                    false => (signs + 1).min(2 * TAPS - 1),
                };
                // What no number was may come of bytes that no writer gave.
                let size = (size as i32).wrapping_add(1);
                kernel[tap] = if below { size.wrapping_neg() } else { size };
            }
        }
    }

    // A size of so many bits, the first first.
    fn size(
        &mut self,
        coding: &mut impl Coding,
        size: u32,
        bits: u32,
        (row, rows): (usize, usize),
        means: [usize; 3],
    ) -> u32 {
        let nodes = 1 << PREDICTED;
        let predicted = bits.min(PREDICTED);
        let plain = bits - predicted;
        let mut node = 1;
        for left in (0..predicted).rev() {
            let base = match left < 2 {
                true => nodes + left as usize,
                false => node,
            };
            let of_row = match node < 16 {
                true => row * 16 + node,
                false => rows * 16 + node,
            };
            let [first, second, third] = means.map(|class| class * nodes + node);
            let places = [of_row, first, second, third];
            let bit = size >> (left + plain) & 1 == 1;
            let bit = self.size.code(coding, bit, base, places, left as usize);
            node = 2 * node + usize::from(bit);
        }
        let head = (node as u32) - (1 << predicted);
        head << plain | coding.plain(size & ((1 << plain) - 1), plain)
    }
}
