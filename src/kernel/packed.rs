//! The right operand of a product of two activations, in the place of weights.

use std::ops::Range;

use super::channels::Planes;
use super::{FILTER_BLOCK, InputGrid, KernelError, VectorBlock};

/// The right operand of a product, to be packed: for each block of four filters its weights, those of four
/// filters side by side. A filter is a column of the right operand, of a group (a head).
///
/// ```
/// use burn_compress_kernel::{PackedRight, Planes, VectorBlock};
/// let planes = Planes { plane: 1, first: 0, pitch: 1 };
/// // Four channels of sixteen positions: sixteen weights of four filters.
/// let right = PackedRight {
///     groups: 1,
///     inner: 16,
///     filters: 4,
///     inner_is_channel: false,
///     from: planes,
///     tile: 1,
///     source: None,
/// };
/// let mut weights = vec![VectorBlock::default(); right.block()];
/// let channels = [1.0, 2.0, 3.0, 4.0].map(VectorBlock::of_floats);
/// right.pack(0..1, &channels, &mut weights)?;
/// assert_eq!(VectorBlock::floats(&weights)[..4], [1.0, 2.0, 3.0, 4.0]);
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PackedRight {
    /// Products apart.
    pub groups: usize,
    /// Elements of a sum.
    pub inner: usize,
    /// Columns of a group.
    pub filters: usize,
    /// Whether its channels are summed over and its positions are filters, or the other way round.
    pub inner_is_channel: bool,
    /// Where it lies, in one row.
    pub from: Planes,
    /// Positions of a lane: the first lane has the first ones.
    pub tile: usize,
    /// Its grid; none: floats.
    pub source: Option<InputGrid>,
}

impl PackedRight {
    /// Vector blocks of four filters' weights.
    pub fn block(&self) -> usize {
        (self.inner * FILTER_BLOCK).div_ceil(VectorBlock::LANES)
    }

    /// Packs some blocks of filters; `output` holds these.
    ///
    /// Fails with [`KernelError::Memory`] where vector blocks are too few, or positions beyond the lanes.
    pub fn pack(
        &self,
        blocks: Range<usize>,
        input: &[VectorBlock],
        output: &mut [VectorBlock],
    ) -> Result<(), KernelError> {
        let (each, positions) = match self.inner_is_channel {
            true => (self.inner, self.filters),
            false => (self.filters, self.inner),
        };
        let unit = if self.source.is_some() { 4 } else { 1 };
        let planes = self.groups.checked_mul(each).map(|all| all.div_ceil(unit));
        let read = planes.and_then(|planes| planes.checked_mul(self.from.plane));
        let lanes = self.tile.checked_mul(VectorBlock::LANES);
        let inside = self.from.first.saturating_add(self.tile) <= self.from.plane;
        let written = blocks.len().checked_mul(self.block());
        if self.tile == 0
            || !inside
            || lanes.is_none_or(|lanes| lanes < positions)
            || read.is_none_or(|read| input.len() < read)
            || written.is_none_or(|written| output.len() < written)
        {
            return Err(KernelError::Memory);
        }
        let all = self.groups * self.filters;
        for (block, output) in blocks.zip(output.chunks_exact_mut(self.block().max(1))) {
            let output = VectorBlock::floats_mut(output);
            for place in 0..FILTER_BLOCK {
                let filter = block * FILTER_BLOCK + place;
                let to = output.iter_mut().skip(place).step_by(FILTER_BLOCK);
                if filter >= all {
                    to.for_each(|to| *to = 0.0);
                    continue;
                }
                let (group, filter) = (filter / self.filters, filter % self.filters);
                match self.inner_is_channel {
                    true => {
                        let at = self.position(filter);
                        for (inner, to) in to.take(self.inner).enumerate() {
                            *to = self.element(input, group * self.inner + inner, at);
                        }
                    }
                    false => {
                        let channel = group * self.filters + filter;
                        for (inner, to) in to.take(self.inner).enumerate() {
                            *to = self.element(input, channel, self.position(inner));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    // The place of a position among the floats of a plane.
    fn position(&self, position: usize) -> usize {
        let (lane, column) = (position / self.tile, position % self.tile);
        (self.from.first + column) * VectorBlock::LANES + lane
    }

    fn element(&self, input: &[VectorBlock], channel: usize, at: usize) -> f32 {
        let plane = self.from.plane * VectorBlock::LANES;
        match self.source {
            None => VectorBlock::floats(input)[channel * plane + at],
            Some(grid) => {
                let word = VectorBlock::integers(input)[channel / 4 * plane + at];
                let code = (word >> (8 * (channel % 4)) & 255).wrapping_add(grid.low);
                grid.scale * code as f32 + grid.offset
            }
        }
    }
}
