//! Masks and fake quantization while training: a removed weight is gone, whatever the training does.

use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsAccumulator, ModuleOptimizer, SgdConfig};
use burn::tensor::Tensor;
use burn_compress::compress::{Compression, Plan, Pruning, Quantization, Regrowth};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::prune::{AtLeast, Magnitude, Random, Scope, share_of};
use burn_compress::schedule::{Curve, Schedule};
use burn_compress::train::Checkpoint;
use proptest::prelude::*;

use super::device::{cases, device};
use super::models::{
    Net, Seen, WEIGHTS, assert_same, gradients, outputs, seen, train_step, trained, values,
};

const TOTAL: usize = 356;
const STEPS: usize = 10;

fn sgd() -> ModuleOptimizer {
    SgdConfig::new()
        .with_momentum(Some(MomentumConfig::new()))
        .with_weight_decay(Some(WeightDecayConfig::new(0.05)))
        .init()
}

fn adam() -> ModuleOptimizer {
    AdamConfig::new()
        .with_weight_decay(Some(WeightDecayConfig::new(0.05)))
        .init()
}

fn adamw_clipped() -> ModuleOptimizer {
    AdamWConfig::new()
        .with_weight_decay(0.1)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(0.5)))
        .init()
}

fn nesterov_clipped() -> ModuleOptimizer {
    let momentum = MomentumConfig::new().with_nesterov(true);
    SgdConfig::new()
        .with_momentum(Some(momentum))
        .with_gradient_clipping(Some(GradientClippingConfig::Value(0.1)))
        .init()
}

fn removed(seen: &Seen) -> &[bool] {
    seen.removed.as_deref().unwrap()
}

fn masks(net: &Net) -> Vec<Vec<bool>> {
    seen(net)
        .iter()
        .map(|layer| removed(layer).to_vec())
        .collect()
}

// No forward pass uses a removed weight; with `stored`, none is kept either.
#[track_caller]
fn assert_gone(net: &Net, stored: bool) {
    for layer in seen(net) {
        for (i, gone) in removed(&layer).iter().enumerate() {
            if *gone {
                assert_eq!(layer.used[i], 0.0, "{} uses weight {i}", layer.path);
                assert!(
                    !stored || layer.stored[i] == 0.0,
                    "{} keeps {} at {i}",
                    layer.path,
                    layer.stored[i]
                );
            }
        }
    }
}

fn count(net: &Net) -> usize {
    seen(net)
        .iter()
        .map(|layer| removed(layer).iter().filter(|gone| **gone).count())
        .sum()
}

fn curves() -> Vec<Curve> {
    let (from, to, start, end) = (0.1, 0.7, 1, 5);
    vec![
        Curve::Constant { value: 0.7 },
        Curve::Linear {
            from,
            to,
            start,
            end,
        },
        Curve::Cubic {
            from,
            to,
            start,
            end,
        },
        Curve::Exponential {
            from,
            to,
            start,
            end,
        },
        Curve::Steps {
            values: vec![(1, 0.2), (3, 0.5), (5, 0.7)],
        },
        // Falls again at its end: weights come back, where they may.
        Curve::OneCycle {
            from: 0.2,
            peak: 0.8,
            to: 0.7,
            peak_at: 3,
            end: 5,
        },
    ]
}

// Trains with momentum first, so that the optimizer pushes on removed weights; then checks every
// moment of training under the plan.
fn train_under(
    mut optimizer: ModuleOptimizer,
    curve: &Curve,
    pruning: Pruning,
    never: bool,
) -> Net {
    let mut net = Net::new(&device().autodiff());
    for step in 0..3 {
        net = train_step(net, &mut optimizer, 0.02, step);
    }
    let (mut net, mut compression) = Plan::new().prune(pruning).attach(net).unwrap();
    assert_gone(&net, compression.state().frozen || never);
    let mut frozen = None;
    let mut ever = masks(&net);
    for step in 0..STEPS {
        if compression.state().frozen {
            frozen.get_or_insert_with(|| masks(&net));
        }
        net = train_step(net, &mut optimizer, 0.02, step);
        assert_gone(&net, false); // between the optimizer's step and ours
        net = compression.step(net).unwrap();
        assert_gone(&net, compression.state().frozen || never);
        let level = curve.at(step + 1);
        if !never || !matches!(curve, Curve::OneCycle { .. }) {
            assert_eq!(
                count(&net),
                share_of(level, TOTAL),
                "at step {step} of {curve:?}"
            );
        }
        if never {
            for (before, now) in ever.iter().flatten().zip(masks(&net).iter().flatten()) {
                assert!(*now || !*before, "a removed weight came back");
            }
            ever = masks(&net);
        }
        if let Some(frozen) = &frozen {
            assert_eq!(*frozen, masks(&net), "a frozen mask moved");
        }
    }
    assert!(compression.state().frozen);
    net
}

#[test]
fn removed_weights_stay_zero_under_every_optimizer() {
    for optimizer in [sgd, adam, adamw_clipped, nesterov_clipped] {
        let curve = curves().remove(2);
        train_under(optimizer(), &curve, Pruning::along(curve.clone()), false);
    }
}

#[test]
fn removed_weights_stay_zero_under_every_schedule_and_regrowth() {
    for curve in curves() {
        train_under(sgd(), &curve, Pruning::along(curve.clone()), false);
        let never = Pruning::along(curve.clone()).regrowth(Regrowth::Never);
        // A mask that only grows cannot follow a falling level.
        if !matches!(curve, Curve::OneCycle { .. }) {
            train_under(sgd(), &curve, never, true);
        }
    }
}

#[test]
fn removed_weights_stay_zero_by_chance_and_in_each_layer() {
    let curve = curves().remove(1);
    let random = Pruning::along(curve.clone()).by(Random { seed: 5 });
    train_under(adam(), &curve, random, false);
    let mut net = trained(3, &device());
    let per_layer = Pruning::along(curve.clone())
        .by(Magnitude)
        .scope(Scope::Layer)
        .every(2);
    let (attached, mut compression) = Plan::new().prune(per_layer).attach(net).unwrap();
    net = attached;
    let mut optimizer = sgd();
    for step in 0..STEPS {
        net = train_step(net, &mut optimizer, 0.02, step);
        net = compression.step(net).unwrap();
        assert_gone(&net, compression.state().frozen);
    }
    for (layer, (_, weights)) in seen(&net).iter().zip(WEIGHTS) {
        let gone = removed(layer).iter().filter(|gone| **gone).count();
        assert_eq!(gone, share_of(0.7, weights));
    }
}

#[test]
fn a_falling_level_never_revives_where_regrowth_is_off() {
    let curve = Curve::OneCycle {
        from: 0.2,
        peak: 0.8,
        to: 0.3,
        peak_at: 3,
        end: 6,
    };
    let pruning = Pruning::along(curve).regrowth(Regrowth::Never);
    let (mut net, mut compression) = Plan::new()
        .prune(pruning)
        .attach(trained(2, &device()))
        .unwrap();
    let mut optimizer = sgd();
    let mut before = masks(&net);
    for step in 0..8 {
        net = train_step(net, &mut optimizer, 0.02, step);
        net = compression.step(net).unwrap();
        let now = masks(&net);
        for (before, now) in before.iter().flatten().zip(now.iter().flatten()) {
            assert!(
                *now || !*before,
                "a removed weight came back at step {step}"
            );
        }
        assert_gone(&net, true);
        before = now;
    }
}

#[test]
fn a_weight_may_come_back_until_the_masks_freeze() {
    let schedule = Curve::Steps {
        values: vec![(0, 0.9), (2, 0.1), (9, 0.1)],
    };
    let plan = Plan::new().prune(Pruning::along(schedule));
    let net = trained(2, &device());
    let before = seen(&net);
    let (net, mut compression) = plan.attach(net).unwrap();
    assert_eq!(count(&net), share_of(0.9, TOTAL));
    let net = compression.step(net).unwrap();
    let net = compression.step(net).unwrap();
    assert_eq!(count(&net), share_of(0.1, TOTAL));
    for (before, now) in before.iter().zip(seen(&net)) {
        for (i, gone) in removed(&now).iter().enumerate() {
            if !gone {
                assert_eq!(now.used[i], before.used[i], "it comes back as it was");
            }
        }
    }
}

#[test]
fn removed_weights_stay_zero_under_gradient_accumulation() {
    let curve = curves().remove(2);
    let plan = Plan::new().prune(Pruning::along(curve));
    let (mut net, mut compression) = plan.attach(trained(2, &device())).unwrap();
    let mut optimizer = sgd();
    for step in 0..STEPS {
        let mut sum = GradientsAccumulator::new();
        for part in 0..3 {
            sum.accumulate(&net, gradients(&net, step * 3 + part));
        }
        net = optimizer.step(0.02, net, sum.grads());
        assert_gone(&net, false);
        net = compression.step(net).unwrap();
        assert_gone(&net, compression.state().frozen);
    }
    assert_eq!(count(&net), share_of(0.7, TOTAL));
}

// A frozen, pruned and quantized network after some training, with what trains it.
fn frozen() -> (Plan, Net, Compression, ModuleOptimizer) {
    let plan = Plan::new()
        .prune(Pruning::to(0.6))
        .quantize(Quantization::to(Scheme::symmetric(5).unwrap()));
    let (mut net, mut compression) = plan.attach(trained(3, &device())).unwrap();
    let mut optimizer = sgd();
    for step in 0..3 {
        net = train_step(net, &mut optimizer, 0.02, step);
        net = compression.step(net).unwrap();
    }
    (plan, net, compression, optimizer)
}

#[test]
fn removed_weights_stay_zero_through_records_and_round_trips() {
    let (plan, net, mut compression, mut optimizer) = frozen();
    let gone = masks(&net);
    let check = |net: &Net| {
        assert_eq!(masks(net), gone);
        assert_gone(net, true);
    };
    let expected = outputs(&net); // also writes pending batch statistics
    // Burn's own record.
    let record = net.clone().into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(record).unwrap();
    let (fresh, _) = plan.attach(Net::new(&device().autodiff())).unwrap();
    let fresh = fresh.load_record(record);
    check(&fresh);
    assert_same(&outputs(&fresh), &expected);
    // A checkpoint of ours.
    let checkpoint = Checkpoint::new(&net, &optimizer, &compression, &()).unwrap();
    let (fresh, state) = plan.attach(Net::new(&device().autodiff())).unwrap();
    let (fresh, _, _, ()) = checkpoint.restore(fresh, sgd(), state).unwrap();
    check(&fresh);
    assert_same(&outputs(&fresh), &outputs(&net));
    // Modes, devices and copies.
    check(&net.valid());
    check(&net.valid().train());
    check(&net.clone().fork(&device().autodiff()));
    check(&net.clone().to_device(&device().autodiff()));
    check(&Compression::snapshot(&net));
    // Training goes on from a round trip.
    let mut net = net.valid().train();
    for step in 0..3 {
        net = train_step(net, &mut optimizer, 0.02, step);
        assert_gone(&net, false);
        net = compression.step(net).unwrap();
        check(&net);
    }
    let mut net = net.fork(&device().autodiff());
    net = train_step(net, &mut optimizer, 0.02, 7);
    net = compression.step(net).unwrap();
    check(&net);
}

#[test]
fn removed_weights_stay_zero_through_every_scheme_and_strip() {
    let base = trained(4, &device());
    for mapping in [Mapping::Symmetric, Mapping::Affine] {
        for bits in [2, 3, 4, 8, 16] {
            let scheme = Scheme::new(bits, mapping, Granularity::Channel).unwrap();
            let plan = Plan::new()
                .prune(Pruning::to(0.6))
                .quantize(Quantization::to(scheme));
            let (mut net, mut compression) = plan.attach(Compression::snapshot(&base)).unwrap();
            let mut optimizer = sgd();
            for step in 0..2 {
                net = train_step(net, &mut optimizer, 0.02, step);
                net = compression.step(net).unwrap();
            }
            let gone = masks(&net);
            assert_gone(&net, true);
            let compressed = compression.clone().finish(net.valid()).unwrap();
            for plain in [compressed.module, compression.strip(net)] {
                for (layer, gone) in seen(&plain).iter().zip(&gone) {
                    assert!(layer.removed.is_none(), "nothing is attached any more");
                    assert_eq!(layer.stored, layer.used);
                    for (value, gone) in layer.stored.iter().zip(gone) {
                        assert!(!gone || *value == 0.0, "{value} in {}", layer.path);
                    }
                }
            }
        }
    }
}

#[test]
fn a_stripped_network_trains_as_a_plain_one() {
    let (_, net, compression, _) = frozen();
    let plain = compression.strip(net);
    let before = outputs(&plain);
    let trained = train_step(plain, &mut sgd(), 0.1, 0);
    assert_ne!(outputs(&trained), before);
}

#[test]
fn no_gradient_reaches_a_removed_weight_and_the_others_get_theirs() {
    let (net, _) = Plan::new()
        .prune(Pruning::to(0.5))
        .attach(trained(3, &device()))
        .unwrap();
    let gradient = gradients(&net, 0);
    let of_head = gradient.get::<2>(net.head.weight.id).unwrap();
    let of_head = values(of_head.transpose());
    let head = seen(&net).remove(3);
    for (gradient, gone) in of_head.iter().zip(removed(&head)) {
        assert!(!gone || *gradient == 0.0);
    }
    assert!(of_head.iter().any(|gradient| *gradient != 0.0));
    // Masked, not scaled: the gradient equals that of the plain network with the same weights.
    let plain = net.clone().materialize();
    let plain_gradient = gradients(&plain, 0).get::<2>(plain.head.weight.id).unwrap();
    for ((plain, masked), gone) in values(plain_gradient.transpose())
        .iter()
        .zip(&of_head)
        .zip(removed(&head))
    {
        if !gone {
            assert_same(&[*plain], &[*masked]);
        }
    }
}

#[test]
fn the_gradient_passes_straight_through_quantization() {
    let scheme = Quantization::to(Scheme::symmetric(3).unwrap());
    let (net, _) = Plan::new()
        .quantize(scheme)
        .attach(trained(3, &device()))
        .unwrap();
    let plain = net.clone().materialize();
    let through = values(gradients(&net, 0).get::<2>(net.head.weight.id).unwrap());
    let direct = values(gradients(&plain, 0).get::<2>(plain.head.weight.id).unwrap());
    assert_same(&through, &direct);
}

#[test]
fn what_is_attached_stays_on_the_device_of_training() {
    let curve = curves().remove(2);
    let plan = Plan::new()
        .prune(Pruning::along(curve))
        .quantize(Quantization::to(Scheme::symmetric(5).unwrap()));
    let (mut net, mut compression) = plan.attach(trained(2, &device())).unwrap();
    let mut optimizer = sgd();
    for step in 0..STEPS {
        net = train_step(net, &mut optimizer, 0.02, step);
        net = compression.step(net).unwrap();
        assert!(net.devices().iter().all(|device| device.is_autodiff()));
        let plain = net.valid();
        assert!(plain.devices().iter().all(|device| !device.is_autodiff()));
    }
}

#[test]
fn scales_follow_the_weights_at_their_own_pace() {
    let scale = |net: &Net| {
        let mut found = Vec::new();
        let part = net
            .head
            .weight
            .reparameterization::<burn_compress::compress::CompressedWeight>();
        let part = part.unwrap();
        struct Floats<'a>(&'a mut Vec<Vec<f32>>);
        impl burn::module::ModuleVisitor for Floats<'_> {
            fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
                self.0.push(values(param.val()));
            }
        }
        part.visit(&mut Floats(&mut found));
        found.remove(0)
    };
    let quantization = Quantization::to(Scheme::symmetric(4).unwrap()).every(3);
    let (mut net, mut compression) = Plan::new()
        .quantize(quantization)
        .attach(trained(2, &device()))
        .unwrap();
    let mut optimizer = sgd();
    let mut last = scale(&net);
    for step in 1..=6 {
        net = train_step(net, &mut optimizer, 0.05, step);
        net = compression.step(net).unwrap();
        let now = scale(&net);
        assert_eq!(now != last, step % 3 == 0, "at step {step}");
        last = now;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24)))]

    #[test]
    fn masks_found_on_the_device_hold_exactly_the_share(
        level in 0.0..0.999f64,
        layer in any::<bool>(),
        steps in 2usize..20,
    ) {
        // Weights on a coarse grid: many are equal in size.
        let coarse = |net: Net| {
            struct Grid(f32);
            impl burn::module::ModuleMapper for Grid {
                fn map_float<const D: usize>(
                    &mut self,
                    param: burn::module::Param<Tensor<D>>,
                ) -> burn::module::Param<Tensor<D>> {
                    param.map(|tensor| ((tensor * self.0).round() / self.0).set_require_grad(false))
                }
            }
            net.map(&mut Grid(steps as f32))
        };
        let scope = if layer { Scope::Layer } else { Scope::Global };
        let net = coarse(Net::new(&device()));
        // At once on the host, and after a step on the device.
        // Neither zeros nor a rest of each layer count here.
        let all = |pruning: Pruning| {
            let pruning = pruning.keep_zeros(false).at_least(AtLeast::Weights(0));
            Plan::new().prune(pruning.scope(scope))
        };
        let at_once = all(Pruning::to(level));
        let later = Curve::Steps { values: vec![(0, 0.0), (1, level), (9, level)] };
        let later = all(Pruning::along(later));
        let (first, _) = at_once.attach(net.valid()).unwrap();
        let (second, mut compression) = later.attach(net).unwrap();
        let second = compression.step(second).unwrap();
        prop_assert_eq!(masks(&first), masks(&second));
        if layer {
            for (found, (path, weights)) in masks(&second).iter().zip(WEIGHTS) {
                let gone = found.iter().filter(|gone| **gone).count();
                prop_assert_eq!(gone, share_of(level, weights), "{}", path);
                prop_assert!((gone as f64 - level * weights as f64).abs() <= 1.0);
            }
        } else {
            prop_assert_eq!(count(&second), share_of(level, TOTAL));
            prop_assert!((count(&second) as f64 - level * TOTAL as f64).abs() <= 1.0);
        }
    }
}
