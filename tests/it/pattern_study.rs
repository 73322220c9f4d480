//! A study over several patterns: each level in each of them, told apart everywhere.

use std::path::Path;

use burn::module::Module;
use burn_compress::Study;
use burn_compress::prune::{AtLeast, Pattern};
use burn_compress::recipe::{PruneLevels, QuantizeLevels, Recipe, Steer};
use burn_compress::report::Stage;

use super::backends::blocks::{TOTAL, assert_share, assert_whole, is_whole};
use super::backends::device::{device, is_exact};
use super::backends::models::{Net, Toy, seen, trained};
use super::study::timeless;

const BLOCK: Pattern = Pattern::Block { channels: 4 };

fn recipe() -> Recipe {
    Recipe {
        max_drop: 1.0,
        epochs: 1,
        refine_epochs: 1,
        timed_passes: 1,
        prune: Some(PruneLevels {
            every: 1,
            patterns: vec![Pattern::Unstructured, BLOCK],
            ..PruneLevels::from([0.5, 0.8])
        }),
        quantize: Some(QuantizeLevels::from([8])),
        ..Recipe::default()
    }
}

fn net() -> Net {
    trained(30, &device()).valid()
}

fn zeros(net: &Net) -> Vec<Vec<bool>> {
    let layers = seen(net).into_iter();
    layers
        .map(|layer| layer.used.iter().map(|value| *value == 0.0).collect())
        .collect()
}

fn share(zeros: &[Vec<bool>]) -> f64 {
    let gone = zeros.iter().flatten().filter(|zero| **zero).count();
    gone as f64 / TOTAL
}

/// Minds single weights that are gone, but no blocks.
fn prefers_blocks() -> Toy {
    let mut toy = Toy::new(&device());
    toy.score = Some(Box::new(|net| {
        let zeros = zeros(net);
        match is_whole(&zeros, 4) || share(&zeros) < 0.3 {
            true => 91.0 - share(&zeros),
            false => 50.0,
        }
    }));
    toy
}

#[test]
fn each_level_is_studied_in_each_pattern() {
    let mut trials = (0, 0);
    let outcome = Study::of(recipe())
        .on_progress(|progress| trials = progress.trials)
        .run(net(), &mut prefers_blocks())
        .unwrap();
    let rows = outcome.report().rows();
    // Two levels in two patterns, one width and the combination, each in four variants.
    assert_eq!(rows.len(), 1 + 4 * (2 * 2 + 1 + 1));
    assert_eq!(trials, (rows.len(), rows.len()));
    let pruned = rows.iter().enumerate();
    let pruned = pruned.filter(|(_, row)| row.stage == Stage::Prune);
    for (index, row) in pruned {
        let zeros = zeros(&outcome.model(index).unwrap());
        match row.pattern {
            Pattern::Unstructured => assert!(!is_whole(&zeros, 4), "{row:?}"),
            _ => assert_share(assert_whole(&zeros, 4), row.level, TOTAL, 4),
        }
    }
    for level in [0.5, 0.8] {
        let of = |pattern| {
            let rows = rows.iter().filter(|row| row.stage == Stage::Prune);
            rows.filter(move |row| (row.level, row.pattern) == (level, pattern))
        };
        assert_eq!(of(Pattern::Unstructured).count(), 4);
        assert_eq!(of(BLOCK).count(), 4);
    }
    // The combination is that of the best pattern.
    let best = outcome.report().best();
    let prune = best.prune.as_ref().unwrap();
    assert_eq!((prune.row.level, prune.row.pattern), (0.8, BLOCK));
    let blocks = zeros(&outcome.model(prune.index).unwrap());
    for (index, row) in rows.iter().enumerate() {
        let pattern = match row.stage {
            Stage::Combined => BLOCK,
            Stage::Prune => continue,
            Stage::Baseline | Stage::Quantize => Pattern::Unstructured,
        };
        assert_eq!(row.pattern, pattern);
        if row.stage == Stage::Combined {
            let zeros = zeros(&outcome.model(index).unwrap());
            let mut kept = zeros.iter().flatten().zip(blocks.iter().flatten());
            assert!(kept.all(|(now, before)| *now || !before));
        }
    }
    assert!(outcome.report().table().contains("block4"));
}

#[test]
fn a_study_of_patterns_goes_on_where_it_was() {
    // Not by the engine, whose times say which pattern is combined: they are not twice the same.
    let run = |toy: &mut Toy, folder: &Path| {
        let study = Study::of(recipe()).folder(folder);
        study.run_module(net(), toy)
    };
    let folder = tempfile::tempdir().unwrap();
    let mut whole = Toy::new(&device());
    let expected = run(&mut whole, folder.path()).unwrap();
    let trials = folder.path().join("trials");
    for name in ["80.00", "80.00-block4"] {
        let row = trials.join(format!("prune-aware-refined-{name}-32bit-seed0.json"));
        assert!(row.exists(), "{}", row.display());
    }
    let stride = if is_exact() { 3 } else { 11 };
    for epochs in (1..whole.epochs_done).step_by(stride) {
        let folder = tempfile::tempdir().unwrap();
        let mut toy = Toy {
            fails_after: Some(epochs),
            ..Toy::new(&device())
        };
        assert!(run(&mut toy, folder.path()).is_err());
        let outcome = run(&mut Toy::new(&device()), folder.path()).unwrap();
        assert_eq!(
            outcome.report().rows().len(),
            expected.report().rows().len()
        );
        if is_exact() {
            let [one, other] = [&outcome, &expected].map(|o| timeless(o.report().rows()));
            assert_eq!(one, other, "interrupted after {epochs} epochs");
        }
    }
}

#[test]
fn each_pattern_is_steered_by_itself() {
    let recipe = Recipe {
        prune: Some(PruneLevels {
            steer: Some(Steer {
                rounds: 8,
                ..Steer::default()
            }),
            levels: Vec::new(),
            // So that the level is the share of zeros up to its end.
            at_least: AtLeast::Weights(0),
            ..recipe().prune.unwrap()
        }),
        quantize: None,
        sensitivity: false,
        ..recipe()
    };
    let outcome = Study::of(recipe).run(net(), &mut prefers_blocks()).unwrap();
    let rows = outcome.report().rows();
    assert_eq!(rows.len(), 1 + 2);
    let [single, block] = [&rows[1], &rows[2]];
    assert!(single.steered && block.steered);
    assert_eq!(
        [single.pattern, block.pattern],
        [Pattern::Unstructured, BLOCK]
    );
    assert!(single.level < 0.3 && block.level > 0.5, "{rows:?}");
    let zeros = zeros(&outcome.model(2).unwrap());
    assert_share(assert_whole(&zeros, 4), block.level, TOTAL, 4);
}

#[test]
fn a_study_from_before_there_were_patterns_is_read() {
    let recipe = || Recipe {
        prune: Some(PruneLevels::from([0.5])),
        ..recipe()
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |toy: &mut Toy| Study::of(recipe()).folder(folder.path()).run(net(), toy);
    let before = run(&mut Toy::new(&device())).unwrap();
    let trials = std::fs::read_dir(folder.path().join("trials")).unwrap();
    let mut files: Vec<_> = trials.map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    files.push(folder.path().join("recipe.json"));
    for path in files {
        let text = std::fs::read(&path).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let fields = match json.get_mut("prune") {
            Some(prune) => prune.as_object_mut().unwrap().remove("patterns"),
            None => json.as_object_mut().unwrap().remove("pattern"),
        };
        assert!(fields.is_some(), "{}", path.display());
        std::fs::write(&path, json.to_string()).unwrap();
    }
    let mut toy = Toy {
        fails_after: Some(0),
        score_fails_after: Some(0),
        ..Toy::new(&device())
    };
    assert_eq!(
        run(&mut toy).unwrap().report().rows(),
        before.report().rows()
    );
}
