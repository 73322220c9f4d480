//! Poolings, means and movements.

use burn::nn::conv::Conv2dConfig;
use burn::nn::pool::{
    AvgPool1dConfig, AvgPool2d, AvgPool2dConfig, MaxPool1dConfig, MaxPool2dConfig,
};
use burn::nn::{Linear, PaddingConfig1d};
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, relu, relu6, tanh};
use burn::tensor::module::{adaptive_avg_pool1d, adaptive_avg_pool2d, interpolate};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, PadMode};

use burn_compress::graph::{Calibration, Graph, GraphError};
use burn_compress::network::NetworkError;

use super::super::device::is_exact;
use super::super::models::values;
use super::*;

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
fn a_window_in_the_padding_alone_is_zero() {
    for include in [true, false] {
        let config = AvgPool2dConfig::new([1, 2]).with_strides([2, 2]);
        let config = config.with_padding(same2([1, 2, 1, 2]));
        let pool = config.with_count_include_pad(include).init();
        let shape = [1, 2, 3, 4];
        let forward = |pool: &AvgPool2d, x: Tensor<4>| pool.forward(x);
        let seen = values(pool.forward(Tensor::ones(shape, &device())));
        if seen.iter().all(|mean| mean.is_finite()) {
            check(pool, shape, forward);
            continue;
        }
        // Where Burn's own pooling divides by no element, as ndarray's does, there is no range to find.
        assert!(!include && !is_exact());
        let module = between(pool, shape, &forward);
        let run = |module: &Between<AvgPool2d>, x| module.forward(x, &forward);
        let graph = Graph::capture(&module, shape, run).unwrap().simplify();
        let how = How::bits(8, 8);
        let (module, compression) = how.plan().attach(module).unwrap();
        let calibration = Calibration::new(graph, &module, &compression, how.activations);
        let error = calibration
            .unwrap()
            .observe(&module, input(shape, 21, &device()));
        assert!(
            matches!(
                error,
                Err(GraphError::Network(NetworkError::Activation { .. }))
            ),
            "{error:?}"
        );
    }
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
