//! Studies by criteria that look at more than weights, and in a pattern that fixes its level.

use std::path::Path;

use burn::module::Module;
use burn_compress::Study;
use burn_compress::compress::{CompressError, Plan, Pruning};
use burn_compress::prune::{Pattern, Taylor};
use burn_compress::recipe::{Criterion, PruneLevels, QuantizeLevels, Recipe, Steer};
use burn_compress::report::{Mode, Stage};
use burn_compress::study::StudyError;
use burn_compress::train::Workload;

use super::backends::device::device;
use super::backends::models::{Net, Toy, seen, trained};
use super::backends::n_of_m::assert_n_of_m;
use super::study::timeless;

fn net() -> Net {
    trained(30, &device()).valid()
}

fn recipe(criterion: Criterion) -> Recipe {
    Recipe {
        max_drop: 1.0,
        epochs: 1,
        refine_epochs: 1,
        timed_passes: 1,
        prune: Some(PruneLevels {
            every: 2,
            criterion,
            patterns: vec![Pattern::Unstructured, Pattern::NOfM { n: 2, m: 4 }],
            ..PruneLevels::from([0.3, 0.6])
        }),
        quantize: Some(QuantizeLevels::from([8])),
        ..Recipe::default()
    }
}

fn zeros(net: &Net) -> Vec<Vec<bool>> {
    let layers = seen(net).into_iter();
    layers
        .map(|layer| layer.used.iter().map(|value| *value == 0.0).collect())
        .collect()
}

#[test]
fn a_study_prunes_by_what_its_workload_shows() {
    for criterion in [
        Criterion::Taylor,
        Criterion::TaylorAbsolute,
        Criterion::Wanda,
    ] {
        let mut trials = (0, 0);
        let outcome = Study::of(recipe(criterion.clone()))
            .on_progress(|progress| trials = progress.trials)
            .run_module(net(), &mut Toy::new(&device()))
            .unwrap();
        let rows = outcome.report().rows();
        // Two levels of single weights and one of 2:4, one width, and the combination, in four variants.
        assert_eq!(rows.len(), 1 + 4 * (3 + 1 + 1), "{criterion:?}");
        assert_eq!(trials, (rows.len(), rows.len()));
        for (index, row) in rows.iter().enumerate() {
            if row.stage == Stage::Prune && row.pattern == (Pattern::NOfM { n: 2, m: 4 }) {
                assert_eq!(row.level, 0.5);
                assert_n_of_m(&zeros(&outcome.model(index).unwrap()), 2, 4);
            }
        }
        assert!(outcome.report().table().contains("2:4"));
        if criterion != Criterion::Taylor {
            continue;
        }
        // The first trial is what the plan gives that the guide tells of.
        let first = rows
            .iter()
            .position(|row| row.stage == Stage::Prune)
            .unwrap();
        assert_eq!((rows[first].mode, rows[first].refined), (Mode::Post, false));
        let plan = Plan::new().prune(Pruning::to(0.3).by(Taylor::Squared));
        let model = net().train();
        let mut observations = plan.observations(&model).unwrap();
        let mut toy = Toy::new(&device());
        toy.observe(&model, &mut observations).unwrap();
        let pruned = plan.apply_with(model, &observations).unwrap().module;
        assert_eq!(zeros(&outcome.model(first).unwrap()), zeros(&pruned));
    }
}

#[test]
fn a_workload_that_shows_nothing_is_told_what_to_do() {
    let mut toy = Toy::new(&device());
    toy.shows = false;
    let study = Study::of(recipe(Criterion::Taylor));
    let error = study.run_module(net(), &mut toy).err().unwrap();
    assert!(
        matches!(
            error,
            StudyError::Compress(CompressError::Unobserved { .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("Workload::observe"), "{error}");
}

#[test]
fn an_interrupted_study_by_gradients_goes_on_where_it_was() {
    let run = |toy: &mut Toy, folder: &Path| {
        let study = Study::of(recipe(Criterion::Taylor)).folder(folder);
        study.run_module(net(), toy)
    };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let whole = run(&mut Toy::new(&device()), folders[0].path()).unwrap();
    for epochs in [0, 2, 3, 7] {
        let mut toy = Toy::new(&device());
        toy.fails_after = Some(epochs);
        assert!(run(&mut toy, folders[1].path()).is_err());
    }
    let resumed = run(&mut Toy::new(&device()), folders[1].path()).unwrap();
    let [one, other] = [&whole, &resumed].map(|outcome| timeless(outcome.report().rows()));
    assert_eq!(one, other);
}

#[test]
fn a_recipe_of_a_pattern_that_fixes_its_level_needs_no_level() {
    let text = "[prune]\npatterns = ['2:4']\ncriterion = 'wanda'";
    let recipe = Recipe::from_toml(text).unwrap();
    assert_eq!(
        Recipe::from_json(&recipe.to_json().unwrap()).unwrap(),
        recipe
    );
    assert_eq!(
        Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap(),
        recipe
    );
    assert!(recipe.to_toml().unwrap().contains("\"2:4\""));
    let prune = recipe.prune.unwrap();
    assert_eq!(prune.criterion, Criterion::Wanda);
    assert_eq!(prune.levels_of(prune.patterns[0]), [0.5]);
}

#[test]
fn a_threshold_is_not_steered_where_the_level_is_fixed() {
    let mut recipe = recipe(Criterion::Magnitude);
    let prune = recipe.prune.as_mut().unwrap();
    prune.levels.clear();
    prune.steer = Some(Steer {
        rounds: 2,
        ..Steer::default()
    });
    let mut trials = (0, 0);
    let outcome = Study::of(recipe)
        .on_progress(|progress| trials = progress.trials)
        .run_module(net(), &mut Toy::new(&device()))
        .unwrap();
    let rows = outcome.report().rows();
    assert_eq!(trials, (rows.len(), rows.len()));
    let steered = rows.iter().filter(|row| row.steered);
    let patterns: Vec<Pattern> = steered.map(|row| row.pattern).collect();
    assert_eq!(patterns, [Pattern::Unstructured]);
}
