//! Operations whose output lies row-interleaved: threads share out its lines.

use std::ops::Range;

use crate::engine::EngineError;
use crate::kernel::{Edges, Gather, Kernels, Product, VectorBlock, Windows};

/// A product whose output lies row-interleaved. Units are the planes of a block of filters in a line, those
/// of the halo included.
#[derive(Debug)]
pub(in crate::engine) struct InterleavedProduct {
    pub product: Product,
    pub lines: Lines,
    /// Lines whose positions are made together.
    pub together: usize,
}

/// The lines of a tensor that lies row-interleaved.
#[derive(Debug)]
pub(in crate::engine) struct Lines {
    /// Those of the halo that come first.
    pub before: usize,
    /// Positions of a line.
    pub columns: usize,
    /// What makes each line whole that is no halo.
    pub edges: Vec<Edges>,
}

/// A pooling whose output lies row-interleaved. Units are lines, those of the halo included.
#[derive(Debug)]
pub(in crate::engine) struct InterleavedPool {
    pub windows: Windows,
    pub planes: usize,
    pub lines: Lines,
}

/// The halo above and below a tensor that lies row-interleaved. Units are lines, those between included.
#[derive(Debug)]
pub(in crate::engine) struct Halo {
    /// How each is made of those between; none of these.
    pub lines: Vec<Option<Gather>>,
    pub between: Range<usize>,
    pub fill: VectorBlock,
}

impl InterleavedProduct {
    /// The vector blocks of the input that some units read.
    pub fn reads(&self, units: &Range<usize>) -> Range<usize> {
        let filter_blocks = self.product.entries().filter_blocks();
        let lines = units.start / filter_blocks..units.end.div_ceil(filter_blocks);
        self.product.reads(self.lines.positions(lines))
    }

    /// The first unit after this one that another thread may begin with: windows of several lines stay
    /// whole.
    pub fn next(&self, unit: usize) -> usize {
        let filter_blocks = self.product.entries().filter_blocks();
        if self.together == 1 {
            return unit + 1;
        }
        let (first, units) = (
            self.lines.before * filter_blocks,
            self.together * filter_blocks,
        );
        match unit.checked_sub(first) {
            None => first,
            Some(further) => first + (further / units + 1) * units,
        }
    }

    /// `reads`: what these units [read](Self::reads), then the residual.
    pub fn run(
        &self,
        kernels: Kernels,
        units: Range<usize>,
        reads: &[&[VectorBlock]],
        (write, blocks): (&mut [VectorBlock], usize),
    ) -> Result<(), EngineError> {
        let filter_blocks = self.product.entries().filter_blocks();
        let residual = reads.get(1).copied().unwrap_or(&[]);
        let skipped = self.reads(&units).start;
        let mut start = units.start;
        while start < units.end {
            // Whole lines together; at both ends maybe a part of one.
            let (line, filter_block) = (start / filter_blocks, start % filter_blocks);
            let left = units.end - start;
            let (lines, of) = match filter_block == 0 && left >= filter_blocks {
                true => (left / filter_blocks, 0..filter_blocks),
                false => (1, filter_block..filter_blocks.min(filter_block + left)),
            };
            let end = start + (lines - 1) * filter_blocks + of.len();
            let write = &mut write[(start - units.start) * blocks..(end - units.start) * blocks];
            self.product.run_part(
                kernels,
                (of, self.lines.positions(line..line + lines)),
                (reads[0], skipped),
                residual,
                (&mut *write, line * filter_blocks * blocks),
            )?;
            self.lines
                .end(kernels, line, write, filter_blocks * blocks)?;
            start = end;
        }
        Ok(())
    }
}

impl InterleavedPool {
    pub fn run(
        &self,
        kernels: Kernels,
        units: Range<usize>,
        read: &[VectorBlock],
        (write, blocks): (&mut [VectorBlock], usize),
    ) -> Result<(), EngineError> {
        let first = units.start;
        let part = (self.planes, self.lines.positions(units));
        let to = (&mut *write, first * blocks);
        self.windows.run_part(kernels, part, read, to)?;
        self.lines.end(kernels, first, write, blocks)
    }
}

impl Halo {
    /// Those between are given; or, where lines on both sides are written, lie among these.
    pub fn run(
        &self,
        kernels: Kernels,
        units: Range<usize>,
        read: Option<&[VectorBlock]>,
        (write, blocks): (&mut [VectorBlock], usize),
    ) -> Result<(), EngineError> {
        let [start, end] =
            [self.between.start, self.between.end].map(|line| line.clamp(units.start, units.end));
        let (before, rest) = write.split_at_mut((start - units.start) * blocks);
        let (between, after) = rest.split_at_mut((end - start) * blocks);
        let read = read.unwrap_or(between);
        for (first, write) in [(units.start, before), (end, after)] {
            for (line, write) in self.lines[first..]
                .iter()
                .zip(write.chunks_exact_mut(blocks))
            {
                if let Some(line) = line {
                    line.run(kernels, read, write, &self.fill)?;
                }
            }
        }
        Ok(())
    }
}

impl Lines {
    // The positions of some lines; those of the halo have none.
    fn positions(&self, lines: Range<usize>) -> Range<usize> {
        let row = |line: usize| line.saturating_sub(self.before).min(self.edges.len());
        row(lines.start) * self.columns..row(lines.end) * self.columns
    }

    /// Makes lines of so many vector blocks whole, but for the halo's, which others make.
    pub fn end(
        &self,
        kernels: Kernels,
        first: usize,
        lines: &mut [VectorBlock],
        blocks: usize,
    ) -> Result<(), EngineError> {
        for (line, write) in (first..).zip(lines.chunks_mut(blocks)) {
            let edges = line.checked_sub(self.before);
            if let Some(edges) = edges.and_then(|row| self.edges.get(row)) {
                edges.run(kernels, write)?;
            }
        }
        Ok(())
    }
}
