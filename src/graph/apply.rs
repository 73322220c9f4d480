//! One operation in floats, on any device of Burn.

use burn::tensor::module::{self as layer, interpolate};
use burn::tensor::ops::{
    AvgPoolOptions, ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions,
    MaxPoolOptions, PadMode,
};
use burn::tensor::{Slice, Tensor, activation};

use super::float_op;
use super::tensor::{AnyTensor, along, map_rank, with_rank};
use crate::network::{Binary, Op, Unary, Window};

/// An operation alone, without its epilogue. Operands are those that [`Op`] lists, and `dims` the
/// dimensions of the result.
pub(crate) fn apply(op: &Op, inputs: Vec<AnyTensor>, dims: &[usize]) -> AnyTensor {
    let mut inputs = inputs.into_iter();
    // A graph gives each operation all its operands.
    let mut next = || {
        inputs
            .next()
            .expect("a node has the operands of its operation")
    };
    match op {
        Op::Convolution {
            rank,
            window,
            groups,
        } => convolution(*rank, window, *groups, next(), next()),
        Op::TransposedConvolution {
            rank,
            window,
            output_padding,
            groups,
        } => transposed(*rank, window, *output_padding, *groups, next(), next()),
        Op::Linear => {
            let (input, weight) = (next(), next().rank::<2>());
            map_rank!(input, x => layer::linear(x, weight, None))
        }
        Op::MatMul => matmul(next(), next(), dims.len()),
        Op::BatchNorm { epsilon } => {
            let input = next();
            let [gamma, beta, mean, variance] =
                [next(), next(), next(), next()].map(AnyTensor::rank::<1>);
            let epsilon = f64::from(*epsilon);
            map_rank!(input, x => layer::batch_norm(x, gamma, beta, mean, variance, epsilon))
        }
        Op::LayerNorm { epsilon } => {
            let (input, gamma, beta) = (next(), next().rank::<1>(), next().rank::<1>());
            let epsilon = f64::from(*epsilon);
            map_rank!(input, x => layer::layer_norm(x, gamma, Some(beta), epsilon))
        }
        Op::GroupNorm { groups, epsilon } => group_norm(next(), next(), next(), *groups, *epsilon),
        Op::Unary(function) => unary(*function, next()),
        Op::Binary(f) => {
            let left = next();
            left.binary(next(), *f)
        }
        Op::Softmax { axis } => map_rank!(next(), x => activation::softmax(x, *axis)),
        Op::MaxPool { rank, window, ceil } => max_pool(*rank, window, *ceil, next()),
        Op::AveragePool {
            rank,
            window,
            include_padding,
            ceil,
        } => average_pool(*rank, window, *include_padding, *ceil, next()),
        Op::AdaptiveAveragePool { rank, output } => match rank {
            1 => layer::adaptive_avg_pool1d(next().rank(), output[1]).into(),
            _ => layer::adaptive_avg_pool2d(next().rank(), *output).into(),
        },
        Op::Mean { axes } => {
            map_rank!(next(), x => axes.iter().fold(x, |x, axis| x.mean_dim(*axis)))
        }
        Op::Sum { axes } => {
            map_rank!(next(), x => axes.iter().fold(x, |x, axis| x.sum_dim(*axis)))
        }
        Op::Concatenate { axis } => AnyTensor::concatenate(inputs.collect(), *axis),
        Op::Slice { ranges } => {
            let slices: Vec<_> = ranges
                .iter()
                .map(|(start, end, step)| {
                    let end = end.map(|end| end as isize);
                    Slice::new(*start as isize, end, *step as isize)
                })
                .collect();
            map_rank!(next(), x => x.slice(&slices))
        }
        Op::Pad { padding, value } => {
            let mode = PadMode::Constant(*value);
            map_rank!(next(), x => x.pad(padding.as_slice(), mode))
        }
        Op::Reshape => next().reshape(dims),
        Op::Permute { axes } => next().permute(axes),
        Op::Expand => next().expand(dims),
        Op::UpsampleNearest => upsample(InterpolateMode::Nearest, true, next(), dims),
        Op::UpsampleBilinear { align_corners } => {
            upsample(InterpolateMode::Bilinear, *align_corners, next(), dims)
        }
        Op::Float(op) => float_op::apply(op, inputs, dims),
    }
}

/// A function of each element.
pub(crate) fn unary(function: Unary, input: AnyTensor) -> AnyTensor {
    map_rank!(input, x => match function {
        Unary::Relu => activation::relu(x),
        Unary::Clamp { min, max } if max == f32::INFINITY => x.clamp_min(min),
        Unary::Clamp { min, max } if min == f32::NEG_INFINITY => x.clamp_max(max),
        Unary::Clamp { min, max } => x.clamp(min, max),
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
        Unary::AddScalar(c) => x.add_scalar(c),
        Unary::MulScalar(c) => x.mul_scalar(c),
        Unary::Power(c) => x.powf_scalar(c),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => x.recip(),
        Unary::Erf => x.erf(),
        Unary::Abs => x.abs(),
        Unary::LogOnePlus => x.log1p(),
        Unary::LogSigmoid => activation::log_sigmoid(x),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Sign => x.sign(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round(),
    })
}

fn convolution(
    rank: usize,
    window: &Window,
    groups: usize,
    input: AnyTensor,
    weight: AnyTensor,
) -> AnyTensor {
    let (stride, padding, dilation) = (window.stride, window.padding, window.dilation);
    match rank {
        1 => {
            let options =
                ConvOptions::new_with_padding([stride[1]], [padding[1]], [dilation[1]], groups);
            layer::conv1d(input.rank(), weight.rank(), None, options).into()
        }
        _ => {
            let options = ConvOptions::new_with_padding(stride, padding, dilation, groups);
            layer::conv2d(input.rank(), weight.rank(), None, options).into()
        }
    }
}

fn transposed(
    rank: usize,
    window: &Window,
    output_padding: [usize; 2],
    groups: usize,
    input: AnyTensor,
    weight: AnyTensor,
) -> AnyTensor {
    // Symmetric: Burn's transposed convolutions have no other padding.
    let (stride, padding) = (window.stride, window.padding.map(|(before, _)| before));
    let dilation = window.dilation;
    match rank {
        1 => {
            let options = ConvTransposeOptions::new(
                [stride[1]],
                [padding[1]],
                [output_padding[1]],
                [dilation[1]],
                groups,
            );
            layer::conv_transpose1d(input.rank(), weight.rank(), None, options).into()
        }
        _ => {
            let options =
                ConvTransposeOptions::new(stride, padding, output_padding, dilation, groups);
            layer::conv_transpose2d(input.rank(), weight.rank(), None, options).into()
        }
    }
}

fn max_pool(rank: usize, window: &Window, ceil: bool, input: AnyTensor) -> AnyTensor {
    match rank {
        1 => {
            let options = MaxPoolOptions::new([window.kernel[1]])
                .with_stride([window.stride[1]])
                .with_padding_pairs([window.padding[1]])
                .with_dilation([window.dilation[1]])
                .with_ceil_mode(ceil);
            layer::max_pool1d(input.rank(), options).into()
        }
        _ => {
            let options = MaxPoolOptions::new(window.kernel)
                .with_stride(window.stride)
                .with_padding_pairs(window.padding)
                .with_dilation(window.dilation)
                .with_ceil_mode(ceil);
            layer::max_pool2d(input.rank(), options).into()
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
            let options = AvgPoolOptions::new([window.kernel[1]])
                .with_stride([window.stride[1]])
                .with_padding_pairs([window.padding[1]])
                .with_count_include_pad(include_padding)
                .with_ceil_mode(ceil);
            layer::avg_pool1d(input.rank(), options).into()
        }
        _ => {
            let options = AvgPoolOptions::new(window.kernel)
                .with_stride(window.stride)
                .with_padding_pairs(window.padding)
                .with_count_include_pad(include_padding)
                .with_ceil_mode(ceil);
            layer::avg_pool2d(input.rank(), options).into()
        }
    }
}

fn matmul(left: AnyTensor, right: AnyTensor, rank: usize) -> AnyTensor {
    match rank {
        0..=2 => left.rank::<2>().matmul(right.rank::<2>()).into(),
        3 => left.rank::<3>().matmul(right.rank::<3>()).into(),
        4 => left.rank::<4>().matmul(right.rank::<4>()).into(),
        5 => left.rank::<5>().matmul(right.rank::<5>()).into(),
        _ => left.rank::<6>().matmul(right.rank::<6>()).into(),
    }
}

fn group_norm(
    input: AnyTensor,
    gamma: AnyTensor,
    beta: AnyTensor,
    groups: usize,
    epsilon: f32,
) -> AnyTensor {
    let dims = input.dims();
    let groups_of = [
        dims[0],
        groups,
        dims[1..].iter().product::<usize>() / groups,
    ];
    let x = with_rank!(input, x => x.reshape(groups_of));
    let x = x.clone() - x.mean_dim(2);
    let variance = x.clone().powi_scalar(2).mean_dim(2);
    let x: Tensor<3> = x / (variance + epsilon).sqrt();
    let x = AnyTensor::from(x).reshape(&dims);
    let x = x.binary(along(gamma, 1, dims.len()), Binary::Multiply);
    x.binary(along(beta, 1, dims.len()), Binary::Add)
}

fn upsample(
    mode: InterpolateMode,
    align_corners: bool,
    input: AnyTensor,
    dims: &[usize],
) -> AnyTensor {
    let options = InterpolateOptions::new(mode)
        .with_align_corners(align_corners)
        .with_output_size([dims[2], dims[3]]);
    interpolate(input.rank(), options).into()
}
