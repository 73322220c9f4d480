//! From samples to vector blocks and back, where columns do not lie side by side: tokens, `[N, T, C]`.

use std::ops::Range;

use super::channels::{Planes, quantized};
use super::{Element, InputGrid, KernelError, Sink, VectorBlock};

/// Where the lanes of vector blocks lie in samples of any order of axes.
///
/// ```
/// use burn_compress_kernel::{Planes, Strided, VectorBlock};
/// // Two tokens of three channels, one token in each of two lanes.
/// let mut lanes = vec![None; 16];
/// lanes[0] = Some((0, (1, 1)));
/// lanes[1] = Some((3, (1, 1)));
/// let strided = Strided {
///     sample: 6,
///     channels: vec![0, 1, 2],
///     row: 6,
///     column: 3,
///     lanes,
///     tile: [1, 1],
///     planes: Planes { plane: 1, first: 0, pitch: 1 },
/// };
/// let mut blocks = [VectorBlock::default(); 3];
/// assert!(strided.write(&[1., 2., 3., 4., 5., 6.], None, 0..3, &mut blocks)?);
/// assert_eq!(VectorBlock::floats(&blocks[1..])[..2], [2.0, 5.0]);
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strided {
    /// Elements of a sample.
    pub sample: usize,
    /// The place of each channel's first element.
    pub channels: Vec<usize>,
    /// Elements from a row to the next.
    pub row: usize,
    /// Elements from a column to the next.
    pub column: usize,
    /// For each lane, its first element, and how many of its rows and columns lie in the sample; none: it has no
    /// sample.
    pub lanes: Vec<Option<(usize, (usize, usize))>>,
    /// Rows and columns of a tile.
    pub tile: [usize; 2],
    /// Where the vector blocks lie.
    pub planes: Planes,
}

impl Strided {
    // Elements that it needs, and whether its vector blocks lie in a plane.
    fn fits(&self) -> Option<usize> {
        let after = |count: usize, step: usize| count.saturating_sub(1).checked_mul(step);
        let Planes {
            plane,
            first,
            pitch,
        } = self.planes;
        let last = after(self.tile[0], pitch)?
            .checked_add(first)?
            .checked_add(self.tile[1])?;
        let furthest = self.channels.iter().max().copied().unwrap_or(0);
        let mut needed = 0;
        for &(start, (rows, columns)) in self.lanes.iter().flatten() {
            if rows > self.tile[0] || columns > self.tile[1] {
                return None;
            }
            if rows > 0 && columns > 0 && !self.channels.is_empty() {
                let end = after(rows, self.row)?
                    .checked_add(after(columns, self.column)?)?
                    .checked_add(start)?
                    .checked_add(furthest)?
                    .checked_add(1)?;
                needed = needed.max(end);
            }
        }
        (last <= plane && self.lanes.len() == VectorBlock::LANES).then_some(needed)
    }

    /// Writes the inner vector blocks of some planes, in floats or in codes of a scale; lanes without a sample
    /// are of the fill. Tells whether all elements were finite. `planes`: those that `blocks` holds.
    ///
    /// Fails with [`KernelError::Memory`] where the samples or the vector blocks are too few, and with
    /// [`KernelError::Epilogue`] where bytes do not hold the grid.
    pub fn write(
        &self,
        samples: &[f32],
        grid: Option<InputGrid>,
        planes: Range<usize>,
        blocks: &mut [VectorBlock],
    ) -> Result<bool, KernelError> {
        let needed = self.fits().ok_or(KernelError::Memory)?;
        let written = planes.len().checked_mul(self.planes.plane);
        if samples.len() < needed || written.is_none_or(|written| blocks.len() < written) {
            return Err(KernelError::Memory);
        }
        if grid.is_some_and(|grid| !grid.fits()) {
            return Err(KernelError::Epilogue);
        }
        let mut check = 0.0;
        let unit = if grid.is_some() { 4 } else { 1 };
        for (place, plane) in planes.enumerate() {
            let plane_blocks = &mut blocks[place * self.planes.plane..];
            let channels = plane * unit..((plane + 1) * unit).min(self.channels.len());
            for y in 0..self.tile[0] {
                let first = self.planes.first + y * self.planes.pitch;
                let row = &mut plane_blocks[first..first + self.tile[1]];
                let none = match grid {
                    Some(grid) => VectorBlock::of_bytes(grid.low.wrapping_neg() as u8),
                    None => VectorBlock::default(),
                };
                row.fill(none);
                for (lane, of) in self.lanes.iter().enumerate() {
                    let (start, (rows, columns)) = of.unwrap_or_default();
                    if y >= rows {
                        continue;
                    }
                    for channel in channels.clone() {
                        let from = start + self.channels[channel] + y * self.row;
                        for x in 0..columns {
                            let value = samples[from + x * self.column];
                            check += value * 0.0;
                            match grid {
                                None => {
                                    VectorBlock::floats_mut(row)[x * VectorBlock::LANES + lane] =
                                        value;
                                }
                                Some(grid) => {
                                    let at = x * VectorBlock::BYTES + lane * 4 + channel % 4;
                                    VectorBlock::bytes_mut(row)[at] = quantized(value, &grid) as u8;
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(check == 0.0)
    }

    /// Reads the inner vector blocks into samples, as [`Frame::read`](super::Frame::read).
    ///
    /// Fails with [`KernelError::Memory`] where vector blocks are too few.
    pub fn read(
        &self,
        blocks: &[VectorBlock],
        sink: Sink,
        mut emit: impl FnMut(usize, Element),
    ) -> Result<(), KernelError> {
        let unit = match sink {
            Sink::Codes { .. } => 4,
            Sink::Floats => 1,
        };
        self.fits().ok_or(KernelError::Memory)?;
        let planes = self.channels.len().div_ceil(unit);
        let read = planes.checked_mul(self.planes.plane);
        if read.is_none_or(|read| blocks.len() < read) {
            return Err(KernelError::Memory);
        }
        for (channel, offset) in self.channels.iter().enumerate() {
            let plane = &blocks[channel / unit * self.planes.plane..][..self.planes.plane];
            for (lane, of) in self.lanes.iter().enumerate() {
                let (start, (rows, columns)) = of.unwrap_or_default();
                for y in 0..rows {
                    let row = &plane[self.planes.first + y * self.planes.pitch..][..columns];
                    let place = start + offset + y * self.row;
                    for x in 0..columns {
                        let element = Element::read(sink, row, x, lane, channel);
                        emit(place + x * self.column, element);
                    }
                }
            }
        }
        Ok(())
    }
}
