//! Activations far from zero: codes around their middle, where no zeros come among them.

use burn::module::{Module, Param, RunningState};
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Tensor, TensorData};
use burn_compress::compress::{Compression, Plan, Quantization};
use burn_compress::engine::Program;
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::repair::correct_bias;
use burn_compress::graph::{Activations, Calibration, Calibrator, Graph, Quantized};

use super::device::{device, is_exact};
use super::models::{spread, values};
use super::quantized::{assert_equal, assert_simulates};
use super::runs::{isas, options};

pub const ALL: [Calibrator; 5] = [
    Calibrator::MinMax,
    Calibrator::MovingAverage { momentum: 0.9 },
    Calibrator::Percentile { outside: 0.0001 },
    Calibrator::Entropy,
    Calibrator::LeastSquares,
];

pub fn within<const D: usize>(shape: [usize; D], low: f32, high: f32, salt: usize) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let numbers = (0..count).map(|i| low + (high - low) * spread(salt * 100_003 + i));
    let data = TensorData::new(numbers.collect::<Vec<f32>>(), shape);
    Tensor::from_data(data, &device())
}

pub fn attached<M: Module, const D: usize, const E: usize>(
    module: &M,
    activations: Activations,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    batches: &[Tensor<D>],
) -> (Quantized<M>, Compression) {
    let weights = Scheme::symmetric(8).unwrap();
    attached_with(weights, module, activations, forward, batches)
}

pub fn attached_with<M: Module, const D: usize, const E: usize>(
    weights: Scheme,
    module: &M,
    activations: Activations,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    batches: &[Tensor<D>],
) -> (Quantized<M>, Compression) {
    let mut one = batches[0].dims();
    one[0] = 1;
    let graph = Graph::capture(module, one, forward).unwrap().simplify();
    let plan = Plan::new().quantize(Quantization::to(weights));
    let (module, compression) = plan.attach(module.clone()).unwrap();
    let mut calibration = Calibration::new(graph, &module, &compression, activations).unwrap();
    for batch in batches {
        calibration.observe(&module, batch.clone()).unwrap();
    }
    (calibration.finish(module).unwrap(), compression)
}

/// The size of what differs next to that of the exact values' spread around their mean.
pub fn error(found: &[f32], exact: &[f32]) -> f64 {
    let count = exact.len() as f64;
    let mean = exact.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let spread: f64 = exact.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    let apart = found.iter().zip(exact);
    let apart: f64 = apart.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (apart / spread).sqrt()
}

/// The error of a quantized module on inputs that calibration has not seen, next to Burn's own forward
/// pass. Its integers are the simulation's, and those of the engine.
#[track_caller]
pub fn measured<M: Module, const D: usize, const E: usize>(
    module: &M,
    activations: Activations,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    input: impl Fn(usize) -> Tensor<D>,
    what: &str,
) -> (f64, Quantized<M>) {
    let weights = Scheme::symmetric(8).unwrap();
    measured_with(weights, module, activations, forward, input, what)
}

#[track_caller]
pub fn measured_with<M: Module, const D: usize, const E: usize>(
    weights: Scheme,
    module: &M,
    activations: Activations,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    input: impl Fn(usize) -> Tensor<D>,
    what: &str,
) -> (f64, Quantized<M>) {
    let batches = [input(1), input(2), input(3)];
    let (quantized, _) = attached_with(weights, module, activations, &forward, &batches);
    let test = input(7);
    let exact = values(forward(module, test.clone()));
    let integers = assert_simulates::<M, D, E>(&quantized, test.dims(), what);
    assert_equal::<M, D, E>(&quantized, &integers, test.clone(), what);
    let (flat, batch) = (values(test.clone()), test.dims()[0]);
    let (computed, _) = integers.run(&flat, batch).unwrap();
    for isa in isas() {
        let program = Program::compile(&integers, options(isa, 2)).unwrap();
        let found = program.run(&flat, batch).unwrap();
        assert_eq!(found, computed, "{what}, {}", isa.name());
    }
    (error(&computed, &exact), quantized)
}

pub fn eight(calibrator: Calibrator) -> Activations {
    Activations {
        calibrator,
        ..Activations::bits(8).unwrap()
    }
}

// Kernels that sum up to zero: what is of interest is small next to what they read.
fn differences() -> Conv1d {
    let conv = Conv1dConfig::new(1, 8, 5).init(&device());
    let weight = within([8, 1, 5], -1.0, 1.0, 5);
    let weight = weight.clone() - weight.mean_dim(2);
    Conv1d {
        weight: Param::from_tensor(weight),
        ..conv
    }
}

#[test]
fn a_sensor_in_kelvin_is_as_exact_as_one_that_is_centred_by_hand() {
    let conv = differences();
    let forward = |conv: &Conv1d, x: Tensor<3>| conv.forward(x);
    let kelvin = |salt| within([16, 1, 64], 290.0, 310.0, salt);
    let centred = |salt| kelvin(salt) - 300.0;
    for mapping in [Mapping::Affine, Mapping::Symmetric] {
        for calibrator in ALL {
            for input_bits in [8, 14] {
                let how = Activations {
                    scheme: Scheme::new(8, mapping, Granularity::Tensor).unwrap(),
                    input_bits,
                    ..eight(calibrator)
                };
                let what = format!("{calibrator:?}, {mapping:?}, {input_bits} bits");
                let (found, quantized) = measured(&conv, how, forward, kelvin, &what);
                let (by_hand, _) = measured(&conv, how, forward, centred, &what);
                assert!(found < 0.012, "{what}: {found}");
                assert!(found < 1.1 * by_hand, "{what}: {found}, {by_hand}");
                let table = quantized.table().unwrap();
                let row = &table.0[0];
                assert!((row.quantizer.offset - 300.0).abs() < 0.3, "{row:?}");
                assert!(row.low > 289.0 && row.high < 311.0, "{row:?}");
            }
        }
    }
}

fn padded() -> Conv1d {
    let padding = burn::nn::PaddingConfig1d::Explicit(2, 2);
    let conv = Conv1dConfig::new(1, 8, 5).with_padding(padding);
    Conv1d {
        weight: differences().weight,
        ..conv.init(&device())
    }
}

#[test]
fn zeros_of_the_padding_are_codes() {
    let conv = padded();
    let forward = |conv: &Conv1d, x: Tensor<3>| conv.forward(x);
    let kelvin = |salt| within([4, 1, 32], 290.0, 310.0, salt);
    let (_, quantized) = measured(&conv, eight(Calibrator::MinMax), forward, kelvin, "padded");
    let row = &quantized.table().unwrap().0[0];
    assert_eq!((row.quantizer.offset, row.low), (0.0, 0.0));
    assert!(row.high > 309.0);
}

/// What comes between two layers, far from zero.
#[derive(Module, Debug)]
struct Inner {
    before: Conv2d,
    norm: BatchNorm,
    pool: AvgPool2d,
    third: Conv2d,
    after: Conv2d,
    head: Linear,
}

impl Inner {
    fn new() -> Self {
        let device = device();
        let conv = |channels: [usize; 2], kernel: [usize; 2]| {
            Conv2dConfig::new(channels, kernel)
                .with_padding(PaddingConfig2d::Valid)
                .init(&device)
        };
        let mut inner = Self {
            before: conv([3, 6], [3, 3]),
            norm: BatchNormConfig::new(6).init(&device),
            pool: AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            third: conv([6, 6], [1, 1]),
            after: conv([6, 4], [3, 3]),
            head: LinearConfig::new(4, 3).init(&device),
        };
        inner.before.weight = Param::from_tensor(within([6, 3, 3, 3], -0.2, 0.2, 11));
        inner.before.bias = Some(Param::from_tensor(within([6], 39.0, 41.0, 12)));
        inner.third.weight = Param::from_tensor(within([6, 6, 1, 1], -0.4, 0.4, 13));
        inner.after.weight = Param::from_tensor(within([4, 6, 3, 3], -0.3, 0.3, 14));
        inner.head.weight = Param::from_tensor(within([4, 3], -0.7, 0.7, 15));
        inner
    }
}

type Forward = fn(&Inner, Tensor<4>) -> Tensor<4>;

// Each with the number of quantizers whose codes lie around an offset, and the error that is allowed.
fn between() -> Vec<(&'static str, usize, f64, Forward)> {
    fn far(inner: &Inner, x: Tensor<4>) -> Tensor<4> {
        inner.before.forward(x)
    }
    let max_pool = |inner: &Inner, x| {
        let pool = MaxPool2dConfig::new([3, 3]).with_strides([1, 1]);
        let pool = pool.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        inner.after.forward(pool.init().forward(far(inner, x)))
    };
    vec![
        ("nothing", 1, 0.02, |inner, x| {
            inner.after.forward(far(inner, x))
        }),
        ("a ReLU", 1, 0.02, |inner, x| {
            inner.after.forward(relu(far(inner, x)))
        }),
        ("bounds", 1, 0.02, |inner, x| {
            inner.after.forward(far(inner, x).clamp(39.8, 40.6))
        }),
        ("a max pool", 1, 0.02, max_pool),
        ("parts", 1, 0.02, |inner, x| {
            let x = far(inner, x);
            let parts = vec![x.clone().narrow(1, 3, 3), x.narrow(1, 0, 3)];
            inner.after.forward(Tensor::cat(parts, 1))
        }),
        // Their means, too.
        ("an average pool", 2, 0.03, |inner, x| {
            inner.after.forward(inner.pool.forward(far(inner, x)))
        }),
        ("a mean", 2, 0.03, |inner, x| {
            inner.third.forward(far(inner, x).mean_dim(2).mean_dim(3))
        }),
        ("a norm", 2, 0.03, |inner, x| {
            let x = inner.norm.forward(inner.pool.forward(far(inner, x)) - 40.0);
            inner.third.forward(x)
        }),
        ("a residual", 1, 0.03, |inner, x| {
            let x = far(inner, x);
            inner.third.forward(x.clone()) + x
        }),
        ("a residual that is far from zero", 2, 0.03, |inner, x| {
            let x = far(inner, x);
            inner.after.forward(inner.third.forward(x.clone()) + x)
        }),
        ("functions", 2, 0.03, |inner, x| {
            let x = far(inner, x).sqrt();
            inner.after.forward(x)
        }),
        ("a function to near zero", 1, 0.03, |inner, x| {
            let x = sigmoid(far(inner, x) - 40.0) - 0.5;
            inner.after.forward(x)
        }),
        ("a number", 3, 0.02, |inner, x| {
            inner.after.forward(far(inner, x) * 3.0 + 50.0)
        }),
        ("another sum", 0, 0.6, |inner, x| {
            let x = far(inner, x);
            let y = sigmoid(x.clone());
            inner.after.forward(x + y)
        }),
    ]
}

#[test]
fn what_lies_between_layers_is_coded_around_its_middle() {
    let inner = Inner::new();
    for (what, offsets, bound, forward) in between() {
        let input = |salt| within([3, 3, 10, 10], -1.0, 1.0, salt);
        let how = eight(Calibrator::MinMax);
        let (found, quantized) = measured(&inner, how, forward, input, what);
        let quantizers = quantized.quantizers().iter();
        let around: Vec<f32> = quantizers
            .map(|quantizer| quantizer.offset)
            .filter(|x| *x != 0.0)
            .collect();
        assert_eq!(
            around.len(),
            offsets,
            "{what}: {:?}",
            quantized.quantizers()
        );
        assert!(found < bound, "{what}: {found}");
    }
}

#[test]
fn a_mean_of_what_is_far_is_about_as_far() {
    let inner = Inner::new();
    let forward: Forward = |inner, x| {
        inner
            .after
            .forward(inner.pool.forward(inner.before.forward(x)))
    };
    let input = |salt| within([3, 3, 14, 14], -1.0, 1.0, salt);
    let (_, quantized) = measured(&inner, eight(Calibrator::MinMax), forward, input, "means");
    let table = quantized.table().unwrap();
    let far: Vec<_> = table
        .0
        .iter()
        .filter(|row| row.quantizer.offset != 0.0)
        .collect();
    let [one, mean] = far[..] else {
        panic!("{table}");
    };
    assert_eq!(one.quantizer.offset, mean.quantizer.offset);
    assert!(mean.scale < one.scale && mean.low > one.low && mean.high < one.high);
}

#[test]
fn training_computes_what_it_will_compute() {
    let mut inner = Inner::new();
    let weight = inner.before.weight.val().reshape([6, 27]);
    let weight = weight.clone() - weight.mean_dim(1);
    inner.before.weight = Param::from_tensor(weight.reshape([6, 3, 3, 3]));
    inner.norm.running_mean = RunningState::new(Tensor::full([6], 40.0, &device()));
    inner.norm.running_var = RunningState::new(Tensor::full([6], 0.2, &device()));
    inner.norm.beta = Param::from_tensor(Tensor::full([6], 20.0, &device()));
    // The norm is folded into the first layer, whose input is far from zero too.
    let forward: Forward = |inner, x| {
        let x = inner.norm.forward(inner.before.forward(x));
        inner.after.forward(relu(x))
    };
    let device = device().autodiff();
    let input = |salt| within([4, 3, 8, 8], 90.0, 92.0, salt);
    let (quantized, _) = attached(
        &inner,
        eight(Calibrator::MinMax),
        forward,
        &[input(1), input(2)],
    );
    assert_eq!(quantized.quantizers().len(), 2);
    assert!(
        quantized
            .quantizers()
            .iter()
            .all(|quantizer| quantizer.offset != 0.0)
    );

    let quantized = quantized.train();
    let training = inner.train();
    let x = || Tensor::<4>::from_data(input(5).into_data(), &device);
    // By the batch's statistics, as Burn's own layers.
    let (found, exact): (Tensor<4>, _) = (quantized.forward(x()).unwrap(), forward(&training, x()));
    let apart = error(&values(found.clone()), &values(exact.clone()));
    assert!(apart < 0.03, "{apart}");
    let of = |gradients: &burn::tensor::Gradients, weight: &Param<Tensor<4>>, bias| {
        let weight = weight.base().grad(gradients).unwrap();
        let bias: &Option<Param<Tensor<1>>> = bias;
        let bias = bias.as_ref().unwrap().val().grad(gradients).unwrap();
        (values(weight), values(bias))
    };
    let gradients = (found.clone() * found).sum().backward();
    let module = quantized.module();
    let found = [
        of(&gradients, &module.after.weight, &module.after.bias),
        of(&gradients, &module.before.weight, &module.before.bias),
    ];
    let gradients = (exact.clone() * exact).sum().backward();
    let exact = of(&gradients, &training.after.weight, &training.after.bias);
    for (found, exact) in [(&found[0].0, &exact.0), (&found[0].1, &exact.1)] {
        let size: f32 = exact.iter().map(|x| x.abs()).fold(0.0, f32::max);
        for (a, b) in found.iter().zip(exact.iter()) {
            assert!((a - b).abs() < 0.03 * size, "{a}, {b}");
        }
    }
    assert!(found[1].0.iter().all(|x| x.is_finite()));
}

#[test]
fn packed_and_corrected_models_compute_the_same_and_no_worse() {
    let conv = differences();
    let forward = |conv: &Conv1d, x: Tensor<3>| conv.forward(x);
    let kelvin = |salt| within([16, 1, 64], 290.0, 310.0, salt);
    let how = eight(Calibrator::MinMax);
    let (quantized, _) = attached(&conv, how, forward, &[kelvin(1), kelvin(2)]);
    let packed = quantized.pack().unwrap();
    let found: Tensor<3> = packed.forward(kelvin(3)).unwrap();
    let expected: Tensor<3> = quantized.forward(kelvin(3)).unwrap();
    let apart = error(&values(found), &values(expected.clone()));
    assert!(apart < if is_exact() { 1e-12 } else { 1e-3 }, "{apart}");
    let exact = values(forward(&conv, kelvin(3)));
    let before = error(&values(expected), &exact);
    let corrected = correct_bias(quantized, [kelvin(4), kelvin(5)]).unwrap();
    let after: Tensor<3> = corrected.forward(kelvin(3)).unwrap();
    let after = error(&values(after), &exact);
    assert!(after < 1.05 * before, "{after}, {before}");
}

#[test]
fn a_file_holds_offsets() {
    let conv = differences();
    let forward = |conv: &Conv1d, x: Tensor<3>| conv.forward(x);
    let kelvin = |salt| within([2, 1, 64], 290.0, 310.0, salt);
    let how = eight(Calibrator::MinMax);
    let (quantized, _) = attached(&conv, how, forward, &[kelvin(1)]);
    let integers = quantized.to_integer().unwrap();
    let grid = integers.steps()[0].grid.unwrap();
    assert!((grid.offset() - 300.0).abs() < 0.5);
    let bytes = integers.to_bytes().unwrap();
    let read = burn_compress::network::Network::from_bytes(&bytes).unwrap();
    assert_eq!(read, integers);
    assert_eq!(read.steps()[0].grid.unwrap().offset(), grid.offset());
}
