//! Outputs by channel.

use burn::tensor::Tensor;

use super::moments::ROUNDING;
use crate::graph::{AnyTensor, GraphError};
use crate::network::Op;

/// Sums over the places of each output channel.
#[derive(Debug, Clone, Default)]
pub(super) struct Statistics {
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Statistics {
    /// Adds a batch, whose channels lie on this axis.
    pub fn add(&mut self, layer: &str, tensor: AnyTensor, axis: usize) -> Result<(), GraphError> {
        let dims = tensor.dims();
        let channels = dims[axis];
        let outer: usize = dims[..axis].iter().product();
        let inner: usize = dims[axis + 1..].iter().product();
        let rows: Tensor<3> = tensor.reshape(&[outer, channels, inner]).rank();
        let sums = |rows: Tensor<3>| AnyTensor::from(rows.sum_dim(2)).read(layer);
        self.sums.resize(channels, 0.0);
        self.squares.resize(channels, 0.0);
        for (totals, values) in [
            (&mut self.sums, sums(rows.clone())?),
            (&mut self.squares, sums(rows.powi_scalar(2))?),
        ] {
            for row in values.chunks(channels.max(1)) {
                for (total, value) in totals.iter_mut().zip(row) {
                    *total += f64::from(*value);
                }
            }
        }
        self.count += (outer * inner) as f64;
        Ok(())
    }

    /// Whether all sums are numbers.
    pub fn is_finite(&self) -> bool {
        (self.sums.iter().chain(&self.squares)).all(|sum| sum.is_finite())
    }

    /// Mean and variance of a channel; none of one that rounding alone moves.
    pub fn of(&self, channel: usize) -> (f64, f64) {
        let count = self.count.max(1.0);
        let mean = self.sums[channel] / count;
        let variance = self.squares[channel] / count - mean * mean;
        match variance > ROUNDING * mean * mean {
            true => (mean, variance),
            false => (mean, 0.0),
        }
    }

    /// The variance of all channels together.
    pub fn variance(&self) -> f64 {
        (0..self.sums.len()).map(|channel| self.of(channel).1).sum()
    }
}

/// A product's result as `[groups, channels of a group, samples and places]`, in the order of the inputs
/// of its filters.
pub(super) fn output_rows(op: &Op, groups: usize, output: AnyTensor) -> Tensor<3> {
    let dims = output.dims();
    if *op == Op::Linear {
        let channels = dims.last().copied().unwrap_or(1);
        let places = dims.iter().product::<usize>() / channels.max(1);
        let rows: Tensor<3> = output.reshape(&[1, places, channels]).rank();
        return rows.swap_dims(1, 2);
    }
    let (samples, channels) = (dims[0], dims[1]);
    let places: usize = dims[2..].iter().product();
    let of_group = channels / groups;
    let rows: Tensor<4> = output.reshape(&[samples, groups, of_group, places]).rank();
    rows.permute([1, 2, 0, 3])
        .reshape([groups, of_group, samples * places])
}
