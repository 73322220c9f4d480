//! A study whose levels are reconstructed too.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_compress::prune::{AtLeast, Scope, share_of};
use burn_compress::recipe::{PruneLevels, QuantizeLevels, Recipe};
use burn_compress::reconstruct::ReconstructError;
use burn_compress::report::{Mode, Report, Row, Stage};
use burn_compress::study::{Activity, StudyError};
use burn_compress::train::{TrainError, Workload};
use burn_compress::{Reconstruction, Study};

use super::backends::device::{device, is_exact};
use super::backends::models::{BATCH, Net, Toy, batch, trained, values};
use super::quantized_study::Task;
use super::study::timeless;

const TOTAL: usize = 356;

fn recipe() -> Recipe {
    Recipe {
        max_drop: 20.0,
        epochs: 0,
        seeds: vec![3, 4],
        timed_passes: 1,
        sensitivity: false,
        reconstruct: Some(Reconstruction::default()),
        prune: Some(PruneLevels::from([0.5, 0.8])),
        quantize: Some(QuantizeLevels::from([8, 2])),
        ..Recipe::default()
    }
}

fn net() -> Net {
    trained(30, &device()).valid()
}

fn is_reconstructed(row: &&Row) -> bool {
    row.mode == Mode::Reconstructed
}

/// How far answers are from the original's on the inputs that a study saw.
fn error(net: &Net) -> f32 {
    let original = self::net();
    let errors = (20..24).map(|number| {
        let images: Tensor<4> = batch(number, &device()).0;
        let off = net.forward(images.clone()) - original.forward(images);
        off.powi_scalar(2).mean().into_scalar::<f32>()
    });
    errors.sum()
}

#[test]
fn each_level_is_reconstructed_too() {
    let mut toy = Toy::new(&device());
    let mut told = Vec::new();
    let outcome = Study::of(recipe())
        .on_progress(|progress| told.push((progress.activity, progress.share, progress.trials)))
        .run(net(), &mut toy)
        .unwrap();
    let rows = outcome.report().rows();
    // Two levels and two widths, each post-training and reconstructed; their combination for each seed.
    assert_eq!(rows.len(), 1 + 2 * 4 + 2 * 2);
    assert_eq!(rows.iter().filter(is_reconstructed).count(), 4 + 2);
    assert!(
        told.iter()
            .any(|(activity, ..)| matches!(activity, Activity::Reconstruct { .. }))
    );
    assert!(
        told.windows(2).all(|pair| pair[0].1 <= pair[1].1 + 1e-9),
        "progress falls"
    );
    let (_, share, trials) = told.last().unwrap();
    assert!((share - 1.0).abs() < 1e-9);
    assert_eq!(*trials, (rows.len(), rows.len()));

    let (mut found, mut plain) = (0.0, 0.0);
    for (index, row) in rows.iter().enumerate() {
        let model = outcome.model(index).unwrap();
        let score = Workload::score(&mut toy, &model).unwrap();
        assert!((score - row.score).abs() < if is_exact() { 1e-12 } else { 1.0 });
        if row.stage == Stage::Prune {
            assert_eq!(
                row.sparsity,
                share_of(row.level, TOTAL) as f64 / TOTAL as f64,
                "{row:?}"
            );
        }
        match row.mode {
            Mode::Reconstructed => found += error(&model),
            Mode::Post => plain += error(&model),
            _ => {}
        }
        // What the engine is given computes what the model does.
        let images = batch(40, &device()).0;
        let network = outcome.network(index).unwrap().unwrap();
        let (answers, _) = network.run(&values(images.clone()), BATCH).unwrap();
        for (answer, expected) in answers.iter().zip(values(model.forward(images))) {
            assert!((answer - expected).abs() < 1e-4, "{answer}, not {expected}");
        }
    }
    assert!(found < plain / 2.0, "{found}, and {plain} without");

    let report = outcome.report();
    assert!(report.table().contains("reconstructed"));
    assert!(report.to_csv().unwrap().contains("prune,reconstructed,"));
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), *report);
}

#[test]
fn a_trained_pruning_is_kept_by_the_combination() {
    let recipe = Recipe {
        epochs: 1,
        refine_epochs: 0,
        seeds: vec![3],
        prune: Some(PruneLevels {
            every: 1,
            ..PruneLevels::from([0.5])
        }),
        quantize: Some(QuantizeLevels::from([4])),
        ..recipe()
    };
    let mut toy = Toy::new(&device());
    let mut scores = 0;
    toy.score = Some(Box::new(move |_| {
        scores += 1;
        // After the baseline and the one post-training.
        if scores == 3 { 95.0 } else { 90.0 }
    }));
    let outcome = Study::of(recipe).run(net(), &mut toy).unwrap();
    let rows = outcome.report().rows();
    let best = outcome.report().best().prune.as_ref().unwrap();
    let both = rows
        .iter()
        .position(|row| row.stage == Stage::Combined && row.mode == Mode::Reconstructed);
    let models = [best.index, both.unwrap()].map(|index| outcome.model(index).unwrap());
    let zeros = |net: &Net| -> Vec<bool> {
        let weights = values(net.head.weight.val());
        weights.into_iter().map(|weight| weight == 0.0).collect()
    };
    let [pruned, both] = models.each_ref().map(zeros);
    assert_eq!(best.row.mode, Mode::Aware);
    assert!(
        pruned
            .iter()
            .zip(&both)
            .all(|(pruned, both)| !pruned || *both)
    );
}

#[test]
fn an_interrupted_study_keeps_what_was_reconstructed() {
    let expected = Study::of(recipe())
        .run(net(), &mut Toy::new(&device()))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let study = || Study::of(recipe()).folder(folder.path());
    let mut runs = 0;
    let outcome = loop {
        runs += 1;
        let mut toy = Toy {
            score_fails_after: Some(2),
            ..Toy::new(&device())
        };
        let mut reconstructions = 0;
        let study = study().on_progress(|progress| {
            let starts = Activity::Reconstruct { done: 0, of: 8 };
            reconstructions += usize::from(progress.activity == starts);
        });
        let found = study.run(net(), &mut toy);
        assert!(reconstructions <= 3, "what is finished is kept");
        match found {
            Ok(outcome) => break outcome,
            Err(error) => assert!(error.to_string().contains("power"), "{error}"),
        }
        assert!(runs < 20, "no progress");
    };
    assert!(runs > 4);
    if is_exact() {
        assert_eq!(
            timeless(outcome.report().rows()),
            timeless(expected.report().rows())
        );
        for index in 0..expected.report().rows().len() {
            assert_eq!(
                outcome.archive(index).unwrap(),
                expected.archive(index).unwrap()
            );
        }
    }
    // All of it is read.
    let mut none = Toy {
        score_fails_after: Some(0),
        ..Toy::new(&device())
    };
    let read = study().run(net(), &mut none).unwrap();
    assert_eq!(read.report().rows(), outcome.report().rows());
}

#[test]
fn a_level_that_no_layer_bears_is_left_out_with_a_note() {
    let recipe = Recipe {
        prune: Some(PruneLevels {
            scope: Scope::Layer,
            at_least: AtLeast::Weights(0),
            ..PruneLevels::from([0.5, 0.9999])
        }),
        quantize: None,
        ..recipe()
    };
    let mut told = (0.0, (0, 0));
    let outcome = Study::of(recipe)
        .on_progress(|progress| told = (progress.share, progress.trials))
        .run(net(), &mut Toy::new(&device()))
        .unwrap();
    let report = outcome.report();
    let reconstructed = report.rows().iter().filter(is_reconstructed);
    assert_eq!(
        reconstructed.map(|row| row.level).collect::<Vec<_>>(),
        [0.5]
    );
    let notes: Vec<_> = report.notes().collect();
    assert!(
        notes[0].contains("level 0.9999") && notes[0].contains("conv"),
        "{notes:?}"
    );
    assert!((told.0 - 1.0).abs() < 1e-9);
    assert_eq!(told.1, (4, 4));
}

#[test]
fn what_a_reconstruction_lacks_is_told() {
    let with = |batches: usize| Toy {
        batches,
        ..Toy::new(&device())
    };
    let none = Study::of(recipe()).run(net(), &mut with(0)).err().unwrap();
    assert!(
        matches!(
            none,
            StudyError::NoInputs {
                what: "reconstructs"
            }
        ),
        "{none}"
    );
    assert!(none.to_string().contains("Workload::inputs"), "{none}");
    let few = Study::of(recipe()).run(net(), &mut with(1)).err().unwrap();
    assert!(
        matches!(
            few,
            StudyError::Reconstruct(ReconstructError::Inputs { found: BATCH, .. })
        ),
        "{few}"
    );
    let module = Study::of(recipe())
        .run_module(net(), &mut with(4))
        .err()
        .unwrap();
    assert!(matches!(module, StudyError::WithoutGraph), "{module}");
    let mut reads = Task::new();
    reads.reads = true;
    let graph = Study::of(recipe()).run(net(), &mut reads).err().unwrap();
    assert!(matches!(graph, StudyError::Graph(_)), "{graph}");
    // An error of the workload's own.
    let mut broken = Task::new();
    broken.inputs = None;
    let error = Study::of(recipe()).run(net(), &mut broken).err().unwrap();
    assert!(
        matches!(
            error,
            StudyError::Train(TrainError::Workload {
                action: "giving inputs",
                ..
            })
        ),
        "{error}"
    );
}
