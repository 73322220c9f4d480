use burn_compress::engine::{Options, Program};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::network::{
    Arithmetic, Grid, Network, Op, Rescale, StepOp, Unary, Value, Weights,
};

use super::{assert_none_plain, assert_on_blocks};
use crate::noise::Noise;
use crate::runs::{images, isas, options};
use crate::tokens_support::Tokens;

const BATCHES: [usize; 4] = [1, 2, 16, 17];

fn grid(scale: f32, zero: i32) -> Grid {
    let scheme = Scheme::new(8, Mapping::Affine, Granularity::Tensor).unwrap();
    Grid::new(scheme, scale, zero).unwrap()
}

/// Steps whose results are codes.
struct Integers {
    net: Tokens,
    noise: Noise,
}

impl Integers {
    fn new(tokens: usize, channels: usize) -> (Self, Value) {
        let mut own = Self {
            net: Tokens::new(&[tokens, channels], 1),
            noise: Noise(7),
        };
        let first = own
            .net
            .step(StepOp::Quantize, &[Value::Input], &[tokens, channels]);
        own.ends(first, grid(0.01, 120));
        (own, first)
    }

    // The last step ends in a grid.
    fn ends(&mut self, _: Value, grid: Grid) {
        if let Some(step) = self.net.steps.last_mut() {
            step.grid = Some(grid);
        }
    }

    fn grid_of(&self, value: Value) -> Grid {
        match value {
            Value::Node(index) => self.net.steps[index].grid.unwrap(),
            _ => unreachable!(),
        }
    }

    fn linear(&mut self, input: Value, outputs: usize) -> Value {
        let mut dims = self.net.dims(input);
        let inputs = dims.pop().unwrap();
        dims.push(outputs);
        let noise = &mut self.noise;
        let codes = (0..inputs * outputs).map(|_| noise.within(-127, 127));
        let weights = Weights {
            dims: vec![inputs, outputs],
            codes: codes.collect(),
        };
        let multiplier = (0..outputs).map(|_| 0.002 + 1e-5 * noise.below(100) as f32);
        let rescale = Rescale {
            multiplier: multiplier.collect(),
            offset: Some((0..outputs).map(|_| noise.factor()).collect()),
            ..Rescale::default()
        };
        let op = StepOp::Product {
            op: Op::Linear,
            weights: Some(weights),
            rescale,
        };
        let made = self.net.step(op, &[input], &dims);
        self.ends(made, grid(0.05, 128));
        made
    }

    fn moved(&mut self, op: Op, input: Value, dims: &[usize]) -> Value {
        let grid = self.grid_of(input);
        let made = self.net.moved(op, input, dims);
        self.ends(made, grid);
        made
    }

    fn split(&mut self, input: Value, heads: usize) -> Value {
        let dims = self.net.dims(input);
        let [tokens, each] = [dims[0], dims[1] / heads];
        let split = self.moved(Op::Reshape, input, &[tokens, heads, each]);
        let axes = vec![0, 2, 1, 3];
        self.moved(Op::Permute { axes }, split, &[heads, tokens, each])
    }

    fn matrix(&mut self, a: Value, b: Value, by: f32, to: Grid) -> Value {
        let [left, right] = [a, b].map(|value| self.net.dims(value));
        let op = StepOp::Product {
            op: Op::MatMul,
            weights: None,
            rescale: Rescale::by(by),
        };
        let made = self.net.step(op, &[a, b], &[left[0], left[1], right[2]]);
        self.ends(made, to);
        made
    }

    fn float(&mut self, op: Op, inputs: &[Value], to: Grid) -> Value {
        let dims = self.net.dims(inputs[0]);
        let made = self.net.float(op, inputs, &dims);
        self.ends(made, to);
        made
    }

    // A block, with its float steps or without.
    fn block(&mut self, input: Value, heads: usize, floats: bool) -> Value {
        let dims = self.net.dims(input);
        let [tokens, channels] = [dims[0], dims[1]];
        let each = channels / heads;
        let [query, key, of] = [(); 3].map(|()| {
            let made = self.linear(input, channels);
            self.split(made, heads)
        });
        let axes = vec![0, 1, 3, 2];
        let key = self.moved(Op::Permute { axes }, key, &[heads, each, tokens]);
        let mut shares = self.matrix(query, key, 0.003, grid(0.04, 128));
        if floats {
            let softmax = Op::Softmax { axis: 3 };
            shares = self.float(softmax, &[shares], grid(1.0 / 255.0, 0));
        }
        let by = if floats { 0.004 } else { 0.0005 };
        let mixed = self.matrix(shares, of, by, grid(0.05, 128));
        let axes = vec![0, 2, 1, 3];
        let merged = self.moved(Op::Permute { axes }, mixed, &[tokens, heads, each]);
        let merged = self.moved(Op::Reshape, merged, &[tokens, channels]);
        let made = self.linear(merged, channels);
        let how = Arithmetic::Add {
            left: 0.4,
            right: 0.7,
        };
        let op = StepOp::Arithmetic {
            how,
            activation: None,
        };
        let mut sum = self.net.step(op, &[input, made], &dims);
        self.ends(sum, grid(0.06, 130));
        if floats {
            let gamma = self.net.constant(&[channels], 1.0, 0.3);
            let beta = self.net.constant(&[channels], 0.0, 0.3);
            let op = Op::LayerNorm { epsilon: 1e-5 };
            sum = self.float(op, &[sum, gamma, beta], grid(0.03, 128));
        }
        let hidden = self.linear(sum, 2 * channels);
        let of = self.grid_of(hidden);
        let table = (of.low()..=of.high())
            .map(|code| of.quantize(Unary::Gelu.value(of.dequantize(code))))
            .collect();
        let dims = self.net.dims(hidden);
        let hidden = self.net.step(StepOp::Table(table), &[hidden], &dims);
        self.ends(hidden, of);
        self.linear(hidden, channels)
    }

    fn finish(mut self, output: Value) -> Network {
        let dims = self.net.dims(output);
        let output = self.net.step(StepOp::Dequantize, &[output], &dims);
        self.net.finish(output)
    }
}

// Sums of products of two activations stay within 2^24: floats hold them.
#[test]
fn whole_numbers_are_exact() {
    for (tokens, channels, heads) in [(1, 8, 2), (5, 12, 3), (17, 16, 2), (50, 8, 1), (19, 6, 1)] {
        let (mut net, input) = Integers::new(tokens, channels);
        let output = net.block(input, heads, false);
        let model = net.finish(output);
        let what = format!("{tokens} tokens, {channels} channels, {heads} heads");
        assert_on_blocks(&model, &BATCHES, true, &what);
    }
}

// What follows reads floats, as a layer norm in floats does.
#[test]
fn a_residual_of_codes_is_added_to_floats() {
    for (tokens, channels) in [(1, 8), (19, 12), (21, 18)] {
        let (mut net, input) = Integers::new(tokens, channels);
        let hidden = net.linear(input, 2 * channels);
        let made = net.linear(hidden, channels);
        if let Some(step) = net.net.steps.last_mut()
            && let StepOp::Product { rescale, .. } = &mut step.op
        {
            rescale.residual = Some(0.01);
            step.inputs.push(input);
            step.grid = None;
        }
        let model = net.net.finish(made);
        let what = format!("{tokens} tokens, {channels} channels");
        assert_on_blocks(&model, &BATCHES, true, &what);
    }
}

// Codes next to each other where floats are next to a tie: few, and what follows from these.
#[test]
fn float_steps_are_quantized_at_once() {
    for (tokens, channels, heads) in [(5, 12, 3), (17, 16, 2), (23, 8, 2)] {
        let (mut net, input) = Integers::new(tokens, channels);
        let output = net.block(input, heads, true);
        let model = net.finish(output);
        let batch = 3;
        let input = images(&model, batch, 5);
        let (expected, _) = model.run(&input, batch).unwrap();
        for isa in isas() {
            for threads in [1, 2] {
                let options = Options {
                    threads: Some(threads),
                    ..options(isa, 1)
                };
                let program = Program::compile(&model, options).unwrap();
                assert_none_plain(&program, &BATCHES, "float steps");
                let found = program.run(&input, batch).unwrap();
                let apart = found.iter().zip(&expected);
                let apart: Vec<f32> = apart.map(|(a, b)| (a - b).abs() / 0.05).collect();
                let others = apart.iter().filter(|codes| **codes > 0.5).count();
                assert!(others * 50 <= apart.len(), "{others} of {}", apart.len());
                assert!(apart.iter().all(|codes| *codes < 3.5), "{apart:?}");
            }
        }
    }
}

// Of one step alone, at most the code beside it, where the quotient is within 1e-4 of a tie.
#[test]
fn a_float_step_is_off_at_ties_alone() {
    let steps = [Op::Softmax { axis: 2 }, Op::LayerNorm { epsilon: 1e-5 }];
    for op in steps {
        for channels in [4, 13, 48] {
            let (mut net, input) = Integers::new(21, channels);
            let gamma = net.net.constant(&[channels], 1.0, 0.3);
            let beta = net.net.constant(&[channels], 0.0, 0.3);
            let inputs = match op {
                Op::Softmax { .. } => vec![input],
                _ => vec![input, gamma, beta],
            };
            let (to, scale) = match op {
                Op::Softmax { .. } => (grid(1.0 / 1000.0, 0), 1.0 / 1000.0),
                _ => (grid(0.03, 128), 0.03),
            };
            let dims = [21, channels];
            let plain = net.net.float(op.clone(), &inputs, &dims);
            let made = net.float(op.clone(), &inputs, to);
            // The same in floats, not quantized, tells how near a tie is.
            let mut exact = Tokens::new(&dims, 1);
            exact.steps = net.net.steps.clone();
            exact.constants = net.net.constants.clone();
            let exact = exact.finish(plain);
            let model = net.finish(made);
            let input = images(&model, 2, 9);
            let (expected, _) = model.run(&input, 2).unwrap();
            let (values, _) = exact.run(&input, 2).unwrap();
            for isa in isas() {
                let program = Program::compile(&model, options(isa, 2)).unwrap();
                assert_none_plain(&program, &[1, 2], "one step");
                // It reads codes and makes codes itself.
                let rows = program.layers(1);
                let converts = rows.iter().any(|row| row.kernel == "convert");
                assert!(!converts, "{op:?}: {rows:?}");
                let found = program.run(&input, 2).unwrap();
                for ((found, expected), value) in found.iter().zip(&expected).zip(&values) {
                    let codes = ((found - expected) / scale).abs();
                    let tie = ((value / scale).fract().abs() - 0.5).abs();
                    let fits = codes < 0.01 || (codes < 1.01 && tie < 1e-3);
                    assert!(fits, "{op:?}: {found}, not {expected}; {value}");
                }
            }
        }
    }
}
