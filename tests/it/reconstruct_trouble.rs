//! Compression without training where inputs, layers or levels are no good.

use burn::nn::BatchNorm;
use burn::tensor::{Device, Tensor};
use burn_compress::compress::{Compressed, Plan, Pruning, Quantization, Selection};
use burn_compress::format::Scheme;
use burn_compress::prune::{AtLeast, Scope};
use burn_compress::reconstruct::{Progress, ReconstructError, Reconstruction};

use super::backends::device::device;
use super::backends::graph_models::randomized;
use super::backends::models::{Net, PowerCut, values};
use super::backends::quantized::input;
use super::reconstruct::{Normed, WIDTH, correlated, error, forward, linear, used};

#[test]
fn few_and_dead_inputs_are_borne() {
    // Fewer inputs than columns, one of which is always zero and two of which are the same.
    let device = device();
    let model = linear(&device);
    let seen = correlated(16, &device);
    let zero = Tensor::zeros([16, 1], &device);
    let seen = seen.slice_assign([0..16, 3..4], zero);
    let twin = seen.clone().slice([0..16, 5..6]);
    let seen = seen.slice_assign([0..16, 6..7], twin);
    let plan = Plan::new().prune(Pruning::to(0.5));
    let found = plan
        .reconstruct(model.clone(), forward, [seen.clone()])
        .unwrap()
        .module;
    let plain = plan.apply(model.clone()).unwrap().module;
    let wanted = model.forward(seen.clone());
    let found = error(found.forward(seen.clone()), wanted.clone());
    assert!(found < error(plain.forward(seen), wanted) / 4.0, "{found}");
}

fn failure(plan: Plan, batches: Vec<Tensor<2>>) -> ReconstructError {
    plan.reconstruct(linear(&device()), forward, batches)
        .unwrap_err()
}

#[test]
fn bad_inputs_are_told() {
    let device = device();
    let plan = || Plan::new().prune(Pruning::to(0.5));
    let few = failure(plan(), vec![correlated(9, &device), correlated(6, &device)]);
    assert!(
        matches!(
            few,
            ReconstructError::Inputs {
                found: 15,
                least: 16
            }
        ),
        "{few}"
    );
    let none = failure(plan(), Vec::new());
    assert!(
        matches!(none, ReconstructError::Inputs { found: 0, .. }),
        "{none}"
    );
    let same = failure(plan(), vec![Tensor::ones([20, WIDTH], &device)]);
    assert!(
        matches!(same, ReconstructError::Constant { found: 20 }),
        "{same}"
    );
    let nan = correlated(20, &device) * f32::NAN;
    let nan = failure(plan(), vec![correlated(20, &device), nan]);
    assert!(matches!(nan, ReconstructError::NotFinite { .. }), "{nan}");
    let other = failure(plan(), vec![input([20, 3], 5, &device)]);
    assert!(matches!(other, ReconstructError::Graph(_)), "{other}");
    let empty = failure(Plan::new(), vec![correlated(20, &device)]);
    assert!(matches!(empty, ReconstructError::Compress(_)), "{empty}");
    let level = failure(
        Plan::new().prune(Pruning::to(1.5)),
        vec![correlated(20, &device)],
    );
    assert!(matches!(level, ReconstructError::Compress(_)), "{level}");
}

#[test]
fn layers_that_the_inputs_do_not_reach_are_told() {
    let device = device();
    let run = |model: Normed, selection: Selection, pruning: Pruning| {
        let plan = Plan::new().select(selection).prune(pruning);
        plan.reconstruct(model, Normed::forward, [input([32, 3, 8, 8], 5, &device)])
    };
    let unused = run(
        Normed::new(&device),
        Selection::only(["*.weight"]),
        Pruning::to(0.5),
    );
    let unused = unused.unwrap_err();
    assert!(
        matches!(&unused, ReconstructError::Unreached { .. })
            || matches!(&unused, ReconstructError::Layout { .. }),
        "{unused}"
    );
    let selection = Selection::only(["first.weight", "unused.weight"]);
    let unused = run(Normed::new(&device), selection, Pruning::to(0.5)).unwrap_err();
    assert!(
        matches!(&unused, ReconstructError::Unreached { layer, .. } if layer == "unused.weight"),
        "{unused}"
    );

    // Behind a ReLU that never opens.
    let mut dead = Normed::new(&device);
    dead.norm.beta = dead.norm.beta.map(|beta| beta * 0.0 - 1e4);
    let dead = run(dead, used(), Pruning::to(0.5)).unwrap_err();
    assert!(
        matches!(&dead, ReconstructError::Unreached { layer, .. } if layer == "second.weight"),
        "{dead}"
    );
}

fn images(device: &Device) -> Tensor<4> {
    input([32, 3, 8, 8], 5, device)
}

fn normed(
    model: Normed,
    plan: Plan,
    what: Reconstruction,
) -> Result<Compressed<Normed>, ReconstructError> {
    let batches = [images(&device())];
    what.run(
        &plan.select(used()),
        model,
        Normed::forward,
        batches,
        |_| Ok(()),
    )
}

#[test]
fn a_level_that_empties_a_layer_is_told_unless_it_keeps_some() {
    let device = device();
    for scope in [Scope::Global, Scope::Layer, Scope::Erk] {
        let pruning = |at_least| Pruning::to(0.9999).scope(scope).at_least(at_least);
        let run = |pruning| {
            normed(
                Normed::new(&device),
                Plan::new().prune(pruning),
                Reconstruction::default(),
            )
        };
        let emptied = run(pruning(AtLeast::Weights(0))).unwrap_err();
        assert!(
            matches!(&emptied, ReconstructError::Unbearable { level, .. } if *level == 0.9999),
            "{scope:?}: {emptied}"
        );
        // Of 90 %, each keeps what it is to keep.
        let pruning = Pruning::to(0.9).scope(scope).at_least(AtLeast::Share(0.08));
        let kept = run(pruning).unwrap();
        for layer in kept.layers() {
            let left = layer.weights - layer.removed;
            assert!(
                left as f64 >= 0.08 * layer.weights as f64,
                "{scope:?}: {layer:?}"
            );
        }
    }
}

#[test]
fn what_overflows_within_is_told_by_layer() {
    let device = device();
    let mut model = Normed::new(&device);
    // Finite weights whose sums are not.
    model.first.weight = model.first.weight.map(|weight| weight * 0.0 + 3e38);
    for weights in [true, false] {
        let what = Reconstruction {
            weights,
            ..Reconstruction::default()
        };
        let codes = Quantization::to(Scheme::symmetric(8).unwrap());
        let plan = Plan::new().quantize(codes);
        let overflow = normed(model.clone(), plan, what).unwrap_err();
        assert!(
            matches!(&overflow, ReconstructError::NotFinite { place } if place.contains("first")),
            "{overflow}"
        );
    }
}

#[test]
fn a_layer_that_sees_the_same_always_gives_the_same_always() {
    let device = device();
    let mut model = Normed::new(&device);
    // All channels are constant behind the batch norm: the matrix of the next layer is singular.
    let BatchNorm { gamma, beta, .. } = model.norm.clone();
    model.norm.gamma = gamma.map(|gamma| gamma * 0.0);
    model.norm.beta = beta.map(|beta| beta * 0.0 + 1.5);
    let wanted = model.forward(images(&device));
    let codes = Quantization::to(Scheme::symmetric(3).unwrap());
    for plan in [
        Plan::new().prune(Pruning::to(0.5)),
        Plan::new().quantize(codes.clone()),
        Plan::new().prune(Pruning::to(0.5)).quantize(codes),
    ] {
        let found = normed(model.clone(), plan, Reconstruction::default()).unwrap();
        let found = found.module.forward(images(&device));
        let off = (found - wanted.clone()).abs().max().into_scalar::<f32>();
        assert!(off < 1e-3, "{off}");
    }
}

#[test]
fn one_input_over_and_over_but_for_one_is_borne() {
    // Of rank two.
    let device = device();
    let model = linear(&device);
    let same = correlated(1, &device).repeat_dim(0, 40);
    let other = correlated(2, &device).narrow(0, 1, 1);
    let seen = Tensor::cat(vec![same, other], 0);
    let plan = Plan::new().prune(Pruning::to(0.8));
    let found = plan
        .reconstruct(model.clone(), forward, [seen.clone()])
        .unwrap();
    let wanted = model.forward(seen.clone());
    let found = found.module.forward(seen);
    assert!(values(found.clone()).iter().all(|value| value.is_finite()));
    let size = wanted.clone().powi_scalar(2).mean().into_scalar::<f32>();
    assert!(error(found, wanted) < 0.02 * size);
}

/// A run that stops before a step.
fn stopped(model: Net, step: usize) -> Result<Compressed<Net>, ReconstructError> {
    let plan = Plan::new().prune(Pruning::to(0.5));
    let batches = input([64, 1, 6, 6], 3, &device()).split(16, 0);
    let on_progress = |progress: &Progress<'_>| match progress.done == step {
        true => Err(PowerCut.into()),
        false => Ok(()),
    };
    Reconstruction::default().run(&plan, model, Net::forward, batches, on_progress)
}

#[test]
fn an_interrupted_run_says_where_and_starts_again() {
    let model = randomized(Net::new(&device()));
    let outputs = |model: &Net| values(model.forward(input([8, 1, 6, 6], 9, &device())));
    let before = outputs(&model);
    let whole = stopped(model.clone(), usize::MAX).unwrap();
    // Each of four layers is looked at twice.
    for step in 0..8 {
        let error = stopped(model.clone(), step).unwrap_err();
        let ReconstructError::Stopped { layer, source } = &error else {
            panic!("{error}");
        };
        assert!(source.is::<PowerCut>());
        assert!(error.to_string().contains(layer.as_str()), "{error}");
        assert_eq!(outputs(&model), before);
    }
    let again = stopped(model, usize::MAX).unwrap();
    assert_eq!(again.archive(), whole.archive());
}
