//! Computes operations in floats on a Burn device, with gradients.

use burn::tensor::ops::{
    AvgPoolOptions, ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions,
    MaxPoolOptions, PadMode,
};
use burn::tensor::{Slice, Tensor, activation, module};

use super::tensor::{AnyTensor, map_rank};
use super::{Binary, Op, Unary, Window};

/// One operation, without an epilogue; `dims` are those of the result.
pub(crate) fn apply(op: &Op, inputs: Vec<AnyTensor>, dims: &[usize]) -> AnyTensor {
    let mut inputs = inputs.into_iter();
    let mut next = || match inputs.next() {
        Some(input) => input,
        None => unreachable!("a graph gives each operation its operands"),
    };
    match op {
        Op::Concatenate { axis } => AnyTensor::concatenate(inputs.collect(), *axis),
        Op::Convolution {
            rank: 1,
            window,
            groups,
        } => {
            let options = ConvOptions {
                stride: [window.stride[1]],
                padding: [window.padding[1]],
                dilation: [window.dilation[1]],
                groups: *groups,
            };
            module::conv1d(next().rank(), next().rank(), None, options).into()
        }
        Op::Convolution { window, groups, .. } => {
            let options = ConvOptions {
                stride: window.stride,
                padding: window.padding,
                dilation: window.dilation,
                groups: *groups,
            };
            module::conv2d(next().rank(), next().rank(), None, options).into()
        }
        Op::TransposedConvolution {
            rank: 1,
            window,
            output_padding,
            groups,
        } => {
            let options = ConvTransposeOptions::new(
                [window.stride[1]],
                [window.padding[1].0],
                [output_padding[1]],
                [window.dilation[1]],
                *groups,
            );
            module::conv_transpose1d(next().rank(), next().rank(), None, options).into()
        }
        Op::TransposedConvolution {
            window,
            output_padding,
            groups,
            ..
        } => {
            let options = ConvTransposeOptions::new(
                window.stride,
                window.padding.map(|(before, _)| before),
                *output_padding,
                window.dilation,
                *groups,
            );
            module::conv_transpose2d(next().rank(), next().rank(), None, options).into()
        }
        Op::Linear => {
            let (input, weight) = (next(), next().rank());
            map_rank!(input, input => module::linear(input, weight, None))
        }
        Op::MatMul => matmul(next(), next(), dims.len()),
        Op::BatchNorm { epsilon } => {
            let input = next();
            let mut vector = || next().rank::<1>();
            let (gamma, beta, mean, variance) = (vector(), vector(), vector(), vector());
            let epsilon = f64::from(*epsilon);
            map_rank!(input, input => {
                module::batch_norm(input, gamma, beta, mean, variance, epsilon)
            })
        }
        Op::LayerNorm { epsilon } => {
            let (input, gamma, beta) = (next(), next().rank(), next().rank());
            let epsilon = f64::from(*epsilon);
            map_rank!(input, input => module::layer_norm(input, gamma, Some(beta), epsilon))
        }
        Op::GroupNorm { groups, epsilon } => group_norm(next(), next(), next(), *groups, *epsilon),
        Op::Unary(function) => unary(*function, next()),
        Op::Binary(binary) => next().binary(next(), *binary),
        Op::Softmax { axis } => {
            let axis = *axis;
            map_rank!(next(), input => activation::softmax(input, axis))
        }
        Op::MaxPool { rank, window, ceil } => max_pool(*rank, window, *ceil, next()),
        Op::AveragePool {
            rank,
            window,
            include_padding,
            ceil,
        } => average_pool(*rank, window, *include_padding, *ceil, next()),
        Op::AdaptiveAveragePool { rank: 1, output } => {
            module::adaptive_avg_pool1d(next().rank(), output[1]).into()
        }
        Op::AdaptiveAveragePool { output, .. } => {
            module::adaptive_avg_pool2d(next().rank(), *output).into()
        }
        Op::Mean { axes } => axes.iter().fold(next(), |input, axis| {
            let axis = *axis;
            map_rank!(input, input => input.mean_dim(axis))
        }),
        Op::Sum { axes } => axes.iter().fold(next(), |input, axis| {
            let axis = *axis;
            map_rank!(input, input => input.sum_dim(axis))
        }),
        Op::Slice { ranges } => {
            let mut input = next();
            for (axis, (start, end, step)) in ranges.iter().enumerate() {
                let end = end.unwrap_or_else(|| input.dims()[axis]);
                if (*start, end, *step) != (0, input.dims()[axis], 1) {
                    let range = Slice::new(*start as isize, Some(end as isize), *step as isize);
                    input = map_rank!(input, input => input.slice_dim(axis, range));
                }
            }
            input
        }
        Op::Pad { padding, value } => pad(next(), padding, *value),
        Op::Reshape => next().reshape(dims),
        Op::Permute { axes } => next().permute(axes),
        Op::Expand => next().expand(dims),
        Op::UpsampleNearest => interpolate(next(), dims, InterpolateMode::Nearest, false),
        Op::UpsampleBilinear { align_corners } => {
            interpolate(next(), dims, InterpolateMode::Bilinear, *align_corners)
        }
    }
}

fn matmul(a: AnyTensor, b: AnyTensor, rank: usize) -> AnyTensor {
    match rank {
        2 => a.rank::<2>().matmul(b.rank()).into(),
        3 => a.rank::<3>().matmul(b.rank()).into(),
        4 => a.rank::<4>().matmul(b.rank()).into(),
        5 => a.rank::<5>().matmul(b.rank()).into(),
        _ => a.rank::<6>().matmul(b.rank()).into(),
    }
}

fn unary(function: Unary, input: AnyTensor) -> AnyTensor {
    map_rank!(input, x => match function {
        Unary::Relu => activation::relu(x),
        Unary::Clamp { min, max } => match (min.is_finite(), max.is_finite()) {
            (true, true) => x.clamp(min, max),
            (true, false) => x.clamp_min(min),
            (false, true) => x.clamp_max(max),
            (false, false) => x,
        },
        Unary::LeakyRelu { slope } => activation::leaky_relu(x, f64::from(slope)),
        Unary::Sigmoid => activation::sigmoid(x),
        Unary::Tanh => x.tanh(),
        Unary::Gelu => activation::gelu(x),
        Unary::GeluTanh => activation::gelu_approximate(x),
        Unary::Silu => activation::silu(x),
        Unary::HardSwish => activation::hard_swish(x),
        Unary::HardSigmoid { alpha, beta } => {
            activation::hard_sigmoid(x, f64::from(alpha), f64::from(beta))
        }
        Unary::AddScalar(c) => x + c,
        Unary::MulScalar(c) => x * c,
        Unary::Power(c) => x.powf_scalar(c),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => x.recip(),
        Unary::Erf => x.erf(),
        Unary::Abs => x.abs(),
    })
}

// Over the channels of each group and all places.
fn group_norm(
    input: AnyTensor,
    gamma: AnyTensor,
    beta: AnyTensor,
    groups: usize,
    epsilon: f32,
) -> AnyTensor {
    let dims = input.dims();
    let (batch, channels) = (dims[0], dims[1]);
    let each = dims.iter().product::<usize>() / (batch * groups).max(1);
    let rows: Tensor<3> = input.reshape(&[batch, groups, each]).rank();
    let mean = rows.clone().mean_dim(2);
    let centred = rows - mean;
    let variance = (centred.clone() * centred.clone()).mean_dim(2);
    let normed = AnyTensor::from(centred / (variance + epsilon).sqrt()).reshape(&dims);
    let mut along = vec![1; dims.len()];
    along[1] = channels;
    let scaled = normed.binary(gamma.reshape(&along), Binary::Multiply);
    scaled.binary(beta.reshape(&along), Binary::Add)
}

fn max_pool(rank: usize, window: &Window, ceil: bool, input: AnyTensor) -> AnyTensor {
    match rank {
        1 => {
            let options = MaxPoolOptions {
                kernel_size: [window.kernel[1]],
                stride: [window.stride[1]],
                padding: [window.padding[1]],
                dilation: [window.dilation[1]],
                ceil_mode: ceil,
            };
            module::max_pool1d(input.rank(), options).into()
        }
        _ => {
            let options = MaxPoolOptions {
                kernel_size: window.kernel,
                stride: window.stride,
                padding: window.padding,
                dilation: window.dilation,
                ceil_mode: ceil,
            };
            module::max_pool2d(input.rank(), options).into()
        }
    }
}

fn average_pool(
    rank: usize,
    window: &Window,
    include_padding: bool,
    ceil: bool,
    input: AnyTensor,
) -> AnyTensor {
    match rank {
        1 => {
            let options = AvgPoolOptions {
                kernel_size: [window.kernel[1]],
                stride: [window.stride[1]],
                padding: [window.padding[1]],
                count_include_pad: include_padding,
                ceil_mode: ceil,
            };
            module::avg_pool1d(input.rank(), options).into()
        }
        _ => {
            let options = AvgPoolOptions {
                kernel_size: window.kernel,
                stride: window.stride,
                padding: window.padding,
                count_include_pad: include_padding,
                ceil_mode: ceil,
            };
            module::avg_pool2d(input.rank(), options).into()
        }
    }
}

fn pad(input: AnyTensor, padding: &[(usize, usize)], value: f32) -> AnyTensor {
    macro_rules! pad {
        ($rank:literal) => {{
            let mut pairs = [(0, 0); $rank];
            pairs.copy_from_slice(padding);
            input
                .rank::<$rank>()
                .pad(pairs, PadMode::Constant(value))
                .into()
        }};
    }
    match padding.len() {
        1 => pad!(1),
        2 => pad!(2),
        3 => pad!(3),
        4 => pad!(4),
        5 => pad!(5),
        6 => pad!(6),
        _ => input,
    }
}

fn interpolate(
    input: AnyTensor,
    dims: &[usize],
    mode: InterpolateMode,
    align_corners: bool,
) -> AnyTensor {
    let size = [dims[dims.len() - 2], dims[dims.len() - 1]];
    let options = InterpolateOptions::new(mode).with_align_corners(align_corners);
    module::interpolate(input.rank(), options.with_output_size(size)).into()
}
