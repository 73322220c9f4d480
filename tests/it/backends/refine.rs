//! The rates that the user's training is given, epoch by epoch: the original one where a model trains
//! aware, exactly a tenth of it in the refine-tune stage, each for as many epochs as configured.

use burn::module::Module;
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn_compress::Study;
use burn_compress::compress::{Plan, Pruning};
use burn_compress::recipe::{PruneLevels, QuantizeLevels, Recipe, Steer};
use burn_compress::report::Stage;
use burn_compress::train::{Epoch, FineTune, seed_at};

use super::device::device;
use super::models::{EpochSeen, Net, Toy, assert_same_run, outputs, train_step, trained};

const RATE: f64 = 0.03;
// Written out: a tenth by the library's own words would follow it wherever it goes.
const TENTH: f64 = 0.003;

/// The epochs of a run of training: their numbers, how many there are, and the rate.
pub fn run_of(count: usize, rate: f64) -> impl Iterator<Item = (usize, usize, f64)> {
    (0..count).map(move |index| (index, count, rate))
}

pub fn rates(seen: &[EpochSeen]) -> Vec<(usize, usize, f64)> {
    let rate = |epoch: &EpochSeen| (epoch.index, epoch.count, epoch.rate);
    seen.iter().map(rate).collect()
}

fn stage(epochs: usize, refine: bool) -> FineTune {
    FineTune {
        learning_rate: RATE,
        epochs,
        seed: 4,
        refine,
    }
}

#[test]
fn fine_tuning_trains_at_the_rate_and_refine_tune_at_a_tenth() {
    let plan = Plan::new().prune(Pruning::to(0.5));
    let (mut net, mut compression) = plan.attach(trained(2, &device())).unwrap();
    let (mut by_hand, mut same) = plan.attach(trained(2, &device())).unwrap();
    let mut toy = Toy::new(&device());
    for (epochs, refine, rate) in [(3, false, RATE), (2, true, TENTH)] {
        toy.seen.clear();
        let mut told = Vec::new();
        let on_step = |epoch, step| told.push((epoch, step));
        let stage = stage(epochs, refine);
        net = stage.run(net, &mut compression, &mut toy, on_step).unwrap();

        assert_eq!(rates(&toy.seen), run_of(epochs, rate).collect::<Vec<_>>());
        for epoch in &toy.seen {
            let scaled = if refine { 0.1 } else { 1.0 };
            assert_eq!((epoch.refine, epoch.scaled), (refine, scaled));
            let index = 2 * epoch.index as u64 + u64::from(refine);
            assert_eq!(epoch.seed, seed_at(4, index));
        }
        // Each epoch is told from its start to its last step.
        let steps = (0..epochs).flat_map(|epoch| (0..=toy.steps).map(move |step| (epoch, step)));
        assert_eq!(told, steps.collect::<Vec<_>>());

        let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
        for step in 0..epochs * toy.steps {
            by_hand = train_step(by_hand, &mut optimizer, rate, step);
            by_hand = same.step(by_hand).unwrap();
        }
        assert_same_run(&net, &by_hand);
    }
    // The two stages differ in what they do, too: at the full rate the network goes elsewhere.
    let (other, mut compression) = plan.attach(trained(2, &device())).unwrap();
    let mut toy = Toy::new(&device());
    let other = stage(3, false).run(other, &mut compression, &mut toy, |_, _| {});
    let other = stage(2, false).run(other.unwrap(), &mut compression, &mut toy, |_, _| {});
    assert_ne!(outputs(&other.unwrap()), outputs(&net));
}

#[test]
fn a_study_trains_each_stage_as_long_as_its_recipe_says_and_at_its_rate() {
    let mut toy = Toy::new(&device());
    let study = Study::new()
        .prune([0.5])
        .quantize([6])
        .max_drop(100.0)
        .learning_rate(RATE)
        .epochs(2, 3)
        .seeds([5, 6]);
    let outcome = study.run(trained(5, &device()).valid(), &mut toy).unwrap();
    // Of each level refine-tune of the compressed model, then aware training, then refine-tune of that.
    let level = || {
        let stages = [(3, TENTH), (2, RATE), (3, TENTH)];
        stages
            .into_iter()
            .flat_map(|(count, rate)| run_of(count, rate))
    };
    // Pruned, quantized, and both; for each seed.
    let expected: Vec<_> = (0..2 * 3).flat_map(|_| level()).collect();
    assert_eq!(rates(&toy.seen), expected);
    assert!(
        toy.seen
            .iter()
            .all(|epoch| epoch.refine == (epoch.rate == TENTH))
    );
    // The seeds, each for its half.
    let (first, second) = toy.seen.split_at(expected.len() / 2);
    for (seed, epochs) in [(5, first), (6, second)] {
        for epoch in epochs {
            let index = 2 * epoch.index as u64 + u64::from(epoch.refine);
            assert_eq!(epoch.seed, seed_at(seed, index));
        }
    }
    let stages = [Stage::Prune, Stage::Quantize, Stage::Combined];
    for stage in stages {
        let rows = outcome.report().rows().iter();
        let refined = rows.filter(|row| row.stage == stage && row.refined);
        assert_eq!(refined.count(), 4, "{stage:?}");
    }
}

#[test]
fn a_steered_study_trains_its_rounds_at_the_whole_rate() {
    let mut toy = Toy::new(&device());
    let rounds = 3;
    let steer = Steer {
        start: 0.1,
        increment: 0.1,
        resolution: 0.001,
        rounds,
    };
    let recipe = Recipe {
        max_drop: 100.0,
        learning_rate: RATE,
        epochs: 2,
        refine_epochs: 1,
        seeds: vec![8],
        prune: Some(PruneLevels {
            steer: Some(steer),
            ..PruneLevels::default()
        }),
        quantize: None::<QuantizeLevels>,
        sensitivity: false,
        ..Recipe::default()
    };
    let net: Net = trained(5, &device()).valid();
    Study::of(recipe).run(net, &mut toy).unwrap();
    // One run of training over all rounds.
    let expected: Vec<_> = run_of(2 * rounds, RATE).collect();
    assert_eq!(rates(&toy.seen), expected);
    for epoch in &toy.seen {
        assert!(!epoch.refine);
        assert_eq!(epoch.seed, seed_at(8, 2 * epoch.index as u64));
    }
}

#[test]
fn an_epoch_counts_its_steps() {
    let mut told = Vec::new();
    let mut tell = |step| told.push(step);
    let mut epoch = Epoch::plain(0, 1, RATE, 4).on_step(&mut tell);
    let mut net = trained(1, &device());
    for step in 0..3 {
        assert_eq!(epoch.steps(), step);
        net = epoch.step(net).unwrap();
    }
    assert_eq!(epoch.steps(), 3);
    assert_eq!(told, [1, 2, 3]);
}

#[test]
fn seeds_are_those_of_splitmix64() {
    // The first outputs of the reference program at this seed.
    let expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ];
    for (index, expected) in expected.into_iter().enumerate() {
        assert_eq!(seed_at(1234567, index as u64), expected);
    }
}
