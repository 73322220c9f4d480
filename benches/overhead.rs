//! What compression costs, as ratios measured side by side in one run.
//!
//! ```text
//! cargo bench --bench overhead [-- --steps 10 --batch 128]
//! ```
//!
//! A training step of ResNet-20 plain, with masks that move, and with masks and fake quantization; and
//! the post-training pruning and quantization of a model of 25 million weights.

use std::error::Error;
use std::time::Instant;

use burn::module::Module;
use burn::nn::LinearConfig;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_compress::compress::{Compression, Plan, Pruning, Quantization};
use burn_compress::format::Scheme;
use burn_compress::quantize::{LeastSquares, MinMax};
use burn_compress::schedule::Curve;
use clap::Parser;

#[path = "../examples/models/mod.rs"]
mod models;
#[path = "../examples/support/mod.rs"]
mod support;

use models::resnet::ResNet;
use support::device::Backend;

#[derive(Parser)]
struct Arguments {
    /// Where it runs
    #[arg(long, value_enum, default_value_t)]
    device: Backend,
    /// Timed steps of each variant
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Images of a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A training run, with or without something attached.
struct Run {
    name: &'static str,
    model: Option<ResNet>,
    compression: Option<Compression>,
    optimizer: ModuleOptimizer,
    seconds: Vec<f64>,
}

impl Run {
    fn new(name: &'static str, model: ResNet, plan: Option<Plan>) -> Result<Self, Box<dyn Error>> {
        let (model, compression) = match plan {
            None => (model, None),
            Some(plan) => {
                let (model, compression) = plan.attach(model)?;
                (model, Some(compression))
            }
        };
        let momentum = MomentumConfig::new().with_momentum(0.9);
        Ok(Self {
            name,
            model: Some(model),
            compression,
            optimizer: SgdConfig::new().with_momentum(Some(momentum)).init(),
            seconds: Vec::new(),
        })
    }

    fn step(&mut self, images: Tensor<4>, labels: Tensor<1, Int>) -> Result<(), Box<dyn Error>> {
        let device = images.device();
        let Some(mut model) = self.model.take() else {
            return Err("the last step failed".into());
        };
        let start = Instant::now();
        let loss = CrossEntropyLossConfig::new().init(&device);
        let gradients = loss.forward(model.forward(images), labels).backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = self.optimizer.step(0.001, model, gradients);
        if let Some(compression) = &mut self.compression {
            model = compression.step(model)?;
        }
        device.sync()?;
        self.seconds.push(start.elapsed().as_secs_f64());
        self.model = Some(model);
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn training_step(device: &Device, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let device = device.clone().autodiff();
    let model = || ResNet::new(20, &device);
    // As a study has it: moved at every tenth step.
    let pruning = || {
        let end = usize::MAX;
        let (from, to, start) = (0.5, 0.9, 0);
        Pruning::along(Curve::Cubic {
            from,
            to,
            start,
            end,
        })
        .every(10)
    };
    let scheme = Scheme::symmetric(4)?;
    let every_tenth = Quantization::to(scheme).by(LeastSquares).every(10);
    let min_max = Quantization::to(scheme).by(MinMax);
    let mut runs = [
        Run::new("plain", model()?, None)?,
        Run::new("masks", model()?, Some(Plan::new().prune(pruning())))?,
        Run::new(
            "masks and fake quantization (least squares, every 10th step)",
            model()?,
            Some(Plan::new().prune(pruning()).quantize(every_tenth)),
        )?,
        Run::new(
            "masks and fake quantization (min-max, every step)",
            model()?,
            Some(Plan::new().prune(pruning()).quantize(min_max)),
        )?,
    ];
    let batch = arguments.batch;
    let images = Tensor::<4>::random([batch, 3, 32, 32], Distribution::Default, &device);
    let labels = Tensor::<1, Int>::zeros([batch], &device);
    for round in 0..=arguments.steps {
        for run in &mut runs {
            run.step(images.clone(), labels.clone())?;
            if round == 0 {
                run.seconds.clear(); // warms up
            }
        }
    }
    let plain = runs[0].seconds.clone();
    println!(
        "training step of ResNet-20, batch {batch}, {} rounds:",
        arguments.steps
    );
    for run in runs {
        let ratios = run.seconds.iter().zip(&plain).map(|(a, b)| a / b);
        let (ratio, mean) = (median(ratios.collect()), run.seconds.iter().sum::<f64>());
        let mean_ratio = mean / plain.iter().sum::<f64>();
        println!(
            "  {:62} {:8.1} ms, ratio to plain: median {ratio:.3}, of means {mean_ratio:.3}",
            run.name,
            median(run.seconds) * 1e3,
        );
    }
    Ok(())
}

fn post_training(device: &Device) -> Result<(), Box<dyn Error>> {
    println!("post-training, 25 million weights:");
    let model = LinearConfig::new(5000, 5000).with_bias(false).init(device);
    model.weight.val(); // weights are made when they are first asked for
    for (name, plan) in [
        ("prune to 90 %", Plan::new().prune(Pruning::to(0.9))),
        (
            "prune to 90 %, quantize to 8 bits",
            Plan::new()
                .prune(Pruning::to(0.9))
                .quantize(Quantization::to(Scheme::symmetric(8)?)),
        ),
    ] {
        let mut seconds = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            let compressed = plan.apply(model.valid())?;
            device.sync()?;
            seconds.push(start.elapsed().as_secs_f64());
            drop(compressed);
        }
        let fastest = seconds.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "  {name:40} median {:.2} s, fastest {fastest:.2} s",
            median(seconds)
        );
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let device = arguments.device.device()?;
    post_training(&device)?;
    training_step(&device, &arguments)
}
