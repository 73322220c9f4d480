//! Training with quantized activations: gradients, masks, statistics, checkpoints, and what is deployed.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use burn_compress::compress::{Compression, Plan, Pruning, Quantization};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::{Activations, Calibration, Calibrator, Graph, Quantized};
use burn_compress::prune::Scope;
use burn_compress::schedule::Curve;
use burn_compress::train::Checkpoint;

use super::device::{device, is_exact};
use super::models::{Net, assert_same, batch, seen, tensors, trained, values};
use super::quantized::assert_simulates;

fn plan() -> Plan {
    let curve = Curve::Cubic {
        from: 0.2,
        to: 0.6,
        start: 0,
        end: 4,
    };
    let scheme = Scheme::new(5, Mapping::Symmetric, Granularity::Channel).unwrap();
    Plan::new()
        .prune(Pruning::along(curve).scope(Scope::Layer))
        .quantize(Quantization::to(scheme).every(2))
}

fn started(plan: &Plan, activations: Activations) -> (Quantized<Net>, Compression) {
    begin(plan, activations, 1.0)
}

// Calibrated on images this much brighter than those that it trains on.
fn begin(plan: &Plan, activations: Activations, brighter: f32) -> (Quantized<Net>, Compression) {
    let net = trained(5, &device());
    let graph = Graph::capture(&net, [1, 1, 6, 6], |net, x| net.forward(x)).unwrap();
    let (net, compression) = plan.attach(net.train()).unwrap();
    let graph = graph.simplify();
    let mut calibration = Calibration::new(graph, &net, &compression, activations).unwrap();
    for step in 50..53 {
        let images = batch(step, &device()).0 * brighter;
        calibration.observe(&net, images).unwrap();
    }
    (calibration.finish(net).unwrap(), compression)
}

fn momentum() -> ModuleOptimizer {
    SgdConfig::new()
        .with_momentum(Some(MomentumConfig::new()))
        .init()
}

fn gradients(quantized: &Quantized<Net>, step: usize) -> GradientsParams {
    let device = device().autodiff();
    let (images, labels) = batch(step, &device);
    let loss = CrossEntropyLossConfig::new().init(&device);
    let loss = loss.forward(quantized.forward(images).unwrap(), labels);
    GradientsParams::from_grads(loss.backward(), quantized)
}

fn step(
    quantized: Quantized<Net>,
    compression: &mut Compression,
    optimizer: &mut ModuleOptimizer,
    number: usize,
) -> Quantized<Net> {
    let gradients = gradients(&quantized, number);
    let quantized = optimizer.step(0.02, quantized, gradients);
    compression.step(quantized).unwrap()
}

fn of<'a>(tensors: &'a [(String, Vec<f32>)], path: &str) -> &'a [f32] {
    let found = tensors.iter().find(|(found, _)| found == path);
    &found.unwrap_or_else(|| panic!("no {path}")).1
}

const TRAINED: [&str; 7] = [
    "conv.weight",
    "norm.gamma",
    "norm.beta",
    "grouped.weight",
    "up.weight",
    "head.weight",
    "head.bias",
];

#[test]
fn gradients_reach_the_weights_and_the_scales() {
    for learned in [true, false] {
        let activations = Activations {
            learned,
            ..Activations::bits(4).unwrap()
        };
        let (quantized, mut compression) = started(&plan(), activations);
        let before = tensors(&quantized);
        let quantized = step(quantized, &mut compression, &mut momentum(), 0);
        let after = tensors(&quantized);
        for path in TRAINED {
            assert_ne!(of(&before, path), of(&after, path), "{path}");
        }
        let scales = [&before, &after].map(|all| of(all, "activations.log_scale").to_vec());
        assert_eq!(scales[0].len(), quantized.quantizers().len());
        match learned {
            true => {
                let pairs = scales[0].iter().zip(&scales[1]);
                assert!(pairs.clone().all(|(a, b)| a != b), "{scales:?}");
            }
            false => assert_eq!(scales[0], scales[1]),
        }
        for (logarithm, scale) in scales[1].iter().zip(quantized.scales().unwrap()) {
            assert!((logarithm.exp() - scale).abs() <= 1e-6 * scale);
        }
    }
}

/// Two inputs, one output.
fn pair(weights: [f32; 2]) -> (Linear, Device) {
    let device = device().autodiff();
    let linear = LinearConfig::new(2, 1).with_bias(false).init(&device);
    let weight = Tensor::<1>::from_data(weights, &device).reshape([2, 1]);
    let linear = Linear {
        weight: Param::initialized(linear.weight.id, weight.require_grad()),
        ..linear
    };
    (linear, device)
}

#[test]
fn gradients_are_those_of_learned_step_size_quantization() {
    let (linear, device) = pair([1.0, -0.5]);
    let graph = Graph::capture(&linear, [1, 2], |linear, x| linear.forward(x)).unwrap();
    let scheme = Scheme::new(8, Mapping::Symmetric, Granularity::Tensor).unwrap();
    let plan = Plan::new().quantize(Quantization::to(scheme));
    let (linear, compression) = plan.attach(linear).unwrap();
    let activations = Activations {
        scheme: Scheme::new(4, Mapping::Symmetric, Granularity::Tensor).unwrap(),
        input_bits: 4,
        calibrator: Calibrator::MinMax,
        learned: true,
    };
    let graph = graph.simplify();
    let mut calibration = Calibration::new(graph, &linear, &compression, activations).unwrap();
    // Codes from -7 to 7, a tenth apart.
    let range = Tensor::<2>::from_data([[-0.7, 0.7]], &self::device());
    calibration.observe(&linear, range).unwrap();
    let quantized = calibration.finish(linear).unwrap();
    // One within the range, a third of a step from its code; one far outside.
    let x = Tensor::<2>::from_data([[0.233, 5.0]], &device);
    let y: Tensor<2> = quantized.forward(x).unwrap();
    let backward = y.sum().backward();
    let gradients = GradientsParams::from_grads(backward, &quantized);
    let weight = quantized.module().weight.val();
    let id = quantized.module().weight.id;
    let of_weight = values(gradients.get::<2>(id).unwrap());
    let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-4, "{a}, not {b}");
    close(of_weight[0], 0.2);
    close(of_weight[1], 0.7);
    let scale = ids(&quantized, "activations.log_scale");
    let of_scale = values(gradients.get::<1>(scale).unwrap());
    // Esser et al. 2020, equations 3 and section 2.2: two elements share the scale, of codes to 7; that of
    // its logarithm is a tenth of it, as the scale is.
    let weight = values(weight);
    let within = 2.0 - 2.33;
    let share = 1.0 / (2.0_f32 * 7.0).sqrt();
    close(
        of_scale[0],
        0.1 * (weight[0] * within + weight[1] * 7.0) * share,
    );
}

fn ids<M: Module>(module: &M, path: &str) -> burn::module::ParamId {
    struct Find<'a>(Vec<String>, &'a str, Option<burn::module::ParamId>);
    impl ModuleVisitor for Find<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.0.join(".") == self.1 {
                self.2 = Some(param.id);
            }
        }
    }
    let mut find = Find(Vec::new(), path, None);
    module.visit(&mut find);
    find.2.unwrap()
}

#[test]
fn removed_weights_stay_zero_and_what_is_deployed_is_what_was_trained() {
    for (bits, mapping) in [(8, Mapping::Affine), (4, Mapping::Symmetric)] {
        let activations = Activations {
            scheme: Scheme::new(bits, mapping, Granularity::Tensor).unwrap(),
            ..Activations::bits(bits).unwrap()
        };
        let (mut quantized, mut compression) = started(&plan(), activations);
        let mut optimizer = momentum();
        let mut masks = Vec::new();
        for number in 0..10 {
            if number == 6 {
                quantized = quantized.freeze_statistics();
            }
            quantized = step(quantized, &mut compression, &mut optimizer, number);
            let layers = seen(quantized.module());
            for layer in &layers {
                let removed = layer.removed.as_ref().unwrap();
                let (stored, used) = (&layer.stored, &layer.used);
                assert!(removed.iter().any(|gone| *gone));
                for (index, _) in removed.iter().enumerate().filter(|(_, gone)| **gone) {
                    assert_eq!(used[index], 0.0, "{} at {number}", layer.path);
                    // The schedule has ended: nothing is stored either.
                    assert!(
                        number < 4 || stored[index] == 0.0,
                        "{} at {number}",
                        layer.path
                    );
                }
            }
            let now: Vec<_> = layers.into_iter().map(|layer| layer.removed).collect();
            if number > 4 {
                assert_eq!(masks, now, "masks move at {number}");
            }
            masks = now;
        }
        assert!(quantized.has_frozen_statistics());
        let deployed = quantized.valid();
        let what = format!("{bits} bits");
        let integers = assert_simulates::<_, 4, 2>(&deployed, [1, 1, 6, 6], &what);
        // Those on the device with gradients give the same.
        assert_eq!(quantized.to_integer().unwrap(), integers);
        let (images, _) = batch(70, &device());
        let of_valid = values::<2>(deployed.forward(images.clone()).unwrap());
        let images = Tensor::from_inner(images);
        let of_training = values::<2>(quantized.forward(images).unwrap());
        assert_same(&of_valid, &of_training);

        // What was trained is in the user's module.
        let stored = tensors(&quantized);
        let net = quantized.into_module();
        let of_net = tensors(&net);
        for path in TRAINED {
            assert_same(of(&stored, path), of(&of_net, path));
        }
        let compressed = compression.finish(net).unwrap();
        let zeros = compressed.layers().iter().map(|layer| layer.removed);
        assert!(zeros.sum::<usize>() >= 356 * 6 / 10 - 4);
    }
}

fn statistics(net: &Net) -> Vec<f32> {
    let mean = values(net.norm.running_mean.value_sync());
    let variance = values(net.norm.running_var.value_sync());
    [mean, variance].concat()
}

fn fine() -> (Plan, Activations) {
    let scheme = Scheme::symmetric(8).unwrap();
    let plan = Plan::new().quantize(Quantization::to(scheme));
    let activations = Activations {
        input_bits: 16,
        ..Activations::bits(12).unwrap()
    };
    (plan, activations)
}

#[test]
fn running_statistics_follow_the_batch_until_they_are_frozen() {
    let (plan, activations) = fine();
    let autodiff = device().autodiff();
    let images = || batch(60, &autodiff).0;
    let before = statistics(&trained(5, &device()));
    // As Burn's own batch norm moves them.
    let own = trained(5, &device()).valid();
    let (own, _) = plan.attach(own.train()).unwrap();
    own.forward(images());
    let expected = statistics(&own);
    let moved = |quantized: Quantized<Net>| {
        let _: Tensor<2> = quantized.forward(images()).unwrap();
        statistics(quantized.module())
    };
    let (quantized, _) = started(&plan, activations);
    let found = moved(quantized);
    for ((found, expected), before) in found.iter().zip(&expected).zip(&before) {
        let apart = (found - expected).abs();
        let way = (expected - before).abs();
        assert!(
            apart <= 0.02 * way + 1e-4,
            "{found}, not {expected} from {before}"
        );
    }
    assert!(found.iter().zip(&before).any(|(a, b)| (a - b).abs() > 1e-3));
    // Half the way to the batch's is five times a tenth.
    let (quantized, _) = started(&plan, activations);
    let faster = moved(quantized.with_momentum(0.5));
    for ((faster, found), before) in faster.iter().zip(&found).zip(&before) {
        assert!((faster - before - 5.0 * (found - before)).abs() < 1e-4);
    }
    let (quantized, _) = started(&plan, activations);
    assert_eq!(moved(quantized.freeze_statistics()), before);
    // Nor do they follow where nothing trains.
    let (quantized, _) = started(&plan, activations);
    let quantized = quantized.valid();
    let _: Tensor<2> = quantized.forward(batch(60, &device()).0).unwrap();
    assert_eq!(statistics(quantized.module()), before);
}

#[test]
fn training_normalizes_by_the_batch() {
    let (plan, activations) = fine();
    let (quantized, _) = begin(&plan, activations, 4.0);
    let autodiff = device().autodiff();
    let images = batch(61, &autodiff).0;
    // The same network as it trains in floats, its weights quantized.
    let own = trained(5, &device()).valid();
    let (own, _) = plan.attach(own.train()).unwrap();
    let expected = values(own.forward(images.clone()));
    let found = values::<2>(quantized.forward(images).unwrap());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 0.02, "{found}, not {expected}");
    }
}

struct Run {
    quantized: Quantized<Net>,
    optimizer: ModuleOptimizer,
    compression: Compression,
    step: usize,
}

const STEPS: usize = 8;

impl Run {
    fn start() -> Self {
        let (quantized, compression) = started(&plan(), Activations::bits(5).unwrap());
        Self {
            quantized,
            optimizer: AdamConfig::new().init(),
            compression,
            step: 0,
        }
    }

    fn go(mut self, until: usize) -> Self {
        while self.step < until {
            if self.step >= 5 {
                self.quantized = self.quantized.freeze_statistics();
            }
            let compression = &mut self.compression;
            self.quantized = step(self.quantized, compression, &mut self.optimizer, self.step);
            self.step += 1;
        }
        self
    }
}

#[test]
fn an_interrupted_run_goes_on_as_if_nothing_had_been() {
    let whole = Run::start().go(STEPS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    for stop in [1, 4, 7] {
        let run = Run::start().go(stop);
        let Run {
            quantized,
            optimizer,
            compression,
            step,
        } = &run;
        let checkpoint = Checkpoint::new(quantized, optimizer, compression, step).unwrap();
        checkpoint.save(&path).unwrap();
        // As a new process would: from nothing but the file.
        let fresh = Run::start();
        let checkpoint = Checkpoint::load(&path).unwrap();
        let (quantized, optimizer, compression, step) = checkpoint
            .restore(fresh.quantized, fresh.optimizer, fresh.compression)
            .unwrap();
        let resumed = Run {
            quantized,
            optimizer,
            compression,
            step,
        };
        let resumed = resumed.go(STEPS);
        assert_eq!(resumed.compression.state(), whole.compression.state());
        if !is_exact() {
            continue;
        }
        let (one, other) = (tensors(&resumed.quantized), tensors(&whole.quantized));
        assert_eq!(one.len(), other.len());
        for ((path, one), (_, other)) in one.iter().zip(&other) {
            assert_eq!(one, other, "{path}, stopped after {stop}");
        }
        let [one, other] = [&resumed, &whole].map(|run| run.quantized.to_integer().unwrap());
        assert_eq!(one, other);
    }
}
