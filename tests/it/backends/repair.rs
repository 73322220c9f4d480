//! Repairs after training: equalized modules compute the same with ranges alike, corrected ones have the
//! means of the original.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Tensor, TensorData};
use burn_compress::compress::{Plan, Quantization};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::repair::{Pair, correct_bias, equalize};
use burn_compress::graph::{Activations, Calibration, Graph, GraphError, Quantized};
use burn_compress::network::NetworkError;

use super::device::{device, is_exact};
use super::models::{spread, values};

// All parameters by path, in order.
fn parameters<M: Module>(module: &M) -> Vec<(String, Vec<f32>)> {
    #[derive(Default)]
    struct All(Vec<String>, Vec<(String, Vec<f32>)>);
    impl ModuleVisitor for All {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.join("."), values(param.val())));
        }
    }
    let mut all = All::default();
    module.visit(&mut all);
    all.1
}

// Weights, norms and statistics from their indices: channels of very unlike range.
fn scattered<M: Module>(module: M) -> M {
    struct Scatter(Vec<String>, usize);
    impl ModuleMapper for Scatter {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.1 += 1;
            let salt = self.1 * 1009;
            let positive = self.0.last().is_some_and(|name| name == "running_var");
            param.map(|old| {
                let dims = old.dims();
                let count: usize = dims.iter().product();
                let values = (0..count).map(|index| {
                    let size = (6.0 * spread(index + salt) - 3.0).exp2();
                    let negative = spread(index * 3 + salt) < 0.5;
                    if negative && !positive { -size } else { size }
                });
                let data = TensorData::new(values.collect::<Vec<f32>>(), dims);
                Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad())
            })
        }
    }
    module.map(&mut Scatter(Vec::new(), 0))
}

fn images(count: usize, channels: usize) -> Tensor<4> {
    let length = count * channels * 36;
    let values: Vec<f32> = (0..length)
        .map(|i| spread(i * 11 + 5) * 2.0 - 0.7)
        .collect();
    let data = TensorData::new(values, [count, channels, 6, 6]);
    Tensor::from_data(data, &device())
}

fn convolution(from: usize, to: usize, kernel: usize, groups: usize, bias: bool) -> Conv2d {
    let around = kernel / 2;
    Conv2dConfig::new([from, to], [kernel, kernel])
        .with_padding(PaddingConfig2d::Explicit(around, around, around, around))
        .with_groups(groups)
        .with_bias(bias)
        .init(&device())
}

fn norm(channels: usize) -> BatchNorm {
    BatchNormConfig::new(channels).init(&device())
}

#[derive(Module, Debug)]
struct Normed {
    one: Conv2d,
    norm: BatchNorm,
    two: Conv2d,
}

impl Normed {
    fn new() -> Self {
        scattered(Self {
            one: convolution(3, 5, 3, 1, true),
            norm: norm(5),
            two: convolution(5, 4, 3, 1, true),
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.norm.forward(self.one.forward(x)));
        self.two.forward(x)
    }
}

fn capture<M: Module>(
    module: &M,
    channels: usize,
    forward: impl Fn(&M, Tensor<4>) -> Tensor<4>,
) -> Graph {
    Graph::capture(module, [1, channels, 6, 6], forward).unwrap()
}

#[track_caller]
fn assert_close(one: &[f32], other: &[f32], tolerance: f32) {
    assert_eq!(one.len(), other.len());
    let size = one.iter().fold(0.0f32, |size, value| size.max(value.abs()));
    for (a, b) in one.iter().zip(other) {
        assert!((a - b).abs() <= tolerance * size, "{a} and {b}");
    }
}

// The pairs, after a check that the output is the same.
#[track_caller]
fn equalized<M: Module>(
    module: M,
    channels: usize,
    forward: impl Fn(&M, Tensor<4>) -> Tensor<4>,
) -> (M, Vec<(String, String)>) {
    let graph = capture(&module, channels, &forward);
    let before = values(forward(&module, images(2, channels)));
    let found = equalize(&graph, module).unwrap();
    let after = values(forward(&found.module, images(2, channels)));
    assert_close(&before, &after, 1e-5);
    let pairs = found.pairs.into_iter();
    let pairs = pairs
        .map(|Pair { first, second }| (first, second))
        .collect();
    (found.module, pairs)
}

fn pair(first: &str, second: &str) -> (String, String) {
    (first.to_string(), second.to_string())
}

// The greatest size for each of the groups that `group` tells of a place.
fn ranges(values: &[f32], count: usize, group: impl Fn(usize) -> usize) -> Vec<f32> {
    let mut ranges = vec![0.0f32; count];
    for (place, value) in values.iter().enumerate() {
        let range = &mut ranges[group(place)];
        *range = range.max(value.abs());
    }
    ranges
}

// By channel, `gamma / sqrt(variance + epsilon)`.
fn factors(norm: &BatchNorm) -> Vec<f32> {
    let gamma = values(norm.gamma.val());
    let variance = values(norm.running_var.value());
    let factor = |(gamma, variance): (f32, f32)| gamma / (variance + norm.epsilon as f32).sqrt();
    gamma.into_iter().zip(variance).map(factor).collect()
}

#[test]
fn two_convolutions_with_a_norm_between_compute_the_same_with_equal_ranges() {
    let module = Normed::new();
    let kept = module.clone();
    let before = parameters(&module);
    let (module, pairs) = equalized(module, 3, Normed::forward);
    assert_eq!(pairs, [pair("one", "two")]);
    let first = values(module.one.weight.val());
    let factors = factors(&module.norm);
    let first: Vec<f32> = (ranges(&first, 5, |place| place / 27).iter().zip(&factors))
        .map(|(range, factor)| range * factor.abs())
        .collect();
    let second = values(module.two.weight.val());
    let second = ranges(&second, 5, |place| place / 9 % 5);
    assert_close(&first, &second, 1e-5);
    // It is the norm and the second convolution that took the factors.
    let changed: Vec<String> = before
        .iter()
        .zip(parameters(&module))
        .filter(|((_, before), (_, after))| before != after)
        .map(|((path, _), _)| path.clone())
        .collect();
    assert_eq!(changed, ["norm.gamma", "norm.beta", "two.weight"]);
    assert_eq!(parameters(&kept), before, "a clone is what it was");
    // Nothing is left to do.
    let (again, _) = equalized(module.clone(), 3, Normed::forward);
    let (one, other) = (parameters(&module), parameters(&again));
    for ((_, one), (_, other)) in one.iter().zip(&other) {
        assert_close(one, other, 1e-5);
    }
}

#[derive(Module, Debug)]
struct Chain {
    widen: Conv2d,
    norm1: BatchNorm,
    depthwise: Conv2d,
    norm2: BatchNorm,
    narrow: Conv2d,
}

#[test]
fn a_depthwise_chain_is_equalized_until_it_settles() {
    let chain = scattered(Chain {
        widen: convolution(2, 6, 1, 1, false),
        norm1: norm(6),
        depthwise: convolution(6, 6, 3, 6, false),
        norm2: norm(6),
        narrow: convolution(6, 3, 1, 1, true),
    });
    let (chain, pairs) = equalized(chain, 2, |chain: &Chain, x| {
        let x = relu(chain.norm1.forward(chain.widen.forward(x)));
        let x = relu(chain.norm2.forward(chain.depthwise.forward(x)));
        chain.narrow.forward(x)
    });
    assert_eq!(
        pairs,
        [pair("widen", "depthwise"), pair("depthwise", "narrow")]
    );
    let times = |ranges: Vec<f32>, factors: Vec<f32>| -> Vec<f32> {
        let both = ranges.iter().zip(factors);
        both.map(|(range, factor)| range * factor.abs()).collect()
    };
    let widen = ranges(&values(chain.widen.weight.val()), 6, |place| place / 2);
    let widen = times(widen, factors(&chain.norm1));
    let depthwise = ranges(&values(chain.depthwise.weight.val()), 6, |place| place / 9);
    let depthwise = times(depthwise, factors(&chain.norm2));
    let narrow = ranges(&values(chain.narrow.weight.val()), 6, |place| place % 6);
    assert_close(&widen, &depthwise, 1e-4);
    assert_close(&depthwise, &narrow, 1e-4);
}

#[derive(Module, Debug)]
struct Every {
    one: Conv2d,
    grouped: Conv2d,
    up: ConvTranspose2d,
    last: ConvTranspose2d,
    pool: MaxPool2d,
}

#[test]
fn groups_transposed_convolutions_and_poolings_are_followed() {
    let transposed = |from, to, groups| {
        ConvTranspose2dConfig::new([from, to], [2, 2])
            .with_stride([2, 2])
            .with_groups(groups)
            .init(&device())
    };
    let every = scattered(Every {
        one: convolution(2, 8, 3, 1, true),
        grouped: convolution(8, 4, 3, 2, true),
        up: transposed(4, 6, 2),
        last: transposed(6, 2, 1),
        pool: MaxPool2dConfig::new([2, 2]).init(),
    });
    let (_, pairs) = equalized(every, 2, |every: &Every, x| {
        let x = every.pool.forward(relu(every.one.forward(x)));
        let x = every.up.forward(relu(every.grouped.forward(x)));
        every.last.forward(x)
    });
    let expected = [
        pair("one", "grouped"),
        pair("grouped", "up"),
        pair("up", "last"),
    ];
    assert_eq!(pairs, expected);
}

#[derive(Module, Debug)]
struct Rows {
    one: Linear,
    two: Linear,
}

// On the rows of all channels.
fn by_rows(x: Tensor<4>, forward: impl Fn(Tensor<3>) -> Tensor<3>) -> Tensor<4> {
    let x = forward(x.flatten(1, 2));
    x.unsqueeze_dim(1)
}

#[test]
fn linear_layers_are_equalized_too() {
    let linear = |from, to| LinearConfig::new(from, to).init(&device());
    let rows = scattered(Rows {
        one: linear(6, 7),
        two: linear(7, 3),
    });
    let (rows, pairs) = equalized(rows, 2, |rows: &Rows, x| {
        by_rows(x, |x| rows.two.forward(relu(rows.one.forward(x))))
    });
    assert_eq!(pairs, [pair("one", "two")]);
    let first = ranges(&values(rows.one.weight.val()), 7, |place| place % 7);
    let second = ranges(&values(rows.two.weight.val()), 7, |place| place / 3);
    assert_close(&first, &second, 1e-5);
}

#[test]
fn unfit_pairs_are_untouched() {
    type Forward = fn(&Normed, Tensor<4>) -> Tensor<4>;
    let middle = |net: &Normed, x: Tensor<4>| net.norm.forward(net.one.forward(x));
    let _: Forward = middle;
    let unfit: [(&str, Forward); 6] = [
        ("a ReLU6 does not scale", |net, x| {
            let x = net.norm.forward(net.one.forward(x));
            net.two.forward(x.clamp(0.0, 6.0))
        }),
        ("nor does a sigmoid", |net, x| {
            let x = net.norm.forward(net.one.forward(x));
            net.two.forward(sigmoid(x))
        }),
        ("another reads the middle", |net, x| {
            let x = relu(net.norm.forward(net.one.forward(x)));
            net.two.forward(x.clone()) + x.clone().narrow(1, 0, 4)
        }),
        ("the middle is part of the output", |net, x| {
            let x = relu(net.norm.forward(net.one.forward(x)));
            Tensor::cat(vec![net.two.forward(x.clone()), x], 1)
        }),
        ("a residual comes in", |net, x| {
            let y = net.norm.forward(net.one.forward(x.clone()));
            let y = relu(y + Tensor::cat(vec![x.clone(), x.narrow(1, 0, 2)], 1));
            net.two.forward(y)
        }),
        ("the norm is used twice", |net, x| {
            let y = net.norm.forward(net.one.forward(x.clone()));
            let y = net.norm.forward(y.exp());
            net.two.forward(relu(y))
        }),
    ];
    for (why, forward) in unfit {
        let net = Normed::new();
        let before = parameters(&net);
        let (net, pairs) = equalized(net, 3, forward);
        assert!(pairs.is_empty(), "{why}: {pairs:?}");
        assert_eq!(parameters(&net), before, "{why}");
    }
    // The second convolution used twice.
    let rows = scattered(Rows {
        one: LinearConfig::new(6, 6).init(&device()),
        two: LinearConfig::new(6, 6).init(&device()),
    });
    let before = parameters(&rows);
    let (rows, pairs) = equalized(rows, 2, |rows: &Rows, x| {
        by_rows(x, |x| {
            let x = rows.two.forward(relu(rows.one.forward(x)));
            rows.two.forward(relu(x))
        })
    });
    assert!(pairs.is_empty());
    assert_eq!(parameters(&rows), before);
}

#[test]
fn channels_of_zeros_stay_and_parameters_train_on() {
    let mut net = Normed::new();
    net.two.weight = net.two.weight.map(|weight| {
        let zeros = Tensor::zeros([4, 1, 3, 3], &weight.device());
        Tensor::cat(vec![zeros, weight.narrow(1, 1, 4)], 1)
    });
    let before = values(net.norm.gamma.val());
    let (net, _) = equalized(net.train(), 3, |net: &Normed, x| net.valid().forward(x));
    assert_eq!(values(net.norm.gamma.val())[0], before[0]);
    assert!(
        parameters(&net)
            .iter()
            .flat_map(|(_, v)| v)
            .all(|v| v.is_finite())
    );
    assert!(net.norm.gamma.val().is_require_grad() && net.two.weight.val().is_require_grad());
}

#[test]
fn what_cannot_be_equalized_is_an_error() {
    let net = Normed::new();
    let graph = capture(&net, 3, Normed::forward);
    let quantization = Quantization::to(Scheme::symmetric(8).unwrap());
    let (attached, _) = Plan::new().quantize(quantization).attach(net).unwrap();
    let error = equalize(&graph, attached).err().unwrap();
    assert!(matches!(error, GraphError::Parameter { .. }), "{error}");
    let mut net = Normed::new();
    net.one.weight = net.one.weight.map(|weight| weight * f32::INFINITY);
    let error = equalize(&graph, net).err().unwrap();
    let GraphError::Parameter { path, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(path, "one.weight");
    let rows = Rows {
        one: LinearConfig::new(6, 6).init(&device()),
        two: LinearConfig::new(6, 6).init(&device()),
    };
    assert!(equalize(&graph, rows).is_err());
}

// Two convolutions at few bits: rounding moves the means far.
fn quantized(training: bool) -> (Graph, Normed, Quantized<Normed>) {
    let net = Normed::new();
    let graph = capture(&net, 3, Normed::forward).simplify();
    let scheme = Scheme::new(3, Mapping::Symmetric, Granularity::Channel).unwrap();
    let plan = Plan::new().quantize(Quantization::to(scheme));
    let float = net.valid();
    let net = if training { net.train() } else { net };
    let (net, compression) = plan.attach(net).unwrap();
    let activations = Activations::bits(4).unwrap();
    let mut calibration = Calibration::new(graph.clone(), &net, &compression, activations).unwrap();
    calibration.observe(&net, images(8, 3)).unwrap();
    (graph, float, calibration.finish(net).unwrap())
}

// Of each output channel, in the mean over batch and places.
fn means(output: Tensor<4>) -> Vec<f32> {
    values(output.mean_dim(0).mean_dim(2).mean_dim(3))
}

fn shift(one: &[f32], other: &[f32]) -> f32 {
    let apart = one.iter().zip(other).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, f32::max)
}

#[test]
fn correction_brings_the_means_of_the_original_back() {
    for training in [false, true] {
        let (graph, float, quantized) = quantized(training);
        let exact: Tensor<4> = graph.forward(&float, images(8, 3)).unwrap();
        let exact = means(exact);
        let size = exact.iter().fold(0.0f32, |size, mean| size.max(mean.abs()));
        let of = |quantized: &Quantized<Normed>| {
            let output: Tensor<4> = quantized.valid().forward(images(8, 3)).unwrap();
            means(output)
        };
        let before = shift(&exact, &of(&quantized));
        assert!(before > 0.01 * size, "{before} of {size}");
        // In two batches of unlike size, as one.
        let all = images(8, 3);
        let batches = [all.clone().narrow(0, 0, 3), all.narrow(0, 3, 5)];
        let corrected = correct_bias(quantized, batches).unwrap();
        let after = shift(&exact, &of(&corrected));
        assert!(after < 1e-4 * size, "{after} of {size}, {before} before");
        // Again: there is nothing left to correct.
        let twice = correct_bias(corrected, [images(8, 3)]).unwrap();
        let after = shift(&exact, &of(&twice));
        assert!(after < 1e-4 * size, "{after} of {size}");
    }
}

#[test]
fn a_planted_shift_is_removed() {
    // Weights of 0.4 and 1 at two bits (codes -1 to 1): 0.4 becomes 0, and inputs are all positive.
    let mut net = Rows {
        one: LinearConfig::new(6, 2).init(&device()),
        two: LinearConfig::new(2, 1).init(&device()),
    };
    let weights = [
        [0.4, 1.0],
        [1.0, 0.4],
        [0.4, 0.4],
        [0.4, 0.4],
        [0.4, 0.4],
        [0.4, 0.4],
    ];
    net.one.weight = net
        .one
        .weight
        .map(|_| Tensor::from_data(weights, &device()));
    net.two.weight = (net.two.weight).map(|_| Tensor::from_data([[1.0], [0.9]], &device()));
    let forward =
        |net: &Rows, x: Tensor<4>| by_rows(x, |x| net.two.forward(relu(net.one.forward(x))));
    let graph = capture(&net, 2, forward).simplify();
    let input = images(4, 2).abs();
    let exact = forward(&net, input.clone()).mean().into_scalar::<f32>();
    let scheme = Scheme::symmetric(2).unwrap();
    let plan = Plan::new().quantize(Quantization::to(scheme));
    let (net, compression) = plan.attach(net).unwrap();
    let activations = Activations::bits(8).unwrap();
    let mut calibration = Calibration::new(graph, &net, &compression, activations).unwrap();
    calibration.observe(&net, input.clone()).unwrap();
    let quantized = calibration.finish(net).unwrap();
    let mean = |quantized: &Quantized<Rows>| {
        let output: Tensor<4> = quantized.forward(input.clone()).unwrap();
        output.mean().into_scalar::<f32>()
    };
    let before = mean(&quantized);
    assert!((before - exact).abs() > 0.3 * exact, "{before} for {exact}");
    let after = mean(&correct_bias(quantized, [input.clone()]).unwrap());
    assert!((after - exact).abs() < 1e-3 * exact, "{after} for {exact}");
}

#[test]
fn a_corrected_model_is_its_integer_form_bit_for_bit() {
    let (_, _, quantized) = quantized(false);
    let plain: Tensor<4> = quantized.forward(images(5, 3)).unwrap();
    let corrected = correct_bias(quantized, [images(8, 3)]).unwrap();
    let output: Tensor<4> = corrected.forward(images(5, 3)).unwrap();
    assert_ne!(values(plain), values(output.clone()));
    let integers = corrected.to_integer().unwrap();
    let (whole, statistics) = integers.run(&values(images(5, 3)), 5).unwrap();
    assert_eq!(statistics.inexact(), 0);
    if is_exact() {
        assert_eq!(whole, values(output));
    }
}

#[test]
fn the_correction_is_in_the_record_and_no_optimizer_moves_it() {
    let (_, _, quantized) = quantized(true);
    let corrected = correct_bias(quantized, [images(8, 3)]).unwrap();
    let found: HashMap<_, _> = parameters(&corrected).into_iter().collect();
    assert_eq!(found["activations.correction"].len(), 9);
    struct Trained(Vec<String>, Vec<String>);
    impl ModuleVisitor for Trained {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.base().is_require_grad() {
                self.1.push(self.0.join("."));
            }
        }
    }
    let mut trained = Trained(Vec::new(), Vec::new());
    corrected.visit(&mut trained);
    assert!(trained.1.contains(&"activations.log_scale".to_string()));
    assert!(!trained.1.contains(&"activations.correction".to_string()));
}

#[test]
fn what_cannot_be_corrected_is_an_error() {
    let none: [Tensor<4>; 0] = [];
    let error = correct_bias(quantized(false).2, none).err().unwrap();
    assert!(matches!(error, GraphError::NoData), "{error}");
    let error = correct_bias(quantized(false).2, [images(2, 5)])
        .err()
        .unwrap();
    assert!(
        matches!(error, GraphError::Network(NetworkError::Input { .. })),
        "{error}"
    );
    let infinite = images(2, 3) * f32::INFINITY;
    let error = correct_bias(quantized(false).2, [infinite]).err().unwrap();
    assert!(
        matches!(error, GraphError::Network(NetworkError::Activation { .. })),
        "{error}"
    );
}
