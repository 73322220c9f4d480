//! The integer reference, held to loops over output positions that are written differently.

mod bad;
mod elements;
mod file;
mod moves;
mod products;

use burn_compress::format::Requantize;
use burn_compress::network::{Activation, Elements, Grid, Network, Rescale, Step, StepOp};
use burn_compress::network::{Constant, Op, Value};
use proptest::prelude::*;

use super::noise::{Noise, per_image};

/// A tensor to compare with.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    pub dims: Vec<usize>,
    pub codes: Vec<i32>,
}

impl Codes {
    pub fn place(&self, index: &[usize]) -> usize {
        assert_eq!(index.len(), self.dims.len());
        let step = |at: usize, (i, length): (&usize, &usize)| {
            assert!(i < length);
            at * length + i
        };
        index.iter().zip(&self.dims).fold(0, step)
    }

    pub fn at(&self, index: &[usize]) -> i32 {
        self.codes[self.place(index)]
    }

    /// Zero outside, as padding is.
    pub fn padded(&self, image: usize, channel: usize, at: [i64; 2]) -> Option<i32> {
        let index = [image, channel, at[0] as usize, at[1] as usize];
        let size = [self.dims[2] as i64, self.dims[3] as i64];
        let inside = (0..2).all(|axis| (0..size[axis]).contains(&at[axis]));
        inside.then(|| self.at(&index))
    }

    /// The element of a broadcast operand at an index of the result.
    pub fn broadcast(&self, index: &[usize]) -> usize {
        let own = &index[index.len() - self.dims.len()..];
        let own = own.iter().zip(&self.dims);
        let own: Vec<usize> = own
            .map(|(&i, &length)| if length == 1 { 0 } else { i })
            .collect();
        self.place(&own)
    }
}

/// All indices, the last axis fastest.
pub fn indices(dims: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &length in dims {
        let longer = |index: &Vec<usize>| {
            let index = index.clone();
            (0..length).map(move |i| [&index[..], &[i]].concat())
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

// The nearest whole number, the even one of two; written without the rounding of the library.
fn nearest(value: f32) -> f64 {
    let value = f64::from(value);
    let below = value.floor();
    match value - below {
        fraction if fraction < 0.5 => below,
        fraction if fraction > 0.5 => below + 1.0,
        _ if (below / 2.0).fract() == 0.0 => below,
        _ => below + 1.0,
    }
}

pub fn requantized(t: f32, grid: &Grid) -> i32 {
    let (low, high) = grid.scheme().code_range();
    let code = nearest(t) + f64::from(grid.zero_point());
    code.max(low.into()).min(high.into()) as i32 - grid.zero_point()
}

/// What bounds `t`, then the code or the float.
pub fn finished(t: Vec<f32>, activation: Option<Activation>, grid: Option<Grid>) -> Elements {
    let bounded = t.into_iter().map(|t| match activation {
        None => t,
        Some(Activation::Relu) if t > 0.0 => t,
        Some(Activation::Relu) => 0.0,
        Some(Activation::Clamp { min, .. }) if t < min => min,
        Some(Activation::Clamp { max, .. }) if t > max => max,
        Some(_) => t,
    });
    match grid {
        Some(grid) => Elements::Codes(bounded.map(|t| requantized(t, &grid)).collect()),
        None => Elements::Values(bounded.collect()),
    }
}

/// `sum * multiplier + offset + code * residual`, step by step.
pub fn rescaled(rescale: &Rescale, sum: i64, channel: usize, residual: i32) -> f32 {
    let of = |factors: &Vec<f32>| factors[channel % factors.len()];
    let product = i32::try_from(sum).unwrap() as f32 * of(&rescale.multiplier);
    let with_offset = match &rescale.offset {
        Some(offset) => product + of(offset),
        None => product,
    };
    match rescale.residual {
        Some(factor) => with_offset + (residual as f32 * factor),
        None => with_offset,
    }
}

/// A model of one operation on tensors of codes, which are parts of the input.
pub struct Trial {
    pub batch: usize,
    pub operands: Vec<Codes>,
    model: Network,
    input: Vec<f32>,
}

/// `shapes` are those of the operands without the images, `dims` that of the result.
pub fn trial(
    noise: &mut Noise,
    op: StepOp,
    shapes: &[(&[usize], Grid)],
    constants: Vec<Constant>,
    dims: &[usize],
    grid: Option<Grid>,
) -> Trial {
    let batch = 1 + noise.below(3);
    let sizes: Vec<usize> = shapes
        .iter()
        .map(|(dims, _)| dims.iter().product())
        .collect();
    let total = sizes.iter().sum();
    let mut input = vec![0.0; batch * total];
    let mut steps = Vec::new();
    let mut step = |op, inputs, grid, dims| {
        let layer = format!("layer{}", steps.len());
        steps.push(Step {
            op,
            inputs,
            grid,
            dims,
            layer,
        });
        Value::Node(steps.len() - 1)
    };
    let (mut operands, mut inputs, mut first) = (Vec::new(), Vec::new(), 0);
    for ((shape, grid), size) in shapes.iter().zip(&sizes) {
        let codes = noise.codes(grid, batch * size);
        for (image, codes) in codes.chunks(*size).enumerate() {
            for (i, &code) in codes.iter().enumerate() {
                input[image * total + first + i] = grid.dequantize(code);
            }
        }
        let ranges = vec![(0, None, 1), (first, Some(first + size), 1)];
        let part = step(
            StepOp::Move(Op::Slice { ranges }),
            vec![Value::Input],
            None,
            per_image(&[*size]),
        );
        let part = step(
            StepOp::Move(Op::Reshape),
            vec![part],
            None,
            per_image(shape),
        );
        inputs.push(step(
            StepOp::Quantize,
            vec![part],
            Some(*grid),
            per_image(shape),
        ));
        operands.push(Codes {
            dims: [&[batch], *shape].concat(),
            codes,
        });
        first += size;
    }
    inputs.extend((0..constants.len()).map(Value::Constant));
    let output = step(op, inputs, grid, per_image(dims));
    let model = Network::new(per_image(&[total]), constants, steps, output).unwrap();
    Trial {
        batch,
        operands,
        model,
        input,
    }
}

impl Trial {
    /// Holds the result to the expected one: traced and run, on any number of threads, from memory and
    /// from a file.
    pub fn check(&self, expected: &Elements, noise: &mut Noise) -> Result<(), TestCaseError> {
        let traced = self.model.trace(&self.input, self.batch).unwrap();
        let last = traced.last().unwrap();
        prop_assert_eq!(&last.elements, expected);
        let threads = noise.below(5);
        let (output, seen) = self
            .model
            .run_with(&self.input, self.batch, threads)
            .unwrap();
        prop_assert_eq!(&output, &last.values());
        prop_assert_eq!(seen.inexact_sums.len(), self.model.steps().len());
        let restored = Network::from_bytes(&self.model.to_bytes().unwrap()).unwrap();
        prop_assert_eq!(&restored, &self.model);
        let text = serde_json::to_string(&self.model).unwrap();
        prop_assert_eq!(
            &serde_json::from_str::<Network>(&text).unwrap(),
            &self.model
        );
        Ok(())
    }
}

proptest! {
    #[test]
    fn requantizing_is_the_schemes_rounding(seed: u64, bits in 2u32..=16, t in -1e5f32..1e5) {
        let grid = Noise(seed).grid(bits);
        let (scheme, zero) = (grid.scheme(), grid.zero_point());
        let requantize = Requantize::new(scheme, zero).unwrap();
        for t in [t, t.round() + 0.5, (t / 100.0).floor() - 0.5, t * 1e30, f32::INFINITY, -f32::INFINITY] {
            prop_assert_eq!(requantize.centred(t) + zero, scheme.quantize(t, 1.0, zero));
            prop_assert_eq!(requantize.centred(t), requantized(t, &grid));
            let value = t * grid.scale();
            prop_assert_eq!(grid.quantize(value) + zero, scheme.quantize(value, grid.scale(), zero));
        }
        prop_assert_eq!(requantize.centred(f32::NAN), 0);
        for code in [grid.low(), 0, grid.high()] {
            prop_assert_eq!(grid.quantize(grid.dequantize(code)), code);
        }
    }
}
