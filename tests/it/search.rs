//! Compression chosen by measured time.

use std::cell::{Cell, RefCell};

use burn::module::Module;
use burn::tensor::Tensor;
use burn_compress::compress::Selection;
use burn_compress::engine::Tuning;
use burn_compress::prune::Pattern;
use burn_compress::reconstruct::ReconstructError;
use burn_compress::search::{
    Candidate, Found, Limit, Measurements, Origin, SearchActivity, SearchError, SearchOptions,
    SearchReport,
};
use burn_compress::{Budget, Options, Program, Search};

use super::backends::device::device;
use super::backends::models::{Net, batch, trained, values, zeros};

/// A block of four input channels needs them: `head` has 72, the others fewer.
fn options() -> SearchOptions {
    SearchOptions {
        candidates: vec![
            Candidate::dense(8),
            Candidate::pruned(0.5, Pattern::Unstructured, 8),
            Candidate::pruned(0.75, Pattern::Block { channels: 4 }, 4),
            Candidate::dense(32),
        ],
        plans: 3,
        uniform: false,
        repeats: 2,
        engine: Options {
            threads: Some(1),
            tuning: Tuning::Estimated,
            ..Options::default()
        },
        ..SearchOptions::default()
    }
}

fn net() -> Net {
    trained(10, &device()).valid()
}

fn inputs() -> Vec<Tensor<4>> {
    (20..24).map(|step| batch(step, &device()).0).collect()
}

fn forward(net: &Net, images: Tensor<4>) -> Tensor<2> {
    net.forward(images)
}

/// How near outputs are to the original's.
fn score(program: &Program) -> f64 {
    let images = inputs().remove(0);
    let wanted = values(net().forward(images.clone()));
    let found = program.run(&values(images), 8).unwrap();
    let errors = wanted
        .iter()
        .zip(found)
        .map(|(a, b)| f64::from((a - b).powi(2)));
    100.0 - errors.sum::<f64>()
}

fn measured() -> &'static Measurements {
    static ONCE: std::sync::OnceLock<Measurements> = std::sync::OnceLock::new();
    ONCE.get_or_init(|| {
        let search = Search::new(Budget::of_batch(8)).options(options());
        search.measure(net(), forward, inputs()).unwrap()
    })
}

fn search(budget: Budget) -> Found<Net> {
    let search = Search::new(budget).options(options());
    let search = search.measured(measured().clone());
    search.run(net(), forward, inputs()).unwrap()
}

fn searched(report: &SearchReport) -> usize {
    let models = report.models.iter();
    models
        .filter(|model| matches!(model.origin, Origin::Searched { .. }))
        .count()
}

#[test]
fn layers_are_measured_under_each_candidate() {
    let found = measured();
    let paths: Vec<&str> = found
        .layers
        .iter()
        .map(|layer| layer.layer.as_str())
        .collect();
    assert_eq!(
        paths,
        ["conv.weight", "grouped.weight", "up.weight", "head.weight"]
    );
    let uses: Vec<u64> = found.layers.iter().map(|layer| layer.uses).collect();
    assert_eq!(uses, [36, 9, 9, 1]);
    for candidate in options().candidates {
        let timing = found.timing(&candidate).unwrap();
        assert!(timing.layers.iter().all(|time| *time > 0.0), "{timing:?}");
        assert!(timing.milliseconds > 0.0 && timing.rest >= 0.0);
    }
    let left = |at: usize| found.timings[at].left[3];
    assert!(
        left(1) <= 108 && left(2) <= 54 && left(3) == 216,
        "{:?}",
        found.timings
    );
    for layer in &found.layers {
        let share = |at: usize| {
            layer
                .damage(&options().candidates[at])
                .unwrap()
                .share
                .unwrap()
        };
        assert_eq!(share(3), 0.0);
        assert!(
            share(0) < 0.01 && share(0) < share(1) && share(1) < 1.0,
            "{layer:?}"
        );
    }
    let text = serde_json::to_string(found).unwrap();
    assert_eq!(serde_json::from_str::<Measurements>(&text).unwrap(), *found);
}

#[test]
fn a_budget_that_everything_meets_gives_the_least_damage() {
    let found = search(Budget::of_batch(8).bytes(1 << 20));
    let report = found.report();
    assert!(report.is_met());
    let best = &report.models[report.best];
    // What is left as it is loses nothing.
    assert_eq!(best.damage, 0.0);
    let mut choices = best.choices.iter();
    assert!(choices.all(|choice| choice.candidate == Candidate::dense(32)));

    let without = SearchOptions {
        candidates: options().candidates[..3].to_vec(),
        ..options()
    };
    let search = Search::new(Budget::of_batch(8).bytes(1 << 20)).options(without);
    let search = search.measured(measured().clone());
    let found = search.run(net(), forward, inputs()).unwrap();
    let report = found.report();
    let best = &report.models[report.best];
    assert!(
        report.is_met() && best.origin != Origin::Original,
        "{report}"
    );
    let least = measured().layers.iter().map(|layer| {
        let damages = layer
            .damages
            .iter()
            .take(3)
            .filter_map(|damage| damage.share);
        damages.min_by(f64::total_cmp).unwrap()
    });
    assert!((best.damage - least.sum::<f64>()).abs() < 1e-12, "{report}");
}

#[test]
fn a_budget_that_nothing_meets_gives_the_nearest_and_says_so() {
    let found = search(Budget::of_batch(8).bytes(10));
    let report = found.report();
    assert!(!report.is_met());
    let [excess] = report.excess[..] else {
        panic!("{:?}", report.excess)
    };
    let best = &report.models[report.best];
    assert_eq!((excess.limit, excess.wanted), (Limit::Bytes, 10.0));
    assert_eq!(excess.found, best.bytes as f64);
    assert_ne!(best.origin, Origin::Original);
    let made = report.models.iter().skip(1);
    assert!(made.map(|model| model.bytes).min() == Some(best.bytes));
    assert!(
        report.to_string().contains("Nothing keeps the budget"),
        "{report}"
    );
}

#[test]
fn models_keep_the_budget_and_are_what_their_plans_say() {
    let all = |at: usize| measured().timings[at].bytes;
    let limit = (all(0) + all(2)) / 2;
    let macs = 8000;
    let found = search(Budget::of_batch(8).bytes(limit).macs(macs));
    let report = found.report();
    assert!(report.is_met(), "{report}");
    let best = &report.models[report.best];
    assert!(best.bytes <= limit && best.macs <= macs, "{report}");
    assert!(searched(report) > 0);
    for (index, model) in report.models.iter().enumerate() {
        let network = found.network(index).unwrap();
        assert_eq!(network.to_bytes().unwrap().len() as u64, model.bytes);
        assert!(model.milliseconds > 0.0);
        let zeros = zeros(&found.model(index).unwrap());
        for (choice, zeros) in model.choices.iter().zip(&zeros) {
            let gone = zeros.iter().filter(|zero| **zero).count() as f64;
            let wanted = choice.candidate.level * zeros.len() as f64;
            // Blocks are whole.
            assert!(
                gone >= wanted - 2.0,
                "{choice:?}: {gone} are gone, not {wanted}"
            );
        }
        let damage: f64 = (model.choices.iter().zip(&measured().layers))
            .map(|(choice, layer)| layer.damage(&choice.candidate).unwrap().share.unwrap())
            .sum();
        assert!((model.damage - damage).abs() < 1e-9);
    }
    let text = serde_json::to_string(report).unwrap();
    assert_eq!(
        serde_json::from_str::<SearchReport>(&text).unwrap(),
        *report
    );
}

#[test]
fn time_bounds_the_plans_and_uniform_ones_are_beside_them() {
    let options = SearchOptions {
        uniform: true,
        ..options()
    };
    let search = Search::new(Budget::share(1000.0, 8)).options(options);
    let search = search.measured(measured().clone());
    let found = search.run(net(), forward, inputs()).unwrap();
    let report = found.report();
    let uniform = report
        .models
        .iter()
        .filter(|model| matches!(model.origin, Origin::Uniform { .. }));
    // One of four is the original.
    assert_eq!(uniform.count() + report.left_out.len(), 3);
    assert!(report.is_met(), "{report}");
    let front: Vec<_> = report
        .front
        .iter()
        .map(|index| &report.models[*index])
        .collect();
    let rising = |pair: &[&_]| {
        let [one, other]: [&burn_compress::search::SearchedModel; 2] = [pair[0], pair[1]];
        one.milliseconds <= other.milliseconds && one.damage >= other.damage
    };
    assert!(
        !front.is_empty() && front.windows(2).all(rising),
        "{report}"
    );
    assert!(report.models.iter().all(|model| {
        (model.origin == Origin::Original) == model.predicted_milliseconds.is_none()
    }));
}

#[test]
fn points_are_kept_where_there_is_a_score() {
    let run = |points: f64| {
        let search = Search::new(Budget::of_batch(8).points(points)).options(options());
        let search = search.measured(measured().clone());
        let search = search.score(|program| Ok(score(program)));
        search.run(net(), forward, inputs()).unwrap()
    };
    let found = run(1e6);
    let report = found.report();
    assert!(report.is_met(), "{report}");
    let best = &report.models[report.best];
    let all = report.models.iter().map(|model| model.milliseconds);
    assert_eq!(all.min_by(f64::total_cmp), Some(best.milliseconds));
    let program = Program::compile(&found.network(report.best).unwrap(), Options::default());
    assert!((score(&program.unwrap()) - best.score.unwrap()).abs() < 1e-9);
    assert!(report.drop(best).unwrap() <= 1e6);

    let search = Search::new(Budget::of_batch(8).points(1.0)).options(options());
    let error = search.run(net(), forward, inputs()).err().unwrap();
    assert!(matches!(error, SearchError::NoScore), "{error}");
}

#[test]
fn a_score_that_is_no_number_is_an_error() {
    let search = Search::new(Budget::of_batch(8)).options(options());
    let search = search.measured(measured().clone()).score(|_| Ok(f64::NAN));
    let error = search.run(net(), forward, inputs()).err().unwrap();
    let SearchError::Score { model, score } = &error else {
        panic!("{error}")
    };
    assert!(model == "original" && score.is_nan());
    let search = Search::new(Budget::of_batch(8)).options(options());
    let search = search
        .measured(measured().clone())
        .score(|_| Err("no data".into()));
    let error = search.run(net(), forward, inputs()).err().unwrap();
    assert_eq!(error.to_string(), "scoring `original` failed: no data");
}

#[test]
fn an_interrupted_search_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let budget = || Budget::of_batch(8).bytes(measured().timings[1].bytes);
    let told = RefCell::new(Vec::new());
    let left = Cell::new(usize::MAX);
    let run = |steps: usize| {
        left.set(steps);
        told.borrow_mut().clear();
        let search = Search::new(budget())
            .options(options())
            .folder(folder.path());
        let search = search.on_progress(|progress| {
            let step = match progress.activity {
                SearchActivity::Time { candidate } => format!("time of {candidate}"),
                SearchActivity::Damage { layer } => format!("damage of {layer}"),
                SearchActivity::Measure { model } => format!("measuring {model}"),
                _ => return Ok(()),
            };
            assert!(progress.done < progress.of);
            if left.get() == 0 {
                return Err("enough".into());
            }
            left.set(left.get() - 1);
            told.borrow_mut().push(step);
            Ok(())
        });
        search.run(net(), forward, inputs())
    };
    let mut all = Vec::new();
    for _ in 0..3 {
        let error = run(3).err().unwrap();
        assert!(matches!(error, SearchError::Stopped { .. }), "{error}");
        all.extend(told.borrow().iter().cloned());
    }
    let found = run(usize::MAX).unwrap();
    all.extend(told.borrow().iter().cloned());
    let steps = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), steps, "a step was made twice: {all:?}");
    assert!(steps >= 4 + 4 + 2, "{all:?}");

    let again = run(usize::MAX).unwrap();
    assert!(told.borrow().is_empty(), "{:?}", told.borrow());
    assert_eq!(again.report(), found.report());
    assert_eq!(again.measurements(), found.measurements());
    let same = |index| {
        found.network(index).unwrap().to_bytes().unwrap()
            == again.network(index).unwrap().to_bytes().unwrap()
    };
    assert!((0..found.report().models.len()).all(same));

    // Another model has no place there.
    let search = Search::new(budget())
        .options(options())
        .folder(folder.path());
    let other = search.run(trained(11, &device()).valid(), forward, inputs());
    let error = other.err().unwrap();
    assert!(
        matches!(error, SearchError::AnotherSearch { .. }),
        "{error}"
    );
    let search = Search::new(budget())
        .options(options())
        .measured(measured().clone());
    let error = search
        .run(trained(11, &device()).valid(), forward, inputs())
        .err()
        .unwrap();
    assert!(matches!(error, SearchError::OtherMeasurements), "{error}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let run = |budget: Budget, options: SearchOptions, inputs: Vec<Tensor<4>>| {
        let search = Search::new(budget).options(options);
        search.run(net(), forward, inputs).err().unwrap()
    };
    let of = Budget::of_batch;
    let value = |error| matches!(error, SearchError::Value { .. });
    assert!(value(run(of(0), options(), inputs())));
    assert!(value(run(
        Budget::milliseconds(f64::NAN, 1),
        options(),
        inputs()
    )));
    assert!(value(run(of(1).points(-1.0), options(), inputs())));
    let none = SearchOptions {
        candidates: Vec::new(),
        ..options()
    };
    assert!(matches!(
        run(of(1), none, inputs()),
        SearchError::NoCandidates
    ));
    let twice = SearchOptions {
        candidates: vec![Candidate::dense(8); 2],
        ..options()
    };
    assert!(matches!(
        run(of(1), twice, inputs()),
        SearchError::Twice { .. }
    ));
    let level = SearchOptions {
        candidates: vec![Candidate::pruned(1.0, Pattern::Unstructured, 8)],
        ..options()
    };
    assert!(value(run(of(1), level, inputs())));
    let above = SearchOptions {
        candidates: vec![Candidate::pruned(0.8, Pattern::NOfM { n: 2, m: 4 }, 8)],
        ..options()
    };
    assert!(matches!(
        run(of(1), above, inputs()),
        SearchError::Pattern(_)
    ));
    let nothing = SearchOptions {
        selection: Selection::only(["tail"]),
        ..options()
    };
    assert!(matches!(
        run(of(1), nothing, inputs()),
        SearchError::Compress(_)
    ));

    let missing = run(of(1), options(), Vec::new());
    let missing_inputs = |error: &SearchError| {
        matches!(
            error,
            SearchError::Reconstruct(ReconstructError::Inputs { .. })
        )
    };
    assert!(missing_inputs(&missing), "{missing}");
    let few = run(of(1), options(), inputs().drain(..1).collect());
    assert!(missing_inputs(&few), "{few}");
    let wrong = vec![Tensor::zeros([16, 2, 6, 6], &device())];
    let wrong = run(of(1), options(), wrong);
    assert!(matches!(wrong, SearchError::Graph(_)), "{wrong}");
    // One batch of another shape than the first.
    let mut mixed = inputs();
    mixed.push(Tensor::ones([8, 1, 8, 8], &device()));
    let mixed = run(of(1), options(), mixed);
    assert!(matches!(mixed, SearchError::Graph(_)), "{mixed}");
}
