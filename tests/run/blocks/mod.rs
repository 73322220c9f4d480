//! Operations of networks for images, by hand: programs hold them on vector blocks, and give what the reference
//! does, in floats and in whole numbers.

mod conversions;
mod depthwise;
mod moves;
mod networks;
mod pools;
mod resampling;
mod transposed;

use burn_compress::engine::{Program, TuningCache};
use burn_compress::network::{Constant, Dim, Grid, Network, Op, Step, StepOp, Value};

use super::noise::{Noise, per_image};
use super::runs::{images, isas, options};

/// Floats, or codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Floats,
    Codes,
}

pub const KINDS: [Kind; 2] = [Kind::Floats, Kind::Codes];

/// A network that is made step by step.
#[derive(Clone)]
pub struct Making {
    input: Vec<usize>,
    pub kind: Kind,
    pub noise: Noise,
    steps: Vec<Step>,
    constants: Vec<Constant>,
}

impl Making {
    /// A network of a sample of these dimensions.
    pub fn new(kind: Kind, seed: u64, input: &[usize]) -> Self {
        Self {
            input: input.to_vec(),
            kind,
            noise: Noise(seed),
            steps: Vec::new(),
            constants: Vec::new(),
        }
    }

    /// The input, in floats or as codes.
    pub fn input(&mut self) -> Value {
        match self.kind {
            Kind::Floats => Value::Input,
            Kind::Codes => {
                // Of 256 codes the range is about that of the numbers.
                let grid = self.noise.grid(8);
                let dims = self.input.clone();
                self.step(
                    StepOp::Quantize,
                    vec![Value::Input],
                    Some(fine(grid)),
                    &dims,
                )
            }
        }
    }

    pub fn step(
        &mut self,
        op: StepOp,
        inputs: Vec<Value>,
        grid: Option<Grid>,
        dims: &[usize],
    ) -> Value {
        self.steps.push(Step {
            layer: format!("{}{}", op.name(), self.steps.len()),
            op,
            inputs,
            grid,
            dims: per_image(dims),
        });
        Value::Node(self.steps.len() - 1)
    }

    /// A step in floats.
    pub fn float(&mut self, op: Op, inputs: Vec<Value>, dims: &[usize]) -> Value {
        self.step(StepOp::Float(op), inputs, None, dims)
    }

    /// A movement, whose result has its operand's grid.
    pub fn moved(&mut self, op: Op, inputs: Vec<Value>, dims: &[usize]) -> Value {
        let grid = self.grid(inputs[0]);
        self.step(StepOp::Move(op), inputs, grid, dims)
    }

    pub fn constant(&mut self, dims: &[usize], values: Vec<f32>) -> Value {
        self.constants.push(Constant {
            dims: dims.to_vec(),
            values,
        });
        Value::Constant(self.constants.len() - 1)
    }

    /// The constant in other dimensions, step by step.
    pub fn steps_on_constants(&mut self, value: Value, all: &[&[usize]]) -> Value {
        all.iter().fold(value, |value, dims| {
            self.steps.push(Step {
                layer: "constant".to_string(),
                op: StepOp::Move(Op::Reshape),
                inputs: vec![value],
                grid: None,
                dims: dims.iter().map(|&length| Dim::Fixed(length)).collect(),
            });
            Value::Node(self.steps.len() - 1)
        })
    }

    pub fn grid(&self, value: Value) -> Option<Grid> {
        match value {
            Value::Node(index) => self.steps[index].grid,
            _ => None,
        }
    }

    pub fn dims(&self, value: Value) -> Vec<usize> {
        match value {
            Value::Node(index) => {
                let dims = self.steps[index].dims[1..].iter();
                dims.map(|dim| dim.at(1)).collect()
            }
            _ => self.input.clone(),
        }
    }

    /// Each element alone: what is made is no movement any longer.
    pub fn touched(&mut self, value: Value) -> Value {
        let dims = self.dims(value);
        match self.grid(value) {
            None => {
                let op = Op::Unary(burn_compress::network::Unary::MulScalar(0.75));
                self.float(op, vec![value], &dims)
            }
            Some(grid) => {
                let table = (grid.low()..=grid.high()).rev().collect();
                self.step(StepOp::Table(table), vec![value], Some(grid), &dims)
            }
        }
    }

    pub fn end(mut self, value: Value) -> Network {
        let output = match self.grid(value) {
            None => value,
            Some(_) => {
                let dims = self.dims(value);
                self.step(StepOp::Dequantize, vec![value], None, &dims)
            }
        };
        let input = per_image(&self.input);
        Network::new(input, self.constants, self.steps, output).unwrap()
    }
}

/// The grid with codes for numbers between -1 and 1.
pub fn fine(grid: Grid) -> Grid {
    Grid::new(*grid.scheme(), 0.009, grid.zero_point()).unwrap()
}

/// Weights within a byte.
pub fn codes(noise: &mut Noise, count: usize) -> Vec<i32> {
    let mut weight = || match noise.below(4) {
        0 => 0,
        _ => noise.within(-127, 127),
    };
    (0..count).map(|_| weight()).collect()
}

/// Weights between -1 and 1.
pub fn floats(noise: &mut Noise, count: usize) -> Vec<f32> {
    let weights = codes(noise, count).into_iter();
    weights.map(|code| code as f32 / 128.0).collect()
}

/// Names of the rows that run plainly.
pub fn plain(program: &Program, batch: usize) -> Vec<String> {
    let rows = program.layers(batch).iter().map(|row| row.kernel.clone());
    rows.filter(|kernel| kernel.starts_with("plain")).collect()
}

/// Holds programs of all instruction sets and numbers of threads to the reference, within a share of the greatest
/// number; nothing runs plainly.
#[track_caller]
pub fn check(model: &Network, within: f32, what: &str) {
    check_batches(model, &[1, 2, 5, 16, 17], within, what);
}

#[track_caller]
pub fn check_batches(model: &Network, batches: &[usize], within: f32, what: &str) {
    let isas: Vec<_> = isas().collect();
    let mut programs = Vec::new();
    for (&isa, threads) in isas.iter().zip([2, 1, 2, 1, 2, 1]) {
        programs.push(Program::compile(model, options(isa, threads)).unwrap());
    }
    // Both numbers of threads on the first set, and samples by fours where they go together.
    programs.push(Program::compile(model, options(isas[0], 1)).unwrap());
    let cache = by_fours(&programs[0]);
    programs.push(Program::compile_with(model, options(isas[0], 2), &cache).unwrap());
    for &batch in batches {
        let input = images(model, batch, 17);
        let (expected, _) = model.run(&input, batch).unwrap();
        for program in &programs {
            let what = format!(
                "{what}, {} on {} threads at batch {batch}",
                program.isa().name(),
                program.threads()
            );
            assert_eq!(plain(program, batch), Vec::<String>::new(), "{what}");
            let found = program.run(&input, batch).unwrap();
            close(&found, &expected, within, &what);
        }
    }
}

#[track_caller]
pub fn close(found: &[f32], expected: &[f32], within: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= within * largest,
            "{what}: {a}, not {b} at {index} of {}; the largest is {largest}",
            found.len()
        );
    }
}

fn by_fours(program: &Program) -> TuningCache {
    let mut choices = serde_json::to_value(program.tuning_cache()).unwrap();
    for together in choices["many"].as_array_mut().into_iter().flatten() {
        together["samples"] = 4.into();
        together["kernels"] = serde_json::json!([]);
    }
    serde_json::from_value(choices).unwrap()
}
