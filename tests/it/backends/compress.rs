//! Selecting parameters, post-training compression, and everything that can be wrong with either.

use burn::module::{Lora, Module, ModuleMapper, Param};
use burn::nn::{Linear, LinearConfig, LinearLayout};
use burn::tensor::{Tensor, TensorData};
use burn_compress::compress::{
    CompressError, Compression, Layer, Plan, Pruning, Quantization, Selection, layers,
};
use burn_compress::format::{FormatError, Granularity, Mapping, Scheme};
use burn_compress::prune::{AtLeast, Missing, Pruner, Scope, Weight, share_of};
use burn_compress::quantize::{LeastSquares, Percentile};
use burn_compress::schedule::{Curve, Schedule};

use super::device::device;
use super::models::{
    Mlp, Net, WEIGHTS, assert_same, find, look, outputs, seen, train_step, trained, values,
};

fn paths(selection: Selection, all: &[Layer]) -> Vec<String> {
    let selected = selection.select(all).unwrap();
    selected.into_iter().map(|layer| layer.path).collect()
}

#[test]
fn weights_of_convolutions_and_linear_layers_are_selected_unless_told_otherwise() {
    let net = layers(&Net::new(&device())).unwrap();
    let expected: Vec<&str> = WEIGHTS.iter().map(|(path, _)| *path).collect();
    assert_eq!(paths(Selection::default(), &net), expected);
    let mlp = layers(&Mlp::new(&device())).unwrap();
    assert_eq!(
        paths(Selection::default(), &mlp),
        ["fc1.weight", "fc2.weight"]
    );
    assert!(
        mlp.iter().any(|layer| layer.path == "embedding.weight"),
        "known, but left out"
    );
}

#[test]
fn weights_are_seen_in_rows_of_output_channels() {
    let net = layers(&Net::new(&device())).unwrap();
    let shape = |path| {
        let view = &find(&net, path).view;
        (view.rows(), view.columns())
    };
    assert_eq!(shape("conv.weight"), (4, 9));
    assert_eq!(shape("grouped.weight"), (4, 18));
    assert_eq!(shape("up.weight"), (2, 16));
    assert_eq!(shape("head.weight"), (3, 72));
}

#[test]
fn patterns_select_by_path_module_glob_and_expression() {
    let net = layers(&Net::new(&device())).unwrap();
    let only = |pattern: &str| paths(Selection::only([pattern]), &net);
    assert_eq!(only("up.weight"), ["up.weight"]);
    assert_eq!(only("grouped"), ["grouped.weight"]); // its bias stays out
    assert_eq!(only("*p*.weight"), ["grouped.weight", "up.weight"]);
    assert_eq!(only("u?.weight"), ["up.weight"]);
    assert_eq!(
        only("re:^(conv|head)\\.weight$"),
        ["conv.weight", "head.weight"]
    );
    assert_eq!(only("norm.gamma"), ["norm.gamma"]); // where it is named
    assert_eq!(only("conv.*"), ["conv.weight", "conv.bias"]);
    let except = Selection::default().except(["conv", "head.weight"]);
    assert_eq!(paths(except, &net), ["grouped.weight", "up.weight"]);
    // A dot is a dot, not any character.
    let error = Selection::only(["conv?weigh?"]).select(&net);
    assert!(error.is_ok());
    let error = Selection::only(["con*.w.ight"]).select(&net).unwrap_err();
    assert!(matches!(error, CompressError::NoMatch { .. }));
}

#[test]
fn a_pattern_that_matches_nothing_is_named_with_what_there_is() {
    for selection in [
        Selection::only(["conv", "layer9"]),
        Selection::default().except(["layer9"]),
        Selection::only(["con"]), // a prefix of a name is no module
    ] {
        let plan = Plan::new().select(selection).prune(Pruning::to(0.5));
        let error = plan.apply(Net::new(&device())).unwrap_err();
        let CompressError::NoMatch { pattern, known } = &error else {
            panic!("{error}");
        };
        assert!(pattern == "layer9" || pattern == "con");
        assert!(known.contains(&"grouped.weight".to_string()));
        assert!(error.to_string().contains("grouped.weight"));
    }
    let plan = Plan::new()
        .select(Selection::only(["re:("]))
        .prune(Pruning::to(0.5));
    let error = plan.apply(Net::new(&device())).unwrap_err();
    assert!(matches!(&error, CompressError::Pattern { pattern, .. } if pattern == "re:("));
    let nothing = Selection::only(["conv"]).except(["conv"]);
    let error = Plan::new()
        .select(nothing)
        .prune(Pruning::to(0.5))
        .apply(Net::new(&device()));
    assert!(matches!(error, Err(CompressError::NothingSelected)));
    let error = Plan::new().apply(Net::new(&device()));
    assert!(matches!(error, Err(CompressError::EmptyPlan)));
}

#[test]
fn what_is_not_selected_is_not_touched() {
    let net = trained(2, &device());
    let before = seen(&net);
    let plan = Plan::new()
        .select(Selection::only(["grouped"]))
        .prune(Pruning::to(0.5))
        .quantize(Quantization::to(Scheme::symmetric(2).unwrap()));
    let after = seen(&plan.apply(net).unwrap().module);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            before.stored != after.stored,
            before.path == "grouped.weight"
        );
    }
}

#[test]
fn the_lowest_magnitudes_go_first_under_one_threshold_or_in_each_layer() {
    let net = Net::new(&device());
    let before = seen(&net);
    for scope in [Scope::Global, Scope::Layer] {
        let compressed = Plan::new()
            .prune(Pruning::to(0.7).scope(scope))
            .apply(net.valid())
            .unwrap();
        let after = seen(&compressed.module);
        let mut bounds = Vec::new();
        for (before, after) in before.iter().zip(&after) {
            let pairs = before.stored.iter().zip(&after.stored);
            let gone = |(_, after): &(&f32, &f32)| **after == 0.0;
            let greatest_gone = pairs
                .clone()
                .filter(gone)
                .map(|(b, _)| b.abs())
                .fold(0.0, f32::max);
            let kept = pairs.clone().filter(|pair| !gone(pair));
            kept.clone()
                .for_each(|(before, after)| assert_eq!(before, after));
            let least_kept = kept.map(|(b, _)| b.abs()).fold(f32::MAX, f32::min);
            bounds.push((greatest_gone, least_kept));
        }
        assert!(bounds.iter().all(|(gone, kept)| gone < kept));
        let across = |bounds: &[(f32, f32)]| {
            let gone = bounds.iter().map(|b| b.0).fold(0.0, f32::max);
            let kept = bounds.iter().map(|b| b.1).fold(f32::MAX, f32::min);
            gone < kept
        };
        assert_eq!(across(&bounds), scope == Scope::Global);
        let removed: Vec<usize> = compressed
            .layers()
            .iter()
            .map(|layer| layer.removed)
            .collect();
        match scope {
            Scope::Global => assert_eq!(removed.iter().sum::<usize>(), share_of(0.7, 356)),
            Scope::Layer => {
                assert_eq!(removed, WEIGHTS.map(|(_, weights)| share_of(0.7, weights)));
            }
            Scope::Erk => unreachable!("tested with regrowth"),
        }
    }
}

#[test]
fn a_summary_counts_zeros_and_bits_by_hand() {
    let device = device();
    let weight = [[0.5, -0.1], [0.05, 0.9], [-0.7, 0.3]]; // [in, out]
    let linear = Linear {
        weight: Param::from_data(TensorData::from(weight), &device),
        bias: None,
    };
    let plan = Plan::new()
        .prune(Pruning::to(0.5))
        .quantize(Quantization::to(Scheme::symmetric(3).unwrap()));
    let (attached, compression) = plan.attach(linear).unwrap();
    let summary = compression.summary(&attached).unwrap();
    let compressed = compression.finish(attached).unwrap();
    assert_eq!(compressed.layers(), summary);
    let layer = &summary[0];
    assert_eq!(
        (layer.path.as_str(), layer.weights, layer.bits),
        ("weight", 6, 3)
    );
    assert_eq!(layer.removed, 3);
    // Codes -3..=3 of scale 0.7 / 3 and 0.9 / 3.
    let (first, second) = (0.7f32 / 3.0, 0.9f32 / 3.0);
    let expected = [2.0 * first, 0.0, 0.0, 3.0 * second, -3.0 * first, 0.0];
    for (value, expected) in values(compressed.module.weight.val()).iter().zip(expected) {
        assert!((value - expected).abs() < 1e-6);
    }
}

#[test]
fn zeros_that_are_there_are_kept_and_nothing_else_is_removed() {
    let pruned = Plan::new()
        .prune(Pruning::to(0.8))
        .apply(trained(2, &device()))
        .unwrap();
    let before = seen(&pruned.module);
    let plan = Plan::new().prune(Pruning::existing());
    let (mut net, mut compression) = plan.attach(pruned.module.train()).unwrap();
    let mut optimizer = burn::optim::AdamConfig::new().init();
    for step in 0..3 {
        net = train_step(net, &mut optimizer, 0.02, step);
        net = compression.step(net).unwrap();
    }
    let after = compression.finish(net).unwrap();
    for (before, after) in before.iter().zip(seen(&after.module)) {
        for (before, after) in before.stored.iter().zip(after.stored) {
            assert_eq!(*before == 0.0, after == 0.0);
        }
    }
}

#[test]
fn a_layer_that_pruning_emptied_can_be_quantized_and_trained_on() {
    // Under one threshold, without a guard, a layer of small weights may lose all of them.
    let mut net = trained(2, &device());
    net.up.weight = net
        .up
        .weight
        .map(|weight| (weight * 1e-3).detach().require_grad());
    let pruning = Pruning::to(0.9).at_least(AtLeast::Weights(0));
    let pruned = Plan::new().prune(pruning).apply(net).unwrap();
    assert_eq!(pruned.layers()[2].removed, 32);
    let both = Plan::new()
        .prune(Pruning::existing())
        .quantize(Quantization::to(Scheme::symmetric(4).unwrap()).by(LeastSquares));
    let compressed = both.apply(pruned.module.valid()).unwrap();
    assert_eq!(compressed.layers()[2].removed, 32);
    let (net, mut compression) = both.attach(pruned.module.train()).unwrap();
    let net = train_step(net, &mut burn::optim::AdamConfig::new().init(), 0.01, 0);
    let net = compression.step(net).unwrap();
    assert!(outputs(&net).iter().all(|value| value.is_finite()));
}

#[test]
fn compressing_a_clone_leaves_the_original_as_it_was() {
    let net = trained(4, &device());
    let before = outputs(&net);
    let plan = Plan::new()
        .prune(Pruning::to(0.9))
        .quantize(Quantization::to(Scheme::symmetric(2).unwrap()));
    let compressed = plan.apply(net.clone()).unwrap();
    assert_same(&outputs(&net), &before);
    // What came out shares nothing: training it changes neither.
    let trained = train_step(compressed.module.train(), &mut adam(), 0.1, 0);
    assert_same(&outputs(&net), &before);
    drop(trained);
    // `finish` on a clone: the attached module trains on, the finished one stands still.
    let (net, compression) = plan.attach(Compression::snapshot(&net)).unwrap();
    let finished = compression.clone().finish(net.clone()).unwrap();
    let fixed = outputs(&finished.module);
    train_step(net, &mut adam(), 0.1, 1);
    assert_same(&outputs(&finished.module), &fixed);
}

fn adam() -> burn::optim::ModuleOptimizer {
    burn::optim::AdamConfig::new().init()
}

#[test]
fn a_linear_layer_in_column_layout_is_compressed_by_its_outputs() {
    let config = LinearConfig::new(6, 2).with_layout(LinearLayout::Col);
    // Still uninitialized, when Burn tells the shape before transposing.
    let linear = config.init(&device());
    let all = layers(&linear).unwrap();
    let view = &find(&all, "weight").view;
    assert_eq!((view.rows(), view.columns()), (2, 6));
    let before = look("weight", &linear.weight, 1);
    let plan = Plan::new().prune(Pruning::to(0.5).scope(Scope::Layer));
    let compressed = plan.apply(linear).unwrap();
    let after = look("weight", &compressed.module.weight, 1);
    for (before, after) in before.stored.iter().zip(after.stored) {
        assert!(after == 0.0 || after == *before);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    compressed.save(&path).unwrap();
    let loaded = burn_compress::compress::load(&path, config.init(&device())).unwrap();
    assert_same(
        &values(loaded.weight.val()),
        &values(compressed.module.weight.val()),
    );
}

fn with_head(values: impl Fn(usize) -> f32) -> Net {
    let net = Net::new(&device());
    let data: Vec<f32> = (0..216).map(values).collect();
    let data = TensorData::new(data, [72, 3]);
    let weight = Param::from_data(data, &device());
    Net {
        head: Linear { weight, bias: None },
        ..net
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_layer_and_value() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let net = || with_head(|i| if i == 7 { bad } else { i as f32 });
        for plan in [
            Plan::new().prune(Pruning::to(0.5)),
            Plan::new().quantize(Quantization::to(Scheme::symmetric(8).unwrap())),
        ] {
            let errors = [
                plan.apply(net()).unwrap_err(),
                plan.attach(net()).unwrap_err(),
            ];
            for error in errors {
                let CompressError::NotFinite { layer, value } = error else {
                    panic!("{error}");
                };
                assert_eq!(layer, "head.weight");
                assert_eq!(value.to_string(), bad.to_string());
            }
        }
    }
}

#[test]
fn weights_that_became_no_numbers_in_training_are_refused_at_the_end() {
    let plan = Plan::new()
        .prune(Pruning::along(Curve::Linear {
            from: 0.0,
            to: 0.5,
            start: 0,
            end: 3,
        }))
        .quantize(Quantization::to(Scheme::symmetric(8).unwrap()));
    for steps in [1, 5] {
        let (mut net, mut compression) = plan.attach(trained(1, &device())).unwrap();
        for _ in 0..steps {
            net = net.map(&mut Spoil(Vec::new()));
            net = match compression.step(net) {
                Ok(net) => net,
                Err(error) => {
                    assert!(is_about(&error, "head.weight"), "{error}");
                    return;
                }
            };
        }
        let error = compression.finish(net).unwrap_err();
        assert!(is_about(&error, "head.weight"), "{error}");
    }
}

struct Spoil(Vec<String>);

impl ModuleMapper for Spoil {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.0.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.join(".") == "head.weight" {
            true => param.map(|weight| {
                Tensor::from_inner(weight.without_autodiff() * f32::NAN).require_grad()
            }),
            false => param,
        }
    }
}

fn is_about(error: &CompressError, path: &str) -> bool {
    match error {
        CompressError::NotFinite { layer, .. } | CompressError::Score { layer, .. } => {
            layer == path
        }
        _ => false,
    }
}

#[test]
fn a_constant_layer_is_pruned_like_any_other() {
    for value in [0.25, 0.0] {
        let pruning = Pruning::to(0.5).scope(Scope::Layer);
        let pruned = Plan::new().prune(pruning).apply(with_head(|_| value));
        let pruned = pruned.unwrap();
        let head = pruned.layers().iter().find(|l| l.path == "head.weight");
        let head = head.unwrap();
        let left = if value == 0.0 { 0 } else { head.weights / 2 };
        assert_eq!(head.weights - head.removed, left, "{value}");
    }
}

#[test]
fn a_layer_without_weights_is_refused_by_name() {
    let empty = Linear {
        weight: Param::from_data(TensorData::new(Vec::<f32>::new(), [0, 3]), &device()),
        bias: None,
    };
    let error = Plan::new()
        .prune(Pruning::to(0.5))
        .apply(empty)
        .unwrap_err();
    let CompressError::EmptyLayer { layer, dims } = error else {
        panic!("{error}");
    };
    assert_eq!((layer.as_str(), dims), ("weight", vec![0, 3]));
}

#[test]
fn levels_that_are_no_share_are_refused() {
    for level in [1.0, 1.5, -0.1, f64::NAN, f64::INFINITY] {
        let error = Plan::new()
            .prune(Pruning::to(level))
            .apply(Net::new(&device()))
            .unwrap_err();
        let CompressError::Level { level: found } = error else {
            panic!("{error}");
        };
        assert_eq!(found.to_string(), level.to_string());
    }
    let plan = Plan::new().prune(Pruning::along(Lost));
    let (net, mut compression) = plan.attach(Net::new(&device())).unwrap();
    let error = compression.prune_to(net, 1.0).unwrap_err();
    assert!(matches!(error, CompressError::Level { level: 1.0 }));
}

struct Lost;

impl Schedule for Lost {
    fn at(&self, step: usize) -> f64 {
        if step < 2 { 0.5 } else { f64::NAN }
    }
}

#[test]
fn a_schedule_that_loses_its_way_is_refused_at_that_step() {
    let plan = Plan::new().prune(Pruning::along(Lost));
    let (net, mut compression) = plan.attach(Net::new(&device())).unwrap();
    let net = compression.step(net).unwrap();
    let error = compression.step(net).unwrap_err();
    assert!(matches!(error, CompressError::Level { level } if level.is_nan()));
    let error = plan.apply(Net::new(&device())).unwrap_err();
    assert!(matches!(error, CompressError::Level { level } if level.is_nan()));
}

struct Broken(&'static str);

impl Pruner for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing> {
        let scores = weight.values.abs();
        Ok(match self.0 {
            "nan" => scores * f32::NAN,
            "infinite" => scores / 0.0,
            "narrow" => scores.narrow(1, 0, 1),
            _ => scores.transpose(),
        })
    }
}

#[test]
fn a_criterion_that_cannot_rank_is_refused_by_name_and_layer() {
    for what in ["nan", "infinite", "narrow", "transposed"] {
        let at_once = Pruning::to(0.5).by(Broken(what));
        let error = Plan::new()
            .prune(at_once)
            .apply(Net::new(&device()))
            .unwrap_err();
        let CompressError::Score {
            criterion,
            layer,
            value,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(
            (criterion.as_str(), layer.as_str()),
            ("broken", "conv.weight")
        );
        assert!(!value.is_empty());
    }
}

// Ranks at first, later no more.
struct Tired(std::sync::atomic::AtomicUsize);

impl Pruner for Tired {
    fn name(&self) -> &str {
        "tired"
    }

    fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing> {
        let calls = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let scores = weight.values.abs();
        Ok(if calls < WEIGHTS.len() {
            scores
        } else {
            scores * f32::NAN
        })
    }
}

#[test]
fn a_criterion_that_fails_while_training_does_not_pass_unseen() {
    let curve = Curve::Linear {
        from: 0.0,
        to: 0.5,
        start: 0,
        end: 3,
    };
    let pruning = Pruning::along(curve).by(Tired(Default::default()));
    let (mut net, mut compression) = Plan::new()
        .prune(pruning)
        .attach(trained(1, &device()))
        .unwrap();
    let mut seen = None;
    for _ in 0..4 {
        net = match compression.step(net) {
            Ok(net) => net,
            Err(error) => {
                seen = Some(error);
                break;
            }
        };
    }
    assert!(matches!(seen, Some(CompressError::Score { criterion, .. }) if criterion == "tired"));
}

#[test]
fn a_group_that_does_not_divide_is_refused_by_layer() {
    let scheme = Scheme::new(4, Mapping::Symmetric, Granularity::Group(8)).unwrap();
    let plan = Plan::new().quantize(Quantization::to(scheme));
    for error in [
        plan.apply(Net::new(&device())).unwrap_err(),
        plan.attach(Net::new(&device())).unwrap_err(),
    ] {
        let CompressError::Format { layer, source } = error else {
            panic!("{error}");
        };
        assert_eq!(layer, "conv.weight");
        assert!(matches!(
            source,
            FormatError::Group {
                group: 8,
                columns: 9
            }
        ));
    }
}

#[test]
fn a_module_that_carries_something_already_is_refused() {
    let plan = Plan::new().prune(Pruning::to(0.5));
    let (attached, _) = plan.attach(Net::new(&device())).unwrap();
    let error = plan.attach(attached).unwrap_err();
    let CompressError::Occupied { layer, name } = error else {
        panic!("{error}");
    };
    assert_eq!((layer.as_str(), name.as_str()), ("conv.weight", "compress"));
    let adapted = Mlp::new(&device()).apply_lora(Lora::new(2, 4.0));
    let error = plan.apply(adapted).unwrap_err();
    assert!(matches!(error, CompressError::Occupied { .. }), "{error}");
}

#[test]
fn another_module_than_the_attached_one_is_refused() {
    let plan = Plan::new()
        .prune(Pruning::along(Curve::Linear {
            from: 0.0,
            to: 0.5,
            start: 0,
            end: 9,
        }))
        .quantize(Quantization::to(Scheme::symmetric(4).unwrap()));
    let (net, mut compression) = plan.attach(Net::new(&device())).unwrap();
    let detached = |result: Result<(), CompressError>| match result {
        Err(CompressError::Detached { layer }) => assert_eq!(layer, "conv.weight"),
        other => panic!("{other:?}"),
    };
    detached(compression.step(Net::new(&device())).map(drop));
    detached(
        compression
            .clone()
            .prune_to(Net::new(&device()), 0.3)
            .map(drop),
    );
    detached(compression.clone().freeze(Net::new(&device())).map(drop));
    detached(compression.clone().finish(Net::new(&device())).map(drop));
    detached(compression.clone().finish(compression.strip(net)).map(drop));
    detached(compression.summary(&Net::new(&device())).map(drop));
    // Pruned only, where a quantizer is expected too.
    let (half, _) = Plan::new()
        .prune(Pruning::to(0.5))
        .attach(Net::new(&device()))
        .unwrap();
    detached(compression.finish(half).map(drop));
    // Of another structure altogether.
    let (_, compression) = plan.attach(Net::new(&device())).unwrap();
    detached(compression.finish(Mlp::new(&device())).map(drop));
}

#[test]
fn ranges_of_every_kind_compress() {
    for bits in [2, 5] {
        let scheme = Scheme::new(bits, Mapping::Affine, Granularity::Tensor).unwrap();
        let near = |quantization: Quantization| {
            let plan = Plan::new().quantize(quantization);
            let net = trained(2, &device());
            let before = seen(&net);
            let after = seen(&plan.apply(net).unwrap().module);
            let squares = before.iter().zip(&after).flat_map(|(before, after)| {
                before
                    .stored
                    .iter()
                    .zip(&after.stored)
                    .map(|(a, b)| f64::from(a - b).powi(2))
            });
            squares.sum::<f64>()
        };
        let all = near(Quantization::to(scheme));
        let least = near(Quantization::to(scheme).by(LeastSquares));
        let without = near(Quantization::to(scheme).by(Percentile { outside: 0.02 }));
        assert!(least <= all && least <= without);
    }
}
