//! Steps on each element, row by row.

use std::ops::Range;

use crate::engine::EngineError;
use crate::kernel::{Elementwise, Gather, Kernels, VectorBlock};

/// Rows of planes: where the first begins in each operand and in the output, and how far apart they and
/// planes are.
#[derive(Debug)]
pub(in crate::engine) struct Rows {
    pub rows: usize,
    pub columns: usize,
    pub planes: Vec<usize>,
    pub firsts: Vec<usize>,
    pub pitches: Vec<usize>,
    /// Makes the one vector block of a plane of the second operand that stands for all places.
    pub one: Option<Gather>,
}

impl Rows {
    pub fn run(
        &self,
        kernels: Kernels,
        step: &Elementwise,
        units: Range<usize>,
        reads: &[&[VectorBlock]],
        write: &mut [VectorBlock],
    ) -> Result<(), EngineError> {
        let last = self.planes.len() - 1;
        for (place, plane) in units.enumerate() {
            let mut one = [VectorBlock::default()];
            if let Some(gather) = &self.one {
                let from = &reads[1][plane * self.planes[1]..];
                gather.run(kernels, from, &mut one, &VectorBlock::default())?;
            }
            for row in 0..self.rows {
                let start = |of: usize, plane: usize| {
                    plane * self.planes[of] + self.firsts[of] + row * self.pitches[of]
                };
                let mut operands: [&[VectorBlock]; 2] = [&[]; 2];
                for (index, operand) in operands.iter_mut().take(last).enumerate() {
                    *operand = match index == 1 && self.one.is_some() {
                        true => &one,
                        false => &reads[index][start(index, plane)..][..self.columns],
                    };
                }
                let to = &mut write[start(last, place)..][..self.columns];
                step.run(kernels, &operands[..last], to)?;
            }
        }
        Ok(())
    }
}
