//! Criteria that look at gradients and inputs: against plain loops, wherever they are seen.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Tensor, TensorData};
use burn_compress::compress::{CompressError, Compression, Layer, Plan, Pruning, Regrowth, layers};
use burn_compress::format::WeightView;
use burn_compress::graph::Graph;
use burn_compress::prune::{
    Magnitude, Missing, Need, Pruner, Random, Scope, Taylor, Wanda, Weight, lowest, share_of,
};
use burn_compress::schedule::Curve;
use burn_compress::train::{Checkpoint, TrainError};

use super::device::device;
use super::models::{
    Net, WEIGHTS, assert_resumed, batch, gradients, masks, seen, spread, trained, values, zeros,
};

/// The gradients of a network's weights, in rows.
pub fn rows_of(gradients: &GradientsParams, net: &Net) -> Vec<Vec<f32>> {
    struct Reader<'a> {
        path: Vec<String>,
        gradients: &'a GradientsParams,
        layers: Vec<Layer>,
        found: Vec<Vec<f32>>,
    }
    impl ModuleVisitor for Reader<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.path.join(".");
            if let Some(layer) = self.layers.iter().find(|layer| layer.path == path) {
                let gradient = self.gradients.get::<D>(param.id).unwrap();
                self.found.push(layer.view.to_rows(&values(gradient)));
            }
        }
    }
    let mut layers = layers(&net.valid().materialize()).unwrap();
    layers.retain(|layer| layer.is_weight);
    let mut reader = Reader {
        path: Vec::new(),
        gradients,
        layers,
        found: Vec::new(),
    };
    net.visit(&mut reader);
    reader.found
}

// Sums of the gradients of some batches.
fn summed(net: &Net, steps: impl Iterator<Item = usize>) -> Vec<Vec<f32>> {
    let mut sums: Vec<Vec<f32>> = WEIGHTS.iter().map(|(_, count)| vec![0.0; *count]).collect();
    for step in steps {
        for (sum, gradient) in sums.iter_mut().zip(rows_of(&gradients(net, step), net)) {
            sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        }
    }
    sums
}

// The masks of all layers under one threshold.
fn global(scores: &[Vec<f32>], level: f64) -> Vec<Vec<bool>> {
    let all = scores.concat();
    let mut marked = lowest(&all, share_of(level, all.len()));
    let masks = scores.iter().map(|scores| {
        let rest = marked.split_off(scores.len());
        std::mem::replace(&mut marked, rest)
    });
    masks.collect()
}

fn taylor_plan(level: f64, taylor: Taylor) -> Plan {
    let pruning = Pruning::to(level).by(taylor);
    Plan::new().prune(pruning.at_least(burn_compress::prune::AtLeast::Weights(0)))
}

#[test]
fn taylor_removes_what_changes_the_loss_least() {
    let net = trained(20, &device());
    let sums = summed(&net, 0..3);
    for taylor in [Taylor::Squared, Taylor::Absolute] {
        let plan = taylor_plan(0.6, taylor);
        let mut observations = plan.observations(&net).unwrap();
        assert_eq!(observations.needs(), [Need::Gradient]);
        for step in 0..3 {
            observations
                .gradients(&gradients(&net, step), &net)
                .unwrap();
        }
        assert_eq!(observations.batches("conv.weight", Need::Gradient), 3);
        let scores = seen(&net).into_iter().zip(&sums).map(|(layer, sums)| {
            let pairs = layer.stored.iter().zip(sums);
            let changes = pairs.map(|(w, sum)| sum / 3.0 * w);
            let scores = changes.map(|change| match taylor {
                Taylor::Squared => change * change,
                Taylor::Absolute => change.abs(),
            });
            scores.collect()
        });
        let scores: Vec<Vec<f32>> = scores.collect();
        let expected = global(&scores, 0.6);
        let applied = plan.apply_with(net.clone(), &observations).unwrap();
        assert_eq!(zeros(&applied.module), expected);
        let (attached, _) = plan.attach_with(net.clone(), &observations).unwrap();
        assert_eq!(masks(&attached), expected);
    }
}

#[test]
fn a_layer_that_was_not_observed_is_named() {
    let plan = taylor_plan(0.5, Taylor::Squared);
    let net = trained(3, &device());
    let check = |error: CompressError, layer: &str| {
        let text = error.to_string();
        let CompressError::Unobserved {
            criterion,
            layer: found,
            need,
        } = error
        else {
            panic!("{text}");
        };
        assert_eq!(
            (criterion.as_str(), found.as_str(), need),
            ("taylor", layer, Need::Gradient)
        );
        assert!(text.contains("Plan::apply_with") && text.contains("Compression::observe"));
    };
    check(plan.apply(net.clone()).unwrap_err(), "conv.weight");
    check(plan.attach(net.clone()).err().unwrap(), "conv.weight");
    let error = Plan::new()
        .prune(Pruning::to(0.5).by(Wanda))
        .apply(net.clone())
        .unwrap_err();
    assert!(error.to_string().contains("Graph::observe"), "{error}");
    // Nothing removed, nothing needed.
    let nothing = taylor_plan(0.0, Taylor::Squared);
    assert!(nothing.apply(net.clone()).is_ok());
    // A gradient of one window is not one of the next.
    let curve = Curve::Linear {
        from: 0.0,
        to: 0.5,
        start: 0,
        end: 4,
    };
    let pruning = Pruning::along(curve).by(Taylor::Squared).every(2);
    let (net, mut compression) = Plan::new().prune(pruning).attach(net).unwrap();
    compression.observe(&gradients(&net, 0), &net).unwrap();
    let net = compression.step(net).unwrap();
    let net = compression.step(net).unwrap();
    let net = compression.step(net).unwrap();
    check(compression.step(net).unwrap_err(), "conv.weight");
}

/// Reads what it did not ask for.
struct Careless;

impl Pruner for Careless {
    fn name(&self) -> &str {
        "careless"
    }

    fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing> {
        weight.squared_gradient()
    }
}

#[test]
fn what_was_not_asked_for_is_not_there() {
    let plan = Plan::new().prune(Pruning::to(0.5).by(Careless));
    let net = trained(1, &device());
    let mut observations = plan.observations(&net).unwrap();
    observations.gradients(&gradients(&net, 0), &net).unwrap();
    let error = plan.apply_with(net, &observations).unwrap_err();
    assert!(
        matches!(
            error,
            CompressError::Unobserved {
                need: Need::SquaredGradient,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn gradients_of_another_model_are_refused() {
    let net = trained(1, &device());
    let plan = taylor_plan(0.5, Taylor::Squared);
    let mut observations = plan.observations(&net).unwrap();
    let other = Linear::new_for(3, 2);
    let error = observations
        .gradients(&GradientsParams::new(), &other)
        .unwrap_err();
    assert!(matches!(error, CompressError::Detached { .. }), "{error}");
}

trait NewFor {
    fn new_for(inputs: usize, outputs: usize) -> Linear;
}

impl NewFor for Linear {
    fn new_for(inputs: usize, outputs: usize) -> Linear {
        let linear = LinearConfig::new(inputs, outputs).init(&device());
        let count = inputs * outputs;
        let weights = (0..count).map(|i| spread(i * 3 + 11) - 0.5);
        let data = TensorData::new(weights.collect::<Vec<f32>>(), [inputs, outputs]);
        Linear {
            weight: Param::from_data(data, &device()),
            ..linear
        }
    }
}

fn curve(end: usize) -> Curve {
    Curve::Cubic {
        from: 0.0,
        to: 0.7,
        start: 0,
        end,
    }
}

struct Run {
    net: Net,
    optimizer: ModuleOptimizer,
    compression: Compression,
    step: usize,
}

impl Run {
    fn start(pruning: Pruning) -> Self {
        let net = Net::new(&device().autodiff());
        let (net, compression) = Plan::new().prune(pruning).attach(net).unwrap();
        Self {
            net,
            optimizer: AdamConfig::new().init(),
            compression,
            step: 0,
        }
    }

    fn go(mut self, until: usize) -> Self {
        while self.step < until {
            let gradients = gradients(&self.net, self.step);
            self.compression.observe(&gradients, &self.net).unwrap();
            self.net = self.optimizer.step(0.02, self.net, gradients);
            self.net = self.compression.step(self.net).unwrap();
            self.step += 1;
        }
        self
    }
}

fn gradual(criterion: impl Pruner + 'static) -> Pruning {
    Pruning::along(curve(8)).by(criterion).every(4)
}

#[test]
fn gradients_are_summed_from_one_move_of_the_masks_to_the_next() {
    let mut run = Run::start(gradual(Taylor::Squared).regrowth(Regrowth::Never));
    let mut sums: Vec<Vec<f32>> = WEIGHTS.iter().map(|(_, count)| vec![0.0; *count]).collect();
    for step in 0..8 {
        let new = rows_of(&gradients(&run.net, step), &run.net);
        for (sum, new) in sums.iter_mut().zip(new) {
            sum.iter_mut().zip(new).for_each(|(sum, new)| *sum += new);
        }
        // What the optimizer makes of the weights, without a compression.
        run.step = step;
        let gradients = gradients(&run.net, step);
        run.compression.observe(&gradients, &run.net).unwrap();
        run.net = run.optimizer.step(0.02, run.net, gradients);
        let before = seen(&run.net);
        run.net = run.compression.step(run.net).unwrap();
        if step == 3 {
            let scores = before.iter().zip(&sums).map(|(layer, sums)| {
                let pairs = layer.stored.iter().zip(sums);
                pairs.map(|(w, sum)| (sum / 4.0 * w).powi(2)).collect()
            });
            let scores: Vec<Vec<f32>> = scores.collect();
            let level = run.compression.level().unwrap();
            assert_eq!(masks(&run.net), global(&scores, level));
            sums.iter_mut().for_each(|sums| sums.fill(0.0));
        }
        if step == 7 {
            // Where masks are, gradients and so scores are zero.
            let scores = before.iter().zip(&sums).map(|(layer, sums)| {
                let removed = layer.removed.as_ref().unwrap();
                let triples = layer.stored.iter().zip(sums).zip(removed);
                let scores = triples.map(|((w, sum), removed)| match removed {
                    true => -1.0,
                    false => (sum / 4.0 * w).powi(2),
                });
                scores.collect()
            });
            let scores: Vec<Vec<f32>> = scores.collect();
            assert_eq!(masks(&run.net), global(&scores, 0.7));
        }
    }
    assert!(run.compression.state().frozen);
}

#[test]
fn a_run_that_stops_between_two_moves_goes_on_from_its_sums() {
    for criterion in [Taylor::Squared, Taylor::Absolute] {
        let whole = Run::start(gradual(criterion)).go(10);
        for stop in [1, 2, 3, 4, 6, 9] {
            let run = Run::start(gradual(criterion)).go(stop);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("run.ckpt");
            Checkpoint::new(&run.net, &run.optimizer, &run.compression, &run.step)
                .unwrap()
                .save(&path)
                .unwrap();
            let fresh = Run::start(gradual(criterion));
            let (net, optimizer, compression, step) = Checkpoint::load(&path)
                .unwrap()
                .restore(fresh.net, fresh.optimizer, fresh.compression)
                .unwrap();
            let resumed = Run {
                net,
                optimizer,
                compression,
                step,
            };
            let resumed = resumed.go(10);
            assert_resumed(&resumed.net, &whole.net, stop);
        }
    }
}

#[test]
fn sums_of_a_checkpoint_fit_the_plan() {
    let run = Run::start(gradual(Taylor::Squared)).go(2);
    let kept = Checkpoint::new(&run.net, &run.optimizer, &run.compression, &()).unwrap();
    let fresh = Run::start(gradual(Magnitude));
    let error = kept
        .restore::<_, ()>(fresh.net, fresh.optimizer, fresh.compression)
        .err()
        .unwrap();
    assert!(
        matches!(error, TrainError::Compress(CompressError::Detached { .. })),
        "{error}"
    );
}

#[test]
fn criteria_that_ask_for_nothing_are_as_they_were() {
    // Observed or not.
    for watched in [false, true] {
        let mut net = Net::new(&device().autodiff());
        let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
        let pruning = gradual(Magnitude);
        let (attached, mut compression) = Plan::new().prune(pruning).attach(net).unwrap();
        net = attached;
        for step in 0..10 {
            let gradients = gradients(&net, step);
            if watched {
                compression.observe(&gradients, &net).unwrap();
            }
            net = optimizer.step(0.02, net, gradients);
            let before = seen(&net);
            net = compression.step(net).unwrap();
            if step == 7 {
                let scores = before.iter().map(|layer| {
                    let sizes = layer.stored.iter().map(|value| value.abs());
                    sizes.collect()
                });
                let scores: Vec<Vec<f32>> = scores.collect();
                assert_eq!(masks(&net), global(&scores, 0.7));
            }
        }
        let mut checkpoint = Checkpoint::new(&net, &optimizer, &compression, &()).unwrap();
        checkpoint = checkpoint.clone();
        assert!(!format!("{checkpoint:?}").contains("observed"));
    }
    assert!(Magnitude.needs().is_empty() && Random { seed: 1 }.needs().is_empty());
}

#[derive(Module, Debug)]
struct Layers {
    conv: Conv2d,
    grouped: Conv2d,
    head: Linear,
}

impl Layers {
    fn new() -> Self {
        let conv = |channels, groups, salt: usize| {
            let conv = Conv2dConfig::new(channels, [3, 2])
                .with_groups(groups)
                .with_stride([2, 1])
                .with_dilation([1, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(&device());
            let dims = conv.weight.dims();
            let count: usize = dims.iter().product();
            let weights = (0..count).map(|i| spread(i * 5 + salt) - 0.5);
            let data = TensorData::new(weights.collect::<Vec<f32>>(), dims);
            Conv2d {
                weight: Param::from_data(data, &device()),
                ..conv
            }
        };
        Self {
            conv: conv([2, 4], 1, 7),
            grouped: conv([4, 6], 2, 70),
            head: Linear::new_for(72, 3),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let [_, conv, grouped] = self.activations(images);
        let _ = conv;
        self.head.forward(grouped.flatten(1, 3))
    }

    // The inputs of the convolutions, and that of the linear layer before it is flattened.
    fn activations(&self, images: Tensor<4>) -> [Tensor<4>; 3] {
        let conv = burn::tensor::activation::relu(self.conv.forward(images.clone()));
        let grouped = self.grouped.forward(conv.clone());
        [images, conv, grouped]
    }
}

fn images(salt: usize) -> Tensor<4> {
    let count = 3 * 2 * 8 * 6;
    let pixels = (0..count).map(|i| spread(i * 11 + salt) - 0.3);
    let data = TensorData::new(pixels.collect::<Vec<f32>>(), [3, 2, 8, 6]);
    Tensor::from_data(data, &device())
}

// The squares of each channel of `[samples, channels, rest]`, added.
fn add_squares(sums: &mut [f64], input: &[f32], channels: usize, rest: usize) {
    for (i, value) in input.iter().enumerate() {
        sums[i / rest % channels] += f64::from(*value).powi(2);
    }
}

// Each row loses its own share: what ranks lowest in it.
fn by_row(products: &[f64], columns: usize, level: f64) -> Vec<bool> {
    let rows = products.chunks(columns).flat_map(|row| {
        let row: Vec<f32> = row.iter().map(|product| *product as f32).collect();
        lowest(&row, share_of(level, columns))
    });
    rows.collect()
}

#[test]
fn wanda_compares_products_with_the_inputs_norms_within_each_output() {
    let model = Layers::new();
    let forward = |model: &Layers, images: Tensor<4>| model.forward(images);
    let graph = Graph::capture(&model, [1, 2, 8, 6], forward).unwrap();
    for graph in [graph.clone(), graph.simplify()] {
        let plan = Plan::new().prune(Pruning::to(0.5).by(Wanda));
        let mut seen = plan.observations(&model).unwrap();
        let (mut conv, mut grouped, mut head) = ([0.0; 2], [0.0; 4], [0.0; 72]);
        for salt in [1, 1000] {
            graph.observe(&model, images(salt), &mut seen).unwrap();
            let [first, second, third] = model.activations(images(salt));
            let rest = |tensor: &Tensor<4>| tensor.dims()[2] * tensor.dims()[3];
            add_squares(&mut conv, &values(first.clone()), 2, rest(&first));
            add_squares(&mut grouped, &values(second.clone()), 4, rest(&second));
            add_squares(&mut head, &values(third), 72, 1);
        }
        assert_eq!(seen.batches("head.weight", Need::InputNorms), 2);
        let pruned = plan.apply_with(model.clone(), &seen).unwrap().module;
        let zeros = |values: Vec<f32>| values.iter().map(|v| *v == 0.0).collect::<Vec<_>>();

        let weights = values(model.conv.weight.val());
        let products = weights.iter().enumerate().map(|(i, weight)| {
            let channel = i % 12 / 6; // [4, 2, 3, 2]
            f64::from(weight.abs()) * f64::sqrt(conv[channel])
        });
        let products: Vec<f64> = products.collect();
        let found = zeros(values(pruned.conv.weight.val()));
        assert_eq!(found, by_row(&products, 12, 0.5));

        let weights = values(model.grouped.weight.val());
        let products = weights.iter().enumerate().map(|(i, weight)| {
            let (filter, of_group) = (i / 12, i % 12 / 6); // [6, 4 / 2, 3, 2]
            f64::from(weight.abs()) * f64::sqrt(grouped[filter / 3 * 2 + of_group])
        });
        let products: Vec<f64> = products.collect();
        let found = zeros(values(pruned.grouped.weight.val()));
        assert_eq!(found, by_row(&products, 12, 0.5));

        let view = WeightView::new(vec![72, 3], 1).unwrap();
        let rows = view.to_rows(&values(model.head.weight.val()));
        let products = rows.iter().enumerate();
        let products =
            products.map(|(i, weight)| f64::from(weight.abs()) * f64::sqrt(head[i % 72]));
        let products: Vec<f64> = products.collect();
        let found = zeros(view.to_rows(&values(pruned.head.weight.val())));
        assert_eq!(found, by_row(&products, 72, 0.5));
    }
}

/// Keeps what it saw.
#[derive(Clone, Default)]
struct Gram(std::sync::Arc<std::sync::Mutex<Vec<Matrix>>>);

/// Dimensions and elements.
type Matrix = (Vec<usize>, Vec<f32>);

impl Pruner for Gram {
    fn name(&self) -> &str {
        "gram"
    }

    fn needs(&self) -> &[Need] {
        &[Need::InputGram, Need::InputNorms]
    }

    fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing> {
        let gram = weight.input_gram()?;
        let mut seen = self.0.lock().unwrap();
        seen.push((gram.dims().to_vec(), values(gram)));
        Ok(weight.input_norms()? * weight.values.abs())
    }
}

#[test]
fn a_gram_matrix_sums_products_of_inputs_of_a_filter() {
    let model = Layers::new();
    let forward = |model: &Layers, images: Tensor<4>| model.forward(images);
    let graph = Graph::capture(&model, [1, 2, 8, 6], forward)
        .unwrap()
        .simplify();
    let criterion = Gram::default();
    let plan = Plan::new().prune(Pruning::to(0.5).by(criterion.clone()));
    let mut seen = plan.observations(&model).unwrap();
    let mut expected: Vec<Vec<f64>> = vec![vec![0.0; 144], vec![0.0; 2 * 144], vec![0.0; 5184]];
    for salt in [3, 30] {
        graph.observe(&model, images(salt), &mut seen).unwrap();
        let [first, second, third] = model.activations(images(salt));
        add_gram(&mut expected[0], &first, 1);
        add_gram(&mut expected[1], &second, 2);
        let flat = values(third);
        for row in flat.chunks(72) {
            for (i, a) in row.iter().enumerate() {
                for (j, b) in row.iter().enumerate() {
                    expected[2][i * 72 + j] += f64::from(a * b);
                }
            }
        }
    }
    plan.apply_with(model, &seen).unwrap();
    let found = criterion.0.lock().unwrap();
    let dims: Vec<&[usize]> = found.iter().map(|(dims, _)| &dims[..]).collect();
    assert_eq!(dims, [&[1, 12, 12], &[2, 12, 12], &[1, 72, 72]]);
    for ((_, found), expected) in found.iter().zip(&expected) {
        for (found, expected) in found.iter().zip(expected) {
            let close = (f64::from(*found) - expected).abs() < 1e-3 * expected.abs().max(1.0);
            assert!(close, "{found} for {expected}");
        }
    }
}

// Kernel [3, 2], stride [2, 1], dilation [1, 2], padding 1 on all sides.
fn add_gram(sums: &mut [f64], input: &Tensor<4>, groups: usize) {
    let [samples, channels, height, width] = input.dims();
    let input_values = values(input.clone());
    let at = |n: usize, c: usize, y: isize, x: isize| {
        let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
        match inside {
            true => {
                let place = ((n * channels + c) * height + y as usize) * width + x as usize;
                f64::from(input_values[place])
            }
            false => 0.0,
        }
    };
    let of_group = channels / groups;
    let (rows, columns) = ((height + 2 - 3) / 2 + 1, width + 2 - 3 + 1);
    for n in 0..samples {
        for group in 0..groups {
            for y in 0..rows {
                for x in 0..columns {
                    let patch = (0..of_group * 6).map(|i| {
                        let (c, ky, kx) = (group * of_group + i / 6, i % 6 / 2, i % 2);
                        let y = (2 * y + ky) as isize - 1;
                        at(n, c, y, (x + 2 * kx) as isize - 1)
                    });
                    let patch: Vec<f64> = patch.collect();
                    for (i, a) in patch.iter().enumerate() {
                        for (j, b) in patch.iter().enumerate() {
                            sums[(group * 12 + i) * 12 + j] += a * b;
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn inputs_stay_known_until_new_ones_are_seen() {
    let net = Net::new(&device().autodiff());
    let forward = |net: &Net, images: Tensor<4>| net.forward(images);
    let graph = Graph::capture(&net, [1, 1, 6, 6], forward).unwrap();
    let pruning = gradual(Wanda).scope(Scope::Layer);
    let plan = Plan::new().prune(pruning);
    let mut known = plan.observations(&net).unwrap();
    let images = batch(0, &device()).0;
    graph.observe(&net, images.clone(), &mut known).unwrap();
    let (mut net, mut compression) = plan.attach_with(net, &known).unwrap();
    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    let batches = |compression: &mut Compression| {
        let observations = compression.observations();
        observations.batches("head.weight", Need::InputNorms)
    };
    for step in 0..8 {
        let gradients = gradients(&net, step);
        net = optimizer.step(0.02, net, gradients);
        if step == 5 {
            let observations = compression.observations();
            graph.observe(&net, images.clone(), observations).unwrap();
            // Masks moved by the sum that was there.
            assert_eq!(batches(&mut compression), 1);
            let observations = compression.observations();
            graph.observe(&net, images.clone(), observations).unwrap();
            assert_eq!(batches(&mut compression), 2);
        }
        net = compression.step(net).unwrap();
    }
    assert!(compression.state().frozen);
    let removed: usize = masks(&net).iter().flatten().map(|r| usize::from(*r)).sum();
    assert!((245..=253).contains(&removed), "{removed}");
}
