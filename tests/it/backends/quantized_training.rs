//! What a quantized module computes while it trains: the same as its integer form, and gradients.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use burn_compress::compress::{Plan, Quantization};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::{Activations, Calibration, Calibrator, Graph, Quantized};

use super::device::{device, is_exact};
use super::models::{spread, values};

/// A residual block and a linear layer, on images `[n, 2, 6, 6]`.
#[derive(Module, Debug)]
struct Block {
    first: Conv2d,
    first_norm: BatchNorm,
    second: Conv2d,
    second_norm: BatchNorm,
    head: Linear,
}

// Values between -1 and 1, others for each salt.
fn numbers<const D: usize>(shape: [usize; D], salt: usize, device: &Device) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let numbers = (0..count).map(|index| 2.0 * spread(salt * 1_000_003 + index) - 1.0);
    Tensor::from_data(
        TensorData::new(numbers.collect::<Vec<f32>>(), shape),
        device,
    )
}

impl Block {
    fn new(device: &Device) -> Self {
        let conv = |from, to, salt| {
            let mut conv = Conv2dConfig::new([from, to], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_bias(false)
                .with_initializer(Initializer::Zeros)
                .init(device);
            conv.weight = Param::from_tensor(numbers([to, from, 3, 3], salt, device));
            conv
        };
        let norm = |salt| {
            let mut norm = BatchNormConfig::new(4).init(device);
            norm.gamma = Param::from_tensor(numbers([4], salt, device) * 0.5 + 1.0);
            norm.beta = Param::from_tensor(numbers([4], salt + 1, device) * 0.3);
            norm
        };
        let mut head = LinearConfig::new(4, 3)
            .with_initializer(Initializer::Zeros)
            .init(device);
        head.weight = Param::from_tensor(numbers([4, 3], 3, device));
        Self {
            first: conv(2, 4, 1),
            first_norm: norm(4),
            second: conv(4, 4, 2),
            second_norm: norm(6),
            head,
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.first_norm.forward(self.first.forward(images)));
        let y = self.second_norm.forward(self.second.forward(x.clone()));
        let means = relu(y + x).mean_dim(3).mean_dim(2);
        self.head.forward(means.flatten(1, 3))
    }
}

fn quantized(activations: Activations, device: &Device) -> Quantized<Block> {
    let model = Block::new(device);
    let graph = Graph::capture(&model, [1, 2, 6, 6], Block::forward).unwrap();
    let scheme = Scheme::new(6, Mapping::Symmetric, Granularity::Channel).unwrap();
    let plan = Plan::new().quantize(Quantization::to(scheme));
    let (model, compression) = plan.attach(model).unwrap();
    let mut calibration =
        Calibration::new(graph.simplify(), &model, &compression, activations).unwrap();
    for salt in [20, 21] {
        let batch = numbers([4, 2, 6, 6], salt, device);
        calibration.observe(&model, batch).unwrap();
    }
    calibration.finish(model).unwrap()
}

fn activations(bits: u32, mapping: Mapping) -> Activations {
    Activations {
        scheme: Scheme::new(bits, mapping, Granularity::Tensor).unwrap(),
        ..Activations::bits(bits).unwrap()
    }
}

fn kinds() -> Vec<Activations> {
    vec![
        activations(8, Mapping::Affine),
        activations(8, Mapping::Symmetric),
        activations(3, Mapping::Affine),
        activations(12, Mapping::Symmetric),
        Activations {
            learned: false,
            ..activations(4, Mapping::Affine)
        },
    ]
}

#[test]
fn a_pass_with_gradients_equals_the_integer_form() {
    let device = device().autodiff();
    for activations in kinds() {
        let quantized = quantized(activations, &device).freeze_statistics();
        let integers = quantized.to_integer().unwrap();
        for (salt, factor) in [(20, 1.0), (30, 1.0), (31, 40.0), (32, 0.01), (33, -1e6)] {
            let input = numbers([3, 2, 6, 6], salt, &device) * factor;
            let (expected, statistics) = integers.run(&values(input.clone()), 3).unwrap();
            assert_eq!(statistics.inexact(), 0);
            let output: Tensor<2> = quantized.forward(input).unwrap();
            assert!(output.is_tracked());
            let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
            for (found, expected) in values(output).iter().zip(&expected) {
                let same = match is_exact() {
                    true => found.to_bits() == expected.to_bits(),
                    // A code may have gone to the other side of a tie.
                    false => (found - expected).abs() <= 0.1 * largest,
                };
                assert!(same, "{activations:?}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn by_the_statistics_of_a_batch_it_computes_as_by_the_same_frozen() {
    let device = device().autodiff();
    for activations in kinds() {
        // A fine grid: a number that a rounding error moved over a tie does not count for much.
        let activations = Activations {
            scheme: activations.scheme.with_bits(12).unwrap(),
            input_bits: 12,
            ..activations
        };
        let quantized = quantized(activations, &device).with_momentum(1.0);
        let input = numbers([4, 2, 6, 6], 20, &device);
        let before: Tensor<2> = quantized
            .clone()
            .freeze_statistics()
            .forward(input.clone())
            .unwrap();
        let before = values(before);
        // Leaves its statistics behind as the running ones.
        let training = values(quantized.forward::<4, 2>(input.clone()).unwrap());
        let frozen: Tensor<2> = quantized.freeze_statistics().forward(input).unwrap();
        let frozen = values(frozen);
        let largest = frozen.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        let apart = |one: &[f32], other: &[f32]| {
            let pairs = one.iter().zip(other);
            pairs.fold(0.0, |max: f32, (a, b)| max.max((a - b).abs())) / largest
        };
        assert!(
            apart(&training, &frozen) < 2e-3,
            "{training:?}, not {frozen:?}"
        );
        assert!(
            apart(&before, &frozen) > 0.05,
            "the statistics were not followed"
        );
    }
}

#[test]
fn training_moves_weights_and_scales() {
    let device = device().autodiff();
    for frozen in [false, true] {
        let mut model = quantized(activations(8, Mapping::Affine), &device);
        if frozen {
            model = model.freeze_statistics();
        }
        let scales = model.scales().unwrap();
        let weights = values(model.module().first.weight.base());
        let output: Tensor<2> = model.forward(numbers([4, 2, 6, 6], 20, &device)).unwrap();
        let gradients = output.powi_scalar(2).mean().backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = SgdConfig::new().init().step(10.0, model, gradients);
        let moved = |before: &[f32], after: &[f32]| {
            let pairs = before.iter().zip(after);
            assert!(after.iter().all(|value| value.is_finite()));
            pairs.filter(|(a, b)| a != b).count()
        };
        let after = model.scales().unwrap();
        assert_eq!(moved(&scales, &after), scales.len());
        assert!(after.iter().all(|scale| *scale > 0.0), "{after:?}");
        let after = values(model.module().first.weight.base());
        assert!(moved(&weights, &after) > weights.len() / 2);
    }
}

#[test]
fn scales_that_are_not_learned_stay() {
    let device = device().autodiff();
    let activations = Activations {
        learned: false,
        ..activations(8, Mapping::Affine)
    };
    let mut model = quantized(activations, &device);
    let (scales, weights) = (
        model.scales().unwrap(),
        values(model.module().first.weight.base()),
    );
    let output: Tensor<2> = model.forward(numbers([4, 2, 6, 6], 20, &device)).unwrap();
    let gradients = output.powi_scalar(2).mean().backward();
    let gradients = GradientsParams::from_grads(gradients, &model);
    model = SgdConfig::new().init().step(10.0, model, gradients);
    assert_eq!(model.scales().unwrap(), scales);
    assert_ne!(values(model.module().first.weight.base()), weights);
}

// Esser et al. 2020, equations 3 and 5.
#[test]
fn a_learned_scale_gets_the_gradient_of_its_rounding_errors() {
    let device = device().autodiff();
    let mut model = LinearConfig::new(3, 1)
        .with_bias(false)
        .with_initializer(Initializer::Zeros)
        .init(&device);
    model.weight = Param::from_data([[1.0f32], [0.5], [-1.0]], &device);
    let graph = Graph::capture(&model, [1, 3], |model, x: Tensor<2>| model.forward(x)).unwrap();
    let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(8).unwrap()));
    let (model, compression) = plan.attach(model).unwrap();
    let activations = Activations {
        calibrator: Calibrator::MinMax,
        ..Activations::bits(8).unwrap()
    };
    let mut calibration =
        Calibration::new(graph.simplify(), &model, &compression, activations).unwrap();
    let seen = Tensor::<2>::from_data([[0.0, 1.0, 2.55]], &device);
    calibration.observe(&model, seen).unwrap();
    let mut quantized = calibration.finish(model).unwrap();

    // At the scale 0.01: 30.4 units become 30, 110.7 become 111, and what lies beyond becomes 255.
    let input = Tensor::<2>::from_data([[0.304, 1.107, 9.0]], &device);
    let before = quantized.scales().unwrap();
    assert_eq!(before.len(), 1);
    let output: Tensor<2> = quantized.forward(input).unwrap();
    let gradients = GradientsParams::from_grads(output.sum().backward(), &quantized);
    quantized = SgdConfig::new().init().step(1.0, quantized, gradients);
    let found = f64::from(before[0] - quantized.scales().unwrap()[0]);
    let weight = 64.0 / 127.0; // the code of 0.5
    let errors = (30.0 - 30.4) + weight * (111.0 - 110.7) - 255.0;
    // The step goes along the scale's logarithm, whose gradient is the scale times that of the scale.
    let of_logarithm = 0.01 * errors / (3.0f64 * 255.0).sqrt();
    let expected = 0.01 - 0.01 * (-of_logarithm).exp();
    assert!(
        (found - expected).abs() < 1e-3 * expected.abs(),
        "{found}, not {expected}"
    );
}
