//! Operations whose output lies line by line: threads share out its lines.

use std::ops::Range;

use crate::engine::EngineError;
use crate::kernel::{Cell, Edges, Gather, Kernels, Product, Windows};

/// A product whose output lies line by line. Units are the planes of a quad in a line, those of the halo
/// included.
#[derive(Debug)]
pub(in crate::engine) struct ProductByLine {
    pub product: Product,
    pub lines: Lines,
    /// Lines whose positions are made together.
    pub together: usize,
}

/// The lines of a tensor that lies line by line.
#[derive(Debug)]
pub(in crate::engine) struct Lines {
    /// Those of the halo that come first.
    pub before: usize,
    /// Positions of a line.
    pub columns: usize,
    /// What makes each line whole that is no halo.
    pub edges: Vec<Edges>,
}

/// A pooling whose output lies line by line. Units are lines, those of the halo included.
#[derive(Debug)]
pub(in crate::engine) struct PoolByLine {
    pub windows: Windows,
    pub planes: usize,
    pub lines: Lines,
}

/// The halo above and below a tensor that lies line by line. Units are lines, those between included.
#[derive(Debug)]
pub(in crate::engine) struct Halo {
    /// How each is made of those between; none of these.
    pub lines: Vec<Option<Gather>>,
    pub between: Range<usize>,
    pub fill: Cell,
}

impl ProductByLine {
    /// The cells of the input that some units read.
    pub fn reads(&self, units: &Range<usize>) -> Range<usize> {
        let quads = self.product.records().quads();
        let lines = units.start / quads..units.end.div_ceil(quads);
        self.product.reads(self.lines.positions(lines))
    }

    /// The first unit after this one that another thread may begin with: windows of several lines stay
    /// whole.
    pub fn next(&self, unit: usize) -> usize {
        let quads = self.product.records().quads();
        if self.together == 1 {
            return unit + 1;
        }
        let (first, units) = (self.lines.before * quads, self.together * quads);
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
        reads: &[&[Cell]],
        (write, cells): (&mut [Cell], usize),
    ) -> Result<(), EngineError> {
        let quads = self.product.records().quads();
        let residual = reads.get(1).copied().unwrap_or(&[]);
        let skipped = self.reads(&units).start;
        let mut start = units.start;
        while start < units.end {
            // Whole lines together; at both ends maybe a part of one.
            let (line, quad) = (start / quads, start % quads);
            let left = units.end - start;
            let (lines, of) = match quad == 0 && left >= quads {
                true => (left / quads, 0..quads),
                false => (1, quad..quads.min(quad + left)),
            };
            let end = start + (lines - 1) * quads + of.len();
            let write = &mut write[(start - units.start) * cells..(end - units.start) * cells];
            self.product.run_part(
                kernels,
                (of, self.lines.positions(line..line + lines)),
                (reads[0], skipped),
                residual,
                (&mut *write, line * quads * cells),
            )?;
            self.lines.end(kernels, line, write, quads * cells)?;
            start = end;
        }
        Ok(())
    }
}

impl PoolByLine {
    pub fn run(
        &self,
        kernels: Kernels,
        units: Range<usize>,
        read: &[Cell],
        (write, cells): (&mut [Cell], usize),
    ) -> Result<(), EngineError> {
        let first = units.start;
        let part = (self.planes, self.lines.positions(units));
        let to = (&mut *write, first * cells);
        self.windows.run_part(kernels, part, read, to)?;
        self.lines.end(kernels, first, write, cells)
    }
}

impl Halo {
    /// Those between are given; or, where lines on both sides are written, lie among these.
    pub fn run(
        &self,
        kernels: Kernels,
        units: Range<usize>,
        read: Option<&[Cell]>,
        (write, cells): (&mut [Cell], usize),
    ) -> Result<(), EngineError> {
        let [start, end] =
            [self.between.start, self.between.end].map(|line| line.clamp(units.start, units.end));
        let (before, rest) = write.split_at_mut((start - units.start) * cells);
        let (between, after) = rest.split_at_mut((end - start) * cells);
        let read = read.unwrap_or(between);
        for (first, write) in [(units.start, before), (end, after)] {
            for (line, write) in self.lines[first..]
                .iter()
                .zip(write.chunks_exact_mut(cells))
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

    /// Makes lines of so many cells whole, but for the halo's, which others make.
    pub fn end(
        &self,
        kernels: Kernels,
        first: usize,
        lines: &mut [Cell],
        cells: usize,
    ) -> Result<(), EngineError> {
        for (line, write) in (first..).zip(lines.chunks_mut(cells)) {
            let edges = line.checked_sub(self.before);
            if let Some(edges) = edges.and_then(|row| self.edges.get(row)) {
                edges.run(kernels, write)?;
            }
        }
        Ok(())
    }
}
