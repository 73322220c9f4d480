//! N:M: of each `m` neighbouring input channels the `n` of greatest score stay.

use burn::optim::{AdamConfig, ModuleOptimizer};
use burn_compress::compress::{CompressError, Plan, Pruning, Quantization, Regrowth, load};
use burn_compress::format::Scheme;
use burn_compress::prune::{AtLeast, Pattern, Random, Scope};
use burn_compress::schedule::Curve;
use burn_compress::train::Checkpoint;
use proptest::prelude::*;

use super::device::{cases, device};
use super::models::{Net, assert_same_run, masks, seen, train_step, trained, zeros};

/// Input channels of a filter, and taps, of each layer of [`Net`].
const SHAPES: [[usize; 2]; 4] = [[1, 9], [2, 9], [4, 4], [72, 1]];

fn pattern(n: usize, m: usize) -> Pattern {
    Pattern::NOfM { n, m }
}

fn plan(n: usize, m: usize) -> Plan {
    let level = pattern(n, m).level().unwrap();
    Plan::new().prune(Pruning::to(level).pattern(pattern(n, m)))
}

// The places of each group of a layer in rows.
fn groups(weights: usize, [channels, taps]: [usize; 2], m: usize) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    for row in 0..weights / channels / taps {
        for tap in 0..taps {
            for first in (0..channels).step_by(m) {
                let inside = first..channels.min(first + m);
                let place = |channel| (row * channels + channel) * taps + tap;
                groups.push(inside.map(place).collect());
            }
        }
    }
    groups
}

// By sorting each group: the last of equal ones stay.
fn oracle(scores: &[f32], shape: [usize; 2], n: usize, m: usize) -> Vec<bool> {
    let mut removed = vec![false; scores.len()];
    for mut group in groups(scores.len(), shape, m) {
        group.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
        let gone = group.len().saturating_sub(n);
        group
            .iter()
            .take(gone)
            .for_each(|&place| removed[place] = true);
    }
    removed
}

/// Each group has lost what exceeds `n`.
#[track_caller]
pub fn assert_n_of_m(zeros: &[Vec<bool>], n: usize, m: usize) {
    for (zeros, shape) in zeros.iter().zip(SHAPES) {
        for group in groups(zeros.len(), shape, m) {
            let left = group.iter().filter(|place| !zeros[**place]).count();
            assert_eq!(left, group.len().min(n), "{shape:?}");
        }
    }
}

fn sizes(net: &Net) -> Vec<Vec<f32>> {
    let layers = seen(net).into_iter();
    layers
        .map(|layer| layer.stored.iter().map(|value| value.abs()).collect())
        .collect()
}

fn expected(net: &Net, n: usize, m: usize) -> Vec<Vec<bool>> {
    let sizes = sizes(net);
    let layers = sizes.iter().zip(SHAPES);
    layers
        .map(|(sizes, shape)| oracle(sizes, shape, n, m))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24)))]

    #[test]
    fn the_greatest_of_each_group_stay(
        steps in 0usize..4,
        n in 1usize..5,
        more in 1usize..5,
        scope in prop_oneof![Just(Scope::Global), Just(Scope::Layer)],
        at_least in prop_oneof![Just(AtLeast::default()), Just(AtLeast::Share(1.0)), Just(AtLeast::Weights(0))],
    ) {
        let m = n + more;
        let net = trained(steps, &device());
        let level = pattern(n, m).level().unwrap();
        let pruning = Pruning::to(level).pattern(pattern(n, m)).scope(scope).at_least(at_least);
        let plan = Plan::new().prune(pruning);
        let expected = expected(&net, n, m);
        let applied = plan.apply(net.clone()).unwrap();
        prop_assert_eq!(zeros(&applied.module), expected.clone());
        let (attached, _) = plan.attach(net).unwrap();
        prop_assert_eq!(masks(&attached), expected);
    }
}

#[test]
fn zeros_that_are_there_count_as_removed() {
    // A third of the weights, of which some lie three in a group.
    let sparse = Plan::new().prune(Pruning::to(0.35).by(Random { seed: 3 }));
    let net = sparse.apply(trained(5, &device())).unwrap().module;
    let before = zeros(&net);
    let after = zeros(&plan(2, 4).apply(net.clone()).unwrap().module);
    for (layer, shape) in (0..4).zip(SHAPES) {
        for group in groups(after[layer].len(), shape, 4) {
            let gone = |zeros: &[bool]| group.iter().filter(|place| zeros[**place]).count();
            let wanted = group.len().saturating_sub(2).max(gone(&before[layer]));
            assert_eq!(gone(&after[layer]), wanted);
            assert!(group.iter().all(|&i| after[layer][i] || !before[layer][i]));
        }
    }
}

#[test]
fn it_rises_along_a_schedule_and_goes_on_from_a_checkpoint() {
    let pruning = |regrowth| {
        let curve = Curve::Cubic {
            from: 0.0,
            to: 0.5,
            start: 0,
            end: 6,
        };
        let pruning = Pruning::along(curve).pattern(pattern(2, 4)).every(2);
        Plan::new()
            .prune(pruning.regrowth(regrowth))
            .quantize(Quantization::to(Scheme::symmetric(4).unwrap()))
    };
    for regrowth in [Regrowth::UntilFrozen, Regrowth::Never] {
        let start = || {
            let net = Net::new(&device().autodiff());
            let optimizer: ModuleOptimizer = AdamConfig::new().init();
            let (net, compression) = pruning(regrowth).attach(net).unwrap();
            (net, optimizer, compression)
        };
        let (mut net, mut optimizer, mut compression) = start();
        let mut kept = None;
        let mut before = 0;
        for step in 0..8 {
            if step == 3 {
                let run = Checkpoint::new(&net, &optimizer, &compression, &()).unwrap();
                kept = Some(run);
            }
            net = train_step(net, &mut optimizer, 0.02, step);
            net = compression.step(net).unwrap();
            let removed: usize = masks(&net).iter().flatten().map(|r| usize::from(*r)).sum();
            assert!(removed >= before, "{step}");
            before = removed;
            for (mask, shape) in masks(&net).iter().zip(SHAPES) {
                for group in groups(mask.len(), shape, 4) {
                    let left = group.iter().filter(|place| !mask[**place]).count();
                    assert!(left >= group.len().min(2));
                }
            }
        }
        assert!(compression.state().frozen);
        assert_n_of_m(&masks(&net), 2, 4);
        let (fresh, optimizer, compression) = start();
        let (mut resumed, mut optimizer, mut compression, ()) = kept
            .unwrap()
            .restore(fresh, optimizer, compression)
            .unwrap();
        for step in 3..8 {
            resumed = train_step(resumed, &mut optimizer, 0.02, step);
            resumed = compression.step(resumed).unwrap();
        }
        assert_same_run(&net, &resumed);
        let compressed = compression.finish(resumed).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bcm");
        compressed.save(&path).unwrap();
        let loaded = load(&path, Net::new(&device())).unwrap();
        assert_eq!(zeros(&loaded), zeros(&compressed.module));
    }
}

#[test]
fn a_level_above_the_fixed_one_is_refused() {
    for level in [0.51, 0.9] {
        let pruning = Pruning::to(level).pattern(pattern(2, 4));
        let error = Plan::new()
            .prune(pruning)
            .apply(Net::new(&device()))
            .unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, CompressError::PruningPattern(_)), "{text}");
        assert!(text.contains("2:4") && text.contains("0.5"), "{text}");
    }
    // At once, not when the schedule comes to it.
    let curve = Curve::Linear {
        from: 0.0,
        to: 0.8,
        start: 0,
        end: 100,
    };
    let late = Plan::new().prune(Pruning::along(curve).pattern(pattern(2, 4)));
    assert!(late.attach(Net::new(&device())).is_err());
    let (net, mut compression) = Plan::new()
        .prune(Pruning::to(0.0).pattern(pattern(2, 4)))
        .attach(Net::new(&device()))
        .unwrap();
    assert!(compression.prune_to(net.clone(), 0.6).is_err());
    let net = compression.prune_to(net, 0.5).unwrap();
    assert_n_of_m(&masks(&net), 2, 4);
}

#[test]
fn numbers_that_make_no_pattern_are_refused() {
    for (n, m) in [(0, 4), (4, 4), (5, 4), (0, 0)] {
        let pruning = Pruning::to(0.5).pattern(pattern(n, m));
        let error = Plan::new()
            .prune(pruning)
            .attach(Net::new(&device()))
            .err()
            .unwrap();
        assert!(matches!(error, CompressError::PruningPattern(_)), "{error}");
        assert!(error.to_string().contains(&format!("{n}:{m}")), "{error}");
    }
}

#[test]
fn it_is_written_as_it_is_read() {
    for (text, n, m) in [("2:4", 2, 4), ("1:4", 1, 4), ("4:8", 4, 8), ("1:2", 1, 2)] {
        assert_eq!(text.parse::<Pattern>().unwrap(), pattern(n, m));
        assert_eq!(pattern(n, m).to_string(), text);
        let json = serde_json::to_string(&pattern(n, m)).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<Pattern>(&json).unwrap(),
            pattern(n, m)
        );
    }
    for text in ["2:", ":4", "2:4:8", "two:four", "-2:4", "2/4", ""] {
        assert!(text.parse::<Pattern>().is_err(), "{text}");
    }
}
