//! Learned step size: scales that training moves, with the gradient of the paper, and that are packed as
//! they were trained.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Tensor, TensorData};
use burn_compress::compress::{Compression, Plan, Pruning, Quantization, load};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::{Activations, Calibration, Graph, Quantized};
use burn_compress::quantize::{LearnedStep, Parameters, Quantizer, fake_quantize};
use burn_compress::schedule::Curve;
use burn_compress::train::Checkpoint;

use super::device::{device, is_exact};
use super::models::{
    Net, assert_same, assert_same_run, batch, gradients, outputs, seen, train_step, trained, values,
};

fn scheme(bits: u32) -> Scheme {
    Scheme::symmetric(bits).unwrap()
}

fn plan(bits: u32) -> Plan {
    Plan::new().quantize(Quantization::to(scheme(bits)).by(LearnedStep))
}

fn adam() -> ModuleOptimizer {
    AdamConfig::new().init()
}

// The stored scales of all layers, by path.
fn scales<M: Module>(module: &M) -> Vec<(String, Vec<f32>)> {
    #[derive(Default)]
    struct Scales(Vec<String>, Vec<(String, Vec<f32>)>);
    impl ModuleVisitor for Scales {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.0.join(".");
            if path.ends_with("compress.scale") {
                self.1.push((path, values(param.val())));
            }
        }
    }
    let mut found = Scales::default();
    module.visit(&mut found);
    found.1
}

// Every stored scale changed, the gradient requirement kept.
fn with_scales<M: Module>(module: M, change: fn(f32) -> f32) -> M {
    struct Change(Vec<String>, fn(f32) -> f32);
    impl ModuleMapper for Change {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !self.0.join(".").ends_with("compress.scale") {
                return param;
            }
            param.map(|old| {
                let changed: Vec<f32> = values(old.clone()).into_iter().map(self.1).collect();
                let changed = TensorData::new(changed, old.dims());
                Tensor::from_data(changed, &old.device()).set_require_grad(old.is_require_grad())
            })
        }
    }
    module.map(&mut Change(Vec::new(), change))
}

#[test]
fn the_gradients_are_those_of_the_paper() {
    let device = device().autodiff();
    // Codes less the zero point reach from -3 to 3, and from -2 to 5.
    for (mapping, zero_point, of_scale, of_values) in [
        (
            Mapping::Symmetric,
            0.0,
            (1.0 - 0.6) + 2.0 * (-1.0 + 1.4) + 3.0 * 3.0 + 4.0 * -3.0,
            [1.0, 2.0, 0.0, 0.0, 5.0, 0.0],
        ),
        (
            Mapping::Affine,
            2.0,
            (1.0 - 0.6) + 2.0 * (-1.0 + 1.4) + 3.0 * 5.0 + 4.0 * -2.0 + 6.0 * (3.0 - 3.2),
            [1.0, 2.0, 0.0, 0.0, 5.0, 6.0],
        ),
    ] {
        let scheme = Scheme::new(3, mapping, Granularity::Tensor).unwrap();
        let weights = [[0.3f32, -0.7, 2.6, -5.0, 0.0, 1.6]]; // by 0.5: 0.6, -1.4, 5.2, -10, 0, 3.2
        let weights = Tensor::<2>::from_data(weights, &device).require_grad();
        let parameters = Parameters {
            scale: Tensor::<1>::from_data([0.5], &device).require_grad(),
            zero_point: Tensor::from_data([zero_point], &device),
        };
        let above = Tensor::<2>::from_data([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], &device);
        let seen = fake_quantize(weights.clone(), &parameters, &scheme);
        let gradients = (seen.clone() * above).sum().backward();
        let symmetric = mapping == Mapping::Symmetric;
        // The last saturates only there, at the third code.
        let of_scale = of_scale + if symmetric { 6.0 * 3.0 } else { 0.0 };
        let balance = (6.0 * if symmetric { 3.0f32 } else { 7.0 }).sqrt();
        let found = values(parameters.scale.grad(&gradients).unwrap())[0];
        assert!((found - of_scale / balance).abs() < 1e-5, "{found}");
        let found = values(weights.grad(&gradients).unwrap());
        for (found, expected) in found.iter().zip(of_values) {
            assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
        }
        // The value is that of a scale which is not learned.
        let fixed = Parameters {
            scale: parameters.scale.clone().detach(),
            ..parameters.clone()
        };
        let fixed = fake_quantize(weights.detach(), &fixed, &scheme);
        assert_eq!(values(seen), values(fixed));
    }
}

#[test]
fn scales_begin_as_in_the_paper_and_removed_weights_do_not_count() {
    let groups = [[1.0f32, -3.0, 2.0, 2.0], [0.0, -3.0, 0.0, 1.0], [0.0; 4]];
    let groups = Tensor::<2>::from_data(groups, &device());
    let found = LearnedStep.parameters(groups.clone(), &scheme(3));
    let first = 2.0 * 2.0 / 3f32.sqrt();
    for (found, expected) in values(found.scale).iter().zip([first, first, 1.0]) {
        assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
    }
    assert_eq!(values(found.zero_point), [0.0; 3]);
    // Affine: the side with more codes counts.
    let affine = Scheme::new(3, Mapping::Affine, Granularity::Channel).unwrap();
    let found = LearnedStep.parameters(groups, &affine);
    assert_eq!(values(found.zero_point), [4.0, 5.0, 0.0]);
    let second = 2.0 * 2.0 / 5f32.sqrt();
    for (found, expected) in values(found.scale).iter().zip([2.0, second, 1.0]) {
        assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
    }
}

#[test]
fn after_training_alone_the_first_scales_are_used() {
    let net = trained(3, &device());
    let (attached, _) = plan(4).attach(net.clone()).unwrap();
    let applied = plan(4).apply(net).unwrap();
    for (one, other) in seen(&attached).iter().zip(seen(&applied.module)) {
        assert_eq!(one.used, other.used, "{}", one.path);
    }
}

fn loss(net: &Net) -> f32 {
    let net = Compression::snapshot(net).valid();
    let device = device();
    let losses = (500..510).map(|step| {
        let (images, labels) = batch(step, &device);
        let loss = burn::nn::loss::CrossEntropyLossConfig::new().init(&device);
        values(loss.forward(net.forward(images), labels))[0]
    });
    losses.sum::<f32>() / 10.0
}

// The same first scales, which stay.
struct Fixed;
impl Quantizer for Fixed {
    fn name(&self) -> &str {
        "fixed"
    }
    fn parameters(&self, values: Tensor<2>, scheme: &Scheme) -> Parameters {
        LearnedStep.parameters(values, scheme)
    }
}

#[test]
fn training_moves_the_scales_and_lowers_the_loss() {
    let fixed = Quantization::to(scheme(2)).by(Fixed).every(usize::MAX);
    let train = |plan: Plan| {
        let net = trained(10, &device());
        let (mut net, mut compression) = plan.attach(net).unwrap();
        let before = (loss(&net), scales(&net));
        let mut optimizer = adam();
        for step in 0..60 {
            net = train_step(net, &mut optimizer, 0.01, step);
            net = compression.step(net).unwrap();
        }
        (before, (loss(&net), scales(&net)))
    };
    let (start, learned) = train(plan(2));
    let (fixed_start, fixed) = train(Plan::new().quantize(fixed));
    assert_eq!(start, fixed_start);
    assert_eq!(fixed.1, start.1);
    assert_eq!(learned.1.len(), 4);
    for ((path, before), (_, after)) in start.1.iter().zip(&learned.1) {
        let moved = before.iter().zip(after).filter(|(a, b)| a != b).count();
        assert_eq!(moved, before.len(), "{path}");
    }
    // Which of the two is better depends on the problem; both learn.
    for (end, how) in [(learned.0, "learned"), (fixed.0, "fixed")] {
        assert!(
            end < 0.1 * start.0,
            "{end} after {} with {how} scales",
            start.0
        );
    }
}

#[test]
fn a_step_leaves_the_scales_to_the_optimizer() {
    let curve = Curve::Linear {
        from: 0.0,
        to: 0.5,
        start: 0,
        end: 4,
    };
    let plan = plan(3).prune(Pruning::along(curve));
    let (mut net, mut compression) = plan.attach(trained(3, &device())).unwrap();
    let mut optimizer = adam();
    for step in 0..6 {
        net = train_step(net, &mut optimizer, 0.01, step);
        let moved = scales(&net);
        net = compression.step(net).unwrap();
        assert_eq!(scales(&net), moved);
        for layer in seen(&net) {
            for (used, gone) in layer.used.iter().zip(layer.removed.unwrap()) {
                assert!(used.is_finite() && (!gone || *used == 0.0));
            }
        }
    }
    let removed: usize = seen(&net)
        .iter()
        .map(|layer| layer.removed.iter().flatten().filter(|gone| **gone).count())
        .sum();
    assert_eq!(removed, 178);
    // And so does a level that is set.
    let plan = self::plan(3).prune(Pruning::to(0.0));
    let (net, mut compression) = plan.attach(net.materialize()).unwrap();
    let net = with_scales(net, |scale| scale * 1.5);
    let before = scales(&net);
    let net = compression.prune_to(net, 0.6).unwrap();
    assert_eq!(scales(&net), before);
}

#[test]
fn what_is_trained_is_packed_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    for mapping in [Mapping::Symmetric, Mapping::Affine] {
        for granularity in [
            Granularity::Tensor,
            Granularity::Channel,
            Granularity::Group(2),
        ] {
            let scheme = Scheme::new(3, mapping, granularity).unwrap();
            let selection = burn_compress::compress::Selection::only(["grouped", "up", "head"]);
            let plan = Plan::new()
                .select(selection)
                .prune(Pruning::to(0.4))
                .quantize(Quantization::to(scheme).by(LearnedStep));
            let (mut net, mut compression) = plan.attach(trained(3, &device())).unwrap();
            let mut optimizer = adam();
            for step in 0..5 {
                net = train_step(net, &mut optimizer, 0.01, step);
                net = compression.step(net).unwrap();
            }
            // Also where the optimizer has stepped over zero.
            net = with_scales(net, |scale| -scale);
            let training = seen(&net);
            let validation = seen(&net.valid());
            let expected = outputs(&net);
            let compressed = compression.finish(net).unwrap();
            compressed.save(&path).unwrap();
            let loaded = load(&path, Net::new(&device())).unwrap();
            for plain in [seen(&compressed.module), seen(&loaded)] {
                for ((plain, one), other) in plain.iter().zip(&training).zip(&validation) {
                    assert_same(&plain.stored, &one.used);
                    assert_same(&one.used, &other.used);
                }
            }
            assert_same(&outputs(&loaded), &expected);
        }
    }
}

#[test]
fn no_scale_that_an_optimizer_leaves_makes_a_nan() {
    let (net, compression) = plan(4).attach(trained(3, &device())).unwrap();
    let expected = outputs(&net);
    let mirrored = with_scales(net.clone(), |scale| -scale);
    assert_same(&outputs(&mirrored), &expected);
    let changes: [fn(f32) -> f32; 6] = [
        |_| 0.0,
        |_| -0.0,
        |_| 1e-44,
        |_| f32::MIN_POSITIVE,
        |_| f32::INFINITY,
        |_| -1e-30,
    ];
    for change in changes {
        let net = with_scales(Compression::snapshot(&net), change);
        assert!(outputs(&net).iter().all(|output| output.is_finite()));
        let gradients = gradients(&net, 0);
        let net = adam().step(0.01, net, gradients);
        assert!(outputs(&net).iter().all(|output| output.is_finite()));
        for (path, scales) in scales(&net) {
            assert!(scales.iter().all(|scale| !scale.is_nan()), "{path}");
        }
        let compressed = compression.clone().finish(net).unwrap();
        compressed.archive().check().unwrap();
    }
}

#[test]
fn a_scale_of_zero_is_led_away_from_it() {
    let (net, _) = plan(4).attach(trained(3, &device())).unwrap();
    let net = with_scales(net, |_| 0.0);
    let gradients = gradients(&net, 0);
    let mut optimizer: ModuleOptimizer = SgdConfig::new().init();
    let net = optimizer.step(0.1, net, gradients);
    let (path, head) = scales(&net).pop().unwrap();
    assert_eq!(path, "head.weight.compress.scale");
    assert!(head.iter().any(|scale| *scale != 0.0));
}

#[test]
fn a_scale_that_is_no_number_is_an_error_that_names_the_layer() {
    let (net, compression) = plan(4).attach(trained(3, &device())).unwrap();
    let net = with_scales(net, |_| f32::NAN);
    let error = compression.finish(net).unwrap_err().to_string();
    assert!(error.contains("conv.weight"), "{error}");
}

#[test]
fn a_record_and_a_change_of_mode_keep_scales_that_train() {
    // Attached on the plain device.
    let (net, _) = plan(3).attach(Net::new(&device())).unwrap();
    let net = net.train();
    let mut optimizer = adam();
    let before = scales(&net);
    let net = train_step(net, &mut optimizer, 0.01, 0);
    assert_ne!(scales(&net), before);
    let record = net.valid().into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(record).unwrap();
    let (fresh, _) = plan(3).attach(Net::new(&device().autodiff())).unwrap();
    let loaded = fresh.load_record(record);
    assert_eq!(scales(&loaded), scales(&net));
    let before = scales(&loaded);
    let trained = train_step(Compression::snapshot(&loaded), &mut adam(), 0.01, 1);
    assert_ne!(scales(&trained), before);
}

#[test]
fn a_run_stopped_and_resumed_is_the_run_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let start = || {
        let curve = Curve::Linear {
            from: 0.0,
            to: 0.5,
            start: 0,
            end: 6,
        };
        let plan = plan(3).prune(Pruning::along(curve).every(2));
        plan.attach(Net::new(&device().autodiff())).unwrap()
    };
    let go = |mut net: Net, optimizer: &mut ModuleOptimizer, state: &mut Compression, steps| {
        for step in steps {
            net = train_step(net, optimizer, 0.01, step);
            net = state.step(net).unwrap();
        }
        net
    };
    let (net, mut state) = start();
    let whole = go(net, &mut adam(), &mut state, 0..10);
    for stop in [0, 3, 7] {
        let (net, mut state) = start();
        let mut optimizer = adam();
        let net = go(net, &mut optimizer, &mut state, 0..stop);
        let checkpoint = Checkpoint::new(&net, &optimizer, &state, &()).unwrap();
        checkpoint.save(&path).unwrap();
        let (net, state) = start();
        let checkpoint = Checkpoint::load(&path).unwrap();
        let (net, mut optimizer, mut state, ()) = checkpoint.restore(net, adam(), state).unwrap();
        let resumed = go(net, &mut optimizer, &mut state, stop..10);
        assert_same_run(&resumed, &whole);
        if is_exact() {
            assert_eq!(scales(&resumed), scales(&whole));
        }
    }
}

#[test]
fn scales_of_weights_and_activations_train_together() {
    let capture = |net: &Net| {
        let forward = |net: &Net, images: Tensor<4>| net.forward(images);
        Graph::capture(net, [1, 1, 6, 6], forward)
            .unwrap()
            .simplify()
    };
    let net = trained(5, &device());
    let graph = capture(&net.valid());
    let (net, mut compression) = plan(3).attach(net).unwrap();
    let activations = Activations::bits(4).unwrap();
    let mut calibration = Calibration::new(graph, &net, &compression, activations).unwrap();
    for step in 0..4 {
        calibration.observe(&net, batch(step, &device()).0).unwrap();
    }
    let mut model = calibration.finish(net).unwrap().freeze_statistics();
    let before = (scales(&model), model.scales().unwrap());
    let mut optimizer = adam();
    for step in 0..5 {
        let (images, labels) = batch(step, &device().autodiff());
        let output: Tensor<2> = model.forward(images).unwrap();
        let loss = burn::nn::loss::CrossEntropyLossConfig::new().init(&output.device());
        let gradients = loss.forward(output, labels).backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimizer.step(0.01, model, gradients);
        model = compression.step(model).unwrap();
    }
    for ((path, before), (_, after)) in before.0.iter().zip(scales(&model)) {
        assert_ne!(*before, after, "{path}");
    }
    assert_ne!(before.1, model.scales().unwrap());
    let model = with_scales(model, |scale| -scale);

    // Training, validation and whole numbers see the same.
    let (images, _) = batch(9, &device());
    let training: Tensor<2> = model
        .forward(Tensor::<4>::from_inner(images.clone()))
        .unwrap();
    let plain: Quantized<Net> = model.valid();
    let validation: Tensor<2> = plain.forward(images.clone()).unwrap();
    let (training, validation) = (values(training), values(validation));
    assert_same(&training, &validation);
    let integers = plain.to_integer().unwrap();
    let (whole, _) = integers.run(&values(images), 8).unwrap();
    if is_exact() {
        assert_same(&whole, &validation);
    }
}
