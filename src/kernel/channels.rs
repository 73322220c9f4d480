//! Steps that go over the channels of each position, of codes or floats: norms and softmax.
//!
//! Lanes are positions, so all sums are of whole vectors. Loops are ones that compilers make vectors of.

use std::ops::Range;

use super::function::exp;
use super::lanes::Lanes;
use super::{InputGrid, KernelError, Kernels, VectorBlock, Work};

/// Vector blocks of a row that are worked on together.
const TOGETHER: usize = 4;
const WIDTH: usize = TOGETHER * VectorBlock::LANES;

/// So many channels are summed before the sum joins those of others, as in poolings.
const PART: usize = 32;

type Numbers = [f32; WIDTH];

/// What becomes of the channels of a group. Errors are those beside the result in real numbers; `e` is 2⁻²³.
///
/// ```
/// use burn_compress_kernel::ChannelStep;
/// assert_ne!(ChannelStep::Softmax, ChannelStep::LayerNorm { epsilon: 1e-5 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ChannelStep {
    /// `(x - mean) / sqrt(variance + epsilon)`, within `16 e (1 + m) (1 + |y|)`: `m` is the greatest `|x|` by that
    /// root.
    LayerNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// `x / sqrt(mean of squares + epsilon)`, within `16 e |y|`.
    RmsNorm {
        /// Added to the mean.
        epsilon: f32,
    },
    /// Exponentials by their sum, within `(16 + 2 d) e y`: `d` is how far `x` is below the greatest.
    Softmax,
}

/// Where the vector blocks of a tensor lie.
///
/// ```
/// use burn_compress_kernel::Planes;
/// let planes = Planes { plane: 13, first: 0, pitch: 13 };
/// # let _ = planes;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planes {
    /// Vector blocks from a plane to the next.
    pub plane: usize,
    /// The vector block of the first row and column.
    pub first: usize,
    /// Vector blocks from a row to the next.
    pub pitch: usize,
}

/// A step over the channels of each position, of each group of channels alone.
///
/// ```
/// use burn_compress_kernel::{ChannelStep, Channels, Kernels, Planes, VectorBlock};
/// let planes = Planes { plane: 1, first: 0, pitch: 1 };
/// let softmax = Channels {
///     step: ChannelStep::Softmax,
///     groups: 1,
///     group: 4,
///     affine: vec![],
///     rows: 1,
///     columns: 1,
///     from: planes,
///     to: planes,
///     source: None,
///     sink: None,
/// };
/// let mut output = [VectorBlock::default(); 4];
/// let input = [VectorBlock::of_floats(3.0); 4];
/// softmax.run(Kernels::detect(), 0..1, &input, &mut output)?;
/// assert_eq!(output[2], VectorBlock::of_floats(0.25));
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Channels {
    /// What becomes of them.
    pub step: ChannelStep,
    /// Groups of channels.
    pub groups: usize,
    /// Channels of a group.
    pub group: usize,
    /// By channel of a group, a factor and a term; none: 1 and 0.
    pub affine: Vec<[f32; 2]>,
    /// Rows of a tile.
    pub rows: usize,
    /// Columns of a tile.
    pub columns: usize,
    /// The operand.
    pub from: Planes,
    /// The result.
    pub to: Planes,
    /// The operand's grid; none: floats.
    pub source: Option<InputGrid>,
    /// The result's grid; none: floats.
    pub sink: Option<InputGrid>,
}

impl Channels {
    /// Makes some groups. `input` holds all planes, `output` those from the first channel of the first group on,
    /// which must be the first of its plane.
    ///
    /// Fails with [`KernelError::Memory`] where vector blocks are too few, and with [`KernelError::Epilogue`]
    /// where bytes do not hold a grid, or the factors are not as many as a group's channels.
    pub fn run(
        &self,
        kernels: Kernels,
        groups: Range<usize>,
        input: &[VectorBlock],
        output: &mut [VectorBlock],
    ) -> Result<(), KernelError> {
        if groups.is_empty() || self.group == 0 || self.rows == 0 || self.columns == 0 {
            return Ok(());
        }
        let grids = [self.source, self.sink];
        let fit = grids.iter().flatten().all(InputGrid::fits);
        let affine = self.affine.len();
        let unit = unit(self.sink);
        let first = groups.start.checked_mul(self.group);
        let end = groups.end.checked_mul(self.group);
        let (Some(first), Some(end)) = (first, end) else {
            return Err(KernelError::Memory);
        };
        if !fit || (affine != 0 && affine != self.group) || !first.is_multiple_of(unit) {
            return Err(KernelError::Epilogue);
        }
        let needed = |of: Planes, planes: usize| {
            let rows = (self.rows - 1).checked_mul(of.pitch)?;
            let last = of.first.checked_add(rows)?.checked_add(self.columns)?;
            let before = (planes - 1).checked_mul(of.plane)?;
            before
                .checked_add(last)
                .filter(|_| last <= of.plane || planes == 1)
        };
        let read = needed(self.from, end.div_ceil(self::unit(self.source)));
        let written = needed(self.to, (end - first).div_ceil(unit));
        if read.is_none_or(|read| input.len() < read)
            || written.is_none_or(|written| output.len() < written)
        {
            return Err(KernelError::Memory);
        }
        kernels.dispatch(Run {
            channels: self,
            groups,
            input,
            output,
        });
        Ok(())
    }
}

// Channels of a plane.
fn unit(grid: Option<InputGrid>) -> usize {
    if grid.is_some() { 4 } else { 1 }
}

struct Run<'a> {
    channels: &'a Channels,
    groups: Range<usize>,
    input: &'a [VectorBlock],
    output: &'a mut [VectorBlock],
}

impl Work for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(mut self) {
        let of = self.channels;
        for group in self.groups.clone() {
            for row in 0..of.rows {
                for column in (0..of.columns).step_by(TOGETHER) {
                    let width = (of.columns - column).min(TOGETHER) * VectorBlock::LANES;
                    let from = of.from.first + row * of.from.pitch + column;
                    let to = of.to.first + row * of.to.pitch + column;
                    self.positions(group, from, to, width);
                }
            }
        }
    }
}

// No closures: a compiler may leave those calls, without the instruction set.
impl Run<'_> {
    // All channels of a group, at so many positions and lanes.
    #[inline(always)]
    fn positions(&mut self, group: usize, from: usize, to: usize, width: usize) {
        let of = self.channels;
        let first = group * of.group;
        let mut x: Numbers = [0.0; WIDTH];
        match of.step {
            ChannelStep::LayerNorm { epsilon } | ChannelStep::RmsNorm { epsilon } => {
                let mut mean: Numbers = [0.0; WIDTH];
                if let ChannelStep::LayerNorm { .. } = of.step {
                    self.mean(first, from, width, false, &mut mean);
                }
                let center = mean;
                let mut root = center;
                self.mean(first, from, width, true, &mut root);
                for root in &mut root {
                    *root = 1.0 / (*root + epsilon).sqrt();
                }
                for channel in 0..of.group {
                    self.read(first + channel, from, width, &mut x);
                    for ((x, mean), root) in x.iter_mut().zip(&center).zip(&root) {
                        *x = (*x - mean) * root;
                    }
                    self.write(group, channel, to, width, &mut x);
                }
            }
            ChannelStep::Softmax => self.softmax(group, from, to, width),
        }
    }

    // The mean, or that of squares around a center.
    #[inline(always)]
    fn mean(&self, first: usize, from: usize, width: usize, squares: bool, means: &mut Numbers) {
        let of = self.channels;
        let center = *means;
        let (mut all, mut x): (Numbers, Numbers) = ([0.0; WIDTH], [0.0; WIDTH]);
        for start in (0..of.group).step_by(PART) {
            let mut part: Numbers = [0.0; WIDTH];
            for channel in start..(start + PART).min(of.group) {
                self.read(first + channel, from, width, &mut x);
                if squares {
                    for ((sum, x), center) in part.iter_mut().zip(&x).zip(&center) {
                        let apart = x - center;
                        *sum += apart * apart;
                    }
                } else {
                    for (sum, x) in part.iter_mut().zip(&x) {
                        *sum += x;
                    }
                }
            }
            for (all, part) in all.iter_mut().zip(&part) {
                *all += part;
            }
        }
        let count = of.group as f32;
        for (mean, sum) in means.iter_mut().zip(&all) {
            *mean = sum / count;
        }
    }

    #[inline(always)]
    fn softmax(&mut self, group: usize, from: usize, to: usize, width: usize) {
        let of = self.channels;
        let first = group * of.group;
        let mut x: Numbers = [0.0; WIDTH];
        let mut greatest: Numbers = [f32::NEG_INFINITY; WIDTH];
        for channel in 0..of.group {
            self.read(first + channel, from, width, &mut x);
            for (greatest, &x) in greatest.iter_mut().zip(&x) {
                *greatest = if x > *greatest { x } else { *greatest };
            }
        }
        // Floats wait where the result goes; of codes powers are made twice.
        let waits = of.sink.is_none() && of.affine.is_empty();
        let mut all: Numbers = [0.0; WIDTH];
        for start in (0..of.group).step_by(PART) {
            let mut part: Numbers = [0.0; WIDTH];
            for channel in start..(start + PART).min(of.group) {
                self.read(first + channel, from, width, &mut x);
                for ((sum, x), greatest) in part.iter_mut().zip(&mut x).zip(&greatest) {
                    *x = exp(*x - greatest);
                    *sum += *x;
                }
                if waits {
                    self.write(group, channel, to, width, &mut x);
                }
            }
            for (all, part) in all.iter_mut().zip(&part) {
                *all += part;
            }
        }
        for sum in &mut all {
            *sum = 1.0 / *sum;
        }
        for channel in 0..of.group {
            if waits {
                let plane = ((group - self.groups.start) * of.group + channel) * of.to.plane;
                let floats = VectorBlock::floats_mut(&mut self.output[plane + to..]);
                for (x, share) in floats[..width].iter_mut().zip(&all) {
                    *x *= share;
                }
                continue;
            }
            self.read(first + channel, from, width, &mut x);
            for ((x, greatest), share) in x.iter_mut().zip(&greatest).zip(&all) {
                *x = exp(*x - greatest) * share;
            }
            self.write(group, channel, to, width, &mut x);
        }
    }

    #[inline(always)]
    fn read(&self, channel: usize, from: usize, width: usize, x: &mut Numbers) {
        let plane = self.channels.from.plane;
        match self.channels.source {
            None => {
                let floats = VectorBlock::floats(&self.input[channel * plane + from..]);
                x[..width].copy_from_slice(&floats[..width]);
            }
            Some(grid) => {
                let words = VectorBlock::integers(&self.input[channel / 4 * plane + from..]);
                let shift = 8 * (channel % 4);
                for (x, &word) in x.iter_mut().zip(&words[..width]) {
                    let code = (word >> shift & 255).wrapping_add(grid.low);
                    *x = grid.scale * code as f32 + grid.offset;
                }
            }
        }
    }

    // Times the factor of a channel of the group, plus its term.
    #[inline(always)]
    fn write(&mut self, group: usize, channel: usize, to: usize, width: usize, x: &mut Numbers) {
        let of = self.channels;
        if let Some(&[factor, term]) = of.affine.get(channel) {
            for x in x.iter_mut() {
                *x = *x * factor + term;
            }
        }
        let channel = (group - self.groups.start) * of.group + channel;
        match of.sink {
            None => {
                let plane = channel * of.to.plane;
                let floats = VectorBlock::floats_mut(&mut self.output[plane + to..]);
                floats[..width].copy_from_slice(&x[..width]);
            }
            Some(grid) => {
                let plane = channel / 4 * of.to.plane;
                let words = VectorBlock::integers_mut(&mut self.output[plane + to..]);
                let (place, shift) = (channel % 4, 8 * (channel % 4));
                for (word, &x) in words[..width].iter_mut().zip(x.iter()) {
                    let byte = quantized(x, &grid) << shift;
                    *word = if place == 0 { byte } else { *word | byte };
                }
            }
        }
    }
}

// Added and taken away, it rounds half to even what lies within 2^22 of zero.
const ROUND: f32 = 12_582_912.0;

/// The byte of a number in a grid.
#[inline(always)]
pub(super) fn quantized(x: f32, grid: &InputGrid) -> i32 {
    let t = (x - grid.offset) / grid.scale;
    let (low, high) = (grid.low as f32, grid.high as f32);
    let t = if t > low { t } else { low };
    let t = if t < high { t } else { high };
    // The low bits of what is rounded are the whole number.
    let rounded = (t + ROUND).to_bits() as i32;
    rounded
        .wrapping_sub(ROUND.to_bits() as i32)
        .wrapping_sub(grid.low)
}
