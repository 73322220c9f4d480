//! Warnings of what pruning left alone: each reaches whoever compresses a model, at once or over training,
//! and what it tells to do helps.

use burn::module::Module;
use burn::nn::Linear;
use burn_compress::Warning;
use burn_compress::compress::{Plan, Pruning, Selection};
use burn_compress::prune::AtLeast;
use burn_compress::schedule::{Curve, Schedule};

use super::warnings::{linear, noise, says};

/// Two layers of as many weights, those of the second a thousandth in size.
#[derive(Module, Debug)]
struct Two {
    large: Linear,
    small: Linear,
}

const EACH: usize = 256;

fn two() -> Two {
    let small = noise(EACH, 22).iter().map(|weight| weight * 1e-3).collect();
    Two {
        large: linear(16, noise(EACH, 21)),
        small: linear(16, small),
    }
}

/// Of a model compressed at once, and of one with the compression attached: the same.
#[track_caller]
fn warnings(plan: &Plan, model: &Two) -> Vec<Warning> {
    let applied = plan.apply(model.clone()).unwrap();
    let (attached, compression) = plan.attach(model.clone()).unwrap();
    let finished = compression.finish(attached).unwrap();
    assert_eq!(finished.warnings(), applied.warnings());
    applied.warnings().to_vec()
}

#[test]
fn a_layer_without_a_gradient() {
    let mut model = two();
    assert_eq!(warnings(&pruned(0.3), &model), []);
    model.large = model.large.no_grad();
    let layer = || "large.weight".to_string();
    let found = warnings(&pruned(0.3), &model);
    assert_eq!(found, [Warning::NoGradient { layer: layer() }]);
    says(&found[0], &["`large.weight`", "select it by its path"]);
    // By its path, and on demand.
    let selected = pruned(0.3).select(Selection::only([layer()]));
    assert_eq!(warnings(&selected, &model), []);
    let on_demand = Plan::new().prune(Pruning::to(0.3).prune_frozen(true));
    assert_eq!(warnings(&on_demand, &model), []);
}

fn pruned(level: f64) -> Plan {
    Plan::new().prune(Pruning::to(level))
}

#[test]
fn a_layer_that_its_guard_kept() {
    let of_guard = |plan: Plan| {
        let found = warnings(&plan, &two()).into_iter();
        let found = found.filter(|warning| matches!(warning, Warning::Guarded { .. }));
        found.collect::<Vec<_>>()
    };
    // Half of all weights are those of the second layer; one in a hundred stays.
    let found = of_guard(pruned(0.5));
    let guarded = |kept: usize| Warning::Guarded {
        layer: "small.weight".to_string(),
        kept,
        weights: EACH,
    };
    assert_eq!(found, [guarded(3)]);
    says(&found[0], &["`small.weight`", "3 of its 256", "its guard"]);
    let at_least = |at_least| Plan::new().prune(Pruning::to(0.5).at_least(at_least));
    assert_eq!(of_guard(at_least(AtLeast::Weights(40))), [guarded(40)]);
    // At a lower level, and with no guard.
    assert_eq!(of_guard(pruned(0.4)), []);
    assert_eq!(of_guard(at_least(AtLeast::Weights(0))), []);
}

#[test]
fn a_schedule_that_training_did_not_walk() {
    let after = |pruning: Pruning, steps: usize| {
        let plan = Plan::new().prune(pruning);
        let (mut model, mut compression) = plan.attach(two()).unwrap();
        for _ in 0..steps {
            model = compression.step(model).unwrap();
        }
        let finished = compression.finish(model).unwrap();
        finished.warnings().to_vec()
    };
    let rising = || {
        Pruning::along(Curve::Linear {
            from: 0.0,
            to: 0.25,
            start: 0,
            end: 10,
        })
    };
    for (steps, level) in [(0, 0.0), (4, 0.1), (8, 0.2)] {
        let unfinished = Warning::Unfinished {
            step: steps,
            end: Some(10),
            level,
        };
        let found = after(rising(), steps);
        assert_eq!(found, [unfinished]);
        let reached = format!("{:.1} %", level * 100.0);
        let step = format!("step {steps} of the 10");
        says(&found[0], &[&step, &reached, "`Compression::step`"]);
    }
    assert_eq!(after(rising(), 10), []);
    // At once, it is all there.
    let applied = Plan::new().prune(rising()).apply(two()).unwrap();
    assert_eq!(applied.warnings(), []);

    // What has no end has begun with the first step.
    struct Endless;
    impl Schedule for Endless {
        fn at(&self, step: usize) -> f64 {
            0.05 * step.min(5) as f64
        }
        fn end(&self) -> Option<usize> {
            None
        }
    }
    let unfinished = Warning::Unfinished {
        step: 0,
        end: None,
        level: 0.0,
    };
    assert_eq!(after(Pruning::along(Endless), 0), [unfinished]);
    assert_eq!(after(Pruning::along(Endless), 1), []);
}
