//! Pruning and quantization-aware training inside burn-train's learner: its checkpoints and metrics
//! work as they do for any model, and its dashboard where burn-train's feature `tui` is on.
//!
//! ```text
//! cargo run --release --features learner --example learner
//! ```

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{
    ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep,
};
use burn_compress::compress::{Plan, Pruning, Quantization};
use burn_compress::format::Scheme;
use burn_compress::quantize::LeastSquares;
use burn_compress::schedule::Curve;
use burn_compress::train::{Aware, RefineTune};
use clap::Parser;

#[path = "support/mod.rs"]
mod support;

use support::{Dataset, cnn::Cnn, device::Backend, digits::Digits, evaluate::accuracy};

/// Trains under compression in burn-train's learner.
#[derive(Parser)]
struct Arguments {
    /// Where it runs
    #[arg(long, value_enum, default_value_t)]
    device: Backend,
    /// Epochs at the original learning rate; as many as half of them refine-tune
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// Where checkpoints and logs go
    #[arg(long, default_value = "target/learner")]
    out: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Batch {
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

/// Makes batches of places in a set of digits.
#[derive(Clone)]
struct Places(Digits);

impl Batcher<usize, Batch> for Places {
    fn batch(&self, places: Vec<usize>, device: &Device) -> Batch {
        let (images, labels) = self.0.batch(&places, device);
        Batch { images, labels }
    }
}

// What any model needs for the learner: nothing here knows of compression.
impl Cnn {
    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let output = self.forward(batch.images);
        let loss = CrossEntropyLossConfig::new().init(&output.device());
        let loss = loss.forward(output.clone(), batch.labels.clone());
        ClassificationOutput::new(loss, output, batch.labels)
    }
}

impl TrainStep for Cnn {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Cnn {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let device = arguments.device.device()?;
    let (train, test) = Digits::load();
    let steps = train.len().div_ceil(64) * arguments.epochs;
    fs::create_dir_all(&arguments.out)?;

    let plan = Plan::new()
        .prune(Pruning::along(Curve::Cubic {
            from: 0.0,
            to: 0.8,
            start: 0,
            end: steps / 2,
        }))
        .quantize(Quantization::to(Scheme::symmetric(4)?).by(LeastSquares));
    let (model, compression) = plan.attach(Cnn::new(&device.clone().autodiff()))?;
    let model = Aware::new(model, compression); // the one line that compresses

    let run = |name: &str, model, learner: fn(Aware<Cnn>) -> Learner<Aware<Cnn>>, epochs| {
        let places = |digits: &Digits| InMemDataset::new((0..digits.len()).collect());
        let loader =
            |digits: &Digits| DataLoaderBuilder::new(Places(digits.clone())).batch_size(64);
        SupervisedTraining::new(
            arguments.out.join(name),
            loader(&train).shuffle(0).build(places(&train)),
            loader(&test).build(places(&test)),
        )
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .with_default_checkpointers()
        .num_epochs(epochs)
        .launch(learner(model))
    };
    let original = |model| Learner::new(model, optimizer(), 0.003);
    let refine = |model| Learner::new(model, optimizer(), RefineTune::new(0.003));
    let result = run("aware", model, original, arguments.epochs);
    let result = run(
        "refine",
        result.model.train(),
        refine,
        arguments.epochs.div_ceil(2),
    );

    let compressed = result.model.finish()?;
    let path = arguments.out.join("digits.bcm");
    let bytes = compressed.save(&path)?;
    for layer in compressed.layers() {
        let share = 100.0 * layer.removed as f64 / layer.weights as f64;
        println!("{:14} {share:5.1} % zero, {} bits", layer.path, layer.bits);
    }
    let score = accuracy(&test, &device, |images| compressed.module.forward(images));
    println!("{}: {bytes} bytes, accuracy {score:.2} %", path.display());
    Ok(())
}

fn optimizer() -> ModuleOptimizer {
    AdamConfig::new().init()
}
