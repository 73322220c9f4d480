//! Sums over channels, as products with ones.

use super::Rewriting;
use crate::network::{Dim, Divide, Op, Over, Rescale, Step, StepOp, Value, Weights, Window};

impl Rewriting<'_> {
    /// A sum or a mean over channels, and maybe over all rows or columns too; none of another step.
    pub fn over_channels(&mut self, step: &Step) -> Option<Value> {
        let op = match (&step.op, step.grid) {
            (StepOp::Float(op), None) | (StepOp::Sum { op, .. }, _) => op,
            _ => return None,
        };
        let (Over::Axes(axes), divide) = op.sums()? else {
            return None;
        };
        let [first] = step.inputs[..] else {
            return None;
        };
        // Of tokens axis 1 is not that of channels.
        let dims = self.model.dims(first);
        if !self.axes.axes(first)?.is_images(&dims) {
            return None;
        }
        let from: Option<Vec<usize>> = (self.model.dims(first)[1..].iter())
            .map(|dim| match dim {
                Dim::Fixed(length) => Some(*length),
                Dim::Batch(_) => None,
            })
            .collect();
        let from = from?;
        let rank = from.len().checked_sub(1).filter(|rank| *rank <= 2)?;
        if !axes.contains(&1) || axes.contains(&0) {
            return None;
        }
        let mut window = Window::default();
        for axis in (2..from.len() + 1).filter(|axis| axes.contains(axis)) {
            // Rows and columns are the last two axes.
            window.kernel[axis + 1 - from.len()] = from[axis - 1];
        }
        let taps: Vec<usize> = window.kernel[2 - rank..].to_vec();
        let count = from[0] * taps.iter().product::<usize>();
        let (product, dims) = match rank {
            0 => (Op::Linear, vec![from[0], 1]),
            rank => {
                let groups = 1;
                let op = Op::Convolution {
                    rank,
                    window,
                    groups,
                };
                (op, [&[1, from[0]], &taps[..]].concat())
            }
        };
        let input = self.value(first);
        match &step.op {
            StepOp::Sum {
                divide: Divide::None,
                multiplier,
                activation,
                ..
            } => {
                let op = StepOp::Product {
                    op: product,
                    weights: Some(Weights {
                        dims,
                        codes: vec![1; count].into(),
                    }),
                    rescale: Rescale {
                        activation: *activation,
                        ..Rescale::by(*multiplier)
                    },
                };
                Some(self.push(op, vec![input], step.grid, step.dims.clone(), step))
            }
            StepOp::Float(_) => {
                let weight = match divide {
                    Divide::None => 1.0,
                    _ => 1.0 / count as f32,
                };
                let weights = self.constant(dims, vec![weight; count]);
                Some(self.in_floats(step, &product, vec![input, weights]))
            }
            _ => None,
        }
    }
}
