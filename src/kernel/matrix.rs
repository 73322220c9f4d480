//! Products of two activations: one stays in vector blocks, whose lanes are positions of one sample; the other
//! is packed into the place of weights.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::channels::Planes;
use super::chunks::even;
use super::lanes::Lanes;
use super::{FILTER_BLOCK, InputGrid, KernelError, Kernels, VectorBlock, Work};

/// Channels of the left operand that a first-level cache holds for the columns of which registers hold sums.
const SLICE: usize = 96;
/// Blocks of filters whose sums wait for the next slice.
const GROUP: usize = 16;

/// A product of two activations: the left one in floats, its channels summed over, the right one as
/// [packed](super::PackedRight). The result's channels are the groups' filters, one group after the other.
///
/// ```
/// use burn_compress_kernel::{Kernels, MatrixProduct, Planes, VectorBlock};
/// let planes = Planes { plane: 1, first: 0, pitch: 1 };
/// let product = MatrixProduct {
///     groups: 1,
///     inner: 2,
///     filters: 4,
///     columns: 1,
///     left: planes,
///     to: planes,
///     multiplier: 0.5,
///     bounds: (f32::NEG_INFINITY, f32::INFINITY),
///     sink: None,
/// };
/// let left = [3.0, 5.0].map(VectorBlock::of_floats);
/// let mut weights = [VectorBlock::default()];
/// VectorBlock::floats_mut(&mut weights)[..8].copy_from_slice(&[1., 0., 0., 0., 2., 0., 0., 4.]);
/// let mut output = [VectorBlock::default(); 4];
/// product.run(Kernels::detect(), 0..1, &left, &weights, &mut output)?;
/// assert_eq!(output[0], VectorBlock::of_floats(6.5));
/// assert_eq!(output[3], VectorBlock::of_floats(10.0));
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixProduct {
    /// Products apart.
    pub groups: usize,
    /// Elements of a sum: channels of the left operand in a group.
    pub inner: usize,
    /// Channels of the result in a group.
    pub filters: usize,
    /// Vector blocks of the one row.
    pub columns: usize,
    /// The left operand.
    pub left: Planes,
    /// The result.
    pub to: Planes,
    /// The factor of sums.
    pub multiplier: f32,
    /// Bounds of the sums times that.
    pub bounds: (f32, f32),
    /// The result's grid; none: floats.
    pub sink: Option<InputGrid>,
}

impl MatrixProduct {
    /// Blocks of four filters, of all groups.
    pub fn blocks(&self) -> usize {
        (self.groups * self.filters).div_ceil(FILTER_BLOCK)
    }

    /// Vector blocks of four filters' weights.
    fn block(&self) -> usize {
        (self.inner * FILTER_BLOCK).div_ceil(VectorBlock::LANES)
    }

    /// Makes some blocks of filters: `output` holds their planes, four of floats each or one of codes; `weights`
    /// those of all blocks.
    ///
    /// Fails with [`KernelError::Memory`] where vector blocks are too few, and with [`KernelError::Epilogue`]
    /// where bytes do not hold the grid.
    pub fn run(
        &self,
        kernels: Kernels,
        blocks: Range<usize>,
        left: &[VectorBlock],
        weights: &[VectorBlock],
        output: &mut [VectorBlock],
    ) -> Result<(), KernelError> {
        if blocks.is_empty() || self.columns == 0 {
            return Ok(());
        }
        if self.sink.is_some_and(|grid| !grid.fits()) {
            return Err(KernelError::Epilogue);
        }
        let inside = |of: Planes| of.first.saturating_add(self.columns) <= of.plane;
        let channels = self.groups.checked_mul(self.inner);
        let read = channels.and_then(|channels| channels.checked_mul(self.left.plane));
        let packed = blocks.end.checked_mul(self.block());
        let written = (blocks.len() * self.planes()).checked_mul(self.to.plane);
        if !inside(self.left)
            || !inside(self.to)
            || blocks.end > self.blocks()
            || read.is_none_or(|read| left.len() < read)
            || packed.is_none_or(|packed| weights.len() < packed)
            || written.is_none_or(|written| output.len() < written)
        {
            return Err(KernelError::Memory);
        }
        kernels.dispatch(Run {
            product: self,
            blocks,
            left,
            weights,
            output,
        });
        Ok(())
    }

    // Planes of a block's result.
    fn planes(&self) -> usize {
        if self.sink.is_some() { 1 } else { FILTER_BLOCK }
    }
}

// The sums of a block of filters, by filter.
type Sums<S, const P: usize> = [[<S as Lanes>::Floats; P]; FILTER_BLOCK];

struct Run<'a> {
    product: &'a MatrixProduct,
    blocks: Range<usize>,
    left: &'a [VectorBlock],
    weights: &'a [VectorBlock],
    output: &'a mut [VectorBlock],
}

impl Work for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(mut self) {
        let columns = self.product.columns;
        let (each, longer) = even(columns, S::FLOAT_SHARED_POSITIONS);
        let mut column = 0;
        for (size, count) in [
            (each + 1, longer),
            (each, (columns - longer * (each + 1)) / each.max(1)),
        ] {
            for _ in 0..count {
                // SAFETY: by the contract of this method; columns lie within a row.
                unsafe {
                    match size {
                        6 if S::FLOAT_SHARED_POSITIONS >= 6 => self.columns::<S, 6>(column),
                        5 if S::FLOAT_SHARED_POSITIONS >= 5 => self.columns::<S, 5>(column),
                        4 if S::FLOAT_SHARED_POSITIONS >= 4 => self.columns::<S, 4>(column),
                        3 if S::FLOAT_SHARED_POSITIONS >= 3 => self.columns::<S, 3>(column),
                        2 if S::FLOAT_SHARED_POSITIONS >= 2 => self.columns::<S, 2>(column),
                        _ => self.columns::<S, 1>(column),
                    }
                }
                column += size;
            }
        }
    }
}

impl Run<'_> {
    // SAFETY contract: as of `Work::run`; so many columns from this one on lie in the row.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn columns<S: Lanes, const P: usize>(&mut self, column: usize) {
        let blocks = self.blocks.clone();
        let inner = self.product.inner;
        let mut all: [MaybeUninit<Sums<S, P>>; GROUP] = [const { MaybeUninit::uninit() }; GROUP];
        for first in blocks.clone().step_by(GROUP) {
            for start in (0..inner.max(1)).step_by(SLICE) {
                let slice = start..(start + SLICE).min(inner);
                for (waiting, block) in all.iter_mut().zip(first..blocks.end) {
                    // SAFETY: `MatrixProduct::run` has checked that all planes and weights of these blocks are
                    // there; the first slice writes what the others read.
                    unsafe {
                        let sums = match start {
                            0 => [[S::splat(0.0); P]; FILTER_BLOCK],
                            _ => waiting.assume_init_read(),
                        };
                        let sums = self.block::<S, P>(block, column, slice.clone(), sums);
                        if slice.end < inner {
                            waiting.write(sums);
                        } else {
                            self.finish::<S, P>(sums, block - blocks.start, column);
                        }
                    }
                }
            }
        }
    }

    // Adds a slice to the sums of a block of filters.
    #[inline(always)]
    unsafe fn block<S: Lanes, const P: usize>(
        &self,
        block: usize,
        column: usize,
        slice: Range<usize>,
        sums: Sums<S, P>,
    ) -> Sums<S, P> {
        let product = self.product;
        let first = block * FILTER_BLOCK;
        let last = (first + FILTER_BLOCK).min(product.groups * product.filters) - 1;
        let (group, other) = (first / product.filters, last / product.filters);
        // SAFETY: by the callers.
        unsafe {
            let mut made = self.sums::<S, P>(group, block, column, slice.clone(), sums);
            // Filters of several groups read other channels each.
            for group in group + 1..=other {
                let of_other = self.sums::<S, P>(group, block, column, slice.clone(), sums);
                for (f, (made, of_other)) in made.iter_mut().zip(of_other).enumerate() {
                    if (first + f) / product.filters == group {
                        *made = of_other;
                    }
                }
            }
            made
        }
    }

    // Adds some channels of a group to the sums of four filters.
    #[inline(always)]
    unsafe fn sums<S: Lanes, const P: usize>(
        &self,
        group: usize,
        block: usize,
        column: usize,
        slice: Range<usize>,
        mut all: Sums<S, P>,
    ) -> Sums<S, P> {
        let product = self.product;
        // SAFETY: by the callers.
        unsafe {
            let channel = group * product.inner + slice.start;
            let plane = channel * product.left.plane + product.left.first + column;
            let left = self.left.as_ptr().add(plane).cast::<f32>();
            let weights = self.weights.as_ptr().add(block * product.block());
            let weights = weights.cast::<f32>().add(slice.start * FILTER_BLOCK);
            macro_rules! filters {
                ($first:literal, $count:literal) => {{
                    let mut sums: [[S::Floats; P]; $count] =
                        std::array::from_fn(|f| all[$first + f]);
                    let (mut left, mut weights) = (left, weights.add($first));
                    for _ in slice.clone() {
                        for i in 0..P {
                            let x = S::load(left.add(i * VectorBlock::LANES));
                            for (f, sums) in sums.iter_mut().enumerate() {
                                let weight = S::splat(*weights.add(f));
                                sums[i] = S::multiply_add(x, weight, sums[i]);
                            }
                        }
                        left = left.wrapping_add(product.left.plane * VectorBlock::LANES);
                        weights = weights.wrapping_add(FILTER_BLOCK);
                    }
                    for (all, sums) in all[$first..].iter_mut().zip(sums) {
                        *all = sums;
                    }
                }};
            }
            match S::FLOAT_FILTERS {
                4 => filters!(0, 4),
                _ => {
                    filters!(0, 2);
                    filters!(2, 2);
                }
            }
            all
        }
    }

    #[inline(always)]
    unsafe fn finish<S: Lanes, const P: usize>(
        &mut self,
        sums: Sums<S, P>,
        place: usize,
        column: usize,
    ) {
        let product = self.product;
        // SAFETY: by the callers.
        unsafe {
            let multiplier = S::splat(product.multiplier);
            let (least, most) = (S::splat(product.bounds.0), S::splat(product.bounds.1));
            let plane = place * product.planes() * product.to.plane + product.to.first + column;
            let to = self.output.as_mut_ptr().add(plane);
            let Some(grid) = product.sink else {
                for (f, sums) in sums.into_iter().enumerate() {
                    for (i, sum) in sums.into_iter().enumerate() {
                        let t = S::min(S::max(S::multiply(sum, multiplier), least), most);
                        S::store(to.add(f * product.to.plane + i).cast(), t);
                    }
                }
                return;
            };
            let (scale, offset) = (S::splat(grid.scale), S::splat(grid.offset));
            let (low, high) = (S::splat(grid.low as f32), S::splat(grid.high as f32));
            let [a, b, c, d] = sums;
            for (i, (((a, b), c), d)) in a.into_iter().zip(b).zip(c).zip(d).enumerate() {
                macro_rules! code {
                    ($sum:expr) => {{
                        let t = S::multiply($sum, multiplier);
                        let t = S::min(S::max(t, least), most);
                        let t = S::divide(S::subtract(t, offset), scale);
                        S::round(S::min(S::max(t, low), high))
                    }};
                }
                let first = S::pair(code!(a), code!(b));
                let second = S::pair(code!(c), code!(d));
                let codes = S::pack(first, second, -grid.low as i16);
                S::store_integers(to.add(i).cast(), codes);
            }
        }
    }
}
