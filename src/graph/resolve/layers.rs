//! Operations of layers.

use burn_ir::{AttentionOpIr, ConvTranspose1dOpIr, ConvTranspose2dOpIr, TensorIr};
use burn_ir::{InterpolateModeIr, InterpolateOpIr, LayerNormOpIr, LinearOpIr, ModuleOperationIr};

use super::Resolver;
use crate::graph::GraphError;
use crate::graph::node::Epilogue;
use crate::network::{Binary, Dim, Op, Unary, Value, Window};

impl Resolver<'_> {
    pub(super) fn module(&mut self, op: &ModuleOperationIr) -> Result<bool, GraphError> {
        use ModuleOperationIr as From;
        match op {
            From::Conv1d(op) => {
                let (options, kernel) = (&op.options, op.weight.shape.as_slice());
                let convolution = Op::Convolution {
                    rank: 1,
                    window: Window {
                        kernel: [1, kernel[2]],
                        stride: [1, options.stride[0]],
                        padding: [(0, 0), options.padding[0]],
                        dilation: [1, options.dilation[0]],
                    },
                    groups: options.groups,
                };
                self.product(convolution, &op.x, &op.weight, &op.bias, &op.out)?;
            }
            From::Conv2d(op) => {
                let (options, kernel) = (&op.options, op.weight.shape.as_slice());
                let convolution = Op::Convolution {
                    rank: 2,
                    window: Window {
                        kernel: [kernel[2], kernel[3]],
                        stride: options.stride,
                        padding: options.padding,
                        dilation: options.dilation,
                    },
                    groups: options.groups,
                };
                self.product(convolution, &op.x, &op.weight, &op.bias, &op.out)?;
            }
            From::ConvTranspose1d(op) => self.transposed_1d(op)?,
            From::ConvTranspose2d(op) => self.transposed_2d(op)?,
            From::Linear(op) => self.linear(op)?,
            From::BatchNorm(op) => {
                let operands = [&op.x, &op.gamma, &op.beta, &op.mean, &op.variance];
                let inputs: Result<Vec<_>, _> =
                    operands.map(|t| self.value(t)).into_iter().collect();
                let epsilon = op.epsilon.elem();
                self.node(Op::BatchNorm { epsilon }, inputs?, &op.out)?;
            }
            From::LayerNorm(op) => self.layer_norm(op)?,
            From::MaxPool1d(op) => {
                let pool = Op::MaxPool {
                    rank: 1,
                    window: window_1d(op.kernel_size, op.stride, op.padding, op.dilation),
                    ceil: op.ceil_mode,
                };
                self.of(pool, &op.x, &op.out)?;
            }
            From::MaxPool2d(op) => {
                let pool = Op::MaxPool {
                    rank: 2,
                    window: Window {
                        kernel: op.kernel_size,
                        stride: op.stride,
                        padding: op.padding.map(|p| (p, p)),
                        dilation: op.dilation,
                    },
                    ceil: op.ceil_mode,
                };
                self.of(pool, &op.x, &op.out)?;
            }
            From::AvgPool1d(op) => {
                let pool = Op::AveragePool {
                    rank: 1,
                    window: window_1d(op.kernel_size, op.stride, op.padding, 1),
                    include_padding: op.count_include_pad,
                    ceil: op.ceil_mode,
                };
                self.of(pool, &op.x, &op.out)?;
            }
            From::AvgPool2d(op) => {
                let pool = Op::AveragePool {
                    rank: 2,
                    window: Window {
                        kernel: op.kernel_size,
                        stride: op.stride,
                        padding: op.padding.map(|p| (p, p)),
                        dilation: [1, 1],
                    },
                    include_padding: op.count_include_pad,
                    ceil: op.ceil_mode,
                };
                self.of(pool, &op.x, &op.out)?;
            }
            From::AdaptiveAvgPool1d(op) => {
                let output = [1, op.output_size];
                self.of(Op::AdaptiveAveragePool { rank: 1, output }, &op.x, &op.out)?;
            }
            From::AdaptiveAvgPool2d(op) => {
                let output = op.output_size;
                self.of(Op::AdaptiveAveragePool { rank: 2, output }, &op.x, &op.out)?;
            }
            From::Interpolate(op) => return self.interpolate(op),
            From::Attention(op) => return self.attention(op),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn of(&mut self, op: Op, input: &TensorIr, out: &TensorIr) -> Result<(), GraphError> {
        let value = self.value(input)?;
        self.node(op, vec![value], out)
    }

    fn product(
        &mut self,
        op: Op,
        input: &TensorIr,
        weight: &TensorIr,
        bias: &Option<TensorIr>,
        out: &TensorIr,
    ) -> Result<(), GraphError> {
        let weight = self.value(weight)?;
        self.weighted(op, input, weight, bias, out)
    }

    fn weighted(
        &mut self,
        op: Op,
        input: &TensorIr,
        weight: Value,
        bias: &Option<TensorIr>,
        out: &TensorIr,
    ) -> Result<(), GraphError> {
        let inputs = vec![self.value(input)?, weight];
        let bias = bias.as_ref().map(|bias| self.value(bias)).transpose()?;
        let epilogue = Epilogue {
            bias,
            ..Epilogue::default()
        };
        self.node_with(op, inputs, epilogue, out)
    }

    // The weight may be an activation: then it is a product of two.
    fn linear(&mut self, op: &LinearOpIr) -> Result<(), GraphError> {
        let weight = self.value(&op.weight)?;
        let matrix = match weight {
            Value::Constant(_) => Some(weight),
            weight => self.matrix(weight),
        };
        if let Some(matrix) = matrix {
            return self.weighted(Op::Linear, &op.x, matrix, &op.bias, &op.out);
        }
        let rank = op.x.shape.as_slice().len();
        let mut dims = self.dims(&op.weight);
        let right = match rank > 2 {
            true => {
                dims.splice(0..0, vec![Dim::Fixed(1); rank - 2]);
                self.push(Op::Reshape, vec![weight], Epilogue::default(), dims)?
            }
            false => weight,
        };
        let inputs = vec![self.value(&op.x)?, right];
        let bias = op.bias.as_ref().map(|bias| self.value(bias)).transpose()?;
        let epilogue = Epilogue {
            bias,
            ..Epilogue::default()
        };
        self.node_with(Op::MatMul, inputs, epilogue, &op.out)
    }

    fn transposed_1d(&mut self, op: &ConvTranspose1dOpIr) -> Result<(), GraphError> {
        let (options, kernel) = (&op.options, op.weight.shape.as_slice());
        let transposed = Op::TransposedConvolution {
            rank: 1,
            window: window_1d(
                kernel[2],
                options.stride[0],
                options.padding[0],
                options.dilation[0],
            ),
            output_padding: [0, options.padding_out[0]],
            groups: options.groups,
        };
        self.product(transposed, &op.x, &op.weight, &op.bias, &op.out)
    }

    fn transposed_2d(&mut self, op: &ConvTranspose2dOpIr) -> Result<(), GraphError> {
        let (options, kernel) = (&op.options, op.weight.shape.as_slice());
        let transposed = Op::TransposedConvolution {
            rank: 2,
            window: Window {
                kernel: [kernel[2], kernel[3]],
                stride: options.stride,
                padding: options.padding.map(|p| (p, p)),
                dilation: options.dilation,
            },
            output_padding: options.padding_out,
            groups: options.groups,
        };
        self.product(transposed, &op.x, &op.weight, &op.bias, &op.out)
    }

    fn layer_norm(&mut self, op: &LayerNormOpIr) -> Result<(), GraphError> {
        let mut inputs = vec![self.value(&op.input)?, self.value(&op.gamma)?];
        inputs.push(match &op.beta {
            Some(beta) => self.value(beta)?,
            None => {
                let length = op.gamma.shape.as_slice().iter().product();
                self.constant(vec![length], &vec![0.0; length])
            }
        });
        let epsilon = op.epsilon.elem();
        self.node(Op::LayerNorm { epsilon }, inputs, &op.out)
    }

    fn interpolate(&mut self, op: &InterpolateOpIr) -> Result<bool, GraphError> {
        let upsample = match op.options.mode {
            InterpolateModeIr::Nearest => Op::UpsampleNearest,
            InterpolateModeIr::Bilinear => Op::UpsampleBilinear {
                align_corners: op.options.align_corners,
            },
            _ => return Ok(false),
        };
        self.of(upsample, &op.x, &op.out)?;
        Ok(true)
    }

    // `softmax(query key' scale + bias) value`.
    fn attention(&mut self, op: &AttentionOpIr) -> Result<bool, GraphError> {
        let (query, key) = (self.dims(&op.query), self.dims(&op.key));
        let ([.., rows, depth], [.., columns, _]) = (query.as_slice(), key.as_slice()) else {
            return Ok(false);
        };
        let (Dim::Fixed(rows), Dim::Fixed(columns), Dim::Fixed(depth)) = (*rows, *columns, *depth)
        else {
            return Ok(false);
        };
        let masked = op.options.is_causal || op.mask.is_some();
        let mask = match &op.mask {
            Some(mask) => match self.held(mask)? {
                Some(mask) => Some(mask),
                None => return Ok(false),
            },
            None => None,
        };
        let plain = Epilogue::default;
        let mut dims = key.clone();
        dims.swap(2, 3);
        let key = self.value(&op.key)?;
        let axes = vec![0, 1, 3, 2];
        let key = self.push(Op::Permute { axes }, vec![key], plain(), dims)?;
        let mut dims = query;
        dims[3] = Dim::Fixed(columns);
        let query = self.value(&op.query)?;
        let mut scores = self.push(Op::MatMul, vec![query, key], plain(), dims.clone())?;
        let scale = op.options.scale.map(|scale| scale.elem::<f32>());
        let mut functions = vec![Unary::MulScalar(
            scale.unwrap_or((1.0 / (depth as f64).sqrt()) as f32),
        )];
        if let Some(cap) = op.options.softcap.map(|cap| cap.elem::<f32>()) {
            functions.extend([
                Unary::MulScalar(1.0 / cap),
                Unary::Tanh,
                Unary::MulScalar(cap),
            ]);
        }
        for function in functions {
            scores = self.push(Op::Unary(function), vec![scores], plain(), dims.clone())?;
        }
        if masked {
            let shape = match &mask {
                Some(mask) => [mask.stored[0], mask.stored[1], rows, columns],
                None => [1, 1, rows, columns],
            };
            let fixed = shape.map(Dim::Fixed).to_vec();
            // No position sees a later one; rows and columns end together.
            let hidden = super::ConstantValue::build(fixed, shape.to_vec(), |index| {
                let later = op.options.is_causal && index[3] + rows > index[2] + columns;
                let set = mask.as_ref().is_some_and(|mask| mask.at(index) != 0.0);
                if later || set { f64::NEG_INFINITY } else { 0.0 }
            });
            let hidden = self.constant(hidden.stored, &hidden.values);
            let add = Op::Binary(Binary::Add);
            scores = self.push(add, vec![scores, hidden], plain(), dims.clone())?;
        }
        if let Some(bias) = &op.attn_bias {
            let bias = self.broadcast(bias)?;
            let add = Op::Binary(Binary::Add);
            scores = self.push(add, vec![scores, bias], plain(), dims.clone())?;
        }
        let weights = self.push(Op::Softmax { axis: 3 }, vec![scores], plain(), dims)?;
        let value = self.value(&op.value)?;
        self.node(Op::MatMul, vec![weights, value], &op.out)?;
        Ok(true)
    }
}

fn window_1d(kernel: usize, stride: usize, padding: usize, dilation: usize) -> Window {
    Window {
        kernel: [1, kernel],
        stride: [1, stride],
        padding: [(0, 0), (padding, padding)],
        dilation: [1, dilation],
    }
}
