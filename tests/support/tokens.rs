//! Networks on tokens, `[N, T, C]`, step by step.

#![allow(dead_code, reason = "no binary uses all of it")]

use burn_compress::network::{Binary, Constant, Dim, Network, Op, Step, StepOp, Unary, Value};

use super::runs::spread;

/// A network in floats that grows step by step.
pub struct Tokens {
    input: Vec<Dim>,
    pub steps: Vec<Step>,
    pub constants: Vec<Constant>,
    salt: usize,
}

/// What a transformer block consists of.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    pub tokens: usize,
    pub channels: usize,
    pub heads: usize,
    pub hidden: usize,
    pub rms: bool,
    pub activation: Unary,
    /// Norms before a part, not behind it.
    pub first: bool,
}

pub fn per_sample(dims: &[usize]) -> Vec<Dim> {
    let fixed = dims.iter().map(|&length| Dim::Fixed(length));
    [Dim::Batch(1)].into_iter().chain(fixed).collect()
}

impl Tokens {
    pub fn new(dims: &[usize], salt: usize) -> Self {
        Self {
            input: per_sample(dims),
            steps: Vec::new(),
            constants: Vec::new(),
            salt,
        }
    }

    pub fn dims(&self, value: Value) -> Vec<usize> {
        let dims = match value {
            Value::Node(index) => &self.steps[index].dims,
            _ => &self.input,
        };
        dims[1..].iter().map(|dim| dim.at(1)).collect()
    }

    pub fn step(&mut self, op: StepOp, inputs: &[Value], dims: &[usize]) -> Value {
        let layer = format!("{}{}", op.name(), self.steps.len());
        self.steps.push(Step {
            op,
            inputs: inputs.to_vec(),
            grid: None,
            dims: per_sample(dims),
            layer,
        });
        Value::Node(self.steps.len() - 1)
    }

    pub fn float(&mut self, op: Op, inputs: &[Value], dims: &[usize]) -> Value {
        self.step(StepOp::Float(op), inputs, dims)
    }

    pub fn moved(&mut self, op: Op, input: Value, dims: &[usize]) -> Value {
        self.step(StepOp::Move(op), &[input], dims)
    }

    /// Numbers around another one.
    pub fn constant(&mut self, dims: &[usize], mean: f32, spread_by: f32) -> Value {
        let first = self.salt;
        let count: usize = dims.iter().product();
        self.salt += count;
        let values = (first..first + count).map(|at| mean + spread_by * (2.0 * spread(at) - 1.0));
        self.constants.push(Constant {
            values: values.collect(),
            dims: dims.to_vec(),
        });
        Value::Constant(self.constants.len() - 1)
    }

    /// With a bias.
    pub fn linear(&mut self, input: Value, outputs: usize) -> Value {
        let mut dims = self.dims(input);
        let inputs = dims.pop().unwrap_or(1);
        dims.push(outputs);
        let weights = self.constant(&[inputs, outputs], 0.0, (3.0 / inputs as f32).sqrt());
        let bias = self.constant(&[outputs], 0.0, 0.2);
        let linear = self.float(Op::Linear, &[input, weights], &dims);
        self.float(Op::Binary(Binary::Add), &[linear, bias], &dims)
    }

    pub fn unary(&mut self, input: Value, unary: Unary) -> Value {
        let dims = self.dims(input);
        self.float(Op::Unary(unary), &[input], &dims)
    }

    pub fn binary(&mut self, how: Binary, a: Value, b: Value) -> Value {
        let dims = self.dims(a);
        self.float(Op::Binary(how), &[a, b], &dims)
    }

    pub fn layer_norm(&mut self, input: Value) -> Value {
        let dims = self.dims(input);
        let channels = dims[dims.len() - 1];
        let gamma = self.constant(&[channels], 1.0, 0.3);
        let beta = self.constant(&[channels], 0.0, 0.3);
        let op = Op::LayerNorm { epsilon: 1e-5 };
        self.float(op, &[input, gamma, beta], &dims)
    }

    /// As Burn's module computes it: by the root of the mean square.
    pub fn rms_norm(&mut self, input: Value) -> Value {
        let dims = self.dims(input);
        let (rank, channels) = (dims.len(), dims[dims.len() - 1]);
        let one = [&dims[..rank - 1], &[1]].concat();
        let square = self.unary(input, Unary::Power(2.0));
        let mean = self.float(Op::Mean { axes: vec![rank] }, &[square], &one);
        let sum = self.unary(mean, Unary::AddScalar(1e-5));
        let root = self.unary(sum, Unary::Sqrt);
        let normal = self.binary(Binary::Divide, input, root);
        let gamma = self.constant(&[channels], 1.0, 0.3);
        self.binary(Binary::Multiply, normal, gamma)
    }

    pub fn norm(&mut self, input: Value, rms: bool) -> Value {
        match rms {
            true => self.rms_norm(input),
            false => self.layer_norm(input),
        }
    }

    pub fn softmax(&mut self, input: Value) -> Value {
        let dims = self.dims(input);
        let op = Op::Softmax { axis: dims.len() };
        self.float(op, &[input], &dims)
    }

    /// `[N, T, h d]` as `[N, h, T, d]`.
    pub fn split(&mut self, input: Value, heads: usize) -> Value {
        let dims = self.dims(input);
        let [tokens, each] = [dims[0], dims[1] / heads];
        let split = self.moved(Op::Reshape, input, &[tokens, heads, each]);
        let axes = vec![0, 2, 1, 3];
        self.moved(Op::Permute { axes }, split, &[heads, tokens, each])
    }

    /// The way back.
    pub fn merge(&mut self, input: Value) -> Value {
        let dims = self.dims(input);
        let [heads, tokens, each] = [dims[0], dims[1], dims[2]];
        let axes = vec![0, 2, 1, 3];
        let merged = self.moved(Op::Permute { axes }, input, &[tokens, heads, each]);
        self.moved(Op::Reshape, merged, &[tokens, heads * each])
    }

    pub fn attention(&mut self, input: Value, heads: usize) -> Value {
        let dims = self.dims(input);
        let [tokens, channels] = [dims[0], dims[1]];
        let each = channels / heads;
        let [query, key, of] = [(); 3].map(|()| {
            let made = self.linear(input, channels);
            self.split(made, heads)
        });
        let axes = vec![0, 1, 3, 2];
        let key = self.moved(Op::Permute { axes }, key, &[heads, each, tokens]);
        let scores = self.float(Op::MatMul, &[query, key], &[heads, tokens, tokens]);
        let scaled = self.unary(scores, Unary::MulScalar(1.0 / (each as f32).sqrt()));
        let shares = self.softmax(scaled);
        let mixed = self.float(Op::MatMul, &[shares, of], &[heads, tokens, each]);
        let merged = self.merge(mixed);
        self.linear(merged, channels)
    }

    pub fn block(&mut self, input: Value, block: Block) -> Value {
        let Block { first, rms, .. } = block;
        let normal = if first { self.norm(input, rms) } else { input };
        let attended = self.attention(normal, block.heads);
        let sum = self.binary(Binary::Add, input, attended);
        let sum = if first { sum } else { self.norm(sum, rms) };
        let normal = if first { self.norm(sum, rms) } else { sum };
        let hidden = self.linear(normal, block.hidden);
        let hidden = self.unary(hidden, block.activation);
        let made = self.linear(hidden, block.channels);
        let sum = self.binary(Binary::Add, sum, made);
        if first { sum } else { self.norm(sum, rms) }
    }

    pub fn finish(self, output: Value) -> Network {
        Network::new(self.input, self.constants, self.steps, output).unwrap()
    }
}

impl Block {
    /// The block alone.
    pub fn network(self, salt: usize) -> Network {
        let mut tokens = Tokens::new(&[self.tokens, self.channels], salt);
        let output = tokens.block(Value::Input, self);
        tokens.finish(output)
    }
}
