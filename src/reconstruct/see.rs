//! What the solver sees of a product, and what it should give.

use burn::tensor::{Tensor, s};

use super::channels::{Statistics, output_rows};
use super::layer::dims;
use super::moments::Moments;
use super::networks::{Network, times};
use super::run::{Product, Stage};
use super::{BoxError, Progress, ReconstructError};
use crate::graph::{AnyTensor, input_columns, input_squares};
use crate::network::Binary;

/// What a product sees and should give.
#[derive(Default)]
pub(super) struct Seen {
    /// The original's output without epilogue, the one wanted, and the result before its activation.
    pub own: Statistics,
    pub wanted: Statistics,
    pub result: Statistics,
    /// Of each channel in the epilogue.
    pub factors: Vec<f64>,
    pub moments: Moments,
}

/// A channel that its batch norm multiplies by less makes up for nothing.
const LEAST_FACTOR: f64 = 1e-6;

impl Seen {
    /// Whether all that it should give is a number.
    pub fn is_finite(&self) -> bool {
        let all = [&self.own, &self.wanted, &self.result];
        all.into_iter().all(Statistics::is_finite)
    }

    /// What an error in each channel counts, as a share of the result's variance.
    pub fn importance(&self) -> Vec<f64> {
        // An output that is always the same loses nothing.
        let share = match self.result.variance() {
            variance if variance > 0.0 => variance.recip(),
            _ => 0.0,
        };
        self.factors.iter().map(|a| a * a * share).collect()
    }
}

impl<F: FnMut(&Progress<'_>) -> Result<(), BoxError>> Stage<'_, F> {
    // What a product sees and should give.
    pub(super) fn see(
        &self,
        product: &Product,
        layer: usize,
        original: &Network<'_>,
        present: &Network<'_>,
    ) -> Result<Seen, ReconstructError> {
        let node = &self.graph.nodes()[product.node];
        let rows = &self.rows[layer];
        let name = &node.layer;
        let factors = original.factors(product.node, rows.layer.view.rows())?;
        let mut moments = Moments::new(dims(rows, product.groups));
        let (mut squares, mut places) = (Vec::<f64>::new(), 0.0);
        let mut seen = Seen {
            own: Statistics::default(),
            wanted: Statistics::default(),
            result: Statistics::default(),
            factors,
            moments: Moments::new([0, 0, 0]),
        };
        for batch in 0..original.batches() {
            let wanted = self.outputs(product, batch, original, present, &mut seen)?;
            let input = present.operand(batch, node.inputs[0]);
            match input_columns(&node.op, &input) {
                Some(inputs) => {
                    let wanted = output_rows(&node.op, product.groups, wanted);
                    let [_, columns, places] = inputs.dims();
                    let stride = Moments::stride(columns, places * original.batches());
                    let (inputs, wanted) = (every(inputs, stride), every(wanted, stride));
                    moments.add(name, inputs, wanted)?;
                }
                None => {
                    let found = AnyTensor::from(input_squares(&node.op, &input));
                    let found = found.read(name)?;
                    squares.resize(found.len(), 0.0);
                    for (sum, value) in squares.iter_mut().zip(found) {
                        *sum += f64::from(value);
                    }
                    let elements: usize = input.dims().iter().product();
                    places += (elements / squares.len().max(1)) as f64;
                }
            }
        }
        if !squares.is_empty() {
            let taps = rows.layer.view.taps().max(1);
            let squares: Vec<f64> = (squares.iter())
                .flat_map(|square| std::iter::repeat_n(*square, taps))
                .collect();
            moments = Moments::of_squares(
                dims(rows, product.groups),
                &squares,
                places,
                &self.before[layer],
            );
        }
        if !moments.is_finite() {
            return Err(self.not_finite(product.node));
        }
        seen.moments = moments;
        Ok(seen)
    }

    // The output wanted, without epilogue: the original's own, and what makes up for what the residual
    // lost.
    pub(super) fn outputs(
        &self,
        product: &Product,
        batch: usize,
        original: &Network<'_>,
        present: &Network<'_>,
        seen: &mut Seen,
    ) -> Result<AnyTensor, ReconstructError> {
        let node = &self.graph.nodes()[product.node];
        let name = &node.layer;
        let own = original.bare(batch, product.node);
        let axis = node.op.channel_axis(own.dims().len());
        let mut wanted = own.clone();
        let mut result = times(own.clone(), &seen.factors, axis);
        if let Some(add) = node.epilogue.add {
            let residual = original.operand(batch, add);
            result = result.binary(residual.clone(), Binary::Add);
            if !std::ptr::eq(original, present) {
                let lost = residual.binary(present.operand(batch, add), Binary::Subtract);
                let inverse: Vec<f64> = (seen.factors.iter())
                    .map(|a| {
                        if a.abs() > LEAST_FACTOR {
                            a.recip()
                        } else {
                            0.0
                        }
                    })
                    .collect();
                wanted = wanted.binary(times(lost, &inverse, axis), Binary::Add);
            }
        }
        seen.own.add(name, own, axis)?;
        seen.wanted.add(name, wanted.clone(), axis)?;
        seen.result.add(name, result, axis)?;
        Ok(wanted)
    }
}

// Every n-th place.
fn every(tensor: Tensor<3>, stride: usize) -> Tensor<3> {
    match stride {
        0 | 1 => tensor,
        _ => tensor.slice(s![.., .., ..;stride as isize]),
    }
}
