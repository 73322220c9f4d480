//! Convolutions and linear layers over vector blocks: sums of products, then the epilogue, in one pass.
//!
//! Weights are lists of sparse entries, an offset into the input and what to multiply with: any kernel,
//! stride, dilation, grouping and sparsity is the same loop.

use std::ops::Range;
use std::sync::Arc;

use super::slices::Slices;
use super::specialize::PreparedEpilogue;
use super::sums::Run;
use super::tiled::Tiled;
use super::winograd::Transformed;
use super::{
    Epilogue, FILTER_BLOCK, Filter, KernelError, Kernels, PackedWeights, Sink, VectorBlock,
};

/// A place in the output of a product, in vector blocks. Planes may lie one after the other, or in turns,
/// line by line: then a place lies beyond the vector blocks from its plane to the next.
///
/// ```
/// use burn_compress_kernel::Position;
/// let position = Position { input: 34, output: 0, residual: 0 };
/// # let _ = position;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Where its window starts, from the start of the input.
    pub input: u32,
    /// Where its result goes, from the first vector block of an output plane.
    pub output: u32,
    /// Where what is added to it lies, from the first vector block of a residual's plane.
    pub residual: u32,
}

/// A layer ready to run: weights, places and epilogue that fit each other.
///
/// ```
/// use burn_compress_kernel::{
///     VectorBlock, Epilogue, Filter, Kernels, Position, Product, SparseEntry, PackedWeights, Sink,
/// };
/// // One filter of one weight, on floats; three empty ones fill the block of filters.
/// let entries = PackedWeights::Filter {
///     entries: vec![SparseEntry::of_float(0, 2.0)],
///     starts: vec![0, 1, 1, 1, 1],
/// };
/// let epilogue = Epilogue {
///     filters: vec![Filter { start: 0, multiplier: 1.0, offset: 0.5 }; 4],
///     residual: None,
///     bounds: (f32::NEG_INFINITY, f32::INFINITY),
///     sink: Sink::Floats,
/// };
/// let positions = vec![Position { input: 0, output: 0, residual: 0 }];
/// let product = Product::new(entries, epilogue, positions, 1, false)?;
///
/// let input = [VectorBlock::of_floats(3.0)];
/// let mut output = [VectorBlock::default(); 4];
/// product.run(Kernels::detect(), 0..1, &input, &[], &mut output)?;
/// assert_eq!(output[0], VectorBlock::of_floats(6.5));
/// # Ok::<(), burn_compress_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    // Of layers with the same weights, several may have them.
    pub(super) entries: Arc<PackedWeights>,
    pub(super) epilogue: Epilogue,
    pub(super) prepared: PreparedEpilogue,
    pub(super) positions: Vec<Position>,
    pub(super) plane: usize,
    // Whether bounds must be kept by comparing, as writing bytes does not keep them.
    pub(super) clamps: bool,
    // Whether the input is codes.
    pub(super) codes: bool,
    // Positions that are worked on while the input they read stays near.
    pub(super) position_block: usize,
    // Where the sparse entries of each filter, or block of filters, are split.
    pub(super) slices: Option<Slices>,
    // The first and last place of all outputs, and where all windows start.
    outputs: (usize, usize),
    windows: (usize, usize),
    // Vector blocks from the start of a window to its end.
    reach: usize,
    // Vector blocks that the residual must have from the first vector block of its last plane on.
    residual: usize,
}

impl Product {
    /// A layer with `plane` vector blocks from one output plane to the next; `codes`: whether the input is
    /// bytes. What is made of floats is floats. Sparse entries in an [`Arc`] can be shared with other layers.
    ///
    /// Fails with [`KernelError::Weights`] where starts do not rise to the number of sparse entries, tiles or
    /// transformed taps do not fit their weights, tiles read floats or transformed taps codes, positions are
    /// not as many as are made together, or a sparse entry lies too far, and with [`KernelError::Epilogue`]
    /// where the filters are not four a block of filters, bounds of codes exceed what a byte holds, or codes
    /// are to be made of floats.
    pub fn new(
        entries: impl Into<Arc<PackedWeights>>,
        epilogue: Epilogue,
        positions: Vec<Position>,
        plane: usize,
        codes: bool,
    ) -> Result<Self, KernelError> {
        let entries = entries.into();
        let reach = entries.reach()?;
        let together = entries.positions();
        let fits = match *entries {
            PackedWeights::Tiles { .. } | PackedWeights::Depthwise { .. } => codes,
            PackedWeights::Winograd { .. } => !codes,
            _ => true,
        };
        if !fits || !positions.len().is_multiple_of(together) {
            return Err(KernelError::Weights);
        }
        let last = |of: fn(&Position) -> u32| positions.iter().map(of).max().unwrap_or(0) as usize;
        let within =
            epilogue.sink.holds(epilogue.bounds) && (codes || epilogue.sink == Sink::Floats);
        let residual = last(|position| position.residual).saturating_add(1);
        if epilogue.filters.len() != entries.filter_blocks() * FILTER_BLOCK || !within {
            return Err(KernelError::Epilogue);
        }
        let clamps = clamps(&entries, &epilogue, codes);
        Ok(Self {
            prepared: PreparedEpilogue::new(&entries, &epilogue, codes),
            entries,
            epilogue,
            position_block: positions.len().max(1),
            slices: None,
            outputs: outputs(&positions),
            windows: windows(&positions, together),
            positions,
            plane,
            clamps,
            codes,
            reach: reach.saturating_add(1),
            residual,
        })
    }

    /// The same, worked through in blocks of so many positions (at least one) for all filters before
    /// the next block, so many at a time where registers hold more; no longer in slices.
    pub fn in_position_blocks(mut self, positions: usize) -> Self {
        self.position_block = positions.max(1);
        self.slices = None;
        self
    }

    /// The same, with sums that are made of so many vector blocks of the input after the other, in this
    /// order. Tiles, and sparse entries of a filter that do not rise by vector block, are not split; nor is
    /// anything into more slices than a filter has sparse entries.
    pub fn in_slices(mut self, blocks: usize) -> Self {
        self.slices = Slices::of(&self.entries, blocks.max(1));
        self
    }

    /// What follows the sums.
    pub fn epilogue(&self) -> &Epilogue {
        &self.epilogue
    }

    /// The weights.
    pub fn entries(&self) -> &PackedWeights {
        &self.entries
    }

    /// Planes of a block's output.
    pub fn planes(&self) -> usize {
        match self.epilogue.sink {
            Sink::Codes { .. } => 1,
            Sink::Floats => FILTER_BLOCK,
        }
    }

    // Planes of a block's residual, which is of the input's kind.
    pub(super) fn residual_planes(&self) -> usize {
        match self.codes {
            true => 1,
            false => FILTER_BLOCK,
        }
    }

    /// Vector blocks from one output plane to the next.
    pub fn plane(&self) -> usize {
        self.plane
    }

    /// Makes the output of some blocks of filters: `output` holds their planes alone, `residual` those of all
    /// blocks of filters.
    ///
    /// Fails with [`KernelError::Memory`] where there are no such blocks of filters, or input, residual or
    /// output are too short.
    pub fn run(
        &self,
        kernels: Kernels,
        filter_blocks: Range<usize>,
        input: &[VectorBlock],
        residual: &[VectorBlock],
        output: &mut [VectorBlock],
    ) -> Result<(), KernelError> {
        let all = 0..self.positions.len();
        self.run_part(
            kernels,
            (filter_blocks, all),
            (input, 0),
            residual,
            (output, 0),
        )
    }

    /// The vector blocks of the input that some positions read; none that all read where there are none.
    pub fn reads(&self, positions: Range<usize>) -> Range<usize> {
        let part = self.positions.get(positions).unwrap_or(&[]);
        let (first, last) = windows(part, self.entries.positions());
        match part.is_empty() {
            true => 0..0,
            false => first..last.saturating_add(self.reach),
        }
    }

    /// Makes some positions of the output of some blocks of filters, the first of whose planes has `first`
    /// vector blocks before the first one of `output`; `input` lacks so many vector blocks before what is
    /// [read](Self::reads).
    ///
    /// Fails with [`KernelError::Memory`] where there are no such blocks of filters or positions, these are a
    /// part of those that are made together, one lies before the first vector block, or input, residual or
    /// output are too short.
    ///
    /// ```
    /// use burn_compress_kernel::{
    ///     VectorBlock, Epilogue, Filter, Kernels, Position, Product, SparseEntry, PackedWeights, Sink,
    /// };
    /// # let entries = PackedWeights::Filter {
    /// #     entries: vec![SparseEntry::of_float(0, 2.0)],
    /// #     starts: vec![0, 1, 1, 1, 1],
    /// # };
    /// # let epilogue = Epilogue {
    /// #     filters: vec![Filter { start: 0, multiplier: 1.0, offset: 0.5 }; 4],
    /// #     residual: None,
    /// #     bounds: (f32::NEG_INFINITY, f32::INFINITY),
    /// #     sink: Sink::Floats,
    /// # };
    /// // Two lines, each of four planes of one vector block.
    /// let lines = [0, 1].map(|line| Position { input: line, output: 4 * line, residual: 0 });
    /// let product = Product::new(entries, epilogue, lines.to_vec(), 1, false)?;
    /// let input = [1.0, 3.0].map(VectorBlock::of_floats);
    /// let mut second = [VectorBlock::default(); 4];
    /// product.run_part(Kernels::detect(), (0..1, 1..2), (&input, 0), &[], (&mut second, 4))?;
    /// assert_eq!(product.reads(1..2), 1..2);
    /// product.run_part(Kernels::detect(), (0..1, 1..2), (&input[1..], 1), &[], (&mut second, 4))?;
    /// assert_eq!(second[0], VectorBlock::of_floats(6.5));
    /// # Ok::<(), burn_compress_kernel::KernelError>(())
    /// ```
    pub fn run_part(
        &self,
        kernels: Kernels,
        (filter_blocks, positions): (Range<usize>, Range<usize>),
        (input, skipped): (&[VectorBlock], usize),
        residual: &[VectorBlock],
        (output, first): (&mut [VectorBlock], usize),
    ) -> Result<(), KernelError> {
        if filter_blocks.is_empty() || positions.is_empty() {
            return Ok(());
        }
        let together = self.entries.positions();
        let whole = [positions.start, positions.end]
            .iter()
            .all(|end| end.is_multiple_of(together));
        let positions = self.positions.get(positions).ok_or(KernelError::Memory)?;
        if filter_blocks.end > self.entries.filter_blocks() || !whole {
            return Err(KernelError::Memory);
        }
        let read = match self.epilogue.residual {
            Some(of) => length(
                filter_blocks.end * self.residual_planes(),
                of.plane,
                self.residual,
            ),
            None => Some(0),
        };
        // Looked for again only where it is a part.
        let ((least, last), (first_window, last_window)) =
            match positions.len() == self.positions.len() {
                true => (self.outputs, self.windows),
                false => (outputs(positions), windows(positions, together)),
            };
        let written = length(
            filter_blocks.len() * self.planes(),
            self.plane,
            last.saturating_add(1),
        );
        if first_window < skipped
            || input.len() < (last_window - skipped).saturating_add(self.reach)
            || read.is_none_or(|read| residual.len() < read)
            || least < first
            || written.is_none_or(|written| output.len() < written.saturating_sub(first))
        {
            return Err(KernelError::Memory);
        }
        let run = Run {
            product: self,
            filter_blocks,
            positions,
            input,
            skipped,
            residual,
            output: output.as_mut_ptr(),
            first,
        };
        match &*self.entries {
            PackedWeights::Tiles { .. } => {
                let unit = kernels.has_matrix_unit();
                kernels.dispatch(Tiled { run, unit });
            }
            PackedWeights::Winograd { .. } => kernels.dispatch(Transformed(run)),
            _ => kernels.dispatch(run),
        }
        Ok(())
    }
}

// Vector blocks of so many planes, at least one, of whose last one so many are touched; none where that is more
// than can be counted: a plane's size is whatever the caller said.
pub(super) fn length(planes: usize, plane: usize, last: usize) -> Option<usize> {
    (planes - 1).checked_mul(plane)?.checked_add(last)
}

// The first and last place of outputs.
pub(super) fn outputs(positions: &[Position]) -> (usize, usize) {
    let places = positions.iter().map(|position| position.output as usize);
    places.fold((usize::MAX, 0), |(first, last), place| {
        (first.min(place), last.max(place))
    })
}

// Where the first and the last window start: at the first of the positions that share one.
fn windows(positions: &[Position], together: usize) -> (usize, usize) {
    let starts = positions.iter().step_by(together);
    let starts = starts.map(|position| position.input as usize);
    starts.fold((usize::MAX, 0), |(first, last), start| {
        (first.min(start), last.max(start))
    })
}

// Bytes keep their own bounds, of numbers that a conversion to 32 bits holds.
fn clamps(entries: &PackedWeights, epilogue: &Epilogue, codes: bool) -> bool {
    let Sink::Codes { low } = epilogue.sink else {
        return epilogue.bounds != (f32::NEG_INFINITY, f32::INFINITY);
    };
    if epilogue.bounds != (low as f32, (low + 255) as f32) || !codes {
        return true;
    }
    let residual = epilogue.residual.map_or(0.0, |residual| {
        residual.factor.abs() * (255 + residual.low.unsigned_abs()) as f32
    });
    // NaN, too, is beyond.
    let mut filters = epilogue.filters.iter().enumerate();
    let within = |(index, filter): (usize, &Filter)| {
        let result = |sum: f64| {
            let sum = sum + f64::from(filter.start.unsigned_abs());
            sum as f32 * filter.multiplier.abs() + filter.offset.abs() + residual
        };
        // If all weights were the greatest, which takes no look at them.
        let greatest = (entries.of_filter(index) * 4 * 128 * 255) as f64;
        let most = || {
            let (least, most) = entries.span(index);
            most.max(-least)
        };
        result(greatest) < 1e9 || result(most()) < 1e9
    };
    !filters.all(within)
}
