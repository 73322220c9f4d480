//! A study of quantized activations: its rows, its integer forms, and going on after an interruption.

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn_compress::graph::{Calibrator, Fallback, GraphError, Quantized};
use burn_compress::recipe::{ActivationLevels, PruneLevels, QuantizeLevels, RangeMethod, Recipe};
use burn_compress::report::{Report, Row, Stage, Timed};
use burn_compress::study::{Outcome, StudyError};
use burn_compress::train::{BoxError, Epoch, TrainError, Workload};
use burn_compress::{Reconstruction, Study};

use super::backends::device::{device, is_exact};
use super::backends::models::{BATCH, EpochSeen, Net, PowerCut, Toy, batch, trained, values};
use super::backends::refine::{rates, run_of};
use super::study::timeless;

/// A network and its quantized graph alike.
trait Classify: Module {
    fn classify(&self, images: Tensor<4>) -> Tensor<2>;
}

impl Classify for Net {
    fn classify(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward(images)
    }
}

impl Classify for Quantized<Net> {
    fn classify(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward(images).unwrap()
    }
}

pub struct Task {
    optimizer: ModuleOptimizer,
    /// Epochs and scores until the power goes out.
    epochs_left: Option<usize>,
    scores_left: Option<usize>,
    epochs_done: usize,
    /// The epochs as training was given them.
    seen: Vec<EpochSeen>,
    /// Batches of inputs without labels; none where it fails to give them.
    pub inputs: Option<usize>,
    /// Whether the forward pass depends on values, so that it has no graph.
    pub reads: bool,
    /// Whether the forward pass mirrors its images, for which there is no integer form.
    mirrors: bool,
}

impl Task {
    pub fn new() -> Self {
        Self {
            optimizer: AdamConfig::new().init(),
            epochs_left: None,
            scores_left: None,
            epochs_done: 0,
            seen: Vec::new(),
            inputs: Some(4),
            reads: false,
            mirrors: false,
        }
    }
}

fn spend(left: &mut Option<usize>) -> Result<(), PowerCut> {
    if let Some(left) = left {
        *left = left.checked_sub(1).ok_or(PowerCut)?;
    }
    Ok(())
}

const SCORED: std::ops::Range<usize> = 100..104;

/// Accuracy in percent, the mean certainty as its fraction.
fn score(mut classify: impl FnMut(Tensor<4>) -> Vec<f32>) -> f64 {
    let mut sum = 0.0;
    for number in SCORED {
        let (images, labels) = batch(number, &device());
        let scores = classify(images);
        for (scores, label) in scores.chunks(3).zip(labels.into_data().iter::<i64>()) {
            let of_label = scores[label as usize];
            let right = scores.iter().all(|score| *score <= of_label);
            let odds: f32 = scores.iter().map(|score| (score - of_label).exp()).sum();
            sum += f64::from(u8::from(right)) * 100.0 + f64::from(1.0 / odds);
        }
    }
    sum / (SCORED.len() * BATCH) as f64
}

impl<P: Classify> Workload<P> for Task {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn steps_per_epoch(&self) -> usize {
        3
    }

    fn train_epoch(&mut self, mut model: P, epoch: &mut Epoch<'_>) -> Result<P, BoxError> {
        spend(&mut self.epochs_left)?;
        self.epochs_done += 1;
        self.seen.push(EpochSeen::of(epoch));
        if epoch.is_first() {
            self.optimizer = AdamConfig::new().init();
        }
        let device = device().autodiff();
        for step in 0..3 {
            let (images, labels) = batch(epoch.index() * 3 + step, &device);
            let loss = CrossEntropyLossConfig::new().init(&device);
            let loss = loss.forward(model.classify(images), labels);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = self.optimizer.step(epoch.learning_rate(), model, gradients);
            model = epoch.step(model)?;
        }
        Ok(model)
    }

    fn score(&mut self, model: &P) -> Result<f64, BoxError> {
        spend(&mut self.scores_left)?;
        Ok(score(|images| values(model.classify(images))))
    }

    fn example(&self, device: &Device) -> Tensor<4> {
        batch(0, device).0.narrow(0, 0, 1)
    }

    fn inputs(&mut self, device: &Device) -> Result<Vec<Tensor<4>>, BoxError> {
        let batches = self.inputs.ok_or(PowerCut)?;
        let numbers = 20..20 + batches;
        Ok(numbers.map(|number| batch(number, device).0).collect())
    }

    fn forward(&self, model: &P, images: Tensor<4>) -> Tensor<2> {
        if self.reads {
            let _ = images.clone().sum().into_scalar::<f32>();
        }
        match self.mirrors {
            true => model.classify(images.flip([3])),
            false => model.classify(images),
        }
    }
}

fn recipe() -> Recipe {
    let activations = ActivationLevels {
        bits: 5,
        calibrator: Calibrator::LeastSquares,
        ..ActivationLevels::default()
    };
    Recipe {
        max_drop: 30.0,
        learning_rate: 0.01,
        epochs: 2,
        refine_epochs: 1,
        seeds: vec![3],
        timed_passes: 1,
        sensitivity: false,
        prune: Some(PruneLevels {
            every: 1,
            ..PruneLevels::from([0.6])
        }),
        quantize: Some(QuantizeLevels {
            every: 1,
            ranges: RangeMethod::MinMax,
            activations: Some(activations),
            ..QuantizeLevels::from([6, 3])
        }),
        ..Recipe::default()
    }
}

fn net() -> Net {
    trained(30, &device()).valid()
}

fn run(study: Study<'_>, task: &mut Task) -> Result<Outcome<Net>, StudyError> {
    study.run_quantized::<_, _, 4, 2>(net(), task)
}

#[test]
fn operations_without_an_integer_form_are_refused_or_stay_in_float_as_the_recipe_says() {
    let mut recipe = Recipe {
        prune: None,
        epochs: 0,
        refine_epochs: 0,
        ..recipe()
    };
    let task = || Task {
        mirrors: true,
        ..Task::new()
    };
    let Err(StudyError::Graph(error)) = run(Study::of(recipe.clone()), &mut task()) else {
        panic!("no error of the graph")
    };
    let GraphError::Unsupported { op, layer, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((op.as_str(), layer.as_str()), ("Flip", "input"));

    let levels = recipe.quantize.as_mut().unwrap();
    levels.activations.as_mut().unwrap().fallback = Fallback::Float;
    let outcome = run(Study::of(recipe), &mut task()).unwrap();
    let rows = outcome.report().rows();
    for row in rows.iter().filter(|row| row.activation_bits < 32) {
        assert_eq!(row.in_float, ["input (select)"], "{row:?}");
        assert_eq!(row.timed, Timed::Engine);
    }
    assert!(rows[0].in_float.is_empty() && rows.len() == 3);
}

#[test]
fn each_quantized_trial_has_an_integer_form_that_answers_as_its_score_says() {
    let mut task = Task::new();
    let study = Study::of(recipe()).reconstruct(Reconstruction::default());
    let outcome = run(study, &mut task).unwrap();
    let rows = outcome.report().rows();
    // Baseline; a level, two widths and their combination in five variants each.
    assert_eq!(rows.len(), 1 + 4 * 5);
    // Each trains by the recipe, quantized activations or not.
    let level = || [run_of(1, 0.001), run_of(2, 0.01), run_of(1, 0.001)];
    let expected: Vec<_> = (0..4).flat_map(|_| level()).flatten().collect();
    assert_eq!(rates(&task.seen), expected);
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row.timed, Timed::Engine, "{row:?}");
        assert!(row.ms > 0.0 && row.ms_range[0] <= row.ms && row.ms <= row.ms_range[1]);
        let integers = outcome.integers(index).unwrap();
        if matches!(row.stage, Stage::Baseline | Stage::Prune) {
            assert!(integers.is_none(), "{row:?}");
            assert_eq!(row.activation_bits, 32);
            continue;
        }
        assert_eq!(row.activation_bits, 5);
        assert!(row.in_float.is_empty(), "{:?}", row.in_float);
        let integers = integers.unwrap();
        let said = score(|images| {
            let batch = images.dims()[0];
            integers.run(&values(images), batch).unwrap().0
        });
        let apart = (said - row.score).abs();
        assert!(
            apart < if is_exact() { 1e-12 } else { 5.0 },
            "{said}, not {}",
            row.score
        );
        // Its weights are those of the archive.
        let model = outcome.model(index).unwrap();
        let zeros = values(model.head.weight.val());
        let zeros = zeros.iter().filter(|weight| **weight == 0.0).count();
        let layer = row
            .layers
            .iter()
            .find(|layer| layer.path == "head.weight")
            .unwrap();
        assert_eq!(zeros as f64 / 216.0, layer.sparsity);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.bcm");
    outcome.save_best(&path).unwrap();
    let best = outcome.report().best().overall.as_ref().unwrap();
    let loaded = burn_compress::network::Network::load(&path).unwrap();
    assert_eq!(loaded, outcome.network(best.index).unwrap().unwrap());
    if let Some(integers) = outcome.integers(best.index).unwrap() {
        assert_eq!(loaded, integers);
    }
}

#[test]
fn an_interrupted_study_goes_on_where_it_was() {
    let recipe = || Recipe {
        quantize: Some(QuantizeLevels {
            bits: vec![4],
            ..recipe().quantize.unwrap()
        }),
        ..recipe()
    };
    let mut whole = Task::new();
    let expected = run(Study::of(recipe()), &mut whole).unwrap();
    let stride = if is_exact() { 1 } else { 4 };
    for epochs in (0..whole.epochs_done).step_by(stride) {
        let folder = tempfile::tempdir().unwrap();
        let study = || Study::of(recipe()).folder(folder.path());
        let mut task = Task {
            epochs_left: Some(epochs),
            ..Task::new()
        };
        let error = run(study(), &mut task).err().unwrap();
        let StudyError::Train(TrainError::Workload { source, .. }) = error else {
            panic!("{error}");
        };
        assert!(source.is::<PowerCut>());
        let mut task = Task::new();
        let outcome = run(study(), &mut task).unwrap();
        assert!(task.epochs_done <= whole.epochs_done);
        if is_exact() {
            let (found, expected) = (outcome.report(), expected.report());
            assert_eq!(
                timeless(found.rows()),
                timeless(expected.rows()),
                "after {epochs} epochs"
            );
        }
        for index in 0..expected.report().rows().len() {
            let [found, expected] = [&outcome, &expected].map(|o| o.integers(index).unwrap());
            assert_eq!(found.is_some(), expected.is_some());
            assert!(
                !is_exact() || found == expected,
                "row {index} after {epochs} epochs"
            );
        }
        // A finished one is read.
        let mut none = Task {
            epochs_left: Some(0),
            scores_left: Some(0),
            ..Task::new()
        };
        let read = run(study(), &mut none).unwrap();
        assert_eq!(read.report().rows(), outcome.report().rows());
    }
}

#[test]
fn a_study_of_weights_alone_refuses_activations() {
    let error = Study::of(recipe()).run(net(), &mut Toy::new(&device()));
    assert!(matches!(error.err(), Some(StudyError::Activations)));
    let error = Study::of(recipe()).run_module(net(), &mut Toy::new(&device()));
    assert!(matches!(error.err(), Some(StudyError::Activations)));
}

#[test]
fn without_activations_both_studies_are_the_same() {
    if !is_exact() {
        return;
    }
    let recipe = || Recipe {
        quantize: Some(QuantizeLevels::from([4])),
        epochs: 1,
        ..recipe()
    };
    let one = run(Study::of(recipe()), &mut Task::new()).unwrap();
    let other = Study::of(recipe()).run(net(), &mut Task::new()).unwrap();
    assert_eq!(
        timeless(one.report().rows()),
        timeless(other.report().rows())
    );
    assert!(one.integers(1).unwrap().is_none());
}

fn weights_alone() -> Recipe {
    Recipe {
        quantize: Some(QuantizeLevels::from([4])),
        epochs: 0,
        ..recipe()
    }
}

fn timed(rows: &[Row]) -> Vec<Timed> {
    rows.iter().map(|row| row.timed).collect()
}

#[test]
fn the_engine_times_weights_alone_where_the_study_has_a_graph() {
    let quantized = run(Study::of(weights_alone()), &mut Task::new());
    let plain = Study::of(weights_alone()).run(net(), &mut Task::new());
    for outcome in [quantized.unwrap(), plain.unwrap()] {
        let report = outcome.report();
        assert_eq!(timed(report.rows()), vec![Timed::Engine; 4]);
        assert!(report.table().contains("forward pass by the engine."));
    }
    let plain = Study::of(weights_alone()).run_module(net(), &mut Task::new());
    let plain = plain.unwrap();
    assert_eq!(timed(plain.report().rows()), vec![Timed::Module; 4]);
    assert!(plain.report().table().contains("of the Burn module."));
}

#[test]
fn a_forward_pass_without_a_graph_is_timed_as_a_module() {
    let reads = || Task {
        reads: true,
        ..Task::new()
    };
    let quantized = run(Study::of(weights_alone()), &mut reads());
    let plain = Study::of(weights_alone()).run(net(), &mut reads());
    for outcome in [quantized.unwrap(), plain.unwrap()] {
        let rows = outcome.report().rows();
        assert_eq!(timed(rows), vec![Timed::Module; 4]);
        assert!(rows.iter().all(|row| row.ms > 0.0));
    }
    // Activations cannot do without.
    let error = run(Study::of(recipe()), &mut reads()).err();
    assert!(matches!(error, Some(StudyError::Graph(_))));
}

#[test]
fn trials_of_before_the_engine_are_taken_over_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let study = || Study::of(weights_alone()).folder(folder.path());
    run(study(), &mut Task::new()).unwrap();
    let trials = std::fs::read_dir(folder.path().join("trials")).unwrap();
    let mut older = 0;
    for path in trials.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("baseline") && name.ends_with(".json") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut row: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                row.as_object_mut().unwrap().remove("timed").unwrap(),
                "engine"
            );
            std::fs::write(&path, row.to_string()).unwrap();
            older += 1;
        }
    }
    assert_eq!(older, 1);
    let outcome = run(study(), &mut Task::new()).unwrap();
    let report = outcome.report();
    let mut expected = vec![Timed::Engine; 4];
    expected[0] = Timed::Module;
    assert_eq!(timed(report.rows()), expected);
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), *report);
    let table = report.table();
    let marked = |name: &str| {
        let mut lines = table.lines().filter(|line| line.contains(name));
        lines.any(|line| line.contains('†'))
    };
    assert!(marked("baseline") && !marked("quantize "), "{table}");
    // Times of the engine and of a module do not compare.
    assert!(!table.lines().any(|line| line.contains("ms instead of")));
    let csv = report.to_csv().unwrap();
    assert_eq!(csv.matches(",engine,").count(), 3, "{csv}");
    assert_eq!(csv.matches(",module,").count(), 1, "{csv}");
}

#[test]
fn the_callers_model_stays_as_it_was() {
    let net = trained(10, &device());
    let before = super::backends::models::outputs(&net);
    let mut task = Task::new();
    let study = Study::of(recipe());
    study
        .run_quantized::<_, _, 4, 2>(net.clone(), &mut task)
        .unwrap();
    super::backends::models::assert_same(&super::backends::models::outputs(&net), &before);
}
