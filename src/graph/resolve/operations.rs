use burn_ir::{
    ActivationOperationIr as Activation, BaseOperationIr as Base, FloatOperationIr as Float,
    InterpolateModeIr, ModuleOperationIr as Module, NumericOperationIr as Numeric, OperationIr,
    PadModeIr, TensorIr,
};

use super::super::{Binary, Constant, Dim, GraphError, Op, Unary, Value, Window};
use super::Resolver;
use super::scalars::float;

/// What an operation is called in errors.
pub(super) fn name(operation: &OperationIr) -> String {
    let text = format!("{operation:?}");
    // `Module(Conv2d(Conv2dOpIr { …`: the inner of the two names.
    let head = text.split(['{', ' ']).next().unwrap_or_default();
    let names: Vec<&str> = head
        .split('(')
        .filter(|name| !name.ends_with("Ir"))
        .collect();
    names.last().map_or(head, |name| name).to_string()
}

/// Adds what an operation, recorded for two and for three images, means.
pub(super) fn lower(
    resolver: &mut Resolver<'_>,
    a: &OperationIr,
    b: &OperationIr,
) -> Result<(), GraphError> {
    let one = |mut tensors: Vec<TensorIr>| match tensors.len() {
        0 => None,
        _ => Some(tensors.swap_remove(0)),
    };
    let out_a = one(a.outputs().cloned().collect());
    let out_b = one(b.outputs().cloned().collect());
    let (Some(out_a), Some(out_b)) = (out_a, out_b) else {
        return Err(resolver.unsupported(name(a)));
    };
    let ins: Vec<(TensorIr, TensorIr)> = a.inputs().cloned().zip(b.inputs().cloned()).collect();
    let out = (&out_a, &out_b);
    let mut step = Step {
        resolver,
        a,
        b,
        ins,
        out,
    };
    match a {
        OperationIr::BaseFloat(base) => step.base(base),
        OperationIr::NumericFloat(_, numeric) => step.numeric(numeric),
        OperationIr::Float(_, op) => step.float(op),
        OperationIr::Module(op) => step.module(op),
        OperationIr::Activation(op) => step.activation(op),
        _ => Err(step.unknown()),
    }
}

struct Step<'s, 'r> {
    resolver: &'s mut Resolver<'r>,
    a: &'s OperationIr,
    b: &'s OperationIr,
    ins: Vec<(TensorIr, TensorIr)>,
    out: (&'s TensorIr, &'s TensorIr),
}

impl Step<'_, '_> {
    fn unknown(&self) -> GraphError {
        self.resolver.unsupported(name(self.a))
    }

    fn operand(&mut self, index: usize) -> Result<Value, GraphError> {
        match self.ins.get(index).cloned() {
            Some((a, b)) => self.resolver.operand(&a, &b),
            None => Err(self.unknown()),
        }
    }

    // Parameters first: they name the layer.
    fn operands(&mut self, count: usize) -> Result<Vec<Value>, GraphError> {
        (0..count).map(|index| self.operand(index)).collect()
    }

    fn push(&mut self, op: Op, count: usize) -> Result<(), GraphError> {
        let inputs = self.operands(count)?;
        self.resolver.push(op, inputs, None, self.out)
    }

    fn unary(&mut self, unary: Unary) -> Result<(), GraphError> {
        self.push(Op::Unary(unary), 1)
    }

    fn same(&mut self) -> Result<(), GraphError> {
        let value = self.operand(0)?;
        self.resolver.values.insert(self.out.0.id, value);
        Ok(())
    }

    fn dims_of(&self, index: usize) -> Result<Vec<Dim>, GraphError> {
        let (a, b) = &self.ins[index];
        self.resolver.dims(a, b)
    }

    fn base(&mut self, op: &Base) -> Result<(), GraphError> {
        match op {
            Base::Reshape(_) => self.push(Op::Reshape, 1),
            Base::Expand(_) => self.push(Op::Expand, 1),
            Base::SwapDims(op) => {
                let mut axes: Vec<usize> = (0..op.input.shape.as_slice().len()).collect();
                axes.swap(op.dim1, op.dim2);
                self.push(Op::Permute { axes }, 1)
            }
            Base::Permute(op) => {
                let axes = op.axes.clone();
                self.push(Op::Permute { axes }, 1)
            }
            Base::Slice(op) => {
                let OperationIr::BaseFloat(Base::Slice(other)) = self.b else {
                    return Err(self.unknown());
                };
                let mut ranges = Vec::new();
                for (axis, dim) in self.dims_of(0)?.into_iter().enumerate() {
                    let range = |ranges: &[burn::tensor::Slice], length: usize| {
                        let Some(slice) = ranges.get(axis) else {
                            return (0, length, 1);
                        };
                        let at = |place: isize| match place < 0 {
                            true => place + length as isize,
                            false => place,
                        };
                        let end = slice.end.map_or(length as isize, at).min(length as isize);
                        (at(slice.start) as usize, end.max(0) as usize, slice.step)
                    };
                    let (start, end, step) = range(&op.ranges, dim.at(2));
                    let three = range(&other.ranges, dim.at(3));
                    if step <= 0 {
                        return Err(self.resolver.unsupported("a slice with a negative step"));
                    }
                    let end = match dim {
                        Dim::Batch(_) if end == dim.at(2) && three.1 == dim.at(3) => None,
                        _ if end == three.1 => Some(end),
                        _ => return Err(self.resolver.varies("the end of a slice".to_string())),
                    };
                    if start != three.0 {
                        return Err(self.resolver.varies("the start of a slice".to_string()));
                    }
                    ranges.push((start, end, step as usize));
                }
                self.push(Op::Slice { ranges }, 1)
            }
            Base::Cat(op) => {
                let (axis, count) = (op.dim, op.tensors.len());
                self.push(Op::Concatenate { axis }, count)
            }
            Base::RepeatDim(op) => {
                let length = op.tensor.shape.as_slice().get(op.dim).copied().unwrap_or(1);
                match length {
                    1 => self.push(Op::Expand, 1),
                    _ => {
                        let (axis, times) = (op.dim, op.times);
                        let value = self.operand(0)?;
                        let inputs = vec![value; times];
                        let op = Op::Concatenate { axis };
                        self.resolver.push(op, inputs, None, self.out)
                    }
                }
            }
            Base::Cast(op) if op.input.dtype == op.out.dtype => self.same(),
            Base::Zeros(_) => self.filled(0.0),
            Base::Ones(_) => self.filled(1.0),
            _ => Err(self.unknown()),
        }
    }

    // A constant of one value, of any batch: one element that repeats.
    fn filled(&mut self, value: f32) -> Result<(), GraphError> {
        let dims = self.resolver.dims(self.out.0, self.out.1)?;
        let one = Constant {
            dims: vec![1; dims.len()],
            values: vec![value],
        };
        let constant = self.resolver.add_constant(self.out.0.id, one);
        self.resolver
            .push(Op::Expand, vec![constant], None, self.out)
    }

    fn numeric(&mut self, op: &Numeric) -> Result<(), GraphError> {
        match op {
            Numeric::Add(_) => self.push(Op::Binary(Binary::Add), 2),
            Numeric::Sub(_) => self.push(Op::Binary(Binary::Subtract), 2),
            Numeric::Mul(_) => self.push(Op::Binary(Binary::Multiply), 2),
            Numeric::Div(_) => self.push(Op::Binary(Binary::Divide), 2),
            Numeric::AddScalar(op) => self.unary(Unary::AddScalar(float(&op.rhs))),
            Numeric::SubScalar(op) => self.unary(Unary::AddScalar(-float(&op.rhs))),
            Numeric::MulScalar(op) => self.unary(Unary::MulScalar(float(&op.rhs))),
            Numeric::DivScalar(op) => self.unary(Unary::MulScalar(1.0 / float(&op.rhs))),
            Numeric::Neg(_) => self.unary(Unary::MulScalar(-1.0)),
            Numeric::Abs(_) => self.unary(Unary::Abs),
            Numeric::PowiScalar(op) => self.unary(Unary::Power(float(&op.rhs))),
            Numeric::Clamp(op) => self.unary(Unary::Clamp {
                min: float(&op.min),
                max: float(&op.max),
            }),
            Numeric::ClampMin(op) if float(&op.rhs) == 0.0 => self.unary(Unary::Relu),
            Numeric::ClampMin(op) => self.unary(Unary::Clamp {
                min: float(&op.rhs),
                max: f32::INFINITY,
            }),
            Numeric::ClampMax(op) => self.unary(Unary::Clamp {
                min: f32::NEG_INFINITY,
                max: float(&op.rhs),
            }),
            Numeric::MeanDim(op) => {
                let axes = vec![op.axis];
                self.push(Op::Mean { axes }, 1)
            }
            Numeric::SumDim(op) => {
                let axes = vec![op.axis];
                self.push(Op::Sum { axes }, 1)
            }
            Numeric::SumDims(op) => {
                let mut axes = op.axes.clone();
                axes.sort_unstable();
                self.push(Op::Sum { axes }, 1)
            }
            Numeric::Full(op) => {
                let value = float(&op.value);
                self.filled(value)
            }
            Numeric::Pad(op) => match &op.mode {
                PadModeIr::Constant(value) => {
                    let (padding, value) = (op.padding.clone(), float(value));
                    self.push(Op::Pad { padding, value }, 1)
                }
                _ => Err(self.resolver.unsupported("padding by reflection or edge")),
            },
            _ => Err(self.unknown()),
        }
    }

    fn float(&mut self, op: &Float) -> Result<(), GraphError> {
        match op {
            Float::Exp(_) => self.unary(Unary::Exp),
            Float::Log(_) => self.unary(Unary::Log),
            Float::Sqrt(_) => self.unary(Unary::Sqrt),
            Float::Erf(_) => self.unary(Unary::Erf),
            Float::Tanh(_) => self.unary(Unary::Tanh),
            Float::Recip(_) => self.unary(Unary::Reciprocal),
            Float::PowfScalar(op) => self.unary(Unary::Power(float(&op.rhs))),
            Float::Matmul(_) => {
                let weight = self.operand(1)?;
                let is_weight =
                    matches!(weight, Value::Parameter(_)) && self.dims_of(1)?.len() == 2;
                let op = match is_weight {
                    true => Op::Linear,
                    false => Op::MatMul,
                };
                self.push(op, 2)
            }
            _ => Err(self.unknown()),
        }
    }

    fn activation(&mut self, op: &Activation) -> Result<(), GraphError> {
        match op {
            Activation::Relu(_) => self.unary(Unary::Relu),
            Activation::LeakyRelu(op) => self.unary(Unary::LeakyRelu {
                slope: float(&op.rhs),
            }),
            Activation::Gelu(_) => self.unary(Unary::Gelu),
            Activation::Sigmoid(_) => self.unary(Unary::Sigmoid),
            Activation::HardSigmoid(op) => self.unary(Unary::HardSigmoid {
                alpha: float(&op.alpha),
                beta: float(&op.beta),
            }),
            Activation::Softmax(op) => {
                let axis = op.axis;
                self.push(Op::Softmax { axis }, 1)
            }
            _ => Err(self.unknown()),
        }
    }

    // A product with weights, whose bias is its third operand.
    fn product(&mut self, op: Op, has_bias: bool) -> Result<(), GraphError> {
        let weight = self.operand(1)?;
        let input = self.operand(0)?;
        let bias = match has_bias {
            true => Some(self.operand(2)?),
            false => None,
        };
        self.resolver.push(op, vec![input, weight], bias, self.out)
    }

    fn module(&mut self, op: &Module) -> Result<(), GraphError> {
        let one = |kernel, stride, padding, dilation| Window {
            kernel: [1, kernel],
            stride: [1, stride],
            padding: [(0, 0), padding],
            dilation: [1, dilation],
        };
        let even = |[height, width]: [usize; 2]| [(height, height), (width, width)];
        match op {
            Module::Conv1d(op) => {
                let options = &op.options;
                let kernel = op.weight.shape.as_slice()[2];
                let padding = options.padding[0];
                let window = one(kernel, options.stride[0], padding, options.dilation[0]);
                let groups = options.groups;
                let rank = 1;
                let node = Op::Convolution {
                    rank,
                    window,
                    groups,
                };
                self.product(node, op.bias.is_some())
            }
            Module::Conv2d(op) => {
                let kernel = &op.weight.shape.as_slice()[2..];
                let window = Window {
                    kernel: [kernel[0], kernel[1]],
                    stride: op.options.stride,
                    padding: op.options.padding,
                    dilation: op.options.dilation,
                };
                let groups = op.options.groups;
                let rank = 2;
                let node = Op::Convolution {
                    rank,
                    window,
                    groups,
                };
                self.product(node, op.bias.is_some())
            }
            Module::ConvTranspose1d(op) => {
                let options = &op.options;
                let kernel = op.weight.shape.as_slice()[2];
                let padding = (options.padding[0], options.padding[0]);
                let node = Op::TransposedConvolution {
                    rank: 1,
                    window: one(kernel, options.stride[0], padding, options.dilation[0]),
                    output_padding: [0, options.padding_out[0]],
                    groups: options.groups,
                };
                self.product(node, op.bias.is_some())
            }
            Module::ConvTranspose2d(op) => {
                let kernel = &op.weight.shape.as_slice()[2..];
                let node = Op::TransposedConvolution {
                    rank: 2,
                    window: Window {
                        kernel: [kernel[0], kernel[1]],
                        stride: op.options.stride,
                        padding: even(op.options.padding),
                        dilation: op.options.dilation,
                    },
                    output_padding: op.options.padding_out,
                    groups: op.options.groups,
                };
                self.product(node, op.bias.is_some())
            }
            Module::Linear(op) => self.product(Op::Linear, op.bias.is_some()),
            Module::BatchNorm(op) => {
                let epsilon = float(&op.epsilon);
                self.named_push(Op::BatchNorm { epsilon }, 5)
            }
            Module::LayerNorm(op) => {
                let (epsilon, has_beta) = (float(&op.epsilon), op.beta.is_some());
                let length = op.gamma.shape.as_slice().to_vec();
                self.operand(1)?;
                let mut inputs = self.operands(2)?;
                inputs.push(match has_beta {
                    true => self.operand(2)?,
                    false => self.resolver.zeros(&length),
                });
                let op = Op::LayerNorm { epsilon };
                self.resolver.push(op, inputs, None, self.out)
            }
            Module::MaxPool1d(op) => {
                let padding = (op.padding, op.padding);
                self.push(
                    Op::MaxPool {
                        rank: 1,
                        window: one(op.kernel_size, op.stride, padding, op.dilation),
                        ceil: op.ceil_mode,
                    },
                    1,
                )
            }
            Module::MaxPool2d(op) => {
                let window = Window {
                    kernel: op.kernel_size,
                    stride: op.stride,
                    padding: even(op.padding),
                    dilation: op.dilation,
                };
                let ceil = op.ceil_mode;
                let rank = 2;
                self.push(Op::MaxPool { rank, window, ceil }, 1)
            }
            Module::AvgPool1d(op) => {
                let padding = (op.padding, op.padding);
                self.push(
                    Op::AveragePool {
                        rank: 1,
                        window: one(op.kernel_size, op.stride, padding, 1),
                        include_padding: op.count_include_pad,
                        ceil: op.ceil_mode,
                    },
                    1,
                )
            }
            Module::AvgPool2d(op) => {
                let window = Window {
                    kernel: op.kernel_size,
                    stride: op.stride,
                    padding: even(op.padding),
                    dilation: [1, 1],
                };
                self.push(
                    Op::AveragePool {
                        rank: 2,
                        window,
                        include_padding: op.count_include_pad,
                        ceil: op.ceil_mode,
                    },
                    1,
                )
            }
            Module::AdaptiveAvgPool1d(op) => {
                let output = [1, op.output_size];
                self.push(Op::AdaptiveAveragePool { rank: 1, output }, 1)
            }
            Module::AdaptiveAvgPool2d(op) => {
                let output = op.output_size;
                self.push(Op::AdaptiveAveragePool { rank: 2, output }, 1)
            }
            Module::Interpolate(op) => match op.options.mode {
                InterpolateModeIr::Nearest => self.push(Op::UpsampleNearest, 1),
                InterpolateModeIr::Bilinear => {
                    let align_corners = op.options.align_corners;
                    self.push(Op::UpsampleBilinear { align_corners }, 1)
                }
                _ => Err(self.unknown()),
            },
            _ => Err(self.unknown()),
        }
    }

    // Looks at the parameters first, so that the node bears their layer's name.
    fn named_push(&mut self, op: Op, count: usize) -> Result<(), GraphError> {
        self.operand(1)?;
        self.push(op, count)
    }
}

impl Resolver<'_> {
    fn zeros(&mut self, dims: &[usize]) -> Value {
        let value = Value::Constant(self.graph.constants.len());
        self.graph.constants.push(Constant {
            dims: dims.to_vec(),
            values: vec![0.0; dims.iter().product()],
        });
        value
    }
}
