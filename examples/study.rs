//! The whole method on a small network and the handwritten digits: trains a baseline, tries every
//! level, refine-tunes, combines the best, and reports.
//!
//! ```text
//! cargo run --release --example study
//! ```

use std::error::Error;
use std::path::PathBuf;

use burn::module::Module;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn_compress::Study;
use burn_compress::graph::Graph;
use burn_compress::recipe::{ActivationLevels, PruneLevels, QuantizeLevels, Recipe};
use burn_compress::train::{Epoch, Workload, seed};
use clap::Parser;

#[path = "support/mod.rs"]
mod support;

use support::bars::Bars;
use support::cnn::Cnn;
use support::device::Backend;
use support::digits::Digits;
use support::forget;
use support::show;
use support::workload::Classification;

const LEARNING_RATE: f64 = 0.005;

/// Which compression does a small network for handwritten digits bear?
#[derive(Parser)]
struct Arguments {
    /// Where it runs
    #[arg(long, value_enum, default_value_t)]
    device: Backend,
    /// Where the report goes, and where an interrupted study goes on
    #[arg(long, default_value = "target/study")]
    out: PathBuf,
    /// Number of seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Recipe in TOML or JSON
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Starts over: forgets the finished trials of an earlier study in the same place
    #[arg(long)]
    fresh: bool,
    /// Epochs of training of the baseline
    #[arg(long, default_value_t = 40)]
    baseline_epochs: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let device = arguments.device.device()?;
    if arguments.fresh {
        forget(&arguments.out)?;
    }
    let (train, test) = Digits::load();
    let mut workload = Classification {
        train,
        test,
        device: device.clone(),
        batch: 64,
        optimizer,
        run: None,
        teacher: None,
    };
    // The same network whenever it is run, so that an interrupted study finds its model again.
    seed(&device, 0, 0);
    let model = Cnn::new(&device);
    let model = baseline(model, &mut workload, arguments.baseline_epochs)?;
    // What the compressed network is compared with, in `examples/web` for one.
    let original = Graph::capture(&model, [1, 1, 8, 8], Cnn::forward)?
        .simplify()
        .to_float_model(&model)?;
    std::fs::create_dir_all(&arguments.out)?;
    original.save(arguments.out.join("original.bcm"))?;
    let recipe = match &arguments.recipe {
        Some(path) => Recipe::load(path)?,
        None => Recipe {
            max_drop: 0.5,
            learning_rate: LEARNING_RATE,
            epochs: 6,
            refine_epochs: 3,
            seeds: (0..arguments.seeds).collect(),
            prune: Some(PruneLevels::from([0.5, 0.7, 0.8, 0.9, 0.95, 0.98])),
            quantize: Some(QuantizeLevels {
                // So that what it chooses runs in integers.
                activations: Some(ActivationLevels::default()),
                ..QuantizeLevels::from([8, 6, 4, 3, 2])
            }),
            ..Recipe::default()
        },
    };
    let outcome = Study::of(recipe)
        .folder(&arguments.out)
        .score_name("accuracy, %")
        .on_progress(show::progress())
        .run_quantized(model, &mut workload)?;
    show::outcome(&outcome, &arguments.out)
}

fn optimizer() -> ModuleOptimizer {
    AdamWConfig::new().with_weight_decay(1e-2).init()
}

fn baseline(
    model: Cnn,
    workload: &mut Classification<Cnn, Digits>,
    epochs: usize,
) -> Result<Cnn, Box<dyn Error>> {
    let steps = Workload::<Cnn>::steps_per_epoch(workload);
    let bars = Bars::new((epochs * steps) as u64);
    bars.message("training the baseline");
    let mut model = model.train();
    for index in 0..epochs {
        let mut on_step = |step| bars.at((index * steps + step) as u64);
        let mut epoch = Epoch::plain(index, epochs, LEARNING_RATE, 0).on_step(&mut on_step);
        model = workload
            .train_epoch(model, &mut epoch)
            .map_err(|error| error as Box<dyn Error>)?;
    }
    bars.finish();
    let model = model.valid();
    let score = workload
        .score(&model)
        .map_err(|error| error as Box<dyn Error>)?;
    eprintln!(
        "the baseline has {} parameters and scores {score:.2} %",
        model.num_params()
    );
    Ok(model)
}
