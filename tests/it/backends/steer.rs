//! The steered threshold, and the refine-tune stage's learning rate.

use burn::lr_scheduler::LrScheduler;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::exponential::ExponentialLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::noam::NoamLrSchedulerConfig;
use burn::module::Module;
use burn_compress::compress::{Compression, Plan, Pruning};
use burn_compress::prune::share_of;
use burn_compress::schedule::{Curve, Steered, Verdict};
use burn_compress::train::{Epoch, REFINE_FACTOR, RefineTune, Round, Steering, TrainError};

use super::device::device;
use super::models::{Net, PowerCut, Toy, assert_same, outputs, seen, trained};

const TOTAL: usize = 356;

fn sparsity(net: &Net) -> f64 {
    let zeros: usize = seen(net)
        .iter()
        .map(|layer| layer.used.iter().filter(|value| **value == 0.0).count())
        .sum();
    zeros as f64 / TOTAL as f64
}

// Bears so much sparsity and no more.
fn bears(most: f64) -> Toy {
    let mut toy = Toy::new(&device());
    toy.steps = 1;
    toy.score = Some(Box::new(move |net| {
        if sparsity(net) <= most + 0.5 / TOTAL as f64 {
            91.0
        } else {
            80.0
        }
    }));
    toy
}

fn steering() -> Steering {
    Steering {
        learning_rate: 0.01,
        epochs: 1,
        rounds: 40,
        seed: 1,
    }
}

fn steer(plan: Plan, toy: &mut Toy, net: Net) -> (Net, Compression, Steered, Vec<Round>) {
    let steered = Steered::new(0.4, 0.2, 0.02, 90.0).unwrap();
    let (net, mut compression) = plan.attach(net).unwrap();
    let mut rounds = Vec::new();
    let (net, steered) = steering()
        .run(net, &mut compression, toy, steered, |round| {
            rounds.push(round)
        })
        .unwrap();
    (net, compression, steered, rounds)
}

#[test]
fn steering_ends_at_the_highest_sparsity_that_keeps_the_score() {
    for most in [0.15, 0.5, 0.73, 0.91] {
        // Pruned to nothing at first: masks must not freeze there.
        let plan = Plan::new().prune(Pruning::to(0.0));
        let (net, compression, steered, rounds) =
            steer(plan, &mut bears(most), trained(3, &device()));
        let best = steered.best().unwrap();
        assert!(
            best <= most + 1e-9 && best > most - 0.04,
            "{best} where {most} is borne"
        );
        assert!(steered.is_converged());
        assert_eq!(sparsity(&net), share_of(best, TOTAL) as f64 / TOTAL as f64);
        assert!(compression.state().frozen);
        let finished = compression.finish(net).unwrap();
        assert_eq!(
            sparsity(&finished.module),
            share_of(best, TOTAL) as f64 / TOTAL as f64
        );
        // Good rounds raise, bad ones roll back to the last good one.
        for pair in rounds.windows(2) {
            match pair[0].verdict {
                Verdict::Raise => assert!(pair[1].level > pair[0].level),
                Verdict::RollBack => assert!(pair[1].level < pair[0].level),
                Verdict::Converged => panic!("nothing follows"),
            }
        }
    }
}

#[test]
fn a_rollback_restores_weights_and_masks() {
    use std::sync::{Arc, Mutex};
    // The network of each score: the one that is handed back is the last good one, to the bit.
    let scored: Arc<Mutex<Vec<Net>>> = Arc::default();
    let mut toy = bears(0.5);
    let keep = scored.clone();
    let mut rule = toy.score.take().unwrap();
    toy.score = Some(Box::new(move |net| {
        keep.lock().unwrap().push(Compression::snapshot(net));
        rule(net)
    }));
    let plan = Plan::new().prune(Pruning::along(Curve::Steps {
        values: vec![(0, 0.0), (999, 0.1)],
    }));
    let (net, _, steered, rounds) = steer(plan, &mut toy, trained(3, &device()));
    let best = steered.best().unwrap();
    let index = rounds
        .iter()
        .rposition(|round| round.level == best && round.score > 90.0)
        .unwrap();
    assert!(
        rounds[index + 1..]
            .iter()
            .any(|round| round.verdict == Verdict::RollBack)
    );
    let good = &scored.lock().unwrap()[index];
    assert_same(&outputs(&net), &outputs(good));
    for (now, good) in seen(&net).iter().zip(seen(good)) {
        assert_eq!(now.removed, good.removed);
        assert_same(&now.used, &good.used);
    }
}

#[test]
fn a_model_that_bears_nothing_comes_back_unpruned() {
    let plan = Plan::new().prune(Pruning::to(0.0));
    let net = trained(3, &device());
    let before = outputs(&net);
    let (net, _, steered, _) = steer(plan, &mut bears(-1.0), net);
    assert_eq!(steered.best(), None);
    assert_same(&outputs(&net), &before);
}

#[test]
fn steering_leaves_a_clone_as_it_was() {
    let net = trained(3, &device());
    let before = outputs(&net);
    steer(
        Plan::new().prune(Pruning::to(0.0)),
        &mut bears(0.6),
        net.clone(),
    );
    assert_same(&outputs(&net), &before);
}

#[test]
fn steering_what_cannot_move_is_refused() {
    let run = |plan: Plan| {
        let (net, mut compression) = plan.attach(trained(1, &device())).unwrap();
        let steered = Steered::new(0.4, 0.2, 0.05, 90.0).unwrap();
        let run = steering().run(net, &mut compression, &mut bears(0.9), steered, |_| {});
        run.map(drop).unwrap_err()
    };
    let scheme = burn_compress::format::Scheme::symmetric(4).unwrap();
    let quantized = Plan::new().quantize(burn_compress::compress::Quantization::to(scheme));
    for plan in [
        quantized,
        Plan::new().prune(Pruning::to(0.5)), // frozen at once
        Plan::new().prune(Pruning::existing()),
    ] {
        let error = run(plan);
        assert!(matches!(error, TrainError::Compress(_)), "{error}");
    }
}

#[test]
fn errors_of_the_workload_come_through_with_their_source() {
    let run = |mut toy: Toy| {
        let plan = Plan::new().prune(Pruning::to(0.0));
        let (net, mut compression) = plan.attach(trained(1, &device())).unwrap();
        let steered = Steered::new(0.4, 0.2, 0.05, 90.0).unwrap();
        let run = steering().run(net, &mut compression, &mut toy, steered, |_| {});
        run.map(drop).unwrap_err()
    };
    let power_cut = |error: TrainError, expected: &str| {
        let TrainError::Workload { action, source } = error else {
            panic!("{error}");
        };
        assert!(action.contains(expected), "{action}");
        assert_eq!(*source.downcast::<PowerCut>().unwrap(), PowerCut);
    };
    let toy = Toy {
        fails_after: Some(2),
        ..bears(0.9)
    };
    power_cut(run(toy), "training");
    let toy = Toy {
        score_fails_after: Some(1),
        ..bears(0.9)
    };
    power_cut(run(toy), "scoring");
    for score in [f64::NAN, f64::INFINITY] {
        let mut toy = bears(0.9);
        toy.score = Some(Box::new(move |_| score));
        let TrainError::Score { score: found } = run(toy) else {
            panic!("no score error");
        };
        assert_eq!(found.to_string(), score.to_string());
    }
}

#[test]
fn refine_tune_takes_exactly_a_tenth_of_any_scheduler() {
    let schedulers: Vec<fn() -> ModuleLrScheduler> = vec![
        || ConstantLr::new(0.03).into(),
        || LinearLrSchedulerConfig::new(0.1, 0.001, 12).init().unwrap(),
        || {
            CosineAnnealingLrSchedulerConfig::new(0.07, 12)
                .init()
                .unwrap()
        },
        || ExponentialLrSchedulerConfig::new(0.3, 0.9).init().unwrap(),
        || NoamLrSchedulerConfig::new(0.5).init().unwrap(),
    ];
    for scheduler in schedulers {
        let (mut original, mut refine) = (scheduler(), RefineTune::new(scheduler()));
        for _ in 0..12 {
            assert_eq!(refine.step(), original.step().base() / REFINE_FACTOR);
        }
    }
    let epoch = Epoch::plain(0, 1, 0.05, 3);
    assert_eq!((epoch.learning_rate(), epoch.scale(0.3)), (0.05, 0.3));
    let refine = Epoch::plain(0, 1, 0.05, 3).refine();
    assert_eq!(
        (refine.learning_rate(), refine.scale(0.3)),
        (0.05 / 10.0, 0.3 / 10.0)
    );
    assert_ne!(refine.seed(), epoch.seed());
}

#[test]
fn a_refine_tune_scheduler_goes_on_from_its_record() {
    let fresh = || {
        let original = CosineAnnealingLrSchedulerConfig::new(0.07, 12)
            .init()
            .unwrap();
        RefineTune::new(original)
    };
    for stop in 0..12 {
        let mut first = fresh();
        for _ in 0..stop {
            first.step();
        }
        let bytes = first.to_record().into_bytes().unwrap();
        let record = burn::lr_scheduler::LrSchedulerRecord::from_bytes(bytes).unwrap();
        let mut second = fresh();
        second.load_record(record);
        for _ in stop..15 {
            assert_eq!(first.step(), second.step());
        }
    }
}

#[test]
fn the_last_good_network_is_handed_back_in_training() {
    let plan = Plan::new().prune(Pruning::to(0.0));
    let (net, ..) = steer(plan, &mut bears(0.5), trained(2, &device()));
    assert!(net.devices().iter().all(|device| device.is_autodiff()));
}
