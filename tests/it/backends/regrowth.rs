//! Regrowth by gradient: the smallest go, those of greatest gradient come back, from zero.

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn_compress::compress::{CompressError, Compression, Plan, Pruning, Regrowth};
use burn_compress::prune::{AtLeast, Need, Scope, lowest, share_of};
use burn_compress::schedule::Curve;
use burn_compress::train::Checkpoint;

use super::criteria::rows_of;
use super::device::device;
use super::models::{Net, WEIGHTS, assert_resumed, assert_same, gradients, masks, seen};

const END: usize = 12;
const SHARE: f64 = 0.3;

fn pruning(scope: Scope) -> Pruning {
    let curve = Curve::Linear {
        from: 0.7,
        to: 0.7,
        start: 0,
        end: END,
    };
    Pruning::along(curve)
        .scope(scope)
        .every(3)
        .at_least(AtLeast::Weights(0))
        .regrowth(Regrowth::ByGradient { share: SHARE })
}

fn count(marks: &[bool]) -> usize {
    marks.iter().filter(|marked| **marked).count()
}

struct Run {
    net: Net,
    optimizer: ModuleOptimizer,
    compression: Compression,
    step: usize,
}

impl Run {
    fn start(scope: Scope, optimizer: ModuleOptimizer) -> Self {
        let net = Net::new(&device().autodiff());
        let (net, compression) = Plan::new().prune(pruning(scope)).attach(net).unwrap();
        Self {
            net,
            optimizer,
            compression,
            step: 0,
        }
    }

    // The gradients that it saw.
    fn step(&mut self) -> GradientsParams {
        let gradients = gradients(&self.net, self.step);
        let shown = gradients_again(&self.net, self.step);
        self.compression.observe(&gradients, &self.net).unwrap();
        self.net = self.optimizer.step(0.05, self.net.clone(), gradients);
        self.step += 1;
        shown
    }

    fn go(mut self, until: usize) -> Self {
        while self.step < until {
            self.step();
            self.net = self.compression.step(self.net).unwrap();
        }
        self
    }
}

// The running statistics that the pass moves twice play no part in training.
fn gradients_again(net: &Net, step: usize) -> GradientsParams {
    gradients(net, step)
}

fn momentum() -> ModuleOptimizer {
    let momentum = MomentumConfig::new().with_momentum(0.9);
    SgdConfig::new().with_momentum(Some(momentum)).init()
}

#[test]
fn the_smallest_go_and_those_of_greatest_gradient_come_back() {
    let mut run = Run::start(Scope::Layer, momentum());
    let mut sums: Vec<Vec<f32>> = WEIGHTS.iter().map(|(_, count)| vec![0.0; *count]).collect();
    let mut moved = 0;
    for step in 1..=END {
        let shown = run.step();
        for (sum, gradient) in sums.iter_mut().zip(rows_of(&shown, &run.net)) {
            sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        }
        let before = seen(&run.net);
        run.net = run.compression.step(run.net).unwrap();
        let after = seen(&run.net);
        if step % 3 == 0 {
            let share =
                SHARE / 2.0 * (1.0 + (std::f64::consts::PI * step as f64 / END as f64).cos());
            for ((before, after), sums) in before.iter().zip(&after).zip(&sums) {
                let weights = sums.len();
                let left = weights - share_of(0.7, weights);
                let stay = left - (share * left as f64).round() as usize;
                let old = before.removed.as_ref().unwrap();
                let sizes = before.stored.iter().zip(old);
                let sizes: Vec<f32> = sizes
                    .map(|(w, removed)| if *removed { -1.0 } else { w.abs() })
                    .collect();
                let gone = lowest(&sizes, weights - stay);
                let scores = sums.iter().zip(&gone);
                let scores: Vec<f32> = scores
                    .map(|(sum, gone)| if *gone { (sum / 3.0).abs() } else { f32::MAX })
                    .collect();
                let expected = lowest(&scores, weights - left);
                assert_eq!(
                    after.removed.as_ref().unwrap(),
                    &expected,
                    "{step} {}",
                    after.path
                );
                let both = expected.iter().zip(old);
                moved += both.filter(|(new, old)| !**new && **old).count();
            }
            sums.iter_mut().for_each(|sums| sums.fill(0.0));
        }
        // Momentum has brought nothing back: what is removed is zero, stored or used.
        for layer in &after {
            for ((stored, used), removed) in
                (layer.stored.iter().zip(&layer.used)).zip(layer.removed.as_ref().unwrap())
            {
                assert_eq!(stored, used);
                assert!(!removed || *stored == 0.0, "{} at {step}", layer.path);
            }
        }
    }
    assert!(moved > 10, "{moved}");
    assert!(run.compression.state().frozen);
    // Frozen masks stay.
    let frozen = masks(&run.net);
    let run = run.go(END + 6);
    assert_eq!(masks(&run.net), frozen);
    for layer in seen(&run.net) {
        let pairs = layer.stored.iter().zip(layer.removed.unwrap());
        pairs.for_each(|(stored, removed)| assert!(!removed || *stored == 0.0));
    }
}

#[test]
fn removed_weights_have_the_gradient_of_weights_that_are_there() {
    let run = Run::start(Scope::Layer, momentum()).go(4);
    // The same values, nothing attached.
    let plain = run.compression.strip(run.net.clone());
    let dense = rows_of(&gradients(&plain, 40), &plain);
    let found = rows_of(&gradients(&run.net, 40), &run.net);
    for (found, dense) in found.iter().zip(&dense) {
        assert_same(found, dense);
    }
    let of_removed = masks(&run.net).into_iter().flatten().zip(found.concat());
    assert!(
        of_removed
            .filter(|(removed, g)| *removed && *g != 0.0)
            .count()
            > 50
    );
}

#[test]
fn each_layer_keeps_what_its_dimensions_say() {
    // [out, in / groups, kernel…] of the layers in rows: sums of dimensions, and products.
    let shapes = [
        (4 + 1 + 6, 36),
        (4 + 2 + 6, 72),
        (2 + 4 + 4, 32),
        (3 + 72, 216),
    ];
    let net = Net::new(&device());
    for level in [0.0, 0.3, 0.7, 0.9] {
        let pruning = Pruning::to(level)
            .scope(Scope::Erk)
            .at_least(AtLeast::Weights(0));
        let compressed = Plan::new().prune(pruning).apply(net.clone()).unwrap();
        // By bisection: the factor at which the shares come to the level.
        let kept = |factor: f64| -> f64 {
            let layers = shapes.iter();
            let of_layer = |&(sum, all): &(i32, i32)| (factor * f64::from(sum)).min(f64::from(all));
            layers.map(of_layer).sum()
        };
        let (mut low, mut high) = (0.0, 1000.0);
        for _ in 0..200 {
            let middle = (low + high) / 2.0;
            match kept(middle) < 356.0 * (1.0 - level) {
                true => low = middle,
                false => high = middle,
            }
        }
        for (layer, (sum, all)) in compressed.layers().iter().zip(shapes) {
            let share = 1.0 - (low * f64::from(sum) / f64::from(all)).min(1.0);
            let wanted = share * f64::from(all);
            let found = layer.removed as f64;
            assert!(
                (found - wanted).abs() <= 0.51,
                "{} at {level}: {found} for {wanted}",
                layer.path
            );
        }
    }
}

#[test]
fn a_run_that_stops_between_two_exchanges_goes_on_from_its_sums() {
    let optimizer = || -> ModuleOptimizer { AdamConfig::new().init() };
    for scope in [Scope::Global, Scope::Layer, Scope::Erk] {
        let whole = Run::start(scope, optimizer()).go(END + 2);
        for stop in [1, 3, 5, 11] {
            let run = Run::start(scope, optimizer()).go(stop);
            let kept = Checkpoint::new(&run.net, &run.optimizer, &run.compression, &run.step);
            let fresh = Run::start(scope, optimizer());
            let (net, optimizer, compression, step) = kept
                .unwrap()
                .restore(fresh.net, fresh.optimizer, fresh.compression)
                .unwrap();
            let run = Run {
                net,
                optimizer,
                compression,
                step,
            };
            let resumed = run.go(END + 2);
            assert_resumed(&resumed.net, &whole.net, stop);
        }
        let all = masks(&whole.net).concat();
        let wanted = share_of(0.7, all.len());
        assert!(count(&all).abs_diff(wanted) <= 2);
    }
}

#[test]
fn regrowth_needs_gradients_and_a_share() {
    let mut run = Run::start(Scope::Layer, momentum());
    for _ in 0..2 {
        run.net = run.compression.step(run.net).unwrap();
    }
    let error = run.compression.step(run.net).unwrap_err();
    assert!(
        matches!(&error, CompressError::Unobserved { need: Need::Gradient, layer, .. } if layer == "conv.weight"),
        "{error}"
    );
    for share in [-0.1, 1.1, f64::NAN] {
        let plan =
            Plan::new().prune(pruning(Scope::Layer).regrowth(Regrowth::ByGradient { share }));
        let error = plan.attach(Net::new(&device())).err().unwrap();
        assert!(matches!(error, CompressError::Regrowth { .. }), "{error}");
    }
}
