//! Each operation between two quantized products, so that it is computed in integers: the simulation
//! gives the integer form's numbers, at every number of bits and for every input.

use burn::module::{Module, ModuleDisplay, Param};
use burn::nn::conv::{
    Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig,
};
use burn::nn::pool::{AvgPool1dConfig, AvgPool2dConfig, MaxPool1dConfig, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig1d, PaddingConfig2d,
};
use burn::tensor::Tensor;
use burn::tensor::activation::{
    gelu, gelu_approximate, hard_sigmoid, hard_swish, leaky_relu, relu, relu6, sigmoid, silu,
    softmax, tanh,
};
use burn::tensor::module::{adaptive_avg_pool1d, adaptive_avg_pool2d, interpolate};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, PadMode};
use burn_compress::format::{Granularity, Mapping};
use burn_compress::graph::Quantized;
use burn_compress::graph::integer::IntegerModel;
use proptest::prelude::*;

use super::device::device;
use super::graph_models::randomized;
use super::models::values;
use super::quantized::{How, assert_simulates, float_steps, input, quantized, steps};

/// A layer between two linear ones, which give and take codes: on the last axis, and on all elements of
/// an image.
#[derive(Module, Debug)]
struct Between<L: Module + ModuleDisplay> {
    before: Linear,
    layer: L,
    after: Linear,
}

impl<L: Module + ModuleDisplay> Between<L> {
    fn forward<const D: usize, const E: usize>(
        &self,
        x: Tensor<D>,
        layer: &impl Fn(&L, Tensor<D>) -> Tensor<E>,
    ) -> Tensor<2> {
        let y = layer(&self.layer, self.before.forward(x));
        let images = y.dims()[0];
        let each = y.dims().iter().skip(1).product();
        self.after.forward(y.reshape([images, each]))
    }
}

fn between<L: Module + ModuleDisplay, const D: usize, const E: usize>(
    layer: L,
    shape: [usize; D],
    forward: &impl Fn(&L, Tensor<D>) -> Tensor<E>,
) -> Between<L> {
    let device = device();
    let output = forward(&layer, Tensor::zeros(shape, &device)).dims();
    let each = output.iter().skip(1).product();
    randomized(Between {
        before: LinearConfig::new(shape[D - 1], shape[D - 1]).init(&device),
        layer,
        after: LinearConfig::new(each, 3).init(&device),
    })
}

fn hows() -> Vec<How> {
    use Granularity::{Channel, Tensor};
    use Mapping::{Affine, Symmetric};
    vec![
        How::new((8, Symmetric, Channel), (8, Affine)),
        How::new((8, Affine, Tensor), (8, Symmetric)),
        How::new((7, Affine, Channel), (6, Affine)).pruned(0.5),
        How::new((5, Symmetric, Tensor), (5, Symmetric)),
        How::new((4, Symmetric, Channel), (4, Affine)).pruned(0.3),
        How::new((3, Affine, Channel), (3, Affine)),
        How::new((2, Symmetric, Channel), (2, Affine)),
        How::new((2, Affine, Tensor), (2, Symmetric)),
    ]
}

// Where sums of codes of 16 bits stay within the integers that floats hold.
fn wide() -> How {
    let weights = (2, Mapping::Symmetric, Granularity::Channel);
    How::new(weights, (16, Mapping::Affine))
}

fn of<L: Module + ModuleDisplay, const D: usize, const E: usize>(
    layer: L,
    shape: [usize; D],
    how: How,
    forward: &impl Fn(&L, Tensor<D>) -> Tensor<E>,
) -> Quantized<Between<L>> {
    let mut two = shape;
    two[0] = 2;
    let batches = [input(two, 21, &device()), input(shape, 22, &device())];
    let module = between(layer, shape, forward);
    let run = |module: &Between<L>, x| module.forward(x, forward);
    quantized(module, how, run, &batches).0
}

/// In integers, and equal, however it is quantized. Gives the steps.
#[track_caller]
fn check<L: Module + ModuleDisplay, const D: usize, const E: usize>(
    layer: L,
    shape: [usize; D],
    forward: impl Fn(&L, Tensor<D>) -> Tensor<E>,
) -> Vec<&'static str> {
    check_at(&hows(), layer, shape, forward)
}

#[track_caller]
fn check_at<L: Module + ModuleDisplay, const D: usize, const E: usize>(
    hows: &[How],
    layer: L,
    shape: [usize; D],
    forward: impl Fn(&L, Tensor<D>) -> Tensor<E>,
) -> Vec<&'static str> {
    let mut names = Vec::new();
    for &how in hows {
        let quantized = of(layer.clone(), shape, how, &forward);
        let what = format!("{how:?}");
        assert!(
            quantized.in_float().is_empty(),
            "{what}: {:?}",
            quantized.in_float()
        );
        let integers: IntegerModel = assert_simulates::<_, D, 2>(&quantized, shape, &what);
        assert_eq!(float_steps(&integers), [""; 0], "{what}");
        names = steps(&integers);
    }
    names
}

/// The same of a function of its own.
#[track_caller]
fn check_function<const D: usize, const E: usize>(
    shape: [usize; D],
    function: impl Fn(Tensor<D>) -> Tensor<E>,
) -> Vec<&'static str> {
    check(Vec::<Linear>::new(), shape, |_, x| function(x))
}

fn same2(padding: [usize; 4]) -> PaddingConfig2d {
    let [top, left, bottom, right] = padding;
    PaddingConfig2d::Explicit(top, left, bottom, right)
}

fn conv2d(config: Conv2dConfig) -> Conv2d {
    config.init(&device())
}

fn conv1d(config: Conv1dConfig) -> Conv1d {
    config.init(&device())
}

#[test]
fn convolutions_on_a_plane() {
    let shape = [1, 4, 7, 6];
    let configs = [
        Conv2dConfig::new([4, 5], [3, 3]),
        Conv2dConfig::new([4, 5], [1, 1]).with_stride([2, 2]),
        Conv2dConfig::new([4, 5], [3, 2]).with_stride([2, 3]),
        Conv2dConfig::new([4, 5], [3, 3]).with_padding(same2([1, 1, 1, 1])),
        Conv2dConfig::new([4, 5], [3, 3])
            .with_padding(same2([1, 0, 2, 1]))
            .with_stride([2, 1]),
        Conv2dConfig::new([4, 5], [2, 3])
            .with_dilation([3, 2])
            .with_bias(false),
        Conv2dConfig::new([4, 6], [3, 3])
            .with_groups(2)
            .with_padding(same2([1, 1, 1, 1])),
        Conv2dConfig::new([4, 4], [3, 3])
            .with_groups(4)
            .with_padding(same2([1, 1, 1, 1])),
        Conv2dConfig::new([4, 8], [3, 3])
            .with_groups(4)
            .with_stride([2, 2]),
    ];
    for config in configs {
        let steps = check(conv2d(config), shape, |conv, x: Tensor<4>| conv.forward(x));
        assert!(
            steps.iter().any(|step| step.ends_with("convolution")),
            "{steps:?}"
        );
    }
}

#[test]
fn convolutions_on_a_line() {
    let configs = [
        Conv1dConfig::new(4, 5, 3),
        Conv1dConfig::new(4, 6, 3)
            .with_stride(2)
            .with_groups(2)
            .with_padding(PaddingConfig1d::Explicit(1, 2)),
        Conv1dConfig::new(4, 4, 3)
            .with_dilation(2)
            .with_groups(4)
            .with_bias(false),
    ];
    for config in configs {
        check(conv1d(config), [1, 4, 9], |conv, x: Tensor<3>| {
            conv.forward(x)
        });
    }
}

#[test]
fn transposed_convolutions() {
    let configs = [
        ConvTranspose2dConfig::new([4, 3], [2, 2]).with_stride([2, 2]),
        ConvTranspose2dConfig::new([4, 6], [3, 2])
            .with_stride([2, 1])
            .with_padding([1, 0])
            .with_padding_out([1, 0])
            .with_groups(2),
        ConvTranspose2dConfig::new([4, 4], [3, 3])
            .with_dilation([2, 1])
            .with_groups(4)
            .with_bias(false),
    ];
    for config in configs {
        let layer = config.init(&device());
        let steps = check(layer, [1, 4, 4, 3], |layer, x: Tensor<4>| layer.forward(x));
        assert!(steps.contains(&"transposed_convolution"), "{steps:?}");
    }
    let configs = [
        ConvTranspose1dConfig::new([4, 3], 3).with_stride(2),
        ConvTranspose1dConfig::new([4, 6], 2)
            .with_groups(2)
            .with_stride(3)
            .with_padding(1)
            .with_padding_out(1),
    ];
    for config in configs {
        let layer = config.init(&device());
        check(layer, [1, 4, 5], |layer, x: Tensor<3>| layer.forward(x));
    }
}

#[test]
fn linear_layers() {
    let linear = |bias| {
        let config = LinearConfig::new(6, 4).with_bias(bias);
        config.init(&device())
    };
    for bias in [true, false] {
        check(linear(bias), [1, 6], |layer: &Linear, x: Tensor<2>| {
            layer.forward(x)
        });
        check(linear(bias), [1, 5, 6], |layer: &Linear, x: Tensor<3>| {
            layer.forward(x)
        });
        check(
            linear(bias),
            [1, 2, 3, 6],
            |layer: &Linear, x: Tensor<4>| relu(layer.forward(x)),
        );
    }
}

#[test]
fn products_of_two_activations() {
    let two = || {
        let linear = || LinearConfig::new(6, 6).init(&device());
        (linear(), linear())
    };
    let steps = check(
        two(),
        [1, 5, 6],
        |(a, b): &(Linear, Linear), x: Tensor<3>| {
            a.forward(x.clone()).matmul(b.forward(x).swap_dims(1, 2))
        },
    );
    assert!(steps.contains(&"matmul"), "{steps:?}");
    // With heads, a residual and what follows.
    check(
        two(),
        [1, 4, 6],
        |(a, b): &(Linear, Linear), x: Tensor<3>| {
            let [images, rows, _] = x.dims();
            let heads = |y: Tensor<3>| y.reshape([images, rows, 2, 3]).swap_dims(1, 2);
            let scores =
                heads(a.forward(x.clone())).matmul(heads(b.forward(x.clone())).swap_dims(2, 3));
            let mixed = scores.matmul(heads(x.clone()));
            relu(mixed + heads(x))
        },
    );
}

#[test]
fn sums_and_products_of_two_activations() {
    let conv = || {
        let config = Conv2dConfig::new([3, 3], [3, 3]).with_padding(same2([1, 1, 1, 1]));
        conv2d(config)
    };
    let shape = [1, 3, 4, 5];
    // Into the convolution.
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        conv.forward(x.clone()) + x
    });
    assert!(!steps.contains(&"add"), "{steps:?}");
    check(conv(), shape, |conv, x: Tensor<4>| {
        relu(x.clone() + conv.forward(x))
    });
    check(conv(), shape, |conv, x: Tensor<4>| {
        relu6(conv.forward(x.clone()) + x)
    });
    check(
        (conv(), conv()),
        shape,
        |(a, b): &(Conv2d, Conv2d), x: Tensor<4>| a.forward(x.clone()) + b.forward(x),
    );
    // On their own.
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        tanh(conv.forward(x.clone())) + sigmoid(x)
    });
    assert!(steps.contains(&"add"), "{steps:?}");
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        relu(relu(conv.forward(x.clone())) + x).clamp(0.25, 1.5)
    });
    assert!(steps.contains(&"add"), "{steps:?}");
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        x.clone() - conv.forward(x)
    });
    assert!(steps.contains(&"add"), "{steps:?}");
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        conv.forward(x.clone()) * x
    });
    assert!(steps.contains(&"multiply"), "{steps:?}");
    check_function(shape, |x: Tensor<4>| x.clone() * x.clone() + x);
    // Channels weighed by themselves, which broadcast.
    let squeeze = |conv: &Conv2d, x: Tensor<4>| {
        let gate = sigmoid(conv.forward(adaptive_avg_pool2d(x.clone(), [1, 1])));
        x * gate
    };
    let pointwise = conv2d(Conv2dConfig::new([3, 3], [1, 1]));
    let steps = check(pointwise, shape, squeeze);
    assert!(steps.contains(&"multiply"), "{steps:?}");
}

/// Numbers that a module learns beside its layers.
#[derive(Module, Debug)]
struct Vector<const D: usize> {
    values: Param<Tensor<D>>,
}

fn vector<const D: usize>(shape: [usize; D]) -> Vector<D> {
    let values = input(shape, 33, &device());
    Vector {
        values: Param::from_tensor(values),
    }
}

#[test]
fn sums_and_products_with_a_parameter() {
    let shape = [1, 3, 4, 5];
    let steps = check(vector([1, 3, 4, 5]), shape, |vector, x: Tensor<4>| {
        x + vector.values.val()
    });
    assert!(steps.contains(&"add_constant"), "{steps:?}");
    let steps = check(vector([1, 3, 1, 1]), shape, |vector, x: Tensor<4>| {
        vector.values.val() * x
    });
    assert!(steps.contains(&"multiply_constant"), "{steps:?}");
    check(vector([1, 1, 1, 5]), shape, |vector, x: Tensor<4>| {
        relu(x * vector.values.val()) + vector.values.val()
    });
    // The result has an axis that the activation had not.
    check(vector([1, 2, 4]), [1, 1, 4], |vector, x: Tensor<3>| {
        x + vector.values.val()
    });
}

#[test]
fn functions_of_parameters_are_operands_too() {
    // They depend on no input: floats, which the sum beside them takes as codes.
    for function in [
        |x: Tensor<4>| x.exp(),
        |x: Tensor<4>| x.clone() * x,
        |x: Tensor<4>| x.mean_dim(1),
    ] {
        let forward = |vector: &Vector<4>, x: Tensor<4>| x * function(vector.values.val());
        let how = How::bits(8, 8);
        let shape = [1, 3, 4, 5];
        let quantized = of(vector([1, 3, 4, 5]), shape, how, &forward);
        assert_eq!(quantized.in_float().len(), 1);
        assert_simulates::<_, 4, 2>(&quantized, shape, "a function of a parameter");
    }
}

#[test]
fn a_weight_that_is_read_elsewhere_too_stays_in_float() {
    let forward =
        |layer: &Linear, x: Tensor<2>| layer.forward(x) + layer.weight.val().narrow(0, 0, 1).tanh();
    let layer = LinearConfig::new(4, 4).init(&device());
    let quantized = of(layer, [1, 4], How::bits(8, 8), &forward);
    let float: Vec<&str> = quantized
        .in_float()
        .iter()
        .map(|node| node.op.name())
        .collect();
    assert!(float.contains(&"linear"), "{float:?}");
    // What the module itself computes, near enough.
    let x = input([2, 4], 21, &device());
    let found = values::<2>(quantized.forward(x.clone()).unwrap());
    let expected = values(quantized.module().forward(x, &forward));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 0.1, "{found}, not {expected}");
    }
    quantized.to_integer().unwrap();
}

#[test]
fn concatenation() {
    let conv = || conv2d(Conv2dConfig::new([3, 2], [1, 1]));
    let shape = [1, 3, 4, 5];
    let steps = check(conv(), shape, |conv, x: Tensor<4>| {
        Tensor::cat(vec![conv.forward(x.clone()), x.clone(), relu(x)], 1)
    });
    assert!(steps.contains(&"concatenate"), "{steps:?}");
    check_function(shape, |x: Tensor<4>| {
        Tensor::cat(vec![x.clone(), tanh(x)], 3)
    });
}

#[test]
fn poolings() {
    let shape = [1, 2, 6, 8];
    let maxima = [
        MaxPool2dConfig::new([2, 2]),
        MaxPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(same2([1, 1, 1, 1])),
        MaxPool2dConfig::new([2, 3])
            .with_strides([1, 2])
            .with_dilation([2, 1]),
        MaxPool2dConfig::new([3, 3])
            .with_strides([2, 3])
            .with_ceil_mode(true),
    ];
    for config in maxima {
        let steps = check(config.init(), shape, |pool, x: Tensor<4>| pool.forward(x));
        assert!(steps.contains(&"max_pool"), "{steps:?}");
    }
    check(
        MaxPool1dConfig::new(3).with_stride(2).init(),
        [1, 2, 9],
        |pool, x: Tensor<3>| pool.forward(x),
    );
    for include in [true, false] {
        let configs = [
            AvgPool2dConfig::new([2, 2]),
            AvgPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(same2([1, 1, 1, 1])),
            AvgPool2dConfig::new([3, 2]).with_strides([1, 2]),
        ];
        for config in configs {
            let pool = config.with_count_include_pad(include).init();
            let steps = check(pool, shape, |pool, x: Tensor<4>| pool.forward(x));
            assert!(steps.contains(&"average_pool"), "{steps:?}");
        }
        let config = AvgPool1dConfig::new(4).with_stride(3);
        let config = config.with_padding(PaddingConfig1d::Explicit(2, 2));
        let pool = config.with_count_include_pad(include).init();
        check(pool, [1, 2, 9], |pool, x: Tensor<3>| relu(pool.forward(x)));
    }
    check_function(shape, |x: Tensor<4>| adaptive_avg_pool2d(x, [3, 4]));
    check_function(shape, |x: Tensor<4>| adaptive_avg_pool2d(x, [1, 1]));
    check_function([1, 3, 12], |x: Tensor<3>| adaptive_avg_pool1d(x, 4));
}

#[test]
fn poolings_without_an_integer_form() {
    let shape = [1, 2, 5, 8];
    let how = How::bits(8, 8);
    let uneven = |_: &Vec<Linear>, x: Tensor<4>| adaptive_avg_pool2d(x, [2, 4]);
    let quantized = of(Vec::new(), shape, how, &uneven);
    assert_eq!(quantized.in_float()[0].op.name(), "adaptive_average_pool");
    assert_eq!(
        float_steps(&quantized.to_integer().unwrap()),
        ["adaptive_average_pool"]
    );
    let config = AvgPool2dConfig::new([2, 3]).with_strides([2, 3]);
    let pool = config.with_ceil_mode(true).init();
    let quantized = of(pool, shape, how, &|pool, x: Tensor<4>| pool.forward(x));
    assert_eq!(quantized.in_float()[0].op.name(), "average_pool");
}

#[test]
fn codes_of_sixteen_bits() {
    let hows = [wide()];
    let none = Vec::<Linear>::new;
    // Sums up to 2^24.
    let shape = [1, 1, 14, 14];
    check_at(&hows, none(), shape, |_, x: Tensor<4>| {
        adaptive_avg_pool2d(x, [1, 1])
    });
    check_at(&hows, none(), shape, |_, x: Tensor<4>| {
        x.mean_dim(3).mean_dim(2)
    });
    check_at(&hows, none(), shape, |_, x: Tensor<4>| x.sum_dim(3));
    let pool = AvgPool2dConfig::new([14, 13]).with_strides([1, 1]).init();
    check_at(&hows, pool, shape, |pool, x: Tensor<4>| pool.forward(x));
    let conv = conv2d(Conv2dConfig::new([1, 2], [3, 3]));
    check_at(&hows, conv, [1, 1, 5, 6], |conv, x: Tensor<4>| {
        relu6(conv.forward(x))
    });
    check_at(&hows, none(), [1, 2, 4], |_, x: Tensor<3>| gelu(x));
    check_at(&hows, none(), [1, 2, 4], |_, x: Tensor<3>| {
        tanh(x.clone()) + x
    });
}

#[test]
fn means() {
    let shape = [1, 3, 4, 6];
    let steps = check_function(shape, |x: Tensor<4>| x.mean_dim(3).mean_dim(2));
    assert!(steps.contains(&"sum"), "{steps:?}");
    check_function(shape, |x: Tensor<4>| x.mean_dim(1));
    check_function(shape, |x: Tensor<4>| relu(x.sum_dim(2)));
    check_function([1, 5, 6], |x: Tensor<3>| x.mean_dim(1));
}

#[test]
fn batch_norms() {
    let norm = || BatchNormConfig::new(4).init(&device());
    let conv = Conv2dConfig::new([4, 4], [3, 3]).with_bias(true);
    let steps = check(
        (conv2d(conv), norm()),
        [1, 4, 5, 5],
        |(conv, norm): &(Conv2d, BatchNorm), x: Tensor<4>| relu6(norm.forward(conv.forward(x))),
    );
    assert!(!steps.contains(&"rescale"), "{steps:?}");
    let up = ConvTranspose2dConfig::new([4, 4], [2, 2]).with_groups(2);
    check(
        (up.init(&device()), norm()),
        [1, 4, 3, 3],
        |(up, norm): &(burn::nn::conv::ConvTranspose2d, BatchNorm), x: Tensor<4>| {
            norm.forward(up.forward(x)) + 0.5
        },
    );
    let steps = check(norm(), [1, 4, 3, 5], |norm, x: Tensor<4>| {
        relu(norm.forward(tanh(x)))
    });
    assert!(steps.contains(&"rescale"), "{steps:?}");
    check(norm(), [1, 4], |norm, x: Tensor<2>| norm.forward(tanh(x)));
    check(norm(), [1, 4, 7], |norm, x: Tensor<3>| {
        norm.forward(tanh(x))
    });
}

#[test]
fn functions_become_tables() {
    let shape = [1, 3, 4];
    type Function = fn(Tensor<3>) -> Tensor<3>;
    let functions: [(&str, Function); 14] = [
        ("relu", |x| relu(tanh(x))),
        ("clamp", |x| tanh(x).clamp(-0.3, 0.4)),
        ("leaky_relu", |x| leaky_relu(x, 0.1)),
        ("sigmoid", sigmoid),
        ("tanh", tanh),
        ("gelu", gelu),
        ("gelu_tanh", gelu_approximate),
        ("silu", silu),
        ("hard_swish", hard_swish),
        ("hard_sigmoid", |x| hard_sigmoid(x, 0.2, 0.5)),
        ("scalars", |x| x * 0.7 + 0.2),
        ("abs", |x| x.abs()),
        ("exp", |x| x.exp()),
        // Neither a number nor finite for half of the codes.
        ("logarithm", |x| (x.abs() + 0.01).log()),
    ];
    for (name, function) in functions {
        let steps = check_function(shape, function);
        assert!(steps.contains(&"table"), "{name}: {steps:?}");
    }
    // In the product before it.
    let conv = || conv2d(Conv2dConfig::new([3, 3], [1, 1]));
    for function in [relu, relu6, |x: Tensor<4>| x.clamp(-0.5, 0.25)] {
        let steps = check(conv(), [1, 3, 4, 4], |conv, x: Tensor<4>| {
            function(conv.forward(x))
        });
        assert!(!steps.contains(&"table"), "{steps:?}");
    }
}

#[test]
fn movements() {
    let shape = [1, 3, 4, 6];
    type Function = fn(Tensor<4>) -> Tensor<4>;
    let functions: [(&str, Function); 5] = [
        ("slice", |x| x.narrow(2, 1, 2).narrow(3, 2, 4)),
        ("pad", |x| x.pad([(1, 2), (0, 3)], PadMode::Constant(0.0))),
        ("reshape", |x| {
            let images = x.dims()[0];
            x.reshape([images, 6, 2, 6])
        }),
        ("permute", |x| x.permute([0, 3, 1, 2])),
        ("upsample_nearest", |x| {
            let options = InterpolateOptions::new(InterpolateMode::Nearest);
            interpolate(x, options.with_output_size([7, 12]))
        }),
    ];
    for (name, function) in functions {
        let steps = check_function(shape, function);
        assert!(steps.contains(&name), "{name}: {steps:?}");
    }
}

#[test]
fn padding_with_another_number() {
    let shape = [1, 2, 3, 4];
    let forward = |_: &Vec<Linear>, x: Tensor<4>| x.pad([(1, 2), (0, 3)], PadMode::Constant(0.5));
    for how in hows() {
        let quantized = of(Vec::new(), shape, how, &forward);
        let float: Vec<&str> = quantized.in_float().iter().map(|n| n.op.name()).collect();
        assert_eq!(float, ["pad"]);
        assert_simulates::<_, 4, 2>(&quantized, shape, &format!("{how:?}"));
    }
}

#[test]
fn an_output_of_codes() {
    // What is moved beside it is dequantized, signs of zeros included.
    let shape = [1, 2, 3, 4];
    for how in hows() {
        let linear = LinearConfig::new(4, 4).init(&device());
        let forward = |module: &Between<Vec<Linear>>, x: Tensor<4>| {
            let y = tanh(module.before.forward(x));
            let z = module.layer[0].forward(y.clone());
            Tensor::cat(vec![y * 0.0, z], 1)
        };
        let module = between(vec![linear], shape, &|_: &Vec<Linear>, x: Tensor<4>| x);
        let batches = [input(shape, 21, &device())];
        let (quantized, _) = quantized(module, how, forward, &batches);
        assert_simulates::<_, 4, 4>(&quantized, shape, &format!("{how:?}"));
    }
}

#[test]
fn weights_with_scales_for_groups_stay_in_float() {
    let how = How::new(
        (4, Mapping::Symmetric, Granularity::Group(2)),
        (8, Mapping::Affine),
    );
    let conv = conv2d(Conv2dConfig::new([4, 4], [1, 1]));
    let forward = |conv: &Conv2d, x: Tensor<4>| relu(conv.forward(x));
    let quantized = of(conv, [1, 4, 2, 2], how, &forward);
    let float: Vec<&str> = quantized
        .in_float()
        .iter()
        .map(|node| node.layer.as_str())
        .collect();
    assert_eq!(float, ["before", "layer", "after"]);
    assert!(quantized.sites().is_empty());
    let integers = quantized.to_integer().unwrap();
    let x = input([2, 4, 2, 2], 7, &device());
    let found = values::<2>(quantized.forward(x.clone()).unwrap());
    // Quantized weights, float activations: what the module itself computes.
    let of_module = values(quantized.module().forward(x.clone(), &forward));
    let (of_integers, _) = integers.run(&values(x), 2).unwrap();
    for ((found, module), integers) in found.iter().zip(&of_module).zip(&of_integers) {
        assert!((found - module).abs() < 1e-5 && (found - integers).abs() < 1e-5);
    }
}

#[test]
fn a_sum_beyond_32_bits_is_refused() {
    let how = How::new(
        (16, Mapping::Symmetric, Granularity::Tensor),
        (16, Mapping::Affine),
    );
    let linear = LinearConfig::new(64, 4).init(&device());
    let quantized = of(linear, [1, 64], how, &|layer: &Linear, x: Tensor<2>| {
        layer.forward(x)
    });
    let error = quantized.to_integer().unwrap_err();
    assert!(error.to_string().contains("32 bits"), "{error}");
}

#[test]
fn softmax_between_products_is_in_float() {
    let forward = |_: &Vec<Linear>, x: Tensor<3>| softmax(x, 2);
    let quantized = of(Vec::new(), [1, 3, 4], How::bits(8, 8), &forward);
    let float: Vec<&str> = quantized
        .in_float()
        .iter()
        .map(|node| node.op.name())
        .collect();
    assert_eq!(float, ["softmax"]);
}

#[derive(Debug, Clone)]
struct Geometry {
    channels: [usize; 2],
    groups: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    dilation: [usize; 2],
    size: [usize; 2],
}

fn geometry() -> impl Strategy<Value = Geometry> {
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    (
        1usize..4,
        pair(1..3),
        pair(1..4),
        pair(1..4),
        [0usize..3, 0..3, 0..3, 0..3],
        pair(1..3),
        pair(5..8),
    )
        .prop_map(
            |(groups, each, kernel, stride, padding, dilation, size)| Geometry {
                channels: each.map(|each| each * groups),
                groups,
                kernel,
                stride,
                padding,
                dilation,
                size,
            },
        )
}

fn how() -> impl Strategy<Value = How> {
    let mapping = || prop_oneof![Just(Mapping::Symmetric), Just(Mapping::Affine)];
    let granularity = prop_oneof![Just(Granularity::Tensor), Just(Granularity::Channel)];
    (
        2u32..=8,
        mapping(),
        granularity,
        2u32..=8,
        mapping(),
        0..3usize,
    )
        .prop_map(
            |(bits, weights, granularity, activation_bits, activations, removed)| {
                let how = How::new((bits, weights, granularity), (activation_bits, activations));
                how.pruned(removed as f64 * 0.4)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_convolution(geometry in geometry(), how in how()) {
        let Geometry { channels, groups, kernel, stride, padding, dilation, size } = geometry;
        let config = Conv2dConfig::new(channels, kernel)
            .with_groups(groups)
            .with_stride(stride)
            .with_dilation(dilation)
            .with_padding(same2(padding));
        let shape = [1, channels[0], size[0], size[1]];
        let forward = |conv: &Conv2d, x: Tensor<4>| relu(conv.forward(x));
        let quantized = of(conv2d(config), shape, how, &forward);
        assert_simulates::<_, 4, 2>(&quantized, shape, &format!("{how:?}"));
    }

    #[test]
    fn any_transposed_convolution(geometry in geometry(), how in how()) {
        let Geometry { channels, groups, kernel, stride, padding, dilation, size } = geometry;
        let config = ConvTranspose2dConfig::new(channels, kernel)
            .with_groups(groups)
            .with_stride(stride)
            .with_dilation(dilation)
            .with_padding([padding[0].min(kernel[0] - 1), padding[1].min(kernel[1] - 1)]);
        let layer = config.init(&device());
        let shape = [1, channels[0], size[0], size[1]];
        let forward = |layer: &burn::nn::conv::ConvTranspose2d, x: Tensor<4>| layer.forward(x);
        let quantized = of(layer, shape, how, &forward);
        assert_simulates::<_, 4, 2>(&quantized, shape, &format!("{how:?}"));
    }
}
