//! Networks, step by step.

use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::network::{
    Constant, Dim, Grid, Network, Op, Rescale, Step, StepOp, Value, Weights, Window,
};

use crate::noise::{Noise, per_image};

/// A network with an input of these dimensions, so far.
pub struct Builder {
    pub noise: Noise,
    input: Vec<Dim>,
    constants: Vec<Constant>,
    steps: Vec<Step>,
}

impl Builder {
    pub fn new(seed: u64, input: &[usize]) -> Self {
        Self {
            noise: Noise(seed),
            input: per_image(input),
            constants: Vec::new(),
            steps: Vec::new(),
        }
    }

    pub fn step(
        &mut self,
        op: StepOp,
        inputs: &[Value],
        grid: Option<Grid>,
        dims: &[usize],
    ) -> Value {
        let step = Step {
            layer: format!("{}{}", op.name(), self.steps.len()),
            op,
            inputs: inputs.to_vec(),
            grid,
            dims: per_image(dims),
        };
        self.steps.push(step);
        Value::Node(self.steps.len() - 1)
    }

    pub fn float(&mut self, op: Op, inputs: &[Value], dims: &[usize]) -> Value {
        self.step(StepOp::Float(op), inputs, None, dims)
    }

    pub fn constant(&mut self, dims: &[usize], values: Vec<f32>) -> Value {
        let dims = dims.to_vec();
        self.constants.push(Constant { dims, values });
        Value::Constant(self.constants.len() - 1)
    }

    /// Numbers from a half to one and a half, or within a half of zero.
    pub fn numbers(&mut self, dims: &[usize], positive: bool) -> Value {
        let middle = if positive { 1.0 } else { 0.0 };
        let mut number = || self.noise.within(-5_000, 5_000) as f32 / 10_007.0 + middle;
        let values = (0..dims.iter().product()).map(|_| number()).collect();
        self.constant(dims, values)
    }

    /// The input as codes of eight bits.
    pub fn codes(&mut self, dims: &[usize]) -> Value {
        let grid = grid(8, 1.0 / 120.0, 120);
        self.step(StepOp::Quantize, &[Value::Input], Some(grid), dims)
    }

    /// Weights of bytes, of which some are zero.
    pub fn weights(&mut self, dims: &[usize]) -> Weights {
        let mut weight = || match self.noise.below(5) {
            0 | 1 => 0,
            2 => self.noise.pick(&[127, -127, 1]),
            _ => self.noise.within(-127, 127),
        };
        Weights {
            codes: (0..dims.iter().product()).map(|_| weight()).collect(),
            dims: dims.to_vec(),
        }
    }

    /// Factors by channel that leave sums of so many products within a byte, mostly.
    pub fn rescale(&mut self, channels: usize, products: usize) -> Rescale {
        let each = 0.02 / (products as f32).sqrt();
        let mut near = || self.noise.within(500, 1_500) as f32 / 1_009.0;
        Rescale {
            multiplier: (0..channels).map(|_| each * near()).collect(),
            offset: Some((0..channels).map(|_| 8.0 * near() - 8.0).collect()),
            ..Rescale::by(1.0)
        }
    }

    pub fn build(self, output: Value) -> Network {
        Network::new(self.input, self.constants, self.steps, output).unwrap()
    }
}

pub fn grid(bits: u32, scale: f32, zero: i32) -> Grid {
    let scheme = Scheme::new(bits, Mapping::Affine, Granularity::Tensor).unwrap();
    Grid::new(scheme, scale, zero).unwrap()
}

/// Three by three, and as much padding as keeps the size.
pub fn three() -> Window {
    Window {
        kernel: [3, 3],
        padding: [(1, 1); 2],
        ..Window::default()
    }
}
