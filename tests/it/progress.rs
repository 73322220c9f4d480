//! What a study tells of its progress: every trial, epoch and step, and the share of all work.

use std::time::Duration;

use burn::module::Module;
use burn_compress::prune::Pattern;
use burn_compress::recipe::{PruneLevels, QuantizeLevels, Recipe, Steer};
use burn_compress::report::{Mode, Row, Stage};
use burn_compress::study::{Activity, Progress, StudyError};
use burn_compress::{Reconstruction, Study};

use super::backends::device::device;
use super::backends::models::{Net, Seen, Toy, seen, trained};

// Measuring a trial counts as this share of an epoch.
const MEASURING: f64 = 0.1;

fn recipe(epochs: usize, refine_epochs: usize) -> Recipe {
    Recipe {
        max_drop: 100.0,
        epochs,
        refine_epochs,
        seeds: vec![1, 2],
        timed_passes: 1,
        prune: Some(PruneLevels {
            patterns: vec![Pattern::Unstructured, Pattern::Block { channels: 4 }],
            ..PruneLevels::from([0.3, 0.5])
        }),
        quantize: Some(QuantizeLevels::from([8])),
        sensitivity: false,
        ..Recipe::default()
    }
}

// The rows of a study, and what was told on the way.
fn run(study: Study<'_>, toy: &mut Toy) -> (Result<Vec<Row>, StudyError>, Vec<Progress>) {
    let net: Net = trained(3, &device()).valid();
    let mut told = Vec::new();
    let study = study.on_progress(|progress| told.push(progress.clone()));
    let outcome = study.run(net, toy);
    (
        outcome.map(|outcome| outcome.report().rows().to_vec()),
        told,
    )
}

fn epochs_of(row: &Row, recipe: &Recipe) -> usize {
    match (row.mode, row.refined) {
        (_, true) => recipe.refine_epochs,
        (Mode::Aware, false) => recipe.epochs,
        // It counts as an epoch.
        (Mode::Reconstructed, false) => 1,
        _ => 0,
    }
}

#[test]
fn progress_tells_every_step_and_ends_when_all_is_done() {
    let alone = |recipe: Recipe, order: &[Stage]| Recipe {
        prune: recipe.prune.filter(|_| order.contains(&Stage::Prune)),
        quantize: recipe.quantize.filter(|_| order.contains(&Stage::Quantize)),
        ..recipe
    };
    let reconstructed = |recipe: Recipe| Recipe {
        reconstruct: Some(Reconstruction::default()),
        ..recipe
    };
    let recipes = [
        recipe(2, 3),
        recipe(2, 0),
        recipe(0, 3),
        // Nothing to combine, though the order names it.
        alone(recipe(1, 1), &[Stage::Prune]),
        alone(recipe(1, 1), &[Stage::Quantize]),
        reconstructed(recipe(0, 0)),
        reconstructed(alone(recipe(2, 1), &[Stage::Prune])),
    ];
    for recipe in recipes {
        let mut toy = Toy::new(&device());
        let (rows, told) = run(Study::of(recipe.clone()), &mut toy);
        let rows = rows.unwrap();
        let epochs = rows.iter().map(|row| epochs_of(row, &recipe) as f64);
        let total = epochs.sum::<f64>() + rows.len() as f64 * MEASURING;

        let mut told = told.into_iter();
        let mut done = 0.0;
        let mut expect = |activity, row: &Row, trials: usize, done: f64| {
            let progress = told.next().unwrap();
            let trial = progress.trial;
            assert_eq!(progress.activity, activity);
            assert_eq!(
                (
                    trial.stage,
                    trial.mode,
                    trial.refined,
                    trial.level,
                    trial.seed
                ),
                (row.stage, row.mode, row.refined, row.level, row.seed)
            );
            assert_eq!(progress.trials, (trials, rows.len()));
            let share = done / total;
            assert!((progress.share - share).abs() < 1e-9, "{progress:?}");
            // By what was done so far, as long again for as much.
            let left = progress.left.map(|left| left.as_secs_f64());
            let expected = progress.elapsed.as_secs_f64() * (total - done) / done;
            match done > 1e-9 {
                true => assert!((left.unwrap() - expected).abs() < 1e-6, "{progress:?}"),
                false => assert_eq!(left, None),
            }
        };
        for (index, row) in rows.iter().enumerate() {
            let (epochs, steps) = (epochs_of(row, &recipe), toy.steps);
            if row.mode == Mode::Reconstructed {
                // Four layers, each looked at once more where they share a level.
                let of = if row.stage == Stage::Quantize { 4 } else { 8 };
                for step in 0..of {
                    let activity = Activity::Reconstruct { done: step, of };
                    expect(activity, row, index, done + step as f64 / of as f64);
                }
                done += 1.0;
                expect(Activity::Measure, row, index, done);
                done += MEASURING;
                expect(Activity::Done, row, index + 1, done);
                continue;
            }
            for (epoch, step) in
                (0..epochs).flat_map(|epoch| (0..=steps).map(move |step| (epoch, step)))
            {
                let activity = Activity::Train {
                    epoch,
                    epochs,
                    step,
                    steps,
                };
                let part = epoch as f64 + step as f64 / steps as f64;
                expect(activity, row, index, done + part);
            }
            done += epochs as f64;
            expect(Activity::Measure, row, index, done);
            done += MEASURING;
            expect(Activity::Done, row, index + 1, done);
        }
        assert!(told.next().is_none());
        assert!((done - total).abs() < 1e-9);
    }
}

#[test]
fn a_study_gone_on_with_counts_what_was_found() {
    let recipe = recipe(1, 2);
    let folder = tempfile::tempdir().unwrap();
    let study = || Study::of(recipe.clone()).folder(folder.path());
    let mut toy = Toy {
        fails_after: Some(7),
        ..Toy::new(&device())
    };
    let (stopped, _) = run(study(), &mut toy);
    stopped.unwrap_err();
    let (rows, told) = run(study(), &mut Toy::new(&device()));
    let rows = rows.unwrap();
    let epochs = |rows: &[Row]| -> f64 {
        let epochs = rows.iter().map(|row| epochs_of(row, &recipe) as f64);
        epochs.sum::<f64>() + rows.len() as f64 * MEASURING
    };
    let total = epochs(&rows);
    let is_done = |progress: &&Progress| progress.activity == Activity::Done;
    // The first are found: nothing was measured, and how long it takes is not known yet.
    let found = told.iter().take_while(is_done).count();
    assert!(found > 3);
    for (index, progress) in told[..found].iter().enumerate() {
        let share = epochs(&rows[..=index]) / total;
        assert!((progress.share - share).abs() < 1e-9, "{progress:?}");
        assert_eq!(progress.trials, (index + 1, rows.len()));
        assert_eq!(progress.left, None);
    }
    // Then time is counted by what is done now alone.
    let next = &told[found..];
    let now = epochs(&rows[..found]) / total;
    for progress in next.iter().filter(|progress| progress.share > now + 1e-9) {
        let (done, left) = (progress.share - now, progress.left.unwrap());
        let expected = progress.elapsed.as_secs_f64() * (1.0 - progress.share) / done;
        assert!((left.as_secs_f64() - expected).abs() < 1e-6, "{progress:?}");
    }
    let last = told.last().unwrap();
    assert!((last.share - 1.0).abs() < 1e-9);
    assert!(last.left.unwrap() < Duration::from_micros(1));
    assert_eq!(last.trials, (rows.len(), rows.len()));
}

#[test]
fn a_steered_study_counts_its_rounds() {
    // Bears everything, so that all rounds are trained; and little, so that its threshold settles.
    for (rounds, most) in [(3, 1.0), (40, 0.15)] {
        let steer = Steer {
            start: 0.1,
            increment: 0.1,
            resolution: 0.02,
            rounds,
        };
        let recipe = Recipe {
            max_drop: 1.0,
            prune: Some(PruneLevels {
                steer: Some(steer),
                ..PruneLevels::default()
            }),
            quantize: None,
            ..recipe(2, 1)
        };
        let mut toy = Toy::new(&device());
        toy.steps = 1;
        toy.score = Some(Box::new(move |net| {
            let zeros = |layer: &Seen| layer.used.iter().filter(|value| **value == 0.0).count();
            let zeros: usize = seen(net).iter().map(zeros).sum();
            if zeros as f64 <= most * 356.0 {
                91.0
            } else {
                50.0
            }
        }));
        let (rows, told) = run(Study::of(recipe), &mut toy);
        // Nothing is refined: the baseline, and for each seed what its threshold settled at.
        assert_eq!(rows.unwrap().len(), 3);
        // So many epochs at most; what a threshold that settled did not need is left out.
        let mut total = (2 * 2 * rounds) as f64 + 3.0 * MEASURING;
        let mut done = MEASURING;
        let mut trained = 0;
        for progress in &told[2..] {
            match progress.activity {
                Activity::Train { epoch, epochs, .. } => {
                    assert_eq!((epoch, epochs), (trained, rounds));
                    trained += 1;
                    done += 2.0;
                }
                Activity::Measure => total -= (2 * (rounds - std::mem::take(&mut trained))) as f64,
                Activity::Done => done += MEASURING,
                other => panic!("{other:?}"),
            }
            assert!((progress.share - done / total).abs() < 1e-9, "{progress:?}");
        }
        let last = told.last().unwrap();
        assert_eq!(last.trials, (3, 3));
        assert!((last.share - 1.0).abs() < 1e-9, "{last:?}");
        assert!((total - done).abs() < 1e-9);
        assert_eq!(toy.epochs_done as f64, (total - 3.0 * MEASURING).round());
    }
}
