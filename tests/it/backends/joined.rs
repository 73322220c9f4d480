//! Tensors of unlike range that a concatenation joins: each has a scale of its own where what reads them
//! has a factor for each channel.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::interpolate::{Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::{Activations, Calibrator};
use burn_compress::network::Op;
use burn_compress::network::{Network, StepOp};

use super::device::device;
use super::far::{ALL, attached, attached_with, eight, error, measured, measured_with, within};
use super::models::values;

/// Two branches, the second a hundred times the first, and layers that weigh the first a hundred times
/// as much.
#[derive(Module, Debug)]
struct Branches {
    small: Conv2d,
    large: Conv2d,
    after: Conv2d,
    grouped: Conv2d,
    up: ConvTranspose2d,
    /// Two groups of four channels.
    up_in_groups: ConvTranspose2d,
    norm: BatchNorm,
    grown: Conv2d,
    last: Conv2d,
    head: Linear,
    rows: Linear,
    alone: Conv2d,
}

fn conv(channels: [usize; 2], kernel: usize, padding: usize, groups: usize) -> Conv2d {
    let padding = PaddingConfig2d::Explicit(padding, padding, padding, padding);
    let mut layer = Conv2dConfig::new(channels, [kernel; 2])
        .with_padding(padding)
        .with_groups(groups)
        .init(&device());
    layer.bias = bias(channels[1]);
    layer
}

// Not from the device's generator, which all tests share.
fn bias(length: usize) -> Option<Param<Tensor<1>>> {
    Some(param(within([length], -0.1, 0.1, length)))
}

// Weights of these dimensions, on an axis of which the second half is so much larger than the first.
fn halves<const D: usize>(dims: [usize; D], axis: usize, larger: f32, salt: usize) -> Tensor<D> {
    let weight = within(dims, -0.5, 0.5, salt);
    let length = dims[axis];
    let first = weight.clone().narrow(axis, 0, length / 2);
    let second = weight.narrow(axis, length / 2, length - length / 2);
    Tensor::cat(vec![first, second * larger], axis)
}

fn param<const D: usize>(tensor: Tensor<D>) -> Param<Tensor<D>> {
    Param::from_tensor(tensor)
}

impl Branches {
    fn new(weighs: f32) -> Self {
        let mut net = Self {
            small: conv([2, 4], 3, 1, 1),
            large: conv([2, 4], 3, 1, 1),
            after: conv([8, 3], 3, 1, 1),
            grouped: conv([8, 4], 3, 1, 4),
            up: ConvTranspose2dConfig::new([8, 3], [2, 2])
                .with_stride([2, 2])
                .init(&device()),
            up_in_groups: ConvTranspose2dConfig::new([8, 6], [2, 2])
                .with_stride([2, 2])
                .with_groups(2)
                .init(&device()),
            norm: BatchNormConfig::new(8).init(&device()),
            grown: conv([8, 4], 1, 0, 1),
            last: conv([12, 3], 1, 0, 1),
            head: LinearConfig::new(8 * 36, 3).init(&device()),
            rows: LinearConfig::new(8, 3).init(&device()),
            alone: conv([4, 3], 3, 1, 1),
        };
        net.up.bias = bias(3);
        net.up_in_groups.bias = bias(6);
        net.head.bias = bias(3);
        net.rows.bias = bias(3);
        net.small.weight = param(within([4, 2, 3, 3], -0.1, 0.2, 1));
        net.large.weight = param(within([4, 2, 3, 3], -10.0, 20.0, 2));
        net.after.weight = param(halves([3, 8, 3, 3], 1, weighs, 3));
        // Groups of two channels, of one branch each.
        net.grouped.weight = param(within([4, 2, 3, 3], -0.5, 0.5, 4));
        net.up.weight = param(halves([8, 3, 2, 2], 0, weighs, 5));
        net.up_in_groups.weight = param(halves([8, 3, 2, 2], 0, weighs, 13));
        net.grown.weight = param(within([4, 8, 1, 1], -0.5, 0.5, 6));
        let last = halves([3, 8, 1, 1], 1, weighs, 7);
        let of_grown = within([3, 4, 1, 1], -0.5, 0.5, 8);
        net.last.weight = param(Tensor::cat(vec![last, of_grown], 1));
        net.head.weight = param(halves([8 * 36, 3], 0, weighs, 9) * 0.3);
        net.rows.weight = param(halves([8, 3], 0, weighs, 11));
        net.alone.weight = param(within([3, 4, 3, 3], -0.5, 0.5, 12));
        // As after training: every channel of about the same size.
        let variance = halves([8], 0, 1e4, 10).abs() + 1e-3;
        net.norm.running_var = burn::module::RunningState::new(variance);
        net
    }

    fn branches(&self, x: Tensor<4>) -> [Tensor<4>; 2] {
        [
            relu(self.small.forward(x.clone())),
            relu(self.large.forward(x)),
        ]
    }

    fn joined(&self, x: Tensor<4>) -> Tensor<4> {
        Tensor::cat(self.branches(x).into(), 1)
    }

    /// Two channels of each branch, then the other two of each.
    fn in_turns(&self, x: Tensor<4>) -> Tensor<4> {
        let [small, large] = self.branches(x);
        let parts = [&small, &large].map(|x| [0, 2].map(|from| x.clone().narrow(1, from, 2)));
        let [[a, c], [b, d]] = parts;
        Tensor::cat(vec![a, b, c, d], 1)
    }

    // Each layer reads what it was given and all that the one before it made.
    fn dense(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.joined(x);
        let y = self.grown.forward(relu(self.norm.forward(x.clone())));
        self.last.forward(Tensor::cat(vec![x, y], 1))
    }
}

type Forward = fn(&Branches, Tensor<4>) -> Tensor<4>;

fn readers() -> Vec<(&'static str, Forward)> {
    vec![
        ("a convolution", |net, x| net.after.forward(net.joined(x))),
        ("groups", |net, x| net.grouped.forward(net.joined(x))),
        ("a transposed convolution", |net, x| {
            net.up.forward(net.joined(x))
        }),
        ("a transposed convolution in groups", |net, x| {
            net.up_in_groups.forward(net.joined(x))
        }),
        ("a linear layer", |net, x| {
            let y = net.head.forward(net.joined(x).flatten::<2>(1, 3));
            y.reshape([-1, 3, 1, 1])
        }),
        ("a linear layer on channels", |net, x| {
            net.rows.forward(net.joined(x).permute([0, 2, 3, 1]))
        }),
        ("a max pool before", |net, x| {
            let pool = MaxPool2dConfig::new([3, 3])
                .with_strides([1, 1])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
            net.after.forward(pool.init().forward(net.joined(x)))
        }),
        ("enlarged branches, as in a U-Net", |net, x| {
            let enlarge = Interpolate2dConfig::new()
                .with_output_size(Some([12, 12]))
                .with_mode(InterpolateMode::Nearest)
                .init();
            let [small, large] = net.branches(x);
            let x = vec![enlarge.forward(small), enlarge.forward(large)];
            net.after.forward(Tensor::cat(x, 1))
        }),
        ("parts of both", |net, x| {
            let x = net.joined(x);
            let parts = vec![x.clone().narrow(1, 2, 6), x.narrow(1, 0, 2)];
            let x = Tensor::cat(parts, 1);
            // As they were.
            let parts = vec![x.clone().narrow(1, 6, 2), x.narrow(1, 0, 6)];
            net.after.forward(Tensor::cat(parts, 1))
        }),
        ("a branch that another layer reads too", |net, x| {
            let [small, large] = net.branches(x);
            let joined = Tensor::cat(vec![small.clone(), large], 1);
            net.after.forward(joined) + net.alone.forward(small)
        }),
        ("norms, as in a DenseNet", Branches::dense),
    ]
}

fn images(salt: usize) -> Tensor<4> {
    within([2, 2, 6, 6], -1.0, 1.0, salt)
}

// Those that calibration sees: what saturates on others is another matter.
fn seen(_: usize) -> Tensor<4> {
    within([4, 2, 6, 6], -1.0, 1.0, 7)
}

#[test]
fn branches_of_unlike_range_have_scales_of_their_own() {
    let net = Branches::new(0.01);
    for (what, forward) in readers() {
        let (found, _) = measured(&net, eight(Calibrator::MinMax), forward, seen, what);
        assert!(found < 0.03, "{what}: {found}");
    }
    for calibrator in ALL {
        let what = format!("{calibrator:?}");
        let (found, _) = measured(&net, eight(calibrator), readers()[0].1, seen, &what);
        assert!(found < 0.03, "{what}: {found}");
    }
}

#[test]
fn and_so_has_an_input_that_is_joined_with_a_multiple_of_itself() {
    let linear = LinearConfig::new(8, 4).init(&device());
    let linear = Linear {
        weight: param(halves([8, 4], 0, 0.01, 3)),
        ..linear
    };
    let forward =
        |linear: &Linear, x: Tensor<2>| linear.forward(Tensor::cat(vec![x.clone(), x * 100.0], 1));
    let input = |salt| within([64, 4], 0.0, 1.0, salt);
    for calibrator in ALL {
        let what = format!("{calibrator:?}");
        let (found, _) = measured(&linear, eight(calibrator), forward, input, &what);
        assert!(found < 0.02, "{what}: {found}");
    }
}

#[test]
fn weights_of_any_scheme_take_the_factors() {
    let net = Branches::new(0.01);
    for (bits, mapping, granularity, bound) in [
        (8, Mapping::Affine, Granularity::Channel, 0.03),
        (8, Mapping::Symmetric, Granularity::Tensor, 0.04),
        (8, Mapping::Affine, Granularity::Tensor, 0.04),
        (4, Mapping::Symmetric, Granularity::Channel, 0.2),
    ] {
        let scheme = Scheme::new(bits, mapping, granularity).unwrap();
        let what = format!("{scheme:?}");
        let how = eight(Calibrator::LeastSquares);
        let (found, _) = measured_with(scheme, &net, how, readers()[0].1, seen, &what);
        assert!(found < bound, "{what}: {found}");
    }
}

// Each group reads one branch, or half of either: a factor is that of an input of the whole layer, and a
// range one of an output of the whole layer.
#[test]
fn so_do_those_of_a_transposed_convolution_in_groups() {
    let of_branches = Branches::new(0.01);
    let mut in_turns = of_branches.clone();
    let weight = in_turns.up_in_groups.weight.val();
    // The same input channels, in the order of the parts.
    let order = [0, 4, 2, 6].map(|from| weight.clone().narrow(0, from, 2));
    in_turns.up_in_groups.weight = param(Tensor::cat(order.into(), 0));
    let one_each: Forward = |net, x| net.up_in_groups.forward(net.joined(x));
    let both: Forward = |net, x| net.up_in_groups.forward(net.in_turns(x));
    for (bits, mapping, granularity, bound) in [
        (8, Mapping::Symmetric, Granularity::Channel, 0.03),
        (8, Mapping::Affine, Granularity::Channel, 0.03),
        (8, Mapping::Symmetric, Granularity::Tensor, 0.04),
        (8, Mapping::Affine, Granularity::Tensor, 0.04),
    ] {
        let scheme = Scheme::new(bits, mapping, granularity).unwrap();
        for (net, forward, groups) in [
            (&of_branches, one_each, "of one branch"),
            (&in_turns, both, "of both"),
        ] {
            let what = format!("{groups}, {scheme:?}");
            let how = eight(Calibrator::MinMax);
            let (found, quantized) = measured_with(scheme, net, how, forward, seen, &what);
            assert!(found < bound, "{what}: {found}");
            assert!(joins_scales(&quantized.to_integer().unwrap()), "{what}");
        }
    }
}

// Whether a model joins codes of several scales.
fn joins_scales(model: &Network) -> bool {
    let grid = |value| match value {
        burn_compress::network::Value::Node(index) => model.steps()[index].grid,
        _ => None,
    };
    let joins = |op: &StepOp| matches!(op, StepOp::Move(Op::Concatenate { .. }));
    let mut joined = model.steps().iter().filter(|step| joins(&step.op));
    joined.any(|step| {
        let grids = step.inputs.iter().filter_map(|value| grid(*value));
        let scales: Vec<f32> = grids.map(|grid| grid.scale()).collect();
        scales.iter().any(|scale| *scale != scales[0])
    })
}

#[test]
fn one_scale_stays_where_it_is_as_good_or_needed() {
    let net = Branches::new(1.0);
    // The small branch counts for little: so does its rounding.
    let input = [images(1), images(2)];
    let how = eight(Calibrator::MinMax);
    let (quantized, _) = attached(&net, how, readers()[0].1, &input);
    assert!(!joins_scales(&quantized.to_integer().unwrap()));
    let net = Branches::new(0.01);
    let (quantized, _) = attached(&net, how, readers()[0].1, &input);
    assert!(joins_scales(&quantized.to_integer().unwrap()));
    // What is asked for as real values, or moved otherwise.
    let needed: [Forward; 2] = [
        |net, x| {
            let x = net.joined(x);
            Tensor::cat(vec![net.after.forward(x.clone()), x], 1)
        },
        |net, x| {
            let [small, large] = net.branches(x);
            net.small
                .forward(Tensor::cat(vec![small, large], 2).narrow(1, 0, 2))
        },
    ];
    for forward in needed {
        let (quantized, _) = attached(&net, how, forward, &input);
        assert!(!joins_scales(&quantized.to_integer().unwrap()));
    }
}

#[test]
fn a_file_holds_joined_scales() {
    let net = Branches::new(0.01);
    let how = eight(Calibrator::MinMax);
    let (quantized, _) = attached(&net, how, readers()[0].1, &[images(1)]);
    let rows = quantized.table().unwrap().0;
    let layers: Vec<&str> = rows
        .iter()
        .map(|row| row.quantizer.layer.as_str())
        .collect();
    assert_eq!(layers, ["input", "small", "large"]);
    let [small, large] = [&rows[1], &rows[2]];
    assert!(small.high < 2.0 && large.high > 20.0, "{rows:?}");
    let integers = quantized.to_integer().unwrap();
    let read = Network::from_bytes(&integers.to_bytes().unwrap()).unwrap();
    assert_eq!(read, integers);
}

#[test]
fn training_computes_what_it_will_compute() {
    let net = Branches::new(0.01);
    let forward = readers()[0].1;
    // Nothing saturates: there would be no gradient.
    // Weights and input are fine, so that hardly any value changes its side of a ReLU.
    let how = Activations {
        input_bits: 14,
        ..eight(Calibrator::MinMax)
    };
    let weights = Scheme::symmetric(14).unwrap();
    let (quantized, _) = attached_with(weights, &net, how, forward, &[images(5) * 1.5]);
    let device = device().autodiff();
    let x = || Tensor::<4>::from_data(images(5).into_data(), &device);
    let (quantized, exact) = (quantized.train(), net.train());
    let found: Tensor<4> = quantized.forward(x()).unwrap();
    let wanted = forward(&exact, x());
    let apart = error(&values(found.clone()), &values(wanted.clone()));
    assert!(apart < 0.02, "{apart}");
    let gradients = |output: Tensor<4>, net: &Branches| {
        let gradients = (output.clone() * output).sum().backward();
        let of = |weight: &Param<Tensor<4>>| values(weight.base().grad(&gradients).unwrap());
        let layers = [&net.small, &net.large, &net.after];
        layers.map(|layer| of(&layer.weight))
    };
    let found = gradients(found, quantized.module());
    let wanted = gradients(wanted, &exact);
    for (found, wanted) in found.iter().zip(&wanted) {
        let apart = error(found, wanted);
        assert!(apart < 0.03, "{apart}");
    }
}
