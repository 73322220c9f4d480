//! From samples to vector blocks and back.

use super::lanes::Lanes;
use super::{KernelError, Kernels, Sink, VectorBlock, Work};

/// Where the lanes of vector blocks lie in samples, `[sample][channel][row][column]`.
///
/// ```
/// use burn_compress_kernel::Frame;
/// let frame = Frame {
///     channels: 3,
///     sample: 3 * 32 * 32,
///     channel: 32 * 32,
///     row: 32,
///     lanes: (0..16).map(|sample| Some((sample * 3 * 32 * 32, (32, 32)))).collect(),
///     rows: 32,
///     columns: 32,
///     pitch: 34,
///     first: 35,
///     plane: 34 * 34,
/// };
/// assert_eq!(frame.lanes.len(), 16);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Channels of a sample.
    pub channels: usize,
    /// Elements of a sample.
    pub sample: usize,
    /// Elements of a channel.
    pub channel: usize,
    /// Elements of a row.
    pub row: usize,
    /// For each lane, its first element, and how many of its rows and columns lie in the sample; none:
    /// it has no sample.
    pub lanes: Vec<Option<(usize, (usize, usize))>>,
    /// Rows of a tile.
    pub rows: usize,
    /// Columns of a tile.
    pub columns: usize,
    /// Vector blocks from a row to the next.
    pub pitch: usize,
    /// The vector block of the first row and column in a plane.
    pub first: usize,
    /// Vector blocks of a plane.
    pub plane: usize,
}

impl Frame {
    // Elements that it needs, and whether its vector blocks lie in a plane.
    fn fits(&self) -> Option<usize> {
        let after = |count: usize, step: usize| count.saturating_sub(1).checked_mul(step);
        let last = after(self.rows, self.pitch)?
            .checked_add(self.first)?
            .checked_add(self.columns)?;
        let mut needed = 0;
        for &(start, (rows, columns)) in self.lanes.iter().flatten() {
            if rows > self.rows || columns > self.columns {
                return None;
            }
            if rows > 0 && columns > 0 && self.channels > 0 {
                let end = after(self.channels, self.channel)?
                    .checked_add(after(rows, self.row)?)?
                    .checked_add(start)?
                    .checked_add(columns)?;
                needed = needed.max(end);
            }
        }
        (last <= self.plane && self.lanes.len() == VectorBlock::LANES).then_some(needed)
    }

    /// Writes the inner vector blocks of the planes of some samples, in floats or in codes of a scale; lanes
    /// without a sample are of the fill. Tells whether all elements were finite.
    ///
    /// `groups`: planes that `blocks` holds, of four channels each in codes, of one in floats.
    ///
    /// Fails with [`KernelError::Memory`] where the samples or the vector blocks are too few, and with
    /// [`KernelError::Epilogue`] where bytes do not hold the grid.
    pub fn write(
        &self,
        kernels: Kernels,
        samples: &[f32],
        grid: Option<InputGrid>,
        groups: std::ops::Range<usize>,
        blocks: &mut [VectorBlock],
    ) -> Result<bool, KernelError> {
        let needed = self.fits().ok_or(KernelError::Memory)?;
        let written = groups.len().checked_mul(self.plane);
        if samples.len() < needed || written.is_none_or(|written| blocks.len() < written) {
            return Err(KernelError::Memory);
        }
        let part = Part {
            groups,
            rows: 0..self.rows,
            skipped: 0,
        };
        self.write_part(kernels, samples, grid, part, blocks)
    }

    /// The same for some lines of the first plane alone, which are as many vector blocks as the pitch each,
    /// those before the first row included: `blocks` holds these lines.
    ///
    /// Fails as [`write`](Self::write), and with [`KernelError::Memory`] where a row does not lie in one
    /// line.
    pub fn write_lines(
        &self,
        kernels: Kernels,
        samples: &[f32],
        grid: Option<InputGrid>,
        lines: std::ops::Range<usize>,
        blocks: &mut [VectorBlock],
    ) -> Result<bool, KernelError> {
        let needed = self.fits().ok_or(KernelError::Memory)?;
        let pitch = self.pitch.max(1);
        let (above, before) = (self.first / pitch, self.first % pitch);
        let skipped = lines.start.checked_mul(pitch);
        let written = lines.len().checked_mul(pitch);
        let (Some(skipped), Some(written)) = (skipped, written) else {
            return Err(KernelError::Memory);
        };
        if samples.len() < needed || blocks.len() < written || before + self.columns > pitch {
            return Err(KernelError::Memory);
        }
        let row = |line: usize| line.saturating_sub(above).min(self.rows);
        let part = Part {
            groups: 0..1,
            rows: row(lines.start)..row(lines.end),
            skipped,
        };
        self.write_part(kernels, samples, grid, part, blocks)
    }

    fn write_part(
        &self,
        kernels: Kernels,
        samples: &[f32],
        grid: Option<InputGrid>,
        part: Part,
        blocks: &mut [VectorBlock],
    ) -> Result<bool, KernelError> {
        if grid.is_some_and(|grid| !grid.fits()) {
            return Err(KernelError::Epilogue);
        }
        let mut finite = true;
        if self.columns > 0 {
            kernels.dispatch(WriteFrame {
                frame: self,
                samples,
                grid,
                part,
                blocks,
                finite: &mut finite,
            });
        }
        Ok(finite)
    }

    /// Reads the inner vector blocks into samples: floats as they are, codes times a scale (as whole numbers
    /// where there is none), which `emit` gets with the element's place.
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
        let read = self.channels.div_ceil(unit).checked_mul(self.plane);
        if read.is_none_or(|read| blocks.len() < read) {
            return Err(KernelError::Memory);
        }
        if self.rows == 0 || self.columns == 0 {
            return Ok(());
        }
        // The lanes that hold something: of one number for each channel only the first.
        let mut used = [(0, 0, (0, 0)); VectorBlock::LANES];
        let mut count = 0;
        for (lane, place) in self.lanes.iter().enumerate() {
            let (start, (rows, columns)) = place.unwrap_or_default();
            if rows > 0 && columns > 0 {
                used[count] = (lane, start, (rows, columns));
                count += 1;
            }
        }
        for channel in 0..self.channels {
            let plane = &blocks[channel / unit * self.plane..][..self.plane];
            for &(lane, start, (rows, columns)) in &used[..count] {
                for y in 0..rows {
                    let row = &plane[self.first + y * self.pitch..][..columns];
                    let place = start + channel * self.channel + y * self.row;
                    for x in 0..columns {
                        let element = Element::read(sink, row, x, lane, channel);
                        emit(place + x, element);
                    }
                }
            }
        }
        Ok(())
    }
}

/// An element that was read.
///
/// ```
/// use burn_compress_kernel::Element;
/// assert_ne!(Element::Code(1), Element::Float(1.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Element {
    /// A centred code.
    Code(i32),
    /// A float.
    Float(f32),
}

impl Element {
    /// That of a lane and a channel, in a vector block of a row.
    #[inline(always)]
    pub(super) fn read(
        sink: Sink,
        row: &[VectorBlock],
        block: usize,
        lane: usize,
        channel: usize,
    ) -> Self {
        match sink {
            Sink::Codes { low } => {
                let byte = VectorBlock::bytes(row)[block * 64 + lane * 4 + channel % 4];
                Self::Code(i32::from(byte).wrapping_add(low))
            }
            Sink::Floats => Self::Float(VectorBlock::floats(row)[block * 16 + lane]),
        }
    }
}

/// The codes of an input, zero among them.
///
/// ```
/// use burn_compress_kernel::InputGrid;
/// let grid = InputGrid { scale: 0.1, offset: 0.0, low: -128, high: 127 };
/// # let _ = grid;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputGrid {
    /// Distance of neighbouring values.
    pub scale: f32,
    /// The value of the centred code 0.
    pub offset: f32,
    /// The least centred code, byte 0.
    pub low: i32,
    /// The greatest, at most 255 more.
    pub high: i32,
}

impl InputGrid {
    pub(super) fn fits(&self) -> bool {
        let codes = self.low..=self.high;
        // Each within 255 of zero first: then their distance is no more than 32 bits hold.
        codes.contains(&0) && self.low >= -255 && self.high <= 255 && self.high - self.low <= 255
    }
}

// What is written: rows of planes, into vector blocks of which so many at the start of a plane are left out.
struct Part {
    groups: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
    skipped: usize,
}

struct WriteFrame<'a> {
    frame: &'a Frame,
    samples: &'a [f32],
    grid: Option<InputGrid>,
    part: Part,
    blocks: &'a mut [VectorBlock],
    finite: &'a mut bool,
}

impl Work for WriteFrame<'_> {
    #[inline(always)]
    unsafe fn run<S: Lanes>(self) {
        let frame = self.frame;
        let unit = if self.grid.is_some() { 4 } else { 1 };
        // Zero while all is finite: NaN, and infinity times zero, stay.
        // SAFETY: by the contract of this method.
        let mut check = unsafe { S::splat(0.0) };
        for (place, group) in self.part.groups.enumerate() {
            let plane = &mut self.blocks[place * frame.plane..];
            let channel = group.saturating_mul(unit);
            let channels = frame.channels.saturating_sub(channel).min(unit);
            for y in self.part.rows.clone() {
                for x in (0..frame.columns).step_by(VectorBlock::LANES) {
                    // The last columns with those before them, where there are as many: they are made twice.
                    let x = x.min(frame.columns.saturating_sub(VectorBlock::LANES));
                    let width = (frame.columns - x).min(VectorBlock::LANES);
                    let mut columns = [[VectorBlock::default()]; VectorBlock::LANES];
                    for (lane, to) in frame.lanes.iter().zip(&mut columns) {
                        let (start, (rows, inside)) = lane.unwrap_or_default();
                        let inside = inside.saturating_sub(x).min(width);
                        if y >= rows || inside == 0 {
                            // SAFETY: by the contract of this method.
                            unsafe { Self::fill::<S>(self.grid, to) };
                            continue;
                        }
                        // SAFETY: by the contract of this method.
                        unsafe {
                            Self::columns::<S>(
                                &mut check,
                                self.grid,
                                |next| {
                                    let channel = (channel + next) * frame.channel;
                                    let first = start + channel + y * frame.row + x;
                                    // More rows than a processor sees coming by itself.
                                    let below = first + frame.row;
                                    S::prefetch(self.samples.as_ptr().wrapping_add(below));
                                    &self.samples[first..first + inside]
                                },
                                channels,
                                to,
                            );
                        }
                    }
                    // From a vector block for each lane to a vector block for each column.
                    let first = frame.first + y * frame.pitch + x - self.part.skipped;
                    let to = &mut plane[first..][..width];
                    let to = VectorBlock::integers_mut(to);
                    for (column, to) in to.chunks_exact_mut(VectorBlock::LANES).enumerate() {
                        for (to, from) in to.iter_mut().zip(&columns) {
                            *to = VectorBlock::integers(from)[column];
                        }
                    }
                }
            }
        }
        let mut seen = [VectorBlock::default()];
        let seen = VectorBlock::floats_mut(&mut seen);
        // SAFETY: a vector block is aligned.
        unsafe { S::store(seen.as_mut_ptr(), check) };
        *self.finite = seen.iter().all(|&x| x == 0.0);
    }
}

impl WriteFrame<'_> {
    #[inline(always)]
    unsafe fn fill<S: Lanes>(grid: Option<InputGrid>, to: &mut [VectorBlock; 1]) {
        if let Some(grid) = grid {
            to[0] = VectorBlock::of_bytes(grid.low.wrapping_neg() as u8);
        }
    }

    // Up to sixteen columns of a row of one lane, of up to four channels.
    #[inline(always)]
    unsafe fn columns<'a, S: Lanes>(
        check: &mut S::Floats,
        grid: Option<InputGrid>,
        row: impl Fn(usize) -> &'a [f32],
        channels: usize,
        to: &mut [VectorBlock; 1],
    ) {
        // SAFETY: vector blocks are aligned, and a row of sixteen is loaded whole; the set is there by the
        // contract of `Work`.
        unsafe {
            let zero = S::splat(0.0);
            macro_rules! values {
                ($c:literal) => {{
                    let row = row($c);
                    let values = match row.len() {
                        VectorBlock::LANES => S::load_unaligned(row.as_ptr()),
                        _ => S::load_first(row),
                    };
                    *check = S::multiply_add(values, zero, *check);
                    (values, row.len())
                }};
            }
            let Some(grid) = grid else {
                if channels > 0 {
                    S::store(VectorBlock::floats_mut(to).as_mut_ptr(), values!(0).0);
                }
                return;
            };
            let (scale, inverse) = (S::splat(grid.scale), S::splat(1.0 / grid.scale));
            let (offset, offsets) = (S::splat(grid.offset), [grid.offset; VectorBlock::LANES]);
            let is_usual = (1e-30..1e30).contains(&grid.scale);
            let (low, high) = (S::splat(grid.low as f32), S::splat(grid.high as f32));
            macro_rules! channel {
                ($c:literal) => {
                    if $c < channels {
                        let (values, length) = values!($c);
                        // Beyond the row is the centred code 0, whatever the offset.
                        let offset = match length {
                            VectorBlock::LANES => offset,
                            _ => S::load_first(&offsets[..length]),
                        };
                        let values = S::subtract(values, offset);
                        let quotient = match is_usual {
                            true => S::divide_to_round(values, scale, inverse),
                            false => S::divide(values, scale),
                        };
                        S::round(S::min(S::max(quotient, low), high))
                    } else {
                        S::splat_integer(0)
                    }
                };
            }
            let first = S::pair(channel!(0), channel!(1));
            let second = S::pair(channel!(2), channel!(3));
            let codes = S::pack(first, second, -grid.low as i16);
            S::store_integers(VectorBlock::integers_mut(to).as_mut_ptr(), codes);
        }
    }
}
