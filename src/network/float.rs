//! The operations that a model keeps in float.

use std::borrow::Cow;

use crate::network::Op;

use super::elementwise::over_axes;
use super::movement::expand;
use super::product::product as products;
use super::sink::{Operand, Sink};
use super::window::{Windows, pool, size};
use super::{Divide, Over};

/// Puts the result of an operation into the sink.
pub(super) fn apply(
    sink: &mut Sink,
    op: &Op,
    operands: &[Operand],
    dims: &[usize],
) -> Result<(), String> {
    let values = operands.iter().map(Operand::values);
    let values: Vec<Cow<[f32]>> = values.collect::<Result<_, _>>()?;
    let shape = |index: usize| operands.get(index).map_or(&[][..], |o| &o.dims[..]);
    let mut row = |row: &[f32]| row.iter().for_each(|&x| sink.push_value(x));
    match (op, &values[..]) {
        (op, [left, right]) if op.is_product() => {
            let (left, right) = ((&left[..], shape(0)), (&right[..], shape(1)));
            products(op, left, right, dims, |_, sums| row(sums))
        }
        (Op::BatchNorm { epsilon }, [input, gamma, beta, mean, variance]) => {
            let inner: usize = dims[2..].iter().product();
            for (index, &x) in input.iter().enumerate() {
                let c = index / inner % dims[1];
                let normal = (x - mean[c]) / (variance[c] + epsilon).sqrt();
                row(&[normal * gamma[c] + beta[c]]);
            }
            Ok(())
        }
        (Op::LayerNorm { epsilon }, [input, gamma, beta]) => {
            for part in input.chunks_exact(gamma.len()) {
                let spread = Spread::of(part, *epsilon);
                let affine = part.iter().zip(gamma.iter().zip(beta.iter()));
                affine.for_each(|(&x, (&gamma, &beta))| row(&[spread.affine(x, gamma, beta)]));
            }
            Ok(())
        }
        (Op::GroupNorm { groups, epsilon }, [input, gamma, beta]) => {
            let inner: usize = dims[2..].iter().product();
            let channels = dims[1] / groups;
            for (group, part) in input.chunks_exact(channels * inner).enumerate() {
                let first = group % groups * channels;
                let spread = Spread::of(part, *epsilon);
                for (index, &x) in part.iter().enumerate() {
                    let c = first + index / inner;
                    row(&[spread.affine(x, gamma[c], beta[c])]);
                }
            }
            Ok(())
        }
        (Op::Unary(unary), [input]) => {
            input.iter().for_each(|&x| row(&[unary.value(x)]));
            Ok(())
        }
        (Op::Binary(binary), [left, right]) => {
            let left = expand(left, shape(0), dims)?;
            let right = expand(right, shape(1), dims)?;
            let pairs = left.iter().zip(right.iter());
            pairs.for_each(|(&a, &b)| row(&[binary.value(a, b)]));
            Ok(())
        }
        (Op::Softmax { axis }, [input]) => {
            softmax(input, dims, *axis)?.iter().for_each(|&x| row(&[x]));
            Ok(())
        }
        (Op::UpsampleBilinear { align_corners }, [input]) => {
            bilinear(input, size(shape(0)), size(dims), *align_corners, row);
            Ok(())
        }
        (Op::Float(op), values) => {
            let operands: Vec<(&[f32], &[usize])> = values
                .iter()
                .enumerate()
                .map(|(index, values)| (&values[..], shape(index)))
                .collect();
            row(&op.compute(&operands, dims)?);
            Ok(())
        }
        (op, values) => match (op.sums(), values) {
            (Some(sums), [input]) => summed(sums, (input, shape(0)), dims, row),
            _ => Err(format!("{} is not computed in float", op.name())),
        },
    }
}

fn summed(
    (over, divide): (Over, Divide),
    (input, from): (&[f32], &[usize]),
    dims: &[usize],
    mut row: impl FnMut(&[f32]),
) -> Result<(), String> {
    let mut divided = |sum: f64, count: usize| row(&[(sum / count as f64) as f32]);
    let Some(windows) = Windows::of(over) else {
        let sums: Vec<f64> = over_axes(input, from, dims)?;
        let count = match divide {
            Divide::None => 1,
            _ => input.len() / sums.len(),
        };
        sums.iter().for_each(|&sum| divided(sum, count));
        return Ok(());
    };
    pool(windows, input, size(from), size(dims), |seen| {
        let sum = seen.values().map(f64::from).sum();
        divided(sum, seen.divisor(divide));
    });
    Ok(())
}

// Sums are of double precision, and a result is rounded once: in single precision those of thousands of
// numbers lose what tells the numbers apart.

/// What a norm takes from elements, and divides them by.
struct Spread {
    mean: f64,
    deviation: f64,
}

impl Spread {
    fn of(part: &[f32], epsilon: f32) -> Self {
        let values = || part.iter().map(|&x| f64::from(x));
        let count = part.len() as f64;
        let mean = values().sum::<f64>() / count;
        let squares = values().map(|x| (x - mean) * (x - mean));
        let variance = squares.sum::<f64>() / count;
        Self {
            mean,
            deviation: (variance + f64::from(epsilon)).sqrt(),
        }
    }

    fn affine(&self, x: f32, gamma: f32, beta: f32) -> f32 {
        let normal = (f64::from(x) - self.mean) / self.deviation;
        (normal * f64::from(gamma) + f64::from(beta)) as f32
    }
}

fn softmax(input: &[f32], dims: &[usize], axis: usize) -> Result<Vec<f32>, String> {
    let (length, inner): (usize, usize) = (dims[axis], dims[axis + 1..].iter().product());
    let mut result = super::sink::filled(input.len(), 0.0)?;
    let mut powers: Vec<f64> = super::sink::reserve(length)?;
    for outer in 0..input.len() / (length * inner) {
        for i in 0..inner {
            let at = |k: usize| (outer * length + k) * inner + i;
            let value = |k: usize| f64::from(input[at(k)]);
            let greatest = (0..length).map(value).fold(f64::NEG_INFINITY, f64::max);
            powers.clear();
            powers.extend((0..length).map(|k| (value(k) - greatest).exp()));
            let sum: f64 = powers.iter().sum();
            (0..length).for_each(|k| result[at(k)] = (powers[k] / sum) as f32);
        }
    }
    Ok(result)
}

// Places in double precision and the terms in the order of Burn's own.
fn bilinear(
    input: &[f32],
    from: [usize; 2],
    to: [usize; 2],
    align_corners: bool,
    mut row: impl FnMut(&[f32]),
) {
    // The neighbours of a place and the weight of the second.
    let place = |axis: usize, i: usize| {
        let (length, places) = (from[axis] as f64, to[axis]);
        let at = match align_corners {
            true => i as f64 * ((length - 1.0) / places.saturating_sub(1).max(1) as f64),
            false => (i as f64 + 0.5) * (length / places as f64) - 0.5,
        };
        let low = (at.floor().max(0.0) as usize).min(from[axis] - 1);
        let high = (low + 1).min(from[axis] - 1);
        (low, high, (at - low as f64).max(0.0) as f32)
    };
    for plane in input.chunks_exact(from[0] * from[1]) {
        let at = |y: usize, x: usize| plane[y * from[1] + x];
        for y in 0..to[0] {
            let (low_y, high_y, v) = place(0, y);
            for x in 0..to[1] {
                let (low_x, high_x, u) = place(1, x);
                row(&[at(low_y, low_x) * (1.0 - u) * (1.0 - v)
                    + at(low_y, high_x) * u * (1.0 - v)
                    + at(high_y, low_x) * (1.0 - u) * v
                    + at(high_y, high_x) * u * v]);
            }
        }
    }
}
