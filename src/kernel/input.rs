//! From images to cells and back.

use super::lanes::Lanes;
use super::{Cell, KernelError, Kernels, Sink, Work};

/// Where the sites of cells lie in images, `[image][channel][row][column]`.
///
/// ```
/// use burn_compress_kernel::Frame;
/// let frame = Frame {
///     channels: 3,
///     image: 3 * 32 * 32,
///     channel: 32 * 32,
///     row: 32,
///     sites: (0..16).map(|image| Some((image * 3 * 32 * 32, (32, 32)))).collect(),
///     rows: 32,
///     columns: 32,
///     pitch: 34,
///     first: 35,
///     plane: 34 * 34,
/// };
/// assert_eq!(frame.sites.len(), 16);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Channels of an image.
    pub channels: usize,
    /// Elements of an image.
    pub image: usize,
    /// Elements of a channel.
    pub channel: usize,
    /// Elements of a row.
    pub row: usize,
    /// For each site, its first element, and how many of its rows and columns lie in the image; none:
    /// it has no image.
    pub sites: Vec<Option<(usize, (usize, usize))>>,
    /// Rows of a tile.
    pub rows: usize,
    /// Columns of a tile.
    pub columns: usize,
    /// Cells from a row to the next.
    pub pitch: usize,
    /// The cell of the first row and column in a plane.
    pub first: usize,
    /// Cells of a plane.
    pub plane: usize,
}

impl Frame {
    // Elements that it needs, and whether its cells lie in a plane.
    fn fits(&self) -> Option<usize> {
        let after = |count: usize, step: usize| count.saturating_sub(1).checked_mul(step);
        let last = after(self.rows, self.pitch)?
            .checked_add(self.first)?
            .checked_add(self.columns)?;
        let mut needed = 0;
        for &(start, (rows, columns)) in self.sites.iter().flatten() {
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
        (last <= self.plane && self.sites.len() == Cell::SITES).then_some(needed)
    }

    /// Writes the inner cells of the planes of some images, in floats or in codes of a scale; sites
    /// without an image are of the fill. Tells whether all elements were finite.
    ///
    /// `groups`: planes that `cells` holds, of four channels each in codes, of one in floats.
    ///
    /// Fails with [`KernelError::Memory`] where the images or the cells are too few, and with
    /// [`KernelError::Epilogue`] where bytes do not hold the grid.
    pub fn write(
        &self,
        kernels: Kernels,
        images: &[f32],
        grid: Option<InputGrid>,
        groups: std::ops::Range<usize>,
        cells: &mut [Cell],
    ) -> Result<bool, KernelError> {
        let needed = self.fits().ok_or(KernelError::Memory)?;
        let written = groups.len().checked_mul(self.plane);
        if images.len() < needed || written.is_none_or(|written| cells.len() < written) {
            return Err(KernelError::Memory);
        }
        let part = Part {
            groups,
            rows: 0..self.rows,
            skipped: 0,
        };
        self.write_part(kernels, images, grid, part, cells)
    }

    /// The same for some lines of the first plane alone, which are as many cells as the pitch each, those
    /// before the first row included: `cells` holds these lines.
    ///
    /// Fails as [`write`](Self::write), and with [`KernelError::Memory`] where a row does not lie in one
    /// line.
    pub fn write_lines(
        &self,
        kernels: Kernels,
        images: &[f32],
        grid: Option<InputGrid>,
        lines: std::ops::Range<usize>,
        cells: &mut [Cell],
    ) -> Result<bool, KernelError> {
        let needed = self.fits().ok_or(KernelError::Memory)?;
        let pitch = self.pitch.max(1);
        let (above, before) = (self.first / pitch, self.first % pitch);
        let skipped = lines.start.checked_mul(pitch);
        let written = lines.len().checked_mul(pitch);
        let (Some(skipped), Some(written)) = (skipped, written) else {
            return Err(KernelError::Memory);
        };
        if images.len() < needed || cells.len() < written || before + self.columns > pitch {
            return Err(KernelError::Memory);
        }
        let row = |line: usize| line.saturating_sub(above).min(self.rows);
        let part = Part {
            groups: 0..1,
            rows: row(lines.start)..row(lines.end),
            skipped,
        };
        self.write_part(kernels, images, grid, part, cells)
    }

    fn write_part(
        &self,
        kernels: Kernels,
        images: &[f32],
        grid: Option<InputGrid>,
        part: Part,
        cells: &mut [Cell],
    ) -> Result<bool, KernelError> {
        if grid.is_some_and(|grid| !grid.fits()) {
            return Err(KernelError::Epilogue);
        }
        let mut finite = true;
        if self.columns > 0 {
            kernels.dispatch(WriteFrame {
                frame: self,
                images,
                grid,
                part,
                cells,
                finite: &mut finite,
            });
        }
        Ok(finite)
    }

    /// Reads the inner cells into images: floats as they are, codes times a scale (as whole numbers
    /// where there is none), which `emit` gets with the element's place.
    ///
    /// Fails with [`KernelError::Memory`] where cells are too few.
    pub fn read(
        &self,
        cells: &[Cell],
        sink: Sink,
        mut emit: impl FnMut(usize, Element),
    ) -> Result<(), KernelError> {
        let unit = match sink {
            Sink::Codes { .. } => 4,
            Sink::Floats => 1,
        };
        self.fits().ok_or(KernelError::Memory)?;
        let read = self.channels.div_ceil(unit).checked_mul(self.plane);
        if read.is_none_or(|read| cells.len() < read) {
            return Err(KernelError::Memory);
        }
        if self.rows == 0 || self.columns == 0 {
            return Ok(());
        }
        // The sites that hold something: of one number for each channel only the first.
        let mut used = [(0, 0, (0, 0)); Cell::SITES];
        let mut count = 0;
        for (site, place) in self.sites.iter().enumerate() {
            let (start, (rows, columns)) = place.unwrap_or_default();
            if rows > 0 && columns > 0 {
                used[count] = (site, start, (rows, columns));
                count += 1;
            }
        }
        for channel in 0..self.channels {
            let plane = &cells[channel / unit * self.plane..][..self.plane];
            for &(site, start, (rows, columns)) in &used[..count] {
                for y in 0..rows {
                    let row = &plane[self.first + y * self.pitch..][..columns];
                    let place = start + channel * self.channel + y * self.row;
                    for x in 0..columns {
                        let element = match sink {
                            Sink::Codes { low } => {
                                let byte = Cell::bytes(row)[x * 64 + site * 4 + channel % 4];
                                Element::Code(i32::from(byte).wrapping_add(low))
                            }
                            Sink::Floats => Element::Float(Cell::floats(row)[x * 16 + site]),
                        };
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
    fn fits(&self) -> bool {
        let codes = self.low..=self.high;
        // Each within 255 of zero first: then their distance is no more than 32 bits hold.
        codes.contains(&0) && self.low >= -255 && self.high <= 255 && self.high - self.low <= 255
    }
}

// What is written: rows of planes, into cells of which so many at the start of a plane are left out.
struct Part {
    groups: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
    skipped: usize,
}

struct WriteFrame<'a> {
    frame: &'a Frame,
    images: &'a [f32],
    grid: Option<InputGrid>,
    part: Part,
    cells: &'a mut [Cell],
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
            let plane = &mut self.cells[place * frame.plane..];
            let channel = group.saturating_mul(unit);
            let channels = frame.channels.saturating_sub(channel).min(unit);
            for y in self.part.rows.clone() {
                for x in (0..frame.columns).step_by(Cell::SITES) {
                    // The last columns with those before them, where there are as many: they are made twice.
                    let x = x.min(frame.columns.saturating_sub(Cell::SITES));
                    let width = (frame.columns - x).min(Cell::SITES);
                    let mut columns = [[Cell::default()]; Cell::SITES];
                    for (site, to) in frame.sites.iter().zip(&mut columns) {
                        let (start, (rows, inside)) = site.unwrap_or_default();
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
                                    S::prefetch(self.images.as_ptr().wrapping_add(below));
                                    &self.images[first..first + inside]
                                },
                                channels,
                                to,
                            );
                        }
                    }
                    // From a cell for each site to a cell for each column.
                    let first = frame.first + y * frame.pitch + x - self.part.skipped;
                    let to = &mut plane[first..][..width];
                    let to = Cell::integers_mut(to);
                    for (column, to) in to.chunks_exact_mut(Cell::SITES).enumerate() {
                        for (to, from) in to.iter_mut().zip(&columns) {
                            *to = Cell::integers(from)[column];
                        }
                    }
                }
            }
        }
        let mut seen = [Cell::default()];
        let seen = Cell::floats_mut(&mut seen);
        // SAFETY: a cell is aligned.
        unsafe { S::store(seen.as_mut_ptr(), check) };
        *self.finite = seen.iter().all(|&x| x == 0.0);
    }
}

impl WriteFrame<'_> {
    #[inline(always)]
    unsafe fn fill<S: Lanes>(grid: Option<InputGrid>, to: &mut [Cell; 1]) {
        if let Some(grid) = grid {
            to[0] = Cell::of_bytes(grid.low.wrapping_neg() as u8);
        }
    }

    // Up to sixteen columns of a row of one site, of up to four channels.
    #[inline(always)]
    unsafe fn columns<'a, S: Lanes>(
        check: &mut S::Floats,
        grid: Option<InputGrid>,
        row: impl Fn(usize) -> &'a [f32],
        channels: usize,
        to: &mut [Cell; 1],
    ) {
        // SAFETY: cells are aligned, and a row of sixteen is loaded whole; the set is there by the
        // contract of `Work`.
        unsafe {
            let zero = S::splat(0.0);
            macro_rules! values {
                ($c:literal) => {{
                    let row = row($c);
                    let values = match row.len() {
                        Cell::SITES => S::load_unaligned(row.as_ptr()),
                        _ => S::load_first(row),
                    };
                    *check = S::multiply_add(values, zero, *check);
                    (values, row.len())
                }};
            }
            let Some(grid) = grid else {
                if channels > 0 {
                    S::store(Cell::floats_mut(to).as_mut_ptr(), values!(0).0);
                }
                return;
            };
            let (scale, inverse) = (S::splat(grid.scale), S::splat(1.0 / grid.scale));
            let (offset, offsets) = (S::splat(grid.offset), [grid.offset; Cell::SITES]);
            let is_usual = (1e-30..1e30).contains(&grid.scale);
            let (low, high) = (S::splat(grid.low as f32), S::splat(grid.high as f32));
            macro_rules! channel {
                ($c:literal) => {
                    if $c < channels {
                        let (values, length) = values!($c);
                        // Beyond the row is the centred code 0, whatever the offset.
                        let offset = match length {
                            Cell::SITES => offset,
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
            let codes = S::quad(first, second, -grid.low as i16);
            S::store_integers(Cell::integers_mut(to).as_mut_ptr(), codes);
        }
    }
}
