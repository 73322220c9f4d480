//! The whole study: what it measures, that it can be interrupted anywhere, that it changes nothing.

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use burn_compress::compress::Selection;
use burn_compress::format::Scheme;
use burn_compress::prune::{Scope, share_of};
use burn_compress::quantize::{MinMax, Parameters, Quantizer};
use burn_compress::recipe::{PruneLevels, QuantizeLevels, RangeMethod, Recipe, Steer};
use burn_compress::report::{Mode, Row, Stage, Timed};
use burn_compress::study::{Activity, Outcome, StudyError};
use burn_compress::train::{BoxError, Epoch, TrainError, Workload};
use burn_compress::{Study, Warning};

use super::backends::device::{device, is_exact};
use super::backends::models::{
    Net, PowerCut, Seen, Toy, WEIGHTS, assert_same, outputs, seen, trained,
};

const TOTAL: usize = 356;
// Multiply-adds of an image: a weight is used at each of these places.
const USES: [u64; 4] = [36, 9, 9, 1];

fn recipe() -> Recipe {
    Recipe {
        max_drop: 20.0,
        learning_rate: 0.01,
        epochs: 1,
        refine_epochs: 1,
        seeds: vec![3],
        timed_passes: 3,
        prune: Some(PruneLevels {
            every: 1,
            ..PruneLevels::from([0.5, 0.8])
        }),
        quantize: Some(QuantizeLevels {
            every: 1,
            ranges: RangeMethod::MinMax,
            ..QuantizeLevels::from([8, 3])
        }),
        ..Recipe::default()
    }
}

fn net() -> Net {
    trained(30, &device()).valid()
}

fn run(recipe: Recipe, toy: &mut Toy) -> Outcome<Net> {
    Study::of(recipe).run(net(), toy).unwrap()
}

/// Everything but times, and what depends on them.
pub fn timeless(rows: &[Row]) -> Vec<Row> {
    let of_time =
        |warning: &Warning| matches!(warning, Warning::Plain { .. } | Warning::InFloat { .. });
    let kept = |row: &Row| {
        let warnings = row.warnings.iter().filter(|warning| !of_time(warning));
        warnings.cloned().collect()
    };
    let strip = |row: &Row| Row {
        ms: 0.0,
        ms_range: [0.0; 2],
        timed: Timed::default(),
        seconds: 0.0,
        warnings: kept(row),
        ..row.clone()
    };
    rows.iter().map(strip).collect()
}

#[test]
fn a_study_measures_what_was_asked_for() {
    let mut toy = Toy::new(&device());
    let mut seen_activity = Vec::new();
    let net = net();
    let before = outputs(&net);
    let outcome = Study::of(recipe())
        .on_progress(|progress| {
            assert!((0.0..=1.0).contains(&progress.share));
            assert!(progress.trials.0 <= progress.trials.1);
            seen_activity.push((progress.activity, progress.share));
        })
        .run(net.clone(), &mut toy)
        .unwrap();
    assert_same(&outputs(&net), &before);
    let rows = outcome.report().rows();
    // Baseline, and two levels, two widths and their combination, each in four variants.
    assert_eq!(rows.len(), 1 + 4 * 5);
    assert!(
        seen_activity
            .iter()
            .any(|(activity, _)| matches!(activity, Activity::Train { .. }))
    );
    assert!(
        seen_activity
            .windows(2)
            .all(|pair| pair[0].1 <= pair[1].1 + 1e-9),
        "progress falls"
    );
    assert!((seen_activity.last().unwrap().1 - 1.0).abs() < 1e-9);

    let uncompressed = WEIGHTS
        .iter()
        .zip(USES)
        .map(|((_, n), uses)| *n as u64 * uses);
    let baseline = &rows[0];
    assert_eq!(
        (baseline.stage, baseline.mode),
        (Stage::Baseline, Mode::None)
    );
    assert_eq!(
        (baseline.sparsity, baseline.weight_bits, baseline.drop),
        (0.0, 32, 0.0)
    );
    assert_eq!(baseline.macs, uncompressed.sum::<u64>());
    assert_eq!(baseline.bit_operations, baseline.macs * 32 * 32);

    let folder = tempfile::tempdir().unwrap();
    for (index, row) in rows.iter().enumerate() {
        let path = folder.path().join("row.bcm");
        let network = outcome.network(index).unwrap().unwrap();
        assert_eq!(network.save(&path).unwrap(), row.bytes);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), row.bytes);
        assert!(row.entropy_bytes > 0);
        assert!((row.drop - (baseline.score - row.score)).abs() < 1e-12);
        assert!(row.ms_range[0] <= row.ms && row.ms <= row.ms_range[1]);
        // The row is about the very model in the file.
        let model = outcome.model(index).unwrap();
        let layers = seen(&model);
        let zeros: Vec<usize> = layers
            .iter()
            .map(|layer| layer.used.iter().filter(|value| **value == 0.0).count())
            .collect();
        assert_eq!(
            row.sparsity,
            zeros.iter().sum::<usize>() as f64 / TOTAL as f64
        );
        let mut macs = 0;
        let mut bits = 0;
        for (((path, weights), uses), zeros) in WEIGHTS.iter().zip(USES).zip(zeros) {
            let found = row.layers.iter().find(|layer| layer.path == *path).unwrap();
            assert_eq!(found.weights, *weights);
            assert_eq!(found.bits, row.weight_bits);
            assert_eq!(found.sparsity, zeros as f64 / *weights as f64);
            assert_eq!(found.macs, (weights - zeros) as u64 * uses);
            macs += found.macs;
            bits += found.macs * u64::from(found.bits) * 32;
        }
        assert_eq!((row.macs, row.bit_operations), (macs, bits));
        let score = Workload::score(&mut toy, &model).unwrap();
        assert!((score - row.score).abs() < if is_exact() { 1e-12 } else { 1.0 });
    }
    // Pruned to the level; no other zeros in floats.
    for row in rows.iter().filter(|row| row.stage == Stage::Prune) {
        let expected = share_of(row.level, TOTAL) as f64 / TOTAL as f64;
        assert_eq!((row.sparsity, row.weight_bits), (expected, 32), "{row:?}");
    }
    let best = outcome.report().best();
    for row in rows.iter().filter(|row| row.stage == Stage::Combined) {
        assert_eq!(row.level, best.prune.as_ref().unwrap().row.level);
        assert_eq!(
            row.weight_bits,
            best.quantize.as_ref().unwrap().row.weight_bits
        );
        assert!(row.sparsity >= share_of(row.level, TOTAL) as f64 / TOTAL as f64);
    }
    assert_eq!(outcome.report().sensitivity().len(), WEIGHTS.len());
    // The best model: packed weights for its module, and a network for the engine.
    let best = outcome.report().best().overall.as_ref().unwrap().index;
    let path = folder.path().join("weights.bcm");
    outcome.archive(best).unwrap().save(&path).unwrap();
    let loaded = burn_compress::compress::load(&path, Net::new(&device())).unwrap();
    assert_same(&outputs(&loaded), &outputs(&outcome.best().unwrap()));
    let path = folder.path().join("best.bcm");
    outcome.save_best(&path).unwrap();
    let saved = burn_compress::network::Network::load(&path).unwrap();
    assert_eq!(saved, outcome.network(best).unwrap().unwrap());
}

#[test]
fn a_study_repeats_itself() {
    if !is_exact() {
        return;
    }
    let [one, other] = [(); 2].map(|()| run(recipe(), &mut Toy::new(&device())));
    assert_eq!(
        timeless(one.report().rows()),
        timeless(other.report().rows())
    );
}

#[test]
fn a_study_never_changes_the_callers_model() {
    // The caller keeps a clone, which shares the running statistics of batch norm.
    let net = trained(10, &device());
    let before = outputs(&net);
    let recipe = Recipe {
        prune: Some(PruneLevels {
            steer: Some(Steer {
                rounds: 3,
                ..Steer::default()
            }),
            ..PruneLevels::from([0.5])
        }),
        quantize: Some(QuantizeLevels::from([4])),
        ..recipe()
    };
    Study::of(recipe)
        .run(net.clone(), &mut Toy::new(&device()))
        .unwrap();
    assert_same(&outputs(&net), &before);
}

fn small() -> Recipe {
    Recipe {
        prune: Some(PruneLevels {
            every: 1,
            ..PruneLevels::from([0.6])
        }),
        quantize: Some(QuantizeLevels {
            every: 2,
            ..QuantizeLevels::from([4])
        }),
        refine_epochs: 2,
        ..recipe()
    }
}

#[test]
fn a_study_interrupted_at_any_epoch_goes_on_where_it_was() {
    let expected = run(small(), &mut Toy::new(&device()));
    let expected = timeless(expected.report().rows());
    let net = net();
    let mut whole = Toy::new(&device());
    run(small(), &mut whole);
    // Where a study takes minutes, at a few places only.
    let stride = if is_exact() {
        1
    } else {
        whole.epochs_done.div_ceil(3)
    };
    for epochs in (0..whole.epochs_done).step_by(stride) {
        let folder = tempfile::tempdir().unwrap();
        let mut toy = Toy {
            fails_after: Some(epochs),
            ..Toy::new(&device())
        };
        let study = Study::of(small()).folder(folder.path());
        let error = study.run(net.clone(), &mut toy).err().unwrap();
        let StudyError::Train(TrainError::Workload { source, .. }) = error else {
            panic!("{error}");
        };
        assert!(source.is::<PowerCut>());
        let mut toy = Toy::new(&device());
        let outcome = Study::of(small())
            .folder(folder.path())
            .run(net.clone(), &mut toy)
            .unwrap();
        let rows = timeless(outcome.report().rows());
        if is_exact() {
            assert_eq!(rows, expected, "interrupted after {epochs} epochs");
        } else {
            assert_eq!(rows.len(), expected.len());
        }
        assert!(toy.epochs_done <= whole.epochs_done);
        // Nothing of the way is left.
        let states = std::fs::read_dir(folder.path().join("trials")).unwrap();
        let states = states.filter(|file| {
            file.as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|kind| kind == "state")
        });
        assert_eq!(states.count(), 0);
    }
}

#[test]
fn a_study_interrupted_at_any_score_goes_on_where_it_was() {
    let recipe = || Recipe {
        refine_epochs: 1,
        ..small()
    };
    let expected = run(recipe(), &mut Toy::new(&device()));
    let net = net();
    let folder = tempfile::tempdir().unwrap();
    let mut runs = 0;
    // In one folder: each time a little further.
    let outcome = loop {
        runs += 1;
        let mut toy = Toy {
            score_fails_after: Some(2),
            ..Toy::new(&device())
        };
        let study = Study::of(recipe()).folder(folder.path());
        match study.run(net.clone(), &mut toy) {
            Ok(outcome) => break outcome,
            Err(error) => assert!(error.to_string().contains("power"), "{error}"),
        }
        assert!(runs < 60, "no progress");
    };
    if is_exact() {
        assert_eq!(
            timeless(outcome.report().rows()),
            timeless(expected.report().rows())
        );
        assert_eq!(
            outcome.report().sensitivity(),
            expected.report().sensitivity()
        );
    }
}

#[test]
fn a_finished_study_is_read_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let first = Study::of(small())
        .folder(folder.path())
        .run(net(), &mut Toy::new(&device()));
    let first = first.unwrap();
    let mut toy = Toy {
        fails_after: Some(0),
        score_fails_after: Some(0),
        ..Toy::new(&device())
    };
    let second = Study::of(small())
        .folder(folder.path())
        .run(net(), &mut toy)
        .unwrap();
    assert_eq!(first.report().rows(), second.report().rows());
    for index in 0..first.report().rows().len() {
        assert_eq!(
            first.archive(index).unwrap(),
            second.archive(index).unwrap()
        );
    }
}

#[test]
fn a_folder_of_another_study_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let study = Study::of(small()).folder(folder.path());
    study.run(net(), &mut Toy::new(&device())).unwrap();
    let another = Recipe {
        learning_rate: 0.02,
        ..small()
    };
    let study = Study::of(another).folder(folder.path());
    let error = study.run(net(), &mut Toy::new(&device())).err().unwrap();
    assert!(
        matches!(
            &error,
            StudyError::AnotherStudy {
                what: "the recipe",
                ..
            }
        ),
        "{error}"
    );
    let study = Study::of(small()).folder(folder.path());
    let error = study
        .run(trained(2, &device()), &mut Toy::new(&device()))
        .err()
        .unwrap();
    assert!(
        matches!(
            &error,
            StudyError::AnotherStudy {
                what: "the model",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_damaged_trial_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let study = || Study::of(small()).folder(folder.path());
    study().run(net(), &mut Toy::new(&device())).unwrap();
    let trial = folder
        .path()
        .join("trials/prune-post-plain-60.00-32bit-seed3.json");
    let text = std::fs::read(&trial).unwrap();
    std::fs::write(&trial, &text[..text.len() / 2]).unwrap();
    let error = study().run(net(), &mut Toy::new(&device())).err().unwrap();
    assert!(matches!(error, StudyError::Format(_)), "{error}");
}

#[test]
fn each_seed_trains_its_own_trials() {
    let recipe = Recipe {
        seeds: vec![1, 2],
        refine_epochs: 0,
        sensitivity: false,
        ..small()
    };
    let outcome = run(recipe, &mut Toy::new(&device()));
    let rows = outcome.report().rows();
    let of = |seed| rows.iter().filter(move |row| row.seed == seed);
    // Baseline and post-training trials do not depend on the seed, but for the combination's.
    assert_eq!(of(1).count(), 1 + 2 * 2 + 2);
    assert_eq!(of(2).count(), 2 + 2);
}

#[test]
fn a_steered_study_finds_the_highest_level() {
    let most = 0.62;
    let mut toy = Toy::new(&device());
    toy.steps = 1;
    toy.score = Some(Box::new(move |net| {
        let zeros: usize = seen(net)
            .iter()
            .map(|layer| layer.used.iter().filter(|value| **value == 0.0).count())
            .sum();
        if zeros as f64 <= most * TOTAL as f64 {
            91.0
        } else {
            50.0
        }
    }));
    for ramp in [
        burn_compress::recipe::Ramp::AtOnce,
        burn_compress::recipe::Ramp::Cubic,
    ] {
        let steer = Steer {
            start: 0.3,
            increment: 0.2,
            resolution: 0.02,
            rounds: 30,
        };
        let recipe = Recipe {
            max_drop: 1.0,
            prune: Some(PruneLevels {
                steer: Some(steer),
                ramp,
                ..PruneLevels::default()
            }),
            quantize: None,
            order: vec![Stage::Prune],
            sensitivity: false,
            ..recipe()
        };
        let outcome = run(recipe, &mut toy);
        let row = outcome
            .report()
            .rows()
            .iter()
            .find(|row| row.steered)
            .unwrap();
        assert!(
            row.level <= most && row.level > most - 0.04,
            "{}",
            row.level
        );
        assert_eq!(
            row.sparsity,
            share_of(row.level, TOTAL) as f64 / TOTAL as f64
        );
    }
}

#[test]
fn without_training_only_post_training_trials_are_measured() {
    let recipe = Recipe {
        epochs: 0,
        ..recipe()
    };
    let mut toy = Toy {
        fails_after: Some(0),
        ..Toy::new(&device())
    };
    let outcome = run(recipe, &mut toy);
    assert!(
        outcome
            .report()
            .rows()
            .iter()
            .all(|row| row.mode != Mode::Aware && !row.refined)
    );
    assert_eq!(outcome.report().rows().len(), 1 + 2 + 2 + 1);
}

#[test]
fn selection_and_scope_are_followed() {
    let recipe = Recipe {
        epochs: 0,
        selection: Selection::default().except(["conv", "head"]),
        prune: Some(PruneLevels {
            scope: Scope::Layer,
            ..PruneLevels::from([0.75])
        }),
        quantize: None,
        order: vec![Stage::Prune],
        ..recipe()
    };
    let outcome = run(recipe, &mut Toy::new(&device()));
    let row = outcome.report().rows().last().unwrap();
    let layers: Vec<_> = row
        .layers
        .iter()
        .map(|l| (l.path.as_str(), l.sparsity))
        .collect();
    assert_eq!(layers, [("grouped.weight", 0.75), ("up.weight", 0.75)]);
}

#[test]
fn a_score_that_is_no_number_stops_the_study() {
    let mut toy = Toy::new(&device());
    toy.score = Some(Box::new(|_| f64::NAN));
    let error = Study::of(small()).run(net(), &mut toy).err().unwrap();
    assert!(matches!(error, StudyError::Train(TrainError::Score { score }) if score.is_nan()));
}

/// Trains, but tells the epoch about so many steps only.
struct Silent(Toy, usize);

impl Workload<Net> for Silent {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn steps_per_epoch(&self) -> usize {
        self.0.steps
    }

    fn train_epoch(&mut self, net: Net, epoch: &mut Epoch<'_>) -> Result<Net, BoxError> {
        let mut optimizer = AdamConfig::new().init();
        let rate = epoch.learning_rate();
        let mut net = super::backends::models::train_step(net, &mut optimizer, rate, 0);
        for _ in 0..self.1 {
            net = epoch.step(net)?;
        }
        Ok(net)
    }

    fn score(&mut self, net: &Net) -> Result<f64, BoxError> {
        Workload::score(&mut self.0, net)
    }

    fn example(&self, device: &Device) -> Self::Input {
        Workload::<Net>::example(&self.0, device)
    }

    fn forward(&self, net: &Net, images: Self::Input) -> Self::Output {
        net.forward(images)
    }
}

#[test]
fn a_workload_that_forgets_the_steps_is_told() {
    let mut silent = Silent(Toy::new(&device()), 0);
    let error = Study::of(small()).run(net(), &mut silent).err().unwrap();
    assert!(error.to_string().contains("Epoch::step"), "{error}");
}

#[test]
fn a_workload_that_takes_fewer_steps_than_it_says_is_told() {
    let toy = Toy::new(&device());
    let said = toy.steps;
    assert!(said > 1);
    let error = Study::of(small()).run(net(), &mut Silent(toy, 1));
    let error = error.err().unwrap();
    assert!(
        matches!(error, StudyError::Train(TrainError::Steps { done: 1, said: s }) if s == said),
        "{error}"
    );
}

/// Ranges twice as wide as the values.
struct Wide;

impl Quantizer for Wide {
    fn name(&self) -> &str {
        "wide"
    }

    fn parameters(&self, values: Tensor<2>, scheme: &Scheme) -> Parameters {
        MinMax.parameters(values * 2.0, scheme)
    }
}

#[test]
fn what_a_study_is_told_is_in_its_rows_and_its_files() {
    let study = Study::of(Recipe {
        epochs: 0,
        ..small()
    });
    let study = study.quantizer(Wide).score_name("points");
    let net = net();
    let mut toy = Toy::new(&device());
    let outcome = study.run(net.clone(), &mut toy).unwrap();
    let report = outcome.report();
    assert_eq!(report.score_name(), "points");
    assert_eq!(
        outcome.recipe().quantize.as_ref().unwrap().ranges,
        RangeMethod::Custom("wide".into())
    );
    assert_eq!(
        *report.recipe(),
        serde_json::to_value(outcome.recipe()).unwrap()
    );
    assert_eq!(report.notes().count(), 0);

    // Of codes up to 7, the greatest of each channel is 3.5, rounded to even.
    let index = report
        .rows()
        .iter()
        .position(|row| row.stage == Stage::Quantize);
    let quantized = outcome.model(index.unwrap()).unwrap();
    for (after, before) in seen(&quantized).iter().zip(seen(&net)) {
        let largest = |values: &[f32]| values.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        let ratio = largest(&after.used) / largest(&before.used);
        assert!(
            (ratio - 8.0 / 7.0).abs() < 1e-6,
            "{ratio} in {}",
            after.path
        );
    }

    let folder = tempfile::tempdir().unwrap();
    let paths = outcome.save(folder.path(), "points").unwrap();
    assert!(paths.iter().all(|path| path.is_file()));
    let recipe = Recipe::load(paths.last().unwrap()).unwrap();
    assert_eq!(recipe, *outcome.recipe());
}

#[test]
fn a_distortion_is_the_error_of_a_layer_relative_to_its_weights() {
    let mut net = net();
    // Nothing can be lost of a layer without values.
    net.up.weight = net.up.weight.map(|weight| weight.zeros_like());
    let recipe = Recipe {
        epochs: 0,
        prune: None,
        ..small()
    };
    let outcome = Study::of(recipe).run(net.clone(), &mut Toy::new(&device()));
    let outcome = outcome.unwrap();
    for (index, row) in outcome.report().rows().iter().enumerate() {
        let model = outcome.model(index).unwrap();
        let (after, before) = (seen(&model), seen(&net));
        assert_eq!(row.layers.len(), before.len());
        for layer in &row.layers {
            let of = |all: &[Seen]| all.iter().position(|of| of.path == layer.path).unwrap();
            let (after, before) = (&after[of(&after)], &before[of(&before)]);
            let square = |x: f32| f64::from(x).powi(2);
            let size: f64 = before.used.iter().map(|x| square(*x)).sum();
            let pairs = before.used.iter().zip(&after.used);
            let error: f64 = pairs.map(|(a, b)| square(a - b)).sum();
            let expected = match layer.path.as_str() {
                "up.weight" => 0.0,
                _ => (error / size).sqrt(),
            };
            assert!(
                (layer.distortion - expected).abs() < 1e-9,
                "{layer:?}, not {expected}"
            );
            assert!((layer.distortion > 0.0) == (row.weight_bits < 32 && expected > 0.0));
        }
    }
}

/// Does something else before each forward pass.
struct Before<F>(Toy, F);

impl<F: Fn(&Tensor<4>)> Workload<Net> for Before<F> {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn steps_per_epoch(&self) -> usize {
        self.0.steps
    }

    fn train_epoch(&mut self, net: Net, epoch: &mut Epoch<'_>) -> Result<Net, BoxError> {
        self.0.train_epoch(net, epoch)
    }

    fn score(&mut self, net: &Net) -> Result<f64, BoxError> {
        self.0.score(net)
    }

    fn example(&self, device: &Device) -> Tensor<4> {
        self.0.example(device)
    }

    fn forward(&self, net: &Net, images: Tensor<4>) -> Tensor<2> {
        (self.1)(&images);
        net.forward(images)
    }
}

#[test]
fn a_pass_whose_multiply_adds_cannot_be_counted_is_noted() {
    let recipe = Recipe {
        epochs: 0,
        quantize: None,
        ..small()
    };
    // A recording has no values.
    let mut reads = Before(Toy::new(&device()), |images: &Tensor<4>| {
        let _ = images.clone().into_data();
    });
    let outcome = Study::of(recipe).run_module(net(), &mut reads).unwrap();
    let notes: Vec<String> = outcome
        .report()
        .notes()
        .map(|note| note.to_string())
        .collect();
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("Multiply-adds are not counted")),
        "{notes:?}"
    );
}

const PASS: Duration = Duration::from_millis(4);

#[test]
fn a_pass_takes_as_long_as_it_does() {
    let recipe = || Recipe {
        epochs: 0,
        ..small()
    };
    let least = PASS.as_secs_f64() * 1e3;
    let start = Instant::now();
    let mut slow = Before(Toy::new(&device()), |_: &Tensor<4>| {
        std::thread::sleep(PASS)
    });
    let module = Study::of(recipe()).run_module(net(), &mut slow).unwrap();
    let engine = run(recipe(), &mut Toy::new(&device()));
    let all = start.elapsed().as_secs_f64() * 1e3;
    let mut timed = 0.0;
    for (outcome, by) in [(module, Timed::Module), (engine, Timed::Engine)] {
        for row in outcome.report().rows() {
            assert_eq!(row.timed, by);
            assert!(by == Timed::Engine || row.ms_range[0] >= least, "{row:?}");
            timed += row.ms_range[0] * recipe().timed_passes as f64;
        }
    }
    // All passes were within the studies.
    assert!(timed <= all, "{timed} of {all}");
}
