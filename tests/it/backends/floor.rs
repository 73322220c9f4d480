//! What pruning leaves alone: zeros that are there, layers that do not train, and a rest of each layer.

use burn::module::{Lora, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use burn_compress::compress::{
    CompressError, Compression, LayerSummary, Masks, Plan, Pruning, Quantization, Regrowth,
};
use burn_compress::format::Scheme;
use burn_compress::prune::{AtLeast, Pattern, Random, Scope, share_of};
use burn_compress::schedule::{Curve, Schedule};
use burn_compress::train::Checkpoint;
use proptest::prelude::*;

use super::device::{cases, device};
use super::models::{look, spread, values};

/// Three linear layers, the middle one of weights that are much smaller.
#[derive(Module, Debug)]
struct Three {
    fc: Vec<Linear>,
}

impl Three {
    fn new(device: &Device) -> Self {
        let layer = |[inputs, outputs]: [usize; 2], size: f32, salt: usize| {
            let linear = LinearConfig::new(inputs, outputs)
                .with_bias(false)
                .init(device);
            let value = |i| (spread(salt * 1009 + i) - 0.5) * size;
            let values: Vec<f32> = (0..inputs * outputs).map(value).collect();
            let data = TensorData::new(values, [inputs, outputs]);
            Linear {
                weight: Param::from_data(data, device),
                ..linear
            }
        };
        Self {
            fc: vec![
                layer([20, 20], 1.0, 1),
                layer([20, 20], 1e-3, 2),
                layer([20, 5], 1.0, 3),
            ],
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = relu(self.fc[0].forward(x));
        self.fc[2].forward(relu(self.fc[1].forward(x)))
    }

    fn weights(&self) -> Vec<f32> {
        self.fc
            .iter()
            .flat_map(|fc| values(fc.weight.val()))
            .collect()
    }

    fn zeros(&self) -> Vec<bool> {
        self.weights().iter().map(|weight| *weight == 0.0).collect()
    }

    fn learn(self, optimizer: &mut ModuleOptimizer, step: usize) -> Self {
        let device = self.fc[0].weight.device();
        let inputs: Vec<f32> = (0..80).map(|i| spread(step * 97 + i) - 0.4).collect();
        let x = Tensor::from_data(TensorData::new(inputs, [4, 20]), &device);
        let loss = (self.forward(x) - 0.3).powi_scalar(2).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &self);
        optimizer.step(0.05, self, gradients)
    }
}

const TOTAL: usize = 900;

fn count(marks: &[bool]) -> usize {
    marks.iter().filter(|mark| **mark).count()
}

fn within(some: &[bool], all: &[bool]) -> bool {
    some.iter().zip(all).all(|(some, all)| *all || !some)
}

/// Pruned to 70 % of each layer.
fn sparse(device: &Device) -> Three {
    let pruning = Pruning::to(0.7).scope(Scope::Layer);
    let model = Plan::new().prune(pruning).apply(Three::new(device));
    model.unwrap().module.train()
}

fn rising() -> Curve {
    Curve::Linear {
        from: 0.5,
        to: 0.9,
        start: 0,
        end: 20,
    }
}

fn optimizers() -> [ModuleOptimizer; 2] {
    [SgdConfig::new().init(), AdamConfig::new().init()]
}

#[test]
fn a_schedule_that_begins_below_the_zeros_begins_at_them() {
    let device = device().autodiff();
    for regrowth in [Regrowth::Never, Regrowth::UntilFrozen] {
        for scope in [Scope::Layer, Scope::Global] {
            for mut optimizer in optimizers() {
                let mut model = sparse(&device);
                let before = model.zeros();
                assert_eq!(count(&before), 630);
                let pruning = Pruning::along(rising()).regrowth(regrowth).scope(scope);
                let plan = Plan::new().prune(pruning);
                let attached = plan.attach(model).unwrap();
                let mut compression = attached.1;
                model = attached.0;
                let mut last = before.clone();
                for step in 0..24 {
                    model = model.learn(&mut optimizer, step);
                    model = compression.step(model).unwrap();
                    let zeros = model.zeros();
                    assert!(within(&before, &zeros), "{regrowth:?} {scope:?} at {step}");
                    if regrowth == Regrowth::Never {
                        assert!(within(&last, &zeros), "{scope:?} at {step}");
                    }
                    let level = rising().at(step + 1).max(0.7);
                    let off = count(&zeros).abs_diff(share_of(level, TOTAL));
                    assert!(off <= 2, "{} at level {level}", count(&zeros));
                    last = zeros;
                }
                let finished = compression.finish(model).unwrap();
                let removed: usize = finished.layers().iter().map(|l| l.removed).sum();
                assert_eq!(removed, 810);
                assert!(finished.unfinished().is_none());
            }
        }
    }
}

#[test]
fn zeros_go_first_whatever_the_criterion_says() {
    let device = device();
    let model = sparse(&device).valid();
    let before = model.zeros();
    for level in [0.3, 0.7, 0.8] {
        for scope in [Scope::Layer, Scope::Global] {
            let pruning = Pruning::to(level).by(Random { seed: 3 }).scope(scope);
            let compressed = Plan::new().prune(pruning).apply(model.clone()).unwrap();
            let after = compressed.module.zeros();
            assert!(within(&before, &after));
            assert_eq!(count(&after), share_of(f64::max(level, 0.7), TOTAL));
        }
    }
    // Unless they are to count like any other.
    let pruning = Pruning::to(0.3).by(Random { seed: 3 }).keep_zeros(false);
    let (attached, compression) = Plan::new().prune(pruning).attach(model).unwrap();
    let masks: usize = attached
        .fc
        .iter()
        .map(|fc| count(&look("fc", &fc.weight, 1).removed.unwrap()))
        .sum();
    assert_eq!(masks, share_of(0.3, TOTAL));
    drop(compression);
}

#[test]
fn strewn_zeros_stay_under_a_pattern_of_blocks() {
    let device = device();
    let model = sparse(&device).valid();
    let before = model.zeros();
    let pattern = Pattern::Block { channels: 4 };
    for values in [vec![(0, 0.6)], vec![(0, 0.0), (1, 0.6), (9, 0.6)]] {
        let plan = Plan::new().prune(Pruning::along(Curve::Steps { values }).pattern(pattern));
        let (model, mut compression) = plan.attach(model.clone()).unwrap();
        let model = compression.step(model).unwrap();
        let after = model.zeros();
        assert!(within(&before, &after));
        // Blocks go by what is left of them, not because one weight of them is gone.
        let start = sparse(&device);
        let mut new = 0;
        for (fc, start) in model.fc.iter().zip(&start.fc) {
            let removed = look("fc", &fc.weight, 1).removed.unwrap();
            let stored = look("fc", &start.weight, 1).stored;
            for (block, weights) in removed.chunks(4).zip(stored.chunks(4)) {
                let gone = weights.iter().filter(|weight| **weight == 0.0).count();
                if count(block) > gone {
                    assert_eq!(count(block), 4, "{weights:?}");
                    assert!(
                        weights.iter().all(|weight| weight.abs() < 0.4),
                        "{weights:?}"
                    );
                    new += 1;
                }
            }
        }
        assert!(new > 0);
    }
}

#[test]
fn a_layer_of_zeros_alone_is_not_pruned_but_untrained() {
    let device = device().autodiff();
    let mut model = Three::new(&device);
    model.fc[2].weight = Param::from_tensor(Tensor::zeros([20, 5], &device));
    let schedule = Curve::Linear {
        from: 0.0,
        to: 0.5,
        start: 1,
        end: 8,
    };
    let pruning = Pruning::along(schedule)
        .scope(Scope::Layer)
        .regrowth(Regrowth::Never);
    let (mut model, mut compression) = Plan::new().prune(pruning).attach(model).unwrap();
    let mut optimizer: ModuleOptimizer = SgdConfig::new().init();
    for step in 0..10 {
        model = model.learn(&mut optimizer, step);
        model = compression.step(model).unwrap();
    }
    assert_eq!(compression.state().untrained, ["fc.2.weight"]);
    let removed = look("fc", &model.fc[2].weight, 1).removed.unwrap();
    assert_eq!(count(&removed), 50);
}

#[test]
fn zeros_of_another_model_are_put_back() {
    let device = device().autodiff();
    let model = sparse(&device);
    let before = model.zeros();
    let masks = Masks::of(&model).unwrap();
    assert_eq!(masks.removed("fc.1.weight").map(count), Some(280));
    assert_eq!(masks.removed("nowhere"), None);
    let mut merged = model.apply_lora(Lora::new(2, 4.0));
    for step in 0..3 {
        merged = merged.learn(&mut optimizers()[1], step);
    }
    let merged = merged.materialize().unfreeze();
    assert!(count(&merged.zeros()) < 100, "merging fills the zeros up");

    let as_before = Pruning::existing().zeros_of(masks.clone());
    let compressed = Plan::new()
        .prune(as_before.clone())
        .apply(merged.clone())
        .unwrap();
    assert_eq!(compressed.module.zeros(), before);
    let kept = |model: &Three| {
        let merged = merged.weights();
        let pairs = model.weights().into_iter().zip(merged).zip(&before);
        pairs
            .into_iter()
            .all(|((now, merged), zero)| *zero || now == merged)
    };
    assert!(kept(&compressed.module));
    let scheme = Scheme::symmetric(8).unwrap();
    let both = Plan::new()
        .prune(as_before.clone())
        .quantize(Quantization::to(scheme));
    assert!(within(
        &before,
        &both.apply(merged.clone()).unwrap().module.zeros()
    ));

    // In force while training, as they are and further along a schedule.
    for regrowth in [Regrowth::Never, Regrowth::UntilFrozen] {
        let further = Pruning::along(rising())
            .zeros_of(masks.clone())
            .regrowth(regrowth);
        for (pruning, removed) in [(as_before.clone(), 630), (further, 810)] {
            let plan = Plan::new().prune(pruning);
            let (mut model, mut compression) = plan.attach(Compression::snapshot(&merged)).unwrap();
            assert!(within(&before, &model.zeros()));
            assert!(kept(&model) || removed == 810);
            let mut optimizer = optimizers()[0].clone();
            for step in 0..22 {
                model = model.learn(&mut optimizer, step);
                model = compression.step(model).unwrap();
                assert!(within(&before, &model.zeros()), "{regrowth:?} at {step}");
            }
            let zeros = compression.finish(model).unwrap().module.zeros();
            assert!(within(&before, &zeros));
            assert_eq!(count(&zeros), removed);
        }
    }
}

#[test]
fn masks_of_a_model_that_carries_them_are_what_it_computes_with() {
    let plan = Plan::new().prune(Pruning::to(0.4));
    let (attached, _) = plan.attach(Three::new(&device())).unwrap();
    let masks = Masks::of(&attached).unwrap();
    let other = Plan::new().prune(Pruning::existing().zeros_of(masks));
    let pruned = other.apply(Three::new(&device())).unwrap();
    assert_eq!(pruned.module.zeros(), attached.zeros());
}

#[test]
fn masks_that_do_not_fit_are_refused() {
    let device = device();
    let masks = Masks::of(&Three::new(&device)).unwrap();
    let plan = Plan::new().prune(Pruning::existing().zeros_of(masks));
    let error = plan
        .apply(LinearConfig::new(4, 4).init(&device))
        .unwrap_err();
    assert!(
        matches!(&error, CompressError::Masks { layer, .. } if layer == "weight"),
        "{error}"
    );
    let mut other = Three::new(&device);
    other.fc[1] = LinearConfig::new(20, 21).init(&device);
    for error in [
        plan.apply(other.clone()).unwrap_err(),
        plan.attach(other).map(|_| ()).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(matches!(&error, CompressError::Masks { layer, .. } if layer == "fc.1.weight"));
        assert!(
            text.contains("[20, 20]") && text.contains("[20, 21]"),
            "{text}"
        );
    }
}

#[test]
fn layers_without_gradient_are_left_out() {
    let device = device().autodiff();
    let mut model = Three::new(&device);
    let second = model.fc[1].clone().no_grad();
    model.fc[1] = second;
    let before = values(model.fc[1].weight.val());
    for scope in [Scope::Global, Scope::Layer] {
        for model in [model.clone(), model.valid()] {
            let plan = Plan::new().prune(Pruning::to(0.8).scope(scope));
            let applied = plan.apply(model.clone()).unwrap();
            assert_eq!(values(applied.module.fc[1].weight.val()), before);
            let (attached, compression) = plan.attach(model).unwrap();
            assert_eq!(values(attached.fc[1].weight.val()), before);
            for layers in [
                applied.layers().to_vec(),
                compression.summary(&attached).unwrap(),
            ] {
                // The level is a share of the others.
                assert_eq!(layers[0].removed + layers[2].removed, 400, "{scope:?}");
                let frozen: Vec<bool> = layers.iter().map(|layer| layer.frozen).collect();
                assert_eq!(frozen, [false, true, false]);
                assert_eq!(layers[1].removed, 0);
            }
        }
    }
    // On demand they go with the others: those of small weights first.
    let all = Plan::new()
        .prune(Pruning::to(0.4).prune_frozen(true))
        .apply(model.clone());
    let all = all.unwrap();
    assert!(all.layers()[1].removed > 350 && !all.layers()[1].frozen);
    // Codes are for all.
    let scheme = Scheme::symmetric(4).unwrap();
    let both = Plan::new()
        .prune(Pruning::to(0.8))
        .quantize(Quantization::to(scheme));
    let layers = both.apply(model).unwrap().layers().to_vec();
    assert!(layers.iter().all(|layer| layer.bits == 4) && layers[1].frozen);
}

#[test]
fn zeros_of_a_layer_without_gradient_stay() {
    let device = device().autodiff();
    let mut model = sparse(&device);
    model.fc[1] = model.fc[1].clone().no_grad();
    let before = model.zeros();
    let (model, mut compression) = Plan::new()
        .prune(Pruning::along(rising()))
        .attach(model)
        .unwrap();
    let model = compression.step(model).unwrap();
    let layers = compression.summary(&model).unwrap();
    assert_eq!((layers[1].removed, layers[1].frozen), (280, true));
    assert!(within(&before, &model.zeros()));
}

#[test]
fn in_a_module_for_inference_all_take_part() {
    for model in [
        Three::new(&device()).no_grad(),
        Three::new(&device()).freeze(),
        Three::new(&device().autodiff()).no_grad(),
        Three::new(&device()),
    ] {
        let compressed = Plan::new().prune(Pruning::to(0.5)).apply(model).unwrap();
        let layers = compressed.layers();
        assert_eq!(layers.iter().map(|l| l.removed).sum::<usize>(), 450);
        assert!(layers.iter().all(|layer| !layer.frozen));
    }
}

/// How many weights stay, by the words of the documentation.
fn guard(at_least: AtLeast, level: f64, weights: usize) -> usize {
    let left = weights - (level * weights as f64).round() as usize;
    let wanted = match at_least {
        AtLeast::Share(share) => (share * weights as f64).ceil() as usize,
        AtLeast::Weights(wanted) => wanted,
    };
    wanted.min(left.max(1)).min(weights)
}

fn removed(layers: &[LayerSummary]) -> Vec<usize> {
    layers.iter().map(|layer| layer.removed).collect()
}

#[test]
fn no_layer_loses_all_by_default() {
    let model = Three::new(&device());
    let layers = |pruning: Pruning| {
        let compressed = Plan::new().prune(pruning).apply(model.clone()).unwrap();
        compressed.layers().to_vec()
    };
    let of = layers(Pruning::to(0.7));
    assert_eq!(of[1].removed, 396, "one in a hundred stays");
    assert_eq!(of.iter().map(|layer| layer.removed).sum::<usize>(), 630);
    let guarded: Vec<bool> = of.iter().map(|layer| layer.guarded).collect();
    assert_eq!(guarded, [false, true, false]);
    // The user's own, and none.
    for (at_least, left) in [
        (AtLeast::Weights(1), 1),
        (AtLeast::Weights(7), 7),
        (AtLeast::Share(0.1), 40),
        (AtLeast::Share(1.0), 120), // no more than the level leaves
        (AtLeast::Weights(0), 0),
        (AtLeast::Share(0.0), 0),
    ] {
        let of = layers(Pruning::to(0.7).at_least(at_least));
        assert_eq!(400 - of[1].removed, left, "{at_least:?}");
        assert_eq!(of.iter().map(|layer| layer.removed).sum::<usize>(), 630);
        assert_eq!(of[1].guarded, left > 0, "{at_least:?}");
    }
    // The greatest ones stay.
    let compressed = Plan::new()
        .prune(Pruning::to(0.7))
        .apply(model.clone())
        .unwrap();
    let mut sizes: Vec<f32> = values(model.fc[1].weight.val())
        .iter()
        .map(|w| w.abs())
        .collect();
    sizes.sort_by(f32::total_cmp);
    let after = values(compressed.module.fc[1].weight.val());
    assert!(after.iter().all(|w| *w == 0.0 || w.abs() >= sizes[396]));
    for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let pruning = Pruning::to(0.5).at_least(AtLeast::Share(share));
        let error = Plan::new().prune(pruning).apply(model.clone()).unwrap_err();
        assert!(matches!(error, CompressError::AtLeast { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(48)))]

    // By sorting: of each layer what it has to keep, then the lowest of all others.
    #[test]
    fn the_lowest_go_that_no_layer_has_to_keep(
        level in 0.0..0.999f64,
        sizes in prop::array::uniform3(1e-4f32..1.0),
        steps in 1.0..40.0f32,
        share in prop_oneof![Just(0.01), 0.0..1.0f64],
        weights in prop::option::of(0usize..30),
    ) {
        let at_least = weights.map_or(AtLeast::Share(share), AtLeast::Weights);
        let mut model = Three::new(&device());
        let mut scored = Vec::new();
        for (layer, (fc, size)) in model.fc.iter_mut().zip(sizes).enumerate() {
            let dims = fc.weight.dims();
            // Some are equal in size.
            let value = |i| (((spread(layer * 7001 + i) - 0.5) * steps).round() + 0.5) * size;
            let values: Vec<f32> = (0..dims[0] * dims[1]).map(value).collect();
            fc.weight = Param::from_data(TensorData::new(values, dims), &device());
            let rows = look("fc", &fc.weight, 1).stored;
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by(|a, b| rows[*a].abs().total_cmp(&rows[*b].abs()).then(a.cmp(b)));
            let free = rows.len() - guard(at_least, level, rows.len());
            scored.extend(order.iter().enumerate().map(|(rank, place)| {
                (rank >= free, rows[*place].abs(), layer, *place)
            }));
        }
        scored.sort_by(|a, b| {
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then((a.2, a.3).cmp(&(b.2, b.3)))
        });
        let mut expected: Vec<Vec<bool>> = [400, 400, 100].map(|size| vec![false; size]).to_vec();
        for (kept, _, layer, place) in scored.iter().take(share_of(level, TOTAL)) {
            expected[*layer][*place] = !kept;
        }
        // On the host, then on the device.
        for values in [vec![(0, level)], vec![(0, 0.0), (1, level), (9, level)]] {
            let pruning = Pruning::along(Curve::Steps { values }).at_least(at_least);
            let plan = Plan::new().prune(pruning);
            let (model, mut compression) = plan.attach(model.clone()).unwrap();
            let model = compression.step(model).unwrap();
            for (fc, expected) in model.fc.iter().zip(&expected) {
                let found = look("fc", &fc.weight, 1).removed.unwrap();
                prop_assert_eq!(&found, expected);
            }
            let summary = compression.summary(&model).unwrap();
            for (layer, mask) in summary.iter().zip(&expected) {
                let left = mask.len() - count(mask);
                let kept = guard(at_least, level, mask.len());
                prop_assert_eq!(layer.guarded, level > 0.0 && kept > 0 && left <= kept);
            }
        }
    }

    // In whole blocks: what a layer keeps, it keeps with the block.
    #[test]
    fn blocks_that_a_layer_has_to_keep_stay_whole(
        level in 0.0..0.999f64,
        size in 1usize..7,
        share in 0.0..0.3f64,
        layer in any::<bool>(),
    ) {
        let model = Three::new(&device());
        let at_least = AtLeast::Share(share);
        let scope = if layer { Scope::Layer } else { Scope::Global };
        let mut both = Vec::new();
        for values in [vec![(0, level)], vec![(0, 0.0), (1, level), (9, level)]] {
            let pruning = Pruning::along(Curve::Steps { values }).at_least(at_least);
            let pruning = pruning.scope(scope).pattern(Pattern::Block { channels: size });
            let (model, mut compression) = Plan::new().prune(pruning).attach(model.clone()).unwrap();
            let model = compression.step(model).unwrap();
            let mut masks = Vec::new();
            for fc in &model.fc {
                let mask = look("fc", &fc.weight, 1).removed.unwrap();
                let left = mask.len() - count(&mask);
                prop_assert!(left >= guard(at_least, level, mask.len()), "{} left", left);
                for row in mask.chunks(20) {
                    for block in row.chunks(size) {
                        prop_assert!(count(block) == 0 || count(block) == block.len());
                    }
                }
                masks.push(mask);
            }
            both.push(masks);
        }
        prop_assert_eq!(&both[0], &both[1]);
    }
}

#[test]
fn a_guard_does_not_bring_back_what_is_gone() {
    let device = device();
    let model = Three::new(&device);
    let emptied = Plan::new().prune(Pruning::to(0.7).at_least(AtLeast::Weights(0)));
    let emptied = emptied.apply(model.clone()).unwrap();
    assert_eq!(removed(emptied.layers())[1], 400);
    let masks = Masks::of(&emptied.module).unwrap();
    let pruning = Pruning::to(0.8).zeros_of(masks).regrowth(Regrowth::Never);
    let again = Plan::new().prune(pruning).apply(model).unwrap();
    assert_eq!(removed(again.layers())[1], 400);
    assert_eq!(removed(again.layers()).iter().sum::<usize>(), 720);
}

#[test]
fn training_resumes_with_floor_and_guard() {
    let device = device().autodiff();
    let plan = || {
        let pruning = Pruning::along(rising()).at_least(AtLeast::Share(0.05));
        Plan::new().prune(
            pruning
                .regrowth(Regrowth::Never)
                .pattern(Pattern::Block { channels: 2 }),
        )
    };
    let run = |until: usize, from: Option<(Three, Compression, ModuleOptimizer)>, first: usize| {
        let (mut model, mut compression, mut optimizer) = from.unwrap_or_else(|| {
            let (model, compression) = plan().attach(sparse(&device)).unwrap();
            (model, compression, AdamConfig::new().init())
        });
        for step in first..until {
            model = model.learn(&mut optimizer, step);
            model = compression.step(model).unwrap();
        }
        (model, compression, optimizer)
    };
    let whole = run(22, None, 0);
    let (model, compression, optimizer) = run(9, None, 0);
    let checkpoint = Checkpoint::new(&model, &optimizer, &compression, &9usize).unwrap();
    // With a model that has no zeros yet.
    let (fresh, compression) = plan().attach(Three::new(&device)).unwrap();
    let restored = checkpoint.restore::<_, usize>(fresh, AdamConfig::new().init(), compression);
    let (model, optimizer, compression, step) = restored.unwrap();
    let resumed = run(22, Some((model, compression, optimizer)), step);
    assert_eq!(resumed.0.zeros(), whole.0.zeros());
    assert!(within(&sparse(&device).zeros(), &resumed.0.zeros()));
    let layers =
        [&whole, &resumed].map(|(model, compression, _)| compression.summary(model).unwrap());
    assert_eq!(layers[0], layers[1]);
    assert!(
        layers[0]
            .iter()
            .all(|layer| layer.weights - layer.removed >= layer.weights / 20)
    );
}

#[test]
fn a_schedule_that_was_not_walked_is_told() {
    let device = device();
    let finish = |pruning: Pruning, steps: usize| {
        let plan = Plan::new().prune(pruning);
        let (mut model, mut compression) = plan.attach(Three::new(&device)).unwrap();
        for _ in 0..steps {
            model = compression.step(model).unwrap();
        }
        compression.finish(model).unwrap()
    };
    let along = || Pruning::along(rising());
    for (steps, every, level) in [(0, 1, 0.5), (19, 1, 0.88), (19, 4, 0.82)] {
        let compressed = finish(along().every(every), steps);
        let unfinished = compressed.unfinished().unwrap();
        assert_eq!((unfinished.step, unfinished.end), (steps, Some(20)));
        assert!((unfinished.level - level).abs() < 1e-9, "{unfinished:?}");
        assert_eq!(unfinished.target, Some(0.9));
        let removed: usize = compressed.layers().iter().map(|layer| layer.removed).sum();
        assert_eq!(removed, share_of(level, TOTAL));
    }
    for steps in [20, 21] {
        assert!(finish(along(), steps).unfinished().is_none());
    }
    // Nothing was to come.
    for pruning in [Pruning::to(0.5), Pruning::existing(), Pruning::to(0.0)] {
        assert!(finish(pruning, 0).unfinished().is_none());
    }
    assert!(
        Plan::new()
            .prune(along())
            .apply(Three::new(&device))
            .unwrap()
            .unfinished()
            .is_none()
    );
    let scheme = Scheme::symmetric(8).unwrap();
    let quantized = Plan::new().quantize(Quantization::to(scheme));
    let (model, compression) = quantized.attach(Three::new(&device)).unwrap();
    assert!(compression.finish(model).unwrap().unfinished().is_none());

    // One without an end has begun with the first step.
    struct Endless;
    impl Schedule for Endless {
        fn at(&self, step: usize) -> f64 {
            0.1 * (step.min(5) as f64)
        }
        fn end(&self) -> Option<usize> {
            None
        }
    }
    let unfinished = finish(Pruning::along(Endless), 0);
    let unfinished = unfinished.unfinished().unwrap();
    assert_eq!(
        (unfinished.step, unfinished.end, unfinished.target),
        (0, None, None)
    );
    assert!(finish(Pruning::along(Endless), 1).unfinished().is_none());

    // A threshold set by hand is what was wanted.
    let plan = Plan::new().prune(Pruning::to(0.0));
    let (model, mut compression) = plan.attach(Three::new(&device)).unwrap();
    let model = compression.prune_to(model, 0.3).unwrap();
    assert!(compression.finish(model).unwrap().unfinished().is_none());
}
