//! Inside burn-train's learner: trains, checkpoints, resumes and finishes as a loop of one's own.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor};
use burn::train::metric::LossMetric;
use burn::train::renderer::CliMetricsRenderer;
use burn::train::{
    ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep,
};
use burn_compress::compress::{CompressError, Plan, Pruning, Quantization};
use burn_compress::format::Scheme;
use burn_compress::prune::share_of;
use burn_compress::schedule::{Curve, Schedule};
use burn_compress::train::{Aware, RefineTune};

use super::device::{device, is_exact};
use super::models::{BATCH, Net, assert_same, assert_same_run, batch, outputs, seen};

const TOTAL: usize = 356;
const STEPS: usize = 3;

#[derive(Clone, Debug)]
pub struct Batch {
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

#[derive(Clone)]
struct Batches;

// An item is an image's number; batches are those of the loops.
impl Batcher<usize, Batch> for Batches {
    fn batch(&self, numbers: Vec<usize>, device: &Device) -> Batch {
        let (images, labels) = batch(numbers[0] / BATCH, device);
        Batch { images, labels }
    }
}

impl Net {
    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let output = self.forward(batch.images);
        let loss = CrossEntropyLossConfig::new().init(&output.device());
        let loss = loss.forward(output.clone(), batch.labels.clone());
        ClassificationOutput::new(loss, output, batch.labels)
    }
}

thread_local! {
    // The rates of the optimizer's steps, of the test on this thread.
    static RATES: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

impl TrainStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        RATES.with_borrow_mut(|rates| rates.push(rate.base()));
        optimizer.step(rate, self, gradients)
    }
}

impl InferenceStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}

fn plan() -> Plan {
    let curve = Curve::Cubic {
        from: 0.0,
        to: 0.7,
        start: 0,
        end: 3 * STEPS,
    };
    Plan::new()
        .prune(Pruning::along(curve))
        .quantize(Quantization::to(Scheme::symmetric(5).unwrap()).every(2))
}

fn aware(plan: Plan) -> Aware<Net> {
    let (net, compression) = plan.attach(Net::new(&device().autodiff())).unwrap();
    Aware::new(net, compression)
}

fn cosine() -> ModuleLrScheduler {
    let rate = CosineAnnealingLrSchedulerConfig::new(0.02, 4 * STEPS);
    rate.init().unwrap()
}

fn train(model: Aware<Net>, folder: &Path, epochs: usize, from: Option<usize>) -> Aware<Net> {
    train_at(cosine(), model, folder, epochs, from)
}

fn train_at(
    rate: impl Into<ModuleLrScheduler>,
    model: Aware<Net>,
    folder: &Path,
    epochs: usize,
    from: Option<usize>,
) -> Aware<Net> {
    let loader = |from: usize| -> Arc<dyn DataLoader<Batch>> {
        let numbers = (from * BATCH..(from + STEPS) * BATCH).collect();
        DataLoaderBuilder::new(Batches)
            .batch_size(BATCH)
            .build(InMemDataset::new(numbers))
    };
    let mut training = SupervisedTraining::new(folder, loader(0), loader(100))
        .metric_train_numeric(LossMetric::new())
        .metric_valid_numeric(LossMetric::new())
        .renderer(Box::new(CliMetricsRenderer::new()))
        .with_application_logger(None)
        .with_default_checkpointers()
        .num_epochs(epochs);
    if let Some(epoch) = from {
        training = training.checkpoint(epoch);
    }
    let optimizer: ModuleOptimizer = AdamConfig::new().init();
    let result = training.launch(Learner::new(model, optimizer, rate));
    assert!(result.error.is_none());
    result.model
}

#[test]
fn the_learner_prunes_and_quantizes_as_a_loop_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let model = train(aware(plan()), folder.path(), 4, None);
    // The same by hand.
    let (mut net, mut compression) = plan().attach(Net::new(&device().autodiff())).unwrap();
    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    let mut rate = cosine();
    for step in 0..4 * STEPS {
        let rate = rate.step();
        net = super::models::train_step(net, &mut optimizer, rate, step % STEPS);
        net = compression.step(net).unwrap();
    }
    assert_same_run(model.model(), &net);
    let compressed = model.finish().unwrap();
    let removed: usize = compressed.layers().iter().map(|layer| layer.removed).sum();
    assert!(removed >= share_of(0.7, TOTAL));
    assert!(compressed.layers().iter().all(|layer| layer.bits == 5));
    assert_same_run(&compressed.module, &compression.strip(net).valid());
}

#[test]
fn the_learner_refine_tunes_at_exactly_a_tenth_of_the_rate() {
    let folder = tempfile::tempdir().unwrap();
    let aware = train(aware(plan()), &folder.path().join("aware"), 3, None);
    let original = RATES.take();
    assert_eq!(original.len(), 3 * STEPS);

    // Another run of the learner, on the model that came out: it is on the plain device.
    let rate = RefineTune::new(cosine());
    let refined = train_at(rate, aware.train(), &folder.path().join("refine"), 2, None);
    let refine = RATES.take();
    let tenth = original.iter().take(2 * STEPS).map(|rate| rate / 10.0);
    assert_eq!(refine, tenth.collect::<Vec<_>>());

    // The same by hand.
    let (mut net, mut compression) = plan().attach(Net::new(&device().autodiff())).unwrap();
    for rates in [original, refine] {
        let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
        for (step, rate) in rates.into_iter().enumerate() {
            net = super::models::train_step(net, &mut optimizer, rate, step % STEPS);
            net = compression.step(net).unwrap();
        }
    }
    assert_same_run(refined.model(), &net);
}

#[test]
fn a_run_resumed_from_the_learners_checkpoint_is_the_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let whole = train(aware(plan()), &folder.path().join("whole"), 4, None);
    for stop in 1..4 {
        let halves = folder.path().join(format!("stopped{stop}"));
        train(aware(plan()), &halves, stop, None);
        let resumed = train(aware(plan()), &halves, 4, Some(stop));
        assert_same_run(resumed.model(), whole.model());
        let [one, other] = [resumed, whole.clone()].map(|model| model.finish().unwrap());
        assert_same_run(&one.module, &other.module);
        if is_exact() {
            assert_eq!(one.layers(), other.layers());
        }
    }
}

#[test]
fn a_finished_schedule_stays_finished_after_resuming() {
    // Stopped after the masks froze: they must not move again.
    let folder = tempfile::tempdir().unwrap();
    let first = train(aware(plan()), folder.path(), 3, None);
    let resumed = train(aware(plan()), folder.path(), 6, Some(3));
    for (one, other) in seen(resumed.model()).iter().zip(seen(first.model())) {
        assert_eq!(one.removed, other.removed);
    }
}

#[test]
fn its_record_holds_the_place_in_the_schedule() {
    let folder = tempfile::tempdir().unwrap();
    let model = train(aware(plan()), folder.path(), 2, None);
    let record = model.clone().into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(record).unwrap();
    let fresh = aware(plan()).load_record(record);
    assert_same(&outputs(fresh.model()), &outputs(model.model()));
    let [one, other] = [fresh, model].map(|model| model.finish().unwrap());
    assert_eq!(one.layers(), other.layers());
}

#[test]
fn materialized_it_holds_the_plain_network() {
    let aware = aware(Plan::new().prune(Pruning::to(0.5)));
    let before = seen(aware.model());
    let plain = aware.materialize();
    for (plain, before) in seen(plain.model()).iter().zip(before) {
        assert!(plain.removed.is_none() && before.removed.is_some());
        assert_same(&plain.stored, &before.used);
    }
}

#[test]
fn an_error_in_training_is_told_at_the_end() {
    struct Lost;
    impl Schedule for Lost {
        fn at(&self, step: usize) -> f64 {
            if step < 2 { 0.5 } else { f64::NAN }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let model = aware(Plan::new().prune(Pruning::along(Lost)));
    let model = train(model, folder.path(), 2, None);
    let error = model.finish().unwrap_err();
    assert!(matches!(error, CompressError::Level { level } if level.is_nan()));
}
