//! Arithmetic and functions of one number.

use burn_ir::{ActivationOperationIr, BinaryOpIr, FloatOperationIr, NumericOperationIr};
use burn_ir::{MatmulOpIr, PadModeIr, PadOpIr, ReduceDimOpIr, ScalarIr, TensorIr};

use super::Resolver;
use crate::graph::GraphError;
use crate::graph::node::Epilogue;
use crate::network::{Binary, Dim, Op, Unary, Value, Window};

impl Resolver<'_> {
    pub(super) fn numeric(&mut self, op: &NumericOperationIr) -> Result<bool, GraphError> {
        use NumericOperationIr as From;
        let number = |scalar: ScalarIr| scalar.elem::<f32>();
        match op {
            From::Add(op) => self.binary(Binary::Add, op)?,
            From::Sub(op) => self.binary(Binary::Subtract, op)?,
            From::Mul(op) => self.binary(Binary::Multiply, op)?,
            From::Div(op) => self.binary(Binary::Divide, op)?,
            From::AddScalar(op) => {
                self.unary(&op.lhs, &[Unary::AddScalar(number(op.rhs))], &op.out)?
            }
            From::SubScalar(op) => {
                self.unary(&op.lhs, &[Unary::AddScalar(-number(op.rhs))], &op.out)?
            }
            From::MulScalar(op) => {
                self.unary(&op.lhs, &[Unary::MulScalar(number(op.rhs))], &op.out)?
            }
            From::DivScalar(op) => {
                let inverse = 1.0 / op.rhs.elem::<f64>();
                self.unary(&op.lhs, &[Unary::MulScalar(inverse as f32)], &op.out)?
            }
            From::PowiScalar(op) => {
                self.unary(&op.lhs, &[Unary::Power(number(op.rhs))], &op.out)?
            }
            From::Sign(op) => self.unary(&op.input, &[Unary::Sign], &op.out)?,
            From::Neg(op) => self.unary(&op.input, &[Unary::MulScalar(-1.0)], &op.out)?,
            From::Abs(op) => self.unary(&op.input, &[Unary::Abs], &op.out)?,
            From::Clamp(op) => {
                let clamp = clamp(number(op.min), number(op.max));
                self.unary(&op.tensor, &[clamp], &op.out)?
            }
            From::ClampMin(op) => {
                let clamp = clamp(number(op.rhs), f32::INFINITY);
                self.unary(&op.lhs, &[clamp], &op.out)?
            }
            From::ClampMax(op) => {
                let clamp = clamp(f32::NEG_INFINITY, number(op.rhs));
                self.unary(&op.lhs, &[clamp], &op.out)?
            }
            From::MeanDim(op) if op.accumulator_len == 1 => {
                let axes = vec![op.axis];
                self.reduce(Op::Mean { axes }, &op.input, &op.out)?
            }
            From::SumDim(op) if op.accumulator_len == 1 => {
                let axes = vec![op.axis];
                self.reduce(Op::Sum { axes }, &op.input, &op.out)?
            }
            From::SumDims(op) => {
                let mut axes = op.axes.clone();
                axes.sort_unstable();
                axes.dedup();
                self.reduce(Op::Sum { axes }, &op.input, &op.out)?
            }
            From::Mean(op) => {
                let axes = (0..op.input.shape.as_slice().len()).collect();
                self.reduce(Op::Mean { axes }, &op.input, &op.out)?
            }
            From::Sum(op) => {
                let axes = (0..op.input.shape.as_slice().len()).collect();
                self.reduce(Op::Sum { axes }, &op.input, &op.out)?
            }
            From::MaxDim(op) if op.accumulator_len == 1 => return self.max(op),
            From::Pad(op) => return self.pad(op),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn float(&mut self, op: &FloatOperationIr) -> Result<bool, GraphError> {
        use FloatOperationIr as From;
        match op {
            From::Exp(op) => self.unary(&op.input, &[Unary::Exp], &op.out)?,
            From::Log(op) => self.unary(&op.input, &[Unary::Log], &op.out)?,
            From::Sqrt(op) => self.unary(&op.input, &[Unary::Sqrt], &op.out)?,
            From::Recip(op) => self.unary(&op.input, &[Unary::Reciprocal], &op.out)?,
            From::Log1p(op) => self.unary(&op.input, &[Unary::LogOnePlus], &op.out)?,
            From::Sin(op) => self.unary(&op.input, &[Unary::Sin], &op.out)?,
            From::Cos(op) => self.unary(&op.input, &[Unary::Cos], &op.out)?,
            From::Floor(op) => self.unary(&op.input, &[Unary::Floor], &op.out)?,
            From::Ceil(op) => self.unary(&op.input, &[Unary::Ceil], &op.out)?,
            From::Round(op) => self.unary(&op.input, &[Unary::Round], &op.out)?,
            From::Erf(op) => self.unary(&op.input, &[Unary::Erf], &op.out)?,
            From::Tanh(op) => self.unary(&op.input, &[Unary::Tanh], &op.out)?,
            From::PowfScalar(op) => self.unary(&op.lhs, &[Unary::Power(op.rhs.elem())], &op.out)?,
            From::Matmul(op) => self.matmul(op)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn activation(&mut self, op: &ActivationOperationIr) -> Result<bool, GraphError> {
        use ActivationOperationIr as From;
        match op {
            From::Relu(op) => self.unary(&op.input, &[Unary::Relu], &op.out)?,
            From::LeakyRelu(op) => {
                let slope = op.rhs.elem();
                self.unary(&op.lhs, &[Unary::LeakyRelu { slope }], &op.out)?
            }
            From::PRelu(op) => self.parametric_relu(op)?,
            From::Gelu(op) => self.unary(&op.input, &[Unary::Gelu], &op.out)?,
            From::Sigmoid(op) => self.unary(&op.input, &[Unary::Sigmoid], &op.out)?,
            From::LogSigmoid(op) => self.unary(&op.input, &[Unary::LogSigmoid], &op.out)?,
            From::HardSigmoid(op) => {
                let (alpha, beta) = (op.alpha.elem(), op.beta.elem());
                self.unary(&op.tensor, &[Unary::HardSigmoid { alpha, beta }], &op.out)?
            }
            From::Softmax(op) => {
                let value = self.value(&op.input)?;
                self.node(Op::Softmax { axis: op.axis }, vec![value], &op.out)?
            }
            From::Softmin(op) => {
                let negated = self.unary_value(&op.input, &[Unary::MulScalar(-1.0)])?;
                self.node(Op::Softmax { axis: op.axis }, vec![negated], &op.out)?
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// One function after the other.
    pub(super) fn unary(
        &mut self,
        input: &TensorIr,
        functions: &[Unary],
        out: &TensorIr,
    ) -> Result<(), GraphError> {
        let value = self.unary_value(input, functions)?;
        self.bind(out, value);
        Ok(())
    }

    pub(super) fn unary_value(
        &mut self,
        input: &TensorIr,
        functions: &[Unary],
    ) -> Result<Value, GraphError> {
        let mut value = self.value(input)?;
        for function in functions {
            let dims = self.dims(input);
            let op = Op::Unary(*function);
            value = self.push(op, vec![value], Epilogue::default(), dims)?;
        }
        Ok(value)
    }

    fn binary(&mut self, f: Binary, op: &BinaryOpIr) -> Result<(), GraphError> {
        let out = self.dims(&op.out);
        // A number on one side, where it is the other side that has the dimensions.
        let number = |tensor: Option<super::ConstantValue>| tensor.and_then(|held| held.single());
        let (left, right) = (number(self.held(&op.lhs)?), number(self.held(&op.rhs)?));
        if let (Some(number), true) = (right, self.dims(&op.lhs) == out) {
            let function = match f {
                Binary::Add => Unary::AddScalar(number as f32),
                Binary::Subtract => Unary::AddScalar(-number as f32),
                Binary::Multiply => Unary::MulScalar(number as f32),
                Binary::Divide => Unary::MulScalar((1.0 / number) as f32),
            };
            return self.unary(&op.lhs, &[function], &op.out);
        }
        if let (Some(number), true) = (left, self.dims(&op.rhs) == out) {
            let number = number as f32;
            let functions: &[_] = match f {
                Binary::Add => &[Unary::AddScalar(number)],
                Binary::Subtract => &[Unary::MulScalar(-1.0), Unary::AddScalar(number)],
                Binary::Multiply => &[Unary::MulScalar(number)],
                Binary::Divide => &[Unary::Reciprocal, Unary::MulScalar(number)],
            };
            return self.unary(&op.rhs, functions, &op.out);
        }
        if f == Binary::Multiply && op.lhs.id == op.rhs.id {
            return self.unary(&op.lhs, &[Unary::Power(2.0)], &op.out);
        }
        let inputs = vec![self.broadcast(&op.lhs)?, self.broadcast(&op.rhs)?];
        self.node(Op::Binary(f), inputs, &op.out)
    }

    // `max(x, 0) - alpha max(-x, 0)`.
    fn parametric_relu(&mut self, op: &BinaryOpIr) -> Result<(), GraphError> {
        let positive = self.unary_value(&op.lhs, &[Unary::Relu])?;
        let negative = self.unary_value(&op.lhs, &[Unary::MulScalar(-1.0), Unary::Relu])?;
        let alpha = self.broadcast(&op.rhs)?;
        let dims = self.dims(&op.out);
        let multiply = Op::Binary(Binary::Multiply);
        let scaled = self.push(multiply, vec![negative, alpha], Epilogue::default(), dims)?;
        self.node(
            Op::Binary(Binary::Subtract),
            vec![positive, scaled],
            &op.out,
        )
    }

    fn matmul(&mut self, op: &MatmulOpIr) -> Result<(), GraphError> {
        let left = self.value(&op.lhs)?;
        let right = self.value(&op.rhs)?;
        let weight = match self.of_parameters.contains_key(&left) {
            true => None,
            false => self.matrix(right),
        };
        match weight {
            Some(weight) => self.node(Op::Linear, vec![left, weight], &op.out),
            None => self.node(Op::MatMul, vec![left, right], &op.out),
        }
    }

    /// The matrix of parameters that this is, perhaps under leading axes that only repeat it. A parameter
    /// of a module whose axes were swapped is that parameter, read transposed.
    pub(super) fn matrix(&mut self, value: Value) -> Option<Value> {
        match self.source(value)? {
            (source, false) => Some(source),
            (Value::Parameter(index), true) => Some(self.transposed(index)),
            // Computed from parameters: as it stands.
            _ => (self.graph.dims(value).len() == 2).then_some(value),
        }
    }

    // What a matrix of parameters is made of, and whether its axes are swapped.
    fn source(&self, value: Value) -> Option<(Value, bool)> {
        if !self.of_parameters.contains_key(&value) {
            return None;
        }
        let dims = self.graph.dims(value);
        let leading = dims.len().checked_sub(2)?;
        let whole = (leading == 0).then_some((value, false));
        let Value::Node(index) = value else {
            return whole;
        };
        let node = &self.graph.nodes[index];
        let input = node.inputs[0];
        let from = self.graph.dims(input);
        let keeps = match &node.op {
            Op::Permute { axes } => {
                let swaps = axes[..leading].iter().copied().eq(0..leading)
                    && axes[leading..] == [leading + 1, leading];
                return match swaps {
                    true => self
                        .source(input)
                        .map(|(source, swapped)| (source, !swapped)),
                    false => whole,
                };
            }
            Op::Reshape => dims[..leading].iter().all(|dim| *dim == Dim::Fixed(1)),
            Op::Expand => true,
            _ => false,
        };
        match keeps && from.len() >= 2 && from.ends_with(&dims[leading..]) {
            true => self.source(input),
            false => whole,
        }
    }

    fn transposed(&mut self, index: usize) -> Value {
        let mut parameter = self.graph.parameters[index].clone();
        parameter.transposed = !parameter.transposed;
        let known = self.graph.parameters.iter().position(|p| *p == parameter);
        let value = Value::Parameter(known.unwrap_or_else(|| {
            self.graph.parameters.push(parameter);
            self.graph.parameters.len() - 1
        }));
        if let Some(layer) = self.of_parameters.get(&Value::Parameter(index)) {
            self.of_parameters.insert(value, layer.clone());
        }
        value
    }

    fn reduce(&mut self, op: Op, input: &TensorIr, out: &TensorIr) -> Result<(), GraphError> {
        let value = self.value(input)?;
        let (Op::Mean { axes } | Op::Sum { axes }) = &op else {
            return Ok(());
        };
        let mut dims = self.dims(input);
        for axis in axes {
            dims[*axis] = Dim::Fixed(1);
        }
        let reduced = self.push(op, vec![value], Epilogue::default(), dims.clone())?;
        if dims == self.dims(out) {
            self.bind(out, reduced);
            return Ok(());
        }
        // Over all axes, which go.
        self.node(Op::Reshape, vec![reduced], out)
    }

    // Over a spatial axis: a pooling whose window is the axis.
    fn max(&mut self, op: &ReduceDimOpIr) -> Result<bool, GraphError> {
        let dims = self.dims(&op.input);
        let rank = match (dims.len(), op.axis) {
            (3, 2) => 1,
            (4, 2 | 3) => 2,
            _ => return Ok(false),
        };
        let Dim::Fixed(length) = dims[op.axis] else {
            return Ok(false);
        };
        let kernel = match op.axis == dims.len() - 1 {
            true => [1, length],
            false => [length, 1],
        };
        let window = Window {
            kernel,
            stride: kernel,
            ..Window::default()
        };
        let value = self.value(&op.input)?;
        let pool = Op::MaxPool {
            rank,
            window,
            ceil: false,
        };
        self.node(pool, vec![value], &op.out)?;
        Ok(true)
    }

    fn pad(&mut self, op: &PadOpIr) -> Result<bool, GraphError> {
        let PadModeIr::Constant(value) = op.mode else {
            return Ok(false);
        };
        let input = self.value(&op.input)?;
        if op.padding.iter().all(|pair| *pair == (0, 0)) {
            self.bind(&op.out, input);
            return Ok(true);
        }
        let pad = Op::Pad {
            padding: op.padding.clone(),
            value: value.elem(),
        };
        self.node(pad, vec![input], &op.out)?;
        Ok(true)
    }
}

// Every number but NaN is at least minus infinity.
fn clamp(min: f32, max: f32) -> Unary {
    match min == 0.0 && max == f32::INFINITY {
        true => Unary::Relu,
        false => Unary::Clamp { min, max },
    }
}
