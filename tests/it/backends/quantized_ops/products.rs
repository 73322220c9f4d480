//! Convolutions, linear layers and products of two activations.

use burn::nn::conv::{
    Conv1dConfig, Conv2d, Conv2dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig,
};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig1d};
use burn::tensor::Tensor;
use burn::tensor::activation::{relu, relu6, tanh};
use burn_compress::format::{Granularity, Mapping};
use proptest::prelude::*;

use super::super::device::cases;
use super::super::models::values;
use super::*;

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
    assert!(quantized.quantizers().is_empty());
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
    #![proptest_config(ProptestConfig::with_cases(cases(40)))]

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
