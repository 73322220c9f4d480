//! Mean and variance of each channel, put back to the original's.

use super::channels::Statistics;
use super::networks::Network;
use super::run::{Product, Stage, uses};
use super::see::Seen;
use super::{BoxError, Progress, ReconstructError};
use crate::compress::Rows;
use crate::format::Granularity;
use crate::network::Value;

impl<F: FnMut(&Progress<'_>) -> Result<(), BoxError>> Stage<'_, F> {
    // The parameter that can take up a constant in each channel of a product's result, and the factor of
    // its batch norm.
    fn shift_of(&self, product: &Product) -> (Option<usize>, Option<usize>) {
        let epilogue = self.graph.nodes()[product.node].epilogue;
        let own = |value: Value| match value {
            Value::Parameter(index) => {
                let path = &self.graph.parameters()[index].path;
                let selected = self.rows.iter().any(|rows| rows.layer.path == *path);
                (uses(self.graph, value) == 1 && !selected).then_some(index)
            }
            _ => None,
        };
        match (epilogue.norm, epilogue.bias) {
            (Some(norm), _) => match (own(norm.beta), own(norm.gamma)) {
                (Some(beta), Some(gamma)) => (Some(beta), Some(gamma)),
                _ => (None, None),
            },
            (None, Some(bias)) => (own(bias), None),
            _ => (None, None),
        }
    }

    pub(super) fn is_centred(&self, product: &Product) -> bool {
        self.what.statistics && self.shift_of(product).0.is_some()
    }

    // Mean and variance of each channel, folded into batch norm, bias and weights.
    pub(super) fn put_back(
        &mut self,
        product: &Product,
        seen: &Seen,
        present: &mut Network<'_>,
    ) -> Result<(), ReconstructError> {
        let node = &self.graph.nodes()[product.node];
        let mut found = Statistics::default();
        for batch in 0..present.batches() {
            let output = present.bare(batch, product.node);
            let axis = node.op.channel_axis(output.dims().len());
            found.add(&node.layer, output, axis)?;
        }
        let (shift, gamma) = self.shift_of(product);
        let layer = product.layer.filter(|_| product.alone);
        let scheme = layer.and_then(|layer| self.rows[layer].scheme);
        let by_row = scheme.is_none_or(|scheme| scheme.granularity() != Granularity::Tensor);
        let scales_rows = gamma.is_none() && layer.is_some() && by_row;
        // For each channel, the factor and the term of the output without epilogue.
        let corrections = (0..seen.factors.len()).map(|channel| {
            let (mean, variance) = found.of(channel);
            let (_, wanted) = seen.own.of(channel);
            let factor = match gamma.is_some() || scales_rows {
                true => factor(variance, wanted),
                false => 1.0,
            };
            (factor, seen.wanted.of(channel).0 - factor * mean)
        });
        let corrections: Vec<(f64, f64)> = corrections.collect();
        if let (Some(beta), Some(gamma), Some(norm)) = (shift, gamma, node.epilogue.norm) {
            let mean = present.values(norm.mean)?;
            let bias = match node.epilogue.bias {
                Some(bias) => present.values(bias)?,
                None => vec![0.0; mean.len()],
            };
            let (mut gammas, mut betas) = (present.values(norm.gamma)?, present.values(norm.beta)?);
            for (channel, (factor, term)) in corrections.iter().enumerate() {
                // `a (f y + t) + c` in place of `a y + c`.
                let a = seen.factors[channel];
                let around = f64::from(bias[channel]) - f64::from(mean[channel]);
                let beta = f64::from(betas[channel]) + a * around * (1.0 - factor) + a * term;
                betas[channel] = beta as f32;
                gammas[channel] = (f64::from(gammas[channel]) * factor) as f32;
            }
            self.change(beta, betas, present);
            self.change(gamma, gammas, present);
            return Ok(());
        }
        if let (Some(layer), true) = (layer, scales_rows) {
            let rows = &mut self.rows[layer];
            scale_rows(rows, corrections.iter().map(|(factor, _)| *factor));
            present.put_rows(product.parameter, rows);
        }
        if let (Some(bias), None) = (shift, gamma) {
            let values = self.graph.nodes()[product.node].epilogue.bias;
            let mut values = match values {
                Some(value) => present.values(value)?,
                None => return Ok(()),
            };
            for (value, (_, term)) in values.iter_mut().zip(&corrections) {
                *value = (f64::from(*value) + term) as f32;
            }
            self.change(bias, values, present);
        }
        Ok(())
    }

    fn change(&mut self, parameter: usize, values: Vec<f32>, present: &mut Network<'_>) {
        present.put(parameter, &values);
        self.changed.insert(parameter, values);
    }
}

// What turns one variance into another; one where either is none.
fn factor(found: f64, wanted: f64) -> f64 {
    let factor = (wanted / found).sqrt();
    match factor.is_normal() && found > wanted * 1e-4 {
        true => factor,
        false => 1.0,
    }
}

// Multiplies each row, and its scales.
fn scale_rows(rows: &mut Rows, factors: impl Iterator<Item = f64>) {
    let columns = rows.layer.view.columns().max(1);
    let each = rows.values.len() / columns;
    for (row, factor) in factors.enumerate() {
        let factor = factor as f32;
        if let Some((scales, _)) = &mut rows.ranges {
            let of_row = scales.len() / each.max(1);
            let scales = &mut scales[row * of_row..][..of_row];
            let old: Vec<f32> = scales.to_vec();
            if scales.iter().any(|scale| !(scale * factor).is_normal()) {
                continue;
            }
            scales.iter_mut().for_each(|scale| *scale *= factor);
            let length = columns / of_row.max(1);
            let values = rows.values[row * columns..][..columns].chunks_mut(length);
            for ((values, old), new) in values.zip(old).zip(scales.iter()) {
                for value in values {
                    *value = (*value / old).round() * new;
                }
            }
            continue;
        }
        for value in &mut rows.values[row * columns..][..columns] {
            *value *= factor;
        }
    }
}
