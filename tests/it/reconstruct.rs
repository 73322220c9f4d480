//! Compression without training.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn_compress::compress::{Compressed, Plan, Pruning, Quantization, Selection, load};
use burn_compress::format::{Granularity, Mapping, Payload, Scheme};
use burn_compress::prune::{Pattern, Scope};
use burn_compress::quantize::LeastSquares;
use burn_compress::reconstruct::Reconstruction;
use burn_compress::{Options, Program};

use super::backends::device::device;
use super::backends::graph_models::randomized;
use super::backends::models::{Net, values};
use super::backends::quantized::input;

pub const WIDTH: usize = 24;

/// Inputs of a few hidden causes, as those of real layers are: columns carry much of each other.
pub fn correlated(count: usize, device: &Device) -> Tensor<2> {
    let causes = input([count, 8], 11, device);
    let mixed = causes.matmul(input([8, WIDTH], 12, device));
    mixed + input([count, WIDTH], 13, device) * 0.2
}

pub fn linear(device: &Device) -> Linear {
    randomized(LinearConfig::new(WIDTH, 10).init(device))
}

pub fn forward(model: &Linear, x: Tensor<2>) -> Tensor<2> {
    model.forward(x)
}

pub fn error(one: Tensor<2>, other: Tensor<2>) -> f32 {
    (one - other).powi_scalar(2).mean().into_scalar()
}

/// The error of a linear layer's outputs by reconstruction, and by the plan alone.
fn errors(plan: &Plan) -> (f32, f32, Compressed<Linear>) {
    let device = device();
    let model = linear(&device);
    let seen = correlated(256, &device);
    let wanted = model.forward(seen.clone());
    let batches = seen.clone().split(64, 0);
    let reconstructed = plan.reconstruct(model.clone(), forward, batches).unwrap();
    let applied = plan.apply(model).unwrap();
    let found = error(reconstructed.module.forward(seen.clone()), wanted.clone());
    let plain = error(applied.module.forward(seen), wanted);
    (found, plain, reconstructed)
}

fn removed(model: &Linear) -> Vec<bool> {
    // `[in, out]`, in rows.
    let rows = values(model.weight.val().swap_dims(0, 1));
    rows.into_iter().map(|value| value == 0.0).collect()
}

#[test]
fn weights_that_stay_make_up_for_those_that_go() {
    let plan = Plan::new().prune(Pruning::to(0.5));
    let (found, plain, compressed) = errors(&plan);
    assert!(found < plain / 4.0, "{found}, and {plain} by magnitude");
    assert_eq!(compressed.layers()[0].removed, WIDTH * 10 / 2);
}

#[test]
fn patterns_hold() {
    let two_of_four = Plan::new().prune(Pruning::to(0.5).pattern(Pattern::NOfM { n: 2, m: 4 }));
    let (found, plain, compressed) = errors(&two_of_four);
    assert!(found < plain / 2.0, "{found}, and {plain} by magnitude");
    for group in removed(&compressed.module).chunks(4) {
        assert_eq!(group.iter().filter(|removed| **removed).count(), 2);
    }

    let blocks = Plan::new().prune(Pruning::to(0.5).pattern(Pattern::Block { channels: 4 }));
    let (found, plain, compressed) = errors(&blocks);
    assert!(found < plain / 2.0, "{found}, and {plain} by magnitude");
    assert_eq!(compressed.layers()[0].removed, WIDTH * 10 / 2);
    for block in removed(&compressed.module).chunks(4) {
        assert!(block.iter().all(|removed| *removed == block[0]));
    }
}

#[test]
fn codes_follow_the_output_under_every_scheme() {
    for bits in [2, 3, 4] {
        for mapping in [Mapping::Symmetric, Mapping::Affine] {
            for granularity in [
                Granularity::Tensor,
                Granularity::Channel,
                Granularity::Group(8),
            ] {
                let scheme = Scheme::new(bits, mapping, granularity).unwrap();
                let quantization = Quantization::to(scheme).by(LeastSquares);
                let (found, plain, compressed) = errors(&Plan::new().quantize(quantization));
                assert!(
                    found < plain * 0.7,
                    "{scheme:?}: {found}, and {plain} by weight"
                );
                let content = compressed.archive().content("weight");
                assert!(
                    matches!(content, Some(Payload::Quantized(codes)) if *codes.scheme() == scheme)
                );
            }
        }
    }
}

#[test]
fn sparse_and_quantized_in_one_pass() {
    let codes = Quantization::to(Scheme::symmetric(4).unwrap());
    let both = Plan::new().prune(Pruning::to(0.5)).quantize(codes);
    let (found, plain, compressed) = errors(&both);
    assert!(
        found < plain / 2.0,
        "{found}, and {plain} by the plan alone"
    );
    assert!(compressed.layers()[0].removed >= WIDTH * 10 / 2);

    // What goes on from here: a file, a network, a program.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    compressed.save(&path).unwrap();
    let loaded = load(&path, linear(&device())).unwrap();
    assert_eq!(
        values(loaded.weight.val()),
        values(compressed.module.weight.val())
    );
    let network = compressed.network([1, WIDTH], forward).unwrap();
    let program = Program::compile(&network, Options::default()).unwrap();
    let seen = correlated(4, &device());
    let wanted = values(compressed.module.forward(seen.clone()));
    for (found, wanted) in program.run(&values(seen), 4).unwrap().iter().zip(wanted) {
        assert!((found - wanted).abs() < 1e-4, "{found}, not {wanted}");
    }
}

#[test]
fn zeros_that_are_there_stay() {
    let device = device();
    let sparse = Plan::new()
        .prune(Pruning::to(0.6))
        .apply(linear(&device))
        .unwrap()
        .module;
    let before = removed(&sparse);
    let codes = Quantization::to(Scheme::symmetric(4).unwrap());
    for pruning in [Pruning::existing(), Pruning::to(0.7)] {
        let plan = Plan::new().prune(pruning).quantize(codes.clone());
        let seen = [correlated(128, &device)];
        let found = plan.reconstruct(sparse.clone(), forward, seen).unwrap();
        let after = removed(&found.module);
        assert!(
            before
                .iter()
                .zip(after)
                .all(|(before, after)| !before || after)
        );
    }
}

#[derive(Module, Debug)]
pub struct Normed {
    pub first: Conv2d,
    pub norm: BatchNorm,
    pub second: Conv2d,
    unused: Linear,
    embedding: Embedding,
}

impl Normed {
    pub fn new(device: &Device) -> Self {
        randomized(Self {
            first: Conv2dConfig::new([3, 8], [3, 3]).init(device),
            norm: BatchNormConfig::new(8).init(device),
            second: Conv2dConfig::new([8, 6], [3, 3]).init(device),
            unused: LinearConfig::new(4, 4).init(device),
            embedding: EmbeddingConfig::new(4, 4).init(device),
        })
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.second
            .forward(relu(self.norm.forward(self.first.forward(x))))
    }
}

pub fn used() -> Selection {
    Selection::only(["first.weight", "second.weight"])
}

/// Mean and variance of each channel.
fn statistics(x: Tensor<4>) -> Vec<(f32, f32)> {
    let [n, channels, height, width] = x.dims();
    let x: Tensor<2> = x.swap_dims(0, 1).reshape([channels, n * height * width]);
    let (variance, mean) = x.var_mean_bias(1);
    values(mean).into_iter().zip(values(variance)).collect()
}

#[test]
fn statistics_are_put_back() {
    let device = device();
    let model = Normed::new(&device);
    let images = input([32, 3, 8, 8], 5, &device);
    let normed = |model: &Normed| model.norm.forward(model.first.forward(images.clone()));
    let wanted = [
        statistics(normed(&model)),
        statistics(model.forward(images.clone())),
    ];
    let codes = Quantization::to(Scheme::symmetric(2).unwrap());
    for plan in [
        Plan::new().select(used()).prune(Pruning::to(0.6)),
        Plan::new().select(used()).quantize(codes),
    ] {
        for weights in [false, true] {
            let what = Reconstruction {
                weights,
                statistics: true,
            };
            let batches = images.clone().split(8, 0);
            let found = what
                .run(&plan, model.clone(), Normed::forward, batches, |_| Ok(()))
                .unwrap();
            let found = found.module;
            let found = [
                statistics(normed(&found)),
                statistics(found.forward(images.clone())),
            ];
            for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
                let size = wanted.1.sqrt().max(1e-3);
                assert!(
                    (found.0 - wanted.0).abs() < 0.01 * size,
                    "{found:?}, not {wanted:?}"
                );
                assert!(
                    (found.1 / wanted.1 - 1.0).abs() < 0.02,
                    "{found:?}, not {wanted:?}"
                );
            }
        }
        let plain = plan.apply(model.clone()).unwrap().module;
        let plain = statistics(normed(&plain));
        let off = |(found, wanted): (&(f32, f32), &(f32, f32))| (found.1 / wanted.1 - 1.0).abs();
        assert!(plain.iter().zip(&wanted[0]).map(off).any(|off| off > 0.05));
    }
}

#[test]
fn every_kind_of_layer_is_compressed_and_none_is_emptied() {
    let device = device();
    let model = randomized(Net::new(&device));
    let images = || input([64, 1, 6, 6], 3, &device).split(16, 0);
    for scope in [Scope::Global, Scope::Layer, Scope::Erk] {
        let plan = Plan::new().prune(Pruning::to(0.8).scope(scope));
        let mut steps = Vec::new();
        let seen = |p: &burn_compress::reconstruct::Progress<'_>| {
            steps.push((p.layer.to_string(), p.done, p.of));
            Ok(())
        };
        let what = Reconstruction::default();
        let found = what
            .run(&plan, model.clone(), Net::forward, images(), seen)
            .unwrap();
        let layers = found.layers();
        let (weights, gone) = layers
            .iter()
            .fold((0, 0), |(w, r), l| (w + l.weights, r + l.removed));
        assert!(
            (gone as f64 - 0.8 * weights as f64).abs() <= 4.0,
            "{gone} of {weights}"
        );
        for layer in layers {
            assert!(layer.removed < layer.weights, "{layer:?}");
        }
        assert!(steps.iter().any(|(layer, ..)| layer == "grouped"));
        assert!(steps.windows(2).all(|pair| pair[0].1 + 1 == pair[1].1));
        if scope == Scope::Global {
            assert_eq!(steps.last().map(|(_, done, of)| (*done, *of)), Some((7, 8)));
        }
    }
}
